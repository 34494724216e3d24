//! A recording is the same machine each time it is replayed, whatever the host does meanwhile and however one moves in it.
//!
//! `REPLAYS=n` replays each guest so often, every second time with all processors busy with work that is as urgent as the test, or
//! less; Debian's kernel is one of the guests then.

use retrograde_tests::busy::{BUSY, record_busy};
use retrograde_tests::random::Random;
use retrograde_tests::recordings::{linux_recording, open};
use snapshots::{Recording, Session, Timeline};
use std::process::{Child, Command};
use std::sync::Arc;
use std::thread::available_parallelism;
use tempfile::tempdir;
use vm::{Icount, Machine};

/// Replays unless it is said otherwise; then nothing else keeps the host busy.
const REPLAYS: u64 = 2;
/// Positions whose hashes are compared, beside the end.
const PLACES: u64 = 12;

/// Work for all processors, until it is dropped.
struct Load(Vec<Child>);

impl Load {
    fn new() -> Load {
        let count = available_parallelism().map_or(1, |n| n.get());
        let work = |n: usize| {
            let nice = if n.is_multiple_of(2) { "0" } else { "10" };
            let mut command = Command::new("nice");
            command.args(["-n", nice, "sh", "-c", "while :; do :; done"]);
            command.spawn().expect("nice and sh")
        };
        Load((0..count).map(work).collect())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // Both fail only if it has ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The hashes at these positions, ascending, by one run from the start.
fn straight(recording: &Arc<Recording>, places: &[Icount]) -> Vec<u64> {
    let mut session = Session::<Machine>::new(recording.clone()).unwrap();
    let hash = |place: &Icount| {
        session.run_to(*place).unwrap();
        session.machine().hash()
    };
    places.iter().map(hash).collect()
}

/// Goes to the positions in any order, with detours that leave checkpoints anywhere.
fn wander(recording: &Arc<Recording>, places: &[Icount], hashes: &[u64], random: &mut Random) {
    let mut timeline = Timeline::new(recording.clone()).unwrap();
    timeline.set_memory_budget(random.below(64) as usize * (1 << 20));
    let mut order: Vec<usize> = (0..places.len()).collect();
    random.shuffle(&mut order);
    for index in order {
        for _ in 0..random.below(3) {
            let near = places[index].0.saturating_sub(random.below(3_000_000));
            timeline.seek(Icount(near), &mut || false).unwrap();
        }
        timeline.seek(places[index], &mut || false).unwrap();
        assert_eq!(timeline.machine().hash(), hashes[index], "at {}", places[index]);
    }
}

fn soak(name: &str, recording: &Arc<Recording>, replays: u64) {
    let mut random = Random::new(recording.end().0);
    let mut places: Vec<Icount> = (0..PLACES).map(|_| Icount(random.below(recording.end().0))).collect();
    places.push(recording.end());
    places.sort_unstable();
    places.dedup();
    let hashes = straight(recording, &places);
    for replay in 0..replays {
        let load = (replays > REPLAYS && replay % 2 == 1).then(Load::new);
        if replay % 3 == 0 {
            assert_eq!(straight(recording, &places), hashes, "{name}, replay {replay}");
        } else {
            wander(recording, &places, &hashes, &mut random);
        }
        let report = snapshots::verify(recording, &mut |_, _| ()).unwrap();
        assert!(report.end_hash, "{name}: {report:?}");
        drop(load);
    }
}

#[test]
fn every_replay_is_the_same_machine() {
    let replays = std::env::var("REPLAYS").map_or(REPLAYS, |text| text.parse().expect("a number"));
    let dir = tempdir().unwrap();
    for guest in BUSY {
        soak(guest, &record_busy(guest, &dir.path().join(guest), 5_000_000, 700_000, 7), replays);
    }
    if replays > REPLAYS {
        soak("linux", &open(&linux_recording()), replays);
    }
}
