//! Questions about all of history: who wrote this, did this ever run, how often, what did it hold over time.
//!
//! A question does not move the timeline, and the user's breakpoints are not met meanwhile. What the recording's index rules out
//! is not replayed. A variable is what its address names where the timeline stands: a physical place, as for watchpoints.

use super::search::Search;
use super::{Forward, Seen, Timeline, Watch, watched};
use crate::Replayer;
use crate::condition::Condition;
use crate::recording::Error;
use crate::session::Reached;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use vm::watch::Noted;
use vm::{Icount, LinAddr, Trap, WatchKind, WatchRange};

/// Steps after which hits are collected: as many may have piled up.
const COLLECT_EVERY: u64 = 200_000;
/// The longest value that is read.
const MOST_BYTES: u64 = 4096;

/// What came of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<T> {
    /// This.
    Is(T),
    /// A byte of the variable is not mapped where the timeline stands, or not in memory whose accesses can be watched.
    NotMapped,
    /// The caller's interrupt flag was set.
    Interrupted,
}

/// A step that wrote (or read) a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Met {
    /// The state before the step.
    pub position: Icount,
    /// What the variable held before it; at most its first 4096 bytes.
    pub before: Vec<u8>,
    /// What it held after it.
    pub after: Vec<u8>,
}

/// How often something happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// In so many steps.
    pub steps: u64,
    /// The first of them.
    pub first: Option<Icount>,
    /// The last of them.
    pub last: Option<Icount>,
}

impl Count {
    fn add(&mut self, position: Icount) {
        self.steps += 1;
        self.first = self.first.or(Some(position));
        self.last = Some(position);
    }
}

/// What a question is about.
type Ranges = Vec<WatchRange>;

/// What stops the machine while a question is answered.
#[derive(Default)]
struct Asked {
    breakpoints: BTreeSet<LinAddr>,
    watches: BTreeMap<Watch, Ranges>,
    traps: BTreeSet<Trap>,
}

impl Asked {
    fn execution(addr: LinAddr) -> Asked {
        Asked { breakpoints: BTreeSet::from([addr]), ..Asked::default() }
    }
}

impl<M: Replayer> Timeline<M> {
    /// The last step before `before` that wrote (or read) the variable.
    pub fn last_access(
        &mut self,
        kind: WatchKind,
        addr: LinAddr,
        len: u64,
        before: Icount,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Answer<Option<Met>>, Error> {
        let (start, before) = (self.recording().start(), before.min(self.recording().end()));
        self.about_variable(kind, addr, len, |timeline, ranges| {
            match timeline.search_back(start, before, interrupted)? {
                Search::Found(hit) => timeline.look(hit.position, ranges).map(|met| Answer::Is(Some(met))),
                Search::Nothing => Ok(Answer::Is(None)),
                Search::Interrupted => Ok(Answer::Interrupted),
            }
        })
    }

    /// The last step before `before` that wrote the variable.
    pub fn last_write(
        &mut self,
        addr: LinAddr,
        len: u64,
        before: Icount,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Answer<Option<Met>>, Error> {
        self.last_access(WatchKind::Write, addr, len, before, interrupted)
    }

    /// The first step at or after `from` that writes the variable.
    pub fn next_write(
        &mut self,
        addr: LinAddr,
        len: u64,
        from: Icount,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Answer<Option<Met>>, Error> {
        self.about_variable(WatchKind::Write, addr, len, |timeline, ranges| {
            match timeline.first_stop(from, interrupted)? {
                Answer::Is(Some(position)) => {
                    timeline.look(position, ranges).map(|met| Answer::Is(Some(met)))
                }
                Answer::Is(None) => Ok(Answer::Is(None)),
                _ => Ok(Answer::Interrupted),
            }
        })
    }

    /// The first position at which the instruction at `addr` is about to run.
    pub fn first_exec(
        &mut self,
        addr: LinAddr,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Answer<Option<Icount>>, Error> {
        let start = self.recording().start();
        self.asking(Asked::execution(addr), |timeline| timeline.first_stop(start, interrupted))
    }

    /// The last such position before `before`.
    pub fn last_exec(
        &mut self,
        addr: LinAddr,
        before: Icount,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Answer<Option<Icount>>, Error> {
        let (start, before) = (self.recording().start(), before.min(self.recording().end()));
        self.asking(Asked::execution(addr), |timeline| timeline.last_stop(start, before, interrupted))
    }

    /// The last step before `before` that a trap is for.
    pub fn last_event(
        &mut self,
        trap: Trap,
        before: Icount,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Answer<Option<Icount>>, Error> {
        let (start, before) = (self.recording().start(), before.min(self.recording().end()));
        self.asking(Asked { traps: BTreeSet::from([trap]), ..Asked::default() }, |timeline| {
            timeline.last_stop(start, before, interrupted)
        })
    }

    /// The first step at or after `from` that a trap is for.
    pub fn next_event(
        &mut self,
        trap: Trap,
        from: Icount,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Answer<Option<Icount>>, Error> {
        self.asking(Asked { traps: BTreeSet::from([trap]), ..Asked::default() }, |timeline| {
            timeline.first_stop(from, interrupted)
        })
    }

    /// The steps in `range` that a trap is for, with what they did: the first `most`.
    pub fn events(
        &mut self,
        trap: Trap,
        range: Range<Icount>,
        most: usize,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Answer<Vec<Noted>>, Error> {
        let mut events = Vec::new();
        self.asking(Asked { traps: BTreeSet::from([trap]), ..Asked::default() }, |timeline| {
            let done = timeline.pass_through(range, interrupted, &mut |_, noted| {
                events.extend(noted.iter().take(most - events.len()));
                events.len() < most
            })?;
            Ok(if done == Seen::Done { Answer::Is(events) } else { Answer::Interrupted })
        })
    }

    /// How many steps in `range` wrote (or read) the variable.
    pub fn count_accesses(
        &mut self,
        kind: WatchKind,
        addr: LinAddr,
        len: u64,
        range: Range<Icount>,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Answer<Count>, Error> {
        let mut count = Count::default();
        self.about_variable(kind, addr, len, |timeline, _| {
            let done = timeline.pass_through(range, interrupted, &mut |_, noted| {
                noted.iter().for_each(|noted| count.add(noted.position));
                true
            })?;
            Ok(if done == Seen::Done { Answer::Is(count) } else { Answer::Interrupted })
        })
    }

    /// How often the instruction at `addr` was about to run in `range`.
    pub fn count_execs(
        &mut self,
        addr: LinAddr,
        range: Range<Icount>,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Answer<Count>, Error> {
        let mut count = Count::default();
        self.asking(Asked::execution(addr), |timeline| {
            let done = timeline.pass_through(range, interrupted, &mut |at, _| {
                at.into_iter().for_each(|at| count.add(at));
                true
            })?;
            Ok(if done == Seen::Done { Answer::Is(count) } else { Answer::Interrupted })
        })
    }

    /// The steps in `range` that wrote the variable, with the first 16 bytes that it held after each: the first `most`.
    pub fn values(
        &mut self,
        addr: LinAddr,
        len: u64,
        range: Range<Icount>,
        most: usize,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Answer<Vec<Noted>>, Error> {
        let mut values = Vec::new();
        self.about_variable(WatchKind::Write, addr, len, |timeline, _| {
            let done = timeline.pass_through(range, interrupted, &mut |_, noted| {
                values.extend(noted.iter().take(most - values.len()));
                values.len() < most
            })?;
            Ok(if done == Seen::Done { Answer::Is(values) } else { Answer::Interrupted })
        })
    }

    /// Asks about what is at `addr` now.
    fn about_variable<T>(
        &mut self,
        kind: WatchKind,
        addr: LinAddr,
        len: u64,
        ask: impl FnOnce(&mut Self, &Ranges) -> Result<Answer<T>, Error>,
    ) -> Result<Answer<T>, Error> {
        let Some((watch, ranges)) = watched(self.machine(), kind, addr, len) else {
            return Ok(Answer::NotMapped);
        };
        let watches = BTreeMap::from([(watch, ranges.clone())]);
        self.asking(Asked { watches, ..Asked::default() }, |timeline| ask(timeline, &ranges))
    }

    /// Puts breakpoints and watchpoints in the place of the user's while `ask` runs, and then goes back to where it was, or to where
    /// the diversion began: that is left.
    fn asking<T>(
        &mut self,
        asked: Asked,
        ask: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let here = self.diverted_from().unwrap_or_else(|| self.position());
        self.plant()?;
        let condition = self.session.set_condition(Condition::default());
        let users = (
            std::mem::replace(&mut self.breakpoints, asked.breakpoints),
            std::mem::replace(&mut self.watches, asked.watches),
            std::mem::replace(&mut self.traps, asked.traps),
            self.position_break.take(),
        );
        let answer = ask(self);
        self.session.note_hits(false);
        self.disarm();
        (self.breakpoints, self.watches, self.traps, self.position_break) = users;
        self.session.set_condition(condition);
        self.go(here, &mut || false)?;
        answer
    }

    /// The last position from `start` to before `before` where what is asked for is met.
    fn last_stop(
        &mut self,
        start: Icount,
        before: Icount,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Answer<Option<Icount>>, Error> {
        Ok(match self.search_back(start, before, interrupted)? {
            Search::Found(hit) => Answer::Is(Some(hit.position)),
            Search::Nothing => Answer::Is(None),
            Search::Interrupted => Answer::Interrupted,
        })
    }

    /// The first position at or after `from` where what is asked for is met: the instruction is about to run, or the step is
    /// about to access.
    fn first_stop(
        &mut self,
        from: Icount,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Answer<Option<Icount>>, Error> {
        let end = self.recording().end();
        let mut from = from.max(self.recording().start());
        // Straight to where it may be, without stopping on the way.
        while from < end
            && let Some(barren) = self.barren(from)?
        {
            from = barren.to;
        }
        if from >= end {
            return Ok(Answer::Is(None));
        }
        if self.go(from, interrupted)? == Seen::Interrupted {
            return Ok(Answer::Interrupted);
        }
        if self.session.met(&self.breakpoints, &self.traps).is_some() {
            return Ok(Answer::Is(Some(from)));
        }
        self.arm();
        let stop = self.run_on(interrupted);
        self.disarm();
        Ok(match stop? {
            Forward::Met { position, .. } => Answer::Is(Some(position)),
            Forward::At(super::Stop::Breakpoint(_)) if self.position() < end => {
                Answer::Is(Some(self.position()))
            }
            Forward::At(super::Stop::Interrupted) => Answer::Interrupted,
            Forward::At(_) => Answer::Is(None),
        })
    }

    /// Runs through `range` without staying anywhere, and tells `each` of every position whose instruction has a breakpoint, or
    /// of the steps that met what is watched, until it says no.
    fn pass_through(
        &mut self,
        range: Range<Icount>,
        interrupted: &mut dyn FnMut() -> bool,
        each: &mut dyn FnMut(Option<Icount>, &[Noted]) -> bool,
    ) -> Result<Seen, Error> {
        let to = range.end.min(self.recording().end());
        let mut from = range.start.max(self.recording().start());
        let mut seen_to = from;
        while from < to {
            if let Some(barren) = self.barren(from)? {
                from = barren.to;
                continue;
            }
            if self.go(from, interrupted)? == Seen::Interrupted {
                return Ok(Seen::Interrupted);
            }
            self.session.note_hits(true);
            self.arm();
            let met = self.session.met(&self.breakpoints, &self.traps).filter(|_| from >= seen_to);
            let mut going = met.is_none() || each(Some(from), &[]);
            let next = self.slice(to).min(Icount(from.0.saturating_add(COLLECT_EVERY)));
            let mut reached = Ok(Reached::Target);
            let mut stopped = false;
            while going && !stopped && self.position() < next {
                reached = self.session.run_to(next);
                match reached {
                    Ok(Reached::Pause) => stopped = interrupted(),
                    Ok(Reached::Breakpoint(_)) if self.position() < to => {
                        going = each(Some(self.position()), &[])
                    }
                    Ok(_) => {}
                    Err(_) => break,
                }
            }
            let noted = self.session.take_noted();
            self.session.note_hits(false);
            self.disarm();
            reached?;
            if stopped {
                return Ok(Seen::Interrupted);
            }
            if !going || !(noted.is_empty() || each(None, &noted)) {
                return Ok(Seen::Done);
            }
            (from, seen_to) = (next, Icount(next.0.saturating_add(1)));
            if interrupted() {
                return Ok(Seen::Interrupted);
            }
        }
        Ok(Seen::Done)
    }

    /// What the step at `position` made of a variable.
    fn look(&mut self, position: Icount, ranges: &Ranges) -> Result<Met, Error> {
        self.go(position, &mut || false)?;
        let before = self.bytes_of(ranges);
        self.go(Icount(position.0.saturating_add(1)), &mut || false)?;
        Ok(Met { position, before, after: self.bytes_of(ranges) })
    }

    /// What physical ranges hold here; ones where there is no RAM.
    fn bytes_of(&self, ranges: &Ranges) -> Vec<u8> {
        let storage = self.machine().storage();
        let all = ranges.iter().flat_map(|range| range.addr.0..range.addr.0.saturating_add(range.len));
        all.take(MOST_BYTES as usize).map(|at| storage.get(at as usize).copied().unwrap_or(0xff)).collect()
    }
}
