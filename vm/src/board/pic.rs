//! The interrupt controllers: two 8259A as a PC joins them.
//!
//! | port | read | write |
//! |---|---|---|
//! | 0x20 / 0xa0 | IRR, ISR or poll word | ICW1, OCW2, OCW3 |
//! | 0x21 / 0xa1 | IMR | OCW1, ICW2 to ICW4 |
//! | 0x4d0 / 0x4d1 | ELCR | ELCR: level (1) or edge (0) for each line |
//!
//! Sections cited are those of Intel's 8259A data sheet (231468) and of the PIIX3 data sheet (290550).
//!
//! Deliberate limits: the CPU is an x86, so the MCS-80 interrupt sequence (ICW4 µPM = 0) is not made and vectors
//! are always those of 8086 mode; the wiring is that of the board, so ICW3, SNGL and the buffered mode bits are taken
//! in sequence but do not move the slave away from IR2 (PIIX3: ICW3 has one legal value).

use crate::units::Vector;
use serde::{Deserialize, Serialize};

/// Input of the master to which the slave's INT is wired.
const CASCADE: u8 = 2;
/// Lines whose mode the ELCR can change: IRQ 0, 1, 2, 8 and 13 are always edge triggered (PIIX3, ELCR1 and ELCR2).
const ELCR_WRITABLE: [u8; 2] = [0xf8, 0xde];

/// Which byte a write to A0 = 1 is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Expect {
    #[default]
    Ocw1,
    Icw2,
    Icw3,
    Icw4,
}

/// One 8259A without a bus.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pic8259 {
    /// Levels of IR0 to IR7.
    lines: u8,
    /// Edge sense latches: inputs that have been low since they were last acknowledged, so that high is a request.
    edge_armed: u8,
    /// Inputs that the ELCR makes level triggered.
    elcr: u8,
    /// ICW1 LTIM: all inputs are level triggered.
    level_triggered: bool,
    in_service: u8,
    mask: u8,
    /// Level of lowest priority; the one after it is the highest.
    bottom: u8,
    vector_base: u8,
    expect: Expect,
    /// An initialisation sequence has been written to its end.
    initialised: bool,
    single: bool,
    needs_icw4: bool,
    icw3: u8,
    auto_eoi: bool,
    rotate_on_auto_eoi: bool,
    special_mask: bool,
    special_fully_nested: bool,
    read_in_service: bool,
    poll: bool,
}

impl Pic8259 {
    /// A chip before its first ICW1.
    pub fn new() -> Pic8259 {
        Pic8259 { edge_armed: 0xff, bottom: 7, ..Pic8259::default() }
    }

    /// Brings the inputs, a bit each, to their levels.
    fn set_lines(&mut self, levels: u8) {
        self.lines = levels;
        self.edge_armed |= !levels;
    }

    /// Sets input `level` (0 to 7) high or low.
    fn set_line(&mut self, level: u8, high: bool) {
        let bit = 1 << (level & 7);
        self.set_lines(if high { self.lines | bit } else { self.lines & !bit });
    }

    /// The interrupt request register. An input must stay high until it is acknowledged ("Edge and Level Triggered
    /// Modes"): a request whose line falls is gone.
    fn requests(&self) -> u8 {
        let level = if self.level_triggered { 0xff } else { self.elcr };
        self.lines & (self.edge_armed | level)
    }

    /// 0 for the level of highest priority, 7 for the lowest.
    fn rank(&self, level: u8) -> u8 {
        level.wrapping_sub(self.bottom).wrapping_sub(1) & 7
    }

    /// The set level of highest priority.
    fn highest(&self, levels: u8) -> Option<u8> {
        let top = self.bottom.wrapping_add(1) & 7;
        let rank = levels.rotate_right(top.into()).trailing_zeros() as u8;
        (levels != 0).then_some((top + rank) & 7)
    }

    /// The level that INT asks to be served now. `slaves`: inputs at which a slave sits ("Special Fully Nested Mode":
    /// a slave in service does not lock out further requests of its own). A chip accepts requests when it has been
    /// initialised ("Programming the 8259A": it must be brought to a starting point).
    fn pending(&self, slaves: u8) -> Option<u8> {
        if !self.initialised {
            return None;
        }
        let level = self.highest(self.requests() & !self.mask)?;
        let blocking = if self.special_mask { self.in_service & !self.mask } else { self.in_service };
        let Some(served) = self.highest(blocking) else { return Some(level) };
        let nested = self.special_fully_nested && slaves & (1 << level) != 0;
        let higher = self.rank(level) < self.rank(served) || (nested && level == served);
        higher.then_some(level)
    }

    /// The INTA sequence: the level now in service, or `None` for a request that has gone (the caller answers with
    /// level 7, "default IR7", and no ISR bit is set).
    fn acknowledge(&mut self, slaves: u8) -> Option<u8> {
        let level = self.pending(slaves)?;
        self.edge_armed &= !(1 << level);
        if !self.auto_eoi {
            self.in_service |= 1 << level;
        } else if self.rotate_on_auto_eoi {
            self.bottom = level;
        }
        Some(level)
    }

    fn vector(&self, level: Option<u8>) -> Vector {
        Vector(self.vector_base | level.unwrap_or(7))
    }

    /// Reads A0 = 0 (`odd` false) or A0 = 1.
    fn read(&mut self, odd: bool, slaves: u8) -> u8 {
        if std::mem::take(&mut self.poll) {
            // "Poll Command": the next read is the acknowledge.
            return self.acknowledge(slaves).map_or(0, |level| 0x80 | level);
        }
        match (odd, self.read_in_service) {
            (true, _) => self.mask,
            (false, true) => self.in_service,
            (false, false) => self.requests(),
        }
    }

    fn write(&mut self, odd: bool, value: u8) {
        match (odd, value & 0x18) {
            (true, _) => self.write_odd(value),
            (false, 0x00) => self.write_ocw2(value),
            (false, 0x08) => self.write_ocw3(value),
            (false, _) => self.write_icw1(value),
        }
    }

    /// "Initialization Command Words 1 and 2": what the sequence clears, a to f.
    fn write_icw1(&mut self, value: u8) {
        *self = Pic8259 {
            lines: self.lines,
            edge_armed: !self.lines,
            elcr: self.elcr,
            level_triggered: value & 0x08 != 0,
            vector_base: self.vector_base,
            expect: Expect::Icw2,
            single: value & 0x02 != 0,
            needs_icw4: value & 0x01 != 0,
            ..Pic8259::new()
        };
    }

    fn write_odd(&mut self, value: u8) {
        self.expect = match self.expect {
            Expect::Ocw1 => {
                self.mask = value;
                Expect::Ocw1
            }
            Expect::Icw2 => {
                self.vector_base = value & 0xf8;
                if !self.single { Expect::Icw3 } else { self.after_icw3() }
            }
            Expect::Icw3 => {
                self.icw3 = value;
                self.after_icw3()
            }
            Expect::Icw4 => {
                self.special_fully_nested = value & 0x10 != 0;
                self.auto_eoi = value & 0x02 != 0;
                self.initialised = true;
                Expect::Ocw1
            }
        };
    }

    fn after_icw3(&mut self) -> Expect {
        self.initialised = !self.needs_icw4;
        if self.needs_icw4 { Expect::Icw4 } else { Expect::Ocw1 }
    }

    /// "Operation Control Word 2": R, SL, EOI and a level.
    fn write_ocw2(&mut self, value: u8) {
        let level = value & 7;
        match value >> 5 {
            0b000 => self.rotate_on_auto_eoi = false,
            0b100 => self.rotate_on_auto_eoi = true,
            0b001 => {
                self.end_highest();
            }
            0b101 => {
                if let Some(ended) = self.end_highest() {
                    self.bottom = ended;
                }
            }
            0b011 => self.in_service &= !(1 << level),
            0b111 => {
                self.in_service &= !(1 << level);
                self.bottom = level;
            }
            0b110 => self.bottom = level,
            _ => {} // 0b010: no operation
        }
    }

    /// Non-specific EOI. In special mask mode it does not clear a level that is masked ("End of Interrupt").
    fn end_highest(&mut self) -> Option<u8> {
        let candidates = if self.special_mask { self.in_service & !self.mask } else { self.in_service };
        let level = self.highest(candidates)?;
        self.in_service &= !(1 << level);
        Some(level)
    }

    /// "Operation Control Word 3".
    fn write_ocw3(&mut self, value: u8) {
        if value & 0x40 != 0 {
            self.special_mask = value & 0x20 != 0;
        }
        if value & 0x02 != 0 {
            self.read_in_service = value & 0x01 != 0;
        }
        self.poll = value & 0x04 != 0;
    }

    /// The reset line of the PIIX3. Levels of inputs are not state of the chip.
    fn reset(&mut self) {
        *self = Pic8259 { lines: self.lines, edge_armed: !self.lines, ..Pic8259::new() };
    }
}

/// Master and slave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pic {
    master: Pic8259,
    slave: Pic8259,
}

impl Default for Pic {
    fn default() -> Pic {
        Pic::new()
    }
}

impl Pic {
    /// Both chips at power-on.
    pub fn new() -> Pic {
        Pic { master: Pic8259::new(), slave: Pic8259::new() }
    }

    /// For kernels that are loaded without firmware: vectors 0x08 and 0x70, PCI's IRQs 10 and 11 by level, and let
    /// through what firmware uses itself (IRQ 0, 1, 2, 6, 8, 12, 13 and 14).
    pub fn set_up_like_firmware(&mut self) {
        for (command, vectors, icw3, mask) in [(0x20, 0x08, 0x04, 0xb8), (0xa0, 0x70, 0x02, 0x8e)] {
            self.write(command, 0x11);
            for value in [vectors, icw3, 0x01, mask] {
                self.write(command + 1, value);
            }
        }
        self.write(0x4d1, 0x0c);
    }

    /// Brings the lines, a bit each, to their levels. IRQ 2 is the cascade and has no outside.
    pub fn set_irqs(&mut self, levels: u16) {
        let [master, slave] = levels.to_le_bytes();
        let cascade = 1 << CASCADE;
        self.master.set_lines(master & !cascade | self.master.lines & cascade);
        if self.slave.lines != slave {
            self.slave.set_lines(slave);
            self.cascade();
        }
    }

    /// Reads 0x20, 0x21, 0xa0, 0xa1, 0x4d0 or 0x4d1.
    pub fn read(&mut self, port: u16) -> u8 {
        match port {
            0x20 | 0x21 => self.master.read(port & 1 != 0, 1 << CASCADE),
            0xa0 | 0xa1 => {
                let polled = self.slave.poll;
                let value = self.slave.read(port & 1 != 0, 0);
                if polled {
                    self.cascade_pulse();
                }
                value
            }
            0x4d0 => self.master.elcr,
            0x4d1 => self.slave.elcr,
            _ => 0xff,
        }
    }

    /// A write to one of the ports of [`Pic::read`].
    pub fn write(&mut self, port: u16, value: u8) {
        match port {
            0x20 | 0x21 => self.master.write(port & 1 != 0, value),
            0xa0 | 0xa1 => self.slave.write(port & 1 != 0, value),
            0x4d0 => self.master.elcr = value & ELCR_WRITABLE[0],
            0x4d1 => self.slave.elcr = value & ELCR_WRITABLE[1],
            _ => {}
        }
        self.cascade();
    }

    /// The INTR line to the CPU.
    pub fn intr(&self) -> bool {
        self.master.pending(1 << CASCADE).is_some()
    }

    /// Interrupt acknowledge cycle. Without a request (it has gone again) the vector is that of level 7.
    pub fn acknowledge(&mut self) -> Vector {
        let level = self.master.acknowledge(1 << CASCADE);
        if level != Some(CASCADE) {
            return self.master.vector(level);
        }
        let slave_level = self.slave.acknowledge(0);
        self.cascade_pulse();
        self.slave.vector(slave_level)
    }

    /// The vector that [`Pic::acknowledge`] would give; `None` while INTR is low.
    pub fn peek_vector(&self) -> Option<Vector> {
        match self.master.pending(1 << CASCADE)? {
            CASCADE => Some(self.slave.vector(self.slave.pending(0))),
            level => Some(self.master.vector(Some(level))),
        }
    }

    /// The reset line.
    pub fn reset(&mut self) {
        self.master.reset();
        self.slave.reset();
        self.cascade();
    }

    /// Brings the slave's INT to the master.
    fn cascade(&mut self) {
        self.master.set_line(CASCADE, self.slave.pending(0).is_some());
    }

    /// The slave's INT falls during its INTA sequence, also when it has a further request: the master sees an edge.
    fn cascade_pulse(&mut self) {
        self.master.set_line(CASCADE, false);
        self.cascade();
    }
}

#[cfg(test)]
#[path = "pic_tests.rs"]
mod tests;
