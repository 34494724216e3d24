//! What a debugger is shown of the guest's output is what a replay from the start gives, in whatever order it asks.

use proxy::console::follow;
use proxy::gdb::transcript::Transcript;
use retrograde_tests::random::Random;
use retrograde_tests::recordings::{open, record_kernel};
use retrograde_tests::workspace_root;
use snapshots::Recording;
use std::sync::Arc;
use vm::{Icount, Output};

fn replayed(recording: &Arc<Recording>, end: Icount) -> Vec<(Icount, Output)> {
    let mut all = Vec::new();
    let mut keep = |position, _, output| {
        all.push((position, output));
        true
    };
    follow(recording, recording.start(), end, &mut keep, &mut || false).unwrap();
    all
}

fn told(
    transcript: &mut Transcript,
    recording: &Arc<Recording>,
    end: Icount,
    interrupted: &mut dyn FnMut() -> bool,
) -> Vec<(Icount, Output)> {
    let mut all = Vec::new();
    let mut keep = |position, output| {
        all.push((position, output));
        true
    };
    transcript.follow(recording, end, &mut keep, interrupted).unwrap();
    all
}

#[test]
fn output_is_the_same_from_the_start_and_from_what_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("recording.rgr");
    record_kernel(&workspace_root().join("examples/clobber/clobber.elf"), "", 3, &path);
    let recording = open(&path);
    let all = replayed(&recording, recording.end());
    assert!(all.len() > 300, "{} bytes", all.len());
    let mut random = Random::new(7);
    // Right before a byte is sent, and right behind.
    let mut ends = vec![recording.start(), recording.end(), Icount(recording.end().0 - 1)];
    for _ in 0..6 {
        let sent = all[random.below(all.len() as u64) as usize].0;
        ends.extend([sent, Icount(sent.0 + 1)]);
    }
    for _ in 0..3 {
        let mut transcript = Transcript::default();
        // What is interrupted tells nothing, and leaves nothing behind.
        assert_eq!(told(&mut transcript, &recording, recording.end(), &mut || true), []);
        for _ in 0..5 {
            let end = ends[random.below(ends.len() as u64) as usize];
            let told = told(&mut transcript, &recording, end, &mut || false);
            assert_eq!(told, replayed(&recording, end), "up to {end}");
        }
        assert_eq!(told(&mut transcript, &recording, recording.end(), &mut || false), all);
    }
}
