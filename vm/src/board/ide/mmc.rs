//! The commands of a CD-ROM drive: what a packet asks for, and what the drive answers.
//!
//! References: SFF-8020i 2.6; MMC-3 (T10 1363D); SPC-2 for INQUIRY, REQUEST SENSE and mode pages.

use super::atapi::PacketData;
use crate::media::MediumShape;
use crate::memory::PhysMemory;
use serde::{Deserialize, Serialize};

/// Bytes of a block.
pub(super) const BLOCK_BYTES: usize = 2048;
/// Address in minutes, seconds and frames of block 0.
const MSF_OFFSET: u64 = 150;
const LEAD_OUT: u8 = 0xaa;
/// What is larger is a DVD.
const CD_BYTES_MAX: u64 = 800 << 20;
/// Where the data of a DVD begins, in its own numbers of sectors.
const DVD_DATA_START: u32 = 0x3_0000;
/// A data track that permits copying of nothing.
const DATA_TRACK: u8 = 0x14;

/// Why a command fails: sense key, additional code and its qualifier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Sense(pub(super) u8, u8, u8);

const NO_MEDIUM: Sense = Sense(2, 0x3a, 1);
const TRAY_OPEN: Sense = Sense(2, 0x3a, 2);
const UNKNOWN_COMMAND: Sense = Sense(5, 0x20, 0);
const OUT_OF_RANGE: Sense = Sense(5, 0x21, 0);
const BAD_FIELD: Sense = Sense(5, 0x24, 0);
const WRONG_MEDIUM: Sense = Sense(5, 0x30, 0);
const LOCKED: Sense = Sense(5, 0x53, 2);
const MEDIUM_CHANGED: Sense = Sense(6, 0x28, 0);
const WAS_RESET: Sense = Sense(6, 0x29, 0);

impl Sense {
    /// The error register: the key, and that the command was aborted.
    pub(super) fn error(self) -> u8 {
        self.0 << 4 | 0x04
    }
}

/// What a command does.
#[derive(Debug, PartialEq)]
pub(super) enum Reply {
    Done,
    /// The host gets these bytes.
    Data(Vec<u8>),
    /// The host gets blocks.
    Blocks {
        lba: u64,
        count: u64,
    },
    /// The host gives so many bytes.
    Parameters(u16),
}

/// A CD-ROM drive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Cd {
    medium: Option<MediumShape>,
    tray_open: bool,
    locked: bool,
    /// The next command is told of a reset, the one after it that the medium is another one.
    was_reset: bool,
    changed: bool,
    /// What GET EVENT STATUS NOTIFICATION reports next: 0 nothing, 2 new medium, 3 medium removed.
    event: u8,
    sense: Sense,
    /// The running packet command.
    pub(super) packet: Option<PacketData>,
}

fn be16(value: usize) -> [u8; 2] {
    (value.min(0xffff) as u16).to_be_bytes()
}

fn word(packet: &[u8; 12], at: usize) -> usize {
    usize::from(u16::from_be_bytes([packet[at], packet[at + 1]]))
}

fn long(packet: &[u8; 12], at: usize) -> u64 {
    u32::from_be_bytes([packet[at], packet[at + 1], packet[at + 2], packet[at + 3]]).into()
}

/// At most as many bytes as the host has room for.
fn data(mut bytes: Vec<u8>, room: usize) -> Result<Reply, Sense> {
    bytes.truncate(room);
    Ok(Reply::Data(bytes))
}

impl Cd {
    pub(super) fn new(medium: Option<MediumShape>) -> Cd {
        Cd {
            medium,
            tray_open: false,
            locked: false,
            was_reset: true,
            changed: false,
            event: 0,
            sense: Sense::default(),
            packet: None,
        }
    }

    /// The drive after the reset line: the tray stays as it is.
    pub(super) fn after_reset(&self) -> Cd {
        Cd { tray_open: self.tray_open, ..Cd::new(self.medium) }
    }

    /// Another medium, or none.
    pub(super) fn change(&mut self, medium: Option<MediumShape>) {
        self.event = if medium.is_some() { 2 } else { 3 };
        self.changed = medium.is_some();
        (self.medium, self.tray_open, self.locked) = (medium, medium.is_none(), false);
    }

    fn loaded(&self) -> Option<MediumShape> {
        self.medium.filter(|_| !self.tray_open)
    }

    fn ready(&self) -> Result<u64, Sense> {
        match self.loaded() {
            Some(medium) => Ok(medium.bytes / BLOCK_BYTES as u64),
            None if self.tray_open => Err(TRAY_OPEN),
            None => Err(NO_MEDIUM),
        }
    }

    /// Reads the medium.
    pub(super) fn read(&self, mem: &mut dyn PhysMemory, offset: u64, buf: &mut [u8]) {
        match self.loaded() {
            Some(medium) => mem.read_medium(medium.number, offset, buf),
            None => buf.fill(0),
        }
    }

    /// Carries out a command. A failure is remembered for REQUEST SENSE.
    pub(super) fn run(&mut self, packet: &[u8; 12]) -> Result<Reply, Sense> {
        // These come through whatever has happened (MMC-3, 4.1.6.1).
        let always = matches!(packet[0], 0x03 | 0x12 | 0x46 | 0x4a);
        let attention = if always { None } else { self.take_attention() };
        let result = attention.map_or_else(|| self.command(packet), Err);
        if packet[0] != 0x03 {
            self.sense = result.as_ref().err().copied().unwrap_or_default();
        }
        result
    }

    fn command(&mut self, packet: &[u8; 12]) -> Result<Reply, Sense> {
        match packet[0] {
            0x00 => self.ready().map(|_| Reply::Done),
            0x03 => data(self.request_sense(), packet[4].into()),
            0x12 => self.inquiry(packet),
            0x15 => Ok(Reply::Parameters(packet[4].into())),
            0x55 => Ok(Reply::Parameters(word(packet, 7) as u16)),
            0x1a => self.mode_sense(packet, false),
            0x5a => self.mode_sense(packet, true),
            0x1b => self.start_stop(packet[4]),
            0x1e => {
                self.locked = packet[4] & 1 != 0;
                Ok(Reply::Done)
            }
            0x25 => {
                let last = self.ready()?.saturating_sub(1) as u32;
                Ok(Reply::Data([last.to_be_bytes(), (BLOCK_BYTES as u32).to_be_bytes()].concat()))
            }
            0x28 => self.read_blocks(long(packet, 2), word(packet, 7) as u64),
            0xa8 => self.read_blocks(long(packet, 2), long(packet, 6)),
            0xbe => self.read_cd(packet),
            0xb9 => self.read_cd_msf(packet),
            0x2b => match long(packet, 2) < self.ready()? {
                true => Ok(Reply::Done),
                false => Err(OUT_OF_RANGE),
            },
            0x42 => self.read_subchannel(packet),
            0x43 => self.read_toc(packet),
            0x46 => self.get_configuration(packet),
            0x4a => self.event_status(packet),
            0x51 => self.disc_information(packet),
            0xad => self.dvd_structure(packet),
            // STOP PLAY/SCAN, SET CD SPEED: nothing plays, and time is not told apart.
            0x4e | 0xbb => self.ready().map(|_| Reply::Done),
            0xbd => {
                let state = if self.tray_open { 0x10 } else { 0 };
                data(vec![0, state, 0, 0, 0, 1, 0, 0], word(packet, 8))
            }
            other => {
                tracing::debug!(command = format_args!("{other:#04x}"), "a packet command that is not there");
                Err(UNKNOWN_COMMAND)
            }
        }
    }

    /// What the host has not been told yet (SPC-2, 5.6 "Unit attention condition").
    fn take_attention(&mut self) -> Option<Sense> {
        if std::mem::take(&mut self.was_reset) {
            return Some(WAS_RESET);
        }
        std::mem::take(&mut self.changed).then_some(MEDIUM_CHANGED)
    }

    fn request_sense(&mut self) -> Vec<u8> {
        let Sense(key, code, qualifier) = match std::mem::take(&mut self.sense) {
            Sense(0, ..) => self.take_attention().unwrap_or_default(),
            sense => sense,
        };
        let mut bytes = vec![0; 18];
        (bytes[0], bytes[2], bytes[7], bytes[12], bytes[13]) = (0x70, key, 10, code, qualifier);
        bytes
    }

    fn inquiry(&self, packet: &[u8; 12]) -> Result<Reply, Sense> {
        if packet[1] & 1 != 0 || packet[2] != 0 {
            return Err(BAD_FIELD);
        }
        let mut bytes = vec![0x05, 0x80, 0x00, 0x21, 31, 0, 0, 0];
        bytes.extend(b"RETRO   DVD-ROM         1.0 ");
        data(bytes, packet[4].into())
    }

    fn mode_sense(&self, packet: &[u8; 12], ten: bool) -> Result<Reply, Sense> {
        let (control, wanted) = (packet[2] >> 6, packet[2] & 0x3f);
        // Nothing can be changed, and so nothing is saved.
        if control == 3 {
            return Err(Sense(5, 0x39, 0));
        }
        let recovery = [0x01, 6, 0, 5, 0, 0, 0, 0];
        let audio = [0x0e, 14, 4, 0, 0, 0, 0, 0, 1, 0xff, 2, 0xff, 0, 0, 0, 0];
        // Reads DVDs; ejects and locks; a tray; 4 x 176 kB/s.
        let mut capabilities = [0; 22];
        capabilities[..2].copy_from_slice(&[0x2a, 20]);
        capabilities[2] = 0x3b;
        capabilities[4..8].copy_from_slice(&[0x70, 0x00, 0x29 | u8::from(self.locked) << 1, 0]);
        capabilities[8..16].copy_from_slice(&[0x02, 0xc2, 0, 2, 0x02, 0x00, 0x02, 0xc2]);
        let pages: [&[u8]; 3] = [&recovery, &audio, &capabilities];
        let chosen: Vec<u8> = pages
            .iter()
            .filter(|page| wanted == 0x3f || page[0] == wanted)
            .flat_map(|page| page.to_vec())
            .collect();
        if chosen.is_empty() {
            return Err(BAD_FIELD);
        }
        let kind = if self.loaded().is_some() { 0x01 } else { 0x70 };
        let head = if ten { vec![0, 0, kind, 0, 0, 0, 0, 0] } else { vec![0, kind, 0, 0] };
        let mut bytes = [head, chosen].concat();
        if ten {
            let len = be16(bytes.len() - 2);
            bytes[..2].copy_from_slice(&len);
        } else {
            bytes[0] = (bytes.len() - 1) as u8;
        }
        data(bytes, if ten { word(packet, 7) } else { packet[4].into() })
    }

    fn start_stop(&mut self, what: u8) -> Result<Reply, Sense> {
        match what & 3 {
            2 if self.locked => return Err(LOCKED),
            2 if !self.tray_open => (self.tray_open, self.event) = (true, 3),
            3 if self.tray_open => {
                self.tray_open = false;
                if self.medium.is_some() {
                    (self.changed, self.event) = (true, 2);
                }
            }
            _ => {}
        }
        Ok(Reply::Done)
    }

    fn read_blocks(&self, lba: u64, count: u64) -> Result<Reply, Sense> {
        let end = self.ready()?;
        if count == 0 {
            return Ok(Reply::Done);
        }
        if lba.saturating_add(count) > end {
            return Err(OUT_OF_RANGE);
        }
        Ok(Reply::Blocks { lba, count })
    }

    /// READ CD: user data only.
    fn read_cd(&self, packet: &[u8; 12]) -> Result<Reply, Sense> {
        let count = u64::from(packet[6]) << 16 | word(packet, 7) as u64;
        self.read_parts(packet, long(packet, 2), count)
    }

    /// READ CD MSF.
    fn read_cd_msf(&self, packet: &[u8; 12]) -> Result<Reply, Sense> {
        let address = |at: usize| {
            let [m, s, f] = [0, 1, 2].map(|i| u64::from(packet[at + i]));
            ((m * 60 + s) * 75 + f).checked_sub(MSF_OFFSET).ok_or(OUT_OF_RANGE)
        };
        let (from, to) = (address(3)?, address(6)?);
        self.read_parts(packet, from, to.checked_sub(from).ok_or(BAD_FIELD)?)
    }

    fn read_parts(&self, packet: &[u8; 12], lba: u64, count: u64) -> Result<Reply, Sense> {
        match packet[9] & 0xf8 {
            _ if packet[10] & 7 != 0 => Err(BAD_FIELD),
            0x00 => self.ready().map(|_| Reply::Done),
            0x10 => self.read_blocks(lba, count),
            _ => Err(BAD_FIELD),
        }
    }

    /// A block's address in four bytes.
    fn address(lba: u64, msf: bool) -> [u8; 4] {
        if !msf {
            return (lba as u32).to_be_bytes();
        }
        let frames = lba + MSF_OFFSET;
        [0, (frames / 75 / 60) as u8, (frames / 75 % 60) as u8, (frames % 75) as u8]
    }

    fn read_subchannel(&self, packet: &[u8; 12]) -> Result<Reply, Sense> {
        self.ready()?;
        const NO_STATUS: u8 = 0x15;
        let mut bytes = vec![0, NO_STATUS, 0, 0];
        if packet[2] & 0x40 != 0 {
            let item: Vec<u8> = match packet[3] {
                1 => [[1, DATA_TRACK, 1, 1], [0; 4], [0; 4]].concat(),
                format @ (2 | 3) => [[format, DATA_TRACK, 1, 0], [0; 4], [0; 4], [0; 4], [0; 4]].concat(),
                _ => return Err(BAD_FIELD),
            };
            bytes[3] = item.len() as u8;
            bytes.extend(item);
        }
        data(bytes, word(packet, 7))
    }

    fn read_toc(&self, packet: &[u8; 12]) -> Result<Reply, Sense> {
        let end = self.ready()?;
        let msf = packet[1] & 2 != 0;
        // SFF-8020i has the format in the control byte.
        let format = if packet[2] & 15 != 0 { packet[2] & 15 } else { packet[9] >> 6 };
        let entry = |track: u8, lba: u64| [[0, DATA_TRACK, track, 0], Cd::address(lba, msf)].concat();
        let mut bytes = vec![0, 0, 1, 1];
        match format {
            0 => {
                if packet[6] > 1 && packet[6] != LEAD_OUT {
                    return Err(BAD_FIELD);
                }
                if packet[6] <= 1 {
                    bytes.extend(entry(1, 0));
                }
                bytes.extend(entry(LEAD_OUT, end));
            }
            1 => bytes.extend(entry(1, 0)),
            2 => {
                let [_, m, s, f] = Cd::address(end, true);
                for (point, [m, s, f]) in
                    [(0xa0, [1, 0, 0]), (0xa1, [1, 0, 0]), (0xa2, [m, s, f]), (1, [0, 2, 0])]
                {
                    bytes.extend([1, DATA_TRACK, 0, point, 0, 0, 0, 0, m, s, f]);
                }
            }
            _ => return Err(BAD_FIELD),
        }
        let len = be16(bytes.len() - 2);
        bytes[..2].copy_from_slice(&len);
        data(bytes, word(packet, 7))
    }

    fn get_configuration(&self, packet: &[u8; 12]) -> Result<Reply, Sense> {
        let (kind, first) = (packet[1] & 3, word(packet, 2));
        let profile = match self.loaded() {
            None => 0,
            Some(medium) if medium.bytes > CD_BYTES_MAX => 0x10,
            Some(_) => 0x08,
        };
        let current = |is: bool| u8::from(is);
        let features: [(usize, Vec<u8>); 4] = [
            (0, vec![3, 8, 0, 0x10, current(profile == 0x10), 0, 0, 0x08, current(profile == 0x08), 0]),
            (1, vec![0x0b, 8, 0, 0, 0, 2, 1, 0, 0, 0]),
            (2, vec![0x07, 4, 0x02, 0, 0, 0]),
            (3, vec![0x03, 4, 0x29, 0, 0, 0]),
        ];
        let mut bytes = vec![0; 8];
        bytes[6..8].copy_from_slice(&be16(profile));
        for (number, feature) in features {
            let wanted = if kind == 2 { number == first } else { number >= first };
            if wanted {
                bytes.extend(be16(number));
                bytes.extend(feature);
            }
        }
        let len = (bytes.len() as u32 - 4).to_be_bytes();
        bytes[..4].copy_from_slice(&len);
        data(bytes, word(packet, 7))
    }

    fn event_status(&mut self, packet: &[u8; 12]) -> Result<Reply, Sense> {
        const MEDIA: u8 = 1 << 4;
        if packet[1] & 1 == 0 {
            return Err(BAD_FIELD); // only polling
        }
        if packet[4] & MEDIA == 0 {
            return data(vec![0, 2, 0x80, MEDIA], word(packet, 7));
        }
        let state = u8::from(self.tray_open) | u8::from(self.loaded().is_some()) << 1;
        let event = std::mem::take(&mut self.event);
        data(vec![0, 6, 4, MEDIA, event, state, 0, 0], word(packet, 7))
    }

    fn disc_information(&self, packet: &[u8; 12]) -> Result<Reply, Sense> {
        self.ready()?;
        let mut bytes = vec![0; 34];
        // A complete disc of one session with one track.
        bytes[..9].copy_from_slice(&[0, 32, 0x0e, 1, 1, 1, 1, 0x20, 0]);
        bytes[16..24].fill(0xff);
        data(bytes, word(packet, 7))
    }

    /// READ DVD STRUCTURE (MMC-3, 5.27): of a DVD-ROM of one layer, which is not protected.
    fn dvd_structure(&self, packet: &[u8; 12]) -> Result<Reply, Sense> {
        let blocks = self.ready()?;
        if blocks * BLOCK_BYTES as u64 <= CD_BYTES_MAX {
            return Err(WRONG_MEDIUM);
        }
        let mut structure = match packet[7] {
            // 120 mm, no rate given, one layer, read only.
            0x00 => {
                let last = DVD_DATA_START.saturating_add(blocks as u32 - 1);
                let mut physical = vec![0x01, 0x0f, 0x01, 0];
                physical.extend([DVD_DATA_START, last, 0].map(u32::to_be_bytes).concat());
                physical.resize(2048, 0);
                physical
            }
            0x01 => vec![0; 4],    // copyright
            0x04 => vec![0; 2048], // of the manufacturer
            _ => return Err(BAD_FIELD),
        };
        let mut bytes = vec![0; 4];
        bytes[..2].copy_from_slice(&be16(structure.len() + 2));
        bytes.append(&mut structure);
        data(bytes, word(packet, 8))
    }
}
