//! What fw_cfg holds: numbered items, and files, which are items that a directory gives names to. All of it follows from the
//! machine's configuration, and the ACPI tables from where the PIIX4 has its registers too, so it is no part of the machine's
//! state.
//!
//! Numbers and formats: QEMU's specification, and what SeaBIOS reads.

use crate::board::pci::FIRST_CARD;
use crate::boot::acpi::{self, Tables};
use crate::boot::smbios::{self, Structures};
use crate::config::{BootDevice, CardConfig, MachineConfig};
use crate::media::{DriveKind, Slot};
use std::collections::BTreeMap;

/// The item that a reset selects.
pub const SIGNATURE: u16 = 0x00;
const ID: u16 = 0x01;
const UUID: u16 = 0x02;
const RAM_SIZE: u16 = 0x03;
const NO_GRAPHIC: u16 = 0x04;
const CPUS: u16 = 0x05;
const MACHINE_ID: u16 = 0x06;
const NUMA: u16 = 0x0d;
const BOOT_MENU: u16 = 0x0e;
const MAX_CPUS: u16 = 0x0f;
const DIRECTORY: u16 = 0x19;
const FIRST_FILE: u16 = 0x20;
/// PC: the timer has input 2 of the I/O APIC.
const IRQ0_OVERRIDE: u16 = 0x8002;
/// PC: the HPETs.
const HPET: u16 = 0x8004;

/// ID: the traditional interface and DMA.
const FEATURES: u32 = 0x03;

const FILE_NAME_BYTES: usize = 56;
/// RAM in the format of the BIOS memory map.
const E820_RAM: u32 = 1;
/// "etc/boot-fail-wait": firmware does not try again.
const NEVER: u32 = u32::MAX;
/// "etc/system-states": bit 7 says that S0 to S5 exist, the low bits are their sleep types.
const SYSTEM_STATES: [u8; 6] = [0x80, 0, 0, 1, 2, 0x80];

/// Items by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Items {
    items: BTreeMap<u16, Vec<u8>>,
    names: Vec<String>,
    ram_bytes: u64,
    pm_base: u16,
}

impl Items {
    /// What describes a machine at power-on.
    pub fn new(config: &MachineConfig) -> Items {
        let mut items = Items { ram_bytes: config.ram_bytes, ..Items::default() };
        let mut set = |item, bytes: &[u8]| items.items.insert(item, bytes.to_vec());
        set(SIGNATURE, b"QEMU");
        set(ID, &FEATURES.to_le_bytes());
        set(UUID, &[0; 16]);
        set(RAM_SIZE, &config.ram_bytes.to_le_bytes());
        set(NO_GRAPHIC, &[0, 0]);
        set(CPUS, &[1, 0]);
        set(MAX_CPUS, &[1, 0]);
        set(MACHINE_ID, &[0; 4]);
        set(NUMA, &[0; 16]); // no nodes; for each processor its node
        set(BOOT_MENU, &[u8::from(config.boot.menu), 0]);
        set(IRQ0_OVERRIDE, &1u32.to_le_bytes());
        set(HPET, &hpets());
        for (item, bytes) in config.kernel.iter().flat_map(|kernel| kernel.items(config.ram_bytes)) {
            set(item, &bytes);
        }
        items.add_files(config);
        let directory = items.directory();
        items.items.insert(DIRECTORY, directory);
        items
    }

    fn add_files(&mut self, config: &MachineConfig) {
        let tables = Tables::new(self.ram_bytes, self.pm_base);
        let structures = Structures::new(config);
        self.add_file("etc/e820", memory_map(config.ram_bytes));
        self.add_file(acpi::TABLES_FILE, tables.file());
        self.add_file(acpi::RSDP_FILE, tables.rsdp_file());
        self.add_file("etc/table-loader", tables.loader_commands());
        self.add_file(smbios::ANCHOR_FILE, structures.anchor(0).to_vec());
        self.add_file(smbios::TABLES_FILE, structures.bytes().to_vec());
        self.add_file("etc/system-states", SYSTEM_STATES.to_vec());
        let retry = config.boot.retry_ms.map_or(NEVER, u32::from);
        self.add_file("etc/boot-fail-wait", retry.to_le_bytes().to_vec());
        if let Some(wait) = config.boot.menu_wait_ms {
            self.add_file("etc/boot-menu-wait", wait.to_le_bytes().to_vec());
        }
        for (name, image) in &config.option_roms {
            self.add_file(&format!("genroms/{name}"), image.clone());
        }
        if let Some(kernel) = &config.kernel {
            self.add_file(&format!("genroms/{}", kernel.rom_name()), kernel.rom(config.ram_bytes));
        }
        let order = boot_order(config);
        if !order.is_empty() {
            self.add_file("bootorder", order);
        }
    }

    /// Adds a file. Names have room for 55 bytes; the rest is cut.
    fn add_file(&mut self, name: &str, bytes: Vec<u8>) {
        let item = FIRST_FILE.saturating_add(self.names.len() as u16);
        self.names.push(name.to_owned());
        self.items.insert(item, bytes);
    }

    /// Lets the ACPI tables say that the power management registers are at `base`.
    pub fn set_pm_base(&mut self, base: u16) {
        if self.pm_base == base {
            return;
        }
        self.pm_base = base;
        let tables = self.names.iter().position(|name| name == acpi::TABLES_FILE);
        if let Some(number) = tables {
            let file = Tables::new(self.ram_bytes, base).file();
            self.items.insert(FIRST_FILE + number as u16, file);
        }
    }

    /// All of it is big endian: the number of files; for each its size, item, two bytes reserved, name.
    fn directory(&self) -> Vec<u8> {
        let mut bytes = (self.names.len() as u32).to_be_bytes().to_vec();
        for (item, file_name) in (FIRST_FILE..).zip(&self.names) {
            bytes.extend((self.get(item).len() as u32).to_be_bytes());
            bytes.extend(item.to_be_bytes());
            bytes.extend([0, 0]);
            let mut name = [0; FILE_NAME_BYTES];
            let length = file_name.len().min(FILE_NAME_BYTES - 1);
            name[..length].copy_from_slice(&file_name.as_bytes()[..length]);
            bytes.extend(name);
        }
        bytes
    }

    /// An item; empty if there is none.
    pub fn get(&self, item: u16) -> &[u8] {
        self.items.get(&item).map_or(&[], Vec::as_slice)
    }
}

/// "etc/e820": the RAM below the PCI hole, as entries of address, length (8 bytes each) and kind (4), little endian.
fn memory_map(ram_bytes: u64) -> Vec<u8> {
    [&0u64.to_le_bytes()[..], &ram_bytes.to_le_bytes(), &E820_RAM.to_le_bytes()].concat()
}

/// Their number; for each of eight its identifier, address, shortest period in ticks, and page protection.
fn hpets() -> Vec<u8> {
    const ENTRY_BYTES: usize = 15;
    let mut bytes = vec![1];
    bytes.extend(crate::board::hpet::ID.to_le_bytes());
    bytes.extend(crate::board::hpet::BASE.to_le_bytes());
    bytes.extend(acpi::HPET_MIN_TICK.to_le_bytes());
    bytes.resize(1 + 8 * ENTRY_BYTES, 0);
    bytes
}

/// "bootorder": device paths by priority, a line each; empty where the bytes of the CMOS say it all. `HALT` forbids what is
/// not listed.
fn boot_order(config: &MachineConfig) -> Vec<u8> {
    let mut paths: Vec<String> = Vec::new();
    if let Some(kernel) = &config.kernel {
        paths.push(format!("/rom@genroms/{}", kernel.rom_name()));
    }
    if config.boot.strict {
        for device in config.first_boot_order().into_iter().flatten() {
            paths.extend(device_paths(device, config));
        }
        paths.push("HALT".into());
    }
    let mut text = paths.join("\n").into_bytes();
    if !text.is_empty() {
        text.push(0);
    }
    text
}

fn device_paths(device: BootDevice, config: &MachineConfig) -> Vec<String> {
    let drives = |kind: DriveKind| -> Vec<String> {
        let slots = Slot::IDE.into_iter().enumerate();
        let there =
            slots.filter(move |(_, slot)| config.drive(*slot).is_some_and(|drive| drive.kind == kind));
        there.map(|(i, _)| format!("/pci@i0cf8/ide@1,1/drive@{}/disk@{}", i / 2, i % 2)).collect()
    };
    match device {
        BootDevice::Floppy => vec!["/pci@i0cf8/isa@1/fdc@03f0/floppy@0".into()],
        BootDevice::Disk => {
            let mut paths = drives(DriveKind::Disk);
            let cards = (FIRST_CARD..).zip(&config.cards);
            let disks = cards.filter(|(_, card)| matches!(card, CardConfig::VirtioBlk { .. }));
            paths.extend(disks.map(|(slot, _)| format!("/pci@i0cf8/scsi@{slot:x}/disk@0,0")));
            paths
        }
        BootDevice::Cd => drives(DriveKind::Cd),
        BootDevice::Network => vec!["/pci@i0cf8/ethernet@3".into()],
    }
}

#[cfg(test)]
#[path = "items_tests.rs"]
mod tests;
