//! Which parts of a recording a search may leave out, by the recording's index.

use super::Timeline;
use crate::Replayer;
use crate::recording::{Error, Interval, Recording, Span};
use std::collections::BTreeMap;
use vm::{Icount, LinAddr};

/// Intervals kept after they were read.
const MOST_KEPT: usize = 1024;

/// Intervals that were read.
#[derive(Debug, Default)]
pub(super) struct Index {
    kept: BTreeMap<usize, Interval>,
}

impl Index {
    fn interval(&mut self, recording: &Recording, index: usize) -> Result<&Interval, Error> {
        if !self.kept.contains_key(&index) {
            if self.kept.len() >= MOST_KEPT {
                self.kept.clear();
            }
            self.kept.insert(index, recording.interval(index)?);
        }
        Ok(&self.kept[&index])
    }
}

impl<M: Replayer> Timeline<M> {
    /// The interval that the step at `position` is in, if it is certain that no breakpoint or watchpoint is met in it.
    pub(super) fn barren(&mut self, position: Icount) -> Result<Option<Span>, Error> {
        let recording = self.session.recording();
        let Some((index, span)) = recording.interval_at(position) else { return Ok(None) };
        let interval = self.index.interval(recording, index)?;
        let met = self.breakpoints.iter().any(|addr: &LinAddr| interval.may_execute(*addr));
        let watched = || self.watches.values().flatten().any(|range| interval.may_meet(range));
        Ok((!met && !watched()).then_some(span))
    }
}
