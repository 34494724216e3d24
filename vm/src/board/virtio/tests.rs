use super::*;
use crate::board::cards::test_bus::{Rig, TestCard, with_bus};
use crate::board::test_support::{FlatMemory, Rng as Numbers, chip_properties};

const DESCRIPTORS: u64 = 0x1000;
const AVAILABLE: u64 = 0x1800;
const USED: u64 = 0x2000;
const BUFFER: u64 = 0x3000;

/// A card, its memory and the time.
struct Bench {
    chip: Virtio,
    mem: FlatMemory,
    now: VmTime,
}

impl Bench {
    fn new(chip: Virtio) -> Bench {
        Bench { chip, mem: FlatMemory::new(0x1_0000), now: VmTime(0) }
    }

    fn out(&mut self, bar: u8, offset: u32, size: u8, value: u32) {
        with_bus(&mut self.mem, self.now, |bus| self.chip.write(bar, offset, size, value, bus));
    }

    fn get(&mut self, bar: u8, offset: u32, size: u8) -> u32 {
        with_bus(&mut self.mem, self.now, |bus| self.chip.read(bar, offset, size, bus)).0
    }

    /// Lets all that is to do be done; frames that were sent.
    fn run(&mut self) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        while let Some(event) = self.chip.next_event() {
            self.now = event;
            sent.extend(with_bus(&mut self.mem, event, |bus| self.chip.advance(bus)).1);
        }
        sent
    }

    fn put(&mut self, at: u64, bytes: &[u8]) {
        self.mem.0[at as usize..][..bytes.len()].copy_from_slice(bytes);
    }

    fn u16_at(&self, at: u64) -> u16 {
        u16::from_le_bytes([self.mem.0[at as usize], self.mem.0[at as usize + 1]])
    }

    /// As a driver of version 1: accepts all, and puts the queue where the constants say.
    fn set_up(&mut self, queue: u16) {
        self.out(MODERN_BAR, common::DEVICE_STATUS, 1, 3);
        for half in [0, 1] {
            self.out(MODERN_BAR, common::DEVICE_FEATURE_SELECT, 4, half);
            self.out(MODERN_BAR, common::DRIVER_FEATURE_SELECT, 4, half);
            let features = self.get(MODERN_BAR, common::DEVICE_FEATURE, 4);
            self.out(MODERN_BAR, common::DRIVER_FEATURE, 4, features);
        }
        self.out(MODERN_BAR, common::DEVICE_STATUS, 1, 11);
        assert_eq!(self.get(MODERN_BAR, common::DEVICE_STATUS, 1), 11);
        self.out(MODERN_BAR, common::QUEUE_SELECT, 2, queue.into());
        self.out(MODERN_BAR, common::QUEUE_SIZE, 2, 8);
        for (register, at) in [
            (common::QUEUE_DESC, DESCRIPTORS),
            (common::QUEUE_DRIVER, AVAILABLE),
            (common::QUEUE_DEVICE, USED),
        ] {
            self.out(MODERN_BAR, register, 4, at as u32);
            self.out(MODERN_BAR, register + 4, 4, 0);
        }
        self.out(MODERN_BAR, common::QUEUE_ENABLE, 2, 1);
        self.out(MODERN_BAR, common::DEVICE_STATUS, 1, 15);
    }

    /// Offers a chain of (address, length, device writes), from descriptor 0 on.
    fn offer(&mut self, pieces: &[(u64, u32, bool)]) {
        for (i, (addr, len, write)) in (0u16..).zip(pieces) {
            let next = u16::from(usize::from(i) + 1 < pieces.len());
            let flags = next | u16::from(*write) << 1;
            let rest = [len.to_le_bytes(), [flags as u8, 0, i as u8 + 1, 0]].concat();
            self.put(DESCRIPTORS + 16 * u64::from(i), &[&addr.to_le_bytes()[..], &rest].concat());
        }
        let index = self.u16_at(AVAILABLE + 2);
        self.put(AVAILABLE + 4 + 2 * u64::from(index % 8), &[0, 0]);
        self.put(AVAILABLE + 2, &(index + 1).to_le_bytes());
    }

    fn notify(&mut self, queue: u32) {
        self.out(MODERN_BAR, NOTIFY + NOTIFY_STEP * queue, 2, queue);
    }
}

fn disk() -> Virtio {
    Virtio::blk(MediumShape { number: 0, bytes: 1 << 20, read_only: false })
}

fn request(kind: u32, sector: u64) -> Vec<u8> {
    [&kind.to_le_bytes()[..], &[0; 4], &sector.to_le_bytes()].concat()
}

#[test]
fn a_disk_says_how_large_it_is_in_both_interfaces() {
    let mut bench = Bench::new(disk());
    assert_eq!(bench.get(MODERN_BAR, DEVICE, 4), 2048);
    assert_eq!(bench.get(LEGACY_BAR, 20, 4), 2048);
    assert_eq!(bench.get(LEGACY_BAR, legacy::QUEUE_SIZE, 2), 256);
    assert_eq!(bench.get(MODERN_BAR, common::NUM_QUEUES, 2), 1);
}

#[test]
fn a_request_is_done_and_interrupts() {
    let mut bench = Bench::new(disk());
    bench.set_up(0);
    bench.put(BUFFER, &request(0, 2));
    bench.mem.0[0x4000..0x4401].fill(0xaa);
    bench.offer(&[(BUFFER, 16, false), (0x4000, 1024, true), (0x4400, 1, true)]);
    bench.notify(0);
    assert!(!bench.chip.irq());
    bench.run();
    assert!(bench.chip.irq());
    assert_eq!(bench.get(MODERN_BAR, ISR, 1), 1);
    assert!(!bench.chip.irq(), "reading acknowledges");
    assert!(bench.mem.0[0x4000..0x4401].iter().all(|byte| *byte == 0), "data and status");
    assert_eq!(bench.u16_at(USED + 2), 1);
    assert_eq!(bench.mem.0[USED as usize + 4..][..8], [0, 0, 0, 0, 1, 4, 0, 0]);
}

#[test]
fn a_request_beyond_the_end_and_one_that_is_unknown_have_a_status() {
    for (header, status) in
        [(request(0, 2047), 1), (request(1, 1 << 60), 1), (request(99, 0), 2), (request(4, 0), 0)]
    {
        let mut bench = Bench::new(disk());
        bench.set_up(0);
        bench.put(BUFFER, &header);
        let write = header[0] != 1;
        bench.offer(&[(BUFFER, 16, false), (0x4000, 1024, write), (0x5000, 1, true)]);
        bench.mem.0[0x5000] = 0xaa;
        bench.notify(0);
        bench.run();
        assert_eq!(bench.mem.0[0x5000], status, "{header:?}");
    }
}

#[test]
fn a_disk_has_a_name() {
    let mut bench = Bench::new(disk());
    bench.set_up(0);
    bench.put(BUFFER, &request(8, 0));
    bench.offer(&[(BUFFER, 16, false), (0x4000, 20, true), (0x5000, 1, true)]);
    bench.notify(0);
    bench.run();
    assert_eq!(bench.mem.0[0x4000..0x400c], *b"RG00000001\0\0");
}

#[test]
fn a_driver_of_old_gives_one_page() {
    let mut bench = Bench::new(disk());
    bench.out(LEGACY_BAR, legacy::DEVICE_STATUS, 1, 7);
    bench.out(LEGACY_BAR, legacy::QUEUE_SELECT, 2, 0);
    bench.out(LEGACY_BAR, legacy::QUEUE_ADDRESS, 4, 4);
    assert_eq!(bench.get(LEGACY_BAR, legacy::QUEUE_ADDRESS, 4), 4);
    // Descriptors at 0x4000, the driver's ring behind 256 of them, the device's on the page after its end.
    bench.put(BUFFER, &request(4, 0));
    bench.put(0x4000, &[&BUFFER.to_le_bytes()[..], &[16, 0, 0, 0, 1, 0, 1, 0]].concat());
    bench.put(0x4010, &[&0x3100u64.to_le_bytes()[..], &[1, 0, 0, 0, 2, 0, 0, 0]].concat());
    bench.mem.0[0x3100] = 0xaa;
    bench.put(0x5002, &[1, 0]);
    bench.out(LEGACY_BAR, legacy::QUEUE_NOTIFY, 2, 0);
    bench.run();
    assert_eq!((bench.mem.0[0x3100], bench.u16_at(0x6002)), (0, 1));
    assert_eq!(bench.get(LEGACY_BAR, legacy::ISR, 1), 1);
}

#[test]
fn a_chain_that_leads_in_circles_stops_the_device_until_it_is_reset() {
    let mut bench = Bench::new(disk());
    bench.set_up(0);
    bench.put(DESCRIPTORS, &[0, 0x30, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 1, 0, 0, 0]);
    bench.put(AVAILABLE + 2, &[1, 0]);
    bench.notify(0);
    bench.run();
    assert_eq!(bench.get(MODERN_BAR, common::DEVICE_STATUS, 1) & 0x40, 0x40);
    bench.notify(0);
    assert_eq!(bench.chip.next_event(), None);
    bench.out(MODERN_BAR, common::DEVICE_STATUS, 1, 0);
    assert_eq!(bench.get(MODERN_BAR, common::DEVICE_STATUS, 1), 0);
}

#[test]
fn features_that_were_not_offered_are_refused() {
    let mut bench = Bench::new(disk());
    bench.out(MODERN_BAR, common::DRIVER_FEATURE_SELECT, 4, 1);
    bench.out(MODERN_BAR, common::DRIVER_FEATURE, 4, 0xffff_ffff);
    bench.out(MODERN_BAR, common::DEVICE_STATUS, 1, 11);
    assert_eq!(bench.get(MODERN_BAR, common::DEVICE_STATUS, 1), 3);
}

#[test]
fn numbers_follow_from_the_seed() {
    let numbers = |seed| {
        let mut bench = Bench::new(Virtio::rng(seed));
        bench.set_up(0);
        bench.offer(&[(0x4000, 64, true)]);
        bench.notify(0);
        bench.run();
        bench.mem.0[0x4000..0x4040].to_vec()
    };
    assert_eq!(numbers(1), numbers(1));
    assert_ne!(numbers(1), numbers(2));
}

#[test]
fn frames_go_out_without_their_header_and_come_in_with_one() {
    let mut bench = Bench::new(Virtio::net([2, 0, 0, 0, 0, 1]));
    bench.set_up(1);
    bench.mem.0[0x4000..0x4100].fill(7);
    bench.offer(&[(0x3000, 12, false), (0x4000, 100, false)]);
    bench.notify(1);
    assert_eq!(bench.run(), [vec![7; 100]]);

    let mut bench = Bench::new(Virtio::net([2, 0, 0, 0, 0, 1]));
    assert!(!bench.chip.can_receive(), "no driver");
    bench.set_up(0);
    assert_eq!(bench.get(MODERN_BAR, DEVICE, 4), 2);
    with_bus(&mut bench.mem, bench.now, |bus| bench.chip.receive(&[9; 60], bus));
    bench.run();
    assert_eq!(bench.u16_at(USED + 2), 0, "it waits for a buffer");
    bench.offer(&[(0x4000, 2000, true)]);
    bench.notify(0);
    bench.run();
    assert_eq!(bench.mem.0[USED as usize + 4..][..8], [0, 0, 0, 0, 72, 0, 0, 0]);
    assert_eq!(bench.mem.0[0x4000..0x400c], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
    assert_eq!(bench.mem.0[0x400c..0x4048], [9; 60]);
}

#[test]
fn a_console_sends_what_is_written_and_keeps_what_is_typed_for_its_reader() {
    let mut bench = Bench::new(Virtio::console(4));
    bench.set_up(1);
    let text: Vec<u8> = (0..10_000u32).map(|i| i as u8).collect();
    bench.put(0x4000, &text);
    bench.offer(&[(0x4000, 9_000, false), (0x4000 + 9_000, 1_000, false)]);
    bench.notify(1);
    assert!(bench.run().concat() == text, "a piece at a time, and all of it");
    assert_eq!(bench.u16_at(USED + 2), 1);

    let mut bench = Bench::new(Virtio::console(4));
    let typed = |bench: &mut Bench, port, text: &[u8]| {
        with_bus(&mut bench.mem, bench.now, |bus| bench.chip.receive_serial(port, text, bus));
    };
    typed(&mut bench, 5, b"not for this one");
    typed(&mut bench, 4, b"hello");
    bench.set_up(0);
    bench.offer(&[(0x4000, 3, true)]);
    bench.notify(0);
    bench.run();
    assert_eq!(bench.mem.0[0x4000..0x4003], *b"hel");
    assert_eq!(bench.mem.0[USED as usize + 4..][..8], [0, 0, 0, 0, 3, 0, 0, 0]);
    bench.offer(&[(0x4000, 16, true)]);
    typed(&mut bench, 4, b"!");
    bench.run();
    assert_eq!(bench.mem.0[0x4000..0x4004], *b"lo!\0");
}

#[test]
fn messages_wait_while_they_are_masked() {
    let mut msix = Msix::new(2);
    msix.write(16, 0xfee0_1000);
    msix.write(24, 0x41);
    msix.raise(1);
    assert_eq!(msix.take(CONTROL_ENABLE), None);
    assert_eq!(msix.read(msix::PENDING), 2);
    msix.write(28, 0);
    assert_eq!(msix.take(CONTROL_ENABLE | 0x4000), None, "all are");
    assert_eq!(msix.take(CONTROL_ENABLE), Some((0xfee0_1000, 0x41)));
    assert_eq!((msix.take(CONTROL_ENABLE), msix.checked(2)), (None, msix::NO_VECTOR));
}

/// With queues that share what random accesses put into memory.
fn set_up_by_a_driver(mut chip: Virtio) -> Virtio {
    for queue in &mut chip.queues {
        queue.size = 8;
        queue.set_legacy_page(1);
    }
    chip.status = 15;
    chip
}

impl TestCard for Virtio {
    const RANGES: &'static [(u8, u32)] =
        &[(LEGACY_BAR, 64), (MSIX_BAR, 48), (MODERN_BAR, 0x38), (MODERN_BAR, 0x3010), (MODERN_BAR, 0x38)];

    fn power_on() -> Virtio {
        set_up_by_a_driver(Virtio::net([2, 0, 0, 0, 0, 1]))
    }

    fn any_kind(rng: &mut Numbers) -> Virtio {
        set_up_by_a_driver(match rng.below(4) {
            0 => disk(),
            1 => Virtio::net([2, 0, 0, 0, 0, 1]),
            2 => Virtio::rng(1),
            _ => Virtio::console(0),
        })
    }

    fn state_outputs(&self) -> u64 {
        self.status.into()
    }

    fn likely_value(_: u32, rng: &mut Numbers) -> u32 {
        if rng.below(2) == 0 { rng.below(4) as u32 } else { rng.next() as u32 }
    }
}

chip_properties!(Rig<Virtio>, step_ns: 997, exact: false);
