//! The checkpoints a timeline can go back to: those in the recording, and those it made in memory.

use crate::pages::{Meter, PageMap};
use crate::recording::{Error, Recording};
use std::collections::BTreeMap;
use std::sync::Arc;
use vm::{Icount, MachineState};

/// What a checkpoint in memory costs beside its pages: chips, registers, and the path through the tree of pages.
const STATE_BYTES: usize = 64 << 10;
/// Checkpoints kept in memory at most.
const MOST: usize = 4096;

/// Maps of what the recording's checkpoints hold that are kept.
const MOST_MAPS: usize = 512;

/// The machine at a position.
#[derive(Clone, Debug)]
pub(super) struct Checkpoint {
    pub(super) state: Arc<MachineState>,
    pub(super) pages: PageMap,
}

/// All checkpoints.
#[derive(Debug)]
pub(super) struct Checkpoints {
    recording: Arc<Recording>,
    /// What storage held at some of the recording's checkpoints: those last asked for, and those on the way to them.
    maps: BTreeMap<usize, PageMap>,
    memory: BTreeMap<Icount, Checkpoint>,
    /// Counts the pages of those in memory.
    pub(super) meter: Meter,
    budget: usize,
}

impl Checkpoints {
    pub(super) fn new(recording: Arc<Recording>, budget: usize) -> Checkpoints {
        Checkpoints {
            recording,
            maps: BTreeMap::new(),
            memory: BTreeMap::new(),
            meter: Meter::default(),
            budget,
        }
    }

    /// The recording has grown.
    pub(super) fn extend(&mut self, recording: Arc<Recording>) {
        self.recording = recording;
    }

    /// Position of the last checkpoint at or before `position`; the recording's first if there is none.
    pub(super) fn before(&self, position: Icount) -> Icount {
        let stored = self.stored_before(position);
        self.memory.range(..=position).next_back().map_or(stored, |(p, _)| stored.max(*p))
    }

    /// The checkpoint that is the last at or before `position`, the recording's first if there is none; and its number, if it
    /// is in the recording.
    pub(super) fn nearest(&mut self, position: Icount) -> Result<(Checkpoint, Option<usize>), Error> {
        if let Some(checkpoint) = self.in_memory_before(position) {
            return Ok((checkpoint, None));
        }
        let index = self.recording.checkpoint_before(position).unwrap_or(0);
        let pages = self.stored_pages(index)?;
        let state = Arc::new(self.recording.read_checkpoint(index)?.state);
        Ok((Checkpoint { state, pages }, Some(index)))
    }

    /// Position of the recording's last checkpoint at or before `position`, of its first if there is none.
    pub(super) fn stored_before(&self, position: Icount) -> Icount {
        self.recording.checkpoint_info(self.recording.checkpoint_before(position).unwrap_or(0)).position
    }

    /// The last checkpoint in memory at or before `position`, unless the recording has a later one.
    pub(super) fn in_memory_before(&self, position: Icount) -> Option<Checkpoint> {
        self.memory.get(&self.before(position)).cloned()
    }

    /// Number of the recording's checkpoint at exactly `position`.
    pub(super) fn stored_at(&self, position: Icount) -> Option<usize> {
        let index = self.recording.checkpoint_before(position)?;
        (self.recording.checkpoint_info(index).position == position).then_some(index)
    }

    /// Position of the recording's first checkpoint after `position`.
    pub(super) fn stored_after(&self, position: Icount) -> Option<Icount> {
        let index = self.recording.checkpoint_before(position).map_or(0, |i| i + 1);
        self.recording.checkpoints().nth(index).map(|c| c.position)
    }

    /// What storage holds at the recording's checkpoint `index`. Most say only what changed since the one before.
    pub(super) fn stored_pages(&mut self, index: usize) -> Result<PageMap, Error> {
        let whole = (0..=index).rev().find(|i| self.recording.checkpoint_info(*i).whole).unwrap_or(0);
        let known = self.maps.range(whole..=index).next_back();
        let (mut next, mut map) = known.map_or((whole, PageMap::default()), |(i, map)| (i + 1, map.clone()));
        while next <= index {
            let body = self.recording.read_checkpoint(next)?;
            body.changes().for_each(|(number, page)| map.set(number, page));
            self.maps.insert(next, map.clone());
            next += 1;
        }
        while self.maps.len() > MOST_MAPS {
            let farthest = self.maps.keys().copied().max_by_key(|i| i.abs_diff(index));
            farthest.and_then(|i| self.maps.remove(&i));
        }
        Ok(map)
    }

    /// Keeps a checkpoint in memory.
    pub(super) fn add(&mut self, checkpoint: Checkpoint) {
        self.memory.insert(checkpoint.state.position, checkpoint);
    }

    /// Bytes taken by checkpoints in memory.
    pub(super) fn bytes(&self) -> usize {
        self.meter.bytes() + self.memory.len() * STATE_BYTES
    }

    /// Sets how many bytes checkpoints in memory may take.
    pub(super) fn set_budget(&mut self, bytes: usize) {
        self.budget = bytes;
    }

    /// Drops checkpoints until those left fit the budget. The one dropped first is the one whose loss makes the smallest
    /// gap, measured in terms of how far it is from `here`: so they stay dense around the present and sparse far from it.
    pub(super) fn evict(&mut self, here: Icount) {
        while !self.memory.is_empty() && (self.bytes() > self.budget || self.memory.len() > MOST) {
            if let Some(position) = self.least_useful(here) {
                self.memory.remove(&position);
            }
        }
    }

    fn least_useful(&self, here: Icount) -> Option<Icount> {
        let mut before = 0;
        let mut least: Option<(u128, u128, Icount)> = None;
        let mut positions = self.memory.keys().peekable();
        while let Some(position) = positions.next() {
            let after = positions.peek().map_or(u64::MAX, |p| p.0);
            let gap = u128::from(after.saturating_sub(before));
            let distance = u128::from(position.0.abs_diff(here.0)) + 1;
            // gap / distance, compared without dividing
            if least.is_none_or(|(g, d, _)| gap * d < g * distance) {
                least = Some((gap, distance, *position));
            }
            before = position.0;
        }
        least.map(|(_, _, position)| position)
    }
}

#[cfg(test)]
impl Checkpoints {
    pub(super) fn in_memory(&self) -> usize {
        self.memory.len()
    }
}
