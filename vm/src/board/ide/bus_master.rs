//! A channel's bus master, which moves data between a device and what a table in memory describes.
//!
//! Reference: SFF-8038i 1.0; 82371SB, 2.7 "Bus Master IDE Registers".

use crate::memory::PhysMemory;
use crate::units::PhysAddr;
use serde::{Deserialize, Serialize};

const COMMAND: u8 = 0;
const STATUS: u8 = 2;
const TABLE: u8 = 4;

const COMMAND_START: u8 = 0x01;
/// Data goes to memory.
const COMMAND_TO_MEMORY: u8 = 0x08;

const STATUS_ACTIVE: u8 = 0x01;
const STATUS_ERROR: u8 = 0x02;
const STATUS_INTERRUPT: u8 = 0x04;
/// What drivers keep for themselves: a device can do DMA.
const STATUS_CAPABLE: u8 = 0x60;

/// Entries of a table, which has 64 KiB at most.
const ENTRIES_MAX: u32 = 8192;
const ENTRY_BYTES: u32 = 8;
const LAST_ENTRY: u32 = 1 << 31;

/// One bus master.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct BusMaster {
    command: u8,
    status: u8,
    table: [u8; 4],
}

impl BusMaster {
    /// IN of a byte.
    pub(super) fn read(&self, register: u8) -> u8 {
        match register {
            COMMAND => self.command,
            STATUS => self.status,
            TABLE.. => self.table[usize::from(register - TABLE) & 3],
            _ => 0xff,
        }
    }

    /// OUT of a byte.
    pub(super) fn write(&mut self, register: u8, value: u8) {
        match register {
            COMMAND => {
                let started = value & !self.command & COMMAND_START != 0;
                if started {
                    self.status |= STATUS_ACTIVE;
                } else if value & COMMAND_START == 0 {
                    self.status &= !STATUS_ACTIVE;
                }
                self.command = value & (COMMAND_START | COMMAND_TO_MEMORY);
            }
            STATUS => {
                let kept = self.status & (STATUS_ACTIVE | STATUS_ERROR | STATUS_INTERRUPT);
                let cleared = value & (STATUS_ERROR | STATUS_INTERRUPT);
                self.status = kept & !cleared | value & STATUS_CAPABLE;
            }
            TABLE.. => {
                self.table[usize::from(register - TABLE) & 3] = value;
                self.table[0] &= !3; // aligned to four bytes
            }
            _ => {}
        }
    }

    /// The device's interrupt line has risen.
    pub(super) fn note_interrupt(&mut self) {
        self.status |= STATUS_INTERRUPT;
    }

    /// Software has started it and it is not done.
    pub(super) fn is_started(&self) -> bool {
        self.command & COMMAND_START != 0 && self.status & STATUS_ACTIVE != 0
    }

    /// Moves the `bytes` that a device has or wants: `piece` is called with the offset and memory for each contiguous part.
    /// True if all of them went through. A table that is too short ends without a word to the driver (8038i, 3.1:
    /// neither interrupt nor active); one that is too long stays active.
    pub(super) fn transfer(
        &mut self,
        bytes: u64,
        to_memory: bool,
        mem: &mut dyn PhysMemory,
        mut piece: impl FnMut(&mut dyn PhysMemory, u64, PhysAddr, usize),
    ) -> bool {
        if to_memory != (self.command & COMMAND_TO_MEMORY != 0) {
            self.status = self.status & !STATUS_ACTIVE | STATUS_ERROR;
            return false;
        }
        let table = u32::from_le_bytes(self.table);
        let mut done = 0;
        for index in 0..ENTRIES_MAX {
            let mut entry = [0; 8];
            let at = table.wrapping_add(index * ENTRY_BYTES);
            mem.read(PhysAddr(at.into()), &mut entry);
            let [addr, flags] =
                [0, 4].map(|i| u32::from_le_bytes([entry[i], entry[i + 1], entry[i + 2], entry[i + 3]]));
            let len = match flags & 0xfffe {
                0 => 0x1_0000,
                len => u64::from(len),
            };
            let now = len.min(bytes - done);
            piece(mem, done, PhysAddr(u64::from(addr & !1)), now as usize);
            done += now;
            let last = flags & LAST_ENTRY != 0;
            if done == bytes {
                if last && now == len {
                    self.status &= !STATUS_ACTIVE;
                }
                return true;
            }
            if last {
                break;
            }
        }
        self.status &= !STATUS_ACTIVE;
        false
    }
}
