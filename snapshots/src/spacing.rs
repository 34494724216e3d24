//! How far checkpoints of a recording are apart.
//!
//! A checkpoint is there so that going to a place behind it takes little time, and that is what it is measured by: one is made
//! whenever what has run since the last one took 75 ms of processor time, however many steps those were, and after 75 million
//! steps at the latest. Where a guest changes much memory, so that a checkpoint takes more than a thirteenth of that, the next one
//! comes later, after 95 ms at most: what a recording costs and how its file grows stay in proportion to what the machine does.
//! And these distances grow with the length of what has been recorded, so that a long recording does not have checkpoints without
//! end. A distance in steps that was asked for is kept to instead.

use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;
use vm::Icount;

/// Steps between two checkpoints at most.
const MOST_STEPS: u64 = 75_000_000;
/// Processor time between two checkpoints.
const RUNNING_TIME: Duration = Duration::from_millis(75);
/// After a checkpoint that took long the machine runs for so many times as long...
const RUNS_PER_CHECKPOINT: u32 = 13;
/// ...but no longer than this.
const LONGEST_TIME: Duration = Duration::from_millis(95);
/// Checkpoints thin out as a recording gets long: they are this part of its length apart, from 77 billion steps on...
const PART_OF_LENGTH: u64 = 1024;
/// ...but never more than this many steps.
const FARTHEST: u64 = 1_000_000_000;
/// Steps between two looks at the clock: some milliseconds.
const LOOK_EVERY: u64 = 1_000_000;

/// When the next checkpoint is due.
#[derive(Debug)]
pub(crate) struct Spacing {
    /// Steps that were asked for.
    asked: Option<u64>,
    /// Steps from the last checkpoint to the next.
    steps: u64,
    /// Processor time from the last checkpoint to the next.
    time: Duration,
    /// How much of it has been spent.
    spent: Duration,
}

impl Spacing {
    /// For checkpoints so many steps apart, if it is said.
    pub(crate) fn new(asked: Option<u64>) -> Spacing {
        let steps = asked.map_or(MOST_STEPS, |steps| steps.max(1));
        Spacing { asked, steps, time: RUNNING_TIME, spent: Duration::ZERO }
    }

    /// The same for another recording.
    pub(crate) fn another(&self) -> Spacing {
        Spacing::new(self.asked)
    }

    /// Where the next one is due at the latest, seen from `here`, with the last one at `last`.
    pub(crate) fn latest(&self, last: Icount, here: Icount) -> Icount {
        let next = last.0.saturating_add(self.steps);
        if next > here.0 { Icount(next) } else { Icount(here.0.saturating_add(self.steps)) }
    }

    /// How far the machine may run from `here` before [`Spacing::is_due`] is asked.
    pub(crate) fn look_at(&self, here: Icount) -> Icount {
        let steps = if self.asked.is_none() { LOOK_EVERY } else { u64::MAX };
        Icount(here.0.saturating_add(steps))
    }

    /// The machine has run for this long.
    pub(crate) fn spend(&mut self, time: Duration) {
        self.spent = self.spent.saturating_add(time);
    }

    /// Whether the time is spent.
    pub(crate) fn is_due(&self) -> bool {
        self.asked.is_none() && self.spent >= self.time
    }

    /// A checkpoint was made at `position`, which took so long.
    pub(crate) fn made(&mut self, position: Icount, took: Duration) {
        self.spent = Duration::ZERO;
        if self.asked.is_some() {
            return;
        }
        self.steps = MOST_STEPS.max((position.0 / PART_OF_LENGTH).min(FARTHEST));
        let longer = u32::try_from(self.steps / MOST_STEPS).unwrap_or(1);
        let time = took.saturating_mul(RUNS_PER_CHECKPOINT).clamp(RUNNING_TIME, LONGEST_TIME);
        self.time = time.saturating_mul(longer);
    }
}

/// Processor time that this thread has taken. Other programs make it longer only as far as they share a core.
pub(crate) fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_come_by_time_and_by_steps_and_later_far_into_a_recording() {
        let mut spacing = Spacing::new(None);
        assert_eq!(spacing.latest(Icount(7), Icount(8)), Icount(75_000_007));
        assert_eq!(spacing.latest(Icount(7), Icount(80_000_000)), Icount(155_000_000));
        spacing.spend(RUNNING_TIME / 2);
        assert!(!spacing.is_due());
        spacing.spend(RUNNING_TIME / 2);
        assert!(spacing.is_due());
        spacing.made(Icount(10_000_000_000), Duration::from_millis(1));
        assert!(!spacing.is_due());
        assert_eq!((spacing.steps, spacing.time), (MOST_STEPS, RUNNING_TIME));
        spacing.made(Icount(512_000_000_000), Duration::from_millis(1));
        assert_eq!((spacing.steps, spacing.time), (500_000_000, RUNNING_TIME * 6));
        spacing.made(Icount(u64::MAX), Duration::from_millis(1));
        assert_eq!((spacing.steps, spacing.time), (FARTHEST, RUNNING_TIME * 13));
    }

    #[test]
    fn a_checkpoint_that_takes_long_is_followed_by_one_somewhat_later() {
        let mut spacing = Spacing::new(None);
        for (took, wait) in [(1, 75), (6, 78), (1000, 95)] {
            spacing.made(Icount(0), Duration::from_millis(took));
            spacing.spend(Duration::from_millis(wait - 1));
            assert!(!spacing.is_due());
            spacing.spend(Duration::from_millis(1));
            assert!(spacing.is_due());
        }
    }

    #[test]
    fn a_distance_that_was_asked_for_is_kept_to() {
        for every in [1000, 1_000_000_000_000] {
            let mut spacing = Spacing::new(Some(every));
            spacing.spend(Duration::MAX);
            spacing.made(Icount(1_000_000_000), Duration::from_secs(9));
            spacing.spend(Duration::MAX);
            assert!(!spacing.is_due());
            assert_eq!(spacing.latest(Icount(5), Icount(6)), Icount(every + 5));
            assert_eq!(spacing.look_at(Icount(0)), Icount(u64::MAX));
        }
    }

    #[test]
    fn a_day_of_a_busy_guest_takes_checkpoints_in_the_tens_of_thousands() {
        let day = 24 * 3600 * 1_000_000_000 / vm::units::NS_PER_STEP;
        let mut spacing = Spacing::new(None);
        let (mut at, mut count) = (Icount(0), 0);
        while at.0 < day {
            at = spacing.latest(at, at);
            spacing.made(at, Duration::ZERO);
            count += 1;
        }
        assert!((5_000..20_000).contains(&count), "{count}");
    }

    #[test]
    fn the_threads_time_goes_on_while_it_works() {
        let before = thread_time();
        let mut sum = 0u64;
        while thread_time() == before {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(thread_time() > before);
    }
}
