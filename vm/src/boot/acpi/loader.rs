//! Commands by which firmware loads files from fw_cfg and links them ("etc/table-loader"). Each has 128 bytes, little endian:
//! a number, names in 56 bytes each, and values. An address in a file counts from the start of the file that it
//! points into; the command adds where that file was put.

const COMMAND_BYTES: usize = 128;
const NAME_BYTES: usize = 56;
const ALLOCATE: u32 = 1;
const ADD_POINTER: u32 = 2;
const ADD_CHECKSUM: u32 = 3;
const POINTER_BYTES: u8 = 4;

/// Where a file goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    /// Anywhere below 4 GiB.
    High = 1,
    /// Where operating systems look for root pointers: 0xf0000 to 0xfffff.
    FSegment = 2,
}

/// Loads a file.
pub fn allocate(file: &str, align: u32, zone: Zone) -> Vec<u8> {
    command(ALLOCATE, &[file], &[&align.to_le_bytes(), &[zone as u8]])
}

/// Adds the address of `target` to the 32-bit field at `offset` of `file`.
pub fn add_pointer(file: &str, target: &str, offset: u32) -> Vec<u8> {
    command(ADD_POINTER, &[file, target], &[&offset.to_le_bytes(), &[POINTER_BYTES]])
}

/// Makes `length` bytes from `start` on add up to zero by the byte at `offset`.
pub fn add_checksum(file: &str, offset: u32, start: u32, length: u32) -> Vec<u8> {
    command(
        ADD_CHECKSUM,
        &[file],
        &[offset, start, length].each_ref().map(|word| word.to_le_bytes()).each_ref().map(|bytes| &bytes[..]),
    )
}

fn command(number: u32, names: &[&str], values: &[&[u8]]) -> Vec<u8> {
    let mut bytes = number.to_le_bytes().to_vec();
    for name in names {
        let end = bytes.len() + NAME_BYTES;
        bytes.extend_from_slice(name.as_bytes());
        bytes.resize(end, 0);
    }
    bytes.extend(values.concat());
    bytes.resize(COMMAND_BYTES, 0);
    bytes
}
