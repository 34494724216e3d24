//! A program that runs beside the test: its console is read while it runs, and it never outlives the test or its limit.

use crate::tools::cannot_start;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::NamedTempFile;

/// A running program with its standard streams on pipes. Dropping it ends it.
pub struct Process {
    child: Child,
    bytes: Receiver<Vec<u8>>,
    console: String,
    errors: NamedTempFile,
    what: String,
}

/// How a program ended, and what it said.
pub struct Outcome {
    /// The exit status, or the signal.
    pub status: ExitStatus,
    /// All of its standard output.
    pub stdout: String,
    /// All of its standard error.
    pub stderr: String,
}

impl Process {
    /// Starts a program.
    pub fn start(command: &mut Command) -> Process {
        let errors = NamedTempFile::new().expect("a temporary file");
        let stderr = File::create(errors.path()).expect("the temporary file can be opened");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr);
        let mut child = command.spawn().unwrap_or_else(|error| cannot_start(command, &error));
        let mut stdout = child.stdout.take().expect("the pipe asked for");
        let (sender, bytes) = mpsc::channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stdout.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Process { child, bytes, console: String::new(), errors, what: format!("{command:?}") }
    }

    /// Waits until standard output has shown `text`; panics with all that was said if it does not within `limit`.
    pub fn wait_for(&mut self, text: &str, limit: Duration) {
        let deadline = Instant::now() + limit;
        while !self.console.contains(text) {
            if let Err(reason) = self.receive(deadline) {
                panic!("no {text:?} from {} ({reason}); {}", self.what, self.all_said());
            }
        }
    }

    /// What standard output has shown so far.
    pub fn console(&self) -> &str {
        &self.console
    }

    /// Waits for more standard output; false if there was none within `limit`.
    pub fn listen(&mut self, limit: Duration) -> bool {
        self.receive(Instant::now() + limit).is_ok()
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_some()
    }

    /// Types `text` at its standard input.
    pub fn send(&mut self, text: &str) {
        let stdin = self.child.stdin.as_mut().expect("standard input is open");
        stdin.write_all(text.as_bytes()).and_then(|()| stdin.flush()).expect("the program reads its input");
    }

    /// Closes its standard input.
    pub fn close_input(&mut self) {
        self.child.stdin = None;
    }

    /// Its process number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it with SIGKILL, at once.
    pub fn kill(&mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a killed child ends");
    }

    /// Waits for it to end by itself; panics with all that was said if it does not within `limit`.
    pub fn wait_for_end(mut self, limit: Duration) -> Outcome {
        let deadline = Instant::now() + limit;
        let status = loop {
            // The output may stay open in a grandchild, and may be closed before the end: neither is the end.
            let soon = (Instant::now() + Duration::from_millis(20)).min(deadline);
            match self.receive(soon) {
                Ok(()) => continue,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => thread::sleep(Duration::from_millis(1)),
            }
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                break status;
            }
            assert!(Instant::now() < deadline, "{} does not end; {}", self.what, self.all_said());
        };
        while self.receive(deadline).is_ok() {}
        let stderr = self.stderr();
        Outcome { status, stdout: std::mem::take(&mut self.console), stderr }
    }

    /// What standard error has shown so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.errors.path()).expect("the temporary file")).into_owned()
    }

    fn all_said(&self) -> String {
        format!("all it said:\n{}\n{}", self.console, self.stderr())
    }

    fn receive(&mut self, deadline: Instant) -> Result<(), RecvTimeoutError> {
        let left = deadline.saturating_duration_since(Instant::now());
        let bytes = self.bytes.recv_timeout(left)?;
        self.console.push_str(&String::from_utf8_lossy(&bytes));
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
