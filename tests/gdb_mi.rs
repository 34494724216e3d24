//! GDB by its machine interface, as editors drive it: VS Code's Native Debug sends `-exec-step --reverse` and
//! `-exec-continue --reverse`, others `-exec-next` and `-exec-finish` too.

use retrograde_tests::build_guest;
use retrograde_tests::recordings::record_kernel;
use retrograde_tests::server::{Server, verify};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

/// GDB is not silent for longer, on a slow and busy machine.
const SILENCE_LIMIT: Duration = Duration::from_secs(240);

/// A program that talks to GDB.
struct Editor {
    gdb: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
    /// Stops that were told while something else was awaited.
    stops: VecDeque<String>,
    commands: u32,
}

impl Editor {
    fn start() -> Editor {
        let mut command = Command::new("gdb");
        command.args(["-nx", "-q", "--interpreter=mi2"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut gdb = command.spawn().expect("gdb: apt-get install gdb");
        let stdin = gdb.stdin.take().expect("the pipe asked for");
        let stdout = BufReader::new(gdb.stdout.take().expect("the pipe asked for"));
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Editor { gdb, stdin, lines, stops: VecDeque::new(), commands: 0 }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(SILENCE_LIMIT).expect("GDB says something")
    }

    /// The result of a command.
    fn ask(&mut self, command: &str) -> String {
        self.commands += 1;
        writeln!(self.stdin, "{}{command}", self.commands).expect("GDB reads");
        loop {
            let line = self.line();
            if line.starts_with(&format!("{}^", self.commands)) {
                return line;
            }
            if line.starts_with("*stopped") {
                self.stops.push_back(line);
            }
        }
    }

    /// Where the machine has stopped, and why.
    fn stop(&mut self) -> String {
        loop {
            let line = self.stops.pop_front().unwrap_or_else(|| self.line());
            if line.starts_with("*stopped") {
                return line;
            }
        }
    }

    /// Runs the machine; where it stops and why has these texts.
    #[track_caller]
    fn stops(&mut self, command: &str, texts: &[&str]) {
        let result = self.ask(command);
        assert!(result.ends_with("^running"), "{command}: {result}");
        let stopped = self.stop();
        for text in texts {
            assert!(stopped.contains(text), "{command}: no {text} in {stopped}");
        }
    }

    fn position(&mut self) -> u64 {
        let result = self.ask("-data-evaluate-expression $icount");
        let digits = result.split('"').nth(1).and_then(|digits| digits.parse().ok());
        digits.unwrap_or_else(|| panic!("{result}"))
    }
}

impl Drop for Editor {
    fn drop(&mut self) {
        // Both fail only if it has ended by itself.
        let _ = self.gdb.kill();
        let _ = self.gdb.wait();
    }
}

#[test]
fn an_editor_goes_back_by_the_machine_interface() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let recording = dir.path().join("walk.rgr");
    let kernel = build_guest("walk");
    record_kernel(&kernel, "rounds=2500000", 33, &recording);
    let server = Server::start(&recording);
    let mut editor = Editor::start();
    editor.ask("-gdb-set target-async on");
    editor.ask(&format!("-file-exec-and-symbols {}", kernel.display()));
    assert!(editor.ask(&format!("-target-select remote {}", server.address())).ends_with("^connected"));
    editor.stop();
    assert!(editor.ask("-list-target-features").contains("\"reverse\""));
    let end = editor.position();

    editor.ask("-break-insert -f long_call");
    let met = ["reason=\"breakpoint-hit\"", "func=\"long_call\"", "name=\"rounds\",value=\"2500000\""];
    editor.stops("-exec-continue --reverse", &met);
    editor.stops("-exec-finish --reverse", &["func=\"guest_main\"", "line=\"116\""]);
    editor.stops("-exec-next --reverse", &["reason=\"end-stepping-range\"", "line=\"116\""]);
    let line = editor.position();
    editor.stops("-exec-step --reverse", &["func=\"fibonacci\"", "name=\"n\",value=\"15\""]);
    let inside = editor.position();
    editor.stops("-exec-step-instruction --reverse", &["func=\"fibonacci\""]);
    assert_eq!(editor.position(), inside - 1);
    editor.stops("-exec-next-instruction", &["func=\"fibonacci\""]);
    editor.stops("-exec-step", &["func=\"guest_main\"", "line=\"116\""]);
    assert_eq!(editor.position(), line);

    editor.ask("-break-delete");
    editor.ask("-break-watch depth");
    editor.stops("-exec-continue", &["watchpoint-trigger", "value={old=\"0\",new=\"1\"}"]);
    editor.stops("-exec-continue --reverse", &["watchpoint-trigger", "value={old=\"1\",new=\"0\"}"]);
    editor.ask("-break-delete");
    // What cannot be done is an error, and one can go on.
    assert!(editor.ask("-exec-return").contains("^error,msg=\"Could not write register"));
    assert!(editor.ask("-gdb-set var total=5").contains("^error,msg="));
    editor.stops("-exec-continue --reverse", &["func=\"_start\""]);
    assert_eq!(editor.position(), 0);
    editor.stops("-exec-step --reverse", &["func=\"_start\""]);
    editor.stops("-exec-continue", &["func=\"finish\""]);
    assert_eq!(editor.position(), end);

    // Ctrl-C, while it goes back past a condition that does not hold, millions of times.
    editor.ask("-break-insert -f -c \"total == 77\" walk.c:71");
    assert!(editor.ask("-exec-continue --reverse").ends_with("^running"));
    editor.ask("-exec-interrupt");
    let stopped = editor.stop();
    assert!(stopped.contains("signal-name=\"SIGINT\""), "{stopped}");
    editor.ask("-break-delete");
    editor.stops("-exec-continue", &["func=\"finish\""]);
    assert_eq!(editor.position(), end);
    drop((editor, server));
    verify(&recording);
}
