//! Receiving: filters, the packet buffer, descriptors.
//!
//! Reference: manual, 3.2 "Packet Reception", 9.2 for VLANs.

use super::checksum;
use super::regs::{icr, rctl, rxcsum, stat};
use super::ring::Ring;
use super::{Delay, E1000};
use crate::board::cards::CardBus;
use crate::board::net::{BROADCAST, FRAME_MIN, check_sequence, destination, is_group};
use crate::config::Mac;
use crate::units::VmTime;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

const STATUS_DONE: u8 = 1 << 0;
const STATUS_END: u8 = 1 << 1;
const STATUS_NO_CHECKSUM: u8 = 1 << 2;
const STATUS_VLAN: u8 = 1 << 3;
const STATUS_TCP_CHECKED: u8 = 1 << 5;
const STATUS_IP_CHECKED: u8 = 1 << 6;
/// Passed by the hash only: software must look at the address.
const STATUS_INEXACT: u8 = 1 << 7;
const ERROR_TCP: u8 = 1 << 5;
const ERROR_IP: u8 = 1 << 6;

/// RAH: the address is valid.
const ADDRESS_VALID: u32 = 1 << 31;
/// Longest frame without long packets, with a VLAN tag and the check sequence.
const LENGTH_MAX: usize = 1522;
/// Longest frame with long packets.
const LONG_MAX: usize = 16384;
const CHECK_BYTES: usize = 4;
/// The packet buffer as a whole.
const BUFFER_MAX: usize = 64 << 10;

/// The receiving side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Receiver {
    pub(super) control: u32,
    pub(super) checksums: u32,
    pub(super) ring: Ring,
    pub(super) delay: Delay,
    /// Frames of at most this many bytes interrupt at once.
    pub(super) small: u32,
    pub(super) addresses: [[u32; 2]; 16],
    pub(super) multicast: Vec<u32>,
    pub(super) vlans: Vec<u32>,
    /// Frames that wait for descriptors.
    buffer: VecDeque<Received>,
}

/// A frame that passed the filters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Received {
    frame: Vec<u8>,
    inexact: bool,
}

impl Receiver {
    pub(super) fn new() -> Receiver {
        Receiver {
            control: 0,
            checksums: 0,
            ring: Ring::default(),
            delay: Delay::default(),
            small: 0,
            addresses: [[0; 2]; 16],
            multicast: vec![0; 128],
            vlans: vec![0; 128],
            buffer: VecDeque::new(),
        }
    }

    /// The first address, as it is loaded from the EEPROM.
    pub(super) fn load_address(&mut self, mac: Mac) {
        let [a, b, c, d, e, f] = mac;
        self.addresses[0] =
            [u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, 0, 0]) | ADDRESS_VALID];
    }

    /// Bytes of one receive buffer.
    fn buffer_bytes(&self) -> usize {
        let size = 2048usize >> (self.control >> 16 & 3);
        match self.control & rctl::SIZE_EXTENSION {
            0 => size,
            _ if size == 2048 => size, // reserved
            _ => size * 16,
        }
    }

    fn buffered_bytes(&self) -> usize {
        self.buffer.iter().map(|received| received.frame.len()).sum()
    }

    /// Whether a frame for this address passes, and if so whether only the hash says so.
    fn passes(&self, to: &Mac) -> Option<bool> {
        let on = |bit| self.control & bit != 0;
        let [a, b, c, d, e, f] = *to;
        let (low, high) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, 0, 0]));
        let exact = self.addresses.iter().any(|[l, h]| *l == low && h & 0x8000_ffff == high | ADDRESS_VALID);
        if exact || (*to == BROADCAST && on(rctl::BROADCAST)) {
            return Some(false);
        }
        if !is_group(to) {
            return on(rctl::UNICAST_PROMISCUOUS).then_some(false);
        }
        if on(rctl::MULTICAST_PROMISCUOUS) {
            return Some(false);
        }
        // Which twelve bits of the last two bytes choose a bit of the table (13.4.22, "MO").
        let shift = [4, 3, 2, 0][(self.control >> 12 & 3) as usize];
        let hash = (u16::from_le_bytes([e, f]) >> shift & 0xfff) as usize;
        let hit = self.multicast.get(hash >> 5).is_some_and(|word| word >> (hash & 31) & 1 != 0);
        hit.then_some(true)
    }

    /// Whether the VLAN filter lets a tag pass.
    fn passes_vlan(&self, tag: u16) -> bool {
        let on = |bit| self.control & bit != 0;
        if on(rctl::CANONICAL_FORM_CHECK) && (tag & 0x1000 != 0) != on(rctl::CANONICAL_FORM) {
            return false;
        }
        let id = usize::from(tag & 0xfff);
        self.vlans.get(id >> 5).is_some_and(|word| word >> (id & 31) & 1 != 0)
    }
}

impl E1000 {
    /// Whether a frame of `bytes` fits into the packet buffer.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        let share = ((self.packet_buffer & 0xffff) as usize).saturating_mul(1024).min(BUFFER_MAX);
        self.rx.control & rctl::ENABLE != 0 && self.rx.buffered_bytes() + bytes + CHECK_BYTES <= share
    }

    /// A frame comes in, from the wire or from the own transmitter.
    pub(super) fn receive_frame(&mut self, frame: &[u8], bus: &mut CardBus) {
        let Some(to) = destination(frame).filter(|_| self.rx.control & rctl::ENABLE != 0) else { return };
        let length = frame.len().max(FRAME_MIN) + CHECK_BYTES;
        let most = if self.rx.control & rctl::LONG_PACKETS != 0 { LONG_MAX } else { LENGTH_MAX };
        let Some(inexact) = self.rx.passes(&to) else { return };
        let tag = self.tag(frame);
        if self.rx.control & rctl::VLAN_FILTER != 0 && tag.is_some_and(|tag| !self.rx.passes_vlan(tag)) {
            return;
        }
        if length > most {
            return self.count(stat::OVERSIZE, 1);
        }
        let is_pause = to == [0x01, 0x80, 0xc2, 0, 0, 1];
        if is_pause && self.rx.control & rctl::DISCARD_PAUSE != 0 {
            return;
        }
        if !self.has_room(frame.len()) {
            self.count(stat::MISSED, 1);
            return self.raise(icr::RX_OVERRUN, bus.now);
        }
        self.count_received(&to, length);
        let mut frame = frame.to_vec();
        frame.resize(length - CHECK_BYTES, 0);
        self.rx.buffer.push_back(Received { frame, inexact });
        if !self.fill_descriptors(bus) {
            self.count(stat::NO_BUFFER, 1);
        }
    }

    fn count_received(&mut self, to: &Mac, length: usize) {
        self.count(stat::RECEIVED, 1);
        self.count(stat::GOOD_RECEIVED, 1);
        self.count_wide(stat::OCTETS_RECEIVED, length as u64);
        self.count_wide(stat::GOOD_OCTETS_RECEIVED, length as u64);
        self.count_by_size(stat::RECEIVED_BY_SIZE, length);
        if *to == BROADCAST {
            self.count(stat::BROADCAST_RECEIVED, 1);
        } else if is_group(to) {
            self.count(stat::MULTICAST_RECEIVED, 1);
        }
    }

    /// The VLAN tag of a frame that has one.
    fn tag(&self, frame: &[u8]) -> Option<u16> {
        (frame.len() >= 16 && checksum::word(frame, 12) == self.vlan_type).then(|| checksum::word(frame, 14))
    }

    /// Moves frames from the packet buffer to memory as far as there are descriptors. Whether it is empty then.
    pub(super) fn fill_descriptors(&mut self, bus: &mut CardBus) -> bool {
        while self.rx.control & rctl::ENABLE != 0
            && let Some(next) = self.rx.buffer.front()
        {
            let needed = (next.frame.len() + CHECK_BYTES).div_ceil(self.rx.buffer_bytes());
            if needed > self.rx.ring.available() as usize {
                return false;
            }
            if let Some(received) = self.rx.buffer.pop_front() {
                self.write_frame(received, bus);
            }
        }
        self.rx.buffer.is_empty()
    }

    fn write_frame(&mut self, received: Received, bus: &mut CardBus) {
        let Received { mut frame, inexact } = received;
        let check = check_sequence(&frame);
        let length = frame.len();
        let (mut status, errors) = self.checked(&frame);
        let start = (self.rx.checksums & 0xff) as usize;
        let sum = !checksum::fold(checksum::add(0, frame.get(start..).unwrap_or(&[])));
        let tag = self.tag(&frame).filter(|_| self.ctrl & super::regs::ctrl::VLAN_MODE != 0);
        if tag.is_some() {
            frame.drain(12..16);
            status |= STATUS_VLAN;
        }
        if inexact {
            status |= STATUS_INEXACT;
        }
        if self.rx.control & rctl::STRIP_CHECK == 0 {
            frame.extend(check.to_le_bytes());
        }
        let size = self.rx.buffer_bytes();
        let pieces = frame.len().div_ceil(size);
        for (number, piece) in (1..).zip(frame.chunks(size)) {
            let at = self.rx.ring.at_head();
            let mut address = [0; 8];
            bus.read(at, &mut address);
            let address = u64::from_le_bytes(address);
            // A null descriptor takes its part of the frame along (3.2.3).
            if address != 0 {
                bus.write(address, piece);
            }
            let last = number == pieces;
            let [low, high] = (piece.len() as u16).to_le_bytes();
            let [sum_low, sum_high] = sum.to_le_bytes();
            let [tag_low, tag_high] = tag.unwrap_or(0).to_le_bytes();
            let (status, errors) =
                if last { (status | STATUS_DONE | STATUS_END, errors) } else { (STATUS_DONE, 0) };
            bus.write(at.wrapping_add(8), &[low, high, sum_low, sum_high, status, errors, tag_low, tag_high]);
            self.rx.ring.advance();
        }
        self.note_received(length + CHECK_BYTES, bus.now);
    }

    /// Interrupts after a frame.
    fn note_received(&mut self, length: usize, now: VmTime) {
        let left = self.rx.ring.available();
        let threshold = self.rx.ring.count() >> 1 >> (self.rx.control >> 8 & 3);
        let mut causes = 0;
        if left <= threshold {
            causes |= icr::RX_LOW;
        }
        if length <= self.rx.small as usize {
            self.rx.delay.flush();
            causes |= icr::RX_SMALL;
        } else if self.rx.delay.start(now) {
            causes |= icr::RX_TIMER;
        }
        self.raise(causes, now);
    }

    /// Status and errors of the checksums that are looked at (3.2.9).
    fn checked(&self, frame: &[u8]) -> (u8, u8) {
        let start = if self.tag(frame).is_some() { 18 } else { 14 };
        let header = usize::from(frame.get(start).copied().unwrap_or(0) & 15) * 4;
        let is_ip =
            checksum::word(frame, start - 2) == 0x0800 && frame.get(start).is_some_and(|b| b >> 4 == 4);
        let total = usize::from(checksum::word(frame, start + 2));
        let on = |bit| self.rx.checksums & bit != 0;
        let (Some(ip), true) = (frame.get(start..start + header), is_ip && header >= 20) else {
            return (STATUS_NO_CHECKSUM, 0);
        };
        let (mut status, mut errors) = (0, 0);
        if on(rxcsum::IP) {
            status |= STATUS_IP_CHECKED;
            if checksum::fold(checksum::add(0, ip)) != 0xffff {
                errors |= ERROR_IP;
            }
        }
        let protocol = ip[9];
        let fragment = checksum::word(ip, 6) & 0x3fff != 0;
        let segment = frame.get(start + header..start.saturating_add(total));
        let known = matches!(protocol, 6 | 17) && !fragment;
        if let Some(segment) = segment.filter(|_| on(rxcsum::TCP_UDP) && known) {
            let without = protocol == 17 && checksum::word(segment, 6) == 0;
            if !without {
                status |= STATUS_TCP_CHECKED;
                let pseudo = checksum::add(u32::from(protocol) + segment.len() as u32, &ip[12..20]);
                if checksum::fold(checksum::add(pseudo, segment)) != 0xffff {
                    errors |= ERROR_TCP;
                }
            }
        }
        if status == 0 { (STATUS_NO_CHECKSUM, 0) } else { (status, errors) }
    }
}
