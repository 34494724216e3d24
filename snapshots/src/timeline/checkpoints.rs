//! The checkpoints a timeline can go back to: those in the recording, and those it made in memory.

use crate::pages::{Meter, PageMap};
use crate::recording::{Error, Recording};
use std::collections::{BTreeMap, BTreeSet};
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

    /// If checkpoints take more than the budget, drops some until they take an eighth less: then many more can be made before it is
    /// to be looked at all of them again. They stay dense around `here` and sparse far from it.
    pub(super) fn evict(&mut self, here: Icount) {
        if self.fit(self.budget, MOST) {
            return;
        }
        while !self.memory.is_empty() && !self.fit(self.budget / 8 * 7, MOST / 8 * 7) {
            for position in self.least_useful(here) {
                self.memory.remove(&position);
            }
        }
    }

    fn fit(&self, bytes: usize, count: usize) -> bool {
        self.bytes() <= bytes && self.memory.len() <= count
    }

    /// A sixteenth of the checkpoints: those whose loss makes the smallest gaps, measured in terms of how far they are from `here`; no
    /// two beside each other, whose gap would be larger.
    fn least_useful(&self, here: Icount) -> Vec<Icount> {
        let positions: Vec<u64> = self.memory.keys().map(|position| position.0).collect();
        let gap = |i: usize| {
            let before = i.checked_sub(1).map_or(0, |i| positions[i]);
            let after = positions.get(i + 1).copied().unwrap_or(u64::MAX);
            (u128::from(after - before), u128::from(positions[i].abs_diff(here.0)) + 1)
        };
        let mut order: Vec<_> = (0..positions.len()).map(|i| (gap(i), i)).collect();
        // gap / distance, compared without dividing
        order.sort_by(|((g, d), _), ((gap, distance), _)| (g * distance).cmp(&(gap * d)));
        let (most, mut chosen) = (positions.len() / 16 + 1, BTreeSet::new());
        for (_, i) in order {
            if chosen.len() < most && !chosen.contains(&(i + 1)) && !(i > 0 && chosen.contains(&(i - 1))) {
                chosen.insert(i);
            }
        }
        chosen.into_iter().map(|i| Icount(positions[i])).collect()
    }
}

#[cfg(test)]
impl Checkpoints {
    pub(super) fn in_memory(&self) -> usize {
        self.memory.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Replayer;
    use crate::fake::{Toy, record};
    use crate::{EndReason, Session};

    #[test]
    fn checkpoints_beyond_the_most_are_dropped_many_at_once_and_far_ones_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("recording");
        record(&path, 100, 1, 1000).finish(EndReason::Until("enough".into())).unwrap();
        let recording = Arc::new(Recording::open(&path).unwrap());
        let state = Session::<Toy>::new(recording.clone()).unwrap().machine().save();
        let mut checkpoints = Checkpoints::new(recording, usize::MAX);
        let (mut lookups, mut count) = (0, 0);
        for i in 1..=20_000 {
            let position = Icount(i * 1000);
            let state = Arc::new(MachineState { position, ..state.clone() });
            checkpoints.add(Checkpoint { state, pages: PageMap::default() });
            checkpoints.evict(position);
            lookups += u32::from(checkpoints.in_memory() <= count);
            count = checkpoints.in_memory();
            assert!(count <= MOST && count > MOST / 2 || i < MOST as u64);
        }
        assert!(lookups < 60, "{lookups}");
        let kept: Vec<u64> = checkpoints.memory.keys().map(|position| position.0).collect();
        let (early, late) = (kept[kept.len() / 2], kept[kept.len() - 1]);
        assert_eq!(late, 20_000_000);
        assert!(early > 10_000_000 && kept[0] < 1_000_000, "{early} {}", kept[0]);
    }
}
