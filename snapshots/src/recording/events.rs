//! Inputs and interrupts of a recording. They are read when they are needed, those between two checkpoints at a time: a recorder
//! writes what belongs to the steps between two checkpoints between the two.

use super::format::{self, Kind, Place};
use super::{Error, Recording};
use std::sync::{Arc, Mutex, PoisonError};
use vm::units::NS_PER_STEP;
use vm::{Icount, Input, InterruptTaken, VmTime};

/// Stretches between checkpoints whose events are kept after they were read.
const MOST_KEPT: usize = 16;

/// An input with the position and virtual time at which it came.
pub type TimedInput = (Icount, VmTime, Input);

/// What happened between two checkpoints.
#[derive(Debug, Default)]
pub(crate) struct Events {
    /// In order.
    pub(crate) inputs: Vec<TimedInput>,
    /// In order; no two at one position.
    pub(crate) interrupts: Vec<InterruptTaken>,
}

/// Where a recording has them.
#[derive(Debug, Default)]
pub(super) struct EventChunks {
    /// With the number of the checkpoint behind which each comes, ascending.
    chunks: Vec<(usize, Kind, Place)>,
    /// Those read last, the newest at the end.
    kept: Mutex<Vec<(usize, Arc<Events>)>>,
}

impl EventChunks {
    /// Takes in a chunk of the kind `Inputs` or `Interrupts` that comes behind checkpoint `checkpoint`.
    pub(super) fn add(&mut self, checkpoint: usize, kind: Kind, place: Place) {
        self.chunks.push((checkpoint, kind, place));
    }

    /// The chunks behind one checkpoint.
    fn behind(&self, checkpoint: usize) -> &[(usize, Kind, Place)] {
        let first = self.chunks.partition_point(|(c, ..)| *c < checkpoint);
        let count = self.chunks[first..].partition_point(|(c, ..)| *c == checkpoint);
        &self.chunks[first..first + count]
    }
}

impl Recording {
    /// All inputs, in order. Reads them all.
    pub fn inputs(&self) -> Result<Vec<TimedInput>, Error> {
        self.inputs_between(Icount(0), Icount(u64::MAX))
    }

    /// All interrupts taken, in order. Reads them all.
    pub fn interrupts(&self) -> Result<Vec<InterruptTaken>, Error> {
        self.interrupts_between(Icount(0), Icount(u64::MAX))
    }

    /// How many inputs and how many interrupts there are. Reads them all, a few at a time.
    pub fn count_events(&self) -> Result<(usize, usize), Error> {
        let mut counts = (0, 0);
        for checkpoint in 0..self.checkpoints.len() {
            let events = self.read_events(checkpoint)?;
            counts = (counts.0 + events.inputs.len(), counts.1 + events.interrupts.len());
        }
        Ok(counts)
    }

    /// Inputs at `from` or later and before `to`.
    pub fn inputs_between(&self, from: Icount, to: Icount) -> Result<Vec<TimedInput>, Error> {
        let mut found = Vec::new();
        for checkpoint in self.checkpoints_around(from, to) {
            let events = self.events(checkpoint)?;
            found.extend(events.inputs.iter().filter(|(p, ..)| (from..to).contains(p)).cloned());
        }
        Ok(found)
    }

    /// Interrupts taken at `from` or later and before `to`.
    pub fn interrupts_between(&self, from: Icount, to: Icount) -> Result<Vec<InterruptTaken>, Error> {
        let mut found = Vec::new();
        for checkpoint in self.checkpoints_around(from, to) {
            let events = self.events(checkpoint)?;
            found.extend(events.interrupts.iter().filter(|i| (from..to).contains(&i.position)));
        }
        Ok(found)
    }

    /// The last input before `position`.
    pub(crate) fn last_input_before(&self, position: Icount) -> Result<Option<TimedInput>, Error> {
        for checkpoint in self.checkpoints_around(Icount(0), position).rev() {
            let events = self.events(checkpoint)?;
            if let Some(input) = events.inputs.iter().rfind(|(p, ..)| *p < position) {
                return Ok(Some(input.clone()));
            }
        }
        Ok(None)
    }

    /// The last interrupt taken before `position`.
    pub(crate) fn last_interrupt_before(&self, position: Icount) -> Result<Option<InterruptTaken>, Error> {
        for checkpoint in self.checkpoints_around(Icount(0), position).rev() {
            let events = self.events(checkpoint)?;
            if let Some(taken) = events.interrupts.iter().rfind(|i| i.position < position) {
                return Ok(Some(*taken));
            }
        }
        Ok(None)
    }

    /// Virtual time of the step at `position`. It differs from the time of the steps alone by what was skipped in halts, and
    /// every halt ends with an interrupt or an input. What was skipped before a checkpoint is in its time.
    pub fn time_at(&self, position: Icount) -> Result<VmTime, Error> {
        let steps_ns = |p: Icount| p.0.saturating_mul(NS_PER_STEP);
        let skipped_ns = |p: Icount, t: VmTime| t.0.saturating_sub(steps_ns(p));
        let checkpoint = self.checkpoint_before(position).unwrap_or(0);
        let info = self.checkpoint_info(checkpoint);
        let events = self.events(checkpoint)?;
        let inputs = events.inputs.partition_point(|(p, ..)| *p <= position);
        let interrupts = events.interrupts.partition_point(|i| i.position <= position);
        let skipped = skipped_ns(info.position, info.time)
            .max(events.inputs[..inputs].last().map_or(0, |(p, t, _)| skipped_ns(*p, *t)))
            .max(events.interrupts[..interrupts].last().map_or(0, |i| skipped_ns(i.position, i.time)));
        Ok(VmTime(steps_ns(position)).plus_ns(skipped))
    }

    /// Numbers of the checkpoints behind which there may be events at `from` or later and before `to`.
    fn checkpoints_around(&self, from: Icount, to: Icount) -> std::ops::Range<usize> {
        let first = self.checkpoint_before(from).unwrap_or(0);
        let behind = to.0.checked_sub(1).and_then(|last| self.checkpoint_before(Icount(last)));
        if from < to { first..behind.map_or(0, |last| last + 1) } else { 0..0 }
    }

    /// What happened from checkpoint `checkpoint` to before the next one, or to the end.
    pub(crate) fn events(&self, checkpoint: usize) -> Result<Arc<Events>, Error> {
        let kept = || self.events.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, events)) = kept().iter().find(|(c, _)| *c == checkpoint) {
            return Ok(events.clone());
        }
        let events = Arc::new(self.read_events(checkpoint)?);
        let mut kept = kept();
        if kept.len() >= MOST_KEPT {
            kept.remove(0);
        }
        kept.push((checkpoint, events.clone()));
        Ok(events)
    }

    fn read_events(&self, checkpoint: usize) -> Result<Events, Error> {
        let mut events = Events::default();
        let from = self.checkpoint_info(checkpoint).position;
        let to = self.checkpoints.get(checkpoint + 1).map(|(next, _)| next.position);
        let within = |p: Icount| p >= from && to.is_none_or(|to| p < to);
        for (_, kind, place) in self.events.behind(checkpoint) {
            let bad = |what: &str| self.source.damaged(place.offset, what);
            let payload = self.source.chunk(*kind, *place)?;
            if *kind == Kind::Inputs {
                let before = events.inputs.len().saturating_sub(1);
                events.inputs.extend(format::decode::<Vec<_>>(&payload).map_err(|e| bad(&e))?);
                let new = &events.inputs[before..];
                if !new.is_sorted_by_key(|(p, t, _)| (*p, *t)) || !new.iter().all(|(p, ..)| within(*p)) {
                    return Err(bad("the inputs are out of order"));
                }
            } else {
                let before = events.interrupts.len().saturating_sub(1);
                let some = format::decode_interrupts(&payload);
                events.interrupts.extend(some.ok_or_else(|| bad("no list of interrupts"))?);
                let new = &events.interrupts[before..];
                if !new.is_sorted_by(|a, b| a.position < b.position)
                    || !new.iter().all(|i| within(i.position))
                {
                    return Err(bad("the interrupts are out of order"));
                }
            }
        }
        // What was written after the last progress record may lack what belongs between.
        let end = (self.last.position, self.last.time);
        events.inputs.retain(|(p, t, _)| (*p, *t) <= end);
        events.interrupts.retain(|i| i.position < end.0);
        Ok(events)
    }
}
