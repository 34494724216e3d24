//! What a port would give, without reading it.

use super::Machine;
use crate::board::{Bus, Effects};
use crate::media::MediumShape;
use crate::memory::{Memory, PhysMemory, Region};
use crate::units::PhysAddr;

/// Memory that nothing can be written to.
struct Untouched<'a>(&'a Memory);

impl PhysMemory for Untouched<'_> {
    fn read(&self, addr: PhysAddr, buf: &mut [u8]) {
        self.0.read(addr, buf);
    }

    fn write(&mut self, _addr: PhysAddr, _bytes: &[u8]) {}

    fn read_region(&self, region: Region, offset: u64, buf: &mut [u8]) {
        self.0.read_region(region, offset, buf);
    }

    fn write_region(&mut self, _region: Region, _offset: u64, _bytes: &[u8]) {}

    fn medium(&self, number: usize) -> Option<MediumShape> {
        self.0.medium(number)
    }

    fn read_medium(&self, number: usize, offset: u64, buf: &mut [u8]) {
        self.0.read_medium(number, offset, buf);
    }

    fn write_medium(&mut self, _number: usize, _offset: u64, _bytes: &[u8]) {}

    fn firmware_item(&self, item: u16) -> &[u8] {
        self.0.firmware_item(item)
    }
}

impl Machine {
    /// What reading `size` bytes from a port would give here, and whether that would change a chip. It is tried with a copy of the
    /// chips: nothing changes.
    pub fn peek_port(&self, port: u16, size: u8) -> (u32, bool) {
        let core = self.core();
        let (mut mem, mut fx) = (Untouched(&core.cpu.mem), Effects::default());
        let mut bus = Bus { now: core.now(), mem: &mut mem, fx: &mut fx };
        let mut before = core.board.clone();
        before.advance(&mut bus);
        let mut board = before.clone();
        let value = board.io_read(port, size, &mut bus);
        (value, board != before)
    }
}
