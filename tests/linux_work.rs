//! Debian's kernels at work: pipes, timers, signals, and a crash.

use retrograde_tests::recordings::info;
use retrograde_tests::retrograde::{ends_with, retrograde};
use retrograde_tests::{Arch, busybox_tests, kernel};
use std::fs;
use tempfile::tempdir;

const SESSION: &str = r##"wait serial "# "
send mount -t proc proc /proc; mount -t devtmpfs dev /dev\n
wait serial "# "
send dd if=/dev/zero bs=64k count=32 | md5sum; seq 1 5000 | gzip | gunzip | md5sum\n
wait serial b2d1236c286a3c0704224fe4105eca49
wait serial "  -"
wait serial "# "
send awk 'BEGIN{for(i=0;i<20000;i++)s+=i%7;print "awk-" s}'\n
wait serial awk-59997
wait serial "# "
send a=$(date +%s); sleep 2; b=$(date +%s); echo slept-$((b-a))\n
wait serial slept-2
wait serial "# "
send trap 'echo got-$((6*7))' USR1; kill -USR1 $$; sh -c 'trap "exit 3" TERM; sleep 100 & wait' & sleep 1; kill $!; wait $!; echo status-$?\n
wait serial got-42
wait serial status-3
wait serial "# "
send sh -c 'kill -SEGV $$'; echo ended-$?\n
wait serial ended-139
wait serial "# "
send echo c >/proc/sysrq-trigger\n
wait serial "Kernel panic - not syncing: sysrq triggered crash"
wait serial Rebooting
"##;

fn works(metapackage: &str, arch: Arch, cpu: &str) {
    let dir = tempdir().unwrap();
    let [script, recording] = ["script", "work.rgr"].map(|name| dir.path().join(name));
    fs::write(&script, SESSION).unwrap();
    let mut command = retrograde(["record", "-m", "192M", "--cpu", cpu, "--rtc", "2024-01-01T00:00:00"]);
    command.args([
        "--no-reboot",
        "--append",
        "console=ttyS0 quiet panic=1 rdinit=/bin/sh",
        "--until",
        "time=200",
    ]);
    command.arg("--kernel").arg(kernel(metapackage, arch)).arg("--initrd").arg(busybox_tests(arch));
    ends_with(0, command.arg("--script").arg(&script).arg("-o").arg(&recording));
    assert_eq!(info(&recording)["ended_by"], "reset");
    ends_with(0, retrograde(["replay", "--verify"]).arg(&recording));
}

#[test]
fn the_64_bit_kernel_works_and_crashes() {
    works("linux-image-amd64", Arch::Amd64, "qemu64");
}

#[test]
fn the_pae_kernel_works_and_crashes() {
    works("linux-image-686-pae", Arch::I386, "qemu32");
}

#[test]
#[ignore = "takes a minute: for the night"]
fn the_32_bit_kernel_works_and_crashes_on_a_pentium_iii() {
    works("linux-image-686", Arch::I386, "pentium3");
}
