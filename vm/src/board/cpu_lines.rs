//! What the board keeps for lines to and from the CPU that no chip keeps: NMI, FERR# and IGNNE#, and the registers of the
//! local APIC that instructions reach by other ways than its page of memory.

use serde::{Deserialize, Serialize};

/// IA32_APIC_BASE after reset: the bootstrap processor, enabled, at its usual address.
const APIC_BASE: u64 = 0xfee0_0900;

/// The lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuLines {
    /// A non-maskable interrupt waits to be taken. It is latched on its edge (SDM 3A, 6.7).
    nmi: bool,
    /// The CPU asks for IRQ 13, as an x87 exception waits and CR0.NE is clear.
    ferr: bool,
    /// Port 0xf0 was written: the CPU goes on in spite of the exception.
    ignne: bool,
    apic_base: u64,
    tpr: u8,
}

impl Default for CpuLines {
    /// After reset.
    fn default() -> CpuLines {
        CpuLines { nmi: false, ferr: false, ignne: false, apic_base: APIC_BASE, tpr: 0 }
    }
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

    /// No x87 exception waits any more.
    pub fn ferr_gone(&mut self) {
        (self.ferr, self.ignne) = (false, false);
    }

    /// A write to port 0xf0 or 0xf1.
    pub fn acknowledge_ferr(&mut self) {
        self.ignne |= self.ferr;
        self.ferr = false;
    }

    /// IA32_APIC_BASE.
    pub fn apic_base(&self) -> u64 {
        self.apic_base
    }

    /// Writes it.
    pub fn set_apic_base(&mut self, value: u64) {
        self.apic_base = value;
    }

    /// CR8: bits 4 to 7 of the task priority.
    pub fn tpr(&self) -> u8 {
        self.tpr
    }

    /// Writes CR8.
    pub fn set_tpr(&mut self, value: u8) {
        self.tpr = value & 15;
    }
}
