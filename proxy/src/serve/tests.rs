//! The server over real sockets, in front of a fake history.

use super::*;
use crate::gdb::arch::Width;
use crate::gdb::fake::FakeHistory;
use crate::gdb::framing::packet;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

mod control;

/// A server in a thread of its own; it ends when this is dropped.
struct Running {
    address: SocketAddr,
    control: SocketAddr,
    quit: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

fn start(end: u64) -> Running {
    let any = Address::parse("--gdb", ":0").unwrap();
    let (listener, control) =
        (Listener::bind("--gdb", &any).unwrap(), Listener::bind("--qmp", &any).unwrap());
    let [address, control_address] = [&listener, &control].map(|listener| match listener.address() {
        Address::Tcp(address) => *address,
        Address::Unix(_) => unreachable!(),
    });
    let signals = Signals::detached().unwrap();
    let quit = signals.flag();
    let thread = std::thread::spawn(move || {
        let mut debuggee = Debuggee::new(Box::new(FakeHistory::new(end)), Width::Bits64, signals.flag());
        let mut server = Server::new(listener, &signals).unwrap();
        server.control(control, &mut debuggee).unwrap();
        server.run(&mut debuggee, &signals, false).unwrap();
    });
    Running { address, control: control_address, quit, thread: Some(thread) }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.quit.store(true, Ordering::Relaxed);
        // Any event makes the server look at the flag.
        drop(std::net::TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Running {
    fn connect(&self) -> Client {
        let stream = std::net::TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream }
    }
}

struct Client {
    stream: std::net::TcpStream,
}

impl Client {
    fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    fn byte(&mut self) -> u8 {
        let mut byte = [0];
        self.stream.read_exact(&mut byte).unwrap();
        byte[0]
    }

    /// The next packet; what stands before it must be acknowledgements.
    fn receive(&mut self) -> String {
        let mut first = self.byte();
        while first == b'+' {
            first = self.byte();
        }
        assert_eq!(first, b'$');
        let mut body = Vec::new();
        loop {
            match self.byte() {
                b'#' => break,
                byte => body.push(byte),
            }
        }
        self.byte();
        self.byte();
        String::from_utf8(body).unwrap()
    }

    fn ask(&mut self, body: &str) -> String {
        self.send(&packet(body.as_bytes()));
        self.receive()
    }
}

#[test]
fn a_debugger_can_walk_both_ways_and_meets_both_ends() {
    let server = start(1000);
    let mut gdb = server.connect();
    let features = gdb.ask("qSupported:multiprocess+;swbreak+;hwbreak+");
    assert!(features.contains("ReverseStep+") && features.contains("ReverseContinue+"), "{features}");
    assert_eq!(gdb.ask("QStartNoAckMode"), "OK");
    assert_eq!(gdb.ask("bs"), "T05thread:p01.01;replaylog:begin;");
    assert_eq!(gdb.ask("vCont;s:p1.1;c:p1.-1"), "T05thread:p01.01;");
    assert_eq!(gdb.ask("p0"), "0100000000000000");
    assert_eq!(gdb.ask("bs"), "T05thread:p01.01;");
    assert_eq!(gdb.ask("vCont;c"), "T05thread:p01.01;replaylog:end;");
    assert_eq!(gdb.ask("bc"), "T05thread:p01.01;replaylog:begin;");
}

#[test]
fn breakpoints_and_watchpoints_are_told_apart() {
    let server = start(1000);
    let mut gdb = server.connect();
    gdb.ask("qSupported:multiprocess+;swbreak+;hwbreak+");
    assert_eq!(gdb.ask("Z0,1004,1"), "OK");
    assert_eq!(gdb.ask("vCont;c"), "T05thread:p01.01;swbreak:;");
    assert_eq!(gdb.ask("z0,1004,1"), "OK");
    assert_eq!(gdb.ask("Z1,1004,1"), "OK");
    assert_eq!(gdb.ask("vCont;c"), "T05thread:p01.01;hwbreak:;");
    assert_eq!(gdb.ask("z1,1004,1"), "OK");
    assert_eq!(gdb.ask("Z2,2000,4"), "OK");
    assert_eq!(gdb.ask("vCont;c"), "T05thread:p01.01;watch:2000;");
    assert_eq!(gdb.ask("p0"), "6500000000000000");
    assert_eq!(gdb.ask("bc"), "T05thread:p01.01;watch:2000;");
    assert_eq!(gdb.ask("p0"), "6400000000000000");
    assert_eq!(gdb.ask("z2,2000,4"), "OK");
    for (kind, name) in [(3, "rwatch"), (4, "awatch")] {
        assert_eq!(gdb.ask(&format!("Z{kind},2000,4")), "OK");
        assert_eq!(gdb.ask("vCont;c"), format!("T05thread:p01.01;{name}:2000;"));
        assert_eq!(gdb.ask("bc"), format!("T05thread:p01.01;{name}:2000;"));
        assert_eq!(gdb.ask(&format!("z{kind},2000,4")), "OK");
    }
    assert_eq!(gdb.ask("vCont;r1000,1008:p1.1"), "T05thread:p01.01;");
    assert_eq!(gdb.ask("p0"), "6800000000000000");
}

#[test]
fn conditions_of_breakpoints_are_looked_at_in_the_server() {
    let server = start(1000);
    let mut gdb = server.connect();
    assert!(gdb.ask("qSupported:multiprocess+").ends_with(";ConditionalBreakpoints+"));
    // $rax, which is the position here, == 0x124; or == 0x224.
    let equals = |n: u16| format!("X8,26000023{n:04x}1327");
    assert_eq!(gdb.ask(&format!("Z0,1004,1;{}{}", equals(0x124), equals(0x224))), "OK");
    for (packet, position) in [("vCont;c", "24010000"), ("vCont;c", "24020000"), ("bc", "24010000")] {
        assert_eq!(gdb.ask(packet), "T05thread:p01.01;");
        assert_eq!(gdb.ask("p0")[..8], *position);
    }
    assert_eq!(gdb.ask("bc"), "T05thread:p01.01;replaylog:begin;");
    // Set again without a condition, it always counts; the other kind at its place has one of its own.
    assert_eq!(gdb.ask("Z0,1004,1"), "OK");
    assert_eq!(gdb.ask(&format!("Z1,1004,1;{}", equals(0x14))), "OK");
    gdb.ask("vCont;c");
    assert_eq!(gdb.ask("p0")[..8], *"04000000");
    assert_eq!(gdb.ask("z0,1004,1"), "OK");
    gdb.ask("vCont;c");
    assert_eq!(gdb.ask("p0")[..8], *"14000000");
    assert_eq!(gdb.ask("vCont;c"), "T05thread:p01.01;replaylog:end;");
    // One that has no value counts.
    assert_eq!(gdb.ask("Z1,1004,1;X5,2240001927"), "OK");
    gdb.ask("bc");
    assert_eq!(gdb.ask("p0")[..8], *"e4030000");
}

#[test]
fn memory_is_read_as_far_as_it_is_mapped() {
    let server = start(10);
    let mut gdb = server.connect();
    assert_eq!(gdb.ask("m2ffe,4"), "9090");
    assert_eq!(gdb.ask("m3000,4"), "E0e");
    assert_eq!(gdb.ask("mffffffffffffffff,ffffffffffffffff"), "E0e");
    assert_eq!(gdb.ask("m0,ffffffffffffffff").len(), 0x4000);
    assert_eq!(gdb.ask("m0,0"), "");
}

#[test]
fn the_past_cannot_be_written_and_a_diversion_can() {
    let server = start(1000);
    let mut gdb = server.connect();
    assert_eq!(gdb.ask("QStartNoAckMode"), "OK");
    gdb.ask("vCont;s");
    for write in ["M2000,1:00", "X2000,1:a", "P0=0500000000000000", "G0500000000000000"] {
        assert!(gdb.ask(write).starts_with("E.the past cannot be changed; `monitor divert`"), "{write}");
    }
    assert_eq!(gdb.ask("M2000,0:"), "OK");
    assert!(monitor(&mut gdb, "divert").starts_with("a diversion from position 1:"));
    assert_eq!(gdb.ask("M2000,2:0102"), "OK");
    assert_eq!(gdb.ask("X2001,2:}\x03\x03"), "OK");
    assert_eq!(gdb.ask("m2000,3"), "012303");
    assert!(gdb.ask("M2fff,2:0102").starts_with("E.not all of it is mapped"));
    assert!(gdb.ask("Mffffffffffffffff,2:0102").starts_with("E."));
    assert!(gdb.ask("M10,1:55").starts_with("E.it is no memory that can be written to"));
    assert_eq!(gdb.ask("P0=0500000000000000"), "OK");
    assert!(gdb.ask("P0=05").starts_with("E.a value of the wrong size"));
    assert_eq!(gdb.ask("p0"), "0500000000000000");
    assert!(gdb.ask("G0600000000000000").starts_with("OK"));
    // Every stop says that this is not what happened.
    gdb.send(&packet(b"vCont;s"));
    assert_eq!(text(&gdb.receive()), "[diversion from position 1]\n");
    assert_eq!(gdb.receive(), "T05thread:01;");
    assert!(monitor(&mut gdb, "mark x").contains("monitor divert off"));
    assert!(monitor(&mut gdb, "divert quiet").contains("in the diversion"));
    gdb.send(&packet(b"bs"));
    assert_eq!(text(&gdb.receive()), "[the diversion is left: position 1]\n");
    assert_eq!(gdb.receive(), "T05thread:01;");
    assert_eq!(gdb.ask("m2000,3"), "909090");
    assert_eq!(gdb.ask("p0"), "0100000000000000");
    assert!(monitor(&mut gdb, "divert off").starts_with("error: this is no diversion"));
    assert!(gdb.ask("M2000,1:00").starts_with("E.the past"));
}

/// What a console packet, `O` and two digits a byte, says.
fn text(body: &str) -> String {
    let digits = body.strip_prefix('O').expect("a console packet");
    let byte = |i: usize| u8::from_str_radix(&digits[i..i + 2], 16).unwrap();
    String::from_utf8((0..digits.len()).step_by(2).map(byte).collect()).unwrap()
}

/// A monitor command's answer, if that is one packet.
fn monitor(gdb: &mut Client, command: &str) -> String {
    let digits: String = command.bytes().map(|b| format!("{b:02x}")).collect();
    let answer = text(&gdb.ask(&format!("qRcmd,{digits}")));
    assert_eq!(gdb.receive(), "OK");
    answer
}

#[test]
fn the_target_description_comes_in_pieces() {
    let server = start(10);
    let mut gdb = server.connect();
    let mut xml = String::new();
    loop {
        let piece = gdb.ask(&format!("qXfer:features:read:target.xml:{:x},100", xml.len()));
        xml.push_str(&piece[1..]);
        if piece.starts_with('l') {
            break;
        }
        assert!(piece.len() > 1);
    }
    assert!(xml.contains("i386:x86-64") && xml.ends_with("</target>\n"), "{xml}");
    assert!(gdb.ask("qXfer:features:read:other.xml:0,100").starts_with('E'));
    assert!(gdb.ask("qXfer:features:read:target.xml:ffffffffffffffff,ffffffffffffffff").starts_with('l'));
}

#[test]
fn ctrl_c_stops_what_runs_and_later_packets_are_not_lost() {
    let server = start(u64::MAX / 16);
    let mut gdb = server.connect();
    gdb.ask("QStartNoAckMode");
    gdb.send(&packet(b"vCont;c"));
    std::thread::sleep(Duration::from_millis(50));
    let sent = Instant::now();
    gdb.send(b"\x03$p0#a0");
    assert_eq!(gdb.receive(), "T02thread:01;");
    assert!(sent.elapsed() < Duration::from_millis(500), "{:?}", sent.elapsed());
    assert_eq!(gdb.receive().len(), 16);
    // One that comes when all is done stops no step.
    gdb.send(b"\x03");
    assert_eq!(gdb.ask("vCont;s"), "T05thread:01;");
}

#[test]
fn ctrl_c_between_a_stop_and_what_the_debugger_resumes_by_itself_is_not_lost() {
    let server = start(u64::MAX / 16);
    let mut gdb = server.connect();
    gdb.ask("QStartNoAckMode");
    gdb.send(b"\x03");
    assert_eq!(gdb.ask("vCont;s"), "T05thread:01;");
    assert_eq!(gdb.ask("vCont;c"), "T02thread:01;");
    // Once.
    gdb.send(&packet(b"vCont;c"));
    std::thread::sleep(Duration::from_millis(50));
    gdb.send(&packet(b"p0"));
    gdb.send(b"\x03");
    assert_eq!(gdb.receive(), "T02thread:01;");
}

#[test]
fn garbage_does_not_end_the_session() {
    let server = start(10);
    let mut gdb = server.connect();
    gdb.send(b"GET / HTTP/1.1\r\n\r\n\0\xff$\xff\xfe#fd");
    assert_eq!(gdb.receive(), "");
    gdb.send(b"$g#00");
    while gdb.byte() != b'-' {}
    for body in ["vCont;zzz", "Z0,zz,1", "qRcmd,6", "p", "mzz,1", "vCont;r1,"] {
        assert!(gdb.ask(body).starts_with("E."), "{body}");
    }
    gdb.send(&packet(&vec![b'a'; 100_000]));
    assert_eq!(gdb.receive(), "E.packet too long");
    assert_eq!(gdb.ask("qC"), "QCp1.1");
}

#[test]
fn a_reply_is_repeated_when_it_was_damaged_on_the_way() {
    let server = start(10);
    let mut gdb = server.connect();
    assert_eq!(gdb.ask("m0,2"), "9090");
    gdb.send(b"-");
    assert_eq!(gdb.receive(), "9090");
}

#[test]
fn debuggers_come_and_go_and_leave_nothing_behind() {
    let server = start(1000);
    let mut first = server.connect();
    assert_eq!(first.ask("Z0,1004,1"), "OK");
    assert_eq!(first.ask("vCont;c"), "T05thread:01;");
    first.send(b"$vCont;");
    drop(first);
    let mut second = connect_when_free(&server);
    assert_eq!(second.ask("p0"), "0400000000000000");
    assert_eq!(second.ask("vCont;c"), "T05thread:01;replaylog:end;");
    assert_eq!(second.ask("D"), "OK");
    for _ in 0..50 {
        let mut client = connect_when_free(&server);
        client.send(&packet(b"bc"));
    }
    assert!(connect_when_free(&server).ask("?").starts_with("T05"));
}

/// Connects, again and again while the server has not noticed that the debugger before is gone.
fn connect_when_free(server: &Running) -> Client {
    loop {
        let mut client = server.connect();
        if !client.ask("qC").starts_with("E.another") {
            return client;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_second_debugger_is_told_to_wait() {
    let server = start(10);
    let mut first = server.connect();
    first.ask("qC");
    let mut second = server.connect();
    assert!(second.receive().starts_with("E.another debugger"));
    assert_eq!(second.stream.read(&mut [0]).unwrap(), 0);
    assert_eq!(first.ask("qC"), "QCp1.1");
}

#[test]
fn a_vanished_debugger_stops_what_runs() {
    let server = start(u64::MAX / 16);
    let mut gdb = server.connect();
    gdb.send(&packet(b"vCont;c"));
    std::thread::sleep(Duration::from_millis(20));
    drop(gdb);
    assert!(connect_when_free(&server).ask("?").starts_with("T05"));
}

#[test]
fn monitor_commands_are_answered_on_the_console() {
    let server = start(1000);
    let mut gdb = server.connect();
    let answer = monitor(&mut gdb, "info replay");
    assert_eq!(answer, "Replaying execution 'fake.rec': instruction count = 0\n");
}

#[test]
fn a_long_command_is_stopped_by_ctrl_c_and_by_a_debugger_that_has_given_up() {
    let server = start(u64::MAX / 16);
    let mut gdb = server.connect();
    gdb.ask("QStartNoAckMode");
    let seek = packet(b"qRcmd,7365656b20656e64");
    gdb.send(&seek);
    std::thread::sleep(Duration::from_millis(30));
    let sent = Instant::now();
    gdb.send(b"\x03");
    assert!(text(&gdb.receive()).starts_with("interrupted on the way"));
    assert!(sent.elapsed() < Duration::from_millis(50), "{:?}", sent.elapsed());
    assert_eq!(gdb.receive(), "OK");
    // Wherever between two looks it comes.
    for pause in 1..=100 {
        gdb.send(&seek);
        std::thread::sleep(Duration::from_micros(10 * pause));
        gdb.send(b"\x03");
        let answer = text(&gdb.receive());
        assert!(answer.starts_with("interrupted on the way"), "{answer}");
        assert_eq!(gdb.receive(), "OK");
    }
    // GDB's user types Ctrl-C, and GDB waits no longer: what comes next is answered, and nothing else.
    gdb.send(&seek);
    std::thread::sleep(Duration::from_millis(30));
    gdb.send(&packet(b"p0"));
    assert_eq!(gdb.receive(), "6600000000000000");
    assert_eq!(gdb.ask("qC"), "QCp1.1");
}
