//! Replaying a recording from its start and comparing everything that it says.

use crate::narrow::narrowed;
use crate::recording::{Error, Recording};
use crate::{Replayer, Session};
use std::sync::Arc;
use vm::{Icount, Machine, Output, VmTime};

/// Steps between two reports of progress.
const REPORT_EVERY: u64 = 5_000_000;

/// What a replay has compared and found equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyReport {
    /// The last position.
    pub end: Icount,
    /// Virtual time there.
    pub end_time: VmTime,
    /// Checkpoints whose hash was compared.
    pub checkpoints: usize,
    /// Interrupts that were taken where the recording says.
    pub interrupts: usize,
    /// Inputs injected.
    pub inputs: usize,
    /// Whether the recording has a hash of its end, which then was compared: not if its recorder was killed.
    pub end_hash: bool,
}

/// Replays `recording` from its start at full speed and checks every checksum in the file, every checkpoint's hash, the
/// digest of I/O and the end. `progress` is told the position and the last position now and then.
pub fn verify(
    recording: &Arc<Recording>,
    progress: &mut dyn FnMut(Icount, Icount),
) -> Result<VerifyReport, Error> {
    recording.check()?;
    replay_on::<Machine>(recording, true, progress, &mut |_, _| ())
}

/// Replays `recording` from its start at full speed and hands out what the guest sends. Checks as [`verify`] does, but
/// for the file's checksums, if `check`; else only what following the recording checks anyway.
pub fn replay(
    recording: &Arc<Recording>,
    check: bool,
    progress: &mut dyn FnMut(Icount, Icount),
    output: &mut dyn FnMut(Icount, Output),
) -> Result<VerifyReport, Error> {
    replay_on::<Machine>(recording, check, progress, output)
}

/// [`replay`] on any machine.
pub fn replay_on<M: Replayer>(
    recording: &Arc<Recording>,
    check: bool,
    progress: &mut dyn FnMut(Icount, Icount),
    output: &mut dyn FnMut(Icount, Output),
) -> Result<VerifyReport, Error> {
    let mut session = Session::<M>::new(recording.clone())?;
    session.keep_output();
    let followed = follow(&mut session, check, progress, output);
    let checked = followed.map_err(|e| if check { narrowed(e, &mut session) } else { e })?;
    let (inputs, interrupts) = recording.count_events()?;
    Ok(VerifyReport {
        end: recording.end(),
        end_time: recording.end_time(),
        checkpoints: checked,
        interrupts,
        inputs,
        end_hash: check && recording.ended_by().is_some(),
    })
}

/// Follows a recording from its start to its very end; how many checkpoints were compared.
fn follow<M: Replayer>(
    session: &mut Session<M>,
    check: bool,
    progress: &mut dyn FnMut(Icount, Icount),
    output: &mut dyn FnMut(Icount, Output),
) -> Result<usize, Error> {
    let recording = session.recording().clone();
    let end = recording.end();
    let mut checked = 0;
    loop {
        let here = session.position();
        if let Some(i) = recording.checkpoint_before(here).filter(|_| check)
            && recording.checkpoint_info(i).position == here
        {
            session.check(i)?;
            session.settle();
            checked += 1;
        }
        progress(here, end);
        if here >= end {
            break;
        }
        let next = recording.checkpoint_before(here).map_or(0, |i| i + 1);
        let next = recording.checkpoints().nth(next).map_or(end, |c| c.position);
        session.run_to(next.min(end).min(Icount(here.0.saturating_add(REPORT_EVERY))))?;
        session.take_output().into_iter().for_each(|(at, what)| output(at, what));
    }
    session.run_out()?;
    session.take_output().into_iter().for_each(|(at, what)| output(at, what));
    Ok(checked)
}
