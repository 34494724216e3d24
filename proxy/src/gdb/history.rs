//! What the GDB server needs of a recording: the view of a [`Timeline`] that has no file, machine or engine in it.

use super::scope::View;
use super::transcript::Transcript;
use crate::record::Ended;
use crate::script::Action;
use snapshots::recording::TimedInput;
use snapshots::{Answer, Chips, Direction, Error, Met, Recording, Stop, Timeline};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use vm::watch::Noted;
use vm::{CpuState, Event, Icount, InterruptTaken, LinAddr, Machine, Output, Trap, VmTime, WatchKind};

/// Whether what is met counts.
pub trait Counts {
    /// The breakpoint at this address, where the machine stands.
    fn at(&self, view: &dyn View, addr: LinAddr) -> bool;
    /// What the step before did.
    fn behind(&self, view: &dyn View, event: &Event) -> bool;
    /// Whether everything that can be met counts at present.
    fn all(&self) -> bool;
}

/// What decides whether what is met counts.
pub type Condition = Rc<dyn Counts>;

/// What is told of output: position, the output; false ends it.
pub type Sink<'a> = dyn FnMut(Icount, Output) -> bool + 'a;

/// Steps before and after the present that are looked through for what happened around here.
const AROUND: u64 = 200_000;
/// What happened around here: at most so much.
const AROUND_MOST: usize = 100_000;

/// A condition as timelines take it.
pub(super) fn on_machines(condition: &Condition) -> snapshots::Condition<Machine> {
    let (at, behind, all) = (Rc::clone(condition), Rc::clone(condition), Rc::clone(condition));
    snapshots::Condition::new(move |machine: &Machine, addr| at.at(machine, addr))
        .with_events(move |machine: &Machine, event| behind.behind(machine, event))
        .idle_when(move || all.all())
}

/// See [`History::find`].
pub(super) fn find(
    timeline: &mut Timeline,
    trap: Trap,
    direction: Direction,
    interrupted: &mut dyn FnMut() -> bool,
) -> Result<Answer<Option<Icount>>, Error> {
    let here = timeline.position();
    match direction {
        Direction::Forward => timeline.next_event(trap, Icount(here.0.saturating_add(1)), interrupted),
        Direction::Reverse => timeline.last_event(trap, here, interrupted),
    }
}

/// See [`History::around`].
pub(super) fn around(
    timeline: &mut Timeline,
    trap: Trap,
    interrupted: &mut dyn FnMut() -> bool,
) -> Result<Answer<Vec<Noted>>, Error> {
    let here = timeline.position().0;
    let range = Icount(here.saturating_sub(AROUND))..Icount(here.saturating_add(AROUND));
    timeline.events(trap, range, AROUND_MOST, interrupted)
}

/// History that can be walked in both directions.
pub trait History {
    /// The machine here.
    fn view(&self) -> &dyn View;
    /// The file, as the user named it.
    fn name(&self) -> &str;
    /// QEMU's word for what is done with the recording: `play` or `record`.
    fn mode(&self) -> &'static str {
        "play"
    }
    /// The first position.
    fn start(&self) -> Icount {
        Icount(0)
    }
    /// The last position.
    fn end(&self) -> Icount;
    /// Virtual time at the last position.
    fn end_time(&self) -> VmTime;
    /// Virtual time of the step at a position.
    fn time_at(&mut self, position: Icount) -> Result<VmTime, Error>;
    /// Where we are.
    fn position(&self) -> Icount {
        self.view().moment().position
    }
    /// Virtual time where we are.
    fn now(&self) -> VmTime {
        self.view().moment().now
    }
    /// One step.
    fn step(&mut self, direction: Direction, interrupted: &mut dyn FnMut() -> bool) -> Result<Stop, Error>;
    /// Continues until something stops it.
    fn resume(&mut self, direction: Direction, interrupted: &mut dyn FnMut() -> bool) -> Result<Stop, Error>;
    /// Goes to a position.
    fn seek(&mut self, position: Icount, interrupted: &mut dyn FnMut() -> bool) -> Result<Stop, Error>;
    /// Leaves the recording here, to be changed and to run forward by itself.
    fn divert(&mut self, chips: Chips) -> Result<(), Error>;
    /// Where the present diversion began; `None` on the recorded path.
    fn diverted_from(&self) -> Option<Icount>;
    /// Changes registers, in a diversion.
    fn write_cpu(&mut self, cpu: &CpuState);
    /// Changes memory, in a diversion; how many bytes.
    fn write_linear(&mut self, addr: LinAddr, bytes: &[u8]) -> usize;
    /// Adds a breakpoint.
    fn add_breakpoint(&mut self, addr: LinAddr);
    /// Removes a breakpoint.
    fn remove_breakpoint(&mut self, addr: LinAddr);
    /// Sets what is asked whether a breakpoint that is met counts.
    fn set_condition(&mut self, condition: Condition);
    /// Adds a watchpoint; false if the address is not mapped.
    fn add_watchpoint(&mut self, addr: LinAddr, len: u64, kind: WatchKind) -> bool;
    /// Removes a watchpoint.
    fn remove_watchpoint(&mut self, addr: LinAddr, len: u64, kind: WatchKind);
    /// Adds or removes a trap.
    fn set_trap(&mut self, trap: Trap, on: bool);
    /// The next step after here that a trap is for, or the last before here.
    fn find(
        &mut self,
        trap: Trap,
        direction: Direction,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Answer<Option<Icount>>, Error>;
    /// The steps around here that a trap is for, with what they did.
    fn around(
        &mut self,
        trap: Trap,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Answer<Vec<Noted>>, Error>;
    /// What the guest sent out from the start to a position, in order.
    fn output(
        &mut self,
        end: Icount,
        sink: &mut Sink<'_>,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<(), Error>;
    /// What the guest has sent out in the present diversion.
    fn diverted_output(&self) -> &[(Icount, Output)];
    /// Sets or clears the position break.
    fn set_position_break(&mut self, position: Option<Icount>);
    /// Interrupts taken in all of history, in order.
    fn interrupts(&mut self) -> Result<Vec<InterruptTaken>, Error>;
    /// Whether the recorded step at a position is the delivery of an interrupt; in a diversion it is not recorded.
    fn is_interrupted_at(&mut self, position: Icount) -> Result<bool, Error>;
    /// What came from outside in all of history, in order.
    fn inputs(&mut self) -> Result<Vec<TimedInput>, Error>;
    /// Position and virtual time of each checkpoint that is stored.
    fn checkpoints(&mut self) -> Result<Vec<(Icount, VmTime)>, Error>;
    /// The last step before here that wrote a variable.
    fn last_write(
        &mut self,
        addr: LinAddr,
        len: u64,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Answer<Option<Met>>, Error>;
    /// The first position at which an instruction is about to run.
    fn first_exec(
        &mut self,
        addr: LinAddr,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Answer<Option<Icount>>, Error>;
    /// Does something to the machine, as somebody who sits at it would.
    fn act(&mut self, _action: Action) -> Result<(), String> {
        Err("a machine takes input only while it is recorded: retrograde live".into())
    }
    /// Whether history has no end yet: the machine goes on when nobody holds it.
    fn runs_free(&self) -> bool {
        false
    }
    /// Goes on live from here, in a recording of its own; what to tell the user.
    fn branch(&mut self, _path: &Path) -> Result<String, String> {
        Err("only `retrograde live` can branch; monitor divert shows what would happen".into())
    }
    /// Ends what is being recorded; how it ended, if this is the first call after that.
    fn finish(&mut self) -> Result<Option<Ended>, Error> {
        Ok(None)
    }
}

/// A recording by its file name.
pub struct Recorded {
    name: String,
    recording: Arc<Recording>,
    timeline: Timeline,
    transcript: Transcript,
}

impl Recorded {
    /// The recording in the file `name`, at its start.
    pub fn new(name: String, recording: Arc<Recording>) -> Result<Recorded, Error> {
        let timeline = Timeline::new(Arc::clone(&recording))?;
        Ok(Recorded { name, recording, timeline, transcript: Transcript::default() })
    }

    /// How many bytes it may take beside the guest's memory, and how many machines may search.
    pub fn set_limits(&mut self, bytes: usize, jobs: usize) {
        self.timeline.set_memory_budget(bytes);
        self.timeline.set_jobs(jobs);
    }
}

impl History for Recorded {
    fn view(&self) -> &dyn View {
        self.timeline.machine()
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn start(&self) -> Icount {
        self.recording.start()
    }

    fn end(&self) -> Icount {
        self.recording.end()
    }

    fn end_time(&self) -> VmTime {
        self.recording.end_time()
    }

    fn time_at(&mut self, position: Icount) -> Result<VmTime, Error> {
        self.recording.time_at(position)
    }

    fn step(&mut self, direction: Direction, interrupted: &mut dyn FnMut() -> bool) -> Result<Stop, Error> {
        self.timeline.step(direction, interrupted)
    }

    fn resume(&mut self, direction: Direction, interrupted: &mut dyn FnMut() -> bool) -> Result<Stop, Error> {
        self.timeline.resume(direction, interrupted)
    }

    fn seek(&mut self, position: Icount, interrupted: &mut dyn FnMut() -> bool) -> Result<Stop, Error> {
        self.timeline.seek(position, interrupted)
    }

    fn divert(&mut self, chips: Chips) -> Result<(), Error> {
        self.timeline.divert(chips)
    }

    fn diverted_from(&self) -> Option<Icount> {
        self.timeline.diverted_from()
    }

    fn write_cpu(&mut self, cpu: &CpuState) {
        self.timeline.write_cpu(cpu);
    }

    fn write_linear(&mut self, addr: LinAddr, bytes: &[u8]) -> usize {
        self.timeline.write_linear(addr, bytes)
    }

    fn add_breakpoint(&mut self, addr: LinAddr) {
        self.timeline.add_breakpoint(addr);
    }

    fn remove_breakpoint(&mut self, addr: LinAddr) {
        self.timeline.remove_breakpoint(addr);
    }

    fn set_condition(&mut self, condition: Condition) {
        self.timeline.set_condition(on_machines(&condition));
    }

    fn add_watchpoint(&mut self, addr: LinAddr, len: u64, kind: WatchKind) -> bool {
        self.timeline.add_watchpoint_for(kind, addr, len).is_some()
    }

    fn remove_watchpoint(&mut self, addr: LinAddr, len: u64, kind: WatchKind) {
        self.timeline.remove_watchpoint_for(kind, addr, len);
    }

    fn set_trap(&mut self, trap: Trap, on: bool) {
        if on {
            self.timeline.add_trap(trap)
        } else {
            self.timeline.remove_trap(&trap)
        };
    }

    fn find(
        &mut self,
        trap: Trap,
        direction: Direction,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Answer<Option<Icount>>, Error> {
        find(&mut self.timeline, trap, direction, interrupted)
    }

    fn around(
        &mut self,
        trap: Trap,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Answer<Vec<Noted>>, Error> {
        around(&mut self.timeline, trap, interrupted)
    }

    fn output(
        &mut self,
        end: Icount,
        sink: &mut Sink<'_>,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<(), Error> {
        self.transcript.follow(&self.recording, end, sink, interrupted)
    }

    fn diverted_output(&self) -> &[(Icount, Output)] {
        self.timeline.diverted_output()
    }

    fn set_position_break(&mut self, position: Option<Icount>) {
        self.timeline.set_position_break(position);
    }

    fn interrupts(&mut self) -> Result<Vec<InterruptTaken>, Error> {
        self.recording.interrupts()
    }

    fn is_interrupted_at(&mut self, position: Icount) -> Result<bool, Error> {
        if self.timeline.diverted_from().is_some() {
            return Ok(false);
        }
        let next = Icount(position.0.saturating_add(1));
        Ok(!self.recording.interrupts_between(position, next)?.is_empty())
    }

    fn inputs(&mut self) -> Result<Vec<TimedInput>, Error> {
        self.recording.inputs()
    }

    fn checkpoints(&mut self) -> Result<Vec<(Icount, VmTime)>, Error> {
        Ok(self.recording.checkpoints().map(|c| (c.position, c.time)).collect())
    }

    fn last_write(
        &mut self,
        addr: LinAddr,
        len: u64,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Answer<Option<Met>>, Error> {
        self.timeline.last_write(addr, len, self.timeline.position(), interrupted)
    }

    fn first_exec(
        &mut self,
        addr: LinAddr,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Answer<Option<Icount>>, Error> {
        self.timeline.first_exec(addr, interrupted)
    }
}
