//! MXCSR and the exceptions of SSE (SDM 1, 11.5): the engine's arithmetic notes what it met in a status of its own, and that is
//! all. What it noted is brought into MXCSR before an instruction that reads or writes that. While an exception is not
//! masked, each instruction that may raise it runs alone; if it did, it is undone and raises #XM instead.
//!
//! Denormal operands (DE) are not noted.

use super::Cpu;
use super::delivery::{Fault, vector};
use super::engine::off;
use super::fpu::{CR0_EM_TS, FLAGS};

use iced_x86::{Instruction, Mnemonic};

/// All bits that exist, denormals-are-zeros among them.
const MXCSR_BITS: u32 = 0xffff;
const EXCEPTIONS: u32 = 0x3f;
const MASKS_SHIFT: u32 = 7;
/// PE, in the engine's notes too.
pub(super) const PRECISION: u8 = 0x20;
const UNDERFLOW_AND_PRECISION: u32 = 0x30;
const FLUSH_TO_ZERO: u32 = 1 << 15;
const UNDERFLOW_MASK: u32 = 1 << 11;
/// IE, DE, ZE: found before anything is computed (SDM 1, 11.5.1).
const BEFORE_COMPUTATION: u32 = 7;
/// Of an operand of 16 bytes.
pub const ALIGNMENT: u64 = 16;
/// RAX and RDX.
const LENGTHS: [usize; 2] = [0, 2];
/// Bytes in a register.
const MOST_ELEMENTS: u64 = 16;
const CR4_OSFXSR: u64 = 1 << 9;
const CR4_OSXMMEXCPT: u64 = 1 << 10;
/// The engine's flags that have the same bits in MXCSR.
const SAME: u32 = 0x3d;
/// The engine's flag for a result that was flushed to zero.
const FLUSHED: u32 = 1 << 7;
/// Where the engine's floating-point status says that results are flushed to zero.
const STATUS_FLUSH: usize = 4;

/// What an instruction has to do with MXCSR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Use {
    /// It may raise an SSE exception.
    pub computes: bool,
    /// It reads or writes MXCSR.
    pub reads: bool,
    /// It writes MXCSR.
    pub loads: bool,
    /// The engine notes exceptions that it does not have.
    pub quiet: bool,
    /// The engine notes that its result is not exact, which it is not to.
    pub hides_precision: bool,
    /// It compares strings whose lengths are in RAX and RDX.
    pub has_lengths: bool,
    /// It adds or subtracts neighbours in one register twice, of which the engine does the second time with what the first has made.
    pub doubles: bool,
}

impl Use {
    /// Of one instruction.
    pub fn of(insn: &Instruction) -> Use {
        use Mnemonic::*;
        let loads = matches!(insn.mnemonic(), Ldmxcsr | Fxrstor | Fxrstor64);
        let quiet = matches!(insn.mnemonic(), Rcpps | Rcpss | Rsqrtps | Rsqrtss);
        Use {
            computes: computes(insn.mnemonic()) && !insn.is_string_instruction(),
            reads: loads || quiet || matches!(insn.mnemonic(), Stmxcsr | Fxsave | Fxsave64),
            loads,
            quiet,
            hides_precision: hides_precision(insn),
            has_lengths: has_lengths(insn.mnemonic()),
            doubles: doubles(insn),
        }
    }
}

/// Bit 3 of the constant of ROUNDPS and the like (SDM 2B, ROUNDPD).
fn hides_precision(insn: &Instruction) -> bool {
    use Mnemonic::*;
    matches!(insn.mnemonic(), Roundps | Roundpd | Roundss | Roundsd) && insn.immediate8() & 8 != 0
}

fn doubles(insn: &Instruction) -> bool {
    use Mnemonic::*;
    matches!(insn.mnemonic(), Phaddw | Phaddd | Phaddsw | Phsubw | Phsubd | Phsubsw)
        && insn.op_register(0) == insn.op_register(1)
}

fn has_lengths(mnemonic: Mnemonic) -> bool {
    use Mnemonic::*;
    matches!(mnemonic, Pcmpestri | Pcmpestri64 | Pcmpestrm | Pcmpestrm64)
}

/// Instructions with SIMD floating-point exceptions (SDM 1, appendix E).
fn computes(mnemonic: Mnemonic) -> bool {
    use Mnemonic::*;
    matches!(
        mnemonic,
        Addps
            | Addpd
            | Addss
            | Addsd
            | Subps
            | Subpd
            | Subss
            | Subsd
            | Mulps
            | Mulpd
            | Mulss
            | Mulsd
            | Divps
            | Divpd
            | Divss
            | Divsd
            | Sqrtps
            | Sqrtpd
            | Sqrtss
            | Sqrtsd
            | Minps
            | Minpd
            | Minss
            | Minsd
            | Maxps
            | Maxpd
            | Maxss
            | Maxsd
            | Cmpps
            | Cmppd
            | Cmpss
            | Cmpsd
            | Comiss
            | Comisd
            | Ucomiss
            | Ucomisd
            | Addsubps
            | Addsubpd
            | Haddps
            | Haddpd
            | Hsubps
            | Hsubpd
            | Dpps
            | Dppd
            | Roundps
            | Roundpd
            | Roundss
            | Roundsd
            | Cvtpi2ps
            | Cvtps2pi
            | Cvttps2pi
            | Cvtsi2ss
            | Cvtss2si
            | Cvttss2si
            | Cvtpd2pi
            | Cvttpd2pi
            | Cvtdq2ps
            | Cvtps2dq
            | Cvttps2dq
            | Cvtpd2dq
            | Cvttpd2dq
            | Cvtps2pd
            | Cvtpd2ps
            | Cvtss2sd
            | Cvtsd2ss
            | Cvtsi2sd
            | Cvtsd2si
            | Cvttsd2si
    )
}

/// Whether the operand of an instruction in memory must be aligned to [`ALIGNMENT`] (SDM 1, 10.4.1.1 and 11.3).
pub fn must_be_aligned(insn: &Instruction) -> bool {
    use Mnemonic::*;
    let free =
        matches!(insn.mnemonic(), Movups | Movupd | Movdqu | Lddqu | Maskmovdqu | Pcmpistri | Pcmpistrm)
            || has_lengths(insn.mnemonic());
    let converts = matches!(insn.mnemonic(), Cvtpd2pi | Cvttpd2pi);
    let has_xmm = || (0..insn.op_count()).any(|i| insn.op_register(i).is_xmm());
    insn.memory_size().size() as u64 == ALIGNMENT && !free && (converts || has_xmm())
}

/// The registers before an instruction that may have to be undone, as places and contents in the register file.
#[derive(Debug)]
pub struct Trial(Vec<(usize, u64)>);

/// General registers, RIP and flags; x87 and MMX; XMM.
fn places() -> impl Iterator<Item = usize> {
    let whole = (off::REGS..off::HFLAGS).step_by(8);
    let fpu = (off::FPSTT & !7..off::FPOP).step_by(8);
    let whole = whole.chain([off::MXCSR & !7]);
    let xmm = (0..16).flat_map(|i| [0, 8].map(|half| off::XMM + off::XMM_STRIDE * i + half));
    whole.chain(fpu).chain(xmm)
}

impl Cpu {
    /// Whether an instruction of SSE, if it is one, gets as far as its operand: no #NM and no #UD comes first.
    pub(super) fn has_sse(&self) -> bool {
        let env = &self.env;
        env.r64(off::CR) & CR0_EM_TS == 0 && env.r64(off::CR + 32) & CR4_OSFXSR != 0
    }

    /// MXCSR as an instruction would read it.
    pub(super) fn mxcsr(&self) -> u32 {
        let noted = u32::from(self.noted());
        let flushed = if noted & FLUSHED != 0 { UNDERFLOW_AND_PRECISION } else { 0 };
        self.env.r32(off::MXCSR) | noted & SAME | flushed
    }

    /// Whether an exception is not masked.
    pub(super) fn sse_unmasked(&self) -> bool {
        !self.env.r32(off::MXCSR) >> MASKS_SHIFT & EXCEPTIONS != 0
    }

    /// Brings MXCSR up to date, before an instruction that reads or writes it.
    pub fn update_mxcsr(&mut self) {
        self.env.w32(off::MXCSR, self.mxcsr());
    }

    /// After MXCSR was written: the engine goes on from there.
    pub(super) fn take_mxcsr(&mut self) {
        let mxcsr = self.env.r32(off::MXCSR);
        self.env.w8(off::SSE_STATUS + FLAGS, (mxcsr & SAME) as u8);
        // Flushing is for masked underflow, and not for the x87, where the engine puts it.
        let flush = mxcsr & FLUSH_TO_ZERO != 0 && mxcsr & UNDERFLOW_MASK != 0;
        self.env.w8(off::SSE_STATUS + STATUS_FLUSH, flush.into());
        self.env.w8(off::FP_STATUS + STATUS_FLUSH, 0);
    }

    /// An instruction that loads MXCSR runs.
    pub(super) fn try_load_of_mxcsr(&self) -> Trial {
        self.trial()
    }

    /// It has run: it is undone if it loaded bits that do not exist.
    pub(super) fn end_load_of_mxcsr(&mut self, trial: Trial) -> Option<Fault> {
        let fault = self.env.r32(off::MXCSR) & !MXCSR_BITS != 0;
        if fault {
            self.undo(trial);
        }
        self.take_mxcsr();
        fault.then_some(Fault::protection())
    }

    /// A comparison of strings with explicit lengths runs. Of a length the absolute value counts, up to what a register holds (SDM 2B,
    /// 4.1.1); the engine takes 32 bits of that, as a signed number, and reads beyond the register. It gets the length that it is to
    /// be. What RAX and RDX were, if they are changed.
    pub(super) fn begin_lengths(&self) -> Option<[u64; 2]> {
        let wide = self
            .instruction()
            .is_some_and(|insn| matches!(insn.mnemonic(), Mnemonic::Pcmpestri64 | Mnemonic::Pcmpestrm64));
        let before = LENGTHS.map(|register| self.env.gpr(register));
        let length = |value: u64| {
            if wide { (value as i64).unsigned_abs() } else { (value as i32).unsigned_abs().into() }
        };
        let lengths = before.map(length);
        if lengths.iter().all(|length| *length <= MOST_ELEMENTS) {
            return None;
        }
        LENGTHS
            .iter()
            .zip(lengths)
            .for_each(|(register, length)| self.env.set_gpr(*register, length.min(MOST_ELEMENTS)));
        Some(before)
    }

    /// It has run.
    pub(super) fn end_lengths(&self, before: [u64; 2]) {
        LENGTHS.iter().zip(before).for_each(|(register, value)| self.env.set_gpr(*register, value));
    }

    /// What the engine has noted of SSE exceptions.
    pub(super) fn noted(&self) -> u8 {
        self.env.r8(off::SSE_STATUS + FLAGS)
    }

    /// The bits of `mask` are what they were before.
    pub(super) fn restore_noted(&self, before: u8, mask: u8) {
        self.env.w8(off::SSE_STATUS + FLAGS, self.noted() & !mask | before & mask);
    }

    /// An instruction runs that does the same twice with one register: where that is, and how much of it is one result. `None`: it
    /// raises something.
    pub(super) fn begin_doubling(&self) -> Option<(usize, usize)> {
        let register = self.instruction()?.op0_register();
        if register.is_mm() {
            let raises = self.env.r64(off::CR) & CR0_EM_TS != 0;
            return (!raises).then_some((off::FPREGS + 16 * register.number(), 4));
        }
        self.has_sse().then_some((off::XMM + off::XMM_STRIDE * register.number(), 8))
    }

    /// It has run: the first result is right, and the second is the same.
    pub(super) fn end_doubling(&self, (at, bytes): (usize, usize)) {
        for i in 0..bytes {
            self.env.w8(at + bytes + i, self.env.r8(at + i));
        }
    }

    fn trial(&self) -> Trial {
        Trial(places().map(|place| (place, self.env.r64(place))).collect())
    }

    fn undo(&self, trial: Trial) {
        for (place, value) in trial.0 {
            self.env.w64(place, value);
        }
    }

    /// An instruction runs that may have to be undone.
    pub fn try_sse(&mut self) -> Trial {
        self.update_mxcsr();
        self.env.w8(off::SSE_STATUS + FLAGS, 0);
        self.trial()
    }

    /// It has run: what it raised, if it is undone.
    pub(super) fn end_trial(&mut self, trial: Trial) -> Option<Fault> {
        let before = self.env.r32(off::MXCSR);
        self.env.w32(off::MXCSR, 0);
        let mut met = self.mxcsr();
        let unmasked = !(before >> MASKS_SHIFT) & EXCEPTIONS;
        if met & unmasked & BEFORE_COMPUTATION != 0 {
            met &= BEFORE_COMPUTATION;
        }
        self.env.w32(off::MXCSR, before | met);
        self.take_mxcsr();
        if met & unmasked == 0 {
            return None;
        }
        self.undo(trial);
        // The flags stay.
        self.env.w32(off::MXCSR, before | met);
        let announced = self.env.r64(off::CR + 32) & CR4_OSXMMEXCPT != 0;
        Some(if announced { Fault::new(vector::XM, 0) } else { Fault::undefined() })
    }
}
