//! The host protected area: how many of its sectors a disk admits to.
//!
//! Reference: ATA/ATAPI-6, 6.9 and 8.38 "SET MAX". Passwords for it are not there: those subcommands are aborted.

use super::ata::LBA28_SECTORS;
use super::device::{Device, ERROR_ABORTED, ERROR_ID_NOT_FOUND, Unit};
use crate::units::VmTime;
use serde::{Deserialize, Serialize};

/// Count register of SET MAX ADDRESS: the value outlives a hardware reset.
const VALUE_STAYS: u8 = 1;

/// How far a disk can be reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Reach {
    /// All sectors.
    pub(super) native: u64,
    /// Those that can be reached.
    pub(super) sectors: u64,
    /// Those that can be reached after a hardware reset.
    after_reset: u64,
    /// That was set since the last one.
    settled: bool,
    /// The 48-bit command has set it, so the other may not.
    by_ext: bool,
    /// The command before was READ NATIVE MAX ADDRESS; with 48 bits?
    native_read: Option<bool>,
}

impl Reach {
    pub(super) fn of(sectors: u64) -> Reach {
        Reach {
            native: sectors,
            sectors,
            after_reset: sectors,
            settled: false,
            by_ext: false,
            native_read: None,
        }
    }

    /// After the reset line.
    pub(super) fn after_reset(&self) -> Reach {
        Reach { sectors: self.after_reset, after_reset: self.after_reset, ..Reach::of(self.native) }
    }

    /// A command begins; whether it follows READ NATIVE MAX ADDRESS, and that of 48 bits.
    pub(super) fn next_command(&mut self) -> Option<bool> {
        self.native_read.take()
    }

    /// The last sector that can be reached becomes `last`; the error, if it cannot.
    fn set(&mut self, last: Option<u64>, stays: bool, ext: bool) -> u8 {
        match last {
            Some(last) if last < self.native && !(stays && self.settled) => {
                self.sectors = last + 1;
                self.by_ext = ext && self.sectors < self.native;
                if stays {
                    (self.after_reset, self.settled) = (self.sectors, true);
                }
                0
            }
            _ => ERROR_ID_NOT_FOUND,
        }
    }
}

impl Device {
    /// READ NATIVE MAX ADDRESS.
    pub(super) fn read_native_max(&mut self, ext: bool, now: VmTime) {
        let Unit::Disk(disk) = &mut self.unit else { return };
        disk.reach.native_read = Some(ext);
        let last = disk.reach.native.saturating_sub(1);
        self.select_lba();
        self.show_sector(if ext { last } else { last.min(LBA28_SECTORS - 1) }, ext);
        self.finish(0, now);
    }

    /// SET MAX ADDRESS, which must follow READ NATIVE MAX ADDRESS of the same kind.
    pub(super) fn set_max(&mut self, ext: bool, native_read: Option<bool>, now: VmTime) {
        const SUBCOMMANDS: std::ops::RangeInclusive<u8> = 1..=4;
        let stays = self.tf.count[0] & VALUE_STAYS != 0;
        let last = self.addressed_sector(ext);
        let is_password = !ext && SUBCOMMANDS.contains(&self.tf.features[0]);
        let Unit::Disk(disk) = &mut self.unit else { return };
        let error = if is_password || native_read != Some(ext) || (disk.reach.by_ext && !ext) {
            ERROR_ABORTED
        } else {
            disk.reach.set(last, stays, ext)
        };
        self.finish(error, now);
    }
}
