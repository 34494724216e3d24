//! The screen: video modes drawn by a guest, compared with QEMU dot by dot, and what firmware writes.

use retrograde_tests::build_guest;
use retrograde_tests::process::Process;
use retrograde_tests::retrograde::{ends_with, retrograde};
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::tempdir;

const QEMU_LIMIT: Duration = Duration::from_secs(120);
/// Where the guest has the number of its scene.
const SCENE: usize = 5;
/// Far more steps than a scene takes.
const STEPS_MAX: &str = "insns=300_000_000";

/// A picture with eight bits for each of red, green and blue.
#[derive(PartialEq)]
struct Rgb {
    width: usize,
    height: usize,
    bytes: Vec<u8>,
}

/// The option ROM that draws a scene.
fn option_rom(scene: u8, dir: &Path) -> PathBuf {
    let mut image = fs::read(build_guest("modes")).unwrap();
    image[SCENE] = scene;
    let sum = image.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    *image.last_mut().unwrap() = sum.wrapping_neg();
    let path = dir.join("scene.rom");
    fs::write(&path, image).unwrap();
    path
}

fn in_qemu(rom: &Path, dir: &Path) -> Rgb {
    let (console, dump) = (dir.join("console"), dir.join("qemu.ppm"));
    let mut command = Command::new("qemu-system-x86_64");
    command.args(["-accel", "tcg", "-m", "32M", "-nodefaults", "-display", "none", "-vga", "std"]);
    command.arg("-option-rom").arg(rom).arg("-debugcon").arg(format!("file:{}", console.display()));
    let mut qemu = Process::start(command.args(["-monitor", "stdio"]));
    let deadline = Instant::now() + QEMU_LIMIT;
    while !fs::read_to_string(&console).is_ok_and(|text| text.contains("DONE")) {
        assert!(Instant::now() < deadline, "the guest does not end in QEMU");
        qemu.listen(Duration::from_millis(20));
    }
    qemu.send(&format!("screendump {}\nquit\n", dump.display()));
    assert!(qemu.wait_for_end(QEMU_LIMIT).status.success());
    // P6, width and height, 255: a line each.
    let bytes = fs::read(dump).unwrap();
    let mut parts = bytes.splitn(4, |byte| *byte == b'\n');
    assert_eq!(parts.next(), Some(&b"P6"[..]));
    let size = String::from_utf8(parts.next().unwrap().to_vec()).unwrap();
    let (width, height) = size.split_once(' ').unwrap();
    assert_eq!(parts.next(), Some(&b"255"[..]));
    let bytes = parts.next().unwrap().to_vec();
    Rgb { width: width.parse().unwrap(), height: height.parse().unwrap(), bytes }
}

fn recorded(rom: &Path, dir: &Path) -> Rgb {
    let (recording, picture) = (dir.join("scene.rgr"), dir.join("scene.png"));
    let mut command = retrograde(["record", "-m", "32M", "--serial", "none", "--until", "console=DONE"]);
    command.args(["--until", STEPS_MAX, "--rtc", "2024-01-01T00:00:00", "--option-rom"]).arg(rom);
    let outcome = ends_with(0, command.arg("-o").arg(&recording));
    assert!(outcome.stderr.contains("ended by console=DONE"), "{}", outcome.stderr);
    ends_with(0, retrograde(["screen"]).arg(&recording).arg("-o").arg(&picture));
    ends_with(0, retrograde(["replay", "--verify"]).arg(&recording));
    let mut reader = png::Decoder::new(BufReader::new(File::open(picture).unwrap())).read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut bytes).unwrap();
    Rgb { width: info.width as usize, height: info.height as usize, bytes }
}

/// What six bits of a DAC become in eight is everybody's own choice: they are compared in six.
fn looks_as_in_qemu(scene: u8) {
    let dir = tempdir().unwrap();
    let rom = option_rom(scene, dir.path());
    let (expected, actual) = (in_qemu(&rom, dir.path()), recorded(&rom, dir.path()));
    assert_eq!((actual.width, actual.height), (expected.width, expected.height));
    assert!(expected.bytes.iter().any(|byte| *byte != expected.bytes[0]), "QEMU's screen is empty");
    let different = (0..expected.bytes.len()).filter(|&i| expected.bytes[i] >> 2 != actual.bytes[i] >> 2);
    let dots: Vec<_> = different.map(|i| (i / 3 % actual.width, i / 3 / actual.width)).collect();
    assert!(
        dots.is_empty(),
        "{} bytes differ, the first ones in dots {:?}",
        dots.len(),
        &dots[..dots.len().min(5)]
    );
}

#[test]
fn text_with_nine_dots() {
    looks_as_in_qemu(0);
}

#[test]
fn text_with_eight_dots() {
    looks_as_in_qemu(11);
}

#[test]
fn sixteen_colours_in_planes() {
    looks_as_in_qemu(1);
}

#[test]
fn sixteen_colours_with_half_the_clock() {
    looks_as_in_qemu(5);
}

#[test]
fn a_split_screen() {
    looks_as_in_qemu(10);
}

#[test]
fn two_hundred_and_fifty_six_colours() {
    looks_as_in_qemu(2);
}

#[test]
fn two_hundred_and_fifty_six_colours_in_planes() {
    looks_as_in_qemu(6);
}

#[test]
fn four_colours_of_a_cga() {
    looks_as_in_qemu(3);
}

#[test]
fn two_colours_of_a_cga() {
    looks_as_in_qemu(4);
}

#[test]
fn vesa_with_8_bits() {
    looks_as_in_qemu(7);
}

#[test]
fn vesa_with_16_bits() {
    looks_as_in_qemu(8);
}

#[test]
fn vesa_with_32_bits() {
    looks_as_in_qemu(9);
}

#[test]
fn firmware_writes_on_the_screen() {
    let dir = tempdir().unwrap();
    let recording = dir.path().join("bios.rgr");
    let mut command = retrograde(["record", "-m", "32M", "--serial", "none", "--until", STEPS_MAX]);
    command.args(["--until", "screen=No bootable device.", "-o"]).arg(&recording);
    let outcome = ends_with(0, &mut command);
    assert!(outcome.stderr.contains("ended by screen="), "{}", outcome.stderr);
    let screen = |at: &str| ends_with(0, retrograde(["screen", "--text", "--at", at]).arg(&recording)).stdout;
    let end = screen("end");
    assert!(end.contains("SeaBIOS (version ") && end.contains("No bootable device."), "{end}");
    assert!(!screen("start").contains("SeaBIOS"), "nothing is there before it is written");
    ends_with(0, retrograde(["replay", "--verify"]).arg(&recording));
}

#[test]
fn a_machine_without_an_adapter_has_no_screen() {
    let dir = tempdir().unwrap();
    let recording = dir.path().join("bios.rgr");
    let mut command =
        retrograde(["record", "-m", "32M", "--serial", "none", "--vga", "none", "--until", "insns=1000"]);
    ends_with(0, command.arg("-o").arg(&recording));
    let outcome = ends_with(1, retrograde(["screen", "--text"]).arg(&recording));
    assert!(outcome.stderr.contains("no display adapter"), "{}", outcome.stderr);
}
