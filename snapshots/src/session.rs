//! A session: one machine that follows a recording.
//!
//! A position names one state: the one on *arrival*, when the step before has just been done, before any input of that
//! position is injected and before any time is skipped in a halt. Sessions stop on arrival, checkpoints hold such states,
//! and going on from one injects what the recording says. Only a watchpoint may leave the machine elsewhere; see
//! [`Session::has_arrived`].

use crate::Replayer;
use crate::condition::Condition;
use crate::mismatch::Mismatch;
use crate::pages::{Page, RamHash, ZERO_PAGE, encode_state, page_of, rehash};
use crate::recording::{CheckpointBody, Error, Events, PageReader, Progress, Recording};
use std::collections::BTreeSet;
use std::sync::Arc;
use vm::machine::{Divergence, RunLimit};
use vm::watch::{Noted, WatchHit};
use vm::{Exit, Footprint, Icount, LinAddr, Machine, MachineState, Output, Trap, WatchRange};

/// Breakpoints that are passed, because a condition does not hold, before somebody looks around: some milliseconds.
const MOST_PASSED: u32 = 2000;

/// Why [`Session::run_to`] came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// The position asked for.
    Target,
    /// So much was done, or breakpoints were met so often without counting, that somebody should look around. Nothing else has
    /// happened.
    Pause,
    /// The instruction at this address is next and has a breakpoint. It may be at the position asked for.
    Breakpoint(LinAddr),
    /// The step at `position` met a watched range; the machine may be some steps further.
    Watchpoint {
        /// Position of the state before that step.
        position: Icount,
        /// What it met.
        hit: WatchHit,
    },
}

/// One machine at one position of a recording.
#[derive(Debug)]
pub struct Session<M = Machine> {
    machine: M,
    recording: Arc<Recording>,
    reader: PageReader,
    ram: RamHash,
    /// Pages that may have changed since [`Session::settle`].
    changed: Vec<usize>,
    /// What happens from the checkpoint before the machine's position to the next one: the machine's position is in there.
    events: Arc<Events>,
    /// The first position that is not.
    events_end: Icount,
    /// The next input of these to inject.
    next_input: usize,
    breakpoints: BTreeSet<LinAddr>,
    traps: BTreeSet<Trap>,
    condition: Condition<M>,
    has_arrived: bool,
    /// Output since the last call of [`Session::take_output`], if it is wanted.
    output: Option<Vec<(Icount, Output)>>,
}

impl<M: Replayer> Session<M> {
    /// A machine at the start of `recording`.
    pub fn new(recording: Arc<Recording>) -> Result<Session<M>, Error> {
        let machine = M::with_media(recording.config(), recording.open_media()?)?;
        let ram = RamHash::new(recording.config().storage_bytes());
        let mut session = Session {
            machine,
            reader: PageReader::default(),
            ram,
            changed: Vec::new(),
            events: Arc::default(),
            events_end: Icount(0),
            next_input: 0,
            breakpoints: BTreeSet::new(),
            traps: BTreeSet::new(),
            condition: Condition::default(),
            has_arrived: true,
            output: None,
            recording,
        };
        session.machine.take_dirty();
        let first = session.recording.read_checkpoint(0)?;
        session.place(&first.state, first.changes(), &mut || false)?;
        Ok(session)
    }

    /// The recording.
    pub fn recording(&self) -> &Arc<Recording> {
        &self.recording
    }

    /// The machine, to look at.
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// Where it is.
    pub fn position(&self) -> Icount {
        self.machine.position()
    }

    /// Whether the machine is in the state that its position names. It may not be after a watchpoint was hit: then the
    /// next thing must be to place it somewhere.
    pub fn has_arrived(&self) -> bool {
        self.has_arrived
    }

    /// From now on keeps what the guest sends out, for [`Session::take_output`].
    pub fn keep_output(&mut self) {
        self.output.get_or_insert_default();
    }

    /// Output since the last call.
    pub fn take_output(&mut self) -> Vec<(Icount, Output)> {
        self.output.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Runs to `target`, or to what is met before it. Never goes back; `target` is at most the recording's end.
    pub fn run_to(&mut self, target: Icount) -> Result<Reached, Error> {
        let mut passed = 0;
        while self.position() < target {
            self.inject_due()?;
            let limit = self.follow_to(target);
            let before = (self.position(), self.machine.now());
            let exit = self.advance(limit)?;
            if let Exit::Diverged(divergence) = exit {
                return Err(divergence.into());
            }
            self.keep_up()?;
            let moved = (self.position(), self.machine.now()) > before;
            match exit {
                Exit::Watchpoint { position, hit } if !self.is_uncounted(&exit) => {
                    // After a halt time may have been skipped already.
                    self.has_arrived = !self.machine.cpu().halted;
                    return Ok(Reached::Watchpoint { position, hit });
                }
                Exit::Position | Exit::Pause | Exit::Breakpoint(_) | Exit::Watchpoint { .. } => {
                    let met = self.met(&self.breakpoints, &self.traps);
                    if let Some(addr) = met.filter(|_| self.position() > before.0) {
                        return Ok(Reached::Breakpoint(addr));
                    }
                    passed += u32::from(!matches!(exit, Exit::Position | Exit::Pause));
                    if (passed >= MOST_PASSED || exit == Exit::Pause) && self.position() < target {
                        return Ok(Reached::Pause);
                    }
                }
                // The recorder too went on from here, or `target` is here.
                Exit::PowerOff | Exit::Reset | Exit::TripleFault | Exit::DebugExit(_) if moved => {}
                // An input comes now.
                Exit::Time | Exit::Idle | Exit::HaltedForever if self.input_is_due() => {}
                exit => return Err(self.stuck(&exit, target)),
            }
        }
        Ok(Reached::Target)
    }

    /// Whether an event was met under a condition that does not hold. A string instruction on a port may be noticed late: then
    /// the state to ask about is gone, and it counts.
    pub(crate) fn is_uncounted(&self, exit: &Exit) -> bool {
        match exit {
            Exit::Watchpoint { position, hit: WatchHit::Event(event) } => {
                self.position().0 == position.0.wrapping_add(1)
                    && !self.condition.holds_behind(&self.machine, event)
            }
            _ => false,
        }
    }

    /// Which breakpoint is on the instruction that is about to run here: none if the CPU is halted, about to take an
    /// interrupt instead, or in the middle of a REP instruction, which is met at its first iteration.
    pub fn met(&self, breakpoints: &BTreeSet<LinAddr>, traps: &BTreeSet<Trap>) -> Option<LinAddr> {
        let here = self.position();
        let interrupt = self.events.interrupts.binary_search_by_key(&here, |taken| taken.position);
        interrupt.is_err().then(|| met_by(&self.machine, breakpoints, traps, &self.condition)).flatten()
    }

    /// The condition under which breakpoints count.
    pub(crate) fn condition(&self) -> &Condition<M> {
        &self.condition
    }

    /// The machine, to be changed and run without the recording. It has to be placed somewhere before it can follow again.
    pub(crate) fn divert(&mut self) -> &mut M {
        self.has_arrived = false;
        &mut self.machine
    }

    /// Replaces the condition under which breakpoints count; the one before.
    pub fn set_condition(&mut self, condition: Condition<M>) -> Condition<M> {
        std::mem::replace(&mut self.condition, condition)
    }

    /// Replaces breakpoints, watched physical ranges and traps. They are no part of any state.
    pub fn arm(&mut self, breakpoints: &BTreeSet<LinAddr>, watched: &[WatchRange], traps: &BTreeSet<Trap>) {
        self.breakpoints.clone_from(breakpoints);
        self.traps.clone_from(traps);
        self.machine.set_breakpoints(&breakpoints.iter().copied().collect::<Vec<_>>());
        let stops = !breakpoints.is_empty() || !traps.is_empty();
        self.machine.set_condition(self.condition.for_machine().filter(|_| stops));
        self.machine.set_watchpoints(watched);
        self.machine.set_traps(traps);
    }

    /// How much is done until it comes back with [`Reached::Pause`]; see [`Machine::set_effort`].
    pub(crate) fn set_effort(&mut self, allowed: u64) {
        self.machine.set_effort(allowed);
    }

    /// Whether hits of watched ranges are noted instead of stopping the machine; see [`Machine::note_hits`].
    pub(crate) fn note_hits(&mut self, on: bool) {
        self.machine.note_hits(on);
    }

    /// The hits noted since the last call.
    pub(crate) fn take_noted(&mut self) -> Vec<Noted> {
        self.machine.take_noted()
    }

    /// Compares the machine, which has just arrived at a position with a checkpoint, with that checkpoint's hash.
    pub(crate) fn check(&mut self, checkpoint: usize) -> Result<(), Error> {
        let expected = self.recording.checkpoint_info(checkpoint).hash;
        let actual = self.hash()?;
        if actual == expected {
            return Ok(());
        }
        self.has_arrived = false;
        let mismatch = Mismatch::at(&self.recording, checkpoint, &self.machine.save(), &self.ram)?;
        Err(Error::Mismatch(Box::new(mismatch)))
    }

    /// From arrival at the last position goes on to the very end: what was injected and skipped there, and compares.
    pub fn run_out(&mut self) -> Result<(), Error> {
        let (last, hash) = self.recording.last();
        self.machine.follow(Some(Vec::new()));
        loop {
            self.inject_due()?;
            let now = self.machine.now();
            if now >= last.time {
                break;
            }
            let until = self.events.inputs.get(self.next_input).map_or(last.time, |(_, t, _)| *t);
            let position = Icount(last.position.0.saturating_add(1));
            let exit = self.advance(RunLimit { position, time: until.min(last.time) })?;
            if self.position() != last.position || self.machine.now() <= now {
                return Err(self.stuck(&exit, last.position));
            }
        }
        self.has_arrived = false;
        let actual = Progress {
            position: self.position(),
            time: self.machine.now(),
            io_digest: self.machine.save().io_digest,
        };
        if actual != last {
            return Err(self.diverged(format!("to end with {last:?}"), format!("{actual:?}")));
        }
        let actual = self.hash()?;
        match hash {
            Some(expected) if expected != actual => {
                Err(self
                    .diverged(format!("machine hash {expected:#018x} at the end"), format!("{actual:#018x}")))
            }
            _ => Ok(()),
        }
    }

    /// Pages of storage that are not zeros, ascending.
    pub(crate) fn used(&mut self) -> Vec<usize> {
        self.changed();
        self.ram.used()
    }

    /// Pages of storage that are not the same in `other`, ascending.
    pub(crate) fn differing_pages(&mut self, other: &mut Session<M>) -> Vec<usize> {
        self.changed();
        other.changed();
        self.ram.differing(&other.ram)
    }

    /// Pages of storage that are not as `ram` says, ascending.
    pub(crate) fn pages_differing_from(&mut self, ram: &RamHash) -> Vec<usize> {
        self.changed();
        self.ram.differing(ram)
    }

    /// The recording has grown: this one begins with all that the one before was.
    pub(crate) fn extend(&mut self, recording: Arc<Recording>) -> Result<(), Error> {
        self.recording = recording;
        if self.has_arrived { self.look_up_events() } else { Ok(()) }
    }

    /// Sets how many bytes of pages of the recording may be kept unpacked.
    pub(crate) fn set_kept_bytes(&mut self, bytes: usize) {
        self.reader.set_kept_bytes(bytes);
    }

    /// Only the machine.
    pub(crate) fn into_machine(self) -> M {
        self.machine
    }

    /// What the machine touched since the last call.
    pub(crate) fn take_footprint(&mut self) -> Footprint {
        self.machine.take_footprint()
    }

    /// Pages that may have changed since [`Session::settle`], each once, ascending. Brings their hashes up to date.
    pub(crate) fn changed(&mut self) -> &[usize] {
        let dirty = self.machine.take_dirty();
        rehash(&mut self.ram, self.machine.storage(), &dirty);
        self.changed.extend(dirty);
        self.changed.sort_unstable();
        self.changed.dedup();
        &self.changed
    }

    /// What RAM holds now is known: no page has changed.
    pub(crate) fn settle(&mut self) {
        self.changed.clear();
    }

    /// The short hash of a page, as of the last [`Session::changed`].
    pub(crate) fn page_hash(&self, page: usize) -> u64 {
        self.ram.page(page)
    }

    /// Puts the machine into a saved state of arrival, by replacing the given pages of RAM: all that may differ. If that
    /// fails half-way, all of them count as changed. False: it was `interrupted` while pages were unpacked, and nothing has changed.
    pub(crate) fn place(
        &mut self,
        state: &MachineState,
        pages: impl Iterator<Item = (usize, Page)>,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<bool, Error> {
        let mut pages: Vec<_> = pages.collect();
        // Those in the recording in the order in which they are stored: they are unpacked many at a time.
        pages.sort_by_key(|(_, page)| if let Page::File(stored) = page { stored.id } else { 0 });
        let stored =
            pages.iter().filter_map(|(_, page)| if let Page::File(s) = page { Some(*s) } else { None });
        if !self.reader.prepare(&self.recording, stored, interrupted) {
            return Ok(false);
        }
        self.has_arrived = false;
        self.changed.extend(pages.iter().map(|(number, _)| *number));
        for (number, page) in pages {
            let bytes = match &page {
                Page::Zero => &ZERO_PAGE,
                Page::File(stored) => self.reader.page(&self.recording, *stored)?,
                Page::Memory(page) => &*page.bytes,
            };
            if page_of(self.machine.storage(), number) != Some(bytes) {
                self.machine.write_page(number, bytes);
            }
            self.ram.set(number, page.hash());
        }
        self.machine.restore(state);
        self.machine.take_dirty();
        self.settle();
        self.machine.take_output();
        self.machine.take_interrupts();
        self.look_up_events()?;
        self.has_arrived = true;
        Ok(true)
    }

    /// One run of the machine. What it took and sent does not pile up in it.
    fn advance(&mut self, limit: RunLimit) -> Result<Exit, Error> {
        let exit = self.machine.run(limit);
        self.machine.take_interrupts();
        let output = self.machine.take_output();
        if let Some(kept) = &mut self.output {
            kept.extend(output);
        }
        if exit.is_err() {
            self.has_arrived = false;
        }
        Ok(exit?)
    }

    /// Injects the inputs of this position and time.
    fn inject_due(&mut self) -> Result<(), Error> {
        while self.input_is_due() {
            let (_, _, input) = &self.events.inputs[self.next_input];
            self.machine.inject(input);
            self.next_input += 1;
        }
        match self.events.inputs.get(self.next_input) {
            Some((p, t, _)) if (*p, *t) < (self.position(), self.machine.now()) => {
                let expected = format!("an input at position {p}, time {t}");
                Err(self.diverged(expected, format!("time {} already", self.machine.now())))
            }
            _ => Ok(()),
        }
    }

    /// After the machine has run: goes on to the next checkpoint's events if it has come there.
    fn keep_up(&mut self) -> Result<(), Error> {
        if self.position() < self.events_end {
            return Ok(());
        }
        if let Some((p, t, _)) = self.events.inputs.get(self.next_input) {
            let expected = format!("an input at position {p}, time {t}");
            return Err(self.diverged(expected, format!("position {} already", self.position())));
        }
        let found = self.look_up_events();
        self.has_arrived &= found.is_ok();
        found
    }

    /// Reads what happens around the machine's position.
    fn look_up_events(&mut self) -> Result<(), Error> {
        let here = self.position();
        let checkpoint = self.recording.checkpoint_before(here).unwrap_or(0);
        self.events = self.recording.events(checkpoint)?;
        let next = self.recording.checkpoints().nth(checkpoint + 1);
        self.events_end = next.map_or(Icount(u64::MAX), |next| next.position);
        self.next_input = self.events.inputs.partition_point(|(p, _, _)| *p < here);
        Ok(())
    }

    /// Whether the next input comes at this position and time.
    fn input_is_due(&self) -> bool {
        self.events
            .inputs
            .get(self.next_input)
            .is_some_and(|(p, t, _)| (*p, *t) == (self.position(), self.machine.now()))
    }

    /// How far the machine may run towards `target` before something must be injected. It is given the interrupts up to
    /// there.
    fn follow_to(&mut self, target: Icount) -> RunLimit {
        let here = self.position();
        // No halt lasts longer than the recording.
        let forever = self.recording.end_time();
        let target = target.min(self.events_end);
        let (limit, log_end) = match self.events.inputs.get(self.next_input) {
            // The CPU is halted here, and the input comes later at this same position: before any interrupt, which would
            // be a step.
            Some((p, t, _)) if *p == here => {
                (RunLimit { position: Icount(here.0.saturating_add(1)), time: *t }, here)
            }
            Some((p, _, _)) => (RunLimit { position: target.min(*p), time: forever }, target.min(*p)),
            None => (RunLimit { position: target, time: forever }, target),
        };
        let interrupts = &self.events.interrupts;
        let first = interrupts.partition_point(|taken| taken.position < here);
        let count = interrupts[first..].partition_point(|taken| taken.position < log_end);
        self.machine.follow(Some(interrupts[first..first + count].to_vec()));
        limit
    }

    /// The hash of the machine as it is.
    pub(crate) fn hash(&mut self) -> Result<u64, Error> {
        self.changed();
        let state = encode_state(&self.machine.save());
        let state = state.map_err(|e| Error::Unrecordable {
            path: self.recording.path().to_owned(),
            what: e.to_string(),
        })?;
        Ok(self.ram.with_state(&state))
    }

    /// The hash of what the guest has seen: CPU, storage, time, and all that it read from chips. Chips are not in it.
    pub(crate) fn guest_hash(&mut self) -> u64 {
        self.changed();
        let state = self.machine.save();
        let seen = format!("{:?} {} {}", state.cpu, state.skipped_ns, state.io_digest);
        self.ram.with_state(seen.as_bytes())
    }

    fn stuck(&mut self, exit: &Exit, target: Icount) -> Error {
        self.diverged(format!("to go on to position {target}"), format!("{exit:?}"))
    }

    fn diverged(&mut self, expected: String, actual: String) -> Error {
        self.has_arrived = false;
        Error::Diverged(Box::new(Divergence { position: self.position(), expected, actual }))
    }
}

impl CheckpointBody {
    /// The pages that may differ from the checkpoint before.
    pub(crate) fn changes(&self) -> impl Iterator<Item = (usize, Page)> + Clone + '_ {
        self.pages.iter().map(|change| {
            let page = change.stored.map_or(Page::Zero, Page::File);
            (change.page as usize, page)
        })
    }
}

/// Which breakpoint is on the instruction that `machine` is about to run, if no interrupt comes first: none if the CPU
/// is halted or in the middle of a REP instruction.
pub(crate) fn met_by<M: Replayer>(
    machine: &M,
    breakpoints: &BTreeSet<LinAddr>,
    traps: &BTreeSet<Trap>,
    condition: &Condition<M>,
) -> Option<LinAddr> {
    if breakpoints.is_empty() && traps.iter().all(Trap::is_event) {
        return None;
    }
    let runs = !machine.is_halted() && !machine.in_rep();
    let pc = LinAddr(machine.linear_pc());
    let physical = || {
        let executes = traps.iter().any(|trap| !trap.is_event());
        executes && machine.translate(pc).is_some_and(|phys| traps.contains(&Trap::Execute(phys)))
    };
    (runs && (breakpoints.contains(&pc) || physical()) && condition.holds(machine, pc)).then_some(pc)
}
