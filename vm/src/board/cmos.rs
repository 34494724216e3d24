//! What PC firmware finds in the battery-backed RAM: the machine as the setup program of its board would have left it.
//! Addresses above those of the AT are the ones that QEMU's PC board and SeaBIOS agree on.

use super::floppies;
use crate::board::ide::Geometry;
use crate::config::{BootDevice, MachineConfig};
use crate::media::{DriveKind, Slot};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

const FLOPPY_DRIVES: usize = 0x10;
const EQUIPMENT: usize = 0x14;
const BASE_MEMORY_KIB: usize = 0x15;
const EXTENDED_MEMORY_KIB: usize = 0x17;
const DISK_TYPES: usize = 0x12;
const DISK_EXTENDED_TYPES: usize = 0x19;
const USER_TYPE: u8 = 47;
const USER_TYPE_1: usize = 0x1b;
const DISK_TRANSLATION: usize = 0x39;
const CHECKSUM: usize = 0x2e;
const EXTENDED_MEMORY_KIB_FOUND: usize = 0x30;
const MEMORY_ABOVE_16M_64KIB: usize = 0x34;
const BOOT_ORDER_3: usize = 0x38;
const BOOT_ORDER_1_2: usize = 0x3d;

/// Fills in the configuration bytes. What is not named stays 0: nothing above 4 GiB (0x5b to 0x5d), one processor (0x5f holds
/// their number less one).
pub fn set_up(ram: &mut [u8; 128], config: &MachineConfig) {
    let mut word = |at: usize, value: u64| {
        let [low, high] = (value.min(0xffff) as u16).to_le_bytes();
        (ram[at], ram[at + 1]) = (low, high);
    };
    let extended_kib = config.ram_bytes.saturating_sub(MIB) / KIB;
    word(BASE_MEMORY_KIB, (config.ram_bytes / KIB).min(640));
    word(EXTENDED_MEMORY_KIB, extended_kib);
    word(EXTENDED_MEMORY_KIB_FOUND, extended_kib);
    word(MEMORY_ABOVE_16M_64KIB, config.ram_bytes.saturating_sub(16 * MIB) / (64 * KIB));
    let drives = floppies::drives(config);
    let [a, b] = drives.map(|kind| kind.map_or(0, |kind| kind as u8));
    ram[FLOPPY_DRIVES] = a << 4 | b;
    // A coprocessor and a PS/2 mouse; bit 0 if there are floppy drives, bits 6 and 7 how many, less one.
    ram[EQUIPMENT] = 0x06
        | match drives.iter().flatten().count() {
            0 => 0x00,
            1 => 0x01,
            _ => 0x41,
        };
    set_boot_order(ram, config.first_boot_order());
    for (i, slot) in Slot::IDE.into_iter().enumerate() {
        if let Some(DriveKind::Disk) = config.drive(slot).map(|drive| drive.kind) {
            set_up_disk(ram, i, config.medium_in(slot).map_or(0, |medium| medium.bytes / 512));
        }
    }
    let sum: u16 = ram[0x10..CHECKSUM].iter().map(|&byte| u16::from(byte)).sum();
    [ram[CHECKSUM], ram[CHECKSUM + 1]] = sum.to_be_bytes();
}

/// What firmware boots from: a nibble each, the first one lowest; bit 0 of 0x38 clear: boot floppies are checked.
pub fn set_boot_order(ram: &mut [u8; 128], order: [Option<BootDevice>; 3]) {
    let [first, second, third] = order.map(boot_code);
    ram[BOOT_ORDER_1_2] = second << 4 | first;
    ram[BOOT_ORDER_3] = third << 4;
}

/// A fixed disk: how its cylinders are translated for programs that know 1024 only, and for the first two a user-defined
/// type with its geometry.
fn set_up_disk(ram: &mut [u8; 128], number: usize, sectors: u64) {
    let geometry = Geometry::of(sectors);
    let tracks = u32::from(geometry.cylinders) * u32::from(geometry.heads);
    let translation = match geometry.cylinders {
        0..=1024 => 0,
        _ if tracks <= 131_072 => 2, // the bit-shift method
        _ => 1,                      // by block addresses
    };
    ram[DISK_TRANSLATION] |= translation << (2 * number);
    if number > 1 {
        return;
    }
    ram[DISK_TYPES] |= 0xf0 >> (4 * number);
    ram[DISK_EXTENDED_TYPES + number] = USER_TYPE;
    let [low, high] = geometry.cylinders.to_le_bytes();
    let control = 0xc0 | u8::from(geometry.heads > 8) << 3;
    let bytes = [low, high, geometry.heads, 0xff, 0xff, control, low, high, geometry.sectors];
    ram[USER_TYPE_1 + 9 * number..][..9].copy_from_slice(&bytes);
}

fn boot_code(device: Option<BootDevice>) -> u8 {
    match device {
        None => 0,
        Some(BootDevice::Floppy) => 1,
        Some(BootDevice::Disk) => 2,
        Some(BootDevice::Cd) => 3,
        Some(BootDevice::Network) => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::test_support::config;
    use crate::media::{Drive, DriveKind, Medium, Slot};

    fn cmos(ram_bytes: u64) -> [u8; 128] {
        let mut ram = [0; 128];
        set_up(&mut ram, &MachineConfig { ram_bytes, ..config() });
        ram
    }

    fn word(ram: &[u8; 128], at: usize) -> u64 {
        u64::from(u16::from_le_bytes([ram[at], ram[at + 1]]))
    }

    #[test]
    fn memory_size_bytes_add_up_to_the_memory() {
        for mib in [1, 2, 15, 16, 17, 63, 64, 128, 3072] {
            let ram = cmos(mib * MIB);
            assert_eq!(word(&ram, BASE_MEMORY_KIB), 640);
            let extended = word(&ram, EXTENDED_MEMORY_KIB_FOUND);
            assert_eq!(extended, ((mib - 1) * 1024).min(0xffff));
            assert_eq!(word(&ram, EXTENDED_MEMORY_KIB), extended);
            let above = word(&ram, MEMORY_ABOVE_16M_64KIB);
            assert_eq!(above * 64 * KIB, mib.saturating_sub(16) * MIB);
        }
    }

    #[test]
    fn floppy_drives_are_those_that_the_disks_need() {
        let drive = |slot, medium| Drive { slot, kind: DriveKind::Floppy, medium };
        let medium = |bytes| Medium { name: "disk".into(), bytes, hash: 0, read_only: false };
        let mut configuration = MachineConfig { media: vec![medium(1200 << 10)], ..config() };
        let mut drives = |drives: &[Drive]| {
            let mut ram = [0; 128];
            configuration.drives = drives.to_vec();
            set_up(&mut ram, &configuration);
            (ram[FLOPPY_DRIVES], ram[EQUIPMENT])
        };
        assert_eq!(drives(&[]), (0x00, 0x06));
        assert_eq!(drives(&[drive(Slot::Fda, None)]), (0x40, 0x07));
        assert_eq!(drives(&[drive(Slot::Fdb, Some(0)), drive(Slot::Fda, None)]), (0x42, 0x47));
    }

    #[test]
    fn the_boot_order_is_where_firmware_looks() {
        assert_eq!((cmos(MIB)[BOOT_ORDER_1_2], cmos(MIB)[BOOT_ORDER_3]), (0x12, 0x30));
        let boot_order = [Some(BootDevice::Cd), Some(BootDevice::Network), None];
        let mut ram = [0; 128];
        set_up(&mut ram, &MachineConfig { boot_order, ..config() });
        assert_eq!((ram[BOOT_ORDER_1_2], ram[BOOT_ORDER_3]), (0x43, 0));
    }

    #[test]
    fn checksum_covers_the_at_configuration() {
        let ram = cmos(128 * MIB);
        let sum: u16 = ram[0x10..0x2e].iter().map(|&byte| u16::from(byte)).sum();
        assert_eq!(u16::from_be_bytes([ram[0x2e], ram[0x2f]]), sum);
        assert_ne!(sum, 0);
    }
}
