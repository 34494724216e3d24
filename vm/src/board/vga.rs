//! Display adapter: VGA with the extensions of Bochs ("std" in QEMU, PCI 1234:1111).
//!
//! | where                    | what                                                                    |
//! |--------------------------|-------------------------------------------------------------------------|
//! | 0x3b4, 0x3b5, 0x3ba      | CRT controller and input status 1, while bit 0 of misc output is clear   |
//! | 0x3c0, 0x3c1             | attribute controller                                                    |
//! | 0x3c2, 0x3cc             | misc output (write, read); 0x3c2 reads input status 0                   |
//! | 0x3c3                    | adapter enable, kept and without effect                                 |
//! | 0x3c4, 0x3c5             | sequencer                                                               |
//! | 0x3c6 to 0x3c9           | DAC: `dac`                                                              |
//! | 0x3ce, 0x3cf             | graphics controller                                                     |
//! | 0x3d4, 0x3d5, 0x3da      | CRT controller and input status 1, while that bit is set                |
//! | 0x1ce, 0x1cf, 0x1d0      | Bochs extensions, index and data, 16 bits: `dispi`                      |
//! | 0xa0000 to 0xbffff       | the window to video memory: `window`                                    |
//! | BAR 0                    | all of video memory as it is, which no access to it comes here for      |
//! | BAR 2 + 0 to 0x7f         | what the monitor says of itself: `edid`                                 |
//! | BAR 2 + 0x400 to 0x41f   | ports 0x3c0 to 0x3df                                                    |
//! | BAR 2 + 0x500 to 0x515   | registers of the extensions by their numbers                            |
//! | BAR 2 + 0x600 to 0x607   | size of this block; byte order, which is little endian                  |
//!
//! Video memory is storage of the machine, not of this chip. Cell `n` is the four bytes from `4 * n` on: one of each plane.
//! The CRT controller's address counts cells whatever its byte, word or double word mode: where a VGA leaves gaps in a
//! plane in its odd/even and chain-4 modes, this one closes them on both sides, as the extensions need it for their linear
//! modes.
//!
//! Reference: IBM, "Personal System/2 Hardware Interface Technical Reference", Video Subsystem (1992); QEMU,
//! docs/specs/standard-vga; VBE DISPI of Bochs.

mod codepage;
mod dac;
mod dispi;
mod edid;
mod firmware;
mod picture;
mod scan;
mod timing;
pub mod window;

use crate::memory::PhysMemory;
use crate::units::VmTime;
use dac::Dac;
use dispi::Dispi;
pub use picture::Picture;
use serde::{Deserialize, Serialize};

/// First port of the extensions' index register; data is at the next two.
pub const DISPI_INDEX: u16 = 0x1ce;
/// Data register of the extensions.
pub const DISPI_DATA: u16 = 0x1cf;
/// The same, aligned.
pub const DISPI_DATA_ALIGNED: u16 = 0x1d0;

/// Bits of sequencer registers that exist.
const SEQUENCER_BITS: [u8; 5] = [0x03, 0x3d, 0x0f, 0x3f, 0x0e];
/// Bits of graphics controller registers that exist.
const GRAPHICS_BITS: [u8; 9] = [0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff];
/// Bits of attribute controller registers from 0x10 on that exist.
const ATTRIBUTE_BITS: [u8; 5] = [0xef, 0xff, 0x3f, 0x0f, 0x0f];
/// Number of CRT controller registers.
const CRTC_REGISTERS: usize = 0x19;

/// CRT controller, vertical retrace end: registers 0 to 7 are write protected.
const PROTECT: u8 = 0x80;
/// The bit of the overflow register that is not: bit 8 of line compare.
const OVERFLOW_UNPROTECTED: u8 = 0x10;
/// Attribute index: palette address source, the screen shows something.
const PALETTE_ADDRESS_SOURCE: u8 = 0x20;
/// Misc output: the CRT controller is at 0x3d4.
const COLOUR_PORTS: u8 = 0x01;
/// Input status 0: the monitor is a colour one.
const SWITCH_SENSE: u8 = 0x10;
/// Byte order register: little endian.
const LITTLE_ENDIAN: u32 = 0x1e1e_1e1e;

/// The adapter's registers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adapter {
    misc: u8,
    feature: u8,
    enable: u8,
    sequencer_index: u8,
    sequencer: [u8; 5],
    graphics_index: u8,
    graphics: [u8; 9],
    crtc_index: u8,
    crtc: [u8; CRTC_REGISTERS],
    /// With the palette address source.
    attribute_index: u8,
    attribute: [u8; 0x15],
    /// The attribute controller's flip-flop: the next write is data.
    attribute_data_next: bool,
    /// One byte of each plane, as the last read left them.
    latches: [u8; 4],
    dac: Dac,
    dispi: Dispi,
    without_firmware: bool,
}

impl Adapter {
    /// The adapter at power-on; without firmware in the text mode that firmware would leave.
    pub fn new(without_firmware: bool) -> Adapter {
        let mut adapter = Adapter {
            misc: 0,
            feature: 0,
            enable: 0,
            sequencer_index: 0,
            sequencer: [0; 5],
            graphics_index: 0,
            graphics: [0; 9],
            crtc_index: 0,
            crtc: [0; CRTC_REGISTERS],
            attribute_index: 0,
            attribute: [0; 0x15],
            attribute_data_next: false,
            latches: [0; 4],
            dac: Dac::new(),
            dispi: Dispi::new(),
            without_firmware,
        };
        if without_firmware {
            adapter.set_text_mode();
        }
        adapter
    }

    /// The reset line. Video memory keeps what it has.
    pub fn reset(&mut self) {
        *self = Adapter::new(self.without_firmware);
    }

    /// Whether the adapter has something at a port.
    pub fn decodes(port: u16) -> bool {
        matches!(port, 0x3b4 | 0x3b5 | 0x3ba | 0x3c0..=0x3cf | 0x3d4 | 0x3d5 | 0x3da)
    }

    /// Whether the CRT controller and input status 1 are at this port now.
    fn is_selected(&self, port: u16) -> bool {
        let colour = self.misc & COLOUR_PORTS != 0;
        !matches!((port, colour), (0x3b0..=0x3bf, true) | (0x3d0..=0x3df, false))
    }

    /// IN from a port.
    pub fn read(&mut self, port: u16, now: VmTime) -> u8 {
        if !self.is_selected(port) {
            return 0xff;
        }
        match port {
            0x3c0 => self.attribute_index,
            0x3c1 => self.attribute.get(usize::from(self.attribute_index & 0x1f)).copied().unwrap_or(0),
            0x3c2 => SWITCH_SENSE,
            0x3c3 => self.enable,
            0x3c4 => self.sequencer_index,
            0x3c5 => self.sequencer.get(usize::from(self.sequencer_index)).copied().unwrap_or(0),
            0x3c6..=0x3c9 => self.dac.read(port),
            0x3ca => self.feature,
            0x3cc => self.misc,
            0x3ce => self.graphics_index,
            0x3cf => self.graphics.get(usize::from(self.graphics_index)).copied().unwrap_or(0),
            0x3b4 | 0x3d4 => self.crtc_index,
            0x3b5 | 0x3d5 => self.crtc.get(usize::from(self.crtc_index)).copied().unwrap_or(0),
            0x3ba | 0x3da => {
                self.attribute_data_next = false;
                self.input_status_1(now)
            }
            _ => 0xff,
        }
    }

    /// OUT to a port.
    pub fn write(&mut self, port: u16, value: u8) {
        if !self.is_selected(port) {
            return;
        }
        match port {
            0x3c0 => self.write_attribute(value),
            0x3c2 => self.misc = value,
            0x3c3 => self.enable = value,
            0x3c4 => self.sequencer_index = value & 0x07,
            0x3c5 => set(&mut self.sequencer, &SEQUENCER_BITS, self.sequencer_index, value),
            0x3c6..=0x3c9 => self.dac.write(port, value, self.dispi.has_8_bit_dac()),
            0x3ce => self.graphics_index = value & 0x0f,
            0x3cf => set(&mut self.graphics, &GRAPHICS_BITS, self.graphics_index, value),
            0x3b4 | 0x3d4 => self.crtc_index = value & 0x3f,
            0x3b5 | 0x3d5 => self.write_crtc(value),
            0x3ba | 0x3da => self.feature = value & 0x0b,
            _ => {}
        }
    }

    fn write_attribute(&mut self, value: u8) {
        let is_data = self.attribute_data_next;
        self.attribute_data_next = !is_data;
        if is_data {
            let index = usize::from(self.attribute_index & 0x1f);
            let bits =
                if index < 0x10 { 0x3f } else { ATTRIBUTE_BITS.get(index - 0x10).copied().unwrap_or(0) };
            if let Some(register) = self.attribute.get_mut(index) {
                *register = value & bits;
            }
        } else {
            self.attribute_index = value & 0x3f;
        }
    }

    fn write_crtc(&mut self, value: u8) {
        let protected = self.crtc_index <= 7 && self.crtc[0x11] & PROTECT != 0;
        let bits = match (protected, self.crtc_index) {
            (true, 7) => OVERFLOW_UNPROTECTED,
            (true, _) => 0,
            _ => 0xff,
        };
        if let Some(register) = self.crtc.get_mut(usize::from(self.crtc_index)) {
            *register = *register & !bits | value & bits;
        }
    }

    /// IN of 16 bits from the extensions' ports.
    pub fn read_dispi(&self, port: u16) -> u16 {
        match port {
            DISPI_INDEX => self.dispi.index(),
            _ => self.dispi.read(self.dispi.index()),
        }
    }

    /// OUT of 16 bits to the extensions' ports.
    pub fn write_dispi(&mut self, port: u16, value: u16, mem: &mut dyn PhysMemory) {
        match port {
            DISPI_INDEX => self.dispi.select(value),
            _ => self.write_extension(self.dispi.index(), value, mem),
        }
    }

    /// A read of `size` bytes from the block of registers in memory. What is nowhere reads as zeros.
    pub fn read_block(&mut self, offset: u64, size: u8, now: VmTime) -> u64 {
        let byte = |adapter: &mut Adapter, at: u64| match at {
            0..=0x3ff => edid::EDID.get(at as usize).copied().unwrap_or(0),
            0x400..=0x41f => adapter.read(0x3c0 + (at - 0x400) as u16, now),
            0x500..=0x515 => adapter.dispi.read((at - 0x500) as u16 / 2).to_le_bytes()[at as usize & 1],
            0x600..=0x603 => 8u32.to_le_bytes()[at as usize & 3],
            0x604..=0x607 => LITTLE_ENDIAN.to_le_bytes()[at as usize & 3],
            _ => 0,
        };
        (0..u64::from(size.min(8))).map(|i| u64::from(byte(self, offset + i)) << (8 * i)).sum()
    }

    /// A write to that block. A register of the extensions takes accesses of 16 bits only.
    pub fn write_block(&mut self, offset: u64, size: u8, value: u64, mem: &mut dyn PhysMemory) {
        match offset {
            0x400..=0x41f => {
                for (at, byte) in (offset..0x420).zip(value.to_le_bytes()).take(size.into()) {
                    self.write(0x3c0 + (at - 0x400) as u16, byte);
                }
            }
            0x500..=0x515 if size >= 2 => {
                self.write_extension((offset - 0x500) as u16 / 2, value as u16, mem);
            }
            _ => tracing::debug!(offset, value, "write to no register of the display adapter"),
        }
    }
}

/// Writes the bits that a register has; nothing where there is none.
fn set(registers: &mut [u8], bits: &[u8], index: u8, value: u8) {
    if let Some((register, bits)) = registers.iter_mut().zip(bits).nth(index.into()) {
        *register = value & bits;
    }
}

#[cfg(test)]
mod tests;
