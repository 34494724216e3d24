use super::*;
use crate::board::test_support::{Chip, FlatMemory, Rng, chip_properties};
use crate::units::VmTime;

const MEMORY_BYTES: usize = 0x4_0000;

/// The controllers with memory behind them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Pc {
    dma: Dma,
    mem: FlatMemory,
}

impl Pc {
    fn new() -> Pc {
        Pc { dma: Dma::new(true), mem: FlatMemory::new(MEMORY_BYTES) }
    }

    fn write(&mut self, port: u16, value: u8) {
        self.dma.write(port, value, &mut self.mem);
    }

    fn word(&mut self, port: u16, value: u16) {
        for byte in value.to_le_bytes() {
            self.write(port, byte);
        }
    }

    fn read_word(&mut self, port: u16) -> u16 {
        u16::from_le_bytes([self.dma.read(port), self.dma.read(port)])
    }

    /// Channel 2 for `count` + 1 bytes at `page`:`address`, unmasked.
    fn channel_2(&mut self, mode: u8, page: u8, address: u16, count: u16) {
        self.write(0x0a, 0x06);
        self.write(0x0c, 0);
        self.write(0x0b, mode | 2);
        self.write(0x81, page);
        self.word(0x04, address);
        self.word(0x05, count);
        self.write(0x0a, 0x02);
    }

    fn device_writes(&mut self, channel: u8, bytes: &[u8]) -> Moved {
        self.dma.transfer(channel, Transfer::ToMemory(bytes), &mut self.mem)
    }
}

#[test]
fn a_device_writes_memory_until_the_terminal_count() {
    let mut pc = Pc::new();
    pc.channel_2(0x44, 1, 0xfffe, 3);
    assert_eq!(pc.device_writes(2, &[1, 2]), Moved { bytes: 2, terminal: false });
    assert_eq!(pc.dma.read(0x08), 0);
    assert_eq!(pc.read_word(0x05), 1);
    assert_eq!(pc.device_writes(2, &[3, 4, 5]), Moved { bytes: 2, terminal: true });
    assert_eq!(pc.mem.0[0x1_fffe..0x2_0000], [1, 2]);
    assert_eq!(pc.mem.0[0x1_0000..0x1_0002], [3, 4], "the address wraps inside its page");
    assert_eq!(pc.dma.read(0x08), 0x04);
    assert_eq!(pc.dma.read(0x08), 0, "reading the status clears it");
    assert_eq!(
        pc.device_writes(2, &[5]),
        Moved { bytes: 0, terminal: false },
        "masked at the terminal count"
    );
    assert_eq!(pc.dma.read(0x0f), 0x0f);
    assert_eq!(pc.read_word(0x05), 0xffff);
}

#[test]
fn a_device_reads_memory_downwards_and_again_and_again() {
    let mut pc = Pc::new();
    pc.mem.0[0x100..0x104].copy_from_slice(&[1, 2, 3, 4]);
    pc.channel_2(0x78, 0, 0x103, 3);
    for _ in 0..2 {
        let mut buffer = [0; 6];
        let moved = pc.dma.transfer(2, Transfer::FromMemory(&mut buffer), &mut pc.mem);
        assert_eq!((moved, buffer), (Moved { bytes: 4, terminal: true }, [4, 3, 2, 1, 0, 0]));
    }
    assert_eq!(pc.read_word(0x04), 0x103);
    assert_eq!(pc.dma.read(0x0f) & 4, 0);
}

#[test]
fn a_verify_counts_and_moves_nothing() {
    let mut pc = Pc::new();
    pc.channel_2(0x40, 0, 0x100, 9);
    assert_eq!(pc.device_writes(2, &[7; 10]), Moved { bytes: 10, terminal: true });
    assert!(pc.mem.0.iter().all(|byte| *byte == 0));
    pc.channel_2(0x40, 0, 0x100, 9);
    assert_eq!(pc.dma.transfer(2, Transfer::Count(4), &mut pc.mem).bytes, 4);
    assert_eq!((pc.dma.bytes_left(2), pc.read_word(0x04)), (6, 0x104));
}

#[test]
fn sixteen_bit_channels_count_words() {
    let mut pc = Pc::new();
    pc.write(0xd6, 0x45);
    pc.write(0x8b, 0x03);
    pc.word(0xc4, 0x0010);
    pc.word(0xc6, 1);
    pc.write(0xd4, 0x01);
    assert_eq!(pc.dma.bytes_left(5), 4);
    assert_eq!(pc.device_writes(5, &[1, 2, 3, 4, 5]), Moved { bytes: 4, terminal: true });
    assert_eq!(pc.mem.0[0x2_0020..0x2_0025], [1, 2, 3, 4, 0], "bit 0 of the page register does not count");
    assert_eq!(pc.dma.read(0xd0), 0x02);
}

#[test]
fn the_upper_pages_reach_beyond_16_mib() {
    let mut pc = Pc::new();
    pc.channel_2(0x44, 0x12, 0x3456, 0);
    pc.write(0x481, 0x7f);
    assert_eq!(pc.dma.address(2), PhysAddr(0x7f12_3456));
    assert_eq!((pc.dma.read(0x481), pc.dma.read(0x81)), (0x7f, 0x12));
}

#[test]
fn masks_disabling_and_the_cascade_hold_requests_back() {
    let mut pc = Pc::new();
    let held_back =
        [(0x0a, 0x06, 0x02), (0x0f, 0x04, 0x00), (0x08, 0x04, 0x00), (0xd4, 0x04, 0x00), (0xd0, 0x04, 0)];
    for (port, off, on) in held_back {
        pc.channel_2(0x54, 0, 0x100, 99);
        pc.write(port, off);
        assert_eq!(pc.device_writes(2, &[1]).bytes, 0, "{port:#x}");
        pc.write(port, on);
        assert_eq!(pc.device_writes(2, &[1]).bytes, 1, "{port:#x}");
    }
    pc.channel_2(0xc4, 0, 0x100, 99);
    assert_eq!(pc.device_writes(2, &[1]).bytes, 0, "a channel in cascade mode leaves the bus to its device");
    let mut at_power_on = Pc { dma: Dma::new(false), ..Pc::new() };
    at_power_on.channel_2(0x44, 0, 0, 0);
    assert_eq!(at_power_on.device_writes(2, &[1]).bytes, 0, "firmware has to let controller 1 through");
}

#[test]
fn the_flip_flop_is_one_for_all_registers_of_a_controller() {
    let mut pc = Pc::new();
    pc.word(0x00, 0x1234);
    pc.write(0x02, 0x78);
    pc.write(0x00, 0x56);
    pc.write(0x0c, 0);
    assert_eq!(pc.read_word(0x00), 0x5634);
    pc.dma.read(0x00);
    pc.write(0x0d, 0);
    assert_eq!(pc.read_word(0x00), 0x5634, "the master clear resets the flip-flop and keeps addresses");
    assert_eq!((pc.dma.read(0x0f), pc.dma.read(0x08)), (0x0f, 0));
    pc.write(0x0e, 0);
    assert_eq!(pc.dma.read(0x0f), 0);
}

#[test]
fn requests_show_in_the_status_and_software_serves_block_mode_only() {
    let mut pc = Pc::new();
    pc.dma.set_dreq(2, true);
    pc.dma.set_dreq(5, true);
    assert_eq!((pc.dma.read(0x08), pc.dma.read(0xd0)), (0x40, 0x20));
    pc.dma.set_dreq(2, false);
    pc.channel_2(0x44, 0, 0x100, 3);
    pc.write(0x09, 0x06);
    assert_eq!(pc.dma.read(0x08), 0x40, "single mode does not listen");
    pc.write(0x09, 0x02);
    pc.channel_2(0x84, 0, 0x100, 3);
    pc.write(0x09, 0x06);
    assert_eq!(pc.dma.read(0x08), 0x04);
    assert_eq!(pc.mem.0[0x100..0x105], [0xff, 0xff, 0xff, 0xff, 0]);
}

#[test]
fn memory_is_copied_to_memory() {
    for (command, copied) in [(0x01, [1, 2, 3, 4]), (0x03, [1, 1, 1, 1])] {
        let mut pc = Pc::new();
        pc.mem.0[0x2000..0x2004].copy_from_slice(&[1, 2, 3, 4]);
        pc.write(0x0b, 0x88);
        pc.write(0x0b, 0x85);
        pc.word(0x00, 0x2000);
        pc.word(0x02, 0x3000);
        pc.word(0x03, 3);
        pc.write(0x08, command);
        pc.write(0x09, 0x04);
        assert_eq!(pc.mem.0[0x3000..0x3004], copied);
        assert_eq!((pc.dma.read(0x08), pc.dma.read(0x0d)), (0x02, copied[3]));
    }
}

#[test]
fn page_registers_without_a_channel_are_memory() {
    let mut pc = Pc::new();
    for port in (0x81..=0x8f).chain(0x480..=0x48f) {
        assert!(Dma::decodes(port));
        pc.write(port, port as u8);
    }
    assert!((0x81..=0x8f).chain(0x480..=0x48f).all(|port| pc.dma.read(port) == port as u8));
    assert!(!Dma::decodes(0x80) && !Dma::decodes(0x92));
    pc.dma.reset();
    assert_eq!(pc.dma, Dma::new(true));
}

impl Chip for Pc {
    fn power_on() -> Pc {
        Pc::new()
    }

    fn poke(&mut self, rng: &mut Rng, _: VmTime) -> u64 {
        const PORTS: [u16; 6] = [0x00, 0x08, 0x81, 0xc0, 0xd0, 0x480];
        let port = PORTS[rng.below(6) as usize] + rng.below(16) as u16;
        let channel = rng.below(8) as u8;
        let mut buffer = [rng.byte(); 99];
        match rng.below(6) {
            0 => self.device_writes(channel, &buffer).bytes as u64,
            1 => {
                let moved = self.dma.transfer(channel, Transfer::FromMemory(&mut buffer), &mut self.mem);
                u64::from(moved.terminal) << 8 | u64::from(buffer[98])
            }
            2 | 3 => u64::from(self.dma.read(port)),
            _ => {
                self.write(port, rng.byte());
                0
            }
        }
    }

    fn advance(&mut self, _: VmTime) {}

    fn next_event(&self) -> Option<VmTime> {
        None
    }

    fn outputs(&self) -> u64 {
        0
    }
}

chip_properties!(Pc, step_ns: 100_000, exact: false);
