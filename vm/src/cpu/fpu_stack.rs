//! The x87's register stack (SDM 1, 8.5.1.1): the engine pushes onto a register in use and takes from an empty one as if nothing
//! were. Of each block is known which registers it needs in use, and which empty, counted from TOP at its beginning; where they
//! are not, its instructions run one at a time, and what the one does that over- or underflows the stack is done here.

use super::Cpu;
use super::delivery::Fault;
use super::engine::{Access, off};
use super::fpu::CR0_EM_TS;
use super::fpu_by_hand::{C0, C1, C2, C3, Extended, INDEFINITE};
use super::regs::flag;
use crate::memory::pieces;
use iced_x86::{Instruction, InstructionInfoFactory, MemorySize, Mnemonic, OpAccess, OpKind, Register};

/// Status word: IE and SF.
const STACK_FAULT: u16 = 0x41;
/// CF, PF and ZF: unordered.
const UNORDERED: u64 = 0x45;

/// Registers that a block needs in use, and those that it needs empty: bit n is the register n behind TOP as it is at its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    used: u8,
    empty: u8,
}

/// What the instructions so far have made of the stack: bit n is as in [`Needs`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Stack {
    top: u32,
    used: u8,
    empty: u8,
    /// Nobody knows where TOP is, or what is in use.
    unknown: bool,
}

impl Stack {
    /// Takes in the next instruction. `None`: it must begin a block.
    pub fn add(&mut self, insn: &Instruction, mmx: bool) -> Option<Needs> {
        if mmx {
            // It needs nothing, and puts TOP somewhere else.
            self.unknown = true;
            return Some(Needs::default());
        }
        let Some(effect) = Effect::of(insn) else { return Some(Needs::default()) };
        let reads = effect.reads.rotate_left(self.top);
        let pushed = if effect.pushes { 1u8.rotate_left(self.top.wrapping_sub(1)) } else { 0 };
        if self.unknown || reads & self.empty != 0 || pushed & self.used != 0 {
            return None;
        }
        let needs = Needs { used: reads & !self.used, empty: pushed & !self.empty };
        self.set(reads | pushed, true);
        self.set(effect.frees.rotate_left(self.top), false);
        self.top = self.top.wrapping_add_signed(effect.moves - i32::from(effect.pushes));
        self.unknown = effect.unknown;
        Some(needs)
    }

    fn set(&mut self, registers: u8, used: bool) {
        let (to, from) =
            if used { (&mut self.used, &mut self.empty) } else { (&mut self.empty, &mut self.used) };
        *to |= registers;
        *from &= !registers;
    }
}

impl Needs {
    /// Of both.
    pub fn and(self, other: Needs) -> Needs {
        Needs { used: self.used | other.used, empty: self.empty | other.empty }
    }
}

/// What an instruction does to the stack: bit n is ST(n) before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Effect {
    /// It needs these in use.
    reads: u8,
    /// They are empty afterwards.
    frees: u8,
    /// It pushes.
    pushes: bool,
    /// What it adds to TOP, but for a push.
    moves: i32,
    /// What is in use afterwards, and where, depends on more than that.
    unknown: bool,
}

impl Effect {
    /// `None`: the stack is nothing to it.
    fn of(insn: &Instruction) -> Option<Effect> {
        use Mnemonic::*;
        let st = |i: u32| {
            let register = insn.op_register(i);
            if register.is_st() { 1u8 << (register as u32 - Register::ST0 as u32) } else { 0 }
        };
        let operands = (0..insn.op_count()).map(st).fold(0, |all, one| all | one);
        let reads = |reads: u8| Effect { reads, ..Effect::default() };
        let pops =
            |effect: Effect, n: i32| Effect { frees: effect.frees | ((1 << n) - 1), moves: n, ..effect };
        Some(match insn.mnemonic() {
            Fld => Effect { pushes: true, ..reads(st(0)) },
            Fild | Fbld | Fld1 | Fldl2e | Fldl2t | Fldlg2 | Fldln2 | Fldpi | Fldz => {
                Effect { pushes: true, ..Effect::default() }
            }
            // The register that they store to need not be in use, but that it is then is not the engine's doing.
            Fst | Fist => reads(1 | st(0)),
            Fstp | Fstpnce | Fistp | Fisttp | Fbstp => pops(reads(1 | st(0)), 1),
            Fadd | Fsub | Fsubr | Fmul | Fdiv | Fdivr | Fiadd | Fisub | Fisubr | Fimul | Fidiv | Fidivr => {
                reads(operands | 1)
            }
            Fcom | Fucom | Ficom | Fcomi | Fucomi => reads(operands | 1),
            Fcmovb | Fcmove | Fcmovbe | Fcmovu | Fcmovnb | Fcmovne | Fcmovnbe | Fcmovnu => {
                reads(operands | 1)
            }
            Fxch => reads(operands | 1),
            Faddp | Fsubp | Fsubrp | Fmulp | Fdivp | Fdivrp => pops(reads(operands | 1), 1),
            Fcomp | Fucomp | Ficomp | Fcomip | Fucomip => pops(reads(operands | 1), 1),
            Fcompp | Fucompp => pops(reads(3), 2),
            Fchs | Fabs | Ftst | Fxam | Fsqrt | Frndint | Fsin | Fcos | F2xm1 => reads(1),
            Fprem | Fprem1 | Fscale => reads(3),
            Fyl2x | Fyl2xp1 | Fpatan => pops(reads(3), 1),
            Fxtract => Effect { pushes: true, ..reads(1) },
            // They push nothing if their operand is too large.
            Fptan | Fsincos => Effect { pushes: true, unknown: true, ..reads(1) },
            Ffree => Effect { frees: st(0), ..Effect::default() },
            Ffreep => pops(Effect { frees: st(0), ..Effect::default() }, 1),
            Fincstp => Effect { moves: 1, ..Effect::default() },
            Fdecstp => Effect { moves: -1, ..Effect::default() },
            Fninit | Fnsave | Fldenv | Frstor | Fxrstor | Fxrstor64 => {
                Effect { unknown: true, ..Effect::default() }
            }
            _ => return None,
        })
    }

    fn needs(self) -> Needs {
        Needs { used: self.reads, empty: if self.pushes { 0x80 } else { 0 } }
    }
}

impl Cpu {
    /// Whether the stack is not as these need it, and nothing else comes first.
    pub fn lacks(&self, needs: Needs) -> bool {
        if needs == Needs::default() || self.env.r64(off::CR) & CR0_EM_TS != 0 {
            return false;
        }
        let empty = self.empty_registers();
        empty & needs.used != 0 || !empty & needs.empty != 0
    }

    /// Bit n: ST(n) is empty.
    fn empty_registers(&self) -> u8 {
        // A byte each, 1 for empty; the product has them side by side in its highest byte.
        let tags = self.env.r64(off::FPTAGS) & 0x0101_0101_0101_0101;
        let tags = (tags.wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8;
        tags.rotate_right(self.top())
    }

    fn top(&self) -> u32 {
        self.env.r32(off::FPSTT) & 7
    }

    /// Whether the stack is not as an instruction needs it. `None`: the stack is nothing to it.
    pub(super) fn lacks_stack_of(&self, insn: &Instruction) -> Option<bool> {
        Some(self.lacks(Effect::of(insn)?.needs()))
    }

    /// The answer to an instruction for which the stack lacks something (SDM 1, 8.5.1.1).
    pub(super) fn fault_on_stack(&mut self, insn: &Instruction) -> Result<(), Fault> {
        let effect = Effect::of(insn).unwrap_or_default();
        self.touch_operand(insn, self.masks_x87(STACK_FAULT))?;
        let underflow = self.empty_registers() & effect.reads != 0;
        self.set_conditions(C1, if underflow { 0 } else { C1 });
        if self.raise_x87(STACK_FAULT) { self.answer_stack_fault(insn, effect) } else { Ok(()) }
    }

    fn answer_stack_fault(&mut self, insn: &Instruction, effect: Effect) -> Result<(), Fault> {
        use Mnemonic::*;
        match insn.mnemonic() {
            Fcom | Fucom | Ficom | Ftst | Fcomp | Fucomp | Ficomp | Fcompp | Fucompp => {
                self.set_conditions(0, C3 | C2 | C0);
            }
            Fcomi | Fucomi | Fcomip | Fucomip => {
                let rflags = self.engine.rflags() & !flag::ARITHMETIC;
                self.env.set_rflags(rflags | UNORDERED);
            }
            Fxch => {
                let empty = self.empty_registers();
                let other = destination(insn, 1);
                for i in [0, other].into_iter().filter(|i| empty >> i & 1 != 0) {
                    self.set_st(i, INDEFINITE);
                }
                let (a, b) = (self.st(0), self.st(other));
                self.set_st(0, b);
                self.set_st(other, a);
            }
            Fptan | Fsincos | Fxtract => self.set_st(0, INDEFINITE),
            Fyl2x | Fyl2xp1 | Fpatan => self.set_st(1, INDEFINITE),
            Fst | Fstp | Fstpnce | Fist | Fistp | Fisttp | Fbstp if insn.op0_kind() == OpKind::Memory => {
                self.store_indefinite(insn)?;
            }
            _ if effect.pushes => {}
            _ => self.set_st(destination(insn, 0), INDEFINITE),
        }
        if effect.pushes {
            self.env.w32(off::FPSTT, self.top().wrapping_sub(1) & 7);
            self.set_st(0, INDEFINITE);
        }
        for _ in 0..effect.moves {
            self.pop_st();
        }
        Ok(())
    }

    /// Where ST(i) is.
    fn place_of_st(&self, i: u32) -> usize {
        off::FPREGS + 16 * ((self.top() + i) & 7) as usize
    }

    pub(super) fn st(&self, i: u32) -> Extended {
        let at = self.place_of_st(i);
        Extended { significand: self.env.r64(at), sign_exponent: self.env.r16(at + 8) }
    }

    pub(super) fn set_st(&mut self, i: u32, value: Extended) {
        let at = self.place_of_st(i);
        self.env.w64(at, value.significand);
        self.env.w16(at + 8, value.sign_exponent);
        self.env.w8(off::FPTAGS + ((self.top() + i) & 7) as usize, 0);
    }

    pub(super) fn is_used(&self, i: u32) -> bool {
        self.empty_registers() >> i & 1 == 0
    }

    pub(super) fn pop_st(&mut self) {
        self.env.w8(off::FPTAGS + self.top() as usize, 1);
        self.env.w32(off::FPSTT, (self.top() + 1) & 7);
    }

    /// Stores what stands for a value that there is not.
    pub(super) fn store_indefinite(&mut self, insn: &Instruction) -> Result<(), Fault> {
        let (bytes, len) = indefinite(insn.memory_size());
        let addr = self.operand(insn, len as u64)?;
        self.write_linear(addr, &bytes[..len], self.env.cpl() == 3)
    }

    /// What faults of the operand in memory there are come first.
    pub(super) fn touch_operand(&mut self, insn: &Instruction, masked: bool) -> Result<(), Fault> {
        if insn.op0_kind() != OpKind::Memory {
            return Ok(());
        }
        self.forget_near();
        let stores = InstructionInfoFactory::new().info(insn).op0_access() == OpAccess::Write;
        if stores && !masked {
            return Ok(());
        }
        let access = if stores { Access::Write } else { Access::Read };
        let size = insn.memory_size().size();
        let addr = self.operand(insn, size as u64)?;
        for (at, _, _) in pieces(addr, size) {
            self.access(at, access, self.env.cpl() == 3)?;
        }
        Ok(())
    }
}

/// The register of the stack that is operand `i`; without one it is the other that the instruction means.
fn destination(insn: &Instruction, i: u32) -> u32 {
    let register = if i < insn.op_count() { insn.op_register(i) } else { Register::None };
    if register.is_st() { register as u32 - Register::ST0 as u32 } else { i }
}

/// What is stored in place of a value (SDM 1, tables 4-1, 4-3 and 4-4), and its size.
fn indefinite(size: MemorySize) -> ([u8; 10], usize) {
    let mut bytes = [0; 10];
    let value: u64 = match size {
        MemorySize::Float32 => 0xffc0_0000,
        MemorySize::Float64 => 0xfff8_0000_0000_0000,
        MemorySize::Int16 => 0x8000,
        MemorySize::Int32 => 0x8000_0000,
        MemorySize::Int64 => 1 << 63,
        // The 80-bit format, and packed decimal, have the same.
        _ => INDEFINITE.significand,
    };
    bytes[..8].copy_from_slice(&value.to_le_bytes());
    bytes[8..].copy_from_slice(&INDEFINITE.sign_exponent.to_le_bytes());
    (bytes, size.size().min(10))
}
