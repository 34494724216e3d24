//! A guest that may hang: its interrupts are off, and stay off.

use vm::VmTime;

/// Virtual time with interrupts off after which it is said.
const PATIENCE_NS: u64 = 10_000_000_000;

/// Sees how long interrupts have been off.
#[derive(Debug, Default)]
pub struct Stuck {
    since: Option<VmTime>,
    told: bool,
}

impl Stuck {
    /// Takes in what is seen at `now`. Since when interrupts have been off, once, if that is long.
    pub fn look(&mut self, now: VmTime, interrupts_on: bool) -> Option<VmTime> {
        if interrupts_on {
            *self = Stuck::default();
            return None;
        }
        let since = *self.since.get_or_insert(now);
        if self.told || now.0.saturating_sub(since.0) < PATIENCE_NS {
            return None;
        }
        self.told = true;
        Some(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn it_is_said_once_each_time_that_interrupts_stay_off() {
        let mut stuck = Stuck::default();
        assert_eq!(stuck.look(VmTime(SECOND), false), None);
        assert_eq!(stuck.look(VmTime(12 * SECOND), false), Some(VmTime(SECOND)));
        assert_eq!(stuck.look(VmTime(30 * SECOND), false), None);
        assert_eq!(stuck.look(VmTime(31 * SECOND), true), None);
        assert_eq!(stuck.look(VmTime(32 * SECOND), false), None);
        assert_eq!(stuck.look(VmTime(42 * SECOND), false), Some(VmTime(32 * SECOND)));
    }

    #[test]
    fn interrupts_that_are_on_now_and_then_are_no_reason() {
        let mut stuck = Stuck::default();
        for second in 0..100 {
            assert_eq!(stuck.look(VmTime(second * SECOND), second % 9 == 0), None);
        }
    }
}
