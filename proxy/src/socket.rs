//! Where servers listen and what connects to them: TCP and Unix sockets alike.

use anyhow::{Context, Result, bail};
use mio::event::Source;
use mio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use mio::{Interest, Registry, Token};
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, ToSocketAddrs};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// Most that may wait for a peer that does not read.
const OUTBOX_MAX_BYTES: usize = 16 << 20;

/// What QEMU's users write behind an address, and is so here.
const NOTHING_NEW: [&str; 5] = ["server", "server=on", "nowait", "wait=off", "nodelay"];

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A TCP port.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl Address {
    /// HOST:PORT, :PORT, PORT or unix:PATH as the value of `option`; the host is this machine's loopback unless another is
    /// named. As QEMU has it, there may be `tcp:` before it, and behind it that it is a server's and does not wait, as all of these.
    pub fn parse(option: &str, text: &str) -> Result<Address> {
        let (text, details) = text.split_once(',').unwrap_or((text, ""));
        for detail in details.split(',').filter(|detail| !detail.is_empty()) {
            if !NOTHING_NEW.contains(&detail) {
                bail!("{option}: `{detail}` is not known behind an address; write only {text}");
            }
        }
        if let Some(path) = text.strip_prefix("unix:") {
            if path.is_empty() {
                bail!("{option}: write the path of the socket behind unix:");
            }
            return Ok(Address::Unix(path.into()));
        }
        let text = text.strip_prefix("tcp:").unwrap_or(text);
        let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let host = if host.is_empty() { "127.0.0.1" } else { host };
        let Ok(port) = port.parse::<u16>() else {
            bail!(
                "{option}: `{text}` is no address; write HOST:PORT, :PORT or PORT, for example 127.0.0.1:1234, or unix:PATH"
            );
        };
        (host, port)
            .to_socket_addrs()
            .with_context(|| format!("{option}: cannot find the host of `{text}`"))?
            .next()
            .map(Address::Tcp)
            .with_context(|| format!("{option}: `{text}` has no address"))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A socket that peers connect to. The file of a Unix socket goes with it.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    address: Address,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Listens at the address that `option` gave.
    pub fn bind(option: &str, address: &Address) -> Result<Listener> {
        match address {
            Address::Tcp(at) => {
                let socket = TcpListener::bind(*at).with_context(|| {
                    format!(
                        "cannot listen on {at}: choose another port, for example {option} :{}",
                        at.port().wrapping_add(1)
                    )
                })?;
                let address = Address::Tcp(socket.local_addr()?);
                Ok(Listener { socket: Socket::Tcp(socket), address })
            }
            Address::Unix(path) => {
                remove_abandoned(path);
                let socket = UnixListener::bind(path)
                    .with_context(|| format!("{option}: cannot listen on {address}"))?;
                Ok(Listener { socket: Socket::Unix(socket), address: address.clone() })
            }
        }
    }

    /// Where it listens, with the port that the system chose.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The next peer, and its name; an error of the kind `WouldBlock` if there is none.
    pub fn accept(&self) -> io::Result<(Stream, String)> {
        loop {
            let accepted = match &self.socket {
                Socket::Tcp(socket) => {
                    socket.accept().map(|(stream, peer)| (Stream::Tcp(stream), peer.to_string()))
                }
                Socket::Unix(socket) => {
                    socket.accept().map(|(stream, _)| (Stream::Unix(stream), self.address.to_string()))
                }
            };
            match accepted {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                accepted => return accepted,
            }
        }
    }
}

/// A socket that nobody listens on any more was left behind by a server that was killed.
fn remove_abandoned(path: &Path) {
    // Connecting to a plain file is refused too.
    if !std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket()) {
        return;
    }
    let refused = std::os::unix::net::UnixStream::connect(path);
    if refused.is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused) {
        // If it cannot be removed, listening fails, and says so.
        let _ = std::fs::remove_file(path);
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Address::Unix(path) = &self.address {
            // Somebody may have removed it already.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A connection.
#[derive(Debug)]
pub enum Stream {
    /// By TCP.
    Tcp(TcpStream),
    /// By a Unix socket.
    Unix(UnixStream),
}

impl Stream {
    /// Sends small pieces at once.
    pub fn hurry(&self) {
        if let Stream::Tcp(stream) = self {
            // A failure costs time only.
            let _ = stream.set_nodelay(true);
        }
    }

    /// Nothing more will be written.
    pub fn end_writing(&self) {
        // A peer that is gone needs no end.
        let _ = match self {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(buf),
            Stream::Unix(stream) => stream.read(buf),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(buf),
            Stream::Unix(stream) => stream.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes that wait for a peer that does not read.
#[derive(Debug, Default)]
pub struct Outbox(VecDeque<u8>);

impl Outbox {
    /// One more piece. It goes with the next [`Outbox::flush`].
    pub fn push(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
    }

    /// Sends what `stream` takes. False if it takes no more, ever, or lets too much pile up.
    pub fn flush(&mut self, stream: &mut Stream) -> bool {
        while !self.0.is_empty() {
            let (front, _) = self.0.as_slices();
            match stream.write(front) {
                Ok(0) => return false,
                Ok(n) => drop(self.0.drain(..n)),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        self.0.len() <= OUTBOX_MAX_BYTES
    }
}

/// Hands mio what is inside.
macro_rules! is_source {
    ($outer:ident, $field:tt, $inner:ident) => {
        impl Source for $outer {
            fn register(&mut self, registry: &Registry, token: Token, interest: Interest) -> io::Result<()> {
                match is_source!(@ self $field) {
                    $inner::Tcp(socket) => socket.register(registry, token, interest),
                    $inner::Unix(socket) => socket.register(registry, token, interest),
                }
            }

            fn reregister(&mut self, registry: &Registry, token: Token, interest: Interest) -> io::Result<()> {
                match is_source!(@ self $field) {
                    $inner::Tcp(socket) => socket.reregister(registry, token, interest),
                    $inner::Unix(socket) => socket.reregister(registry, token, interest),
                }
            }

            fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
                match is_source!(@ self $field) {
                    $inner::Tcp(socket) => socket.deregister(registry),
                    $inner::Unix(socket) => socket.deregister(registry),
                }
            }
        }
    };
    (@ $this:ident _) => { $this };
    (@ $this:ident $field:ident) => { &mut $this.$field };
}

is_source!(Listener, socket, Socket);
is_source!(Stream, _, Stream);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_on_loopback_unless_they_name_a_host() {
        for (text, address) in [
            ("1234", "127.0.0.1:1234"),
            (":0", "127.0.0.1:0"),
            ("0.0.0.0:99", "0.0.0.0:99"),
            ("[::1]:7", "[::1]:7"),
            ("unix:/run/x", "unix:/run/x"),
            ("unix:/run/x,server,nowait", "unix:/run/x"),
            ("tcp::99,server=on,wait=off", "127.0.0.1:99"),
        ] {
            assert_eq!(Address::parse("--gdb", text).unwrap().to_string(), address);
        }
        for bad in
            ["", ":", "host", "1.2.3.4:", ":70000", ":-1", "unix:", "unix:,server", ":1,wait=on", "tcp:"]
        {
            assert!(Address::parse("--qmp", bad).unwrap_err().to_string().starts_with("--qmp: "), "{bad}");
        }
    }

    #[test]
    fn a_unix_socket_goes_with_its_listener_and_an_abandoned_one_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let listener = Listener::bind("--gdb", &Address::Unix(path.clone())).unwrap();
        assert!(Listener::bind("--gdb", &Address::Unix(path.clone())).is_err());
        // The second one has looked whether somebody is there.
        drop(listener.accept().unwrap());
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
        drop(listener);
        assert!(!path.exists());
        std::fs::write(&path, "a file of the user").unwrap();
        assert!(Listener::bind("--gdb", &Address::Unix(path.clone())).is_err());
        assert!(path.exists());
    }
}
