//! What input status 1 says of the beam, from virtual time.
//!
//! Reference: PS/2 Video Subsystem, "Input Status Register 1" and "CRT Controller Registers".

use super::Adapter;
use crate::units::VmTime;

/// The beam is outside of the picture.
const DISPLAY_OFF: u8 = 0x01;
/// The beam is on its way back up.
const VERTICAL_RETRACE: u8 = 0x08;

/// 60 pictures a second: what the extensions' modes have, to which the VGA's timing registers mean nothing.
const EXTENDED: Beam = Beam {
    line_ps: 31_746_031,
    chars: 100,
    chars_shown: 80,
    lines: 525,
    lines_shown: 480,
    retrace: (490, 2),
};

/// How the beam runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Beam {
    /// Time for a line, in ps.
    line_ps: u64,
    /// Characters in a line, and those of them that are shown.
    chars: u64,
    chars_shown: u64,
    /// Lines in a picture, and those of them that are shown.
    lines: u64,
    lines_shown: u64,
    /// First line of the vertical retrace, and its length.
    retrace: (u64, u64),
}

impl Adapter {
    /// Lines that are shown, as "vertical display end" has them.
    pub(super) fn lines_shown(&self) -> u32 {
        self.vertical(0x12, 1, 6) + 1
    }

    /// A vertical register with its bits 8 and 9 from the overflow register.
    pub(super) fn vertical(&self, register: usize, bit8: u8, bit9: u8) -> u32 {
        let overflow = u32::from(self.crtc[0x07]);
        u32::from(self.crtc[register]) | (overflow >> bit8 & 1) << 8 | (overflow >> bit9 & 1) << 9
    }

    /// Dots of a character: 8 or 9.
    pub(super) fn dots(&self) -> u32 {
        if self.sequencer[1] & 0x01 != 0 { 8 } else { 9 }
    }

    /// The sequencer halves the dot clock: everything is twice as wide.
    pub(super) fn is_half_clock(&self) -> bool {
        self.sequencer[1] & 0x08 != 0
    }

    fn beam(&self) -> Beam {
        if self.dispi.is_on() {
            return EXTENDED;
        }
        // Clock select 2 and 3 are outside clocks, of which there are none.
        let clock_hz = if self.misc >> 2 & 3 == 1 { 28_322_000 } else { 25_175_000 };
        let chars = u64::from(self.crtc[0]) + 5;
        let dots = (chars * u64::from(self.dots())) << u8::from(self.is_half_clock());
        let start = u64::from(self.vertical(0x10, 2, 7));
        // The end is where the lowest four bits of the line count are equal.
        let length = (u64::from(self.crtc[0x11]).wrapping_sub(start)).wrapping_sub(1) % 16 + 1;
        Beam {
            line_ps: dots * 1_000_000_000_000 / clock_hz,
            chars,
            chars_shown: u64::from(self.crtc[1]) + 1,
            lines: u64::from(self.vertical(0x06, 0, 5)) + 2,
            lines_shown: u64::from(self.lines_shown()),
            retrace: (start, length),
        }
    }

    /// Where the beam is.
    pub(super) fn input_status_1(&self, now: VmTime) -> u8 {
        let beam = self.beam();
        let picture_ps = u128::from(beam.line_ps * beam.lines);
        let ps = (u128::from(now.0) * 1000 % picture_ps) as u64;
        let line = ps / beam.line_ps;
        let char = ps % beam.line_ps * beam.chars / beam.line_ps;
        let off = line >= beam.lines_shown || char >= beam.chars_shown;
        let (start, length) = beam.retrace;
        let retrace = (start..start + length).contains(&line);
        (if off { DISPLAY_OFF } else { 0 }) | (if retrace { VERTICAL_RETRACE } else { 0 })
    }

    /// Number of the picture since power-on, from which cursor and characters blink.
    pub(super) fn picture_number(&self, now: VmTime) -> u64 {
        let beam = self.beam();
        (u128::from(now.0) * 1000 / u128::from(beam.line_ps * beam.lines)) as u64
    }
}
