//! QEMU as the reference: a guest of ours has to behave there before it is used to judge anything else.

use crate::tools::cannot_start;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// A PC in QEMU with its first serial port on pipes. Dropping it ends it.
pub struct Qemu {
    child: Child,
    bytes: Receiver<Vec<u8>>,
    console: String,
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
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().unwrap_or_else(|error| cannot_start(&command, &error));
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
        Qemu { child, bytes, console: String::new() }
    }

    /// Waits until the console has shown `text`; panics with the whole console if it does not within `limit`.
    pub fn wait_for(&mut self, text: &str, limit: Duration) {
        let deadline = Instant::now() + limit;
        while !self.console.contains(text) {
            if let Err(reason) = self.receive(deadline) {
                panic!("no {text:?} on the console ({reason}); all of it:\n{}", self.console);
            }
        }
    }

    /// Types `text` at the serial port.
    pub fn send(&mut self, text: &str) {
        let stdin = self.child.stdin.as_mut().expect("the pipe asked for");
        stdin.write_all(text.as_bytes()).and_then(|()| stdin.flush()).expect("QEMU reads its console");
    }

    /// Waits for the machine to end, and returns its status and everything on its console.
    pub fn wait_for_end(mut self, limit: Duration) -> (ExitStatus, String) {
        let deadline = Instant::now() + limit;
        loop {
            match self.receive(deadline) {
                Ok(()) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    panic!("the machine did not end; its console:\n{}", self.console)
                }
            }
        }
        let status = self.child.wait().expect("QEMU has ended");
        (status, std::mem::take(&mut self.console))
    }

    fn receive(&mut self, deadline: Instant) -> Result<(), RecvTimeoutError> {
        let left = deadline.saturating_duration_since(Instant::now());
        let bytes = self.bytes.recv_timeout(left)?;
        self.console.push_str(&String::from_utf8_lossy(&bytes));
        Ok(())
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        // Both fail only if it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
