//! A guest made of smoltcp talks through the network to sockets of this process.

use super::wire::Wire;
use super::*;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{ChecksumCapabilities, Device, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::*;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::Duration;
use vm::VmTime;

const GUEST_STATION: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];

struct Bench {
    net: UserNet,
    iface: Interface,
    sockets: SocketSet<'static>,
    wire: Wire,
    now_us: i64,
}

impl Bench {
    fn new(options: &str) -> Bench {
        let Ok(NicSpec::User(nic)) = options.parse() else { panic!("{options}") };
        let mut wire = Wire::default();
        let address = EthernetAddress(GUEST_STATION);
        let mut iface = Interface::new(Config::new(address.into()), &mut wire, Instant::ZERO);
        iface.update_ip_addrs(|all| all.push(IpCidr::new(GUEST.into(), PREFIX)).unwrap());
        iface.routes_mut().add_default_ipv4_route(GATEWAY).unwrap();
        let net = UserNet::open(&nic).unwrap();
        Bench { net, iface, sockets: SocketSet::new(Vec::new()), wire, now_us: 0 }
    }

    /// A millisecond of both sides; frames are carried between them.
    fn turn(&mut self) {
        self.now_us += 1000;
        let now = VmTime(self.now_us as u64 * 1000);
        self.iface.poll(Instant::from_micros(self.now_us), &mut self.wire, &mut self.sockets);
        while let Some(frame) = self.wire.take() {
            self.net.from_guest(&frame, now);
        }
        self.net.poll(now);
        while let Some(frame) = self.net.next_frame() {
            self.wire.arrive(frame);
        }
        std::thread::sleep(Duration::from_micros(200));
    }

    fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Bench) -> bool) {
        for _ in 0..20_000 {
            if holds(self) {
                return;
            }
            self.turn();
        }
        panic!("never: {what}");
    }

    fn socket(&mut self) -> SocketHandle {
        let buffer = || SocketBuffer::new(vec![0; 8192]);
        self.sockets.add(Socket::new(buffer(), buffer()))
    }

    fn connect(&mut self, to: (Ipv4Addr, u16)) -> SocketHandle {
        let handle = self.socket();
        let socket = self.sockets.get_mut::<Socket>(handle);
        socket.connect(self.iface.context(), (IpAddress::from(to.0), to.1), 40_000).unwrap();
        handle
    }

    fn state(&mut self, handle: SocketHandle) -> State {
        self.sockets.get::<Socket>(handle).state()
    }

    /// One frame, and what comes back at once.
    fn exchange(&mut self, frame: &[u8]) -> Vec<Vec<u8>> {
        self.net.from_guest(frame, VmTime(0));
        std::iter::from_fn(|| self.net.next_frame()).collect()
    }
}

/// What the host of a connection does: sends back what it gets, in capitals, until the end.
fn shouting_host() -> (u16, std::thread::JoinHandle<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let host = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut bytes, mut total) = ([0; 4096], 0);
        while let Ok(count @ 1..) = stream.read(&mut bytes) {
            bytes[..count].make_ascii_uppercase();
            stream.write_all(&bytes[..count]).unwrap();
            total += count;
        }
        total
    });
    (port, host)
}

#[test]
fn a_connection_to_the_gateway_reaches_the_host() {
    let (port, host) = shouting_host();
    let mut bench = Bench::new("user");
    let handle = bench.connect((GATEWAY, port));
    let sent: Vec<u8> = (0..200_000u32).map(|i| b'a' + (i % 26) as u8).collect();
    let (mut done, mut got) = (0, Vec::new());
    bench.until("all is back", |bench| {
        let socket = bench.sockets.get_mut::<Socket>(handle);
        if done < sent.len() && socket.can_send() {
            done += socket.send_slice(&sent[done..]).unwrap();
        }
        if socket.can_recv() {
            socket.recv(|bytes| (bytes.len(), got.extend_from_slice(bytes))).unwrap();
        }
        got.len() == sent.len()
    });
    assert_eq!(got, sent.to_ascii_uppercase());
    assert!(bench.net.is_waiting());
    bench.sockets.get_mut::<Socket>(handle).close();
    bench.until("it is closed", |bench| {
        matches!(bench.state(handle), State::TimeWait | State::Closed) && !bench.net.is_waiting()
    });
    assert_eq!(host.join().unwrap(), sent.len());
}

#[test]
fn a_connection_that_the_host_refuses_is_refused() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut bench = Bench::new("user");
    let handle = bench.connect((GATEWAY, port));
    bench.until("a reset", |bench| bench.state(handle) == State::Closed);
    assert!(!bench.net.is_waiting());
    let inside = bench.connect((NAME_SERVER, 80));
    bench.until("nothing but DNS is there", |bench| bench.state(inside) == State::Closed);
}

#[test]
fn a_port_of_the_host_leads_to_the_guest() {
    let mut bench = Bench::new("user,hostfwd=tcp:127.0.0.1:0-:22");
    assert!(bench.net.is_open() && !bench.net.is_waiting());
    let handle = bench.socket();
    bench.sockets.get_mut::<Socket>(handle).listen(22).unwrap();
    let mut host = TcpStream::connect(bench.net.listening()[0]).unwrap();
    bench.until("it is there", |bench| bench.state(handle) == State::Established);
    host.write_all(b"hello").unwrap();
    let mut got = Vec::new();
    bench.until("five bytes", |bench| {
        let socket = bench.sockets.get_mut::<Socket>(handle);
        if socket.can_recv() {
            socket.recv(|bytes| (bytes.len(), got.extend_from_slice(bytes))).unwrap();
        }
        got == b"hello"
    });
    bench.sockets.get_mut::<Socket>(handle).send_slice(b"bye").unwrap();
    bench.sockets.get_mut::<Socket>(handle).close();
    let reader = std::thread::spawn(move || {
        let mut all = String::new();
        host.read_to_string(&mut all).map(|_| all)
    });
    bench.until("the host has read it", |_| reader.is_finished());
    assert_eq!(reader.join().unwrap().unwrap(), "bye");
}

#[test]
fn datagrams_go_to_the_host_and_back() {
    let host = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut bench = Bench::new("user");
    let (from, to) =
        (SocketAddrV4::new(GUEST, 5000), SocketAddrV4::new(GATEWAY, host.local_addr().unwrap().port()));
    let mut frame = packet::datagram(STATION, from, to, b"ask");
    frame[6..12].copy_from_slice(&GUEST_STATION);
    assert!(bench.exchange(&frame).is_empty());
    assert!(bench.net.is_waiting());
    let mut bytes = [0; 16];
    let (count, guest) = host.recv_from(&mut bytes).unwrap();
    assert_eq!(&bytes[..count], b"ask");
    host.send_to(b"answer", guest).unwrap();
    let mut answer = None;
    bench.until("an answer", |bench| {
        bench.net.poll(VmTime(0));
        answer = bench.net.next_frame();
        answer.is_some()
    });
    assert_eq!(answer.unwrap(), packet::datagram(GUEST_STATION, to, from, b"answer"));
    assert!(!bench.net.is_waiting());
}

#[test]
fn dhcp_gives_the_address_that_qemu_gives_and_a_file_to_start() {
    let mut bench = Bench::new("user,bootfile=start.0");
    let client = EthernetAddress(GUEST_STATION);
    let message = |message_type, requested_ip| {
        let repr = DhcpRepr {
            message_type,
            transaction_id: 7,
            secs: 0,
            client_hardware_address: client,
            client_ip: Ipv4Addr::UNSPECIFIED,
            your_ip: Ipv4Addr::UNSPECIFIED,
            server_ip: Ipv4Addr::UNSPECIFIED,
            router: None,
            subnet_mask: None,
            relay_agent_ip: Ipv4Addr::UNSPECIFIED,
            broadcast: false,
            requested_ip,
            client_identifier: Some(client),
            server_identifier: None,
            parameter_request_list: Some(&[1, 3, 6]),
            dns_servers: None,
            max_size: None,
            lease_duration: None,
            renew_duration: None,
            rebind_duration: None,
            additional_options: &[],
        };
        let mut bytes = vec![0; repr.buffer_len()];
        repr.emit(&mut DhcpPacket::new_unchecked(&mut bytes)).unwrap();
        let (from, to) = (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST);
        packet::datagram([0xff; 6], SocketAddrV4::new(from, 68), SocketAddrV4::new(to, 67), &bytes)
    };
    let mut ask = |message_type, requested_ip| {
        let [frame] = &bench.exchange(&message(message_type, requested_ip))[..] else { panic!("one answer") };
        let frame = EthernetFrame::new_checked(&frame[..]).unwrap();
        let ip = Ipv4Packet::new_checked(frame.payload()).unwrap();
        let udp = UdpPacket::new_checked(ip.payload()).unwrap();
        assert_eq!((udp.src_port(), udp.dst_port()), (67, 68));
        let dhcp = DhcpPacket::new_checked(udp.payload()).unwrap();
        let repr = DhcpRepr::parse(&dhcp).unwrap();
        let boot_file = if repr.message_type == DhcpMessageType::Nak { &b"\0"[..] } else { b"start.0\0" };
        assert!(udp.payload()[108..].starts_with(boot_file));
        let servers = repr.dns_servers.as_ref().map(|servers| servers.to_vec());
        (repr.message_type, repr.your_ip, repr.router, repr.subnet_mask, servers)
    };
    let mask = Some(Ipv4Addr::new(255, 255, 255, 0));
    let given = |kind| (kind, GUEST, Some(GATEWAY), mask, Some(vec![NAME_SERVER]));
    assert_eq!(ask(DhcpMessageType::Discover, None), given(DhcpMessageType::Offer));
    assert_eq!(ask(DhcpMessageType::Request, Some(GUEST)), given(DhcpMessageType::Ack));
    let (kind, address, ..) = ask(DhcpMessageType::Request, Some(Ipv4Addr::new(10, 0, 0, 1)));
    assert_eq!((kind, address), (DhcpMessageType::Nak, Ipv4Addr::UNSPECIFIED));
}

#[test]
fn the_gateway_gives_files() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("start.0"), b"boot me").unwrap();
    let mut bench = Bench::new(&format!("user,tftp={}", dir.path().display()));
    let (guest, server) = (SocketAddrV4::new(GUEST, 2070), SocketAddrV4::new(GATEWAY, 69));
    let from_guest = |bytes: &[u8]| {
        let mut frame = packet::datagram(STATION, guest, server, bytes);
        frame[6..12].copy_from_slice(&GUEST_STATION);
        frame
    };
    let block = packet::datagram(GUEST_STATION, server, guest, b"\0\x03\0\x01boot me");
    assert_eq!(bench.exchange(&from_guest(b"\0\x01start.0\0octet\0")), [block]);
    assert!(bench.exchange(&from_guest(b"\0\x04\0\x01")).is_empty());
    assert!(!bench.net.is_waiting());
}

/// An echo request to `to`.
fn ping(to: Ipv4Addr) -> Vec<u8> {
    let icmp = Icmpv4Repr::EchoRequest { ident: 1, seq_no: 2, data: b"ping" };
    let ip = Ipv4Repr {
        src_addr: GUEST,
        dst_addr: to,
        next_header: IpProtocol::Icmp,
        payload_len: icmp.buffer_len(),
        hop_limit: 64,
    };
    let checksums = ChecksumCapabilities::default();
    let mut bytes = vec![0; 14 + ip.buffer_len() + icmp.buffer_len()];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes[..]);
    frame.set_dst_addr(EthernetAddress(STATION));
    frame.set_src_addr(EthernetAddress(GUEST_STATION));
    frame.set_ethertype(EthernetProtocol::Ipv4);
    let mut packet = Ipv4Packet::new_unchecked(frame.payload_mut());
    ip.emit(&mut packet, &checksums);
    icmp.emit(&mut Icmpv4Packet::new_unchecked(packet.payload_mut()), &checksums);
    bytes
}

/// Who has `address`?
fn arp(address: Ipv4Addr) -> Vec<u8> {
    let arp = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Request,
        source_hardware_addr: EthernetAddress(GUEST_STATION),
        source_protocol_addr: GUEST,
        target_hardware_addr: EthernetAddress([0; 6]),
        target_protocol_addr: address,
    };
    let mut bytes = vec![0; 14 + arp.buffer_len()];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes[..]);
    frame.set_dst_addr(EthernetAddress::BROADCAST);
    frame.set_src_addr(EthernetAddress(GUEST_STATION));
    frame.set_ethertype(EthernetProtocol::Arp);
    arp.emit(&mut ArpPacket::new_unchecked(frame.payload_mut()));
    bytes
}

#[test]
fn the_gateway_answers_arp_and_echo_and_speaks_for_nobody_else() {
    let mut bench = Bench::new("user");
    for (address, answers) in [(GATEWAY, 1), (NAME_SERVER, 1), (GUEST, 0), (Ipv4Addr::new(10, 0, 2, 99), 0)] {
        assert_eq!(bench.exchange(&arp(address)).len(), answers, "{address}");
    }
    for (address, answers) in [(GATEWAY, 1), (NAME_SERVER, 1), (Ipv4Addr::new(192, 0, 2, 1), 0)] {
        assert_eq!(bench.exchange(&ping(address)).len(), answers, "{address}");
    }
}

#[test]
fn frames_without_sense_do_nothing() {
    let mut bench = Bench::new("user");
    let good = [
        arp(GATEWAY),
        ping(GATEWAY),
        packet::datagram(STATION, SocketAddrV4::new(GUEST, 1), SocketAddrV4::new(GATEWAY, 67), &[1; 300]),
    ];
    let mut seed = 1u64;
    for round in 0..20_000 {
        let mut frame = good[round % good.len()].clone();
        for _ in 0..round % 7 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = (seed >> 33) as usize % frame.len();
            frame[at] = (seed >> 20) as u8;
        }
        frame.truncate((seed >> 40) as usize % 400);
        bench.exchange(&frame);
    }
    // Frames that nobody takes are not kept for ever.
    for _ in 0..1000 {
        bench.net.from_guest(&ping(GATEWAY), VmTime(0));
    }
    assert!(std::iter::from_fn(|| bench.net.next_frame()).count() <= 256);
}

#[test]
fn the_wire_holds_the_stack_back() {
    let mut wire = Wire::default();
    while let Some(token) = wire.transmit(Instant::ZERO) {
        token.consume(60, |_| ());
    }
    wire.arrive(vec![0; 60]);
    assert!(wire.receive(Instant::ZERO).is_none());
    wire.take();
    assert!(wire.receive(Instant::ZERO).is_some_and(|(rx, _)| rx.consume(<[u8]>::len) == 60));
}

#[test]
fn addresses_of_the_world_are_the_hosts() {
    let here: SocketAddr = "[fe80::1]:53".parse().unwrap();
    let to = |text: &str| host_address(text.parse().unwrap(), Some(here));
    assert_eq!(to("10.0.2.2:80"), Some("127.0.0.1:80".parse().unwrap()));
    assert_eq!(to("10.0.2.3:53"), Some(here));
    assert_eq!(to("192.0.2.1:443"), Some("192.0.2.1:443".parse().unwrap()));
    for nowhere in
        ["10.0.2.3:80", "10.0.2.9:80", "127.0.0.1:80", "255.255.255.255:9", "224.0.0.1:9", "0.0.0.0:1"]
    {
        assert_eq!(to(nowhere), None, "{nowhere}");
    }
    assert_eq!(
        resolver("# x\nsearch a\nnameserver 192.0.2.53\nnameserver ::1\n"),
        Some("192.0.2.53:53".parse().unwrap())
    );
    assert_eq!(resolver("nameserver fe80::1\n"), Some(here));
    assert_eq!(resolver(""), None);
}
