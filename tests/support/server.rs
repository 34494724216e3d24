//! The program as a debug server.

use crate::process::{Outcome, Process};
use crate::retrograde::{ends_with, retrograde};
use crate::tools::run;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A server has found its recording's end by then, on a slow and busy machine.
const START_LIMIT: Duration = Duration::from_secs(120);
/// What it still has to do is done by then.
const END_LIMIT: Duration = Duration::from_secs(120);

/// A guest has come anywhere by then.
const GUEST_LIMIT: Duration = Duration::from_secs(240);

/// A server of the program. Dropping it ends it.
pub struct Server {
    /// `None` once somebody has waited for its end.
    process: Option<Process>,
    address: String,
}

impl Server {
    /// `retrograde serve` at the end of a recording, on a free port.
    pub fn start(recording: &Path) -> Server {
        Server::start_with(recording, &[])
    }

    /// The same with more arguments.
    pub fn start_with(recording: &Path, args: &[&str]) -> Server {
        let mut command = retrograde(["serve", "--gdb", "127.0.0.1:0"]);
        Server::of(command.args(args).arg(recording))
    }

    /// A command that becomes a server.
    pub fn of(command: &mut Command) -> Server {
        let mut process = Process::start(command.env("RUST_BACKTRACE", "1"));
        process.wait_for(", connect with", START_LIMIT);
        let console = process.console();
        let address = console.split("listening on ").nth(1).and_then(|rest| rest.split(',').next());
        let address = address.unwrap_or_else(|| panic!("no address: {console}")).to_owned();
        Server { process: Some(process), address }
    }

    /// Waits until the guest has written `text` to the serial port that is this program's terminal.
    pub fn wait_for(&mut self, text: &str) {
        self.process.as_mut().expect("nobody has waited for its end").wait_for(text, GUEST_LIMIT);
    }

    /// Waits for it to end by itself.
    pub fn wait_for_end(mut self) -> Outcome {
        self.process.take().expect("nobody else has waited").wait_for_end(END_LIMIT)
    }

    /// Asks it to end, as a closed session does.
    pub fn terminate(self) -> Outcome {
        let id = self.process().id().to_string();
        run(Command::new("kill").args(["-TERM", &id]), "it is asked to end by a signal");
        self.wait_for_end()
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("nobody has waited for its end")
    }

    /// Where it listens: HOST:PORT.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where its control socket listens, if it was started with one: HOST:PORT.
    pub fn control_address(&self) -> &str {
        let address = self.process().console().split("control socket at ").nth(1);
        address.and_then(|rest| rest.lines().next()).expect("a control socket")
    }

    /// How many of `what` its process has: `task` or `fd`.
    pub fn count(&self, what: &str) -> usize {
        let dir = format!("/proc/{}/{what}", self.process().id());
        std::fs::read_dir(dir).expect("the server runs").count()
    }

    /// What it has said to standard error.
    pub fn said(&self) -> String {
        self.process().stderr()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let Some(process) = &mut self.process else { return };
        let said = process.stderr();
        if std::thread::panicking() {
            eprintln!("the server said: {said}");
        } else {
            assert!(!process.has_ended(), "the server has ended: {said}");
        }
    }
}

/// Replays a recording and compares every hash in it.
pub fn verify(recording: &Path) {
    ends_with(0, retrograde(["replay", "--verify"]).arg(recording));
}
