//! SMART: a disk that is never ill.
//!
//! Reference: ATA/ATAPI-6, 8.41; the layout of the attributes is that of SFF-8035i.

use super::SECTOR_BYTES;
use super::device::{COMMAND_NS, Device, ERROR_ABORTED, Then, Unit};
use crate::units::VmTime;

/// What the cylinder registers must hold.
const KEY: (u8, u8) = (0x4f, 0xc2);
/// (number, flags, value, threshold) of the attributes.
const ATTRIBUTES: [(u8, u16, u8, u8); 5] = [
    (0x01, 0x0003, 100, 6),  // read errors
    (0x03, 0x0003, 100, 0),  // spin-up time
    (0x05, 0x0003, 100, 36), // reallocated sectors
    (0x09, 0x0003, 100, 0),  // power-on hours
    (0x0c, 0x0003, 100, 0),  // power cycles
];
const ENTRY_BYTES: usize = 12;

impl Device {
    /// SMART, by the feature register.
    pub(super) fn smart(&mut self, now: VmTime) {
        let feature = self.tf.features[0];
        let Unit::Disk(disk) = &mut self.unit else { return };
        if (self.tf.mid[0], self.tf.high[0]) != KEY || (!disk.smart && feature != 0xd8) {
            return self.finish(ERROR_ABORTED, now);
        }
        match feature {
            0xd0 => return self.smart_data(data(), now),
            0xd1 => return self.smart_data(thresholds(), now),
            0xd5 if matches!(self.tf.low[0], 0x00 | 0x01 | 0x06) => {
                return self.smart_data(log(self.tf.low[0]), now);
            }
            0xd2 => disk.smart_autosave = self.tf.count[0] != 0,
            // SAVE ATTRIBUTE VALUES; EXECUTE OFF-LINE IMMEDIATE, which finds nothing.
            0xd3 | 0xd4 => {}
            0xd8 => disk.smart = true,
            0xd9 => disk.smart = false,
            // RETURN STATUS: the key unchanged says that no threshold is exceeded.
            0xda => {}
            _ => return self.finish(ERROR_ABORTED, now),
        }
        self.finish(0, now);
    }

    fn smart_data(&mut self, mut sector: Vec<u8>, now: VmTime) {
        seal(&mut sector);
        self.buffer = sector;
        self.busy(COMMAND_NS, Then::Offer, now);
    }
}

/// All bytes of the sector add up to 0.
fn seal(sector: &mut [u8]) {
    let sum = sector[..SECTOR_BYTES - 1].iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    sector[SECTOR_BYTES - 1] = sum.wrapping_neg();
}

fn data() -> Vec<u8> {
    let mut sector = vec![0; SECTOR_BYTES];
    sector[0] = 1;
    for (entry, (number, flags, value, _)) in sector[2..].chunks_mut(ENTRY_BYTES).zip(ATTRIBUTES) {
        entry[0] = number;
        entry[1..3].copy_from_slice(&flags.to_le_bytes());
        (entry[3], entry[4]) = (value, value);
    }
    sector[362] = 0x02; // off-line tests are complete
    sector[367] = 0x01; // EXECUTE OFF-LINE IMMEDIATE is there
    sector[368] = 0x03; // attributes are saved
    sector
}

fn thresholds() -> Vec<u8> {
    let mut sector = vec![0; SECTOR_BYTES];
    sector[0] = 1;
    for (entry, (number, _, _, threshold)) in sector[2..].chunks_mut(ENTRY_BYTES).zip(ATTRIBUTES) {
        (entry[0], entry[1]) = (number, threshold);
    }
    sector
}

/// The directory, or an empty log.
fn log(address: u8) -> Vec<u8> {
    let mut sector = vec![0; SECTOR_BYTES];
    sector[0] = 1;
    if address == 0 {
        (sector[2], sector[12]) = (1, 1);
    }
    sector
}
