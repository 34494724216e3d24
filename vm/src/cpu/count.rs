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
//! one, and so it is with LOOPE and LOOPNE. RCL and RCR of memory are alone in theirs.

use super::fpu_by_hand;
use super::fpu_stack::{Needs, Stack};
use super::guard::{self, Mode};
use super::sse::{self, PRECISION};
use super::strings::Strings;
use crate::memory::PAGE_SIZE;
use iced_x86::{
    Code, CpuidFeature, Decoder, DecoderError, DecoderOptions, Instruction, InstructionInfo,
    InstructionInfoFactory, Mnemonic, OpAccess, OpKind, RflagsBits,
};
use std::collections::BTreeMap;

/// Slots of the direct-mapped front table: more than a system at work has blocks, as two that share one take it from each other in
/// each interval.
const SLOTS: usize = 1 << SLOT_BITS;
const SLOT_BITS: u32 = 17;
/// A block that ran in an interval and in so many before it is taken to run in the next ones too...
const STEADY: u8 = 1;
/// ...until it has to show it again, in one of so many.
const ASKED_EVERY: u32 = 4;
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
    /// Which one, if many of its iterations can be done at once.
    pub strings: Strings,
    /// It begins with an instruction that is executed here.
    pub own: bool,
    /// It has instructions of x87 or MMX.
    pub fpu: FpuShape,
    /// It has an instruction that reads or writes MXCSR.
    pub mxcsr: bool,
    /// It has bytes in the display adapter's window.
    pub in_window: bool,
    /// Its instructions run one at a time: one of them changes memory in place, and its store may begin before the page and end in the
    /// block, which would make the engine begin the instruction again with half of its store done.
    pub one_by_one: bool,
    /// Guards that matter to it.
    pub guards: u16,
    /// What is to be looked at behind it.
    pub settles: Settles,
    /// Something about it needs care: take the slow path.
    pub special: bool,
    /// The last interval whose footprint has it, or what was in its slot before.
    noted: u32,
    /// Intervals before that, one after the other, whose footprints have it.
    steady: u8,
}

impl Block {
    #[inline]
    fn is(&self, addr: u64, size: u32) -> bool {
        self.addr == addr && u32::from(self.size) == size
    }

    /// The block that consists of these instructions; what is about it is to be found out by [`Shape`].
    pub fn with_shape(addr: u64, size: u32, shape: Shape) -> Block {
        // No block of the engine is longer than a page and an instruction.
        let size = u16::try_from(size).unwrap_or(u16::MAX);
        let Shape { insns, split, rep, strings, own, fpu, mxcsr, in_window, in_place, guards, settles } =
            shape;
        let one_by_one = in_place && insns > 1 && begins_page(addr, size);
        let special = split != 0
            || own
            || fpu.any
            || fpu.leaves_tags
            || mxcsr
            || in_window
            || one_by_one
            || settles != Settles::Nothing;
        let (noted, steady) = (0, 0);
        Block {
            addr,
            size,
            insns,
            split,
            rep,
            strings,
            own,
            fpu,
            mxcsr,
            in_window,
            one_by_one,
            guards,
            settles,
            special,
            noted,
            steady,
        }
    }
}

/// What a block has of x87 and MMX.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FpuShape {
    /// An instruction of them.
    pub any: bool,
    /// One that sees the registers as the x87's.
    pub sees_registers: bool,
    /// One that sees what earlier ones left; none of x87 is before it.
    pub looks_back: bool,
    /// One that loads the control word, and perhaps the status word.
    pub unmasks: bool,
    /// MMX registers that are written.
    pub writes_mmx: u8,
    /// The engine changes tags of the x87 that its instruction does not change.
    pub leaves_tags: bool,
    /// What it needs of the stack of x87.
    pub needs: Needs,
    /// Its first instruction may be one that is done here.
    pub by_hand: bool,
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
    /// See [`Block::strings`].
    pub strings: Strings,
    /// See [`Block::own`].
    pub own: bool,
    /// See [`Block::fpu`].
    pub fpu: FpuShape,
    /// See [`Block::mxcsr`].
    pub mxcsr: bool,
    /// See [`Block::in_window`].
    pub in_window: bool,
    /// One of its instructions loads from memory and stores to it.
    pub in_place: bool,
    /// See [`Block::guards`].
    pub guards: u16,
    /// See [`Block::settles`].
    pub settles: Settles,
}

/// What is to be looked at behind a block's last instruction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Settles {
    /// Nothing.
    #[default]
    Nothing,
    /// It loads a segment register.
    Segment,
    /// It loads MXCSR.
    Mxcsr,
    /// The engine notes SSE exceptions, those with these bits, that the instruction does not have.
    Noted(u8),
    /// It compares, and the engine leaves some flags as they are that it clears.
    Comparison,
    /// It has a result twice, of which the engine makes one.
    Doubling,
    /// The engine gets other lengths of strings than the registers have.
    Lengths,
}

impl Settles {
    /// Whether the instruction has a block of its own, as what is to be there again is taken down when that begins.
    fn is_alone(self) -> bool {
        matches!(self, Settles::Doubling | Settles::Lengths | Settles::Noted(PRECISION))
    }
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
    /// SSE computed something.
    sse: bool,
    /// There was one behind which the block must end.
    last: bool,
    /// What has become of the stack of x87.
    stack: Stack,
}

impl Shape {
    /// Takes in the next instruction of a block. `own`: it is executed here.
    pub fn add(&mut self, insn: &Instruction, own: bool, mode: Mode, before: &mut Before) {
        let fpu = super::fpu::Use::of(insn);
        let sse = sse::Use::of(insn);
        let settles = match () {
            () if sse.loads => Settles::Mxcsr,
            () if sse.quiet => Settles::Noted(u8::MAX),
            () if sse.hides_precision => Settles::Noted(PRECISION),
            () if sse.doubles => Settles::Doubling,
            () if sse.has_lengths => Settles::Lengths,
            () if fpu.compares => Settles::Comparison,
            () if guard::loads_segment(insn, mode) => Settles::Segment,
            () => Settles::Nothing,
        };
        let alone = is_alone(insn) || fpu.leaves_tags || settles.is_alone();
        let needs = before.stack.add(insn, fpu.mmx);
        let by_hand = fpu_by_hand::may_be(insn);
        let must_begin = before.last
            || needs.is_none()
            || (needs_flags(insn) && before.flags)
            || (fpu.looks_back && before.fpu)
            || (fpu.sees_registers && before.mmx)
            || (sse.reads && before.sse)
            || ((own || alone || by_hand || sse.loads) && self.insns != 0);
        if must_begin && self.split == 0 {
            self.split = self.insns;
        }
        if self.split == 0 {
            self.fpu.leaves_tags |= fpu.leaves_tags;
            self.fpu.needs = self.fpu.needs.and(needs.unwrap_or_default());
        }
        self.own |= own && self.insns == 0;
        self.fpu.by_hand |= by_hand && self.insns == 0;
        self.fpu.any |= fpu.any;
        self.fpu.sees_registers |= fpu.sees_registers;
        self.fpu.looks_back |= fpu.looks_back;
        self.fpu.unmasks |= fpu.unmasks;
        self.fpu.writes_mmx |= fpu.writes_mmx;
        before.flags |= insn.rflags_modified() != RflagsBits::NONE;
        before.fpu |= fpu.any;
        before.mmx |= fpu.writes_mmx != 0;
        before.sse |= sse.computes;
        before.last |= alone || is_string_io(insn) || fpu.unmasks || settles != Settles::Nothing;
        if settles != Settles::Nothing && self.split == 0 {
            self.settles = settles;
        }
        self.mxcsr |= sse.reads;
        if sse.computes {
            self.guards |= guard::SSE;
        }
        let mut factory = InstructionInfoFactory::new();
        let info = factory.info(insn);
        self.in_place |= is_in_place(info);
        for (memory, write) in guard::operands(info) {
            self.guards |= guard::of_operand(insn, memory, write, mode);
        }
        self.rep = if self.insns == 0 { Rep::of(insn) } else { Rep::No };
        self.strings = if self.rep == Rep::No { Strings::No } else { Strings::of(insn) };
        self.insns += 1;
    }
}

/// Instructions before which the flags must be known, and not only what they come from: BT, BTS, BTR and BTC; and LOOPE and LOOPNE,
/// which leave the engine with half of it when their count ends.
fn needs_flags(insn: &Instruction) -> bool {
    use Mnemonic::*;
    matches!(insn.mnemonic(), Bt | Bts | Btr | Btc | Loope | Loopne)
}

/// Whether a store of up to 8 bytes may begin before a page and end in these bytes.
fn begins_page(addr: u64, size: u16) -> bool {
    let within = addr % PAGE_SIZE as u64;
    within < 8 || within + u64::from(size) > PAGE_SIZE as u64
}

/// Whether an instruction, made a second time after half of its store, would do something else.
fn is_in_place(info: &InstructionInfo) -> bool {
    let any =
        |accesses: &[OpAccess]| info.used_memory().iter().any(|memory| accesses.contains(&memory.access()));
    use OpAccess::*;
    any(&[Read, CondRead, ReadWrite, ReadCondWrite]) && any(&[Write, CondWrite, ReadWrite, ReadCondWrite])
}

/// INS and OUTS: what a chip asks for is seen to right behind them.
pub fn is_string_io(insn: &Instruction) -> bool {
    use Mnemonic::*;
    matches!(insn.mnemonic(), Insb | Insw | Insd | Outsb | Outsw | Outsd)
}

/// Whether an instruction has a block of its own, as it cannot be begun again: the engine's RCL and RCR leave the new carry
/// before they store, and a store into the running block, if there is more of it, is made again.
fn is_alone(insn: &Instruction) -> bool {
    matches!(insn.mnemonic(), Mnemonic::Rcl | Mnemonic::Rcr) && insn.op0_kind() == OpKind::Memory
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

/// What is known of the blocks with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// All have this shape.
    Known(Shape),
    /// Blocks of different shapes share the key.
    Ambiguous,
}

/// The table.
pub struct BlockTable {
    front: Box<[Block; SLOTS]>,
    all: BTreeMap<(u64, u32), Count>,
    /// Number of the interval that the footprint is for.
    interval: u32,
    /// The slots with its number, each once.
    noted: Vec<u32>,
}

#[inline]
fn slot(addr: u64, size: u32) -> usize {
    // The golden ratio's bits: what differs anywhere differs in the upper ones of the product.
    let product = (addr ^ u64::from(size) << 48).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (product >> (u64::BITS - SLOT_BITS)) as usize
}

impl BlockTable {
    /// Nothing known.
    pub fn new() -> BlockTable {
        // Too large for a stack.
        let front = vec![Block::default(); SLOTS].into_boxed_slice();
        let front = front.try_into().unwrap_or_else(|_| unreachable!("so many were made"));
        BlockTable { front, all: BTreeMap::new(), interval: 1, noted: Vec::new() }
    }

    /// The block, if it is in the front table and the footprint has it.
    #[inline]
    pub fn front(&self, addr: u64, size: u32) -> Option<&Block> {
        let block = &self.front[slot(addr, size)];
        (block.is(addr, size) && block.noted == self.interval).then_some(block)
    }

    /// The block, if it is in the front table; from now on the footprint has it.
    pub fn note(&mut self, addr: u64, size: u32) -> Option<Block> {
        let slot = slot(addr, size);
        let block = self.front[slot];
        let again = block.noted + 1 == self.interval;
        let steady = if again { block.steady.saturating_add(1) } else { 0 };
        block.is(addr, size).then(|| self.put(slot, Block { steady, ..block }))
    }

    /// Puts a block into the front table; the footprint has it.
    pub fn cache(&mut self, block: Block) -> Block {
        self.put(slot(block.addr, block.size.into()), block)
    }

    fn put(&mut self, slot: usize, block: Block) -> Block {
        if self.front[slot].noted != self.interval {
            self.noted.push(slot as u32);
        }
        self.front[slot] = Block { noted: self.interval, ..block };
        self.front[slot]
    }

    /// The engine has translated a block.
    pub fn translated(&mut self, addr: u64, size: u32, shape: Shape) {
        let entry = self.all.entry((addr, size)).or_insert(Count::Known(shape));
        if *entry != Count::Known(shape) {
            *entry = Count::Ambiguous;
        }
        let block = &mut self.front[slot(addr, size)];
        *block = Block { noted: block.noted, ..Block::default() };
    }

    /// The engine has forgotten all blocks.
    pub fn forgotten(&mut self) {
        self.all.clear();
    }

    /// What is known of a block that is not in the front table. `None`: none with this key was translated.
    pub fn lookup(&self, addr: u64, size: u32) -> Option<Count> {
        self.all.get(&(addr, size)).copied()
    }

    /// The footprint begins anew. It has none of them, but those that are taken to run again: `has` is called for each.
    pub fn begin_interval(&mut self, mut has: impl FnMut(u64, u32)) {
        let last = self.interval;
        self.interval += 1;
        let (front, interval) = (&mut self.front, self.interval);
        // As they lie in memory.
        self.noted.sort_unstable();
        self.noted.retain(|slot| {
            let block = &mut front[*slot as usize];
            let asked = slot % ASKED_EVERY == interval % ASKED_EVERY;
            let runs = block.noted == last && block.steady >= STEADY && !asked;
            if runs {
                block.noted = interval;
                has(block.addr, block.size.into());
            }
            runs
        });
    }
}

/// Decodes instructions of `code`, which starts at `addr`, and calls `each` with every start address until it returns
/// false or the bytes end. An undefined one is given as UD2; one that is too long, or whose end is not among the bytes, as invalid:
/// it raises #GP however long it is (SDM 3A, 6.15), so nothing comes behind it.
pub fn for_each_insn(bits: u32, addr: u64, code: &[u8], mut each: impl FnMut(u64, &Instruction) -> bool) {
    let mut decoder = Decoder::with_ip(bits, code, addr, DecoderOptions::NONE);
    let mut insn = Instruction::default();
    while decoder.can_decode() {
        let at = decoder.ip();
        decoder.decode_out(&mut insn);
        let undefined = decoder.last_error() == DecoderError::InvalidInstruction && insn.len() < MAX_INSN;
        if undefined
            || (insn.op0_register().is_mm() && is_out_of_bounds(&insn, &code[(at - addr) as usize..]))
        {
            insn.set_code(Code::Ud2);
        }
        if !each(at, &insn) || insn.is_invalid() {
            return;
        }
    }
}

/// An MMX instruction of SSSE3 whose REX prefix, which means nothing to it, leads the engine to a register that does not exist,
/// and so into others.
#[cold]
fn is_out_of_bounds(insn: &Instruction, code: &[u8]) -> bool {
    const REX_R: u8 = 4;
    const REX_B: u8 = 1;
    let mut opcode = code.windows(3).take(insn.len());
    let rex =
        opcode.find(|bytes| bytes[1] == 0x0f && matches!(bytes[2], 0x38 | 0x3a)).map_or(0, |bytes| bytes[0]);
    let second = insn.op1_kind() == OpKind::Register;
    insn.cpuid_features().contains(&CpuidFeature::SSSE3)
        && rex & 0xf0 == 0x40
        && (rex & REX_R != 0 || (rex & REX_B != 0 && second))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCKS: u64 = 64;

    fn block(addr: u64) -> Block {
        Block::with_shape(addr, 1, Shape { insns: 1, ..Shape::default() })
    }

    fn run(table: &mut BlockTable, addr: u64) {
        if table.front(addr, 1).is_none() && table.note(addr, 1).is_none() {
            table.cache(block(addr));
        }
    }

    /// What the footprint has at the start of the next interval.
    fn taken_to_run(table: &mut BlockTable) -> Vec<u64> {
        let mut taken = Vec::new();
        table.begin_interval(|addr, _| taken.push(addr));
        assert!((0..BLOCKS).all(|addr| table.front(addr, 1).is_some() == taken.contains(&addr)));
        taken
    }

    #[test]
    fn a_block_that_ran_once_has_to_show_whether_it_runs_again() {
        let mut table = BlockTable::new();
        (0..BLOCKS).for_each(|addr| run(&mut table, addr));
        assert!(taken_to_run(&mut table).is_empty());
        assert!(taken_to_run(&mut table).is_empty());
        (0..BLOCKS).for_each(|addr| run(&mut table, addr));
        assert!(taken_to_run(&mut table).is_empty());
    }

    #[test]
    fn most_blocks_that_run_all_the_time_are_taken_to_run_until_each_has_to_show_it() {
        let mut table = BlockTable::new();
        (0..BLOCKS).for_each(|addr| run(&mut table, addr));
        assert!(taken_to_run(&mut table).is_empty());
        let mut asked = Vec::new();
        for _ in 0..ASKED_EVERY {
            (0..BLOCKS).for_each(|addr| run(&mut table, addr));
            let taken = taken_to_run(&mut table);
            assert!(taken.len() as u64 > BLOCKS / 2 && (taken.len() as u64) < BLOCKS, "{}", taken.len());
            asked.extend((0..BLOCKS).filter(|addr| !taken.contains(addr)));
        }
        asked.sort_unstable();
        assert!(asked.into_iter().eq(0..BLOCKS));
        // None of them runs any more.
        let left = (0..ASKED_EVERY).map(|_| taken_to_run(&mut table).len());
        assert_eq!(left.last(), Some(0));
    }

    #[test]
    fn what_takes_a_blocks_place_does_not_count_as_noted() {
        let mut table = BlockTable::new();
        table.cache(block(7));
        table.translated(7, 1, Shape::default());
        assert_eq!(table.front(7, 1), None);
        let same_slot = (8..99 * SLOTS as u64).find(|addr| slot(*addr, 1) == slot(7, 1));
        let same_slot = same_slot.expect("an address with the same slot");
        table.cache(block(same_slot));
        assert_eq!(table.front(7, 1), None);
        assert_eq!(table.noted.len(), 1);
    }
}
