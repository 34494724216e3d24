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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::test_support::config;
    use crate::board::{Board, Bus, Effects};
    use crate::media::{self, Drive, Medium};
    use crate::memory::Memory;
    use crate::units::PhysAddr;

    /// A machine with one floppy, as far as the board sees it.
    struct Pc {
        board: Board,
        mem: Memory,
        now: VmTime,
    }

    impl Pc {
        fn new() -> Pc {
            let image: Vec<u8> = (0..2880u32).flat_map(|sector| [sector as u8; SECTOR_BYTES]).collect();
            let medium = Medium { name: "disk".into(), bytes: image.len() as u64, hash: 0, read_only: false };
            let drive = Drive { slot: Slot::Fda, kind: media::DriveKind::Floppy, medium: Some(0) };
            let config = MachineConfig { media: vec![medium], drives: vec![drive], ..config() };
            let mem = Memory::new(&config, vec![Box::new(image)]).expect("a small machine");
            let mut pc = Pc { board: Board::new(&config), mem, now: VmTime(0) };
            // Interrupt controllers as a BIOS has them, the floppy controller out of reset, steps of 3 ms, DMA.
            pc.out(0x20, &[0x11]);
            pc.out(0x21, &[8, 4, 1, 0xbf]);
            pc.out(0x3f2, &[0x1c]);
            pc.until_interrupt();
            for _ in 0..4 {
                pc.out(0x3f5, &[0x08]);
                pc.result(2);
            }
            pc.out(0x3f5, &[0x03, 0xdf, 0x02]);
            pc.out(0x3f7, &[0]);
            pc
        }

        fn on<R>(&mut self, act: impl FnOnce(&mut Board, &mut Bus) -> R) -> R {
            let mut fx = Effects::default();
            let mut bus = Bus { now: self.now, mem: &mut self.mem, fx: &mut fx };
            self.board.advance(&mut bus);
            act(&mut self.board, &mut bus)
        }

        fn out(&mut self, port: u16, bytes: &[u8]) {
            for byte in bytes {
                self.on(|board, bus| board.io_write(port, 1, u32::from(*byte), bus));
            }
        }

        fn result(&mut self, bytes: usize) -> Vec<u8> {
            (0..bytes).map(|_| self.on(|board, bus| board.io_read(0x3f5, 1, bus)) as u8).collect()
        }

        /// Runs until IRQ 6, and ends its service.
        fn until_interrupt(&mut self) {
            while !self.board.intr() {
                self.now = self.board.next_event().expect("something will happen");
                self.on(|board, bus| board.advance(bus));
            }
            assert_eq!(self.board.acknowledge().0, 8 + 6);
            self.out(0x20, &[0x20]);
        }

        /// Moves sector 5 of track 0 between the disk and 0x1_2000.
        fn sector_5(&mut self, mode: u8, command: u8) -> Vec<u8> {
            self.out(0x0c, &[0]);
            self.out(0x0b, &[mode]);
            self.out(0x81, &[1]);
            self.out(0x04, &[0x00, 0x20]);
            self.out(0x05, &[0xff, 0x01]);
            self.out(0x0a, &[2]);
            self.out(0x3f5, &[command, 0, 0, 0, 5, 2, 18, 27, 0xff]);
            let event = self.board.next_memory_event().expect("the sector will come");
            assert!(event > self.now);
            self.until_interrupt();
            assert_eq!(self.now, event);
            self.result(7)
        }
    }

    #[test]
    fn a_sector_comes_by_dma_and_goes_to_the_overlay() {
        let mut pc = Pc::new();
        assert_eq!(pc.sector_5(0x46, 0xe6), [0, 0, 0, 0, 0, 6, 2]);
        let mut bytes = [0; SECTOR_BYTES];
        pc.mem.read(PhysAddr(0x1_2000), &mut bytes);
        assert_eq!(bytes, [4; SECTOR_BYTES]);
        pc.mem.write(PhysAddr(0x1_2000), &[0xa5; SECTOR_BYTES]);
        assert_eq!(pc.sector_5(0x4a, 0xc5), [0, 0, 0, 0, 0, 6, 2]);
        pc.mem.read_medium(0, 4 * SECTOR_BYTES as u64, &mut bytes);
        assert_eq!(bytes, [0xa5; SECTOR_BYTES]);
    }

    #[test]
    fn a_disk_is_changed_by_an_input() {
        let mut pc = Pc::new();
        let change = |pc: &mut Pc, medium| {
            let input = crate::Input::Media { slot: Slot::Fda, medium };
            pc.on(|board, bus| board.inject(&input, bus));
            pc.on(|board, bus| board.io_read(0x3f7, 1, bus)) & 0x80
        };
        pc.out(0x3f5, &[0x0f, 0, 1]);
        pc.until_interrupt();
        pc.out(0x3f5, &[0x08]);
        pc.result(2);
        assert_eq!(pc.on(|board, bus| board.io_read(0x3f7, 1, bus)) & 0x80, 0);
        assert_eq!((change(&mut pc, None), change(&mut pc, Some(0))), (0x80, 0x80));
    }
}
