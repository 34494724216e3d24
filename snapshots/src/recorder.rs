//! Recording: a machine that runs live while its inputs, interrupts and checkpoints are written to a file.

use crate::Replayer;
use crate::checkpointer::{Checkpointer, progress};
use crate::condition::Condition;
use crate::image::Shared;
use crate::pages::{ZERO_PAGE, page_of};
use crate::recording::{End, Error, Progress, Recording};
use crate::session::met_by;
use crate::spacing::{Spacing, thread_time};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use vm::machine::RunLimit;
use vm::units::NS_PER_STEP;
use vm::{Exit, Icount, Input, InterruptTaken, LinAddr, Machine, Output, Trap, VmTime, WatchRange};

/// What has happened is written to the file at least this often, host time, as long as [`Recorder::run`] is called; a little
/// less often with each so many chunks that the index has to name, so that it fits into memory.
const FLUSH_EVERY: Duration = Duration::from_millis(100);
const CHUNKS_PER_FLUSH: usize = 50_000;

/// How a recorded run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndReason {
    /// The guest switched the power off.
    PowerOff,
    /// The guest reset under `no_reboot`.
    Reset,
    /// The guest triple-faulted under `no_reboot`.
    TripleFault,
    /// The guest wrote this to isa-debug-exit.
    DebugExit(u32),
    /// HLT, or a loop that is never left, with interrupts off.
    Hung,
    /// A stop condition of the user held (its text), or the script said `quit`.
    Until(String),
    /// The user interrupted it.
    Interrupted,
    /// The script was still waiting (its line).
    ScriptWaiting(String),
}

/// How often checkpoints are made, and the like.
#[derive(Clone, Debug, Default)]
pub struct RecorderOptions {
    /// Steps between two checkpoints. Unless it is said they come by the time that the guest takes to run.
    pub checkpoint_every: Option<u64>,
    /// Media whose contents go into the recording, by their numbers. It refers to the others by name and hash.
    pub embed: Vec<(usize, Shared)>,
}

/// A machine being recorded.
///
/// Checkpoints are made on arrival at a position: the step before it has just been done, nothing has been injected there
/// and no time has been skipped. That is the one state which the position names, and which replaying meets again.
#[derive(Debug)]
pub struct Recorder<M = Machine> {
    machine: M,
    file: Checkpointer,
    spacing: Spacing,
    inputs: Vec<(Icount, VmTime, Input)>,
    interrupts: Vec<InterruptTaken>,
    written: Progress,
    written_when: Instant,
    /// The machine has just arrived at its position.
    arrived: bool,
    last_interrupt: Option<InterruptTaken>,
    /// Where [`Recorder::run`] stops.
    breakpoints: BTreeSet<LinAddr>,
    traps: BTreeSet<Trap>,
}

impl<M: Replayer> Recorder<M> {
    /// Creates `path` (which must not exist unless `overwrite`) and writes the initial state of `machine`, which is at
    /// position 0 with its kernel loaded.
    pub fn create(
        path: &Path,
        overwrite: bool,
        mut machine: M,
        options: RecorderOptions,
    ) -> Result<Recorder<M>, Error> {
        let mut file = Checkpointer::create(path, overwrite, machine.config())?;
        for (number, source) in &options.embed {
            let bytes = machine.config().medium(*number).map_or(0, |medium| medium.bytes);
            file.writer.medium(*number, bytes, source)?;
        }
        machine.follow(None);
        let mut recorder = Recorder {
            machine,
            file,
            spacing: Spacing::new(options.checkpoint_every),
            inputs: Vec::new(),
            interrupts: Vec::new(),
            written: Progress::default(),
            written_when: Instant::now(),
            arrived: true,
            last_interrupt: None,
            breakpoints: BTreeSet::new(),
            traps: BTreeSet::new(),
        };
        let loaded = recorder.machine.take_dirty();
        recorder.machine.take_footprint();
        let storage = recorder.machine.storage();
        let used: Vec<usize> =
            loaded.into_iter().filter(|p| page_of(storage, *p).is_some_and(|b| b != &ZERO_PAGE)).collect();
        recorder.write_checkpoint(&used)?;
        Ok(recorder)
    }

    /// Runs at most `steps` steps, and while halted skips at most `halt_ns` of virtual time; makes checkpoints as due.
    /// A reset that the guest asks for is the caller's to carry out, by injecting [`Input::Reset`].
    pub fn run(&mut self, steps: u64, halt_ns: u64) -> Result<Exit, Error> {
        let goal = Icount(self.machine.position().0.saturating_add(steps));
        let most_skipped = self.skipped_ns().saturating_add(halt_ns);
        loop {
            let here = self.machine.position();
            let due = self.spacing.latest(self.file.last(), here);
            let patience = most_skipped.saturating_sub(self.skipped_ns());
            let started = self.machine.now();
            let position = goal.min(due).min(self.spacing.look_at(here));
            let before = thread_time();
            let exit = self.machine.run(RunLimit { position, time: started.plus_ns(patience) })?;
            self.spacing.spend(thread_time().saturating_sub(before));
            self.interrupts.extend(self.machine.take_interrupts());
            self.last_interrupt = self.interrupts.last().copied().or(self.last_interrupt);
            let now_at = self.machine.position();
            self.note_arrival(here, &exit);
            let due = self.arrived && now_at > self.file.last() && (now_at == due || self.spacing.is_due());
            match exit {
                Exit::Position if now_at < goal => {
                    if due {
                        self.checkpoint()?;
                    }
                    if let Some(addr) = self.met() {
                        return Ok(Exit::Breakpoint(addr));
                    }
                }
                // The time limit counted the steps done before the halt too: the rest of the patience is still there.
                Exit::Time if patience > 0 && (now_at, self.machine.now()) > (here, started) => {}
                exit => {
                    if due {
                        self.checkpoint()?;
                    }
                    self.flush_if_due(matches!(exit, Exit::Position | Exit::Time))?;
                    return Ok(match self.met() {
                        Some(addr) if exit == Exit::Position && now_at > here => Exit::Breakpoint(addr),
                        _ => exit,
                    });
                }
            }
        }
    }

    /// An input arrives now: logged, then injected.
    pub fn inject(&mut self, input: Input) -> Result<(), Error> {
        self.machine.inject(&input);
        self.inputs.push((self.machine.position(), self.machine.now(), input));
        self.arrived = false;
        Ok(())
    }

    /// What has happened so far, as a recording to look at while this one goes on.
    pub fn look_back(&mut self) -> Result<Arc<Recording>, Error> {
        if self.arrived && self.machine.position() > self.file.last() {
            self.checkpoint()?;
        }
        self.flush()?;
        Recording::unfinished(&self.file.writer, self.written).map(Arc::new)
    }

    /// Replaces breakpoints, watched physical ranges and traps: [`Recorder::run`] stops there. They change nothing else.
    pub fn arm(&mut self, breakpoints: &BTreeSet<LinAddr>, watched: &[WatchRange], traps: &BTreeSet<Trap>) {
        self.breakpoints.clone_from(breakpoints);
        self.traps.clone_from(traps);
        self.machine.set_traps(traps);
        self.machine.set_breakpoints(&breakpoints.iter().copied().collect::<Vec<_>>());
        self.machine.set_watchpoints(watched);
    }

    /// The breakpoint on the instruction that is about to run here, if no interrupt comes first.
    fn met(&self) -> Option<LinAddr> {
        let met = met_by(&self.machine, &self.breakpoints, &self.traps, &Condition::default());
        met.filter(|_| !self.machine.interrupt_comes())
    }

    /// The interrupt that was taken last.
    pub fn last_interrupt(&self) -> Option<InterruptTaken> {
        self.last_interrupt
    }

    /// The file being written.
    pub(crate) fn file(&self) -> &Checkpointer {
        &self.file
    }

    /// A recorder with the same settings for a machine that stands where `file` ends.
    pub(crate) fn another(&self, machine: M, file: Checkpointer) -> Recorder<M> {
        let written = progress(&machine);
        let mut recorder = Recorder {
            machine,
            file,
            spacing: self.spacing.another(),
            inputs: Vec::new(),
            interrupts: Vec::new(),
            written,
            written_when: Instant::now(),
            arrived: true,
            last_interrupt: None,
            breakpoints: BTreeSet::new(),
            traps: BTreeSet::new(),
        };
        recorder.machine.follow(None);
        recorder.machine.take_dirty();
        recorder.machine.take_footprint();
        recorder
    }

    /// Output since the last call.
    pub fn take_output(&mut self) -> Vec<(Icount, Output)> {
        self.machine.take_output()
    }

    /// The machine.
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// Virtual time.
    pub fn now(&self) -> VmTime {
        self.machine.now()
    }

    /// Writes the last checkpoint, the hash and the index, and closes the file.
    pub fn finish(mut self, reason: EndReason) -> Result<(), Error> {
        if self.arrived && self.machine.position() > self.file.last() {
            self.checkpoint()?;
        } else {
            self.flush()?;
        }
        let dirty = self.machine.take_dirty();
        self.write_interval(&dirty)?;
        let hash = self.file.end_hash(&self.machine, &dirty)?;
        self.file.writer.finish(&End { reason, at: self.written, hash })
    }

    /// Whether the machine is now in the state that its position names.
    fn note_arrival(&mut self, before: Icount, exit: &Exit) {
        let moved = self.machine.position() > before;
        self.arrived = match exit {
            Exit::Position
            | Exit::Breakpoint(_)
            | Exit::PowerOff
            | Exit::Reset
            | Exit::TripleFault
            | Exit::DebugExit(_) => moved || self.arrived,
            Exit::Watchpoint { .. } => moved && !self.machine.cpu().halted,
            // Time may have been skipped.
            _ => false,
        };
    }

    /// Virtual time skipped so far.
    fn skipped_ns(&self) -> u64 {
        self.machine.now().0.saturating_sub(self.machine.position().0.saturating_mul(NS_PER_STEP))
    }

    /// Writes what has happened if it is time to. Not `busy`: the caller may now wait for the world outside, so it is.
    fn flush_if_due(&mut self, busy: bool) -> Result<(), Error> {
        let patience = 1 + self.file.writer.indexed() / CHUNKS_PER_FLUSH;
        let every = FLUSH_EVERY.saturating_mul(u32::try_from(patience).unwrap_or(u32::MAX));
        if busy && self.written_when.elapsed() < every { Ok(()) } else { self.flush() }
    }

    /// Writes what has happened.
    fn flush(&mut self) -> Result<(), Error> {
        let at = progress(&self.machine);
        // What was injected here may have come after all else of this moment was written.
        if at != self.written || !self.inputs.is_empty() {
            self.write_events()?;
            self.file.writer.progress(&at)?;
            self.written = at;
        }
        self.written_when = Instant::now();
        Ok(())
    }

    fn write_events(&mut self) -> Result<(), Error> {
        if !self.inputs.is_empty() {
            self.file.writer.inputs(&std::mem::take(&mut self.inputs))?;
        }
        if !self.interrupts.is_empty() {
            self.file.writer.interrupts(&std::mem::take(&mut self.interrupts))?;
        }
        Ok(())
    }

    /// Makes a checkpoint here, where the machine has just arrived.
    fn checkpoint(&mut self) -> Result<(), Error> {
        self.write_events()?;
        let dirty = self.machine.take_dirty();
        self.write_interval(&dirty)?;
        self.write_checkpoint(&dirty)
    }

    /// Writes what was touched since the last checkpoint: `dirty` pages were written.
    fn write_interval(&mut self, dirty: &[usize]) -> Result<(), Error> {
        let touched = self.machine.take_footprint();
        self.file.interval(self.machine.position(), dirty, touched)
    }

    /// Writes a checkpoint that differs from the one before in the pages `dirty`.
    fn write_checkpoint(&mut self, dirty: &[usize]) -> Result<(), Error> {
        let before = thread_time();
        let at = self.file.checkpoint(&self.machine, dirty)?;
        self.spacing.made(at.position, thread_time().saturating_sub(before));
        self.written = at;
        self.written_when = Instant::now();
        Ok(())
    }
}
