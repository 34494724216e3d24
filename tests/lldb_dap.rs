//! LLDB's debug adapter, as an editor drives it: the protocol of VS Code, with the configuration of `docs/vscode.md`.

use retrograde_tests::recordings::record_kernel;
use retrograde_tests::server::Server;
use retrograde_tests::workspace_root;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

/// It is not silent for longer, on a slow and busy machine.
const SILENCE_LIMIT: Duration = Duration::from_secs(120);

/// An editor's side of the adapter. Dropping it ends the adapter.
struct Editor {
    child: Child,
    stdin: ChildStdin,
    messages: Receiver<Value>,
    events: VecDeque<Value>,
    requests: u64,
}

impl Editor {
    fn start() -> Editor {
        let mut command = Command::new("lldb-dap-22");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("lldb-dap-22 of the package lldb-22");
        let stdin = child.stdin.take().expect("the pipe asked for");
        let mut stdout = BufReader::new(child.stdout.take().expect("the pipe asked for"));
        let (sender, messages) = mpsc::channel();
        thread::spawn(move || {
            while let Some(message) = read_message(&mut stdout) {
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        Editor { child, stdin, messages, events: VecDeque::new(), requests: 0 }
    }

    fn next(&mut self) -> Value {
        self.messages.recv_timeout(SILENCE_LIMIT).expect("the adapter says something")
    }

    fn send(&mut self, command: &str, arguments: Value) -> u64 {
        self.requests += 1;
        let request =
            json!({"seq": self.requests, "type": "request", "command": command, "arguments": arguments});
        let body = request.to_string();
        write!(self.stdin, "Content-Length: {}\r\n\r\n{body}", body.len()).expect("the adapter reads");
        self.stdin.flush().expect("the adapter reads");
        self.requests
    }

    /// Sends a request; the body of the answer.
    fn ask(&mut self, command: &str, arguments: Value) -> Value {
        let number = self.send(command, arguments);
        loop {
            let message = self.next();
            if message["type"] == "event" {
                self.events.push_back(message);
            } else if message["request_seq"] == number {
                assert_eq!(message["success"], true, "{command}: {message}");
                return message["body"].clone();
            }
        }
    }

    /// Waits for an event; its body.
    fn wait_for(&mut self, event: &str) -> Value {
        loop {
            let message = match self.events.pop_front() {
                Some(message) => message,
                None => self.next(),
            };
            if message["event"] == event {
                return message["body"].clone();
            }
        }
    }

    /// Function and line of the innermost frame, and the frame.
    fn place(&mut self) -> (String, u64, Value) {
        let frames = self.ask("stackTrace", json!({"threadId": 1, "levels": 1}));
        let frame = &frames["stackFrames"][0];
        let name = frame["name"].as_str().expect("a name").to_owned();
        (name, frame["line"].as_u64().unwrap_or(0), frame["id"].clone())
    }

    /// Types into the debug console; the place where the windows are then.
    fn goes(&mut self, command: &str) -> (String, u64) {
        let (_, _, frame) = self.place();
        self.ask("evaluate", json!({"expression": command, "frameId": frame, "context": "repl"}));
        self.wait_for("stopped");
        let (name, line, _) = self.place();
        (name, line)
    }
}

impl Drop for Editor {
    fn drop(&mut self) {
        // Both fail only if it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A header that says how long the body is, and the body; `None` at the end.
fn read_message(stream: &mut impl BufRead) -> Option<Value> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim().split_once(": ") {
            Some(("Content-Length", digits)) => length = digits.parse().ok()?,
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    serde_json::from_slice(&body).ok()
}

#[test]
fn an_editor_goes_back_by_the_debug_console_and_its_windows_follow() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let recording = dir.path().join("clobber.rgr");
    let example = workspace_root().join("examples/clobber");
    record_kernel(&example.join("clobber.elf"), "", 3, &recording);
    let server = Server::start(&recording);
    let script = workspace_root().join("scripts/debugger/retrograde_lldb.py");
    let mut editor = Editor::start();
    editor.ask("initialize", json!({"adapterID": "lldb", "linesStartAt1": true, "pathFormat": "path"}));
    editor.send(
        "attach",
        json!({
            "program": example.join("clobber.elf"),
            "stopOnEntry": true,
            "initCommands": [format!("command script import {}", script.display())],
            "attachCommands": [format!("gdb-remote {}", server.address())],
        }),
    );
    editor.wait_for("initialized");
    let source = json!({"path": example.join("kernel.c")});
    let set = editor.ask("setBreakpoints", json!({"source": source, "breakpoints": [{"line": 90}]}));
    assert_eq!(set["breakpoints"][0]["verified"], true, "{set}");
    editor.ask("configurationDone", json!({}));
    editor.wait_for("stopped");
    assert_eq!(editor.place().0, "out8");
    assert_eq!(editor.goes("`process continue -R"), ("timer_tick".into(), 90));
    // The windows follow what our commands do, too, and the buttons go forward again.
    assert_eq!(editor.goes("`rg reverse-step"), ("timer_tick".into(), 89));
    for line in [90, 91] {
        editor.ask("next", json!({"threadId": 1}));
        editor.wait_for("stopped");
        assert_eq!(editor.place().1, line);
    }
    assert_eq!(editor.goes("`rg who-wrote reports"), ("timer_tick".into(), 90));
    assert_eq!(editor.goes("`rg seek start"), ("_start".into(), 23));
    editor.ask("continue", json!({"threadId": 1}));
    assert_eq!(editor.wait_for("stopped")["reason"], "breakpoint");
    assert_eq!(editor.place().1, 90);
    editor.ask("disconnect", json!({"terminateDebuggee": false}));
}
