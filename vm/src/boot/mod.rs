//! Loading a kernel without firmware, as `-kernel` does.
//!
//! [`load`] puts a kernel, its initial RAM disk and its command line into RAM, together with what firmware would have
//! left there (memory map, ACPI tables, BIOS data area), and returns the registers with which the CPU enters the kernel.
//! Three kinds of image are told apart, in this order:
//!
//! 1. **Linux bzImage**, boot protocol 2.02 or later ("The Linux/x86 Boot Protocol", 32-bit boot protocol): [`linux`].
//! 2. **Multiboot 1** (magic in the first 8 KiB), as 32-bit ELF or with load addresses in the header: [`multiboot`].
//! 3. Anything else is a **flat binary**: it is loaded at physical 0x100000 and entered there, at its first byte, in the
//!    machine state that Multiboot prescribes: 32-bit protected mode, flat 4 GiB segments, paging and interrupts off.
//!    EAX is 0 as there is no magic to honour; EBX points to a Multiboot information structure all the same, so that
//!    a flat image has a command line, a module and a memory map too.
//!
//! An ELF file that is not Multiboot is refused: run as a flat binary, its header would be executed.
//!
//! | physical address | contents |
//! |---|---|
//! | 0x00400 | BIOS data area |
//! | 0x90000 | Linux: `boot_params`, and the command line behind it; Multiboot: the information structure and what it points to |
//! | 0x9f000 | GDT |
//! | 0x9fc00 | extended BIOS data area |
//! | 0xf0000 | ACPI root pointer, SMBIOS and MultiProcessor tables, PCI interrupt routing |
//! | 0x100000 and up | the kernel, unless it says otherwise |
//! | last 64 KiB of RAM | ACPI tables |
//!
//! Firmware can start the first two kinds: `real_mode` and `multiboot_rom`. A Linux kernel that can be entered in real mode only
//! is a matter of firmware.
//!
//! If no firmware has run, the interrupt vector table is empty. The board is left as firmware leaves it by
//! [`Board::hand_over`](crate::board::Board::hand_over).

pub mod acpi;
mod aml;
mod bytes;
mod dsdt;
mod elf;
mod kernel;
mod layout;
pub mod linux;
mod mp_tables;
pub mod multiboot;
mod multiboot_rom;
mod option_rom;
mod real_mode;
pub mod smbios;
mod state;

pub use kernel::{Kernel, Module};
pub use state::reset_state;

use crate::config::MachineConfig;
use crate::cpu::state::CpuState;
use layout::Layout;
use thiserror::Error;

/// Why a kernel cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BootError {
    /// Too little RAM for the tables, let alone a kernel.
    #[error("{ram} bytes of RAM are too few to load a kernel (at least {min})")]
    RamTooSmall {
        /// RAM in bytes.
        ram: u64,
        /// The least that will do.
        min: u64,
    },
    /// The image has no bytes.
    #[error("the kernel image is empty")]
    Empty,
    /// The image ends before something that its header announces.
    #[error("the kernel image is truncated: {0}")]
    Truncated(&'static str),
    /// A Linux kernel of before 2.4.0-test3.
    #[error("Linux boot protocol {}.{:02} is too old (2.02 is the oldest supported)", .0 >> 8, .0 & 0xff)]
    LinuxTooOld(u16),
    /// A Linux kernel that loads below 1 MiB.
    #[error("this Linux kernel is a zImage, which loads below 1 MiB; only bzImage is supported")]
    LinuxLow,
    /// Neither Linux nor Multiboot where only these can be.
    #[error("neither a Linux nor a Multiboot kernel: firmware can start no other; leave out --bios")]
    NotForFirmware,
    /// A Multiboot kernel of more parts than an option ROM has room for.
    #[error("the kernel and its modules are in too many parts for firmware to load: {0}, and at most {1}")]
    TooManyParts(usize, usize),
    /// An ELF file without a Multiboot header.
    #[error("this ELF file has no Multiboot header in its first 8 KiB (for Linux give bzImage, not vmlinux)")]
    ElfNotMultiboot,
    /// A Multiboot header in a 64-bit ELF file.
    #[error(
        "Multiboot starts kernels in 32-bit mode, and this one is a 64-bit ELF file: link it as elf32-i386"
    )]
    Elf64,
    /// An ELF file for another processor, byte order or purpose.
    #[error("not an executable ELF file for the 80386: {0}")]
    ElfKind(&'static str),
    /// The Multiboot header demands something that no version of this loader knows.
    #[error("the Multiboot header demands unknown features: flags {0:#06x}")]
    MultibootFlags(u32),
    /// Load addresses in the Multiboot header that contradict each other or the file.
    #[error("bad Multiboot load addresses: {0}")]
    MultibootAddresses(&'static str),
    /// The entry point lies in nothing that was loaded.
    #[error("the entry point {0:#x} lies outside the loaded kernel")]
    EntryOutside(u64),
    /// A part does not fit where it has to go.
    #[error("{what} needs {size:#x} bytes at {start:#x} or above, but may not go past {end:#x}")]
    DoesNotFit {
        /// Which part.
        what: &'static str,
        /// Lowest address it may have.
        start: u64,
        /// Its size in bytes.
        size: u64,
        /// End of the memory that it may use.
        end: u64,
    },
    /// A part of the kernel wants memory that is not free for it.
    #[error("the kernel wants to be at {start:#x}..{end:#x}, which overlaps memory that is not free: {with}")]
    Overlap {
        /// Start of the part.
        start: u64,
        /// End of the part.
        end: u64,
        /// What is there.
        with: &'static str,
    },
    /// The kernel takes no command line of this length.
    #[error("the command line has {len} bytes, the kernel takes {max}")]
    CmdlineTooLong {
        /// Bytes given.
        len: usize,
        /// Bytes possible.
        max: usize,
    },
}

/// Writes the tables that firmware would have made of the machine, apart from ACPI's, into `ram`.
pub fn describe(ram: &mut [u8], config: &MachineConfig) -> Result<(), BootError> {
    smbios::write_tables(ram, config)?;
    mp_tables::write(ram, config)
}

/// Loads `kernel` into `ram`, which is guest-physical memory from address 0 on and zero so far, and returns the state in
/// which the CPU enters it.
pub fn load(ram: &mut [u8], kernel: &Kernel) -> Result<CpuState, BootError> {
    if kernel.image.is_empty() {
        return Err(BootError::Empty);
    }
    let layout = Layout::new(ram.len() as u64)?;
    let state = if linux::is_linux(&kernel.image) {
        linux::load(ram, &layout, &kernel.image, kernel.initrd(), &kernel.cmdline)?
    } else {
        multiboot::load(ram, &layout, kernel)?
    };
    layout::write_bios_data(ram)?;
    acpi::write_tables(ram, &layout)?;
    state::write_gdt(ram)?;
    Ok(state)
}

#[cfg(test)]
mod tests;
