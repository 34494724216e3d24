//! Loops that a program can never leave, as long as no interrupt comes.

use super::Cpu;
use super::count::MAX_INSN;
use super::regs::flag;
use crate::memory::PAGE_SIZE;
use iced_x86::{Instruction, Mnemonic, OpKind};
use std::collections::BTreeSet;

/// Instructions that are looked at.
const MOST: usize = 64;

impl Cpu {
    /// Whether the program at RIP is in a loop that it will not leave by itself, whatever its registers hold: no instruction
    /// of it touches memory or a chip, or can raise an exception, and no jump leads out of it. While flags do not change in it,
    /// a conditional jump goes where the present ones lead.
    pub fn never_leaves(&self) -> bool {
        let traps = self.engine.rflags() & flag::TF != 0 || self.has_guest_breakpoints() || self.careful;
        !traps && (self.is_closed(true) || self.is_closed(false))
    }

    /// `frozen`: for a loop in which flags do not change.
    fn is_closed(&self, frozen: bool) -> bool {
        let start = self.env.linear_pc();
        let (mut seen, mut open) = (BTreeSet::new(), vec![start]);
        while let Some(at) = open.pop() {
            if !seen.insert(at) {
                continue;
            }
            if seen.len() > MOST || at / PAGE_SIZE as u64 != start / PAGE_SIZE as u64 {
                return false;
            }
            let mut next = None;
            self.decode(at, MAX_INSN, |_, insn| {
                next = self.successors(at, insn, frozen);
                false
            });
            match next {
                Some(next) => open.extend(next.into_iter().flatten()),
                None => return false,
            }
        }
        true
    }

    /// What may come after an instruction; `None`: perhaps something else than an instruction.
    fn successors(&self, at: u64, insn: &Instruction, frozen: bool) -> Option<[Option<u64>; 2]> {
        let behind = at.wrapping_add(insn.len() as u64);
        // The decoder keeps 16-bit targets in 16 bits.
        let target = match insn.op0_kind() {
            OpKind::NearBranch16 => {
                behind.wrapping_add(insn.near_branch_target().wrapping_sub(behind) as u16 as i16 as u64)
            }
            _ => insn.near_branch_target(),
        };
        if !self.instruction_set.has(insn) || (frozen && insn.rflags_modified() & ARITHMETIC != 0) {
            return None;
        }
        match insn.mnemonic() {
            Mnemonic::Jmp if insn.is_jmp_short_or_near() => Some([Some(target), None]),
            _ if insn.is_jcc_short_or_near() && frozen => {
                let taken = self.condition(insn.condition_code());
                Some([Some(if taken { target } else { behind }), None])
            }
            _ if insn.is_jcc_short_or_near() || insn.is_loop() || insn.is_loopcc() => {
                Some([Some(target), Some(behind)])
            }
            Mnemonic::Cli if self.env.cpl() != 0 => None,
            mnemonic if is_harmless(mnemonic) && only_registers(insn) => Some([Some(behind), None]),
            _ => None,
        }
    }

    /// A condition of Jcc with the present flags.
    fn condition(&self, code: iced_x86::ConditionCode) -> bool {
        use iced_x86::ConditionCode as C;
        let flags = self.engine.rflags();
        let [cf, pf, zf, sf, of] = [0, 2, 6, 7, 11].map(|bit| flags >> bit & 1 != 0);
        match code {
            C::o => of,
            C::no => !of,
            C::b => cf,
            C::ae => !cf,
            C::e => zf,
            C::ne => !zf,
            C::be => cf || zf,
            C::a => !cf && !zf,
            C::s => sf,
            C::ns => !sf,
            C::p => pf,
            C::np => !pf,
            C::l => sf != of,
            C::ge => sf == of,
            C::le => zf || sf != of,
            C::g => !zf && sf == of,
            C::None => false,
        }
    }
}

const ARITHMETIC: u32 = iced_x86::RflagsBits::OF
    | iced_x86::RflagsBits::SF
    | iced_x86::RflagsBits::ZF
    | iced_x86::RflagsBits::AF
    | iced_x86::RflagsBits::CF
    | iced_x86::RflagsBits::PF;

/// Operands are general registers and constants. LEA only computes an address.
fn only_registers(insn: &Instruction) -> bool {
    (0..insn.op_count()).all(|i| match insn.op_kind(i) {
        OpKind::Register => insn.op_register(i).is_gpr(),
        OpKind::Memory => insn.mnemonic() == Mnemonic::Lea,
        kind => {
            use OpKind::*;
            matches!(
                kind,
                Immediate8
                    | Immediate8to16
                    | Immediate8to32
                    | Immediate8to64
                    | Immediate16
                    | Immediate32
                    | Immediate32to64
                    | Immediate64
            )
        }
    })
}

/// Instructions that do nothing but compute, if their operands are registers.
fn is_harmless(mnemonic: Mnemonic) -> bool {
    use Mnemonic::*;
    matches!(
        mnemonic,
        Nop | Pause
            | Cli
            | Cld
            | Std
            | Clc
            | Stc
            | Cmc
            | Mov
            | Movzx
            | Movsx
            | Movsxd
            | Lea
            | Xchg
            | Add
            | Adc
            | Sub
            | Sbb
            | And
            | Or
            | Xor
            | Cmp
            | Test
            | Inc
            | Dec
            | Neg
            | Not
            | Shl
            | Shr
            | Sar
            | Rol
            | Ror
            | Bt
            | Bts
            | Btr
            | Btc
            | Bswap
            | Imul
            | Mul
            | Cdq
            | Cwd
            | Cwde
            | Cbw
    )
}
