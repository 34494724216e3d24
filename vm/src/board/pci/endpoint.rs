//! What every device on the bus has alike: command register, base addresses, interrupt pin.
//!
//! Reference: PCI Local Bus Specification 2.1, 6.2 "Configuration Space Organization".

use super::config_space::{ConfigSpace, Identity};
use crate::units::PhysAddr;
use serde::{Deserialize, Serialize};

const COMMAND: u8 = 0x04;
const STATUS: u8 = 0x06;
const CACHE_LINE_SIZE: u8 = 0x0c;
const LATENCY_TIMER: u8 = 0x0d;
const BAR0: u8 = 0x10;
const ROM_BAR: u8 = 0x30;
const INTERRUPT_LINE: u8 = 0x3c;
const INTERRUPT_PIN: u8 = 0x3d;

const COMMAND_IO: u16 = 1 << 0;
const COMMAND_MEMORY: u16 = 1 << 1;
const COMMAND_MASTER: u16 = 1 << 2;
const COMMAND_INTX_OFF: u16 = 1 << 10;
/// Parity response and SERR# are kept and do nothing.
const COMMAND_WRITABLE: u16 =
    COMMAND_IO | COMMAND_MEMORY | COMMAND_MASTER | COMMAND_INTX_OFF | 1 << 6 | 1 << 8;
/// Where the list of capabilities begins, how many there are at most, and the one of MSI-X.
const CAPABILITIES: u8 = 0x34;
const CAPABILITIES_MAX: u8 = 48;
const MSIX: u8 = 0x11;
/// Message control: interrupts are messages.
pub const MSIX_ENABLE: u16 = 1 << 15;
/// The device asserts its interrupt (PCI 2.3, 6.2.3).
const STATUS_INTERRUPT: u8 = 1 << 3;
/// Bit 0 of the ROM's base address: it is decoded.
const ROM_ENABLED: u32 = 1;

/// A range that a device decodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::board) enum Bar {
    /// This many ports, a power of two from 4 on.
    Io(u16),
    /// This many bytes of memory, a power of two from 16 on.
    Memory(u32),
    /// The same, and reading it has no effect.
    Prefetchable(u32),
    /// An expansion ROM, which has its own register; a power of two from 2 KiB on.
    Rom(u32),
}

/// A device's configuration space.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Endpoint {
    config: ConfigSpace,
    /// The bits that a write changes.
    writable: ConfigSpace,
}

impl Endpoint {
    pub(in crate::board) fn new(identity: &Identity) -> Endpoint {
        let mut endpoint =
            Endpoint { config: ConfigSpace::new(identity), writable: ConfigSpace::read_only() };
        endpoint.writable.set_u16(COMMAND, COMMAND_WRITABLE);
        for register in [CACHE_LINE_SIZE, LATENCY_TIMER, INTERRUPT_LINE] {
            endpoint.writable.set(register, 0xff);
        }
        endpoint
    }

    /// With base address register `index` (ignored for a ROM).
    pub(in crate::board) fn bar(mut self, index: u8, bar: Bar) -> Endpoint {
        let (at, flags, mask) = match bar {
            // Firmware takes what the upper half does not keep for a part of the size.
            Bar::Io(ports) => (BAR0 + 4 * index, 1, !(u32::from(ports) - 1)),
            Bar::Memory(bytes) => (BAR0 + 4 * index, 0, !(bytes - 1)),
            Bar::Prefetchable(bytes) => (BAR0 + 4 * index, 8, !(bytes - 1)),
            Bar::Rom(bytes) => (ROM_BAR, 0, !(bytes - 1) | ROM_ENABLED),
        };
        self.config.set_u32(at, flags);
        self.writable.set_u32(at, mask);
        self
    }

    /// With a byte at register `at` of its own, of which a write changes the bits of `writable`.
    pub(in crate::board) fn register(mut self, at: u8, value: u8, writable: u8) -> Endpoint {
        self.config.set(at, value);
        self.writable.set(at, writable);
        self
    }

    /// With an interrupt pin: 1 for INTA# to 4 for INTD#.
    pub fn pin(mut self, pin: u8) -> Endpoint {
        self.config.set(INTERRUPT_PIN, pin);
        self
    }

    pub(super) fn config(&self) -> &ConfigSpace {
        &self.config
    }

    pub(super) fn write(&mut self, at: u8, value: u8) {
        self.config.set_masked(at, value, self.writable.get(at));
    }

    fn command(&self) -> u16 {
        self.config.get_u16(COMMAND)
    }

    /// A byte of the device's own registers.
    pub fn get(&self, at: u8) -> u8 {
        self.config.get(at)
    }

    /// Which channels of an IDE controller decode their ports (82371SB, 2.3.9 "IDETIM", bit 15).
    pub fn ide_enabled(&self) -> [bool; 2] {
        [0x41, 0x43].map(|at| self.command() & COMMAND_IO != 0 && self.config.get(at) & 0x80 != 0)
    }

    /// First port of range `index`, while the device decodes ports.
    pub fn io_base(&self, index: u8) -> Option<u16> {
        let base = u16::try_from(self.config.get_u32(BAR0 + 4 * index) & !3).ok()?;
        (self.command() & COMMAND_IO != 0 && base != 0).then_some(base)
    }

    /// First address of range `index`, while the device decodes memory.
    pub fn memory_base(&self, index: u8) -> Option<u64> {
        let base = self.config.get_u32(BAR0 + 4 * index) & !15;
        (self.command() & COMMAND_MEMORY != 0 && base != 0).then_some(base.into())
    }

    /// The range of ports that `port` is in, and where in it, while the device decodes ports.
    pub fn port_range(&self, port: u16) -> Option<(u8, u32)> {
        if self.command() & COMMAND_IO == 0 {
            return None;
        }
        self.range(port.into(), true)
    }

    /// The range of memory that `addr` is in, and where in it, while the device decodes memory.
    pub fn memory_range(&self, addr: PhysAddr) -> Option<(u8, u32)> {
        if self.command() & COMMAND_MEMORY == 0 {
            return None;
        }
        self.range(u32::try_from(addr.0).ok()?, false)
    }

    fn range(&self, at: u32, io: bool) -> Option<(u8, u32)> {
        (0..6).find_map(|index| {
            let register = BAR0 + 4 * index;
            let (base, mask) = (self.config.get_u32(register), self.writable.get_u32(register));
            let is_io = base & 1 != 0;
            let decodes = mask != 0 && is_io == io && base & mask != 0 && at & mask == base & mask;
            decodes.then_some((index, at & !mask))
        })
    }

    /// First address of the expansion ROM, while it is decoded.
    pub fn rom_base(&self) -> Option<u64> {
        let rom = self.config.get_u32(ROM_BAR);
        let enabled = rom & ROM_ENABLED != 0 && self.command() & COMMAND_MEMORY != 0;
        (enabled && rom & !0x7ff != 0).then_some(u64::from(rom & !0x7ff))
    }

    /// Message control of the MSI-X capability; 0 without one (PCI 3.0, 6.7 and 6.8.2).
    pub fn msix_control(&self) -> u16 {
        let mut at = self.config.get(CAPABILITIES);
        // A list that leads in circles would be this board's mistake.
        for _ in 0..CAPABILITIES_MAX {
            match (at, self.config.get(at)) {
                (0, _) => return 0,
                (_, MSIX) => return self.config.get_u16(at + 2),
                _ => at = self.config.get(at + 1),
            }
        }
        0
    }

    /// Whether the device may read and write memory by itself.
    pub fn is_master(&self) -> bool {
        self.command() & COMMAND_MASTER != 0
    }

    /// The device's own interrupt level, as it was last copied: shown in the status register.
    pub fn set_interrupt(&mut self, asserted: bool) {
        self.config.set_masked(STATUS, if asserted { STATUS_INTERRUPT } else { 0 }, STATUS_INTERRUPT);
    }

    /// The pin (0 for INTA#) that is asserted while the device asks for an interrupt.
    pub(super) fn asserted_pin(&self) -> Option<u8> {
        let on = self.config.get(STATUS) & STATUS_INTERRUPT != 0 && self.command() & COMMAND_INTX_OFF == 0;
        self.config.get(INTERRUPT_PIN).checked_sub(1).filter(|_| on)
    }

    /// Gives each of its ranges a place from the given ones on and lets it decode, as firmware does.
    pub(super) fn assign(&mut self, next_port: &mut u16, next_memory: &mut u32, irq: Option<u8>) {
        for index in 0..6 {
            let at = BAR0 + 4 * index;
            let mask = self.writable.get_u32(at);
            if mask == 0 {
                continue;
            }
            if self.config.get(at) & 1 != 0 {
                let size = !(mask as u16) + 1;
                *next_port = next_port.next_multiple_of(size);
                self.config.set_u32(at, u32::from(*next_port) | 1);
                *next_port += size;
            } else {
                let size = !mask + 1;
                *next_memory = next_memory.next_multiple_of(size);
                let flags = self.config.get_u32(at) & 15;
                self.config.set_u32(at, *next_memory | flags);
                *next_memory += size;
            }
        }
        if let Some(irq) = irq {
            self.config.set(INTERRUPT_LINE, irq);
        }
        self.config.set_u16(COMMAND, self.command() | COMMAND_IO | COMMAND_MEMORY | COMMAND_MASTER);
    }
}
