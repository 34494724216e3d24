//! Undefined opcodes of the engine that are none: CMPXCHG8B and CMPXCHG16B, and the second encoding of TEST with a constant
//! (F6 /1 and F7 /1: AMD APM 3, TEST).
//!
//! The engine's helpers for the first two take the other arithmetic flags from a field that is brought up to date only when a TLB
//! miss happens to have come before, so that flags would depend on the host. The engine is told that it has neither.

use super::Cpu;
use super::delivery::{Fault, TripleFault};
use super::engine::{Access, off};
use super::own::Flow;
use super::regs::flag;
use crate::memory::{PhysMemory, pieces};
use crate::units::PhysAddr;
use iced_x86::{Instruction, InstructionInfoFactory, Mnemonic, OpKind};

const PF: u64 = 1 << 2;
const ZF: u64 = 1 << 6;
const SF: u64 = 1 << 7;

impl Cpu {
    /// Executes the undefined opcode at RIP if it is one of ours (and the model has it). False: it is undefined.
    pub fn emulate(&mut self, has_cx8: bool, has_cx16: bool) -> Result<bool, TripleFault> {
        let Some(insn) = self.instruction() else { return Ok(false) };
        self.forget_near();
        let result = match insn.mnemonic() {
            Mnemonic::Cmpxchg8b if has_cx8 => self.compare_exchange(&insn, 4),
            Mnemonic::Cmpxchg16b if has_cx16 => self.compare_exchange(&insn, 8),
            Mnemonic::Test if !insn.has_lock_prefix() => self.test(&insn),
            _ => return Ok(false),
        };
        let result = result.map(|()| Flow::Next);
        self.stepping = self.env.r64(off::EFLAGS) & flag::TF != 0;
        self.complete_own(&insn, result)?;
        Ok(true)
    }

    /// TEST of a register or memory and a constant.
    fn test(&mut self, insn: &Instruction) -> Result<(), Fault> {
        let (value, size) = match insn.op0_kind() {
            OpKind::Memory => {
                let size = insn.memory_size().size();
                let addr = self.operand(insn, size as u64)?;
                (self.load_linear(addr, size, self.env.cpl() == 3)?, size)
            }
            _ => (self.register(insn.op0_register()), insn.op0_register().size()),
        };
        let bits = 8 * size as u32;
        let result = value & insn.immediate(1) & (u64::MAX >> (64 - bits));
        let parity = (result as u8).count_ones().is_multiple_of(2);
        let flags = [(result == 0, ZF), (result >> (bits - 1) != 0, SF), (parity, PF)];
        let set = flags.iter().filter(|(set, _)| *set).fold(0, |all, (_, flag)| all | flag);
        self.env.set_rflags(self.engine.rflags() & !flag::ARITHMETIC | set);
        Ok(())
    }

    fn compare_exchange(&mut self, insn: &Instruction, half: usize) -> Result<(), Fault> {
        let env = self.env;
        let mut factory = InstructionInfoFactory::new();
        let operand = factory.info(insn).used_memory().first().copied();
        let addr = operand.and_then(|m| super::operand_address(&env, &m)).ok_or(Fault::protection())?;
        let addr = if env.code_bits() == 64 { addr } else { addr & 0xffff_ffff };
        if half == 8 && addr & 15 != 0 {
            return Err(Fault::protection());
        }
        let user = env.cpl() == 3;
        let mut places = [(0, 0, 0); 2];
        let mut used = 0;
        for (at, from, n) in pieces(addr, 2 * half) {
            places[used] = (self.access(at, Access::Write, user)?, from, n);
            used += 1;
        }
        let mut old = [0u8; 16];
        for &(phys, from, n) in &places[..used] {
            self.mem.read(PhysAddr(phys), &mut old[from..from + n]);
        }
        let pair = |low: usize, high: usize| {
            let mut bytes = [0u8; 16];
            bytes[..half].copy_from_slice(&env.gpr(low).to_le_bytes()[..half]);
            bytes[half..2 * half].copy_from_slice(&env.gpr(high).to_le_bytes()[..half]);
            bytes
        };
        let (expected, wanted) = (pair(0, 2), pair(3, 1));
        let equal = expected == old;
        // Memory is written in either case (SDM 2A, CMPXCHG8B).
        let new = if equal { wanted } else { old };
        for &(phys, from, n) in &places[..used] {
            self.mem.store(phys, &new[from..from + n]);
        }
        if !equal {
            let load = |at: usize| {
                let mut bytes = [0; 8];
                bytes[..half].copy_from_slice(&old[at..at + half]);
                u64::from_le_bytes(bytes)
            };
            env.set_gpr(0, load(0));
            env.set_gpr(2, load(half));
        }
        let rflags = self.engine.rflags();
        env.set_rflags(if equal { rflags | ZF } else { rflags & !ZF });
        Ok(())
    }
}
