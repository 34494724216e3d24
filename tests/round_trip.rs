//! A recording of each guest replays with every hash equal, however busy the host is, and the same run recorded again is the
//! same run.

use retrograde_tests::recordings::{
    LINUX_APPEND, LINUX_SCRIPT, info, linux_recording, record_linux, recording_of,
};
use retrograde_tests::retrograde::{ends_with, retrograde};
use retrograde_tests::{build_guest, seabios, workspace_root};
use snapshots::Recording;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use tempfile::tempdir;

/// Threads that keep every core of the host busy until they are dropped.
struct BusyHost(Arc<AtomicBool>);

impl BusyHost {
    fn new() -> BusyHost {
        let stop = Arc::new(AtomicBool::new(false));
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            let stop = stop.clone();
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        BusyHost(stop)
    }
}

impl Drop for BusyHost {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Replays it three times, once of them on a busy host, with every hash equal; the file stays as it was.
fn replays_three_times(recording: &Path) {
    let file = fs::read(recording).unwrap();
    let facts = info(recording);
    let mut reports = Vec::new();
    for turn in 0..3 {
        let busy = (turn == 1).then(BusyHost::new);
        let outcome = ends_with(0, retrograde(["replay", "--verify"]).arg(recording));
        drop(busy);
        let report = outcome.stderr.lines().last().expect("a report").to_owned();
        // "FILE: replayed N steps in 1.2 s; equal at C checkpoints and the end, I interrupts, J inputs"
        assert!(report.contains(&format!(" replayed {} steps ", facts["end"])), "{report}");
        let (_, equal) = report.split_once("; equal at ").expect("what was equal");
        reports.push(equal.to_owned());
    }
    let [checkpoints, interrupts, inputs] = ["checkpoints", "interrupts", "inputs"].map(|name| &facts[name]);
    let expected = format!("{checkpoints} checkpoints and the end, {interrupts} interrupts, {inputs} inputs");
    assert_eq!(reports, [expected.as_str(); 3]);
    assert_eq!(fs::read(recording).unwrap(), file, "the recording has changed");
}

/// Steps between checkpoints, where two recordings are compared: without it they are made by the processor time that was spent.
const EVERY: [&str; 2] = ["--checkpoint-every", "20000000"];

/// Two recordings of one and the same run, made with [`EVERY`]: checkpoints with their hashes, interrupts, inputs, end.
fn are_the_same_run(one: &Path, other: &Path) {
    let [one, other] = [one, other].map(|path| Recording::open(path).unwrap());
    assert_eq!((one.end(), one.end_time()), (other.end(), other.end_time()));
    assert_eq!(one.ended_by(), other.ended_by());
    assert_eq!(one.inputs().unwrap(), other.inputs().unwrap());
    assert_eq!(one.interrupts().unwrap(), other.interrupts().unwrap());
    assert_eq!(one.checkpoints().collect::<Vec<_>>(), other.checkpoints().collect::<Vec<_>>());
    assert!(one.end_hash().is_some(), "the end has a hash");
    assert_eq!(one.end_hash(), other.end_hash());
}

/// The whole round trip of one of the project's guests: what it says on its console, and the status it ends with.
fn round_trip(kernel: &Path, append: &str, status: i32, says: &[&str]) {
    let dir = tempdir().unwrap();
    let [one, other] = ["one.rgr", "other.rgr"].map(|name| dir.path().join(name));
    let record = |output: &Path| {
        let mut command = recording_of(kernel, append, output);
        ends_with(status, command.args(EVERY)).stdout
    };
    let console = record(&one);
    for text in says {
        assert!(console.contains(text), "no {text:?}:\n{console}");
    }
    assert_eq!(info(&one)["ended_by"], format!("isa-debug-exit with {:#x}", status >> 1));
    assert_eq!(record(&other), console);
    are_the_same_run(&one, &other);
    replays_three_times(&one);
}

#[test]
fn a_loop_that_is_interrupted() {
    round_trip(&build_guest("loop"), "iterations=200000", 33, &["loop: 200000 iterations", "PASS"]);
}

#[test]
fn real_mode() {
    round_trip(&build_guest("real16"), "", 33, &["iesrtR", "PASS"]);
}

#[test]
fn long_mode() {
    round_trip(&build_guest("longmode"), "", 33, &["lkspxut", "PASS"]);
}

#[test]
fn the_clobber_example() {
    let kernel = workspace_root().join("examples/clobber/clobber.elf");
    let page = fs::read_to_string(kernel.with_file_name("README.md")).unwrap();
    let panic = page.lines().find(|line| line.starts_with("PANIC")).expect("the page quotes the panic");
    round_trip(&kernel, "", 3, &["clobber: a kernel with a bug", "round 2", panic]);
}

#[test]
fn seabios_until_it_finds_nothing_to_boot() {
    let dir = tempdir().unwrap();
    let record = |name: &str| {
        let recording = dir.path().join(name);
        let mut command =
            retrograde(["record", "-m", "64M", "--rtc", "2024-01-01T00:00:00", "--serial", "none"]);
        command.args(EVERY);
        command.args(["--debugcon", "stdio", "--until", "console=No bootable device"]);
        let outcome = ends_with(0, command.arg("--bios").arg(seabios()).arg("-o").arg(&recording));
        assert!(outcome.stdout.contains("SeaBIOS (version "), "{}", outcome.stdout);
        assert!(outcome.stdout.contains("No bootable device"), "{}", outcome.stdout);
        recording
    };
    let (one, other) = (record("one.rgr"), record("other.rgr"));
    assert_eq!(info(&one)["ended_by"], "console=No bootable device");
    are_the_same_run(&one, &other);
    replays_three_times(&one);
}

#[test]
fn a_machine_that_resets_itself_in_every_way() {
    let dir = tempdir().unwrap();
    let record = |name: &str| {
        let recording = dir.path().join(name);
        let mut command = retrograde(["record", "-m", "1M", "--rtc", "2024-01-01T00:00:00", "--bios"]);
        command.arg(build_guest("reboot")).args(["--device", "isa-debug-exit,iobase=0xf4"]);
        // It ends with the number of its starts, 5, in isa-debug-exit's odd way.
        ends_with(11, command.args(EVERY).arg("-o").arg(&recording));
        recording
    };
    let (one, other) = (record("one.rgr"), record("other.rgr"));
    assert_eq!(info(&one)["inputs"], 4);
    are_the_same_run(&one, &other);
    replays_three_times(&one);
}

#[test]
fn linux_with_typed_commands() {
    let recording = linux_recording();
    assert_eq!(info(&recording)["ended_by"], "power-off");
    replays_three_times(&recording);
}

#[test]
fn linux_recorded_twice() {
    let dir = tempdir().unwrap();
    let script = dir.path().join("script");
    fs::write(&script, LINUX_SCRIPT).unwrap();
    let record = |name: &str| {
        let recording = dir.path().join(name);
        ends_with(0, record_linux(&script, LINUX_APPEND, &recording).args(EVERY));
        recording
    };
    let one = record("one.rgr");
    let _busy = BusyHost::new();
    are_the_same_run(&one, &record("other.rgr"));
}
