//! MOV to and from control and debug registers, and LMSW (SDM 3A, 2.5 and 17.2; AMD APM 2, 3.1).

use super::Flow;
use crate::cpu::Cpu;
use crate::cpu::cpuid::Model;
use crate::cpu::debug::{DR6_BD, DR7_GD};
use crate::cpu::delivery::Fault;
use crate::cpu::descriptor::canonical;
use crate::cpu::engine::off;
use crate::cpu::mmu::pdpte_reserved;
use crate::cpu::regs::flag;
use crate::cpu::state::seg;
use iced_x86::{Instruction, Register};

/// Bits of CR0.
pub mod cr0 {
    #![allow(missing_docs)]
    pub const PE: u64 = 1;
    pub const ET: u64 = 1 << 4;
    pub const NW: u64 = 1 << 29;
    pub const CD: u64 = 1 << 30;
    pub const PG: u64 = 1 << 31;
    /// All that exist.
    pub const ALL: u64 = 0xe005_003f;
}

/// Bits of CR4.
pub mod cr4 {
    #![allow(missing_docs)]
    pub const VME: u64 = 1;
    pub const PVI: u64 = 1 << 1;
    pub const TSD: u64 = 1 << 2;
    pub const DE: u64 = 1 << 3;
    pub const PSE: u64 = 1 << 4;
    pub const PAE: u64 = 1 << 5;
    pub const MCE: u64 = 1 << 6;
    pub const PGE: u64 = 1 << 7;
    pub const PCE: u64 = 1 << 8;
    pub const OSFXSR: u64 = 1 << 9;
    pub const OSXMMEXCPT: u64 = 1 << 10;
    pub const FSGSBASE: u64 = 1 << 16;
    pub const SMEP: u64 = 1 << 20;
    pub const SMAP: u64 = 1 << 21;
}

const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;

impl Cpu {
    pub(super) fn mov_special(&mut self, insn: &Instruction, model: &Model) -> Result<Flow, Fault> {
        let (to, from) = (insn.op0_register(), insn.op1_register());
        if to.is_dr() {
            self.debug_access(dr_number(to))?;
            self.mov_to_dr(dr_number(to), self.register(from))?;
        } else if from.is_dr() {
            let n = self.debug_access(dr_number(from))?;
            let value = self.debug.get(n);
            self.env.set_gpr(to.full_register().number(), value);
        } else if to.is_cr() {
            self.mov_to_cr(cr_number(to), self.register(from), model)?;
        } else {
            let n = cr_number(from);
            if !matches!(n, 0 | 2 | 3 | 4) || (n == 4 && !model.has_cr4()) {
                return Err(Fault::undefined());
            }
            self.privileged()?;
            let value = self.env.r64(off::CR + 8 * n);
            let value = if self.env.code_bits() == 64 { value } else { value & 0xffff_ffff };
            self.env.set_gpr(to.full_register().number(), value);
        }
        Ok(Flow::Next)
    }

    /// The checks before any access to debug register `n`; the number of the register that it means.
    fn debug_access(&mut self, n: usize) -> Result<usize, Fault> {
        let n = match n {
            4 | 5 if self.cr4() & cr4::DE != 0 => return Err(Fault::undefined()),
            4 | 5 => n + 2,
            8.. => return Err(Fault::undefined()),
            _ => n,
        };
        self.privileged()?;
        if self.debug.dr7() & DR7_GD != 0 {
            self.report_debug(self.debug.get(6) as u32 & 0xf | DR6_BD);
            return Err(Fault::new(crate::cpu::delivery::vector::DB, 0));
        }
        Ok(n)
    }

    fn mov_to_dr(&mut self, n: usize, value: u64) -> Result<(), Fault> {
        let n = if matches!(n, 4 | 5) { n + 2 } else { n };
        if n >= 6 && value >> 32 != 0 {
            return Err(Fault::protection());
        }
        self.write_dr(n, value);
        Ok(())
    }

    fn mov_to_cr(&mut self, n: usize, value: u64, model: &Model) -> Result<(), Fault> {
        if !matches!(n, 0 | 2 | 3 | 4) || (n == 4 && !model.has_cr4()) {
            return Err(Fault::undefined());
        }
        self.privileged()?;
        match n {
            0 => self.set_cr0(value),
            2 => {
                self.env.w64(off::CR + 16, value);
                Ok(())
            }
            3 => self.set_cr3(value),
            _ => self.set_cr4(value, model),
        }
    }

    fn set_cr0(&mut self, value: u64) -> Result<(), Fault> {
        let env = self.env;
        let old = self.cr0();
        if value >> 32 != 0
            || (value & cr0::PG != 0 && value & cr0::PE == 0)
            || (value & cr0::NW != 0 && value & cr0::CD == 0)
        {
            return Err(Fault::protection());
        }
        let value = value & cr0::ALL | cr0::ET;
        let paging = value & cr0::PG != 0;
        let efer = env.r64(off::EFER);
        let was_paging = old & cr0::PG != 0;
        if paging && !was_paging && efer & EFER_LME != 0 {
            if self.cr4() & cr4::PAE == 0 || env.segment(seg::CS).flags & 1 << 21 != 0 {
                return Err(Fault::protection());
            }
            env.w64(off::EFER, efer | EFER_LMA);
        } else if was_paging && !paging && efer & EFER_LMA != 0 {
            if env.code_bits() == 64 {
                return Err(Fault::protection());
            }
            env.w64(off::EFER, efer & !EFER_LMA);
        } else if paging && !env.long_mode() && self.cr4() & cr4::PAE != 0 && (old ^ value) & cr0::PG != 0 {
            self.check_pdptes(env.r64(off::CR + 24))?;
        }
        env.w64(off::CR, value);
        const TRANSLATION: u64 = cr0::PG | cr0::PE | 1 << 16;
        if (old ^ value) & TRANSLATION != 0 {
            self.flush_tlb();
        }
        env.update_hflags();
        Ok(())
    }

    fn set_cr3(&mut self, value: u64) -> Result<(), Fault> {
        let env = self.env;
        if env.long_mode() {
            if value >> super::super::cpuid::PHYSICAL_BITS != 0 {
                return Err(Fault::protection());
            }
        } else if self.cr0() & cr0::PG != 0 && self.cr4() & cr4::PAE != 0 {
            self.check_pdptes(value)?;
        }
        self.switch_address_space(value);
        Ok(())
    }

    fn set_cr4(&mut self, value: u64, model: &Model) -> Result<(), Fault> {
        let old = self.cr4();
        if value & !model.cr4_bits() != 0 || (self.env.long_mode() && value & cr4::PAE == 0) {
            return Err(Fault::protection());
        }
        const TRANSLATION: u64 = cr4::PSE | cr4::PAE | cr4::PGE | cr4::SMEP | cr4::SMAP;
        let changed = (old ^ value) & TRANSLATION != 0;
        if changed && self.cr0() & cr0::PG != 0 && value & cr4::PAE != 0 && !self.env.long_mode() {
            self.check_pdptes(self.env.r64(off::CR + 24))?;
        }
        self.env.w64(off::CR + 32, value);
        if changed {
            self.flush_tlb();
        }
        self.env.update_hflags();
        Ok(())
    }

    /// Loading the four PDPTEs of legacy PAE checks their reserved bits (SDM 3A, 4.4.1).
    fn check_pdptes(&self, cr3: u64) -> Result<(), Fault> {
        for i in 0..4 {
            let entry = u64::from_le_bytes(self.mem.load((cr3 & 0xffff_ffe0) + 8 * i));
            if entry & 1 != 0 && pdpte_reserved(entry) {
                return Err(Fault::protection());
            }
        }
        Ok(())
    }

    pub(super) fn lmsw(&mut self, insn: &Instruction) -> Result<Flow, Fault> {
        self.privileged()?;
        let value = u64::from(self.word_operand(insn)?);
        let old = self.cr0();
        // PE can be set and not cleared.
        self.set_cr0(old & !0xe | value & 0xf)?;
        Ok(Flow::Next)
    }

    /// SMSW to a register, which gets as much of CR0 as it holds (AMD APM 3; SDM 2B leaves the upper half open).
    pub(super) fn smsw(&mut self, insn: &Instruction) -> Result<Flow, Fault> {
        let to = insn.op0_register();
        let n = to.full_register().number();
        let value = match to.size() {
            2 => self.env.gpr(n) & !0xffff | self.cr0() & 0xffff,
            _ => self.cr0(),
        };
        self.env.set_gpr(n, value);
        Ok(Flow::Next)
    }

    /// RDPMC: there are no counters.
    pub(super) fn rdpmc(&mut self, model: &Model) -> Result<Flow, Fault> {
        if !model.has_cr4() {
            return Err(Fault::undefined());
        }
        Err(Fault::protection())
    }

    /// Whether an address may be in a register that holds one.
    pub(super) fn check_canonical(&self, addr: u64) -> Result<(), Fault> {
        if canonical(addr) { Ok(()) } else { Err(Fault::protection()) }
    }

    /// POPF of privilege level 3, which may change the alignment check.
    pub(super) fn popf(&mut self, insn: &Instruction) -> Result<Flow, Fault> {
        let env = self.env;
        let width = match insn.code() {
            iced_x86::Code::Popfw => 2,
            iced_x86::Code::Popfq => 8,
            _ => 4,
        };
        let rflags = self.engine.rflags();
        let iopl = (rflags >> 12 & 3) as u8;
        let v86 = rflags & flag::VM != 0;
        let outer = v86 && iopl < 3;
        if outer && (self.cr4() & cr4::VME == 0 || width != 2) {
            return Err(Fault::protection());
        }
        let mut stack = self.stack();
        let flags = self.pop(&mut stack, width)?;
        let mut loaded = flag::ARITHMETIC | flag::TF | flag::DF | flag::NT;
        if width > 2 {
            loaded |= flag::AC | flag::ID;
        }
        let mut new;
        if outer || (!v86 && env.cpl() == 3 && iopl < 3 && self.cr4() & cr4::PVI != 0) {
            new = self.virtual_flags(flags, rflags, &mut loaded)?;
        } else {
            if env.cpl() <= iopl {
                loaded |= flag::IF;
            }
            if env.cpl() == 0 {
                loaded |= flag::IOPL;
            }
            new = flags & loaded;
        }
        new &= loaded;
        self.commit_sp(&stack);
        env.set_rflags(rflags & !(loaded | flag::RF) | new);
        Ok(Flow::Next)
    }
}

fn cr_number(register: Register) -> usize {
    register as usize - Register::CR0 as usize
}

fn dr_number(register: Register) -> usize {
    register as usize - Register::DR0 as usize
}
