//! Exact instruction counts without a callback per instruction.
//!
//! The engine says how many instructions a block has when it translates it, and calls back with address and size
//! whenever a block runs; a table joins the two. The key (address, size) is ambiguous where two address spaces, or code
//! that was overwritten, have blocks of the same size at one address: that shows when the second one is translated, and
//! from then on such a block is decoded each time.

use iced_x86::{Decoder, DecoderOptions, Instruction, OpKind};
use std::collections::BTreeMap;

/// Slots of the direct-mapped front table.
const SLOTS: usize = 1 << 15;
/// Longest x86 instruction.
pub const MAX_INSN: usize = 15;

/// What is known of a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// Linear address.
    pub addr: u64,
    /// Bytes.
    pub size: u32,
    /// Instructions.
    pub insns: u16,
    /// A breakpoint may lie in it: take the slow path.
    pub breakpoint: bool,
    /// It is a single REP string instruction.
    pub rep: Rep,
}

impl Block {
    /// Whether it is this block and nothing about it needs care.
    #[inline]
    pub fn is_plain(&self, addr: u64, size: u32) -> bool {
        self.addr == addr && self.size == size && !self.breakpoint && self.rep == Rep::No
    }
}

/// Whether a block is a REP string instruction, and the width of its count register.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rep {
    /// It is something else.
    #[default]
    No,
    /// CX counts.
    Cx,
    /// ECX counts.
    Ecx,
    /// RCX counts.
    Rcx,
}

impl Rep {
    /// Of one instruction: the count register follows the address size, which is that of the string operand.
    pub fn of(insn: &Instruction) -> Rep {
        use iced_x86::OpKind::*;
        if !insn.is_string_instruction() || !(insn.has_rep_prefix() || insn.has_repne_prefix()) {
            return Rep::No;
        }
        let operand = |kinds: [OpKind; 3]| (0..insn.op_count()).any(|i| kinds.contains(&insn.op_kind(i)));
        if operand([MemorySegRSI, MemoryESRDI, MemorySegRDI]) {
            Rep::Rcx
        } else if operand([MemorySegSI, MemoryESDI, MemorySegDI]) {
            Rep::Cx
        } else {
            Rep::Ecx
        }
    }

    /// The part of RCX that counts; it is also the part of RDI that points.
    #[inline]
    pub fn count(self, register: u64) -> u64 {
        match self {
            Rep::Cx => register & 0xffff,
            Rep::Ecx => register & 0xffff_ffff,
            Rep::No | Rep::Rcx => register,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Count {
    Exact(u16),
    Ambiguous,
}

/// Answer of the table for a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// It has this many instructions.
    Known(u16),
    /// Decode it from memory, every time.
    Decode,
}

/// The table.
pub struct BlockTable {
    front: Box<[Block; SLOTS]>,
    all: BTreeMap<(u64, u32), Count>,
}

#[inline]
fn slot(addr: u64, size: u32) -> usize {
    ((addr ^ addr >> 15) as usize).wrapping_add((size as usize) << 7) % SLOTS
}

impl BlockTable {
    /// Nothing known.
    pub fn new() -> BlockTable {
        BlockTable { front: Box::new([Block::default(); SLOTS]), all: BTreeMap::new() }
    }

    /// The front table's slot for a block.
    #[inline]
    pub fn slot(&self, addr: u64, size: u32) -> &Block {
        &self.front[slot(addr, size)]
    }

    /// The block, if it is in the front table.
    pub fn front(&self, addr: u64, size: u32) -> Option<Block> {
        let block = *self.slot(addr, size);
        (block.addr == addr && block.size == size).then_some(block)
    }

    /// Puts a block into the front table.
    pub fn cache(&mut self, block: Block) {
        self.front[slot(block.addr, block.size)] = block;
    }

    /// The engine has translated a block.
    pub fn translated(&mut self, addr: u64, size: u32, insns: u16) {
        let entry = self.all.entry((addr, size)).or_insert(Count::Exact(insns));
        if *entry != Count::Exact(insns) && *entry != Count::Ambiguous {
            *entry = Count::Ambiguous;
            self.front[slot(addr, size)] = Block::default();
        }
    }

    /// The count of a block that is not in the front table. A block that was never reported (the first of an engine's
    /// life) is to be decoded.
    pub fn lookup(&self, addr: u64, size: u32) -> Lookup {
        match self.all.get(&(addr, size)) {
            Some(Count::Exact(n)) => Lookup::Known(*n),
            _ => Lookup::Decode,
        }
    }

    /// Empties the front table (breakpoints changed).
    pub fn forget_front(&mut self) {
        self.front.fill(Block::default());
    }
}

/// Decodes instructions of `code`, which starts at `addr`, and calls `each` with every start address until it returns
/// false or the bytes end.
pub fn for_each_insn(bits: u32, addr: u64, code: &[u8], mut each: impl FnMut(u64, &Instruction) -> bool) {
    let mut decoder = Decoder::with_ip(bits, code, addr, DecoderOptions::NONE);
    let mut insn = Instruction::default();
    while decoder.can_decode() {
        let at = decoder.ip();
        decoder.decode_out(&mut insn);
        if !each(at, &insn) {
            return;
        }
    }
}
