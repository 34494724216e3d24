//! The commands that our scripts add to GDB and LLDB, as their users type them.

use retrograde_tests::debuggers::{Debugger, shows};
use retrograde_tests::recordings::record_kernel;
use retrograde_tests::server::Server;
use retrograde_tests::{build_guest, workspace_root};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn clobber_elf() -> PathBuf {
    workspace_root().join("examples/clobber/clobber.elf")
}

/// A recording of `kernel` under a server.
fn serve(kernel: &Path, status: i32) -> (Server, TempDir) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let recording = dir.path().join("recording.rgr");
    record_kernel(kernel, "", status, &recording);
    (Server::start(&recording), dir)
}

fn gdb_with_script(server: &Server, symbols: Option<&Path>) -> Debugger {
    let (mut gdb, _) = Debugger::gdb(server, symbols);
    gdb.load_script();
    gdb
}

fn lldb_with_script(server: &Server, symbols: Option<&Path>) -> Debugger {
    let (mut lldb, _) = Debugger::lldb(server, symbols);
    lldb.load_script();
    lldb
}

/// What both scripts show in the same words.
fn asks_the_server(debugger: &mut Debugger) {
    shows(&debugger.run("rg seek 1000000"), &["next_random", "kernel.c:"]);
    assert_eq!(debugger.position(), 1_000_000);
    shows(&debugger.run("rg mark early"), &["position 1000000 is @early"]);
    shows(&debugger.run("rg where"), &["position 1000000 of ", "32-bit code at privilege level 0"]);
    shows(&debugger.run("rg seek 50%"), &["kernel.c:"]);
    shows(&debugger.run("rg seek @early"), &["next_random"]);
    assert_eq!(debugger.position(), 1_000_000);
    shows(&debugger.run("rg seek next irq 0x20"), &["kernel.c:"]);
    assert!(debugger.position() > 1_000_000);
    shows(&debugger.run("rg events"), &["interrupts and 0 inputs", "-- here --", "interrupt, vector 0x20"]);
    let picture = debugger.run("rg timeline");
    shows(
        &picture,
        &["checkpoints |#", "interrupts  |", "marks       |", "a", "here ", "^", "@early, position 1000000"],
    );
    assert!(picture.lines().all(|line| line.len() <= 80), "{picture}");
    shows(&debugger.run("rg irqs"), &["-- here --", "vector 0x20"]);
    shows(&debugger.run("rg checkpoints"), &["0.000000000 s"]);
    shows(&debugger.run("rg console"), &["clobber: a kernel with a bug", "round 1"]);
    shows(&debugger.run("rg seek 99999999999"), &["cannot seek there: the recording ends at position"]);
    shows(&debugger.run("rg seek"), &["Write a place: rg seek 50%"]);
    shows(&debugger.run("rg seek end"), &["out8", "kernel.c:18"]);
    shows(
        &debugger.run("rg who-wrote reports"),
        &["the step at position 2", "4e 00 00 00 before, d0 00 00 00 after", "timer_tick", "kernel.c:90"],
    );
    shows(&debugger.run("rg who-wrote 2+2"), &["2+2 has no address in memory."]);
    shows(&debugger.run("rg linux"), &["rg linux vmlinux"]);
    shows(&debugger.run("rg linux /nowhere/vmlinux"), &["No such file"]);
}

#[test]
fn gdb_has_commands_for_a_recording() {
    let (server, _dir) = serve(&clobber_elf(), 3);
    let mut gdb = gdb_with_script(&server, Some(&clobber_elf()));
    shows(
        &gdb.run("help rg"),
        &["Walk through a recording", "rg linux", "rg seek", "rg timeline", "rg who-wrote"],
    );
    asks_the_server(&mut gdb);
    // GDB has seen that the machine has moved.
    shows(&gdb.run("print sample_count"), &["32"]);
    shows(&gdb.run("reverse-stepi"), &["samples[sample_count].tick = ticks;"]);
}

#[test]
fn lldb_has_commands_for_a_recording() {
    let (server, _dir) = serve(&clobber_elf(), 3);
    let mut lldb = lldb_with_script(&server, Some(&clobber_elf()));
    shows(&lldb.run("rg help"), &["rg seek WHERE", "rg reverse-next"]);
    asks_the_server(&mut lldb);
    shows(&lldb.run("print sample_count"), &["32"]);
    shows(&lldb.run("rg fly"), &["There is no rg fly"]);
    // The server knows to whom it speaks.
    let answer = lldb.run("monitor seek -1");
    shows(&answer, &["LLDB still shows the place before", "rg seek"]);
    assert!(!answer.contains("GDB") && !answer.contains("packet:"), "{answer}");
    shows(&lldb.run("monitor help"), &["process plugin packet monitor", "process continue --reverse"]);
    shows(&lldb.run("monitor fly"), &["there is no monitor command `fly`"]);
}

#[test]
fn lldb_steps_backwards() {
    let (server, _dir) = serve(&clobber_elf(), 3);
    let mut lldb = lldb_with_script(&server, Some(&clobber_elf()));
    lldb.run("rg who-wrote reports");
    let hit = lldb.position();
    shows(&lldb.run("rg reverse-stepi"), &["timer_tick", "kernel.c:90"]);
    assert_eq!(lldb.position(), hit - 1);
    shows(&lldb.run("rg reverse-stepi 3"), &["timer_tick"]);
    assert_eq!(lldb.position(), hit - 4);
    lldb.run(&format!("rg seek {hit}"));
    shows(&lldb.run("rg reverse-step"), &["timer_tick", "kernel.c:90"]);
    shows(&lldb.run("rg reverse-step"), &["timer_tick", "kernel.c:89"]);
    shows(&lldb.run("rg reverse-finish"), &["interrupt(frame=", "kernel.c:277"]);
    // LLDB knows no caller of this one, and its call does.
    shows(&lldb.run("finish"), &["error: "]);
    let inside = lldb.position();
    shows(&lldb.run("breakpoint set --name interrupt"), &["Breakpoint "]);
    shows(&lldb.run("rg finish"), &["common_entry"]);
    let outside = lldb.position();
    assert!(outside > inside);
    // What the user waits for may come before that.
    lldb.run(&format!("rg seek {inside}"));
    shows(&lldb.run("breakpoint set --name timer_tick"), &["Breakpoint "]);
    shows(&lldb.run("rg finish"), &["timer_tick", "kernel.c:"]);
    assert!((inside..outside).contains(&lldb.position()));
    shows(&lldb.run("breakpoint delete"), &["removed"]);
    lldb.run(&format!("rg seek {outside}"));
    shows(&lldb.run("rg reverse-next"), &["common_entry"]);
    assert!(lldb.position() < inside, "over the call");
    lldb.run(&format!("rg seek {inside}"));
    // Out of the handler, and over the whole call that it interrupted.
    shows(&lldb.run("breakpoint set --file kernel.c --line 194"), &["run_job"]);
    shows(&lldb.run("process continue -R"), &["stop reason = breakpoint ", "kernel.c:194"]);
    let behind = lldb.position();
    shows(&lldb.run("rg reverse-next"), &["run_job", "kernel.c:193"]);
    let before = lldb.position();
    assert!(before + 1000 < behind, "{before} and {behind}");
    lldb.run(&format!("rg seek {behind}"));
    let shown = lldb.run("rg reverse-step");
    assert!(shown.contains("kernel.c:") && !shown.contains("run_job"), "{shown}");
    assert!((behind - 10..behind).contains(&lldb.position()), "into the function, at its end");
    // At the start of history it stays.
    lldb.run("rg seek start");
    for command in ["rg reverse-step", "rg reverse-next", "rg reverse-stepi"] {
        shows(&lldb.run(command), &["_start", "boot.S:23"]);
        assert_eq!(lldb.position(), 0, "{command}");
    }
    for command in ["rg reverse-finish", "rg finish"] {
        shows(&lldb.run(command), &["error: Its call is not in the recording."]);
        assert_eq!(lldb.position(), 0, "{command}");
    }
}

#[test]
fn the_commands_work_in_16_bit_code() {
    let (server, _dir) = serve(&build_guest("real16"), 33);
    let mut gdb = gdb_with_script(&server, None);
    let end = gdb.position();
    shows(&gdb.run("show architecture"), &["i8086"]);
    gdb.run("rg seek -1");
    shows(&gdb.run("x/i $pc"), &["=> 0x"]);
    shows(&gdb.run("rg where"), &["16-bit code"]);
    gdb.run("rg seek start");
    gdb.run("rg seek end");
    assert_eq!(gdb.position(), end);
    drop(gdb);
    let mut lldb = lldb_with_script(&server, None);
    shows(&lldb.run("rg reverse-stepi 2"), &["16-bit code"]);
    assert_eq!(lldb.position(), end - 2);
    // No line is known: back by an instruction, over a call.
    shows(&lldb.run("rg reverse-next"), &["16-bit code", "->", "callw"]);
    assert!(lldb.position() < end - 20, "the call prints something");
    shows(&lldb.run("rg reverse-next"), &["16-bit code", "->", "movw "]);
    shows(&lldb.run("rg seek start"), &["position 0 of"]);
    assert_eq!(lldb.position(), 0);
}

#[test]
fn a_watchpoint_knows_the_value_of_the_place_that_was_gone_to() {
    let (server, _dir) = serve(&build_guest("both_ways"), 33);
    let mut gdb = gdb_with_script(&server, Some(&build_guest("both_ways")));
    gdb.run("rg seek start");
    gdb.run("watch level");
    shows(&gdb.run("continue"), &["Old value = 0", "New value = 1"]);
    let changed = gdb.position();
    gdb.run("delete");
    gdb.run("rg seek start");
    gdb.run("watch level");
    // What GDB saw last is what the store before there will find.
    gdb.run(&format!("rg seek {changed}"));
    shows(&gdb.run("reverse-continue"), &["Old value = 1", "New value = 0", "levels ()"]);
    assert_eq!(gdb.position(), changed - 1);
}
