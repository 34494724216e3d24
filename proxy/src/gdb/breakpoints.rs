//! Which breakpoints the debuggers set, so that they can be told apart in stop replies and removed when one leaves.

use super::history::History;
use std::collections::BTreeSet;
use vm::LinAddr;

/// Most break- and watchpoints of each kind that a debugger can set.
const MOST: usize = 100_000;
/// Longest watched range in bytes.
const WATCH_MAX_BYTES: u64 = 1 << 20;

/// A kind of breakpoint. Both work the same here; the debugger is told which kind was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `break`
    Software,
    /// `hbreak`
    Hardware,
}

/// The breakpoints that are set.
#[derive(Debug, Default)]
pub struct BreakTable {
    software: BTreeSet<LinAddr>,
    hardware: BTreeSet<LinAddr>,
    watches: BTreeSet<(LinAddr, u64)>,
}

impl BreakTable {
    fn set(&mut self, kind: Kind) -> &mut BTreeSet<LinAddr> {
        match kind {
            Kind::Software => &mut self.software,
            Kind::Hardware => &mut self.hardware,
        }
    }

    /// Sets a breakpoint; false if there are too many.
    pub fn add(&mut self, history: &mut dyn History, kind: Kind, addr: LinAddr) -> bool {
        let set = self.set(kind);
        if set.len() >= MOST {
            return false;
        }
        if set.insert(addr) {
            history.add_breakpoint(addr);
        }
        true
    }

    /// Removes a breakpoint; removing one that is not there is no error in the protocol.
    pub fn remove(&mut self, history: &mut dyn History, kind: Kind, addr: LinAddr) {
        let removed = self.set(kind).remove(&addr);
        if removed && !self.software.contains(&addr) && !self.hardware.contains(&addr) {
            history.remove_breakpoint(addr);
        }
    }

    /// Sets a write watchpoint; false if its address is not mapped, or it is too long, or there are too many.
    pub fn watch(&mut self, history: &mut dyn History, addr: LinAddr, len: u64) -> bool {
        if self.watches.contains(&(addr, len)) {
            return true;
        }
        let fits = (1..=WATCH_MAX_BYTES).contains(&len) && addr.0.checked_add(len - 1).is_some();
        let added = fits && self.watches.len() < MOST && history.add_watchpoint(addr, len);
        if added {
            self.watches.insert((addr, len));
        }
        added
    }

    /// Removes a write watchpoint.
    pub fn unwatch(&mut self, history: &mut dyn History, addr: LinAddr, len: u64) {
        if self.watches.remove(&(addr, len)) {
            history.remove_watchpoint(addr, len);
        }
    }

    /// The kind of the breakpoint at `addr`.
    pub fn kind(&self, addr: LinAddr) -> Kind {
        if self.hardware.contains(&addr) && !self.software.contains(&addr) {
            Kind::Hardware
        } else {
            Kind::Software
        }
    }

    /// Removes all.
    pub fn clear(&mut self, history: &mut dyn History) {
        self.software.iter().chain(&self.hardware).for_each(|&addr| history.remove_breakpoint(addr));
        self.watches.iter().for_each(|&(addr, len)| history.remove_watchpoint(addr, len));
        *self = BreakTable::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gdb::fake::FakeHistory;

    #[test]
    fn a_place_with_two_kinds_stays_until_both_are_removed() {
        let mut history = FakeHistory::new(10);
        let mut table = BreakTable::default();
        let addr = LinAddr(0x1000);
        assert!(table.add(&mut history, Kind::Software, addr));
        assert!(table.add(&mut history, Kind::Hardware, addr));
        table.remove(&mut history, Kind::Software, addr);
        assert_eq!(history.breakpoints, [addr].into());
        assert_eq!(table.kind(addr), Kind::Hardware);
        table.remove(&mut history, Kind::Hardware, addr);
        assert!(history.breakpoints.is_empty());
    }

    #[test]
    fn nothing_is_left_after_clear() {
        let mut history = FakeHistory::new(10);
        let mut table = BreakTable::default();
        table.add(&mut history, Kind::Software, LinAddr(1));
        assert!(table.watch(&mut history, LinAddr(0x2000), 4));
        table.clear(&mut history);
        assert!(history.breakpoints.is_empty() && history.watches.is_empty());
    }

    #[test]
    fn impossible_watchpoints_are_refused() {
        let mut history = FakeHistory::new(10);
        let mut table = BreakTable::default();
        assert!(!table.watch(&mut history, LinAddr(0x2000), 0));
        assert!(!table.watch(&mut history, LinAddr(u64::MAX), 2));
        assert!(!table.watch(&mut history, LinAddr(0x2000), u64::MAX));
    }
}
