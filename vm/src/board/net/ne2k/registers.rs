//! The registers in their pages (DP8390D, "Internal Registers"; page 3 is the RTL8029AS's).

use super::Ne2k;
use crate::units::VmTime;
use serde::{Deserialize, Serialize};

/// Interrupt status register.
pub(super) mod isr {
    pub const RECEIVED: u8 = 0x01;
    pub const SENT: u8 = 0x02;
    pub const OVERFLOW: u8 = 0x10;
    pub const COUNTERS: u8 = 0x20;
    pub const REMOTE_DONE: u8 = 0x40;
    /// The chip is stopped; it goes when the chip is started, and has no interrupt.
    pub const RESET: u8 = 0x80;
    pub const MASKABLE: u8 = 0x7f;
}

/// Receive configuration register.
pub(super) mod rcr {
    pub const BROADCAST: u8 = 0x04;
    pub const MULTICAST: u8 = 0x08;
    pub const PROMISCUOUS: u8 = 0x10;
    pub const MONITOR: u8 = 0x20;
}

const STOP: u8 = 0x01;
const START: u8 = 0x02;
const TRANSMIT: u8 = 0x04;
const REMOTE: u8 = 0x38;
const REMOTE_ABORT: u8 = 0x20;
const REMOTE_READ: u8 = 0x08;
const REMOTE_WRITE: u8 = 0x10;
const REMOTE_SEND: u8 = 0x18;

/// What an RTL8029AS says in page 0 where a DP8390 has reserved registers.
const ID: [u8; 2] = [0x50, 0x43];
/// Page 3: full duplex is on; what the board has set is kept.
const CONFIG2: u8 = 0x40;
const CONFIG3: u8 = 0x40;

/// The command register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Command(u8);

impl Command {
    pub(super) const STOPPED: Command = Command(REMOTE_ABORT | STOP);

    pub(super) fn runs(self) -> bool {
        self.0 & (STOP | START) == START
    }

    pub(super) fn end_transmit(&mut self) {
        self.0 &= !TRANSMIT;
    }

    fn page(self) -> u8 {
        self.0 >> 6
    }

    /// A command. One that neither starts nor stops the chip leaves it as it is, as drivers do that only want another page;
    /// transmit stays until the frame is sent, and software cannot take it back.
    fn write(&mut self, value: u8) {
        let kept = if value & (STOP | START) == 0 { STOP | START | TRANSMIT } else { TRANSMIT };
        self.0 = value | self.0 & kept;
    }
}

impl Ne2k {
    pub(super) fn read_register(&mut self, register: u8) -> u8 {
        let [crda_low, crda_high] = self.remote_address.to_le_bytes();
        match (self.command.page(), register) {
            (_, 0x00) => self.command.0,
            (0, 0x01) => 0, // CLDA0: frames are put into pages as a whole
            (0, 0x02) => self.current,
            (0, 0x03) => self.boundary,
            (0, 0x04) => self.transmit_status,
            (0, 0x05 | 0x06) => 0, // collisions, FIFO
            (0, 0x07) => self.interrupt_status,
            (0, 0x08) => crda_low,
            (0, 0x09) => crda_high,
            (0, 0x0a | 0x0b) => ID[usize::from(register - 0x0a)],
            (0, 0x0c) => self.receive_status,
            (0, 0x0d | 0x0e) => 0, // alignment errors, check sequence errors
            (0, 0x0f) => std::mem::take(&mut self.missed),
            (1, 0x01..=0x06) => self.physical[usize::from(register - 1)],
            (1, 0x07) => self.current,
            (1, 0x08..) => self.multicast[usize::from(register & 7)],
            (2, 0x01) => self.page_start,
            (2, 0x02) => self.page_stop,
            (2, 0x04) => self.transmit_page,
            (2, 0x0c) => self.receive_config | 0xc0,
            (2, 0x0d) => self.transmit_config | 0xe0,
            (2, 0x0e) => self.data_config | 0x80,
            (2, 0x0f) => self.interrupt_mask | 0x80,
            (3, 0x05) => CONFIG2,
            (3, 0x06) => CONFIG3,
            (3, 0x01..=0x04) => 0,
            (page, _) => {
                tracing::debug!(page, register, "read of a register that the RTL8029 does not have");
                0xff
            }
        }
    }

    pub(super) fn write_register(&mut self, register: u8, value: u8, now: VmTime) {
        match (self.command.page(), register) {
            (_, 0x00) => self.write_command(value, now),
            (0, 0x01) => self.page_start = value,
            (0, 0x02) => self.page_stop = value,
            (0, 0x03) => self.boundary = value,
            (0, 0x04) => self.transmit_page = value,
            (0, 0x05) => set_low(&mut self.transmit_bytes, value),
            (0, 0x06) => set_high(&mut self.transmit_bytes, value),
            (0, 0x07) => self.interrupt_status &= !(value & isr::MASKABLE),
            (0, 0x08) => set_low(&mut self.remote_address, value),
            (0, 0x09) => set_high(&mut self.remote_address, value),
            (0, 0x0a) => set_low(&mut self.remote_count, value),
            (0, 0x0b) => set_high(&mut self.remote_count, value),
            (0, 0x0c) => self.receive_config = value & 0x3f,
            (0, 0x0d) => self.transmit_config = value & 0x1f,
            (0, 0x0e) => self.data_config = value & 0x7f,
            (0, 0x0f) => self.interrupt_mask = value & isr::MASKABLE,
            (1, 0x01..=0x06) => self.physical[usize::from(register - 1)] = value,
            (1, 0x07) => self.current = value,
            (1, 0x08..) => self.multicast[usize::from(register & 7)] = value,
            (page, _) => tracing::debug!(page, register, value, "write to a register that cannot be written"),
        }
    }

    fn write_command(&mut self, value: u8, now: VmTime) {
        self.command.write(value);
        if value & STOP != 0 {
            self.interrupt_status |= isr::RESET;
            self.sent_at = None;
            self.command.end_transmit();
            return;
        }
        if value & START != 0 {
            self.interrupt_status &= !isr::RESET;
        }
        match value & REMOTE {
            // The next frame in the ring, whose length is in its header ("Send Packet Command").
            REMOTE_SEND => {
                let header = u16::from(self.boundary) << 8;
                let count = [2, 3].map(|i| self.load(header.wrapping_add(i)));
                self.remote_address = header;
                self.remote_count = u16::from_le_bytes(count);
            }
            REMOTE_READ | REMOTE_WRITE if self.remote_count == 0 => {
                self.interrupt_status |= isr::REMOTE_DONE;
            }
            _ => {}
        }
        if value & TRANSMIT != 0 {
            self.transmit(now);
        }
    }
}

fn set_low(word: &mut u16, value: u8) {
    *word = *word & 0xff00 | u16::from(value);
}

fn set_high(word: &mut u16, value: u8) {
    *word = *word & 0x00ff | u16::from(value) << 8;
}
