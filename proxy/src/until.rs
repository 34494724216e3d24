//! `--until`: conditions that end a recording.

use crate::units::{parse_count, parse_time_ns};
use std::fmt;
use std::str::FromStr;

/// A condition that ends a recording when it first holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Until {
    /// The position is reached, exactly.
    Insns(u64),
    /// The virtual time, in ns since power-on, is reached.
    TimeNs(u64),
    /// The guest wrote this text to a serial port or a debug console.
    Console(String),
    /// This text is on the screen.
    Screen(String),
    /// The guest powers off. It ends every recording; said to make it plain that nothing else should.
    PowerOff,
}

impl FromStr for Until {
    type Err = String;

    fn from_str(text: &str) -> Result<Until, String> {
        match text.split_once('=') {
            Some(("insns", n)) => Ok(Until::Insns(parse_count(n)?)),
            Some(("time", t)) => Ok(Until::TimeNs(parse_time_ns(t)?)),
            Some(("console", "")) => Err("console= needs a text to wait for".into()),
            Some(("console", t)) => Ok(Until::Console(t.to_owned())),
            Some(("screen", "")) => Err("screen= needs a text to wait for".into()),
            Some(("screen", t)) => Ok(Until::Screen(t.to_owned())),
            None if text == "poweroff" => Ok(Until::PowerOff),
            _ => Err(format!(
                "`{text}` is no condition; there are insns=N, time=SECONDS, console=TEXT, screen=TEXT and poweroff"
            )),
        }
    }
}

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Until::Insns(n) => write!(f, "insns={n}"),
            Until::TimeNs(ns) => write!(f, "time={}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000),
            Until::Console(text) => write!(f, "console={text}"),
            Until::Screen(text) => write!(f, "screen={text}"),
            Until::PowerOff => f.write_str("poweroff"),
        }
    }
}

/// Finds a text in a stream that comes in pieces.
#[derive(Clone, Debug)]
pub struct Finder {
    needle: Vec<u8>,
    tail: Vec<u8>,
}

impl Finder {
    /// A finder of `needle`, which is not empty.
    pub fn new(needle: &[u8]) -> Finder {
        Finder { needle: needle.to_vec(), tail: Vec::new() }
    }

    /// Takes the next piece; how many of its bytes end the first occurrence, if there is one.
    pub fn feed(&mut self, piece: &[u8]) -> Option<usize> {
        let carried = self.tail.len();
        self.tail.extend_from_slice(piece);
        let found = self.tail.windows(self.needle.len().max(1)).position(|w| w == self.needle);
        let end = found.map(|at| at + self.needle.len() - carried);
        let keep = self.needle.len().saturating_sub(1).min(self.tail.len());
        self.tail.drain(..self.tail.len() - keep);
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read_and_shown() {
        for text in ["insns=1000", "time=2.500000000", "console=login: =x", "screen=boot: ", "poweroff"] {
            assert_eq!(text.parse::<Until>().unwrap().to_string(), text);
        }
        assert_eq!("insns=0x10".parse(), Ok(Until::Insns(16)));
    }

    #[test]
    fn other_conditions_are_refused_with_the_list_of_those_there_are() {
        for bad in ["", "insns", "insns=", "time=x", "console=", "poweroff=1", "screen="] {
            assert!(bad.parse::<Until>().is_err(), "{bad}");
        }
        assert!("x".parse::<Until>().unwrap_err().contains("console=TEXT"));
    }

    #[test]
    fn a_text_is_found_across_pieces_and_only_once() {
        let mut finder = Finder::new(b"login:");
        assert_eq!(finder.feed(b"xx lo"), None);
        assert_eq!(finder.feed(b"gin"), None);
        assert_eq!(finder.feed(b": root"), Some(1));
        assert_eq!(finder.feed(b"log"), None);
        assert_eq!(finder.feed(b"log"), None);
        assert_eq!(finder.feed(b"in:"), Some(3));
    }
}
