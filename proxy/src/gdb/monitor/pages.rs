//! `monitor info tlb` and `monitor info mem`: the guest's page tables here, in QEMU's form.

use crate::gdb::scope::View;
use crate::gdb::target::Debuggee;
use std::fmt::Write;
use vm::{CpuState, PhysAddr};

/// Lines that are shown.
const MOST_LINES: usize = 1000;

const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;
/// CR0.PG.
const PAGING: u64 = 1 << 31;
/// CR4.PSE and CR4.PAE.
const PSE: u64 = 1 << 4;
const PAE: u64 = 1 << 5;
/// EFER.LMA.
const LONG: u64 = 1 << 10;

/// How the tables are made (Intel SDM 3A, chapter 4).
struct Shape {
    /// Bits of the address that each level takes, from the top, and whether its entries may map pages.
    levels: &'static [(u32, bool)],
    entry_bytes: usize,
    /// CR3 holds this.
    root: u64,
}

fn shape(cpu: &CpuState) -> Option<Shape> {
    if cpu.cr0 & PAGING == 0 {
        return None;
    }
    Some(if cpu.msr.efer & LONG != 0 {
        Shape {
            levels: &[(9, false), (9, true), (9, true), (9, true)],
            entry_bytes: 8,
            root: cpu.cr3 & 0x000f_ffff_ffff_f000,
        }
    } else if cpu.cr4 & PAE != 0 {
        Shape { levels: &[(2, false), (9, true), (9, true)], entry_bytes: 8, root: cpu.cr3 & 0xffff_ffe0 }
    } else if cpu.cr4 & PSE != 0 {
        Shape { levels: &[(10, true), (10, true)], entry_bytes: 4, root: cpu.cr3 & 0xffff_f000 }
    } else {
        Shape { levels: &[(10, false), (10, true)], entry_bytes: 4, root: cpu.cr3 & 0xffff_f000 }
    })
}

/// A page, or a large one.
struct Mapping {
    from: u64,
    size: u64,
    entry: u64,
    /// USER and WRITABLE as they are on the way to it.
    allowed: u64,
}

/// Calls `each` with every mapping in order of address, until it returns false.
fn walk(view: &dyn View, cpu: &CpuState, shape: &Shape, each: &mut dyn FnMut(&Mapping) -> bool) {
    let bits = 12 + shape.levels.iter().map(|(bits, _)| bits).sum::<u32>();
    let mut tables =
        Tables { view, shape, each, sign: (bits == 48).then_some(bits), pae: cpu.cr4 & PAE != 0 };
    tables.level(0, shape.root, 0, bits, USER | WRITABLE);
}

struct Tables<'a> {
    view: &'a dyn View,
    shape: &'a Shape,
    each: &'a mut dyn FnMut(&Mapping) -> bool,
    /// The bit above those that addresses have, which are extended by their sign.
    sign: Option<u32>,
    pae: bool,
}

impl Tables<'_> {
    /// One table, for the addresses from `base`; false: no more.
    fn level(&mut self, level: usize, table: u64, base: u64, above: u32, allowed: u64) -> bool {
        let (bits, maps) = self.shape.levels[level];
        let last = level + 1 == self.shape.levels.len();
        let shift = above - bits;
        let mut bytes = vec![0; self.shape.entry_bytes << bits];
        self.view.read_phys(PhysAddr(table), &mut bytes);
        for (index, entry) in bytes.chunks(self.shape.entry_bytes).enumerate() {
            let entry = entry.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
            if entry & PRESENT == 0 {
                continue;
            }
            let from = base | (index as u64) << shift;
            // PDPTEs of 32-bit PAE have no such bits.
            let legacy_top = self.pae && self.sign.is_none() && level == 0;
            let here = if legacy_top { allowed } else { allowed & entry };
            let goes_on = if last || (maps && entry & LARGE != 0) {
                let from = match self.sign {
                    Some(bits) if from >> (bits - 1) != 0 => from | !0 << bits,
                    _ => from,
                };
                (self.each)(&Mapping { from, size: 1 << shift, entry, allowed: here })
            } else {
                self.level(level + 1, entry & 0x000f_ffff_ffff_f000, from, shift, here)
            };
            if !goes_on {
                return false;
            }
        }
        true
    }
}

const OFF: &str = "PG disabled\n";

/// Each page with its physical address and the bits of its entry, from an address on.
pub fn tlb(debuggee: &Debuggee, from: u64) -> String {
    let view: &dyn View = debuggee.history.as_ref();
    let cpu = view.cpu();
    let Some(shape) = shape(&cpu) else { return OFF.into() };
    let mut text = String::new();
    let mut lines = 0;
    let mut next = None;
    walk(view, &cpu, &shape, &mut |m| {
        if m.from.saturating_add(m.size - 1) < from {
            return true;
        }
        if lines == MOST_LINES {
            next = Some(m.from);
            return false;
        }
        lines += 1;
        let phys = m.entry & 0x000f_ffff_ffff_f000 & !(m.size - 1);
        let flags: String = [
            (NO_EXECUTE, 'X'),
            (1 << 8, 'G'),
            (LARGE, 'P'),
            (1 << 6, 'D'),
            (1 << 5, 'A'),
            (1 << 4, 'C'),
            (1 << 3, 'T'),
            (USER, 'U'),
            (WRITABLE, 'W'),
        ]
        .iter()
        .map(|(bit, letter)| if m.entry & bit != 0 { *letter } else { '-' })
        .collect();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{:016x}: {phys:016x} {flags}", m.from);
        true
    });
    text + &more("tlb", next)
}

/// Ranges that are mapped alike, with their size and what may be done there.
pub fn mem(debuggee: &Debuggee, from: u64) -> String {
    let view: &dyn View = debuggee.history.as_ref();
    let cpu = view.cpu();
    let Some(shape) = shape(&cpu) else { return OFF.into() };
    let mut text = String::new();
    let mut lines = 0;
    let mut next = None;
    let mut range: Option<(u64, u64, u64)> = None;
    let mut write = |text: &mut String, (start, last, allowed): (u64, u64, u64)| {
        lines += 1;
        let letter = |bit, letter| if allowed & bit != 0 { letter } else { '-' };
        let (user, writable) = (letter(USER, 'u'), letter(WRITABLE, 'w'));
        let (end, size) = (last.wrapping_add(1), last.wrapping_sub(start).wrapping_add(1));
        let _ = writeln!(text, "{start:016x}-{end:016x} {size:016x} {user}r{writable}");
        lines
    };
    walk(view, &cpu, &shape, &mut |m| {
        let last = m.from.saturating_add(m.size - 1);
        if last < from {
            return true;
        }
        match range {
            Some((start, end, allowed)) if end.wrapping_add(1) == m.from && allowed == m.allowed => {
                range = Some((start, last, allowed));
            }
            _ => {
                if let Some(done) = range.replace((m.from, last, m.allowed))
                    && write(&mut text, done) == MOST_LINES
                {
                    (next, range) = (Some(m.from), None);
                    return false;
                }
            }
        }
        true
    });
    if let Some(range) = range {
        write(&mut text, range);
    }
    text + &more("mem", next)
}

fn more(what: &str, next: Option<u64>) -> String {
    next.map(|next| format!("(and more: monitor info {what} {next:#x})\n")).unwrap_or_default()
}
