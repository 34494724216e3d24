//! A recording of a guest under a real debugger.

use crate::debuggers::{Debugger, shows};
use crate::recordings::record_kernel;
use crate::server::{Server, verify};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Which debugger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Debian's GDB.
    Gdb,
    /// GDB 18.
    Gdb18,
    /// Debian's LLDB 22.
    Lldb,
}

/// A recording, made now, a server, and a debugger that is connected to it.
pub struct Debugged {
    /// The debugger.
    pub debugger: Debugger,
    /// The file.
    pub recording: PathBuf,
    before: Vec<u8>,
    _server: Server,
    _dir: TempDir,
}

impl Debugged {
    /// A kernel that ends with `status` when it is run, in a debugger that knows its symbols.
    pub fn kernel(which: Which, kernel: &Path, status: i32) -> Debugged {
        Debugged::kernel_with(which, kernel, "", status)
    }

    /// The same with a command line.
    pub fn kernel_with(which: Which, kernel: &Path, append: &str, status: i32) -> Debugged {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let recording = dir.path().join("recording.rgr");
        record_kernel(kernel, append, status, &recording);
        let server = Server::start(&recording);
        let (debugger, _) = match which {
            Which::Gdb => Debugger::gdb(&server, Some(kernel)),
            Which::Gdb18 => Debugger::gdb_18(&server, Some(kernel)),
            Which::Lldb => Debugger::lldb(&server, Some(kernel)),
        };
        let before = fs::read(&recording).expect("the recording");
        Debugged { debugger, recording, before, _server: server, _dir: dir }
    }

    /// Runs a command and looks for texts in what it shows, in their order.
    #[track_caller]
    pub fn expect(&mut self, command: &str, texts: &[&str]) -> String {
        let shown = self.debugger.run(command);
        shows(&shown, texts);
        shown
    }

    /// The file has not changed, and replays as it was recorded.
    pub fn verify(&self) {
        assert!(
            fs::read(&self.recording).expect("the recording") == self.before,
            "the recording has changed"
        );
        verify(&self.recording);
    }
}
