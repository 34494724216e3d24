//! Places in a recording as a user names them.

use crate::units::{parse_count, parse_time_ns};
use std::str::FromStr;

/// A place in a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The first position.
    Start,
    /// The last position.
    End,
    /// A position.
    Position(u64),
    /// So many steps after the present position.
    Forward(u64),
    /// So many steps before it.
    Back(u64),
    /// This part of the way from start to end, in millionths.
    Millionths(u64),
    /// The first position at or after this virtual time.
    TimeNs(u64),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        let usage = || {
            format!(
                "`{text}` is no place; write start, end, a position (123456), steps (+10, -10), 50% or a time (1.5s, 20ms)"
            )
        };
        let place = match text {
            "start" | "begin" => Place::Start,
            "end" => Place::End,
            _ if text.starts_with('+') => Place::Forward(parse_count(&text[1..]).map_err(|_| usage())?),
            _ if text.starts_with('-') => Place::Back(parse_count(&text[1..]).map_err(|_| usage())?),
            _ if text.ends_with('%') => {
                Place::Millionths(parse_percent(&text[..text.len() - 1]).ok_or_else(usage)?)
            }
            // Hexadecimal positions end in no `s`, so a time is told by its unit.
            _ if text.ends_with('s') => Place::TimeNs(parse_time_ns(text).map_err(|_| usage())?),
            _ => Place::Position(parse_count(text).map_err(|_| usage())?),
        };
        Ok(place)
    }
}

/// A percentage with at most four decimals, in millionths; at most 100 %.
fn parse_percent(text: &str) -> Option<u64> {
    // A percent is 10^4 millionths as a second is 10^9 ns: the same grammar.
    let scaled =
        text.bytes().all(|b| b.is_ascii_digit() || b == b'.').then(|| parse_time_ns(text).ok())??;
    let millionths = scaled / 100_000;
    (millionths <= 1_000_000).then_some(millionths)
}

impl Place {
    /// The position, if it can be told without virtual time, which [`Place::TimeNs`] needs.
    pub fn position(self, here: u64, end: u64) -> Option<u64> {
        let position = match self {
            Place::Start => 0,
            Place::End => end,
            Place::Position(n) => n,
            Place::Forward(n) => here.saturating_add(n),
            Place::Back(n) => here.saturating_sub(n),
            Place::Millionths(part) => {
                u64::try_from(u128::from(end) * u128::from(part) / 1_000_000).unwrap_or(end)
            }
            Place::TimeNs(_) => return None,
        };
        Some(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read() {
        for (text, place) in [
            ("start", Place::Start),
            ("end", Place::End),
            ("1_000", Place::Position(1000)),
            ("0x10", Place::Position(16)),
            ("+5", Place::Forward(5)),
            ("-0x10", Place::Back(16)),
            ("50%", Place::Millionths(500_000)),
            ("0.0001%", Place::Millionths(1)),
            ("1.5s", Place::TimeNs(1_500_000_000)),
            ("20ms", Place::TimeNs(20_000_000)),
        ] {
            assert_eq!(text.parse(), Ok(place), "{text}");
        }
        for bad in ["", "+", "-", "%", "101%", "5s%", "nowhere", "1.5", "s", "é", "--1", "+-1"] {
            assert!(bad.parse::<Place>().is_err(), "{bad}");
        }
    }

    #[test]
    fn positions_saturate_and_percentages_do_not_overflow() {
        assert_eq!(Place::Back(10).position(3, 100), Some(0));
        assert_eq!(Place::Forward(u64::MAX).position(3, 100), Some(u64::MAX));
        assert_eq!(Place::Millionths(1_000_000).position(0, u64::MAX), Some(u64::MAX));
        assert_eq!(Place::Millionths(250_000).position(0, 8), Some(2));
    }
}
