//! From the data of descriptors to frames: checksums, segmentation, VLAN tags (manual, 3.4.3 to 3.6).

use super::E1000;
use super::checksum;
use super::regs::{rctl, stat};
use crate::board::net::{BROADCAST, FRAME_MIN, check_sequence, destination, is_group};
use serde::{Deserialize, Serialize};

/// Longest packet that is not segmented.
const PACKET_MAX: usize = 16288;
const OPTION_IP: u8 = 1 << 0;
const OPTION_TCP: u8 = 1 << 1;

const CONTEXT_TCP: u8 = 1 << 0;
const CONTEXT_IPV4: u8 = 1 << 1;
const CONTEXT_SEGMENT: u8 = 1 << 2;

const TCP_FIN_PSH: u8 = 0x09;
const CHECK_BYTES: usize = 4;

/// A context descriptor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Context {
    /// Start, place and end of the IP checksum; an end of 0 is the packet's.
    ip: [u16; 3],
    /// The same of the TCP or UDP checksum.
    tcp: [u16; 3],
    command: u8,
    header_bytes: u8,
    segment_bytes: u16,
}

impl Context {
    pub(super) fn new(low: u64, high: u64) -> Context {
        let part = |shift: u32| {
            let part = (low >> shift) as u32;
            [part as u16 & 0xff, part as u16 >> 8, (part >> 16) as u16]
        };
        Context {
            ip: part(0),
            tcp: part(32),
            command: (high >> 24) as u8,
            header_bytes: (high >> 40) as u8,
            segment_bytes: (high >> 48) as u16,
        }
    }

    /// Whether it is for packets that are segmented.
    pub(super) fn segments(&self) -> bool {
        self.command & CONTEXT_SEGMENT != 0
    }
}

/// A packet that is being put together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Packet {
    bytes: Vec<u8>,
    context: Context,
    options: u8,
    segmented: bool,
    begun: bool,
    /// It was longer than any packet can be, and is not sent.
    too_long: bool,
    /// Segments that have been sent, and their bytes without headers.
    segments: u16,
    payload: u32,
    /// The VLAN tag to put in.
    pub(super) tag: Option<u16>,
    /// The driver has put the check sequence behind it.
    pub(super) has_check: bool,
}

impl Packet {
    pub(super) fn begin(&mut self, context: Context, options: u8, segmented: bool) {
        *self = Packet { context, options, segmented, begun: true, ..Packet::default() };
    }

    /// Nothing is known of it yet.
    pub(super) fn is_empty(&self) -> bool {
        !self.begun
    }

    pub(super) fn is_segmented(&self) -> bool {
        self.segmented
    }

    /// Most bytes of a frame with its headers.
    fn limit(&self) -> usize {
        let segment = usize::from(self.context.header_bytes) + usize::from(self.context.segment_bytes.max(1));
        if self.segmented { segment.min(PACKET_MAX) } else { PACKET_MAX }
    }

    /// A segment is complete.
    pub(super) fn is_full(&self) -> bool {
        self.segmented && self.bytes.len() >= self.limit()
    }

    /// Bytes until a segment is complete; of a packet that is not segmented any number is taken.
    pub(super) fn room(&self) -> u32 {
        if self.segmented { self.limit().saturating_sub(self.bytes.len()).max(1) as u32 } else { u32::MAX }
    }

    pub(super) fn append(&mut self, bytes: &[u8]) {
        if self.bytes.len() + bytes.len() > PACKET_MAX {
            self.too_long = true;
        } else {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// What a legacy descriptor wants: a checksum from `start` to the end.
    pub(super) fn insert_checksum(&mut self, start: usize, at: usize) {
        checksum::put(&mut self.bytes, start, at, usize::MAX, false);
    }

    /// The frame that is complete now; headers stay for the next segment. `None` if there is nothing to send.
    pub(super) fn take_segment(&mut self, last: bool, vlan_type: Option<u16>, pad: bool) -> Option<Vec<u8>> {
        let header = usize::from(self.context.header_bytes).min(self.bytes.len());
        let mut frame = self.bytes.clone();
        if self.segmented {
            self.set_headers(&mut frame, last);
            self.payload = self.payload.wrapping_add((frame.len() - header) as u32);
            self.segments = self.segments.wrapping_add(1);
            self.bytes.truncate(header);
        }
        let Context { ip, tcp, command, .. } = self.context;
        let is_udp = command & CONTEXT_TCP == 0;
        for (option, [start, at, end], is_udp) in [(OPTION_TCP, tcp, is_udp), (OPTION_IP, ip, false)] {
            if self.options & option != 0 {
                let end = if end == 0 { usize::MAX } else { usize::from(end) + 1 };
                checksum::put(&mut frame, start.into(), at.into(), end, is_udp);
            }
        }
        // Without IFCS the check sequence is the driver's; some drivers mean none, and get one all the same.
        if self.has_check
            && let Some((body, check)) = frame.split_last_chunk::<CHECK_BYTES>()
            && check_sequence(body).to_le_bytes() == *check
        {
            frame.truncate(frame.len() - CHECK_BYTES);
        }
        if let (Some(tag), Some(kind), true) = (self.tag, vlan_type, frame.len() >= 12) {
            let [a, b] = kind.to_be_bytes();
            let [c, d] = tag.to_be_bytes();
            frame.splice(12..12, [a, b, c, d]);
        }
        if pad && frame.len() < FRAME_MIN {
            frame.resize(FRAME_MIN, 0);
        }
        (!self.too_long && destination(&frame).is_some()).then_some(frame)
    }

    /// Lengths, numbers and flags that differ from segment to segment (3.5.4 to 3.5.6).
    fn set_headers(&self, frame: &mut [u8], last: bool) {
        let [ip, tcp] = [self.context.ip[0], self.context.tcp[0]].map(usize::from);
        let from = |start: usize| frame.len().saturating_sub(start) as u16;
        let (ip_bytes, tcp_bytes) = (from(ip), from(tcp));
        if self.context.command & CONTEXT_IPV4 != 0 {
            checksum::set_word(frame, ip + 2, ip_bytes);
            let id = checksum::word(frame, ip + 4).wrapping_add(self.segments);
            checksum::set_word(frame, ip + 4, id);
        } else {
            checksum::set_word(frame, ip + 4, ip_bytes.saturating_sub(40));
        }
        if self.context.command & CONTEXT_TCP != 0 {
            let sequence = [checksum::word(frame, tcp + 4), checksum::word(frame, tcp + 6)];
            let sequence = u32::from(sequence[0]) << 16 | u32::from(sequence[1]);
            let sequence = sequence.wrapping_add(self.payload);
            checksum::set_word(frame, tcp + 4, (sequence >> 16) as u16);
            checksum::set_word(frame, tcp + 6, sequence as u16);
            if let Some(flags) = frame.get_mut(tcp + 13).filter(|_| !last) {
                *flags &= !TCP_FIN_PSH;
            }
        } else {
            checksum::set_word(frame, tcp + 4, tcp_bytes);
        }
        // The driver has put in the pseudo header's sum without a length.
        if self.options & OPTION_TCP != 0 {
            let at = usize::from(self.context.tcp[1]);
            let sum = u32::from(checksum::word(frame, at)) + u32::from(tcp_bytes);
            checksum::set_word(frame, at, checksum::fold(sum));
        }
    }
}

impl E1000 {
    /// Frames come back to the receiver: RCTL.LBM or the PHY says so.
    pub(super) fn in_loopback(&self) -> bool {
        self.rx.control & rctl::LOOPBACK != 0 || self.phy.in_loopback()
    }

    /// Counts a frame that is sent.
    pub(super) fn count_sent(&mut self, frame: &[u8], ends_segmented: bool) {
        let length = frame.len() + CHECK_BYTES;
        self.count(stat::SENT, 1);
        self.count(stat::GOOD_SENT, 1);
        self.count_wide(stat::OCTETS_SENT, length as u64);
        self.count_wide(stat::GOOD_OCTETS_SENT, length as u64);
        self.count_by_size(stat::SENT_BY_SIZE, length);
        self.count(stat::SEGMENTED, ends_segmented.into());
        match destination(frame) {
            Some(BROADCAST) => self.count(stat::BROADCAST_SENT, 1),
            Some(to) if is_group(&to) => self.count(stat::MULTICAST_SENT, 1),
            _ => {}
        }
    }
}
