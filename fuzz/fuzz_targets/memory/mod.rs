//! What cards read and write: a little memory, and a disk that forgets.

use vm::{MediumShape, PhysAddr, PhysMemory, Region};

/// Bytes of memory.
pub const MEMORY_BYTES: usize = 0x1_0000;
/// Bytes of the disk.
pub const DISK_BYTES: u64 = 1 << 20;

/// Both.
pub struct Memory(pub Vec<u8>);

impl PhysMemory for Memory {
    fn read(&self, addr: PhysAddr, buf: &mut [u8]) {
        for (i, byte) in buf.iter_mut().enumerate() {
            *byte = self.0.get((addr.0 as usize).wrapping_add(i)).copied().unwrap_or(0xff);
        }
    }

    fn write(&mut self, addr: PhysAddr, bytes: &[u8]) {
        for (i, byte) in bytes.iter().enumerate() {
            if let Some(cell) = self.0.get_mut((addr.0 as usize).wrapping_add(i)) {
                *cell = *byte;
            }
        }
    }

    fn read_region(&self, _: Region, _: u64, buf: &mut [u8]) {
        buf.fill(0);
    }

    fn write_region(&mut self, _: Region, _: u64, _: &[u8]) {}

    fn medium(&self, number: usize) -> Option<MediumShape> {
        (number == 0).then_some(MediumShape { number, bytes: DISK_BYTES, read_only: false })
    }

    fn read_medium(&self, _: usize, offset: u64, buf: &mut [u8]) {
        assert!(offset + buf.len() as u64 <= DISK_BYTES);
        buf.fill(0x5a);
    }

    fn write_medium(&mut self, _: usize, offset: u64, bytes: &[u8]) {
        assert!(offset + bytes.len() as u64 <= DISK_BYTES);
    }
}
