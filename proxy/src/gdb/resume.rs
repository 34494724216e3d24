//! Running, forward and backward, and what the debugger is told when it stops.

use super::breakpoints::{Kind, Met};
use super::target::{Debuggee, Doing, Interrupter};
use gdbstub::common::{Signal, Tid};
use gdbstub::stub::MultiThreadStopReason;
use gdbstub::target::ext::base::reverse_exec::ReplayLogPosition;
use gdbstub::target::ext::breakpoints::WatchKind;
use snapshots::{Direction, Error, Stop};
use std::ops::Range;
use vm::{Event, Icount};

/// The one processor.
pub const TID: Tid = Tid::MIN;

/// What the debugger wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resume {
    /// One step.
    Step(Direction),
    /// On, until something stops it.
    Continue(Direction),
    /// Steps forward for as long as the program counter is in this range.
    RangeStep(Range<u64>),
}

/// A stop, with what the user is to be told beside it.
#[derive(Debug)]
pub struct Stopped {
    /// For the stop reply.
    pub reason: MultiThreadStopReason<u64>,
    /// For the debugger's console.
    pub message: Option<String>,
}

impl Debuggee {
    /// Does what the debugger asked for last.
    pub fn run_pending(&mut self) -> Stopped {
        match self.pending.take() {
            Some(resume) => self.run(resume, Doing::AwaitsStop),
            None => self.stopped(Ok(Stop::Interrupted), Direction::Forward),
        }
    }

    /// Runs the machine, and says so to who controls it.
    pub(crate) fn run(&mut self, resume: Resume, debugger: Doing) -> Stopped {
        let before = std::mem::replace(&mut self.debugger, debugger);
        let was_diverted = self.history.diverted_from();
        // LLDB goes through lines and string instructions by single steps: it is told once where it is.
        let steps = matches!(resume, Resume::Step(_));
        let steps_on = std::mem::replace(&mut self.steps, steps) && steps && self.features.lldb;
        let direction = match resume {
            Resume::Step(direction) | Resume::Continue(direction) => direction,
            Resume::RangeStep(_) => Direction::Forward,
        };
        let mut stopped = self.announced(|debuggee| {
            let result = match resume {
                _ if debugger == Doing::AwaitsStop && std::mem::take(&mut debuggee.stays) => {
                    Ok(Stop::Interrupted)
                }
                // It stops by itself; what the debugger may resume behind it is stopped.
                Resume::Step(direction) => debuggee.step(direction),
                // What somebody else has resumed is not what the debugger wants to stop.
                _ if debugger == Doing::AwaitsStop && debuggee.take_early_ctrl_c() => Ok(Stop::Interrupted),
                Resume::Continue(direction) => debuggee.run_to_stop(direction),
                Resume::RangeStep(range) => debuggee.step_through(range),
            };
            debuggee.stopped(result, direction)
        });
        self.debugger = before;
        stopped.message = self.diversion_note(was_diverted, steps_on, stopped.message);
        stopped
    }

    /// Runs a machine that no debugger holds, until `woken` says that something has come from outside.
    pub(crate) fn run_free(&mut self, woken: &mut dyn FnMut() -> bool) {
        let mut interrupter = Interrupter::new(self, Doing::Something);
        let stop = self.history.resume(Direction::Forward, &mut || woken() || interrupter.stops());
        match stop {
            Ok(Stop::Interrupted) => return,
            Ok(stop) => tracing::info!("stopped: {stop:?}"),
            Err(error) => crate::note!("retrograde: {error}"),
        }
        self.pause(true);
        self.announced(|_| ());
    }

    /// Forward, with a pause whenever somebody wants to know something.
    fn run_on(&mut self) -> Result<Stop, Error> {
        loop {
            let mut interrupter = Interrupter::new(self, self.debugger);
            let mut stops = false;
            let stop = self.history.resume(Direction::Forward, &mut || {
                stops = interrupter.stops();
                stops || interrupter.pauses()
            })?;
            if stop != Stop::Interrupted || stops {
                return Ok(stop);
            }
            self.serve_control_between();
        }
    }

    /// On, past the breakpoints that are to be ignored.
    fn run_to_stop(&mut self, direction: Direction) -> Result<Stop, Error> {
        loop {
            let mut interrupted = self.interrupter();
            let stop = match direction {
                Direction::Forward => self.run_on()?,
                Direction::Reverse => self.history.resume(Direction::Reverse, &mut interrupted)?,
            };
            let Some(met) = met(&stop, direction) else { return Ok(stop) };
            let numbers = self.monitor_breaks(met)?;
            if !self.breaks.passes(met, &numbers) {
                return Ok(stop);
            }
            if interrupted() {
                return Ok(Stop::Interrupted);
            }
        }
    }

    /// The breakpoints of `monitor break` that have stopped the machine.
    fn monitor_breaks(&mut self, met: Met) -> Result<Vec<u32>, Error> {
        let numbers = self.breaks.met(met, self.history.view());
        let Met::Before(event) = met else { return Ok(numbers) };
        if numbers.len() < 2 {
            return Ok(numbers);
        }
        // Whose condition holds shows behind the step.
        let here = self.history.position();
        self.history.seek(Icount(here.0.saturating_add(1)), &mut || false)?;
        let behind = self.breaks.met(Met::Behind(event), self.history.view());
        self.history.seek(here, &mut || false)?;
        Ok(if behind.is_empty() { numbers } else { behind })
    }

    fn stopped(&mut self, result: Result<Stop, Error>, direction: Direction) -> Stopped {
        use MultiThreadStopReason as Reason;
        let trap = Reason::SignalWithThread { tid: TID, signal: Signal::SIGTRAP };
        let replay_log = |pos| Reason::ReplayLog { tid: Some(TID), pos };
        let met = result.as_ref().ok().and_then(|stop| met(stop, direction));
        let mut message = met.and_then(|met| {
            // What cannot be found out is an error of the next command.
            let numbers = self.monitor_breaks(met).unwrap_or_default();
            let (number, b) = self.breaks.hit(&numbers)?;
            let condition = b.condition.as_ref().map(|(_, text)| format!(" if {text}")).unwrap_or_default();
            let what = match met {
                Met::At(_) => String::new(),
                Met::Behind(event) => format!("Behind the step that {}.\n", did(&event)),
                Met::Before(event) => format!("Before the step that {}.\n", did(&event)),
            };
            Some(format!(
                "Monitor breakpoint {number} at {}{condition}, hit {} times.\n{what}",
                b.spot, b.hits
            ))
        });
        let reason = match result {
            Ok(Stop::Step) => trap,
            Ok(Stop::Breakpoint(addr)) => {
                match self.breaks.kind(addr) {
                    Some(Kind::Software) if self.features.swbreak => Reason::SwBreak(TID),
                    Some(Kind::Hardware) if self.features.hwbreak => Reason::HwBreak(TID),
                    // Only who has asked for it is told of which kind it was.
                    _ => trap,
                }
            }
            Ok(Stop::Watch(watch)) => {
                let kind = match watch.kind {
                    vm::WatchKind::Write | vm::WatchKind::Change => WatchKind::Write,
                    vm::WatchKind::Read => WatchKind::Read,
                    vm::WatchKind::Access => WatchKind::ReadWrite,
                };
                Reason::Watch { tid: TID, kind, addr: watch.linear.0 }
            }
            Ok(Stop::Event(_)) => trap,
            Ok(Stop::Position) => {
                message = Some(format!("Position {} reached.\n", self.history.position()));
                trap
            }
            Ok(Stop::NoFurther(why)) => {
                message = Some(format!("The machine does not go on: {why}.\n"));
                trap
            }
            Ok(Stop::Begin) => replay_log(ReplayLogPosition::Begin),
            Ok(Stop::End) => replay_log(ReplayLogPosition::End),
            Ok(Stop::Interrupted) => Reason::SignalWithThread { tid: TID, signal: Signal::SIGINT },
            Err(error) => {
                tracing::error!("{error}");
                message = Some(format!("retrograde: {error}\n"));
                trap
            }
        };
        Stopped { reason, message }
    }
}

/// What breakpoints may have stopped the machine.
fn met(stop: &Stop, direction: Direction) -> Option<Met> {
    match (stop, direction) {
        (Stop::Breakpoint(addr), _) => Some(Met::At(*addr)),
        (Stop::Event(event), Direction::Forward) => Some(Met::Behind(*event)),
        (Stop::Event(event), Direction::Reverse) => Some(Met::Before(*event)),
        _ => None,
    }
}

/// What a step does, in words.
pub fn did(event: &Event) -> String {
    match event {
        Event::Port { port, size, write, value } => {
            let digits = usize::from(*size) * 2;
            let (verb, way) = if *write { ("writes", "to") } else { ("reads", "from") };
            format!("{verb} {value:#0width$x} {way} port {port:#x}", width = digits + 2)
        }
        Event::Interrupt(vector) => format!("delivers interrupt {vector:#04x}"),
        Event::Exception(vector) => format!("raises exception {vector}"),
        Event::AddressSpace(cr3) => format!("loads CR3 with {cr3:#x}"),
    }
}
