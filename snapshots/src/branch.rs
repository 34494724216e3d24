//! Another course of events from a past position of a run that is being recorded: a recording of its own, which begins with
//! a copy of the common past.
//!
//! What the file of the first one holds up to its last checkpoint before that position is copied as it is; what came
//! between the checkpoint and the position is written once more, and then a checkpoint.

use crate::checkpointer::Checkpointer;
use crate::pages::RamHash;
use crate::recording::{Error, Recording, StoredPage};
use crate::{Recorder, Replayer, Timeline};
use std::collections::BTreeMap;
use std::path::Path;

impl<M: Replayer> Timeline<M> {
    /// Goes on live from the present position, on which the machine must stand, in the new recording `path`. `recorder` is the
    /// one of this timeline's recording, and stays as it is.
    pub fn branch(self, recorder: &Recorder<M>, path: &Path, overwrite: bool) -> Result<Recorder<M>, Error> {
        let mut session = self.into_session();
        let recording = session.recording().clone();
        let here = session.position();
        let index = recording.checkpoint_before(here).unwrap_or(0);
        let from = recording.checkpoint_info(index).position;
        let stored = stored_pages(&recording, index)?;
        let mut ram = RamHash::new(recording.config().storage_bytes());
        stored.iter().for_each(|(page, stored)| ram.set(*page as usize, stored.hash));
        let changed = session.pages_differing_from(&ram);
        let mut file = Checkpointer::copy(path, overwrite, recorder.file(), from, ram, stored)?;
        let inputs = recording.inputs_between(from, here)?;
        if !inputs.is_empty() {
            file.writer.inputs(&inputs)?;
        }
        let interrupts = recording.interrupts_between(from, here)?;
        if !interrupts.is_empty() {
            file.writer.interrupts(&interrupts)?;
        }
        let machine = session.into_machine();
        if here > from {
            file.checkpoint(&machine, &changed)?;
        }
        Ok(recorder.another(machine, file))
    }
}

/// What storage holds at checkpoint `index`.
fn stored_pages(recording: &Recording, index: usize) -> Result<BTreeMap<u32, StoredPage>, Error> {
    let whole = (0..=index).rev().find(|i| recording.checkpoint_info(*i).whole).unwrap_or(0);
    let mut stored = BTreeMap::new();
    for i in whole..=index {
        for change in recording.read_checkpoint(i)?.pages {
            match change.stored {
                Some(page) => stored.insert(change.page, page),
                None => stored.remove(&change.page),
            };
        }
    }
    Ok(stored)
}

#[cfg(test)]
mod tests {
    use crate::fake::{Random, Toy, record};
    use crate::verify::replay_on;
    use crate::{EndReason, Recording, Replayer, Timeline};
    use std::sync::Arc;
    use vm::{Icount, Input};

    fn verified(path: &std::path::Path) -> Arc<Recording> {
        let recording = Arc::new(Recording::open(path).unwrap());
        assert!(replay_on::<Toy>(&recording, true, &mut |_, _| (), &mut |_, _| ()).unwrap().end_hash);
        recording
    }

    #[test]
    fn a_branch_shares_the_past_and_both_replay() {
        let dir = tempfile::tempdir().unwrap();
        let mut random = Random(3);
        for round in 0..12 {
            let path = dir.path().join(format!("{round}"));
            let mut recorder = record(&path, 20_000, round, 1500);
            let mut timeline = Timeline::<Toy>::on(recorder.look_back().unwrap()).unwrap();
            let at = if round == 0 { Icount(0) } else { Icount(random.next() % 20_000) };
            timeline.seek(at, &mut || false).unwrap();
            let other = dir.path().join(format!("{round}-branch"));
            let hash = timeline.hash().unwrap();
            let mut branch = timeline.branch(&recorder, &other, false).unwrap();
            assert_eq!(branch.machine().position(), at);
            for recorder in [&mut branch, &mut recorder] {
                recorder.inject(Input::Serial { port: 0, bytes: vec![b'b'; 5] }).unwrap();
                recorder.run(5_000, 3000).unwrap();
            }
            // A branch of a branch.
            let mut timeline = Timeline::<Toy>::on(branch.look_back().unwrap()).unwrap();
            timeline.seek(Icount(at.0 + 100), &mut || false).unwrap();
            let twig_at = timeline.position();
            let third = dir.path().join(format!("{round}-third"));
            let mut twig = timeline.branch(&branch, &third, false).unwrap();
            twig.run(3_000, 3000).unwrap();
            for recorder in [recorder, branch, twig] {
                recorder.finish(EndReason::Interrupted).unwrap();
            }
            let (first, second, third) = (verified(&path), verified(&other), verified(&third));
            assert!(second.end() >= at && third.end() >= twig_at && first.end().0 >= 20_000);
            for recording in [first, second, third] {
                let mut timeline = Timeline::<Toy>::on(recording).unwrap();
                timeline.seek(at, &mut || false).unwrap();
                assert_eq!(timeline.hash().unwrap(), hash);
            }
        }
    }

    #[test]
    fn a_run_is_looked_back_on_while_it_is_recorded() {
        let dir = tempfile::tempdir().unwrap();
        let mut recorder = record(&dir.path().join("live"), 5_000, 7, 700);
        let mut timeline = Timeline::<Toy>::on(recorder.look_back().unwrap()).unwrap();
        let go = &mut || false;
        let mut hashes = Vec::new();
        for round in 0..20 {
            let end = timeline.recording().end();
            for _ in 0..3 {
                let at = Icount((round * 1237 + 17) % (end.0 + 1));
                timeline.seek(at, go).unwrap();
                hashes.push((at, timeline.hash().unwrap()));
            }
            recorder.run(1_000, 3000).unwrap();
            recorder.inject(Input::Serial { port: 0, bytes: vec![b'l'] }).unwrap();
            timeline.extend(recorder.look_back().unwrap()).unwrap();
            assert!(timeline.recording().end() >= recorder.machine().position());
            timeline.seek(timeline.recording().end(), go).unwrap();
            assert_eq!(timeline.position(), recorder.machine().position());
        }
        for (at, hash) in hashes {
            timeline.seek(at, go).unwrap();
            assert_eq!(timeline.hash().unwrap(), hash);
        }
        recorder.finish(EndReason::Interrupted).unwrap();
        verified(&dir.path().join("live"));
    }
}
