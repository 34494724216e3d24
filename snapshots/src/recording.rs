//! The recording file.

use std::path::Path;
use thiserror::Error;
use vm::{Icount, Input, InterruptTaken, MachineConfig, VmTime};

/// What can be wrong with a recording or its replay.
#[derive(Debug, Error)]
pub enum Error {
    /// The machine or its engine.
    #[error(transparent)]
    Vm(#[from] vm::VmError),
}

/// An opened recording.
pub struct Recording {}

#[allow(unused_variables)]
impl Recording {
    /// Opens and checks a recording; reads its index, not its pages. Never changes the file.
    pub fn open(path: &Path) -> Result<Recording, Error> {
        todo!()
    }

    /// The hardware.
    pub fn config(&self) -> &MachineConfig {
        todo!()
    }

    /// The last position.
    pub fn end(&self) -> Icount {
        todo!()
    }

    /// Virtual time at the end.
    pub fn end_time(&self) -> VmTime {
        todo!()
    }

    /// Inputs with position and virtual time, in order.
    pub fn inputs(&self) -> &[(Icount, VmTime, Input)] {
        todo!()
    }

    /// Interrupts taken, in order.
    pub fn interrupts(&self) -> &[InterruptTaken] {
        todo!()
    }

    /// How the run ended; `None` if the recorder was killed.
    pub fn ended_by(&self) -> Option<&crate::EndReason> {
        todo!()
    }
}
