//! 82441FX host bridge (PMC): what CPU reads and writes between 640 KiB and 1 MiB reach.
//!
//! Reference: Intel 440FX PCIset data sheet (290549), "PCI Configuration Space Mapped Registers". DRAM timing, row
//! boundaries and error reporting keep what is written and do nothing.

use super::config_space::{ConfigSpace, Identity};
use crate::units::PhysAddr;
use serde::{Deserialize, Serialize};

/// Programmable attribute map: PAM0 to PAM6.
const PAM0: u8 = 0x59;
const PAM6: u8 = 0x5f;
const PAM_READ: u8 = 0x01;
const PAM_WRITE: u8 = 0x02;

/// System management RAM control.
const SMRAM: u8 = 0x72;
const SMRAM_ENABLE: u8 = 0x08;
const SMRAM_LOCK: u8 = 0x10;
const SMRAM_CLOSED: u8 = 0x20;
const SMRAM_OPEN: u8 = 0x40;
/// C_BASE_SEG, hardwired: SMRAM is at 0xa0000.
const SMRAM_BASE: u8 = 0x02;

/// The host bridge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct I440fx(ConfigSpace);

impl I440fx {
    pub(super) fn new() -> I440fx {
        let mut config = ConfigSpace::new(&Identity {
            vendor: 0x8086,
            device: 0x1237,
            revision: 0x02,
            class: 0x06_00_00,
            command: 0x0006,
            status: 0x0280,
            header_type: 0,
        });
        config.set(0x53, 0x80); // DBC: DRAM buffering on
        config.set(0x57, 0x01); // DRAMC: refresh at 50 MHz
        for row in 0x60..=0x67 {
            config.set(row, 0x01); // DRB
        }
        config.set(SMRAM, SMRAM_BASE);
        I440fx(config)
    }

    pub(super) fn config(&self) -> &ConfigSpace {
        &self.0
    }

    pub(super) fn write(&mut self, at: u8, value: u8) {
        if at == SMRAM {
            self.write_smram(value);
        } else {
            self.0.set_masked(at, value, writable(at));
        }
    }

    pub(super) fn pam(&self, addr: PhysAddr) -> (bool, bool) {
        let (register, shift) = match addr.0 {
            0xf0000..0x10_0000 => (PAM0, 4),
            // 16 KiB blocks, two to a register, the lower one in the low nibble.
            block @ 0xc0000..0xf0000 => {
                let index = ((block - 0xc0000) >> 14) as u8;
                (PAM0 + 1 + index / 2, index % 2 * 4)
            }
            _ => return (true, true),
        };
        let attributes = self.0.get(register) >> shift;
        (attributes & PAM_READ != 0, attributes & PAM_WRITE != 0)
    }

    /// Reads of 0xc0000..0x100000 come from RAM, writes go nowhere.
    pub(super) fn protect_shadow_ram(&mut self) {
        for register in PAM0..=PAM6 {
            self.write(register, PAM_READ * 0x11);
        }
    }

    pub(super) fn smram_open(&self) -> bool {
        let smram = self.0.get(SMRAM);
        smram & (SMRAM_ENABLE | SMRAM_OPEN | SMRAM_CLOSED) == SMRAM_ENABLE | SMRAM_OPEN
    }

    /// Everything that decides where CPU accesses go.
    pub(super) fn memory_map(&self) -> ([u8; 7], bool) {
        ([0, 1, 2, 3, 4, 5, 6].map(|i| self.0.get(PAM0 + i)), self.smram_open())
    }

    /// Setting DLCK clears DOPEN and freezes DLCK, DOPEN and G_SMRAME until reset.
    fn write_smram(&mut self, value: u8) {
        if self.0.get(SMRAM) & SMRAM_LOCK != 0 {
            self.0.set_masked(SMRAM, value, SMRAM_CLOSED);
            return;
        }
        self.0.set_masked(SMRAM, value, SMRAM_OPEN | SMRAM_CLOSED | SMRAM_LOCK | SMRAM_ENABLE);
        if value & SMRAM_LOCK != 0 {
            self.0.set_masked(SMRAM, 0, SMRAM_OPEN);
        }
    }
}

/// Bits of each register that a write changes.
fn writable(at: u8) -> u8 {
    match at {
        0x04 => 0x40,                        // PCICMD: parity error response
        0x05 => 0x01,                        // PCICMD: SERR# enable
        0x0d => 0xf8,                        // MLT
        0x50 | 0x51 => 0xff,                 // PMCCFG
        0x52 => 0x1f,                        // DETURBO
        0x53 => 0xff,                        // DBC
        0x54 => 0x07,                        // AXC
        0x55..=0x58 => 0xff,                 // DRT, DRAMC, DRAMT
        PAM0 => (PAM_READ | PAM_WRITE) << 4, // the low nibble is reserved
        0x5a..=PAM6 => (PAM_READ | PAM_WRITE) * 0x11,
        0x60..=0x68 => 0xff, // DRB, FDHC
        0x70 => 0xff,        // MTT
        0x71 => 0xf8,        // CLT
        0x90 => 0xff,        // ERRCMD
        0x93 => 0x0f,        // TRC
        _ => 0,
    }
}
