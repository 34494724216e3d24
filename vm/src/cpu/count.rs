//! Exact instruction counts without a callback per instruction.
//!
//! The engine says how many instructions a block has when it translates it, and calls back with address and size
//! whenever a block runs; a table joins the two. The key (address, size) is ambiguous where two address spaces, or code
//! that was overwritten, have blocks of the same size at one address: that shows when the second one is translated, and
//! from then on such a block is decoded each time.
//!
//! Two things make a block special. A REP string instruction runs one iteration a pass. And what BT, BTS, BTR and BTC do to
//! the flags that they leave undefined depends, in the engine, on whether it has translated an instruction that sets flags
//! before them in the same block, and so on where the block began: such a block is left before them, which makes them begin
//! one.

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, RflagsBits};
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
    pub size: u16,
    /// Instructions.
    pub insns: u16,
    /// If not 0: the block must be left after this many instructions.
    pub split: u16,
    /// It is a single REP string instruction.
    pub rep: Rep,
    /// It must be split, is a REP instruction, or may have a breakpoint: take the slow path.
    pub special: bool,
}

impl Block {
    /// Whether it is this block and nothing about it needs care.
    #[inline]
    pub fn is_plain(&self, addr: u64, size: u32) -> bool {
        self.addr == addr && u32::from(self.size) == size && !self.special
    }

    /// The block that consists of these instructions; what is about it is to be found out by [`Shape`].
    pub fn with_shape(addr: u64, size: u32, shape: Shape, breakpoint: bool) -> Block {
        // No block of the engine is longer than a page and an instruction.
        let size = u16::try_from(size).unwrap_or(u16::MAX);
        let Shape { insns, split, rep } = shape;
        Block { addr, size, insns, split, rep, special: breakpoint || split != 0 || rep != Rep::No }
    }
}

/// What is known of a block by decoding it once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Instructions.
    pub insns: u16,
    /// See [`Block::split`].
    pub split: u16,
    /// See [`Block::rep`].
    pub rep: Rep,
}

impl Shape {
    /// Takes in the next instruction of a block.
    pub fn add(&mut self, insn: &Instruction, sets_flags: &mut bool) {
        let tests_bit =
            matches!(insn.mnemonic(), Mnemonic::Bt | Mnemonic::Bts | Mnemonic::Btr | Mnemonic::Btc);
        if tests_bit && *sets_flags && self.split == 0 {
            self.split = self.insns;
        }
        *sets_flags |= insn.rflags_modified() != RflagsBits::NONE;
        self.rep = if self.insns == 0 { Rep::of(insn) } else { Rep::No };
        self.insns += 1;
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

    /// The count in this RCX.
    #[inline]
    pub fn count(self, rcx: u64) -> u64 {
        match self {
            Rep::Cx => rcx & 0xffff,
            Rep::Ecx => rcx & 0xffff_ffff,
            Rep::No | Rep::Rcx => rcx,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Count {
    /// The engine said so.
    Exact(u16),
    /// It has been decoded too.
    Shaped(Shape),
    Ambiguous,
}

/// Answer of the table for a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// It has this shape.
    Known(Shape),
    /// It has this many instructions; decode it once for its shape.
    Counted(u16),
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
        (block.addr == addr && u32::from(block.size) == size).then_some(block)
    }

    /// Puts a block into the front table.
    pub fn cache(&mut self, block: Block) {
        self.front[slot(block.addr, block.size.into())] = block;
    }

    /// Keeps the shape of a block that was only counted.
    pub fn shaped(&mut self, addr: u64, size: u32, shape: Shape) {
        self.all.insert((addr, size), Count::Shaped(shape));
    }

    /// The engine has translated a block.
    pub fn translated(&mut self, addr: u64, size: u32, insns: u16) {
        let entry = self.all.entry((addr, size)).or_insert(Count::Exact(insns));
        match *entry {
            Count::Ambiguous => {}
            Count::Exact(before) if before == insns => {}
            // The code may be other code of the same count: its shape is found again.
            Count::Shaped(before) if before.insns == insns => *entry = Count::Exact(insns),
            _ => *entry = Count::Ambiguous,
        }
        self.front[slot(addr, size)] = Block::default();
    }

    /// The count of a block that is not in the front table. A block that was never reported (the first of an engine's
    /// life) is to be decoded.
    pub fn lookup(&self, addr: u64, size: u32) -> Lookup {
        match self.all.get(&(addr, size)) {
            Some(Count::Exact(n)) => Lookup::Counted(*n),
            Some(Count::Shaped(shape)) => Lookup::Known(*shape),
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
