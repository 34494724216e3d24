//! Keys that are typed by the command line, at a boot loader that reads the keyboard.

use retrograde_tests::debian_guests::grub_rescue_cd;
use retrograde_tests::retrograde::{ends_with, retrograde};
use tempfile::tempdir;

#[test]
fn text_and_named_keys_reach_grub() {
    let dir = tempdir().unwrap();
    let recording = dir.path().join("typed.rgr");
    let mut command = retrograde(["record", "-m", "64M", "--serial", "none", "--rtc", "2024-01-01T00:00:00"]);
    command.arg("--cdrom").arg(grub_rescue_cd()).args(["--boot", "order=d"]);
    // What is typed is on the screen as well: the whole word only if GRUB has understood it.
    command.args(["--type", "<wait 0.7>c<wait 0.2>set x=by-<ret>echo ${x}N<backspace>name<ret>"]);
    let until = ["--until", "screen=by-name", "--until", "time=10"];
    let outcome = ends_with(0, command.args(until).arg("-o").arg(&recording));
    assert!(outcome.stderr.contains("ended by screen="), "{}", outcome.stderr);
    ends_with(0, retrograde(["replay", "--verify"]).arg(&recording));
}
