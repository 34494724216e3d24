//! The codec: a mixer whose settings are kept, and two converters with variable rates (AC '97 2.1, chapter 6).

use serde::{Deserialize, Serialize};

const RESET: u32 = 0x00;
const POWER: u32 = 0x26;
const EXTENDED_ID: u32 = 0x28;
const EXTENDED_CONTROL: u32 = 0x2a;
const PLAYBACK_RATE: u32 = 0x2c;
const RECORDING_RATE: u32 = 0x32;
const VENDOR_1: u32 = 0x7c;
const VENDOR_2: u32 = 0x7e;

/// Extended audio: variable rates.
const VARIABLE_RATE: u16 = 1;
/// Power: reference, mixer, and converters are up.
const POWER_READY: u16 = 0x000f;
const RATE_MIN: u16 = 8000;
const RATE_MAX: u16 = 48_000;

/// Registers of the mixer: offset, value after a reset, bits that can be written.
const MIXER: [(u32, u16, u16); 18] = [
    (0x02, 0x8000, 0x9f1f), // master
    (0x04, 0x8000, 0x9f1f), // headphones
    (0x06, 0x8000, 0x801f), // mono
    (0x08, 0x0000, 0x0000), // tone: not there
    (0x0a, 0x0000, 0x801e), // beep
    (0x0c, 0x8008, 0x801f), // phone
    (0x0e, 0x8008, 0x805f), // microphone
    (0x10, 0x8808, 0x9f1f), // line
    (0x12, 0x8808, 0x9f1f), // CD
    (0x14, 0x8808, 0x9f1f), // video
    (0x16, 0x8808, 0x9f1f), // auxiliary
    (0x18, 0x8808, 0x9f1f), // PCM
    (0x1a, 0x0000, 0x0707), // what is recorded
    (0x1c, 0x8000, 0x8f0f), // its gain
    (0x1e, 0x8000, 0x800f), // microphone's gain
    (0x20, 0x0000, 0x8380), // general purpose
    (0x22, 0x0000, 0x0000), // 3D: not there
    (0x24, 0x0000, 0x0000),
];

/// The codec.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Codec {
    mixer: [u16; MIXER.len()],
    power: u16,
    extended: u16,
    rates: [u16; 2],
}

impl Codec {
    pub(super) fn new() -> Codec {
        Codec { mixer: MIXER.map(|(_, value, _)| value), power: 0, extended: 0, rates: [RATE_MAX; 2] }
    }

    /// Pairs of samples a second.
    pub(super) fn playback_rate(&self) -> u16 {
        self.rates[0]
    }

    pub(super) fn recording_rate(&self) -> u16 {
        self.rates[1]
    }

    fn mixer_index(offset: u32) -> Option<usize> {
        MIXER.iter().position(|(register, ..)| *register == offset)
    }

    pub(super) fn read(&self, offset: u32) -> u16 {
        match offset {
            RESET => 0,
            POWER => self.power | POWER_READY,
            EXTENDED_ID => VARIABLE_RATE,
            EXTENDED_CONTROL => self.extended,
            PLAYBACK_RATE => self.rates[0],
            RECORDING_RATE => self.rates[1],
            // A SigmaTel STAC9700, which drivers know to have nothing special.
            VENDOR_1 => 0x8384,
            VENDOR_2 => 0x7600,
            _ => Codec::mixer_index(offset).map_or(0, |index| self.mixer[index]),
        }
    }

    pub(super) fn write(&mut self, offset: u32, value: u16) {
        let rate = value.clamp(RATE_MIN, RATE_MAX);
        let variable = self.extended & VARIABLE_RATE != 0;
        match offset {
            RESET => *self = Codec::new(),
            POWER => self.power = value & 0xff00,
            EXTENDED_CONTROL => {
                self.extended = value & VARIABLE_RATE;
                if self.extended == 0 {
                    self.rates = [RATE_MAX; 2];
                }
            }
            PLAYBACK_RATE if variable => self.rates[0] = rate,
            RECORDING_RATE if variable => self.rates[1] = rate,
            _ => match Codec::mixer_index(offset) {
                Some(index) => self.mixer[index] = value & MIXER[index].2,
                None => tracing::debug!(offset, value, "write to a register that the codec does not have"),
            },
        }
    }
}
