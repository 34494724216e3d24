//! QEMU as the reference: a guest of ours has to behave there before it is used to judge anything else.

use crate::process::Process;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Duration;

/// A PC in QEMU with its first serial port on pipes. Dropping it ends it.
pub struct Qemu {
    process: Process,
}

impl Qemu {
    /// Starts a machine that loads `kernel` directly, with isa-debug-exit at 0xf4.
    pub fn start(kernel: &Path, initrd: Option<&Path>, cmdline: &str) -> Qemu {
        Qemu::start_with(&[], kernel, initrd, cmdline)
    }

    /// [`Qemu::start`] with further options.
    pub fn start_with(options: &[&str], kernel: &Path, initrd: Option<&Path>, cmdline: &str) -> Qemu {
        let mut command = Command::new("qemu-system-x86_64");
        command.args(["-accel", "tcg", "-m", "128M", "-nodefaults", "-display", "none", "-no-reboot"]);
        command.args(["-serial", "stdio", "-device", "isa-debug-exit,iobase=0xf4", "-append", cmdline]);
        command.args(options).arg("-kernel").arg(kernel);
        if let Some(initrd) = initrd {
            command.arg("-initrd").arg(initrd);
        }
        Qemu { process: Process::start(&mut command) }
    }

    /// Waits until the console has shown `text`; panics with the whole console if it does not within `limit`.
    pub fn wait_for(&mut self, text: &str, limit: Duration) {
        self.process.wait_for(text, limit);
    }

    /// Types `text` at the serial port.
    pub fn send(&mut self, text: &str) {
        self.process.send(text);
    }

    /// Waits for the machine to end, and returns its status and everything on its console.
    pub fn wait_for_end(self, limit: Duration) -> (ExitStatus, String) {
        let outcome = self.process.wait_for_end(limit);
        (outcome.status, outcome.stdout)
    }
}
