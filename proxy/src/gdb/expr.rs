//! Conditions as a user writes them behind `monitor break ADDR if`: registers, numbers, memory, and C's operators on
//! unsigned 64-bit numbers.

use super::regs::Layout;
use super::scope::{NoValue, Scope};
use crate::units::parse_count;

/// How deep brackets may be nested.
const MOST_DEPTH: u32 = 64;

/// An expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    /// A number.
    Number(u64),
    /// A register by number.
    Register(usize),
    /// So many bytes at an address.
    Memory(usize, Box<Expr>),
    /// An operator before its operand.
    Unary(char, Box<Expr>),
    /// An operator between its operands.
    Binary(&'static str, Box<Expr>, Box<Expr>),
}

/// Operators between two operands, by how strongly they bind: each group stronger than the one before.
const OPERATORS: [&[&str]; 10] = [
    &["||"],
    &["&&"],
    &["|"],
    &["^"],
    &["&"],
    &["==", "!="],
    &["<=", ">=", "<", ">"],
    &["<<", ">>"],
    &["+", "-"],
    &["*", "/", "%"],
];
/// Registers with an `r` or `e` before their names, by the names of their lower halves.
const WORDS: [&str; 8] = ["ax", "bx", "cx", "dx", "si", "di", "bp", "sp"];
/// Those that begin like a shorter one.
const LONG: [&str; 8] = ["||", "&&", "==", "!=", "<=", ">=", "<<", ">>"];

const HELP: &str = "write for example: $rax == 5 && u32[$rsp + 8] != 0";

impl Expr {
    /// Reads an expression; the error says what is wrong with it.
    pub fn parse(text: &str, layout: &Layout) -> Result<Expr, String> {
        let mut parser = Parser { rest: text, layout, depth: 0 };
        let expr = parser.binary(0)?;
        match parser.rest.trim_start() {
            "" => Ok(expr),
            rest => Err(format!("`{rest}` was not expected; {HELP}")),
        }
    }

    /// Its value.
    pub fn value(&self, scope: &Scope<'_>) -> Result<u64, NoValue> {
        match self {
            Expr::Number(n) => Ok(*n),
            Expr::Register(number) => scope.register(*number),
            Expr::Memory(size, addr) => scope.memory(addr.value(scope)?, *size),
            Expr::Unary(operator, operand) => {
                let a = operand.value(scope)?;
                Ok(match operator {
                    '-' => a.wrapping_neg(),
                    '~' => !a,
                    _ => u64::from(a == 0),
                })
            }
            Expr::Binary("||", a, b) => Ok(u64::from(a.value(scope)? != 0 || b.value(scope)? != 0)),
            Expr::Binary("&&", a, b) => Ok(u64::from(a.value(scope)? != 0 && b.value(scope)? != 0)),
            Expr::Binary(operator, a, b) => binary(operator, a.value(scope)?, b.value(scope)?),
        }
    }
}

fn binary(operator: &str, a: u64, b: u64) -> Result<u64, NoValue> {
    let bits = u32::try_from(b).unwrap_or(u32::MAX);
    Ok(match operator {
        "|" => a | b,
        "^" => a ^ b,
        "&" => a & b,
        "==" => u64::from(a == b),
        "!=" => u64::from(a != b),
        "<" => u64::from(a < b),
        ">" => u64::from(a > b),
        "<=" => u64::from(a <= b),
        ">=" => u64::from(a >= b),
        "<<" => a.checked_shl(bits).unwrap_or(0),
        ">>" => a.checked_shr(bits).unwrap_or(0),
        "+" => a.wrapping_add(b),
        "-" => a.wrapping_sub(b),
        "*" => a.wrapping_mul(b),
        "/" => a.checked_div(b).ok_or(NoValue::DivisionByZero)?,
        _ => a.checked_rem(b).ok_or(NoValue::DivisionByZero)?,
    })
}

/// The register of which `name` is a part, without the letter in front, and which part: the lowest bit, and how many.
fn whole_of(name: &str) -> Option<(String, u64, u32)> {
    for word in WORDS {
        let (low, high) = match word.strip_suffix('x') {
            Some(letter) => (format!("{letter}l"), format!("{letter}h")),
            None => (format!("{word}l"), String::new()),
        };
        let parts = [(format!("e{word}"), 0, 32), (word.to_owned(), 0, 16), (low, 0, 8), (high, 8, 8)];
        if let Some((_, shift, bits)) = parts.into_iter().find(|(part, ..)| part == name) {
            return Some((word.to_owned(), shift, bits));
        }
    }
    let (number, bits) = [("d", 32), ("w", 16), ("l", 8), ("b", 8)]
        .into_iter()
        .find_map(|(suffix, bits)| Some((name.strip_prefix('r')?.strip_suffix(suffix)?, bits)))?;
    Some((number.to_owned(), 0, bits))
}

struct Parser<'a> {
    rest: &'a str,
    layout: &'a Layout,
    depth: u32,
}

impl Parser<'_> {
    fn binary(&mut self, level: usize) -> Result<Expr, String> {
        let Some(operators) = OPERATORS.get(level) else { return self.operand() };
        let mut left = self.binary(level + 1)?;
        while let Some(operator) = self.operator(operators) {
            let right = self.binary(level + 1)?;
            left = Expr::Binary(operator, Box::new(left), Box::new(right));
        }
        Ok(left)
    }

    /// The operator that comes next, if it is one of these.
    fn operator(&mut self, operators: &[&'static str]) -> Option<&'static str> {
        let rest = self.rest.trim_start();
        let long = LONG.into_iter().find(|long| rest.starts_with(long));
        let found = *operators.iter().find(|operator| match long {
            Some(long) => **operator == long,
            None => rest.starts_with(**operator),
        })?;
        self.rest = &rest[found.len()..];
        Some(found)
    }

    fn operand(&mut self) -> Result<Expr, String> {
        self.depth += 1;
        if self.depth > MOST_DEPTH {
            return Err("the expression is nested too deeply".into());
        }
        let rest = self.rest.trim_start();
        let expr = match rest.chars().next() {
            Some(operator @ ('-' | '~' | '!')) => {
                self.rest = &rest[1..];
                Expr::Unary(operator, Box::new(self.operand()?))
            }
            Some('(') => {
                self.rest = &rest[1..];
                let inner = self.binary(0)?;
                self.closing(')')?;
                inner
            }
            _ => self.word(rest)?,
        };
        self.depth -= 1;
        Ok(expr)
    }

    /// A number, a register, or the size of what is in memory.
    fn word(&mut self, rest: &str) -> Result<Expr, String> {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$';
        let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(length);
        // The lifetimes of `rest` and `self.rest` are not the same to the compiler.
        self.rest = &self.rest[self.rest.len() - after.len()..];
        let size = match word {
            "u8" => 1,
            "u16" => 2,
            "u32" => 4,
            "u64" => 8,
            "" if rest.is_empty() => return Err(format!("something is missing at the end; {HELP}")),
            "" => return Err(format!("`{rest}` was not expected; {HELP}")),
            _ if word.starts_with(|c: char| c.is_ascii_digit()) => {
                return parse_count(word).map(Expr::Number);
            }
            _ => return self.register(word),
        };
        if !after.trim_start().starts_with('[') {
            return Err(format!("write an address behind {word}: {word}[$rsp]"));
        }
        self.rest = &self.rest.trim_start()[1..];
        let addr = self.binary(0)?;
        self.closing(']')?;
        Ok(Expr::Memory(size, Box::new(addr)))
    }

    fn register(&self, word: &str) -> Result<Expr, String> {
        let name = word.trim_start_matches('$');
        let known = |name: &str| self.layout.regs.iter().position(|r| r.name == name);
        let number = match name {
            "pc" => known("rip").or_else(|| known("eip")),
            "sp" => known("rsp").or_else(|| known("esp")),
            _ => known(name),
        };
        number.map(Expr::Register).or_else(|| self.part(name)).ok_or_else(|| {
            format!("there is no register `{name}` here; symbols are known to the debugger only")
        })
    }

    /// A part of a register, by its name in assembly or in GDB: `al`, `ah`, `ax`, `eax` in 64-bit code, `r8d`.
    fn part(&self, name: &str) -> Option<Expr> {
        let (whole, shift, bits) = whole_of(name)?;
        let names = [format!("r{whole}"), format!("e{whole}")];
        let number = self.layout.regs.iter().position(|register| names.contains(&register.name))?;
        let shifted = Expr::Binary(">>", Box::new(Expr::Register(number)), Box::new(Expr::Number(shift)));
        Some(Expr::Binary("&", Box::new(shifted), Box::new(Expr::Number((1 << bits) - 1))))
    }

    fn closing(&mut self, bracket: char) -> Result<(), String> {
        match self.rest.trim_start().strip_prefix(bracket) {
            Some(rest) => {
                self.rest = rest;
                Ok(())
            }
            None => Err(format!("`{bracket}` is missing; {HELP}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gdb::arch::Width;
    use crate::gdb::fake::FakeHistory;
    use crate::gdb::history::History;
    use vm::Icount;

    fn value(text: &str) -> Result<u64, String> {
        let history = FakeHistory::new(10);
        let layout = Layout::new(Width::Bits64);
        Expr::parse(text, &layout)?.value(&Scope::new(&history, &layout)).map_err(|e| e.to_string())
    }

    #[test]
    fn operators_bind_as_in_c() {
        for (text, expected) in [
            ("1 + 2 * 3", 7),
            ("(1 + 2) * 3", 9),
            ("10 - 4 - 3", 3),
            ("1 | 6 & 3", 3),
            ("5 == 5 && 2 < 1", 0),
            ("1 << 4 >> 2", 4),
            ("0x10", 16),
            ("!0 + ~0", 0),
            ("-1 > 5", 1),
            ("1&&0||1", 1),
            ("7 % 4 <= 3", 1),
            ("$pc", 0x1000),
            ("rip + 1", 0x1001),
            ("u8[0x2000]", 0x90),
            ("u16[ $pc ] == 0x9090", 1),
            ("1 || u8[0x9999]", 1),
            ("1 << 64", 0),
        ] {
            assert_eq!(value(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn parts_of_registers_have_their_names() {
        // RAX is the position.
        let mut history = FakeHistory::new(1 << 36);
        history.seek(Icount(0x1_2345_6789), &mut || false).unwrap();
        for (width, parts) in [
            (Width::Bits64, &[("$al", 0x89), ("$ah", 0x67), ("$ax", 0x6789), ("$eax", 0x2345_6789)][..]),
            (Width::Bits32, &[("$al", 0x89), ("ah", 0x67), ("$ax", 0x6789), ("$eax", 0x2345_6789)]),
            (Width::Bits16, &[("$al", 0x89), ("$ah + $al", 0xf0)]),
        ] {
            let layout = Layout::new(width);
            let scope = Scope::new(&history, &layout);
            for (text, expected) in parts {
                assert_eq!(Expr::parse(text, &layout).unwrap().value(&scope), Ok(*expected), "{text}");
            }
        }
        let long = Layout::new(Width::Bits64);
        for name in ["$bh", "$sil", "$spl", "$r8d", "$r15w", "$r9b", "$r10l", "$ebp"] {
            assert!(Expr::parse(name, &long).is_ok(), "{name}");
        }
        for name in ["$r8d", "$r16d", "$sih", "$rad", "$xl", "$rl", "$r"] {
            assert!(Expr::parse(name, &Layout::new(Width::Bits32)).is_err(), "{name}");
        }
    }

    #[test]
    fn mistakes_are_explained() {
        for (text, says) in [
            ("", "missing at the end"),
            ("1 +", "missing at the end"),
            ("jiffies > 3", "no register `jiffies`"),
            ("u32", "u32[$rsp]"),
            ("u8[1", "`]` is missing"),
            ("(1", "`)` is missing"),
            ("1 2", "`2` was not expected"),
            ("1 = 2", "`= 2` was not expected"),
            ("1 / 0", "division by zero"),
            ("u64[0x2ffc]", "0x3000 is not mapped"),
            ("99999999999999999999", "is no number"),
            ("é", "was not expected"),
        ] {
            let error = value(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
        assert!(value(&"(".repeat(100_000)).unwrap_err().contains("too deeply"));
        assert!(value(&"-".repeat(100_000)).unwrap_err().contains("too deeply"));
    }
}
