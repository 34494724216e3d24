//! Connections: each is a socket of smoltcp towards the guest and one of the host towards the world, with bytes moved between.
//!
//! A guest's SYN waits until the host is connected, so that the guest learns what the world says: no socket waits for a SYN that
//! was refused, and smoltcp answers such a one with a reset by itself.

use super::wire::Wire;
use super::{Forward, GATEWAY, Interest, host_address};
use anyhow::{Context, Result};
use mio::net::{TcpListener, TcpStream};
use rustix::event::PollFlags;
use smoltcp::iface::{Interface, SocketHandle, SocketSet};
use smoltcp::socket::tcp::{self, Socket, SocketBuffer, State};
use smoltcp::time::Duration as StackDuration;
use smoltcp::wire::{IpEndpoint, IpListenEndpoint};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, SocketAddrV4};
use std::os::fd::AsFd;

/// Connections at most.
const FLOWS_MAX: usize = 256;
/// In each direction of a connection: the largest window without scaling.
const BUFFER_BYTES: usize = 65_535;
/// First of the ports from which forwarded connections come.
const FIRST_PORT: u16 = 49_152;
/// A guest that does not take a forwarded connection is given up after this.
const FORWARD_TIMEOUT: StackDuration = StackDuration::from_secs(60);

/// A connection.
struct Flow {
    guest: SocketAddrV4,
    remote: SocketAddrV4,
    stream: TcpStream,
    stage: Stage,
}

/// How far a connection is.
enum Stage {
    /// The host connects; the guest's SYN waits.
    Connecting { syn: Vec<u8> },
    /// Both sides are there.
    Open {
        handle: SocketHandle,
        /// The world has sent all.
        ended: bool,
        /// The guest has sent all, and the world knows.
        shut: bool,
        /// The world takes nothing more for now.
        blocked: bool,
    },
}

/// All connections.
#[derive(Default)]
pub struct Tcp {
    flows: Vec<Flow>,
    listeners: Vec<(TcpListener, SocketAddrV4)>,
    next_port: u16,
}

impl Tcp {
    /// Listens on the host.
    pub fn forward(&mut self, forward: &Forward) -> Result<()> {
        let listener = TcpListener::bind(forward.listen.into())
            .with_context(|| format!("--nic: hostfwd: cannot listen on {}", forward.listen))?;
        tracing::info!("connections to {} go to {}", listener.local_addr()?, forward.guest);
        self.listeners.push((listener, forward.guest));
        Ok(())
    }

    /// Where the host listens.
    #[cfg(test)]
    pub fn listening(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|(listener, _)| listener.local_addr().ok()).collect()
    }

    /// A guest's SYN. Whether it is taken care of; if not, smoltcp says no.
    pub fn begin(
        &mut self,
        guest: SocketAddrV4,
        remote: SocketAddrV4,
        syn: &[u8],
        resolver: Option<SocketAddr>,
    ) -> bool {
        if let Some(flow) = self.flows.iter().find(|flow| (flow.guest, flow.remote) == (guest, remote)) {
            // Said again while the host still connects.
            return matches!(flow.stage, Stage::Connecting { .. });
        }
        let Some(host) = host_address(remote, resolver).filter(|_| self.flows.len() < FLOWS_MAX) else {
            return false;
        };
        match TcpStream::connect(host) {
            Ok(stream) => {
                let stage = Stage::Connecting { syn: syn.to_vec() };
                self.flows.push(Flow { guest, remote, stream, stage });
                true
            }
            Err(e) => {
                tracing::debug!("{remote}: {e}");
                false
            }
        }
    }

    /// Takes what has happened on the host, and moves bytes. `poll` lets smoltcp work.
    pub fn poll(
        &mut self,
        iface: &mut Interface,
        sockets: &mut SocketSet<'static>,
        wire: &mut Wire,
        mut poll: impl FnMut(&mut Interface, &mut SocketSet<'static>, &mut Wire),
    ) {
        self.accept(iface, sockets);
        for flow in &mut self.flows {
            if let Some(syn) = flow.connected(sockets) {
                // Whoever listens now, listens for this SYN: it must be there before the next one does.
                wire.arrive(syn);
                poll(iface, sockets, wire);
            }
        }
        self.flows.retain(|flow| !flow.is_refused());
        poll(iface, sockets, wire);
        for flow in &mut self.flows {
            flow.pump(sockets);
        }
        poll(iface, sockets, wire);
        self.flows.retain(|flow| !flow.is_over(sockets));
    }

    fn accept(&mut self, iface: &mut Interface, sockets: &mut SocketSet<'static>) {
        for (listener, guest) in &self.listeners {
            while self.flows.len() < FLOWS_MAX
                && let Ok((stream, _)) = listener.accept()
            {
                let port = FIRST_PORT + self.next_port % (u16::MAX - FIRST_PORT);
                self.next_port = self.next_port.wrapping_add(1);
                let remote = SocketAddrV4::new(GATEWAY, port);
                let mut socket = socket();
                socket.set_timeout(Some(FORWARD_TIMEOUT));
                let ends = (endpoint(*guest), endpoint(remote));
                if let Err(e) = socket.connect(iface.context(), ends.0, ends.1) {
                    tracing::debug!("{guest}: {e}");
                    continue;
                }
                let stage =
                    Stage::Open { handle: sockets.add(socket), ended: false, shut: false, blocked: false };
                self.flows.push(Flow { guest: *guest, remote, stream, stage });
            }
        }
    }

    /// Whether a connection is there, so that something may come.
    pub fn is_waiting(&self) -> bool {
        !self.flows.is_empty()
    }

    /// Whether something can come at all.
    pub fn is_open(&self) -> bool {
        !self.flows.is_empty() || !self.listeners.is_empty()
    }

    /// What to wait for.
    pub fn interests<'a>(&'a self, sockets: &'a SocketSet<'static>) -> impl Iterator<Item = Interest<'a>> {
        let listeners = self.listeners.iter().map(|(listener, _)| (listener.as_fd(), PollFlags::IN));
        let flows = self.flows.iter().map(|flow| (flow.stream.as_fd(), flow.wants(sockets)));
        listeners.chain(flows.filter(|(_, flags)| !flags.is_empty()))
    }
}

fn endpoint(address: SocketAddrV4) -> IpEndpoint {
    IpEndpoint { addr: (*address.ip()).into(), port: address.port() }
}

fn socket() -> Socket<'static> {
    let buffer = || SocketBuffer::new(vec![0; BUFFER_BYTES]);
    let mut socket = Socket::new(buffer(), buffer());
    socket.set_nagle_enabled(false);
    socket.set_ack_delay(None);
    socket
}

impl Flow {
    /// The SYN that goes on, if the host is connected or refused just now. In the first case a socket waits for it.
    fn connected(&mut self, sockets: &mut SocketSet<'static>) -> Option<Vec<u8>> {
        let Stage::Connecting { syn } = &mut self.stage else { return None };
        if syn.is_empty() {
            return None;
        }
        let failed = match self.stream.take_error() {
            Ok(None) => false,
            Ok(Some(e)) | Err(e) => {
                tracing::debug!("{}: {e}", self.remote);
                true
            }
        };
        if failed {
            return Some(std::mem::take(syn));
        }
        // Until it is connected it has no peer.
        self.stream.peer_addr().ok()?;
        let syn = std::mem::take(syn);
        let mut socket = socket();
        let here = IpListenEndpoint { addr: Some((*self.remote.ip()).into()), port: self.remote.port() };
        if let Err(e) = socket.listen(here) {
            tracing::debug!("{}: {e}", self.remote);
            return Some(syn);
        }
        self.stage = Stage::Open { handle: sockets.add(socket), ended: false, shut: false, blocked: false };
        Some(syn)
    }

    /// The host could not connect, and the SYN has been sent on to be refused.
    fn is_refused(&self) -> bool {
        matches!(&self.stage, Stage::Connecting { syn } if syn.is_empty())
    }

    /// Moves bytes in both directions as far as they go.
    fn pump(&mut self, sockets: &mut SocketSet<'static>) {
        let Stage::Open { handle, ended, shut, blocked } = &mut self.stage else { return };
        let socket = sockets.get_mut::<Socket>(*handle);
        let mut failed = false;
        *blocked = false;
        while socket.can_recv() && !failed && !*blocked {
            let moved = socket.recv(|bytes| match self.stream.write(bytes) {
                Ok(count) => (count, Ok(count)),
                Err(e) => (0, Err(e)),
            });
            match moved {
                Ok(Err(e)) if e.kind() == ErrorKind::Interrupted => {}
                Ok(Err(e)) if e.kind() == ErrorKind::WouldBlock => *blocked = true,
                Ok(Ok(1..)) => {}
                _ => failed = true,
            }
        }
        let guest_ended =
            matches!(socket.state(), State::CloseWait | State::LastAck | State::Closing | State::TimeWait);
        if guest_ended && !*shut && socket.recv_queue() == 0 {
            *shut = true;
            // If the world is gone there is nobody to be told.
            let _ = self.stream.shutdown(Shutdown::Write);
        }
        while !*ended && !failed && socket.may_send() && room(socket) > 0 {
            let stream = &mut self.stream;
            let mut got = Ok(0);
            let sent = socket.send(|bytes| {
                got = stream.read(bytes);
                let count = *got.as_ref().unwrap_or(&0);
                (count, ())
            });
            match got {
                _ if sent.is_err() => break,
                Ok(0) => {
                    *ended = true;
                    socket.close();
                }
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(_) => failed = true,
            }
        }
        if failed {
            socket.abort();
        }
    }

    /// Whether both sides are done; then the socket is gone.
    fn is_over(&self, sockets: &mut SocketSet<'static>) -> bool {
        let Stage::Open { handle, .. } = self.stage else { return false };
        let over = matches!(sockets.get::<Socket>(handle).state(), State::Closed | State::TimeWait);
        if over {
            sockets.remove(handle);
        }
        over
    }

    /// What to wait for on the host's side.
    fn wants(&self, sockets: &SocketSet<'static>) -> PollFlags {
        match &self.stage {
            Stage::Connecting { .. } => PollFlags::OUT,
            Stage::Open { handle, ended, blocked, .. } => {
                let socket = sockets.get::<Socket>(*handle);
                let mut flags = PollFlags::empty();
                flags.set(PollFlags::IN, !*ended && socket.may_send() && room(socket) > 0);
                flags.set(PollFlags::OUT, *blocked);
                flags
            }
        }
    }
}

/// Bytes that a socket takes for the guest.
fn room(socket: &tcp::Socket) -> usize {
    socket.send_capacity() - socket.send_queue()
}
