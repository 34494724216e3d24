//! A floppy drive: where its head is, the disk in it, and when which sector passes the head.

use super::format::{DriveKind, Format};
use crate::media::MediumShape;
use crate::units::VmTime;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A disk in a drive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Disk {
    /// The number of its image.
    pub(super) medium: usize,
    pub(super) format: Format,
    pub(super) write_protected: bool,
    /// Sectors with a deleted data address mark, which an image has no place for.
    pub(super) deleted: BTreeSet<u16>,
}

/// A drive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Drive {
    pub(super) kind: DriveKind,
    pub(super) disk: Option<Disk>,
    /// Where the head is.
    pub(super) cylinder: u8,
    /// The disk was changed since the head last moved with one in the drive.
    changed: bool,
}

impl Drive {
    pub(super) fn new(kind: DriveKind) -> Drive {
        Drive { kind, disk: None, cylinder: 0, changed: true }
    }

    /// Puts a disk in, or takes out what is in.
    pub(super) fn change(&mut self, disk: Option<MediumShape>) {
        self.changed = true;
        self.disk = disk.map(|shape| Disk {
            medium: shape.number,
            format: Format::of(shape.bytes),
            write_protected: shape.read_only,
            deleted: BTreeSet::new(),
        });
    }

    /// The disk change line.
    pub(super) fn changed(&self) -> bool {
        self.changed || self.disk.is_none()
    }

    pub(super) fn write_protected(&self) -> bool {
        self.disk.as_ref().is_some_and(|disk| disk.write_protected)
    }

    /// Moves the head by so many cylinders, as far as it goes.
    pub(super) fn step(&mut self, by: i32) {
        let last = i32::from(self.kind.last_cylinder());
        self.cylinder = i32::from(self.cylinder).saturating_add(by).clamp(0, last) as u8;
        self.changed &= by == 0 || self.disk.is_none();
    }

    /// The format of the track under a head, if anything can be read there at this rate.
    pub(super) fn readable(&self, head: u8, rate: u8) -> Option<Format> {
        let format = self.disk.as_ref()?.format;
        let fits = self.kind.takes(format.drive) && format.reads_at(rate);
        (fits && head < format.heads && self.cylinder < format.cylinders).then_some(format)
    }

    /// When the index hole next passes, from `now` on.
    pub(super) fn next_index(&self, now: VmTime) -> VmTime {
        self.next_pass(now, 0, 1)
    }

    /// When the start of `slot` of a track of `slots` next passes, from `now` on.
    pub(super) fn next_pass(&self, now: VmTime, slot: u8, slots: u8) -> VmTime {
        let rotation = self.kind.rotation_ns();
        let angle = rotation * u64::from(slot) / u64::from(slots.max(1));
        let rotations = now.0.saturating_sub(angle).div_ceil(rotation);
        VmTime(rotations.saturating_mul(rotation).saturating_add(angle))
    }

    /// The sector (from 1) whose ID next passes, from `now` on, and when.
    pub(super) fn next_sector(&self, now: VmTime, slots: u8) -> (u8, VmTime) {
        let passes = (0..slots).map(|slot| (self.next_pass(now, slot, slots), slot + 1));
        passes.min().map_or((1, now), |(at, sector)| (sector, at))
    }

    /// Nanoseconds of a slot.
    pub(super) fn slot_ns(&self, slots: u8) -> u64 {
        self.kind.rotation_ns() / u64::from(slots.max(1))
    }
}
