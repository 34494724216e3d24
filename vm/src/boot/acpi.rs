//! ACPI tables for a machine without firmware.
//!
//! They describe the power management function of the PIIX4 with its registers where firmware for this chip set puts them:
//! I/O 0x600. As no firmware programs them there, the machine has to start with the base address (PMBA) at 0x600 and
//! PMREGMISC enabled when a kernel is loaded directly, and with the SCI on interrupt 9.
//!
//! Source: "Advanced Configuration and Power Interface Specification", revision 1.0b (chapter 5 and 15), which this
//! generation of chips was made for.

use super::bytes::put;
use super::layout::{Layout, ROM};
use super::{BootError, dsdt};
use crate::board::hpet;

/// Base of the power management registers.
pub const PM_BASE: u16 = 0x600;
/// The general-purpose event block.
pub const GPE0_BASE: u16 = 0xafe0;
/// The SMI command port, and the values that switch ACPI mode on and off there.
pub const SMI_CMD: u16 = 0xb2;
/// Written to [`SMI_CMD`]: the operating system takes over power management.
pub const ACPI_ENABLE: u8 = 0xf1;
/// Written to [`SMI_CMD`]: it gives it back.
pub const ACPI_DISABLE: u8 = 0xf0;
/// Interrupt line of power management events.
pub const SCI_IRQ: u16 = 9;
/// Value of SLP_TYP in PM1a_CNT that means soft off.
pub const SLP_TYP_S5: u8 = 0;

const RSDP: u64 = ROM;
const OEM_ID: &[u8; 6] = b"RETROG";
const OEM_TABLE_ID: &[u8; 8] = b"RETROGPC";
const HEADER_BYTES: usize = 36;
const CHECKSUM_OFFSET: usize = 9;
/// Tables start at multiples of this.
const ALIGN: u64 = 64;
const FACS_BYTES: u32 = 64;

/// Writes all tables.
pub(super) fn write_tables(ram: &mut [u8], layout: &Layout) -> Result<(), BootError> {
    let facs_at = layout.nvs;
    let dsdt = table(b"DSDT", 1, &dsdt::aml(layout.ram_end as u32));
    let dsdt_at = layout.usable_end;
    let fadt = fadt(facs_at as u32, dsdt_at as u32);
    let fadt_at = (dsdt_at + dsdt.len() as u64).next_multiple_of(ALIGN);
    let madt = madt();
    let madt_at = (fadt_at + fadt.len() as u64).next_multiple_of(ALIGN);
    let hpet = hpet_table();
    let hpet_at = (madt_at + madt.len() as u64).next_multiple_of(ALIGN);
    let tables = [fadt_at, madt_at, hpet_at].map(|at| (at as u32).to_le_bytes()).concat();
    let rsdt = table(b"RSDT", 1, &tables);
    let rsdt_at = (hpet_at + hpet.len() as u64).next_multiple_of(ALIGN);

    put(ram, facs_at, &facs())?;
    put(ram, dsdt_at, &dsdt)?;
    put(ram, fadt_at, &fadt)?;
    put(ram, madt_at, &madt)?;
    put(ram, hpet_at, &hpet)?;
    put(ram, rsdt_at, &rsdt)?;
    put(ram, RSDP, &rsdp(rsdt_at as u32))
}

/// The byte that makes the sum of all bytes zero.
fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)).wrapping_neg()
}

/// A system description table: header (5.2.4) and body.
fn table(signature: &[u8; 4], revision: u8, body: &[u8]) -> Vec<u8> {
    let mut table = Vec::with_capacity(HEADER_BYTES + body.len());
    table.extend_from_slice(signature);
    table.extend_from_slice(&((HEADER_BYTES + body.len()) as u32).to_le_bytes());
    table.extend_from_slice(&[revision, 0]);
    table.extend_from_slice(OEM_ID);
    table.extend_from_slice(OEM_TABLE_ID);
    table.extend_from_slice(&1u32.to_le_bytes()); // OEM revision
    table.extend_from_slice(b"RTRG");
    table.extend_from_slice(&1u32.to_le_bytes()); // creator revision
    table.extend_from_slice(body);
    table[CHECKSUM_OFFSET] = checksum(&table);
    table
}

/// Root System Description Pointer (5.2.3).
fn rsdp(rsdt_at: u32) -> [u8; 20] {
    let mut rsdp = [0; 20];
    rsdp[..8].copy_from_slice(b"RSD PTR ");
    rsdp[9..15].copy_from_slice(OEM_ID);
    rsdp[16..].copy_from_slice(&rsdt_at.to_le_bytes());
    rsdp[8] = checksum(&rsdp);
    rsdp
}

/// Firmware ACPI Control Structure (5.2.6): no waking vector, global lock free.
fn facs() -> [u8; FACS_BYTES as usize] {
    let mut facs = [0; FACS_BYTES as usize];
    facs[..4].copy_from_slice(b"FACS");
    facs[4..8].copy_from_slice(&FACS_BYTES.to_le_bytes());
    facs
}

/// Multiple APIC Description Table (5.2.8): one processor, one I/O APIC, two 8259.
fn madt() -> Vec<u8> {
    const LOCAL_APIC: u32 = 0xfee0_0000;
    const IO_APIC: u32 = 0xfec0_0000;
    const PC_AT: u32 = 1;
    const EDGE_AS_BUS: u16 = 0;
    const LEVEL_HIGH: u16 = 0b1101;
    let mut body = [LOCAL_APIC.to_le_bytes(), PC_AT.to_le_bytes()].concat();
    body.extend([0, 8, 0, 0, 1, 0, 0, 0]); // processor 0 has local APIC 0 and is usable
    body.extend([1, 12, 0, 0]); // I/O APIC 0, its interrupts count from 0
    body.extend([IO_APIC.to_le_bytes(), [0; 4]].concat());
    let mut input = |irq: u8, pin: u8, flags: u16| {
        body.extend([2, 10, 0, irq]);
        body.extend(u32::from(pin).to_le_bytes());
        body.extend(flags.to_le_bytes());
    };
    input(0, 2, EDGE_AS_BUS);
    // The SCI and PCI interrupts are levels.
    for irq in [5, SCI_IRQ as u8, 10, 11] {
        input(irq, irq, LEVEL_HIGH);
    }
    body.extend([4, 6, 0xff, 0, 0, 1]); // NMI at LINT1 of all
    table(b"APIC", 1, &body)
}

/// HPET Description Table (IA-PC HPET 1.0a, 3.2.4).
fn hpet_table() -> Vec<u8> {
    const REGISTER_BITS: u8 = 64;
    const MIN_TICK: u16 = 100;
    let mut body = hpet::ID.to_le_bytes().to_vec();
    body.extend([0, REGISTER_BITS, 0, 0]); // in memory
    body.extend(hpet::BASE.to_le_bytes());
    body.push(0); // the first one
    body.extend(MIN_TICK.to_le_bytes());
    body.push(0);
    table(b"HPET", 1, &body)
}

/// Fixed ACPI Description Table (5.2.5), revision 1.
fn fadt(facs_at: u32, dsdt_at: u32) -> Vec<u8> {
    const FADT_BYTES: usize = 116;
    /// WBINVD works, C1 by HLT, no sleep button, no fixed RTC wake from S4. Clear: fixed power button, 24-bit timer.
    const FLAGS: u32 = 1 << 0 | 1 << 2 | 1 << 5 | 1 << 7;
    /// More than 100 µs and 1000 µs: C2 and C3 do not exist.
    const NO_C2_C3: [u8; 4] = [0xff, 0x0f, 0xff, 0x0f];
    const CENTURY: u8 = 0x32;

    let mut body = [0; FADT_BYTES - HEADER_BYTES];
    // Offsets are those of the specification, which count from the table's start.
    let mut set = |offset: usize, bytes: &[u8]| {
        body[offset - HEADER_BYTES..offset - HEADER_BYTES + bytes.len()].copy_from_slice(bytes);
    };
    let port = |port: u16| u32::from(port).to_le_bytes();
    set(36, &facs_at.to_le_bytes());
    set(40, &dsdt_at.to_le_bytes());
    set(46, &SCI_IRQ.to_le_bytes());
    set(48, &port(SMI_CMD));
    set(52, &[ACPI_ENABLE, ACPI_DISABLE]);
    set(56, &port(PM_BASE)); // PM1a_EVT
    set(64, &port(PM_BASE + 4)); // PM1a_CNT
    set(76, &port(PM_BASE + 8)); // PM_TMR
    set(80, &port(GPE0_BASE));
    set(88, &[4, 2, 0, 4, 4]); // lengths: PM1_EVT, PM1_CNT, PM2_CNT, PM_TMR, GPE0
    set(96, &NO_C2_C3);
    set(108, &[CENTURY]);
    set(112, &FLAGS.to_le_bytes());
    table(b"FACP", 1, &body)
}
