//! A split virtqueue: a table of descriptors, a ring of what the driver offers and a ring of what the device has used.
//!
//! Reference: Virtio 1.1, 2.6 "Split Virtqueues". Indirect descriptors and event indices are not offered.

use crate::board::cards::CardBus;
use serde::{Deserialize, Serialize};

/// Most descriptors of a queue.
pub const SIZE_MAX: u16 = 256;
/// Alignment of the used ring in the legacy layout (2.6.2).
pub const LEGACY_ALIGN: u64 = 4096;

const DESCRIPTOR_BYTES: u64 = 16;
const USED_BYTES: u64 = 8;
/// Flags of a descriptor.
const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;
/// Flag of the available ring: the driver does not want interrupts.
const NO_INTERRUPT: u16 = 1;

/// Where in memory a queue is, and how far it has got.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Queue {
    /// Descriptors: a power of two.
    pub size: u16,
    /// It is in use.
    pub enabled: bool,
    /// MSI-X vector, or `NO_VECTOR`.
    pub vector: u16,
    /// Addresses of the three parts.
    pub descriptors: u64,
    /// The driver's ring.
    pub available: u64,
    /// The device's ring.
    pub used: u64,
    next_available: u16,
    next_used: u16,
}

/// A part of the driver's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// Its address.
    pub addr: u64,
    /// Its length in bytes.
    pub len: u32,
}

/// What the driver offers at once: memory that the device reads, and behind it memory that it writes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Chain {
    head: u16,
    /// To be read.
    pub readable: Vec<Piece>,
    /// To be written.
    pub writable: Vec<Piece>,
}

/// The driver has made a mistake after which the device stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

impl Queue {
    /// After a reset.
    pub fn new(size: u16) -> Queue {
        Queue {
            size,
            enabled: false,
            vector: super::msix::NO_VECTOR,
            descriptors: 0,
            available: 0,
            used: 0,
            next_available: 0,
            next_used: 0,
        }
    }

    /// Puts it where a driver of old says: the three parts lie one behind the other (2.6.2). 0 switches it off.
    pub fn set_legacy_page(&mut self, page: u32) {
        let base = u64::from(page) * LEGACY_ALIGN;
        let size = u64::from(self.size);
        self.enabled = page != 0;
        self.descriptors = base;
        self.available = base + DESCRIPTOR_BYTES * size;
        // Flags, index, ring, and the field for event indices.
        self.used = (self.available + 6 + 2 * size).next_multiple_of(LEGACY_ALIGN);
        (self.next_available, self.next_used) = (0, 0);
    }

    /// The page of [`Queue::set_legacy_page`].
    pub fn legacy_page(&self) -> u32 {
        if self.enabled { (self.descriptors / LEGACY_ALIGN) as u32 } else { 0 }
    }

    /// Takes what the driver offers next.
    pub fn take(&mut self, bus: &CardBus) -> Result<Option<Chain>, Broken> {
        if !self.enabled {
            return Ok(None);
        }
        let index = read_u16(bus, self.available.wrapping_add(2));
        let waiting = index.wrapping_sub(self.next_available);
        if waiting == 0 {
            return Ok(None);
        }
        if waiting > self.size {
            return Err(Broken);
        }
        let slot = u64::from(self.next_available % self.size);
        let head = read_u16(bus, self.available.wrapping_add(4 + 2 * slot));
        let chain = self.chain(head, bus)?;
        self.next_available = self.next_available.wrapping_add(1);
        Ok(Some(chain))
    }

    fn chain(&self, head: u16, bus: &CardBus) -> Result<Chain, Broken> {
        let mut chain = Chain { head, ..Chain::default() };
        let mut at = head;
        for _ in 0..self.size {
            if at >= self.size {
                return Err(Broken);
            }
            let mut bytes = [0; DESCRIPTOR_BYTES as usize];
            bus.read(self.descriptors.wrapping_add(DESCRIPTOR_BYTES * u64::from(at)), &mut bytes);
            let all = u128::from_le_bytes(bytes);
            let (addr, len, flags, next) =
                (all as u64, (all >> 64) as u32, (all >> 96) as u16, (all >> 112) as u16);
            let piece = Piece { addr, len };
            match flags & WRITE != 0 {
                _ if flags & INDIRECT != 0 => return Err(Broken),
                true => chain.writable.push(piece),
                // What is read comes first (2.6.4.2).
                false if !chain.writable.is_empty() => return Err(Broken),
                false => chain.readable.push(piece),
            }
            if flags & NEXT == 0 {
                return Ok(chain);
            }
            at = next;
        }
        Err(Broken)
    }

    /// Gives a chain back, with so many bytes written to it. Returns whether the driver wants an interrupt.
    pub fn give_back(&mut self, chain: &Chain, written: u32, bus: &mut CardBus) -> bool {
        let slot = u64::from(self.next_used % self.size);
        let element = [u32::from(chain.head).to_le_bytes(), written.to_le_bytes()].concat();
        bus.write(self.used.wrapping_add(4 + USED_BYTES * slot), &element);
        self.next_used = self.next_used.wrapping_add(1);
        bus.write(self.used.wrapping_add(2), &self.next_used.to_le_bytes());
        read_u16(bus, self.available) & NO_INTERRUPT == 0
    }
}

/// The sum of the lengths of pieces.
pub fn total(pieces: &[Piece]) -> u64 {
    pieces.iter().map(|piece| u64::from(piece.len)).sum()
}

/// At most `bytes` of the pieces behind the first `skip` of them, as contiguous memory.
pub fn part(pieces: &[Piece], skip: u64, bytes: u64) -> Vec<Piece> {
    let (mut skip, mut left, mut found) = (skip, bytes, Vec::new());
    for piece in pieces {
        let len = u64::from(piece.len);
        let start = skip.min(len);
        skip -= start;
        let count = (len - start).min(left);
        left -= count;
        if count > 0 {
            found.push(Piece { addr: piece.addr.wrapping_add(start), len: count as u32 });
        }
    }
    found
}

/// Reads what is in the pieces.
pub fn gather(pieces: &[Piece], bus: &CardBus) -> Vec<u8> {
    let mut bytes = vec![0; total(pieces) as usize];
    let mut at = 0;
    for piece in pieces {
        let end = at + piece.len as usize;
        bus.read(piece.addr, &mut bytes[at..end]);
        at = end;
    }
    bytes
}

/// Writes to the pieces; what there is no room for is lost.
pub fn scatter(pieces: &[Piece], bytes: &[u8], bus: &mut CardBus) {
    let mut rest = bytes;
    for piece in pieces {
        let (now, later) = rest.split_at(rest.len().min(piece.len as usize));
        bus.write(piece.addr, now);
        rest = later;
    }
}

fn read_u16(bus: &CardBus, addr: u64) -> u16 {
    let mut bytes = [0; 2];
    bus.read(addr, &mut bytes);
    u16::from_le_bytes(bytes)
}
