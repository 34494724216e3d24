//! The window from 0xa0000 to 0xbffff: sequencer and graphics controller between the CPU and video memory.
//!
//! Reference: PS/2 Video Subsystem, "Graphics Controller Registers", "Memory Operations".

use super::Adapter;
use crate::memory::{PhysMemory, Region};

/// First address of the window.
pub const WINDOW: u64 = 0xa_0000;
/// Bytes of the window.
pub const WINDOW_BYTES: u64 = 0x2_0000;

/// Sequencer, memory mode: the CPU's address chooses the plane by its two lowest bits.
const CHAIN_4: u8 = 0x08;
/// Sequencer, memory mode: it does not choose by its lowest bit.
const NO_ODD_EVEN: u8 = 0x04;
/// Graphics controller, mode: the same for reads, and by its set bit.
const ODD_EVEN: u8 = 0x10;
/// Graphics controller, mode: reads compare colours.
const READ_COMPARE: u8 = 0x08;
/// Cells of a VGA without extensions.
const CELLS: u64 = 0x1_0000;

/// Bits 0 to 3 as bytes of all zeros or all ones.
fn spread(bits: u8) -> u32 {
    (0..4).map(|plane| (u32::from(bits >> plane & 1) * 0xff) << (8 * plane)).sum()
}

/// A byte in all planes.
fn repeat(byte: u8) -> u32 {
    u32::from(byte) * 0x0101_0101
}

impl Adapter {
    /// Address within what the CPU can see of video memory. Bit 1 of misc output, which would shut the window, is not
    /// looked at: there is firmware that never sets it, and QEMU's adapter does not look either.
    fn decode(&self, offset: u64) -> Option<u64> {
        match self.graphics[6] >> 2 & 3 {
            0 => Some(offset),
            1 => (offset < 0x1_0000).then_some(offset + self.dispi.bank_offset()),
            2 => offset.checked_sub(0x1_0000).filter(|at| *at < 0x8000),
            _ => offset.checked_sub(0x1_8000),
        }
    }

    /// The extensions' banks reach all of memory, a VGA's addresses four planes of 64 KiB.
    fn cell(&self, at: u64) -> u64 {
        if self.dispi.is_on() { at } else { at % CELLS }
    }

    fn load(cell: u64, mem: &dyn PhysMemory) -> u32 {
        let mut bytes = [0; 4];
        mem.read_region(Region::Video, 4 * cell, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    /// Nothing is done to a byte on its way from the CPU to memory, and all planes are enabled.
    fn is_straight(&self) -> bool {
        let [_, enable, _, operation, _, mode, _, _, bits] = self.graphics;
        enable == 0 && operation == 0 && mode & 3 == 0 && bits == 0xff && self.sequencer[2] == 0x0f
    }

    /// A read of `size` bytes at an offset of the window.
    pub fn window_read(&mut self, offset: u64, size: u8, mem: &dyn PhysMemory) -> u64 {
        let size = u64::from(size.min(8));
        if self.sequencer[4] & CHAIN_4 != 0
            && self.graphics[5] & READ_COMPARE == 0
            && let Some(at) = self.decode(offset)
            && self.decode(offset + size - 1).is_some()
        {
            // As it lies there; the latches take the cell of the last byte.
            let mut bytes = [0; 8];
            mem.read_region(Region::Video, at, &mut bytes[..size as usize]);
            self.latches = Adapter::load((at + size - 1) / 4, mem).to_le_bytes();
            return u64::from_le_bytes(bytes);
        }
        (0..size).map(|i| u64::from(self.read_byte(offset + i, mem)) << (8 * i)).sum()
    }

    /// What the CPU would read at an offset of the window. The latches stay as they are.
    pub fn look(&self, offset: u64, mem: &dyn PhysMemory) -> u8 {
        self.cell_and_byte(offset, mem).map_or(0xff, |(_, byte)| byte)
    }

    fn read_byte(&mut self, offset: u64, mem: &dyn PhysMemory) -> u8 {
        let Some((cell, byte)) = self.cell_and_byte(offset, mem) else { return 0xff };
        self.latches = cell.to_le_bytes();
        byte
    }

    /// The number of the cell that a read at an offset of the window is from, and the plane.
    fn read_place(&self, offset: u64) -> Option<(u64, u8)> {
        let at = self.decode(offset)?;
        let select = self.graphics[4];
        let (cell, plane) = if self.sequencer[4] & CHAIN_4 != 0 {
            (at / 4, at as u8 & 3)
        } else if self.graphics[5] & ODD_EVEN != 0 {
            (at / 2, select & 2 | at as u8 & 1)
        } else {
            (at, select)
        };
        Some((self.cell(cell), plane & 3))
    }

    /// The offset in video memory of the byte that a read at an offset of the window gives; `None` outside, and while reads
    /// compare colours.
    pub fn stored_at(&self, offset: u64) -> Option<u64> {
        let (cell, plane) = self.read_place(offset).filter(|_| self.graphics[5] & READ_COMPARE == 0)?;
        Some(4 * cell + u64::from(plane))
    }

    /// The cell of memory at an offset of the window, and what of it the CPU gets.
    fn cell_and_byte(&self, offset: u64, mem: &dyn PhysMemory) -> Option<(u32, u8)> {
        let (cell, plane) = self.read_place(offset)?;
        let cell = Adapter::load(cell, mem);
        if self.graphics[5] & READ_COMPARE == 0 {
            return Some((cell, cell.to_le_bytes()[usize::from(plane)]));
        }
        let different = (cell ^ spread(self.graphics[2])) & spread(self.graphics[7]);
        let [a, b, c, d] = different.to_le_bytes();
        Some((cell, !(a | b | c | d)))
    }

    /// A write of `size` bytes at an offset of the window.
    pub fn window_write(&mut self, offset: u64, size: u8, value: u64, mem: &mut dyn PhysMemory) {
        let bytes = &value.to_le_bytes()[..usize::from(size.min(8))];
        if self.sequencer[4] & CHAIN_4 != 0
            && self.is_straight()
            && let Some(at) = self.decode(offset)
            && self.decode(offset + bytes.len() as u64 - 1).is_some()
        {
            return mem.write_region(Region::Video, at, bytes);
        }
        for (i, byte) in (0..).zip(bytes) {
            self.write_byte(offset + i, *byte, mem);
        }
    }

    fn write_byte(&mut self, offset: u64, value: u8, mem: &mut dyn PhysMemory) {
        let Some(at) = self.decode(offset) else { return };
        let (cell, planes) = if self.sequencer[4] & CHAIN_4 != 0 {
            (at / 4, 1 << (at & 3))
        } else if self.sequencer[4] & NO_ODD_EVEN == 0 {
            (at / 2, 0b0101 << (at & 1))
        } else {
            (at, 0x0f)
        };
        let cell = self.cell(cell);
        let planes = spread(planes & self.sequencer[2]);
        if planes == 0 {
            return;
        }
        let data = self.written(value);
        let data = if planes == u32::MAX { data } else { data & planes | Adapter::load(cell, mem) & !planes };
        // Who watches the plane beside it is not told.
        let (first, end) = (planes.trailing_zeros() / 8, 4 - planes.leading_zeros() / 8);
        let bytes = &data.to_le_bytes()[first as usize..end as usize];
        mem.write_region(Region::Video, 4 * cell + u64::from(first), bytes);
    }

    /// What the graphics controller makes of a byte that the CPU writes, for all planes.
    fn written(&self, value: u8) -> u32 {
        let [set, enable, _, operation, _, mode, _, _, bits] = self.graphics;
        let latches = u32::from_le_bytes(self.latches);
        let rotated = value.rotate_right(u32::from(operation & 7));
        let mut bits = repeat(bits);
        let data = match mode & 3 {
            0 => {
                let enable = spread(enable);
                repeat(rotated) & !enable | spread(set) & enable
            }
            1 => return latches,
            2 => spread(value),
            _ => {
                bits &= repeat(rotated);
                spread(set)
            }
        };
        let data = match operation >> 3 & 3 {
            0 => data,
            1 => data & latches,
            2 => data | latches,
            _ => data ^ latches,
        };
        data & bits | latches & !bits
    }
}
