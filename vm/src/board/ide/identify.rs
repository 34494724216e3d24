//! What IDENTIFY DEVICE and IDENTIFY PACKET DEVICE say.
//!
//! Reference: ATA/ATAPI-6, 8.15 and 8.16, tables 27 and 28.

use super::ata::{Geometry, MULTIPLE_MAX};
use super::device::{Device, Unit};
use super::{SECTOR_BYTES, ata::Disk};

const WORDS: usize = 256;
/// Sectors that two words can count.
const LBA28_MAX: u64 = (1 << 28) - 1;
/// Versions 4 to 6 of the standard.
const VERSIONS: u16 = 0x0070;

/// A sector of words.
struct Words([u16; WORDS]);

impl Words {
    fn new() -> Words {
        Words([0; WORDS])
    }

    /// A text, padded with blanks, the first character of each word in its upper byte.
    fn text(&mut self, at: usize, words: usize, text: &str) {
        let mut bytes = text.bytes().chain(std::iter::repeat(b' '));
        for word in &mut self.0[at..at + words] {
            *word = [bytes.next(), bytes.next()]
                .into_iter()
                .flatten()
                .fold(0, |word, b| word << 8 | u16::from(b));
        }
    }

    /// A number, low word first.
    fn number(&mut self, at: usize, words: usize, value: u64) {
        for i in 0..words {
            self.0[at + i] = (value >> (16 * i)) as u16;
        }
    }

    /// With the signature and the checksum in the last word.
    fn seal(mut self) -> Vec<u8> {
        self.0[255] = 0x00a5;
        let mut bytes: Vec<u8> = self.0.iter().flat_map(|word| word.to_le_bytes()).collect();
        let sum = bytes[..SECTOR_BYTES - 1].iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
        bytes[SECTOR_BYTES - 1] = sum.wrapping_neg();
        bytes
    }
}

impl Device {
    /// Words 53, 62 to 68 and 88: how data can be moved.
    fn transfer_words(&self, words: &mut Words) {
        words.0[53] = 0x0007; // words 54 to 58, 64 to 70 and 88 are valid
        let chosen = |kind: u8| match self.transfer_mode {
            mode if mode & 0xf8 == kind => 0x100 << (mode & 7),
            _ => 0,
        };
        words.0[63] = 0x0007 | chosen(0x20);
        words.0[64] = 0x0003; // PIO modes 3 and 4
        for word in 65..=68 {
            words.0[word] = 120; // ns for a word
        }
        words.0[88] = 0x003f | chosen(0x40);
        words.0[93] = 0x600b; // 80 wires, and who found out
    }

    fn serial(&self) -> String {
        format!("RG{:05}", self.slot as u8 + 1)
    }

    /// IDENTIFY DEVICE.
    pub(super) fn identify_disk(&self) -> Vec<u8> {
        let Unit::Disk(disk) = &self.unit else { return vec![0; SECTOR_BYTES] };
        let mut words = Words::new();
        let sectors = disk.sectors();
        let power_on = Geometry::of(disk.reach.native);
        words.0[0] = 0x0040; // a fixed disk
        words.0[1] = power_on.cylinders;
        words.0[2] = 0xc837; // need not be spun up
        words.0[3] = power_on.heads.into();
        // Words that ATA-1 had, in bytes of a track and of a sector.
        (words.0[4], words.0[5]) = (u16::from(power_on.sectors) * 512, 512);
        words.0[6] = power_on.sectors.into();
        words.text(10, 10, &self.serial());
        (words.0[20], words.0[21], words.0[22]) = (3, 512, 4);
        words.text(23, 4, "1.0");
        words.text(27, 20, "RETROGRADE HARDDISK");
        words.0[47] = 0x8000 | u16::from(MULTIPLE_MAX);
        words.0[48] = 1;
        words.0[49] = 0x2b00; // the standard's standby timer; IORDY, LBA, DMA
        words.0[50] = 0x4000;
        (words.0[51], words.0[52]) = (0x0200, 0x0200);
        self.geometry_words(disk, &mut words);
        words.0[59] = if disk.multiple > 0 { 0x100 | u16::from(disk.multiple) } else { 0 };
        words.number(60, 2, sectors.min(LBA28_MAX));
        self.transfer_words(&mut words);
        (words.0[80], words.0[81]) = (VERSIONS, 0x0016);
        self.command_set_words(disk, &mut words);
        words.0[92] = disk.security.revision;
        words.number(100, 4, sectors);
        words.0[128] = disk.security.word();
        words.seal()
    }

    /// Words 54 to 58: what INITIALIZE DEVICE PARAMETERS chose.
    fn geometry_words(&self, disk: &Disk, words: &mut Words) {
        let Geometry { cylinders, heads, sectors } = disk.geometry;
        (words.0[54], words.0[55], words.0[56]) = (cylinders, heads.into(), sectors.into());
        words.number(57, 2, disk.geometry.capacity());
    }

    /// Words 82 to 87: which commands are there, and which are on.
    fn command_set_words(&self, disk: &Disk, words: &mut Words) {
        const SMART: u16 = 0x0001;
        const SECURITY: u16 = 0x0002;
        const POWER: u16 = 0x0008;
        const WRITE_CACHE: u16 = 0x0020;
        const LOOK_AHEAD: u16 = 0x0040;
        const PROTECTED_AREA_AND_BUFFERS: u16 = 0x3400;
        const FLUSH_AND_48_BITS: u16 = 0x3400;
        words.0[82] = SMART | SECURITY | POWER | WRITE_CACHE | LOOK_AHEAD | PROTECTED_AREA_AND_BUFFERS;
        words.0[83] = 0x4000 | FLUSH_AND_48_BITS;
        words.0[84] = 0x4000;
        let on = |is_on: bool, bit: u16| if is_on { bit } else { 0 };
        words.0[85] = on(disk.smart, SMART)
            | on(disk.security.is_enabled(), SECURITY)
            | POWER
            | PROTECTED_AREA_AND_BUFFERS
            | on(self.write_cache, WRITE_CACHE)
            | on(self.look_ahead, LOOK_AHEAD);
        words.0[86] = FLUSH_AND_48_BITS;
        words.0[87] = 0x4000;
    }

    /// IDENTIFY PACKET DEVICE.
    pub(super) fn identify_packet(&self) -> Vec<u8> {
        let mut words = Words::new();
        words.0[0] = 0x85c0; // a CD-ROM drive, removable, DRQ within 50 us, packets of 12 bytes
        words.text(10, 10, &self.serial());
        (words.0[20], words.0[21], words.0[22]) = (3, 512, 4);
        words.text(23, 4, "1.0");
        words.text(27, 20, "RETROGRADE DVD-ROM");
        words.0[48] = 1;
        words.0[49] = 0x0b00;
        self.transfer_words(&mut words);
        (words.0[71], words.0[72]) = (30, 30);
        (words.0[80], words.0[81]) = (VERSIONS, 0x0016);
        (words.0[82], words.0[83], words.0[84]) = (0x4218, 0x4000, 0x4000); // NOP, DEVICE RESET, PACKET, power
        (words.0[85], words.0[87]) = (0x4218, 0x4000);
        words.seal()
    }
}
