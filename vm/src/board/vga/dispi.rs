//! The extensions of Bochs (VBE DISPI): linear modes of up to 32 bits a pixel.
//!
//! Reference: QEMU, docs/specs/standard-vga; Bochs, VBE DISPI interface, version 5.

use super::Adapter;
use crate::config::VIDEO_BYTES;
use crate::memory::{PAGE_SIZE, PhysMemory, Region};
use serde::{Deserialize, Serialize};

const ID: u16 = 0;
const X_RESOLUTION: u16 = 1;
const Y_RESOLUTION: u16 = 2;
const BITS_PER_PIXEL: u16 = 3;
const ENABLE: u16 = 4;
const BANK: u16 = 5;
const VIRTUAL_WIDTH: u16 = 6;
const VIRTUAL_HEIGHT: u16 = 7;
const X_OFFSET: u16 = 8;
const Y_OFFSET: u16 = 9;
const MEMORY_64K: u16 = 10;

const ON: u16 = 0x01;
/// The resolution registers read as the largest values that there are.
const GET_CAPABILITIES: u16 = 0x02;
const EIGHT_BIT_DAC: u16 = 0x20;
const NO_CLEAR: u16 = 0x80;
const ENABLE_BITS: u16 = 0xe3;

const ID_FIRST: u16 = 0xb0c0;
const ID_LAST: u16 = 0xb0c5;
const X_MAX: u16 = 16_000;
const Y_MAX: u16 = 12_000;
const BITS_MAX: u16 = 32;
/// Pixels of a line come in eights.
const X_STEP: u16 = 8;

/// The registers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Dispi {
    index: u16,
    id: u16,
    pub(super) width: u16,
    pub(super) height: u16,
    pub(super) bits: u16,
    enable: u16,
    bank: u16,
    virtual_width: u16,
    x_offset: u16,
    y_offset: u16,
}

impl Dispi {
    pub(super) fn new() -> Dispi {
        Dispi {
            index: 0,
            id: ID_LAST,
            width: 0,
            height: 0,
            bits: 0,
            enable: 0,
            bank: 0,
            virtual_width: 0,
            x_offset: 0,
            y_offset: 0,
        }
    }

    /// Whether the extensions show the picture.
    pub(super) fn is_on(&self) -> bool {
        self.enable & ON != 0
    }

    pub(super) fn has_8_bit_dac(&self) -> bool {
        self.enable & EIGHT_BIT_DAC != 0
    }

    /// What the bank register adds to an address in the window.
    pub(super) fn bank_offset(&self) -> u64 {
        if self.is_on() { u64::from(self.bank) << 16 } else { 0 }
    }

    pub(super) fn index(&self) -> u16 {
        self.index
    }

    pub(super) fn select(&mut self, index: u16) {
        self.index = index;
    }

    /// Bytes of so many pixels in a line.
    fn bytes(&self, pixels: u16) -> u64 {
        match self.bits {
            4 => u64::from(pixels) / 2,
            15 => u64::from(pixels) * 2,
            bits => u64::from(pixels) * u64::from(bits) / 8,
        }
    }

    /// Bytes from one line to the next.
    pub(super) fn pitch(&self) -> u64 {
        self.bytes(self.virtual_width)
    }

    /// Where the first pixel is.
    pub(super) fn start(&self) -> u64 {
        u64::from(self.y_offset) * self.pitch() + self.bytes(self.x_offset)
    }

    /// Lines that memory has room for.
    fn virtual_height(&self) -> u16 {
        let lines = VIDEO_BYTES.checked_div(self.pitch()).unwrap_or(0);
        u16::try_from(lines).unwrap_or(u16::MAX)
    }

    pub(super) fn read(&self, register: u16) -> u16 {
        let capabilities = self.enable & GET_CAPABILITIES != 0;
        match register {
            ID => self.id,
            X_RESOLUTION if capabilities => X_MAX,
            Y_RESOLUTION if capabilities => Y_MAX,
            BITS_PER_PIXEL if capabilities => BITS_MAX,
            X_RESOLUTION => self.width,
            Y_RESOLUTION => self.height,
            BITS_PER_PIXEL => self.bits,
            ENABLE => self.enable,
            BANK => self.bank,
            VIRTUAL_WIDTH => self.virtual_width,
            VIRTUAL_HEIGHT if self.is_on() => self.virtual_height(),
            X_OFFSET => self.x_offset,
            Y_OFFSET => self.y_offset,
            MEMORY_64K => (VIDEO_BYTES >> 16) as u16,
            _ => 0,
        }
    }

    /// While the picture is on, the registers hold only what can be shown.
    fn make_possible(&mut self) {
        if !matches!(self.bits, 4 | 8 | 15 | 16 | 24 | 32) {
            self.bits = 8;
        }
        let whole = |pixels: u16, most: u16| (pixels & !(X_STEP - 1)).clamp(X_STEP, most);
        self.width = whole(self.width, X_MAX);
        self.virtual_width = whole(self.virtual_width.max(self.width), X_MAX);
        self.height = self.height.clamp(1, Y_MAX).min(self.virtual_height());
        // The picture lies within memory as a whole.
        self.x_offset = self.x_offset.min(self.virtual_width - self.width) & self.offset_mask();
        self.y_offset = self.y_offset.min(self.virtual_height() - self.height);
    }

    /// With planes, lines begin at whole cells.
    fn offset_mask(&self) -> u16 {
        if self.bits == 4 { !(X_STEP - 1) } else { u16::MAX }
    }
}

impl Adapter {
    /// Writes a register of the extensions.
    pub(super) fn write_extension(&mut self, register: u16, value: u16, mem: &mut dyn PhysMemory) {
        let dispi = &mut self.dispi;
        match register {
            ID if (ID_FIRST..=ID_LAST).contains(&value) => dispi.id = value,
            X_RESOLUTION => dispi.width = value,
            Y_RESOLUTION => dispi.height = value,
            BITS_PER_PIXEL => dispi.bits = value,
            ENABLE => return self.enable_extensions(value, mem),
            BANK => {
                // A bank is 64 KiB of addresses, which are a quarter of the cells with planes.
                let banks = (VIDEO_BYTES >> 16) as u16;
                dispi.bank = value & (if dispi.bits == 4 { banks / 4 } else { banks } - 1);
            }
            VIRTUAL_WIDTH => dispi.virtual_width = value,
            X_OFFSET => dispi.x_offset = value,
            Y_OFFSET => dispi.y_offset = value,
            _ => tracing::debug!(register, value, "write to no register of the VBE extensions"),
        }
        if self.dispi.is_on() && register != BANK && register != ID {
            self.dispi.make_possible();
            self.follow_extensions();
        }
    }

    fn enable_extensions(&mut self, value: u16, mem: &mut dyn PhysMemory) {
        let was_on = self.dispi.is_on();
        self.dispi.enable = value & ENABLE_BITS;
        if !self.dispi.is_on() {
            self.dispi.bank = 0;
            return;
        }
        if was_on {
            return;
        }
        let dispi = &mut self.dispi;
        (dispi.virtual_width, dispi.x_offset, dispi.y_offset, dispi.bank) = (dispi.width, 0, 0, 0);
        dispi.make_possible();
        if value & NO_CLEAR == 0 {
            clear(dispi.pitch() * u64::from(dispi.height), mem);
        }
        self.follow_extensions();
    }

    /// Sets the registers of the VGA that decide how the window works, and those from which programs see the mode.
    fn follow_extensions(&mut self) {
        let Dispi { width, height, bits, .. } = self.dispi;
        // Graphics, 64 KiB at 0xa0000.
        self.graphics[6] = self.graphics[6] & !0x0c | 0x05;
        let last = height - 1;
        self.crtc[0x17] |= 0x03;
        self.crtc[0x13] = (self.dispi.pitch() / 8) as u8;
        self.crtc[0x01] = (width / 8 - 1) as u8;
        self.crtc[0x12] = last as u8;
        self.crtc[0x07] = self.crtc[0x07] & !0x42 | (last >> 7 & 0x02) as u8 | (last >> 3 & 0x40) as u8;
        // No split screen, nothing twice.
        self.crtc[0x18] = 0xff;
        self.crtc[0x07] |= 0x10;
        self.crtc[0x09] = self.crtc[0x09] & !0x9f | 0x40;
        let shift = if bits == 4 {
            self.sequencer[1] &= !0x08;
            0
        } else {
            // Chain-4 with all planes.
            self.sequencer[4] |= 0x08;
            self.sequencer[2] |= 0x0f;
            0x40
        };
        self.graphics[5] = self.graphics[5] & !0x60 | shift;
    }
}

/// Zeros, without touching pages that have nothing else.
fn clear(bytes: u64, mem: &mut dyn PhysMemory) {
    let mut page = [0; PAGE_SIZE];
    for offset in (0..bytes.min(VIDEO_BYTES)).step_by(PAGE_SIZE) {
        let part = &mut page[..(bytes - offset).min(PAGE_SIZE as u64) as usize];
        mem.read_region(Region::Video, offset, part);
        if part.iter().any(|byte| *byte != 0) {
            part.fill(0);
            mem.write_region(Region::Video, offset, part);
        }
    }
}
