//! Datagrams: a socket of the host for each pair of ends that the guest uses.

use super::{Interest, host_address, packet};
use mio::net::UdpSocket;
use rustix::event::PollFlags;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Flows at most; the one that was used longest ago goes first.
const FLOWS_MAX: usize = 256;
/// A flow that nobody uses is forgotten after this.
const FORGET_AFTER: Duration = Duration::from_secs(60);
/// An answer is waited for, and virtual time held back, no longer than this.
const PATIENCE: Duration = Duration::from_secs(5);
/// Datagrams taken from one socket at a time.
const BURST: usize = 16;

/// A pair of ends.
#[derive(Debug)]
struct Flow {
    guest: SocketAddrV4,
    remote: SocketAddrV4,
    station: [u8; 6],
    socket: UdpSocket,
    used: Instant,
    /// When the guest asked something that has not been answered.
    asked: Option<Instant>,
}

/// All flows.
#[derive(Debug, Default)]
pub struct Udp {
    flows: Vec<Flow>,
}

impl Udp {
    /// The guest sends a datagram.
    pub fn outgoing(
        &mut self,
        guest: SocketAddrV4,
        remote: SocketAddrV4,
        station: [u8; 6],
        payload: &[u8],
        resolver: Option<SocketAddr>,
    ) {
        let known = self.flows.iter().position(|flow| (flow.guest, flow.remote) == (guest, remote));
        let Some(index) = known.or_else(|| self.open(guest, remote, station, resolver)) else { return };
        let flow = &mut self.flows[index];
        flow.used = Instant::now();
        match flow.socket.send(payload) {
            Ok(_) => flow.asked = Some(flow.used),
            Err(e) => tracing::debug!("{remote}: a datagram is lost: {e}"),
        }
    }

    fn open(
        &mut self,
        guest: SocketAddrV4,
        remote: SocketAddrV4,
        station: [u8; 6],
        resolver: Option<SocketAddr>,
    ) -> Option<usize> {
        let host = host_address(remote, resolver)?;
        let any: SocketAddr = match host {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any).and_then(|socket| socket.connect(host).map(|()| socket));
        let socket = socket.map_err(|e| tracing::debug!("{remote}: no socket: {e}")).ok()?;
        if self.flows.len() >= FLOWS_MAX
            && let Some(oldest) = (0..self.flows.len()).min_by_key(|index| self.flows[*index].used)
        {
            self.flows.swap_remove(oldest);
        }
        self.flows.push(Flow { guest, remote, station, socket, used: Instant::now(), asked: None });
        Some(self.flows.len() - 1)
    }

    /// Takes what has come; each frame for the guest goes to `send`.
    pub fn poll(&mut self, mut send: impl FnMut(Vec<u8>)) {
        let mut bytes = [0; packet::DATAGRAM_MAX + 1];
        for flow in &mut self.flows {
            for _ in 0..BURST {
                let Ok(count) = flow.socket.recv(&mut bytes) else { break };
                (flow.used, flow.asked) = (Instant::now(), None);
                if count > packet::DATAGRAM_MAX {
                    tracing::debug!("{}: a datagram is lost: it would need fragments", flow.remote);
                    continue;
                }
                send(packet::datagram(flow.station, flow.remote, flow.guest, &bytes[..count]));
            }
        }
        self.flows.retain(|flow| flow.used.elapsed() < FORGET_AFTER);
    }

    /// Whether an answer is waited for.
    pub fn is_waiting(&self) -> bool {
        self.flows.iter().any(|flow| flow.asked.is_some_and(|at| at.elapsed() < PATIENCE))
    }

    /// Whether something can come at all.
    pub fn is_open(&self) -> bool {
        !self.flows.is_empty()
    }

    /// What to wait for.
    pub fn interests(&self) -> impl Iterator<Item = Interest<'_>> {
        self.flows.iter().map(|flow| (flow.socket.as_fd(), PollFlags::IN))
    }
}
