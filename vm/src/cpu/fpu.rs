//! The x87 and MMX (SDM 1, chapters 8 and 9; SDM 3A, 13.3), as far as the engine leaves it undone.
//!
//! - **Exceptions.** The engine's arithmetic notes what it met in a status of its own, and raises nothing but at FWAIT. What it
//!   noted is brought into the status word before an instruction that could see it. A *waiting* instruction first looks
//!   whether an unmasked exception waits; while one is unmasked, each instruction has a block of its own.
//! - **MMX.** A write to an MMX register sets the sign and the exponent of the x87 register to ones. The engine leaves them as
//!   they are, so the registers that a block writes are remembered until an instruction comes that could see the difference.

use super::Cpu;
use super::count::MAX_INSN;
use super::engine::off;
use super::fpu_by_hand::{INVALID, QUIET_BIT};
use super::regs::flag;
use super::state::Fpu;
use iced_x86::{CpuidFeature, Instruction, MemorySize, Mnemonic, OpKind, Register};

pub(super) const EXCEPTIONS: u16 = 0x3f;
/// Status word: ZE.
const ZERO_DIVIDE: u16 = 1 << 2;
/// Status word: error summary, and busy, which follows it.
pub(super) const SUMMARY: u16 = 0x8080;
const CR0_NE: u64 = 1 << 5;
pub(super) const CR0_EM_TS: u64 = 0b1100;
/// Where the engine's floating-point status has its flags; those that have a bit in the status word have the same there.
pub(super) const FLAGS: usize = 2;
const FLAGS_OF_X87: u8 = 0x3d;
const ALL_ONES: u16 = 0xffff;
/// Bits of a significand that numbers of 64 bits do not have.
const BEYOND_DOUBLE: u64 = 0x7ff;

/// What an instruction has to do with the x87.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Use {
    /// It is one of x87 or MMX, or saves or restores their state.
    pub any: bool,
    /// It waits for x87 exceptions.
    pub waits: bool,
    /// It may unmask exceptions: what follows must begin a block.
    pub unmasks: bool,
    /// It sees or changes registers as the x87's.
    pub sees_registers: bool,
    /// The MMX register that it writes, as a bit.
    pub writes_mmx: u8,
    /// It has MMX registers, and makes them the x87's.
    pub mmx: bool,
    /// It converts two integers in memory, which the engine takes for an MMX register (SDM 2A, CVTPI2PS).
    pub leaves_tags: bool,
    /// It compares into EFLAGS.
    pub compares: bool,
    /// It sees or changes what earlier instructions noted, or shows whether a NaN is quiet: it must begin a block if one of x87 is
    /// before it.
    pub looks_back: bool,
}

/// The x87's tags and TOP.
#[derive(Clone, Copy, Debug)]
pub struct Tags(u64, u32);

impl Use {
    /// Of one instruction.
    pub fn of(insn: &Instruction) -> Use {
        use Mnemonic::*;
        let mnemonic = insn.mnemonic();
        let is_mm = |i: u32| insn.op_kind(i) == OpKind::Register && insn.op_register(i).is_mm();
        let mmx = mnemonic == Emms || (0..insn.op_count()).any(is_mm);
        let has = |f| insn.cpuid_features().contains(&f);
        let x87 = matches!(mnemonic, Wait | Fisttp)
            || [CpuidFeature::FPU, CpuidFeature::FPU287, CpuidFeature::FPU387].into_iter().any(has);
        let whole_state = matches!(mnemonic, Fxsave | Fxsave64 | Fxrstor | Fxrstor64);
        let does_not_wait = whole_state
            || matches!(
                mnemonic,
                Fninit | Fnclex | Fnstsw | Fnstcw | Fnstenv | Fnsave | Fneni | Fndisi | Fnsetpm
            );
        let unmasks = matches!(mnemonic, Fldcw | Fldenv | Frstor | Fxrstor | Fxrstor64);
        let notes = unmasks || whole_state || matches!(mnemonic, Fnstsw | Fnstenv | Fnsave | Fnclex | Fninit);
        let writes_mmx = if is_mm(0) && !matches!(mnemonic, Maskmovq) {
            1 << (insn.op0_register() as u32 - Register::MM0 as u32)
        } else {
            0
        };
        Use {
            any: x87 || mmx || whole_state,
            waits: (x87 || mmx) && !does_not_wait,
            unmasks,
            sees_registers: (x87 && mnemonic != Wait) || whole_state,
            writes_mmx,
            mmx,
            leaves_tags: matches!(mnemonic, Cvtpi2ps | Cvtpi2pd) && insn.op1_kind() == OpKind::Memory,
            compares: matches!(mnemonic, Fcomi | Fcomip | Fucomi | Fucomip),
            looks_back: notes || (mnemonic == Fstp && insn.memory_size() == MemorySize::Float80),
        }
    }
}

/// What comes before a waiting instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Nothing can.
    Nothing,
    /// Nothing now, but an exception may come of each instruction.
    Unmasked,
    /// #MF.
    Exception,
    /// The FERR# line, as CR0.NE is clear.
    Ferr,
}

/// MMX registers whose exponents are ones, and not yet so in the engine.
#[derive(Clone, Copy, Debug, Default)]
pub struct MmxWritten {
    registers: u8,
    /// The same before the block at this position.
    before: (u64, u8),
}

impl Cpu {
    pub(super) fn x87_tags(&self) -> Tags {
        Tags(self.env.r64(off::FPTAGS), self.env.r32(off::FPSTT))
    }

    pub(super) fn set_x87_tags(&self, Tags(tags, top): Tags) {
        self.env.w64(off::FPTAGS, tags);
        self.env.w32(off::FPSTT, top);
    }

    /// A comparison that ends at this address has run if RIP is there: AF, SF and OF are clear (SDM 2A, FCOMI).
    pub(super) fn end_comparison(&self, behind: u64) {
        if self.env.linear_pc() == behind {
            self.env.set_rflags(self.engine.rflags() & !(flag::AF | flag::SF | flag::OF));
        }
    }

    /// Brings the status word up to date, before a block with instructions of x87 or MMX. `loads`: it loads the status word.
    pub fn update_x87_status(&mut self, loads: bool) {
        let status = self.x87_status();
        self.env.w8(off::FP_STATUS + FLAGS, 0);
        self.env.w16(off::FPUS, status);
        self.env.w16(off::FPUC, control(self.env.r16(off::FPUC)));
        self.no_zero_divide = status & ZERO_DIVIDE == 0 && !loads;
    }

    /// Before an instruction that shows whether a NaN is quiet. FLD of 32 and of 64 bits makes it so (SDM 1, 4.8.3.5), where the
    /// engine notes an invalid operation and does not. Until then it matters nothing, as every operation on it is as invalid. Which
    /// register has been loaded so shows in its significand: a number of 80 bits that has none of its own there is taken for one, too.
    pub fn make_nans_quiet(&mut self) {
        if self.env.r16(off::FPUS) & INVALID == 0 {
            return;
        }
        for i in 0..8 {
            let mut value = self.st(i);
            if self.is_used(i) && value.is_signaling() && value.significand & BEYOND_DOUBLE == 0 {
                value.significand |= QUIET_BIT;
                self.set_st(i, value);
            }
        }
    }

    /// An instruction that is done here divides by zero.
    pub(super) fn see_zero_divide(&mut self) {
        self.no_zero_divide = false;
    }

    /// The status word, without TOP.
    fn x87_status(&self) -> u16 {
        let noted = self.env.r8(off::FP_STATUS + FLAGS) & FLAGS_OF_X87;
        // The engine's division sets ZE at once, for any dividend.
        let wrong = if self.no_zero_divide { ZERO_DIVIDE } else { 0 };
        let status = self.env.r16(off::FPUS) & !(SUMMARY | wrong) | u16::from(noted);
        let unmasked = status & !self.env.r16(off::FPUC) & EXCEPTIONS != 0;
        if unmasked { status | SUMMARY } else { status }
    }

    /// Whether an unmasked exception waits: the FERR# line.
    pub fn has_x87_error(&self) -> bool {
        self.x87_status() & SUMMARY != 0
    }

    /// What comes before a waiting instruction.
    pub fn waiting_x87(&self) -> Waiting {
        let cr0 = self.env.r64(off::CR);
        // With EM or TS set, #NM comes first.
        if cr0 & CR0_EM_TS != 0 {
            return Waiting::Nothing;
        }
        if self.has_x87_error() {
            return if cr0 & CR0_NE != 0 { Waiting::Exception } else { Waiting::Ferr };
        }
        let all_masked = self.env.r16(off::FPUC) & EXCEPTIONS == EXCEPTIONS;
        if all_masked { Waiting::Nothing } else { Waiting::Unmasked }
    }

    /// Whether the instruction at RIP waits for x87 exceptions.
    pub fn at_waiting_instruction(&self) -> bool {
        self.instruction().is_some_and(|insn| Use::of(&insn).waits)
    }

    /// A block runs now that writes these MMX registers.
    pub fn begin_mmx(&mut self, registers: u8) {
        self.mmx.before = (self.pos, self.mmx.registers);
        self.mmx.registers |= registers;
    }

    /// The running block ends before its instruction `index`.
    pub fn cut_mmx(&mut self, index: u64) {
        let block = self.current;
        if self.mmx.before.0 != block.start || self.mmx.before.1 == self.mmx.registers {
            return;
        }
        let (mut registers, mut done) = (self.mmx.before.1, 0);
        self.decode(block.addr, usize::from(block.size) + MAX_INSN, |_, insn| {
            if done < index {
                registers |= Use::of(insn).writes_mmx;
            }
            done += 1;
            done < index
        });
        self.mmx.registers = registers;
    }

    /// Before an instruction that sees the registers as the x87's.
    pub fn settle_mmx(&mut self) {
        for i in bits(self.mmx.registers) {
            self.env.w16(off::FPREGS + 16 * i + 8, ALL_ONES);
        }
        self.mmx = MmxWritten::default();
    }

    /// The x87 as an instruction would see it.
    pub(super) fn settled_fpu(&self, fpu: Fpu) -> Fpu {
        let mut fpu =
            Fpu { status: fpu.status & 0x3800 | self.x87_status(), control: control(fpu.control), ..fpu };
        for i in bits(self.mmx.registers) {
            fpu.regs[i].1 = ALL_ONES;
        }
        fpu
    }
}

/// The control word that is there when this one has been loaded: bit 6 is set, and bits 7 and 13 to 15 do not exist (SDM 1, figure 8-6).
fn control(loaded: u16) -> u16 {
    loaded & 0x1f3f | 0x40
}

fn bits(mask: u8) -> impl Iterator<Item = usize> {
    (0..8).filter(move |i| mask >> i & 1 != 0)
}
