//! Watched ranges of memory.

use crate::memory::PAGE_SIZE;
use crate::trap::{Event, Trap};
use crate::units::{Icount, PhysAddr};

/// Bytes of a range that are kept of each hit that is noted.
pub const NOTED_BYTES: usize = 16;

/// What a range is watched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WatchKind {
    /// Stores: of instructions, of the processor by itself, and of devices.
    Write,
    /// Those of them after which a watched byte holds something else. A step that stores several times, and the old value last,
    /// counts.
    Change,
    /// Loads of instructions. What the processor reads by itself to deliver an interrupt or to walk page tables, and what
    /// devices read, does not count. A load that crosses a page is taken for the aligned ones that contain it.
    Read,
    /// Both.
    Access,
}

impl WatchKind {
    /// Whether stores count.
    pub fn writes(self) -> bool {
        self != WatchKind::Read
    }

    /// Whether loads count.
    pub fn reads(self) -> bool {
        matches!(self, WatchKind::Read | WatchKind::Access)
    }
}

/// A watched range of storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WatchRange {
    /// Its first byte: a physical address of RAM, or an offset of other storage, as [`Machine::storage_at`](crate::Machine::storage_at) says.
    pub addr: PhysAddr,
    /// Length in bytes.
    pub len: u64,
    /// What it is watched for.
    pub kind: WatchKind,
}

impl WatchRange {
    fn end(&self) -> u64 {
        self.addr.0.saturating_add(self.len)
    }

    fn overlaps(&self, addr: u64, len: u64) -> bool {
        self.addr.0 < addr.saturating_add(len) && addr < self.end()
    }

    /// Its first byte that a load of `[addr, addr + len)` meets.
    fn met_by_load(&self, addr: u64, len: u64) -> Option<u64> {
        (self.kind.reads() && self.overlaps(addr, len)).then(|| self.addr.0.max(addr))
    }

    /// Its first byte that a store meets, which puts `new` in the place of `old`.
    fn met_by_store(&self, addr: u64, old: &[u8], new: &[u8]) -> Option<u64> {
        if !self.kind.writes() || !self.overlaps(addr, new.len() as u64) {
            return None;
        }
        let first = self.addr.0.max(addr);
        if self.kind != WatchKind::Change {
            return Some(first);
        }
        let differs = |at: &u64| old[(at - addr) as usize] != new[(at - addr) as usize];
        (first..self.end().min(addr + new.len() as u64)).find(differs)
    }
}

/// What was looked for was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchHit {
    /// A watched byte.
    Memory {
        /// The first of them.
        addr: PhysAddr,
        /// What it is watched for.
        kind: WatchKind,
    },
    /// Something else.
    Event(Event),
}

/// A hit that was noted while the machine ran on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Noted {
    /// Position of the step.
    pub position: Icount,
    /// Its first hit.
    pub hit: WatchHit,
    /// What the watched ranges held after it, one behind the other, as far as it fits; zeros behind.
    pub value: [u8; NOTED_BYTES],
}

/// The watched ranges, and the first hit that nobody has taken yet.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    ranges: Vec<WatchRange>,
    traps: Vec<Trap>,
    hit: Option<WatchHit>,
}

impl Watched {
    /// Replaces the ranges; true if they changed.
    pub(crate) fn set(&mut self, ranges: &[WatchRange]) -> bool {
        self.hit = None;
        let changed = ranges != self.ranges;
        self.ranges = ranges.to_vec();
        changed
    }

    pub(crate) fn ranges(&self) -> &[WatchRange] {
        &self.ranges
    }

    /// Whether stores to the page at this address, or loads from it, must be looked at.
    #[inline]
    pub(crate) fn watches(&self, page: u64, write: bool) -> bool {
        let counts = |kind: WatchKind| if write { kind.writes() } else { kind.reads() };
        self.ranges.iter().any(|r| counts(r.kind) && r.overlaps(page, PAGE_SIZE as u64))
    }

    /// `[addr, addr + len)` was loaded from: remembers it if it is the first hit.
    pub(crate) fn note_load(&mut self, addr: u64, len: u64) {
        self.note(|range| range.met_by_load(addr, len));
    }

    /// `new` is being stored at `addr`, where `old` was: remembers it if it is the first hit.
    #[inline]
    pub(crate) fn note_store(&mut self, addr: u64, old: &[u8], new: &[u8]) {
        if !self.ranges.is_empty() {
            self.note(|range| range.met_by_store(addr, old, new));
        }
    }

    fn note(&mut self, first_met: impl Fn(&WatchRange) -> Option<u64>) {
        if self.hit.is_none() {
            let met = self.ranges.iter().filter_map(|range| Some((first_met(range)?, range.kind)));
            let first = met.min_by_key(|(addr, _)| *addr);
            self.hit = first.map(|(addr, kind)| WatchHit::Memory { addr: PhysAddr(addr), kind });
        }
    }

    /// Replaces the events that count.
    pub(crate) fn set_traps(&mut self, traps: Vec<Trap>) {
        self.hit = None;
        self.traps = traps;
    }

    /// Something has happened: remembers it if it counts and is the first hit.
    #[inline]
    pub(crate) fn note_event(&mut self, event: Event) {
        if self.hit.is_none() && self.traps.iter().any(|trap| trap.matches(&event)) {
            self.hit = Some(WatchHit::Event(event));
        }
    }

    pub(crate) fn take_hit(&mut self) -> Option<WatchHit> {
        self.hit.take()
    }

    #[inline]
    pub(crate) fn has_hit(&self) -> bool {
        self.hit.is_some()
    }
}
