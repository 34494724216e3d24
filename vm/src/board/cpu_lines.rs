//! What the board keeps for lines to and from the CPU that no chip keeps: NMI, FERR# and IGNNE#.

use serde::{Deserialize, Serialize};

/// The lines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuLines {
    /// A non-maskable interrupt waits to be taken. It is latched on its edge (SDM 3A, 6.7).
    nmi: bool,
    /// The CPU asks for IRQ 13, as an x87 exception waits and CR0.NE is clear.
    ferr: bool,
    /// Port 0xf0 was written: the CPU goes on in spite of the exception.
    ignne: bool,
}

impl CpuLines {
    /// Whether an NMI waits.
    pub fn nmi(&self) -> bool {
        self.nmi
    }

    /// An edge of the NMI line.
    pub fn raise_nmi(&mut self) {
        self.nmi = true;
    }

    /// The CPU takes it.
    pub fn take_nmi(&mut self) {
        self.nmi = false;
    }

    /// The line to IRQ 13.
    pub fn irq13(&self) -> bool {
        self.ferr
    }

    /// An x87 exception waits. Whether the CPU may go on all the same.
    pub fn ferr(&mut self) -> bool {
        self.ferr |= !self.ignne;
        self.ignne
    }

    /// A write to port 0xf0 or 0xf1.
    pub fn acknowledge_ferr(&mut self) {
        self.ignne |= self.ferr;
        self.ferr = false;
    }
}
