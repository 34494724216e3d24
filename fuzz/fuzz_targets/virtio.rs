//! What a driver does to a virtio card: accesses to its registers, contents of memory, frames and bytes that arrive, and time that passes.
//!
//! The first byte says which card; then come operations of eight bytes: what to do, where (three bytes), and a value.
#![no_main]

mod memory;

use vm::board::{Board, Bus, Effects};
use memory::{DISK_BYTES, MEMORY_BYTES, Memory};
use vm::{CardConfig, Input, MachineConfig, Medium, PhysAddr, PhysMemory, SERIAL_PORTS, VmTime};

/// Where a machine without firmware has the card's registers of version 1, and its ports.
const REGISTERS: u64 = 0xfd00_4000;
const PORTS: u16 = 0xc040;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((which, operations)) = input.split_first() else { return };
    let card = match which % 4 {
        0 => CardConfig::VirtioBlk { medium: 0 },
        1 => CardConfig::VirtioNet { mac: [0x52, 0x54, 0, 0x12, 0x34, 0x56] },
        2 => CardConfig::VirtioRng { seed: 1 },
        _ => CardConfig::VirtioConsole { port: SERIAL_PORTS },
    };
    let media = vec![Medium { name: String::new(), bytes: DISK_BYTES, hash: 0, read_only: false }];
    let mut board = Board::new(&MachineConfig { cards: vec![card], media, ..MachineConfig::default() });
    let mut memory = Memory(vec![0; MEMORY_BYTES]);
    let mut now = VmTime(0);
    for operation in operations.chunks_exact(8) {
        let [what, a, b, c, d, e, f, g] = operation.try_into().expect("eight bytes");
        let (place, value) = (u32::from_le_bytes([a, b, c, 0]), u32::from_le_bytes([d, e, f, g]));
        let mut fx = Effects::default();
        let mut bus = Bus { now, mem: &mut memory, fx: &mut fx };
        let register = PhysAddr(REGISTERS + u64::from(place & 0x3fff));
        let port = PORTS + (place & 0x3f) as u16;
        let size = 1 << (what >> 4 & 3);
        match what & 7 {
            0 => board.mmio_write(register, size, value.into(), &mut bus),
            1 => drop(board.mmio_read(register, size, &mut bus)),
            2 => board.io_write(port, size.min(4), value, &mut bus),
            3 => drop(board.io_read(port, size.min(4), &mut bus)),
            4 => memory.write(PhysAddr(u64::from(place) & 0xffff), &[d, e, f, g]),
            5 => {
                let frame = vm::Frame(vec![d; usize::from(e) * 8]);
                board.inject(&Input::Net { card: 0, frame }, &mut bus);
                let bytes = vec![d; usize::from(e) * 8];
                board.inject(&Input::Serial { port: SERIAL_PORTS, bytes }, &mut bus);
            }
            6 => {
                // The command register, and MSI-X.
                board.io_write(0xcf8, 4, 0x8000_1800 | place & 0xfc, &mut bus);
                board.io_write(0xcfc, 4, value, &mut bus);
            }
            _ => {
                now = VmTime(now.0 + u64::from(place));
                bus.now = now;
                board.advance(&mut bus);
            }
        }
    }
});
