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

use crate::board::Bus;
use crate::config::MachineConfig;
use crate::units::PhysAddr;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

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

const ITEM_SIGNATURE: u16 = 0x00;
const ITEM_ID: u16 = 0x01;
const ITEM_RAM_SIZE: u16 = 0x03;
const ITEM_NO_GRAPHIC: u16 = 0x04;
const ITEM_CPUS: u16 = 0x05;
const ITEM_BOOT_MENU: u16 = 0x0e;
const ITEM_MAX_CPUS: u16 = 0x0f;
const ITEM_DIRECTORY: u16 = 0x19;
const ITEM_FIRST_FILE: u16 = 0x20;

/// Bit of the selector that asks for an item to write to, which is no item of its own.
const WRITE_CHANNEL: u16 = 0x4000;

/// ITEM_ID: the traditional interface and DMA.
const FEATURES: u32 = 0x03;

const DMA_ERROR: u32 = 0x01;
const DMA_READ: u32 = 0x02;
const DMA_SKIP: u32 = 0x04;
const DMA_SELECT: u32 = 0x08;
const DMA_WRITE: u32 = 0x10;

/// Bytes of zeros that a DMA read may ask for past the end of an item; asking for more is an error, so that no guest
/// can keep the machine busy with one OUT.
const DMA_PADDING_MAX: usize = 1 << 20;

const FILE_NAME_BYTES: usize = 56;
/// RAM in the format of the BIOS memory map.
const E820_RAM: u32 = 1;

/// An item of the directory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct File {
    name: String,
    data: Vec<u8>,
}

/// The device and what it holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FwCfg {
    ram_bytes: u64,
    files: Vec<File>,
    selected: u16,
    /// Position in the selected item.
    offset: u32,
    dma_high: u32,
}

impl FwCfg {
    /// The device with the items that describe `config`.
    pub fn new(config: &MachineConfig) -> FwCfg {
        let mut device =
            FwCfg { ram_bytes: config.ram_bytes, files: Vec::new(), selected: 0, offset: 0, dma_high: 0 };
        device.add_file("etc/e820", memory_map(config.ram_bytes));
        for (name, image) in &config.option_roms {
            device.add_file(&format!("genroms/{name}"), image.clone());
        }
        device
    }

    /// Adds a file to the directory or replaces the one of that name. Names have room for 55 bytes; the rest is cut.
    pub fn add_file(&mut self, name: &str, data: Vec<u8>) {
        match self.files.iter_mut().find(|file| file.name == name) {
            Some(file) => file.data = data,
            None => self.files.push(File { name: name.to_owned(), data }),
        }
    }

    /// Reset: the contents stay.
    pub fn reset(&mut self) {
        self.select(ITEM_SIGNATURE);
        self.dma_high = 0;
    }

    /// IN of `size` bytes.
    pub fn read(&mut self, port: u16, size: u8) -> u32 {
        match (port, size) {
            (DATA, 1) => u32::from(self.take_byte()),
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

    fn selected_item(&self) -> Cow<'_, [u8]> {
        match self.selected {
            ITEM_SIGNATURE => b"QEMU".into(),
            ITEM_ID => FEATURES.to_le_bytes().to_vec().into(),
            ITEM_RAM_SIZE => self.ram_bytes.to_le_bytes().to_vec().into(),
            ITEM_NO_GRAPHIC | ITEM_BOOT_MENU => [0, 0].as_slice().into(),
            ITEM_CPUS | ITEM_MAX_CPUS => [1, 0].as_slice().into(),
            ITEM_DIRECTORY => self.directory().into(),
            item => self.file(item).unwrap_or_default().into(),
        }
    }

    fn file(&self, item: u16) -> Option<&[u8]> {
        let index = usize::from(item.checked_sub(ITEM_FIRST_FILE)?);
        self.files.get(index).map(|file| file.data.as_slice())
    }

    /// Reads on; past its end an item is zeros.
    fn take_byte(&mut self) -> u8 {
        let byte = self.selected_item().get(self.offset as usize).copied().unwrap_or(0);
        self.skip(1);
        byte
    }

    fn skip(&mut self, bytes: u32) {
        self.offset = self.offset.saturating_add(bytes);
    }

    /// All of it is big endian: the number of files; for each its size, item, two bytes reserved, name.
    fn directory(&self) -> Vec<u8> {
        let count = self.files.len() as u32;
        let mut bytes = count.to_be_bytes().to_vec();
        for (item, file) in (ITEM_FIRST_FILE..).zip(&self.files) {
            bytes.extend((file.data.len() as u32).to_be_bytes());
            bytes.extend(item.to_be_bytes());
            bytes.extend([0, 0]);
            let mut name = [0; FILE_NAME_BYTES];
            let length = file.name.len().min(FILE_NAME_BYTES - 1);
            name[..length].copy_from_slice(&file.name.as_bytes()[..length]);
            bytes.extend(name);
        }
        bytes
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
        let item = self.selected_item();
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

/// "etc/e820": the RAM below the PCI hole, as entries of address, length (8 bytes each) and kind (4), little endian.
fn memory_map(ram_bytes: u64) -> Vec<u8> {
    [&0u64.to_le_bytes()[..], &ram_bytes.to_le_bytes(), &E820_RAM.to_le_bytes()].concat()
}

#[cfg(test)]
#[path = "fw_cfg_tests.rs"]
mod tests;
