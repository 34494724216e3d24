//! The 256 bytes of configuration space of one function.

use serde::{Deserialize, Serialize};

/// Subsystem that QEMU gives its own devices; Linux and firmware tell virtual hardware by it.
const SUBSYSTEM_VENDOR: u16 = 0x1af4;
const SUBSYSTEM: u16 = 0x1100;

/// What a function says it is.
pub(in crate::board) struct Identity {
    pub(in crate::board) vendor: u16,
    pub(in crate::board) device: u16,
    pub(in crate::board) revision: u8,
    /// Class, subclass, programming interface.
    pub(in crate::board) class: u32,
    pub(in crate::board) command: u16,
    pub(in crate::board) status: u16,
    pub(in crate::board) header_type: u8,
}

/// The registers, byte `n` in bits `8 * (n % 8)` of word `n / 8`: serde knows arrays of up to 32 elements.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct ConfigSpace([u64; 32]);

impl ConfigSpace {
    pub(super) fn new(identity: &Identity) -> ConfigSpace {
        let mut space = ConfigSpace([0; 32]);
        space.set_u16(0x00, identity.vendor);
        space.set_u16(0x02, identity.device);
        space.set_u16(0x04, identity.command);
        space.set_u16(0x06, identity.status);
        space.set(0x08, identity.revision);
        space.set(0x09, identity.class as u8);
        space.set_u16(0x0a, (identity.class >> 8) as u16);
        space.set(0x0e, identity.header_type);
        space.set_u16(0x2c, SUBSYSTEM_VENDOR);
        space.set_u16(0x2e, SUBSYSTEM);
        space
    }

    /// Zeros: as a mask, nothing can be written.
    pub(super) fn read_only() -> ConfigSpace {
        ConfigSpace([0; 32])
    }

    pub(super) fn get(&self, at: u8) -> u8 {
        self.0[usize::from(at >> 3)].to_le_bytes()[usize::from(at & 7)]
    }

    pub(super) fn get_u16(&self, at: u8) -> u16 {
        u16::from_le_bytes([self.get(at), self.get(at.wrapping_add(1))])
    }

    pub(super) fn set(&mut self, at: u8, value: u8) {
        let shift = 8 * (at & 7);
        let word = &mut self.0[usize::from(at >> 3)];
        *word = *word & !(0xff << shift) | u64::from(value) << shift;
    }

    pub(super) fn set_u16(&mut self, at: u8, value: u16) {
        let [low, high] = value.to_le_bytes();
        self.set(at, low);
        self.set(at.wrapping_add(1), high);
    }

    pub(super) fn get_u32(&self, at: u8) -> u32 {
        u32::from(self.get_u16(at)) | u32::from(self.get_u16(at.wrapping_add(2))) << 16
    }

    pub(super) fn set_u32(&mut self, at: u8, value: u32) {
        self.set_u16(at, value as u16);
        self.set_u16(at.wrapping_add(2), (value >> 16) as u16);
    }

    /// Replaces the bits of `mask`.
    pub(super) fn set_masked(&mut self, at: u8, value: u8, mask: u8) {
        self.set(at, self.get(at) & !mask | value & mask);
    }
}
