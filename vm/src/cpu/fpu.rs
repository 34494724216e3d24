//! Exceptions of the x87 (SDM 1, chapter 8; SDM 3A, 13.3): the engine reports none but at FWAIT. A *waiting* instruction
//! first looks whether an unmasked exception of an earlier one waits.

use super::Cpu;
use super::engine::off;
use iced_x86::{CpuidFeature, Instruction, Mnemonic};

const EXCEPTIONS: u16 = 0x3f;
/// Status word: error summary, and busy, which follows it.
const SUMMARY: u16 = 0x8080;
const CR0_NE: u64 = 1 << 5;

/// Whether an instruction waits for x87 exceptions: all of x87 and MMX but those that exist to handle one.
pub fn waits(insn: &Instruction) -> bool {
    use Mnemonic::*;
    if matches!(
        insn.mnemonic(),
        Fninit | Fnclex | Fnstsw | Fnstcw | Fnstenv | Fnsave | Fneni | Fndisi | Fnsetpm
    ) {
        return false;
    }
    let has = |f| insn.cpuid_features().contains(&f);
    insn.mnemonic() == Wait
        || [CpuidFeature::FPU, CpuidFeature::FPU287, CpuidFeature::FPU387, CpuidFeature::MMX]
            .into_iter()
            .any(has)
}

/// Whether an instruction loads the control word, and so may let an exception wait that was masked when it came.
pub fn may_unmask(insn: &Instruction) -> bool {
    use Mnemonic::*;
    matches!(insn.mnemonic(), Fldcw | Fldenv | Frstor | Fxrstor | Fxrstor64 | Xrstor | Xrstor64)
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

impl Cpu {
    /// Whether an x87 exception waits.
    pub fn waiting_x87(&self) -> Waiting {
        let env = &self.env;
        let (control, status) = (env.r16(off::FPUC), env.r16(off::FPUS));
        // With EM or TS set, #NM comes first.
        if env.r64(off::CR) & 0b1100 != 0 {
            return Waiting::Nothing;
        }
        if status & EXCEPTIONS & !control != 0 {
            env.w16(off::FPUS, status | SUMMARY);
            return if env.r64(off::CR) & CR0_NE != 0 { Waiting::Exception } else { Waiting::Ferr };
        }
        if control & EXCEPTIONS != EXCEPTIONS { Waiting::Unmasked } else { Waiting::Nothing }
    }
}
