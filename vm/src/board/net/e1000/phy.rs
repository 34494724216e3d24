//! The gigabit PHY inside, a Marvell 88E1011 as software sees it through MDIC.
//!
//! References: 8254x manual, 13.4.11 "PHY Registers"; IEEE 802.3, clause 22. The partner on the other side can do everything.

use super::regs;
use crate::units::VmTime;
use serde::{Deserialize, Serialize};

const CONTROL: usize = 0;
const STATUS: usize = 1;
const AUTO_ADVERTISEMENT: usize = 4;
const GIGABIT_CONTROL: usize = 9;
const SPECIFIC_CONTROL: usize = 16;
const SPECIFIC_STATUS: usize = 17;
const INTERRUPT_ENABLE: usize = 18;
const INTERRUPT_STATUS: usize = 19;
const EXTENDED_CONTROL: usize = 20;
const PAGE: usize = 29;
const PAGE_DATA: usize = 30;

const CONTROL_RESET: u16 = 1 << 15;
const CONTROL_LOOPBACK: u16 = 1 << 14;
const CONTROL_AUTO: u16 = 1 << 12;
const CONTROL_POWER_DOWN: u16 = 1 << 11;
const CONTROL_ISOLATE: u16 = 1 << 10;
const CONTROL_RESTART: u16 = 1 << 9;

const STATUS_DONE: u16 = 1 << 5;
const STATUS_LINK: u16 = 1 << 2;
/// 100 and 10 Mbit/s, extended status, autonegotiation possible, extended registers.
const STATUS_ABILITIES: u16 = 0x7949;

/// The address at which the PHY answers.
const ADDRESS: u32 = 1;
/// How long negotiating takes; on a wire it is some seconds, and nobody is helped by waiting.
const NEGOTIATION_NS: u64 = 10_000_000;

/// The PHY.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Phy {
    registers: [u16; 32],
    /// When the link comes up again.
    up_at: Option<VmTime>,
}

impl Phy {
    /// At power-on, with the link up.
    pub fn new() -> Phy {
        let mut registers = [0; 32];
        registers[CONTROL] = 0x1140; // full duplex, 1000 Mbit/s, autonegotiation
        registers[AUTO_ADVERTISEMENT] = 0x0de1;
        registers[GIGABIT_CONTROL] = 0x0e00;
        registers[SPECIFIC_CONTROL] = 0x0360;
        registers[EXTENDED_CONTROL] = 0x0d60;
        Phy { registers, up_at: None }
    }

    /// Its reset line: the link is negotiated anew.
    pub fn reset(&mut self, now: VmTime) {
        *self = Phy::new();
        self.negotiate(now);
    }

    fn negotiate(&mut self, now: VmTime) {
        self.up_at = Some(now.plus_ns(NEGOTIATION_NS));
    }

    /// Whether there is a link.
    pub fn link(&self) -> bool {
        self.up_at.is_none() && self.registers[CONTROL] & (CONTROL_POWER_DOWN | CONTROL_ISOLATE) == 0
    }

    /// Whether frames come back instead of going out.
    pub fn in_loopback(&self) -> bool {
        self.registers[CONTROL] & CONTROL_LOOPBACK != 0
    }

    /// When the link changes by itself.
    pub fn next_event(&self) -> Option<VmTime> {
        self.up_at
    }

    /// Whether the link came up by `now`.
    pub fn advance(&mut self, now: VmTime) -> bool {
        let due = self.up_at.is_some_and(|at| at <= now);
        if due {
            self.up_at = None;
            self.registers[INTERRUPT_STATUS] |= 1 << 10 | 1 << 11;
        }
        due
    }

    /// MDIC after `value` was written to it.
    pub fn mdic(&mut self, value: u32, now: VmTime) -> u32 {
        const WRITE: u32 = 1;
        const READ: u32 = 2;
        const READY: u32 = 1 << 28;
        const ERROR: u32 = 1 << 30;
        let (register, phy, operation) = (value >> 16 & 31, value >> 21 & 31, value >> 26 & 3);
        let kept = value & 0x27ff_0000;
        match operation {
            _ if phy != ADDRESS => kept | value & 0xffff | READY | ERROR,
            READ => kept | READY | u32::from(self.read(register as usize)),
            WRITE => {
                self.write(register as usize, value as u16, now);
                kept | READY | value & 0xffff
            }
            _ => kept | value & 0xffff | READY | ERROR,
        }
    }

    fn read(&mut self, register: usize) -> u16 {
        let up = self.link();
        match register {
            STATUS if up => STATUS_ABILITIES | STATUS_LINK | STATUS_DONE,
            STATUS => STATUS_ABILITIES,
            2 => 0x0141,
            3 => 0x0c20,
            5 if up => 0xcde1,  // the partner's abilities: everything, acknowledged
            6 if up => 0x000f,  // it negotiates, and has sent pages
            10 if up => 0x7c00, // it can do 1000 Mbit/s; we are master, both receivers are fine
            15 => 0x3000,       // 1000BASE-T
            SPECIFIC_STATUS if up => 0xac08, // 1000 Mbit/s, full duplex, resolved, link
            SPECIFIC_STATUS => 0,
            INTERRUPT_STATUS => std::mem::take(&mut self.registers[INTERRUPT_STATUS]),
            5..=8 | 10..=15 => 0,
            _ => self.registers[register & 31],
        }
    }

    fn write(&mut self, register: usize, value: u16, now: VmTime) {
        match register {
            CONTROL if value & CONTROL_RESET != 0 => self.reset(now),
            CONTROL => {
                let kept = value & !(CONTROL_RESTART | 0x003f);
                let changed = self.registers[CONTROL] ^ kept;
                self.registers[CONTROL] = kept;
                let again = value & CONTROL_RESTART != 0 && value & CONTROL_AUTO != 0;
                if again || changed & (CONTROL_POWER_DOWN | CONTROL_ISOLATE) != 0 {
                    self.negotiate(now);
                }
            }
            AUTO_ADVERTISEMENT
            | 7
            | GIGABIT_CONTROL
            | SPECIFIC_CONTROL
            | INTERRUPT_ENABLE
            | EXTENDED_CONTROL
            | 21..=28
            | PAGE
            | PAGE_DATA
            | 31 => self.registers[register] = value,
            _ => tracing::debug!(register, value, "write to a PHY register that cannot be written"),
        }
    }
}

/// STATUS as far as the link decides.
pub fn status(link: bool) -> u32 {
    use regs::status::*;
    if link { FULL_DUPLEX | LINK_UP | SPEED_1000 } else { FULL_DUPLEX | SPEED_1000 }
}
