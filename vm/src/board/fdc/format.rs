//! What a floppy disk is formatted as, and the drives that take it.
//!
//! A disk image is the sectors of 512 bytes in order of cylinder, head and number; its format follows from its size.

use serde::{Deserialize, Serialize};

/// Bytes of a sector. Other sizes do not fit into an image.
pub const SECTOR_BYTES: usize = 512;
/// The N of an ID that says so.
pub const SECTOR_CODE: u8 = 2;

/// A drive, by its number in the CMOS RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DriveKind {
    /// 5.25 inch, 360 KB.
    FiveInchDouble = 1,
    /// 5.25 inch, 1.2 MB.
    FiveInchHigh = 2,
    /// 3.5 inch, 1.44 MB; takes 720 KB too.
    ThreeInchHigh = 4,
    /// 3.5 inch, 2.88 MB; takes the smaller ones too.
    ThreeInchExtra = 5,
}

impl DriveKind {
    /// The drive that a disk of this size in bytes comes with.
    pub fn for_disk(bytes: u64) -> DriveKind {
        Format::of(bytes).drive
    }

    /// Whether a disk that was made in a drive of kind `other` can be read.
    pub fn takes(self, other: DriveKind) -> bool {
        self == other || (self == DriveKind::ThreeInchExtra && other == DriveKind::ThreeInchHigh)
    }

    /// The last cylinder that the head can be moved to.
    pub fn last_cylinder(self) -> u8 {
        match self {
            DriveKind::FiveInchDouble => 42,
            _ => 83,
        }
    }

    /// Nanoseconds of a rotation: 360 or 300 a minute in a real drive.
    pub fn rotation_ns(self) -> u64 {
        let real_ns = match self {
            DriveKind::FiveInchHigh => 166_666_670,
            _ => 200_000_000,
        };
        real_ns / QUICKER
    }
}

/// Drives turn and step so many times as fast as real ones, so that a guest waits less for its disk.
pub(super) const QUICKER: u64 = 10;

/// How a disk is formatted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Format {
    /// Cylinders.
    pub cylinders: u8,
    /// Heads.
    pub heads: u8,
    /// Sectors on a track.
    pub sectors: u8,
    /// The drive it was made in.
    pub drive: DriveKind,
    /// Data rates at which it can be read, a bit for each value of the rate select bits.
    rates: u8,
}

/// Rate select bits (82077AA, "Data Rate Select Register").
const RATE_500K: u8 = 1 << 0;
const RATE_300K: u8 = 1 << 1;
const RATE_250K: u8 = 1 << 2;
const RATE_1M: u8 = 1 << 3;

const fn format(cylinders: u8, heads: u8, sectors: u8, drive: DriveKind, rates: u8) -> Format {
    Format { cylinders, heads, sectors, drive, rates }
}

use DriveKind::{FiveInchDouble, FiveInchHigh, ThreeInchExtra, ThreeInchHigh};

/// What a size that is no format's own is taken for, if it is not larger.
const FORMAT_1440K: Format = format(80, 2, 18, ThreeInchHigh, RATE_500K);
const FORMAT_2880K: Format = format(80, 2, 36, ThreeInchExtra, RATE_1M);
/// 360 KB is written at 250 kbit/s in a drive that makes 300 rotations a minute, and at 300 kbit/s in one that makes 360.
const RATE_360K: u8 = RATE_250K | RATE_300K;

const FORMATS: [Format; 13] = [
    format(40, 1, 8, FiveInchDouble, RATE_360K),
    format(40, 1, 9, FiveInchDouble, RATE_360K),
    format(40, 2, 8, FiveInchDouble, RATE_360K),
    format(40, 2, 9, FiveInchDouble, RATE_360K),
    format(80, 2, 9, ThreeInchHigh, RATE_250K),
    format(80, 2, 10, ThreeInchHigh, RATE_250K),
    format(80, 2, 15, FiveInchHigh, RATE_500K),
    FORMAT_1440K,
    format(80, 2, 20, ThreeInchHigh, RATE_500K),
    format(80, 2, 21, ThreeInchHigh, RATE_500K),
    format(82, 2, 21, ThreeInchHigh, RATE_500K),
    format(80, 2, 22, ThreeInchHigh, RATE_500K),
    FORMAT_2880K,
];

impl Format {
    /// The format of an image of so many bytes. One that is no format's own size (a boot sector alone, an image without its end)
    /// is the beginning of a 1.44 MB or 2.88 MB disk.
    pub fn of(bytes: u64) -> Format {
        let fallback = if bytes <= FORMAT_1440K.bytes() { FORMAT_1440K } else { FORMAT_2880K };
        FORMATS.into_iter().find(|format| format.bytes() == bytes).unwrap_or(fallback)
    }

    /// Bytes of the whole disk.
    pub fn bytes(self) -> u64 {
        u64::from(self.cylinders) * u64::from(self.heads) * u64::from(self.sectors) * SECTOR_BYTES as u64
    }

    /// Whether it can be read at the rate that these rate select bits stand for.
    pub fn reads_at(self, rate: u8) -> bool {
        self.rates >> (rate & 3) & 1 != 0
    }

    /// Number of a sector in the image. Sectors of a track count from 1.
    pub fn index(self, cylinder: u8, head: u8, sector: u8) -> u16 {
        let track = u16::from(cylinder) * u16::from(self.heads) + u16::from(head);
        track * u16::from(self.sectors) + u16::from(sector) - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_name_formats() {
        let sizes = [160, 180, 320, 360, 720, 800, 1200, 1440, 1600, 1680, 1722, 1760, 2880];
        for (kib, format) in sizes.into_iter().zip(FORMATS) {
            assert_eq!(format.bytes(), kib << 10);
            assert_eq!(Format::of(kib << 10), format);
            let last = format.index(format.cylinders - 1, format.heads - 1, format.sectors);
            assert_eq!((u64::from(last) + 1) * 512, format.bytes());
        }
        assert_eq!(Format::of(512), FORMAT_1440K);
        assert_eq!(Format::of(1_296_384), FORMAT_1440K);
        assert_eq!(Format::of(1_500_000), FORMAT_2880K);
        assert_eq!(DriveKind::for_disk(1200 << 10), FiveInchHigh);
    }

    #[test]
    fn drives_take_the_disks_that_fit() {
        assert!(ThreeInchExtra.takes(ThreeInchHigh) && !ThreeInchHigh.takes(ThreeInchExtra));
        assert!(!ThreeInchHigh.takes(FiveInchHigh) && FiveInchHigh.takes(FiveInchHigh));
        assert!(Format::of(360 << 10).reads_at(1) && Format::of(360 << 10).reads_at(2));
        assert!(Format::of(1440 << 10).reads_at(0) && !Format::of(1440 << 10).reads_at(2));
    }
}
