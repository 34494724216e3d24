//! `retrograde live`: real debuggers on a machine that is being recorded.

use retrograde_tests::debuggers::{Debugger, shows};
use retrograde_tests::recordings::{LINUX_APPEND, info, open};
use retrograde_tests::retrograde::{ends_with, retrograde};
use retrograde_tests::server::{Server, verify};
use retrograde_tests::{build_guest, busybox_initrd, debian_kernel};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;
use tempfile::TempDir;

/// The guest with few landmarks, recorded while GDB is attached.
struct Live {
    gdb: Debugger,
    server: Server,
    recording: PathBuf,
    dir: TempDir,
}

/// A server of the guest with few landmarks, which runs for `iterations`.
fn live(recording: &Path, iterations: u32, options: &[&str]) -> Server {
    let mut command = retrograde(["live", "-m", "16M", "--rtc", "2024-01-01T00:00:00", "--serial", "none"]);
    command.args(["--device", "isa-debug-exit,iobase=0xf4", "--gdb", "127.0.0.1:0"]).args(options);
    command.arg("--append").arg(format!("iterations={iterations}"));
    Server::of(command.arg("--kernel").arg(build_guest("loop")).arg("-o").arg(recording))
}

impl Live {
    /// Stopped before the first instruction.
    fn start(iterations: u32) -> Live {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let recording = dir.path().join("live.rgr");
        let server = live(&recording, iterations, &["-S"]);
        let (gdb, _) = Debugger::gdb(&server, Some(&build_guest("loop")));
        Live { gdb, server, recording, dir }
    }

    #[track_caller]
    fn expect(&mut self, command: &str, texts: &[&str]) {
        shows(&self.gdb.run(command), texts);
    }

    /// GDB leaves, the guest runs to its end, and the program ends as `record` would.
    fn end(mut self, status: i32) -> (PathBuf, TempDir) {
        self.expect("detach", &["detached"]);
        let outcome = self.server.wait_for_end();
        assert_eq!(outcome.status.code(), Some(status), "{}{}", outcome.stdout, outcome.stderr);
        assert!(outcome.stderr.contains("ended by isa-debug-exit"), "{}", outcome.stderr);
        (self.recording, self.dir)
    }
}

#[test]
fn one_goes_back_into_what_has_just_happened_and_on_again() {
    let mut session = Live::start(400_000);
    assert_eq!(session.gdb.position(), 0);
    session.expect("monitor where", &["position 0, recording, "]);
    session.expect("reverse-stepi", &["No more reverse-execution history."]);
    session.expect("break rare_function", &["Breakpoint 1"]);
    session.expect("continue", &["Breakpoint 1, rare_function (iteration=100000)"]);
    let first = session.gdb.position();
    session.expect("info registers eip", &["rare_function"]);
    session.expect("reverse-stepi", &["rare_function(end);"]);
    assert_eq!(session.gdb.position(), first - 1);
    session.expect("monitor where", &[&format!("position {} of {first} (", first - 1)]);
    session.expect("reverse-continue", &["No more reverse-execution history."]);
    assert_eq!(session.gdb.position(), 0);
    // Over what has happened, and into what has not.
    session.expect("continue", &["Breakpoint 1, rare_function (iteration=100000)"]);
    assert_eq!(session.gdb.position(), first);
    session.expect("continue", &["Breakpoint 1, rare_function (iteration=200000)"]);
    session.expect("monitor info replay", &["Recording execution '"]);
    let second = session.gdb.position();
    assert!(second > first);
    session.expect("reverse-continue", &["Breakpoint 1, rare_function (iteration=100000)"]);
    session.expect("delete", &[]);
    session.expect("watch rare_variable", &["Hardware watchpoint 2"]);
    session.expect("continue", &["Old value = 0", "New value = 100000"]);
    session.expect("continue", &["Old value = 100000", "New value = 200000"]);
    session.expect("continue", &["Old value = 200000", "New value = 300000"]);
    let third = session.gdb.position();
    session.expect("reverse-continue", &["Old value = 300000", "New value = 200000"]);
    assert_eq!(session.gdb.position(), third - 1);
    session.expect("delete", &[]);
    session.expect("stepi 5", &[]);
    assert_eq!(session.gdb.position(), third + 4);
    session.expect("monitor last-write 0x102000", &[]);
    // What a debugger writes is not recorded.
    session.expect("set var $eax = 1", &["monitor divert"]);
    session.expect("monitor divert", &["a diversion from"]);
    session.expect("print accumulate(1, 1)", &[" = 3"]);
    session.expect("reverse-stepi", &["the diversion is left"]);
    session.expect("stepi", &[]);
    let (recording, _dir) = session.end(33);
    assert_eq!(info(&recording)["ended_by"], "isa-debug-exit with 0x10");
    verify(&recording);
    assert!(open(&recording).interrupts().expect("they can be read").len() > 5);
}

#[test]
fn ctrl_c_stops_a_machine_that_runs_live() {
    let mut session = Live::start(200_000_000);
    session.gdb.begin("continue");
    session.gdb.wait_for("Continuing.");
    sleep(Duration::from_millis(700));
    session.gdb.interrupt();
    shows(&session.gdb.finish(), &["received signal SIGINT"]);
    let here = session.gdb.position();
    assert!(here > 100_000);
    session.expect("reverse-stepi", &[]);
    assert_eq!(session.gdb.position(), here - 1);
    session.expect("stepi", &[]);
    session.expect("stepi", &[]);
    assert_eq!(session.gdb.position(), here + 1);
    let hot = session.gdb.value("hot_variable");
    session.expect("monitor seek 1000", &["position 1000 of"]);
    session.expect("monitor seek end", &["position ", "recording"]);
    session.expect("maint flush register-cache", &[]);
    assert_eq!((session.gdb.position(), session.gdb.value("hot_variable")), (here + 1, hot));
    // A debugger that vanishes lets it run on; a signal ends it in order.
    drop(session.gdb);
    sleep(Duration::from_millis(300));
    let outcome = session.server.terminate();
    assert_eq!(outcome.status.code(), Some(0), "{}", outcome.stderr);
    assert!(open(&session.recording).end().0 > here + 100_000, "{}", outcome.stderr);
    verify(&session.recording);
}

#[test]
fn a_branch_goes_on_from_the_past_and_both_are_kept() {
    let mut session = Live::start(400_000);
    let branch = session.dir.path().join("branch.rgr");
    session.expect("break rare_function", &["Breakpoint 1"]);
    session.expect("continue", &["rare_function (iteration=100000)"]);
    session.expect("continue", &["rare_function (iteration=200000)"]);
    let before = session.gdb.position();
    session.expect("reverse-continue", &["rare_function (iteration=100000)"]);
    let here = session.gdb.position();
    session.expect(&format!("monitor branch {}", session.recording.display()), &["error: ", "exists"]);
    let stands = session.gdb.run("monitor where");
    session.expect("monitor branch /nowhere/at.all", &["error: /nowhere/at.all: No such file"]);
    session.expect("monitor where", &[stands.trim()]);
    session.expect(
        &format!("monitor branch {}", branch.display()),
        &[&format!("ends at position {before}"), &format!("goes on live from position {here}")],
    );
    session.expect("monitor where", &[&format!("position {here}, recording")]);
    session.expect("reverse-stepi", &[]);
    assert_eq!(session.gdb.position(), here - 1);
    session.expect("continue", &["rare_function (iteration=100000)"]);
    assert_eq!(session.gdb.position(), here);
    session.expect("continue", &["rare_function (iteration=200000)"]);
    let first = session.recording.clone();
    session.expect("delete", &[]);
    let (_, _dir) = session.end(33);
    verify(&first);
    verify(&branch);
    assert_eq!(open(&first).end().0, before);
    assert_eq!(info(&branch)["ended_by"], "isa-debug-exit with 0x10");
    // The common past is the same.
    let (first, second) = (open(&first), open(&branch));
    let common = |recording: &snapshots::Recording| {
        recording.interrupts_between(vm::Icount(0), vm::Icount(here)).expect("they can be read")
    };
    assert_eq!(common(&first), common(&second));
}

#[test]
fn without_a_debugger_it_records() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let recording = dir.path().join("live.rgr");
    let outcome = live(&recording, 100_000, &[]).wait_for_end();
    assert_eq!(outcome.status.code(), Some(33), "{}", outcome.stderr);
    verify(&recording);
    ends_with(0, retrograde(["replay", "--verify"]).arg(&recording));
}

#[test]
fn linux_branches_off_in_the_middle_of_what_was_typed() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = |name: &str| dir.path().join(name);
    let (recording, branch, script) = (file("live.rgr"), file("branch.rgr"), file("script"));
    let commands = "wait serial \"# \"\nsend echo $((6 * 7))-answers\\n\nwait serial 42-answers\n\
                    wait serial \"# \"\nsend while :; do :; done\\n\n";
    fs::write(&script, commands).expect("a script");
    let mut command = retrograde(["live", "-S", "-m", "128M", "--rtc", "2024-01-01T00:00:00"]);
    command.arg("--kernel").arg(debian_kernel()).arg("--initrd").arg(busybox_initrd());
    command.args(["--append", LINUX_APPEND, "--gdb", "127.0.0.1:0", "--script"]).arg(&script);
    let mut server = Server::of(command.arg("-o").arg(&recording));
    let (mut gdb, _) = Debugger::gdb(&server, None);
    gdb.begin("continue");
    server.wait_for("while :; do :; done");
    gdb.interrupt();
    shows(&gdb.finish(), &["received signal SIGINT"]);
    let end = gdb.position();
    gdb.seek("prev serial 42-answers");
    let (here, registers) = (gdb.position(), gdb.run("info registers"));
    assert!(here < end, "{here} and {end}");
    shows(
        &gdb.run(&format!("monitor branch {}", branch.display())),
        &[&format!("ends at position {end}"), &format!("goes on live from position {here}")],
    );
    shows(&gdb.run("monitor where"), &[&format!("position {here}, recording")]);
    gdb.run("maint flush register-cache");
    assert_eq!(gdb.run("info registers"), registers);
    gdb.begin("continue");
    gdb.wait_for("Continuing.");
    sleep(Duration::from_millis(300));
    gdb.interrupt();
    shows(&gdb.finish(), &["received signal SIGINT"]);
    let further = gdb.position();
    assert!(further > here, "{here} and {further}");
    gdb.run("reverse-stepi");
    assert_eq!(gdb.position(), further - 1);
    gdb.seek(&here.to_string());
    assert_eq!(gdb.run("info registers"), registers);
    drop(gdb);
    let outcome = server.terminate();
    assert_eq!(outcome.status.code(), Some(0), "{}", outcome.stderr);
    verify(&recording);
    verify(&branch);
    let (first, second) = (open(&recording), open(&branch));
    assert_eq!(first.end().0, end);
    assert!(second.end().0 > here);
    // What was typed before is in both, and what was typed behind it in the first only.
    let typed = |recording: &snapshots::Recording| recording.inputs().expect("they can be read");
    let common = typed(&first).into_iter().filter(|(at, _, _)| at.0 < here).collect::<Vec<_>>();
    assert!(!common.is_empty() && common.len() < typed(&first).len());
    assert_eq!(typed(&second), common);
}
