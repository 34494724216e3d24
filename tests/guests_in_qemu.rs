//! The guests that the other tests use do in QEMU what they are expected to do.

use retrograde_tests::qemu::Qemu;
use retrograde_tests::{GUEST_READY, build_guest, busybox_initrd, debian_kernel, workspace_root};
use std::fs;
use std::time::Duration;

const BOOT_LIMIT: Duration = Duration::from_secs(120);

#[test]
fn debian_boots_to_a_shell_and_powers_off() {
    let mut qemu = Qemu::start(&debian_kernel(), Some(&busybox_initrd()), "console=ttyS0 quiet panic=-1");
    qemu.wait_for(GUEST_READY, BOOT_LIMIT);
    qemu.send("echo $((6 * 7))-answers; exit\n");
    qemu.wait_for("42-answers", BOOT_LIMIT);
    let (status, _) = qemu.wait_for_end(BOOT_LIMIT);
    assert!(status.success(), "{status}");
}

#[test]
fn seabios_is_a_firmware_image() {
    let image = fs::read(retrograde_tests::seabios()).unwrap();
    assert_eq!(image.len(), 256 * 1024);
    // The reset vector, 16 bytes below 4 GiB, holds a far jump into the segment at 0xf0000.
    let reset = &image[image.len() - 16..];
    assert_eq!((reset[0], &reset[3..5]), (0xea, &[0x00, 0xf0][..]));
}

#[test]
fn the_clobber_example_crashes_where_its_page_says() {
    let kernel = workspace_root().join("examples/clobber/clobber.elf");
    let (status, console) = Qemu::start(&kernel, None, "").wait_for_end(BOOT_LIMIT);
    assert_eq!(status.code(), Some(3), "{console}");
    let page = fs::read_to_string(kernel.with_file_name("README.md")).unwrap();
    let panic = console.lines().find(|line| line.starts_with("PANIC")).expect("a panic on the console");
    assert!(page.lines().any(|line| line == panic), "{panic}");
}

/// Runs a guest of ours; it ends with PASS on the console and in its exit status (0x10 << 1 | 1).
fn passes(name: &str, cmdline: &str) -> String {
    let (status, console) = Qemu::start(&build_guest(name), None, cmdline).wait_for_end(BOOT_LIMIT);
    assert_eq!(status.code(), Some(33), "{name}: {console}");
    assert!(console.lines().any(|line| line.trim() == "PASS"), "{name}: {console}");
    console
}

#[test]
fn the_loop_guest_runs_as_long_as_it_is_told() {
    let short = passes("loop", "iterations=1000");
    assert!(short.contains("loop: 1000 iterations"), "{short}");
    let long = passes("loop", "quiet iterations=2000000");
    assert!(long.contains("loop: 2000000 iterations"), "{long}");
    assert_ne!(short.lines().nth(1), long.lines().nth(1), "another sum");
}

#[test]
fn the_real_mode_guest_passes() {
    let console = passes("real16", "");
    assert!(console.starts_with("iesrtR"), "{console}");
}

#[test]
fn the_long_mode_guest_passes() {
    let console = passes("longmode", "");
    assert!(console.starts_with("lkspxut"), "{console}");
}
