//! The instructions that a processor has. What CPUID does not announce is undefined (SDM 2A, CPUID), but for encodings that were
//! set aside as hints and do nothing where they have no meaning yet (SDM 2D, A.3, note on reserved NOPs).

use super::cpuid::Model;
use iced_x86::{CpuidFeature, Instruction, Mnemonic};

/// Features have a number of one byte.
const FEATURES: usize = 1 << u8::BITS;

/// What a processor executes.
#[derive(Clone, Copy, Debug)]
pub struct InstructionSet {
    features: [bool; FEATURES],
    hints: bool,
}

impl InstructionSet {
    /// Of a processor.
    pub fn of(model: &Model) -> InstructionSet {
        let mut features = [false; FEATURES];
        for feature in CpuidFeature::values() {
            features[feature as usize] = model.has_instructions(feature);
        }
        InstructionSet { features, hints: model.is_p6() }
    }

    /// All that there are: for a processor that is not known yet.
    pub fn all() -> InstructionSet {
        InstructionSet { features: [true; FEATURES], hints: true }
    }

    /// Whether it has the instruction.
    pub fn has(&self, insn: &Instruction) -> bool {
        let announced = insn.cpuid_features().iter().all(|feature| self.features[*feature as usize]);
        announced || is_older(insn) || (self.hints && is_hint(insn))
    }
}

/// What there is no feature for is executed as an older instruction whose prefix means nothing: BSF, BSR, NOP, WBINVD.
fn is_older(insn: &Instruction) -> bool {
    matches!(insn.mnemonic(), Mnemonic::Tzcnt | Mnemonic::Lzcnt | Mnemonic::Pause | Mnemonic::Wbnoinvd)
}

/// Opcodes 0F 0D and 0F 18 to 0F 1F. Without the features that gave them a meaning they do nothing.
fn is_hint(insn: &Instruction) -> bool {
    use Mnemonic::*;
    matches!(
        insn.mnemonic(),
        Prefetch
            | Prefetchw
            | Prefetchwt1
            | Prefetchnta
            | Prefetcht0
            | Prefetcht1
            | Prefetcht2
            | Prefetchit0
            | Prefetchit1
            | Bndcl
            | Bndcn
            | Bndcu
            | Bndldx
            | Bndmk
            | Bndmov
            | Bndstx
            | Cldemote
            | Endbr32
            | Endbr64
            | Rdsspd
            | Rdsspq
            | Reservednop
            | Nop
    )
}
