//! The timer of the local APIC: a counter that a divided bus clock of 1 GHz counts down, or a deadline for the time-stamp counter.
//!
//! Reference: Intel SDM volume 3A, 10.5.4 "APIC Timer". The count is not kept but computed from the time at which it
//! reaches zero.

use crate::units::VmTime;
use serde::{Deserialize, Serialize};

/// What happens when the count is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// It stays there.
    #[default]
    OneShot,
    /// It starts again.
    Periodic,
    /// There is no count: the time-stamp counter is compared.
    Deadline,
}

impl Mode {
    /// From the timer's local vector.
    pub fn of(lvt: u32) -> Mode {
        match lvt >> 17 & 3 {
            0 => Mode::OneShot,
            1 => Mode::Periodic,
            _ => Mode::Deadline,
        }
    }
}

/// The timer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timer {
    mode: Mode,
    initial: u32,
    /// Bits 0, 1 and 3.
    divide: u8,
    /// When it expires next.
    expires: Option<VmTime>,
}

impl Timer {
    pub fn new() -> Timer {
        Timer { mode: Mode::OneShot, initial: 0, divide: 0, expires: None }
    }

    /// Nanoseconds of a tick: the bus clock's, divided by 2 to 128, or by 1.
    fn tick_ns(&self) -> u64 {
        let code = self.divide & 3 | self.divide >> 1 & 4;
        1 << ((code + 1) & 7)
    }

    pub fn initial(&self) -> u32 {
        self.initial
    }

    pub fn divide_register(&self) -> u32 {
        self.divide.into()
    }

    pub fn expires(&self) -> Option<VmTime> {
        self.expires
    }

    /// What is left of the count.
    pub fn current(&self, now: VmTime) -> u32 {
        match self.expires {
            Some(at) if self.mode != Mode::Deadline => {
                at.0.saturating_sub(now.0).div_ceil(self.tick_ns()).min(u32::MAX.into()) as u32
            }
            _ => 0,
        }
    }

    /// Starts counting down; 0 stops.
    pub fn set_initial(&mut self, initial: u32, now: VmTime) {
        if self.mode == Mode::Deadline {
            return;
        }
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
        if self.mode != Mode::Deadline && self.expires.is_some() {
            self.start(left, now);
        }
    }

    /// Going to or from deadline mode disarms it.
    pub fn set_mode(&mut self, mode: Mode) {
        if (self.mode == Mode::Deadline) != (mode == Mode::Deadline) {
            self.expires = None;
            self.initial = 0;
        }
        self.mode = mode;
    }

    pub fn deadline(&self) -> u64 {
        match self.expires {
            Some(at) if self.mode == Mode::Deadline => at.0,
            _ => 0,
        }
    }

    /// Ignored in the other modes, as the manual says.
    pub fn set_deadline(&mut self, deadline: u64) {
        if self.mode == Mode::Deadline {
            self.expires = (deadline != 0).then_some(VmTime(deadline));
        }
    }

    /// Whether it has expired, up to and including `now`. Periods that were missed count as one.
    pub fn expire(&mut self, now: VmTime) -> bool {
        let Some(at) = self.expires.filter(|at| *at <= now) else { return false };
        let period = u64::from(self.initial) * self.tick_ns();
        self.expires = match self.mode {
            Mode::Periodic if period != 0 => {
                let missed = (now.0 - at.0) / period;
                Some(at.plus_ns(period.saturating_mul(missed.saturating_add(1))))
            }
            _ => None,
        };
        true
    }
}
