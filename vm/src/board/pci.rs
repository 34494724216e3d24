//! PCI bus 0 behind configuration mechanism #1, and its three bridges.
//!
//! | device.function | chip                                              |
//! |-----------------|---------------------------------------------------|
//! | 0.0             | 82441FX host bridge (i440FX): `i440fx`            |
//! | 1.0             | 82371SB ISA bridge (PIIX3): `piix3`               |
//! | 1.3             | 82371AB power management (PIIX4): `piix4_pm`      |
//!
//! Reference: PCI Local Bus Specification 2.1, 3.7.4.1 "Configuration Mechanism #1".

mod config_space;
mod i440fx;
mod piix3;
mod piix4_pm;

use crate::units::PhysAddr;
use config_space::ConfigSpace;
use i440fx::I440fx;
use piix3::Piix3;
use piix4_pm::Piix4Pm;
use serde::{Deserialize, Serialize};

/// CONFIG_ADDRESS: takes accesses of four bytes only; smaller ones belong to whatever else is at those ports.
pub const CONFIG_ADDRESS: u16 = 0xcf8;
/// First of the four ports of CONFIG_DATA.
pub const CONFIG_DATA: u16 = 0xcfc;
/// Where the PM I/O block is on a machine without firmware; SeaBIOS puts it there too.
pub const PM_BASE_WITHOUT_FIRMWARE: u16 = 0x600;

const CONFIG_DATA_LAST: u16 = CONFIG_DATA + 3;

const ENABLE: u32 = 1 << 31;
/// Bits of CONFIG_ADDRESS that exist.
const ADDRESS_BITS: u32 = 0x80ff_fffc;

/// The bus.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pci {
    address: u32,
    host: I440fx,
    isa: Piix3,
    pm: Piix4Pm,
    without_firmware: bool,
}

impl Default for Pci {
    fn default() -> Pci {
        Pci::new()
    }
}

impl Pci {
    /// The bus and its chips after reset.
    pub fn new() -> Pci {
        Pci {
            address: 0,
            host: I440fx::new(),
            isa: Piix3::new(),
            pm: Piix4Pm::new(),
            without_firmware: false,
        }
    }

    /// The bus as firmware hands it to an operating system, for kernels that are loaded without firmware: shadow RAM
    /// readable and write protected, the PM I/O block at [`PM_BASE_WITHOUT_FIRMWARE`], its interrupt on IRQ 9. PIRQ
    /// routes stay off.
    pub fn new_without_firmware() -> Pci {
        let mut pci = Pci { without_firmware: true, ..Pci::new() };
        pci.host.protect_shadow_ram();
        pci.pm.enable(PM_BASE_WITHOUT_FIRMWARE);
        pci
    }

    /// The reset line: everything as it was at power-on.
    pub fn reset(&mut self) {
        *self = if self.without_firmware { Pci::new_without_firmware() } else { Pci::new() };
    }

    /// IN of `size` bytes; what nobody answers reads as ones.
    pub fn read(&self, port: u16, size: u8) -> u32 {
        match (port, size) {
            (CONFIG_ADDRESS, 4) => self.address,
            (CONFIG_DATA..=CONFIG_DATA_LAST, _) => {
                let space = self.selected();
                let byte = |i| self.register(port, i).and_then(|at| Some(space?.get(at))).unwrap_or(0xff);
                u32::from_le_bytes([0, 1, 2, 3].map(|i| if i < size { byte(i) } else { 0 }))
            }
            _ => u32::MAX,
        }
    }

    /// OUT of `size` bytes. Returns whether the memory map changed.
    pub fn write(&mut self, port: u16, size: u8, value: u32) -> bool {
        match (port, size) {
            (CONFIG_ADDRESS, 4) => {
                self.address = value & ADDRESS_BITS;
                false
            }
            (CONFIG_DATA..=CONFIG_DATA_LAST, _) => {
                let before = self.host.memory_map();
                for (i, byte) in (0..size).zip(value.to_le_bytes()) {
                    if let Some(at) = self.register(port, i) {
                        self.write_byte(at, byte);
                    }
                }
                before != self.host.memory_map()
            }
            _ => false,
        }
    }

    /// Whether reads and writes of the block at `addr` (0xc0000..0x100000) go to RAM instead of to ROM or PCI.
    pub fn pam(&self, addr: PhysAddr) -> (bool, bool) {
        self.host.pam(addr)
    }

    /// Whether SMRAM is open: the CPU sees RAM instead of the frame buffer at 0xa0000..0xc0000.
    pub fn smram_open(&self) -> bool {
        self.host.smram_open()
    }

    /// First port of the PM I/O block, while it is enabled.
    pub fn pm_base(&self) -> Option<u16> {
        self.pm.pm_base()
    }

    /// The IRQ that line PIRQA# to PIRQD# (0 to 3) is routed to.
    pub fn pirq_route(&self, line: u8) -> Option<u8> {
        self.isa.pirq_route(line)
    }

    /// Register that byte `i` of an access to CONFIG_DATA touches. Bytes past the dword reach nothing.
    fn register(&self, port: u16, i: u8) -> Option<u8> {
        let lane = (port - CONFIG_DATA) as u8 + i;
        (self.address & ENABLE != 0 && lane < 4).then_some(self.address as u8 | lane)
    }

    /// Bus, device and function as CONFIG_ADDRESS has them.
    fn target(&self) -> (u8, u8, u8) {
        ((self.address >> 16) as u8, (self.address >> 11) as u8 & 0x1f, (self.address >> 8) as u8 & 7)
    }

    fn selected(&self) -> Option<&ConfigSpace> {
        match self.target() {
            (0, 0, 0) => Some(self.host.config()),
            (0, 1, 0) => Some(self.isa.config()),
            (0, 1, 3) => Some(self.pm.config()),
            _ => None,
        }
    }

    fn write_byte(&mut self, at: u8, byte: u8) {
        match self.target() {
            (0, 0, 0) => self.host.write(at, byte),
            (0, 1, 0) => self.isa.write(at, byte),
            (0, 1, 3) => self.pm.write(at, byte),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
