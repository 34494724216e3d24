//! What the tests of all chips share: a seeded generator, a configuration, and the properties that every chip must have.

use crate::config::{CpuModel, MachineConfig};
use crate::media::MediumShape;
use crate::memory::{PhysMemory, Region};
use crate::units::{PhysAddr, VmTime};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::fmt::Debug;

/// A small machine.
pub fn config() -> MachineConfig {
    MachineConfig {
        ram_bytes: 64 << 20,
        cpu: CpuModel::default(),
        rtc_start: 1_704_067_199, // 2023-12-31T23:59:59
        bios: Vec::new(),
        debug_exit_port: Some(0xf4),
        no_reboot: false,
        ..MachineConfig::default()
    }
}

/// Memory at 0, which is the display adapter's too, and nothing else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlatMemory(pub Vec<u8>);

impl FlatMemory {
    pub fn new(bytes: usize) -> FlatMemory {
        FlatMemory(vec![0; bytes])
    }
}

impl PhysMemory for FlatMemory {
    fn read(&self, addr: PhysAddr, buf: &mut [u8]) {
        for (i, byte) in buf.iter_mut().enumerate() {
            *byte = self.0.get((addr.0 as usize).wrapping_add(i)).copied().unwrap_or(0xff);
        }
    }

    fn write(&mut self, addr: PhysAddr, bytes: &[u8]) {
        for (i, byte) in bytes.iter().enumerate() {
            if let Some(cell) = self.0.get_mut((addr.0 as usize).wrapping_add(i)) {
                *cell = *byte;
            }
        }
    }

    fn read_region(&self, region: Region, offset: u64, buf: &mut [u8]) {
        buf.fill(0);
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.0.len());
        if region == Region::Video {
            let count = buf.len().min(self.0.len() - start);
            buf[..count].copy_from_slice(&self.0[start..start + count]);
        }
    }

    fn write_region(&mut self, region: Region, offset: u64, bytes: &[u8]) {
        if region == Region::Video {
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.0.len());
            let count = bytes.len().min(self.0.len() - start);
            self.0[start..start + count].copy_from_slice(&bytes[..count]);
        }
    }

    fn medium(&self, _: usize) -> Option<MediumShape> {
        None
    }

    fn read_medium(&self, _: usize, _: u64, buf: &mut [u8]) {
        buf.fill(0);
    }

    fn write_medium(&mut self, _: usize, _: u64, _: &[u8]) {}

    fn firmware_item(&self, item: u16) -> &[u8] {
        match item {
            0x00 => b"QEMU",
            0x21 => b"0123456789",
            _ => &[],
        }
    }
}

/// xorshift64*: the same numbers from the same seed everywhere.
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Rng {
        Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub fn byte(&mut self) -> u8 {
        self.next() as u8
    }
}

/// A chip as these properties see it.
pub trait Chip: Clone + PartialEq + Debug + Serialize + DeserializeOwned {
    /// Longest time between two accesses: less where every event on the way is followed.
    const PAUSE_MAX_NS: u64 = u64::MAX;
    fn power_on() -> Self;
    /// The same, of one of the kinds that there are.
    fn any_kind(_: &mut Rng) -> Self {
        Self::power_on()
    }
    /// One access of any kind; what it returned.
    fn poke(&mut self, rng: &mut Rng, now: VmTime) -> u64;
    fn advance(&mut self, now: VmTime);
    fn next_event(&self) -> Option<VmTime>;
    /// Everything that `next_event` speaks of.
    fn outputs(&self) -> u64;
}

fn round_trip<C: Chip>(chip: &C) -> C {
    let config = bincode::config::standard();
    let bytes = bincode::serde::encode_to_vec(chip, config).expect("plain data encodes");
    let (back, used) = bincode::serde::decode_from_slice(&bytes, config).expect("what was encoded decodes");
    assert_eq!(used, bytes.len());
    back
}

/// Time between two accesses: mostly short, at times very long.
fn pause<C: Chip>(rng: &mut Rng) -> u64 {
    let scale = [1_000, 100_000, 10_000_000, 2_000_000_000, 200_000_000_000_000];
    let at_most = scale[if rng.below(100) == 0 { 4 } else { rng.below(4) as usize }];
    rng.below(at_most.min(C::PAUSE_MAX_NS))
}

/// A saved and restored chip has the same future, and no access panics.
pub fn restored_chips_have_the_same_future<C: Chip>() {
    for seed in 0..40 {
        let mut rng = Rng::new(seed);
        let (mut chip, mut now) = (C::any_kind(&mut rng), 0);
        for _ in 0..100 {
            now += pause::<C>(&mut rng);
            chip.poke(&mut rng, VmTime(now));
        }
        let mut restored = round_trip(&chip);
        assert_eq!(restored, chip, "seed {seed}");
        let mut same_rng = Rng(rng.0);
        for _ in 0..100 {
            now += pause::<C>(&mut rng);
            pause::<C>(&mut same_rng);
            assert_eq!(
                chip.poke(&mut rng, VmTime(now)),
                restored.poke(&mut same_rng, VmTime(now)),
                "seed {seed}"
            );
            assert_eq!(chip.outputs(), restored.outputs(), "seed {seed}");
        }
        assert_eq!(restored, chip, "seed {seed}");
    }
}

/// How often a chip is brought up to date does not matter.
pub fn advancing_in_steps_is_advancing_at_once<C: Chip>() {
    for seed in 0..100 {
        let mut rng = Rng::new(seed);
        let (mut chip, mut now) = (C::any_kind(&mut rng), 0);
        for _ in 0..40 {
            now += pause::<C>(&mut rng);
            chip.poke(&mut rng, VmTime(now));
            let mut stepped = chip.clone();
            let end = now + pause::<C>(&mut rng);
            for _ in 0..rng.below(5) {
                now += rng.below(end - now + 1);
                stepped.advance(VmTime(now));
            }
            stepped.advance(VmTime(end));
            chip.advance(VmTime(end));
            now = end;
            assert_eq!(stepped, chip, "seed {seed} at {now}");
        }
        chip.advance(VmTime(now.saturating_add(C::PAUSE_MAX_NS))); // comes back
    }
}

/// Outputs change at `next_event` and not before it: compared with going on in steps of `step_ns`. With `exact`, every event
/// is a change.
pub fn next_event_is_the_next_change<C: Chip>(step_ns: u64, exact: bool) {
    for seed in 0..100 {
        let mut rng = Rng::new(seed);
        let (mut chip, mut now) = (C::any_kind(&mut rng), 0);
        for _ in 0..20 {
            now += rng.below(3_000_000);
            for _ in 0..rng.below(8) {
                chip.poke(&mut rng, VmTime(now));
            }
            chip.advance(VmTime(now));
            let (event, before) = (chip.next_event(), chip.outputs());
            assert!(event.is_none_or(|at| at.0 > now), "seed {seed}: an event in the past");
            let mut probe = chip.clone();
            for step in 1..200 {
                let at = now + step * step_ns;
                probe.advance(VmTime(at));
                let due = event.is_some_and(|event| event.0 <= at);
                if !due {
                    assert_eq!(probe.outputs(), before, "seed {seed}: a change before {event:?} at {at}");
                } else {
                    break;
                }
            }
            if let Some(at) = event {
                let mut probe = chip.clone();
                probe.advance(VmTime(at.0 - 1));
                assert_eq!(probe.outputs(), before, "seed {seed}: a change before {at}");
                probe.advance(at);
                assert!(!exact || probe.outputs() != before, "seed {seed}: no change at {at}");
            }
        }
    }
}

/// The properties as tests of the chip's own module.
macro_rules! chip_properties {
    ($chip:ty, step_ns: $step:expr, exact: $exact:expr) => {
        #[test]
        fn restored_chips_have_the_same_future() {
            $crate::board::test_support::restored_chips_have_the_same_future::<$chip>();
        }

        #[test]
        fn advancing_in_steps_is_advancing_at_once() {
            $crate::board::test_support::advancing_in_steps_is_advancing_at_once::<$chip>();
        }

        #[test]
        fn next_event_is_the_next_change() {
            $crate::board::test_support::next_event_is_the_next_change::<$chip>($step, $exact);
        }
    };
}
pub(crate) use chip_properties;
