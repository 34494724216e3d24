//! Sending: descriptors, their data, and what becomes of it.
//!
//! Reference: manual, 3.3 "Packet Transmission" to 3.5 "TCP Segmentation". The work is done in steps of one piece of one descriptor
//! each, and a step takes the time of its bytes on the wire. So no ring and no descriptor, however long, can hold the machine up.

use super::regs::{icr, tctl};
use super::ring::Ring;
use super::segment::{Context, Packet};
use super::{Delay, E1000};
use crate::board::cards::CardBus;
use crate::units::VmTime;
use serde::{Deserialize, Serialize};

/// From the write of the tail to the first descriptor.
const START_NS: u64 = 500;
/// A descriptor without data.
const STEP_NS: u64 = 100;
/// At 1000 Mbit/s.
const NS_PER_BYTE: u64 = 8;
/// Most bytes of one step.
const PIECE_MAX: u32 = 4096;

const COMMAND_END: u8 = 1 << 0;
const COMMAND_ADD_CHECK: u8 = 1 << 1;
/// In a legacy descriptor: put a checksum in. In an extended one: segment.
const COMMAND_CHECKSUM: u8 = 1 << 2;
const COMMAND_REPORT: u8 = 1 << 3;
const COMMAND_EXTENDED: u8 = 1 << 5;
const COMMAND_VLAN: u8 = 1 << 6;
const COMMAND_DELAY: u8 = 1 << 7;
const STATUS_DONE: u8 = 1 << 0;

/// The sending side.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Transmitter {
    pub(super) control: u32,
    pub(super) ring: Ring,
    pub(super) delay: Delay,
    pub(super) descriptor_control: u32,
    /// When the next step is done.
    pub(super) due: Option<VmTime>,
    /// The descriptor that is being worked on.
    current: Option<Descriptor>,
    packet: Packet,
    /// What the last context descriptors said: for packets sent as they are, and for those that are segmented.
    contexts: [Context; 2],
}

/// A descriptor, and how many bytes of it have been fetched.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Descriptor {
    address: u64,
    fields: u64,
    done: u32,
}

impl Descriptor {
    fn command(self) -> u8 {
        (self.fields >> 24) as u8
    }

    fn has(self, bit: u8) -> bool {
        self.command() & bit != 0
    }

    fn is_context(self) -> bool {
        self.has(COMMAND_EXTENDED) && self.fields >> 20 & 15 == 0
    }

    fn bytes(self) -> u32 {
        let mask = if self.has(COMMAND_EXTENDED) { 0xf_ffff } else { 0xffff };
        (self.fields & mask) as u32
    }
}

impl E1000 {
    /// The tail has moved, or the transmitter was turned on.
    pub(super) fn start_transmit(&mut self, now: VmTime) {
        let work = self.tx.current.is_some() || self.tx.ring.available() > 0;
        let on = self.tx.control & tctl::ENABLE != 0;
        if self.tx.due.is_none() && on && work {
            self.tx.due = Some(now.plus_ns(START_NS));
        } else if !on {
            self.tx.due = None;
        }
    }

    /// One step.
    pub(super) fn transmit_step(&mut self, bus: &mut CardBus) {
        self.tx.due = None;
        let Some(mut descriptor) = self.tx.current.take().or_else(|| self.fetch(bus)) else { return };
        let mut bytes = 0;
        if descriptor.is_context() {
            let context = Context::new(descriptor.address, descriptor.fields);
            self.tx.contexts[usize::from(context.segments())] = context;
            self.finish(descriptor, bus);
        } else {
            if descriptor.done == 0 {
                self.begin_data(descriptor);
            }
            bytes = self.fetch_data(&mut descriptor, bus);
            if descriptor.done < descriptor.bytes() {
                self.tx.current = Some(descriptor);
            } else {
                if descriptor.has(COMMAND_END) {
                    self.end_packet(descriptor, bus);
                }
                self.finish(descriptor, bus);
            }
        }
        if self.tx.current.is_some() || self.tx.ring.available() > 0 {
            self.tx.due = Some(bus.now.plus_ns(STEP_NS + NS_PER_BYTE * u64::from(bytes)));
        }
    }

    fn fetch(&self, bus: &CardBus) -> Option<Descriptor> {
        if self.tx.ring.available() == 0 {
            return None;
        }
        let at = self.tx.ring.at_head();
        let [mut address, mut fields] = [[0; 8]; 2];
        bus.read(at, &mut address);
        bus.read(at.wrapping_add(8), &mut fields);
        Some(Descriptor { address: u64::from_le_bytes(address), fields: u64::from_le_bytes(fields), done: 0 })
    }

    /// The first look at a descriptor with data: what it says of the packet as a whole.
    fn begin_data(&mut self, descriptor: Descriptor) {
        let extended = descriptor.has(COMMAND_EXTENDED);
        if self.tx.packet.is_empty() {
            let segments = extended && descriptor.has(COMMAND_CHECKSUM);
            let context = self.tx.contexts[usize::from(segments)];
            let options = if extended { (descriptor.fields >> 40) as u8 } else { 0 };
            self.tx.packet.begin(context, options, segments);
        }
        if descriptor.has(COMMAND_VLAN) {
            self.tx.packet.tag = Some((descriptor.fields >> 48) as u16);
        }
    }

    /// Fetches a piece, which ends at the latest where a segment does. How long it was.
    fn fetch_data(&mut self, descriptor: &mut Descriptor, bus: &mut CardBus) -> u32 {
        let left = descriptor.bytes() - descriptor.done;
        if left > 0 && self.tx.packet.is_full() {
            self.send_segment(false, bus);
        }
        let piece = left.min(PIECE_MAX).min(self.tx.packet.room());
        let mut bytes = vec![0; piece as usize];
        bus.read(descriptor.address.wrapping_add(descriptor.done.into()), &mut bytes);
        self.tx.packet.append(&bytes);
        descriptor.done += piece;
        piece
    }

    /// The last descriptor of a packet is through.
    fn end_packet(&mut self, descriptor: Descriptor, bus: &mut CardBus) {
        if !descriptor.has(COMMAND_EXTENDED) && descriptor.has(COMMAND_CHECKSUM) {
            let [start, at] = [40, 16].map(|shift| (descriptor.fields >> shift) as u8);
            self.tx.packet.insert_checksum(start.into(), at.into());
        }
        self.tx.packet.has_check = !descriptor.has(COMMAND_ADD_CHECK);
        self.send_segment(true, bus);
        self.tx.packet = Packet::default();
    }

    /// Sends what has been put together.
    fn send_segment(&mut self, last: bool, bus: &mut CardBus) {
        let vlan_type = (self.ctrl & super::regs::ctrl::VLAN_MODE != 0).then_some(self.vlan_type);
        let pad = self.tx.control & tctl::PAD != 0;
        let segmented = self.tx.packet.is_segmented();
        let Some(frame) = self.tx.packet.take_segment(last, vlan_type, pad) else { return };
        self.count_sent(&frame, segmented && last);
        if self.in_loopback() {
            self.receive_frame(&frame, bus);
        } else if self.phy.link() {
            bus.send(frame);
        }
    }

    /// A descriptor is done: its status is written back if it asks for that (3.3.3.2, "RS").
    fn finish(&mut self, descriptor: Descriptor, bus: &mut CardBus) {
        let mut causes = 0;
        if descriptor.has(COMMAND_REPORT) {
            let status = (descriptor.fields >> 32) as u8 | STATUS_DONE;
            bus.write(self.tx.ring.at_head().wrapping_add(12), &[status]);
            if !descriptor.has(COMMAND_DELAY) {
                self.tx.delay.flush();
                causes |= icr::TX_WRITTEN_BACK;
            } else if self.tx.delay.start(bus.now) {
                causes |= icr::TX_WRITTEN_BACK;
            }
        }
        self.tx.ring.advance();
        let left = self.tx.ring.available();
        if left == 0 {
            causes |= icr::TX_QUEUE_EMPTY;
        }
        // TXDCTL.LWTHRESH, in units of eight descriptors.
        let low = (self.tx.descriptor_control >> 25) * 8;
        if low != 0 && left == low - 1 {
            causes |= icr::TX_LOW;
        }
        self.raise(causes, bus.now);
    }
}
