//! Debian's GDB, driven as a user drives it, against `retrograde serve`.

use retrograde_tests::debuggers::{Debugger, shows};
use retrograde_tests::recordings::{linux_recording, record_kernel, recording_of};
use retrograde_tests::retrograde::ends_with;
use retrograde_tests::server::{Server, verify};
use retrograde_tests::{build_guest, seabios, workspace_root};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;
use tempfile::TempDir;

/// The example kernel, whose last report crashes.
fn clobber_elf() -> PathBuf {
    workspace_root().join("examples/clobber/clobber.elf")
}

/// A recording under GDB.
struct Session {
    gdb: Debugger,
    connected: String,
    recording: PathBuf,
    before: Vec<u8>,
    _server: Server,
    _dir: Option<TempDir>,
}

impl Session {
    fn of(recording: &Path, symbols: Option<&Path>) -> Session {
        let server = Server::start(recording);
        let (gdb, connected) = Debugger::gdb(&server, symbols);
        let before = fs::read(recording).expect("the recording");
        Session { gdb, connected, recording: recording.to_owned(), before, _server: server, _dir: None }
    }

    fn of_kernel(kernel: &Path, status: i32) -> Session {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let recording = dir.path().join("recording.rgr");
        record_kernel(kernel, "", status, &recording);
        let symbols = kernel.extension().is_some_and(|extension| extension == "elf").then_some(kernel);
        Session { _dir: Some(dir), ..Session::of(&recording, symbols) }
    }

    /// The example, recorded now.
    fn of_clobber() -> Session {
        Session::of_kernel(&clobber_elf(), 3)
    }

    fn run(&mut self, command: &str) -> String {
        self.gdb.run(command)
    }

    /// Runs a command and looks for texts in what it shows, in their order.
    #[track_caller]
    fn expect(&mut self, command: &str, texts: &[&str]) -> String {
        let shown = self.run(command);
        shows(&shown, texts);
        shown
    }

    /// What is shown by `expression`s after each of `count` runs of `command`; stops have to go on like this, without
    /// anything else that ends them.
    fn places(&mut self, command: &str, count: usize, format: &str, values: &str) -> Vec<String> {
        let shown = self.run(&format!(
            "set $places = 0\nwhile $places < {count}\n{command}\nprintf \"AT {format}\\n\", {values}\nset $places = $places + 1\nend"
        ));
        let places: Vec<_> =
            shown.lines().filter_map(|line| line.strip_prefix("AT ")).map(str::to_owned).collect();
        assert_eq!(places.len(), count, "{shown}");
        places
    }

    /// GDB leaves, and neither the file nor what it replays has changed.
    fn end(mut self) {
        self.expect("detach", &["detached"]);
        assert!(
            fs::read(&self.recording).expect("the recording") == self.before,
            "the recording has changed"
        );
    }
}

fn hunt(mut session: Session) {
    let end = session.gdb.position();
    session.expect(
        "bt",
        &[
            "0x00100721 in panic (frame=0x105fac) at kernel.c:264",
            "0x00100779 in interrupt (frame=0x105fac) at kernel.c:275",
            "<signal handler called>",
            "print_reports () at kernel.c:232",
            "0x00100a2c in kernel_main () at kernel.c:367",
            "in _start () at boot.S:26",
        ],
    );
    session.expect("frame function print_reports", &["report->print();"]);
    session.expect("print report", &["(struct report *) 0xd0"]);
    session.expect("frame 0", &["#0  "]);
    session.expect("watch -l reports", &["Hardware watchpoint 1: -location reports"]);
    let culprit = ["timer_tick (eip=", "at kernel.c:90", "samples[sample_count].tick = ticks;"];
    let shown = session.expect(
        "reverse-continue",
        &[
            "Hardware watchpoint 1",
            "Old value = (struct report *) 0xd0",
            "New value = (struct report *) 0x4e",
        ],
    );
    shows(&shown, &culprit);
    // The store is what comes next.
    assert_eq!(session.gdb.value("reports"), 0x4e);
    session.expect("x/i $pc", &["=> 0x1002f1 <timer_tick+34>:", "mov ", "0x106020"]);
    assert_eq!(session.gdb.value("sample_count"), 32);
    assert_eq!(session.gdb.value("sizeof samples / sizeof samples[0]"), 32);
    assert_eq!(session.gdb.value("&samples[32]"), session.gdb.value("&reports"));
    session.expect("bt", &["timer_tick", "interrupt", "<signal handler called>", "sort_keys", "run_job"]);
    session.expect("frame function run_job", &["job->step();"]);
    session.expect("print job->name", &["\"sort all\""]);
    session.expect("frame 0", &["timer_tick"]);
    let shown = session.expect("reverse-continue", &["Old value = (struct report *) 0x4e", "<time_report>"]);
    shows(&shown, &culprit);
    session.expect(
        "reverse-continue",
        &["<time_report>", "<jobs_report>", "add_report (report=", "kernel.c:225", "reports = report;"],
    );
    session
        .expect("reverse-continue", &["<jobs_report>", "New value = (struct report *) 0x0", "kernel.c:225"]);
    session.expect("reverse-continue", &["No more reverse-execution history."]);
    // The same stores are met on the way back to the crash.
    for new in ["<jobs_report>", "<time_report>", "0x4e", "0xd0"] {
        session.expect("continue", &["Old value = ", "New value = ", new]);
        session.expect("print reports", &[new]);
    }
    session.expect("continue", &["No more reverse-execution history."]);
    assert_eq!(session.gdb.position(), end);
    session.end();
}

#[test]
fn a_watchpoint_finds_the_culprit_of_a_crash() {
    hunt(Session::of_clobber());
}

#[test]
fn the_recordings_that_are_kept_show_the_same() {
    let examples = fs::read_dir(workspace_root().join("examples/clobber")).expect("the example");
    let files = examples.map(|entry| entry.expect("an entry").path());
    let kept: Vec<_> = files.filter(|path| path.extension().is_some_and(|e| e == "rgr")).collect();
    assert!(!kept.is_empty());
    for recording in kept {
        hunt(Session::of(&recording, Some(&clobber_elf())));
        verify(&recording);
    }
}

#[test]
fn debugging_leaves_a_recording_as_it_was() {
    let mut session = Session::of_clobber();
    let end = session.gdb.position();
    session.run("watch ticks");
    session.run("break drain_samples");
    for command in
        ["reverse-continue", "reverse-stepi", "reverse-continue", "continue", "stepi", "reverse-next"]
    {
        session.run(command);
        assert!((1..end).contains(&session.gdb.position()), "{command}");
    }
    let recording = session.recording.clone();
    // The directory goes with the session.
    let dir = session._dir.take();
    session.end();
    verify(&recording);
    drop(dir);
}

#[test]
fn going_back_by_instructions_lines_and_functions() {
    let mut session = Session::of_clobber();
    session.run("watch -l reports");
    session.expect("reverse-continue", &["timer_tick"]);
    session.run("delete");
    let hit = session.gdb.position();
    session.expect("reverse-stepi", &["0x001002eb", "samples[sample_count].tick = ticks;"]);
    assert_eq!(session.gdb.position(), hit - 1);
    session.expect("reverse-step", &["89", "if (sample_count <= SAMPLES_MAX) {"]);
    assert_eq!(session.gdb.value("ticks"), 0xd0);
    session.expect("reverse-step", &["interrupt (frame=", "kernel.c:277", "timer_tick(frame->eip);"]);
    // The tick is taken back with the line that counted it.
    assert_eq!(session.gdb.value("ticks"), 0xcf);
    session.expect("reverse-next", &["276", "if (frame->vector == TIMER_VECTOR)"]);
    session.expect("reverse-finish", &["Run back to call of #0  interrupt", "<signal handler called>"]);
    session.expect("x/i $pc", &["<common_entry+3>", "call", "<interrupt>"]);
    // Out of the interrupt: into the function that it met, as it was before.
    session.expect("reverse-stepi", &[]);
    while session.run("info symbol $pc").starts_with("common_entry")
        || session.run("info symbol $pc").starts_with("entry_32")
    {
        session.expect("reverse-stepi", &[]);
    }
    session.expect("frame", &["#0  ", "sort_keys () at kernel.c:137"]);
    assert_eq!(session.gdb.value("$pc"), 1049599);
    session.expect(
        "reverse-finish",
        &["Run back to call of #0", "run_job (job=", "kernel.c:193", "job->step();"],
    );
    let call = session.gdb.position();
    // Over the call that was just left, and back over it.
    session.expect("next", &["194", "job->steps++;"]);
    assert!(session.gdb.position() > hit);
    session.expect("reverse-next", &["193", "job->step();"]);
    assert!(session.gdb.position() <= call);
    session.expect("step", &["sort_keys () at kernel.c:13"]);
    session.end();
}

#[test]
fn the_ends_of_history_are_said_and_are_not_the_end() {
    let no_more = "No more reverse-execution history.";
    let mut session = Session::of_clobber();
    shows(&session.connected, &["out8 (port=port@entry=244, value=value@entry=1 ", "at kernel.c:18"]);
    let end = session.gdb.position();
    session.expect("reverse-continue", &[no_more, "_start () at boot.S:23", "cld"]);
    assert_eq!(session.gdb.position(), 0);
    for command in ["reverse-stepi", "reverse-step", "reverse-continue", "reverse-next"] {
        session.expect(command, &[no_more, "boot.S:23"]);
        assert_eq!(session.gdb.position(), 0, "{command}");
    }
    session.expect("stepi", &["24", "movl    $stack_end, %esp"]);
    session.expect("next", &["25", "xorl    %ebp, %ebp"]);
    session.expect("reverse-stepi", &["24"]);
    session.expect("continue", &[no_more, "out8 (port=", "kernel.c:18"]);
    assert_eq!(session.gdb.position(), end);
    for command in ["stepi", "continue", "stepi"] {
        session.expect(command, &[no_more, "kernel.c:18"]);
        assert_eq!(session.gdb.position(), end, "{command}");
    }
    session.expect("reverse-stepi", &["0x001001fc", "outb %0, %1"]);
    assert_eq!(session.gdb.position(), end - 1);
    session.end();
}

/// Every stop of a run from the start to the end, read backwards, is the same place with the same values.
fn same_stops_both_ways(breakpoint: &str, stops: usize, format: &str, values: &str) {
    let mut session = Session::of_clobber();
    session.gdb.seek("start");
    session.run(breakpoint);
    let forward = session.places("continue", stops, format, values);
    session.expect("continue", &["No more reverse-execution history."]);
    let mut back = session.places("reverse-continue", stops, format, values);
    session.expect("reverse-continue", &["No more reverse-execution history."]);
    back.reverse();
    assert_eq!(back, forward, "{breakpoint}");
    let mut distinct = forward.clone();
    distinct.dedup();
    assert_eq!(distinct.len(), stops, "{forward:?}");
    session.end();
}

#[test]
fn breakpoints_stop_at_the_same_places_both_ways() {
    let values = "$icount, $pc, $sp, ticks, job->name";
    same_stops_both_ways("break run_job", 12, "%lu %#x %#x %u %s", values);
}

#[test]
fn hardware_breakpoints_stop_at_the_same_places_both_ways() {
    same_stops_both_ways("hbreak drain_samples", 12, "%lu %#x %#x %u", "$icount, $pc, $sp, sample_count");
}

#[test]
fn conditional_breakpoints_stop_at_the_same_places_both_ways() {
    same_stops_both_ways(
        "break timer_tick if ticks % 50 == 7",
        6,
        "%lu %#x %u %#x",
        "$icount, $pc, ticks, eip",
    );
}

#[test]
fn breakpoints_of_each_kind_say_what_they_are() {
    let mut session = Session::of_clobber();
    session.expect("break add_report", &["Breakpoint 1 at 0x100618", "kernel.c, line 223"]);
    session.expect("reverse-continue", &["Breakpoint 1, add_report (report="]);
    let added_last = session.gdb.position();
    session.expect("reverse-continue", &["Breakpoint 1, add_report (report="]);
    session.expect("continue", &["Breakpoint 1, add_report (report="]);
    assert_eq!(session.gdb.position(), added_last);
    session.expect("delete", &[]);
    session.expect("tbreak drain_samples", &["Temporary breakpoint 2"]);
    session.expect("continue", &["Temporary breakpoint 2, drain_samples () at kernel.c:"]);
    session.expect("hbreak print_reports", &["Hardware assisted breakpoint 3"]);
    session.expect("reverse-continue", &["Breakpoint 3, print_reports () at kernel.c:"]);
    session.expect("tbreak print_time", &["Temporary breakpoint 4"]);
    session.expect("continue", &["Temporary breakpoint 4, print_time () at kernel.c:"]);
    session.expect("info breakpoints", &["hw breakpoint", "print_reports"]);
    session.expect("continue", &["Breakpoint 3, print_reports () at kernel.c:"]);
    session.expect("continue", &["No more reverse-execution history."]);
    session.end();
}

#[test]
fn single_steps_forward_are_the_same_steps_back() {
    let (format, values) = ("%lu %#x %#x %#x %#x %#x", "$icount, $pc, $eax, $edx, $sp, $eflags");
    let mut session = Session::of_clobber();
    // A timer interrupt comes in between: 100 steps before it and 100 behind.
    session.run("break entry_32");
    session.expect("reverse-continue", &["Breakpoint 1, "]);
    session.run("delete");
    session.expect("reverse-stepi 100", &[]);
    let mut forward = session.places("stepi", 200, format, values);
    session.run("stepi");
    let mut back = session.places("reverse-stepi", 200, format, values);
    back.reverse();
    assert_eq!(back, forward);
    let count = forward.len();
    forward.dedup();
    assert_eq!(forward.len(), count, "each step is a state of its own");
    session.end();
}

#[test]
fn monitor_commands_answer() {
    let mut session = Session::of_clobber();
    let end = session.gdb.position();
    session.expect("monitor help", &["monitor where", "monitor replay_seek N", "monitor replay_break N"]);
    session.expect(
        "monitor info replay",
        &["Replaying execution '", &format!("': instruction count = {end}\n")],
    );
    session.expect("monitor replay_seek 1000000", &["position 1000000 of ", "maint flush register-cache"]);
    session.run("maint flush register-cache");
    session.expect("monitor where", &["position 1000000 of ", "(3.07%)", "32-bit code at privilege level 0"]);
    assert_eq!(session.gdb.position(), 1_000_000);
    session.expect("bt", &["next_random", "fill_block", "checksum_step", "run_job", "kernel_main", "_start"]);
    session.run("monitor replay_break 1000500");
    session.expect("continue", &["Position 1000500 reached.", "SIGTRAP"]);
    assert_eq!(session.gdb.position(), 1_000_500);
    session.expect("reverse-stepi", &[]);
    session.expect("reverse-continue", &["No more reverse-execution history."]);
    session.expect("continue", &["Position 1000500 reached."]);
    session.run("monitor replay_delete_break");
    session.expect("continue", &["No more reverse-execution history."]);
    session.run("monitor replay_break 1000500");
    session.expect("reverse-continue", &["Position 1000500 reached."]);
    for (command, error) in [
        (
            "monitor replay_seek 99999999999",
            "error: cannot seek there: the recording ends at position 32524052, 0.260192416 s",
        ),
        ("monitor replay_seek", "error: write one position"),
        ("monitor replay_seek -1", "error: "),
        ("monitor make coffee", "error: there is no monitor command `make`"),
    ] {
        session.expect(command, &[error]);
        assert_eq!(session.gdb.position(), 1_000_500, "{command}");
    }
    session.end();
}

#[test]
fn places_of_every_form_are_sought() {
    let mut session = Session::of_clobber();
    let end = session.gdb.position();
    for (place, position) in [
        ("start", 0),
        ("0x10", 16),
        ("+1_000", 1016),
        ("-16", 1000),
        ("+1ms", 126_000),
        ("+.5us", 126_063),
        ("-500ns", 126_000),
        ("-1ms", 1000),
        ("-99s", 0),
        ("100ms", 12_500_000),
        ("0.2s", 25_000_000),
        ("50%", end / 2),
        ("end", end),
    ] {
        session.gdb.seek(place);
        assert_eq!(session.gdb.position(), position, "{place}");
    }
    session.gdb.seek("20ms");
    session.expect("monitor mark twenty", &["is @twenty"]);
    session.gdb.seek("next irq 0x20");
    let interrupt = session.gdb.position();
    session.expect("stepi", &["entry_32 ()"]);
    session.gdb.seek("prev irq");
    assert_eq!(session.gdb.position(), interrupt);
    session.gdb.seek("prev exception 14");
    session.gdb.seek("prev serial clobber: a");
    let line = session.gdb.position();
    session.expect("stepi", &[]);
    session.gdb.seek("@twenty");
    assert_eq!(session.gdb.position(), 2_500_000);
    for (place, error) in [
        ("+99s", "error: cannot seek there: the recording ends at position "),
        ("1.5", "is no place; write start, end, a position (123456), steps (+10,"),
        ("+1.5", "is no place"),
        ("-s", "is no place"),
        ("next serial clobber: a", "error: no line with `clobber: a` comes after"),
        ("@thirty", "error: there is no mark `thirty`"),
        ("next exception 300", "error: vectors go from 0 to 255"),
    ] {
        session.expect(&format!("monitor seek {place}"), &[error]);
    }
    assert!(line < 2_500_000 && session.gdb.position() == 2_500_000);
    session.end();
}

#[test]
fn registers_and_code_are_shown() {
    let mut session = Session::of_clobber();
    session.expect("x/2i $pc", &["=> 0x1001fd <out8+7>:", "ret", "0x1001fe <in8>:"]);
    let all = session.run("info registers");
    for line in [
        "eip 0x1001fd 0x1001fd <out8+7>",
        "eflags 0x46 [ PF ZF ]",
        "cs 0x8 8",
        "cr0 0x80010011 2147549201",
        "cr2 0xd4 212",
        "cr3 0x107000 1077248",
        "efer 0x0 0",
        "fs_base 0x0 0",
        "gs_base 0x0 0",
        "gdt_base 0x100c08 1051656",
        "idt_limit 0x13f 319",
    ] {
        let found = all.lines().any(|l| l.split_whitespace().collect::<Vec<_>>().join(" ") == line);
        assert!(
            found,
            "{line} in
{all}"
        );
    }
    session.expect("info registers cr0 efer", &["cr0", "0x80010011", "efer"]);
    session.expect("info registers st0 xmm0", &["st0", "xmm0", "uint128"]);
    session.gdb.seek("start");
    // No paging yet.
    assert_eq!(session.gdb.value("$cr0 & 0x80000001"), 1);
    session.end();
}

#[test]
fn what_has_happened_cannot_be_changed() {
    let mut session = Session::of_clobber();
    let lost = session.gdb.value("samples_lost");
    let read_only = "the past cannot be changed; `monitor divert` leaves it here, and then it can";
    session.expect("set var $eax = 1234", &["Could not write register \"eax\"", read_only]);
    session.expect("set var samples_lost = 1", &["Cannot access memory at address 0x106008"]);
    session.expect("call print_time()", &[]);
    session.expect("maint flush register-cache", &[]);
    session.expect("bt", &["#0  0x001001fd in out8 ("]);
    assert_eq!(session.gdb.value("samples_lost"), lost);
    assert_eq!(session.gdb.value("$eax"), 1);
    session.expect("print *(int *) 0", &["Cannot access memory at address 0x0"]);
    session.expect("reverse-stepi", &["0x001001fc", "outb %0, %1"]);
    session.end();
}

#[test]
fn ctrl_c_stops_a_debugger_that_meets_false_conditions() {
    let mut session = Session::of_clobber();
    // By itself, or the server would be done with them before anybody could interrupt it.
    session.run("set breakpoint condition-evaluation host");
    session.run("break next_random if ticks == 1000000");
    let before_end = (session.gdb.position() - 1).to_string();
    for (start, command) in [(before_end.as_str(), "reverse-continue"), ("start", "continue")] {
        session.gdb.seek(start);
        session.gdb.begin(command);
        session.gdb.wait_for("Continuing.");
        sleep(Duration::from_millis(300));
        session.gdb.interrupt();
        let shown = session.gdb.finish();
        shows(&shown, &["received signal SIGINT"]);
        let here = session.gdb.position();
        session.expect("monitor where", &[&format!("position {here} of ")]);
        session.expect("stepi", &[]);
        assert_eq!(session.gdb.position(), here + 1);
    }
    session.end();
}

/// Steps back until `instruction` is what comes next, which is not far; its position.
fn steps_back_to(session: &mut Session, instruction: &str) -> u64 {
    for _ in 0..10 {
        session.run("reverse-stepi");
        if session.run("x/i $pc").contains(instruction) {
            return session.gdb.position();
        }
    }
    panic!("no {instruction} before {}", session.run("x/i $pc"));
}

#[test]
fn the_16_bit_guest_is_shown_as_16_bit_code() {
    let mut session = Session::of_kernel(&build_guest("real16"), 33);
    session.expect("show architecture", &["i8086"]);
    let exit_at = steps_back_to(&mut session, "out    %al,$0xf4");
    assert_eq!(session.gdb.value("$cr0 & 1"), 0);
    session.expect("monitor where", &["16-bit code at privilege level 0"]);
    let out = session.gdb.value("$pc");
    // Into protected mode, 32-bit code, and forward again.
    session.gdb.seek("start");
    session.expect("monitor where", &["32-bit code"]);
    session.run("set architecture i386");
    session.expect("x/i $pc", &["cli"]);
    session.run("set architecture i8086");
    session.run(&format!("break *{out:#x}"));
    session.expect("continue", &["Breakpoint 1, "]);
    assert_eq!(session.gdb.position(), exit_at);
    // The interrupt handler for INT n, INT3 and INTO: `inc bx; iret`, three calls.
    session.run("delete");
    let on_int = session.gdb.value("*(unsigned short *) (0x40 * 4)");
    session.run(&format!("hbreak *{on_int:#x}"));
    let values = ("%lu %#x %u %#x", "$icount, $pc, $ebx & 0xffff, $sp");
    let back = session.places("reverse-continue", 3, values.0, values.1);
    session.expect("x/2i $pc", &["inc    %bx", "iret"]);
    session.expect("reverse-continue", &["No more reverse-execution history."]);
    let mut forward = session.places("continue", 3, values.0, values.1);
    forward.reverse();
    assert_eq!(back, forward);
    session.end();
}

#[test]
fn the_long_mode_guest_is_shown_in_all_its_modes() {
    let kernel = build_guest("longmode");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let recording = dir.path().join("recording.rgr");
    record_kernel(&kernel, "", 33, &recording);
    // Its file is a 32-bit ELF, because such are booted: GDB is given its symbols as numbers.
    let mut session = Session::of(&recording, None);
    let end = session.gdb.position();
    session.expect("monitor where", &["64-bit code at privilege level 0"]);
    session.expect("info registers", &["rax", "r15", "rip", "fs_base", "gs_base", "cr4", "efer"]);
    assert_eq!(session.gdb.value("$efer & 0xd01"), 0xd01);
    steps_back_to(&mut session, "out    %al,$0xf4");
    // Back to where SYSCALL last came in: the address is that of LSTAR, so it is met in user mode one step before.
    let user = retrograde_tests::symbol(&kernel, "user");
    let entry = retrograde_tests::symbol(&kernel, "syscall_entry");
    session.run(&format!("hbreak *{entry:#x}"));
    session.expect("reverse-continue", &["Breakpoint 1, "]);
    session.expect("monitor where", &["64-bit code at privilege level 0"]);
    let entered = session.gdb.position();
    assert_eq!(session.gdb.value("$pc"), entry);
    session.expect("reverse-stepi", &[]);
    session.expect("monitor where", &["64-bit code at privilege level 3"]);
    session.expect("x/i $pc", &["syscall"]);
    let called_at = session.gdb.value("$pc");
    assert!((user..user + 4096).contains(&called_at), "{called_at:#x}");
    session.expect("stepi", &[]);
    assert_eq!(session.gdb.value("$rcx"), called_at + 2);
    assert_eq!(session.gdb.position(), entered);
    session.run("delete");
    session.run(&format!("hbreak *{user:#x}"));
    session.expect("reverse-continue", &["Breakpoint 2, "]);
    session.expect("reverse-stepi", &[]);
    session.expect("x/i $pc", &["iretq"]);
    session.expect("monitor where", &["privilege level 0"]);
    session.run("delete");
    session.expect("reverse-continue", &["No more reverse-execution history."]);
    session.expect("monitor where", &["32-bit code at privilege level 0"]);
    session.expect("continue", &["No more reverse-execution history."]);
    assert_eq!(session.gdb.position(), end);
    session.end();
}

/// Linux under GDB, which knows no symbols of it, at its end.
fn linux_session() -> Session {
    Session::of(&linux_recording(), None)
}

#[test]
fn linux_is_walked_backwards_from_its_end() {
    let mut session = linux_session();
    let end = session.gdb.position();
    session.expect(
        "info registers rip cs cr3 gs_base",
        &["rip", "0xffffffff", "cs", "0x10", "gs_base", "0xffff8"],
    );
    session.expect("monitor where", &[&format!("position {end} of {end} (100.00%)"), "64-bit code"]);
    let (format, values) = ("%lu %#lx %#lx %#lx %#lx", "$icount, $pc, $rax, $rsp, $cr3");
    let back = session.places("reverse-stepi", 20, format, values);
    let mut forward = session.places("stepi", 19, format, values);
    forward.reverse();
    assert_eq!(back[..19], forward);
    // An address that was passed on the way is met again at its last time.
    let place = |line: &str| -> (u64, String) {
        let mut fields = line.split(' ');
        let position = fields.next().expect("a position").parse().expect("a number");
        (position, fields.next().expect("an address").to_owned())
    };
    let (_, address) = place(&back[15]);
    let last = back.iter().map(|line| place(line)).find(|(_, passed)| *passed == address);
    session.expect("continue", &["No more reverse-execution history."]);
    session.run(&format!("hbreak *{address}"));
    session.expect("reverse-continue", &["Breakpoint 1, ", &address]);
    assert_eq!((session.gdb.position(), address), last.expect("it was passed"));
    session.end();
}

#[test]
fn linux_is_visited_in_any_order() {
    let mut session = linux_session();
    let end = session.gdb.position();
    let (format, values) = ("%lu %#lx %#lx %#lx %#lx", "$icount, $pc, $rsp, $rax, $cr3");
    let show = format!("printf \"{format}\\n\", {values}");
    let places = [end / 2, end - 1000, end / 4, end / 4 * 3];
    let mut seen = Vec::new();
    for position in places {
        session.run(&format!("monitor replay_seek {position}"));
        // GDB looks again when it is told to, and only then.
        session.expect("maint flush register-cache", &["Register cache flushed."]);
        let shown = session.run(&show);
        assert_eq!(session.gdb.position(), position);
        session.expect("reverse-stepi", &[]);
        assert_eq!(session.gdb.position(), position - 1);
        seen.push(shown);
    }
    for (position, before) in places.iter().zip(seen).rev() {
        session.gdb.seek(&(position - 1).to_string());
        session.expect("stepi", &[]);
        assert_eq!(session.run(&show), before);
    }
    session.expect("x/i $pc", &["=> 0x"]);
    session.gdb.seek(&(end - 1).to_string());
    session.expect(
        "info registers cr0 cr4 efer idt_base",
        &["cr0", "cr4", "efer", "0xd01", "idt_base", "0xfffffe"],
    );
    session.end();
}

#[test]
fn ctrl_c_stops_a_long_way_at_a_true_position() {
    let mut session = linux_session();
    let end = session.gdb.position();
    session.gdb.seek(&(end / 2).to_string());
    // Met again and again, and never true.
    session.run("hbreak *$pc if $rax == 0x7766554433221100");
    // GDB steps off a breakpoint first: begin beside it.
    let middle = end / 2 + 1;
    for command in ["reverse-continue", "continue"] {
        session.gdb.seek(&middle.to_string());
        session.gdb.begin(command);
        session.gdb.wait_for("Continuing.");
        sleep(Duration::from_millis(500));
        session.gdb.interrupt();
        let shown = session.gdb.finish();
        shows(&shown, &["received signal SIGINT"]);
        let here = session.gdb.position();
        // A search backwards that has found nothing yet is given up where it began.
        assert!(if command == "continue" { here > middle } else { here == middle }, "{command}: {here}");
        // Whoever comes there by another way finds the same.
        let registers = session.run("info registers");
        session.gdb.seek(&(here - 1000).to_string());
        session.expect("stepi 1000", &[]);
        assert_eq!(session.gdb.position(), here);
        assert_eq!(session.run("info registers"), registers, "{command}");
    }
    session.end();
}

#[test]
fn conditions_are_looked_at_in_the_server_both_ways() {
    let mut session = Session::of_clobber();
    session.run("break timer_tick if ticks == 100");
    session.expect("reverse-continue", &["Breakpoint 1, ", "timer_tick (eip="]);
    assert_eq!(session.gdb.value("ticks"), 100);
    session.expect("info breakpoints", &["stop only if ticks == 100 (target evals)"]);
    let position = session.gdb.position();
    session.expect("reverse-continue", &["No more reverse-execution history."]);
    session.expect("continue", &["Breakpoint 1, ", "timer_tick (eip="]);
    assert_eq!((session.gdb.value("ticks"), session.gdb.position()), (100, position));
    session.run("delete");
    let address = session.gdb.value("&ticks");
    session.gdb.seek("start");
    let tick = session.gdb.value("&timer_tick");
    session.expect(
        &format!("monitor break {tick:#x} if u32[{address:#x}] == 100"),
        &["monitor breakpoint 1 at 0x"],
    );
    session.expect("continue", &["Monitor breakpoint 1 at 0x", "hit 1 times"]);
    assert_eq!(session.gdb.value("ticks"), 100);
    session.end();
}

#[test]
fn loads_are_watched_both_ways() {
    let mut session = Session::of_clobber();
    session.run("rwatch reports");
    session.expect("reverse-continue", &["Hardware read watchpoint 1: reports", "Value = "]);
    session.run("delete");
    session.run("awatch sample_count");
    session.expect("reverse-continue", &["Hardware access (read/write) watchpoint 2: sample_count"]);
    session.end();
}

#[test]
fn the_script_moves_gdb_with_the_machine() {
    let mut session = Session::of_clobber();
    let script = workspace_root().join("scripts/debugger/retrograde.gdb.py");
    session.run(&format!("source {}", script.display()));
    session.expect("rg mark crash", &["is @crash"]);
    let end = session.gdb.position();
    let shown = session.expect("rg who-wrote reports", &["wrote to 0x", "timer_tick (eip="]);
    shows(&shown, &["samples[sample_count].tick = ticks;"]);
    assert_eq!(session.gdb.value("sample_count"), 32);
    session.expect("rg seek @crash", &["out8 (port=", "kernel.c:18"]);
    assert_eq!(session.gdb.position(), end);
    session.expect("rg seek prev irq 0x20", &["#0  "]);
    assert!(session.gdb.position() < end);
    session.expect("rg seek nowhere", &["`nowhere` is no place"]);
    session.expect("monitor info pic", &["pic."]);
    session.expect("monitor info pic.master.mask", &["pic.master.mask: 0x"]);
    session.end();
}

#[test]
fn the_firmware_of_a_32_bit_machine_can_be_shown_as_16_bit_code() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let recording = dir.path().join("recording.rgr");
    let mut command = recording_of(&clobber_elf(), "", &recording);
    ends_with(3, command.arg("--bios").arg(seabios()));
    let server = Server::start_with(&recording, &["--arch", "i8086"]);
    let (mut gdb, _) = Debugger::gdb(&server, Some(&clobber_elf()));
    // GDB goes by the kernel's file at first.
    shows(&gdb.run("bt"), &["in panic (", "in kernel_main ()"]);
    gdb.seek("start");
    gdb.run("set architecture i8086");
    shows(&gdb.run("x/i $pc"), &["=> 0xfffffff0:", "ljmp", "$0xf000,$0xe05b"]);
    gdb.run("set architecture i386");
    gdb.seek("end");
    shows(&gdb.run("bt"), &["in panic (", "in kernel_main ()"]);
}
