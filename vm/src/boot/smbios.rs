//! SMBIOS tables: what a system's setup would show of the machine.
//!
//! Firmware gets the structures and an entry point without an address as files, adds a structure about itself and puts both
//! where operating systems look; a machine without firmware finds them in the F segment.
//!
//! Source: "System Management BIOS (SMBIOS) Reference Specification", DSP0134, version 2.8.0.

use super::BootError;
use super::bytes::put;
use super::layout::ROM;
use crate::config::MachineConfig;
use crate::cpu::cpuid;

/// fw_cfg: the entry point, and the structures.
pub const ANCHOR_FILE: &str = "etc/smbios/smbios-anchor";
/// fw_cfg: the structures.
pub const TABLES_FILE: &str = "etc/smbios/smbios-tables";

/// Without firmware: where the entry point is, and where the structures are.
const ANCHOR: u64 = ROM + 0x40;
const STRUCTURES: u64 = ROM + 0x80;

const MAKER: &str = "Retrograde";
const PRODUCT: &str = "Standard PC (i440FX + PIIX)";
const ANCHOR_BYTES: usize = 31;
/// Where the second part of the entry point starts, which has a checksum of its own.
const INTERMEDIATE: usize = 16;
/// A handle for "no such structure".
const NO_HANDLE: u16 = 0xfffe;
const MEMORY_ARRAY: u16 = 0x1000;

/// The structures of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Structures {
    bytes: Vec<u8>,
    count: u16,
    longest: u16,
}

impl Structures {
    /// Those that firmware is given: all but the one about itself.
    pub fn new(config: &MachineConfig) -> Structures {
        let mut all = Structures::default();
        all.add(1, 0x100, &system(), &[MAKER, PRODUCT]);
        all.add(3, 0x300, &chassis(), &[MAKER]);
        all.add(4, 0x400, &processor(config), &["CPU 0", MAKER]);
        all.add(16, MEMORY_ARRAY, &memory_array(config.ram_bytes), &[]);
        all.add(17, 0x1100, &memory_device(config.ram_bytes), &["DIMM 0", MAKER]);
        all.add(19, 0x1300, &mapped_memory(config.ram_bytes), &[]);
        all.add(32, 0x2000, &[0; 7], &[]); // booted without errors
        all.add(127, 0x7f00, &[], &[]);
        all
    }

    /// And the one about firmware (type 0), where there is none.
    fn without_firmware(config: &MachineConfig) -> Structures {
        let mut all = Structures::default();
        all.add(0, 0, &no_firmware(), &[MAKER, env!("CARGO_PKG_VERSION"), "01/01/2026"]);
        let rest = Structures::new(config);
        all.bytes.extend(&rest.bytes);
        all.count += rest.count;
        all.longest = all.longest.max(rest.longest);
        all
    }

    /// Adds a structure: header, formatted part, strings (6.1).
    fn add(&mut self, kind: u8, handle: u16, formatted: &[u8], strings: &[&str]) {
        let start = self.bytes.len();
        self.bytes.extend([kind, 4 + formatted.len() as u8]);
        self.bytes.extend(handle.to_le_bytes());
        self.bytes.extend(formatted);
        for string in strings {
            self.bytes.extend(string.as_bytes());
            self.bytes.push(0);
        }
        self.bytes.extend(if strings.is_empty() { &[0, 0][..] } else { &[0] });
        self.count += 1;
        self.longest = self.longest.max((self.bytes.len() - start) as u16);
    }

    /// The structures.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The entry point (5.2.1) for structures at `address`.
    pub fn anchor(&self, address: u32) -> [u8; ANCHOR_BYTES] {
        let mut anchor = [0; ANCHOR_BYTES];
        let mut set = |at: usize, bytes: &[u8]| anchor[at..at + bytes.len()].copy_from_slice(bytes);
        set(0x00, b"_SM_");
        set(0x05, &[ANCHOR_BYTES as u8, 2, 8]); // version 2.8
        set(0x08, &self.longest.to_le_bytes());
        set(INTERMEDIATE, b"_DMI_");
        set(0x16, &(self.bytes.len() as u16).to_le_bytes());
        set(0x18, &address.to_le_bytes());
        set(0x1c, &self.count.to_le_bytes());
        set(0x1e, &[0x28]);
        let sum = |bytes: &[u8]| bytes.iter().fold(0u8, |sum, byte| sum.wrapping_sub(*byte));
        anchor[0x15] = sum(&anchor[INTERMEDIATE..]);
        anchor[0x04] = sum(&anchor[..INTERMEDIATE]);
        anchor
    }
}

/// Writes entry point and structures for a machine without firmware.
pub(super) fn write_tables(ram: &mut [u8], config: &MachineConfig) -> Result<(), BootError> {
    let structures = Structures::without_firmware(config);
    put(ram, ANCHOR, &structures.anchor(STRUCTURES as u32))?;
    put(ram, STRUCTURES, structures.bytes())
}

/// Type 0 (7.1).
fn no_firmware() -> Vec<u8> {
    const NOT_SUPPORTED: u64 = 1 << 3;
    let mut body = vec![1, 2, 0, 0xf0, 3, 0]; // vendor, version, segment 0xf000, date, 64 KiB
    body.extend(NOT_SUPPORTED.to_le_bytes()); // characteristics
    body.extend([0, 1 << 4]); // a virtual machine
    body.extend([0, 0, 0xff, 0xff]); // releases of it and of an embedded controller
    body
}

/// Type 1 (7.2): the UUID is not set.
fn system() -> Vec<u8> {
    const POWER_SWITCH: u8 = 6;
    let mut body = vec![1, 2, 0, 0];
    body.extend([0; 16]);
    body.extend([POWER_SWITCH, 0, 0]);
    body
}

/// Type 3 (7.4).
fn chassis() -> Vec<u8> {
    const OTHER: u8 = 1;
    const UNKNOWN: u8 = 2;
    const SAFE: u8 = 3;
    let mut body = vec![1, OTHER, 0, 0, 0, SAFE, SAFE, SAFE, UNKNOWN];
    body.extend([0; 9]); // OEM, height, cords, elements, SKU
    body
}

/// Type 4 (7.5).
fn processor(config: &MachineConfig) -> Vec<u8> {
    const CENTRAL: u8 = 3;
    const OTHER: u8 = 1;
    const POPULATED_ENABLED: u8 = 0x41;
    const MHZ: u16 = 1000;
    const NO_CACHE: u16 = 0xffff;
    let [signature, _, _, features] = cpuid::model(config.cpu).cpuid(1, 0, true);
    let mut body = vec![1, CENTRAL, OTHER, 2];
    body.extend(signature.to_le_bytes());
    body.extend(features.to_le_bytes());
    body.extend([0, 0]); // version, voltage
    body.extend([0, MHZ, MHZ].map(u16::to_le_bytes).concat());
    body.extend([POPULATED_ENABLED, OTHER]);
    body.extend([NO_CACHE; 3].map(u16::to_le_bytes).concat());
    body.extend([0, 0, 0, 1, 1, 1]); // serial, asset, part; cores, enabled, threads
    body.extend([2, 0, OTHER, 0]); // characteristics unknown; family
    body
}

/// Type 16 (7.17).
fn memory_array(ram_bytes: u64) -> Vec<u8> {
    const OTHER: u8 = 1;
    const SYSTEM_MEMORY: u8 = 3;
    const NO_ECC: u8 = 3;
    let mut body = vec![OTHER, SYSTEM_MEMORY, NO_ECC];
    body.extend(((ram_bytes >> 10) as u32).to_le_bytes());
    body.extend(NO_HANDLE.to_le_bytes());
    body.extend([1, 0]); // devices
    body.extend([0; 8]);
    body
}

/// Type 17 (7.18).
fn memory_device(ram_bytes: u64) -> Vec<u8> {
    const UNKNOWN_WIDTH: u16 = 0xffff;
    const DIMM: u8 = 9;
    const RAM: u8 = 7;
    const OTHER: u16 = 1 << 1;
    let mib = (ram_bytes >> 20) as u16;
    let mut body =
        [MEMORY_ARRAY, NO_HANDLE, UNKNOWN_WIDTH, UNKNOWN_WIDTH, mib].map(u16::to_le_bytes).concat();
    body.extend([DIMM, 0, 1, 0, RAM]); // not in a set; locator, bank
    body.extend(OTHER.to_le_bytes());
    body.extend([0, 0, 2, 0, 0, 0, 0]); // speed; maker, serial, asset, part; rank
    body.extend([0; 12]); // extended size, configured speed, voltages
    body
}

/// Type 19 (7.20).
fn mapped_memory(ram_bytes: u64) -> Vec<u8> {
    let last_kib = (ram_bytes >> 10).wrapping_sub(1) as u32;
    let mut body = [0, last_kib].map(u32::to_le_bytes).concat();
    body.extend(MEMORY_ARRAY.to_le_bytes());
    body.push(1); // one device makes up a row
    body.extend([0; 16]);
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> MachineConfig {
        MachineConfig { ram_bytes: 64 << 20, ..MachineConfig::default() }
    }

    /// (type, formatted part, strings) of each structure.
    fn parse(bytes: &[u8]) -> Vec<(u8, Vec<u8>, Vec<String>)> {
        let (mut all, mut rest) = (Vec::new(), bytes);
        while let [kind, length, ..] = *rest {
            let (formatted, text) = rest.split_at(usize::from(length));
            let end = text.windows(2).position(|pair| pair == [0, 0]).expect("strings end with two zeros");
            let strings = text[..end].split(|byte| *byte == 0).filter(|string| !string.is_empty());
            let strings = strings.map(|string| String::from_utf8_lossy(string).into_owned()).collect();
            all.push((kind, formatted.to_vec(), strings));
            rest = &text[end + 2..];
        }
        all
    }

    #[test]
    fn structures_have_the_lengths_of_their_version_and_end_with_type_127() {
        let all = Structures::without_firmware(&config());
        let parsed = parse(all.bytes());
        let lengths: Vec<_> = parsed.iter().map(|(kind, formatted, _)| (*kind, formatted.len())).collect();
        let expected = [
            (0, 0x18),
            (1, 0x1b),
            (3, 0x16),
            (4, 0x2a),
            (16, 0x17),
            (17, 0x28),
            (19, 0x1f),
            (32, 0xb),
            (127, 4),
        ];
        assert_eq!(lengths, expected);
        assert_eq!(usize::from(all.count), expected.len());
        assert_eq!(parsed[1].2, [MAKER, PRODUCT]);
        assert_eq!(parsed[5].1[12..14], 64u16.to_le_bytes(), "MiB");
        assert_eq!(parsed[6].1[8..12], 0xffffu32.to_le_bytes(), "last KiB");
    }

    #[test]
    fn the_entry_point_adds_up_to_zero_in_both_parts() {
        let anchor = Structures::new(&config()).anchor(0xf_1234);
        let sum = |bytes: &[u8]| bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
        assert_eq!((sum(&anchor), sum(&anchor[INTERMEDIATE..])), (0, 0));
        assert_eq!(anchor[0x18..0x1c], [0x34, 0x12, 0x0f, 0]);
    }
}
