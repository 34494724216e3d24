//! Guards: what is not as it is in nearly all programs, so that some blocks must be looked at each time they run.
//!
//! A segment that does not cover what its operands can reach, and SSE exceptions that are not masked, are guards. So is that an operand of
//! SSE must be aligned, which is always up. What of them
//! matters to a block is known when it is translated; which are up is known when it begins. The set of those that are up has a
//! number in bits of the engine's hflags that it does not use itself: so it has translations of its own, and a block that may
//! run freely without guards is another one with them.
//!
//! Instructions that can change the set end their block, and it is worked out again behind them.

use super::Cpu;
use super::engine::off;
use super::regs::flag;
use super::sse;
use super::state::{Segment, seg};
use iced_x86::{CodeSize, Instruction, InstructionInfo, Mnemonic, OpAccess, Register, UsedMemory};

/// Bits 0 to 5: ES, CS, SS, DS, FS, GS do not reach to 4 GiB, which matters to operands with 32 address bits.
const WIDE: u16 = 1;
/// Bits 6 to 11: nor to 64 KiB, or they are not for reading and writing, which matters to all operands.
const TIGHT: u16 = 1 << 6;
/// Bit 12: stores through CS are refused.
const CODE_STORE: u16 = 1 << 12;
/// All about segments.
pub const SEGMENTS: u16 = 0x1fff;
/// An SSE exception is not masked.
pub const SSE: u16 = 1 << 13;
/// There are operands that must be aligned, at addresses that are not known to be.
pub const ALIGNED: u16 = 1 << 14;
/// All for which operands are worked out.
pub const OPERANDS: u16 = SEGMENTS | ALIGNED;

/// Bits of hflags for the number of the set.
pub const HFLAGS: u32 = 0x1f << HFLAGS_SHIFT;
const HFLAGS_SHIFT: u32 = 27;
/// The number of all sets that have no number of their own: blocks that matter are looked at whatever is up.
const UNLISTED: usize = 31;

/// Bits of a segment's flags, where its descriptor has them: code or data, present, for execution, growing downwards,
/// readable code or writable data (SDM 3A, 3.4.5).
pub(super) const S: u32 = 1 << 12;
pub(super) const P: u32 = 1 << 15;
pub(super) const CODE: u32 = 1 << 11;
const EXPAND_DOWN: u32 = 1 << 10;
pub(super) const READABLE_OR_WRITABLE: u32 = 1 << 9;

/// How addresses are made where a block runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode {
    /// Privilege level.
    pub cpl: u8,
    /// Segments have limits: not 64-bit code, and not real-address mode on a processor that has none there.
    pub segmented: bool,
    /// Segments have types: neither real-address nor virtual-8086 mode.
    pub typed: bool,
}

/// The sets of guards that had a number so far, and the present one.
#[derive(Debug, Default)]
pub struct Guards {
    up: u16,
    listed: Vec<u16>,
}

impl Guards {
    /// Those that are up.
    #[inline]
    pub fn up(&self) -> u16 {
        self.up
    }
}

/// Operands that are in memory, and whether they are written.
pub fn operands(info: &InstructionInfo) -> impl Iterator<Item = (&UsedMemory, bool)> {
    info.used_memory().iter().filter_map(|memory| match memory.access() {
        OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite => {
            Some((memory, true))
        }
        OpAccess::Read | OpAccess::CondRead => Some((memory, false)),
        OpAccess::None | OpAccess::NoMemAccess => None,
    })
}

/// Which guards matter to an operand.
pub fn of_operand(insn: &Instruction, memory: &UsedMemory, write: bool, mode: Mode) -> u16 {
    let fixed = memory.base() == Register::None && memory.index() == Register::None;
    let aligned = fixed && memory.displacement().is_multiple_of(sse::ALIGNMENT) && !mode.segmented;
    let based = matches!(memory.segment(), Register::FS | Register::GS);
    let alignment = if sse::must_be_aligned(insn) && (!aligned || based) { ALIGNED } else { 0 };
    alignment | if mode.segmented { of_segmented(memory, fixed, write, mode) } else { 0 }
}

fn of_segmented(memory: &UsedMemory, fixed: bool, write: bool, mode: Mode) -> u16 {
    let segment = memory.segment();
    let bit = WIDE << segment.number();
    let size = memory.memory_size().size().max(1) as u64;
    let wraps = memory.address_size() == CodeSize::Code16;
    // A word at the last byte of 64 KiB is looked for only where the address is fixed.
    let wide = !wraps || (fixed && memory.displacement().saturating_add(size - 1) > 0xffff);
    let store = if write && mode.typed && segment == Register::CS { CODE_STORE } else { 0 };
    store | if wide { bit } else { bit * TIGHT }
}

/// Whether an instruction loads a segment register whose limit and type it may change.
pub fn loads_segment(insn: &Instruction, mode: Mode) -> bool {
    use Mnemonic::*;
    let register = matches!(insn.mnemonic(), Mov | Pop) && insn.op0_register().is_segment_register();
    mode.typed && mode.segmented && (register || matches!(insn.mnemonic(), Lds | Les | Lfs | Lgs | Lss))
}

/// Guards of one segment, as of number 0.
fn of_segment(segment: &Segment, typed: bool) -> u16 {
    let flags = segment.flags;
    if typed {
        let usable = flags & (P | S) == P | S;
        // CS may always be read but if it is for execution only; stores through it have a guard of their own.
        let plain_data = flags & (CODE | EXPAND_DOWN | READABLE_OR_WRITABLE) == READABLE_OR_WRITABLE;
        if !usable || !plain_data {
            return WIDE | TIGHT;
        }
    } else if flags & (P | S) != P | S {
        // Left by protected mode with a null selector: loading it in real mode makes it usable again.
        return 0;
    }
    match segment.limit {
        u32::MAX => 0,
        0xffff.. => WIDE,
        _ => WIDE | TIGHT,
    }
}

/// The same for CS, which is read.
fn of_code(segment: &Segment, typed: bool) -> u16 {
    if typed && segment.flags & (CODE | READABLE_OR_WRITABLE) == CODE | READABLE_OR_WRITABLE {
        return of_segment(&Segment { flags: P | S | READABLE_OR_WRITABLE, ..*segment }, true);
    }
    of_segment(segment, typed)
}

impl Cpu {
    /// How addresses are made at CS:RIP.
    pub(super) fn mode(&self) -> Mode {
        let v86 = self.env.r64(off::EFLAGS) & flag::VM != 0;
        let typed = self.env.protected() && !v86;
        let segmented = self.env.code_bits() != 64 && (typed || self.real_limits);
        Mode { cpl: self.env.cpl(), segmented, typed }
    }

    /// After a change of what guards depend on, before the next block is looked for.
    pub fn update_guards(&mut self) {
        let mode = self.mode();
        let mut up = if self.sse_unmasked() { ALIGNED | SSE } else { ALIGNED };
        if mode.segmented {
            for i in [seg::ES, seg::SS, seg::DS, seg::FS, seg::GS] {
                up |= of_segment(&self.env.segment(i), mode.typed) << i;
            }
            up |= of_code(&self.env.segment(seg::CS), mode.typed) << seg::CS;
            if mode.typed {
                up |= CODE_STORE;
            }
        }
        self.guards.up = up;
        let listed = &mut self.guards.listed;
        let number = match listed.iter().position(|set| *set == up) {
            Some(number) => number,
            None if listed.len() < UNLISTED => {
                listed.push(up);
                listed.len() - 1
            }
            None => UNLISTED,
        };
        if number == UNLISTED {
            self.guards.up |= SEGMENTS | SSE;
        }
        let others = self.env.r32(off::HFLAGS) & !HFLAGS;
        self.env.w32(off::HFLAGS, others | (number as u32) << HFLAGS_SHIFT);
    }
}
