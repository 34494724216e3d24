//! The timeline: a session that can be anywhere in a recording.

use crate::recording::{Error, Recording};
use std::sync::Arc;
use vm::{CpuState, Icount, LinAddr, Machine, PhysAddr, VmTime};

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Towards the end.
    Forward,
    /// Towards the start.
    Reverse,
}

/// A write watchpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Watch {
    /// Linear address as the user gave it.
    pub linear: LinAddr,
    /// Physical address that it named when the watchpoint was set.
    pub phys: PhysAddr,
    /// Length in bytes.
    pub len: u64,
}

/// Why the timeline stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// One step was done.
    Step,
    /// The instruction at this address is next and has a breakpoint.
    Breakpoint(LinAddr),
    /// Forward: the step just done wrote the watched range. Reverse: the next step is going to.
    Watch(Watch),
    /// The position asked for (a seek, or `replay_break`) is reached.
    Position,
    /// The start of history.
    Begin,
    /// The end of history.
    End,
    /// The caller's interrupt flag was set. The machine is at a true position.
    Interrupted,
}

/// A recording that can be walked in both directions.
pub struct Timeline {}

#[allow(unused_variables)]
impl Timeline {
    /// Opens a timeline at the start of `recording`.
    pub fn new(recording: Arc<Recording>) -> Result<Timeline, Error> {
        todo!()
    }

    /// The recording.
    pub fn recording(&self) -> &Recording {
        todo!()
    }

    /// Where we are.
    pub fn position(&self) -> Icount {
        todo!()
    }

    /// Virtual time where we are.
    pub fn now(&self) -> VmTime {
        todo!()
    }

    /// Registers here.
    pub fn cpu(&self) -> CpuState {
        todo!()
    }

    /// The machine here, to look at.
    pub fn machine(&self) -> &Machine {
        todo!()
    }

    /// Goes to `position` exactly (clamped to the recording); `interrupted` is polled at least every 20 ms.
    pub fn seek(&mut self, position: Icount, interrupted: &mut dyn FnMut() -> bool) -> Result<Stop, Error> {
        todo!()
    }

    /// One step in `direction`: [`Stop::Step`], [`Stop::Begin`] or [`Stop::End`] (or a breakpoint or watch met by it).
    pub fn step(&mut self, direction: Direction) -> Result<Stop, Error> {
        todo!()
    }

    /// Continues until a breakpoint, watchpoint, position break or the end of history in `direction`. A breakpoint at the
    /// present position is left first.
    pub fn resume(
        &mut self,
        direction: Direction,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Stop, Error> {
        todo!()
    }

    /// Adds a breakpoint; false if it was there.
    pub fn add_breakpoint(&mut self, addr: LinAddr) -> bool {
        todo!()
    }

    /// Removes a breakpoint; false if there was none.
    pub fn remove_breakpoint(&mut self, addr: LinAddr) -> bool {
        todo!()
    }

    /// Adds a write watchpoint on what `addr` names now; `None` if it is not mapped.
    pub fn add_watchpoint(&mut self, addr: LinAddr, len: u64) -> Option<Watch> {
        todo!()
    }

    /// Removes a write watchpoint; false if there was none.
    pub fn remove_watchpoint(&mut self, addr: LinAddr, len: u64) -> bool {
        todo!()
    }

    /// Sets or clears the one position break (QEMU's `replay_break`).
    pub fn set_position_break(&mut self, position: Option<Icount>) {
        todo!()
    }
}
