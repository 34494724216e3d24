//! The wires of the floppy controller: DMA channel 2, and the disks.

use super::dma::{Dma, Moved, Transfer};
use super::fdc::{DriveKind, Fdc, Host, SECTOR_BYTES};
use crate::config::MachineConfig;
use crate::media::Slot;
use crate::memory::PhysMemory;
use crate::units::VmTime;

/// The DMA channel of the floppy controller.
const CHANNEL: u8 = 2;

/// The drives of a machine: each is of the kind that the disk needs which is in it at power-on.
pub(super) fn drives(config: &MachineConfig) -> [Option<DriveKind>; 2] {
    Slot::FLOPPY.map(|slot| {
        config.drive(slot)?;
        let disk = config.medium_in(slot);
        Some(disk.map_or(DriveKind::ThreeInchHigh, |disk| DriveKind::for_disk(disk.bytes)))
    })
}

/// The controller at power-on, with the disks in its drives.
pub(super) fn controller(config: &MachineConfig) -> Fdc {
    let mut fdc = Fdc::new(drives(config));
    for (drive, slot) in Slot::FLOPPY.into_iter().enumerate() {
        fdc.change_disk(drive, config.medium_in(slot), VmTime(0));
    }
    fdc
}

/// What the floppy controller reaches.
pub(super) struct Wires<'a> {
    pub(super) dma: &'a mut Dma,
    pub(super) mem: &'a mut dyn PhysMemory,
}

impl Host for Wires<'_> {
    fn transfer(&mut self, data: Transfer) -> Moved {
        self.dma.transfer(CHANNEL, data, self.mem)
    }

    fn read_sector(&mut self, medium: usize, sector: u16, data: &mut [u8; SECTOR_BYTES]) {
        self.mem.read_medium(medium, offset(sector), data);
    }

    fn write_sector(&mut self, medium: usize, sector: u16, data: &[u8; SECTOR_BYTES]) {
        self.mem.write_medium(medium, offset(sector), data);
    }
}

fn offset(sector: u16) -> u64 {
    u64::from(sector) * SECTOR_BYTES as u64
}
