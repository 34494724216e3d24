//! Which parts of a recording a search may leave out, by the recording's index.

use super::Timeline;
use crate::Replayer;
use crate::recording::{Error, Interval, Known, Recording, Span};
use std::collections::BTreeMap;
use vm::{Icount, LinAddr};

/// Bytes of what was read that are kept.
const MOST_BYTES: usize = 32 << 20;

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Index {
    kept: BTreeMap<Known, Interval>,
    bytes: usize,
}

impl Index {
    fn read(&mut self, recording: &Recording, known: Known) -> Result<&Interval, Error> {
        if !self.kept.contains_key(&known) {
            let interval = recording.read_known(known)?;
            if self.bytes > MOST_BYTES {
                *self = Index::default();
            }
            self.bytes += interval.bytes();
            self.kept.insert(known, interval);
        }
        Ok(&self.kept[&known])
    }
}

impl<M: Replayer> Timeline<M> {
    /// Steps around the one at `position`, which is among them, of which it is certain that no breakpoint or watchpoint is met in
    /// them; as many as the index says at once.
    pub(super) fn barren(&mut self, position: Icount) -> Result<Option<Span>, Error> {
        let recording = self.session.recording();
        for (known, span) in recording.known_at(position) {
            let interval = self.index.read(recording, known)?;
            let met = self.breakpoints.iter().any(|addr: &LinAddr| interval.may_execute(*addr));
            let watched = || self.watches.values().flatten().any(|range| interval.may_meet(range));
            let trapped = || self.traps.iter().any(|trap| interval.may_spring(trap));
            if !met && !watched() && !trapped() {
                return Ok(Some(span));
            }
        }
        Ok(None)
    }
}
