//! The commands of the 82078 and how many bytes each has.
//!
//! Reference: 82078 data sheet (290474), "Command Set/Descriptions"; SCAN commands: 8272A data sheet.

use serde::{Deserialize, Serialize};

/// A command by what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Command {
    /// One that moves the sectors of a track.
    Transfer(Data),
    Recalibrate,
    SenseInterrupt,
    Specify,
    SenseDriveStatus,
    Seek,
    /// By a number of cylinders.
    RelativeSeek,
    Configure,
    Version,
    DumpRegisters,
    Perpendicular,
    Lock,
    PartId,
    PowerdownMode,
    Options,
    Save,
    Restore,
    DriveSpecification,
    Invalid,
}

/// A command that waits for the disk to turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Data {
    Read {
        /// Looks for sectors with a deleted data address mark.
        deleted: bool,
    },
    Write {
        deleted: bool,
    },
    ReadTrack,
    ReadId,
    Format,
    Verify,
    Scan(Scan),
}

/// When a sector satisfies a SCAN command: it is, compared with what the host says...
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Scan {
    Equal,
    LowOrEqual,
    HighOrEqual,
}

/// Bits above the operation.
pub(super) const MULTI_TRACK: u8 = 0x80;
pub(super) const MFM: u8 = 0x40;
pub(super) const SKIP: u8 = 0x20;
/// RELATIVE SEEK: to higher cylinders.
pub(super) const UPWARDS: u8 = 0x40;
/// LOCK: on.
pub(super) const LOCK: u8 = 0x80;
/// DRIVE SPECIFICATION: the last byte.
pub(super) const DONE: u8 = 0x80;

/// Bytes of the longest command.
pub(super) const COMMAND_BYTES_MAX: usize = 17;

impl Command {
    /// What the first byte of a command stands for.
    pub(super) fn of(byte: u8) -> Command {
        use Command::*;
        let data = match byte & 0x1f {
            0x02 if byte & !(MFM | 0x1f) == 0 => Some(Data::ReadTrack),
            0x05 if byte & SKIP == 0 => Some(Data::Write { deleted: false }),
            0x06 => Some(Data::Read { deleted: false }),
            0x09 if byte & SKIP == 0 => Some(Data::Write { deleted: true }),
            0x0a if byte & !(MFM | 0x1f) == 0 => Some(Data::ReadId),
            0x0c => Some(Data::Read { deleted: true }),
            0x0d if byte & !(MFM | 0x1f) == 0 => Some(Data::Format),
            0x11 => Some(Data::Scan(Scan::Equal)),
            0x16 => Some(Data::Verify),
            0x19 => Some(Data::Scan(Scan::LowOrEqual)),
            0x1d => Some(Data::Scan(Scan::HighOrEqual)),
            _ => None,
        };
        if let Some(data) = data {
            return Transfer(data);
        }
        match byte {
            0x03 => Specify,
            0x04 => SenseDriveStatus,
            0x07 => Recalibrate,
            0x08 => SenseInterrupt,
            0x0e => DumpRegisters,
            0x0f => Seek,
            0x8f | 0xcf => RelativeSeek,
            0x10 => Version,
            0x12 => Perpendicular,
            0x13 => Configure,
            0x14 | 0x94 => Lock,
            0x17 => PowerdownMode,
            0x18 => PartId,
            0x2e => Save,
            0x33 => Options,
            0x4e => Restore,
            0x8e => DriveSpecification,
            _ => Invalid,
        }
    }

    /// Whether these are all bytes of the command.
    pub(super) fn is_complete(self, bytes: &[u8]) -> bool {
        let length = match self {
            Command::Transfer(Data::ReadId) => 2,
            Command::Transfer(Data::Format) => 6,
            Command::Transfer(_) => 9,
            Command::Recalibrate | Command::SenseDriveStatus => 2,
            Command::Perpendicular | Command::PowerdownMode | Command::Options => 2,
            Command::Specify | Command::Seek | Command::RelativeSeek => 3,
            Command::Configure => 4,
            Command::Restore => COMMAND_BYTES_MAX,
            // One byte for each drive, and one that says that it was the last.
            Command::DriveSpecification if bytes.len() < 6 => {
                return bytes.len() > 1 && bytes.last().is_some_and(|byte| byte & DONE != 0);
            }
            _ => 1,
        };
        bytes.len() >= length
    }
}
