//! What a driver does to an e1000: accesses to its registers, contents of memory, frames that arrive, and time that passes.
//!
//! The input is a list of operations of eight bytes: what to do, where (three bytes), and a value.
#![no_main]

mod memory;

use vm::board::{Board, Bus, Effects};
use memory::{MEMORY_BYTES, Memory};
use vm::{CardConfig, Input, MachineConfig, PhysAddr, VmTime};

/// Where a machine without firmware has the card's registers and ports.
const REGISTERS: u64 = 0xfd00_0000;
const PORTS: u16 = 0xc040;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let cards = vec![CardConfig::E1000 { mac: [0x52, 0x54, 0, 0x12, 0x34, 0x56] }];
    let mut board = Board::new(&MachineConfig { cards, ..MachineConfig::default() });
    let mut memory = Memory(vec![0; MEMORY_BYTES]);
    let mut now = VmTime(0);
    for operation in input.chunks_exact(8) {
        let [what, a, b, c, d, e, f, g] = operation.try_into().expect("eight bytes");
        let (place, value) = (u32::from_le_bytes([a, b, c, 0]), u32::from_le_bytes([d, e, f, g]));
        let mut fx = Effects::default();
        let mut bus = Bus { now, mem: &mut memory, fx: &mut fx };
        let register = PhysAddr(REGISTERS + u64::from(place & 0x1_ffff));
        let size = 1 << (what >> 4 & 3);
        match what & 15 {
            0 => drop(board.mmio_read(register, size, &mut bus)),
            1 => board.mmio_write(register, size, value.into(), &mut bus),
            // The registers that matter most are aligned ones below 0x6000.
            2..=5 => board.mmio_write(PhysAddr(REGISTERS + u64::from(place % 0x6000 & !3)), 4, value.into(), &mut bus),
            6 => drop(board.io_read(PORTS + (place & 0x3f) as u16, size.min(4), &mut bus)),
            7 => board.io_write(PORTS + (place & 0x3f) as u16, size.min(4), value, &mut bus),
            8 => {
                let frame = vm::Frame(operation.repeat(place as usize % 250 + 1));
                board.inject(&Input::Net { card: 0, frame }, &mut bus);
            }
            9 => now = now.plus_ns(value.into()),
            _ => {
                let at = place as usize % (MEMORY_BYTES - 4);
                memory.0[at..at + 4].copy_from_slice(&value.to_le_bytes());
                continue;
            }
        }
        let mut fx = Effects::default();
        board.advance(&mut Bus { now, mem: &mut memory, fx: &mut fx });
    }
});
