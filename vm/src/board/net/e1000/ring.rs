//! A ring of descriptors in memory (manual, 3.2.6 and 3.4).

use serde::{Deserialize, Serialize};

pub const DESCRIPTOR_BYTES: u32 = 16;

/// Where a ring is and how far both sides are. Nothing that software writes can lead outside of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ring {
    base: u64,
    bytes: u32,
    head: u16,
    tail: u16,
}

impl Ring {
    pub fn read(&self, register: Register) -> u32 {
        match register {
            Register::BaseLow => self.base as u32,
            Register::BaseHigh => (self.base >> 32) as u32,
            Register::Length => self.bytes,
            Register::Head => self.head.into(),
            Register::Tail => self.tail.into(),
        }
    }

    pub fn write(&mut self, register: Register, value: u32) {
        match register {
            Register::BaseLow => self.base = self.base & !0xffff_ffff | u64::from(value & !15),
            Register::BaseHigh => self.base = self.base & 0xffff_ffff | u64::from(value) << 32,
            Register::Length => self.bytes = value & 0x000f_ff80,
            Register::Head => self.head = value as u16,
            Register::Tail => self.tail = value as u16,
        }
    }

    /// Number of descriptors.
    pub fn count(&self) -> u32 {
        self.bytes / DESCRIPTOR_BYTES
    }

    /// Descriptors from head to before tail: the hardware's.
    pub fn available(&self) -> u32 {
        let (count, head, tail) = (self.count(), u32::from(self.head), u32::from(self.tail));
        if count == 0 { 0 } else { (tail % count + count - head % count) % count }
    }

    /// Address of the descriptor at the head.
    pub fn at_head(&self) -> u64 {
        let index = u32::from(self.head) % self.count().max(1);
        self.base.wrapping_add((index * DESCRIPTOR_BYTES).into())
    }

    /// The hardware is done with one.
    pub fn advance(&mut self) {
        self.head = ((u32::from(self.head) % self.count().max(1) + 1) % self.count().max(1)) as u16;
    }
}

/// The registers of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    BaseLow,
    BaseHigh,
    Length,
    Head,
    Tail,
}
