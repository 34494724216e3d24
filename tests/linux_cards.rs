//! Linux with its own drivers for cards that are not network cards: a virtio disk, console and random numbers, AC'97 sound.

use retrograde_tests::recordings::{LINUX_APPEND, info};
use retrograde_tests::retrograde::{ends_with, retrograde};
use retrograde_tests::{busybox_initrd_with_modules, debian_kernel};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::thread;
use tempfile::tempdir;

/// Mebibytes of the disk.
const DISK_MIB: usize = 4;

/// Sound at 8000 bytes a second, so two seconds of it.
const COMMANDS: &str = "cat /sys/block/vda/size /sys/block/vda/serial; md5sum </dev/vda; \
    dd if=/dev/zero of=/dev/vda bs=64k seek=1 count=63 conv=fsync 2>/dev/null; \
    echo 3 >/proc/sys/vm/drop_caches; md5sum </dev/vda; \
    cat /sys/class/misc/hw_random/rng_current; dd if=/dev/hwrng bs=32 count=1 2>/dev/null | md5sum; \
    echo name? >/dev/hvc0; read name </dev/hvc0; echo got-$name; \
    grep virtio /proc/interrupts; grep Intel /proc/asound/cards; \
    time dd if=/dev/zero of=/dev/dsp bs=8000 count=2; echo do''ne";

#[test]
fn linux_with_virtio_cards_and_sound() {
    let dir = tempdir().unwrap();
    let [script, recording, disk, console] =
        ["script", "cards.rgr", "disk", "console"].map(|name| dir.path().join(name));
    let listener = UnixListener::bind(&console).unwrap();
    let user = thread::spawn(move || {
        let mut stream = BufReader::new(listener.accept().unwrap().0);
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        stream.get_mut().write_all(b"nobody\n").unwrap();
        line
    });
    let contents: Vec<u8> = (0..DISK_MIB << 18).flat_map(|word: usize| (word as u32).to_le_bytes()).collect();
    fs::write(&disk, &contents).unwrap();
    let typed = format!(
        "wait serial RETROGRADE-GUEST-READY\nwait serial \"# \"\nsend {COMMANDS}\\n\nwait serial done\nsend poweroff -f\\n\n"
    );
    fs::write(&script, typed).unwrap();
    let modules = ["virtio_pci", "virtio_blk", "virtio_rng", "virtio_console", "snd_intel8x0", "snd_pcm_oss"];
    let mut command =
        retrograde(["record", "--rtc", "2024-01-01T00:00:00", "--no-reboot", "--until", "time=300"]);
    command.args(["--device", "virtio-rng-pci,seed=7", "--device", "AC97", "--drive"]);
    command.arg(format!("file={},if=virtio", disk.display()));
    command.arg("--virtconsole").arg(format!("unix:{}", console.display()));
    command.arg("--kernel").arg(debian_kernel());
    command.arg("--initrd").arg(busybox_initrd_with_modules(&modules)).args(["--append", LINUX_APPEND]);
    let said = ends_with(0, command.arg("--script").arg(&script).arg("-o").arg(&recording)).stdout;
    for text in [
        "\n8192\r\n",
        "RG00000001",
        // Of what was on the disk, and of what is when all but its first 64 KiB are zeros.
        "cfba5d64ae43205e56f71b9b87151a02",
        "bc3959abe3c721b288bad95e6520d803",
        "virtio_rng.0",
        "virtio0-req.0",
        "got-nobody",
        "virtio1-output",
        "Intel 82801AA-ICH",
        "2+0 records out",
        "real\t0m 2.",
    ] {
        assert!(said.contains(text), "no {text:?}:\n{said}");
    }
    assert_eq!(user.join().unwrap(), "name?\r\n");
    assert!(fs::read(&disk).unwrap() == contents, "the image has changed");
    assert_eq!(info(&recording)["ended_by"], "power-off");
    let replayed = ends_with(0, retrograde(["replay", "--verify", "--console"]).arg(&recording));
    // What was on the console went elsewhere.
    assert_eq!(replayed.stdout.replace("name?\r\nnobody\r\n", ""), said);
}
