//! Many iterations of REP MOVS and REP STOS at once.
//!
//! The engine runs a REP instruction as one block an iteration, each with its way through the block hook. Where nothing can
//! come between two iterations and both operands stay inside pages of plain RAM that have been accessed already, the
//! outcome of many is known: memory, counter and pointers change, flags and everything else do not (SDM 2B, MOVS, STOS). They
//! count as the steps that they are.

use super::Cpu;
use super::count::{Block, Rep};
use super::engine::{Access, off};
use super::mmu::Paging;
use super::regs::flag;
use crate::memory::{PAGE_SIZE, Place};
use iced_x86::{Instruction, Mnemonic, Register};

const RCX: usize = 1;
const RSI: usize = 6;
const RDI: usize = 7;
/// Fewer iterations are left to the engine: looking at the pages costs as much.
const FEWEST: u64 = 4;

/// A string instruction that can be done at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strings {
    /// Another instruction.
    #[default]
    No,
    /// STOS of this many bytes.
    Stos(u8),
    /// MOVS of this many bytes from this segment.
    Movs(u8, u8),
}

impl Strings {
    /// Of one instruction.
    pub fn of(insn: &Instruction) -> Strings {
        match insn.mnemonic() {
            Mnemonic::Stosb => Strings::Stos(1),
            Mnemonic::Stosw => Strings::Stos(2),
            Mnemonic::Stosd => Strings::Stos(4),
            Mnemonic::Stosq => Strings::Stos(8),
            // MOVSD is an instruction of SSE as well.
            Mnemonic::Movsb | Mnemonic::Movsw | Mnemonic::Movsd | Mnemonic::Movsq
                if insn.is_string_instruction() =>
            {
                let segment = insn.memory_segment();
                Strings::Movs(insn.memory_size().size() as u8, segment.number() as u8)
            }
            _ => Strings::No,
        }
    }
}

/// Bits of the address registers that count.
fn address_mask(rep: Rep) -> u64 {
    match rep {
        Rep::Cx => 0xffff,
        Rep::Ecx => 0xffff_ffff,
        Rep::Rcx | Rep::No => u64::MAX,
    }
}

/// One of the two operands.
struct Operand {
    /// Offset in storage.
    at: usize,
    /// Elements before the end of the page or of the addresses.
    left: u64,
}

impl Cpu {
    /// Does iterations of the REP instruction at RIP, which has been through one just before, at most `room` and at most to the
    /// end of a page. How many.
    pub fn iterate(&mut self, block: &Block, room: u64) -> u64 {
        let count = block.rep.count(self.env.gpr(RCX));
        let (size, source) = match block.strings {
            Strings::No => return 0,
            Strings::Stos(size) => (size, None),
            Strings::Movs(size, segment) => (size, Some(segment)),
        };
        let stepped = self.env.r64(off::EFLAGS) & flag::TF != 0;
        if count.min(room) < FEWEST || stepped || self.env.r32(off::DF) != 1 {
            return 0;
        }
        let mask = address_mask(block.rep);
        let Some(to) = self.string_operand(RDI, Register::ES.number(), mask, size, Access::Write) else {
            return 0;
        };
        let mut n = count.min(room).min(to.left);
        match source {
            None => {
                let value = self.env.gpr(0).to_le_bytes();
                self.mem.fill(to.at, &value[..size.into()], n as usize);
            }
            Some(segment) => {
                let from = self.string_operand(RSI, segment.into(), mask, size, Access::Read);
                let Some(from) = from else { return 0 };
                n = n.min(from.left);
                self.mem.move_elements(from.at, to.at, size.into(), n as usize);
                self.advance_register(RSI, mask, n * u64::from(size));
            }
        }
        self.advance_register(RDI, mask, n * u64::from(size));
        self.advance_register(RCX, mask, n.wrapping_neg());
        n
    }

    fn advance_register(&self, number: usize, mask: u64, by: u64) {
        let old = self.env.gpr(number);
        let new = old.wrapping_add(by) & mask;
        // A 32-bit register is written whole.
        self.env.set_gpr(number, if mask == 0xffff { old & !mask | new } else { new });
    }

    /// Where the operand at this register is, if it is in plain RAM and an access would leave no trace but its own.
    fn string_operand(
        &mut self,
        register: usize,
        segment: usize,
        mask: u64,
        size: u8,
        access: Access,
    ) -> Option<Operand> {
        let write = access == Access::Write;
        let offset = self.env.gpr(register) & mask;
        let long = self.env.code_bits() == 64;
        let based = !long || segment >= Register::FS.number();
        let base = if based { self.env.segment(segment).base } else { 0 };
        let addr = base.wrapping_add(offset);
        let addr = if long { addr } else { addr & 0xffff_ffff };
        if long && !super::descriptor::canonical(addr) {
            return None;
        }
        let in_page = PAGE_SIZE as u64 - addr % PAGE_SIZE as u64;
        let left = in_page.min((mask - offset).saturating_add(1)) / u64::from(size);
        let paging = Paging::of(&self.env, self.page_features);
        let walk = paging.walk(&self.mem, addr, access, self.env.cpl() == 3).ok()?;
        if left == 0 || !walk.accessed() || (write && !walk.dirty()) {
            return None;
        }
        let Place::Ram(at) = self.mem.place(self.mem.bus_address(walk.phys), write) else { return None };
        let page = at as usize / PAGE_SIZE;
        let start = at & !(PAGE_SIZE as u64 - 1);
        if self.mem.is_watched(start, write) {
            return None;
        }
        let other_trace = self.mem.is_code(page) || self.mem.is_table(page) || !self.mem.is_dirty(page);
        if write && (other_trace || self.mem.is_watched(start, false)) {
            return None;
        }
        self.mem.mark_accessed(page);
        Some(Operand { at: at as usize, left })
    }
}
