//! A bus for the tests of the cards, and a card with memory as the properties of all chips see it.

use super::*;
use crate::board::test_support::{Chip, FlatMemory, Rng};
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// Lets `act` use a bus at `now` on which the card is master; the frames that it sent, and each byte of a serial port as one.
pub fn with_bus<R>(
    mem: &mut FlatMemory,
    now: VmTime,
    act: impl FnOnce(&mut CardBus) -> R,
) -> (R, Vec<Vec<u8>>) {
    let mut fx = Effects::default();
    let result = act(&mut CardBus { now, mem, fx: &mut fx, master: true, msix_control: 0, number: 0 });
    let frames = fx.output.into_iter().filter_map(|output| match output {
        Output::Net { frame, .. } => Some(frame.0),
        Output::Serial { byte, .. } => Some(vec![byte]),
        _ => None,
    });
    (result, frames.collect())
}

/// A card that is tested.
pub trait TestCard: CardChip + Clone + PartialEq + Debug + Serialize + DeserializeOwned {
    /// Numbers and sizes of its ranges.
    const RANGES: &'static [(u8, u32)];

    /// A card that a driver has set up.
    fn power_on() -> Self;

    /// The same, of one of the kinds that there are.
    fn any_kind(_: &mut Rng) -> Self {
        Self::power_on()
    }

    /// What its events change, beside interrupt and memory.
    fn state_outputs(&self) -> u64;

    /// A value that a register is likely to be written with; mostly it is anything.
    fn likely_value(_register: u32, rng: &mut Rng) -> u32 {
        rng.next() as u32
    }
}

/// Bytes of memory: little, so that random addresses often meet the same.
const MEMORY_BYTES: usize = 0x4000;

/// A card, and memory that it reads and writes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rig<C> {
    chip: C,
    mem: FlatMemory,
}

impl<C: TestCard> Rig<C> {
    /// Accesses without sense: mostly registers, now and then memory or a frame.
    fn prod(&mut self, rng: &mut Rng, bus_now: VmTime) -> u64 {
        if rng.below(8) == 0 {
            let at = rng.below(MEMORY_BYTES as u64) as usize;
            let end = MEMORY_BYTES.min(at + rng.below(64) as usize);
            self.mem.0[at..end].fill_with(|| rng.byte());
        }
        let frame: Vec<u8> = (0..rng.below(1600)).map(|_| rng.byte()).collect();
        let (bar, bytes) = C::RANGES[rng.below(C::RANGES.len() as u64) as usize];
        let size = 1 << rng.below(3);
        let offset = rng.below(bytes.into()) as u32 / u32::from(size) * u32::from(size);
        let chip = &mut self.chip;
        let (value, frames) = with_bus(&mut self.mem, bus_now, |bus| {
            chip.advance(bus);
            match rng.below(6) {
                0 | 1 => return chip.read(bar, offset, size, bus).into(),
                2 => {
                    chip.receive(&frame, bus);
                    chip.receive_serial(0, &frame, bus);
                }
                _ => chip.write(bar, offset, size, C::likely_value(offset, rng), bus),
            }
            u64::from(chip.can_receive())
        });
        frames.iter().fold(value, |sum, frame| sum ^ u64::from(crc32fast::hash(frame)))
    }
}

impl<C: TestCard> Chip for Rig<C> {
    const PAUSE_MAX_NS: u64 = 50_000_000;

    fn power_on() -> Rig<C> {
        let mut rng = Rng::new(1);
        let mem = FlatMemory((0..MEMORY_BYTES).map(|_| rng.byte()).collect());
        Rig { chip: C::power_on(), mem }
    }

    fn any_kind(rng: &mut Rng) -> Rig<C> {
        Rig { chip: C::any_kind(rng), ..Rig::power_on() }
    }

    fn poke(&mut self, rng: &mut Rng, now: VmTime) -> u64 {
        self.advance(now);
        self.prod(rng, now)
    }

    fn advance(&mut self, now: VmTime) {
        let chip = &mut self.chip;
        // As the board does it: event by event.
        while let Some(event) = chip.next_event().filter(|event| *event <= now) {
            with_bus(&mut self.mem, event, |bus| chip.advance(bus));
        }
        with_bus(&mut self.mem, now, |bus| chip.advance(bus));
    }

    fn next_event(&self) -> Option<VmTime> {
        self.chip.next_event()
    }

    fn outputs(&self) -> u64 {
        let memory = u64::from(crc32fast::hash(&self.mem.0)) << 32;
        memory ^ self.chip.state_outputs() ^ u64::from(self.chip.irq()) << 63
    }
}
