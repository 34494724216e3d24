//! Which parts of a recording a search may leave out: by the recording's index, and by what was found out while searching.

use super::Timeline;
use crate::Replayer;
use crate::recording::{Error, Interval, Known, Recording, Span};
use std::collections::BTreeMap;
use vm::{Icount, LinAddr, WatchRange};

/// Bytes of what was read that are kept.
const MOST_BYTES: usize = 32 << 20;
/// Ranges of which it is kept where they are not accessed.
const MOST_RANGES: usize = 256;

/// What was read, and found out.
#[derive(Debug, Default)]
pub(super) struct Index {
    kept: BTreeMap<Known, Interval>,
    bytes: usize,
    /// For a watched range the steps that do not meet it: from, to.
    unmet: BTreeMap<WatchRange, BTreeMap<Icount, Icount>>,
}

impl Index {
    fn read(&mut self, recording: &Recording, known: Known) -> Result<&Interval, Error> {
        if !self.kept.contains_key(&known) {
            let interval = recording.read_known(known)?;
            if self.bytes > MOST_BYTES {
                self.kept.clear();
                self.bytes = 0;
            }
            self.bytes += interval.bytes();
            self.kept.insert(known, interval);
        }
        Ok(&self.kept[&known])
    }

    /// The steps around the one at `position` of which it was found out that they do not meet a range.
    fn unmet_around(&self, range: &WatchRange, position: Icount) -> Option<Span> {
        let (from, to) = self.unmet.get(range)?.range(..=position).next_back()?;
        (position < *to).then_some(Span { from: *from, to: *to })
    }

    /// The steps of `span` do not meet a range.
    fn note_unmet(&mut self, range: WatchRange, span: Span) {
        if self.unmet.len() >= MOST_RANGES && !self.unmet.contains_key(&range) {
            self.unmet.clear();
        }
        let spans = self.unmet.entry(range).or_default();
        let Span { mut from, mut to } = span;
        // What touches it becomes one with it.
        while let Some((before, end)) = spans.range(..=to).next_back().filter(|(_, end)| **end >= from) {
            (from, to) = (from.min(*before), to.max(*end));
            spans.remove(&Icount(before.0));
        }
        spans.insert(from, to);
    }
}

impl<M: Replayer> Timeline<M> {
    /// Steps around the one at `position`, which is among them, of which it is certain that no breakpoint or watchpoint is met in
    /// them; as many as is known at once.
    pub(super) fn barren(&mut self, position: Icount) -> Result<Option<Span>, Error> {
        let known: Vec<_> = self.session.recording().known_at(position).collect();
        for (known, span) in known {
            if self.may_stop_unwatched(known)? {
                continue;
            }
            let interval = self.index.read(self.session.recording(), known)?;
            let watched = self.watches.values().flatten();
            let met: Vec<_> = watched.filter(|range| interval.may_meet(range)).collect();
            let narrowed = met.into_iter().try_fold(span, |span, range| {
                let unmet = self.index.unmet_around(range, position)?;
                Some(Span { from: span.from.max(unmet.from), to: span.to.min(unmet.to) })
            });
            if narrowed.is_some() {
                return Ok(narrowed);
            }
        }
        Ok(None)
    }

    /// Whether nothing can be met in the steps from `from` to before `to` but a watchpoint.
    pub(super) fn only_watches(&mut self, from: Icount, to: Icount) -> Result<bool, Error> {
        if self.breakpoints.is_empty() && self.traps.is_empty() {
            return Ok(true);
        }
        let known: Vec<_> = self.session.recording().known_at(from).collect();
        for (known, _) in known.into_iter().filter(|(_, span)| span.to >= to) {
            if !self.may_stop_unwatched(known)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// It was found out that no watchpoint is met in the steps from `from` to before `to`.
    pub(super) fn note_unmet(&mut self, from: Icount, to: Icount) {
        for range in self.watches.values().flatten() {
            self.index.note_unmet(*range, Span { from, to });
        }
    }

    /// Whether a breakpoint or a trap may be met in these steps.
    fn may_stop_unwatched(&mut self, known: Known) -> Result<bool, Error> {
        let interval = self.index.read(self.session.recording(), known)?;
        let met = self.breakpoints.iter().any(|addr: &LinAddr| interval.may_execute(*addr));
        Ok(met || self.traps.iter().any(|trap| interval.may_spring(trap)))
    }
}
