//! GDB's reverse commands through recursion, long calls, interrupts and a jump out of nested calls, and how long they take.

use retrograde_tests::build_guest;
use retrograde_tests::debuggers::{Debugger, ends_history, shows};
use retrograde_tests::recordings::record_kernel;
use retrograde_tests::server::Server;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Steps of the call of `long_call`: 10 million, and what its 840 interrupts take.
const LONG_CALL_STEPS: std::ops::Range<u64> = 10_000_000..10_050_000;

struct Session {
    gdb: Debugger,
    _server: Server,
    _dir: TempDir,
}

impl Session {
    /// The guest that is walked over, at its end.
    fn start() -> Session {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let recording = dir.path().join("walk.rgr");
        let kernel = build_guest("walk");
        record_kernel(&kernel, "rounds=2500000", 33, &recording);
        let server = Server::start(&recording);
        let (gdb, _) = Debugger::gdb(&server, Some(&kernel));
        Session { gdb, _server: server, _dir: dir }
    }

    /// Goes back to where `place` ran last.
    fn back_to(&mut self, place: &str) {
        self.gdb.seek("end");
        self.run_to("reverse-continue", place);
    }

    fn run_to(&mut self, command: &str, place: &str) {
        self.gdb.run(&format!("tbreak {place}"));
        shows(&self.gdb.run(command), &["Temporary breakpoint "]);
    }

    #[track_caller]
    fn expect(&mut self, command: &str, texts: &[&str]) {
        shows(&self.gdb.run(command), texts);
    }

    /// Position and stack pointer.
    fn place(&mut self) -> (u64, u64) {
        (self.gdb.position(), self.gdb.value("$sp"))
    }
}

#[test]
fn next_and_reverse_next_pass_over_recursion_and_long_calls() {
    let mut session = Session::start();
    session.back_to("long_call");
    session.expect("reverse-finish", &["guest_main (", "long_call(rounds);"]);
    // In the middle of a line GDB 13 goes to its start by `reverse-next`, and GDB 18 to the line before.
    session.run_to("reverse-continue", "walk.c:116");
    let before = session.place();
    session.expect("next", &["int %0"]);
    let behind = session.place();
    assert_eq!(before.1, behind.1);
    assert!(LONG_CALL_STEPS.contains(&(behind.0 - before.0)), "{before:?} {behind:?}");
    session.expect("reverse-next", &["long_call(rounds);"]);
    assert_eq!(session.place(), before);
    session.expect("reverse-next", &["fibonacci(15)"]);
    let first = session.place();
    session.expect("next", &["long_call(rounds);"]);
    assert_eq!(session.place(), before);
    session.expect("reverse-next", &["fibonacci(15)"]);
    assert_eq!(session.place(), first);
    session.expect("reverse-next", &["sti"]);
}

#[test]
fn reverse_finish_climbs_out_of_recursion_call_by_call() {
    let mut session = Session::start();
    // The first time, so that no call has returned yet: GDB 13 stops at the last that has.
    session.gdb.seek("start");
    session.run_to("continue", "fibonacci if n == 1");
    let mut level = session.gdb.value("n");
    let mut last = session.place();
    loop {
        let shown = session.gdb.run("reverse-finish");
        if shown.contains("guest_main (") {
            break;
        }
        shows(&shown, &["Run back to call of #0", "fibonacci (n=", " = fibonacci(n - "]);
        let n = session.gdb.value("n");
        let here = session.place();
        assert_eq!(n, level + 1);
        assert!(here.0 < last.0 && here.1 > last.1, "{here:?} is before and above {last:?}");
        // The call is what comes next.
        shows(&session.gdb.run("x/i $pc"), &["call", "<fibonacci>"]);
        (level, last) = (n, here);
    }
    assert_eq!(level, 15);
}

#[test]
fn reverse_step_goes_into_a_call_from_its_end() {
    let mut session = Session::start();
    session.back_to("long_call");
    session.gdb.run("finish");
    let behind = session.gdb.position();
    session.expect("reverse-step", &["long_call (rounds=4294967295)", "}"]);
    session.expect("reverse-step", &["total++;"]);
    let total = session.gdb.value("total");
    session.gdb.run("step");
    assert_eq!(session.gdb.value("total"), total + 1);
    // And into the innermost of several calls.
    session.expect("reverse-next", &["long_call(rounds);"]);
    session.expect("reverse-step", &["in fibonacci (n=15)", "}"]);
    session.expect("reverse-step", &["return before + last;"]);
    session.expect("reverse-step", &["in fibonacci (n=13)"]);
    assert!(session.gdb.position() < behind);
}

#[test]
fn interrupts_are_passed_over_by_lines_and_met_by_steps() {
    let mut session = Session::start();
    session.back_to("long_call");
    session.gdb.run("next");
    session.gdb.seek("next irq");
    let (interrupted, stack) = session.place();
    let pc = session.gdb.value("$pc");
    let ticks = session.gdb.value("ticks");
    // The delivery is a step of its own.
    session.expect("stepi", &["timer_handler (frame="]);
    assert_eq!(session.gdb.position(), interrupted + 1);
    session.expect("reverse-stepi", &["long_call (rounds="]);
    assert_eq!((session.place(), session.gdb.value("$pc")), ((interrupted, stack), pc));
    session.gdb.run("stepi");
    session.expect("reverse-finish", &["long_call (rounds="]);
    assert_eq!(session.place(), (interrupted, stack));
    // By lines it goes over the handler.
    for _ in 0..3 {
        session.expect("next", &[]);
        shows(&session.gdb.run("frame"), &["#0  ", "long_call (rounds="]);
    }
    assert_eq!(session.gdb.value("ticks"), ticks + 1);
    // Backwards GDB goes by single steps only, which can be told to pass over it as well.
    session.gdb.run("monitor skip-irqs on");
    let behind = session.place();
    while session.gdb.position() > interrupted {
        session.gdb.run("reverse-next");
        shows(&session.gdb.run("frame"), &["#0  ", "long_call (rounds="]);
    }
    assert_eq!(session.gdb.value("ticks"), ticks);
    while session.gdb.position() < behind.0 {
        session.gdb.run("stepi");
        shows(&session.gdb.run("frame"), &["#0  ", "long_call (rounds="]);
    }
    assert_eq!(session.place(), behind);
    session.gdb.run("monitor skip-irqs off");
    // A software interrupt is met by its handler's breakpoint both ways.
    session.gdb.seek("start");
    session.run_to("continue", "call_handler");
    let handler = session.place();
    session.expect("stepi", &[]);
    session.expect("reverse-finish", &["guest_main (", "int %0"]);
    session.gdb.seek("end");
    session.run_to("reverse-continue", "call_handler");
    assert_eq!(session.place(), handler);
}

#[test]
fn a_jump_out_of_nested_calls_is_walked_back_through() {
    let mut session = Session::start();
    session.back_to("jump_out");
    session.run_to("continue", "walk.c:89");
    let landed = session.place();
    assert_eq!(session.gdb.value("depth"), 5);
    session.expect("reverse-next", &["if (came_back == 0)"]);
    // Back through the jump, to where it was made: five calls deep.
    session.expect("reverse-stepi", &[]);
    session.expect("reverse-stepi", &["jump_back ()"]);
    session.expect("reverse-stepi", &["jump_back ()"]);
    session.expect("bt", &["jump_back ()"]);
    session.expect("reverse-finish", &["descend (level=5)", "jump_back(level);"]);
    session.expect(
        "bt",
        &["descend (level=5)", "descend (level=4)", "descend (level=1)", "jump_out ()", "guest_main"],
    );
    for level in (1..5).rev() {
        session.expect("reverse-finish", &[&format!("descend (level={level})"), "descend(level + 1);"]);
    }
    session.expect("reverse-finish", &["jump_out ()", "descend(1);"]);
    session.run_to("continue", "walk.c:89");
    assert_eq!(session.place(), landed);
}

#[test]
fn until_and_advance_go_both_ways() {
    let mut session = Session::start();
    session.back_to("add_up");
    session.gdb.run("next");
    for _ in 0..3 {
        session.gdb.run("next");
    }
    session.expect("print sum", &[" = 1"]);
    // At the end of the loop's body it leaves the loop.
    session.expect("until", &["guest_main (", "cli"]);
    session.expect("advance finish", &["finish (passed=1)"]);
    session.gdb.run("set exec-direction reverse");
    session.expect("advance add_up", &["add_up (n=10)"]);
    session.gdb.run("set exec-direction forward");
    // Out of its frame it stops as well.
    session.expect("advance finish", &["guest_main (", "cli"]);
}

#[test]
fn watched_values_are_the_same_both_ways() {
    let mut session = Session::start();
    session.gdb.seek("start");
    session.gdb.run("watch depth");
    let mut forward = Vec::new();
    loop {
        let shown = session.gdb.run("continue");
        if ends_history(&shown) {
            break;
        }
        shows(&shown, &["Hardware watchpoint", "Old value = ", "New value = "]);
        forward.push(session.gdb.value("depth"));
    }
    assert_eq!(forward, [1, 2, 3, 4, 5]);
    for before in [4, 3, 2, 1, 0] {
        session.expect(
            "reverse-continue",
            &[&format!("Old value = {}", before + 1), &format!("New value = {before}")],
        );
        assert_eq!(session.gdb.value("depth"), before, "it stops before the store");
    }
    session.expect("reverse-continue", &["No more reverse-execution history"]);
}

/// What a user waits for, through GDB. The limits are for a slow and busy machine; the numbers are printed.
#[test]
fn going_back_is_quick() {
    let mut session = Session::start();
    let timed = |session: &mut Session, what: &str, command: &str, texts: &[&str]| {
        let start = Instant::now();
        let shown = session.gdb.run(command);
        let took = start.elapsed();
        shows(&shown, texts);
        println!("{what:55} {:8.1} ms", took.as_secs_f64() * 1e3);
        assert!(took < Duration::from_secs(20), "{what}: {took:?}");
    };
    timed(&mut session, "reverse-stepi from the end", "reverse-stepi", &["outb"]);
    timed(&mut session, "reverse-stepi again", "reverse-stepi", &[]);
    session.gdb.seek("50%");
    timed(&mut session, "reverse-stepi after a jump to the middle", "reverse-stepi", &[]);
    session.back_to("walk.c:117");
    timed(&mut session, "reverse-next over a call of 10 M steps", "reverse-next", &["long_call(rounds);"]);
    session.gdb.run("next");
    timed(&mut session, "the same again", "reverse-next", &["long_call(rounds);"]);
    session.back_to("walk.c:72");
    timed(&mut session, "reverse-finish, 10 M steps", "reverse-finish", &["long_call(rounds);"]);
    session.run_to("reverse-continue", "walk.c:116");
    timed(&mut session, "reverse-next over 1973 recursive calls", "reverse-next", &["fibonacci(15)"]);
    session.gdb.seek("end");
    session.gdb.run("watch -l ticks");
    timed(
        &mut session,
        "reverse-continue to the last store",
        "reverse-continue",
        &["Old value = ", "New value = "],
    );
    session.gdb.run("delete");
    session.gdb.seek("end");
    session.gdb.run("watch -l calls");
    timed(&mut session, "reverse-continue to the only store", "reverse-continue", &["New value = 0"]);
    timed(
        &mut session,
        "reverse-continue to the start, nothing met",
        "reverse-continue",
        &["No more reverse-execution history"],
    );
}
