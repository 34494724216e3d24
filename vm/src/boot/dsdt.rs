//! The differentiated system description table: soft off, the PCI host bridge, and the interrupt router of the PIIX3.
//!
//! Without a host bridge in this table an operating system that uses ACPI does not look for PCI devices at all. Interrupts
//! are left to it to choose: the link devices write the PIRQ route control registers ("82371SB (PIIX3)", section
//! 2.2.8), which say "disabled" after power-on. Devices of a plain PC (keyboard controller, serial ports, RTC)
//! are not listed: systems of that time probe for them.

use super::acpi::{SCI_IRQ, SLP_TYP_S5};
use super::aml::*;

/// Where the I/O APIC would be; PCI memory ends below.
const PCI_MEMORY_LAST: u32 = 0xfebf_ffff;
/// PCI configuration mechanism #1.
const CONFIG_PORTS: u16 = 0xcf8;
/// Interrupts that PCI devices may be given; nothing else of the machine uses them.
const PCI_INTERRUPTS: [u32; 3] = [5, 10, 11];
const ROUTE_CONTROL: u32 = 0x60;
const ROUTE_DISABLED: u32 = 0x80;
const LINKS: [&str; 4] = ["LNKA", "LNKB", "LNKC", "LNKD"];
const ROUTES: [&str; 4] = ["PRQA", "PRQB", "PRQC", "PRQD"];
const SLOTS: u32 = 32;
/// The slot of the PIIX3, with the power management function, whose pin A is not routed but wired to the SCI.
const PIIX_SLOT: u32 = 1;

/// The table's body in AML. PCI memory starts at `pci_memory`.
pub fn aml(pci_memory: u32) -> Vec<u8> {
    let sleep_type = integer(SLP_TYP_S5.into());
    let soft_off = package(&[sleep_type.clone(), sleep_type, integer(0), integer(0)]);
    let mut system_bus = vec![host_bridge(pci_memory)];
    system_bus.extend((0..LINKS.len()).map(link));
    [scope("\\_SB", &system_bus), name("\\_S5", &soft_off)].concat()
}

fn host_bridge(pci_memory: u32) -> Vec<u8> {
    let windows = [
        window(Window::Buses(0, 0xff)),
        ports(CONFIG_PORTS, 8),
        window(Window::Ports(0, CONFIG_PORTS - 1)),
        window(Window::Ports(CONFIG_PORTS + 8, 0xffff)),
        window(Window::Memory(0xa_0000, 0xb_ffff)),
        window(Window::Memory(pci_memory, PCI_MEMORY_LAST)),
    ];
    let router = [
        name("_ADR", &integer(PIIX_SLOT << 16)),
        pci_config_region("RTCT", ROUTE_CONTROL, ROUTES.len() as u32),
        byte_fields("RTCT", &ROUTES),
    ];
    device(
        "PCI0",
        &[
            name("_HID", &eisa_id("PNP0A03")),
            name("_UID", &integer(0)),
            name("_CRS", &resources(&windows)),
            name("_PRT", &routing_table()),
            device("ISA", &router),
        ],
    )
}

/// Which link each pin of each slot ends at: the board rotates them by slot.
fn routing_table() -> Vec<u8> {
    let mut entries = Vec::new();
    for slot in PIIX_SLOT..SLOTS {
        for pin in 0..4 {
            let address = integer(slot << 16 | 0xffff);
            let (source, index) = match (slot, pin) {
                (PIIX_SLOT, 0) => (integer(0), integer(SCI_IRQ.into())),
                _ => (name_string(LINKS[((slot - 1 + pin) % 4) as usize]), integer(0)),
            };
            entries.push(package(&[address, integer(pin), source, index]));
        }
    }
    package(&entries)
}

/// The link device of one route control register.
fn link(number: usize) -> Vec<u8> {
    /// Where the number is in a template made by [`interrupts`].
    const NUMBER_AT: u32 = 5;
    const PRESENT_ENABLED_WORKING: u32 = 0x0b;
    let route = name_string(&format!("\\_SB.PCI0.ISA.{}", ROUTES[number]));
    device(
        LINKS[number],
        &[
            name("_HID", &eisa_id("PNP0C0F")),
            name("_UID", &integer(number as u32 + 1)),
            name("_PRS", &resources(&[interrupts(&PCI_INTERRUPTS)])),
            name("NOW", &resources(&[interrupts(&[0])])),
            method("_STA", 0, &[return_value(&integer(PRESENT_ENABLED_WORKING))]),
            method("_DIS", 0, &[store(&integer(ROUTE_DISABLED), &route)]),
            // A disabled route reads as interrupt 0: none.
            method(
                "_CRS",
                0,
                &[
                    create_dword_field(&name_string("NOW"), NUMBER_AT, "IRQN"),
                    and(&route, &integer(0x0f), &name_string("IRQN")),
                    return_value(&name_string("NOW")),
                ],
            ),
            method(
                "_SRS",
                1,
                &[create_dword_field(ARG0, NUMBER_AT, "IRQN"), store(&name_string("IRQN"), &route)],
            ),
        ],
    )
}
