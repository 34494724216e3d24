//! The differentiated system description table: soft off, the processor, the PCI host bridge, the interrupt router of the
//! PIIX3, and the devices of a plain PC behind it.
//!
//! Without a host bridge in this table an operating system that uses ACPI does not look for PCI devices at all. Interrupts
//! are left to it to choose: the link devices write the PIRQ route control registers ("82371SB (PIIX3)", section
//! 2.2.8), which say "disabled" after power-on.

use super::acpi::{SCI_IRQ, SLP_TYP_S5};
use super::aml::*;
use crate::board::{fw_cfg, hpet};

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
    let mut system_bus = vec![host_bridge(pci_memory), event_timer(), firmware_configuration()];
    system_bus.extend((0..LINKS.len()).map(link));
    [scope("\\_PR", &[processor("CPU0")]), scope("\\_SB", &system_bus), name("\\_S5", &soft_off)].concat()
}

/// The HPET.
fn event_timer() -> Vec<u8> {
    let memory = fixed_memory(hpet::BASE as u32, hpet::WINDOW as u32);
    listed("HPET", &eisa_id("PNP0103"), 0, &[memory])
}

/// fw_cfg, by the name that QEMU gave it.
fn firmware_configuration() -> Vec<u8> {
    listed("FWCF", &string("QEMU0002"), 0, &[ports(fw_cfg::SELECTOR, 12)])
}

/// A device with an identifier and what it uses.
fn listed(device_name: &str, id: &[u8], number: u32, uses: &[Vec<u8>]) -> Vec<u8> {
    let mut terms = vec![name("_HID", id)];
    if number != 0 {
        terms.push(name("_UID", &integer(number)));
    }
    terms.push(name("_CRS", &resources(uses)));
    device(device_name, &terms)
}

/// What is behind the ISA bridge.
fn isa_devices() -> Vec<Vec<u8>> {
    let serial = |device_name, number, first, irq| {
        listed(device_name, &eisa_id("PNP0501"), number, &[ports(first, 8), isa_irq(irq)])
    };
    vec![
        listed("PIC", &eisa_id("PNP0000"), 0, &[ports(0x20, 2), ports(0xa0, 2), ports(0x4d0, 2), isa_irq(2)]),
        listed("DMAC", &eisa_id("PNP0200"), 0, &[ports(0, 16), ports(0x81, 15), ports(0xc0, 32), isa_dma(4)]),
        listed("TIMR", &eisa_id("PNP0100"), 0, &[ports(0x40, 4), isa_irq(0)]),
        listed("RTC", &eisa_id("PNP0B00"), 0, &[ports(0x70, 2), isa_irq(8)]),
        listed("SPKR", &eisa_id("PNP0800"), 0, &[ports(0x61, 1)]),
        listed("COPR", &eisa_id("PNP0C04"), 0, &[ports(0xf0, 16), isa_irq(13)]),
        listed("KBD", &eisa_id("PNP0303"), 0, &[ports(0x60, 1), ports(0x64, 1), isa_irq(1)]),
        listed("MOU", &eisa_id("PNP0F13"), 0, &[isa_irq(12)]),
        listed("FDC0", &eisa_id("PNP0700"), 0, &[ports(0x3f2, 4), ports(0x3f7, 1), isa_irq(6), isa_dma(2)]),
        listed("LPT1", &eisa_id("PNP0400"), 1, &[ports(0x378, 8), isa_irq(7)]),
        serial("COM1", 1, 0x3f8, 4),
        serial("COM2", 2, 0x2f8, 3),
        serial("COM3", 3, 0x3e8, 4),
        serial("COM4", 4, 0x2e8, 3),
    ]
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
    let mut isa = vec![
        name("_ADR", &integer(PIIX_SLOT << 16)),
        pci_config_region("RTCT", ROUTE_CONTROL, ROUTES.len() as u32),
        byte_fields("RTCT", &ROUTES),
    ];
    isa.extend(isa_devices());
    device(
        "PCI0",
        &[
            name("_HID", &eisa_id("PNP0A03")),
            name("_UID", &integer(0)),
            name("_CRS", &resources(&windows)),
            name("_PRT", &routing_table()),
            device("ISA", &isa),
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
