//! Moving heads: SEEK, RELATIVE SEEK, RECALIBRATE.

use super::command::UPWARDS;
use super::format::QUICKER;
use super::{Fdc, UNITS};
use crate::units::VmTime;
use serde::{Deserialize, Serialize};

/// Steps that RECALIBRATE makes at most.
const RECALIBRATE_STEPS: u8 = 79;
/// What a seek that does not move the head takes.
const NO_STEP_NS: u64 = 20_000;

const ST0_SEEK_END: u8 = 0x20;
/// Abnormal termination, equipment check: track 0 was not found.
const ST0_NO_TRACK_0: u8 = 0x50;

/// A head on its way.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Seek {
    /// When it arrives.
    pub(super) at: VmTime,
    /// Cylinders that the head is moved by.
    by: i32,
    /// What the chip then believes.
    cylinder: u8,
    recalibrate: bool,
    /// Head and drive bits for ST0.
    select: u8,
}

impl Fdc {
    /// SEEK to a cylinder.
    pub(super) fn seek(&mut self, select: u8, cylinder: i32, now: VmTime) {
        let by = cylinder - i32::from(self.cylinders[usize::from(select & 3)]);
        self.begin_seek(Seek { at: now, by, cylinder: cylinder as u8, recalibrate: false, select });
    }

    /// RELATIVE SEEK: the cylinder number wraps.
    pub(super) fn seek_relative(&mut self, bytes: &[u8], now: VmTime) {
        let (select, by) = (bytes[1], bytes[2]);
        let cylinder = self.cylinders[usize::from(select & 3)];
        let (cylinder, by) = match bytes[0] & UPWARDS {
            0 => (cylinder.wrapping_sub(by), -i32::from(by)),
            _ => (cylinder.wrapping_add(by), i32::from(by)),
        };
        self.begin_seek(Seek { at: now, by, cylinder, recalibrate: false, select });
    }

    /// RECALIBRATE: outwards until the drive says that it is at track 0. One that is not there never does.
    pub(super) fn recalibrate(&mut self, select: u8, now: VmTime) {
        let cylinder = self.drive(usize::from(select & 3)).map_or(u8::MAX, |drive| drive.cylinder);
        let by = -i32::from(cylinder.min(RECALIBRATE_STEPS));
        self.begin_seek(Seek { at: now, by, cylinder: 0, recalibrate: true, select: select & 3 });
    }

    fn begin_seek(&mut self, mut seek: Seek) {
        seek.at = seek.at.plus_ns(self.step_time_ns(seek.by));
        seek.select &= 7;
        let unit = usize::from(seek.select & 3);
        self.ended[unit] = None;
        self.seeks[unit] = Some(seek);
    }

    /// How long so many steps take (82078, SPECIFY: the step rate time at 500 kbit/s is 16 ms less a millisecond for each
    /// unit, and in proportion at other rates).
    pub(super) fn step_time_ns(&self, by: i32) -> u64 {
        let bit_ns = [2_000, 3_333, 4_000, 1_000][usize::from(self.rate & 3)];
        let step_ns = u64::from(16 - (self.specify[0] >> 4)) * bit_ns * 500;
        (u64::from(by.unsigned_abs()) * step_ns / QUICKER).max(NO_STEP_NS)
    }

    /// Moves the head of `unit`, and what the chip believes of it.
    pub(super) fn move_head(&mut self, unit: usize, by: i32, cylinder: u8) {
        self.cylinders[unit] = cylinder;
        if let Some(Some(drive)) = self.drives.get_mut(unit) {
            drive.step(by);
        }
    }

    /// Ends the seeks that have arrived at `now`.
    pub(super) fn end_seeks(&mut self, now: VmTime) {
        for unit in 0..UNITS {
            let Some(seek) = self.seeks[unit].take_if(|seek| seek.at <= now) else { continue };
            self.move_head(unit, seek.by, seek.cylinder);
            let arrived = !seek.recalibrate || self.drive(unit).is_some_and(|drive| drive.cylinder == 0);
            let failed = if arrived { 0 } else { ST0_NO_TRACK_0 };
            self.ended[unit] = Some(ST0_SEEK_END | failed | seek.select);
            self.interrupt = true;
        }
    }

    /// A reset: heads that are under way arrive, and nobody hears of it.
    pub(super) fn finish_seeks(&mut self) {
        for unit in 0..UNITS {
            if let Some(seek) = self.seeks[unit].take() {
                self.move_head(unit, seek.by, seek.cylinder);
            }
        }
    }
}
