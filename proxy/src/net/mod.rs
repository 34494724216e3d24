//! The other end of a network card's wire while a machine is recorded: a network of its own, in user space.
//!
//! | address | what is there |
//! |---|---|
//! | 10.0.2.2 | gateway, DHCP server, TFTP server if it has a directory; for connections the host itself (its loopback) |
//! | 10.0.2.3 | DNS: queries go to the host's resolver |
//! | 10.0.2.15 | the guest, if it asks DHCP |
//! | any other | what the host reaches there by TCP and UDP |
//!
//! The addresses are QEMU's. Frames of the guest are looked at here first (`stack`). TCP is terminated by smoltcp, a connection at a
//! time, and its bytes go through a socket of the host (`tcp`); datagrams go through sockets of the host as they are (`udp`); DHCP and
//! TFTP are answered here (`dhcp`, `tftp`). Nothing of this is there in a replay: what came in is in the recording.
//!
//! Everything has a limit: connections, datagram flows, frames on their way, bytes in buffers. What the guest cannot take yet waits.

mod args;
mod cards;
mod dhcp;
mod packet;
mod stack;
mod tcp;
#[cfg(test)]
mod tests;
mod tftp;
mod udp;
mod wire;

pub use args::{Forward, NicSpec, UserNic};
pub use cards::{Networks, cards};
pub use stack::UserNet;

use rustix::event::PollFlags;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::BorrowedFd;

/// The gateway.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
/// The name server.
pub const NAME_SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);
/// What DHCP gives to the guest.
pub const GUEST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
/// Bits of an address that say which network it is in.
pub const PREFIX: u8 = 24;
/// The station address of gateway and name server.
pub const STATION: [u8; 6] = [0x52, 0x55, 10, 0, 2, 2];
/// Port of DNS.
const DNS_PORT: u16 = 53;

/// A descriptor, and what to wait for.
pub type Interest<'a> = (BorrowedFd<'a>, PollFlags);

/// Where the host finds what the guest calls `address`. `None`: nowhere.
fn host_address(address: SocketAddrV4, resolver: Option<SocketAddr>) -> Option<SocketAddr> {
    let ip = *address.ip();
    let network = u32::MAX << (32 - PREFIX);
    if ip == GATEWAY {
        return Some((Ipv4Addr::LOCALHOST, address.port()).into());
    }
    if ip == NAME_SERVER {
        return resolver.filter(|_| address.port() == DNS_PORT);
    }
    let inside = u32::from(ip) & network == u32::from(GATEWAY) & network;
    let one = !(ip.is_loopback() || ip.is_multicast() || ip.is_broadcast() || ip.octets()[0] == 0);
    (one && !inside).then_some(address.into())
}

/// The host's resolver, as `resolv.conf` names it.
fn resolver(text: &str) -> Option<SocketAddr> {
    let servers = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    let addresses = servers.filter_map(|rest| rest.trim().parse::<std::net::IpAddr>().ok());
    addresses.map(|ip| SocketAddr::new(ip, DNS_PORT)).next()
}
