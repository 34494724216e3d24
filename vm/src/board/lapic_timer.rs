//! The timer of the local APIC: a counter that a divided bus clock of 1 GHz counts down.
//!
//! Reference: Intel SDM volume 3A, 10.5.4 "APIC Timer". The count is not kept but computed from the time at which it
//! reaches zero. In deadline mode it is the time-stamp counter that a value is compared with.

use crate::units::VmTime;
use serde::{Deserialize, Serialize};

/// What makes it expire: bits 17 and 18 of its local vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// The count, once.
    OneShot,
    /// The count, again and again.
    Periodic,
    /// IA32_TSC_DEADLINE.
    Deadline,
}

impl Mode {
    /// From bits 17 and 18; what is reserved is taken for one shot.
    pub fn of(lvt: u32) -> Mode {
        match lvt >> 17 & 3 {
            1 => Mode::Periodic,
            2 => Mode::Deadline,
            _ => Mode::OneShot,
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
    /// IA32_TSC_DEADLINE; 0 while it is not armed.
    deadline: u64,
}

impl Timer {
    /// Stopped.
    pub fn new() -> Timer {
        Timer { mode: Mode::OneShot, initial: 0, divide: 0, expires: None, deadline: 0 }
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
        if self.mode == Mode::Deadline {
            return 0;
        }
        let left = self.expires.map_or(0, |at| at.0.saturating_sub(now.0).div_ceil(self.tick_ns()));
        left.min(u32::MAX.into()) as u32
    }

    /// Starts counting down; 0 stops. In deadline mode nothing happens.
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
        if self.mode != Mode::Deadline {
            self.start(left, now);
        }
    }

    /// Another mode. A change to or from deadline mode stops it (SDM 3A, 10.5.4.1).
    pub fn set_mode(&mut self, mode: Mode) {
        if mode != self.mode && (mode == Mode::Deadline || self.mode == Mode::Deadline) {
            (self.initial, self.expires, self.deadline) = (0, None, 0);
        }
        self.mode = mode;
    }

    /// IA32_TSC_DEADLINE.
    pub fn deadline(&self) -> u64 {
        self.deadline
    }

    /// Writes it: in another mode nothing happens, 0 stops. `tsc` is the time-stamp counter `now`, which counts nanoseconds; a
    /// deadline that has passed is met at once.
    pub fn set_deadline(&mut self, deadline: u64, tsc: u64, now: VmTime) {
        if self.mode == Mode::Deadline {
            self.deadline = deadline;
            self.expires = (deadline != 0).then(|| now.plus_ns(deadline.saturating_sub(tsc)));
        }
    }

    /// The time-stamp counter was written, and is `tsc` now.
    pub fn tsc_changed(&mut self, tsc: u64, now: VmTime) {
        self.set_deadline(self.deadline, tsc, now);
    }

    /// Whether it has expired, up to and including `now`. Periods that were missed count as one.
    pub fn expire(&mut self, now: VmTime) -> bool {
        let Some(at) = self.expires.filter(|at| *at <= now) else { return false };
        self.deadline = 0;
        let period = u64::from(self.initial) * self.tick_ns();
        self.expires = (self.mode == Mode::Periodic && period != 0).then(|| {
            let missed = (now.0 - at.0) / period;
            at.plus_ns(period.saturating_mul(missed.saturating_add(1)))
        });
        true
    }
}
