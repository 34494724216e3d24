//! Places in a recording as a user names them.

use crate::units::{parse_count, parse_time_ns};
use snapshots::Error;
use std::str::FromStr;
use vm::{Icount, VmTime};

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
    /// The first position so much virtual time after the present one, or later.
    LaterNs(u64),
    /// The last position so much virtual time before the present one, or earlier.
    EarlierNs(u64),
}

/// What places are looked up in.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The first position.
    pub start: Icount,
    /// The last position.
    pub end: Icount,
    /// Virtual time at the end.
    pub end_time: VmTime,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        let usage = || {
            format!(
                "`{text}` is no place; write start, end, a position (123456), steps (+10, -10), 50%, a time (1.5s, 20ms), \
                 or time from here (+1.5s, -20ms)"
            )
        };
        let count = |text: &str| parse_count(text).map_err(|_| usage());
        let time = |text: &str| parse_time_ns(text).map_err(|_| usage());
        let place = match text {
            "start" | "begin" => Place::Start,
            "end" => Place::End,
            _ if text.ends_with('%') => {
                Place::Millionths(parse_percent(&text[..text.len() - 1]).ok_or_else(usage)?)
            }
            // Hexadecimal positions end in no `s`, so a time is told by its unit.
            _ => match (text.strip_prefix('+'), text.strip_prefix('-'), text.ends_with('s')) {
                (Some(steps), _, false) => Place::Forward(count(steps)?),
                (Some(ns), _, true) => Place::LaterNs(time(ns)?),
                (_, Some(steps), false) => Place::Back(count(steps)?),
                (_, Some(ns), true) => Place::EarlierNs(time(ns)?),
                (_, _, false) => Place::Position(count(text)?),
                (_, _, true) => Place::TimeNs(time(text)?),
            },
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
    /// The position, seen from `here`; `None` behind the end. What comes before the start is the start.
    pub fn position(
        self,
        here: Icount,
        bounds: Bounds,
        time_at: &mut dyn FnMut(Icount) -> Result<VmTime, Error>,
    ) -> Result<Option<Icount>, Error> {
        let Bounds { start, end, end_time } = bounds;
        let position = match self {
            Place::Start => start.0,
            Place::End => end.0,
            Place::Position(n) => n,
            Place::Forward(n) => here.0.saturating_add(n),
            Place::Back(n) => here.0.saturating_sub(n),
            Place::Millionths(part) => {
                u64::try_from(u128::from(end.0) * u128::from(part) / 1_000_000).unwrap_or(end.0)
            }
            Place::TimeNs(ns) if ns > end_time.0 => return Ok(None),
            Place::TimeNs(ns) => first(start, end, |at| Ok(time_at(at)?.0 >= ns))?,
            Place::LaterNs(ns) => {
                let time = time_at(here)?.0.saturating_add(ns);
                return Place::TimeNs(time).position(here, bounds, time_at);
            }
            Place::EarlierNs(ns) => {
                let time = time_at(here)?.0.saturating_sub(ns);
                first(start, end, |at| Ok(time_at(at)?.0 > time))?.saturating_sub(1)
            }
        };
        Ok(Some(Icount(position.max(start.0))).filter(|position| *position <= end))
    }
}

/// The first position for which something holds that holds for all later ones as well, as time never runs backwards; the end if it
/// holds nowhere before.
fn first(
    start: Icount,
    end: Icount,
    mut holds: impl FnMut(Icount) -> Result<bool, Error>,
) -> Result<u64, Error> {
    let (mut low, mut high) = (start.0, end.0);
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(Icount(middle))? { high = middle } else { low = middle + 1 }
    }
    Ok(low)
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
            ("+1.5s", Place::LaterNs(1_500_000_000)),
            ("+20us", Place::LaterNs(20_000)),
            ("-.5ms", Place::EarlierNs(500_000)),
            ("-7ns", Place::EarlierNs(7)),
        ] {
            assert_eq!(text.parse(), Ok(place), "{text}");
        }
        for bad in
            ["", "+", "-", "%", "101%", "5s%", "nowhere", "1.5", "s", "é", "--1", "+-1", "+s", "-+1s", "+1.5"]
        {
            assert!(bad.parse::<Place>().is_err(), "{bad}");
        }
    }

    /// 100 steps of 10 ns each, from 10 on, and half a microsecond that is skipped in the step at 50.
    fn position(place: Place, here: u64) -> Option<u64> {
        let mut time_at = |at: Icount| Ok(VmTime(at.0 * 10 + if at.0 > 50 { 500 } else { 0 }));
        let bounds = Bounds { start: Icount(10), end: Icount(110), end_time: VmTime(1_700) };
        place.position(Icount(here), bounds, &mut time_at).unwrap().map(|position| position.0)
    }

    #[test]
    fn places_are_positions_or_behind_the_end() {
        for (place, here, expected) in [
            (Place::Start, 90, Some(10)),
            (Place::End, 90, Some(110)),
            (Place::Back(10), 13, Some(10)),
            (Place::Forward(7), 13, Some(20)),
            (Place::Forward(u64::MAX), 13, None),
            (Place::Position(111), 13, None),
            (Place::Millionths(1_000_000), 13, Some(110)),
            (Place::Millionths(500_000), 13, Some(55)),
            (Place::TimeNs(0), 13, Some(10)),
            (Place::TimeNs(501), 13, Some(51)),
            (Place::TimeNs(1_700), 13, Some(110)),
            (Place::TimeNs(1_701), 13, None),
            (Place::LaterNs(1), 20, Some(21)),
            (Place::LaterNs(301), 20, Some(51)),
            (Place::LaterNs(u64::MAX), 20, None),
            (Place::EarlierNs(15), 20, Some(18)),
            // In the middle of what was skipped.
            (Place::EarlierNs(1), 51, Some(50)),
            (Place::EarlierNs(u64::MAX), 51, Some(10)),
        ] {
            assert_eq!(position(place, here), expected, "{place:?} from {here}");
        }
    }
}
