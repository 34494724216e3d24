//! `monitor info tlb` and `monitor info mem`: the guest's page tables here, in QEMU's form.

use crate::gdb::target::Debuggee;
use std::fmt::Write;
use vm::LinAddr;

/// Lines that are shown.
const MOST_LINES: usize = 1000;

/// Bits of an entry with the letters that QEMU has for them (Intel SDM 3A, chapter 4).
const LETTERS: [(u64, char); 9] = [
    (1 << 63, 'X'),
    (1 << 8, 'G'),
    (1 << 7, 'P'),
    (1 << 6, 'D'),
    (1 << 5, 'A'),
    (1 << 4, 'C'),
    (1 << 3, 'T'),
    (1 << 2, 'U'),
    (1 << 1, 'W'),
];

const OFF: &str = "PG disabled\n";

/// Each page with its physical address and the bits of its entry, from an address on.
pub fn tlb(debuggee: &Debuggee, from: LinAddr) -> String {
    let mut text = String::new();
    let mut lines = 0;
    let mut next = None;
    let paging = debuggee.history.view().mappings(from, &mut |m| {
        if lines == MOST_LINES {
            next = Some(m.linear);
            return false;
        }
        lines += 1;
        let letter = |(bit, letter)| if m.entry & bit != 0 { letter } else { '-' };
        let letters: String = LETTERS.map(letter).iter().collect();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{:016x}: {:016x} {letters}", m.linear, m.phys);
        true
    });
    if paging { text + &more("tlb", next) } else { OFF.into() }
}

/// Addresses that are mapped alike.
#[derive(Clone, Copy)]
struct Range {
    first: u64,
    last: u64,
    user: bool,
    writable: bool,
}

impl Range {
    fn line(self) -> String {
        let (end, size) = (self.last.wrapping_add(1), self.last.wrapping_sub(self.first).wrapping_add(1));
        let (user, writable) = (if self.user { 'u' } else { '-' }, if self.writable { 'w' } else { '-' });
        format!("{:016x}-{end:016x} {size:016x} {user}r{writable}\n", self.first)
    }
}

/// Ranges that are mapped alike, with their size and what may be done there.
pub fn mem(debuggee: &Debuggee, from: LinAddr) -> String {
    let mut text = String::new();
    let mut lines = 0;
    let mut next = None;
    let mut open: Option<Range> = None;
    let paging = debuggee.history.view().mappings(from, &mut |m| {
        let last = m.linear | (m.size - 1);
        match &mut open {
            Some(range)
                if range.last.wrapping_add(1) == m.linear
                    && (range.user, range.writable) == (m.user, m.writable) =>
            {
                range.last = last;
            }
            _ => {
                let range = Range { first: m.linear, last, user: m.user, writable: m.writable };
                if let Some(done) = open.replace(range) {
                    text += &done.line();
                    lines += 1;
                }
                if lines == MOST_LINES {
                    (next, open) = (Some(m.linear), None);
                    return false;
                }
            }
        }
        true
    });
    text.extend(open.map(Range::line));
    if paging { text + &more("mem", next) } else { OFF.into() }
}

fn more(what: &str, next: Option<u64>) -> String {
    next.map(|next| format!("(and more: monitor info {what} {next:#x})\n")).unwrap_or_default()
}
