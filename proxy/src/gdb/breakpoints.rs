//! Which breakpoints there are: those of the debugger, which go when it leaves, and those set by `monitor break`, which go
//! with them; and under which conditions they count.

use super::agent;
use super::expr::Expr;
use super::history::{Counts, History};
use super::regs::Layout;
use super::scope::{Scope, View, why_unwatched};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;
use vm::{Event, LinAddr, Trap, WatchKind};

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

/// What a breakpoint of `monitor break` is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spot {
    /// An instruction, by linear address.
    Code(LinAddr),
    /// Something else.
    Trap(Trap),
}

impl Spot {
    /// Makes the machine stop here, or not any more.
    fn set(self, history: &mut dyn History, on: bool) {
        match self {
            Spot::Code(addr) if on => history.add_breakpoint(addr),
            Spot::Code(addr) => history.remove_breakpoint(addr),
            Spot::Trap(trap) => history.set_trap(trap, on),
        }
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Spot::Code(addr) => write!(f, "{addr}"),
            Spot::Trap(Trap::Execute(addr)) => write!(f, "phys {:#x}", addr.0),
            Spot::Trap(Trap::Interrupt(vector)) => write!(f, "irq {vector:#x}"),
            Spot::Trap(Trap::Exception(vector)) => write!(f, "exception {vector}"),
            Spot::Trap(Trap::AddressSpace(None)) => f.write_str("cr3"),
            Spot::Trap(Trap::AddressSpace(Some(value))) => write!(f, "cr3 {value:#x}"),
            Spot::Trap(Trap::Port { first, last, kind }) => {
                write!(f, "io {first:#x}")?;
                if last != first {
                    write!(f, "-{last:#x}")?;
                }
                f.write_str(match kind {
                    WatchKind::Read => " r",
                    WatchKind::Write | WatchKind::Change => " w",
                    WatchKind::Access => "",
                })
            }
        }
    }
}

/// A breakpoint of `monitor break`.
#[derive(Clone, Debug)]
pub struct MonitorBreak {
    /// On what.
    pub spot: Spot,
    /// It counts if this is not 0; with the text that the user wrote.
    pub condition: Option<(Expr, String)>,
    /// How often it was met.
    pub hits: u64,
    /// So often it is passed from now on.
    pub ignored: u64,
}

impl MonitorBreak {
    /// Whether it is met, where the machine stands before the instruction at `addr`.
    fn is_at(&self, addr: LinAddr, view: &dyn View) -> bool {
        match self.spot {
            Spot::Code(at) => at == addr,
            Spot::Trap(Trap::Execute(phys)) => view.translate(addr) == Some(phys),
            Spot::Trap(_) => false,
        }
    }

    fn is_for(&self, event: &Event) -> bool {
        matches!(&self.spot, Spot::Trap(trap) if trap.matches(event))
    }

    /// A condition that has no value counts: the user should see it.
    fn counts(&self, scope: &Scope<'_>) -> bool {
        self.condition.as_ref().is_none_or(|(expr, _)| expr.value(scope).unwrap_or(1) != 0)
    }
}

/// What has stopped the machine.
#[derive(Clone, Copy, Debug)]
pub enum Met {
    /// The breakpoint at this address.
    At(LinAddr),
    /// The step behind which the machine stands did this.
    Behind(Event),
    /// The step before which it stands is going to.
    Before(Event),
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

    fn wants(&self, spot: Spot) -> bool {
        let debugger = matches!(spot, Spot::Code(addr) if self.at(addr).next().is_some());
        debugger || self.monitor.values().any(|b| b.spot == spot)
    }

    /// Whether a breakpoint at `addr` counts now.
    fn count(&self, addr: LinAddr, view: &dyn View) -> bool {
        let monitor = || self.monitor.values().filter(|b| b.is_at(addr, view));
        let plain = self.at(addr).any(|(_, conditions)| conditions.is_empty())
            || monitor().any(|b| b.condition.is_none());
        let Some(layout) = self.layout.as_ref().filter(|_| !plain) else { return true };
        let scope = Scope::new(view, layout);
        let bytecode = |code: &Vec<u8>| agent::evaluate(code, &scope).unwrap_or(1) != 0;
        self.at(addr).any(|(_, conditions)| conditions.iter().any(bytecode))
            || monitor().any(|b| b.counts(&scope))
    }

    /// Whether no breakpoint has a condition.
    fn all_count(&self) -> bool {
        self.debugger.values().all(Vec::is_empty) && self.monitor.values().all(|b| b.condition.is_none())
    }

    /// Whether what the step before did counts.
    fn count_event(&self, event: &Event, view: &dyn View) -> bool {
        let mut monitor = self.monitor.values().filter(|b| b.is_for(event));
        let Some(layout) = self.layout.as_ref() else { return true };
        monitor.any(|b| b.condition.is_none() || b.counts(&Scope::new(view, layout)))
    }

    /// The breakpoints of `monitor break` that have stopped the machine.
    fn met(&self, met: Met, view: &dyn View) -> Vec<u32> {
        let Some(layout) = self.layout.as_ref() else { return Vec::new() };
        let scope = Scope::new(view, layout);
        let is_met = |b: &MonitorBreak| match met {
            Met::At(addr) => b.is_at(addr, view) && b.counts(&scope),
            Met::Behind(event) => b.is_for(&event) && b.counts(&scope),
            // Its condition was looked at behind the step.
            Met::Before(event) => b.is_for(&event),
        };
        self.monitor.iter().filter(|(_, b)| is_met(b)).map(|(number, _)| *number).collect()
    }
}

/// What the history asks.
struct Counted(Rc<RefCell<Rules>>);

impl Counts for Counted {
    fn at(&self, view: &dyn View, addr: LinAddr) -> bool {
        self.0.borrow().count(addr, view)
    }

    fn behind(&self, view: &dyn View, event: &Event) -> bool {
        self.0.borrow().count_event(event, view)
    }

    fn all(&self) -> bool {
        self.0.borrow().all_count()
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
        history.set_condition(Rc::new(Counted(Rc::clone(&table.rules))));
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
            self.forget(history, Spot::Code(addr));
        }
    }

    /// Takes what stops at `spot` away if nobody wants it any more.
    fn forget(&self, history: &mut dyn History, spot: Spot) {
        if self.rules.borrow().wants(spot) {
            return;
        }
        spot.set(history, false);
    }

    /// Sets a breakpoint of `monitor break`: its number.
    pub fn add_monitor(
        &mut self,
        history: &mut dyn History,
        spot: Spot,
        condition: Option<(Expr, String)>,
    ) -> Result<u32, String> {
        let mut rules = self.rules.borrow_mut();
        if rules.monitor.len() >= MOST {
            return Err(format!("there are {MOST} breakpoints already"));
        }
        self.last_number += 1;
        rules.monitor.insert(self.last_number, MonitorBreak { spot, condition, hits: 0, ignored: 0 });
        drop(rules);
        spot.set(history, true);
        Ok(self.last_number)
    }

    /// Removes a breakpoint of `monitor break`; false if there is none with this number.
    pub fn remove_monitor(&mut self, history: &mut dyn History, number: u32) -> bool {
        let removed = self.rules.borrow_mut().monitor.remove(&number);
        if let Some(removed) = &removed {
            self.forget(history, removed.spot);
        }
        removed.is_some()
    }

    /// The breakpoints of `monitor break` with their numbers.
    pub fn monitor(&self) -> Vec<(u32, MonitorBreak)> {
        self.rules.borrow().monitor.iter().map(|(number, b)| (*number, b.clone())).collect()
    }

    /// Passes a breakpoint of `monitor break` so many times from now on; false if there is none with this number.
    pub fn ignore(&mut self, number: u32, count: u64) -> bool {
        let mut rules = self.rules.borrow_mut();
        rules.monitor.get_mut(&number).map(|b| b.ignored = count).is_some()
    }

    /// What has stopped the machine is to be passed: none of the breakpoints there counts yet. Counts them if so.
    pub fn passes(&mut self, met: Met, numbers: &[u32]) -> bool {
        let debuggers = matches!(met, Met::At(addr) if self.kind(addr).is_some());
        let mut rules = self.rules.borrow_mut();
        let ignored = |number: &u32| rules.monitor.get(number).is_some_and(|b| b.ignored > 0);
        if debuggers || numbers.is_empty() || !numbers.iter().all(ignored) {
            return false;
        }
        for number in numbers {
            if let Some(b) = rules.monitor.get_mut(number) {
                (b.hits, b.ignored) = (b.hits.saturating_add(1), b.ignored - 1);
            }
        }
        true
    }

    /// The machine has stopped, by these breakpoints of `monitor break`: the first, after each was counted.
    pub fn hit(&mut self, numbers: &[u32]) -> Option<(u32, MonitorBreak)> {
        let mut rules = self.rules.borrow_mut();
        for number in numbers {
            if let Some(b) = rules.monitor.get_mut(number) {
                b.hits = b.hits.saturating_add(1);
            }
        }
        let first = *numbers.first()?;
        Some((first, rules.monitor.get(&first)?.clone()))
    }

    /// The breakpoints of `monitor break` that have stopped the machine. Conditions on an event have a value behind its step only:
    /// before it, all count.
    pub fn met(&self, met: Met, view: &dyn View) -> Vec<u32> {
        self.rules.borrow().met(met, view)
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
            return Err(why_unwatched(history.view(), addr, len));
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
        for b in rules.monitor.values() {
            b.spot.set(history, false);
        }
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
