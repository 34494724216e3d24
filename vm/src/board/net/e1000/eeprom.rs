//! The 93C46 behind EECD and EERD: 64 words with the station address and what the chip is set to.
//!
//! Reference: 8254x manual, 5.6 "EEPROM Address Map" and 13.4.3; Microwire as in any 93C46 data sheet.

use serde::{Deserialize, Serialize};

pub const WORDS: usize = 64;
const ADDRESS_BITS: u32 = 6;
/// All words add up to this.
const SUM: u16 = 0xbaba;

const CLOCK: u32 = 1 << 0;
const SELECT: u32 = 1 << 1;
const DATA_IN: u32 = 1 << 2;
const DATA_OUT: u32 = 1 << 3;
const REQUEST: u32 = 1 << 6;
const GRANT: u32 = 1 << 7;
const PRESENT: u32 = 1 << 8;

/// Start bit, two bits of operation, address.
const COMMAND_BITS: u32 = 3 + ADDRESS_BITS;
const READ: u32 = 0b110;

/// What the words are: the station address, and else what a card of Intel's says.
pub fn words(mac: [u8; 6]) -> [u16; WORDS] {
    let mut words = [0xffff; WORDS];
    for (word, pair) in words.iter_mut().zip(mac.chunks(2)) {
        *word = u16::from_le_bytes([pair[0], pair[1]]);
    }
    words[0x03] = 0x0000; // compatibility
    words[0x0a] = 0x4408; // initialization control 1: identities are loaded from here
    words[0x0b] = super::SUBSYSTEM;
    words[0x0c] = super::SUBSYSTEM_VENDOR;
    words[0x0d] = super::DEVICE;
    words[0x0e] = super::VENDOR;
    words[0x0f] = 0x3040; // initialization control 2
    words[0x21] = 0x7863;
    words[0x24] = 0x0000; // initialization control 3: nothing wakes
    words[0x3f] = 0;
    let sum = words.iter().fold(0u16, |sum, word| sum.wrapping_add(*word));
    words[0x3f] = SUM.wrapping_sub(sum);
    words
}

/// The serial port of the EEPROM, as EECD moves it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Microwire {
    /// Lines that software drives.
    lines: u32,
    /// Bits that came in since the start bit, the newest lowest.
    shifted: u32,
    bits: u32,
    /// What is being read, the next bit highest, and how many are left.
    reading: u16,
    left: u32,
    output: bool,
}

impl Microwire {
    /// EECD.
    pub fn read(&self) -> u32 {
        let grant = if self.lines & REQUEST != 0 { GRANT } else { 0 };
        let output = if self.output { DATA_OUT } else { 0 };
        self.lines | grant | output | PRESENT
    }

    /// EECD. Only reading is understood: the EEPROM is write protected.
    pub fn write(&mut self, value: u32, words: &[u16; WORDS]) {
        let rose = value & !self.lines & CLOCK != 0;
        self.lines = value & (CLOCK | SELECT | DATA_IN | REQUEST);
        if value & SELECT == 0 {
            *self = Microwire { lines: self.lines, ..Microwire::default() };
        } else if rose {
            self.clock(value & DATA_IN != 0, words);
        }
    }

    fn clock(&mut self, bit: bool, words: &[u16; WORDS]) {
        if self.left > 0 {
            self.output = self.reading & 0x8000 != 0;
            self.reading <<= 1;
            self.left -= 1;
            return;
        }
        if self.bits == 0 && !bit {
            return; // the start bit is a one
        }
        self.shifted = self.shifted << 1 | u32::from(bit);
        self.bits += 1;
        if self.bits == COMMAND_BITS {
            let (operation, address) = (self.shifted >> ADDRESS_BITS, self.shifted & (WORDS as u32 - 1));
            (self.shifted, self.bits) = (0, 0);
            // Other operations are done at once: reads afterwards say "ready".
            self.output = operation != READ;
            if operation == READ {
                self.reading = words[address as usize];
                self.left = 16;
            }
        }
    }
}

/// EERD after a read of a word is started by `value`.
pub fn eerd(value: u32, words: &[u16; WORDS]) -> u32 {
    const START: u32 = 1 << 0;
    const DONE: u32 = 1 << 4;
    let address = value >> 8 & 0xff;
    if value & START == 0 {
        return value & 0xff00;
    }
    let word = words.get(address as usize).copied().unwrap_or(0xffff);
    address << 8 | u32::from(word) << 16 | DONE
}
