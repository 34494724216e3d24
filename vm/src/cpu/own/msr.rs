//! RDMSR and WRMSR (SDM 4, chapter 2; AMD APM 2, appendix A). An MSR that the model does not have raises #GP(0). Those of
//! the local APIC are the board's.

use super::Flow;
use crate::cpu::Cpu;
use crate::cpu::cpuid::Model;
use crate::cpu::delivery::Fault;
use crate::cpu::engine::off;
use crate::cpu::state::seg;

#[allow(missing_docs)]
mod index {
    pub const P5_MC_ADDR: u32 = 0;
    pub const P5_MC_TYPE: u32 = 1;
    pub const TSC: u32 = 0x10;
    pub const PLATFORM_ID: u32 = 0x17;
    pub const TSC_ADJUST: u32 = 0x3b;
    pub const BIOS_UPDATE: u32 = 0x79;
    pub const BIOS_SIGN: u32 = 0x8b;
    pub const MTRR_CAP: u32 = 0xfe;
    pub const SYSENTER_CS: u32 = 0x174;
    pub const SYSENTER_ESP: u32 = 0x175;
    pub const SYSENTER_EIP: u32 = 0x176;
    pub const MCG_CAP: u32 = 0x179;
    pub const MCG_STATUS: u32 = 0x17a;
    pub const MISC_ENABLE: u32 = 0x1a0;
    pub const MTRR_VAR: u32 = 0x200;
    pub const MTRR_FIX_64K: u32 = 0x250;
    pub const MTRR_FIX_16K: u32 = 0x258;
    pub const MTRR_FIX_4K: u32 = 0x268;
    pub const PAT: u32 = 0x277;
    pub const MTRR_DEF_TYPE: u32 = 0x2ff;
    pub const EFER: u32 = 0xc000_0080;
    pub const STAR: u32 = 0xc000_0081;
    pub const LSTAR: u32 = 0xc000_0082;
    pub const CSTAR: u32 = 0xc000_0083;
    pub const FMASK: u32 = 0xc000_0084;
    pub const FS_BASE: u32 = 0xc000_0100;
    pub const GS_BASE: u32 = 0xc000_0101;
    pub const KERNEL_GS_BASE: u32 = 0xc000_0102;
    pub const TSC_AUX: u32 = 0xc000_0103;
}

/// Eight variable ranges, fixed ranges, write combining.
const MTRR_CAPABILITIES: u64 = 0x508;
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;
const MTRR_VARIABLE: u32 = 16;

/// What the register file holds for an MSR.
enum Slot {
    /// 64 bits at this offset.
    Word(usize),
    /// The same, for a linear address.
    Address(usize),
    /// Reads as this; what is written is ignored.
    Constant(u64),
    /// Reads as this; cannot be written.
    ReadOnly(u64),
    /// Needs care.
    Special,
}

impl Cpu {
    pub(super) fn rdmsr(&mut self, model: &Model) -> Result<Flow, Fault> {
        let number = self.msr_number(model)?;
        let value = self.read_msr(number, model).ok_or(Fault::protection())?;
        self.set_msr_result(value);
        Ok(Flow::Next)
    }

    pub(super) fn wrmsr(&mut self, model: &Model) -> Result<Flow, Fault> {
        let number = self.msr_number(model)?;
        let value = self.msr_operand();
        self.write_msr(number, value, model)?;
        Ok(Flow::Next)
    }

    /// The MSR in ECX, if there may be an access to any.
    pub fn msr_number(&self, model: &Model) -> Result<u32, Fault> {
        if !model.has_msr() {
            return Err(Fault::undefined());
        }
        self.privileged()?;
        Ok(self.env.gpr(1) as u32)
    }

    /// What WRMSR writes.
    pub fn msr_operand(&self) -> u64 {
        self.env.gpr(0) & 0xffff_ffff | self.env.gpr(2) << 32
    }

    /// What RDMSR has read.
    pub fn set_msr_result(&self, value: u64) {
        self.env.set_gpr(0, value & 0xffff_ffff);
        self.env.set_gpr(2, value >> 32);
    }

    /// The time-stamp counter at this time.
    pub fn tsc(&self, now_ns: u64) -> u64 {
        now_ns.wrapping_add(self.env.r64(off::TSC_ADJUST))
    }

    fn slot(&self, number: u32, model: &Model) -> Option<Slot> {
        let long = model.has_long_mode();
        let variable = number.wrapping_sub(index::MTRR_VAR);
        Some(match number {
            index::TSC if model.has_tsc() => Slot::Special,
            index::TSC_ADJUST if model.has_tsc_adjust() => Slot::Word(off::TSC_ADJUST),
            index::PLATFORM_ID if model.is_p6() && model.is_intel() => Slot::ReadOnly(0),
            index::BIOS_UPDATE | index::BIOS_SIGN if model.is_p6() => Slot::Constant(0),
            index::MISC_ENABLE if model.is_p6() => Slot::Word(off::MISC_ENABLE),
            index::P5_MC_ADDR | index::P5_MC_TYPE if model.has_machine_check() => Slot::Constant(0),
            // Machine checks without any bank (SDM 3B, 16.3.1): nothing here breaks.
            index::MCG_CAP if model.has_mca() => Slot::ReadOnly(0),
            index::MCG_STATUS if model.has_mca() => Slot::Constant(0),
            index::SYSENTER_CS if model.has_sysenter() => Slot::Special,
            index::SYSENTER_ESP if model.has_sysenter() => Slot::Address(off::SYSENTER_ESP),
            index::SYSENTER_EIP if model.has_sysenter() => Slot::Address(off::SYSENTER_EIP),
            index::PAT if model.has_pat() => Slot::Special,
            index::MTRR_CAP if model.has_mtrr() => Slot::ReadOnly(MTRR_CAPABILITIES),
            index::MTRR_DEF_TYPE if model.has_mtrr() => Slot::Special,
            _ if model.has_mtrr() && variable < MTRR_VARIABLE => Slot::Special,
            _ if model.has_mtrr() && fixed_range(number).is_some() => Slot::Special,
            index::EFER if model.efer_bits() != 0 => Slot::Special,
            index::STAR if model.has_syscall() => Slot::Word(off::STAR),
            index::LSTAR if long => Slot::Address(off::LSTAR),
            index::CSTAR if long => Slot::Address(off::CSTAR),
            index::FMASK if long => Slot::Special,
            index::FS_BASE if long => Slot::Address(off::SEGS + 24 * seg::FS + 8),
            index::GS_BASE if long => Slot::Address(off::SEGS + 24 * seg::GS + 8),
            index::KERNEL_GS_BASE if long => Slot::Address(off::KERNEL_GS_BASE),
            index::TSC_AUX if model.has_rdtscp() => Slot::Special,
            _ if !model.is_intel() && is_idle_of_amd(number) => Slot::Constant(0),
            _ if model.is_intel() && model.is_p6() && is_idle_of_p6(number) => Slot::Constant(0),
            _ => return None,
        })
    }

    fn read_msr(&self, number: u32, model: &Model) -> Option<u64> {
        let env = self.env;
        Some(match self.slot(number, model)? {
            Slot::Word(at) | Slot::Address(at) => env.r64(at),
            Slot::Constant(value) | Slot::ReadOnly(value) => value,
            Slot::Special => match number {
                index::TSC => self.tsc(self.now_ns),
                index::SYSENTER_CS => env.r32(off::SYSENTER_CS).into(),
                index::PAT => env.r64(off::PAT),
                index::MTRR_DEF_TYPE => env.r64(off::MTRR_DEFTYPE),
                index::EFER => env.r64(off::EFER),
                index::FMASK => env.r64(off::FMASK),
                index::TSC_AUX => env.r64(off::TSC_AUX),
                _ => match fixed_range(number) {
                    Some(i) => env.r64(off::MTRR_FIXED + 8 * i),
                    None => env.r64(off::MTRR_VAR + 8 * (number - index::MTRR_VAR) as usize),
                },
            },
        })
    }

    fn write_msr(&mut self, number: u32, value: u64, model: &Model) -> Result<(), Fault> {
        let env = self.env;
        let require = |good: bool| if good { Ok(()) } else { Err(Fault::protection()) };
        match self.slot(number, model).ok_or(Fault::protection())? {
            Slot::Word(at) => env.w64(at, value),
            Slot::Address(at) => {
                if model.has_long_mode() {
                    self.check_canonical(value)?;
                }
                env.w64(at, value);
            }
            Slot::Constant(_) => {}
            Slot::ReadOnly(_) => return Err(Fault::protection()),
            Slot::Special => match number {
                // The adjustment follows (SDM 3B, 18.17.3).
                index::TSC => env.w64(off::TSC_ADJUST, value.wrapping_sub(self.now_ns)),
                index::SYSENTER_CS => env.w32(off::SYSENTER_CS, value as u32),
                index::PAT => {
                    require(value.to_le_bytes().into_iter().all(|t| matches!(t, 0 | 1 | 4..=7)))?;
                    env.w64(off::PAT, value);
                }
                index::MTRR_DEF_TYPE => {
                    require(value & !0xcff == 0 && memory_type(value as u8))?;
                    env.w64(off::MTRR_DEFTYPE, value);
                }
                index::EFER => self.write_efer(value, model)?,
                index::FMASK => env.w64(off::FMASK, value & 0xffff_ffff),
                index::TSC_AUX => {
                    require(value >> 32 == 0)?;
                    env.w64(off::TSC_AUX, value);
                }
                _ => match fixed_range(number) {
                    Some(i) => {
                        require(value.to_le_bytes().into_iter().all(memory_type))?;
                        env.w64(off::MTRR_FIXED + 8 * i, value);
                    }
                    None => {
                        let beyond = value >> crate::cpu::cpuid::PHYSICAL_BITS != 0;
                        let mask = number & 1 != 0;
                        let good = if mask {
                            value & 0x7ff == 0
                        } else {
                            value & 0xf00 == 0 && memory_type(value as u8)
                        };
                        require(good && !beyond)?;
                        env.w64(off::MTRR_VAR + 8 * (number - index::MTRR_VAR) as usize, value);
                    }
                },
            },
        }
        Ok(())
    }

    fn write_efer(&mut self, value: u64, model: &Model) -> Result<(), Fault> {
        let env = self.env;
        let old = env.r64(off::EFER);
        // LMA is the processor's; writing it does nothing.
        let new = value & !EFER_LMA | old & EFER_LMA;
        if new & !(model.efer_bits() | EFER_LMA) != 0 {
            return Err(Fault::protection());
        }
        if (old ^ new) & EFER_LME != 0 && self.cr0() & super::control::cr0::PG != 0 {
            return Err(Fault::protection());
        }
        env.w64(off::EFER, new);
        self.flush_tlb();
        env.update_hflags();
        Ok(())
    }
}

/// Registers of AMD's family 15 (BKDG 26094, chapter 13) that system software writes without asking and that have no
/// meaning here: they read as 0 and ignore what is written.
fn is_idle_of_amd(number: u32) -> bool {
    matches!(
        number.wrapping_sub(0xc001_0000),
        0x00..=0x07 // performance event selection and counters
            | 0x10 | 0x15 | 0x1f // SYSCFG, HWCR, NB_CFG
            | 0x16..=0x1a | 0x1d // I/O ranges, top of memory
            | 0x44..=0x49 // machine-check masks
            | 0x55 | 0x112 // interrupt pending message, TSEG
    )
}

/// The same of Intel's P6 family (SDM 4, table 2-60): power-on configuration, performance counters and their selection.
fn is_idle_of_p6(number: u32) -> bool {
    matches!(number, 0x2a | 0xc1 | 0xc2 | 0x186 | 0x187)
}

/// Index of a fixed-range MTRR.
fn fixed_range(number: u32) -> Option<usize> {
    match number {
        index::MTRR_FIX_64K => Some(0),
        index::MTRR_FIX_16K..=0x259 => Some((number - index::MTRR_FIX_16K) as usize + 1),
        index::MTRR_FIX_4K..=0x26f => Some((number - index::MTRR_FIX_4K) as usize + 3),
        _ => None,
    }
}

/// Whether an MTRR may hold this memory type (SDM 3A, table 11-8).
fn memory_type(value: u8) -> bool {
    matches!(value, 0 | 1 | 4 | 5 | 6)
}
