//! ACPI tables.
//!
//! They are one block of bytes in which addresses count from its start, together with a list of where such addresses and
//! checksums are. A machine without firmware gets the block linked to where it lies in RAM ([`Tables::linked_at`]);
//! firmware links it itself, by the commands of [`Tables::loader_commands`].
//!
//! They describe the power management function of the PIIX4 with its registers where its PMBASE says, which firmware
//! chooses, and with the SCI on interrupt 9.
//!
//! Sources: "Advanced Configuration and Power Interface Specification", revision 1.0b (chapter 5 and 15), which this
//! generation of chips was made for; "ACPI tables" of QEMU's documentation of fw_cfg for the commands. The FADT stays
//! that of 1.0: Windows 2000 does not start with a later one, and what later ones add (the reset register) can be had
//! without: port 0xcf9, and the keyboard controller.

use super::bytes::put;
use super::layout::{Layout, ROM};
use super::{BootError, dsdt};
use crate::board::hpet;
use crate::board::pci::PM_BASE_WITHOUT_FIRMWARE;

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
const RSDP_BYTES: usize = 20;
const OEM_ID: &[u8; 6] = b"RETROG";
const OEM_TABLE_ID: &[u8; 8] = b"RETROGPC";
const HEADER_BYTES: usize = 36;
const CHECKSUM_OFFSET: usize = 9;
/// Tables start at multiples of this.
const ALIGN: usize = 64;
const FACS_BYTES: u32 = 64;

/// fw_cfg: the file with the block of tables, the one with the root pointer.
pub const TABLES_FILE: &str = "etc/acpi/tables";
/// fw_cfg: the file with the root pointer.
pub const RSDP_FILE: &str = "etc/acpi/rsdp";
/// The first file is filled up to this size, as QEMU's is, so that what firmware reports as free memory is the same.
const TABLES_FILE_BYTES: usize = 0x2_0000;

/// A byte that makes a range of the block add up to zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Checksum {
    at: usize,
    start: usize,
    length: usize,
}

/// All tables in one block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {
    block: Vec<u8>,
    /// Where 32-bit addresses are.
    pointers: Vec<usize>,
    checksums: Vec<Checksum>,
    rsdt: usize,
    /// The last table, which the operating system must leave where it is.
    facs: usize,
}

impl Tables {
    /// The tables of a machine with so many bytes of RAM, and its power management registers at `pm_base`. Their length
    /// does not depend on that.
    pub fn new(ram_bytes: u64, pm_base: u16) -> Tables {
        let mut tables =
            Tables { block: Vec::new(), pointers: Vec::new(), checksums: Vec::new(), rsdt: 0, facs: 0 };
        let dsdt = tables.add(&table(b"DSDT", 1, &dsdt::aml(ram_bytes as u32)));
        let fadt = tables.add(&table(b"FACP", 1, &fadt(pm_base)));
        let madt = tables.add(&table(b"APIC", 1, &madt()));
        let hpet = tables.add(&table(b"HPET", 1, &hpet_table()));
        let rsdt = tables.add(&table(b"RSDT", 1, &[0; 4 * 3]));
        tables.facs = tables.add_bytes(&facs());
        tables.rsdt = rsdt;
        tables.point(fadt + FIRMWARE_CTRL, tables.facs);
        tables.point(fadt + DSDT, dsdt);
        for (i, listed) in [fadt, madt, hpet].into_iter().enumerate() {
            tables.point(rsdt + HEADER_BYTES + 4 * i, listed);
        }
        tables
    }

    fn add_bytes(&mut self, bytes: &[u8]) -> usize {
        let at = self.block.len().next_multiple_of(ALIGN);
        self.block.resize(at, 0);
        self.block.extend_from_slice(bytes);
        at
    }

    /// Adds a table with a header.
    fn add(&mut self, table: &[u8]) -> usize {
        let start = self.add_bytes(table);
        self.checksums.push(Checksum { at: start + CHECKSUM_OFFSET, start, length: table.len() });
        start
    }

    /// Lets the address at `at` be that of `target`.
    fn point(&mut self, at: usize, target: usize) {
        self.block[at..at + 4].copy_from_slice(&(target as u32).to_le_bytes());
        self.pointers.push(at);
    }

    /// The block as it has to be at `base`, and the root pointer.
    fn linked_at(mut self, base: u32) -> (Vec<u8>, [u8; RSDP_BYTES]) {
        for at in self.pointers {
            let field = self.block[at..].first_chunk_mut::<4>().expect("pointers are inside");
            *field = u32::from_le_bytes(*field).wrapping_add(base).to_le_bytes();
        }
        for Checksum { at, start, length } in self.checksums {
            self.block[at] = checksum(&self.block[start..start + length]);
        }
        let mut rsdp = rsdp(base + self.rsdt as u32);
        rsdp[RSDP_CHECKSUM] = checksum(&rsdp);
        (self.block, rsdp)
    }

    /// The block as a file for firmware, addresses and checksums not filled in.
    pub fn file(&self) -> Vec<u8> {
        let mut file = self.block.clone();
        file.resize(file.len().next_multiple_of(TABLES_FILE_BYTES), 0);
        file
    }

    /// The root pointer as a file for firmware.
    pub fn rsdp_file(&self) -> Vec<u8> {
        rsdp(self.rsdt as u32).to_vec()
    }

    /// What firmware has to do with both files ("etc/table-loader").
    pub fn loader_commands(&self) -> Vec<u8> {
        let mut commands = [
            loader::allocate(TABLES_FILE, ALIGN as u32, loader::Zone::High),
            loader::allocate(RSDP_FILE, 16, loader::Zone::FSegment),
        ]
        .concat();
        for at in &self.pointers {
            commands.extend(loader::add_pointer(TABLES_FILE, TABLES_FILE, *at as u32));
        }
        for Checksum { at, start, length } in self.checksums.iter().copied() {
            commands.extend(loader::add_checksum(TABLES_FILE, at as u32, start as u32, length as u32));
        }
        commands.extend(loader::add_pointer(RSDP_FILE, TABLES_FILE, RSDP_RSDT as u32));
        commands.extend(loader::add_checksum(RSDP_FILE, RSDP_CHECKSUM as u32, 0, RSDP_BYTES as u32));
        commands
    }
}

/// Writes all tables: the FACS into non-volatile storage, what comes before it below that.
pub(super) fn write_tables(ram: &mut [u8], layout: &Layout) -> Result<(), BootError> {
    let tables = Tables::new(layout.ram_end, PM_BASE_WITHOUT_FIRMWARE);
    let base = layout.nvs - tables.facs as u64;
    let (block, rsdp) = tables.linked_at(base as u32);
    put(ram, base, &block)?;
    put(ram, RSDP, &rsdp)
}

/// The byte that makes the sum of all bytes zero.
fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)).wrapping_neg()
}

/// A system description table without its checksum: header (5.2.4) and body.
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
    table
}

const RSDP_CHECKSUM: usize = 8;
const RSDP_RSDT: usize = 16;

/// Root System Description Pointer (5.2.3) without its checksum.
fn rsdp(rsdt: u32) -> [u8; RSDP_BYTES] {
    let mut rsdp = [0; RSDP_BYTES];
    rsdp[..8].copy_from_slice(b"RSD PTR ");
    rsdp[9..15].copy_from_slice(OEM_ID);
    rsdp[RSDP_RSDT..].copy_from_slice(&rsdt.to_le_bytes());
    rsdp
}

/// Firmware ACPI Control Structure (5.2.6): no waking vector, global lock free.
fn facs() -> [u8; FACS_BYTES as usize] {
    let mut facs = [0; FACS_BYTES as usize];
    facs[..4].copy_from_slice(b"FACS");
    facs[4..8].copy_from_slice(&FACS_BYTES.to_le_bytes());
    facs
}

/// Body of the Multiple APIC Description Table (5.2.8): one processor, one I/O APIC, two 8259.
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
    body
}

/// Ticks of the shortest period of an HPET that is worth asking for.
pub const HPET_MIN_TICK: u16 = 100;

/// Body of the HPET Description Table (IA-PC HPET 1.0a, 3.2.4).
fn hpet_table() -> Vec<u8> {
    const REGISTER_BITS: u8 = 64;
    let mut body = hpet::ID.to_le_bytes().to_vec();
    body.extend([0, REGISTER_BITS, 0, 0]); // in memory
    body.extend(hpet::BASE.to_le_bytes());
    body.push(0); // the first one
    body.extend(HPET_MIN_TICK.to_le_bytes());
    body.push(0);
    body
}

const FADT_BYTES: usize = 116;
const FIRMWARE_CTRL: usize = 36;
const DSDT: usize = 40;

/// Body of the Fixed ACPI Description Table (5.2.5), revision 1, without the addresses of other tables.
fn fadt(pm_base: u16) -> [u8; FADT_BYTES - HEADER_BYTES] {
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
    set(46, &SCI_IRQ.to_le_bytes());
    set(48, &port(SMI_CMD));
    set(52, &[ACPI_ENABLE, ACPI_DISABLE]);
    set(56, &port(pm_base)); // PM1a_EVT
    set(64, &port(pm_base + 4)); // PM1a_CNT
    set(76, &port(pm_base + 8)); // PM_TMR
    set(80, &port(GPE0_BASE));
    set(88, &[4, 2, 0, 4, 4]); // lengths: PM1_EVT, PM1_CNT, PM2_CNT, PM_TMR, GPE0
    set(96, &NO_C2_C3);
    set(108, &[CENTURY]);
    set(112, &FLAGS.to_le_bytes());
    body
}

mod loader;

#[cfg(test)]
mod tests;
