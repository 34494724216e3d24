//! The programmable interval timer: an 8254, clocked with 1.193182 MHz.
//!
//! | port | read | write |
//! |---|---|---|
//! | 0x40 to 0x42 | count or status of counter 0 to 2 | count |
//! | 0x43 | nothing | control word, counter latch, read-back |
//!
//! The output of counter 0 is IRQ 0, that of counter 1 goes nowhere (the refresh of memory is not made from it), gate
//! and output of counter 2 are in port 0x61. Sections cited are those of Intel's 8254 data sheet (231164).

use super::clock::Clock;
use super::pit_counter::Counter;
use crate::units::VmTime;
use serde::{Deserialize, Serialize};

/// The clock of all three counters: 14.31818 MHz / 12.
pub const PIT_CLOCK: Clock = Clock::new(1_193_182);

/// The timer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pit {
    counters: [Counter; 3],
}

impl Default for Pit {
    fn default() -> Pit {
        Pit::new()
    }
}

impl Pit {
    /// The timer at power-on, when no counter has a mode or a count ("Programming the 8254").
    pub fn new() -> Pit {
        Pit { counters: [Counter::new(true), Counter::new(true), Counter::new(false)] }
    }

    /// For kernels that are loaded without firmware: counter 0 makes 18.2 interrupts a second.
    pub fn set_up_like_firmware(&mut self, now: VmTime) {
        for (port, value) in [(0x43, 0x34), (0x40, 0), (0x40, 0)] {
            self.write(port, value, now);
        }
    }

    /// As at power-on, at `now`.
    pub fn reset(&mut self, now: VmTime) {
        *self = Pit::new();
        self.advance(now);
    }

    /// Reads port 0x40 to 0x43. The control register cannot be read ("Read/Write Operations Summary": the bus floats).
    pub fn read(&mut self, port: u16, now: VmTime) -> u8 {
        self.advance(now);
        self.counters.get_mut(usize::from(port & 3)).map_or(0xff, Counter::read)
    }

    /// Writes port 0x40 to 0x43.
    pub fn write(&mut self, port: u16, value: u8, now: VmTime) {
        self.advance(now);
        match self.counters.get_mut(usize::from(port & 3)) {
            Some(counter) => counter.write(value),
            None => self.write_control(value),
        }
    }

    fn write_control(&mut self, value: u8) {
        match self.counters.get_mut(usize::from(value >> 6)) {
            Some(counter) if value & 0x30 == 0 => counter.latch_count(),
            Some(counter) => counter.program(value),
            None => self.read_back(value),
        }
    }

    /// "Read-Back Command": the latch bits are active low.
    fn read_back(&mut self, value: u8) {
        for (index, counter) in self.counters.iter_mut().enumerate() {
            if value & (2 << index) == 0 {
                continue;
            }
            if value & 0x20 == 0 {
                counter.latch_count();
            }
            if value & 0x10 == 0 {
                counter.latch_status();
            }
        }
    }

    /// Sets the gate of counter 2 (those of 0 and 1 are tied high).
    pub fn set_gate2(&mut self, high: bool, now: VmTime) {
        self.advance(now);
        self.counters[2].set_gate(high);
    }

    /// Output of counter `index`, as of the last call with a time.
    pub fn out(&self, index: usize) -> bool {
        self.counters.get(index).is_some_and(Counter::out)
    }

    /// Counts up to and including `now`.
    pub fn advance(&mut self, now: VmTime) {
        let tick = PIT_CLOCK.ticks(now);
        for counter in &mut self.counters {
            counter.advance(tick);
        }
    }

    /// When the output of counter 0 changes next.
    pub fn next_event(&self) -> Option<VmTime> {
        PIT_CLOCK.time_of(self.counters[0].next_change()?)
    }
}

#[cfg(test)]
#[path = "pit_tests.rs"]
mod tests;
