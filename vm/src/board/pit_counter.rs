//! One counter of an 8254: six modes, evaluated lazily.
//!
//! [`Counter::clock`] is one CLK pulse as the data sheet's mode definitions describe it. Everything else only leaps over
//! pulses at which nothing but the count changes, so that the two cannot disagree about anything that is visible.

use serde::{Deserialize, Serialize};

/// RW bits of the control word.
const LOW_BYTE: u8 = 1;
const HIGH_BYTE: u8 = 2;
const BOTH_BYTES: u8 = 3;

/// One counter without a bus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    /// Number of the last CLK pulse seen.
    tick: u64,
    mode: u8,
    access: u8,
    bcd: bool,
    /// Initial count as written (the count register), complete.
    reload: u16,
    /// First byte of a two-byte count that is not complete.
    low_byte: Option<u8>,
    /// The count register holds a count since the last control word.
    has_count: bool,
    /// A count is loaded at the next CLK pulse.
    load_pending: bool,
    /// The counting element has been loaded and counts.
    counting: bool,
    /// The counting element, in binary also when it counts BCD; the full modulus when 0 was loaded.
    count: u32,
    /// Length in CLK pulses that was loaded last.
    period: u32,
    /// Modes 4 and 5: the strobe for the loaded count is still to come.
    strobe_armed: bool,
    /// "Null count" of the status byte: the count written is not yet in the counting element.
    null_count: bool,
    gate: bool,
    out: bool,
    latched_count: Option<u16>,
    latched_status: Option<u8>,
    /// The next byte read is the high one (two-byte access).
    read_high: bool,
}

impl Counter {
    /// A counter that has not been programmed. The data sheet leaves its state undefined: here OUT is high.
    pub fn new(gate: bool) -> Counter {
        Counter {
            tick: 0,
            mode: 3,
            access: BOTH_BYTES,
            bcd: false,
            reload: 0,
            low_byte: None,
            has_count: false,
            load_pending: false,
            counting: false,
            count: 0,
            period: 0,
            strobe_armed: false,
            null_count: true,
            gate,
            out: true,
            latched_count: None,
            latched_status: None,
            read_high: false,
        }
    }

    /// The OUT pin.
    pub fn out(&self) -> bool {
        self.out
    }

    /// A control word for this counter ("Control Word Format").
    pub fn program(&mut self, value: u8) {
        let mode = match (value >> 1) & 7 {
            6 => 2,
            7 => 3,
            mode => mode,
        };
        let (tick, gate) = (self.tick, self.gate);
        *self = Counter {
            tick,
            mode,
            access: (value >> 4) & 3,
            bcd: value & 1 != 0,
            out: mode != 0,
            ..Counter::new(gate)
        };
    }

    /// "Counter Latch Command": held until read; a second one before that is ignored.
    pub fn latch_count(&mut self) {
        if self.latched_count.is_none() {
            self.latched_count = Some(self.count_register());
        }
    }

    /// Latches the status byte ("Read-Back Command").
    pub fn latch_status(&mut self) {
        let status = u8::from(self.out) << 7
            | u8::from(self.null_count) << 6
            | self.access << 4
            | self.mode << 1
            | u8::from(self.bcd);
        self.latched_status.get_or_insert(status);
    }

    /// Reads the counter's port: latched status, then latched count, then the count as it is.
    pub fn read(&mut self) -> u8 {
        if let Some(status) = self.latched_status.take() {
            return status;
        }
        let [low, high] = self.latched_count.unwrap_or_else(|| self.count_register()).to_le_bytes();
        let is_high = match self.access {
            LOW_BYTE => false,
            HIGH_BYTE => true,
            _ => {
                self.read_high = !self.read_high;
                !self.read_high
            }
        };
        if is_high || self.access == LOW_BYTE {
            self.latched_count = None;
        }
        if is_high { high } else { low }
    }

    /// Writes the counter's port: a count, or a byte of one.
    pub fn write(&mut self, value: u8) {
        match (self.access, self.low_byte.take()) {
            (LOW_BYTE, _) => self.set_count(u16::from(value)),
            (HIGH_BYTE, _) => self.set_count(u16::from(value) << 8),
            (_, Some(low)) => self.set_count(u16::from_le_bytes([low, value])),
            (_, None) => {
                self.low_byte = Some(value);
                if self.mode == 0 {
                    // "Mode 0": the first byte stops counting and sets OUT low at once.
                    self.counting = false;
                    self.load_pending = false;
                    self.out = false;
                }
            }
        }
    }

    fn set_count(&mut self, count: u16) {
        self.reload = count;
        self.has_count = true;
        self.null_count = true;
        match self.mode {
            0 => {
                self.out = false;
                self.load_pending = true;
            }
            4 => self.load_pending = true,
            // A running cycle is finished first.
            2 | 3 if !self.counting => self.load_pending = true,
            // Modes 1 and 5 wait for the trigger.
            _ => {}
        }
    }

    /// Sets the GATE pin ("Gate Pin Operations Summary").
    pub fn set_gate(&mut self, high: bool) {
        let rising = high && !self.gate;
        self.gate = high;
        match self.mode {
            1 | 5 if rising && self.has_count => self.load_pending = true,
            2 | 3 if rising && self.counting => self.load_pending = true,
            2 | 3 if !high => self.out = true,
            _ => {}
        }
    }

    fn modulus(&self) -> u32 {
        if self.bcd { 10_000 } else { 0x1_0000 }
    }

    /// CLK pulses that the count register stands for; 0 is the modulus. Digits above 9 are undefined in BCD: they count
    /// what they weigh.
    fn reload_period(&self) -> u32 {
        let raw = u32::from(self.reload);
        let count = if self.bcd {
            let digits = (raw >> 12) * 1000 + (raw >> 8 & 15) * 100 + (raw >> 4 & 15) * 10 + (raw & 15);
            digits % 10_000
        } else {
            raw
        };
        if count == 0 { self.modulus() } else { count }
    }

    /// The counting element as a guest reads it.
    fn count_register(&self) -> u16 {
        let count = self.count % self.modulus();
        if !self.bcd {
            return count as u16;
        }
        [1000, 100, 10, 1].into_iter().fold(0, |bcd, weight| (bcd << 4) | (count / weight % 10) as u16)
    }

    /// Counts up to CLK pulse `tick`.
    pub fn advance(&mut self, tick: u64) {
        while self.tick < tick {
            let left = tick - self.tick;
            if self.skip_periods(left) {
                continue;
            }
            match self.clocks_to_action() {
                Some(clocks) if clocks <= left => {
                    self.leap(clocks - 1);
                    self.clock();
                }
                _ => self.leap(left),
            }
        }
    }

    /// CLK pulse at which OUT changes next, if nothing is written.
    pub fn next_change(&self) -> Option<u64> {
        let mut future = self.clone();
        // Loading, then at most one more action without a change of OUT, precede a change; a count of 1 never changes.
        for _ in 0..4 {
            let clocks = future.clocks_to_action()?;
            future.leap(clocks - 1);
            future.clock();
            if future.out != self.out {
                return Some(future.tick);
            }
        }
        None
    }

    /// Leaps over whole periods of modes 2 and 3, after which nothing has changed.
    fn skip_periods(&mut self, left: u64) -> bool {
        let steady = matches!(self.mode, 2 | 3)
            && self.is_running()
            && !self.load_pending
            && self.period > 1
            && self.period == self.reload_period()
            && !self.null_count;
        let periods = if steady { left / u64::from(self.period) } else { 0 };
        self.tick += periods * u64::from(self.period);
        periods > 0
    }

    /// Whether CLK pulses change the count.
    fn is_running(&self) -> bool {
        self.counting && (self.gate || matches!(self.mode, 1 | 5))
    }

    /// CLK pulses up to and including the next one that does more than count; `None`: none will.
    fn clocks_to_action(&self) -> Option<u64> {
        let strobing = matches!(self.mode, 4 | 5) && !self.out;
        if self.load_pending || strobing {
            return Some(1);
        }
        if !self.is_running() {
            return None;
        }
        let clocks = match self.mode {
            0 | 1 => (!self.out).then_some(self.count)?,
            4 | 5 => self.strobe_armed.then_some(self.count)?,
            _ if self.period == 1 => (self.null_count || self.reload_period() != 1).then_some(1)?,
            2 => self.count - 1,
            _ => self.clocks_left_in_half(),
        };
        Some(u64::from(clocks.max(1)))
    }

    /// "Mode 3": an odd count is high for one pulse more than it is low.
    fn clocks_left_in_half(&self) -> u32 {
        self.count / 2 + u32::from(self.out && self.period % 2 == 1)
    }

    /// `clocks` CLK pulses that do nothing but count.
    fn leap(&mut self, clocks: u64) {
        self.tick += clocks;
        if clocks == 0 || !self.is_running() {
            return;
        }
        let modulus = self.modulus();
        match self.mode {
            2 | 3 if self.period == 1 => {}
            2 => self.count -= clocks as u32,
            3 => self.count -= 2 * clocks as u32,
            _ => self.count = (self.count + modulus - (clocks % u64::from(modulus)) as u32) % modulus,
        }
    }

    /// One CLK pulse.
    fn clock(&mut self) {
        self.tick += 1;
        if matches!(self.mode, 4 | 5) {
            self.out = true;
        }
        if self.load_pending {
            return self.load();
        }
        if !self.is_running() {
            return;
        }
        match self.mode {
            2 if self.count == 1 => self.load(),
            3 if self.clocks_left_in_half() <= 1 => self.end_half(),
            3 => self.count -= 2,
            _ => self.decrement(),
        }
    }

    fn decrement(&mut self) {
        self.count = self.count.checked_sub(1).unwrap_or(self.modulus() - 1);
        match (self.mode, self.count) {
            (0 | 1, 0) => self.out = true,
            (2, 1) => self.out = false,
            (4 | 5, 0) if self.strobe_armed => {
                self.out = false;
                self.strobe_armed = false;
            }
            _ => {}
        }
    }

    /// The count register goes to the counting element.
    fn load(&mut self) {
        self.load_pending = false;
        self.counting = true;
        self.null_count = false;
        self.period = self.reload_period();
        self.count = if self.mode == 3 { self.period & !1 } else { self.period };
        match self.mode {
            0 => {}
            1 => self.out = false,
            // A count of 1 is illegal in modes 2 and 3; OUT stays high.
            2 | 3 => self.out = true,
            _ => self.strobe_armed = true,
        }
    }

    fn end_half(&mut self) {
        let out = self.out;
        self.load();
        self.out = !out || self.period == 1;
    }
}

#[cfg(test)]
impl Counter {
    /// What [`Counter::advance`] must be equal to.
    pub(super) fn advance_by_single_clocks(&mut self, tick: u64) {
        while self.tick < tick {
            self.clock();
        }
    }
}
