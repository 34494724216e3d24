//! PS/2 keyboard with the scan code sets 1, 2 and 3.
//!
//! Reference: IBM PS/2 Hardware Interface Technical Reference, "Keyboards (101- and 102-Key)".
//!
//! Different from a real one on purpose: its buffer holds more than 16 codes, so that typed text is not lost while a guest
//! is busy, and it sends no 0xaa at power-on, only after a reset command.

use super::scancodes::{
    BREAK, EXTENDED, PAUSE, PAUSE_SET3, SET1_RELEASED, Sent, set2_from_set1, set3_from_set1,
};
use crate::units::VmTime;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

const ACK: u8 = 0xfa;
const RESEND: u8 = 0xfe;
const ECHO: u8 = 0xee;
const TEST_PASSED: u8 = 0xaa;
const ID: [u8; 2] = [0xab, 0x83];

/// The lowest command; bytes below it that nothing waits for are errors.
const FIRST_COMMAND: u8 = 0xed;
/// Bytes of scan codes that may wait; keys beyond are lost whole.
const CODES_MAX: usize = 4096;
/// Bytes of answers that may wait.
const REPLIES_MAX: usize = 16;
/// 10.9 characters a second after 500 ms.
const TYPEMATIC_DEFAULT: u8 = 0x2b;
/// Keys that send break codes in set 3 by default: left Ctrl, left Shift, Caps Lock, left Alt, right Shift.
const BREAKING_SET3: [u8; 5] = [0x11, 0x12, 0x14, 0x19, 0x59];
/// Keys that send one make code only: function keys, Esc, the right Ctrl and Alt, Enter and others of the keypad, Insert, Home...
const MAKE_ONLY_SET3: [u8; 42] = [
    0x07, 0x08, 0x0f, 0x17, 0x1f, 0x27, 0x2f, 0x37, 0x3f, 0x47, 0x4f, 0x56, 0x5e, 0x57, 0x5f, 0x62, 0x58,
    0x39, 0x67, 0x6e, 0x6f, 0x65, 0x6d, 0x76, 0x77, 0x7e, 0x84, 0x6c, 0x75, 0x7d, 0x6b, 0x73, 0x74, 0x69,
    0x72, 0x7a, 0x70, 0x71, 0x79, 0x8b, 0x8c, 0x8d,
];
/// Codes of a held key that may wait: the buffer of a real keyboard.
const REPEATS_MAX: usize = 16;

/// The key that was pressed last and is still held.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Held {
    /// Make code in set 1.
    make: u8,
    extended: bool,
    /// When it repeats.
    at: VmTime,
}

/// What the next byte from the controller is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Expect {
    Command,
    Leds,
    ScanSet,
    Typematic,
    /// Set 3 codes of keys that from now on do or do not send break codes, until a command comes.
    KeyTypes {
        breaks: bool,
        repeats: bool,
    },
}

/// The keyboard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Keyboard {
    expect: Expect,
    scanning: bool,
    /// 1 to 3.
    scan_set: u8,
    leds: u8,
    typematic: u8,
    /// One bit for each set 3 code: releasing the key sends a break code.
    breaks: [u64; 4],
    /// One bit for each set 3 code: the key repeats while it is held.
    repeats: [u64; 4],
    held: Option<Held>,
    replies: VecDeque<u8>,
    codes: VecDeque<u8>,
    last_sent: u8,
}

impl Keyboard {
    pub(super) fn new() -> Keyboard {
        let mut keyboard = Keyboard {
            expect: Expect::Command,
            scanning: true,
            scan_set: 2,
            leds: 0,
            typematic: TYPEMATIC_DEFAULT,
            breaks: [0; 4],
            repeats: [0; 4],
            held: None,
            replies: VecDeque::new(),
            codes: VecDeque::new(),
            last_sent: 0,
        };
        keyboard.set_defaults();
        keyboard
    }

    /// Whether it has something to send.
    pub(super) fn has_byte(&self) -> bool {
        !self.replies.is_empty() || !self.codes.is_empty()
    }

    /// The next byte for the controller: answers go before scan codes.
    pub(super) fn send(&mut self) -> Option<Sent> {
        let reply = self.replies.pop_front().map(Sent::Reply);
        let sent = reply.or_else(|| self.codes.pop_front().map(Sent::Code))?;
        let (Sent::Reply(byte) | Sent::Code(byte)) = sent;
        self.last_sent = byte;
        Some(sent)
    }

    /// A byte from the controller.
    pub(super) fn command(&mut self, byte: u8) {
        match std::mem::replace(&mut self.expect, Expect::Command) {
            // Arguments have bit 7 clear; a byte that has it set is a new command.
            Expect::Leds if byte < 0x80 => self.set_leds(byte),
            Expect::Typematic if byte < 0x80 => self.set_typematic(byte),
            Expect::ScanSet if byte < 0x80 => self.set_scan_set(byte),
            Expect::KeyTypes { breaks, repeats } if byte < FIRST_COMMAND => {
                set_bit(&mut self.breaks, byte, breaks);
                set_bit(&mut self.repeats, byte, repeats);
                self.expect = Expect::KeyTypes { breaks, repeats };
                self.reply(&[ACK]);
            }
            _ => self.run_command(byte),
        }
    }

    /// Keys pressed and released, as a sequence in set 1.
    pub(super) fn key(&mut self, set1: &[u8], now: VmTime) {
        if !self.scanning {
            return;
        }
        let mut bytes = set1.iter().copied();
        while let Some(first) = bytes.next() {
            let codes = match first {
                PAUSE => bytes.next().zip(bytes.next()).map(|(ctrl, lock)| self.pause_codes(ctrl, lock)),
                EXTENDED => bytes.next().map(|code| {
                    self.hold(code, true, now);
                    self.key_codes(code, true)
                }),
                code => {
                    self.hold(code, false, now);
                    Some(self.key_codes(code, false))
                }
            };
            let codes = codes.unwrap_or_default();
            if self.codes.len() + codes.len() <= CODES_MAX {
                self.codes.extend(codes);
            }
        }
    }

    /// Repeats the held key as often as its time has come at `now`. With `stuck`, what it sends cannot leave.
    pub(super) fn advance(&mut self, now: VmTime, stuck: bool) {
        let Some(held) = self.held.filter(|held| held.at <= now) else { return };
        let period = self.repeat_period_ns();
        if stuck && self.codes.len() >= REPEATS_MAX {
            let missed = (now.0 - held.at.0) / period + 1;
            self.held = Some(Held { at: held.at.plus_ns(missed.saturating_mul(period)), ..held });
            return;
        }
        self.held = Some(Held { at: held.at.plus_ns(period), ..held });
        if self.codes.len() < REPEATS_MAX {
            self.codes.extend(self.key_codes(held.make, held.extended));
        }
    }

    /// When the held key next repeats; never, to be seen, while it cannot leave.
    pub(super) fn next_event(&self, stuck: bool) -> Option<VmTime> {
        self.held.map(|held| held.at).filter(|_| !stuck || self.codes.len() < REPEATS_MAX)
    }

    /// The last key pressed repeats until it is released.
    fn hold(&mut self, code: u8, extended: bool, now: VmTime) {
        let make = code & !SET1_RELEASED;
        if code & SET1_RELEASED != 0 {
            self.held.take_if(|held| (held.make, held.extended) == (make, extended));
            return;
        }
        let repeats = match self.scan_set {
            3 => set3_from_set1(make, extended).is_some_and(|key| has_bit(&self.repeats, key)),
            _ => !self.key_codes(make, extended).is_empty(),
        };
        let at = now.plus_ns(self.repeat_delay_ns());
        self.held = repeats.then_some(Held { make, extended, at });
    }

    /// Bits 5 and 6: quarters of a second, less one.
    fn repeat_delay_ns(&self) -> u64 {
        (u64::from(self.typematic >> 5 & 3) + 1) * 250_000_000
    }

    /// Bits 0 to 4: the period is (8 + A) * 2^B / 240 s.
    fn repeat_period_ns(&self) -> u64 {
        let (a, b) = (self.typematic & 7, self.typematic >> 3 & 3);
        ((8 + u64::from(a)) << b) * 1_000_000_000 / 240
    }

    fn run_command(&mut self, command: u8) {
        match command {
            0xed => self.expect_argument(Expect::Leds),
            0xee => self.reply(&[ECHO]),
            0xf0 => self.expect_argument(Expect::ScanSet),
            0xf2 => self.reply(&[ACK, ID[0], ID[1]]),
            0xf3 => self.expect_argument(Expect::Typematic),
            0xf4 => self.start(true),
            0xf5 => {
                self.set_defaults();
                self.start(false);
            }
            0xf6 => {
                self.set_defaults();
                self.start(self.scanning);
            }
            // All keys: typematic; make and break; make only; typematic with break.
            0xf7 => self.set_all_types(false, true),
            0xf8 => self.set_all_types(true, false),
            0xf9 => self.set_all_types(false, false),
            0xfa => self.set_all_types(true, true),
            // Single keys: typematic; make and break; make only.
            0xfb => self.expect_argument(Expect::KeyTypes { breaks: false, repeats: true }),
            0xfc => self.expect_argument(Expect::KeyTypes { breaks: true, repeats: false }),
            0xfd => self.expect_argument(Expect::KeyTypes { breaks: false, repeats: false }),
            0xfe => self.reply(&[self.last_sent]),
            0xff => {
                *self = Keyboard::new();
                self.reply(&[ACK, TEST_PASSED]);
            }
            _ => self.reply(&[RESEND]),
        }
    }

    fn reply(&mut self, bytes: &[u8]) {
        if self.replies.len() + bytes.len() <= REPLIES_MAX {
            self.replies.extend(bytes);
        }
    }

    fn expect_argument(&mut self, expect: Expect) {
        self.expect = expect;
        self.reply(&[ACK]);
    }

    /// Starts scanning afresh or stops it.
    fn start(&mut self, scanning: bool) {
        self.scanning = scanning;
        self.held = None;
        self.codes.clear();
        self.reply(&[ACK]);
    }

    fn set_defaults(&mut self) {
        self.scan_set = 2;
        self.typematic = TYPEMATIC_DEFAULT;
        self.breaks = [0; 4];
        self.repeats = [u64::MAX; 4];
        for code in BREAKING_SET3 {
            set_bit(&mut self.breaks, code, true);
            set_bit(&mut self.repeats, code, false);
        }
        for code in MAKE_ONLY_SET3 {
            set_bit(&mut self.repeats, code, false);
        }
    }

    fn set_leds(&mut self, leds: u8) {
        self.leds = leds & 0x07;
        self.reply(&[ACK]);
    }

    fn set_typematic(&mut self, rate: u8) {
        self.typematic = rate;
        self.reply(&[ACK]);
    }

    /// Argument 0 asks for the set in use.
    fn set_scan_set(&mut self, set: u8) {
        match set {
            0 => self.reply(&[ACK, self.scan_set]),
            1..=3 => {
                self.scan_set = set;
                self.held = None;
                self.codes.clear();
                self.reply(&[ACK]);
            }
            _ => self.reply(&[RESEND]),
        }
    }

    fn set_all_types(&mut self, breaks: bool, repeats: bool) {
        self.breaks = [if breaks { u64::MAX } else { 0 }; 4];
        self.repeats = [if repeats { u64::MAX } else { 0 }; 4];
        self.reply(&[ACK]);
    }

    /// The set 1 code `code` in the set in use.
    fn key_codes(&self, code: u8, extended: bool) -> Vec<u8> {
        let released = code & SET1_RELEASED != 0;
        let make = code & !SET1_RELEASED;
        match self.scan_set {
            1 if extended => vec![EXTENDED, code],
            1 => vec![code],
            2 => set2_codes(make, extended, released),
            _ => set3_from_set1(make, extended).map(|key| self.set3_codes(key, released)).unwrap_or_default(),
        }
    }

    fn set3_codes(&self, key: u8, released: bool) -> Vec<u8> {
        match released {
            false => vec![key],
            true if has_bit(&self.breaks, key) => vec![BREAK, key],
            true => Vec::new(),
        }
    }

    /// The Pause key is Ctrl and Num Lock behind a prefix of its own, pressed and released at once.
    fn pause_codes(&self, ctrl: u8, lock: u8) -> Vec<u8> {
        match self.scan_set {
            1 => vec![PAUSE, ctrl, lock],
            2 => {
                let code = |code: u8| set2_codes(code & !SET1_RELEASED, false, code & SET1_RELEASED != 0);
                [vec![PAUSE], code(ctrl), code(lock)].concat()
            }
            _ => self.set3_codes(PAUSE_SET3, ctrl & SET1_RELEASED != 0),
        }
    }
}

fn has_bit(bits: &[u64; 4], code: u8) -> bool {
    bits[usize::from(code >> 6)] >> (code & 63) & 1 != 0
}

fn set_bit(bits: &mut [u64; 4], code: u8, on: bool) {
    let (word, bit) = (&mut bits[usize::from(code >> 6)], 1 << (code & 63));
    *word = if on { *word | bit } else { *word & !bit };
}

fn set2_codes(make: u8, extended: bool, released: bool) -> Vec<u8> {
    let Some(code) = set2_from_set1(make) else { return Vec::new() };
    let prefix = [extended.then_some(EXTENDED), released.then_some(BREAK)];
    prefix.into_iter().flatten().chain([code]).collect()
}
