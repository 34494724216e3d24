//! The program as a debug server.

use crate::process::Process;
use crate::retrograde::{ends_with, retrograde};
use std::path::Path;
use std::time::Duration;

/// A server has found its recording's end by then, on a slow and busy machine.
const START_LIMIT: Duration = Duration::from_secs(120);

/// `retrograde serve` at the end of a recording. Dropping it ends it.
pub struct Server {
    process: Process,
    address: String,
}

impl Server {
    /// Starts it on a free port.
    pub fn start(recording: &Path) -> Server {
        Server::start_with(recording, &[])
    }

    /// The same with more arguments.
    pub fn start_with(recording: &Path, args: &[&str]) -> Server {
        let mut command = retrograde(["serve", "--gdb", "127.0.0.1:0"]);
        let mut process = Process::start(command.args(args).arg(recording).env("RUST_BACKTRACE", "1"));
        process.wait_for(", connect with", START_LIMIT);
        let console = process.console();
        let address = console.split("listening on ").nth(1).and_then(|rest| rest.split(',').next());
        let address = address.unwrap_or_else(|| panic!("no address: {console}")).to_owned();
        Server { process, address }
    }

    /// Where it listens: HOST:PORT.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where its control socket listens, if it was started with one: HOST:PORT.
    pub fn control_address(&self) -> &str {
        let address = self.process.console().split("control socket at ").nth(1);
        address.and_then(|rest| rest.lines().next()).expect("a control socket")
    }

    /// How many of `what` its process has: `task` or `fd`.
    pub fn count(&self, what: &str) -> usize {
        let dir = format!("/proc/{}/{what}", self.process.id());
        std::fs::read_dir(dir).expect("the server runs").count()
    }

    /// What it has said to standard error.
    pub fn said(&self) -> String {
        self.process.stderr()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let said = self.process.stderr();
        if std::thread::panicking() {
            eprintln!("the server said: {said}");
        } else {
            assert!(!self.process.has_ended(), "the server has ended: {said}");
        }
    }
}

/// Replays a recording and compares every hash in it.
pub fn verify(recording: &Path) {
    ends_with(0, retrograde(["replay", "--verify"]).arg(recording));
}
