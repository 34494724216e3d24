//! Instructions of x87 that are done here for some of their operands, as the engine does them wrong (SDM 2A, each instruction):
//!
//! - FPREM and FPREM1, which it computes with 53 bits instead of exactly;
//! - FYL2X of nothing positive, which it leaves undone, with its operands still on the stack;
//! - FISTTP and FBSTP of what is too large, for which it stores something else than the indefinite value;
//! - FXAM of an empty register, which it takes for what it holds;
//! - FST to an empty register, which it leaves empty;
//! - and those that over- or underflow the stack: [`super::fpu_stack`].

use super::Cpu;
use super::delivery::Fault;
use super::engine::off;
use super::fpu::{CR0_EM_TS, EXCEPTIONS, SUMMARY};
use super::own::Flow;
use iced_x86::{Instruction, Mnemonic, OpKind, Register};

/// Status word.
pub(super) const INVALID: u16 = 1;
const DENORMAL: u16 = 1 << 1;
const ZERO_DIVIDE: u16 = 1 << 2;
pub(super) const C0: u16 = 1 << 8;
pub(super) const C1: u16 = 1 << 9;
pub(super) const C2: u16 = 1 << 10;
pub(super) const C3: u16 = 1 << 14;

/// Why an instruction is done here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It over- or underflows the stack.
    Stack,
    /// FXAM of an empty register.
    Examines,
    /// FST or FSTP to an empty register.
    Fills,
    /// FPREM or FPREM1.
    Remainder,
    /// FYL2X of nothing positive.
    Logarithm,
    /// FISTTP or FBSTP of what is too large.
    TooLarge,
}

/// Whether an instruction may have to be done here whatever is in use of the stack: it must begin a block.
pub fn may_be(insn: &Instruction) -> bool {
    use Mnemonic::*;
    matches!(insn.mnemonic(), Fprem | Fprem1 | Fyl2x | Fisttp | Fbstp)
}

/// A number in the 80-bit format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extended {
    /// Its significand, with the integer bit.
    pub significand: u64,
    /// Its sign and exponent.
    pub sign_exponent: u16,
}

/// The QNaN floating-point indefinite (SDM 1, table 4-3).
pub const INDEFINITE: Extended = Extended { significand: 0xc000_0000_0000_0000, sign_exponent: 0xffff };
const INTEGER_BIT: u64 = 1 << 63;
pub(super) const QUIET_BIT: u64 = 1 << 62;
const BIAS: i32 = 0x3fff;
const EXPONENT: u16 = 0x7fff;

impl Extended {
    fn infinity(negative: bool) -> Extended {
        Extended { significand: INTEGER_BIT, sign_exponent: EXPONENT | u16::from(negative) << 15 }
    }

    fn negative(self) -> bool {
        self.sign_exponent > EXPONENT
    }

    fn exponent(self) -> u16 {
        self.sign_exponent & EXPONENT
    }

    fn is_zero(self) -> bool {
        self.exponent() == 0 && self.significand == 0
    }

    fn is_infinite(self) -> bool {
        self.exponent() == EXPONENT && self.significand == INTEGER_BIT
    }

    fn is_nan(self) -> bool {
        self.exponent() == EXPONENT && self.significand > INTEGER_BIT
    }

    pub(super) fn is_signaling(self) -> bool {
        self.is_nan() && self.significand & QUIET_BIT == 0
    }

    fn is_denormal(self) -> bool {
        self.exponent() == 0 && self.significand != 0
    }

    /// Finite and not zero, and in one of the formats that there are since the 387: exponent and significand, whose
    /// highest bit is set, of a product with 2^-63.
    fn parts(self) -> Option<(i32, u64)> {
        let normal = self.significand & INTEGER_BIT != 0;
        if self.exponent() == EXPONENT || self.significand == 0 || (self.exponent() != 0 && !normal) {
            return None;
        }
        let shift = self.significand.leading_zeros();
        Some((i32::from(self.exponent().max(1)) - BIAS - shift as i32, self.significand << shift))
    }

    /// What has this sign, and these parts. `significand` may have any highest bit, and no bit is lost below the smallest number.
    fn of_parts(negative: bool, exponent: i32, significand: u128) -> Extended {
        let sign = u16::from(negative) << 15;
        if significand == 0 {
            return Extended { significand: 0, sign_exponent: sign };
        }
        let shift = significand.leading_zeros() as i32 - 64;
        let (biased, wide) = (exponent + BIAS - shift, significand << (shift + 64) >> 64);
        if biased > 0 {
            return Extended { significand: wide as u64, sign_exponent: sign | biased as u16 };
        }
        Extended { significand: (wide >> (1 - biased)) as u64, sign_exponent: sign }
    }

    /// Whether its integer part does not fit into so many bits.
    fn exceeds(self, bits: i32) -> bool {
        let exponent = i32::from(self.exponent()) - BIAS;
        // The most negative integer is one more than the most positive.
        let fits =
            self.negative() && exponent == bits - 1 && self.significand >> (64 - bits) == 1 << (bits - 1);
        exponent >= bits - 1 && !fits
    }

    /// Whether its integer part has more than 18 decimal digits.
    fn exceeds_decimal(self) -> bool {
        let exponent = i32::from(self.exponent()) - BIAS;
        exponent >= 60 || (exponent == 59 && self.significand >> 4 >= 1_000_000_000_000_000_000)
    }
}

/// What an operation gives, and the exceptions that it has.
type Outcome<T> = (T, u16);

/// The NaN that an operation on these has for its result, if one of them is one.
fn propagated(a: Extended, b: Extended) -> Option<Outcome<Extended>> {
    let quiet = |nan: Extended| Extended { significand: nan.significand | QUIET_BIT, ..nan };
    let invalid = if a.is_signaling() || b.is_signaling() { INVALID } else { 0 };
    let nan = match (a.is_nan(), b.is_nan()) {
        // Of two, the one with the larger significand (SDM 1, table 4-7).
        (true, true) => {
            if b.significand > a.significand {
                b
            } else {
                a
            }
        }
        (true, false) => a,
        (false, true) => b,
        (false, false) => return None,
    };
    Some((quiet(nan), invalid))
}

/// What FPREM and FPREM1 give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Remainder {
    value: Extended,
    /// The lowest bits of the quotient; `None`: the exponents are too far apart for one pass.
    quotient: Option<u64>,
}

/// The remainder of `a` by `b`, of the quotient that is nearest or of the one towards zero. `Err`: there is none.
fn remainder(a: Extended, b: Extended, nearest: bool) -> Result<Outcome<Remainder>, Outcome<Extended>> {
    if let Some(nan) = propagated(a, b) {
        return Err(nan);
    }
    let denormal = if a.is_denormal() || b.is_denormal() { DENORMAL } else { 0 };
    match (a.parts(), b.parts()) {
        (Some(parts), Some(divisor)) => Ok((divided(a.negative(), parts, divisor, nearest), denormal)),
        (Some(_), None) if b.is_infinite() => Ok((Remainder { value: a, quotient: Some(0) }, denormal)),
        (None, _) if a.is_zero() && (b.is_infinite() || b.parts().is_some()) => {
            Ok((Remainder { value: a, quotient: Some(0) }, denormal))
        }
        _ => Err((INDEFINITE, INVALID)),
    }
}

/// The same of numbers that are finite and not zero.
fn divided(negative: bool, (ea, sa): (i32, u64), (eb, sb): (i32, u64), nearest: bool) -> Remainder {
    let apart = ea - eb;
    if apart < -1 || (apart < 0 && !nearest) {
        return Remainder { value: Extended::of_parts(negative, ea, sa.into()), quotient: Some(0) };
    }
    let (sa, sb) = (u128::from(sa), u128::from(sb));
    if apart < 0 {
        // Half the divisor or more: the quotient is 0 or 1.
        let one = sa > sb;
        let rest = if one { 2 * sb - sa } else { sa };
        let value = Extended::of_parts(negative != one, ea, rest);
        return Remainder { value, quotient: Some(one.into()) };
    }
    let complete = apart < 64;
    let passes = if complete { apart } else { 32 + apart % 32 };
    let (mut rest, mut quotient) = (sa, 0u64);
    for pass in 0..=passes {
        if pass != 0 {
            rest <<= 1;
            quotient <<= 1;
        }
        if rest >= sb {
            rest -= sb;
            quotient |= 1;
        }
    }
    let up = complete && nearest && (2 * rest > sb || (2 * rest == sb && quotient & 1 != 0));
    let rest = if up { sb - rest } else { rest };
    let quotient = quotient.wrapping_add(up.into());
    // Zero has the dividend's sign.
    let value = Extended::of_parts(negative != (up && rest != 0), eb + apart - passes, rest);
    Remainder { value, quotient: complete.then_some(quotient) }
}

/// `y` times the binary logarithm of `x`, which is not positive.
fn logarithm(y: Extended, x: Extended) -> Outcome<Extended> {
    if let Some(nan) = propagated(y, x) {
        return nan;
    }
    if !x.is_zero() || y.is_zero() {
        return (INDEFINITE, INVALID);
    }
    (Extended::infinity(!y.negative()), if y.is_infinite() { 0 } else { ZERO_DIVIDE })
}

impl Cpu {
    /// The instruction at RIP, if it is one of x87 that is to be done here, and why.
    pub fn x87_by_hand(&self) -> Option<(Instruction, Why)> {
        use Mnemonic::*;
        if self.env.r64(off::CR) & CR0_EM_TS != 0 {
            return None;
        }
        let insn = self.instruction()?;
        let to_register = insn.op0_kind() == OpKind::Register;
        let lacks = self.lacks_stack_of(&insn)?;
        let top = self.st(0);
        let why = match insn.mnemonic() {
            Fxam if lacks => Why::Examines,
            Fst | Fstp | Fstpnce if lacks && to_register && self.is_used(0) => Why::Fills,
            _ if lacks => Why::Stack,
            Fprem | Fprem1 => Why::Remainder,
            Fyl2x if top.is_zero() || top.negative() || top.is_nan() => Why::Logarithm,
            Fisttp if top.exceeds(8 * insn.memory_size().size() as i32) => Why::TooLarge,
            Fbstp if top.exceeds_decimal() => Why::TooLarge,
            _ => return None,
        };
        Some((insn, why))
    }

    /// Does what that instruction does.
    pub fn execute_x87(&mut self, insn: &Instruction, why: Why) -> Result<Flow, Fault> {
        match why {
            Why::Stack => self.fault_on_stack(insn)?,
            Why::Examines => {
                let sign = if self.st(0).negative() { C1 } else { 0 };
                self.set_conditions(C0 | C1 | C2 | C3, C3 | C0 | sign);
            }
            Why::Fills => {
                self.set_conditions(C1, 0);
                self.set_st(insn.op0_register() as u32 - Register::ST0 as u32, self.st(0));
                if insn.mnemonic() != Mnemonic::Fst {
                    self.pop_st();
                }
            }
            Why::Remainder => self.remainder(insn.mnemonic() == Mnemonic::Fprem1),
            Why::Logarithm => {
                let (value, exceptions) = logarithm(self.st(1), self.st(0));
                self.set_conditions(C1, 0);
                if self.raise_x87(exceptions) {
                    self.pop_st();
                    self.set_st(0, value);
                }
            }
            Why::TooLarge => {
                let masked = self.masks_x87(INVALID);
                self.touch_operand(insn, masked)?;
                self.set_conditions(C1, 0);
                if self.raise_x87(INVALID) {
                    self.store_indefinite(insn)?;
                    self.pop_st();
                }
            }
        }
        Ok(Flow::Next)
    }

    fn remainder(&mut self, nearest: bool) {
        match remainder(self.st(0), self.st(1), nearest) {
            Ok((remainder, exceptions)) => {
                if !self.raise_x87(exceptions) {
                    return;
                }
                self.set_st(0, remainder.value);
                let bit = |q: u64, bit: u64, condition: u16| if q & bit != 0 { condition } else { 0 };
                let of = |q: u64| bit(q, 4, C0) | bit(q, 2, C3) | bit(q, 1, C1);
                self.set_conditions(C0 | C1 | C2 | C3, remainder.quotient.map_or(C2, of));
            }
            Err((value, exceptions)) => {
                self.set_conditions(C1, 0);
                if self.raise_x87(exceptions) {
                    self.set_st(0, value);
                }
            }
        }
    }

    /// Sets the condition codes among `which` to `value`.
    pub(super) fn set_conditions(&self, which: u16, value: u16) {
        self.env.w16(off::FPUS, self.env.r16(off::FPUS) & !which | value);
    }

    /// Whether exceptions of these kinds are masked.
    pub(super) fn masks_x87(&self, exceptions: u16) -> bool {
        exceptions & EXCEPTIONS & !self.env.r16(off::FPUC) == 0
    }

    /// Notes exceptions. Whether the instruction goes on: all of them are masked.
    pub(super) fn raise_x87(&mut self, exceptions: u16) -> bool {
        if exceptions & ZERO_DIVIDE != 0 {
            self.see_zero_divide();
        }
        let masked = self.masks_x87(exceptions);
        let status = self.env.r16(off::FPUS) | exceptions;
        self.env.w16(off::FPUS, if masked { status } else { status | SUMMARY });
        masked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREE: Extended = Extended { significand: 0xc000_0000_0000_0000, sign_exponent: 0x4000 };

    fn two_to(exponent: i32) -> Extended {
        Extended::of_parts(false, exponent, INTEGER_BIT.into())
    }

    fn bits(value: Extended) -> (u16, u64) {
        (value.sign_exponent, value.significand)
    }

    /// What processors give.
    #[test]
    fn remainders_are_exact() {
        // (dividend, divisor, nearest, remainder, lowest bits of the quotient)
        let minus = |value: Extended| Extended { sign_exponent: value.sign_exponent | 0x8000, ..value };
        // 1e15 and 0.3, as nearest in the format.
        let fifteen = Extended { significand: 0xe35f_a931_a000_0000, sign_exponent: 0x4030 };
        let three_tenths = Extended { significand: 0x9999_9999_9999_999a, sign_exponent: 0x3ffd };
        let cases = [
            (fifteen, three_tenths, false, (0x3ffb, 0xccb9_da29_5dff_7778), Some(5)),
            (two_to(64), THREE, false, (0x3fff, INTEGER_BIT), Some(5)),
            (two_to(63), THREE, true, (0xbfff, INTEGER_BIT), Some(3)),
            (two_to(100), THREE, false, (0x403f, INTEGER_BIT), None),
            (two_to(1), THREE, true, (0xbfff, INTEGER_BIT), Some(1)),
            (two_to(1), THREE, false, (0x4000, INTEGER_BIT), Some(0)),
            (minus(two_to(1)), two_to(0), false, (0x8000, 0), Some(2)),
            (THREE, two_to(1), true, (0xbfff, INTEGER_BIT), Some(2)),
        ];
        for (a, b, nearest, value, quotient) in cases {
            let (got, exceptions) = remainder(a, b, nearest).unwrap();
            assert_eq!(exceptions, 0);
            assert_eq!((bits(got.value), got.quotient.map(|q| q & 7)), (value, quotient), "{a:x?} {b:x?}");
        }
    }

    #[test]
    fn remainders_of_denormals_are_denormals() {
        let denormal = |significand| Extended { significand, sign_exponent: 0 };
        let given = |nearest| {
            let (got, exceptions) = remainder(denormal(0x60), denormal(0x40), nearest).unwrap();
            (bits(got.value), got.quotient, exceptions)
        };
        assert_eq!(given(false), ((0, 0x20), Some(1), DENORMAL));
        assert_eq!(given(true), ((0x8000, 0x20), Some(2), DENORMAL));
    }

    #[test]
    fn remainders_that_there_are_not() {
        let (zero, infinity) = (Extended::of_parts(false, 0, 0), Extended::infinity(false));
        assert_eq!(remainder(THREE, zero, false), Err((INDEFINITE, INVALID)));
        assert_eq!(remainder(zero, zero, false), Err((INDEFINITE, INVALID)));
        assert_eq!(remainder(infinity, THREE, true), Err((INDEFINITE, INVALID)));
        assert_eq!(remainder(INDEFINITE, THREE, true), Err((INDEFINITE, 0)));
        let itself = |value| Ok((Remainder { value, quotient: Some(0) }, 0));
        assert_eq!(remainder(THREE, infinity, false), itself(THREE));
        assert_eq!(remainder(zero, THREE, false), itself(zero));
    }

    #[test]
    fn logarithms_of_nothing_positive() {
        let (zero, minus_one) =
            (Extended::of_parts(false, 0, 0), Extended::of_parts(true, 0, INTEGER_BIT.into()));
        assert_eq!(logarithm(THREE, zero), (Extended::infinity(true), ZERO_DIVIDE));
        assert_eq!(logarithm(minus_one, zero), (Extended::infinity(false), ZERO_DIVIDE));
        assert_eq!(logarithm(Extended::infinity(true), zero), (Extended::infinity(false), 0));
        assert_eq!(logarithm(zero, zero), (INDEFINITE, INVALID));
        assert_eq!(logarithm(THREE, minus_one), (INDEFINITE, INVALID));
        assert_eq!(logarithm(INDEFINITE, minus_one), (INDEFINITE, 0));
    }

    #[test]
    fn integers_that_are_too_large() {
        let minus = |exponent, significand: u64| Extended::of_parts(true, exponent, significand.into());
        assert!(two_to(31).exceeds(32) && !two_to(30).exceeds(32));
        // -2^31 and a fraction more fit, -2^31 - 1 does not.
        assert!(!minus(31, INTEGER_BIT).exceeds(32) && !minus(31, INTEGER_BIT | 1).exceeds(32));
        assert!(minus(31, INTEGER_BIT | 1 << 32).exceeds(32));
        assert!(!minus(63, INTEGER_BIT).exceeds(64) && minus(63, INTEGER_BIT | 1).exceeds(64));
        assert!(INDEFINITE.exceeds(64) && Extended::infinity(true).exceeds(16));
    }
}
