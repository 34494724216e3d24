//! The real-time clock: an MC146818 with 128 bytes of battery-backed RAM.
//!
//! | port | read | write |
//! |---|---|---|
//! | 0x70 | nothing | bits 0 to 6: address, bit 7: NMI off |
//! | 0x71 | the byte addressed | the byte addressed |
//!
//! The interrupt output is IRQ 8: a level that stays until register C is read. Sections cited are those of Motorola's
//! MC146818 data sheet (1984). The square-wave output goes nowhere on a PC, and daylight saving (DSE) is kept as a bit
//! but does nothing, as in all chips that followed.
//!
//! Of an update cycle a guest can see its end, when the registers change and UF is set, and UIP, which is set from 244 µs
//! before the cycle to its end. Reading during the cycle gives the old time instead of undefined bytes.

use super::clock::Clock;
use super::rtc_calendar::{self as calendar, Format};
use crate::config::{BootDevice, MachineConfig};
use crate::units::VmTime;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Crystal: everything happens at its ticks.
pub const RTC_CLOCK: Clock = Clock::new(32_768);
const TICKS_PER_SECOND: u64 = 32_768;
/// tBUC + tUC of the data sheet with a 32.768 kHz time base: 244 µs and 1984 µs.
const UPDATE_IN_PROGRESS_TICKS: u64 = 8 + 65;
const SECONDS_PER_DAY: u64 = 86_400;

/// Registers by address.
pub mod reg {
    #![allow(missing_docs)] // named as in the data sheet
    pub const SECONDS: usize = 0;
    pub const SECONDS_ALARM: usize = 1;
    pub const MINUTES: usize = 2;
    pub const MINUTES_ALARM: usize = 3;
    pub const HOURS: usize = 4;
    pub const HOURS_ALARM: usize = 5;
    pub const DAY_OF_WEEK: usize = 6;
    pub const DAY: usize = 7;
    pub const MONTH: usize = 8;
    pub const YEAR: usize = 9;
    pub const A: usize = 10;
    pub const B: usize = 11;
    pub const C: usize = 12;
    pub const D: usize = 13;
    pub const CENTURY: usize = 0x32;
}

const A_UIP: u8 = 0x80;
const B_SET: u8 = 0x80;
const B_UIE: u8 = 0x10;
const B_SQWE: u8 = 0x08;
/// PF, AF and UF in C, and their enables in B.
const PERIODIC: u8 = 0x40;
const ALARM: u8 = 0x20;
const UPDATE: u8 = 0x10;
const C_IRQF: u8 = 0x80;

/// The battery-backed bytes.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ram(#[serde(with = "ram_bytes")] [u8; 128]);

impl fmt::Debug for Ram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x?}", self.0)
    }
}

/// The clock chip.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rtc {
    ram: Ram,
    address: u8,
    nmi_masked: bool,
    /// Last crystal tick seen.
    tick: u64,
    /// Tick at which the next update cycle ends, also while SET holds it off; `None` while the divider is held in reset.
    next_update: Option<u64>,
    /// What firmware is to boot from after a reset, if that is something else than before.
    order_after_reset: Option<[Option<BootDevice>; 3]>,
}

impl Rtc {
    /// The chip of a machine whose clock starts at `config.rtc_start`, its RAM set up for PC firmware.
    pub fn new(config: &MachineConfig) -> Rtc {
        let mut ram = [0; 128];
        calendar::set_clock(&mut ram, config.rtc_start);
        super::cmos::set_up(&mut ram, config);
        ram[reg::A] = 0x26; // 32.768 kHz, 1024 Hz periodic rate: what PC firmware expects
        ram[reg::B] = 0x02; // 24 hours, BCD
        Rtc {
            ram: Ram(ram),
            address: 0,
            nmi_masked: false,
            tick: 0,
            next_update: Some(TICKS_PER_SECOND),
            order_after_reset: config.boot.once.map(|_| config.boot_order),
        }
    }

    /// A reset of the machine. The RESET pin: interrupt enables and flags ("Signal Description"). Clock and RAM go on.
    pub fn reset(&mut self) {
        self.ram.0[reg::B] &= !(PERIODIC | ALARM | B_UIE | B_SQWE);
        self.ram.0[reg::C] = 0;
        self.nmi_masked = false;
        if let Some(order) = self.order_after_reset.take() {
            super::cmos::set_boot_order(&mut self.ram.0, order);
        }
    }

    /// Whether bit 7 of port 0x70 keeps NMI from the CPU.
    pub fn nmi_masked(&self) -> bool {
        self.nmi_masked
    }

    /// IRQ 8.
    pub fn irq(&self) -> bool {
        self.ram.0[reg::C] & self.ram.0[reg::B] & (PERIODIC | ALARM | UPDATE) != 0
    }

    /// Reads port 0x70 or 0x71.
    pub fn read(&mut self, port: u16, now: VmTime) -> u8 {
        self.advance(now);
        if port & 1 == 0 {
            return 0xff; // the address register is write-only
        }
        match usize::from(self.address) {
            reg::A => self.ram.0[reg::A] | if self.update_in_progress() { A_UIP } else { 0 },
            reg::C => {
                let irqf = if self.irq() { C_IRQF } else { 0 };
                std::mem::take(&mut self.ram.0[reg::C]) | irqf
            }
            reg::D => 0x80, // VRT: the battery is good
            address => self.ram.0[address],
        }
    }

    /// Writes port 0x70 or 0x71.
    pub fn write(&mut self, port: u16, value: u8, now: VmTime) {
        self.advance(now);
        if port & 1 == 0 {
            self.address = value & 0x7f;
            self.nmi_masked = value & 0x80 != 0;
            return;
        }
        match usize::from(self.address) {
            reg::A => self.write_a(value & !A_UIP),
            // "Register B": SET going high clears UIE.
            reg::B => self.ram.0[reg::B] = if value & B_SET != 0 { value & !B_UIE } else { value },
            reg::C | reg::D => {}
            // "Time, Calendar and Alarm Locations": the top bit of the seconds is read-only.
            reg::SECONDS => self.ram.0[reg::SECONDS] = value & 0x7f,
            address => self.ram.0[address] = value,
        }
    }

    /// DV 11x holds the divider in reset; released, the first update comes half a second later ("Divider Control").
    fn write_a(&mut self, value: u8) {
        self.ram.0[reg::A] = value;
        self.next_update = match (value & 0x60 == 0x60, self.next_update) {
            (true, _) => None,
            (false, None) => Some(self.tick.saturating_add(TICKS_PER_SECOND / 2)),
            (false, running) => running,
        };
    }

    fn set_bit(&self) -> bool {
        self.ram.0[reg::B] & B_SET != 0
    }

    fn update_in_progress(&self) -> bool {
        !self.set_bit()
            && self.next_update.is_some_and(|end| end.saturating_sub(self.tick) <= UPDATE_IN_PROGRESS_TICKS)
    }

    /// Ticks between two periodic interrupts ("Rate Selection", 32.768 kHz column).
    fn periodic_ticks(&self) -> Option<u64> {
        match self.ram.0[reg::A] & 0x0f {
            0 => None,
            rate @ 1..=2 => Some(64 << rate),
            rate => Some(1 << (rate - 1)),
        }
    }

    /// First tick after the present one at which PF is set. Update cycles and the taps of the divider are in phase.
    fn next_periodic(&self) -> Option<u64> {
        let (period, phase) = (self.periodic_ticks()?, self.next_update? % TICKS_PER_SECOND);
        let since = (self.tick % period + period - phase % period) % period;
        self.tick.checked_add(period - since)
    }

    /// Lets the clock run up to and including `now`.
    pub fn advance(&mut self, now: VmTime) {
        let tick = RTC_CLOCK.ticks(now);
        if tick <= self.tick {
            return;
        }
        if self.next_periodic().is_some_and(|at| at <= tick) {
            self.ram.0[reg::C] |= PERIODIC;
        }
        self.tick = tick;
        if let Some(next) = self.next_update.filter(|&next| next <= tick) {
            let seconds = (tick - next) / TICKS_PER_SECOND + 1;
            self.next_update = Some(next.saturating_add(seconds.saturating_mul(TICKS_PER_SECOND)));
            if !self.set_bit() {
                self.ram.0[reg::C] |= UPDATE;
                self.count_seconds(seconds);
            }
        }
    }

    /// `seconds` update cycles.
    fn count_seconds(&mut self, seconds: u64) {
        let singly = seconds.min(SECONDS_PER_DAY + seconds % SECONDS_PER_DAY);
        for _ in 0..singly {
            calendar::next_second(&mut self.ram.0);
            if calendar::alarm_matches(&self.ram.0) {
                self.ram.0[reg::C] |= ALARM;
            }
        }
        // After a whole day every time has been compared with the alarm and the time is a valid one: only the date moves.
        for _ in 0..(seconds - singly) / SECONDS_PER_DAY {
            calendar::next_day(&mut self.ram.0);
        }
    }

    /// When IRQ 8 rises next, if nothing is written.
    pub fn next_event(&self) -> Option<VmTime> {
        if self.irq() {
            return None; // stays until C is read
        }
        let enabled = self.ram.0[reg::B];
        let mut next = None;
        if enabled & PERIODIC != 0 {
            next = self.next_periodic();
        }
        if !self.set_bit() && enabled & (ALARM | UPDATE) != 0 {
            let cycles = if enabled & UPDATE != 0 { Some(0) } else { self.cycles_before_alarm() };
            let cycle =
                cycles.zip(self.next_update).map(|(n, first)| first.saturating_add(n * TICKS_PER_SECOND));
            next = [next, cycle].into_iter().flatten().min();
        }
        RTC_CLOCK.time_of(next?)
    }

    /// Update cycles that pass before the one that meets the alarm. Where the guest left a time or an alarm that is none,
    /// the next cycle, to look again.
    fn cycles_before_alarm(&self) -> Option<u64> {
        let format = Format::of(self.ram.0[reg::B]);
        let Some(now) = calendar::second_of_day(&self.ram.0, format) else { return Some(0) };
        let next = calendar::next_alarm(&self.ram.0, format, (now + 1) % SECONDS_PER_DAY)?;
        Some((next + SECONDS_PER_DAY - (now + 1)) % SECONDS_PER_DAY)
    }
}

/// serde knows arrays of up to 32 elements.
mod ram_bytes {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub fn serialize<S: Serializer>(bytes: &[u8; 128], s: S) -> Result<S::Ok, S::Error> {
        let quarters: [[u8; 32]; 4] = std::array::from_fn(|i| std::array::from_fn(|j| bytes[i * 32 + j]));
        quarters.serialize(s)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<[u8; 128], D::Error> {
        let quarters = <[[u8; 32]; 4]>::deserialize(d)?;
        quarters.as_flattened().try_into().map_err(D::Error::custom)
    }
}

#[cfg(test)]
#[path = "rtc_tests.rs"]
mod tests;
