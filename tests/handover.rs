//! A Multiboot kernel that firmware starts finds what it finds without firmware, and what QEMU gives it.

use retrograde_tests::recordings::info;
use retrograde_tests::retrograde::{ends_with, retrograde};
use retrograde_tests::{build_guest, seabios};
use std::fs;
use std::process::Command;
use tempfile::tempdir;

/// Vectors and masks as SeaBIOS leaves them, the PCI interrupts as levels; the local APIC on, in virtual wire mode; A20; counter 0 in
/// mode 2; keyboard interrupts and translation, the mouse off.
const CHIPS: &str = "b88e\n000c\n01ff\n8700\n8400\n0002\n0034\n0061\n";

#[test]
fn a_multiboot_kernel_finds_the_same_whoever_starts_it() {
    let dir = tempdir().unwrap();
    let kernel = build_guest("handover");
    fs::write(dir.path().join("one"), b"first\0").unwrap();
    fs::write(dir.path().join("two"), b"second\0").unwrap();
    let kernel = kernel.display().to_string();
    let modules = "one with words,two";
    let expected = format!("{kernel} a b\none with words\nfirst\ntwo\nsecond\n{CHIPS}");
    let bios = seabios().display().to_string();
    for firmware in [&["--bios", &bios][..], &[]] {
        let mut command =
            retrograde(["record", "-m", "32M", "--rtc", "2024-01-01T00:00:00", "--until", "time=30"]);
        command.current_dir(&dir).args(firmware).args(["--kernel", &kernel, "--initrd", modules]);
        command.args(["--append", "a b", "--serial", "stdio", "--device", "isa-debug-exit,iobase=0xf4"]);
        let outcome = ends_with(1, command.args(["--force", "-o", "handover.rgr"]));
        assert_eq!(outcome.stdout, expected, "{firmware:?}");
        let recording = dir.path().join("handover.rgr");
        assert_eq!(info(&recording)["ended_by"], "isa-debug-exit with 0x0");
        ends_with(0, retrograde(["replay", "--verify"]).arg(&recording));
    }
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.current_dir(&dir).args(["-m", "32M", "-display", "none", "-serial", "stdio"]);
    qemu.args(["-kernel", &kernel, "-initrd", modules, "-append", "a b"]);
    let outcome = ends_with(1, qemu.args(["-device", "isa-debug-exit,iobase=0xf4"]));
    assert_eq!(outcome.stdout, expected, "in QEMU");
}
