//! The network as a whole: what becomes of a guest's frame, and where the frames for it come from.

use super::tcp::Tcp;
use super::tftp::{self, Tftp};
use super::udp::Udp;
use super::wire::Wire;
use super::{GATEWAY, Interest, NAME_SERVER, PREFIX, STATION, UserNic, dhcp, packet, resolver};
use anyhow::Result;
use smoltcp::iface::{Config, Interface, SocketSet};
use smoltcp::time::Instant;
use smoltcp::wire::{
    ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, IpCidr, IpProtocol, Ipv4Packet,
    Ipv4Repr, TcpPacket, UdpPacket, UdpRepr,
};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use vm::VmTime;

/// Where the host says what its resolver is.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// The network behind one card.
pub struct UserNet {
    iface: Interface,
    sockets: SocketSet<'static>,
    wire: Wire,
    tcp: Tcp,
    udp: Udp,
    tftp: Option<Tftp>,
    boot_file: String,
    resolver: Option<SocketAddr>,
}

/// The time of smoltcp is virtual time: so are the guest's time-outs.
fn stack_time(now: VmTime) -> Instant {
    Instant::from_micros(i64::try_from(now.0 / 1000).unwrap_or(i64::MAX))
}

impl UserNet {
    /// The network behind a card; ports of the host are opened.
    pub fn open(nic: &UserNic) -> Result<UserNet> {
        let mut wire = Wire::default();
        let mut iface =
            Interface::new(Config::new(EthernetAddress(STATION).into()), &mut wire, Instant::ZERO);
        iface.update_ip_addrs(|addresses| {
            for address in [GATEWAY, NAME_SERVER] {
                // There is room for two.
                let _ = addresses.push(IpCidr::new(address.into(), PREFIX));
            }
        });
        // Every address is taken for its own if the way there leads through itself.
        iface.set_any_ip(true);
        let _ = iface.routes_mut().add_default_ipv4_route(GATEWAY);
        let mut tcp = Tcp::default();
        nic.forwards.iter().try_for_each(|forward| tcp.forward(forward))?;
        let conf = std::fs::read_to_string(RESOLV_CONF).unwrap_or_default();
        Ok(UserNet {
            iface,
            sockets: SocketSet::new(Vec::new()),
            wire,
            tcp,
            udp: Udp::default(),
            tftp: nic.tftp.as_deref().map(Tftp::new),
            boot_file: nic.boot_file.clone(),
            resolver: resolver(&conf),
        })
    }

    /// The guest has sent a frame.
    pub fn from_guest(&mut self, frame: &[u8], now: VmTime) {
        if self.is_for_stack(frame).unwrap_or(false) {
            self.wire.arrive(frame.to_vec());
            self.iface.poll(stack_time(now), &mut self.wire, &mut self.sockets);
        }
    }

    /// Whether smoltcp is to see a frame; what it does not see has been dealt with. `None`: it makes no sense.
    fn is_for_stack(&mut self, bytes: &[u8]) -> Option<bool> {
        let frame = EthernetFrame::new_checked(bytes).ok()?;
        match frame.ethertype() {
            EthernetProtocol::Arp => {
                let ArpRepr::EthernetIpv4 { target_protocol_addr, .. } =
                    ArpRepr::parse(&ArpPacket::new_checked(frame.payload()).ok()?).ok()?
                else {
                    return None;
                };
                // The guest asks for its own address, too, to see whether somebody has it.
                Some([GATEWAY, NAME_SERVER].contains(&target_protocol_addr))
            }
            EthernetProtocol::Ipv4 => self.is_for_stack_ipv4(bytes, &frame),
            _ => Some(false),
        }
    }

    fn is_for_stack_ipv4(&mut self, bytes: &[u8], frame: &EthernetFrame<&[u8]>) -> Option<bool> {
        let packet = Ipv4Packet::new_checked(frame.payload()).ok()?;
        let checksums = smoltcp::phy::ChecksumCapabilities::default();
        let ip = Ipv4Repr::parse(&packet, &checksums).ok()?;
        if packet.more_frags() || packet.frag_offset() != 0 {
            tracing::debug!("a fragment is lost: they are not put together");
            return Some(false);
        }
        match ip.next_header {
            IpProtocol::Udp => {
                let segment = UdpPacket::new_checked(packet.payload()).ok()?;
                let (from, to) = (ip.src_addr.into(), ip.dst_addr.into());
                let udp = UdpRepr::parse(&segment, &from, &to, &checksums).ok()?;
                let guest = SocketAddrV4::new(ip.src_addr, udp.src_port);
                let remote = SocketAddrV4::new(ip.dst_addr, udp.dst_port);
                if udp.dst_port == dhcp::SERVER_PORT && [Ipv4Addr::BROADCAST, GATEWAY].contains(&ip.dst_addr)
                {
                    let answer = dhcp::answer(segment.payload(), &self.boot_file);
                    answer.into_iter().for_each(|frame| self.wire.send(frame));
                    return Some(false);
                }
                let EthernetAddress(station) = frame.src_addr();
                if let (GATEWAY, tftp::PORT, Some(server)) = (ip.dst_addr, udp.dst_port, &mut self.tftp) {
                    if let Some(answer) = server.answer(guest, segment.payload()) {
                        self.wire.send(packet::datagram(station, remote, guest, &answer));
                    }
                } else {
                    self.udp.outgoing(guest, remote, station, segment.payload(), self.resolver);
                }
                Some(false)
            }
            IpProtocol::Tcp => {
                let segment = TcpPacket::new_checked(packet.payload()).ok()?;
                let guest = SocketAddrV4::new(ip.src_addr, segment.src_port());
                let remote = SocketAddrV4::new(ip.dst_addr, segment.dst_port());
                let begins = segment.syn() && !segment.ack();
                Some(!begins || !self.tcp.begin(guest, remote, bytes, self.resolver))
            }
            IpProtocol::Icmp => Some([GATEWAY, NAME_SERVER].contains(&ip.dst_addr)),
            _ => Some(false),
        }
    }

    /// Takes what has happened on the host.
    pub fn poll(&mut self, now: VmTime) {
        self.udp.poll(|frame| self.wire.send(frame));
        if self.tcp.is_open() || self.wire.is_waiting() {
            self.tcp.poll(&mut self.iface, &mut self.sockets, &mut self.wire, |iface, sockets, wire| {
                iface.poll(stack_time(now), wire, sockets);
            });
        }
    }

    /// The next frame for the guest.
    pub fn next_frame(&mut self) -> Option<Vec<u8>> {
        self.wire.take()
    }

    /// Whether a frame for the guest waits.
    pub fn has_frames(&self) -> bool {
        self.wire.is_waiting()
    }

    /// Whether the world is expected to say something: virtual time should not run away from it.
    pub fn is_waiting(&self) -> bool {
        self.tcp.is_waiting() || self.udp.is_waiting()
    }

    /// Whether anything can come at all.
    pub fn is_open(&self) -> bool {
        self.tcp.is_open() || self.udp.is_open() || self.has_frames()
    }

    /// What to wait for on the host.
    pub fn interests(&self) -> impl Iterator<Item = Interest<'_>> {
        self.tcp.interests(&self.sockets).chain(self.udp.interests())
    }

    /// Where the host listens for forwarded connections.
    #[cfg(test)]
    pub fn listening(&self) -> Vec<SocketAddr> {
        self.tcp.listening()
    }
}
