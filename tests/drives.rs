//! Drives and their images: what stays as it was, what is written, what is changed while the machine runs, and what is refused.

use retrograde_tests::build_guest;
use retrograde_tests::recordings::info;
use retrograde_tests::retrograde::{ends_with, retrograde};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::{TempDir, tempdir};

/// Where the boot sector has the number of the drive that it looks at, and the firmware's numbers.
const DRIVE: usize = 4;
const FLOPPY: u8 = 0x00;
const DISK: u8 = 0x80;
const CD: u8 = 0xe0;
const DISK_BYTES: usize = 4 << 20;
/// A guest that goes on so long does not find what it looks for.
const TIME_LIMIT: &str = "time=60";

/// A directory with images.
struct Images {
    dir: TempDir,
}

impl Images {
    fn new() -> Images {
        Images { dir: tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    /// An image that begins with a letter.
    fn lettered(&self, name: &str, letter: u8, bytes: usize) -> PathBuf {
        let mut image = vec![0; bytes];
        image[0] = letter;
        self.write(name, &image)
    }

    /// A disk from which the guest that looks at `drive` is started.
    fn boot_disk(&self, drive: u8) -> PathBuf {
        let mut image = fs::read(build_guest("drive")).unwrap();
        image[DRIVE] = drive;
        image.resize(DISK_BYTES, 0);
        self.write("boot.img", &image)
    }

    /// Records with this script, which ends the recording, and replays that.
    fn record(&self, script: &str, args: &[&str]) -> PathBuf {
        let (script, recording) = (self.write("script", script.as_bytes()), self.path("drives.rgr"));
        let mut command =
            retrograde(["record", "-m", "16M", "--serial", "none", "--rtc", "2024-01-01T00:00:00"]);
        command.args(["--force", "--until", TIME_LIMIT]).args(args).arg("--script").arg(&script);
        ends_with(0, command.current_dir(self.dir.path()).arg("-o").arg(&recording));
        ends_with(0, retrograde(["replay", "--verify"]).current_dir(self.dir.path()).arg(&recording));
        recording
    }
}

/// What the guest shows of a disk that it was started from: the jump at its beginning, as a script writes it.
const SHOWN_OF_BOOT_SECTOR: &str = "<\\xeb>";
const JUMP: u8 = 0xeb;

#[test]
fn images_stay_as_they_are_unless_that_is_switched_off() {
    let images = Images::new();
    let disk = images.boot_disk(DISK);
    let before = fs::read(&disk).unwrap();
    // What is shown is also written to the second sector.
    let script = format!("wait debugcon {SHOWN_OF_BOOT_SECTOR}\nwait time 0.1\nquit\n");
    images.record(&script, &["--hda", "boot.img"]);
    assert!(fs::read(&disk).unwrap() == before, "the image has changed");
    images.record(&script, &["--hda", "boot.img", "--snapshot", "off"]);
    let after = fs::read(&disk).unwrap();
    assert!(after[512..1024].iter().all(|byte| *byte == JUMP));
    assert!(after[..512] == before[..512] && after[1024..] == before[1024..]);
}

#[test]
fn a_floppy_is_taken_out_and_another_put_in() {
    let images = Images::new();
    images.boot_disk(FLOPPY);
    images.lettered("a.img", b'a', 1440 << 10);
    images.lettered("b.img", b'b', 1440 << 10);
    images.record(
        "wait debugcon <a>\neject fda\nwait debugcon <!>\ninsert fda b.img\nwait debugcon <b>\nquit\n",
        &["--hda", "boot.img", "--fda", "a.img"],
    );
}

#[test]
fn a_cd_is_taken_out_and_another_put_in() {
    let images = Images::new();
    images.boot_disk(CD);
    images.lettered("a.iso", b'a', 1 << 20);
    images.lettered("b.iso", b'b', 2 << 20);
    images.record(
        "wait debugcon <a>\neject cd\nwait debugcon <!>\ninsert cd b.iso\nwait debugcon <b>\n\
         insert cd a.iso\nwait debugcon <a>\nquit\n",
        &["--hda", "boot.img", "--cdrom", "a.iso"],
    );
}

#[test]
fn a_drive_can_be_empty_at_first() {
    let images = Images::new();
    images.boot_disk(CD);
    images.lettered("a.iso", b'a', 1 << 20);
    images.record("wait debugcon <!>\ninsert cd a.iso\nwait debugcon <a>\nquit\n", &["--hda", "boot.img"]);
}

fn qemu_img(dir: &Path, args: &[&str]) {
    let status = Command::new("qemu-img").args(args).current_dir(dir).status();
    assert!(status.expect("apt-get install qemu-utils").success(), "qemu-img {args:?}");
}

#[test]
fn qcow2_images_are_the_disks_that_they_describe() {
    let images = Images::new();
    images.boot_disk(DISK);
    let script = format!("wait debugcon {SHOWN_OF_BOOT_SECTOR}\nquit\n");
    let raw = info(&images.record(&script, &["--hda", "boot.img"]));
    for options in [
        &["-o", "compat=0.10"][..],
        &["-o", "compat=1.1,cluster_size=4096"],
        &["-c", "-o", "compression_type=zlib"],
        &["-c", "-o", "compression_type=zstd"],
        &["-o", "extended_l2=on"],
    ] {
        let convert =
            [&["convert", "-f", "raw", "-O", "qcow2"], options, &["boot.img", "disk.qcow2"]].concat();
        qemu_img(images.dir.path(), &convert);
        let before = fs::read(images.path("disk.qcow2")).unwrap();
        let recording = images.record(&script, &["--drive", "file=disk.qcow2,format=qcow2"]);
        let described = info(&recording);
        assert_eq!(described["media"][0]["xxh3_128"], raw["media"][0]["xxh3_128"], "{options:?}");
        assert_eq!(described["end"], raw["end"], "{options:?}");
        assert!(fs::read(images.path("disk.qcow2")).unwrap() == before);
    }
}

#[test]
fn a_qcow2_image_above_another_leaves_both_as_they_are() {
    let images = Images::new();
    images.boot_disk(DISK);
    let script = format!("wait debugcon {SHOWN_OF_BOOT_SECTOR}\nwait time 0.1\nquit\n");
    qemu_img(images.dir.path(), &["convert", "-O", "qcow2", "boot.img", "base.qcow2"]);
    qemu_img(images.dir.path(), &["create", "-f", "qcow2", "-F", "qcow2", "-b", "base.qcow2", "top.qcow2"]);
    let before = ["base.qcow2", "top.qcow2"].map(|name| fs::read(images.path(name)).unwrap());
    images.record(&script, &["--hda", "top.qcow2"]);
    assert!(before == ["base.qcow2", "top.qcow2"].map(|name| fs::read(images.path(name)).unwrap()));
    fs::remove_file(images.path("base.qcow2")).unwrap();
    images.refuse(&["--hda", "top.qcow2"], &["--hda", "top.qcow2", "base.qcow2", "No such file"]);
}

impl Images {
    /// Nothing is started with these arguments: status 2, and a message with all of `words`.
    fn refuse(&self, args: &[&str], words: &[&str]) {
        let recording = self.path("never.rgr");
        let mut command = retrograde(["record", "--until", "insns=1000"]);
        let outcome = ends_with(2, command.current_dir(self.dir.path()).args(args).arg("-o").arg(&recording));
        for word in words {
            assert!(outcome.stderr.contains(word), "{args:?}: no {word:?} in {}", outcome.stderr);
        }
        assert!(!recording.exists(), "{args:?} leave a recording behind");
    }
}

#[test]
fn what_cannot_be_used_is_refused_before_the_machine_starts() {
    let images = Images::new();
    images.write("empty.img", b"");
    images.write("short.img", &[1; 1000]);
    images.write("disk.img", &[1; 4096]);
    images.write("other.img", &[2; 4096]);
    images.write("disk.vmdk", b"KDMV");
    let mut iso = vec![0; 40 << 10];
    iso[0x8000..0x8006].copy_from_slice(b"\x01CD001");
    iso[0x8050..0x8054].copy_from_slice(&20u32.to_le_bytes());
    images.write("whole.iso", &iso);
    images.write("torn.iso", &iso[..36 << 10]);
    File::create(images.path("huge.img")).unwrap().set_len(1 << 40).unwrap();
    File::create(images.path("large.img")).unwrap().set_len(8 << 20).unwrap();
    images.write("locked.img", &[3; 512]);
    let locked = File::open(images.path("locked.img")).unwrap();
    locked.lock().unwrap();
    qemu_img(images.dir.path(), &["create", "-q", "-f", "qcow2", "disk.qcow2", "1M"]);
    let mut unknown = fs::read(images.path("disk.qcow2")).unwrap();
    unknown[72] |= 0x80;
    images.write("unknown.qcow2", &unknown);
    images.write("torn.qcow2", &unknown[..100]);

    images.refuse(&["--hda", "missing.img"], &["--hda", "missing.img", "No such file"]);
    images.refuse(&["--hdb", "empty.img"], &["--hdb", "empty.img", "empty"]);
    images.refuse(&["--hdc", "short.img"], &["--hdc", "short.img", "cut off"]);
    images.refuse(&["--hdd", "."], &["--hdd", "ordinary file"]);
    images.refuse(&["--hda", "locked.img"], &["--hda", "locked.img", "locked"]);
    images.refuse(&["--hda", "huge.img"], &["--hda", "huge.img", "more than a disk"]);
    images.refuse(&["--fda", "large.img"], &["--fda", "large.img", "more than a floppy"]);
    images.refuse(&["--hda", "whole.iso"], &["--hda", "whole.iso", "--cdrom"]);
    images.refuse(&["--fda", "whole.iso"], &["--fda", "whole.iso", "--cdrom"]);
    images.refuse(&["--cdrom", "torn.iso"], &["--cdrom", "torn.iso", "cut off"]);
    images.refuse(&["--hda", "disk.vmdk"], &["--hda", "disk.vmdk", "VMDK", "qemu-img"]);
    images.refuse(&["--hda", "unknown.qcow2"], &["--hda", "unknown.qcow2", "feature", "bit 63"]);
    images.refuse(&["--hda", "torn.qcow2"], &["--hda", "torn.qcow2"]);
    images.refuse(
        &["--snapshot", "off", "--hda", "disk.qcow2"],
        &["--hda", "disk.qcow2", "not written", "qemu-img convert"],
    );
    images.refuse(&["--hda", "disk.img", "--hdb", "disk.img"], &["--hdb", "disk.img", "another drive"]);
    images.refuse(&["--hdc", "disk.img", "--cdrom", "whole.iso"], &["--hdc", "--cdrom", "one place"]);
    images.refuse(
        &["--hda", "disk.img", "--drive", "file=other.img,index=0"],
        &["--hda", "other.img", "one place"],
    );
    images.refuse(&["--drive", "file=disk.img,if=scsi"], &["--drive", "if=scsi", "if=ide"]);
    images.refuse(&["--drive", "file=disk.img,format=qcow2"], &["--drive", "disk.img", "no qcow2"]);
    images.refuse(&["--frobnicate"], &["--frobnicate"]);
    images.refuse(&["--device", "flux-capacitor"], &["--device", "flux-capacitor", "isa-debug-exit"]);
    images.refuse(&["--boot", "order=x"], &["--boot", "order=x"]);
    images.refuse(&["--type", "<nokey>"], &["--type", "nokey"]);
}

#[test]
fn what_firmware_writes_to_flash_survives_a_reset_and_is_in_the_file_if_that_is_wanted() {
    /// The status of a run that isa-debug-exit ends with `b`.
    const ENDED: i32 = (b'b' as i32) << 1 | 1;
    let images = Images::new();
    let before = [0; 4096];
    let memory = images.write("memory.img", &before);
    let code = build_guest("flash").display().to_string();
    let recording = images.path("flash.rgr");
    for (snapshot, changed) in [("on", false), ("off", true)] {
        let mut command =
            retrograde(["record", "-m", "1M", "--serial", "none", "--force", "--until", TIME_LIMIT]);
        command.args(["--device", "isa-debug-exit,iobase=0xf4", "--snapshot", snapshot]);
        command.args(["--drive", "if=pflash,file=memory.img"]);
        command.args(["--drive", &format!("if=pflash,format=raw,unit=0,readonly=on,file={code}")]);
        ends_with(ENDED, command.current_dir(images.dir.path()).arg("-o").arg(&recording));
        ends_with(0, retrograde(["replay", "--verify"]).arg(&recording));
        let after = fs::read(&memory).unwrap();
        assert_eq!(after != before, changed, "--snapshot {snapshot}");
        if changed {
            assert_eq!(after[0x122..0x126], *b"\xffab\xff");
        }
    }
}

#[test]
fn an_image_that_qemu_writes_to_is_in_use() {
    let images = Images::new();
    images.write("disk.img", &[3; 512]);
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-S", "-display", "none", "-nodefaults", "-qmp", "stdio", "-drive"]);
    qemu.arg(format!("format=raw,file={}", images.path("disk.img").display()));
    let mut qemu =
        qemu.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("apt-get install qemu-system-x86");
    // It greets at once, and answers when its machine is there.
    writeln!(qemu.stdin.as_mut().unwrap(), "{{\"execute\": \"qmp_capabilities\"}}").unwrap();
    let lines = BufReader::new(qemu.stdout.as_mut().unwrap()).lines();
    assert!(lines.map(Result::unwrap).take(2).any(|line| line.contains("return")));
    images.refuse(&["--hda", "disk.img"], &["--hda", "disk.img", "locked"]);
    qemu.kill().unwrap();
    qemu.wait().unwrap();
}
