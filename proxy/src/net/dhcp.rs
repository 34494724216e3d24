//! The DHCP server: one guest, one address.

use super::{GATEWAY, GUEST, NAME_SERVER, PREFIX, packet};
use smoltcp::wire::{DhcpMessageType, DhcpOption, DhcpPacket, DhcpRepr, EthernetAddress};
use std::net::{Ipv4Addr, SocketAddrV4};

/// Port of the server, to which clients send.
pub const SERVER_PORT: u16 = 67;
const CLIENT_PORT: u16 = 68;
/// A day, as in QEMU.
const LEASE_S: u32 = 86_400;
const OPTION_NAME_SERVERS: u8 = 6;

/// Where the name of the boot file is in a message (RFC 2131, 2).
const BOOT_FILE: usize = 108;
/// Longest name of a boot file.
pub const BOOT_FILE_MAX: usize = 127;

/// The frame that answers a client's message, if it is one that is answered. `boot_file` is what the client is to start, at most
/// [`BOOT_FILE_MAX`] bytes.
pub fn answer(message: &[u8], boot_file: &str) -> Option<Vec<u8>> {
    let packet = DhcpPacket::new_checked(message).ok()?;
    let asked = DhcpRepr::parse(&packet).ok()?;
    let wanted = asked.requested_ip.filter(|ip| !ip.is_unspecified()).unwrap_or(asked.client_ip);
    let kind = match asked.message_type {
        DhcpMessageType::Discover => DhcpMessageType::Offer,
        // Somebody else's offer was taken.
        DhcpMessageType::Request if asked.server_identifier.is_some_and(|ip| ip != GATEWAY) => return None,
        DhcpMessageType::Request if wanted == GUEST => DhcpMessageType::Ack,
        DhcpMessageType::Request => DhcpMessageType::Nak,
        DhcpMessageType::Inform => DhcpMessageType::Ack,
        _ => return None,
    };
    let (gives, refuses) = (asked.message_type != DhcpMessageType::Inform, kind == DhcpMessageType::Nak);
    let mask = Ipv4Addr::from(u32::MAX << (32 - PREFIX));
    let name_server = NAME_SERVER.octets();
    let options = [DhcpOption { kind: OPTION_NAME_SERVERS, data: &name_server }];
    let reply = DhcpRepr {
        message_type: kind,
        transaction_id: asked.transaction_id,
        secs: 0,
        client_hardware_address: asked.client_hardware_address,
        client_ip: if gives { Ipv4Addr::UNSPECIFIED } else { asked.client_ip },
        your_ip: if gives && !refuses { GUEST } else { Ipv4Addr::UNSPECIFIED },
        server_ip: GATEWAY,
        router: (!refuses).then_some(GATEWAY),
        subnet_mask: (!refuses).then_some(mask),
        relay_agent_ip: Ipv4Addr::UNSPECIFIED,
        broadcast: asked.broadcast,
        requested_ip: None,
        client_identifier: None,
        server_identifier: Some(GATEWAY),
        parameter_request_list: None,
        dns_servers: None,
        max_size: None,
        lease_duration: (gives && !refuses).then_some(LEASE_S),
        renew_duration: None,
        rebind_duration: None,
        additional_options: if refuses { &[] } else { &options },
    };
    let mut bytes = vec![0; reply.buffer_len()];
    reply.emit(&mut DhcpPacket::new_unchecked(&mut bytes)).ok()?;
    if !refuses {
        bytes[BOOT_FILE..][..boot_file.len()].copy_from_slice(boot_file.as_bytes());
    }
    let EthernetAddress(client) = asked.client_hardware_address;
    let station = if asked.broadcast || refuses { [0xff; 6] } else { client };
    let from = SocketAddrV4::new(GATEWAY, SERVER_PORT);
    let to = SocketAddrV4::new(Ipv4Addr::BROADCAST, CLIENT_PORT);
    Some(packet::datagram(station, from, to, &bytes))
}
