//! The host's end of a serial port or debug console: a terminal, file or socket.

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs::File;
use std::io::{IsTerminal, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// How long a socket may refuse output before it is given up.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

const STDIO: &str = "stdio";

/// What a port is connected to, as the command line says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SerialSpec {
    /// Standard input and output.
    Stdio,
    /// Standard output alone.
    Stdout,
    /// Output to a file, which is overwritten; no input.
    File(PathBuf),
    /// Nothing.
    None,
    /// A TCP connection to HOST:PORT, or from there with `,server`.
    Tcp {
        /// HOST:PORT.
        address: String,
        /// Wait for a connection instead of making one.
        server: bool,
    },
    /// The same with a Unix socket.
    Unix {
        /// The socket.
        path: PathBuf,
        /// Wait for a connection instead of making one.
        server: bool,
    },
}

impl FromStr for SerialSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<SerialSpec, String> {
        let socket = |rest: &str| match rest.split_once(',') {
            None if !rest.is_empty() => Ok((rest.to_owned(), false)),
            Some((name, "server" | "server=on")) if !name.is_empty() => Ok((name.to_owned(), true)),
            _ => Err(format!(
                "`{text}`: write tcp:HOST:PORT or unix:PATH, and `,server` after it to wait for a peer"
            )),
        };
        match text.split_once(':') {
            None if text == "stdio" => Ok(SerialSpec::Stdio),
            None if text == "none" => Ok(SerialSpec::None),
            Some(("file", path)) if !path.is_empty() => Ok(SerialSpec::File(path.into())),
            Some(("tcp", rest)) => {
                let (address, server) = socket(rest)?;
                match address.rsplit_once(':') {
                    Some((_, port)) if port.parse::<u16>().is_ok() => Ok(SerialSpec::Tcp { address, server }),
                    _ => Err(format!("`{text}` has no port; write for example tcp:127.0.0.1:4444")),
                }
            }
            Some(("unix", rest)) => {
                let (path, server) = socket(rest)?;
                Ok(SerialSpec::Unix { path: path.into(), server })
            }
            _ => Err(format!("`{text}` is none of stdio, file:PATH, tcp:HOST:PORT, unix:PATH, none")),
        }
    }
}

/// `--debugcon` and `--parallel`: output only.
pub fn parse_output(text: &str) -> Result<SerialSpec, String> {
    match text.parse()? {
        SerialSpec::Stdio => Ok(SerialSpec::Stdout),
        spec @ (SerialSpec::File(_) | SerialSpec::None) => Ok(spec),
        _ => Err(format!("`{text}` is none of stdio, file:PATH, none")),
    }
}

/// Where bytes for the guest come from.
trait Source: Read + AsFd {}
impl<T: Read + AsFd> Source for T {}

/// A name for messages, input, output.
type Ends = (String, Option<Box<dyn Source>>, Option<Box<dyn Write>>);

/// An opened end.
pub struct HostSerial {
    name: String,
    source: Option<Box<dyn Source>>,
    sink: Option<Box<dyn Write>>,
}

impl HostSerial {
    /// Opens what `spec` names. With `server` it waits until a peer is there.
    pub fn open(spec: &SerialSpec) -> Result<HostSerial> {
        let (name, source, sink): Ends = match spec {
            SerialSpec::None => ("none".into(), None, None),
            SerialSpec::Stdout => ("stdout".into(), None, Some(Box::new(std::io::stdout()))),
            SerialSpec::Stdio => {
                // Unbuffered, so that what poll says of the descriptor is all there is.
                let stdin = File::from(std::io::stdin().as_fd().try_clone_to_owned().context("stdin")?);
                (STDIO.into(), Some(Box::new(stdin)), Some(Box::new(std::io::stdout())))
            }
            SerialSpec::File(path) => {
                let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
                (path.display().to_string(), None, Some(Box::new(file)))
            }
            SerialSpec::Tcp { address, server } => {
                let stream = connect_tcp(address, *server)?;
                stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
                (format!("tcp:{address}"), Some(Box::new(stream.try_clone()?)), Some(Box::new(stream)))
            }
            SerialSpec::Unix { path, server } => {
                let stream = connect_unix(path, *server)?;
                stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
                let name = format!("unix:{}", path.display());
                (name, Some(Box::new(stream.try_clone()?)), Some(Box::new(stream)))
            }
        };
        Ok(HostSerial { name, source, sink })
    }

    /// Whether input can still come.
    pub fn is_open(&self) -> bool {
        self.source.is_some()
    }

    /// Whether this is standard input.
    pub fn is_stdio(&self) -> bool {
        self.name == STDIO
    }

    /// The descriptor to poll for input.
    pub fn input(&self) -> Option<BorrowedFd<'_>> {
        self.source.as_ref().map(|s| s.as_fd())
    }

    /// Input that is there, at most `most` bytes; never waits. The end of the input closes it for good.
    pub fn read_ready(&mut self, most: usize) -> Vec<u8> {
        let Some(source) = self.source.as_mut() else { return Vec::new() };
        if !wait_readable(&[source.as_fd()], Some(Duration::ZERO)) {
            return Vec::new();
        }
        let mut bytes = vec![0; most];
        match source.read(&mut bytes) {
            Ok(0) => {
                tracing::info!("{}: no more input", self.name);
                self.source = None;
                Vec::new()
            }
            Ok(n) => {
                bytes.truncate(n);
                bytes
            }
            Err(e)
                if matches!(e.kind(), std::io::ErrorKind::Interrupted | std::io::ErrorKind::WouldBlock) =>
            {
                Vec::new()
            }
            Err(e) => {
                tracing::warn!("{}: {e}; it gives no more input", self.name);
                self.source = None;
                Vec::new()
            }
        }
    }

    /// Writes guest output. An end that takes nothing more (a closed pipe) is dropped with a warning: it must not end
    /// the recording.
    pub fn write(&mut self, bytes: &[u8]) {
        let Some(sink) = self.sink.as_mut() else { return };
        if let Err(e) = sink.write_all(bytes).and_then(|()| sink.flush()) {
            crate::note!("retrograde: warning: {}: {e}; its output is dropped from here on", self.name);
            self.sink = None;
        }
    }
}

fn connect_tcp(address: &str, server: bool) -> Result<TcpStream> {
    if !server {
        return TcpStream::connect(address).with_context(|| {
            format!(
                "cannot connect to tcp:{address} for a serial port (add `,server` to wait for a peer instead)"
            )
        });
    }
    let listener = TcpListener::bind(address).with_context(|| format!("cannot listen on tcp:{address}"))?;
    crate::note!("retrograde: waiting for a connection to tcp:{}", listener.local_addr()?);
    Ok(listener.accept()?.0)
}

fn connect_unix(path: &PathBuf, server: bool) -> Result<UnixStream> {
    let shown = path.display();
    if !server {
        return UnixStream::connect(path).with_context(|| {
            format!(
                "cannot connect to unix:{shown} for a serial port (add `,server` to wait for a peer instead)"
            )
        });
    }
    if path.exists() {
        bail!("unix:{shown} exists; remove it or choose another path");
    }
    let listener = UnixListener::bind(path).with_context(|| format!("cannot listen on unix:{shown}"))?;
    crate::note!("retrograde: waiting for a connection to unix:{shown}");
    let stream = listener.accept()?.0;
    // The name has done its work.
    let _ = std::fs::remove_file(path);
    Ok(stream)
}

/// Waits until one of `inputs` has something to read (or is at its end), a signal comes or `timeout` passes.
pub fn wait_readable(inputs: &[BorrowedFd<'_>], timeout: Option<Duration>) -> bool {
    let inputs: Vec<_> = inputs.iter().map(|fd| (*fd, PollFlags::IN)).collect();
    wait_ready(&inputs, timeout)
}

/// The same with what to wait for.
pub fn wait_ready(inputs: &[(BorrowedFd<'_>, PollFlags)], timeout: Option<Duration>) -> bool {
    let mut fds: Vec<PollFd<'_>> =
        inputs.iter().map(|(fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
    let timeout = timeout.and_then(|t| Timespec::try_from(t).ok());
    matches!(poll(&mut fds, timeout.as_ref()), Ok(n) if n > 0)
}

/// The terminal on standard input in raw mode, as long as this lives.
pub struct RawTerminal {
    before: rustix::termios::Termios,
}

impl RawTerminal {
    /// Raw mode, if standard input is a terminal.
    pub fn enter() -> Option<RawTerminal> {
        use rustix::termios::{OptionalActions, OutputModes, tcgetattr, tcsetattr};
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            return None;
        }
        let before = tcgetattr(&stdin).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        // Our own messages end in a plain newline.
        raw.output_modes |= OutputModes::OPOST;
        tcsetattr(&stdin, OptionalActions::Drain, &raw).ok()?;
        Some(RawTerminal { before })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        use rustix::termios::{OptionalActions, tcsetattr};
        // If the terminal is gone there is nothing left to set right.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Drain, &self.before);
    }
}

/// What a user means by the escape key Ctrl-A, as in QEMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hotkey {
    /// Ctrl-A x: end the recording.
    Quit,
    /// Ctrl-A h: say what there is.
    Help,
}

/// Takes the escape key out of what is typed.
#[derive(Debug, Default)]
pub struct HotkeyFilter {
    pending: bool,
}

impl HotkeyFilter {
    /// What of `typed` is for the guest, and the first hotkey in it; what follows a hotkey is dropped.
    pub fn filter(&mut self, typed: &[u8]) -> (Vec<u8>, Option<Hotkey>) {
        const CTRL_A: u8 = 1;
        let mut guest = Vec::with_capacity(typed.len());
        for &byte in typed {
            if std::mem::take(&mut self.pending) {
                match byte {
                    CTRL_A => guest.push(CTRL_A),
                    b'x' | b'X' => return (guest, Some(Hotkey::Quit)),
                    _ => return (guest, Some(Hotkey::Help)),
                }
            } else if byte == CTRL_A {
                self.pending = true;
            } else {
                guest.push(byte);
            }
        }
        (guest, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs_are_read() {
        let tcp = |server| SerialSpec::Tcp { address: "[::1]:4444".into(), server };
        assert_eq!("stdio".parse(), Ok(SerialSpec::Stdio));
        assert_eq!("none".parse(), Ok(SerialSpec::None));
        assert_eq!("file:a:b".parse(), Ok(SerialSpec::File("a:b".into())));
        assert_eq!("tcp:[::1]:4444".parse(), Ok(tcp(false)));
        assert_eq!("tcp:[::1]:4444,server=on".parse(), Ok(tcp(true)));
        assert_eq!("unix:/s".parse(), Ok(SerialSpec::Unix { path: "/s".into(), server: false }));
        for bad in ["", "file:", "tcp:", "tcp:host", "tcp:h:99999", "unix:", "unix:/s,x", "pty", "stdio:x"] {
            assert!(bad.parse::<SerialSpec>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_debug_console_has_no_input() {
        assert_eq!(parse_output("stdio"), Ok(SerialSpec::Stdout));
        assert!(parse_output("tcp:h:1").is_err());
    }

    #[test]
    fn ctrl_a_is_the_escape_key() {
        let mut filter = HotkeyFilter::default();
        assert_eq!(filter.filter(b"ab\x01"), (b"ab".to_vec(), None));
        assert_eq!(filter.filter(b"\x01c"), (b"\x01c".to_vec(), None));
        assert_eq!(filter.filter(b"d\x01xe"), (b"d".to_vec(), Some(Hotkey::Quit)));
        assert_eq!(filter.filter(b"\x01?"), (Vec::new(), Some(Hotkey::Help)));
        assert_eq!(filter.filter(b"x"), (b"x".to_vec(), None));
    }

    #[test]
    fn the_end_of_input_is_noticed_without_waiting() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut serial = HostSerial { name: "test".into(), source: Some(Box::new(ours)), sink: None };
        assert!(serial.read_ready(16).is_empty() && serial.is_open());
        theirs.write_all(b"hello").unwrap();
        assert_eq!(serial.read_ready(3), b"hel");
        drop(theirs);
        assert_eq!(serial.read_ready(16), b"lo");
        assert!(serial.read_ready(16).is_empty() && !serial.is_open());
    }
}
