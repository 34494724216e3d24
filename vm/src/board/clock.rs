//! Exact conversion between virtual time and the ticks of a chip's own clock.

use crate::units::VmTime;

const NS_PER_S: u128 = 1_000_000_000;

/// A clock of a whole number of hertz whose tick 0 is power-on. Both directions round the same way, so nothing drifts:
/// tick `k` happens at the first nanosecond at which [`Clock::ticks`] is `k`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    hz: u32,
}

impl Clock {
    /// A clock of `hz` ticks a second (not 0, below 1 GHz).
    pub const fn new(hz: u32) -> Clock {
        assert!(hz > 0 && hz < 1_000_000_000);
        Clock { hz }
    }

    /// Ticks that have happened up to and including `time`.
    pub fn ticks(self, time: VmTime) -> u64 {
        // Below 1 GHz there are fewer ticks than nanoseconds: the quotient fits.
        (u128::from(time.0) * u128::from(self.hz) / NS_PER_S) as u64
    }

    /// When tick `tick` happens; `None` beyond the end of virtual time.
    pub fn time_of(self, tick: u64) -> Option<VmTime> {
        let ns = (u128::from(tick) * NS_PER_S).div_ceil(u128::from(self.hz));
        u64::try_from(ns).ok().map(VmTime)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_happens_at_the_first_nanosecond_that_counts_it() {
        for hz in [1, 32_768, 1_193_182, 999_999_999] {
            let clock = Clock::new(hz);
            for tick in [1, 2, 3, 1000, 1_193_182, 10_000_000_019] {
                let at = clock.time_of(tick).expect("in range");
                assert_eq!(clock.ticks(at), tick, "{hz} Hz");
                assert_eq!(clock.ticks(VmTime(at.0 - 1)), tick - 1, "{hz} Hz");
            }
        }
    }

    #[test]
    fn a_second_has_exactly_as_many_ticks_as_hertz_after_any_number_of_seconds() {
        let clock = Clock::new(1_193_182);
        assert_eq!(clock.ticks(VmTime(1_000_000_000)), 1_193_182);
        assert_eq!(clock.ticks(VmTime(1_000_000_000 * 86_400 * 365)), 1_193_182 * 86_400 * 365);
    }

    #[test]
    fn the_ends_of_the_range_are_safe() {
        assert_eq!(Clock::new(32_768).time_of(u64::MAX), None);
        assert!(Clock::new(999_999_999).ticks(VmTime(u64::MAX)) < u64::MAX);
    }
}
