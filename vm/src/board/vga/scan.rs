//! The CRT controller's way through video memory, line by line.
//!
//! Reference: PS/2 Video Subsystem, "CRT Controller Registers".

use super::Adapter;

/// A line of the picture.
#[derive(Clone, Copy, Debug)]
pub(super) struct ScanLine {
    /// Cell of the first character or group of pixels.
    pub cell: u32,
    /// Line within the row of characters.
    pub row_scan: u32,
    /// Dots by which the picture is moved to the left, as the attribute controller counts them.
    pub panning: u8,
}

/// All lines of the picture, from the top.
pub(super) struct ScanLines<'a> {
    adapter: &'a Adapter,
    next: ScanLine,
    /// The line is shown twice, and this is the first time.
    again: bool,
    line: u32,
    end: u32,
}

impl Adapter {
    /// The lines of the picture while the extensions are off.
    pub(super) fn scan_lines(&self) -> ScanLines<'_> {
        let cell = u32::from(self.crtc[0x0c]) << 8 | u32::from(self.crtc[0x0d]);
        let next = ScanLine {
            cell: cell + u32::from(self.crtc[0x08] >> 5 & 3),
            row_scan: u32::from(self.crtc[0x08] & 0x1f),
            panning: self.attribute[0x13],
        };
        ScanLines { adapter: self, next, again: self.is_double_scan(), line: 0, end: self.lines_shown() }
    }

    fn is_double_scan(&self) -> bool {
        self.crtc[0x09] & 0x80 != 0
    }

    /// Last line of a row of characters.
    pub(super) fn row_scan_last(&self) -> u32 {
        u32::from(self.crtc[0x09] & 0x1f)
    }

    /// The line after which the lower part of a split screen begins.
    fn line_compare(&self) -> u32 {
        let bit8 = u32::from(self.crtc[0x07] >> 4 & 1);
        let bit9 = u32::from(self.crtc[0x09] >> 6 & 1);
        u32::from(self.crtc[0x18]) | bit8 << 8 | bit9 << 9
    }

    /// Characters, or groups of eight dots, in a line.
    pub(super) fn columns(&self) -> u32 {
        u32::from(self.crtc[0x01]) + 1
    }
}

impl Iterator for ScanLines<'_> {
    type Item = ScanLine;

    fn next(&mut self) -> Option<ScanLine> {
        if self.line == self.end {
            return None;
        }
        let adapter = self.adapter;
        let shown = self.next;
        if self.again {
            self.again = false;
        } else {
            self.again = adapter.is_double_scan();
            if shown.row_scan == adapter.row_scan_last() {
                self.next.row_scan = 0;
                self.next.cell += 2 * u32::from(adapter.crtc[0x13]);
            } else {
                self.next.row_scan = (shown.row_scan + 1) & 0x1f;
            }
        }
        if self.line == adapter.line_compare() {
            // Attribute mode: the lower part is not panned.
            let panning = match (adapter.attribute[0x10] & 0x20 != 0, adapter.dots()) {
                (false, _) => shown.panning,
                (true, 9) => 8,
                (true, _) => 0,
            };
            self.next = ScanLine { cell: 0, row_scan: 0, panning };
            self.again = adapter.is_double_scan();
        }
        self.line += 1;
        Some(shown)
    }
}
