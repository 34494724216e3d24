//! A recording is good up to its end, whenever its recorder was killed. `KILLS=n` says how often it is.

use retrograde_tests::chunks;
use retrograde_tests::process::Process;
use retrograde_tests::random::Random;
use retrograde_tests::recordings::{LINUX_APPEND, LINUX_SCRIPT, info, open, record_linux};
use retrograde_tests::retrograde::{ends_with, retrograde};
use snapshots::{Direction, Stop, Timeline};
use std::fs;
use std::thread;
use std::time::{Duration, Instant};
use tempfile::tempdir;

const KILLS: usize = 20;
/// Steps back from the end.
const STEPS_BACK: u64 = 50;
/// Kills come within this time after the file has its header.
const WINDOW_MS: u64 = 3_000;

#[test]
fn a_recorder_killed_at_any_moment_leaves_a_recording_that_replays() {
    let dir = tempdir().unwrap();
    let script = dir.path().join("script");
    fs::write(&script, LINUX_SCRIPT).unwrap();
    let mut random = Random::new(0x6b11);
    let mut lengths = Vec::new();
    let kills = std::env::var("KILLS").map_or(KILLS, |text| text.parse().expect("a number"));
    for kill in 0..kills {
        let recording = dir.path().join(format!("killed-{kill}.rgr"));
        let mut command = record_linux(&script, LINUX_APPEND, &recording);
        let mut recorder = Process::start(command.args(["--checkpoint-every", "3_000_000"]));
        let begun = Instant::now();
        while fs::metadata(&recording).map_or(0, |file| file.len()) == 0 {
            assert!(begun.elapsed() < Duration::from_secs(60), "no recording: {}", recorder.stderr());
            thread::sleep(Duration::from_millis(1));
        }
        // The first one as early as can be.
        thread::sleep(Duration::from_millis(if kill == 0 { 0 } else { random.below(WINDOW_MS) }));
        recorder.kill();

        let file = fs::read(&recording).unwrap();
        if chunks::first(&file, chunks::CHECKPOINT).is_none() {
            // Not even the initial state was complete.
            let refused = ends_with(1, retrograde(["info"]).arg(&recording));
            assert!(
                refused.stderr.starts_with("retrograde: cannot open the recording"),
                "{}",
                refused.stderr
            );
            continue;
        }
        assert!(info(&recording)["ended_by"].is_null());
        let replayed = ends_with(0, retrograde(["replay", "--verify"]).arg(&recording));
        assert!(replayed.stderr.contains("the recorder was killed"), "{}", replayed.stderr);
        assert_eq!(fs::read(&recording).unwrap(), file, "the recording has changed");
        let opened = open(&recording);
        let end = opened.end();
        let mut timeline = Timeline::new(opened).unwrap();
        timeline.seek(end, &mut || false).unwrap();
        for back in 1..=STEPS_BACK.min(end.0) {
            assert_eq!(timeline.step(Direction::Reverse, &mut || false).unwrap(), Stop::Step);
            assert_eq!(timeline.position().0, end.0 - back);
        }
        lengths.push(end.0);
        fs::remove_file(&recording).unwrap();
    }
    lengths.sort_unstable();
    lengths.dedup();
    assert!(lengths.len() > kills / 2, "the kills came at different moments: {lengths:?}");
}
