use super::*;
use crate::board::cards::test_bus::{Rig, TestCard, with_bus};
use crate::board::test_support::{FlatMemory, Rng, chip_properties};

const PLAY: u32 = 0x10;
const LIST: u32 = 0x100;

/// The card, memory and the time.
struct Bench {
    chip: Ac97,
    mem: FlatMemory,
    now: u64,
}

impl Bench {
    /// The codec is out of reset, and there is a list of buffers of 480 samples, every second with an interrupt.
    fn new() -> Bench {
        let mut bench = Bench { chip: Ac97::default(), mem: FlatMemory(vec![0xaa; 0x1_0000]), now: 0 };
        bench.out(1, GLOBAL_CONTROL, 4, CONTROL_COLD);
        for i in 0..32u32 {
            let entry = [0x1000 + i * 0x400, 480 | (i & 1) << 31].map(u32::to_le_bytes).concat();
            bench.mem.0[(LIST + i * 8) as usize..][..8].copy_from_slice(&entry);
        }
        bench
    }

    fn out(&mut self, bar: u8, offset: u32, size: u8, value: u32) {
        let chip = &mut self.chip;
        with_bus(&mut self.mem, VmTime(self.now), |bus| chip.write(bar, offset, size, value, bus));
    }

    fn get(&mut self, bar: u8, offset: u32, size: u8) -> u32 {
        let chip = &mut self.chip;
        let (value, _) = with_bus(&mut self.mem, VmTime(self.now), |bus| chip.read(bar, offset, size, bus));
        value & (u32::MAX >> (32 - 8 * u32::from(size)))
    }

    fn run(&mut self, ns: u64) {
        let end = self.now + ns;
        while let Some(event) = self.chip.next_event().filter(|event| event.0 <= end) {
            let chip = &mut self.chip;
            with_bus(&mut self.mem, event, |bus| chip.advance(bus));
        }
        self.now = end;
    }

    fn start(&mut self, stream: u32, last: u32) {
        self.out(1, stream, 4, LIST);
        self.out(1, stream + 5, 1, last);
        self.out(1, stream + 0xb, 1, 0x1d);
    }
}

#[test]
fn the_codec_is_found_and_keeps_its_settings() {
    let mut bench = Bench::new();
    assert_eq!(bench.get(1, GLOBAL_STATUS, 4), STATUS_READY);
    assert_eq!([bench.get(0, 0x7c, 2), bench.get(0, 0x7e, 2)], [0x8384, 0x7600]);
    assert_eq!(bench.get(0, 0x26, 2), 0x0f, "ready");
    bench.out(0, 0x02, 2, 0xffff);
    assert_eq!(bench.get(0, 0x02, 2), 0x9f1f);
    bench.out(0, 0x2c, 2, 44_100);
    assert_eq!(bench.get(0, 0x2c, 2), 48_000, "no variable rate yet");
    bench.out(0, 0x2a, 2, 1);
    bench.out(0, 0x2c, 2, 44_100);
    assert_eq!(bench.get(0, 0x2c, 2), 44_100);
    bench.out(0, 0x00, 2, 0);
    assert_eq!(bench.get(0, 0x02, 2), 0x8000);
    assert_eq!([bench.get(1, CODEC_ACCESS, 1), bench.get(1, CODEC_ACCESS, 1)], [0, 1], "taken");
    bench.get(0, 0, 2);
    assert_eq!(bench.get(1, CODEC_ACCESS, 1), 0, "free after an access");
    bench.out(1, GLOBAL_CONTROL, 4, 0);
    assert_eq!(bench.get(1, GLOBAL_STATUS, 4), 0, "in reset");
}

#[test]
fn buffers_are_played_at_the_rate_of_the_codec() {
    let mut bench = Bench::new();
    bench.start(PLAY, 3);
    // 480 samples of two channels at 48 kHz are 5 ms.
    assert_eq!(bench.chip.next_event(), Some(VmTime(5_000_000)));
    bench.run(2_500_000);
    assert_eq!((bench.get(1, PLAY + 4, 1), bench.get(1, PLAY + 8, 2)), (0, 240));
    bench.run(2_500_000);
    assert_eq!((bench.get(1, PLAY + 4, 1), bench.chip.irq()), (1, false));
    bench.run(5_000_000);
    assert_eq!((bench.get(1, PLAY + 4, 1), bench.get(1, PLAY + 6, 2)), (2, 0x08));
    assert!(bench.chip.irq());
    assert_eq!(bench.get(1, GLOBAL_STATUS, 4), STATUS_READY | STATUS_STREAMS[PLAYBACK]);
    bench.out(1, PLAY + 6, 2, 0x1c);
    assert!(!bench.chip.irq());
    bench.run(10_000_000);
    assert_eq!((bench.get(1, PLAY + 4, 1), bench.get(1, PLAY + 6, 2)), (3, 0x0f), "halted at the last");
    assert_eq!(bench.chip.next_event(), None);
    bench.out(1, PLAY + 6, 2, 0x1c);
    bench.out(1, PLAY + 5, 1, 4);
    assert_eq!((bench.get(1, PLAY + 4, 1), bench.get(1, PLAY + 6, 2)), (4, 0), "goes on with another last");
    assert_eq!(bench.mem.0[0x1000], 0xaa, "nothing is written");
}

#[test]
fn a_stream_pauses_and_changes_its_rate() {
    let mut bench = Bench::new();
    bench.start(PLAY, 31);
    bench.run(1_000_000);
    bench.out(1, PLAY + 0xb, 1, 0x1c);
    bench.run(9_000_000);
    assert_eq!((bench.get(1, PLAY + 8, 2), bench.get(1, PLAY + 6, 2)), (384, 1));
    bench.out(0, 0x2a, 2, 1);
    bench.out(0, 0x2c, 2, 24_000);
    bench.out(1, PLAY + 0xb, 1, 0x1d);
    assert_eq!(bench.chip.next_event(), Some(VmTime(18_000_000)));
    bench.run(4_000_000);
    bench.out(0, 0x2c, 2, 48_000);
    assert_eq!(bench.chip.next_event(), Some(VmTime(16_000_000)));
    bench.out(1, PLAY + 0xb, 1, 0x02);
    assert_ne!(bench.get(1, PLAY, 4), 0, "no reset while it runs");
    bench.out(1, PLAY + 0xb, 1, 0x00);
    bench.out(1, PLAY + 0xb, 1, 0x02);
    assert_eq!([bench.get(1, PLAY, 4), bench.get(1, PLAY + 4, 4)], [0, 0x1_0000]);
}

#[test]
fn what_is_recorded_is_silence() {
    let mut bench = Bench::new();
    bench.start(0, 0);
    assert_eq!(bench.mem.0[0x1000..0x13c1], [0xaa; 0x3c1]);
    bench.run(5_000_000);
    assert_eq!(bench.mem.0[0x1000..0x13c0], [0; 0x3c0]);
    assert_eq!(bench.mem.0[0x13c0], 0xaa);
    assert!(bench.chip.irq());
}

#[test]
fn empty_buffers_take_time() {
    let mut bench = Bench::new();
    bench.mem.0.fill(0);
    bench.start(PLAY, 31);
    bench.run(1_000_000);
    assert_eq!(bench.get(1, PLAY + 6, 2) & 0x0f, 0x07);
}

impl TestCard for Ac97 {
    const RANGES: &'static [(u8, u32)] = &[(0, 0x80), (1, 64)];

    fn power_on() -> Ac97 {
        let mut bench = Bench::new();
        bench.start(PLAY, 31);
        bench.chip
    }

    fn state_outputs(&self) -> u64 {
        let of = |stream: &Stream| stream.read(4, 4, 1, VmTime(0));
        self.streams.iter().fold(0, |sum, stream| sum << 8 ^ u64::from(of(stream)))
    }

    fn likely_value(register: u32, rng: &mut Rng) -> u32 {
        if register < 64 && register.is_multiple_of(16) { rng.below(0x800) as u32 } else { rng.next() as u32 }
    }
}

chip_properties!(Rig<Ac97>, step_ns: 10_000, exact: false);
