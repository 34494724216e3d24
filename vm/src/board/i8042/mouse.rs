//! PS/2 mouse with two buttons that never moves: it answers every command, so that drivers find it.
//!
//! Reference: IBM PS/2 Hardware Interface Technical Reference, "Mouse".

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

const ACK: u8 = 0xfa;
const RESEND: u8 = 0xfe;
const TEST_PASSED: u8 = 0xaa;
/// A mouse without wheel.
const ID: u8 = 0x00;
/// A movement report of no movement and no buttons; bit 3 of the first byte is always 1.
const NO_MOVEMENT: [u8; 3] = [0x08, 0, 0];

const RESET: u8 = 0xff;
const RESET_WRAP: u8 = 0xec;

/// Bytes of answers that may wait.
const REPLIES_MAX: usize = 16;

/// Status byte 1.
const STATUS_REMOTE: u8 = 0x40;
const STATUS_ENABLED: u8 = 0x20;
const STATUS_SCALING: u8 = 0x10;

/// What the next byte from the controller is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Expect {
    Command,
    SampleRate,
    Resolution,
}

/// The mouse.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Mouse {
    expect: Expect,
    /// Reports movement by itself in stream mode.
    enabled: bool,
    /// Remote mode: reports only when asked.
    remote: bool,
    /// Echoes all but two commands.
    wrap: bool,
    /// Scaling 2:1.
    scaling: bool,
    resolution: u8,
    sample_rate: u8,
    replies: VecDeque<u8>,
    last_sent: u8,
}

impl Mouse {
    pub(super) fn new() -> Mouse {
        Mouse {
            expect: Expect::Command,
            enabled: false,
            remote: false,
            wrap: false,
            scaling: false,
            resolution: 2,
            sample_rate: 100,
            replies: VecDeque::new(),
            last_sent: 0,
        }
    }

    /// Whether it has something to send.
    pub(super) fn has_byte(&self) -> bool {
        !self.replies.is_empty()
    }

    /// The next byte for the controller.
    pub(super) fn send(&mut self) -> Option<u8> {
        let byte = self.replies.pop_front()?;
        self.last_sent = byte;
        Some(byte)
    }

    /// A byte from the controller.
    pub(super) fn command(&mut self, byte: u8) {
        if self.wrap && !matches!(byte, RESET | RESET_WRAP) {
            self.reply(&[byte]);
            return;
        }
        match std::mem::replace(&mut self.expect, Expect::Command) {
            Expect::SampleRate if matches!(byte, 10 | 20 | 40 | 60 | 80 | 100 | 200) => {
                self.sample_rate = byte;
                self.reply(&[ACK]);
            }
            Expect::Resolution if byte < 4 => {
                self.resolution = byte;
                self.reply(&[ACK]);
            }
            _ => self.run_command(byte),
        }
    }

    fn run_command(&mut self, command: u8) {
        match command {
            0xe6 => self.set(|mouse| mouse.scaling = false),
            0xe7 => self.set(|mouse| mouse.scaling = true),
            0xe8 => self.set(|mouse| mouse.expect = Expect::Resolution),
            0xe9 => self.reply(&[ACK, self.status(), self.resolution, self.sample_rate]),
            0xea => self.set(|mouse| mouse.remote = false),
            0xeb => self.reply(&[ACK, NO_MOVEMENT[0], NO_MOVEMENT[1], NO_MOVEMENT[2]]),
            RESET_WRAP => self.set(|mouse| mouse.wrap = false),
            0xee => self.set(|mouse| mouse.wrap = true),
            0xf0 => self.set(|mouse| mouse.remote = true),
            0xf2 => self.reply(&[ACK, ID]),
            0xf3 => self.set(|mouse| mouse.expect = Expect::SampleRate),
            0xf4 => self.set(|mouse| mouse.enabled = true),
            0xf5 => self.set(|mouse| mouse.enabled = false),
            0xf6 => self.set(|mouse| *mouse = Mouse { last_sent: mouse.last_sent, ..Mouse::new() }),
            0xfe => self.reply(&[self.last_sent]),
            RESET => {
                *self = Mouse::new();
                self.reply(&[ACK, TEST_PASSED, ID]);
            }
            _ => self.reply(&[RESEND]),
        }
    }

    /// A command that has only an effect.
    fn set(&mut self, effect: impl FnOnce(&mut Mouse)) {
        effect(self);
        self.reply(&[ACK]);
    }

    fn status(&self) -> u8 {
        let bits =
            [(self.remote, STATUS_REMOTE), (self.enabled, STATUS_ENABLED), (self.scaling, STATUS_SCALING)];
        bits.iter().filter(|(on, _)| *on).map(|(_, bit)| bit).sum()
    }

    fn reply(&mut self, bytes: &[u8]) {
        if self.replies.len() + bytes.len() <= REPLIES_MAX {
            self.replies.extend(bytes);
        }
    }
}
