//! 82093AA I/O APIC: 24 inputs, each with an entry that says which processor gets which vector.
//!
//! Two registers at 0xfec00000: an index and a window onto the indexed register. Inputs 1 and 3 to 15 are the IRQs of the
//! same numbers, input 2 is the timer's. Input 0 is the output of the 8259 pair: with an ExtINT entry there the processor
//! takes its interrupts (virtual wire mode by way of the I/O APIC).
//!
//! Reference: Intel 82093AA data sheet (290566). Polarity is kept and does nothing: the inputs say "asserted". SMI and INIT
//! entries have no effect, nor has ExtINT at other inputs.

use super::lapic::{Delivery, Destination, LocalApic};
use serde::{Deserialize, Serialize};

/// Where it is.
pub const BASE: u64 = 0xfec0_0000;
/// Bytes of its window.
pub const WINDOW: u64 = 0x1000;
/// Inputs.
pub const PINS: usize = 24;
/// The input that the 8259 pair has.
pub const PIC_PIN: usize = 0;

const INDEX: u16 = 0x00;
const DATA: u16 = 0x10;
const ID: u8 = 0x00;
const VERSION: u8 = 0x01;
const ARBITRATION: u8 = 0x02;
const ENTRIES: u8 = 0x10;
const ENTRIES_LAST: u8 = ENTRIES + 2 * PINS as u8 - 1;
/// Version 0x11, last entry 23.
const VERSION_VALUE: u32 = 0x0017_0011;

const LOGICAL: u64 = 1 << 11;
const REMOTE_IRR: u64 = 1 << 14;
const LEVEL: u64 = 1 << 15;
const MASKED: u64 = 1 << 16;
/// Vector, delivery mode, destination mode, polarity, trigger, mask; destination.
const WRITABLE: u64 = 0xff00_0000_0001_afff;

/// The I/O APIC.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IoApic {
    index: u8,
    id: u8,
    entries: [u64; PINS],
    /// The inputs, a bit each.
    pins: u32,
}

impl Default for IoApic {
    fn default() -> IoApic {
        IoApic::new()
    }
}

impl IoApic {
    /// After reset.
    pub fn new() -> IoApic {
        IoApic { index: 0, id: 0, entries: [MASKED; PINS], pins: 0 }
    }

    /// A load.
    pub fn read(&self, offset: u16) -> u32 {
        match offset & !3 {
            INDEX => self.index.into(),
            DATA => match self.index {
                ID | ARBITRATION => u32::from(self.id) << 24,
                VERSION => VERSION_VALUE,
                at @ ENTRIES..=ENTRIES_LAST => {
                    let entry = self.entries[usize::from(at - ENTRIES) / 2];
                    (entry >> (32 * (at & 1))) as u32
                }
                index => {
                    tracing::debug!(index, "read of no I/O APIC register");
                    0
                }
            },
            _ => 0,
        }
    }

    /// A store.
    pub fn write(&mut self, offset: u16, value: u32, lapic: &mut LocalApic) {
        match (offset & !3, self.index) {
            (INDEX, _) => self.index = value as u8,
            (DATA, ID) => self.id = (value >> 24) as u8 & 15,
            (DATA, at @ ENTRIES..=ENTRIES_LAST) => {
                let pin = usize::from(at - ENTRIES) / 2;
                let shift = 32 * u32::from(at & 1);
                let mask = WRITABLE & (0xffff_ffff << shift);
                let entry = &mut self.entries[pin];
                *entry = *entry & !mask | u64::from(value) << shift & mask;
                if *entry & LEVEL == 0 {
                    *entry &= !REMOTE_IRR;
                }
                self.serve_level(pin, lapic);
            }
            (_, index) => tracing::debug!(offset, index, value, "write of no I/O APIC register"),
        }
    }

    /// Brings the inputs, a bit each, to their levels.
    #[inline]
    pub fn set_pins(&mut self, pins: u32, lapic: &mut LocalApic) {
        if self.pins != pins {
            self.pins_changed(pins, lapic);
        }
    }

    fn pins_changed(&mut self, pins: u32, lapic: &mut LocalApic) {
        let rising = pins & !self.pins;
        self.pins = pins;
        for pin in (0..PINS).filter(|pin| rising >> pin & 1 != 0) {
            let entry = self.entries[pin];
            if entry & LEVEL != 0 {
                self.serve_level(pin, lapic);
            } else if entry & MASKED == 0 {
                // An edge on a masked input is lost (3.2.4, Interrupt Mask).
                send(entry, lapic);
            }
        }
    }

    /// Sends a level-triggered request that is there and not being served.
    fn serve_level(&mut self, pin: usize, lapic: &mut LocalApic) {
        let entry = self.entries[pin];
        let asks = self.pins >> pin & 1 != 0 && entry & LEVEL != 0 && entry & (MASKED | REMOTE_IRR) == 0;
        if asks && send(entry, lapic) {
            self.entries[pin] |= REMOTE_IRR;
        }
    }

    /// Whether the processor takes interrupts of the 8259 by way of this chip.
    #[inline]
    pub fn passes_pic(&self, lapic: &LocalApic) -> bool {
        let entry = self.entries[PIC_PIN];
        entry & MASKED == 0
            && Delivery::of(entry as u32) == Delivery::ExtInt
            && lapic.takes_ext_int(destination(entry))
    }

    /// Whether an input could raise an NMI.
    pub fn nmi_can_come(&self) -> bool {
        self.entries.iter().any(|e| e & MASKED == 0 && Delivery::of(*e as u32) == Delivery::Nmi)
    }

    /// A local APIC has ended the interrupt of this vector.
    pub fn end_of_interrupt(&mut self, vector: u8, lapic: &mut LocalApic) {
        for pin in 0..PINS {
            if self.entries[pin] as u8 == vector && self.entries[pin] & REMOTE_IRR != 0 {
                self.entries[pin] &= !REMOTE_IRR;
                self.serve_level(pin, lapic);
            }
        }
    }
}

fn destination(entry: u64) -> Destination {
    Destination { id: (entry >> 56) as u8, logical: entry & LOGICAL != 0 }
}

/// Sends what an entry says. Returns whether a processor took it.
fn send(entry: u64, lapic: &mut LocalApic) -> bool {
    lapic.message(destination(entry), Delivery::of(entry as u32), entry as u8, entry & LEVEL != 0)
}

#[cfg(test)]
#[path = "ioapic_tests.rs"]
mod tests;
