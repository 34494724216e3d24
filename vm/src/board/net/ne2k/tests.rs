use super::*;
use crate::board::cards::test_bus::{Rig, TestCard, with_bus};
use crate::board::test_support::{FlatMemory, chip_properties};

const STATION: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];

fn out(chip: &mut Ne2k, port: u32, value: u8) {
    with_bus(&mut FlatMemory::new(0), VmTime(0), |bus| chip.write(0, port, 1, value.into(), bus));
}

fn inb(chip: &mut Ne2k, port: u32) -> u8 {
    with_bus(&mut FlatMemory::new(0), VmTime(0), |bus| chip.read(0, port, 1, bus)).0 as u8
}

fn in_data(chip: &mut Ne2k, size: u8) -> u32 {
    with_bus(&mut FlatMemory::new(0), VmTime(0), |bus| chip.read(0, DATA_PORT, size, bus)).0
}

fn arrive(chip: &mut Ne2k, frame: &[u8]) {
    with_bus(&mut FlatMemory::new(0), VmTime(0), |bus| chip.receive(frame, bus));
}

/// Remote DMA of `count` bytes from or to `at`.
fn remote(chip: &mut Ne2k, command: u8, at: u16, count: u16) {
    let [at_low, at_high] = at.to_le_bytes();
    let [low, high] = count.to_le_bytes();
    for (port, value) in [(0x08, at_low), (0x09, at_high), (0x0a, low), (0x0b, high), (0x00, command)] {
        out(chip, port, value);
    }
}

/// Transmit pages from 0x40, ring from 0x46 to 0x80, as drivers have it; started.
fn running() -> Ne2k {
    let mut chip = Ne2k::new(STATION);
    for (port, value) in
        [(0x00, 0x21), (0x0e, 0x49), (0x01, 0x46), (0x02, 0x80), (0x03, 0x46), (0x0c, 0x0c), (0x0f, 0x7f)]
    {
        out(&mut chip, port, value);
    }
    out(&mut chip, 0x00, 0x61);
    for (i, byte) in (1..).zip(STATION) {
        out(&mut chip, i, byte);
    }
    out(&mut chip, 0x07, 0x47);
    out(&mut chip, 0x00, 0x22);
    out(&mut chip, 0x07, 0xff);
    chip
}

fn frame_to(to: [u8; 6], bytes: usize) -> Vec<u8> {
    let mut frame = to.to_vec();
    frame.extend((6..bytes).map(|i| i as u8));
    frame
}

#[test]
fn the_prom_has_each_byte_of_the_station_address_twice() {
    let mut chip = Ne2k::new(STATION);
    assert_eq!([inb(&mut chip, 0x0a), inb(&mut chip, 0x0b)], [0x50, 0x43]);
    assert_eq!(inb(&mut chip, 0x07) & 0x80, 0x80, "reset");
    remote(&mut chip, 0x0a, 0, 32);
    assert_eq!(inb(&mut chip, 0x07) & 0x80, 0, "started");
    let prom: Vec<u8> = (0..32).map(|_| in_data(&mut chip, 1) as u8).collect();
    assert_eq!(prom[..12], [0x52, 0x52, 0x54, 0x54, 0, 0, 0x12, 0x12, 0x34, 0x34, 0x56, 0x56]);
    assert_eq!(prom[28..], *b"WWWW");
    assert_eq!(inb(&mut chip, 0x07), isr::REMOTE_DONE);
}

#[test]
fn the_data_port_takes_all_widths() {
    let mut chip = running();
    remote(&mut chip, 0x12, 0x4000, 8);
    with_bus(&mut FlatMemory::new(0), VmTime(0), |bus| {
        chip.write(0, DATA_PORT, 2, 0x2211, bus);
        chip.write(0, DATA_PORT, 4, 0x6655_4433, bus);
        chip.write(0, DATA_PORT, 2, 0x8877, bus);
        chip.write(0, DATA_PORT, 2, 0xffff, bus); // one too many
    });
    assert_eq!(inb(&mut chip, 0x07), isr::REMOTE_DONE);
    remote(&mut chip, 0x0a, 0x4000, 8);
    assert_eq!(in_data(&mut chip, 4), 0x4433_2211);
    assert_eq!(in_data(&mut chip, 2), 0x6655);
    assert_eq!([inb(&mut chip, 0x08), inb(&mut chip, 0x09)], [6, 0x40]);
    out(&mut chip, 0x0e, 0x48);
    assert_eq!([in_data(&mut chip, 1), in_data(&mut chip, 1)], [0x77, 0x88]);
    assert_eq!(chip.load(0x4008), 0);
}

#[test]
fn a_frame_leaves_after_the_time_that_it_takes() {
    let mut chip = running();
    for i in 0..100 {
        chip.store(0x4000 + i, i as u8);
    }
    for (port, value) in [(0x04, 0x40), (0x05, 100), (0x06, 0)] {
        out(&mut chip, port, value);
    }
    out(&mut chip, 0x00, 0x26);
    assert_eq!(inb(&mut chip, 0x00), 0x26, "busy");
    assert_eq!(chip.next_event(), Some(VmTime(124 * 800)));
    assert!(!chip.irq());
    let mut memory = FlatMemory::new(0);
    let ((), frames) = with_bus(&mut memory, VmTime(124 * 800), |bus| chip.advance(bus));
    assert_eq!(frames, [(0..100).collect::<Vec<u8>>()]);
    assert_eq!([inb(&mut chip, 0x00), inb(&mut chip, 0x04), inb(&mut chip, 0x07)], [0x22, 1, isr::SENT]);
    assert!(chip.irq());
    out(&mut chip, 0x07, isr::SENT);
    assert!(!chip.irq());
}

#[test]
fn loopback_keeps_frames_off_the_wire() {
    let mut chip = running();
    out(&mut chip, 0x0d, 0x02);
    out(&mut chip, 0x05, 64);
    out(&mut chip, 0x00, 0x26);
    let at = chip.next_event().unwrap();
    let ((), frames) = with_bus(&mut FlatMemory::new(0), at, |bus| chip.advance(bus));
    assert!(frames.is_empty());
    assert_eq!(inb(&mut chip, 0x07), isr::SENT);
    arrive(&mut chip, &frame_to(STATION, 64));
    assert_eq!(inb(&mut chip, 0x07), isr::SENT);
}

#[test]
fn a_frame_is_put_into_the_ring_with_its_header() {
    let mut chip = running();
    arrive(&mut chip, &frame_to(STATION, 300));
    assert!(chip.irq());
    assert_eq!((0..4).map(|i| chip.load(0x4700 + i)).collect::<Vec<_>>(), [1, 0x49, 48, 1]);
    let stored: Vec<u8> = (4..304).map(|i| chip.load(0x4700 + i)).collect();
    assert_eq!(stored, frame_to(STATION, 300));
    arrive(&mut chip, &frame_to(BROADCAST, 14));
    assert_eq!((0..4).map(|i| chip.load(0x4900 + i)).collect::<Vec<_>>(), [0x21, 0x4a, 64, 0], "padded");
    out(&mut chip, 0x00, 0x62);
    assert_eq!(inb(&mut chip, 0x07), 0x4a);
}

#[test]
fn another_page_neither_starts_nor_stops_the_chip() {
    let mut chip = running();
    // As iPXE's driver does it.
    out(&mut chip, 0x00, 0x40);
    assert_eq!(inb(&mut chip, 0x07), 0x47);
    out(&mut chip, 0x00, 0x00);
    assert_eq!(inb(&mut chip, 0x00), 0x02, "it still runs");
    arrive(&mut chip, &frame_to(STATION, 100));
    assert_eq!(inb(&mut chip, 0x07), isr::RECEIVED);
    out(&mut chip, 0x00, 0x21);
    out(&mut chip, 0x00, 0x20);
    assert_eq!((inb(&mut chip, 0x00), chip.can_receive()), (0x21, false), "it is still stopped");
}

#[test]
fn the_ring_wraps_and_what_does_not_fit_overflows() {
    let mut chip = running();
    let most = (0x80 - 0x46) / 6;
    for _ in 0..most {
        assert!(chip.can_receive());
        arrive(&mut chip, &frame_to(STATION, 1514));
    }
    assert!(!chip.can_receive());
    assert_eq!(inb(&mut chip, 0x07), isr::RECEIVED);
    out(&mut chip, 0x03, 0x7c);
    assert!(chip.can_receive());
    arrive(&mut chip, &frame_to(STATION, 1514));
    out(&mut chip, 0x03, 0x47);
    let before = chip.current;
    assert!((0x46..0x50).contains(&before), "{before:#x}");
    while chip.can_receive() {
        arrive(&mut chip, &frame_to(STATION, 1514));
    }
    arrive(&mut chip, &frame_to(STATION, 1514));
    assert_eq!(inb(&mut chip, 0x07), isr::RECEIVED | isr::OVERFLOW);
    arrive(&mut chip, &frame_to(STATION, 64));
    assert_eq!(inb(&mut chip, 0x0f), 2, "missed");
    assert_eq!(inb(&mut chip, 0x0f), 0, "reading clears it");
}

#[test]
fn only_frames_that_are_wanted_are_kept() {
    let group = [0x01, 0x00, 0x5e, 0, 0, 1];
    let other = [0x52, 0x54, 0, 0, 0, 1];
    // (receive configuration, bit of the filter, to this station, to another, broadcast, to a group)
    for (config, bit, expected) in [
        (0x00, false, [true, false, false, false]),
        (0x04, false, [true, false, true, false]),
        (0x08, false, [true, false, false, false]),
        (0x08, true, [true, false, false, true]),
        (0x10, true, [true, true, false, false]),
        (0x1c, true, [true, true, true, true]),
    ] {
        let mut chip = running();
        chip.receive_config = config;
        // The hash of 224.0.0.1's address, as tables of DP8390 drivers have it.
        let hash = (!check_sequence(&group)).reverse_bits() >> 26;
        chip.multicast[hash as usize / 8] = u8::from(bit) << (hash % 8);
        for (to, wanted) in [STATION, other, BROADCAST, group].into_iter().zip(expected) {
            let before = chip.current;
            arrive(&mut chip, &frame_to(to, 64));
            assert_eq!(chip.current != before, wanted, "{config:#x} {to:x?}");
        }
    }
}

#[test]
fn the_send_command_reads_the_frame_at_the_boundary() {
    let mut chip = running();
    arrive(&mut chip, &frame_to(STATION, 60));
    out(&mut chip, 0x03, 0x47);
    out(&mut chip, 0x00, 0x1a);
    let got: Vec<u8> = (0..16).flat_map(|_| in_data(&mut chip, 4).to_le_bytes()).collect();
    assert_eq!(got[..4], [1, 0x48, 64, 0]);
    assert_eq!(got[4..10], STATION);
}

#[test]
fn a_read_of_the_reset_port_stops_the_chip() {
    let mut chip = running();
    inb(&mut chip, 0x1f);
    assert_eq!([inb(&mut chip, 0x00), inb(&mut chip, 0x07)], [0x21, 0x80]);
    assert!(!chip.can_receive());
}

impl TestCard for Ne2k {
    const RANGES: &'static [(u8, u32)] = &[(0, 32)];

    fn power_on() -> Ne2k {
        running()
    }

    fn state_outputs(&self) -> u64 {
        u64::from(self.interrupt_status) | u64::from(self.sent_at.is_some()) << 16
    }
}

chip_properties!(Rig<Ne2k>, step_ns: 800, exact: true);
