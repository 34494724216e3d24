//! PS/2 mouse: the standard one, which turns into one with a wheel or with five buttons when a driver knocks for it.
//!
//! References: IBM PS/2 Hardware Interface Technical Reference, "Mouse"; Microsoft, "IntelliMouse" (sample rates 200, 100, 80 give
//! the wheel, 200, 200, 80 the fourth and fifth button).
//!
//! Movement is taken as counts whatever the resolution. More than a report has room for is left to the next one, so that no
//! report overflows.

use crate::units::VmTime;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

const ACK: u8 = 0xfa;
const RESEND: u8 = 0xfe;
const TEST_PASSED: u8 = 0xaa;

/// Identities.
const STANDARD: u8 = 0x00;
const WHEEL: u8 = 0x03;
const FIVE_BUTTONS: u8 = 0x04;
/// The last three sample rates that turn the mouse into another.
const KNOCKS: [([u8; 3], u8); 2] = [([200, 100, 80], WHEEL), ([200, 200, 80], FIVE_BUTTONS)];

/// First byte of a report.
const REPORT_ALWAYS: u8 = 0x08;
const REPORT_X_NEGATIVE: u8 = 0x10;
const REPORT_Y_NEGATIVE: u8 = 0x20;

const RESET: u8 = 0xff;
const RESET_WRAP: u8 = 0xec;

/// Bytes of answers that may wait.
const REPLIES_MAX: usize = 16;
/// Counts that may wait to be reported.
const COUNTS_MAX: i32 = 10_000;

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
    id: u8,
    /// Reports movement by itself in stream mode.
    enabled: bool,
    /// Remote mode: reports only when asked.
    remote: bool,
    /// Echoes all but two commands.
    wrap: bool,
    /// Scaling 2:1.
    scaling: bool,
    resolution: u8,
    /// The last three sample rates, the one in use last.
    sample_rates: [u8; 3],
    /// Counts that were not reported: right, down, and wheel towards the user.
    x: i32,
    y: i32,
    z: i32,
    /// Bit 0 left, 1 middle, 2 right, 3 and 4 at the sides.
    buttons: u8,
    buttons_reported: u8,
    /// Not before this may the next report be made.
    sample_at: VmTime,
    replies: VecDeque<u8>,
    report: VecDeque<u8>,
    last_sent: u8,
}

impl Mouse {
    pub(super) fn new() -> Mouse {
        Mouse {
            expect: Expect::Command,
            id: STANDARD,
            enabled: false,
            remote: false,
            wrap: false,
            scaling: false,
            resolution: 2,
            sample_rates: [100; 3],
            x: 0,
            y: 0,
            z: 0,
            buttons: 0,
            buttons_reported: 0,
            sample_at: VmTime(0),
            replies: VecDeque::new(),
            report: VecDeque::new(),
            last_sent: 0,
        }
    }

    /// Whether it has something to send.
    pub(super) fn has_byte(&self) -> bool {
        !self.replies.is_empty() || !self.report.is_empty()
    }

    /// The next byte for the controller.
    pub(super) fn send(&mut self) -> Option<u8> {
        let byte = self.replies.pop_front().or_else(|| self.report.pop_front())?;
        self.last_sent = byte;
        Some(byte)
    }

    /// It is moved by so many counts to the right, downwards and by the wheel, and has these buttons pressed.
    pub(super) fn moved(&mut self, by: [i16; 3], buttons: u8, now: VmTime) {
        self.buttons = buttons & 0x1f;
        if self.enabled || self.remote {
            let add = |count: i32, by: i16| (count + i32::from(by)).clamp(-COUNTS_MAX, COUNTS_MAX);
            [self.x, self.y, self.z] = [add(self.x, by[0]), add(self.y, by[1]), add(self.z, by[2])];
        }
        self.sample_at = self.sample_at.max(now);
    }

    /// Makes the report that is due at `now`, if one is.
    pub(super) fn advance(&mut self, now: VmTime) {
        if self.next_event().is_some_and(|at| at <= now) {
            let scaling = self.scaling;
            let report = self.take_report(scaling);
            self.report.extend(report);
            self.sample_at = now.plus_ns(1_000_000_000 / u64::from(self.sample_rates[2]));
        }
    }

    /// When it next makes a report by itself.
    pub(super) fn next_event(&self) -> Option<VmTime> {
        let streams = self.enabled && !self.remote && !self.wrap;
        let news =
            self.x != 0 || self.y != 0 || self.news_of_wheel() || self.buttons != self.buttons_reported;
        (streams && news && self.report.is_empty()).then_some(self.sample_at)
    }

    /// A byte from the controller: a report that is on its way is given up.
    pub(super) fn command(&mut self, byte: u8) {
        self.report.clear();
        if self.wrap && !matches!(byte, RESET | RESET_WRAP) {
            self.reply(&[byte]);
            return;
        }
        match std::mem::replace(&mut self.expect, Expect::Command) {
            Expect::SampleRate if matches!(byte, 10 | 20 | 40 | 60 | 80 | 100 | 200) => {
                self.set_sample_rate(byte)
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
            0xe9 => self.reply(&[ACK, self.status(), self.resolution, self.sample_rates[2]]),
            0xea => self.set(|mouse| mouse.remote = false),
            0xeb => {
                // Scaling is for stream mode.
                let report = self.take_report(false);
                self.reply(&[&[ACK], &report[..]].concat());
            }
            RESET_WRAP => self.set(|mouse| mouse.wrap = false),
            0xee => self.set(|mouse| mouse.wrap = true),
            0xf0 => self.set(|mouse| mouse.remote = true),
            0xf2 => self.reply(&[ACK, self.id]),
            0xf3 => self.set(|mouse| mouse.expect = Expect::SampleRate),
            0xf4 => self.set(|mouse| {
                mouse.forget_movement();
                mouse.enabled = true;
            }),
            0xf5 => self.set(|mouse| mouse.enabled = false),
            0xf6 => self.set(|mouse| *mouse = Mouse { id: mouse.id, ..mouse.after_reset() }),
            0xfe => self.reply(&[self.last_sent]),
            RESET => {
                *self = self.after_reset();
                self.reply(&[ACK, TEST_PASSED, STANDARD]);
            }
            _ => self.reply(&[RESEND]),
        }
    }

    /// A command that has only an effect.
    fn set(&mut self, effect: impl FnOnce(&mut Mouse)) {
        effect(self);
        self.reply(&[ACK]);
    }

    /// Defaults, with the buttons as the hand holds them.
    fn after_reset(&self) -> Mouse {
        let (buttons, last_sent) = (self.buttons, self.last_sent);
        Mouse { buttons, buttons_reported: buttons, last_sent, ..Mouse::new() }
    }

    fn forget_movement(&mut self) {
        [self.x, self.y, self.z] = [0; 3];
        self.buttons_reported = self.buttons;
    }

    fn set_sample_rate(&mut self, rate: u8) {
        self.sample_rates = [self.sample_rates[1], self.sample_rates[2], rate];
        if let Some((_, id)) = KNOCKS.iter().find(|(knock, _)| *knock == self.sample_rates) {
            self.id = *id;
        }
        self.reply(&[ACK]);
    }

    fn news_of_wheel(&self) -> bool {
        self.id != STANDARD && self.z != 0
    }

    /// What has happened since the last report, as a report.
    fn take_report(&mut self, scaling: bool) -> Vec<u8> {
        let take = |count: &mut i32, least: i32, most: i32| {
            let taken = (*count).clamp(least, most);
            *count -= taken;
            taken
        };
        // Scaled, the largest is twice this, and 9 bits have to hold it.
        let most = if scaling { 127 } else { 255 };
        let scale = |count: i32| if scaling { scaled(count) } else { count };
        let x = scale(take(&mut self.x, -most, most));
        let y = scale(-take(&mut self.y, -most, most));
        self.buttons_reported = self.buttons;
        let [left, middle, right, sides @ ..] = [0, 1, 2, 3, 4].map(|bit| self.buttons >> bit & 1);
        let mut first = REPORT_ALWAYS | left | right << 1 | middle << 2;
        if x < 0 {
            first |= REPORT_X_NEGATIVE;
        }
        if y < 0 {
            first |= REPORT_Y_NEGATIVE;
        }
        let mut report = vec![first, x as u8, y as u8];
        match self.id {
            WHEEL => report.push(take(&mut self.z, -8, 7) as u8),
            FIVE_BUTTONS => {
                report.push(take(&mut self.z, -8, 7) as u8 & 0x0f | sides[0] << 4 | sides[1] << 5)
            }
            _ => self.z = 0,
        }
        report
    }

    fn status(&self) -> u8 {
        let bits = [
            (self.remote, STATUS_REMOTE),
            (self.enabled, STATUS_ENABLED),
            (self.scaling, STATUS_SCALING),
            (self.buttons & 1 != 0, 0x04),
            (self.buttons & 2 != 0, 0x02),
            (self.buttons & 4 != 0, 0x01),
        ];
        bits.iter().filter(|(on, _)| *on).map(|(_, bit)| bit).sum()
    }

    fn reply(&mut self, bytes: &[u8]) {
        if self.replies.len() + bytes.len() <= REPLIES_MAX {
            self.replies.extend(bytes);
        }
    }
}

/// Scaling 2:1: small movements become smaller, large ones twice as large.
fn scaled(count: i32) -> i32 {
    let size = match count.abs() {
        size @ (0 | 1 | 3) => size,
        2 => 1,
        4 => 6,
        5 => 9,
        size => 2 * size,
    };
    size * count.signum()
}
