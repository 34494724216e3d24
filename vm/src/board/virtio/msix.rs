//! MSI-X: a table of messages that take the place of the interrupt pin.
//!
//! Reference: PCI Local Bus Specification 3.0, 6.8.2 "MSI-X Capability and Table Structures".

use serde::{Deserialize, Serialize};

/// A queue or a change of configuration without a message.
pub const NO_VECTOR: u16 = 0xffff;
/// Offset of the pending bits in the range.
pub const PENDING: u32 = 0x800;

const ENTRY_BYTES: u32 = 16;
const VECTOR_MASKED: u32 = 1;
/// Message control, the upper half of the capability's first register.
pub const CONTROL_ENABLE: u16 = 1 << 15;
const CONTROL_MASK_ALL: u16 = 1 << 14;

/// The table and its pending bits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Msix {
    /// Address, its upper half, data, control of each message.
    entries: Vec<[u32; 4]>,
    pending: u32,
}

impl Msix {
    /// After a reset: all masked.
    pub fn new(vectors: usize) -> Msix {
        Msix { entries: vec![[0, 0, 0, VECTOR_MASKED]; vectors], pending: 0 }
    }

    /// How many there are.
    pub fn vectors(&self) -> u16 {
        self.entries.len() as u16
    }

    /// A vector as a register keeps it: `NO_VECTOR` if there is no such message.
    pub fn checked(&self, vector: u16) -> u16 {
        if vector < self.vectors() { vector } else { NO_VECTOR }
    }

    /// A load of four bytes.
    pub fn read(&self, offset: u32) -> u32 {
        match self.entries.get((offset / ENTRY_BYTES) as usize) {
            Some(entry) => entry[(offset / 4 % 4) as usize],
            None if offset == PENDING => self.pending,
            None => 0,
        }
    }

    /// A store of four bytes.
    pub fn write(&mut self, offset: u32, value: u32) {
        if let Some(entry) = self.entries.get_mut((offset / ENTRY_BYTES) as usize) {
            let field = (offset / 4 % 4) as usize;
            entry[field] = match field {
                0 => value & !3,
                3 => value & VECTOR_MASKED,
                _ => value,
            };
        }
    }

    /// Asks for a message.
    pub fn raise(&mut self, vector: u16) {
        if vector < self.vectors() {
            self.pending |= 1 << vector;
        }
    }

    /// The next message to be sent, address and data, with this message control. While MSI-X is off nothing pends.
    pub fn take(&mut self, control: u16) -> Option<(u64, u32)> {
        if control & CONTROL_ENABLE == 0 {
            self.pending = 0;
        }
        if control & CONTROL_MASK_ALL != 0 {
            return None;
        }
        let vector = (0..self.entries.len()).find(|vector| {
            self.pending >> vector & 1 != 0 && self.entries[*vector][3] & VECTOR_MASKED == 0
        })?;
        self.pending &= !(1 << vector);
        let [low, high, data, _] = self.entries[vector];
        Some((u64::from(high) << 32 | u64::from(low), data))
    }
}
