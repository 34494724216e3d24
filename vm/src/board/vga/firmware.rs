//! What firmware would leave: text mode 3, for kernels that are loaded without it.
//!
//! Reference: PS/2 Video Subsystem, "BIOS modes"; the values are what a VGA BIOS sets.

use super::Adapter;
use crate::memory::{PhysMemory, Region};

const MISC: u8 = 0x67;
const SEQUENCER: [u8; 5] = [0x03, 0x00, 0x03, 0x00, 0x02];
const GRAPHICS: [u8; 9] = [0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0e, 0x0f, 0xff];
const CRTC: [u8; 0x19] = [
    0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0x00, 0x00, 0x00, 0x00, 0x9c,
    0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff,
];
const ATTRIBUTE: [u8; 0x15] = [
    0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x0c,
    0x00, 0x0f, 0x08, 0x00,
];
/// A blank in light grey on black.
const BLANK: [u8; 2] = [b' ', 0x07];
/// Bytes of a character's shape in a font, and in the slot that plane 2 has for it.
const SHAPE: usize = 16;
const SLOT: u64 = 32;
/// The first two characters of every VGA's font with 16 lines: a blank and a white face.
const FONT_START: [u8; 2 * SHAPE] = [
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, //
    0, 0, 0x7e, 0x81, 0xa5, 0x81, 0x81, 0xbd, 0x99, 0x81, 0x81, 0x7e, 0, 0, 0, 0,
];

impl Adapter {
    /// The registers of text mode 3.
    pub(super) fn set_text_mode(&mut self) {
        self.misc = MISC;
        self.enable = 1;
        self.sequencer = SEQUENCER;
        self.graphics = GRAPHICS;
        self.crtc = CRTC;
        self.attribute = ATTRIBUTE;
        self.attribute_index = super::PALETTE_ADDRESS_SOURCE;
        // The 64 colours of an EGA: two bits for each component, the higher one first.
        for index in 0..64u8 {
            let level = |high: u8, low: u8| 0x2a * (index >> high & 1) + 0x15 * (index >> low & 1);
            self.dac.set(index, [level(2, 5), level(1, 4), level(0, 3)]);
        }
    }

    /// What video memory holds in that mode: blanks, and the font of the VGA BIOS image if it has one.
    pub fn fill_text_memory(vga_bios: &[u8], mem: &mut dyn PhysMemory) {
        let font = vga_bios.windows(FONT_START.len()).position(|bytes| bytes == FONT_START);
        let font = font.and_then(|at| vga_bios.get(at..at + 256 * SHAPE)).unwrap_or_default();
        // Cells of a font's plane.
        let mut cells = vec![[BLANK[0], BLANK[1], 0, 0]; 256 * SLOT as usize];
        for (slot, shape) in cells.chunks_mut(SLOT as usize).zip(font.chunks(SHAPE)) {
            for (cell, line) in slot.iter_mut().zip(shape) {
                cell[2] = *line;
            }
        }
        mem.write_region(Region::Video, 0, cells.as_flattened());
    }
}
