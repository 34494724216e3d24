//! Datagrams in frames.

use super::STATION;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr, IpAddress, IpProtocol, Ipv4Packet,
    Ipv4Repr, UdpPacket, UdpRepr,
};
use std::net::SocketAddrV4;

/// Longest payload of a datagram that needs no fragments.
pub const DATAGRAM_MAX: usize = 1500 - 20 - 8;
const HOP_LIMIT: u8 = 64;

/// A frame from the gateway to station `to` with a datagram, at most [`DATAGRAM_MAX`] long.
pub fn datagram(to: [u8; 6], from: SocketAddrV4, guest: SocketAddrV4, payload: &[u8]) -> Vec<u8> {
    let udp = UdpRepr { src_port: from.port(), dst_port: guest.port() };
    let ip = Ipv4Repr {
        src_addr: *from.ip(),
        dst_addr: *guest.ip(),
        next_header: IpProtocol::Udp,
        payload_len: udp.header_len() + payload.len(),
        hop_limit: HOP_LIMIT,
    };
    let ethernet = EthernetRepr {
        src_addr: EthernetAddress(STATION),
        dst_addr: EthernetAddress(to),
        ethertype: EthernetProtocol::Ipv4,
    };
    let checksums = ChecksumCapabilities::default();
    let mut bytes = vec![0; ethernet.buffer_len() + ip.buffer_len() + ip.payload_len];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes[..]);
    ethernet.emit(&mut frame);
    let mut packet = Ipv4Packet::new_unchecked(frame.payload_mut());
    ip.emit(&mut packet, &checksums);
    let mut segment = UdpPacket::new_unchecked(packet.payload_mut());
    let (from, to) = (IpAddress::Ipv4(ip.src_addr), IpAddress::Ipv4(ip.dst_addr));
    udp.emit(&mut segment, &from, &to, payload.len(), |buf| buf.copy_from_slice(payload), &checksums);
    bytes
}
