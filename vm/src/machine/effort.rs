//! How much a run may do before it comes back to be asked whether to go on.
//!
//! A step takes some nanoseconds, unless its code is new, it misses the TLB, raises something or accesses a chip: then it takes a
//! hundred or ten thousand times as long. Those are counted here, in units of about a tenth of a microsecond.

use super::Core;

/// A block is translated.
pub(super) const TRANSLATION: u64 = 100;
/// An interrupt or an exception is delivered, or tried to.
pub(super) const DELIVERY: u64 = 15;
/// A chip is accessed, or a watched page.
pub(super) const ACCESS: u64 = 5;
/// A TLB miss.
pub(super) const MISS: u64 = 4;
/// A block before which something is decided.
pub(super) const DECISION: u64 = 2;
/// A condition is looked at.
pub(super) const CONDITION: u64 = 4;

/// What may be done.
pub(super) struct Effort {
    /// In each run.
    pub(super) allowed: u64,
    /// In the rest of the present one.
    left: u64,
}

impl Effort {
    pub(super) fn unbounded() -> Effort {
        Effort { allowed: u64::MAX, left: u64::MAX }
    }

    /// A run begins.
    pub(super) fn begin(&mut self) {
        self.left = self.allowed;
    }
}

impl Core {
    /// Something is done that costs so much.
    #[inline]
    pub(super) fn takes(&mut self, cost: u64) {
        self.effort.left = self.effort.left.saturating_sub(cost);
        if self.effort.left == 0 {
            self.leave_soon();
        }
    }

    /// Whether the run has done all that it may, and a step.
    pub(super) fn is_tired(&self) -> bool {
        self.effort.left == 0 && self.cpu.pos > self.run_start
    }
}
