//! What a guest may do to the chips that read what it sends: the bodies of fuzz targets, and of a test that runs them for a
//! while.

use super::{Board, Bus, Effects};
use crate::config::MachineConfig;
use crate::media::{BlockSource, Drive, DriveKind, Medium, Slot};
use crate::memory::{Memory, PhysMemory};
use crate::units::{PhysAddr, VmTime};

/// A chip that is fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fed {
    /// A hard disk, and the bus master of its channel.
    Disk,
    /// A CD-ROM drive, and the bus master of its channel.
    Cd,
    /// The floppy controller, and its DMA channel.
    Floppy,
    /// The firmware's configuration device.
    FwCfg,
}

/// Where the bus masters of the IDE controller are.
const MASTER: u16 = 0xc000;
const RAM_BYTES: u64 = 1 << 20;
const MEDIUM_BYTES: u64 = 1440 << 10;
/// Bytes of an operation.
const OPERATION: usize = 6;

impl Fed {
    fn ports(self) -> &'static [u16] {
        match self {
            Fed::Disk => &[
                0x1f0, 0x1f1, 0x1f2, 0x1f3, 0x1f4, 0x1f5, 0x1f6, 0x1f7, 0x3f6, MASTER, 0xc002, 0xc004,
                0xc005, 0xc006,
            ],
            Fed::Cd => &[
                0x170, 0x171, 0x172, 0x173, 0x174, 0x175, 0x176, 0x177, 0x376, 0xc008, 0xc00a, 0xc00c,
                0xc00d, 0xc00e,
            ],
            Fed::Floppy => &[
                0x3f0, 0x3f1, 0x3f2, 0x3f3, 0x3f4, 0x3f5, 0x3f5, 0x3f5, 0x3f7, 0x04, 0x05, 0x0a, 0x0b, 0x0c,
                0x81,
            ],
            Fed::FwCfg => &[0x510, 0x511, 0x514, 0x518],
        }
    }

    /// The port through which data goes, and the bytes of an access.
    fn data(self) -> (u16, u8) {
        match self {
            Fed::Disk => (0x1f0, 2),
            Fed::Cd => (0x170, 2),
            Fed::Floppy => (0x3f5, 1),
            Fed::FwCfg => (0x511, 1),
        }
    }
}

fn config() -> MachineConfig {
    let names = ["disk", "cd", "floppy"];
    let medium =
        |name: &str| Medium { name: name.into(), bytes: MEDIUM_BYTES, hash: 0, read_only: name == "cd" };
    let drive = |slot, kind, number| Drive { slot, kind, medium: Some(number) };
    MachineConfig {
        ram_bytes: RAM_BYTES,
        media: names.map(medium).to_vec(),
        drives: vec![
            drive(Slot::Hda, DriveKind::Disk, 0),
            drive(Slot::Hdc, DriveKind::Cd, 1),
            drive(Slot::Fda, DriveKind::Floppy, 2),
        ],
        ..MachineConfig::default()
    }
}

/// Does what `input` says, in operations of six bytes: what, where, and a value.
///
/// # Panics
/// If the host has no memory.
pub fn feed(chip: Fed, input: &[u8]) {
    let config = config();
    let media = config.media.iter().map(|_| Box::new(vec![0xa5u8; 4096]) as Box<dyn BlockSource>);
    let mut mem = Memory::new(&config, media.collect()).expect("memory for a small machine");
    let mut board = Board::new(&config);
    let mut now = VmTime(0);
    let on = |board: &mut Board, mem: &mut Memory, now, act: &mut dyn FnMut(&mut Board, &mut Bus)| {
        let mut fx = Effects::default();
        act(board, &mut Bus { now, mem, fx: &mut fx });
    };
    // The IDE controller's ports, and that it may use the bus.
    for (register, value) in [(0x20, u32::from(MASTER) | 1), (0x04, 5)] {
        on(&mut board, &mut mem, now, &mut |board, bus| {
            board.io_write(0xcf8, 4, 0x8000_0900 | register, bus);
            board.io_write(0xcfc, 4, value, bus);
        });
    }
    let (data, width) = chip.data();
    for operation in input.chunks_exact(OPERATION) {
        let [what, which, a, b, c, d] = operation.try_into().expect("six bytes");
        let value = u32::from_le_bytes([a, b, c, d]);
        let port = chip.ports()[usize::from(which) % chip.ports().len()];
        let size = if chip == Fed::FwCfg { 1 << (what >> 6 & 2) } else { 1 };
        match what & 7 {
            0 => on(&mut board, &mut mem, now, &mut |board, bus| {
                board.io_read(port, size, bus);
            }),
            1..=3 => on(&mut board, &mut mem, now, &mut |board, bus| board.io_write(port, size, value, bus)),
            4 => on(&mut board, &mut mem, now, &mut |board, bus| {
                for _ in 0..which {
                    board.io_write(data, width, value, bus);
                }
            }),
            5 => on(&mut board, &mut mem, now, &mut |board, bus| {
                for _ in 0..=which {
                    board.io_read(data, width, bus);
                }
            }),
            6 => now = now.plus_ns(u64::from(value) & 0x0fff_ffff),
            _ => mem.write(PhysAddr(u64::from(which) * 4), &value.to_le_bytes()),
        }
        on(&mut board, &mut mem, now, &mut |board, bus| board.advance(bus));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::test_support::Rng;

    #[test]
    fn nothing_that_a_guest_does_to_its_drives_or_to_fw_cfg_is_too_much() {
        let mut rng = Rng::new(11);
        for chip in [Fed::Disk, Fed::Cd, Fed::Floppy, Fed::FwCfg] {
            for _ in 0..60 {
                let input: Vec<u8> = (0..OPERATION * 200).map(|_| rng.byte()).collect();
                feed(chip, &input);
            }
        }
    }
}
