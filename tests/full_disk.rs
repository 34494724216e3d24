//! When there is no more room for a recording: a clear error, and what has been written is good.

use retrograde_tests::build_guest;
use retrograde_tests::recordings::open;
use retrograde_tests::retrograde::{ends_with, outcome_of, retrograde, retrograde_binary};
use snapshots::{Direction, Stop, Timeline};
use std::fs;
use std::process::Command;
use tempfile::tempdir;

/// Limits to the length of the file in half KiB: in the middle of anything.
const LIMITS: [u32; 6] = [1, 7, 20, 61, 150, 333];

#[test]
fn a_recorder_that_runs_out_of_room_says_so_and_leaves_a_recording() {
    let dir = tempdir().unwrap();
    let kernel = build_guest("busypaging");
    let mut lengths = Vec::new();
    for limit in LIMITS {
        let recording = dir.path().join(format!("{limit}.rgr"));
        // The limit gives an error instead of a signal if that is ignored.
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' XFSZ; ulimit -f $0; exec \"$@\"", &limit.to_string()]);
        command.arg(retrograde_binary()).args(["record", "-m", "4M", "--serial", "none", "--vga", "none"]);
        command.args(["--rtc", "2024-01-01T00:00:00", "--checkpoint-every", "20_000"]);
        command.args(["--until", "insns=20_000_000", "--kernel"]).arg(&kernel).arg("-o").arg(&recording);
        let outcome = outcome_of(&mut command);
        assert_eq!(outcome.status.code(), Some(1), "{}", outcome.stderr);
        assert!(outcome.stderr.contains(&*recording.to_string_lossy()), "{}", outcome.stderr);
        assert!(outcome.stderr.contains("File too large"), "{}", outcome.stderr);
        let bytes = fs::metadata(&recording).unwrap().len();
        assert!(bytes <= u64::from(limit) * 512, "{bytes}");
        if outcome_of(retrograde(["info"]).arg(&recording)).status.code() == Some(1) {
            assert!(lengths.is_empty(), "a longer one was good: {limit}");
            continue;
        }
        ends_with(0, retrograde(["replay", "--verify"]).arg(&recording));
        let recording = open(&recording);
        let mut timeline = Timeline::new(recording.clone()).unwrap();
        timeline.seek(recording.end(), &mut || false).unwrap();
        for _ in 0..20.min(recording.end().0) {
            assert_eq!(timeline.step(Direction::Reverse, &mut || false).unwrap(), Stop::Step);
        }
        lengths.push(recording.end().0);
    }
    assert!(
        lengths.len() >= 3 && lengths.is_sorted() && lengths[0] < lengths[lengths.len() - 1],
        "{lengths:?}"
    );
}
