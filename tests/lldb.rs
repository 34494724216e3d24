//! Debian's LLDB, driven as a user drives it, against `retrograde serve`.

use retrograde_tests::debuggers::{Debugger, shows};
use retrograde_tests::recordings::{linux_recording, record_kernel};
use retrograde_tests::server::{Server, verify};
use retrograde_tests::{build_guest, workspace_root};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const BOUNDARY: &str = "stop reason = history boundary";

/// The example kernel, recorded now, under LLDB.
struct Session {
    lldb: Debugger,
    connected: String,
    recording: PathBuf,
    server: Server,
    _dir: TempDir,
}

impl Session {
    fn of_clobber() -> Session {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let recording = dir.path().join("clobber.rgr");
        let elf = workspace_root().join("examples/clobber/clobber.elf");
        record_kernel(&elf, "", 3, &recording);
        let server = Server::start(&recording);
        let (lldb, connected) = Debugger::lldb(&server, Some(&elf));
        Session { lldb, connected, recording, server, _dir: dir }
    }

    /// Runs a command and looks for texts in what it shows, in their order.
    #[track_caller]
    fn expect(&mut self, command: &str, texts: &[&str]) {
        shows(&self.lldb.run(command), texts);
    }

    /// Positions and program counters of `count` stops.
    fn places(&mut self, command: &str, count: usize) -> Vec<(u64, String)> {
        let mut places = Vec::new();
        for _ in 0..count {
            self.expect(command, &["stop reason = breakpoint 1.1"]);
            let shown = self.lldb.run("register read eip esp eax");
            let registers = shown.lines().filter(|line| line.contains(" = 0x")).collect::<Vec<_>>().join(";");
            places.push((self.lldb.position(), registers));
        }
        places
    }
}

#[test]
fn a_watchpoint_finds_the_culprit_of_a_crash() {
    let mut session = Session::of_clobber();
    let file = |path: &Path| fs::read(path).expect("the recording");
    let before = file(&session.recording);
    shows(&session.connected, &["stop reason = signal SIGTRAP", "out8(port=244", "at kernel.c:18"]);
    session.expect(
        "bt",
        &["frame #0: 0x001001fd", "frame #1: 0x00100721", "panic(frame=0x00105fac) at kernel.c:264"],
    );
    session.expect(
        "watchpoint set variable reports",
        &["Watchpoint created: Watchpoint 1: addr = 0x00106120 size = 4"],
    );
    for (old, new) in [("0x000000d0", "0x0000004e"), ("0x0000004e", "0x00101080")] {
        session.expect(
            "process continue --reverse",
            &["Watchpoint 1 hit:", &format!("old value: {old}"), &format!("new value: {new}")],
        );
        session.expect(
            "process status",
            &[
                "stop reason = watchpoint 1",
                "timer_tick(eip=",
                "at kernel.c:90",
                "samples[sample_count].tick = ticks;",
            ],
        );
        session.expect("frame variable eip", &["(uint32_t) eip = "]);
        session.expect("print sample_count", &["32"]);
    }
    session.expect("watchpoint delete", &["All watchpoints removed."]);
    session.expect("process continue --reverse", &[BOUNDARY, "_start at boot.S:23"]);
    assert_eq!(session.lldb.position(), 0);
    // It says so when it comes to it, which may be behind the end of the command.
    session.lldb.begin("detach");
    session.lldb.wait_for("Process 1 detached");
    assert!(file(&session.recording) == before, "the recording has changed");
    verify(&session.recording);
}

#[test]
fn both_ends_of_history_are_boundaries() {
    let mut session = Session::of_clobber();
    let end = session.lldb.position();
    session.expect("process continue --reverse", &[BOUNDARY, "_start at boot.S:23"]);
    assert_eq!(session.lldb.position(), 0);
    session.expect("process continue --reverse", &[BOUNDARY]);
    assert_eq!(session.lldb.position(), 0);
    session.expect("thread step-inst", &["stop reason = instruction step into", "boot.S:24"]);
    assert_eq!(session.lldb.position(), 1);
    session.expect("process continue -F", &[BOUNDARY, "out8(port=244", "kernel.c:18"]);
    assert_eq!(session.lldb.position(), end);
    session.expect("process continue -F", &[BOUNDARY]);
    assert_eq!(session.lldb.position(), end);
    session.expect("process continue -R", &[BOUNDARY, "_start"]);
}

#[test]
fn breakpoints_by_line_stop_at_the_same_places_both_ways() {
    let mut session = Session::of_clobber();
    session.expect("process continue -R", &[BOUNDARY]);
    session.expect(
        "breakpoint set --file kernel.c --line 196",
        &["run_job", "kernel.c:196", "address = 0x0010053"],
    );
    let forward = session.places("process continue -F", 12);
    session.expect("process continue", &[BOUNDARY, "kernel.c:18"]);
    let mut back = session.places("process continue -R", 12);
    session.expect("process continue", &[BOUNDARY, "boot.S:23"]);
    back.reverse();
    assert_eq!(back, forward);
    session.expect("breakpoint delete", &["All breakpoints removed."]);
    session.expect("breakpoint set --name add_report", &["add_report", "kernel.c:2"]);
    session.expect("process continue -F", &["stop reason = breakpoint 2.1", "add_report(report=0x00101088)"]);
    let first = session.lldb.position();
    session.expect("thread step-inst", &["stop reason = instruction step into"]);
    assert_eq!(session.lldb.position(), first + 1);
    session.expect("process continue -R", &["stop reason = breakpoint 2.1"]);
    assert_eq!(session.lldb.position(), first);
}

#[test]
fn registers_memory_and_monitor_commands_are_there() {
    let mut session = Session::of_clobber();
    session.expect(
        "register read eip eax cr0",
        &["eip = 0x001001fd", "eax = 0x00000001", "cr0 = 0x0000000080010011"],
    );
    session.expect(
        "register read --all",
        &["general:", "esp = 0x00105f", "float:", "vector:", "system:", "efer"],
    );
    let general = session.lldb.run("register read");
    assert!(!general.contains("xmm0") && !general.contains("st0"), "{general}");
    let pointer = session.lldb.run("register read esp");
    assert_eq!(pointer.matches("clobber.elf`stack + ").count(), 1, "{pointer}");
    session.expect("memory read --size 4 --count 2 --format x 0x106120", &["0x00106120: 0x000000d0"]);
    session.expect("disassemble --pc --count 2", &["->  0x1001fd <+7>: retl"]);
    session.expect("process plugin packet monitor where", &["position ", "pc 0x1001fd, 32-bit code"]);
    session.expect("memory write 0x106120 1", &["error: Memory write to 0x106120 failed"]);
    session.expect("register write eax 5", &["error: Failed to write register 'eax'"]);
    session.expect("memory read --size 4 --count 1 --format x 0x106120", &["0x00106120: 0x000000d0"]);
    session.expect("register read eax", &["eax = 0x00000001"]);
    session.expect("memory read 0x0", &["error: "]);
    session.expect("process continue -R", &[BOUNDARY]);
}

#[test]
fn linux_goes_back_to_an_address_that_it_passed() {
    let server = Server::start(&linux_recording());
    let (mut lldb, connected) = Debugger::lldb(&server, None);
    shows(&connected, &["stop reason = signal SIGTRAP"]);
    let end = lldb.position();
    lldb.run(&format!("process plugin packet monitor seek {}", end - 5_000));
    // LLDB looks again after a step.
    shows(&lldb.run("thread step-inst"), &["stop reason = instruction step into"]);
    assert_eq!(lldb.position(), end - 4_999);
    let shown = lldb.run("register read rip rsp cr3");
    shows(&shown, &["rip = 0xffffffff", "rsp = 0xffff", "cr3 = 0x"]);
    let address =
        shown.split("rip = ").nth(1).and_then(|rest| rest.split_whitespace().next()).expect("an address");
    shows(&lldb.run(&format!("breakpoint set --address {address}")), &["Breakpoint 1"]);
    shows(&lldb.run("thread step-inst"), &["stop reason = "]);
    shows(&lldb.run("process continue -R"), &["stop reason = breakpoint 1.1"]);
    assert_eq!(lldb.position(), end - 4_999);
    assert_eq!(registers(&lldb.run("register read rip rsp cr3")), registers(&shown));
}

fn registers(shown: &str) -> Vec<&str> {
    shown.lines().filter(|line| line.contains(" = 0x")).collect()
}

#[test]
fn the_registers_of_a_16_bit_guest_are_shown() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let recording = dir.path().join("real16.rgr");
    record_kernel(&build_guest("real16"), "", 33, &recording);
    let server = Server::start(&recording);
    let (mut lldb, _) = Debugger::lldb(&server, None);
    let end = lldb.position();
    // What the guest leaves in AL for isa-debug-exit.
    shows(&lldb.run("register read al cs"), &["al = 0x10", "cs = 0x00000000"]);
    shows(
        &lldb.run("disassemble --start-address 0x8000 --count 2"),
        &["0x8000: movw   $0x10, %ax", "0x8003: "],
    );
    shows(&lldb.run("process continue -R"), &[BOUNDARY]);
    assert_eq!(lldb.position(), 0);
    shows(&lldb.run("thread step-inst"), &["stop reason = instruction step into"]);
    assert_eq!(lldb.position(), 1);
    shows(&lldb.run("process continue -F"), &[BOUNDARY]);
    assert_eq!(lldb.position(), end);
}

#[test]
fn watchpoints_of_each_kind_stop_both_ways() {
    let mut session = Session::of_clobber();
    session.expect("process continue -R", &[BOUNDARY]);
    for (kind, stops) in [("read", 5), ("write", 5), ("read_write", 10)] {
        session.expect(
            &format!("watchpoint set expression -w {kind} -s 4 -- &sample_count"),
            &["Watchpoint created"],
        );
        let mut there = Vec::new();
        for _ in 0..stops {
            session.expect("process continue -F", &["stop reason = watchpoint"]);
            there.push(session.lldb.position());
        }
        let mut back = Vec::new();
        for _ in 0..stops {
            session.expect("process continue -R", &["stop reason = watchpoint"]);
            // Before the step and not behind it.
            back.push(session.lldb.position() + 1);
        }
        back.reverse();
        assert_eq!(back, there, "{kind}");
        session.expect("process continue -R", &[BOUNDARY]);
        session.expect("watchpoint delete", &["All watchpoints removed."]);
    }
    // LLDB looks at conditions by itself.
    session.expect("watchpoint set variable -w write sample_count", &["Watchpoint created: Watchpoint 4"]);
    session.expect("watchpoint modify -c 'sample_count == 20' 4", &["1 watchpoints modified."]);
    session.expect("process continue -F", &["stop reason = watchpoint 4"]);
    session.expect("watchpoint disable 4", &["1 watchpoints disabled."]);
    session.expect("process continue -F", &[BOUNDARY]);
    session.expect("watchpoint enable 4", &["1 watchpoints enabled."]);
    session.expect("process continue -R", &["stop reason = watchpoint 4"]);
    session.expect("print sample_count", &["20"]);
}

#[test]
fn ctrl_c_stops_both_ways_while_lldb_passes_over_breakpoints() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let recording = dir.path().join("loop.rgr");
    let elf = build_guest("loop");
    record_kernel(&elf, "iterations=2000000", 33, &recording);
    let server = Server::start_with(&recording, &["--at", "50%"]);
    let (mut lldb, _) = Debugger::lldb(&server, Some(&elf));
    shows(&lldb.run("breakpoint set --name mix --condition 'x == 0xffffffff'"), &["Breakpoint 1"]);
    for direction in ["-F", "-R"] {
        let before = lldb.position();
        lldb.begin(&format!("process continue {direction}"));
        std::thread::sleep(std::time::Duration::from_millis(500));
        lldb.interrupt();
        // In the middle of a look at the condition it is LLDB that is interrupted, and says so.
        shows(&lldb.finish(), &["Process 1 stopped"]);
        let here = lldb.position();
        assert_eq!(here > before, direction == "-F", "{before} and {here}");
        assert_ne!(here, before);
    }
    shows(&lldb.run("breakpoint delete"), &["All breakpoints removed."]);
    let here = lldb.position();
    shows(&lldb.run("thread step-inst"), &["stop reason = instruction step into"]);
    assert_eq!(lldb.position(), here + 1);
}

#[test]
fn a_monitor_command_may_take_longer_than_lldb_waits_for_a_word() {
    let server = Server::start_with(&linux_recording(), &["--at", "40%"]);
    let (mut lldb, _) = Debugger::lldb(&server, None);
    let here = lldb.position();
    // Instead of some twenty.
    lldb.run("settings set target.process.interrupt-timeout 1");
    // All of it is replayed up to here, which takes longer.
    let shown = lldb.run("process plugin packet monitor seek prev serial NOTHING");
    shows(&shown, &["no line with `NOTHING` comes before position"]);
    shows(&lldb.run("process plugin packet monitor where"), &[&format!("position {here} of")]);
    shows(&lldb.run("thread step-inst"), &["stop reason = instruction step into"]);
    assert_eq!(lldb.position(), here + 1);
}

#[test]
fn a_process_that_is_killed_is_there_for_the_next_debugger() {
    let mut session = Session::of_clobber();
    let end = session.lldb.position();
    session.expect("process continue --reverse", &[BOUNDARY]);
    // LLDB may tell of it when it has taken the next command already, and it may see the end of the connection before the answer.
    let killed = session.lldb.run("process kill") + &session.lldb.run("process status");
    assert!(killed.contains("exited with status = ") && !killed.contains("failed"), "{killed}");
    session.expect(&format!("gdb-remote {}", session.server.address()), &["stop reason = "]);
    assert_eq!(session.lldb.position(), 0);
    session.expect("process continue --forward", &[BOUNDARY]);
    assert_eq!(session.lldb.position(), end);
}
