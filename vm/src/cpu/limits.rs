//! Limits and types of data segments (SDM 3A, 5.3 to 5.5), and the alignment of operands of SSE: the engine knows nothing of them. Where
//! a segment does not cover what an operand could reach, or its address may not be aligned ([`super::guard`]), the operands of a block
//! are worked out when it begins, as far as the registers in their addresses are known by then, and the block ends before
//! the first that is not or that would fault.

use super::Cpu;
use super::count::{Block, MAX_INSN, Rep};
use super::delivery::{Fault, vector};
use super::descriptor::in_limit;
use super::engine::{BlockCall, off};
use super::fpu::{CR0_EM_TS, Use};
use super::guard::{self, CODE, Mode, P, READABLE_OR_WRITABLE, S};
use super::sse::ALIGNMENT;
use super::state::Segment;
use crate::memory::PAGE_SIZE;
use iced_x86::{Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register, UsedMemory};

/// Blocks that are remembered.
const SLOTS: usize = 1 << 12;

/// What a block's operands allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// So many instructions are free to run.
    Instructions(u64),
    /// The first raises this.
    Fault(Fault),
}

/// An operand in memory.
#[derive(Clone, Copy, Debug)]
struct Operand {
    /// Index of its instruction.
    insn: u16,
    memory: UsedMemory,
    write: bool,
    /// Of ARPL, which writes if its register, of this number, has the greater RPL.
    rpl: Option<usize>,
    /// It must be aligned.
    aligned: bool,
    /// What the registers of its address are by then.
    moved: [Option<Moved>; 2],
    /// Of a REP instruction, which may have nothing to do.
    rep: Rep,
    /// #NM comes first if there is a reason for it.
    fpu: bool,
}

/// A block's operands that matter with the guards that are up.
#[derive(Debug)]
struct Analysis {
    addr: u64,
    /// The block's own: it tells translations of different code at the same address apart.
    call: BlockCall,
    guards: u16,
    operands: Vec<Operand>,
    /// Instructions before the first whose operands are not known yet.
    known: u16,
}

/// The blocks that were worked out.
pub struct Limits {
    slots: Vec<Option<Box<Analysis>>>,
}

impl Limits {
    /// None.
    pub fn new() -> Limits {
        Limits { slots: std::iter::repeat_with(|| None).take(SLOTS).collect() }
    }

    /// The block at this address is translated anew.
    pub fn translated(&mut self, addr: u64) {
        self.slots[slot(addr)] = None;
    }
}

fn slot(addr: u64) -> usize {
    (addr ^ addr >> 12) as usize % SLOTS
}

impl Cpu {
    /// How far the block that is about to run, and has called from there, may go.
    pub fn reach(&mut self, block: &Block, call: BlockCall) -> Reach {
        let (mode, guards) = (self.mode(), self.guards.up());
        let slot = slot(block.addr);
        let is_there = |a: &Analysis| a.addr == block.addr && a.call == call && a.guards == guards;
        if !self.limits.slots[slot].as_deref().is_some_and(is_there) {
            let mut code = vec![0; (block.size as usize).min(PAGE_SIZE + MAX_INSN)];
            let got = self.read_code_at(block.addr, &mut code);
            let analysis = Analysis::of(block.addr, &code[..got], mode, self.env.code_bits(), call, guards);
            self.limits.slots[slot] = Some(Box::new(analysis));
        }
        let Some(analysis) = &self.limits.slots[slot] else { return Reach::Instructions(1) };
        for operand in &analysis.operands {
            match (self.check(operand, mode), operand.insn) {
                (Ok(()), _) => {}
                (Err(fault), 0) => return Reach::Fault(fault),
                (Err(_), before) => return Reach::Instructions(before.into()),
            }
        }
        Reach::Instructions(analysis.known.max(1).into())
    }

    fn check(&self, operand: &Operand, mode: Mode) -> Result<(), Fault> {
        let env = &self.env;
        let nothing = operand.rep != Rep::No && operand.rep.count(env.gpr(1)) == 0;
        if nothing || (operand.fpu && env.r64(off::CR) & CR0_EM_TS != 0) {
            return Ok(());
        }
        let memory = &operand.memory;
        let Some(offset) = super::operand_offset(env, memory, operand.moved) else { return Ok(()) };
        let segment = env.segment(memory.segment().number());
        let size = memory.memory_size().size().max(1) as u64;
        let code = memory.segment() == Register::CS;
        let write =
            operand.write && operand.rpl.is_none_or(|register| self.raises_rpl(&segment, offset, register));
        let reached = !mode.segmented
            || (!mode.typed || allows(&segment, write, code)) && in_limit(&segment, offset, size);
        if reached {
            let misaligned = !segment.base.wrapping_add(offset).is_multiple_of(ALIGNMENT);
            return if operand.aligned && misaligned && self.has_sse() {
                Err(Fault::protection())
            } else {
                Ok(())
            };
        }
        Err(if memory.segment() == Register::SS { Fault::new(vector::SS, 0) } else { Fault::protection() })
    }

    /// Whether ARPL raises the RPL of the selector in memory to that of a register.
    fn raises_rpl(&self, segment: &Segment, offset: u64, register: usize) -> bool {
        let mut selector = [0];
        let addr = segment.base.wrapping_add(offset) & 0xffff_ffff;
        let known = self.read_linear(crate::units::LinAddr(addr), &mut selector) == 1;
        !known || selector[0] & 3 < self.env.gpr(register) as u8 & 3
    }
}

/// Whether a segment may be read, or written.
fn allows(segment: &Segment, write: bool, cs: bool) -> bool {
    let flags = segment.flags;
    let code = flags & CODE != 0;
    let marked = flags & READABLE_OR_WRITABLE != 0;
    (cs || flags & (P | S) == P | S) && if write { !code && marked } else { !code || marked }
}

impl Analysis {
    fn of(addr: u64, code: &[u8], mode: Mode, bits: u32, call: BlockCall, guards: u16) -> Analysis {
        let mut operands = Vec::new();
        let mut known = 0;
        let mut moves = Moves::none();
        let mut factory = InstructionInfoFactory::new();
        super::count::for_each_insn(bits, addr, code, |_, insn| {
            let rep = Rep::of(insn);
            let info = factory.info(insn);
            for (memory, write) in guard::operands(info) {
                let matters = guard::of_operand(insn, memory, write, mode) & guards;
                if matters & guard::OPERANDS == 0 {
                    continue;
                }
                // How often it repeats is known when it comes.
                let moved = if known != 0 && rep != Rep::No { None } else { moves.of(memory) };
                let Some(moved) = moved else { return false };
                operands.push(Operand {
                    insn: known,
                    memory: *memory,
                    write,
                    rpl: (insn.mnemonic() == Mnemonic::Arpl)
                        .then(|| insn.op1_register().full_register().number()),
                    aligned: matters & guard::ALIGNED != 0,
                    moved,
                    rep,
                    fpu: Use::of(insn).any,
                });
            }
            moves.after(insn, info);
            known += 1;
            true
        });
        Analysis { addr, call, guards, operands, known }
    }
}

/// A register of an address, as it will be: what another held when the block began, and a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moved {
    /// Number of the register.
    pub from: usize,
    /// The constant.
    pub by: i64,
    /// How many bytes of the sum are right.
    size: usize,
}

/// What each general register holds, in terms of those at the block's beginning; `None`: something else.
struct Moves([Option<Moved>; 16]);

impl Moves {
    fn none() -> Moves {
        Moves(std::array::from_fn(|from| Some(Moved { from, by: 0, size: 8 })))
    }

    fn of(&self, memory: &UsedMemory) -> Option<[Option<Moved>; 2]> {
        let of = |r: Register| {
            if !r.is_gpr() {
                return Some(None);
            }
            let moved = self.0[r.full_register().number()]?;
            (r.size() <= moved.size).then_some(Some(moved))
        };
        Some([of(memory.base())?, of(memory.index())?])
    }

    fn after(&mut self, insn: &Instruction, info: &iced_x86::InstructionInfo) {
        let to = insn.op0_register();
        let copy = insn.mnemonic() == Mnemonic::Mov && is_whole(to) && is_whole(insn.op1_register());
        let copied = copy.then(|| self.0[insn.op1_register().full_register().number()]).flatten();
        let constant = added(insn);
        for used in info.used_registers() {
            let register = used.register();
            let reads = matches!(used.access(), OpAccess::None | OpAccess::Read | OpAccess::CondRead);
            if reads || !register.is_gpr() {
                continue;
            }
            let at = &mut self.0[register.full_register().number()];
            *at = match constant {
                Some((moved, by)) if moved.full_register() == register.full_register() => {
                    at.and_then(|old| {
                        Some(Moved { by: old.by.checked_add(by)?, size: old.size.min(moved.size()), ..old })
                    })
                }
                _ => copied.map(|from| Moved { size: from.size.min(to.size()), ..from }),
            };
        }
    }
}

/// A general register other than one of a single byte.
fn is_whole(register: Register) -> bool {
    register.is_gpr() && register.size() > 1
}

/// The register to which an instruction adds a constant, and the constant.
fn added(insn: &Instruction) -> Option<(Register, i64)> {
    use Mnemonic::*;
    let register = insn.op0_register();
    let whole = insn.op0_kind() == OpKind::Register && is_whole(register);
    match insn.mnemonic() {
        Push | Pushf | Pushfd | Call | Ret => Some((Register::ESP, insn.stack_pointer_increment().into())),
        Popf | Popfd => Some((Register::ESP, insn.stack_pointer_increment().into())),
        Pop if register.full_register() != Register::RSP => {
            Some((Register::ESP, insn.stack_pointer_increment().into()))
        }
        Inc if whole => Some((register, 1)),
        Dec if whole => Some((register, -1)),
        Add | Sub if whole && insn.op_count() == 2 => {
            let by = insn.try_immediate(1).ok()? as i64;
            Some((register, if insn.mnemonic() == Add { by } else { by.wrapping_neg() }))
        }
        _ => None,
    }
}
