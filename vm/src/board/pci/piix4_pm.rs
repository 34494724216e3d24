//! 82371AB (PIIX4), function 3: where the power management ports are.
//!
//! Reference: Intel 82371AB data sheet (290562), "PCI Configuration Registers, Function 3". There is no SMBus host: its
//! enable bit stays 0, as drivers check it.

use super::config_space::{ConfigSpace, Identity};
use serde::{Deserialize, Serialize};

const INTERRUPT_LINE: u8 = 0x3c;
const INTERRUPT_PIN: u8 = 0x3d;
/// PM I/O base: bit 0 reads 1 (I/O space), bits 15:6 are the address.
const PMBASE: u8 = 0x40;
/// Bit 0 enables the PM I/O block.
const PMREGMISC: u8 = 0x80;

const SCI_IRQ: u8 = 9;

/// The power management function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Piix4Pm(ConfigSpace);

impl Piix4Pm {
    pub(super) fn new() -> Piix4Pm {
        let mut config = ConfigSpace::new(&Identity {
            vendor: 0x8086,
            device: 0x7113,
            revision: 0x03,
            class: 0x06_80_00,
            command: 0x0000,
            status: 0x0280,
            header_type: 0,
        });
        config.set(INTERRUPT_PIN, 1);
        config.set(PMBASE, 0x01);
        // DEVACTB, APMC_EN: says that system management mode has been set up, so that firmware does not wait for the
        // SMI handler that cannot run here. QEMU does the same on accelerators without SMM.
        config.set(0x5b, 0x02);
        // DEVRES: the ACPI tables of firmware find COM1, COM2 and LPT1 by these.
        config.set(0x5f, 0x90);
        config.set(0x63, 0x60);
        config.set(0x67, 0x98);
        config.set(0x90, 0x01); // SMBBA: I/O space
        Piix4Pm(config)
    }

    pub(super) fn config(&self) -> &ConfigSpace {
        &self.0
    }

    pub(super) fn write(&mut self, at: u8, value: u8) {
        self.0.set_masked(at, value, writable(at));
    }

    /// Puts the PM I/O block at `base` and its interrupt on IRQ 9, to which the SCI is wired.
    pub(super) fn enable(&mut self, base: u16) {
        let [low, high] = base.to_le_bytes();
        let registers = [(PMBASE, low), (PMBASE + 1, high), (PMREGMISC, 1), (INTERRUPT_LINE, SCI_IRQ)];
        for (at, value) in registers {
            self.write(at, value);
        }
    }

    pub(super) fn pm_base(&self) -> u16 {
        self.0.get_u16(PMBASE) & 0xffc0
    }

    pub(super) fn is_enabled(&self) -> bool {
        self.0.get(PMREGMISC) & 1 != 0
    }
}

/// Bits of each register that a write changes.
fn writable(at: u8) -> u8 {
    match at {
        0x04 => 0x01, // PCICMD: I/O space
        INTERRUPT_LINE => 0xff,
        PMBASE => 0xc0,
        0x41 => 0xff,
        0x44..=0x7c => 0xff, // CNTA, CNTB, GPICTL, DEVRESD, DEVACTA, DEVACTB, DEVRES
        PMREGMISC => 0x01,
        0x90 => 0xf0, // SMBBA
        0x91 => 0xff,
        _ => 0,
    }
}
