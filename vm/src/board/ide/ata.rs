//! The commands of a hard disk.
//!
//! Reference: ATA/ATAPI-6 (T13 1410D), 8 "Command descriptions"; for addresses by cylinder, head and sector ATA-4 (T13 1153D).

use super::SECTOR_BYTES;
use super::device::{
    COMMAND_NS, Device, ERROR_ABORTED, ERROR_ID_NOT_FOUND, Job, Phase, TaskFile, Then, Unit,
};
use super::max_address::Reach;
use super::power::{ACTIVE, IDLE, STANDBY};
use super::security::{self, Security};
use crate::media::MediumShape;
use crate::memory::PhysMemory;
use crate::units::VmTime;
use serde::{Deserialize, Serialize};

/// Sectors that READ MULTIPLE and WRITE MULTIPLE move at once, at most.
pub(super) const MULTIPLE_MAX: u8 = 16;
/// Sectors that 28 bits can number.
pub(super) const LBA28_SECTORS: u64 = 1 << 28;
const DEVICE_LBA: u8 = 0x40;
const DEVICE_HEAD: u8 = 0x0f;

/// How a disk numbers its sectors by cylinder, head and sector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Geometry {
    /// Number of cylinders.
    pub cylinders: u16,
    /// Heads, up to 16.
    pub heads: u8,
    /// Sectors of a track, from 1 on.
    pub sectors: u8,
}

impl Geometry {
    /// What a disk of so many sectors has at power-on (ATA-4, 6.2): as many cylinders as fit, 16383 at most.
    pub fn of(sectors: u64) -> Geometry {
        Geometry { cylinders: (sectors / (16 * 63)).clamp(2, 16383) as u16, heads: 16, sectors: 63 }
    }

    /// Sectors that can be reached.
    pub fn capacity(self) -> u64 {
        u64::from(self.cylinders) * u64::from(self.heads) * u64::from(self.sectors)
    }
}

/// A hard disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Disk {
    pub(super) medium: MediumShape,
    /// What INITIALIZE DEVICE PARAMETERS chose.
    pub(super) geometry: Geometry,
    /// Sectors of READ MULTIPLE and WRITE MULTIPLE; 0 while they are off.
    pub(super) multiple: u8,
    pub(super) smart: bool,
    pub(super) smart_autosave: bool,
    pub(super) reach: Reach,
    pub(super) security: Security,
    /// What WRITE BUFFER has left there.
    pub(super) sector_buffer: Vec<u8>,
}

impl Disk {
    pub(super) fn new(medium: MediumShape) -> Disk {
        let sectors = medium.bytes / SECTOR_BYTES as u64;
        Disk {
            medium,
            geometry: Geometry::of(sectors),
            multiple: MULTIPLE_MAX,
            smart: true,
            smart_autosave: true,
            reach: Reach::of(sectors),
            security: Security::new(),
            sector_buffer: vec![0; SECTOR_BYTES],
        }
    }

    /// The disk after the reset line.
    pub(super) fn after_reset(&self) -> Disk {
        let (reach, security) = (self.reach.after_reset(), self.security.after_reset());
        Disk { reach, security, ..Disk::new(self.medium) }
    }

    /// How many sectors can be reached.
    pub(super) fn sectors(&self) -> u64 {
        self.reach.sectors
    }

    /// The sector that a command without EXT addresses.
    fn sector_28(&self, tf: &TaskFile) -> Option<u64> {
        let [low, mid, high] = [tf.low, tf.mid, tf.high].map(|pair| u64::from(pair[0]));
        let head = u64::from(tf.device & DEVICE_HEAD);
        if tf.device & DEVICE_LBA != 0 {
            return Some(head << 24 | high << 16 | mid << 8 | low);
        }
        let Geometry { cylinders, heads, sectors } = self.geometry;
        let (cylinder, heads, sectors) = (high << 8 | mid, u64::from(heads), u64::from(sectors));
        let exists = cylinder < u64::from(cylinders) && head < heads && (1..=sectors).contains(&low);
        exists.then(|| (cylinder * heads + head) * sectors + low - 1)
    }
}

/// The sector that an EXT command addresses.
fn sector_48(tf: &TaskFile) -> u64 {
    let bytes = [tf.low[0], tf.mid[0], tf.high[0], tf.low[1], tf.mid[1], tf.high[1], 0, 0];
    u64::from_le_bytes(bytes)
}

/// How a command moves its data.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// A sector at once through the data register.
    Pio,
    /// As many as SET MULTIPLE MODE says.
    Multiple,
    Dma,
    /// Not at all.
    Verify,
}

impl Device {
    fn disk_ref(&self) -> Option<&Disk> {
        match &self.unit {
            Unit::Disk(disk) => Some(disk),
            Unit::Cd(_) => None,
        }
    }

    /// A command for a disk.
    pub(super) fn ata_command(&mut self, command: u8, now: VmTime) {
        use Way::*;
        let Unit::Disk(disk) = &mut self.unit else { return };
        let native_read = disk.reach.next_command();
        let refused = disk.security.refuses(command);
        disk.security.forget_preparation();
        if refused {
            return self.finish(ERROR_ABORTED, now);
        }
        match command {
            0x20 | 0x21 => self.access(Pio, false, false, now),
            0x24 => self.access(Pio, false, true, now),
            0x25 => self.access(Dma, false, true, now),
            0x29 => self.access(Multiple, false, true, now),
            0x30 | 0x31 | 0x3c => self.access(Pio, true, false, now),
            0x34 => self.access(Pio, true, true, now),
            0x35 | 0x3d => self.access(Dma, true, true, now),
            0x39 | 0xce => self.access(Multiple, true, true, now),
            0x40 | 0x41 => self.access(Verify, false, false, now),
            0x42 => self.access(Verify, false, true, now),
            0xc4 => self.access(Multiple, false, false, now),
            0xc5 => self.access(Multiple, true, false, now),
            0xc8 | 0xc9 => self.access(Dma, false, false, now),
            0xca | 0xcb => self.access(Dma, true, false, now),
            0x10..=0x1f => self.finish(0, now), // RECALIBRATE
            0x70..=0x7f => self.seek(now),
            0x91 => self.initialize_parameters(now),
            0x27 | 0xf8 => self.read_native_max(command == 0x27, now),
            0x37 | 0xf9 => self.set_max(command == 0x37, native_read, now),
            0xb0 => self.smart(now),
            0xc6 => self.set_multiple(now),
            0xe7 | 0xea => self.finish(0, now), // FLUSH CACHE
            // READ BUFFER and WRITE BUFFER
            0xe4 => {
                self.buffer = self.disk_ref().map_or_else(Vec::new, |disk| disk.sector_buffer.clone());
                self.busy(COMMAND_NS, Then::Offer, now);
            }
            0xe8 => self.ask_for_block(command),
            security::SET_PASSWORD..=security::DISABLE_PASSWORD => self.security_command(command, now),
            0xec => {
                self.buffer = self.identify_disk();
                self.busy(COMMAND_NS, Then::Offer, now);
            }
            _ => self.common_command(command, now),
        }
    }

    /// What disks and CD-ROM drives have alike.
    pub(super) fn common_command(&mut self, command: u8, now: VmTime) {
        match command {
            // STANDBY IMMEDIATE and SLEEP, IDLE IMMEDIATE, STANDBY, IDLE, CHECK POWER MODE; their old numbers too.
            0xe0 | 0xe6 | 0x94 | 0x99 => self.set_power(STANDBY, now),
            0xe1 | 0x95 => self.set_power(IDLE, now),
            0xe2 | 0x96 => {
                self.power.set_timer(self.tf.count[0]);
                self.set_power(STANDBY, now);
            }
            0xe3 | 0x97 => {
                self.power.set_timer(self.tf.count[0]);
                self.set_power(IDLE, now);
            }
            0xe5 | 0x98 => {
                self.tf.count[0] = self.power.mode();
                self.finish(0, now);
            }
            0xef => self.set_features(now),
            _ => {
                if !matches!(command, 0x00) {
                    tracing::debug!(slot = %self.slot, command = format_args!("{command:#04x}"), "an IDE command that is not there");
                }
                self.power.set(ACTIVE);
                self.finish(ERROR_ABORTED, now);
            }
        }
    }

    fn set_power(&mut self, mode: u8, now: VmTime) {
        self.power.set(mode);
        self.finish(0, now);
    }

    /// The command ends without data.
    pub(super) fn finish(&mut self, error: u8, now: VmTime) {
        self.busy(COMMAND_NS, Then::End(error), now);
    }

    /// Starts to read, write or verify.
    fn access(&mut self, way: Way, write: bool, ext: bool, now: VmTime) {
        let Some(disk) = self.disk_ref() else { return self.finish(ERROR_ABORTED, now) };
        let (count, most) = match ext {
            false => (u64::from(self.tf.count[0]), 0x100),
            true => (u64::from(self.tf.count[1]) << 8 | u64::from(self.tf.count[0]), 0x1_0000),
        };
        let left = if count == 0 { most } else { count };
        let lba = self.addressed_sector(ext);
        let end = disk.sectors();
        let block = match way {
            Way::Multiple => u64::from(disk.multiple),
            _ => 1,
        };
        if block == 0 {
            return self.finish(ERROR_ABORTED, now);
        }
        self.power.set(ACTIVE);
        let Some(lba) = lba.filter(|lba| *lba < end) else { return self.finish(ERROR_ID_NOT_FOUND, now) };
        // Nothing is moved by a DMA command that goes beyond the end; PIO comes as far as the end.
        let fits = lba.saturating_add(left) <= end;
        if !fits && matches!(way, Way::Dma | Way::Verify) {
            self.show_sector(end, ext);
            return self.finish(ERROR_ID_NOT_FOUND, now);
        }
        self.job = Job::Sectors { lba, left, block, write };
        match way {
            Way::Verify => {
                self.show_sector(lba + left - 1, ext);
                self.finish(0, now);
            }
            Way::Dma => self.await_master(),
            Way::Pio | Way::Multiple if write => {
                self.buffer = vec![0; block.min(left) as usize * SECTOR_BYTES];
                // The drive's buffer is free, so it asks at once: some drivers write without looking.
                self.data_request(Phase::Out);
            }
            Way::Pio | Way::Multiple => self.busy(COMMAND_NS, Then::Offer, now),
        }
    }

    /// The sector that the registers name.
    pub(super) fn addressed_sector(&self, ext: bool) -> Option<u64> {
        if ext { Some(sector_48(&self.tf)) } else { self.disk_ref()?.sector_28(&self.tf) }
    }

    /// Addresses are numbers of sectors from now on.
    pub(super) fn select_lba(&mut self) {
        self.tf.device |= DEVICE_LBA;
    }

    /// Puts a sector's number into the registers.
    pub(super) fn show_sector(&mut self, lba: u64, ext: bool) {
        let bytes = lba.to_le_bytes();
        let geometry = self.disk_ref().map(|disk| disk.geometry);
        let tf = &mut self.tf;
        if ext {
            (tf.low, tf.mid, tf.high) = ([bytes[0], bytes[3]], [bytes[1], bytes[4]], [bytes[2], bytes[5]]);
        } else if tf.device & DEVICE_LBA != 0 {
            (tf.low[0], tf.mid[0], tf.high[0]) = (bytes[0], bytes[1], bytes[2]);
            tf.device = tf.device & !DEVICE_HEAD | bytes[3] & DEVICE_HEAD;
        } else if let Some(Geometry { heads, sectors, .. }) = geometry {
            let (track, sector) = (lba / u64::from(sectors), lba % u64::from(sectors));
            let cylinder = (track / u64::from(heads)) as u16;
            tf.low[0] = sector as u8 + 1;
            [tf.mid[0], tf.high[0]] = cylinder.to_le_bytes();
            tf.device = tf.device & !DEVICE_HEAD | (track % u64::from(heads)) as u8;
        }
    }

    /// The next sectors of the job, fewer at the end, that exist; the job is then beyond them. Ends the command at the end of
    /// the disk.
    fn take_sectors(&mut self) -> Option<(u64, usize)> {
        let Job::Sectors { lba, left, block, write } = self.job else { return None };
        let end = self.disk_ref().map_or(0, Disk::sectors);
        let count = block.min(left);
        if lba.saturating_add(count) > end {
            self.show_sector(end, end > LBA28_SECTORS);
            self.end(ERROR_ID_NOT_FOUND);
            return None;
        }
        self.job = Job::Sectors { lba: lba + count, left: left - count, block, write };
        self.tf.count[0] = (left - count) as u8;
        Some((lba * SECTOR_BYTES as u64, count as usize * SECTOR_BYTES))
    }

    /// Reads the next sectors into the buffer. False if the command has ended.
    pub(super) fn load_sectors(&mut self, mem: &mut dyn PhysMemory) -> bool {
        let Some((offset, bytes)) = self.take_sectors() else { return false };
        let number = self.disk_ref().map_or(usize::MAX, |disk| disk.medium.number);
        self.buffer.resize(bytes, 0);
        mem.read_medium(number, offset, &mut self.buffer);
        true
    }

    /// Writes the buffer, and asks for more or ends.
    pub(super) fn store_sectors(&mut self, mem: &mut dyn PhysMemory) {
        let Some((offset, _)) = self.take_sectors() else { return };
        let number = self.disk_ref().map_or(usize::MAX, |disk| disk.medium.number);
        mem.write_medium(number, offset, &self.buffer);
        match self.job {
            Job::Sectors { left, block, .. } if left > 0 => {
                self.buffer.resize(block.min(left) as usize * SECTOR_BYTES, 0);
                self.ask_again();
            }
            _ => self.end(0),
        }
    }

    fn seek(&mut self, now: VmTime) {
        let found = self
            .disk_ref()
            .is_some_and(|disk| disk.sector_28(&self.tf).is_some_and(|lba| lba < disk.sectors()));
        self.finish(if found { 0 } else { ERROR_ID_NOT_FOUND }, now);
    }

    fn initialize_parameters(&mut self, now: VmTime) {
        let (sectors, heads) = (self.tf.count[0], (self.tf.device & DEVICE_HEAD) + 1);
        let Unit::Disk(disk) = &mut self.unit else { return };
        if sectors == 0 {
            return self.finish(ERROR_ABORTED, now);
        }
        let cylinders = disk.sectors() / (u64::from(sectors) * u64::from(heads));
        disk.geometry = Geometry { cylinders: cylinders.min(65535) as u16, heads, sectors };
        self.finish(0, now);
    }

    fn set_multiple(&mut self, now: VmTime) {
        let count = self.tf.count[0];
        let Unit::Disk(disk) = &mut self.unit else { return };
        if count > MULTIPLE_MAX || (count != 0 && !count.is_power_of_two()) {
            return self.finish(ERROR_ABORTED, now);
        }
        disk.multiple = count;
        self.finish(0, now);
    }

    /// SET FEATURES (8.37).
    fn set_features(&mut self, now: VmTime) {
        let count = self.tf.count[0];
        match self.tf.features[0] {
            0x03 => match count {
                0x00..=0x01 | 0x08..=0x0c => {} // PIO
                0x20..=0x22 | 0x40..=0x45 => self.transfer_mode = count,
                _ => return self.finish(ERROR_ABORTED, now),
            },
            0x02 => self.write_cache = true,
            0x82 => self.write_cache = false,
            0xaa => self.look_ahead = true,
            0x55 => self.look_ahead = false,
            // Whether a software reset brings back the defaults: it never does.
            0x66 | 0xcc => {}
            _ => return self.finish(ERROR_ABORTED, now),
        }
        self.finish(0, now);
    }

    /// More data is wanted.
    fn ask_again(&mut self) {
        self.data_request(Phase::Out);
        self.raise();
    }
}
