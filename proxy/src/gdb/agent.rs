//! Conditions as GDB sends them: the bytecode of its agent expressions (GDB manual, appendix "The GDB Agent Expression
//! Mechanism"). A stack machine of 64-bit words.

use super::scope::{NoValue, Scope};

/// Operations after which an expression counts as endless.
const MOST_OPERATIONS: u32 = 10_000;
/// Most words on the stack.
const MOST_WORDS: usize = 1_000;
/// Longest expression in bytes.
pub const MOST_BYTES: usize = 4_096;

struct Run<'a> {
    code: &'a [u8],
    at: usize,
    stack: Vec<u64>,
}

const TRUNCATED: NoValue = NoValue::Bytecode("it ends early");
const EMPTY: NoValue = NoValue::Bytecode("too little is on the stack");

impl Run<'_> {
    /// The operand of `size` bytes behind an operation, most significant byte first.
    fn operand(&mut self, size: usize) -> Result<u64, NoValue> {
        let bytes = self.code.get(self.at..self.at + size).ok_or(TRUNCATED)?;
        self.at += size;
        Ok(bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn pop(&mut self) -> Result<u64, NoValue> {
        self.stack.pop().ok_or(EMPTY)
    }

    fn push(&mut self, value: u64) -> Result<(), NoValue> {
        if self.stack.len() >= MOST_WORDS {
            return Err(NoValue::Bytecode("too much is on the stack"));
        }
        self.stack.push(value);
        Ok(())
    }

    /// An operation on the two topmost words, the lower one first.
    fn two(&mut self, operation: impl FnOnce(u64, u64) -> Result<u64, NoValue>) -> Result<(), NoValue> {
        let (b, a) = (self.pop()?, self.pop()?);
        self.push(operation(a, b)?)
    }

    fn one(&mut self, operation: impl FnOnce(u64) -> u64) -> Result<(), NoValue> {
        let a = self.pop()?;
        self.push(operation(a))
    }

    fn jump(&mut self) -> Result<usize, NoValue> {
        self.operand(2).map(|to| to as usize)
    }

    fn memory(&mut self, scope: &Scope<'_>, size: usize) -> Result<(), NoValue> {
        let addr = self.pop()?;
        self.push(scope.memory(addr, size)?)
    }
}

/// The value of an expression: what is on top of the stack at its end.
pub fn evaluate(code: &[u8], scope: &Scope<'_>) -> Result<u64, NoValue> {
    let mut run = Run { code, at: 0, stack: Vec::new() };
    for _ in 0..MOST_OPERATIONS {
        let operation = run.operand(1)?;
        match operation {
            0x02 => run.two(|a, b| Ok(a.wrapping_add(b)))?,
            0x03 => run.two(|a, b| Ok(a.wrapping_sub(b)))?,
            0x04 => run.two(|a, b| Ok(a.wrapping_mul(b)))?,
            0x05 => run.two(|a, b| signed(a, b, i64::checked_div, a))?,
            0x06 => run.two(|a, b| a.checked_div(b).ok_or(NoValue::DivisionByZero))?,
            0x07 => run.two(|a, b| signed(a, b, i64::checked_rem, 0))?,
            0x08 => run.two(|a, b| a.checked_rem(b).ok_or(NoValue::DivisionByZero))?,
            0x09 => run.two(|a, b| Ok(shift(a, b, u64::checked_shl, 0)))?,
            0x0a => run.two(|a, b| Ok((a as i64 >> b.min(63)) as u64))?,
            0x0b => run.two(|a, b| Ok(shift(a, b, u64::checked_shr, 0)))?,
            0x0e => run.one(|a| u64::from(a == 0))?,
            0x0f => run.two(|a, b| Ok(a & b))?,
            0x10 => run.two(|a, b| Ok(a | b))?,
            0x11 => run.two(|a, b| Ok(a ^ b))?,
            0x12 => run.one(|a| !a)?,
            0x13 => run.two(|a, b| Ok(u64::from(a == b)))?,
            0x14 => run.two(|a, b| Ok(u64::from((a as i64) < b as i64)))?,
            0x15 => run.two(|a, b| Ok(u64::from(a < b)))?,
            0x16 => {
                let unused = unused_bits(run.operand(1)?);
                run.one(|a| ((a << unused) as i64 >> unused) as u64)?;
            }
            0x17 => run.memory(scope, 1)?,
            0x18 => run.memory(scope, 2)?,
            0x19 => run.memory(scope, 4)?,
            0x1a => run.memory(scope, 8)?,
            0x20 => {
                let to = run.jump()?;
                if run.pop()? != 0 {
                    run.at = to;
                }
            }
            0x21 => run.at = run.jump()?,
            0x22..=0x25 => {
                let value = run.operand(1 << (operation - 0x22))?;
                run.push(value)?;
            }
            0x26 => {
                let number = run.operand(2)?;
                run.push(scope.register(number as usize)?)?;
            }
            0x27 => return run.pop(),
            0x28 => {
                let top = *run.stack.last().ok_or(EMPTY)?;
                run.push(top)?;
            }
            0x29 => drop(run.pop()?),
            0x2a => {
                let unused = unused_bits(run.operand(1)?);
                run.one(|a| a << unused >> unused)?;
            }
            0x2b => {
                let (b, a) = (run.pop()?, run.pop()?);
                run.push(b)?;
                run.push(a)?;
            }
            0x32 => {
                let depth = run.operand(1)? as usize;
                let at = run.stack.len().checked_sub(depth + 1).ok_or(EMPTY)?;
                run.push(run.stack[at])?;
            }
            0x33 => {
                let (c, b, a) = (run.pop()?, run.pop()?, run.pop()?);
                [c, a, b].into_iter().try_for_each(|word| run.push(word))?;
            }
            // Floating point, and what only tracepoints do.
            _ => return Err(NoValue::Bytecode("an operation that conditions do not have")),
        }
    }
    Err(NoValue::Bytecode("it does not end"))
}

/// A division of signed numbers; `overflow` is the answer to the one that has none (the least number by -1).
fn signed(
    a: u64,
    b: u64,
    divide: impl FnOnce(i64, i64) -> Option<i64>,
    overflow: u64,
) -> Result<u64, NoValue> {
    match b {
        0 => Err(NoValue::DivisionByZero),
        _ => Ok(divide(a as i64, b as i64).map_or(overflow, |value| value as u64)),
    }
}

fn shift(a: u64, b: u64, shift: impl FnOnce(u64, u32) -> Option<u64>, beyond: u64) -> u64 {
    u32::try_from(b).ok().and_then(|bits| shift(a, bits)).unwrap_or(beyond)
}

/// Of a word of which `bits` are used.
fn unused_bits(bits: u64) -> u32 {
    64 - bits.clamp(1, 64) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gdb::arch::Width;
    use crate::gdb::fake::FakeHistory;
    use crate::gdb::regs::Layout;

    fn value(code: &[u8]) -> Result<u64, NoValue> {
        let history = FakeHistory::new(10);
        let layout = Layout::new(Width::Bits64);
        evaluate(code, &Scope::new(&history, &layout))
    }

    #[test]
    fn operations_do_what_the_manual_says() {
        for (code, expected) in [
            (&[0x22, 5, 0x22, 3, 0x03, 0x27][..], 2),
            (&[0x22, 7, 0x22, 2, 0x06, 0x27], 3),
            (&[0x22, 0xff, 0x16, 8, 0x22, 2, 0x05, 0x27], 0),
            (&[0x22, 0xfe, 0x16, 8, 0x22, 1, 0x14, 0x27], 1),
            (&[0x22, 0xfe, 0x16, 8, 0x22, 1, 0x15, 0x27], 0),
            (&[0x23, 0x12, 0x34, 0x2a, 8, 0x27], 0x34),
            (&[0x24, 1, 2, 3, 4, 0x27], 0x0102_0304),
            (&[0x22, 1, 0x22, 64, 0x09, 0x27], 0),
            (&[0x22, 0x80, 0x16, 8, 0x22, 99, 0x0a, 0x27], u64::MAX),
            (&[0x22, 0, 0x0e, 0x27], 1),
            (&[0x22, 1, 0x22, 2, 0x2b, 0x03, 0x27], 1),
            (&[0x22, 9, 0x22, 8, 0x22, 7, 0x32, 2, 0x27], 9),
            (&[0x22, 9, 0x22, 8, 0x22, 7, 0x33, 0x27], 8),
            (&[0x22, 9, 0x28, 0x04, 0x27], 81),
            // if (1) goto 8; 5; end; 6; end
            (&[0x22, 1, 0x20, 0, 8, 0x22, 5, 0x27, 0x22, 6, 0x27], 6),
            (&[0x22, 0, 0x20, 0, 8, 0x22, 5, 0x27, 0x22, 6, 0x27], 5),
            // $pc, and what is there.
            (&[0x26, 0, 16, 0x27], 0x1000),
            (&[0x26, 0, 16, 0x18, 0x27], 0x9090),
        ] {
            assert_eq!(value(code), Ok(expected), "{code:x?}");
        }
    }

    #[test]
    fn what_has_no_value_is_said() {
        assert_eq!(value(&[0x22, 1, 0x22, 0, 0x06, 0x27]), Err(NoValue::DivisionByZero));
        assert_eq!(value(&[0x23, 0x40, 0, 0x19, 0x27]), Err(NoValue::NotMapped(0x4000)));
        assert_eq!(value(&[0x26, 0xff, 0xff, 0x27]), Err(NoValue::NoRegister));
        let least_by_minus_one = [0x25, 0x80, 0, 0, 0, 0, 0, 0, 0, 0x22, 0xff, 0x16, 8, 0x05, 0x27];
        assert_eq!(value(&least_by_minus_one), Ok(1 << 63));
        for wrong in
            [&[][..], &[0x27], &[0x22], &[0x02, 0x27], &[0x21, 0, 0], &[0x0c], &[0x22, 1, 0x28, 0x21, 0, 2]]
        {
            assert!(matches!(value(wrong), Err(NoValue::Bytecode(_))), "{wrong:x?}");
        }
    }
}
