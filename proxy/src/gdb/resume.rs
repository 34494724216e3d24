//! Running, forward and backward, and what the debugger is told when it stops.

use super::breakpoints::Kind;
use super::target::{Debuggee, Interrupter};
use gdbstub::common::{Signal, Tid};
use gdbstub::stub::MultiThreadStopReason;
use gdbstub::target::ext::base::reverse_exec::ReplayLogPosition;
use gdbstub::target::ext::breakpoints::WatchKind;
use snapshots::{Direction, Error, Stop};
use std::ops::Range;

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
            Some(resume) => self.run(resume, true),
            None => self.stopped(Ok(Stop::Interrupted)),
        }
    }

    /// Runs the machine, and says so to who controls it. Whether the debugger waits for it to stop: otherwise all that the
    /// debugger sends stops it.
    pub(crate) fn run(&mut self, resume: Resume, debugger_waits: bool) -> Stopped {
        let was_diverted = self.history.diverted_from();
        let mut stopped = self.announced(|debuggee| {
            let result = match resume {
                // It stops by itself; what the debugger may resume behind it is stopped.
                Resume::Step(direction) => debuggee.step(direction),
                _ if debuggee.take_early_ctrl_c() => Ok(Stop::Interrupted),
                Resume::Continue(Direction::Forward) => debuggee.run_on(debugger_waits),
                Resume::Continue(Direction::Reverse) => {
                    let mut interrupted = debuggee.interrupter();
                    debuggee.history.resume(Direction::Reverse, &mut interrupted)
                }
                Resume::RangeStep(range) => debuggee.step_through(range),
            };
            debuggee.stopped(result)
        });
        stopped.message = self.diversion_note(was_diverted, stopped.message);
        stopped
    }

    /// Forward, with a pause whenever somebody wants to know something.
    fn run_on(&mut self, debugger_waits: bool) -> Result<Stop, Error> {
        loop {
            let mut interrupter = Interrupter::new(self, debugger_waits);
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

    fn stopped(&mut self, result: Result<Stop, Error>) -> Stopped {
        use MultiThreadStopReason as Reason;
        let trap = Reason::SignalWithThread { tid: TID, signal: Signal::SIGTRAP };
        let replay_log = |pos| Reason::ReplayLog { tid: Some(TID), pos };
        let mut message = None;
        let reason = match result {
            Ok(Stop::Step) => trap,
            Ok(Stop::Breakpoint(addr)) => {
                message = self.breaks.hit(addr).first().map(|(number, b)| {
                    let condition =
                        b.condition.as_ref().map(|(_, text)| format!(" if {text}")).unwrap_or_default();
                    format!("Monitor breakpoint {number} at {addr}{condition}, hit {} times.\n", b.hits)
                });
                match self.breaks.kind(addr) {
                    Some(Kind::Software) if self.features.swbreak => Reason::SwBreak(TID),
                    Some(Kind::Hardware) if self.features.hwbreak => Reason::HwBreak(TID),
                    // Only who has asked for it is told of which kind it was.
                    _ => trap,
                }
            }
            Ok(Stop::Watch(watch)) => {
                let kind = match watch.kind {
                    vm::WatchKind::Write => WatchKind::Write,
                    vm::WatchKind::Read => WatchKind::Read,
                    vm::WatchKind::Access => WatchKind::ReadWrite,
                };
                Reason::Watch { tid: TID, kind, addr: watch.linear.0 }
            }
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
