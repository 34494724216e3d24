use super::*;
use crate::board::test_support::config;
use crate::config::BootOptions;
use crate::media::{Drive, Medium};

/// A file by the directory, as firmware finds it.
fn file<'a>(items: &'a Items, name: &str) -> Option<&'a [u8]> {
    let directory = items.get(DIRECTORY);
    let entries = directory[4..].chunks(64);
    assert_eq!(directory[..4], (entries.len() as u32).to_be_bytes());
    let mut found = entries.filter(|entry| entry[8..].starts_with(&[name.as_bytes(), &[0]].concat()));
    let entry = found.next()?;
    let bytes = items.get(u16::from_be_bytes([entry[4], entry[5]]));
    assert_eq!(entry[..4], (bytes.len() as u32).to_be_bytes());
    Some(bytes)
}

#[test]
fn the_machine_is_described() {
    let items = Items::new(&config());
    assert_eq!(items.get(0x00), b"QEMU");
    assert_eq!(items.get(0x01), [3, 0, 0, 0]);
    assert_eq!(items.get(0x03), (64u64 << 20).to_le_bytes());
    assert_eq!((items.get(0x05), items.get(0x0f)), (&[1, 0][..], &[1, 0][..]));
    assert_eq!(items.get(0x8002), [1, 0, 0, 0]);
    assert_eq!(items.get(0x8004).len(), 121);
    assert_eq!(items.get(0x7777), []);
}

#[test]
fn files_are_found_by_the_directory() {
    let option_roms = vec![("test.rom".into(), vec![0x55, 0xaa]), ("x".repeat(99), Vec::new())];
    let items = Items::new(&MachineConfig { option_roms, ..config() });
    let ram = [[0; 8], (64u64 << 20).to_le_bytes()].concat();
    assert_eq!(file(&items, "etc/e820").unwrap(), [&ram[..], &[1, 0, 0, 0]].concat());
    assert_eq!(file(&items, "genroms/test.rom"), Some(&[0x55, 0xaa][..]));
    assert_eq!(file(&items, &format!("genroms/{}", "x".repeat(47))), Some(&[][..]), "cut to 55 bytes");
    assert_eq!(file(&items, "etc/acpi/rsdp").unwrap()[..8], *b"RSD PTR ");
    assert_eq!(file(&items, "etc/table-loader").unwrap().len() % 128, 0);
    assert!(file(&items, "etc/smbios/smbios-anchor").unwrap().starts_with(b"_SM_"));
    assert_eq!(file(&items, "etc/boot-fail-wait"), Some(&[0xff; 4][..]));
    assert_eq!((file(&items, "bootorder"), file(&items, "etc/boot-menu-wait")), (None, None));
}

#[test]
fn options_of_booting_are_passed_on() {
    let boot = BootOptions {
        menu: true,
        menu_wait_ms: Some(500),
        retry_ms: Some(9),
        strict: true,
        ..Default::default()
    };
    let drive = |slot, kind| Drive { slot, kind, medium: Some(0) };
    let drives = vec![drive(Slot::Hdb, DriveKind::Disk), drive(Slot::Hdc, DriveKind::Cd)];
    let media = vec![Medium { name: String::new(), bytes: 512, hash: 0, read_only: true }];
    let boot_order = [Some(BootDevice::Cd), Some(BootDevice::Floppy), Some(BootDevice::Disk)];
    let items = Items::new(&MachineConfig { boot, boot_order, drives, media, ..config() });
    assert_eq!(items.get(0x0e), [1, 0]);
    assert_eq!(file(&items, "etc/boot-menu-wait"), Some(&500u16.to_le_bytes()[..]));
    assert_eq!(file(&items, "etc/boot-fail-wait"), Some(&9u32.to_le_bytes()[..]));
    let order = "/pci@i0cf8/ide@1,1/drive@1/disk@0\n/pci@i0cf8/isa@1/fdc@03f0/floppy@0\n\
                 /pci@i0cf8/ide@1,1/drive@0/disk@1\nHALT\0";
    assert_eq!(file(&items, "bootorder"), Some(order.as_bytes()));
}
