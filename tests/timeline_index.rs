//! What a recording's index says of its intervals, against what a run in single steps did: it may name too much, and never too
//! little. The recording is made at full speed, with blocks of code that are known; the steps are another machine's.

use retrograde_tests::busy::{BUSY, record_busy};
use snapshots::recording::Interval;
use snapshots::session::Reached;
use snapshots::{Recording, Session};
use std::collections::BTreeSet;
use std::sync::Arc;
use vm::watch::WatchHit;
use vm::{Icount, LinAddr, Machine, PAGE_SIZE, PhysAddr, WatchKind, WatchRange};

const STEPS: u64 = 300_000;
const RDX: usize = 2;

/// Goes through the recording in single steps and tells `step` of each: the session before it, the interval that it is in, and the
/// byte that it met first of what `kind` watches, which is all of RAM.
fn walk(
    recording: &Arc<Recording>,
    kind: WatchKind,
    step: &mut dyn FnMut(&Session, &Interval, Option<PhysAddr>),
) {
    let all = WatchRange { addr: PhysAddr(0), len: recording.config().ram_bytes, kind };
    let mut watching = Session::<Machine>::new(recording.clone()).unwrap();
    watching.arm(&BTreeSet::new(), &[all], &BTreeSet::new());
    let mut looking = Session::<Machine>::new(recording.clone()).unwrap();
    for index in 0..recording.intervals() {
        let interval = recording.interval(index).unwrap();
        assert_eq!(interval.from, looking.position(), "no steps are left out");
        while looking.position() < interval.to {
            let next = Icount(looking.position().0 + 1);
            let met = match watching.run_to(next).unwrap() {
                Reached::Watchpoint { hit: WatchHit::Memory { addr, .. }, .. } => Some(addr),
                _ => None,
            };
            step(&looking, &interval, met);
            looking.run_to(next).unwrap();
        }
    }
    assert_eq!(looking.position(), recording.end());
}

fn vector(interval: &Interval, vector: u8) -> bool {
    interval.footprint.vectors[usize::from(vector / 64)] >> (vector % 64) & 1 != 0
}

/// What must be named of the instruction that is about to run.
fn executes(session: &Session, interval: &Interval) {
    let machine = session.machine();
    let cpu = machine.cpu();
    let pc = LinAddr(cpu.linear_pc());
    if session.met(&BTreeSet::from([pc]), &BTreeSet::new()).is_none() {
        return;
    }
    assert!(interval.may_execute(pc), "{pc:?} at {} is not named", session.position());
    let mut code = [0; 2];
    machine.read_linear(pc, &mut code);
    let (port, int) = match code {
        [0xe4 | 0xe6, port] => (Some(u16::from(port)), None),
        [0xec | 0xee, _] => (Some(cpu.gpr[RDX] as u16), None),
        [0xcd, number] => (None, Some(number)),
        [0xf6, 0xf1] => (None, Some(0)),
        _ => (None, None),
    };
    assert!(port.is_none_or(|p| interval.footprint.ports.contains(&p)), "port {port:x?} is not named");
    assert!(int.is_none_or(|v| vector(interval, v)), "vector {int:x?} is not named");
}

fn the_index_names_all_that_happened(guest: &str) {
    let dir = tempfile::tempdir().unwrap();
    let recording = record_busy(guest, &dir.path().join("r"), STEPS, 20_000, 5);
    assert!(recording.intervals() > 10);
    let pages = |interval: &Interval, addr: PhysAddr, kind| {
        assert!(interval.may_meet(&WatchRange { addr, len: 1, kind }), "{addr:?} is not named");
    };
    let mut before = Vec::new();
    walk(&recording, WatchKind::Write, &mut |session, interval, met| {
        executes(session, interval);
        met.into_iter().for_each(|addr| pages(interval, addr, WatchKind::Write));
        if session.position() == interval.from {
            before = session.machine().storage().to_vec();
        } else if session.position().0 + 1 == interval.to.0 {
            // A step may write in two places, of which only the first was seen.
            let all = before.chunks(PAGE_SIZE).zip(session.machine().storage().chunks(PAGE_SIZE));
            for (page, _) in all.enumerate().filter(|(_, (before, after))| before != after) {
                assert!(interval.written.binary_search(&(page as u32)).is_ok(), "page {page:#x}");
            }
        }
    });
    walk(&recording, WatchKind::Read, &mut |_, interval, met| {
        met.into_iter().for_each(|addr| pages(interval, addr, WatchKind::Read));
    });
    for taken in recording.interrupts().unwrap() {
        let index = (0..recording.intervals()).map(|i| recording.interval(i).unwrap());
        let interval = index.into_iter().find(|i| (i.from..i.to).contains(&taken.position)).unwrap();
        assert!(vector(&interval, taken.vector.0), "{taken:?}");
    }
}

#[test]
fn in_real_mode_the_index_names_all_that_happened() {
    the_index_names_all_that_happened(BUSY[0]);
}

#[test]
fn in_protected_mode_the_index_names_all_that_happened() {
    the_index_names_all_that_happened(BUSY[1]);
}

#[test]
fn with_paging_the_index_names_all_that_happened() {
    the_index_names_all_that_happened(BUSY[2]);
}
