//! A part of a recording as a recording of its own.
//!
//! The part is replayed, which checks it, and written as the recorder writes: positions and times stay what they were. Its start
//! is the state on arrival at the first position; where it does not go to the end of the original, its end is the state on
//! arrival at the last.

use crate::checkpointer::{Checkpointer, progress};
use crate::recording::{End, Error, Recording};
use crate::{EndReason, Replayer, Timeline};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use vm::{Icount, Machine};

/// Steps between two reports of progress.
const REPORT_EVERY: u64 = 5_000_000;

/// Writes the steps of `range` of `recording` to the file `path`, which must not exist unless `overwrite`. `progressed` is told
/// the position and the last position now and then.
pub fn trim(
    recording: &Arc<Recording>,
    range: Range<Icount>,
    path: &Path,
    overwrite: bool,
    progressed: &mut dyn FnMut(Icount, Icount),
) -> Result<(), Error> {
    trim_on::<Machine>(recording, range, path, overwrite, progressed)
}

/// [`trim`] on any machine.
pub fn trim_on<M: Replayer>(
    recording: &Arc<Recording>,
    range: Range<Icount>,
    path: &Path,
    overwrite: bool,
    progressed: &mut dyn FnMut(Icount, Icount),
) -> Result<(), Error> {
    let end = range.end.clamp(recording.start(), recording.end());
    let start = range.start.clamp(recording.start(), end);
    let mut timeline = Timeline::<M>::on(recording.clone())?;
    timeline.seek(start, &mut || false)?;
    let mut session = timeline.into_session();
    let mut file = Checkpointer::create(path, overwrite, recording.config())?;
    for (number, source) in recording.open_media()?.iter().enumerate() {
        if !recording.embeds(number)? {
            continue;
        }
        let bytes = recording.config().medium(number).map_or(0, |medium| medium.bytes);
        file.writer.medium(number, bytes, &**source)?;
    }
    let used = session.used();
    file.checkpoint(session.machine(), &used)?;
    session.settle();
    session.take_footprint();
    while session.position() < end {
        let here = session.position();
        let next = recording.checkpoint_before(here).map_or(0, |i| i + 1);
        let next = (next < recording.checkpoints().len()).then(|| recording.checkpoint_info(next).position);
        let next = next.unwrap_or(end).min(end);
        while session.position() < next {
            session.run_to(Icount(session.position().0.saturating_add(REPORT_EVERY)).min(next))?;
            progressed(session.position(), end);
        }
        let inputs = recording.inputs_between(here, next)?;
        let interrupts = recording.interrupts_between(here, next)?;
        if !inputs.is_empty() {
            file.writer.inputs(&inputs)?;
        }
        if !interrupts.is_empty() {
            file.writer.interrupts(&interrupts)?;
        }
        let dirty = session.changed().to_vec();
        session.settle();
        file.interval(next, &dirty, session.take_footprint())?;
        if let Some(index) =
            recording.checkpoint_before(next).filter(|i| recording.checkpoint_info(*i).position == next)
        {
            session.check(index)?;
        }
        file.checkpoint(session.machine(), &dirty)?;
    }
    let whole = end == recording.end();
    if whole {
        // What was injected and skipped at the last position.
        let inputs = recording.inputs_between(end, Icount(end.0.saturating_add(1)))?;
        if !inputs.is_empty() {
            file.writer.inputs(&inputs)?;
        }
        session.run_out()?;
    }
    let reason = recording.ended_by().filter(|_| whole).cloned();
    let reason = reason.unwrap_or_else(|| EndReason::Until("trimmed".into()));
    let dirty = session.changed().to_vec();
    let hash = file.end_hash(session.machine(), &dirty)?;
    let at = progress(session.machine());
    file.writer.finish(&End { reason, at, hash })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{Random, Toy, record};
    use crate::verify::replay_on;

    const STEPS: u64 = 20_000;

    fn part(from: &Arc<Recording>, range: Range<u64>, path: &Path) -> Arc<Recording> {
        trim_on::<Toy>(from, Icount(range.start)..Icount(range.end), path, true, &mut |_, _| ()).unwrap();
        Arc::new(Recording::open(path).unwrap())
    }

    #[test]
    fn a_part_is_a_recording_that_shows_what_the_whole_shows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("whole");
        record(&path, STEPS, 21, 1500).finish(EndReason::DebugExit(3)).unwrap();
        let whole = Arc::new(Recording::open(&path).unwrap());
        let mut original = Timeline::<Toy>::on(whole.clone()).unwrap();
        let mut random = Random(21);
        for round in 0..30 {
            let a = random.next() % STEPS;
            let b = if round % 5 == 0 { STEPS } else { a + random.next() % (STEPS - a + 1) };
            let mut trimmed = part(&whole, a..b, &dir.path().join("part"));
            if round % 3 == 0 {
                // A part of a part.
                trimmed = part(&trimmed, a..b, &dir.path().join("again"));
            }
            assert_eq!((trimmed.start(), trimmed.end()), (Icount(a), Icount(b)));
            assert_eq!(trimmed.ended_by() == whole.ended_by(), b == STEPS);
            let report = replay_on::<Toy>(&trimmed, true, &mut |_, _| (), &mut |_, _| ()).unwrap();
            assert!(report.end_hash, "{report:?}");
            let mut timeline = Timeline::<Toy>::on(trimmed.clone()).unwrap();
            for _ in 0..5 {
                let at = Icount(a + random.next() % (b - a + 1));
                timeline.seek(at, &mut || false).unwrap();
                original.seek(at, &mut || false).unwrap();
                assert_eq!(
                    (timeline.hash().unwrap(), timeline.now()),
                    (original.hash().unwrap(), original.now())
                );
                assert_eq!(trimmed.time_at(at).unwrap(), whole.time_at(at).unwrap(), "{at}");
            }
        }
    }
}
