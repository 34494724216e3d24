//! A console: one serial port without a line.
//!
//! Reference: Virtio 1.1, 5.3 "Console Device". Left out, and not offered: its size, more ports, emergency writes.

use super::queue::{Broken, Chain, Queue, gather, part, scatter, total};
use super::{Device, Step};
use crate::board::cards::CardBus;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;
/// As in QEMU.
const QUEUE_SIZE: u16 = 128;

/// Bytes that wait for the driver's buffers; whoever types more than that before anybody reads loses it.
const WAITING_MAX: usize = 4096;
/// At most so much is moved at once.
const STEP_BYTES: u64 = 4096;
const NS_PER_BYTE: u64 = 10;
/// What a buffer takes beside.
const BUFFER_NS: u64 = 1_000;

/// The console.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Console {
    port: u8,
    waiting: VecDeque<u8>,
    /// What is being sent, and how much of it has been.
    sending: Option<(Chain, u64)>,
}

impl Console {
    /// A console with this number among the serial ports.
    pub fn new(port: u8) -> Console {
        Console { port, waiting: VecDeque::new(), sending: None }
    }

    /// Brings what has been typed to the driver; `None` if there is nothing, or no room.
    fn deliver(&mut self, queue: &mut Queue, bus: &mut CardBus) -> Result<Option<Step>, Broken> {
        if self.waiting.is_empty() {
            return Ok(None);
        }
        let Some(chain) = queue.take(bus)? else { return Ok(None) };
        let room = total(&chain.writable).min(self.waiting.len() as u64);
        let bytes: Vec<u8> = self.waiting.drain(..room as usize).collect();
        scatter(&chain.writable, &bytes, bus);
        let wanted = queue.give_back(&chain, bytes.len() as u32, bus);
        let more_in_ns = Some(BUFFER_NS + room * NS_PER_BYTE);
        Ok(Some(Step { interrupt: wanted.then_some(RECEIVE), more_in_ns }))
    }

    /// Sends a part of what the driver has written.
    fn send(&mut self, queue: &mut Queue, bus: &mut CardBus) -> Result<Step, Broken> {
        let (chain, done) = match self.sending.take() {
            Some(job) => job,
            None => match queue.take(bus)? {
                Some(chain) => (chain, 0),
                None => return Ok(Step::default()),
            },
        };
        let pieces = part(&chain.readable, done, STEP_BYTES);
        let bytes = gather(&pieces, bus);
        bus.send_serial(self.port, &bytes);
        let done = done + bytes.len() as u64;
        let mut step =
            Step { interrupt: None, more_in_ns: Some(BUFFER_NS + bytes.len() as u64 * NS_PER_BYTE) };
        if done < total(&chain.readable) {
            self.sending = Some((chain, done));
        } else if queue.give_back(&chain, 0, bus) {
            step.interrupt = Some(TRANSMIT);
        }
        Ok(step)
    }
}

impl Device for Console {
    fn features(&self) -> u64 {
        0
    }

    fn queues(&self) -> &'static [u16] {
        &[QUEUE_SIZE, QUEUE_SIZE]
    }

    /// Columns, rows, number of ports and emergency writes, none of which means anything without its feature.
    fn config(&self) -> Vec<u8> {
        vec![0; 12]
    }

    fn reset(&mut self) {
        self.sending = None; // what has been typed waits for the next driver
    }

    fn step(&mut self, queues: &mut [Queue], _: u64, bus: &mut CardBus) -> Result<Step, Broken> {
        match self.deliver(&mut queues[RECEIVE], bus)? {
            Some(step) => Ok(step),
            None => self.send(&mut queues[TRANSMIT], bus),
        }
    }

    fn receive_serial(&mut self, port: u8, bytes: &[u8]) -> bool {
        if port != self.port {
            return false;
        }
        let room = WAITING_MAX.saturating_sub(self.waiting.len());
        self.waiting.extend(bytes.iter().take(room));
        true
    }
}
