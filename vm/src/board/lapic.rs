//! The local APIC of the one processor, as the xAPIC of the Pentium 4 has it.
//!
//! 4 KiB of registers, one in the first four bytes of each sixteen, at the address that IA32_APIC_BASE gives. Two inputs:
//! LINT0 is the output of the 8259 pair, LINT1 the NMI line. Interrupts come from the I/O APIC, from the table of local
//! vectors, and from the processor to itself.
//!
//! Reference: Intel SDM volume 3A, chapter 10 "Advanced Programmable Interrupt Controller (APIC)". Left out: x2APIC mode; INIT,
//! SIPI and SMI messages (there is one processor, always running, without system management mode). After reset LINT1 is NMI and LINT0
//! ExtINT, and neither is masked, as firmware leaves them (virtual wire mode), so that systems which do not know of APICs, and the
//! firmware itself, get the interrupts of the 8259.

use super::lapic_timer::{Mode, Timer};
use crate::units::VmTime;
use serde::{Deserialize, Serialize};

/// Where its window is after a reset.
pub const BASE: u32 = 0xfee0_0000;
/// Bytes of its window.
pub const WINDOW: u64 = 0x1000;
/// Where a write is a message to local APICs, but for the window (SDM 3A, 10.11.1).
pub const MESSAGES: std::ops::Range<u64> = 0xfee0_0000..0xfef0_0000;

/// IA32_APIC_BASE: bootstrap processor, enabled.
const BASE_BSP: u64 = 1 << 8;
const BASE_ENABLED: u64 = 1 << 11;
const BASE_ADDRESS: u64 = 0xff_ffff_f000;
const BASE_AFTER_RESET: u64 = BASE as u64 | BASE_BSP | BASE_ENABLED;

/// Version 0x14, last local vector 5 (SDM 3A, 10.4.8).
const VERSION: u32 = 0x0005_0014;

/// Register numbers: offset / 16.
mod reg {
    pub const ID: u8 = 0x02;
    pub const VERSION: u8 = 0x03;
    pub const TPR: u8 = 0x08;
    pub const APR: u8 = 0x09;
    pub const PPR: u8 = 0x0a;
    pub const EOI: u8 = 0x0b;
    pub const LDR: u8 = 0x0d;
    pub const DFR: u8 = 0x0e;
    pub const SVR: u8 = 0x0f;
    pub const ISR: u8 = 0x10;
    pub const TMR: u8 = 0x18;
    pub const IRR: u8 = 0x20;
    pub const ESR: u8 = 0x28;
    pub const ICR_LOW: u8 = 0x30;
    pub const ICR_HIGH: u8 = 0x31;
    pub const LVT_TIMER: u8 = 0x32;
    pub const LVT_ERROR: u8 = 0x37;
    pub const INITIAL_COUNT: u8 = 0x38;
    pub const CURRENT_COUNT: u8 = 0x39;
    pub const DIVIDE: u8 = 0x3e;
}

/// Places in the table of local vectors, from [`reg::LVT_TIMER`] on.
const TIMER: usize = 0;
const LINT0: usize = 3;
const LINT1: usize = 4;
const ERROR: usize = 5;
/// The bits of each that can be written: vector; delivery mode, polarity, trigger; mask; timer mode.
const LVT_WRITABLE: [u32; 6] = [0x7_00ff, 0x1_07ff, 0x1_07ff, 0x1_a7ff, 0x1_a7ff, 0x1_00ff];
const LVT_MASKED: u32 = 1 << 16;
const LVT_LEVEL: u32 = 1 << 15;
const LVT_REMOTE_IRR: u32 = 1 << 14;

const SVR_ENABLED: u32 = 1 << 8;
/// Vector, enable, focus check.
const SVR_WRITABLE: u32 = 0x3ff;

/// Error status (SDM 3A, 10.5.3).
const ERROR_SEND_VECTOR: u32 = 1 << 5;
const ERROR_RECEIVED_VECTOR: u32 = 1 << 6;
const ERROR_REGISTER: u32 = 1 << 7;

/// Vectors below belong to the processor.
const FIRST_VECTOR: u8 = 16;

/// How a message is to be delivered: bits 8 to 10 of ICR, local vectors and redirection entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// As an interrupt with its vector.
    Fixed,
    /// The same, to the processor of lowest priority.
    Lowest,
    /// As an NMI.
    Nmi,
    /// The vector comes from the 8259.
    ExtInt,
    /// SMI, INIT, SIPI, reserved.
    Other,
}

impl Delivery {
    /// From bits 8 to 10.
    pub fn of(entry: u32) -> Delivery {
        match entry >> 8 & 7 {
            0 => Delivery::Fixed,
            1 => Delivery::Lowest,
            4 => Delivery::Nmi,
            7 => Delivery::ExtInt,
            _ => Delivery::Other,
        }
    }
}

/// Whom a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination {
    /// APIC ID, or set of logical destinations.
    pub id: u8,
    /// It is the latter.
    pub logical: bool,
}

/// The local APIC.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LocalApic {
    base: u64,
    id: u8,
    tpr: u8,
    ldr: u8,
    /// Bits 28 to 31 of DFR: 15 is the flat model, 0 the cluster model.
    model: u8,
    svr: u32,
    isr: [u32; 8],
    tmr: [u32; 8],
    irr: [u32; 8],
    /// Errors since ESR was written, and what it showed then.
    errors: u32,
    esr: u32,
    icr: u64,
    lvt: [u32; 6],
    timer: Timer,
    lint0: bool,
    lint1: bool,
    /// An NMI message for the processor, not yet taken.
    nmi: bool,
    /// Level-triggered vectors that were ended, for the I/O APIC.
    ended: [u32; 8],
}

impl Default for LocalApic {
    fn default() -> LocalApic {
        LocalApic::new()
    }
}

/// The highest vector of a set.
fn highest(set: &[u32; 8]) -> Option<u8> {
    (0..8u8)
        .rev()
        .find(|i| set[usize::from(*i)] != 0)
        .map(|i| 32 * i + 31 - set[usize::from(i)].leading_zeros() as u8)
}

fn change(set: &mut [u32; 8], vector: u8, to: bool) {
    let word = &mut set[usize::from(vector / 32)];
    let bit = 1 << (vector % 32);
    *word = if to { *word | bit } else { *word & !bit };
}

fn contains(set: &[u32; 8], vector: u8) -> bool {
    set[usize::from(vector / 32)] >> (vector % 32) & 1 != 0
}

impl LocalApic {
    /// After reset.
    pub fn new() -> LocalApic {
        let mut lvt = [LVT_MASKED; 6];
        (lvt[LINT0], lvt[LINT1]) = (0x700, 0x400);
        LocalApic {
            base: BASE_AFTER_RESET,
            id: 0,
            tpr: 0,
            ldr: 0,
            model: 15,
            svr: 0xff,
            isr: [0; 8],
            tmr: [0; 8],
            irr: [0; 8],
            errors: 0,
            esr: 0,
            icr: 0,
            lvt,
            timer: Timer::new(),
            lint0: false,
            lint1: false,
            nmi: false,
            ended: [0; 8],
        }
    }

    /// IA32_APIC_BASE.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Writes IA32_APIC_BASE. Once switched off it comes back as after reset (SDM 3A, 10.4.3).
    pub fn set_base(&mut self, value: u64) {
        let was_enabled = self.is_enabled();
        if was_enabled && value & BASE_ENABLED == 0 {
            *self = LocalApic { lint0: self.lint0, lint1: self.lint1, ..LocalApic::new() };
        }
        self.base = value & (BASE_ADDRESS | BASE_ENABLED | BASE_BSP);
    }

    /// Whether it is switched on by IA32_APIC_BASE.
    pub fn is_enabled(&self) -> bool {
        self.base & BASE_ENABLED != 0
    }

    /// The offset in its window that an address is at.
    #[inline]
    pub fn offset(&self, addr: u64) -> Option<u16> {
        let offset = addr.checked_sub(self.base & BASE_ADDRESS)?;
        (offset < WINDOW && self.is_enabled()).then_some(offset as u16)
    }

    /// A load.
    pub fn read(&mut self, offset: u16, size: u8, now: VmTime) -> u64 {
        // Registers are the first four of sixteen bytes; what is between reads as zeros.
        let lane = offset & 15;
        if lane > 3 {
            return 0;
        }
        let value = u64::from(self.register((offset >> 4) as u8, now)) >> (8 * lane);
        if size < 8 { value & ((1 << (8 * size)) - 1) } else { value }
    }

    fn register(&mut self, register: u8, now: VmTime) -> u32 {
        match register {
            reg::ID => u32::from(self.id) << 24,
            reg::VERSION => VERSION,
            reg::TPR => self.tpr.into(),
            reg::APR => self.arbitration_priority().into(),
            reg::PPR => self.processor_priority().into(),
            reg::EOI => 0,
            reg::LDR => u32::from(self.ldr) << 24,
            reg::DFR => u32::from(self.model) << 28 | 0x0fff_ffff,
            reg::SVR => self.svr,
            reg::ISR..reg::TMR => self.isr[usize::from(register - reg::ISR)],
            reg::TMR..reg::IRR => self.tmr[usize::from(register - reg::TMR)],
            reg::IRR..reg::ESR => self.irr[usize::from(register - reg::IRR)],
            reg::ESR => self.esr,
            reg::ICR_LOW => self.icr as u32,
            reg::ICR_HIGH => (self.icr >> 32) as u32,
            reg::LVT_TIMER..=reg::LVT_ERROR => self.lvt[usize::from(register - reg::LVT_TIMER)],
            reg::INITIAL_COUNT => self.timer.initial(),
            reg::CURRENT_COUNT => self.timer.current(now),
            reg::DIVIDE => self.timer.divide_register(),
            _ => {
                tracing::debug!(register = format_args!("{register:#x}0"), "read of no local APIC register");
                self.note_error(ERROR_REGISTER);
                0
            }
        }
    }

    /// A store. Only whole registers can be written.
    pub fn write(&mut self, offset: u16, size: u8, value: u64, now: VmTime) {
        if offset & 15 != 0 || size < 4 {
            tracing::debug!(offset, size, "store to a part of a local APIC register");
            return;
        }
        let value = value as u32;
        match (offset >> 4) as u8 {
            reg::ID => self.id = (value >> 24) as u8,
            reg::TPR => self.tpr = value as u8,
            reg::EOI => self.end_of_interrupt(),
            reg::LDR => self.ldr = (value >> 24) as u8,
            reg::DFR => self.model = (value >> 28) as u8,
            reg::SVR => self.write_svr(value),
            reg::ESR => self.esr = std::mem::take(&mut self.errors),
            reg::ICR_LOW => {
                // Delivery is done at once: its status (bit 12) always reads "idle".
                self.icr = self.icr & !0xffff_ffff | u64::from(value & 0x000c_cfff);
                self.send();
            }
            reg::ICR_HIGH => self.icr = self.icr & 0xffff_ffff | u64::from(value & 0xff00_0000) << 32,
            register @ reg::LVT_TIMER..=reg::LVT_ERROR => {
                self.write_lvt(usize::from(register - reg::LVT_TIMER), value);
            }
            reg::INITIAL_COUNT => self.timer.set_initial(value, now),
            reg::DIVIDE => self.timer.set_divide(value, now),
            register => {
                let known = matches!(register, reg::VERSION | reg::APR | reg::PPR | reg::CURRENT_COUNT)
                    || (reg::ISR..reg::ESR).contains(&register);
                if !known {
                    tracing::debug!(
                        register = format_args!("{register:#x}0"),
                        value,
                        "write of no local APIC register"
                    );
                    self.note_error(ERROR_REGISTER);
                }
            }
        }
    }

    fn write_svr(&mut self, value: u32) {
        self.svr = value & SVR_WRITABLE;
        if !self.is_on() {
            // Software disabled: local vectors are masked, and stay so (SDM 3A, 10.4.7.2).
            for lvt in &mut self.lvt {
                *lvt |= LVT_MASKED;
            }
        }
    }

    fn write_lvt(&mut self, index: usize, value: u32) {
        let forced = if self.is_on() { 0 } else { LVT_MASKED };
        let kept = self.lvt[index] & LVT_REMOTE_IRR;
        self.lvt[index] = value & LVT_WRITABLE[index] | forced | kept;
        if index == TIMER {
            self.timer.set_mode(Mode::of(value));
        }
        if matches!(index, LINT0 | LINT1) {
            self.level_input(index);
        }
    }

    /// Software enabled.
    fn is_on(&self) -> bool {
        self.is_enabled() && self.svr & SVR_ENABLED != 0
    }

    /// PPR (SDM 3A, 10.8.3.1).
    fn processor_priority(&self) -> u8 {
        let in_service = highest(&self.isr).unwrap_or(0);
        if self.tpr >> 4 >= in_service >> 4 { self.tpr } else { in_service & 0xf0 }
    }

    /// APR (SDM 3A, 10.6.2.4).
    fn arbitration_priority(&self) -> u8 {
        let requested = highest(&self.irr).unwrap_or(0) >> 4;
        let in_service = highest(&self.isr).unwrap_or(0) >> 4;
        if self.tpr >> 4 >= requested && self.tpr >> 4 > in_service {
            self.tpr
        } else {
            requested.max(in_service).max(self.tpr >> 4) << 4
        }
    }

    /// IA32_TSC_DEADLINE.
    pub fn deadline(&mut self, now: VmTime) -> u64 {
        self.advance(now);
        self.timer.deadline()
    }

    /// Writes IA32_TSC_DEADLINE; the time-stamp counter is `tsc` now.
    pub fn set_deadline(&mut self, deadline: u64, tsc: u64, now: VmTime) {
        self.advance(now);
        self.timer.set_deadline(deadline, tsc, now);
        self.advance(now);
    }

    /// The time-stamp counter was written, and is `tsc` now.
    pub fn tsc_changed(&mut self, tsc: u64, now: VmTime) {
        self.advance(now);
        self.timer.tsc_changed(tsc, now);
        self.advance(now);
    }

    /// The vector that it asks the processor to take.
    #[inline]
    pub fn pending(&self) -> Option<u8> {
        let vector = highest(&self.irr)?;
        (self.is_on() && vector >> 4 > self.processor_priority() >> 4).then_some(vector)
    }

    /// The processor takes [`LocalApic::pending`].
    pub fn acknowledge(&mut self) -> Option<u8> {
        let vector = self.pending()?;
        change(&mut self.irr, vector, false);
        change(&mut self.isr, vector, true);
        Some(vector)
    }

    /// Whether the processor takes interrupts of the 8259 itself: there is no local APIC in between, or LINT0 is ExtINT.
    pub fn passes_pic(&self) -> bool {
        !self.is_enabled()
            || (self.lvt[LINT0] & LVT_MASKED == 0 && Delivery::of(self.lvt[LINT0]) == Delivery::ExtInt)
    }

    /// CR8: the upper half of TPR.
    pub fn cr8(&self) -> u8 {
        self.tpr >> 4
    }

    /// Writes CR8.
    pub fn set_cr8(&mut self, value: u8) {
        self.tpr = value << 4;
    }

    fn end_of_interrupt(&mut self) {
        let Some(vector) = highest(&self.isr) else { return };
        change(&mut self.isr, vector, false);
        if contains(&self.tmr, vector) {
            change(&mut self.ended, vector, true);
        }
        for index in [LINT0, LINT1] {
            if self.lvt[index] & LVT_REMOTE_IRR != 0 && self.lvt[index] as u8 == vector {
                self.lvt[index] &= !LVT_REMOTE_IRR;
                self.level_input(index);
            }
        }
    }

    /// Level-triggered interrupts that were ended since the last call: the end is broadcast to the I/O APIC.
    pub fn take_ended(&mut self) -> Option<u8> {
        let vector = highest(&self.ended)?;
        change(&mut self.ended, vector, false);
        Some(vector)
    }

    /// Whether an input could raise an NMI.
    pub fn nmi_can_come(&self) -> bool {
        let is_nmi = |lvt: u32| lvt & LVT_MASKED == 0 && Delivery::of(lvt) == Delivery::Nmi;
        is_nmi(self.lvt[LINT0])
    }

    /// Whether an NMI message came since the last call.
    pub fn take_nmi(&mut self) -> bool {
        std::mem::take(&mut self.nmi)
    }

    /// A message on the bus of the APICs. Returns whether this one took it.
    pub fn message(&mut self, to: Destination, delivery: Delivery, vector: u8, level: bool) -> bool {
        self.is_enabled() && self.is_meant(to) && self.deliver(delivery, vector, level)
    }

    /// A message-signalled interrupt: what was written, and where (SDM 3A, 10.11).
    pub fn signalled(&mut self, addr: u64, data: u32) {
        const LEVEL: u32 = 1 << 15;
        const ASSERT: u32 = 1 << 14;
        const LOGICAL: u64 = 1 << 2;
        // The end of a level says nothing to a processor.
        if data & (LEVEL | ASSERT) != LEVEL {
            let to = Destination { id: (addr >> 12) as u8, logical: addr & LOGICAL != 0 };
            self.message(to, Delivery::of(data), data as u8, data & LEVEL != 0);
        }
    }

    /// Whether it would take the processor to the 8259 for an ExtINT message.
    pub fn takes_ext_int(&self, to: Destination) -> bool {
        self.is_on() && self.is_meant(to)
    }

    /// SDM 3A, 10.6.2.
    fn is_meant(&self, to: Destination) -> bool {
        if !to.logical {
            return to.id == self.id || to.id == 0xff;
        }
        match self.model {
            15 => to.id & self.ldr != 0,
            _ => to.id == 0xff || (to.id >> 4 == self.ldr >> 4 && to.id & self.ldr & 15 != 0),
        }
    }

    fn deliver(&mut self, delivery: Delivery, vector: u8, level: bool) -> bool {
        match delivery {
            // One that is disabled takes NMI, INIT, SMI and SIPI only.
            Delivery::Fixed | Delivery::Lowest if self.is_on() => self.request(vector, level),
            Delivery::Fixed | Delivery::Lowest => return false,
            Delivery::Nmi => self.nmi = true,
            Delivery::ExtInt | Delivery::Other => {
                tracing::debug!(?delivery, vector, "local APIC message without effect");
                return false;
            }
        }
        true
    }

    fn request(&mut self, vector: u8, level: bool) {
        if vector < FIRST_VECTOR {
            self.note_error(ERROR_RECEIVED_VECTOR);
            return;
        }
        change(&mut self.irr, vector, true);
        change(&mut self.tmr, vector, level);
    }

    fn note_error(&mut self, error: u32) {
        let first = self.errors & error == 0;
        self.errors |= error;
        let lvt = self.lvt[ERROR];
        // An illegal vector here is not worth another error.
        if first && lvt & LVT_MASKED == 0 && lvt as u8 >= FIRST_VECTOR && self.is_on() {
            self.request(lvt as u8, false);
        }
    }

    /// The interrupt command register was written: a message to whom it says, which may be this processor.
    fn send(&mut self) {
        let (low, vector) = (self.icr as u32, self.icr as u8);
        let delivery = Delivery::of(low);
        if matches!(delivery, Delivery::Fixed | Delivery::Lowest) && vector < FIRST_VECTOR {
            self.note_error(ERROR_SEND_VECTOR);
            return;
        }
        let to = Destination { id: (self.icr >> 56) as u8, logical: low >> 11 & 1 != 0 };
        let for_me = match low >> 18 & 3 {
            0 => self.is_meant(to),
            1 | 2 => true,
            _ => false,
        };
        if for_me && self.is_enabled() {
            self.deliver(delivery, vector, false);
        }
    }

    /// The output of the 8259 pair.
    #[inline]
    pub fn set_lint0(&mut self, high: bool) {
        if self.lint0 != high {
            self.lint0 = high;
            self.input_changed(LINT0, high);
        }
    }

    /// The NMI line.
    pub fn set_lint1(&mut self, high: bool) {
        if self.lint1 != high {
            self.lint1 = high;
            self.input_changed(LINT1, high);
        }
    }

    fn input_changed(&mut self, index: usize, high: bool) {
        let lvt = self.lvt[index];
        if !self.is_enabled() {
            // The pins are INTR and NMI then (SDM 3A, 10.4.3).
            self.nmi |= index == LINT1 && high;
            return;
        }
        if lvt & LVT_MASKED != 0 || !high {
            return;
        }
        match Delivery::of(lvt) {
            Delivery::Nmi => self.nmi = true,
            Delivery::Fixed if lvt & LVT_LEVEL == 0 => self.request(lvt as u8, false),
            _ => self.level_input(index),
        }
    }

    /// A level-triggered input asks for its vector as long as it is high and not being served.
    fn level_input(&mut self, index: usize) {
        let high = if index == LINT0 { self.lint0 } else { self.lint1 };
        let lvt = self.lvt[index];
        let asks = high
            && lvt & (LVT_MASKED | LVT_REMOTE_IRR) == 0
            && lvt & LVT_LEVEL != 0
            && Delivery::of(lvt) == Delivery::Fixed;
        if asks {
            self.lvt[index] |= LVT_REMOTE_IRR;
            self.request(lvt as u8, false);
        }
    }

    /// Lets the timer run up to and including `now`.
    pub fn advance(&mut self, now: VmTime) {
        if self.timer.expire(now) && self.lvt[TIMER] & LVT_MASKED == 0 && self.is_on() {
            self.request(self.lvt[TIMER] as u8, false);
        }
    }

    /// When the timer will ask for an interrupt next: not while it is masked, or has asked and not been heard. However
    /// short its period, the guest runs in between.
    #[inline]
    pub fn next_event(&self) -> Option<VmTime> {
        let at = self.timer.expires()?;
        let lvt = self.lvt[TIMER];
        let heard = lvt & LVT_MASKED == 0 && self.is_on() && !contains(&self.irr, lvt as u8);
        heard.then_some(at)
    }
}

#[cfg(test)]
#[path = "lapic_tests.rs"]
mod tests;
