//! The timeline: a session that can be anywhere in a recording.
//!
//! Going to a position means: take the nearest checkpoint at or before it (or stay, if the machine is nearer), and run
//! the rest. Checkpoints in the recording lie tens of millions of steps apart; on the way to a position the timeline
//! plants others in memory, ever denser towards it, so that the next step back starts a thousand steps away instead of
//! fifty million. Restoring one copies only the pages in which it differs from where the machine is.
//!
//! Breakpoints and watchpoints belong to the timeline, are put into the machine only while it looks for a stop, and are in
//! no checkpoint: where the machine goes does not depend on them.

mod checkpoints;
mod crew;
pub mod diversion;
mod index;
pub mod questions;
mod search;
#[cfg(test)]
mod tests;
mod tripwire;

use crate::Replayer;
use crate::condition::Condition;
use crate::pages::{MemPage, Page, PageMap, page_of};
use crate::recording::{Error, Recording};
use crate::session::{Reached, Session};
use checkpoints::{Checkpoint, Checkpoints};
use crew::Crew;
use diversion::Diversion;
use index::Index;
use search::Search;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use vm::watch::WatchHit;
use vm::{
    CpuState, Event, Icount, LinAddr, Machine, MachineState, PAGE_SIZE, PhysAddr, Trap, VmTime, WatchKind,
    WatchRange,
};

/// Bytes that checkpoints in memory and unpacked pages may take unless it is said otherwise.
pub const DEFAULT_BUDGET: usize = 1 << 30;
/// Most steps between two looks at the interrupt flag: some milliseconds.
const SLICE: u64 = 2_000_000;
/// Fewest, however slow they are.
const SHORTEST_SLICE: u64 = 10_000;
/// A slice that takes less time may be longer, and one that takes more must be shorter.
const SLICE_TIME: std::ops::Range<Duration> = Duration::from_millis(4)..Duration::from_millis(16);
/// How much beside plain steps is done in a slice, in units of 0.1 µs: five milliseconds.
const SLICE_EFFORT: u64 = 50_000;
/// How far before the position that is gone to checkpoints are planted.
const LADDER: [u64; 8] = [1 << 24, 1 << 22, 1 << 20, 1 << 18, 1 << 16, 1 << 14, 1 << 12, 1 << 10];
/// A restore costs about as much as this many steps: below, running on is cheaper.
const NEAR: u64 = 20_000;
/// While the machine runs on to a stop: distance between the first checkpoints planted, which doubles up to the second.
const FIRST_STRIDE: u64 = 1 << 16;
const LAST_STRIDE: u64 = 1 << 24;

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Towards the end.
    Forward,
    /// Towards the start.
    Reverse,
}

/// A watchpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Watch {
    /// Linear address as the user gave it.
    pub linear: LinAddr,
    /// Physical address that it named when the watchpoint was set.
    pub phys: PhysAddr,
    /// Length in bytes.
    pub len: u64,
    /// What it watches for.
    pub kind: WatchKind,
}

/// Watchpoints, with the physical ranges behind each: one a page.
pub type Watches = BTreeMap<Watch, Vec<WatchRange>>;

/// Why the timeline stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// One step was done.
    Step,
    /// The instruction at this address is next and has a breakpoint.
    Breakpoint(LinAddr),
    /// Forward: the step just done wrote (or read) the watched range. Reverse: the next step is going to.
    Watch(Watch),
    /// Forward: the step just done did this. Reverse: the next step is going to.
    Event(Event),
    /// The position asked for (a seek, or `replay_break`) is reached.
    Position,
    /// The start of history.
    Begin,
    /// The end of history.
    End,
    /// The caller's interrupt flag was set. The machine is at a true position.
    Interrupted,
    /// The machine, which follows no recording, does not go on: why.
    NoFurther(&'static str),
}

/// Whether something was completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Done,
    Interrupted,
}

/// A recording that can be walked in both directions.
#[derive(Debug)]
pub struct Timeline<M = Machine> {
    session: Session<M>,
    checkpoints: Checkpoints,
    index: Index,
    /// What RAM holds, but for the pages written since this was last set.
    base: PageMap,
    breakpoints: BTreeSet<LinAddr>,
    watches: Watches,
    traps: BTreeSet<Trap>,
    position_break: Option<Icount>,
    /// Steps of the next slice.
    slice: u64,
    /// Where the machine is does not belong to the recording.
    diversion: Option<Diversion>,
    /// Bytes that all of it may take beside the guest's storage.
    budget: usize,
    /// How many machines search.
    jobs: usize,
    crew: Option<Crew>,
    /// Fewest steps that are searched with a tripwire.
    worth_a_wire: u64,
}

impl Timeline {
    /// Opens a timeline at the start of `recording`.
    pub fn new(recording: Arc<Recording>) -> Result<Timeline, Error> {
        Timeline::on(recording)
    }
}

impl<M: Replayer> Timeline<M> {
    /// [`Timeline::new`] on any machine.
    pub fn on(recording: Arc<Recording>) -> Result<Timeline<M>, Error> {
        let mut session = Session::new(recording.clone())?;
        session.set_effort(SLICE_EFFORT);
        let mut checkpoints = Checkpoints::new(recording, DEFAULT_BUDGET / 4 * 3);
        let base = checkpoints.stored_pages(0)?;
        Ok(Timeline {
            session,
            checkpoints,
            index: Index::default(),
            base,
            breakpoints: BTreeSet::new(),
            watches: BTreeMap::new(),
            traps: BTreeSet::new(),
            position_break: None,
            slice: SLICE,
            diversion: None,
            budget: DEFAULT_BUDGET,
            jobs: 1,
            crew: None,
            worth_a_wire: search::WORTH_A_WIRE,
        })
    }

    /// The recording, to share it.
    pub fn shared_recording(&self) -> Arc<Recording> {
        self.session.recording().clone()
    }

    /// Replaces all that stops it.
    pub fn set_stops(
        &mut self,
        breakpoints: BTreeSet<LinAddr>,
        watches: Watches,
        traps: BTreeSet<Trap>,
        position_break: Option<Icount>,
        condition: Condition<M>,
    ) {
        self.traps = traps;
        self.breakpoints = breakpoints;
        self.watches = watches;
        self.position_break = position_break;
        self.session.set_condition(condition);
    }

    /// The recording.
    pub fn recording(&self) -> &Recording {
        self.session.recording()
    }

    /// The recording has grown: `recording` begins with all that it was before, in the same file.
    pub fn extend(&mut self, recording: Arc<Recording>) -> Result<(), Error> {
        self.checkpoints.extend(recording.clone());
        self.crew = None;
        self.session.extend(recording)
    }

    /// Where we are.
    pub fn position(&self) -> Icount {
        self.session.position()
    }

    /// Virtual time where we are.
    pub fn now(&self) -> VmTime {
        self.machine().now()
    }

    /// Registers here.
    pub fn cpu(&self) -> CpuState {
        self.machine().cpu()
    }

    /// The machine here, to look at.
    pub fn machine(&self) -> &M {
        self.session.machine()
    }

    /// The hash of the machine here: CPU, chips, storage. It is the recording's own, by which checkpoints are compared.
    pub fn hash(&mut self) -> Result<u64, Error> {
        self.session.hash()
    }

    /// The session, at the position where the timeline stands.
    pub fn into_session(mut self) -> Session<M> {
        self.session.set_effort(u64::MAX);
        self.session
    }

    /// The session.
    pub(crate) fn session(&mut self) -> &mut Session<M> {
        &mut self.session
    }

    /// Sets how many bytes checkpoints in memory, unpacked pages of the recording, and helpers of a search may take
    /// ([`DEFAULT_BUDGET`] at first). A quarter is for pages, and once there are helpers a quarter for them. What lies over it is
    /// dropped.
    pub fn set_memory_budget(&mut self, bytes: usize) {
        self.budget = bytes;
        self.crew = None;
        self.share_budget(bytes);
    }

    /// Sets how many machines may run through a recording in a long search, 1 at first. Each but this one is in a thread of its own and
    /// needs memory for what the guest has; there are only as many as fit into a quarter of the memory budget. What a search finds
    /// does not depend on them.
    pub fn set_jobs(&mut self, jobs: usize) {
        self.jobs = jobs.max(1);
        self.crew = None;
        self.share_budget(self.budget);
    }

    /// Sets from how many steps on a part of the recording is searched for writes by the host's debug registers first, ten million at
    /// first. What a search finds does not depend on it.
    pub fn set_worth_a_wire(&mut self, steps: u64) {
        self.worth_a_wire = steps;
    }

    /// Of so many bytes a quarter is for unpacked pages, the rest for checkpoints.
    fn share_budget(&mut self, bytes: usize) {
        let pages = bytes / 4;
        self.session.set_kept_bytes(pages);
        self.checkpoints.set_budget(bytes - pages);
        self.checkpoints.evict(self.session.position());
    }

    /// Goes to `position` exactly (clamped to the recording); `interrupted` is polled at least every 20 ms. Interrupted, it
    /// stops somewhere on the way.
    pub fn seek(&mut self, position: Icount, interrupted: &mut dyn FnMut() -> bool) -> Result<Stop, Error> {
        let position = position.clamp(self.recording().start(), self.recording().end());
        match self.go(position, interrupted)? {
            Seen::Done => Ok(Stop::Position),
            Seen::Interrupted => Ok(Stop::Interrupted),
        }
    }

    /// One step in `direction`: [`Stop::Step`], [`Stop::Begin`] or [`Stop::End`] (or a breakpoint or watch met by it). A step
    /// back out of a diversion goes to where that began: [`Stop::Position`].
    pub fn step(
        &mut self,
        direction: Direction,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Stop, Error> {
        if let Some(from) = self.diverted_from() {
            return match direction {
                Direction::Forward => self.run_diverted(Some(1), interrupted),
                Direction::Reverse => self.seek(from, interrupted),
            };
        }
        let here = self.position();
        match direction {
            Direction::Forward if here >= self.recording().end() => Ok(Stop::End),
            Direction::Reverse if here <= self.recording().start() => Ok(Stop::Begin),
            Direction::Forward => {
                if self.notices_late() {
                    self.plant()?;
                }
                self.arm();
                let reached = self.session.run_to(Icount(here.0.saturating_add(1)));
                self.disarm();
                Ok(match reached? {
                    Reached::Watchpoint { position, hit } => {
                        self.go(Icount(position.0.saturating_add(1)), &mut || false)?;
                        self.stop_at(hit)
                    }
                    Reached::Breakpoint(addr) => Stop::Breakpoint(addr),
                    Reached::Target | Reached::Pause => Stop::Step,
                })
            }
            Direction::Reverse => {
                // Interrupted, it returns here.
                if here.0.saturating_sub(self.checkpoints.before(Icount(here.0 - 1)).0) > SLICE {
                    self.plant()?;
                }
                match self.go(Icount(here.0 - 1), interrupted)? {
                    Seen::Done => self.what_is_here(here),
                    Seen::Interrupted => self.back_to(here),
                }
            }
        }
    }

    /// Continues until a breakpoint, watchpoint, position break or the end of history in `direction`. A breakpoint at the
    /// present position is left first. Interrupted on the way forward, it stays where it got to; on the way back, it
    /// returns to where it began. Back out of a diversion it goes to where that began: [`Stop::Position`].
    pub fn resume(
        &mut self,
        direction: Direction,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Stop, Error> {
        if let Some(from) = self.diverted_from() {
            return match direction {
                Direction::Forward => self.run_diverted(None, interrupted),
                Direction::Reverse => self.seek(from, interrupted),
            };
        }
        match direction {
            Direction::Forward => {
                self.arm();
                let stop = self.run_on(interrupted);
                self.disarm();
                match stop? {
                    Forward::At(stop) => Ok(stop),
                    Forward::Met { position, hit } => {
                        // It may be beyond that already, where it must not stay, and is not far from it.
                        self.go(Icount(position.0.saturating_add(1)), &mut || false)?;
                        Ok(self.stop_at(hit))
                    }
                }
            }
            Direction::Reverse => self.run_back(interrupted),
        }
    }

    /// Adds a breakpoint; false if it was there.
    pub fn add_breakpoint(&mut self, addr: LinAddr) -> bool {
        self.breakpoints.insert(addr)
    }

    /// Removes a breakpoint; false if there was none.
    pub fn remove_breakpoint(&mut self, addr: LinAddr) -> bool {
        self.breakpoints.remove(&addr)
    }

    /// Replaces the condition under which breakpoints count.
    pub fn set_condition(&mut self, condition: Condition<M>) {
        self.session.set_condition(condition);
    }

    /// Adds a write watchpoint on what `addr` names now; `None` if a byte of it is not mapped.
    pub fn add_watchpoint(&mut self, addr: LinAddr, len: u64) -> Option<Watch> {
        self.add_watchpoint_for(WatchKind::Write, addr, len)
    }

    /// Adds a watchpoint on what `addr` names now; `None` if a byte of it is not mapped.
    pub fn add_watchpoint_for(&mut self, kind: WatchKind, addr: LinAddr, len: u64) -> Option<Watch> {
        let (watch, pieces) = watched(self.machine(), kind, addr, len)?;
        self.add_watch(watch, pieces);
        Some(watch)
    }

    /// Adds a watchpoint whose physical ranges are known, from [`watched`].
    pub fn add_watch(&mut self, watch: Watch, pieces: Vec<WatchRange>) {
        self.watches.insert(watch, pieces);
    }

    /// Removes a write watchpoint; false if there was none.
    pub fn remove_watchpoint(&mut self, addr: LinAddr, len: u64) -> bool {
        self.remove_watchpoint_for(WatchKind::Write, addr, len)
    }

    /// Removes a watchpoint; false if there was none.
    pub fn remove_watchpoint_for(&mut self, kind: WatchKind, addr: LinAddr, len: u64) -> bool {
        let before = self.watches.len();
        self.watches.retain(|w, _| (w.linear, w.len, w.kind) != (addr, len, kind));
        self.watches.len() < before
    }

    /// Adds a trap; false if it was there.
    pub fn add_trap(&mut self, trap: Trap) -> bool {
        self.traps.insert(trap)
    }

    /// Removes a trap; false if there was none.
    pub fn remove_trap(&mut self, trap: &Trap) -> bool {
        self.traps.remove(trap)
    }

    /// Sets or clears the one position break (QEMU's `replay_break`).
    pub fn set_position_break(&mut self, position: Option<Icount>) {
        self.position_break = position;
    }

    /// Runs armed to the next stop.
    fn run_on(&mut self, interrupted: &mut dyn FnMut() -> bool) -> Result<Forward, Error> {
        let start = self.position();
        let end = self.recording().end();
        let target = self.position_break.filter(|p| (start..end).contains(p) && *p > start).unwrap_or(end);
        // With a watchpoint the machine must go back a little when it hits: something near to go back to.
        if self.notices_late() && start < target {
            self.plant()?;
        }
        let mut stride = if self.notices_late() { FIRST_STRIDE } else { LAST_STRIDE };
        let mut plant_at = start.0.saturating_add(stride);
        while self.position() < target {
            if self.leap(target, interrupted)? == Seen::Interrupted {
                return Ok(Forward::At(Stop::Interrupted));
            }
            let slice = self.slice(target).min(Icount(plant_at));
            match self.run_slice(slice)? {
                Reached::Target | Reached::Pause => {}
                Reached::Breakpoint(addr) => return Ok(Forward::At(Stop::Breakpoint(addr))),
                Reached::Watchpoint { position, hit } => return Ok(Forward::Met { position, hit }),
            }
            if self.checkpoints.stored_at(self.position()).is_some() {
                self.plant()?;
            }
            if self.position().0 >= plant_at && self.position() < target {
                self.plant()?;
                stride = (stride * 2).min(LAST_STRIDE);
                plant_at = self.position().0.saturating_add(stride);
            }
            if self.position() < target && interrupted() {
                return Ok(Forward::At(Stop::Interrupted));
            }
        }
        Ok(Forward::At(if target == end { Stop::End } else { Stop::Position }))
    }

    /// From here, armed, past all that cannot have a stop before `target`.
    fn leap(&mut self, target: Icount, interrupted: &mut dyn FnMut() -> bool) -> Result<Seen, Error> {
        let mut to = self.position();
        while to < target
            && let Some(barren) = self.barren(to)?
        {
            to = barren.to;
        }
        // Not from the middle of an interval to its end, which costs more than it saves.
        let to = to.min(target);
        if to.0.saturating_sub(self.position().0) <= NEAR {
            return Ok(Seen::Done);
        }
        self.disarm();
        let seen = self.go(to, interrupted);
        self.arm();
        seen
    }

    /// Goes back to the last stop before the present.
    fn run_back(&mut self, interrupted: &mut dyn FnMut() -> bool) -> Result<Stop, Error> {
        let here = self.position();
        let start = self.recording().start();
        if here <= start {
            return Ok(Stop::Begin);
        }
        let low = self.position_break.filter(|p| *p >= start && *p < here).unwrap_or(start);
        self.plant()?;
        let found = if self.breakpoints.is_empty() && self.watches.is_empty() && self.traps.is_empty() {
            Search::Nothing
        } else {
            self.search_back(low, here, interrupted)?
        };
        let (position, stop) = match found {
            Search::Found(hit) => (hit.position, hit.stop),
            Search::Nothing if self.position_break == Some(low) => (low, Stop::Position),
            Search::Nothing => (low, Stop::Begin),
            Search::Interrupted => return self.back_to(here),
        };
        match self.go(position, interrupted)? {
            Seen::Done => Ok(stop),
            Seen::Interrupted => self.back_to(here),
        }
    }

    /// What a reverse step that came here from `from` met.
    fn what_is_here(&mut self, from: Icount) -> Result<Stop, Error> {
        let met = self.session.met(&self.breakpoints, &self.traps);
        if self.notices_late() {
            let here = self.position();
            self.plant()?;
            self.arm();
            let reached = self.session.run_to(from);
            self.disarm();
            let reached = reached?;
            self.go(here, &mut || false)?;
            if let Reached::Watchpoint { hit, .. } = reached {
                return Ok(self.stop_at(hit));
            }
        }
        Ok(met.map_or(Stop::Step, Stop::Breakpoint))
    }

    /// Interrupted: returns to where it began, which is not far from a checkpoint.
    fn back_to(&mut self, position: Icount) -> Result<Stop, Error> {
        self.go(position, &mut || false)?;
        Ok(Stop::Interrupted)
    }

    /// Goes to `target` without looking for stops, and plants checkpoints on the way. A diversion is left.
    fn go(&mut self, target: Icount, interrupted: &mut dyn FnMut() -> bool) -> Result<Seen, Error> {
        if self.approach(target, interrupted)? == Seen::Interrupted {
            return Ok(Seen::Interrupted);
        }
        self.diversion = None;
        while self.position() < target {
            let here = self.position();
            let rung = LADDER.iter().map(|d| Icount(target.0.saturating_sub(*d))).find(|p| *p > here);
            self.run_slice(self.slice(rung.unwrap_or(target)))?;
            if self.checkpoints.stored_at(self.position()).is_some() {
                self.plant()?;
            } else if rung == Some(self.position()) {
                self.plant_unless_near(target)?;
            } else if self.position() < target && interrupted() {
                return Ok(Seen::Interrupted);
            }
        }
        Ok(Seen::Done)
    }

    /// How far to run towards `target` before looking around: to the recording's next checkpoint at most, so that the
    /// machine is checked against it in passing.
    fn slice(&self, target: Icount) -> Icount {
        let here = self.position();
        let stored = self.checkpoints.stored_after(here).unwrap_or(target);
        Icount(here.0.saturating_add(self.slice)).min(stored).min(target)
    }

    /// Runs to `to`, and learns how long the next slice may be.
    fn run_slice(&mut self, to: Icount) -> Result<Reached, Error> {
        let (started, before) = (Instant::now(), self.position());
        let reached = self.session.run_to(to)?;
        self.learn(started, before);
        Ok(reached)
    }

    /// A slice has come here from `before`.
    fn learn(&mut self, started: Instant, before: Icount) {
        let (took, steps) = (started.elapsed(), self.position().0.saturating_sub(before.0));
        if took >= SLICE_TIME.end {
            self.slice = (steps / 2).clamp(SHORTEST_SLICE, SLICE);
        } else if took < SLICE_TIME.start && steps >= self.slice {
            self.slice = self.slice.saturating_mul(2).min(SLICE);
        }
    }

    /// Restores the best checkpoint for going to `target`, unless the machine is as near.
    fn approach(&mut self, target: Icount, interrupted: &mut dyn FnMut() -> bool) -> Result<Seen, Error> {
        let here = self.position();
        let best = self.checkpoints.before(target);
        let stay = self.session.has_arrived()
            && here <= target
            && (best <= here || target.0.saturating_sub(here.0) <= NEAR);
        if stay { Ok(Seen::Done) } else { self.restore_before(target, interrupted) }
    }

    /// Puts the machine into the state of the nearest checkpoint at or before `target`, however near it is.
    pub(crate) fn restore(&mut self, target: Icount) -> Result<(), Error> {
        self.restore_before(target, &mut || false).map(|_| ())
    }

    /// Puts the machine where the nearest checkpoint at or before `target` is. Interrupted, it stays where it is, if it can stand
    /// there.
    fn restore_before(
        &mut self,
        target: Icount,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Seen, Error> {
        let can_stay = self.session.has_arrived() || self.diversion.is_some();
        let (to, stored) = self.checkpoints.nearest(target)?;
        if self.place(&to.state, to.pages, &mut || can_stay && interrupted())? == Seen::Interrupted {
            return Ok(Seen::Interrupted);
        }
        // Checksums do not show that a chunk is missing or out of place; the hash of what came of it does.
        match stored.map(|index| (index, self.session.check(index))) {
            Some((index, Err(Error::Mismatch(_)))) => Err(self.recording().misplaced(index)),
            Some((_, checked)) => checked.map(|()| Seen::Done),
            None => Ok(Seen::Done),
        }
    }

    /// Puts the machine into a state with these pages.
    fn place(
        &mut self,
        state: &MachineState,
        to: PageMap,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Seen, Error> {
        let mut pages = self.session.changed().to_vec();
        pages.extend(self.base.changed(&to));
        pages.sort_unstable();
        pages.dedup();
        if !self.session.place(state, pages.iter().map(|p| (*p, to.get(*p))), interrupted)? {
            return Ok(Seen::Interrupted);
        }
        self.base = to;
        Ok(Seen::Done)
    }

    /// Plants a checkpoint here unless there is one so near that it would gain little on the way to `target`.
    fn plant_unless_near(&mut self, target: Icount) -> Result<(), Error> {
        let here = self.position();
        let gap = here.0.saturating_sub(self.checkpoints.before(here).0);
        if gap > target.0.saturating_sub(here.0) / 2 { self.plant() } else { Ok(()) }
    }

    /// Makes a checkpoint in memory here. Where the recording has one, the machine is checked against that, and it serves.
    fn plant(&mut self) -> Result<(), Error> {
        let here = self.position();
        if !self.session.has_arrived() {
            return Ok(());
        }
        if let Some(index) = self.checkpoints.stored_at(here) {
            self.session.check(index)?;
            self.base = self.checkpoints.stored_pages(index)?;
            self.session.settle();
            return Ok(());
        }
        self.note_pages();
        let state = Arc::new(self.session.machine().save());
        self.checkpoints.add(Checkpoint { state, pages: self.base.clone() });
        self.checkpoints.evict(here);
        Ok(())
    }

    /// Takes the pages that have changed into the base.
    fn note_pages(&mut self) {
        for page in self.session.changed().to_vec() {
            let hash = self.session.page_hash(page);
            let bytes = page_of(self.session.machine().storage(), page).filter(|_| hash != 0);
            let copy = bytes.map(|bytes| MemPage::new(bytes, hash, &self.checkpoints.meter));
            self.base.set(page, copy.map_or(Page::Zero, Page::Memory));
        }
        self.session.settle();
    }

    /// Puts breakpoints and watchpoints into the machine.
    fn arm(&mut self) {
        let watched: Vec<_> = self.watches.values().flatten().copied().collect();
        self.session.arm(&self.breakpoints, &watched, &self.traps);
    }

    /// Takes them out again.
    fn disarm(&mut self) {
        self.session.arm(&BTreeSet::new(), &[], &BTreeSet::new());
    }

    /// Whether what stops it is known only when the step is done.
    fn notices_late(&self) -> bool {
        !self.watches.is_empty() || self.traps.iter().any(Trap::is_event)
    }

    /// The stop that this is.
    fn stop_at(&self, hit: WatchHit) -> Stop {
        stop_at(&self.watches, hit)
    }
}

/// The stop that this is, with one of `watches`.
pub fn stop_at(watches: &Watches, hit: WatchHit) -> Stop {
    let (addr, kind) = match hit {
        WatchHit::Event(event) => return Stop::Event(event),
        WatchHit::Memory { addr, kind } => (addr, kind),
    };
    let holds = |range: &WatchRange| {
        range.kind == kind && addr.0.checked_sub(range.addr.0).is_some_and(|d| d < range.len)
    };
    let unknown = Watch { linear: LinAddr(addr.0), phys: addr, len: 1, kind };
    Stop::Watch(
        watches.iter().find(|(_, pieces)| pieces.iter().any(holds)).map_or(unknown, |(watch, _)| *watch),
    )
}

/// A watchpoint for what `machine` has at an address now, with the ranges of storage behind it; `None` if a byte of it is not mapped,
/// or is neither RAM nor video memory, or is to be loaded through the window at 0xa0000: other accesses are not watched.
pub fn watched<M: Replayer>(
    machine: &M,
    kind: WatchKind,
    addr: LinAddr,
    len: u64,
) -> Option<(Watch, Vec<WatchRange>)> {
    let end = addr.0.checked_add(len)?;
    let mut pieces = Vec::new();
    let mut at = addr.0;
    while at < end {
        // Neighbouring pages need not be neighbours in physical memory.
        let next = (at | (PAGE_SIZE as u64 - 1)).saturating_add(1).min(end);
        let phys = machine.translate(LinAddr(at))?;
        let stored = || machine.storage_at(phys, true).filter(|_| !kind.reads());
        match stored().or_else(|| machine.storage_at(phys, false)) {
            Some(place) => pieces.push(WatchRange { addr: PhysAddr(place), len: next - at, kind }),
            None if kind.reads() => return None,
            None => {
                for byte in phys.0..phys.0 + (next - at) {
                    add_byte(&mut pieces, machine.video_at(PhysAddr(byte))?, kind);
                }
            }
        }
        at = next;
    }
    Some((Watch { linear: addr, phys: machine.translate(addr)?, len, kind }, pieces))
}

/// Watches one more byte of storage.
fn add_byte(pieces: &mut Vec<WatchRange>, place: u64, kind: WatchKind) {
    match pieces.last_mut() {
        Some(last) if last.addr.0 + last.len == place => last.len += 1,
        _ => pieces.push(WatchRange { addr: PhysAddr(place), len: 1, kind }),
    }
}

/// How running forward came to a stop.
enum Forward {
    /// The machine is where it stopped.
    At(Stop),
    /// The step at this position met a watched byte; the machine may be further on.
    Met { position: Icount, hit: WatchHit },
}
