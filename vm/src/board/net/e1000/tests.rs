use super::regs::*;
use super::*;
use crate::board::cards::test_bus::{Rig, TestCard, with_bus};
use crate::board::net::check_sequence;
use crate::board::test_support::{FlatMemory, Rng, chip_properties};

const MAC: Mac = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
const OTHER: Mac = [0x52, 0x54, 0, 0, 0, 2];
const RX_RING: u64 = 0x1000;
const TX_RING: u64 = 0x2000;
const RX_BUFFERS: u64 = 0x1_0000;
const TX_DATA: u64 = 0x8000;

/// A card with its memory, and what it has sent.
struct Bench {
    chip: E1000,
    mem: FlatMemory,
    now: u64,
    sent: Vec<Vec<u8>>,
}

impl Bench {
    /// A driver has set up rings of eight descriptors; the receiver has seven.
    fn new() -> Bench {
        let mut bench =
            Bench { chip: E1000::new(MAC), mem: FlatMemory::new(0x4_0000), now: 1000, sent: Vec::new() };
        for i in 0..8 {
            bench.mem.0[RX_RING as usize + i * 16..][..8]
                .copy_from_slice(&(RX_BUFFERS + 0x1000 * i as u64).to_le_bytes());
        }
        for (register, value) in [
            (RDBAL, RX_RING as u32),
            (RDBAL + 8, 128),
            (RDT, 7),
            (RCTL, rctl::ENABLE | rctl::BROADCAST | rctl::STRIP_CHECK),
            (TDBAL, TX_RING as u32),
            (TDBAL + 8, 128),
            (TCTL, tctl::ENABLE | tctl::PAD),
            (IMS, CAUSES),
        ] {
            bench.set(register, value);
        }
        bench
    }

    fn on<R>(&mut self, act: impl FnOnce(&mut E1000, &mut CardBus) -> R) -> R {
        let chip = &mut self.chip;
        let (result, frames) = with_bus(&mut self.mem, VmTime(self.now), |bus| act(chip, bus));
        self.sent.extend(frames);
        result
    }

    fn set(&mut self, register: u32, value: u32) {
        self.on(|chip, bus| chip.write(0, register, 4, value, bus));
    }

    fn get(&mut self, register: u32) -> u32 {
        self.on(|chip, bus| chip.read(0, register, 4, bus))
    }

    fn arrive(&mut self, frame: &[u8]) {
        self.on(|chip, bus| chip.receive(frame, bus));
    }

    /// Lets time pass, event by event.
    fn run(&mut self, ns: u64) {
        let end = self.now + ns;
        while let Some(event) = self.chip.next_event().filter(|event| event.0 <= end) {
            self.now = event.0;
            self.on(|chip, bus| chip.advance(bus));
        }
        self.now = end;
        self.on(|chip, bus| chip.advance(bus));
    }

    /// Puts a descriptor into the transmit ring.
    fn descriptor(&mut self, index: usize, low: u64, high: u64) {
        let at = TX_RING as usize + index * 16;
        self.mem.0[at..at + 8].copy_from_slice(&low.to_le_bytes());
        self.mem.0[at + 8..at + 16].copy_from_slice(&high.to_le_bytes());
    }

    fn data(&mut self, bytes: &[u8]) {
        self.mem.0[TX_DATA as usize..][..bytes.len()].copy_from_slice(bytes);
    }

    /// Length, status and errors of a receive descriptor.
    fn received(&self, index: usize) -> (usize, u8, u8) {
        let at = RX_RING as usize + index * 16;
        let length = u16::from_le_bytes([self.mem.0[at + 8], self.mem.0[at + 9]]);
        (length.into(), self.mem.0[at + 12], self.mem.0[at + 13])
    }

    fn buffer(&self, index: usize, bytes: usize) -> &[u8] {
        &self.mem.0[RX_BUFFERS as usize + 0x1000 * index..][..bytes]
    }
}

/// A frame with an IPv4 header and a TCP or UDP segment, all checksums right.
fn packet(protocol: u8, payload: usize) -> Vec<u8> {
    let header = if protocol == 6 { 20 } else { 8 };
    let total = (20 + header + payload) as u16;
    let mut frame = [&MAC[..], &OTHER, &[8, 0, 0x45, 0], &total.to_be_bytes()].concat();
    frame.extend([0x12, 0x34, 0, 0, 64, protocol, 0, 0, 10, 0, 2, 2, 10, 0, 2, 15]);
    checksum::put(&mut frame, 14, 24, 34, false);
    let segment = frame.len();
    frame.resize(segment + header, 0);
    frame.extend((0..payload).map(|i| i as u8));
    let at = segment + if protocol == 6 { 16 } else { 6 };
    if protocol == 6 {
        frame[segment + 12] = 0x50;
        frame[segment + 13] = 0x19; // ACK, PSH, FIN
    } else {
        checksum::set_word(&mut frame, segment + 4, total - 20);
    }
    let sum = pseudo(&frame, total - 20);
    checksum::set_word(&mut frame, at, sum);
    checksum::put(&mut frame, segment, at, usize::MAX, true);
    frame
}

/// The sum of a pseudo header.
fn pseudo(frame: &[u8], length: u16) -> u16 {
    checksum::fold(checksum::add(u32::from(frame[23]) + u32::from(length), &frame[26..34]))
}

#[test]
fn the_station_address_is_in_the_eeprom_and_in_the_first_filter() {
    let mut bench = Bench::new();
    let mut words = Vec::new();
    for address in 0..64 {
        bench.set(EERD, address << 8 | 1);
        let value = bench.get(EERD);
        assert_eq!(value & 0xff10, address << 8 | 0x10);
        words.push((value >> 16) as u16);
    }
    assert_eq!(words[..3], [0x5452, 0x1200, 0x5634]);
    assert_eq!(words.iter().fold(0u16, |sum, word| sum.wrapping_add(*word)), 0xbaba);
    assert_eq!([bench.get(RAL), bench.get(RAL + 4)], [0x1200_5452, 0x8000_5634]);
    // The same by its serial port.
    bench.set(EECD, 1 << 6);
    assert_eq!(bench.get(EECD) & 0xc0, 0xc0, "granted");
    for (address, word) in words.iter().enumerate() {
        let clock = |bench: &mut Bench, bit: u32| {
            bench.set(EECD, 0x42 | bit << 2);
            bench.set(EECD, 0x43 | bit << 2);
            bench.get(EECD) >> 3 & 1
        };
        let command = 0b110 << 6 | address as u32;
        for i in (0..9).rev() {
            clock(&mut bench, command >> i & 1);
        }
        let read = (0..16).fold(0, |word, _| word << 1 | clock(&mut bench, 0));
        assert_eq!(read, u32::from(*word), "word {address}");
        bench.set(EECD, 1 << 6);
    }
}

#[test]
fn the_phy_answers_and_negotiates() {
    let mut bench = Bench::new();
    let phy = |bench: &mut Bench, register: u32| {
        bench.set(MDIC, 2 << 26 | 1 << 21 | register << 16);
        let value = bench.get(MDIC);
        assert_eq!(value & (1 << 28 | 1 << 30), 1 << 28);
        value & 0xffff
    };
    assert_eq!([phy(&mut bench, 2), phy(&mut bench, 3)], [0x0141, 0x0c20]);
    assert_eq!(bench.get(STATUS) & 2, 2);
    bench.set(MDIC, 1 << 26 | 1 << 21 | 0x1200);
    assert_eq!(bench.get(STATUS) & 2, 0, "it negotiates");
    assert_eq!(phy(&mut bench, 1) & 0x24, 0);
    bench.get(ICR);
    bench.run(20_000_000);
    assert_eq!(bench.get(ICR), icr::LINK_CHANGE);
    assert_eq!(phy(&mut bench, 1) & 0x24, 0x24);
    bench.set(MDIC, 2 << 26 | 2 << 21);
    assert_ne!(bench.get(MDIC) & 1 << 30, 0, "there is no other PHY");
}

#[test]
fn a_frame_is_written_to_the_next_buffer() {
    let mut bench = Bench::new();
    let frame = packet(17, 100);
    bench.arrive(&frame);
    assert_eq!(bench.received(0), (frame.len(), 0x07, 0));
    assert_eq!(bench.buffer(0, frame.len()), frame);
    assert_eq!(bench.get(RDBAL + 0x10), 1, "head");
    assert!(bench.chip.irq());
    assert_eq!(bench.get(ICR), icr::RX_TIMER);
    assert!(!bench.chip.irq(), "reading the causes clears them");
    // With the check sequence, and padded.
    bench.set(RCTL, rctl::ENABLE);
    bench.arrive(&[&MAC[..], &OTHER, &[8, 0, 1]].concat());
    assert_eq!(bench.received(1).0, 64);
    let check = check_sequence(bench.buffer(1, 60)).to_le_bytes();
    assert_eq!(bench.buffer(1, 64)[60..], check);
}

#[test]
fn a_long_frame_goes_to_more_than_one_buffer() {
    let mut bench = Bench::new();
    bench.set(RCTL, rctl::ENABLE | rctl::STRIP_CHECK | 3 << 16);
    let frame = packet(17, 600);
    bench.arrive(&frame);
    assert_eq!(
        [0, 1, 2].map(|i| bench.received(i)),
        [(256, 1, 0), (256, 1, 0), (frame.len() - 512, 0x07, 0)]
    );
    assert_eq!(bench.buffer(1, 256), &frame[256..512]);
    bench.arrive(&[&MAC[..], &[0; 1520]].concat());
    assert_eq!(bench.get(STATISTICS + 0xac), 1, "oversize");
    bench.set(RCTL, rctl::ENABLE | rctl::LONG_PACKETS | rctl::SIZE_EXTENSION | 1 << 16);
    bench.arrive(&[&MAC[..], &[0; 9000]].concat());
    assert_eq!(bench.received(3), (9010, 0x07, 0));
}

#[test]
fn frames_wait_in_the_packet_buffer_for_descriptors() {
    let mut bench = Bench::new();
    for _ in 0..7 {
        bench.arrive(&packet(17, 10));
    }
    assert_eq!(bench.get(ICR), icr::RX_TIMER | icr::RX_LOW);
    assert_eq!(bench.get(STATISTICS + 0xa0), 0);
    let most = packet(17, 1400);
    while bench.chip.can_receive() {
        bench.arrive(&most);
    }
    assert_eq!([bench.get(ICR), bench.get(STATISTICS + 0x10)], [0, 0], "nothing is lost");
    for _ in 0..3 {
        bench.arrive(&most);
    }
    assert_eq!(bench.get(ICR), icr::RX_OVERRUN);
    assert!(bench.get(STATISTICS + 0x10) > 0, "missed");
    bench.set(RDT, 2);
    assert_eq!([7, 0, 1].map(|i| bench.received(i).0), [most.len(); 3]);
    assert_eq!(bench.get(RDBAL + 0x10), 2);
}

#[test]
fn only_frames_that_are_wanted_are_received() {
    let group = [0x01, 0x00, 0x5e, 0, 0, 0xfb];
    // (receive control, hash bit set, ours, another, broadcast, group)
    for (control, hash, expected) in [
        (0, false, [true, false, false, false]),
        (rctl::BROADCAST, false, [true, false, true, false]),
        (rctl::UNICAST_PROMISCUOUS, false, [true, true, false, false]),
        (rctl::MULTICAST_PROMISCUOUS, false, [true, false, true, true]),
        (0, true, [true, false, false, true]),
    ] {
        let mut bench = Bench::new();
        bench.set(RCTL, rctl::ENABLE | control);
        let bit = (u32::from(group[5]) << 8 | u32::from(group[4])) >> 4;
        bench.set(MTA + (bit >> 5) * 4, u32::from(hash) << (bit & 31));
        for (to, wanted) in [MAC, OTHER, [0xff; 6], group].into_iter().zip(expected) {
            let before = bench.get(RDBAL + 0x10);
            bench.arrive(&[&to[..], &[0; 60]].concat());
            assert_eq!(bench.get(RDBAL + 0x10) != before, wanted, "{control:#x} {to:x?}");
        }
    }
}

#[test]
fn checksums_of_received_packets_are_looked_at() {
    let mut bench = Bench::new();
    bench.set(RXCSUM, rxcsum::IP | rxcsum::TCP_UDP);
    let good = packet(6, 33);
    let mut bad_tcp = good.clone();
    bad_tcp[60] ^= 1;
    let mut bad_ip = good.clone();
    bad_ip[18] ^= 1;
    for frame in [&good, &bad_tcp, &bad_ip] {
        bench.arrive(frame);
    }
    let flags = |bench: &Bench, i| (bench.received(i).1, bench.received(i).2);
    assert_eq!(flags(&bench, 0), (0x63, 0));
    assert_eq!(flags(&bench, 1), (0x63, 0x20));
    assert_eq!(flags(&bench, 2), (0x63, 0x40));
    bench.arrive(&[&MAC[..], &OTHER, &[8, 6], &[0; 46]].concat());
    assert_eq!(flags(&bench, 3), (0x07, 0), "not IP");
}

#[test]
fn vlan_tags_are_filtered_taken_out_and_put_in() {
    let mut bench = Bench::new();
    bench.set(CTRL, ctrl::VLAN_MODE);
    bench.set(RCTL, rctl::ENABLE | rctl::STRIP_CHECK | rctl::VLAN_FILTER);
    let mut tagged = packet(17, 100);
    tagged.splice(12..12, [0x81, 0x00, 0x00, 0x21]);
    bench.arrive(&tagged);
    assert_eq!(bench.get(RDBAL + 0x10), 0, "filtered");
    bench.set(VFTA + 4, 1 << 1);
    bench.arrive(&tagged);
    assert_eq!(bench.received(0).1 & 0x08, 0x08);
    assert_eq!(bench.buffer(0, tagged.len() - 4), packet(17, 100));
    assert_eq!(bench.mem.0[RX_RING as usize + 14..][..2], [0x21, 0]);
    let frame = packet(17, 100);
    bench.data(&frame);
    bench.descriptor(0, TX_DATA, frame.len() as u64 | 0x43 << 24 | 0x21 << 48);
    bench.set(TDT, 1);
    bench.run(100_000);
    assert_eq!(bench.sent, [tagged]);
}

#[test]
fn a_packet_of_legacy_descriptors_is_sent_and_reported() {
    let mut bench = Bench::new();
    let frame = packet(17, 40);
    bench.data(&frame);
    bench.descriptor(0, TX_DATA, 30);
    bench.descriptor(1, TX_DATA + 30, (frame.len() as u64 - 30) | 0x0b << 24);
    bench.set(TDT, 2);
    assert!(bench.sent.is_empty(), "it takes its time");
    bench.run(100_000);
    assert_eq!(bench.sent, std::slice::from_ref(&frame));
    let status = |bench: &Bench, i: usize| bench.mem.0[TX_RING as usize + i * 16 + 12];
    assert_eq!([status(&bench, 0), status(&bench, 1)], [0, 1], "only where it was asked for");
    assert_eq!(bench.get(TDBAL + 0x10), 2);
    assert_eq!(bench.get(ICR), icr::TX_WRITTEN_BACK | icr::TX_QUEUE_EMPTY);
    assert_eq!([bench.get(STATISTICS + 0xd4), bench.get(STATISTICS + 0xd4)], [1, 0], "reading clears it");
    assert_eq!(bench.get(STATISTICS + 0xc8), frame.len() as u32 + 4);
    // Short ones are padded; without IFCS a check sequence that is there does not go out twice.
    bench.data(&[&MAC[..], &OTHER, &[1, 2, 3]].concat());
    bench.descriptor(2, TX_DATA, 15 | 0x0b << 24);
    bench.set(TDT, 3);
    bench.run(100_000);
    assert_eq!(bench.sent[1].len(), 60);
    let checked = [&frame[..], &check_sequence(&frame).to_le_bytes()].concat();
    bench.data(&checked);
    bench.descriptor(3, TX_DATA, checked.len() as u64 | 0x01 << 24);
    bench.set(TDT, 4);
    bench.run(100_000);
    assert_eq!(bench.sent[2], frame);
}

/// A context descriptor for a frame as `packet` makes it: TCP if `segment` is not none or says so.
fn context(protocol: u8, segment: Option<u64>, payload: u64) -> (u64, u64) {
    let place = if protocol == 6 { 16 } else { 6 };
    let low = 14 | 24 << 8 | 33 << 16 | 34 << 32 | (34 + place) << 40;
    let header = if protocol == 6 { 54 } else { 42 };
    let command = 0x22 | u64::from(protocol == 6) | u64::from(segment.is_some()) << 2;
    (low, payload | command << 24 | header << 40 | segment.unwrap_or(0) << 48)
}

#[test]
fn checksums_are_put_in() {
    for protocol in [6, 17] {
        let mut bench = Bench::new();
        let expected = packet(protocol, 77);
        let mut frame = expected.clone();
        let at = if protocol == 6 { 50 } else { 40 };
        checksum::set_word(&mut frame, 24, 0);
        let length = frame.len() as u16 - 34;
        let partial = pseudo(&frame, length);
        checksum::set_word(&mut frame, at, partial);
        bench.data(&frame);
        let (low, high) = context(protocol, None, 0);
        bench.descriptor(0, low, high);
        bench.descriptor(1, TX_DATA, frame.len() as u64 | 1 << 20 | 0x2b << 24 | 3 << 40);
        bench.set(TDT, 2);
        bench.run(100_000);
        assert_eq!(bench.sent, [expected]);
        assert_eq!(bench.get(TDBAL + 0x10), 2);
    }
}

#[test]
fn tcp_is_segmented() {
    let mut bench = Bench::new();
    bench.set(RXCSUM, rxcsum::IP | rxcsum::TCP_UDP);
    let mut frame = packet(6, 2500);
    checksum::set_word(&mut frame, 24, 0);
    let partial = pseudo(&frame, 0);
    checksum::set_word(&mut frame, 50, partial);
    bench.data(&frame);
    let (low, high) = context(6, Some(1000), 2500);
    bench.descriptor(0, low, high);
    // The headers alone, then the data in two parts.
    let command = 1 << 20 | 0x26 << 24 | 3 << 40;
    bench.descriptor(1, TX_DATA, 54 | command);
    bench.descriptor(2, TX_DATA + 54, 1700 | command);
    bench.descriptor(3, TX_DATA + 54 + 1700, 800 | command | 0x09 << 24);
    bench.set(TDT, 4);
    bench.run(1_000_000);
    let lengths: Vec<usize> = bench.sent.iter().map(Vec::len).collect();
    assert_eq!(lengths, [1054, 1054, 554]);
    let payload: Vec<u8> = bench.sent.iter().flat_map(|frame| frame[54..].to_vec()).collect();
    assert_eq!(payload, frame[54..]);
    for (number, sent) in bench.sent.clone().iter().enumerate() {
        assert_eq!(checksum::word(sent, 16) as usize, sent.len() - 14, "total length");
        assert_eq!(checksum::word(sent, 18), 0x1234 + number as u16, "identification");
        assert_eq!(checksum::word(sent, 40) as usize, number * 1000, "sequence number");
        assert_eq!(sent[47], if number == 2 { 0x19 } else { 0x10 }, "FIN and PSH in the last one only");
        // The own receiver finds all checksums right.
        bench.arrive(sent);
        assert_eq!(bench.received(number), (sent.len(), 0x63, 0), "segment {number}");
    }
    assert_eq!(bench.get(STATISTICS + 0xf8), 1);
}

#[test]
fn loopback_brings_frames_back() {
    let mut bench = Bench::new();
    bench.set(RCTL, rctl::ENABLE | rctl::STRIP_CHECK | 3 << 6);
    let frame = packet(17, 60);
    bench.data(&frame);
    bench.descriptor(0, TX_DATA, frame.len() as u64 | 0x0b << 24);
    bench.set(TDT, 1);
    bench.run(100_000);
    assert!(bench.sent.is_empty());
    assert_eq!(bench.buffer(0, frame.len()), frame);
    bench.arrive(&frame);
    assert_eq!(bench.get(RDBAL + 0x10), 1, "the wire is cut");
}

#[test]
fn the_throttle_keeps_interrupts_apart() {
    let mut bench = Bench::new();
    bench.set(ITR, 1000);
    bench.arrive(&packet(17, 10));
    assert!(bench.chip.irq());
    bench.get(ICR);
    bench.run(1000);
    bench.arrive(&packet(17, 10));
    assert!(!bench.chip.irq());
    assert_eq!(bench.chip.next_event(), Some(VmTime(1000 + 256_000)));
    bench.run(255_000);
    assert!(bench.chip.irq());
}

#[test]
fn receive_interrupts_wait_for_more_frames() {
    let mut bench = Bench::new();
    bench.set(RDTR, 10);
    bench.set(RADV, 15);
    let began = bench.now;
    bench.arrive(&packet(17, 10));
    bench.run(9_000);
    bench.arrive(&packet(17, 10));
    bench.run(6_000);
    assert!(!bench.chip.irq());
    assert_eq!(bench.chip.next_event(), Some(VmTime(began + 15 * 1024)), "the absolute timer is first");
    bench.run(1_000);
    assert!(bench.chip.irq());
    bench.get(ICR);
    bench.arrive(&packet(17, 10));
    bench.set(RDTR, 1 << 31);
    assert!(bench.chip.irq(), "flushed");
}

#[test]
fn registers_are_behind_the_ports_too() {
    let mut bench = Bench::new();
    bench.on(|chip, bus| {
        chip.write(1, 0, 4, RAL + 8, bus);
        chip.write(1, 4, 4, 0x1234_5678, bus);
        assert_eq!(chip.read(1, 0, 4, bus), RAL + 8);
        assert_eq!(chip.read(1, 4, 4, bus), 0x1234_5678);
        assert_eq!(chip.read(0, RAL + 10, 2, bus), 0x1234);
    });
}

#[test]
fn a_reset_leaves_only_the_station_address() {
    let mut bench = Bench::new();
    bench.arrive(&packet(17, 10));
    bench.set(CTRL, ctrl::RESET);
    assert!(!bench.chip.irq());
    let mut fresh = E1000::new(MAC);
    fresh.statistics = bench.chip.statistics.clone();
    assert_eq!(bench.chip, fresh);
}

#[test]
fn rings_without_sense_come_to_an_end() {
    let mut bench = Bench::new();
    bench.set(TDBAL, 0xffff_fff0);
    bench.set(TDBAL + 4, 0xffff_ffff);
    bench.set(TDBAL + 8, 0xffff_ffff);
    bench.set(TDBAL + 0x10, 0xffff);
    bench.set(TDT, 0xfffe);
    bench.run(1_000_000);
    // Descriptors of ones: each asks for a megabyte, which takes its time.
    assert!(bench.sent.len() < 1000);
    bench.set(TDBAL + 8, 0);
    bench.run(10_000_000);
    assert_eq!(bench.chip.tx.due, None);
    bench.set(RDBAL + 8, 0);
    bench.arrive(&packet(17, 10));
    bench.set(RDBAL + 8, 0xfff_ffff);
    bench.set(RDT, 0x7777);
}

impl TestCard for E1000 {
    const RANGES: &'static [(u8, u32)] = &[(0, 0x6000), (0, 0x400), (0, 0x4000), (1, 64)];

    fn power_on() -> E1000 {
        let mut bench = Bench::new();
        bench.set(RDTR, 3);
        bench.set(ITR, 100);
        bench.chip
    }

    fn state_outputs(&self) -> u64 {
        u64::from(self.causes) | u64::from(self.phy.link()) << 32
    }

    fn likely_value(register: u32, rng: &mut Rng) -> u32 {
        match (register & 0xff, rng.below(2)) {
            (0x00 | 0x04 | 0x08 | 0x10 | 0x18, 0) => {
                rng.below(0x200) as u32 & !if register & 0xff == 0 { 0x7f } else { 0 }
            }
            _ if rng.below(2) == 0 => rng.below(0x100) as u32,
            _ => rng.next() as u32 & !ctrl::RESET,
        }
    }
}

chip_properties!(Rig<E1000>, step_ns: 1000, exact: false);
