//! Guest-physical memory.

use crate::units::PhysAddr;

/// Bytes in a page.
pub const PAGE_SIZE: usize = 4096;

/// Physical memory as a bus-mastering device sees it.
pub trait PhysMemory {
    /// Reads; holes read as 0xff.
    fn read(&self, addr: PhysAddr, buf: &mut [u8]);
    /// Writes; holes and ROM ignore it.
    fn write(&mut self, addr: PhysAddr, bytes: &[u8]);
}
