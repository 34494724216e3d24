//! What PC firmware finds in the battery-backed RAM: the machine as the setup program of its board would have left it.
//! Addresses above those of the AT are the ones that QEMU's PC board and SeaBIOS agree on.

use crate::config::MachineConfig;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

const EQUIPMENT: usize = 0x14;
const BASE_MEMORY_KIB: usize = 0x15;
const EXTENDED_MEMORY_KIB: usize = 0x17;
const CHECKSUM: usize = 0x2e;
const EXTENDED_MEMORY_KIB_FOUND: usize = 0x30;
const MEMORY_ABOVE_16M_64KIB: usize = 0x34;
const BOOT_ORDER_3: usize = 0x38;
const BOOT_ORDER_1_2: usize = 0x3d;

/// Fills in the configuration bytes. What is not named stays 0: no floppy drives (0x10), no AT fixed disks (0x12, 0x19 on),
/// nothing above 4 GiB (0x5b to 0x5d), one processor (0x5f holds their number less one).
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
    ram[EQUIPMENT] = 0x06; // a coprocessor and a PS/2 mouse
    // Nibbles: 1 floppy, 2 hard disk, 3 CD. Hard disk, floppy, CD; bit 0 of 0x38 clear: boot floppies are checked.
    ram[BOOT_ORDER_1_2] = 0x12;
    ram[BOOT_ORDER_3] = 0x30;
    let sum: u16 = ram[0x10..CHECKSUM].iter().map(|&byte| u16::from(byte)).sum();
    [ram[CHECKSUM], ram[CHECKSUM + 1]] = sum.to_be_bytes();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::test_support::config;

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
    fn checksum_covers_the_at_configuration() {
        let ram = cmos(128 * MIB);
        let sum: u16 = ram[0x10..0x2e].iter().map(|&byte| u16::from(byte)).sum();
        assert_eq!(u16::from_be_bytes([ram[0x2e], ram[0x2f]]), sum);
        assert_ne!(sum, 0);
    }
}
