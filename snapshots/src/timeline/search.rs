//! Going back to the last stop before the present.
//!
//! A machine only runs forward, so "the last stop before here" is found by going to a checkpoint, running to here, and
//! remembering the last stop met. The intervals between checkpoints are searched from late to early, and the first that
//! has a stop has the answer. An interval in which stops come thick is not run through with a halt at each: after a few
//! its later half is searched first, so that the work stays in proportion to the interval's length and not to the stops.

use super::crew::Part;
use super::tripwire::Tripwire;
use super::{Seen, Stop, Timeline};
use crate::Replayer;
use crate::recording::Error;
use crate::session::Reached;
use vm::Icount;

/// Steps between the checkpoints that a search leaves behind.
const PLANT_EVERY: u64 = 8_000_000;
/// Stops after which a search splits what is left of its interval.
const MANY: u32 = 64;
/// An interval of fewer steps is not split.
const SHORT: u64 = 1024;
/// In how many slices at least a tripwire is looked at.
const SLICES: u64 = 16;
/// Slices in which it may be torn before an interval is searched without.
const MOST_TORN: usize = 6;
/// Fewest steps for which a tripwire is worth its making: that takes 0.1 ms, and the first one 20 ms.
pub(super) const WORTH_A_WIRE: u64 = 10_000_000;

/// A stop that was found: the state at this position is where to stop.
#[derive(Clone, Debug)]
pub(super) struct Hit {
    pub(super) position: Icount,
    pub(super) stop: Stop,
}

/// What a search came to.
#[derive(Debug)]
pub(super) enum Search {
    Found(Hit),
    Nothing,
    Interrupted,
}

impl<M: Replayer> Timeline<M> {
    /// The last stop at or after `low` and before `high`.
    pub(super) fn search_back(
        &mut self,
        low: Icount,
        high: Icount,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Search, Error> {
        let mut high = high;
        while high > low {
            if let Some(barren) = self.barren(Icount(high.0 - 1))? {
                high = barren.from.max(low);
                continue;
            }
            let from = self.checkpoints.before(Icount(high.0 - 1)).max(low);
            match self.last_in(from, high, interrupted)? {
                Search::Nothing => high = from,
                other => return Ok(other),
            }
            // Not near: what is left is searched by all.
            if let Some(search) = self.search_back_together(low, high, interrupted)? {
                return Ok(search);
            }
        }
        Ok(Search::Nothing)
    }

    /// The last stop in the interval from `from` to before `to`. If there is none, that is remembered.
    pub(super) fn last_in(
        &mut self,
        from: Icount,
        to: Icount,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Search, Error> {
        let found = match self.scout(from, to, interrupted)? {
            Scouted::Not => self.last_by_running(from, to, interrupted)?,
            Scouted::Interrupted => return Ok(Search::Interrupted),
            Scouted::Torn(parts) => self.last_of(&parts, interrupted)?,
        };
        if let Search::Nothing = found {
            self.note_unmet(from, to);
        }
        Ok(found)
    }

    /// The last stop in the last of `parts`, which are in order, that has one.
    fn last_of(&mut self, parts: &[Part], interrupted: &mut dyn FnMut() -> bool) -> Result<Search, Error> {
        for part in parts.iter().rev() {
            match self.last_by_running(part.from, part.to, interrupted)? {
                Search::Nothing => {}
                other => return Ok(other),
            }
        }
        Ok(Search::Nothing)
    }

    /// If only writes can be met in the interval from `from` to before `to`, and it is long enough: runs through it with a
    /// [`Tripwire`], much faster than with watched pages. What is watched may have been stored to in the parts that come of it, and
    /// nowhere else.
    pub(super) fn scout(
        &mut self,
        from: Icount,
        to: Icount,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Scouted, Error> {
        let long = to.0.saturating_sub(from.0) >= self.worth_a_wire;
        let writes = !self.watches.is_empty() && !self.watches.values().flatten().any(|r| r.kind.reads());
        if !long || !writes || !self.only_watches(from, to)? {
            return Ok(Scouted::Not);
        }
        if self.go(from, interrupted)? == Seen::Interrupted {
            return Ok(Scouted::Interrupted);
        }
        let Some(mut wire) = self.tripwire() else { return Ok(Scouted::Not) };
        let longest = (to.0 - from.0).div_ceil(SLICES);
        let (mut torn, mut untouched_from, mut planted) = (Vec::new(), from, from);
        while self.position() < to {
            let before = self.position();
            self.run_slice(Icount(before.0.saturating_add(self.slice.min(longest))).min(to))?;
            let here = self.position();
            if wire.is_torn() {
                torn.push(Part { from: before, to: here });
                let anew = if torn.len() < MOST_TORN { self.tripwire() } else { None };
                let Some(anew) = anew else {
                    torn.push(Part { from: here, to });
                    return Ok(Scouted::Torn(joined(torn)));
                };
                (wire, untouched_from) = (anew, here);
            }
            if here.0.saturating_sub(planted.0) >= PLANT_EVERY && here < to {
                self.plant()?;
                planted = here;
            }
            if interrupted() {
                return Ok(Scouted::Interrupted);
            }
        }
        if !wire.held() {
            torn.push(Part { from: untouched_from, to });
        }
        Ok(Scouted::Torn(joined(torn)))
    }

    /// A tripwire over all that is watched, if the host does it.
    fn tripwire(&self) -> Option<Tripwire> {
        Tripwire::over(self.machine().storage(), self.watches.values().flatten())
    }

    /// The last stop in the interval from `from` to before `to`, by running through it.
    fn last_by_running(
        &mut self,
        from: Icount,
        to: Icount,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Search, Error> {
        if from >= to {
            return Ok(Search::Nothing);
        }
        if self.go(from, interrupted)? == Seen::Interrupted {
            return Ok(Search::Interrupted);
        }
        self.arm();
        let swept = self.sweep(to, interrupted);
        self.disarm();
        let swept = swept?;
        let later = match swept.rest {
            Rest::Interrupted => return Ok(Search::Interrupted),
            Rest::Done => Search::Nothing,
            Rest::Unseen { from, to } => self.later_half_first(from, to, interrupted)?,
        };
        match (later, swept.last) {
            (Search::Nothing, Some(hit)) => Ok(Search::Found(hit)),
            (later, _) => Ok(later),
        }
    }

    /// Runs armed from here towards `to` and remembers the last stop, until `to` is reached or stops come too thick.
    fn sweep(&mut self, to: Icount, interrupted: &mut dyn FnMut() -> bool) -> Result<Sweep, Error> {
        let start = self.session.position();
        let mut last = self
            .session
            .met(&self.breakpoints, &self.traps)
            .map(|a| Hit { position: start, stop: Stop::Breakpoint(a) });
        let mut hits = 0;
        let mut planted = start;
        // Up to where the machine ran on after the last write was seen: a further stop in there may have been missed.
        let mut blind_to = start;
        while self.session.position() < to {
            let slice = Icount(self.session.position().0.saturating_add(self.slice)).min(to);
            let found = match self.run_slice(slice)? {
                Reached::Target | Reached::Pause => None,
                Reached::Breakpoint(addr) => {
                    Some(Hit { position: self.session.position(), stop: Stop::Breakpoint(addr) })
                }
                Reached::Watchpoint { position, hit } => Some(Hit { position, stop: self.stop_at(hit) }),
            };
            let here = self.session.position();
            if let Some(hit) = found.filter(|hit| hit.position < to) {
                hits += 1;
                let is_watch = matches!(hit.stop, Stop::Watch(_) | Stop::Event(_));
                // A breakpoint where this run ended would not be seen by the next run either.
                blind_to = if is_watch { Icount(here.0.saturating_add(1)) } else { blind_to };
                // The instruction that a breakpoint is on may write to a watched place.
                let next = Icount(hit.position.0.saturating_add(is_watch.into()));
                last = Some(hit);
                if hits >= MANY && to.0.saturating_sub(next.0) > SHORT || !self.session.has_arrived() {
                    return Ok(Sweep { last, rest: Rest::Unseen { from: next, to } });
                }
            } else if here.0.saturating_sub(planted.0) >= PLANT_EVERY && here < to {
                self.plant()?;
                planted = here;
            }
            if interrupted() {
                return Ok(Sweep { last, rest: Rest::Interrupted });
            }
        }
        let next = last.as_ref().map_or(start, |hit| Icount(hit.position.0.saturating_add(1)));
        let rest =
            if next < blind_to { Rest::Unseen { from: next, to: blind_to.min(to) } } else { Rest::Done };
        Ok(Sweep { last, rest })
    }

    /// The last stop in an interval where stops come thick or none may come at all.
    fn later_half_first(
        &mut self,
        from: Icount,
        to: Icount,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Search, Error> {
        let length = to.0.saturating_sub(from.0);
        if length <= SHORT {
            return self.last_by_running(from, to, interrupted);
        }
        let middle = Icount(from.0 + length / 2);
        for position in [from, middle] {
            if self.go(position, interrupted)? == Seen::Interrupted {
                return Ok(Search::Interrupted);
            }
            self.plant()?;
        }
        match self.last_by_running(middle, to, interrupted)? {
            Search::Nothing => self.last_by_running(from, middle, interrupted),
            other => Ok(other),
        }
    }
}

/// What running through an interval with a tripwire showed.
pub(super) enum Scouted {
    /// It was not done.
    Not,
    Interrupted,
    /// In these parts, which are in order, it was torn.
    Torn(Vec<Part>),
}

/// Parts in order, those that touch put together.
fn joined(parts: Vec<Part>) -> Vec<Part> {
    let mut joined: Vec<Part> = Vec::new();
    for part in parts {
        match joined.last_mut().filter(|last| last.to == part.from) {
            Some(last) => last.to = part.to,
            None => joined.push(part),
        }
    }
    joined
}

/// What running through an interval showed.
struct Sweep {
    last: Option<Hit>,
    rest: Rest,
}

/// What of the interval was not seen.
enum Rest {
    Done,
    Unseen { from: Icount, to: Icount },
    Interrupted,
}
