//! Running, forward and backward, and what the debugger is told when it stops.

use super::breakpoints::Kind;
use super::target::Debuggee;
use gdbstub::common::{Signal, Tid};
use gdbstub::stub::MultiThreadStopReason;
use gdbstub::target::ext::base::reverse_exec::ReplayLogPosition;
use gdbstub::target::ext::breakpoints::WatchKind;
use snapshots::{Direction, Error, Stop};
use std::ops::Range;

/// The one processor.
pub const TID: Tid = Tid::MIN;
/// A range step looks for Ctrl-C this often.
const STEPS_PER_POLL: u32 = 1000;

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
        let result = match self.pending.take() {
            // It stops by itself; what the debugger may resume behind it is stopped.
            Some(Resume::Step(direction)) => self.history.step(direction),
            Some(_) if self.take_early_ctrl_c() => Ok(Stop::Interrupted),
            Some(Resume::Continue(direction)) => {
                let mut interrupted = self.interrupter();
                self.history.resume(direction, &mut interrupted)
            }
            Some(Resume::RangeStep(range)) => self.step_through(range),
            None => Ok(Stop::Interrupted),
        };
        self.stopped(result)
    }

    fn step_through(&mut self, range: Range<u64>) -> Result<Stop, Error> {
        let mut interrupted = self.interrupter();
        loop {
            for _ in 0..STEPS_PER_POLL {
                let stop = self.history.step(Direction::Forward)?;
                if stop != Stop::Step || !range.contains(&self.history.cpu().linear_pc()) {
                    return Ok(stop);
                }
            }
            if interrupted() {
                return Ok(Stop::Interrupted);
            }
        }
    }

    fn stopped(&self, result: Result<Stop, Error>) -> Stopped {
        use MultiThreadStopReason as Reason;
        let trap = Reason::SignalWithThread { tid: TID, signal: Signal::SIGTRAP };
        let replay_log = |pos| Reason::ReplayLog { tid: Some(TID), pos };
        let mut message = None;
        let reason = match result {
            Ok(Stop::Step) => trap,
            Ok(Stop::Breakpoint(addr)) => match self.breaks.kind(addr) {
                Kind::Software => Reason::SwBreak(TID),
                Kind::Hardware => Reason::HwBreak(TID),
            },
            Ok(Stop::Watch(watch)) => {
                Reason::Watch { tid: TID, kind: WatchKind::Write, addr: watch.linear.0 }
            }
            Ok(Stop::Position) => {
                message = Some(format!("Position {} reached.\n", self.history.position()));
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
