//! How awake a drive is, and its standby timer.
//!
//! Reference: ATA/ATAPI-6 (T13 1410D), 6.8 "Power Management feature set", 8.15 "IDLE", 8.46 "STANDBY".

use crate::units::VmTime;
use serde::{Deserialize, Serialize};

/// What CHECK POWER MODE answers.
pub(super) const STANDBY: u8 = 0x00;
pub(super) const IDLE: u8 = 0x80;
pub(super) const ACTIVE: u8 = 0xff;

const SECOND_NS: u64 = 1_000_000_000;
const MINUTE_NS: u64 = 60 * SECOND_NS;

/// How awake a drive is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Power {
    /// As of the last command.
    mode: u8,
    /// It stands by after so long without a command.
    standby_ns: Option<u64>,
    rests_since: VmTime,
}

impl Power {
    /// At power-on: awake, and the timer is off.
    pub(super) fn new() -> Power {
        Power { mode: ACTIVE, standby_ns: None, rests_since: VmTime(0) }
    }

    /// A command has come.
    pub(super) fn note_command(&mut self, now: VmTime) {
        let tired = self.standby_ns.is_some_and(|ns| now >= self.rests_since.plus_ns(ns));
        if tired {
            self.mode = STANDBY;
        }
        self.rests_since = now;
    }

    /// The drive has nothing to do from `time` on.
    pub(super) fn rest_from(&mut self, time: VmTime) {
        self.rests_since = time;
    }

    /// What CHECK POWER MODE answers.
    pub(super) fn mode(&self) -> u8 {
        self.mode
    }

    pub(super) fn set(&mut self, mode: u8) {
        self.mode = mode;
    }

    /// Starts the timer with a period as IDLE and STANDBY name it, or stops it.
    pub(super) fn set_timer(&mut self, count: u8) {
        let period = match u64::from(count) {
            0x00 => None,
            count @ 0x01..=0xf0 => Some(count * 5 * SECOND_NS),
            count @ 0xf1..=0xfb => Some((count - 0xf0) * 30 * MINUTE_NS),
            0xfc => Some(21 * MINUTE_NS),
            0xff => Some(21 * MINUTE_NS + 15 * SECOND_NS),
            // 0xfd is up to the manufacturer, from 8 to 12 hours; 0xfe is reserved.
            _ => Some(8 * 60 * MINUTE_NS),
        };
        self.standby_ns = period;
    }
}
