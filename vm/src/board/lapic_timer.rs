//! The timer of the local APIC: a counter that a divided bus clock of 1 GHz counts down.
//!
//! Reference: Intel SDM volume 3A, 10.5.4 "APIC Timer". The count is not kept but computed from the time at which it
//! reaches zero. There is no deadline mode, and CPUID does not announce it.

use crate::units::VmTime;
use serde::{Deserialize, Serialize};

/// The timer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timer {
    periodic: bool,
    initial: u32,
    /// Bits 0, 1 and 3.
    divide: u8,
    /// When it expires next.
    expires: Option<VmTime>,
}

impl Timer {
    /// Stopped.
    pub fn new() -> Timer {
        Timer { periodic: false, initial: 0, divide: 0, expires: None }
    }

    /// Nanoseconds of a tick: the bus clock's, divided by 2 to 128, or by 1.
    fn tick_ns(&self) -> u64 {
        let code = self.divide & 3 | self.divide >> 1 & 4;
        1 << ((code + 1) & 7)
    }

    /// The initial count.
    pub fn initial(&self) -> u32 {
        self.initial
    }

    /// The divide configuration register.
    pub fn divide_register(&self) -> u32 {
        self.divide.into()
    }

    /// When the count will be zero.
    pub fn expires(&self) -> Option<VmTime> {
        self.expires
    }

    /// What is left of the count.
    pub fn current(&self, now: VmTime) -> u32 {
        let left = self.expires.map_or(0, |at| at.0.saturating_sub(now.0).div_ceil(self.tick_ns()));
        left.min(u32::MAX.into()) as u32
    }

    /// Starts counting down; 0 stops.
    pub fn set_initial(&mut self, initial: u32, now: VmTime) {
        self.initial = initial;
        self.start(initial, now);
    }

    fn start(&mut self, count: u32, now: VmTime) {
        self.expires = (count != 0).then(|| now.plus_ns(u64::from(count) * self.tick_ns()));
    }

    /// Another divider: what is left of the count goes on with it.
    pub fn set_divide(&mut self, value: u32, now: VmTime) {
        let left = self.current(now);
        self.divide = value as u8 & 0b1011;
        self.start(left, now);
    }

    /// Whether it starts again at zero.
    pub fn set_periodic(&mut self, periodic: bool) {
        self.periodic = periodic;
    }

    /// Whether it has expired, up to and including `now`. Periods that were missed count as one.
    pub fn expire(&mut self, now: VmTime) -> bool {
        let Some(at) = self.expires.filter(|at| *at <= now) else { return false };
        let period = u64::from(self.initial) * self.tick_ns();
        self.expires = (self.periodic && period != 0).then(|| {
            let missed = (now.0 - at.0) / period;
            at.plus_ns(period.saturating_mul(missed.saturating_add(1)))
        });
        true
    }
}
