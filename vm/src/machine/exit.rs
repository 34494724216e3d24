//! How far a machine runs, and why it came back.

use crate::units::{Icount, LinAddr, Vector, VmTime};
use crate::watch::WatchHit;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A hardware interrupt that the CPU took: the step at `position` is its delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterruptTaken {
    /// The position at which it was delivered; the handler's first instruction is at `position + 1`.
    pub position: Icount,
    /// Virtual time of the delivery.
    pub time: VmTime,
    /// The vector the interrupt controller gave; 2 for an NMI.
    pub vector: Vector,
    /// It is a non-maskable one.
    pub nmi: bool,
}

/// How far [`Machine::run`](super::Machine::run) may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunLimit {
    /// Stop exactly here.
    pub position: Icount,
    /// While the CPU is halted do not skip past this time.
    pub time: VmTime,
}

/// Why [`Machine::run`](super::Machine::run) came back. The machine is always between two steps then, and can go on from there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The limit's position is reached.
    Position,
    /// What a run may do is done; see [`Machine::set_effort`](super::Machine::set_effort). Nothing else has happened.
    Pause,
    /// The CPU is halted and the limit's time is reached.
    Time,
    /// The instruction at this address is about to run and has a breakpoint (never reported for the position at which
    /// `run` was called).
    Breakpoint(LinAddr),
    /// A watched range was met by the step at `position`. The machine may have gone a few steps on.
    Watchpoint {
        /// Position of that step (the state *before* it).
        position: Icount,
        /// The first watched byte that it met.
        hit: WatchHit,
    },
    /// The guest switched the power off.
    PowerOff,
    /// The guest asks for a reset; inject [`Input::Reset`](crate::Input::Reset) to carry it out.
    Reset,
    /// A triple fault: the CPU is shut down until [`Input::Reset`](crate::Input::Reset).
    TripleFault,
    /// The guest wrote this value to isa-debug-exit.
    DebugExit(u32),
    /// HLT with interrupts off, or a loop that is never left with interrupts off: nothing but a reset can wake this CPU.
    HaltedForever,
    /// HLT with interrupts on and no timer armed: only an input can wake this CPU.
    Idle,
    /// The machine does not do what the log says that it did.
    Diverged(Box<Divergence>),
}

/// A replay that differs from what was recorded.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("replay diverges at position {position}: expected {expected}, got {actual}")]
pub struct Divergence {
    /// Where it was noticed.
    pub position: Icount,
    /// What the recording says.
    pub expected: String,
    /// What the machine did.
    pub actual: String,
}

/// What can go wrong that is not the guest's doing.
#[derive(Debug, Error)]
pub enum VmError {
    /// The configuration cannot be built.
    #[error("{0}")]
    Config(String),
    /// An image cannot be read any more, so what the machine did since is worth nothing.
    #[error("{0}")]
    Medium(String),
    /// The engine is not the one this program was written for, or it failed.
    #[error("CPU engine: {0}")]
    Engine(String),
}
