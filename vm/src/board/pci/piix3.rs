//! 82371SB (PIIX3), function 0: the bridge to the ISA bus, and the routing of PCI interrupts to IRQs.
//!
//! Reference: Intel 82371FB/82371SB data sheet (290550), "PCI Configuration Registers, Function 0". Of these only the
//! PIRQ routes do something; the others keep what is written.

use super::config_space::{ConfigSpace, Identity};
use serde::{Deserialize, Serialize};

/// PIRQRCA# to PIRQRCD#.
const PIRQ_ROUTES: u8 = 0x60;
const PIRQ_LINES: u8 = 4;
const ROUTE_OFF: u8 = 0x80;
/// IRQs that a route may name: not the timer, keyboard, cascade, clock or coprocessor.
const ROUTABLE_IRQS: u16 = 0xdef8;

/// The ISA bridge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Piix3(ConfigSpace);

impl Piix3 {
    pub(super) fn new() -> Piix3 {
        let mut config = ConfigSpace::new(&Identity {
            vendor: 0x8086,
            device: 0x7000,
            revision: 0x00,
            class: 0x06_01_00,
            command: 0x0007,
            status: 0x0200,
            header_type: 0x80, // more functions follow
        });
        config.set(0x4c, 0x4d); // IORT
        config.set(0x4e, 0x03); // XBCS: RTC and keyboard controller selected
        for line in 0..PIRQ_LINES {
            config.set(PIRQ_ROUTES + line, ROUTE_OFF);
        }
        config.set(0x69, 0x02); // TOM
        config.set(0x70, ROUTE_OFF); // MBIRQ0
        config.set(0x76, 0x0c); // MBDMA0
        config.set(0x77, 0x0c); // MBDMA1
        config.set(0x78, 0x02); // PCSC
        config.set(0xa0, 0x08); // SMICNTL
        config.set(0xa8, 0x0f); // FTMR
        Piix3(config)
    }

    pub(super) fn config(&self) -> &ConfigSpace {
        &self.0
    }

    pub(super) fn write(&mut self, at: u8, value: u8) {
        self.0.set_masked(at, value, writable(at));
    }

    pub(super) fn set_pirq_route(&mut self, line: u8, irq: u8) {
        self.write(PIRQ_ROUTES + line, irq);
    }

    pub(super) fn pirq_route(&self, line: u8) -> Option<u8> {
        if line >= PIRQ_LINES {
            return None;
        }
        let route = self.0.get(PIRQ_ROUTES + line);
        let irq = route & 0x0f;
        (route & ROUTE_OFF == 0 && ROUTABLE_IRQS >> irq & 1 != 0).then_some(irq)
    }
}

/// Bits of each register that a write changes.
fn writable(at: u8) -> u8 {
    match at {
        0x04 => 0x08,        // PCICMD: special cycles
        0x4c => 0x7f,        // IORT
        0x4e => 0xff,        // XBCS
        0x4f => 0x01,        // XBCS: APIC chip select
        0x60..=0x63 => 0x8f, // PIRQRC
        0x69 => 0xfe,        // TOM
        0x70 => 0xef,        // MBIRQ0
        0x76 | 0x77 => 0x8f, // MBDMA
        0x78 | 0x79 => 0xff, // PCSC
        0x80 => 0x7f,        // APICBASE
        0x82 => 0x0f,        // DLC
        0xa0 => 0x1f,        // SMICNTL
        0xa2 => 0xff,        // SMIEN
        0xa4..=0xa8 => 0xff, // SEE, FTMR
        0xac | 0xae => 0xff, // CTLTMR, CTHTMR
        _ => 0,
    }
}
