//! A source of random numbers, which are not random: they follow from a seed that is part of the machine's description, so that a
//! replay has the same.
//!
//! Reference: Virtio 1.1, 5.4 "Entropy Device". The generator is SplitMix64 (Steele, Lea, Flood, 2014).

use super::queue::{Broken, Queue, part, scatter, total};
use super::{Device, Step};
use crate::board::cards::CardBus;
use serde::{Deserialize, Serialize};

/// At most so much is given at once: a device may give less than it has room for.
const STEP_BYTES: u64 = 4096;
const NS_PER_BYTE: u64 = 10;

/// The source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// A source with this seed.
    pub fn new(seed: u64) -> Rng {
        Rng { state: seed }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
}

impl Device for Rng {
    fn features(&self) -> u64 {
        0
    }

    fn queues(&self) -> &'static [u16] {
        &[8]
    }

    fn config(&self) -> Vec<u8> {
        Vec::new()
    }

    fn reset(&mut self) {} // it goes on

    fn step(&mut self, queues: &mut [Queue], _: u64, bus: &mut CardBus) -> Result<Step, Broken> {
        let queue = &mut queues[0];
        let Some(chain) = queue.take(bus)? else { return Ok(Step::default()) };
        let pieces = part(&chain.writable, 0, STEP_BYTES);
        let bytes = total(&pieces);
        let words = (0..bytes.div_ceil(8)).flat_map(|_| self.next().to_le_bytes());
        let numbers: Vec<u8> = words.take(bytes as usize).collect();
        scatter(&pieces, &numbers, bus);
        let wanted = queue.give_back(&chain, bytes as u32, bus);
        Ok(Step { interrupt: wanted.then_some(0), more_in_ns: Some(1_000 + bytes * NS_PER_BYTE) })
    }
}
