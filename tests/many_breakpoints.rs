//! Breakpoints slow down what they are on, and nothing else: ten thousand of them that are never met, also on the pages of the
//! hottest code. How fast is printed; `cargo test --release --test many_breakpoints -- --nocapture` shows it.

use retrograde_tests::recordings::{linux_recording, open, record_kernel};
use retrograde_tests::{build_guest, symbol};
use snapshots::{Recording, Session};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::tempdir;
use vm::{Icount, LinAddr, Machine};

const MANY: usize = 10_000;

/// Replays from one position to another with breakpoints, none of which is met; how long it takes, and what the machine is then.
fn replay(recording: &Arc<Recording>, to: Icount, breakpoints: &BTreeSet<LinAddr>) -> (Duration, u64) {
    let mut session = Session::<Machine>::new(recording.clone()).unwrap();
    session.arm(breakpoints, &[], &BTreeSet::new());
    let started = Instant::now();
    while session.position() < to {
        session.run_to(to).unwrap();
    }
    (started.elapsed(), session.machine().hash())
}

fn compare(name: &str, recording: &Arc<Recording>, to: Icount, breakpoints: &BTreeSet<LinAddr>) {
    assert_eq!(breakpoints.len(), MANY);
    let (mut without, mut with) = (Duration::MAX, Duration::MAX);
    let mut hashes = BTreeSet::new();
    for _ in 0..3 {
        let (took, hash) = replay(recording, to, &BTreeSet::new());
        (without, _) = (without.min(took), hashes.insert(hash));
        let (took, hash) = replay(recording, to, breakpoints);
        (with, _) = (with.min(took), hashes.insert(hash));
    }
    let ratio = with.as_secs_f64() / without.as_secs_f64();
    println!("{name}: {without:.2?} without, {with:.2?} with {MANY} breakpoints: {ratio:.2} times as long");
    assert_eq!(hashes.len(), 1, "breakpoints changed the run");
}

#[test]
fn ten_thousand_breakpoints_beside_a_hot_loop() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("loop.rgr");
    let kernel = build_guest("loop");
    record_kernel(&kernel, "iterations=8000000", 33, &path);
    let recording = open(&path);
    // Behind the code on its page, and on pages where nothing runs.
    let page = symbol(&kernel, "mix") & !0xfff;
    let behind = page + 0x800..page + 0x1000;
    let elsewhere = page + 0x10_0000..;
    let breakpoints = behind.chain(elsewhere).map(LinAddr).take(MANY).collect();
    compare("a hot loop", &recording, recording.end(), &breakpoints);
}

#[test]
fn ten_thousand_breakpoints_in_linux() {
    let recording = open(&linux_recording());
    let to = Icount(recording.end().0 / 4);
    // On the pages that ran, at the addresses between what ran.
    let mut breakpoints = BTreeSet::new();
    for index in 0..recording.intervals() {
        let executed = recording.interval(index).unwrap().footprint.executed.unwrap();
        breakpoints.extend(executed.iter().map(|(_, last)| last.saturating_add(1)));
    }
    for index in 0..recording.intervals() {
        for (first, last) in recording.interval(index).unwrap().footprint.executed.unwrap() {
            while let Some(at) = breakpoints.range(first..=last).next().copied() {
                breakpoints.remove(&at);
            }
        }
    }
    // And where nothing is.
    let more = 0xffff_9000_0000_0000_u64..;
    let breakpoints = breakpoints.into_iter().take(MANY / 2).chain(more).map(LinAddr).take(MANY).collect();
    compare("Linux", &recording, to, &breakpoints);
}
