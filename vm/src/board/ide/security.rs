//! The security of a disk: passwords that lock it.
//!
//! Reference: ATA/ATAPI-6, 6.5 and 8.30 to 8.35. A disk comes without a password, so a guest has to set one to meet any of
//! this.

use super::SECTOR_BYTES;
use super::ata::Disk;
use super::device::{BLOCK_NS, Device, ERROR_ABORTED, Job, Phase, Then, Unit};
use crate::memory::PhysMemory;
use crate::units::VmTime;
use serde::{Deserialize, Serialize};

pub(super) const SET_PASSWORD: u8 = 0xf1;
pub(super) const UNLOCK: u8 = 0xf2;
pub(super) const ERASE_PREPARE: u8 = 0xf3;
pub(super) const ERASE_UNIT: u8 = 0xf4;
pub(super) const FREEZE_LOCK: u8 = 0xf5;
pub(super) const DISABLE_PASSWORD: u8 = 0xf6;

const PASSWORD_BYTES: usize = 32;
/// Wrong passwords until the disk must be reset.
const ATTEMPTS: u8 = 5;
/// Sectors that are erased at once, and how long that takes.
const ERASED_AT_ONCE: u64 = 128;
const ERASE_NS: u64 = 640_000;

/// Words of IDENTIFY DEVICE.
const WORD_SUPPORTED: u16 = 1 << 0;
const WORD_ENABLED: u16 = 1 << 1;
const WORD_LOCKED: u16 = 1 << 2;
const WORD_FROZEN: u16 = 1 << 3;
const WORD_EXPIRED: u16 = 1 << 4;
const WORD_MAXIMUM: u16 = 1 << 8;

/// Passwords, and what they do at the moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Security {
    /// If there is one, security is enabled.
    user: Option<[u8; PASSWORD_BYTES]>,
    master: [u8; PASSWORD_BYTES],
    /// Which master password it is.
    pub(super) revision: u16,
    /// The master password does not unlock, it only lets the disk be erased.
    maximum: bool,
    locked: bool,
    frozen: bool,
    attempts: u8,
    /// The command before was SECURITY ERASE PREPARE.
    prepared: bool,
}

impl Security {
    pub(super) fn new() -> Security {
        Security {
            user: None,
            master: [0; PASSWORD_BYTES],
            revision: 0xfffe,
            maximum: false,
            locked: false,
            frozen: false,
            attempts: ATTEMPTS,
            prepared: false,
        }
    }

    /// After the reset line: a disk with a password is locked.
    pub(super) fn after_reset(&self) -> Security {
        let locked = self.user.is_some();
        Security { locked, frozen: false, attempts: ATTEMPTS, prepared: false, ..self.clone() }
    }

    pub(super) fn is_enabled(&self) -> bool {
        self.user.is_some()
    }

    /// Word 128 of IDENTIFY DEVICE.
    pub(super) fn word(&self) -> u16 {
        let bits = [
            (self.is_enabled(), WORD_ENABLED),
            (self.locked, WORD_LOCKED),
            (self.frozen, WORD_FROZEN),
            (self.attempts == 0, WORD_EXPIRED),
            (self.maximum && self.is_enabled(), WORD_MAXIMUM),
        ];
        bits.into_iter().filter(|(is, _)| *is).fold(WORD_SUPPORTED, |word, (_, bit)| word | bit)
    }

    /// Whether a command is refused while the disk is as it is (6.5.4, table 7).
    pub(super) fn refuses(&self, command: u8) -> bool {
        match command {
            // What reaches the medium, or changes what can be reached.
            0x20..=0x26 | 0x28..=0x42 | 0xb1 | 0xc4 | 0xc5 | 0xc8..=0xce | 0xe7 | 0xea | 0xf9 => self.locked,
            SET_PASSWORD | DISABLE_PASSWORD => self.locked || self.frozen,
            UNLOCK => self.frozen || self.attempts == 0,
            ERASE_PREPARE => self.frozen,
            ERASE_UNIT => self.frozen || !self.prepared || (self.locked && self.attempts == 0),
            FREEZE_LOCK => self.locked,
            _ => false,
        }
    }

    /// A command begins that is no SECURITY ERASE UNIT.
    pub(super) fn forget_preparation(&mut self) {
        self.prepared = false;
    }

    /// Whether the block has the password that it names; a wrong one for a locked disk is counted.
    fn knows(&mut self, block: &[u8], master_counts: bool) -> bool {
        let password = &block[2..2 + PASSWORD_BYTES];
        let right = match (block[0] & 1 != 0, &self.user) {
            (true, _) => master_counts && self.master == password,
            (false, Some(user)) => user == password,
            // Without a password every one is right.
            (false, None) => true,
        };
        if !right && self.locked {
            self.attempts = self.attempts.saturating_sub(1);
        }
        right
    }

    /// SECURITY SET PASSWORD.
    fn set_password(&mut self, block: &[u8]) {
        let mut password = [0; PASSWORD_BYTES];
        password.copy_from_slice(&block[2..2 + PASSWORD_BYTES]);
        if block[0] & 1 == 0 {
            (self.user, self.maximum) = (Some(password), block[1] & 1 != 0);
            return;
        }
        self.master = password;
        match u16::from_le_bytes([block[34], block[35]]) {
            0 | 0xffff => {}
            revision => self.revision = revision,
        }
    }
}

impl Device {
    /// A command of the security feature set, which the disk does not refuse.
    pub(super) fn security_command(&mut self, command: u8, now: VmTime) {
        let Unit::Disk(disk) = &mut self.unit else { return };
        match command {
            ERASE_PREPARE => disk.security.prepared = true,
            FREEZE_LOCK => disk.security.frozen = true,
            _ => return self.ask_for_block(command),
        }
        self.finish(0, now);
    }

    /// The host is to write a block for `command`.
    pub(super) fn ask_for_block(&mut self, command: u8) {
        self.job = Job::Block(command);
        self.buffer = vec![0; SECTOR_BYTES];
        self.data_request(Phase::Out);
    }

    /// The host has written the block for `command`.
    pub(super) fn take_block(&mut self, command: u8, now: VmTime) {
        let Unit::Disk(Disk { security, sector_buffer, .. }) = &mut self.unit else { return };
        let block = &self.buffer;
        let done = match command {
            SET_PASSWORD => {
                security.set_password(block);
                true
            }
            UNLOCK => {
                let right = security.knows(block, !security.maximum);
                security.locked &= !right;
                right
            }
            DISABLE_PASSWORD => {
                let right = security.knows(block, !security.maximum);
                if right {
                    security.user = None;
                }
                right
            }
            ERASE_UNIT if security.knows(block, true) => {
                self.job = Job::Erase { lba: 0 };
                return self.busy(BLOCK_NS, Then::Erase, now);
            }
            ERASE_UNIT => false,
            // WRITE BUFFER
            _ => {
                sector_buffer.clone_from(block);
                true
            }
        };
        self.end(if done { 0 } else { ERROR_ABORTED });
    }

    /// Erases the next sectors. At the end the disk has no password any more.
    pub(super) fn erase(&mut self, now: VmTime, mem: &mut dyn PhysMemory) {
        let (Unit::Disk(disk), Job::Erase { lba }) = (&mut self.unit, self.job) else { return };
        let count = ERASED_AT_ONCE.min(disk.reach.native.saturating_sub(lba));
        let zeros = vec![0; count as usize * SECTOR_BYTES];
        mem.write_medium(disk.medium.number, lba * SECTOR_BYTES as u64, &zeros);
        if lba + count < disk.reach.native {
            self.job = Job::Erase { lba: lba + count };
            return self.busy(ERASE_NS, Then::Erase, now);
        }
        (disk.security.user, disk.security.locked) = (None, false);
        self.end(0);
    }
}
