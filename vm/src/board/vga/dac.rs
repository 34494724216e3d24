//! The DAC: 256 colours of three times six bits, or eight if the extensions say so.
//!
//! Reference: PS/2 Video Subsystem, "Video Digital-to-Analog Converter".

use serde::{Deserialize, Serialize};

/// Colour registers and the state of access to them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Dac {
    /// Red, green, blue of colour `16 * i + j`.
    colours: [[[u8; 3]; 16]; 16],
    mask: u8,
    read_index: u8,
    write_index: u8,
    /// Which of the three comes next.
    component: u8,
    /// What was written of the next colour.
    pending: [u8; 3],
    /// The index was last written for reading.
    reading: bool,
}

impl Dac {
    pub(super) fn new() -> Dac {
        Dac {
            colours: [[[0; 3]; 16]; 16],
            mask: 0xff,
            read_index: 0,
            write_index: 0,
            component: 0,
            pending: [0; 3],
            reading: false,
        }
    }

    pub(super) fn read(&mut self, port: u16) -> u8 {
        match port {
            0x3c6 => self.mask,
            0x3c7 => {
                if self.reading {
                    3
                } else {
                    0
                }
            }
            0x3c8 => self.write_index,
            _ => {
                let value = self.entry(self.read_index)[usize::from(self.component % 3)];
                if self.next_component() {
                    self.read_index = self.read_index.wrapping_add(1);
                }
                value
            }
        }
    }

    pub(super) fn write(&mut self, port: u16, value: u8, eight_bits: bool) {
        match port {
            0x3c6 => self.mask = value,
            0x3c7 => (self.read_index, self.component, self.reading) = (value, 0, true),
            0x3c8 => (self.write_index, self.component, self.reading) = (value, 0, false),
            _ => {
                let value = if eight_bits { value } else { value & 0x3f };
                self.pending[usize::from(self.component % 3)] = value;
                // A colour changes as a whole.
                if self.next_component() {
                    self.set(self.write_index, self.pending);
                    self.write_index = self.write_index.wrapping_add(1);
                }
            }
        }
    }

    /// Goes on to the next component; whether that is the first of the next colour.
    fn next_component(&mut self) -> bool {
        self.component = (self.component + 1) % 3;
        self.component == 0
    }

    fn entry(&self, index: u8) -> [u8; 3] {
        self.colours[usize::from(index >> 4)][usize::from(index & 15)]
    }

    /// Sets a colour.
    pub(super) fn set(&mut self, index: u8, colour: [u8; 3]) {
        self.colours[usize::from(index >> 4)][usize::from(index & 15)] = colour;
    }

    /// The colour that the screen shows for an index, eight bits for each component.
    pub(super) fn colour(&self, index: u8, eight_bits: bool) -> [u8; 3] {
        let colour = self.entry(index & self.mask);
        if eight_bits { colour } else { colour.map(|c| c << 2 | (c >> 4 & 3)) }
    }
}
