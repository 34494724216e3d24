//! What systems of before ACPI look for: the MultiProcessor configuration table, and the PCI interrupt routing table.
//! Teaching kernels use the first one still.
//!
//! Sources: Intel "MultiProcessor Specification", version 1.4, chapter 4; Microsoft "PCI IRQ Routing Table Specification", 1.0.

use super::BootError;
use super::bytes::put;
use super::layout::ROM;
use crate::board::{ioapic, lapic, pci};
use crate::config::MachineConfig;
use crate::cpu::cpuid;

const FLOATING_POINTER: u64 = ROM + 0x400;
const CONFIGURATION: u64 = FLOATING_POINTER + 16;
const ROUTING: u64 = ROM + 0x1000;

const SPECIFICATION: u8 = 4; // 1.4
const PCI_BUS: u8 = 0;
const ISA_BUS: u8 = 1;
const SLOTS: std::ops::Range<u8> = 1..32;
/// The slot of the interrupt router.
const PIIX_SLOT: u8 = 1;

/// Writes both.
pub(super) fn write(ram: &mut [u8], config: &MachineConfig) -> Result<(), BootError> {
    put(ram, FLOATING_POINTER, &floating_pointer())?;
    put(ram, CONFIGURATION, &configuration(config))?;
    put(ram, ROUTING, &routing())
}

fn close(table: &mut [u8], checksum_at: usize) {
    table[checksum_at] = table.iter().fold(0u8, |sum, byte| sum.wrapping_sub(*byte));
}

/// MP Floating Pointer Structure (4.1). There is no IMCR: the board starts in virtual wire mode.
fn floating_pointer() -> [u8; 16] {
    let mut pointer = [0; 16];
    pointer[..4].copy_from_slice(b"_MP_");
    pointer[4..8].copy_from_slice(&(CONFIGURATION as u32).to_le_bytes());
    pointer[8..10].copy_from_slice(&[1, SPECIFICATION]);
    close(&mut pointer, 10);
    pointer
}

/// MP Configuration Table (4.2, 4.3).
fn configuration(config: &MachineConfig) -> Vec<u8> {
    const HEADER_BYTES: u16 = 44;
    let entries = entries(config);
    let bytes = entries.iter().map(|entry| entry.len() as u16).sum::<u16>() + HEADER_BYTES;
    let mut table = b"PCMP".to_vec();
    table.extend(bytes.to_le_bytes());
    table.extend([SPECIFICATION, 0]);
    table.extend(b"RETROGRDPC          ");
    table.extend([0; 6]); // no OEM table
    table.extend((entries.len() as u16).to_le_bytes());
    table.extend(lapic::BASE.to_le_bytes());
    table.extend([0; 4]); // no extended table
    table.extend(entries.concat());
    close(&mut table, 7);
    table
}

fn entries(config: &MachineConfig) -> Vec<Vec<u8>> {
    const ENABLED_BOOTSTRAP: u8 = 3;
    const APIC_VERSIONS: [u8; 2] = [0x14, 0x11];
    const INTERRUPT: u8 = 0;
    const NMI: u8 = 1;
    const EXT_INT: u8 = 3;
    let [signature, _, _, features] = cpuid::model(config.cpu).cpuid(1, 0, true);
    let processor = [
        &[0, 0, APIC_VERSIONS[0], ENABLED_BOOTSTRAP][..],
        &signature.to_le_bytes(),
        &features.to_le_bytes(),
        &[0; 8],
    ];
    let bus = |number: u8, name: &[u8; 6]| [&[1, number][..], name].concat();
    let io_apic = [&[2, 0, APIC_VERSIONS[1], 1][..], &(ioapic::BASE as u32).to_le_bytes()].concat();
    let mut all = vec![processor.concat(), bus(PCI_BUS, b"PCI   "), bus(ISA_BUS, b"ISA   "), io_apic];
    // Type, kind, polarity and trigger as of the bus, source, destination.
    for slot in SLOTS {
        for pin in 0..4 {
            let irq = pci::FIRMWARE_ROUTES[usize::from(slot - 1 + pin) % 4];
            all.push(vec![3, INTERRUPT, 0, 0, PCI_BUS, slot << 2 | pin, 0, irq]);
        }
    }
    for irq in (0..16).filter(|irq| *irq != 2 && !pci::FIRMWARE_ROUTES.contains(irq)) {
        all.push(vec![3, INTERRUPT, 0, 0, ISA_BUS, irq, 0, if irq == 0 { 2 } else { irq }]);
    }
    all.push(vec![4, EXT_INT, 0, 0, ISA_BUS, 0, 0xff, 0]);
    all.push(vec![4, NMI, 0, 0, ISA_BUS, 0, 0xff, 1]);
    all
}

/// The routing table: which route control register each pin of each slot ends at.
fn routing() -> Vec<u8> {
    const ROUTE_CONTROL: u8 = 0x60;
    /// The IRQs that a route may lead to.
    const IRQS: u16 = 0xdef8;
    const COMPATIBLE_ROUTER: [u8; 4] = [0x86, 0x80, 0x2e, 0x12]; // the PIIX
    let bytes = 32 + 16 * SLOTS.len() as u16;
    let mut table = b"$PIR".to_vec();
    table.extend([0, 1]); // version 1.0
    table.extend(bytes.to_le_bytes());
    table.extend([0, PIIX_SLOT << 3, 0, 0]); // no interrupt is for PCI only
    table.extend(COMPATIBLE_ROUTER);
    table.resize(32, 0);
    for slot in SLOTS {
        table.extend([0, slot << 3]);
        for pin in 0..4 {
            table.push(ROUTE_CONTROL + (slot - 1 + pin) % 4);
            table.extend(IRQS.to_le_bytes());
        }
        table.extend([0, 0]); // on the board itself
    }
    close(&mut table, 31);
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(bytes: &[u8]) -> u8 {
        bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte))
    }

    #[test]
    fn the_configuration_is_as_long_as_it_says_and_adds_up_to_zero() {
        let table = configuration(&MachineConfig::default());
        assert_eq!(usize::from(u16::from_le_bytes([table[4], table[5]])), table.len());
        assert_eq!((sum(&table), sum(&floating_pointer())), (0, 0));
        let (mut at, mut kinds) = (44, [0; 5]);
        while at < table.len() {
            kinds[usize::from(table[at])] += 1;
            at += if table[at] == 0 { 20 } else { 8 };
        }
        assert_eq!((at, kinds), (table.len(), [1, 2, 1, 31 * 4 + 13, 2]));
        let count = u16::from_le_bytes([table[34], table[35]]);
        assert_eq!(usize::from(count), kinds.iter().sum::<usize>());
    }

    #[test]
    fn the_routing_table_rotates_pins_by_slot() {
        let table = routing();
        assert_eq!(usize::from(u16::from_le_bytes([table[6], table[7]])), table.len());
        assert_eq!(sum(&table), 0);
        let links = |slot: usize| [0, 1, 2, 3].map(|pin| table[32 + 16 * (slot - 1) + 2 + 3 * pin]);
        assert_eq!(links(1), [0x60, 0x61, 0x62, 0x63]);
        assert_eq!(links(4), [0x63, 0x60, 0x61, 0x62]);
    }
}
