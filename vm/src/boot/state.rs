//! Register files: at power-on, and at the entry of a kernel.

use super::BootError;
use super::bytes::put;
use super::layout::{BOOT_DATA, GDT};
use crate::cpu::state::{CpuState, Fpu, Msrs, Segment, TableRegister, seg};

/// Selector of the flat code segment: Linux's `__BOOT_CS`.
const CODE_SELECTOR: u16 = 0x10;
/// Selector of the flat data segment: Linux's `__BOOT_DS`.
const DATA_SELECTOR: u16 = 0x18;
/// Null, unused, code, data.
const GDT_ENTRIES: [u64; 4] = [0, 0, 0x00cf_9b00_0000_ffff, 0x00cf_9300_0000_ffff];
/// Bytes of the GDT.
pub const GDT_BYTES: u16 = size_of_val(&GDT_ENTRIES) as u16;
/// Descriptor bits of the flat code segment: present, code, readable, accessed, 32 bit, page granular.
const CODE_FLAGS: u32 = 0x00c0_9b00;
/// Descriptor bits of the flat data segment: present, writable, accessed, 32 bit, page granular.
const DATA_FLAGS: u32 = 0x00c0_9300;

/// The register file after power-on ("Intel 64 and IA-32 Architectures Software Developer's Manual", volume 3A,
/// table 9-1). EDX holds the processor's signature then, which the caller knows; what the engine derives from other
/// fields ([`CpuState::engine`]) is left zero.
pub fn reset_state() -> CpuState {
    let real_mode = |selector, base, flags| Segment { selector, base, limit: 0xffff, flags };
    let mut state = CpuState {
        rip: 0xfff0,
        rflags: 2,
        seg: [real_mode(0, 0, 0x9300); 6],
        // The table gives both only as present; these are the types that a load would have given them.
        ldtr: real_mode(0, 0, 0x8200),
        tr: real_mode(0, 0, 0x8b00),
        gdtr: TableRegister { base: 0, limit: 0xffff },
        idtr: TableRegister { base: 0, limit: 0xffff },
        cr0: 0x6000_0010,
        dr: [0, 0, 0, 0, 0, 0, 0xffff_0ff0, 0x400],
        // Power-up differs from FINIT: tag word 0x5555 says eight zeros, not eight empty registers.
        fpu: Fpu { control: 0x0040, tag: 0xff, ..Fpu::default() },
        mxcsr: 0x1f80,
        msr: Msrs { pat: 0x0007_0406_0007_0406, misc_enable: 1, ..Msrs::default() },
        ..CpuState::default()
    };
    // The code segment starts just below 4 GiB until the first far jump.
    state.seg[seg::CS] = real_mode(0xf000, 0xffff_0000, 0x9b00);
    state
}

/// The state in which a kernel is entered: 32-bit protected mode, flat segments, paging and interrupts off, FPU and memory
/// types as firmware leaves them.
pub fn protected_mode_state(entry: u32) -> CpuState {
    let data = Segment { selector: DATA_SELECTOR, base: 0, limit: 0xffff_ffff, flags: DATA_FLAGS };
    let mut state = reset_state();
    state.rip = entry.into();
    state.gpr[4] = BOOT_DATA; // neither protocol promises a stack; below the boot data there is room for one
    state.seg = [data; 6];
    state.seg[seg::CS] = Segment { selector: CODE_SELECTOR, flags: CODE_FLAGS, ..data };
    state.gdtr = TableRegister { base: GDT, limit: GDT_BYTES - 1 };
    state.idtr = TableRegister { base: 0, limit: 0 };
    state.cr0 = 0x11; // PE, ET; caches on
    state.fpu = Fpu { control: 0x037f, ..Fpu::default() };
    // Write-back everywhere, except the VGA window in the third fixed register, which stays uncached.
    state.msr.mtrr_fixed = [0x0606_0606_0606_0606; 11];
    state.msr.mtrr_fixed[2] = 0;
    state.msr.mtrr_deftype = 0xc06;
    state
}

/// Writes the GDT that the segments of [`protected_mode_state`] come from.
pub fn write_gdt(ram: &mut [u8]) -> Result<(), BootError> {
    put(ram, GDT, &gdt())
}

/// The GDT's contents.
pub fn gdt() -> Vec<u8> {
    GDT_ENTRIES.map(u64::to_le_bytes).concat()
}
