//! What the guest has sent out, made once by replaying and kept for the next who asks.

use super::history::Sink;
use crate::console::follow;
use snapshots::{Error, Recording};
use std::sync::Arc;
use vm::{Icount, Output};

/// More than this is not kept, but made anew each time: 64 MB.
const MOST_KEPT: usize = 4 << 20;

/// The output of a recording, as far as somebody has asked for it.
#[derive(Debug, Default)]
pub struct Transcript {
    /// Output of all steps before this position is known. What follows it was sent while the machine waited there at the end.
    known: Icount,
    output: Vec<(Icount, Output)>,
}

impl Transcript {
    /// Hands out what the guest wrote up to `end`, in order, with its position. Ends early when `sink` says false, or
    /// `interrupted`, which is asked again and again while it replays, true.
    pub fn follow(
        &mut self,
        recording: &Arc<Recording>,
        end: Icount,
        sink: &mut Sink<'_>,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<(), Error> {
        if end > self.known && !self.learn(recording, end, interrupted)? {
            return if self.output.len() > MOST_KEPT {
                *self = Transcript::default();
                follow(
                    recording,
                    Icount(0),
                    end,
                    &mut |position, _, output| sink(position, output),
                    interrupted,
                )
            } else {
                Ok(())
            };
        }
        let waits_there = end == recording.end();
        for (position, output) in self.output.iter().filter(|(position, _)| waits_there || *position < end) {
            if !sink(*position, output.clone()) {
                break;
            }
        }
        Ok(())
    }

    /// Replays up to `end` from where it has come to. False if there is too much, or it was interrupted: then it knows no more
    /// than before.
    fn learn(
        &mut self,
        recording: &Arc<Recording>,
        end: Icount,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<bool, Error> {
        let before = self.output.partition_point(|(position, _)| *position < self.known);
        self.output.truncate(before);
        let mut stopped = false;
        let mut keep = |position, _, output| {
            self.output.push((position, output));
            self.output.len() <= MOST_KEPT
        };
        follow(recording, self.known, end, &mut keep, &mut || {
            stopped |= interrupted();
            stopped
        })?;
        if self.output.len() > MOST_KEPT {
            return Ok(false);
        }
        if stopped {
            self.output.truncate(before);
            return Ok(false);
        }
        self.known = end;
        Ok(true)
    }
}
