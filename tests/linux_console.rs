//! Linux as a user meets it: typed at through a pipe, and ended by a panic.

use retrograde_tests::process::Process;
use retrograde_tests::recordings::{LINUX_APPEND, info, record_linux};
use retrograde_tests::retrograde::{RUN_LIMIT, ends_with, retrograde};
use retrograde_tests::{GUEST_READY, busybox_initrd, debian_kernel};
use std::fs;
use tempfile::tempdir;

#[test]
fn commands_come_through_a_pipe_on_standard_input() {
    let dir = tempdir().unwrap();
    let recording = dir.path().join("pipe.rgr");
    let mut command = retrograde(["record", "--append", LINUX_APPEND, "--serial", "stdio", "--no-reboot"]);
    command.arg("--kernel").arg(debian_kernel()).arg("--initrd").arg(busybox_initrd());
    let mut linux = Process::start(command.arg("-o").arg(&recording));
    linux.wait_for(GUEST_READY, RUN_LIMIT);
    linux.send("echo $((6 * 7))-answers\n");
    linux.wait_for("42-answers", RUN_LIMIT);
    linux.send("poweroff -f\n");
    let outcome = linux.wait_for_end(RUN_LIMIT);
    assert_eq!(outcome.status.code(), Some(0), "{}{}", outcome.stdout, outcome.stderr);
    assert_eq!(info(&recording)["ended_by"], "power-off");

    // The console of the replay is the console that was seen, to the byte.
    let replayed = ends_with(0, retrograde(["replay", "--verify", "--console"]).arg(&recording));
    assert_eq!(replayed.stdout, outcome.stdout);
}

#[test]
fn a_kernel_panic_ends_the_run() {
    let dir = tempdir().unwrap();
    let [script, recording] = ["script", "panic.rgr"].map(|name| dir.path().join(name));
    let typed =
        "wait serial RETROGRADE-GUEST-READY\nwait serial \"# \"\nsend echo c >/proc/sysrq-trigger\\n\n";
    fs::write(&script, typed).unwrap();
    let outcome = ends_with(0, &mut record_linux(&script, LINUX_APPEND, &recording));
    assert!(
        outcome.stdout.contains("Kernel panic - not syncing: sysrq triggered crash"),
        "{}",
        outcome.stdout
    );
    assert_eq!(info(&recording)["ended_by"], "reset");
    ends_with(0, retrograde(["replay", "--verify"]).arg(&recording));
}
