//! What the board keeps for lines to and from the CPU that no chip keeps: NMI, FERR# and IGNNE#.

use serde::{Deserialize, Serialize};

/// The lines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuLines {
    /// A non-maskable interrupt waits to be taken. It is latched on its edge (SDM 3A, 6.7).
    nmi: bool,
    /// FERR#: an x87 exception waits, and CR0.NE was clear when an instruction met it.
    ferr: bool,
    /// The latch behind it, whose output is IRQ 13.
    irq13: bool,
    /// IGNNE#: port 0xf0 was written, and the CPU goes on in spite of the exception.
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
        self.irq13
    }

    /// An x87 exception waits. Whether the CPU may go on all the same.
    pub fn ferr(&mut self) -> bool {
        self.ferr = true;
        self.irq13 |= !self.ignne;
        self.ignne
    }

    /// Whether it matters when the exception is gone.
    pub fn watches_ferr(&self) -> bool {
        self.ferr
    }

    /// No x87 exception waits any more: IGNNE# falls with FERR#.
    pub fn ferr_falls(&mut self) {
        self.ferr = false;
        self.ignne = false;
    }

    /// A write to port 0xf0 or 0xf1.
    pub fn acknowledge_ferr(&mut self) {
        self.irq13 = false;
        self.ignne = self.ferr;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn irq_13_is_latched_until_port_0xf0_is_written() {
        let mut lines = CpuLines::default();
        assert!(!lines.ferr(), "the CPU waits for the interrupt");
        lines.ferr_falls();
        assert!(lines.irq13());
        lines.acknowledge_ferr();
        assert!(!lines.irq13());
        assert!(!lines.ferr(), "the handler cleared the exception first: the next one is reported");
    }

    #[test]
    fn an_exception_is_ignored_until_it_is_cleared() {
        let mut lines = CpuLines::default();
        lines.ferr();
        lines.acknowledge_ferr();
        assert!(lines.ferr() && !lines.irq13());
        lines.ferr_falls();
        assert!(!lines.ferr() && lines.irq13());
    }
}
