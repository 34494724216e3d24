//! Little-endian fields in byte slices whose length nobody vouches for.

use super::BootError;

/// The `N` bytes at `offset`, if they exist.
fn array_at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}

/// The 16-bit field at `offset`.
pub fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    array_at(bytes, offset).map(u16::from_le_bytes)
}

/// The 32-bit field at `offset`.
pub fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    array_at(bytes, offset).map(u32::from_le_bytes)
}

/// The 64-bit field at `offset`.
pub fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    array_at(bytes, offset).map(u64::from_le_bytes)
}

/// The `len` bytes of RAM at `addr`.
fn range_mut(ram: &mut [u8], addr: u64, len: u64) -> Result<&mut [u8], BootError> {
    let ram_len = ram.len() as u64;
    let outside = BootError::DoesNotFit { what: "boot data", start: addr, size: len, end: ram_len };
    let end = addr.checked_add(len).filter(|&end| end <= ram_len).ok_or(outside)?;
    Ok(&mut ram[addr as usize..end as usize])
}

/// Writes `bytes` at physical address `addr`.
pub fn put(ram: &mut [u8], addr: u64, bytes: &[u8]) -> Result<(), BootError> {
    range_mut(ram, addr, bytes.len() as u64)?.copy_from_slice(bytes);
    Ok(())
}

/// Writes `len` zero bytes at physical address `addr`.
pub fn clear(ram: &mut [u8], addr: u64, len: u64) -> Result<(), BootError> {
    range_mut(ram, addr, len)?.fill(0);
    Ok(())
}
