//! Arithmetic flags of an instruction that was left in its middle.
//!
//! The engine keeps the operands of the last instruction that set flags, and what it was, and computes the flags when they
//! are needed. Code translated for SETcc, RCL and RCR computes them before its store. If that store faults, or is to be made
//! again in a block of its own, the engine says that the operands are still there; but the flags are in their place.

use super::Cpu;
use super::engine::off;
use super::regs::{CC_OP_EFLAGS, flag};
use iced_x86::{ConditionCode, Instruction, Mnemonic, OpKind, Register, RflagsBits};
use std::ops::RangeInclusive;

/// What set the flags last, in the engine's numbering (target/i386/cpu.h, CCOp): SUB of 1, 2, 4 and 8 bytes.
const CC_OP_SUB: RangeInclusive<u32> = 14..=17;
/// ADOX, ADCX and ADOX, a register cleared by XOR, POPCNT.
const OVERFLOW_KNOWN: RangeInclusive<u32> = 47..=50;

impl Cpu {
    /// RIP is at an instruction of the running block that was left in its middle: brings its arithmetic flags into a form
    /// that is right.
    pub fn mend_flags(&self) {
        let Some(insn) = self.instruction() else { return };
        if insn.op0_kind() != OpKind::Memory || !computes_flags(&insn) {
            return;
        }
        let env = self.env;
        if in_place(&insn, env.r32(off::CC_OP), self.flags_set_by_block_before()) {
            let flags = env.r64(off::CC_SRC) & flag::ARITHMETIC;
            env.w64(off::CC_SRC, flags);
            env.w32(off::CC_OP, CC_OP_EFLAGS);
            // Should the engine put its `cc_op` back: those with CF and OF apart have them here.
            env.w64(off::CC_DST, flags & 1);
            env.w64(off::CC_SRC2, flags >> 11 & 1);
        }
    }

    /// Whether the engine knew, when it translated the instruction at RIP, what has set the flags: an instruction before it in
    /// the running block did, and did so whatever its operands are.
    fn flags_set_by_block_before(&self) -> bool {
        let (block, pc) = (self.current, self.env.linear_pc());
        let mut known = false;
        if block.insns != 0 {
            self.decode(block.addr, usize::from(block.size), |at, insn| {
                let set = insn.rflags_written() | insn.rflags_cleared() | insn.rflags_set();
                if at < pc && set & ARITHMETIC != 0 {
                    known = !sets_by_count(insn);
                }
                at < pc
            });
        }
        known
    }
}

/// The arithmetic flags as the decoder numbers them.
const ARITHMETIC: u32 =
    RflagsBits::OF | RflagsBits::SF | RflagsBits::ZF | RflagsBits::AF | RflagsBits::CF | RflagsBits::PF;

/// Whether the translation of an instruction that writes memory may compute the flags before it does.
fn computes_flags(insn: &Instruction) -> bool {
    matches!(insn.mnemonic(), Mnemonic::Rcl | Mnemonic::Rcr) || insn.condition_code() != ConditionCode::None
}

/// Whether the flags are there in place of the operands of `cc_op`. `known`: `cc_op` was known in the translation.
fn in_place(insn: &Instruction, cc_op: u32, known: bool) -> bool {
    use ConditionCode as C;
    match insn.condition_code() {
        C::b | C::ae => false,
        C::e | C::ne | C::s | C::ns => !known,
        C::o | C::no => !(known && OVERFLOW_KNOWN.contains(&cc_op)),
        C::be | C::a | C::l | C::ge | C::le | C::g => !(known && CC_OP_SUB.contains(&cc_op)),
        C::p | C::np | C::None => true,
    }
}

/// Shifts that leave the flags alone if they are by zero, which is not known when they are translated.
fn sets_by_count(insn: &Instruction) -> bool {
    use Mnemonic::*;
    match insn.mnemonic() {
        Shld | Shrd => true,
        Shl | Sal | Shr | Sar | Rol | Ror => insn.op1_register() == Register::CL,
        _ => false,
    }
}
