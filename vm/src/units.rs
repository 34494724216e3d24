//! Newtypes for quantities that must not be mixed.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Virtual nanoseconds that one CPU step takes. Fixed: it is part of what a recording means.
pub const NS_PER_STEP: u64 = 8;

/// A position: steps of the CPU since power-on. A step is an instruction that retires or faults, one iteration of a
/// REP instruction, or the delivery of a hardware interrupt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Icount(pub u64);

/// Virtual time in nanoseconds since power-on: [`NS_PER_STEP`] per step plus what was skipped while halted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VmTime(pub u64);

/// A guest-physical address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PhysAddr(pub u64);

/// A linear (virtual, after segmentation) address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LinAddr(pub u64);

/// An interrupt or exception vector, an index into the IDT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Vector(pub u8);

impl fmt::Display for Icount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for VmTime {
    /// Seconds with nine decimals.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09} s", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}

impl fmt::Display for PhysAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Display for LinAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl VmTime {
    /// This time plus `ns` nanoseconds, saturating.
    pub fn plus_ns(self, ns: u64) -> VmTime {
        VmTime(self.0.saturating_add(ns))
    }
}
