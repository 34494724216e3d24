//! PS/2 keyboard with the scan code sets 1, 2 and 3.
//!
//! Reference: IBM PS/2 Hardware Interface Technical Reference, "Keyboards (101- and 102-Key)".
//!
//! Different from a real one on purpose: it does not repeat held keys (whoever injects keys repeats them; the
//! typematic rate is kept only), its buffer holds more than 16 codes, so that typed text is not lost while a guest
//! is busy, and it sends no 0xaa at power-on, only after a reset command.

use super::scancodes::{
    BREAK, EXTENDED, PAUSE, PAUSE_SET3, SET1_RELEASED, Sent, set2_from_set1, set3_from_set1,
};
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
            Expect::KeyTypes { breaks } if byte < FIRST_COMMAND => {
                self.set_breaks(byte, breaks);
                self.expect = Expect::KeyTypes { breaks };
                self.reply(&[ACK]);
            }
            _ => self.run_command(byte),
        }
    }

    /// Keys pressed and released, as a sequence in set 1.
    pub(super) fn key(&mut self, set1: &[u8]) {
        if !self.scanning {
            return;
        }
        let mut bytes = set1.iter().copied();
        while let Some(first) = bytes.next() {
            let codes = match first {
                PAUSE => bytes.next().zip(bytes.next()).map(|(ctrl, lock)| self.pause_codes(ctrl, lock)),
                EXTENDED => bytes.next().map(|code| self.key_codes(code, true)),
                code => Some(self.key_codes(code, false)),
            };
            let codes = codes.unwrap_or_default();
            if self.codes.len() + codes.len() <= CODES_MAX {
                self.codes.extend(codes);
            }
        }
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
            0xf7 | 0xf9 => self.set_all_breaks(false),
            0xf8 | 0xfa => self.set_all_breaks(true),
            // Single keys: typematic; make and break; make only.
            0xfb | 0xfd => self.expect_argument(Expect::KeyTypes { breaks: false }),
            0xfc => self.expect_argument(Expect::KeyTypes { breaks: true }),
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
        self.codes.clear();
        self.reply(&[ACK]);
    }

    fn set_defaults(&mut self) {
        self.scan_set = 2;
        self.typematic = TYPEMATIC_DEFAULT;
        self.breaks = [0; 4];
        for code in BREAKING_SET3 {
            self.set_breaks(code, true);
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
                self.codes.clear();
                self.reply(&[ACK]);
            }
            _ => self.reply(&[RESEND]),
        }
    }

    fn set_breaks(&mut self, code: u8, breaks: bool) {
        let bit = 1 << (code & 63);
        let word = &mut self.breaks[usize::from(code >> 6)];
        if breaks {
            *word |= bit;
        } else {
            *word &= !bit;
        }
    }

    fn set_all_breaks(&mut self, breaks: bool) {
        self.breaks = [if breaks { u64::MAX } else { 0 }; 4];
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
            true if self.breaks[usize::from(key >> 6)] >> (key & 63) & 1 != 0 => vec![BREAK, key],
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

fn set2_codes(make: u8, extended: bool, released: bool) -> Vec<u8> {
    let Some(code) = set2_from_set1(make) else { return Vec::new() };
    let prefix = [extended.then_some(EXTENDED), released.then_some(BREAK)];
    prefix.into_iter().flatten().chain([code]).collect()
}
