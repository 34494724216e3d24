//! The wires of the floppy controller: DMA channel 2, and the disks.

use super::dma::{Dma, Moved, Transfer};
use super::fdc::{Host, SECTOR_BYTES};
use crate::memory::{PhysMemory, Region};

/// The DMA channel of the floppy controller.
const CHANNEL: u8 = 2;

/// What the floppy controller reaches.
pub(super) struct Wires<'a> {
    pub(super) dma: &'a mut Dma,
    pub(super) mem: &'a mut dyn PhysMemory,
}

impl Host for Wires<'_> {
    fn transfer(&mut self, data: Transfer) -> Moved {
        self.dma.transfer(CHANNEL, data, self.mem)
    }

    fn read_sector(&mut self, drive: usize, sector: u16, data: &mut [u8; SECTOR_BYTES]) {
        self.mem.read_region(Region::Disk(drive), offset(sector), data);
    }

    fn write_sector(&mut self, drive: usize, sector: u16, data: &[u8; SECTOR_BYTES]) {
        self.mem.write_region(Region::Disk(drive), offset(sector), data);
    }
}

fn offset(sector: u16) -> u64 {
    u64::from(sector) * SECTOR_BYTES as u64
}
