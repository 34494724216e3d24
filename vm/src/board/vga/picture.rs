//! What is on the screen: a function of registers, video memory and time, without any effect on them.
//!
//! Reference: PS/2 Video Subsystem, "Modes of Operation", "Attribute Controller Registers".

use super::codepage::code_page_437;
use super::scan::ScanLine;
use super::{Adapter, PALETTE_ADDRESS_SOURCE};
use crate::units::VmTime;

/// The screen as a picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Pixels of a line.
    pub width: u32,
    /// Lines.
    pub height: u32,
    /// Red, green and blue of each pixel, line by line from the top.
    pub rgb: Vec<u8>,
}

/// Cells that a VGA's addresses reach.
const CELL_MASK: u32 = 0xffff;
/// Pictures for which the cursor is on and then off; characters take twice as long.
const CURSOR_BLINK: u64 = 8;

/// Video memory by cells.
struct Cells<'a>(&'a [u8]);

impl Cells<'_> {
    /// The bytes of the four planes, of which the lowest 64 KiB are seen.
    fn at(&self, cell: u32) -> [u8; 4] {
        self.linear(4 * u64::from(cell & CELL_MASK))
    }

    fn linear<const N: usize>(&self, at: u64) -> [u8; N] {
        let bytes = usize::try_from(at).ok().and_then(|at| self.0.get(at..)?.first_chunk());
        bytes.copied().unwrap_or([0; N])
    }
}

/// What decides the dots of a text line.
struct TextStyle {
    dots: u32,
    /// Characters that blink are shown, and the cursor is.
    blink_on: bool,
    cursor_on: bool,
    /// First cell of each of the two fonts.
    fonts: [u32; 2],
}

impl Adapter {
    /// Whether nothing is shown: the palette is the CPU's, or the screen is off.
    fn is_blank(&self) -> bool {
        self.attribute_index & PALETTE_ADDRESS_SOURCE == 0 || self.sequencer[1] & 0x20 != 0
    }

    /// Whether the screen shows characters.
    fn is_text(&self) -> bool {
        !self.dispi.is_on() && self.graphics[6] & 0x01 == 0
    }

    /// The screen. `memory` is all of video memory.
    pub fn picture(&self, memory: &[u8], now: VmTime) -> Picture {
        let memory = Cells(memory);
        let (width, height) = self.size();
        let mut rgb = Vec::with_capacity(3 * width as usize * height as usize);
        if self.is_blank() {
            rgb.resize(rgb.capacity(), 0);
        } else if self.dispi.is_on() {
            self.draw_extended(&memory, &mut rgb);
        } else if self.is_text() {
            self.draw_text(&memory, now, &mut rgb);
        } else {
            self.draw_graphics(&memory, &mut rgb);
        }
        rgb.resize(3 * width as usize * height as usize, 0);
        Picture { width, height, rgb }
    }

    fn size(&self) -> (u32, u32) {
        if self.dispi.is_on() {
            return (self.dispi.width.into(), self.dispi.height.into());
        }
        let dots = if self.is_text() { self.dots() } else { 8 };
        ((self.columns() * dots) << u8::from(self.is_half_clock()), self.lines_shown())
    }

    /// The screen's text, line by line without blanks at the end; `None` while it shows graphics.
    pub fn text(&self, memory: &[u8]) -> Option<Vec<String>> {
        if !self.is_text() {
            return None;
        }
        if self.is_blank() {
            return Some(Vec::new());
        }
        let memory = Cells(memory);
        let code_page = code_page_437();
        let mut rows: Vec<u32> = Vec::new();
        let mut before = None;
        for line in self.scan_lines() {
            // Lines that are shown twice begin a row once.
            let place = (line.cell, line.row_scan);
            if before.is_none() || (line.row_scan == 0 && before != Some(place)) {
                rows.push(line.cell);
            }
            before = Some(place);
        }
        let row = |start: u32| {
            let char = |column| code_page[usize::from(memory.at(start + column)[0])];
            let row: String = (0..self.columns()).map(char).collect();
            row.trim_end().to_owned()
        };
        Some(rows.into_iter().map(row).collect())
    }

    /// The sixteen colours of text and planes, through the attribute controller's palette.
    fn sixteen_colours(&self) -> [[u8; 3]; 16] {
        let select = self.attribute[0x14];
        let index = |palette: u8| {
            if self.attribute[0x10] & 0x80 != 0 {
                palette & 0x0f | (select & 0x0f) << 4
            } else {
                palette & 0x3f | (select & 0x0c) << 4
            }
        };
        std::array::from_fn(|i| self.colour(index(self.attribute[i])))
    }

    fn colour(&self, index: u8) -> [u8; 3] {
        self.dac.colour(index, self.dispi.has_8_bit_dac())
    }

    fn draw_text(&self, memory: &Cells, now: VmTime, rgb: &mut Vec<u8>) {
        let colours = self.sixteen_colours();
        let pictures = self.picture_number(now);
        let map = self.sequencer[3];
        let font = |low: u8, high: u8| u32::from(map >> low & 3 | (map >> high & 1) << 2);
        // Sequencer, character map select: maps 4 to 7 lie between maps 0 to 3.
        let first_cell = |map: u32| (map & 3) * 0x4000 + (map >> 2) * 0x2000;
        let style = TextStyle {
            dots: self.dots(),
            blink_on: (pictures / (2 * CURSOR_BLINK)).is_multiple_of(2),
            cursor_on: (pictures / CURSOR_BLINK).is_multiple_of(2),
            fonts: [first_cell(font(0, 4)), first_cell(font(2, 5))],
        };
        for line in self.scan_lines() {
            let panning = u32::from(line.panning);
            // With nine dots 8 is no panning, and 0 is one dot.
            let skip = if style.dots == 9 { (panning + 1) % 9 } else { panning & 7 };
            let columns = (0..=self.columns())
                .flat_map(|column| self.text_dots(memory, &line, column, &style))
                // Whatever planes are enabled, as in QEMU.
                .map(|colour| colours[usize::from(colour & 0x0f)]);
            self.put(columns.skip(skip as usize).take((self.columns() * style.dots) as usize), rgb);
        }
    }

    /// The colours of a line of a character.
    fn text_dots(
        &self,
        memory: &Cells,
        line: &ScanLine,
        column: u32,
        style: &TextStyle,
    ) -> impl Iterator<Item = u8> + use<> {
        let cell = line.cell + column;
        let [char, attribute, ..] = memory.at(cell);
        let mode = self.attribute[0x10];
        let font = style.fonts[usize::from(attribute >> 3 & 1)];
        let mut shape = u32::from(memory.at(font + 32 * u32::from(char) + line.row_scan)[2]) << 1;
        // Line graphics go on into the ninth dot.
        if mode & 0x04 != 0 && (0xc0..0xe0).contains(&char) {
            shape |= shape >> 1 & 1;
        }
        // Monochrome: blue is underlined.
        if mode & 0x02 != 0 && attribute & 0x77 == 1 && line.row_scan == u32::from(self.crtc[0x14] & 0x1f) {
            shape = 0x1ff;
        }
        let (mut foreground, mut background) = (attribute & 0x0f, attribute >> 4);
        if mode & 0x08 != 0 {
            background &= 0x07;
            if attribute & 0x80 != 0 && !style.blink_on {
                foreground = background;
            }
        }
        if style.cursor_on && self.is_cursor(cell, line.row_scan) {
            shape = 0x1ff;
            foreground = attribute & 0x0f;
        }
        (0..style.dots).map(move |dot| if shape >> (8 - dot) & 1 != 0 { foreground } else { background })
    }

    fn is_cursor(&self, cell: u32, row_scan: u32) -> bool {
        let place = u32::from(self.crtc[0x0e]) << 8 | u32::from(self.crtc[0x0f]);
        let (start, end) = (self.crtc[0x0a], self.crtc[0x0b]);
        let lines = u32::from(start & 0x1f)..=u32::from(end & 0x1f);
        start & 0x20 == 0 && cell & CELL_MASK == place && lines.contains(&row_scan)
    }

    fn draw_graphics(&self, memory: &Cells, rgb: &mut Vec<u8>) {
        let sixteen = self.sixteen_colours();
        let all: [[u8; 3]; 256] = std::array::from_fn(|i| self.colour(i as u8));
        let enabled = self.attribute[0x12] & 0x0f;
        let shift = self.graphics[5] >> 5 & 3;
        let width = self.columns() * 8;
        for line in self.scan_lines() {
            let panning = u32::from(line.panning & 7) as usize;
            let cells = (0..=self.columns()).map(|column| memory.at(self.row_address(&line, column)));
            if shift & 2 != 0 {
                // A byte is a pixel of two dots.
                let dots = cells.flatten().flat_map(|pixel| [all[usize::from(pixel)]; 2]);
                self.put(dots.skip(panning).take(width as usize), rgb);
            } else {
                let pixels = if shift == 0 { planar_pixels } else { packed_pixels };
                let dots = cells.flat_map(pixels).map(|pixel| sixteen[usize::from(pixel & enabled)]);
                self.put(dots.skip(panning).take(width as usize), rgb);
            }
        }
    }

    /// The cell of a column; the two lowest bits of the line may take the places of address bits 13 and 14.
    fn row_address(&self, line: &ScanLine, column: u32) -> u32 {
        let mut cell = line.cell + column;
        // With its addresses doubled, as for odd and even planes, the CRT controller's bit 12 is the address's 13.
        let doubled = u8::from(self.crtc[0x17] & 0x40 == 0);
        for (bit, select) in [(0, 0x01), (1, 0x02)] {
            if self.crtc[0x17] & select == 0 {
                let at = 13 + bit - doubled;
                cell = cell & !(1 << at) | (line.row_scan >> bit & 1) << at;
            }
        }
        cell
    }

    /// Puts a line's dots, each twice if the dot clock is halved.
    fn put(&self, dots: impl Iterator<Item = [u8; 3]>, rgb: &mut Vec<u8>) {
        let times = if self.is_half_clock() { 2 } else { 1 };
        for dot in dots {
            for _ in 0..times {
                rgb.extend(dot);
            }
        }
    }

    fn draw_extended(&self, memory: &Cells, rgb: &mut Vec<u8>) {
        let sixteen = self.sixteen_colours();
        let enabled = self.attribute[0x12] & 0x0f;
        let dispi = &self.dispi;
        let wide = |bits: u16, at: u8, width: u8| {
            let value = (bits >> at & ((1 << width) - 1)) << (8 - width);
            (value | value >> width) as u8
        };
        for y in 0..u64::from(dispi.height) {
            let row = dispi.start() + y * dispi.pitch();
            for x in 0..u64::from(dispi.width) {
                let colour = match dispi.bits {
                    4 => {
                        let pixels = planar_pixels(memory.linear(row + x / 8 * 4));
                        sixteen[usize::from(pixels[x as usize % 8] & enabled)]
                    }
                    8 => {
                        let [index] = memory.linear(row + x);
                        self.colour(index)
                    }
                    15 => {
                        let bits = u16::from_le_bytes(memory.linear(row + 2 * x));
                        [wide(bits, 10, 5), wide(bits, 5, 5), wide(bits, 0, 5)]
                    }
                    16 => {
                        let bits = u16::from_le_bytes(memory.linear(row + 2 * x));
                        [wide(bits, 11, 5), wide(bits, 5, 6), wide(bits, 0, 5)]
                    }
                    bits => {
                        let [blue, green, red] = memory.linear(row + u64::from(bits) / 8 * x);
                        [red, green, blue]
                    }
                };
                rgb.extend(colour);
            }
        }
    }
}

/// Eight pixels of one bit in each plane.
fn planar_pixels(cell: [u8; 4]) -> [u8; 8] {
    std::array::from_fn(|dot| {
        (0..4).map(|plane: u8| (cell[usize::from(plane)] >> (7 - dot) & 1) << plane).sum()
    })
}

/// Eight pixels of two bits in a plane and two in the one above the next: first planes 0 and 2, then 1 and 3.
fn packed_pixels(cell: [u8; 4]) -> [u8; 8] {
    std::array::from_fn(|dot| {
        let (plane, at) = (dot / 4, 6 - 2 * (dot % 4));
        cell[plane] >> at & 3 | (cell[plane + 2] >> at & 3) << 2
    })
}
