//! The ring of received frames in the chip's memory, and the data port.
//!
//! Reference: DP8390D, "Buffer Ring Operation" and "Remote DMA".

use super::registers::{isr, rcr};
use super::{FRAME_MIN, Ne2k, check_sequence};

const HEADER_BYTES: usize = 4;
const CHECK_BYTES: usize = 4;

/// Receive status: an intact frame.
const RSR_INTACT: u8 = 0x01;
/// Receive status: its destination is a group.
const RSR_GROUP: u8 = 0x20;
/// Data configuration: the data port is 16 bits wide.
const DCR_WORDS: u8 = 0x01;
/// Receive configuration: frames are looked at and not kept.
const MONITOR: u8 = rcr::MONITOR;

impl Ne2k {
    /// The page after this one.
    fn next_page(&self, page: u8) -> u8 {
        let next = page.wrapping_add(1);
        if next == self.page_stop { self.page_start } else { next }
    }

    /// Whether a frame of `bytes` fits between the current page and the boundary.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        let size = self.page_stop.wrapping_sub(self.page_start);
        let used = self.current.wrapping_sub(self.boundary);
        let used = if self.current < self.boundary { used.wrapping_add(size) } else { used };
        // The page at the boundary is never written: a full ring would look like an empty one.
        let free = if used == 0 { size } else { size.saturating_sub(used).saturating_sub(1) };
        let pages = (HEADER_BYTES + bytes.max(FRAME_MIN) + CHECK_BYTES).div_ceil(256);
        self.interrupt_status & isr::OVERFLOW == 0 && pages <= usize::from(free)
    }

    /// Puts a frame behind what is there, with its header.
    pub(super) fn put_in_ring(&mut self, frame: &[u8], group: bool) {
        if self.receive_config & MONITOR != 0 {
            return self.count_missed();
        }
        if !self.has_room(frame.len()) {
            self.interrupt_status |= isr::OVERFLOW;
            return self.count_missed();
        }
        let mut body = frame.to_vec();
        body.resize(body.len().max(FRAME_MIN), 0);
        body.extend(check_sequence(&body).to_le_bytes());
        let bytes = body.len() as u16;
        let mut next = self.current;
        for _ in 0..(HEADER_BYTES + body.len()).div_ceil(256) {
            next = self.next_page(next);
        }
        self.receive_status = RSR_INTACT | if group { RSR_GROUP } else { 0 };
        let [low, high] = bytes.to_le_bytes();
        let header = [self.receive_status, next, low, high];
        let (mut page, mut at) = (self.current, 0);
        for byte in header.into_iter().chain(body) {
            self.store(u16::from(page) << 8 | at, byte);
            at = (at + 1) & 0xff;
            if at == 0 {
                page = self.next_page(page);
            }
        }
        self.current = next;
        self.interrupt_status |= isr::RECEIVED;
    }

    fn count_missed(&mut self) {
        // Stops at 192, where its interrupt is (DP8390D, "Network Tally Counters").
        self.missed = (self.missed + 1).min(192);
        if self.missed & 0x80 != 0 {
            self.interrupt_status |= isr::COUNTERS;
        }
    }

    /// IN from the data port: one transfer of the width that is configured, two for a wider access.
    pub(super) fn read_data(&mut self, size: u8) -> u32 {
        let mut value = 0;
        for (done, width) in self.transfers(size) {
            let at = self.remote_address;
            for i in 0..width {
                value |= u32::from(self.load(at.wrapping_add(u16::from(i)))) << (8 * (done + i));
            }
            self.step_remote(width);
        }
        value
    }

    /// OUT to the data port.
    pub(super) fn write_data(&mut self, size: u8, value: u32) {
        for (done, width) in self.transfers(size) {
            let at = self.remote_address;
            for i in 0..width {
                if self.remote_count > u16::from(i) {
                    let byte = (value >> (8 * (done + i))) as u8;
                    self.store(at.wrapping_add(u16::from(i)), byte);
                }
            }
            self.step_remote(width);
        }
    }

    /// The transfers of an access: what was moved before each, and its width in bytes.
    fn transfers(&self, size: u8) -> impl Iterator<Item = (u8, u8)> + use<> {
        let width = if self.data_config & DCR_WORDS != 0 { 2 } else { 1 };
        (0..size.min(4)).step_by(usize::from(width)).map(move |done| (done, width))
    }

    /// After a transfer: the ring wraps, and at the end comes an interrupt.
    fn step_remote(&mut self, width: u8) {
        if self.remote_count == 0 {
            return;
        }
        self.remote_address = self.remote_address.wrapping_add(width.into());
        if self.remote_address == u16::from(self.page_stop) << 8 {
            self.remote_address = u16::from(self.page_start) << 8;
        }
        self.remote_count = self.remote_count.saturating_sub(width.into());
        if self.remote_count == 0 {
            self.interrupt_status |= isr::REMOTE_DONE;
        }
    }
}
