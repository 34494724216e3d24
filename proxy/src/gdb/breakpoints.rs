//! Which breakpoints there are: those of the debugger, which go when it leaves, and those set by `monitor break`, which go
//! with them; and under which conditions they count.

use super::agent;
use super::expr::Expr;
use super::history::History;
use super::regs::Layout;
use super::scope::{Scope, View};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use vm::{LinAddr, WatchKind};

/// Most break- and watchpoints of each kind that a debugger can set.
const MOST: usize = 100_000;
/// Longest watched range in bytes.
const WATCH_MAX_BYTES: u64 = 1 << 20;

/// A kind of breakpoint. Both work the same here; the debugger is told which kind was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `break`
    Software,
    /// `hbreak`
    Hardware,
}

/// A breakpoint of `monitor break`.
#[derive(Clone, Debug)]
pub struct MonitorBreak {
    /// Where.
    pub addr: LinAddr,
    /// It counts if this is not 0; with the text that the user wrote.
    pub condition: Option<(Expr, String)>,
    /// How often the machine has stopped at it.
    pub hits: u64,
}

/// Conditions of the debugger, as bytecode: one that holds is enough, and none at all always holds.
type Conditions = Vec<Vec<u8>>;

/// The breakpoints of one address space, shared with whoever is asked whether one that is met counts.
#[derive(Debug, Default)]
struct Rules {
    debugger: BTreeMap<(LinAddr, Kind), Conditions>,
    monitor: BTreeMap<u32, MonitorBreak>,
    layout: Option<Rc<Layout>>,
}

impl Rules {
    fn at(&self, addr: LinAddr) -> impl Iterator<Item = (Kind, &Conditions)> {
        let all = (addr, Kind::Software)..=(addr, Kind::Hardware);
        self.debugger.range(all).map(|((_, kind), conditions)| (*kind, conditions))
    }

    fn monitor_at(&self, addr: LinAddr) -> impl Iterator<Item = (u32, &MonitorBreak)> {
        self.monitor.iter().filter(move |(_, b)| b.addr == addr).map(|(number, b)| (*number, b))
    }

    /// Whether a breakpoint at `addr` counts now. A condition that has no value counts: the user should see it.
    fn count(&self, addr: LinAddr, view: &dyn View) -> bool {
        let plain = self.at(addr).any(|(_, conditions)| conditions.is_empty())
            || self.monitor_at(addr).any(|(_, b)| b.condition.is_none());
        let Some(layout) = self.layout.as_ref().filter(|_| !plain) else { return true };
        let scope = Scope::new(view, layout);
        let bytecode = |code: &Vec<u8>| agent::evaluate(code, &scope).unwrap_or(1) != 0;
        let text = |b: &MonitorBreak| match &b.condition {
            Some((expr, _)) => expr.value(&scope).unwrap_or(1) != 0,
            None => true,
        };
        self.at(addr).any(|(_, conditions)| conditions.iter().any(bytecode))
            || self.monitor_at(addr).any(|(_, b)| text(b))
    }
}

/// The breakpoints that are set.
#[derive(Debug, Default)]
pub struct BreakTable {
    rules: Rc<RefCell<Rules>>,
    watches: BTreeSet<(LinAddr, u64, WatchKind)>,
    /// Conditions of the breakpoint that is set next.
    pub conditions: Conditions,
    last_number: u32,
}

impl BreakTable {
    /// None yet; `history` asks this table whether those that it meets count.
    pub fn new(history: &mut dyn History, layout: Rc<Layout>) -> BreakTable {
        let table = BreakTable::default();
        table.rules.borrow_mut().layout = Some(layout);
        let rules = Rc::clone(&table.rules);
        history.set_condition(Box::new(move |view, addr| rules.borrow().count(addr, view)));
        table
    }

    /// Sets a breakpoint under [`BreakTable::conditions`], which are used up; false if there are too many.
    pub fn add(&mut self, history: &mut dyn History, kind: Kind, addr: LinAddr) -> bool {
        let conditions = std::mem::take(&mut self.conditions);
        let mut rules = self.rules.borrow_mut();
        if rules.debugger.len() >= MOST && !rules.debugger.contains_key(&(addr, kind)) {
            return false;
        }
        rules.debugger.insert((addr, kind), conditions);
        drop(rules);
        history.add_breakpoint(addr);
        true
    }

    /// Removes a breakpoint; removing one that is not there is no error in the protocol.
    pub fn remove(&mut self, history: &mut dyn History, kind: Kind, addr: LinAddr) {
        if self.rules.borrow_mut().debugger.remove(&(addr, kind)).is_some() {
            self.forget(history, addr);
        }
    }

    /// Takes the breakpoint at `addr` away if nobody wants it any more.
    fn forget(&self, history: &mut dyn History, addr: LinAddr) {
        let rules = self.rules.borrow();
        if rules.at(addr).next().is_none() && rules.monitor_at(addr).next().is_none() {
            drop(rules);
            history.remove_breakpoint(addr);
        }
    }

    /// Sets a breakpoint of `monitor break`: its number.
    pub fn add_monitor(
        &mut self,
        history: &mut dyn History,
        addr: LinAddr,
        condition: Option<(Expr, String)>,
    ) -> Result<u32, String> {
        let mut rules = self.rules.borrow_mut();
        if rules.monitor.len() >= MOST {
            return Err(format!("there are {MOST} breakpoints already"));
        }
        self.last_number += 1;
        rules.monitor.insert(self.last_number, MonitorBreak { addr, condition, hits: 0 });
        drop(rules);
        history.add_breakpoint(addr);
        Ok(self.last_number)
    }

    /// Removes a breakpoint of `monitor break`; false if there is none with this number.
    pub fn remove_monitor(&mut self, history: &mut dyn History, number: u32) -> bool {
        let removed = self.rules.borrow_mut().monitor.remove(&number);
        if let Some(removed) = &removed {
            self.forget(history, removed.addr);
        }
        removed.is_some()
    }

    /// The breakpoints of `monitor break` with their numbers.
    pub fn monitor(&self) -> Vec<(u32, MonitorBreak)> {
        self.rules.borrow().monitor.iter().map(|(number, b)| (*number, b.clone())).collect()
    }

    /// The machine has stopped at `addr`: which breakpoints of `monitor break` are there.
    pub fn hit(&mut self, addr: LinAddr) -> Vec<(u32, MonitorBreak)> {
        let mut rules = self.rules.borrow_mut();
        let here = rules.monitor.iter_mut().filter(|(_, b)| b.addr == addr);
        here.map(|(number, b)| {
            b.hits = b.hits.saturating_add(1);
            (*number, b.clone())
        })
        .collect()
    }

    /// Sets a watchpoint, or says why it cannot be.
    pub fn watch(
        &mut self,
        history: &mut dyn History,
        addr: LinAddr,
        len: u64,
        kind: WatchKind,
    ) -> Result<(), String> {
        if self.watches.contains(&(addr, len, kind)) {
            return Ok(());
        }
        if !(1..=WATCH_MAX_BYTES).contains(&len) {
            return Err(format!("{len} bytes cannot be watched, but 1 to {WATCH_MAX_BYTES}"));
        }
        if addr.0.checked_add(len - 1).is_none() {
            return Err(format!("{len} bytes from {addr} go past the last address"));
        }
        if self.watches.len() >= MOST {
            return Err(format!("there are {MOST} watchpoints already"));
        }
        if !history.add_watchpoint(addr, len, kind) {
            return Err(format!("{addr} cannot be watched: it is not mapped here"));
        }
        self.watches.insert((addr, len, kind));
        Ok(())
    }

    /// Removes a watchpoint.
    pub fn unwatch(&mut self, history: &mut dyn History, addr: LinAddr, len: u64, kind: WatchKind) {
        if self.watches.remove(&(addr, len, kind)) {
            history.remove_watchpoint(addr, len, kind);
        }
    }

    /// The kind of the debugger's breakpoint at `addr`, if it has one.
    pub fn kind(&self, addr: LinAddr) -> Option<Kind> {
        self.rules.borrow().at(addr).map(|(kind, _)| kind).next()
    }

    /// Removes all.
    pub fn clear(&mut self, history: &mut dyn History) {
        let mut rules = self.rules.borrow_mut();
        rules.debugger.keys().for_each(|(addr, _)| history.remove_breakpoint(*addr));
        rules.monitor.values().for_each(|b| history.remove_breakpoint(b.addr));
        rules.debugger.clear();
        rules.monitor.clear();
        for (addr, len, kind) in std::mem::take(&mut self.watches) {
            history.remove_watchpoint(addr, len, kind);
        }
        self.conditions.clear();
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
        assert_eq!(table.kind(addr), Some(Kind::Hardware));
        table.remove(&mut history, Kind::Hardware, addr);
        assert!(history.breakpoints.is_empty());
    }

    #[test]
    fn nothing_is_left_after_clear() {
        let mut history = FakeHistory::new(10);
        let mut table = BreakTable::default();
        table.add(&mut history, Kind::Software, LinAddr(1));
        assert_eq!(table.watch(&mut history, LinAddr(0x2000), 4, WatchKind::Write), Ok(()));
        table.clear(&mut history);
        assert!(history.breakpoints.is_empty() && history.watches.is_empty());
    }

    #[test]
    fn impossible_watchpoints_are_refused() {
        let mut history = FakeHistory::new(10);
        let mut table = BreakTable::default();
        for (addr, len, reason) in
            [(0x2000, 0, "1 to 1048576"), (0x2000, u64::MAX, "1 to 1048576"), (u64::MAX, 2, "last address")]
        {
            let refused = table.watch(&mut history, LinAddr(addr), len, WatchKind::Write).unwrap_err();
            assert!(refused.contains(reason), "{refused}");
        }
    }
}
