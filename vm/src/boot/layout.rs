//! Who owns which part of RAM, and how the guest is told.

use super::BootError;
use super::bytes::put;
use crate::config::RAM_MAX;

/// Start of the area for what the loader hands over: `boot_params` or Multiboot information, strings.
pub const BOOT_DATA: u64 = 0x9_0000;
/// End of that area.
pub const BOOT_DATA_END: u64 = GDT;
/// The GDT in which the entry segments are.
pub const GDT: u64 = 0x9_f000;
/// Extended BIOS data area, up to the VGA window.
pub const EBDA: u64 = 0x9_fc00;
/// End of conventional memory, start of the VGA window.
pub const LOW_END: u64 = 0xa_0000;
/// What firmware would hold in ROM; here RAM with the ACPI root pointer.
pub const ROM: u64 = 0xf_0000;
/// First byte of extended memory.
pub const HIGH: u64 = 0x10_0000;
/// First byte behind the interrupt vector table and the BIOS data area.
pub const BIOS_DATA_END: u64 = 0x500;

/// Bytes at the end of RAM that the ACPI tables take: tables, then the page that belongs to ACPI for good.
const ACPI_BYTES: u64 = 0x1_0000;
/// Of these, non-volatile storage (the FACS).
const ACPI_NVS_BYTES: u64 = 0x1000;
/// With less than this there is no room for a kernel between 1 MiB and the tables.
const RAM_LEAST: u64 = 2 << 20;

/// Kinds of memory ("ACPI Specification", Address Range Types; Multiboot's memory map uses the same numbers).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeKind {
    /// Free RAM.
    Ram = 1,
    /// Not for the system.
    Reserved = 2,
    /// ACPI tables: RAM once they have been read.
    Acpi = 3,
    /// ACPI non-volatile storage.
    Nvs = 4,
}

/// One line of the memory map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub start: u64,
    pub end: u64,
    pub kind: RangeKind,
}

/// Where memory ends and where the tables lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// End of RAM that the guest may use freely, start of the ACPI tables.
    pub usable_end: u64,
    /// Start of ACPI non-volatile storage.
    pub nvs: u64,
    /// End of RAM.
    pub ram_end: u64,
}

impl Layout {
    /// The layout for so many bytes of RAM.
    pub fn new(ram_bytes: u64) -> Result<Layout, BootError> {
        if ram_bytes < RAM_LEAST {
            return Err(BootError::RamTooSmall { ram: ram_bytes, min: RAM_LEAST });
        }
        let ram_end = ram_bytes.min(RAM_MAX) & !0xfff;
        Ok(Layout { usable_end: ram_end - ACPI_BYTES, nvs: ram_end - ACPI_NVS_BYTES, ram_end })
    }

    /// The memory map, ascending and without overlaps.
    pub fn ranges(&self) -> [Range; 6] {
        let range = |start, end, kind| Range { start, end, kind };
        [
            range(0, EBDA, RangeKind::Ram),
            range(EBDA, LOW_END, RangeKind::Reserved),
            range(ROM, HIGH, RangeKind::Reserved),
            range(HIGH, self.usable_end, RangeKind::Ram),
            range(self.usable_end, self.nvs, RangeKind::Acpi),
            range(self.nvs, self.ram_end, RangeKind::Nvs),
        ]
    }

    /// KiB of conventional memory and of contiguous extended memory.
    pub fn kib_low_high(&self) -> (u32, u32) {
        ((EBDA >> 10) as u32, ((self.usable_end - HIGH) >> 10) as u32)
    }

    /// Refuses a part of a kernel that is not in free RAM.
    pub fn check_kernel_range(&self, start: u64, len: u64) -> Result<(), BootError> {
        let does_not_fit =
            BootError::DoesNotFit { what: "the kernel", start, size: len, end: self.usable_end };
        let end = start.checked_add(len).filter(|&end| end <= self.usable_end).ok_or(does_not_fit)?;
        let taken = [
            (0, BIOS_DATA_END, "interrupt vectors and BIOS data"),
            (BOOT_DATA, LOW_END, "boot information"),
            (LOW_END, HIGH, "video memory and ROM"),
        ];
        for (taken_start, taken_end, with) in taken {
            if start < taken_end && end > taken_start {
                return Err(BootError::Overlap { start, end, with });
            }
        }
        Ok(())
    }
}

/// Fills in what programs look up in the BIOS data area even when no BIOS ran ("System BIOS for IBM PC/XT/AT Computers
/// and Compatibles", Phoenix, chapter 3).
pub fn write_bios_data(ram: &mut [u8]) -> Result<(), BootError> {
    let ebda_kib = (LOW_END - EBDA) >> 10;
    put(ram, 0x400, &0x3f8u16.to_le_bytes())?; // COM1
    put(ram, 0x40e, &((EBDA >> 4) as u16).to_le_bytes())?;
    put(ram, 0x410, &0x0226u16.to_le_bytes())?; // one serial port, 80x25 colour, PS/2 mouse, FPU
    put(ram, 0x413, &((EBDA >> 10) as u16).to_le_bytes())?;
    put(ram, 0x449, &[0x03])?; // video mode
    put(ram, 0x44a, &80u16.to_le_bytes())?;
    put(ram, 0x463, &0x3d4u16.to_le_bytes())?; // CRT controller
    put(ram, 0x484, &[24, 16])?; // last row, height of a character
    put(ram, EBDA, &[ebda_kib as u8])
}
