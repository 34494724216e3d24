//! A boot sector that writes on the text screen, with real debuggers: who wrote a character, forward and backward.

use retrograde_tests::debuggers::{Debugger, shows};
use retrograde_tests::retrograde::{ends_with, retrograde};
use retrograde_tests::server::{Server, verify};
use retrograde_tests::{build_guest, seabios};
use std::fs;
use std::path::{Path, PathBuf};

const FLOPPY_BYTES: usize = 1_474_560;
/// The exit status of isa-debug-exit when 0x10 is written.
const STATUS: i32 = 33;
/// Where the third character of the screen is, and its attribute.
const CHARACTER: u64 = 0xb8004;
const ATTRIBUTE: u64 = 0xb8005;
/// The same on the second row, where the BIOS writes.
const BY_BIOS: u64 = 0xb8000 + 2 * (80 + 2);

fn recorded(dir: &Path) -> PathBuf {
    let mut image = fs::read(build_guest("sector")).expect("the boot sector");
    image.resize(FLOPPY_BYTES, 0);
    let (floppy, recording) = (dir.join("boot.img"), dir.join("boot.rgr"));
    fs::write(&floppy, image).expect("the floppy can be written");
    let mut command = retrograde(["record", "-m", "16M", "--rtc", "2024-01-01T00:00:00", "--serial", "none"]);
    command.args(["--device", "isa-debug-exit,iobase=0xf4", "--boot", "order=a", "--bios"]);
    command.arg(seabios()).arg("--fda").arg(floppy).arg("-o").arg(&recording);
    ends_with(STATUS, &mut command);
    recording
}

/// Goes on to the next change of a watched byte, and checks what GDB says of it.
#[track_caller]
fn changes(gdb: &mut Debugger, command: &str, old: char, new: char) {
    let (old, new) = (u32::from(old), u32::from(new));
    shows(&gdb.run(command), &[&format!("Old value = {old} "), &format!("New value = {new} ")]);
}

#[test]
fn gdb_finds_who_wrote_a_character_both_ways() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let recording = recorded(dir.path());
    let server = Server::start(&recording);
    let (mut gdb, _) = Debugger::gdb(&server, None);
    let bytes = |at: u64| format!("*(unsigned char *) {at:#x}");
    assert_eq!((gdb.value(&bytes(CHARACTER)), gdb.value(&bytes(ATTRIBUTE))), (u64::from(b'X'), 0x4f));

    // What is written beside it is another byte's.
    shows(&gdb.run(&format!("watch {}", bytes(CHARACTER))), &["Hardware watchpoint 1"]);
    changes(&mut gdb, "reverse-continue", 'X', 'l');
    shows(&gdb.run("x/i $pc"), &["movb   $0x58,%es:0x4"]);
    let store = gdb.position();
    shows(
        &gdb.run(&format!("monitor last-write {CHARACTER:#x} 1")),
        &["wrote to 0xb8004: 20 before, 6c after"],
    );
    changes(&mut gdb, "reverse-continue", 'l', ' ');
    shows(&gdb.run("x/i $pc"), &["stos   %ax,%es:(%di)"]);
    changes(&mut gdb, "continue", ' ', 'l');
    changes(&mut gdb, "continue", 'l', 'X');
    assert_eq!(gdb.position(), store + 1);
    gdb.run("delete");

    gdb.seek("end");
    gdb.run(&format!("watch {}", bytes(ATTRIBUTE)));
    changes(&mut gdb, "reverse-continue", 'O', '\u{1f}');
    shows(&gdb.run("x/i $pc"), &["movb   $0x4f,%es:0x5"]);
    gdb.run("delete");

    // The BIOS writes in code of its own.
    gdb.seek("end");
    gdb.run(&format!("watch {}", bytes(BY_BIOS)));
    changes(&mut gdb, "reverse-continue", 'l', ' ');
    assert!(gdb.value("$pc") >= 0xc0000, "in firmware");
    gdb.run("delete");

    // A breakpoint at the sector's first instruction, from behind and from in front.
    gdb.run("break *0x7c00");
    shows(&gdb.run("reverse-continue"), &["Breakpoint "]);
    assert_eq!(gdb.value("$pc"), 0x7c00);
    let first = gdb.position();
    shows(&gdb.run("x/i $pc"), &["ljmp   $0x0,$0x7c05"]);
    gdb.seek("start");
    shows(&gdb.run("continue"), &["Breakpoint "]);
    assert_eq!(gdb.position(), first);
    // Loads from there are not watched.
    gdb.run(&format!("awatch {}", bytes(CHARACTER)));
    shows(&gdb.run("continue"), &["Could not insert hardware"]);
    drop((gdb, server));
    verify(&recording);
}

#[test]
fn lldb_finds_who_wrote_a_character() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = Server::start(&recorded(dir.path()));
    let (mut lldb, _) = Debugger::lldb(&server, None);
    lldb.run(&format!("watchpoint set expression -w write -s 1 -- {CHARACTER:#x}"));
    shows(&lldb.run("process continue --reverse"), &["stop reason = watchpoint 1"]);
    shows(&lldb.run("x/1bx 0xb8004"), &["0x6c"]);
    shows(&lldb.run("process continue --reverse"), &["stop reason = watchpoint 1"]);
    shows(&lldb.run("x/1bx 0xb8004"), &["0x20"]);
}
