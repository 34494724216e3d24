//! A network card.
//!
//! Reference: Virtio 1.1, 5.1 "Network Device". Left out, and not offered: checksums and segments by the card, merged buffers, the
//! control queue; without it the card keeps every frame that comes.

use super::queue::{Broken, Queue, SIZE_MAX, gather, part, scatter, total};
use super::{Device, Step, VERSION_1};
use crate::board::cards::CardBus;
use crate::board::net::FRAME_MAX;
use crate::config::Mac;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

const HAS_MAC: u64 = 1 << 5;
const HAS_STATUS: u64 = 1 << 16;
/// The link is there.
const LINK_UP: u16 = 1;

const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;

/// Frames that wait for the driver's buffers.
const WAITING_MAX: usize = 64;
/// A gigabit a second, and gaps between frames.
const NS_PER_BYTE: u64 = 8;
const FRAME_OVERHEAD: u64 = 24;

/// The card.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Net {
    mac: Mac,
    waiting: VecDeque<Vec<u8>>,
}

impl Net {
    /// A card with this station address.
    pub fn new(mac: Mac) -> Net {
        Net { mac, waiting: VecDeque::new() }
    }

    /// Brings a frame to the driver; `None` if it has no room, or there is no frame.
    fn deliver(&mut self, queue: &mut Queue, header: u64, bus: &mut CardBus) -> Result<Option<Step>, Broken> {
        if self.waiting.is_empty() {
            return Ok(None);
        }
        let Some(chain) = queue.take(bus)? else { return Ok(None) };
        let Some(frame) = self.waiting.pop_front() else { return Ok(None) };
        // No checksum, no segments; the number of buffers at its end.
        let mut bytes = vec![0; header as usize];
        if header > 10 {
            bytes[10] = 1;
        }
        bytes.extend(&frame);
        if total(&chain.writable) < bytes.len() as u64 {
            return Err(Broken);
        }
        scatter(&chain.writable, &bytes, bus);
        let wanted = queue.give_back(&chain, bytes.len() as u32, bus);
        Ok(Some(Step { interrupt: wanted.then_some(RECEIVE), more_in_ns: Some(on_wire(frame.len())) }))
    }

    /// Sends a frame; `None` if there is none.
    fn send(queue: &mut Queue, header: u64, bus: &mut CardBus) -> Result<Option<Step>, Broken> {
        let Some(chain) = queue.take(bus)? else { return Ok(None) };
        let bytes = total(&chain.readable).saturating_sub(header);
        let fits = bytes <= FRAME_MAX as u64;
        if fits && bytes > 0 {
            bus.send(gather(&part(&chain.readable, header, bytes), bus));
        } else {
            tracing::debug!(bytes, "no frame is as long as that");
        }
        let wanted = queue.give_back(&chain, 0, bus);
        let bytes = if fits { bytes as usize } else { FRAME_MAX };
        Ok(Some(Step { interrupt: wanted.then_some(TRANSMIT), more_in_ns: Some(on_wire(bytes)) }))
    }
}

fn on_wire(bytes: usize) -> u64 {
    (bytes as u64 + FRAME_OVERHEAD) * NS_PER_BYTE
}

impl Device for Net {
    fn features(&self) -> u64 {
        HAS_MAC | HAS_STATUS
    }

    fn queues(&self) -> &'static [u16] {
        &[SIZE_MAX, SIZE_MAX]
    }

    fn config(&self) -> Vec<u8> {
        [&self.mac[..], &LINK_UP.to_le_bytes()].concat()
    }

    fn reset(&mut self) {
        self.waiting.clear();
    }

    fn step(&mut self, queues: &mut [Queue], features: u64, bus: &mut CardBus) -> Result<Step, Broken> {
        let header = if features & VERSION_1 != 0 { 12 } else { 10 };
        if let Some(step) = self.deliver(&mut queues[RECEIVE], header, bus)? {
            return Ok(step);
        }
        Ok(Net::send(&mut queues[TRANSMIT], header, bus)?.unwrap_or_default())
    }

    fn receive(&mut self, frame: &[u8]) -> bool {
        let kept = self.can_receive() && frame.len() <= FRAME_MAX;
        if kept {
            self.waiting.push_back(frame.to_vec());
        }
        kept
    }

    fn can_receive(&self) -> bool {
        self.waiting.len() < WAITING_MAX
    }
}
