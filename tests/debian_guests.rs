//! Guests that nobody here wrote, from their own boot media. `scripts/guests` runs all of them and prints a table.

use retrograde_tests::build_guest;
use retrograde_tests::debian_guests::{GUESTS, Guest, Run, debian_disk, make_efi_disk, ovmf};
use retrograde_tests::recordings::info;
use retrograde_tests::retrograde::{ends_with, retrograde};
use std::env;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tempfile::tempdir;

fn run(guest: &Guest) -> Result<Run, String> {
    let dir = tempdir().map_err(|error| error.to_string())?;
    // What a guest is made of may be missing: that is said, and the others run.
    let run = catch_unwind(AssertUnwindSafe(|| guest.run(dir.path())));
    run.unwrap_or_else(|_| Err("it could not be run; see above".to_owned()))
}

fn line(guest: &Guest, run: &Run) -> String {
    format!(
        "{:20} {:>12} steps {:>8.3} s virtual; CPU to record {:5.1} s, to replay {:5.1} s; {:6.2} MB",
        guest.name,
        run.steps,
        run.virtual_time.as_secs_f64(),
        run.recorded_in,
        run.replayed_in,
        run.bytes as f64 / 1e6
    )
}

fn all_pass<'a>(guests: impl Iterator<Item = &'a Guest>) {
    let mut failed = Vec::new();
    for guest in guests {
        match run(guest) {
            Ok(run) => println!("ok     {}", line(guest, &run)),
            Err(error) => {
                println!("FAILED {}: {error}", guest.name);
                failed.push(guest.name);
            }
        }
    }
    assert!(failed.is_empty(), "guests that failed: {}", failed.join(", "));
}

#[test]
fn firmware_boot_loaders_and_memory_tests() {
    all_pass(GUESTS.iter().filter(|guest| guest.is_quick()));
}

#[test]
fn what_uefi_starts_switches_off_as_the_acpi_tables_say() {
    let dir = tempdir().unwrap();
    let [disk, recording] = ["disk.img", "uefi.rgr"].map(|name| dir.path().join(name));
    make_efi_disk(&disk, &[], &[("EFI/BOOT/BOOTX64.EFI", build_guest("efi_off"))]);
    let mut command = retrograde(["record", "-m", "128M", "--rtc", "2024-01-01T00:00:00"]);
    command.args(["--serial", "none", "--until", "time=60"]).arg("--bios").arg(ovmf());
    ends_with(0, command.arg("--hda").arg(&disk).arg("-o").arg(&recording));
    assert_eq!(info(&recording)["ended_by"], "power-off");
}

/// Whether the words in the environment's `GUESTS`, if there are any, name this guest.
fn is_wanted(name: &str) -> bool {
    let wanted = env::var("GUESTS").unwrap_or_default();
    wanted.trim().is_empty() || wanted.split_whitespace().any(|word| name.contains(word))
}

#[test]
#[ignore = "takes minutes: scripts/guests"]
fn every_guest() {
    all_pass(GUESTS.iter().filter(|guest| is_wanted(guest.name)));
}

/// Somebody logs in on the screen, and somebody else on the serial port, who switches the machine off.
const DEBIAN_SESSION: &str = r##"wait screen "retrograde login:"
wait serial "retrograde login:"
type root\n
wait screen Password:
type retrograde\n
wait screen root@retrograde:~#
type echo typed on $((6 * 7)) keys >/dev/ttyS0\n
wait serial typed on 42 keys
send root\n
wait serial Password:
send retrograde\n
wait serial "# "
send ls /boot; dd if=/dev/zero bs=64k count=16 of=/root/zeros; sync; md5sum /root/zeros\n
wait serial vmlinuz-6.1
wait serial b6d81b360a5672d80c27430f39153e2c
wait serial "# "
send seq 1 20000 | gzip | gunzip | md5sum; ps ax; poweroff\n
wait serial e071f707df7bbeee2a6a1eb48011ddd0
"##;

#[test]
#[ignore = "takes minutes, and root to make the disk: scripts/guests debian-disk"]
fn an_installed_debian_is_logged_into_and_switched_off() {
    if !is_wanted("debian-disk") {
        return;
    }
    let dir = tempdir().unwrap();
    let [script, recording] = ["script", "debian.rgr"].map(|name| dir.path().join(name));
    fs::write(&script, DEBIAN_SESSION).unwrap();
    let mut command =
        retrograde(["record", "-m", "256M", "--rtc", "2024-01-01T00:00:00", "--until", "time=400"]);
    command.arg("--drive").arg(format!("file={},format=qcow2", debian_disk().display()));
    ends_with(0, command.arg("--script").arg(&script).arg("-o").arg(&recording));
    assert_eq!(info(&recording)["ended_by"], "power-off");
    ends_with(0, retrograde(["replay", "--verify"]).arg(&recording));
    println!("ok     debian-disk          {} steps", info(&recording)["end"]);
}
