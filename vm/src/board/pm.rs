//! Power management of the PIIX4 as ACPI sees it: the PM I/O block, the general-purpose events, the APM ports.
//!
//! | where           | what                                                              |
//! |-----------------|-------------------------------------------------------------------|
//! | PMBASE+0x00, 02 | PM1 status (write one to clear), PM1 enable                       |
//! | PMBASE+0x04     | PM1 control: SCI_EN, SLP_TYP, SLP_EN                              |
//! | PMBASE+0x08     | PM timer: 24 bits at 3.579545 MHz                                 |
//! | 0xafe0..0xafe3  | GPE0 status and enable, where QEMU's and SeaBIOS's FADT put them  |
//! | 0xb2, 0xb3      | APM control (SMI_CMD of the FADT) and status                      |
//!
//! References: Intel 82371AB (PIIX4) data sheet, "Power Management I/O Space Registers"; ACPI 1.0b, section 4.7.
//!
//! There is no system management mode: a write to 0xb2 that asks for ACPI mode has its effect at once. Sleep types are
//! those of QEMU's DSDT: 0 is \_S5 and 2 is \_S4, and both turn the machine off; any other (1 is \_S3) wakes up at once.

use crate::board::Request;
use crate::units::VmTime;
use serde::{Deserialize, Serialize};

/// First port of the GPE0 block.
pub const GPE0_BASE: u16 = 0xafe0;
/// Ports of the GPE0 block.
pub const GPE0_PORTS: u16 = 4;
/// APM control port, SMI_CMD of the FADT.
pub const APM_CONTROL: u16 = 0xb2;
/// APM status port.
pub const APM_STATUS: u16 = 0xb3;
/// Ports that the PM I/O block decodes from PMBASE on.
pub const PM_PORTS: u16 = 64;

const APM_ACPI_ENABLE: u8 = 0xf1;
const APM_ACPI_DISABLE: u8 = 0xf0;

const TIMER_HZ: u128 = 3_579_545;
const NS_PER_S: u128 = 1_000_000_000;
const TIMER_MASK: u32 = 0x00ff_ffff;
/// TMR_STS is set whenever this bit of the timer changes.
const TIMER_STATUS_BIT: u32 = 23;

const TMR: u16 = 1 << 0;
const BUS_MASTER: u16 = 1 << 4;
const GLOBAL: u16 = 1 << 5;
const POWER_BUTTON: u16 = 1 << 8;
const RTC: u16 = 1 << 10;
const WAKE: u16 = 1 << 15;
const STATUS_BITS: u16 = TMR | BUS_MASTER | GLOBAL | POWER_BUTTON | RTC | WAKE;
const ENABLE_BITS: u16 = TMR | GLOBAL | POWER_BUTTON | RTC;

const SCI_EN: u16 = 1 << 0;
/// Bits of PM1 control that read back: SCI_EN, BM_RLD, SLP_TYP.
const CONTROL_BITS: u16 = 0x1c03;
/// SLP_EN in the high byte of PM1 control; write only.
const SLEEP_ENABLE: u8 = 0x20;

/// The PM I/O block, GPE0 and the APM ports.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AcpiPm {
    status: u16,
    enable: u16,
    control: u16,
    gpe_status: u16,
    gpe_enable: u16,
    apm_control: u8,
    apm_status: u8,
    /// Changes of timer bit 23 since power-on that TMR_STS has seen.
    timer_changes: u64,
}

impl AcpiPm {
    /// The chip at power-on: the timer counts from virtual time 0.
    pub fn new() -> AcpiPm {
        AcpiPm::default()
    }

    /// A reset at `now`: the registers are cleared, the timer goes on.
    pub fn reset(&mut self, now: VmTime) {
        *self = AcpiPm { timer_changes: timer_changes(now), ..AcpiPm::default() };
    }

    /// IN of `size` bytes at PMBASE + `offset`.
    pub fn read(&mut self, offset: u16, size: u8, now: VmTime) -> u32 {
        self.advance(now);
        join_bytes(offset, size, |at| self.read_byte(at, now))
    }

    /// OUT of `size` bytes at PMBASE + `offset`.
    pub fn write(&mut self, offset: u16, size: u8, value: u32, now: VmTime) -> Option<Request> {
        self.advance(now);
        let mut request = None;
        for (at, byte) in split_bytes(offset, size, value) {
            request = request.or(self.write_byte(at, byte));
        }
        request
    }

    /// IN of `size` bytes at [`GPE0_BASE`] + `offset`.
    pub fn read_gpe(&self, offset: u16, size: u8) -> u32 {
        join_bytes(offset, size, |at| match at {
            0 | 1 => half(self.gpe_status, at),
            2 | 3 => half(self.gpe_enable, at),
            _ => 0,
        })
    }

    /// OUT of `size` bytes at [`GPE0_BASE`] + `offset`.
    pub fn write_gpe(&mut self, offset: u16, size: u8, value: u32) {
        for (at, byte) in split_bytes(offset, size, value) {
            match at {
                0 | 1 => self.gpe_status &= !in_half(byte, at),
                2 | 3 => self.gpe_enable = self.gpe_enable & !in_half(0xff, at) | in_half(byte, at),
                _ => {}
            }
        }
    }

    /// IN from [`APM_CONTROL`] or [`APM_STATUS`].
    pub fn read_apm(&self, port: u16) -> u8 {
        if port == APM_STATUS { self.apm_status } else { self.apm_control }
    }

    /// OUT to [`APM_CONTROL`] or [`APM_STATUS`].
    pub fn write_apm(&mut self, port: u16, value: u8) {
        if port == APM_STATUS {
            self.apm_status = value;
            return;
        }
        self.apm_control = value;
        match value {
            APM_ACPI_ENABLE => self.control |= SCI_EN,
            APM_ACPI_DISABLE => self.control &= !SCI_EN,
            _ => {}
        }
    }

    /// The system control interrupt line.
    pub fn sci(&self) -> bool {
        self.control & SCI_EN != 0
            && (self.status & self.enable & ENABLE_BITS != 0 || self.gpe_status & self.gpe_enable != 0)
    }

    /// The power button is pressed.
    pub fn power_button(&mut self, now: VmTime) {
        self.advance(now);
        self.status |= POWER_BUTTON;
    }

    /// Does what happens up to and including `now`.
    pub fn advance(&mut self, now: VmTime) {
        let changes = timer_changes(now);
        if changes > self.timer_changes {
            self.timer_changes = changes;
            self.status |= TMR;
        }
    }

    /// When the timer next raises the SCI. While it cannot, its status is brought up to date by whoever reads it.
    pub fn next_event(&self) -> Option<VmTime> {
        let armed = self.control & SCI_EN != 0 && self.enable & TMR != 0 && self.status & TMR == 0;
        if !armed {
            return None;
        }
        let ticks = (u128::from(self.timer_changes) + 1) << TIMER_STATUS_BIT;
        u64::try_from((ticks * NS_PER_S).div_ceil(TIMER_HZ)).ok().map(VmTime)
    }

    fn read_byte(&self, at: u16, now: VmTime) -> u8 {
        match at {
            0 | 1 => half(self.status, at),
            2 | 3 => half(self.enable, at),
            4 | 5 => half(self.control, at),
            8..=11 => (timer_ticks(now) as u32 & TIMER_MASK).to_le_bytes()[usize::from(at & 3)],
            // The processor, device and GPIO registers do nothing here.
            _ => 0,
        }
    }

    fn write_byte(&mut self, at: u16, byte: u8) -> Option<Request> {
        match at {
            0 | 1 => self.status &= !(in_half(byte, at) & STATUS_BITS),
            2 | 3 => {
                self.enable = (self.enable & !in_half(0xff, at) | in_half(byte, at)) & ENABLE_BITS;
            }
            4 | 5 => {
                self.control = (self.control & !in_half(0xff, at) | in_half(byte, at)) & CONTROL_BITS;
                if at == 5 && byte & SLEEP_ENABLE != 0 {
                    return self.sleep(byte >> 2 & 7);
                }
            }
            _ => {}
        }
        None
    }

    fn sleep(&mut self, sleep_type: u8) -> Option<Request> {
        match sleep_type {
            0 | 2 => Some(Request::PowerOff),
            _ => {
                self.status |= WAKE;
                None
            }
        }
    }
}

/// Ticks of the PM timer since power-on.
fn timer_ticks(now: VmTime) -> u64 {
    (u128::from(now.0) * TIMER_HZ / NS_PER_S) as u64
}

fn timer_changes(now: VmTime) -> u64 {
    timer_ticks(now) >> TIMER_STATUS_BIT
}

/// Byte `at & 1` of a 16-bit register.
fn half(register: u16, at: u16) -> u8 {
    register.to_le_bytes()[usize::from(at & 1)]
}

/// `byte` moved to where byte `at & 1` of a 16-bit register is.
fn in_half(byte: u8, at: u16) -> u16 {
    u16::from(byte) << (8 * (at & 1))
}

fn join_bytes(offset: u16, size: u8, byte_at: impl Fn(u16) -> u8) -> u32 {
    let size = u16::from(size.min(4));
    (0..size).fold(0, |value, i| value | u32::from(byte_at(offset.wrapping_add(i))) << (8 * i))
}

fn split_bytes(offset: u16, size: u8, value: u32) -> impl Iterator<Item = (u16, u8)> {
    let bytes = value.to_le_bytes().into_iter().take(usize::from(size));
    bytes.enumerate().map(move |(i, byte)| (offset.wrapping_add(i as u16), byte))
}

#[cfg(test)]
#[path = "pm_tests.rs"]
mod tests;
