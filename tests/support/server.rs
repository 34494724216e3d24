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
        let mut process = Process::start(
            retrograde(["serve", "--gdb", "127.0.0.1:0"]).arg(recording).env("RUST_BACKTRACE", "1"),
        );
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
