//! Recording: a machine that runs live while its inputs, interrupts and checkpoints are written to a file.

use crate::recording::Error;
use serde::{Deserialize, Serialize};
use std::path::Path;
use vm::{Exit, Icount, Input, Machine, Output, VmTime};

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
    /// HLT with interrupts off.
    Hung,
    /// A stop condition of the user held (its text), or the script said `quit`.
    Until(String),
    /// The user interrupted it.
    Interrupted,
    /// The script was still waiting (its line).
    ScriptWaiting(String),
}

/// How often checkpoints are made, and the like.
#[derive(Clone, Debug)]
pub struct RecorderOptions {
    /// Steps between two checkpoints.
    pub checkpoint_every: u64,
}

/// A machine being recorded.
pub struct Recorder {}

#[allow(unused_variables)]
impl Recorder {
    /// Creates `path` (which must not exist unless `overwrite`) and writes the initial state of `machine`, which is at
    /// position 0 with its kernel loaded.
    pub fn create(
        path: &Path,
        overwrite: bool,
        machine: Machine,
        options: RecorderOptions,
    ) -> Result<Recorder, Error> {
        todo!()
    }

    /// Runs at most `steps` steps, and while halted skips at most `halt_ns` of virtual time; makes checkpoints as due.
    pub fn run(&mut self, steps: u64, halt_ns: u64) -> Result<Exit, Error> {
        todo!()
    }

    /// An input arrives now: logged, then injected.
    pub fn inject(&mut self, input: Input) -> Result<(), Error> {
        todo!()
    }

    /// Output since the last call.
    pub fn take_output(&mut self) -> Vec<(Icount, Output)> {
        todo!()
    }

    /// The machine.
    pub fn machine(&self) -> &Machine {
        todo!()
    }

    /// Virtual time.
    pub fn now(&self) -> VmTime {
        todo!()
    }

    /// Writes the last checkpoint, the hash and the index, and closes the file.
    pub fn finish(self, reason: EndReason) -> Result<(), Error> {
        todo!()
    }
}
