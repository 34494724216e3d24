//! High precision event timer: a 64-bit counter at 100 MHz and three comparators.
//!
//! | offset from 0xfed00000 | what |
//! |---|---|
//! | 0x000 | capabilities, period |
//! | 0x010, 0x020 | configuration, interrupt status |
//! | 0x0f0 | main counter |
//! | 0x100 + 0x20 n | configuration of timer n, its comparator (+8) |
//!
//! Reference: "IA-PC HPET Specification", revision 1.0a. Every timer can be periodic and has 64 bits; there is no FSB delivery.
//! With legacy replacement timers 0 and 1 have the interrupts of the 8254 and of the RTC. Without it, and for timer 2 always,
//! a timer has the input of the I/O APIC that its configuration names.
//!
//! The line of an edge-triggered timer rises at a match and stays up, as the 8259 wants a request to, until shortly before
//! the next one.

use crate::units::VmTime;
use serde::{Deserialize, Serialize};

/// Where it is.
pub const BASE: u64 = 0xfed0_0000;
/// Bytes of its window.
pub const WINDOW: u64 = 0x400;
/// Timers.
pub const TIMERS: usize = 3;

const TICK_NS: u64 = 10;
/// Intel; legacy replacement, 64 bits, three timers, revision 1.
pub const ID: u32 = 0x8086_a201;
/// And 10 000 000 fs a tick.
const CAPABILITIES: u64 = 10_000_000 << 32 | ID as u64;
/// For so many ticks before a match the line of an edge-triggered timer is low. A shorter period makes no edges.
const LOW_TICKS: u128 = 50;

const ENABLE: u64 = 1 << 0;
const LEGACY: u64 = 1 << 1;

const LEVEL: u64 = 1 << 1;
const INTERRUPT: u64 = 1 << 2;
const PERIODIC: u64 = 1 << 3;
const SET_VALUE: u64 = 1 << 6;
const BITS_32: u64 = 1 << 8;
const ROUTE: u64 = 0x1f << 9;
const WRITABLE: u64 = LEVEL | INTERRUPT | PERIODIC | SET_VALUE | BITS_32 | ROUTE;
/// Inputs of the I/O APIC that a timer may be wired to: the 8254's, and those that nothing else has.
const ROUTES: u64 = 1 << 2 | 0xff << 16;
/// Can be periodic, has 64 bits.
const TIMER_CAPABILITIES: u64 = ROUTES << 32 | 1 << 5 | 1 << 4;

/// One comparator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Timer {
    config: u64,
    comparator: u64,
    period: u64,
    /// Edge-triggered: it has matched since it was set.
    raised: bool,
}

impl Timer {
    fn is(&self, bits: u64) -> bool {
        self.config & bits == bits
    }

    fn mask(&self) -> u64 {
        if self.is(BITS_32) { u32::MAX.into() } else { u64::MAX }
    }

    /// Ticks to the next match: at least 1.
    fn distance(&self, counter: u64) -> u128 {
        match self.comparator.wrapping_sub(counter) & self.mask() {
            0 => u128::from(self.mask()) + 1,
            ticks => ticks.into(),
        }
    }

    /// The period, where the comparator moves on.
    fn step(&self) -> Option<u64> {
        Some(self.period & self.mask()).filter(|period| self.is(PERIODIC) && *period != 0)
    }

    /// Lets `elapsed` ticks pass from `counter` on. Returns whether it matched.
    fn count(&mut self, counter: u64, elapsed: u64) -> bool {
        let distance = self.distance(counter);
        let Some(past) = u128::from(elapsed).checked_sub(distance) else { return false };
        if let Some(period) = self.step() {
            let matches = past as u64 / period + 1;
            self.comparator = self.comparator.wrapping_add(matches.wrapping_mul(period)) & self.mask();
        }
        self.raised = self.is(INTERRUPT) && !self.is(LEVEL);
        true
    }

    /// Whether a match raises an edge at all.
    fn has_edges(&self) -> bool {
        self.step().is_none_or(|period| u128::from(period) > LOW_TICKS)
    }

    fn set_config(&mut self, value: u64) {
        // "If an unsupported value is written, the value read back will not match" (2.3.8).
        let allowed = ROUTES >> ((value & ROUTE) >> 9) & 1 != 0;
        let writable = if allowed { WRITABLE } else { WRITABLE & !ROUTE };
        self.config = self.config & !writable | value & writable;
        self.comparator &= self.mask();
        self.raised &= self.is(INTERRUPT) && !self.is(LEVEL);
    }

    /// "Timer n Comparator Register" (2.3.9.2): of a periodic timer it is the period, and with Tn_VAL_SET the value too.
    fn set_comparator(&mut self, put: impl Fn(u64) -> u64) {
        if !self.is(PERIODIC) || self.is(SET_VALUE) {
            self.comparator = put(self.comparator) & self.mask();
        }
        if self.is(PERIODIC) {
            self.period = put(self.period);
        }
        self.config &= !SET_VALUE;
    }
}

/// The timer block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hpet {
    config: u64,
    status: u64,
    counter: u64,
    /// Ticks of virtual time at which `counter` was so.
    tick: u64,
    timers: [Timer; TIMERS],
}

impl Hpet {
    /// After a reset at `now`: the counter is 0 and stands.
    pub fn new(now: VmTime) -> Hpet {
        let timer = Timer { config: 0, comparator: u64::MAX, period: 0, raised: false };
        Hpet {
            config: 0,
            status: 0,
            counter: 0,
            tick: now.0 / TICK_NS,
            timers: [timer.clone(), timer.clone(), timer],
        }
    }

    /// A load of `size` bytes.
    pub fn read(&mut self, offset: u64, size: u8, now: VmTime) -> u64 {
        self.advance(now);
        let register = match offset & !7 {
            0x000 => CAPABILITIES,
            0x010 => self.config,
            0x020 => self.status,
            0x0f0 => self.counter,
            at => match (self.timers.get(timer_of(at)), at & 0x18) {
                (Some(timer), 0x00) => timer.config | TIMER_CAPABILITIES,
                (Some(timer), 0x08) => timer.comparator,
                _ => 0,
            },
        };
        register >> (8 * (offset & 7)) & super::size_mask(size)
    }

    /// A store of `size` bytes.
    pub fn write(&mut self, offset: u64, size: u8, value: u64, now: VmTime) {
        self.advance(now);
        let shift = 8 * (offset & 7);
        let mask = super::size_mask(size) << shift;
        let put = |old: u64| old & !mask | value << shift & mask;
        match offset & !7 {
            0x010 => {
                self.config = put(self.config) & (ENABLE | LEGACY);
                if self.config & ENABLE == 0 {
                    self.timers.iter_mut().for_each(|timer| timer.raised = false);
                }
            }
            0x020 => self.status &= !put(0),
            0x0f0 => self.counter = put(self.counter),
            at => match (self.timers.get_mut(timer_of(at)), at & 0x18) {
                (Some(timer), 0x00) => {
                    timer.set_config(put(timer.config));
                    if !timer.is(LEVEL) {
                        self.status &= !(1 << timer_of(at));
                    }
                }
                (Some(timer), 0x08) => timer.set_comparator(put),
                _ => tracing::debug!(offset, size, value, "write of no HPET register"),
            },
        }
    }

    /// Does what happens up to and including `now`.
    pub fn advance(&mut self, now: VmTime) {
        let tick = now.0 / TICK_NS;
        let elapsed = tick.saturating_sub(self.tick);
        self.tick = tick.max(self.tick);
        if self.config & ENABLE == 0 || elapsed == 0 {
            return;
        }
        for (n, timer) in self.timers.iter_mut().enumerate() {
            if timer.count(self.counter, elapsed) && timer.is(LEVEL) {
                self.status |= 1 << n;
            }
        }
        self.counter = self.counter.wrapping_add(elapsed);
    }

    /// When a line next changes.
    pub fn next_event(&self) -> Option<VmTime> {
        if self.config & ENABLE == 0 {
            return None;
        }
        (0..TIMERS).filter_map(|n| self.next_change(n)).min()
    }

    fn next_change(&self, n: usize) -> Option<VmTime> {
        let timer = &self.timers[n];
        let distance = timer.distance(self.counter);
        let high = self.line(n);
        let ticks = match timer.is(LEVEL) {
            _ if !timer.is(INTERRUPT) => return None,
            true if high => return None,
            false if high => distance - LOW_TICKS,
            false if !timer.has_edges() => return None,
            _ => distance,
        };
        let ns = (u128::from(self.tick) + ticks) * u128::from(TICK_NS);
        u64::try_from(ns).ok().map(VmTime)
    }

    /// The line of timer `n`.
    fn line(&self, n: usize) -> bool {
        let timer = &self.timers[n];
        let asks = if timer.is(LEVEL) {
            self.status >> n & 1 != 0
        } else {
            timer.raised && timer.distance(self.counter) > LOW_TICKS
        };
        asks && timer.is(INTERRUPT) && self.config & ENABLE != 0
    }

    /// The lines that take the place of IRQ 0 and IRQ 8 while legacy replacement is on.
    pub fn legacy_irqs(&self) -> Option<[bool; 2]> {
        (self.config & LEGACY != 0).then(|| [self.line(0), self.line(1)])
    }

    /// The other lines, as inputs of the I/O APIC, a bit each.
    pub fn pins(&self) -> u32 {
        let first = if self.config & LEGACY != 0 { 2 } else { 0 };
        let wired = (first..TIMERS).filter(|n| self.line(*n));
        // Input 0, after a reset, is not wired.
        wired.fold(0, |pins, n| pins | 1 << ((self.timers[n].config & ROUTE) >> 9)) & ROUTES as u32
    }
}

/// The timer that an offset belongs to.
fn timer_of(offset: u64) -> usize {
    (offset.wrapping_sub(0x100) / 0x20) as usize
}

#[cfg(test)]
#[path = "hpet_tests.rs"]
mod tests;
