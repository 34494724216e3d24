//! Exact instruction counts without a callback per instruction.
//!
//! The engine says how many instructions a block has when it translates it, and calls back with address and size
//! whenever a block runs; a table joins the two. The key (address, size) is ambiguous where two address spaces, or code
//! that was overwritten, have blocks of the same size at one address: that shows when the second one is translated, and
//! from then on such a block is decoded each time.
//!
//! Some things make a block special. A REP string instruction runs one iteration a pass. Instructions that are not the
//! engine's ([`super::own`]) must begin a block. What the x87 notes is looked at before an
//! instruction that could see it, and before a waiting one ([`super::fpu`]). And what BT, BTS, BTR and BTC do to
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
    /// It begins with an instruction that is executed here.
    pub own: bool,
    /// It has instructions of x87 or MMX.
    pub fpu: FpuShape,
    /// Something about it needs care: take the slow path.
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
        let Shape { insns, split, rep, own, fpu } = shape;
        let special = breakpoint || split != 0 || rep != Rep::No || own || fpu.any;
        Block { addr, size, insns, split, rep, own, fpu, special }
    }
}

/// What a block has of x87 and MMX.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FpuShape {
    /// An instruction of them.
    pub any: bool,
    /// One that sees the registers as the x87's.
    pub sees_registers: bool,
    /// One that loads the control word, and perhaps the status word.
    pub unmasks: bool,
    /// MMX registers that are written.
    pub writes_mmx: u8,
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
    /// See [`Block::own`].
    pub own: bool,
    /// See [`Block::fpu`].
    pub fpu: FpuShape,
}

/// What the instructions before one in its block leave to be seen to before some others.
#[derive(Clone, Copy, Debug, Default)]
pub struct Before {
    /// Flags were set.
    flags: bool,
    /// There was an instruction of x87 or MMX.
    fpu: bool,
    /// An MMX register was written.
    mmx: bool,
    /// There was one behind which the block must end.
    last: bool,
}

impl Shape {
    /// Takes in the next instruction of a block; `user`: at privilege level 3.
    pub fn add(&mut self, insn: &Instruction, user: bool, before: &mut Before) {
        let tests_bit =
            matches!(insn.mnemonic(), Mnemonic::Bt | Mnemonic::Bts | Mnemonic::Btr | Mnemonic::Btc);
        let own = super::own::is_own(insn, user);
        let fpu = super::fpu::Use::of(insn);
        let must_begin = before.last
            || (tests_bit && before.flags)
            || (fpu.looks_back && before.fpu)
            || (fpu.sees_registers && before.mmx)
            || (own && self.insns != 0);
        if must_begin && self.split == 0 {
            self.split = self.insns;
        }
        self.own |= own && self.insns == 0;
        self.fpu.any |= fpu.any;
        self.fpu.sees_registers |= fpu.sees_registers;
        self.fpu.unmasks |= fpu.unmasks;
        self.fpu.writes_mmx |= fpu.writes_mmx;
        before.flags |= insn.rflags_modified() != RflagsBits::NONE;
        before.fpu |= fpu.any;
        before.mmx |= fpu.writes_mmx != 0;
        before.last |= fpu.unmasks;
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
    Known(Shape),
    /// Blocks of different shapes share the key.
    Ambiguous,
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

    /// The engine has translated a block.
    pub fn translated(&mut self, addr: u64, size: u32, shape: Shape) {
        let entry = self.all.entry((addr, size)).or_insert(Count::Known(shape));
        if *entry != Count::Known(shape) {
            *entry = Count::Ambiguous;
        }
        self.front[slot(addr, size)] = Block::default();
    }

    /// The shape of a block that is not in the front table. `None`: it is to be decoded from memory every time. That is so,
    /// too, for a block that was never reported (the first of an engine's life).
    pub fn lookup(&self, addr: u64, size: u32) -> Option<Shape> {
        match self.all.get(&(addr, size)) {
            Some(Count::Known(shape)) => Some(*shape),
            _ => None,
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
        if insn.is_invalid() {
            mark_wrong_lock(bits, at, &code[(at - addr) as usize..], &mut insn);
        }
        if !each(at, &insn) {
            return;
        }
    }
}

/// An opcode that is invalid only for its LOCK prefix: says so in the instruction, which stays invalid.
#[cold]
fn mark_wrong_lock(bits: u32, addr: u64, code: &[u8], insn: &mut Instruction) {
    let unchecked = Decoder::with_ip(bits, code, addr, DecoderOptions::NO_INVALID_CHECK).decode();
    insn.set_has_lock_prefix(!unchecked.is_invalid() && unchecked.has_lock_prefix());
}
