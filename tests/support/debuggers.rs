//! GDB and LLDB as their users drive them: commands go in, one at a time, and what is shown comes back.

use crate::server::Server;
use crate::tools::{cannot_start, make_once, run};
use crate::{cache_dir, workspace_root};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

/// No debugger in these tests is silent for longer, on a slow and busy machine.
const SILENCE_LIMIT: Duration = Duration::from_secs(240);

/// How a debugger is asked to print a line, which says that it has done all that was asked before.
#[derive(Clone, Copy)]
enum Dialect {
    Gdb,
    Lldb,
}

/// A debugger with a terminal that is a pipe. Dropping it ends it.
pub struct Debugger {
    child: Child,
    stdin: ChildStdin,
    bytes: Receiver<Vec<u8>>,
    dialect: Dialect,
    /// What was shown and not yet returned.
    shown: String,
    commands: usize,
}

impl Debugger {
    /// GDB, connected; what it showed when it connected. `RETROGRADE_GDB` in the environment names another one than the system's:
    /// a program, or `18`.
    pub fn gdb(server: &Server, symbols: Option<&Path>) -> (Debugger, String) {
        let command = match std::env::var_os("RETROGRADE_GDB") {
            Some(version) if version == "18" => gdb_18(),
            program => Command::new(program.unwrap_or_else(|| "gdb".into())),
        };
        Debugger::connect_gdb(command, server, symbols)
    }

    /// GDB 18, connected; what it showed when it connected.
    pub fn gdb_18(server: &Server, symbols: Option<&Path>) -> (Debugger, String) {
        Debugger::connect_gdb(gdb_18(), server, symbols)
    }

    fn connect_gdb(mut command: Command, server: &Server, symbols: Option<&Path>) -> (Debugger, String) {
        command.args(["-nx", "-q"]);
        for setting in ["confirm off", "pagination off", "width 0", "style enabled off"] {
            command.args(["-ex", &format!("set {setting}")]);
        }
        // An empty prompt leaves nothing between the commands' outputs.
        command.args(["-ex", "set prompt"]).args(symbols);
        let mut gdb = Debugger::start(command, Dialect::Gdb);
        let connected = gdb.run(&format!("target remote {}", server.address()));
        (gdb, connected)
    }

    /// LLDB, connected; what it showed when it connected.
    pub fn lldb(server: &Server, symbols: Option<&Path>) -> (Debugger, String) {
        let mut command = Command::new("lldb-22");
        command.args(["--no-lldbinit", "--no-use-colors"]).args(symbols);
        let mut lldb = Debugger::start(command, Dialect::Lldb);
        lldb.run("settings set auto-confirm true");
        // A command that runs the machine is done when the machine stands still again.
        lldb.run("script lldb.debugger.SetAsync(False)");
        let connected = lldb.run(&format!("gdb-remote {}", server.address()));
        (lldb, connected)
    }

    /// Loads our commands for this debugger.
    pub fn load_script(&mut self) {
        let scripts = workspace_root().join("scripts/debugger");
        let command = match self.dialect {
            Dialect::Gdb => format!("source {}", scripts.join("retrograde.gdb.py").display()),
            Dialect::Lldb => {
                format!("command script import {}", scripts.join("retrograde_lldb.py").display())
            }
        };
        let shown = self.run(&command);
        assert!(!shown.to_lowercase().contains("error"), "{shown}");
    }

    fn start(mut command: Command, dialect: Dialect) -> Debugger {
        let (mut reader, writer) = std::io::pipe().expect("a pipe");
        let errors = writer.try_clone().expect("a second end of the pipe");
        command.stdin(Stdio::piped()).stdout(writer).stderr(errors);
        let mut child = command.spawn().unwrap_or_else(|error| cannot_start(&command, &error));
        // It holds the writing end, which keeps the pipe open.
        drop(command);
        let stdin = child.stdin.take().expect("the pipe asked for");
        let (sender, bytes) = mpsc::channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Debugger { child, stdin, bytes, dialect, shown: String::new(), commands: 0 }
    }

    /// Gives a command and returns all that was shown until it was done.
    pub fn run(&mut self, command: &str) -> String {
        self.begin(command);
        self.finish()
    }

    /// Gives a command.
    pub fn begin(&mut self, command: &str) {
        self.commands += 1;
        let marker = self.marker();
        let text = match self.dialect {
            Dialect::Gdb => format!("{command}\necho \\n{marker}\\n\n"),
            Dialect::Lldb => format!("{command}\nscript print(\"{marker}\", flush=True)\n"),
        };
        self.stdin.write_all(text.as_bytes()).expect("the debugger reads its commands");
    }

    /// Waits until the command is done; what was shown.
    pub fn finish(&mut self) -> String {
        let marker = format!("\n{}\n", self.marker());
        let (before, after) = loop {
            if let Some((before, after)) = self.shown.split_once(&marker) {
                break (before.to_owned(), after.to_owned());
            }
            self.receive("the end of a command");
        };
        self.shown = after;
        before
    }

    /// Waits until `text` is shown while a command runs.
    pub fn wait_for(&mut self, text: &str) {
        while !self.shown.contains(text) {
            self.receive(text);
        }
    }

    /// Ctrl-C.
    pub fn interrupt(&self) {
        run(Command::new("kill").args(["-INT", &self.child.id().to_string()]), "Ctrl-C is a signal");
    }

    /// The value of an expression of GDB, as a 64-bit number.
    pub fn value(&mut self, expression: &str) -> u64 {
        let shown = self.run(&format!("output/u (unsigned long long)({expression})"));
        shown.trim().parse().unwrap_or_else(|_| panic!("{expression} is {shown}"))
    }

    /// The position in history.
    pub fn position(&mut self) -> u64 {
        match self.dialect {
            Dialect::Gdb => self.value("$icount"),
            Dialect::Lldb => {
                let shown = self.run("register read icount");
                let digits =
                    shown.split_once("icount = 0x").and_then(|(_, rest)| rest.split_whitespace().next());
                let value = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
                value.unwrap_or_else(|| panic!("icount is {shown}"))
            }
        }
    }

    /// Goes to a place by GDB's way around the stub, and lets GDB look again.
    pub fn seek(&mut self, place: &str) -> String {
        let shown = self.run(&format!("monitor seek {place}"));
        assert!(shown.contains("position "), "{shown}");
        self.run("maint flush register-cache");
        shown
    }

    fn marker(&self) -> String {
        format!("#-- done: {} --#", self.commands)
    }

    fn receive(&mut self, awaited: &str) {
        match self.bytes.recv_timeout(SILENCE_LIMIT) {
            Ok(bytes) => self.shown.push_str(&String::from_utf8_lossy(&bytes)),
            Err(reason) => panic!("no {awaited:?} ({reason}); what was shown:\n{}", self.shown),
        }
    }
}

impl Drop for Debugger {
    fn drop(&mut self) {
        // Both fail only if it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// GDB 18, which Debian 12 does not have: installed from PyPI into a virtual environment in the cache, once.
fn gdb_18() -> Command {
    let environment = cache_dir().join("gdb-18.1");
    make_once(&environment, |path| {
        let needed = "needed: apt-get install python3-venv, and the package gdb-for-pwndbg from PyPI";
        run(Command::new("/usr/bin/python3").args(["-m", "venv"]).arg(path), needed);
        let mut pip = Command::new(path.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        run(pip.arg("gdb-for-pwndbg==18.1.0.post1"), needed);
    });
    // Its own script holds the path at which it was installed.
    let mut command = Command::new(environment.join("bin/python"));
    command.args(["-m", "gdb_for_pwndbg.gdb"]);
    command
}

/// GDB 13's words for the end of history, and those of GDB 18.
const END_OF_HISTORY: [&str; 2] =
    ["No more reverse-execution history", "Reached end of recorded history; stopping."];

/// Whether GDB says that history ends here.
pub fn ends_history(shown: &str) -> bool {
    END_OF_HISTORY.iter().any(|words| shown.contains(words))
}

/// What comes behind `text`, or behind what a newer debugger says in its place.
fn behind<'a>(shown: &'a str, text: &str) -> Option<&'a str> {
    let [older, newer] = END_OF_HISTORY;
    let found = shown.split_once(text);
    let found = found.or_else(|| shown.split_once(newer).filter(|_| text.starts_with(older)));
    found.map(|(_, after)| after)
}

/// Each of the texts is shown, in this order.
#[track_caller]
pub fn shows(shown: &str, texts: &[&str]) {
    let mut rest = shown;
    for text in texts {
        match behind(rest, text) {
            Some(after) => rest = after,
            None => panic!("no {text:?} (in this order: {texts:?}) in what was shown:\n{shown}"),
        }
    }
}
