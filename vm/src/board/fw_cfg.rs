//! The firmware configuration device (fw_cfg): named blobs that SeaBIOS and other firmware read through ports.
//!
//! | port         | what                                                                            |
//! |--------------|---------------------------------------------------------------------------------|
//! | 0x510        | selector, 16 bits, write only                                                   |
//! | 0x511        | data, 8 bits, read only (writing went away in QEMU 2.4)                         |
//! | 0x514, 0x518 | DMA address, big endian, high half first; writing the low half starts the transfer |
//!
//! Reference: "QEMU Firmware Configuration (fw_cfg) Device", docs/specs/fw_cfg of QEMU. No item can be written, so a DMA
//! write ends in the error bit.

mod items;

pub use items::Items;

use crate::board::Bus;
use crate::memory::PhysMemory;
use crate::units::PhysAddr;
use serde::{Deserialize, Serialize};

/// Selector port.
pub const SELECTOR: u16 = 0x510;
/// Data port.
pub const DATA: u16 = 0x511;
/// First of the eight ports of the DMA address register.
pub const DMA: u16 = 0x514;

const DMA_LOW: u16 = DMA + 4;
const DMA_LAST: u16 = DMA + 7;
/// What the DMA address register reads as.
const DMA_SIGNATURE: [u8; 8] = *b"QEMU CFG";

/// Bit of the selector that asks for an item to write to, which is no item of its own.
const WRITE_CHANNEL: u16 = 0x4000;

const DMA_ERROR: u32 = 0x01;
const DMA_READ: u32 = 0x02;
const DMA_SKIP: u32 = 0x04;
const DMA_SELECT: u32 = 0x08;
const DMA_WRITE: u32 = 0x10;

/// Bytes of zeros that a DMA read may ask for past the end of an item; asking for more is an error, so that no guest
/// can keep the machine busy with one OUT.
const DMA_PADDING_MAX: usize = 1 << 20;

/// The device. What it holds is with memory ([`PhysMemory::firmware_item`]), as it never changes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FwCfg {
    selected: u16,
    /// Position in the selected item.
    offset: u32,
    dma_high: u32,
}

impl FwCfg {
    /// After a reset.
    pub fn new() -> FwCfg {
        FwCfg { selected: items::SIGNATURE, ..FwCfg::default() }
    }

    /// IN of `size` bytes.
    pub fn read(&mut self, port: u16, size: u8, mem: &dyn PhysMemory) -> u32 {
        match (port, size) {
            (DATA, 1) => u32::from(self.take_byte(mem)),
            (DMA..=DMA_LAST, 1..=4) => {
                let rest = &DMA_SIGNATURE[usize::from(port - DMA)..];
                let mut bytes = [0; 4];
                let count = rest.len().min(usize::from(size));
                bytes[..count].copy_from_slice(&rest[..count]);
                u32::from_le_bytes(bytes)
            }
            _ => u32::MAX,
        }
    }

    /// OUT of `size` bytes.
    pub fn write(&mut self, port: u16, size: u8, value: u32, bus: &mut Bus) {
        match (port, size) {
            (SELECTOR, 2) => self.select(value as u16),
            (DMA, 4) => self.dma_high = value.swap_bytes(),
            (DMA_LOW, 4) => {
                let high = std::mem::take(&mut self.dma_high);
                self.run_dma(u64::from(high) << 32 | u64::from(value.swap_bytes()), bus);
            }
            _ => {}
        }
    }

    fn select(&mut self, item: u16) {
        self.selected = item & !WRITE_CHANNEL;
        self.offset = 0;
    }

    /// Reads on; past its end an item is zeros.
    fn take_byte(&mut self, mem: &dyn PhysMemory) -> u8 {
        let byte = mem.firmware_item(self.selected).get(self.offset as usize).copied().unwrap_or(0);
        self.skip(1);
        byte
    }

    fn skip(&mut self, bytes: u32) {
        self.offset = self.offset.saturating_add(bytes);
    }

    /// Carries out the request at `addr`: control, length, address (4, 4 and 8 bytes, big endian), and writes back
    /// control: 0 when done, or the error bit.
    fn run_dma(&mut self, addr: u64, bus: &mut Bus) {
        let mut request = [0; 16];
        bus.mem.read(PhysAddr(addr), &mut request);
        let request = u128::from_be_bytes(request);
        let control = (request >> 96) as u32;
        let length = (request >> 64) as u32;
        let target = PhysAddr(request as u64);

        if control & DMA_SELECT != 0 {
            self.select((control >> 16) as u16);
        }
        // Of several directions the specification gives read precedence over write, and both over skip.
        let done = if control & DMA_READ != 0 {
            self.dma_read(target, length as usize, bus)
        } else if control & DMA_WRITE != 0 {
            false
        } else {
            if control & DMA_SKIP != 0 {
                self.skip(length);
            }
            true
        };
        let status = if done { 0 } else { DMA_ERROR };
        bus.mem.write(PhysAddr(addr), &status.to_be_bytes());
    }

    fn dma_read(&mut self, target: PhysAddr, length: usize, bus: &mut Bus) -> bool {
        let item = bus.mem.firmware_item(self.selected);
        let rest = item.get(self.offset as usize..).unwrap_or_default();
        if length > rest.len().saturating_add(DMA_PADDING_MAX) {
            return false;
        }
        let mut bytes = rest[..length.min(rest.len())].to_vec();
        bytes.resize(length, 0);
        bus.mem.write(target, &bytes);
        self.skip(length as u32);
        true
    }
}

#[cfg(test)]
#[path = "fw_cfg_tests.rs"]
mod tests;
