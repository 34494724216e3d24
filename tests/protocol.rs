//! The remote protocol by hand: every packet, well-formed and not, in pieces, too long, interrupted, and given up in the
//! middle. Whatever comes, there is an answer in words, and the session, the recording and other clients are unharmed.

use retrograde_tests::packets::{RawDebugger, from_hex, packet, to_hex};
use retrograde_tests::random::Random;
use retrograde_tests::recordings::record_kernel;
use retrograde_tests::server::{Server, verify};
use retrograde_tests::{build_guest, symbol, workspace_root};
use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Register numbers of the 32-bit description.
const EIP: &str = "p8";
const GDB_FEATURES: &str = "qSupported:multiprocess+;swbreak+;hwbreak+;qRelocInsn+;xmlRegisters=i386";

/// Where a session is: all that a packet could have changed.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    position: u64,
    registers: String,
    memory: String,
    breakpoints: String,
}

/// A recording of the project's loop under a server.
struct Served {
    server: Server,
    recording: PathBuf,
    before: Vec<u8>,
    kernel: PathBuf,
    _dir: TempDir,
}

impl Served {
    fn with_iterations(iterations: u32) -> Served {
        Served::of(build_guest("loop"), &format!("quiet iterations={iterations}"), 33)
    }

    /// The example kernel, which has paging.
    fn with_paging() -> Served {
        Served::of(workspace_root().join("examples/clobber/clobber.elf"), "", 3)
    }

    fn of(kernel: PathBuf, append: &str, status: i32) -> Served {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let recording = dir.path().join("recording.rgr");
        record_kernel(&kernel, append, status, &recording);
        let before = fs::read(&recording).expect("the recording");
        Served { server: Server::start(&recording), recording, before, kernel, _dir: dir }
    }

    fn short() -> Served {
        Served::with_iterations(20_000)
    }

    fn connect(&self) -> RawDebugger {
        RawDebugger::connect(self.server.address())
    }

    /// Nothing has come to harm.
    fn is_unharmed(&self) {
        assert!(self.connect().ask("?").starts_with('T'));
        let said = self.server.said();
        assert!(!said.contains("panicked"), "{said}");
        assert!(
            fs::read(&self.recording).expect("the recording") == self.before,
            "the recording has changed"
        );
        verify(&self.recording);
    }
}

fn place(debugger: &mut RawDebugger) -> Place {
    Place {
        position: debugger.position(),
        registers: debugger.ask("g"),
        memory: debugger.ask("m100000,40"),
        breakpoints: debugger.monitor("breaks"),
    }
}

/// Every packet there is, as debuggers send it, with what its reply begins with.
const PACKETS: &[(&str, &str)] = &[
    (GDB_FEATURES, "PacketSize="),
    ("qSupported", "PacketSize="),
    ("vMustReplyEmpty", ""),
    ("?", "T05"),
    ("g", ""),
    ("p8", ""),
    ("m100000,10", ""),
    ("x0,0", ""),
    ("X0,0:", "OK"),
    ("Hg0", "OK"),
    ("Hc-1", "OK"),
    ("Hgp1.1", "OK"),
    ("T1", "OK"),
    ("Tp1.1", "OK"),
    ("T7", "E"),
    ("qC", "QC"),
    ("qAttached", "1"),
    ("qAttached:1", "1"),
    ("qfThreadInfo", "m"),
    ("qsThreadInfo", "l"),
    ("qRcmd,68656c70", "O"),
    ("qXfer:features:read:target.xml:0,ffb", "m<?xml"),
    ("qXfer:features:read:other.xml:0,ffb", "E"),
    ("qXfer:memory-map:read::0,ffb", ""),
    ("qOffsets", ""),
    ("qSymbol::", ""),
    ("qTStatus", ""),
    ("qHostInfo", ""),
    ("jThreadsInfo", ""),
    ("vCont?", "vCont;c;C;s;S;r"),
    ("vCont;s:p1.1;c:p1.-1", "T05"),
    ("vCont;r100000,100001:p1.1", "T05"),
    ("vCont;S05:1", "T05"),
    ("s", "T05"),
    ("S05", "T05"),
    ("bs", "T05"),
    ("Z0,100000,1", "OK"),
    ("Z1,100000,1", "OK"),
    ("Z2,100000,4", "OK"),
    ("Z3,100000,4", "OK"),
    ("Z4,100000,4", "OK"),
    ("z0,100000,1", "OK"),
    ("z1,100000,1", "OK"),
    ("z2,100000,4", "OK"),
    ("z3,100000,4", "OK"),
    ("z4,100000,4", "OK"),
    ("Z0,100000,1;X3,220127", "OK"),
    ("z0,100000,1", "OK"),
    ("bc", "T05"),
    ("vCont;c:p1.-1", "T05"),
    ("c", "T05"),
    ("C05", "T05"),
    ("vCont;C05:1", "T05"),
];

/// Those of [`PACKETS`] that move the machine.
fn moves(body: &str) -> bool {
    matches!(body.as_bytes(), [b'b', ..] | [b'c', ..] | [b'C', ..] | [b's', ..] | [b'S', ..])
        || (body.starts_with("vCont;"))
}

/// Asks, and takes all pieces of an answer in which there may be several; the first.
fn ask_all(debugger: &mut RawDebugger, body: &[u8]) -> String {
    debugger.send(&packet(body));
    let first = debugger.receive();
    if body.starts_with(b"qRcmd,") && first.starts_with('O') {
        while debugger.receive() != "OK" {}
    }
    first
}

#[test]
fn every_packet_has_its_reply() {
    let served = Served::short();
    let mut debugger = served.connect();
    for (body, reply) in PACKETS {
        let answer = ask_all(&mut debugger, body.as_bytes());
        assert!(answer.starts_with(reply), "{body}: {answer}");
    }
    assert_eq!(debugger.ask("D"), "OK");
    assert_eq!(debugger.byte(), None, "the connection is closed behind D");
    for leaving in ["D;1", "vKill;1"] {
        assert_eq!(served.connect().ask(leaving), "OK");
    }
    served.connect().send(&packet(b"k"));
    served.is_unharmed();
}

#[test]
fn packets_may_come_in_any_two_pieces() {
    let served = Served::short();
    let mut debugger = served.connect();
    for (body, reply) in PACKETS.iter().filter(|(body, _)| !body.ends_with('c')) {
        let bytes = packet(body.as_bytes());
        for at in 1..bytes.len() {
            debugger.send(&bytes[..at]);
            // Not on its way with the rest.
            sleep(Duration::from_micros(300));
            debugger.send(&bytes[at..]);
            let answer = debugger.receive();
            if body.starts_with("qRcmd,") {
                while debugger.receive() != "OK" {}
            }
            assert!(answer.starts_with(reply), "{body} split at {at}: {answer}");
        }
    }
    drop(debugger);
    served.is_unharmed();
}

/// A packet with one thing wrong: cut off, or with a byte that is replaced, doubled or left out.
fn damaged(body: &str) -> Vec<Vec<u8>> {
    let bytes = body.as_bytes();
    let mut all: Vec<Vec<u8>> = (0..bytes.len()).map(|at| bytes[..at].to_vec()).collect();
    for at in 1..bytes.len() {
        for wrong in [&b"z"[..], b"-1", b"ffffffffffffffffff", b",", b":", b";", b"\x00", b"\xff", b" ", b""]
        {
            all.push([&bytes[..at], wrong, &bytes[at + 1..]].concat());
        }
    }
    all
}

#[test]
fn damaged_packets_are_answered_and_change_nothing() {
    let served = Served::short();
    let mut debugger = served.connect();
    debugger.monitor("seek 1000");
    let before = place(&mut debugger);
    let left =
        |body: &[u8]| matches!(body, b"k" | b"D") || body.starts_with(b"D;") || body.starts_with(b"vKill;");
    for (body, _) in PACKETS {
        for wrong in damaged(body).iter().filter(|wrong| !left(wrong)) {
            let shown = String::from_utf8_lossy(wrong);
            let answer = ask_all(&mut debugger, wrong);
            if answer.starts_with('T') && !wrong.starts_with(b"?") {
                assert!(moves(&shown), "{shown:?} moves the machine: {answer}");
            }
            if answer.starts_with("E.") {
                assert!(answer.len() > 8 && answer.is_ascii(), "{shown:?}: {answer}");
            }
        }
        // Some of them are right by chance, and do what they say.
        for kind in 0..5 {
            for addr in ["100000", "10000", "1000", "100", "10", "1", "0"] {
                for len in ["0", "1", "4"] {
                    debugger.ask(&format!("z{kind},{addr},{len}"));
                }
            }
        }
        debugger.monitor("seek 1000");
        assert_eq!(place(&mut debugger), before, "damaged packets like {body}");
    }
    drop(debugger);
    served.is_unharmed();
}

#[test]
fn errors_are_told_in_the_form_that_the_debugger_reads() {
    let served = Served::with_paging();
    let wrong = [
        ("m,1", "malformed packet"),
        ("vCont;x", "malformed packet"),
        ("P0=00000000", "the past cannot be changed"),
        ("M100000,1:00", "the past cannot be changed"),
        ("G00", "the past cannot be changed"),
        ("X100000,1:a", "the past cannot be changed"),
        ("Z2,10,4", "not mapped"),
        ("Z4,b8000,4", "0xb8000 is no RAM"),
        ("Z3,b8000,1", "0xb8000 is no RAM"),
        ("Z2,100000,0", "1 to"),
        ("Z4,100000,ffffffffffffffff", "1 to"),
        ("p7777", "no register"),
        ("qXfer:features:read:other.xml:0,100", "target.xml"),
    ];
    let unmapped = "m10,4";
    let mut gdb = served.connect();
    assert_eq!(gdb.ask(unmapped), "E0e", "GDB 13 takes no text here");
    for (body, text) in wrong {
        let answer = gdb.ask(body);
        assert!(answer.starts_with("E.") && answer.contains(text), "{body}: {answer}");
    }
    drop(gdb);
    let mut newer_gdb = served.connect();
    newer_gdb.ask(&format!("{GDB_FEATURES};error-message+"));
    let answer = newer_gdb.ask(unmapped);
    assert!(answer.starts_with("E.") && answer.contains("0x10 is not mapped"), "{answer}");
    drop(newer_gdb);
    let mut lldb = served.connect();
    assert_eq!(lldb.ask("QEnableErrorStrings"), "OK");
    for (body, text) in wrong.into_iter().chain([(unmapped, "not mapped")]) {
        let answer = lldb.ask(body);
        let (number, digits) = answer.split_once(';').unwrap_or_else(|| panic!("{body}: {answer}"));
        let said = String::from_utf8(from_hex(digits)).expect("text");
        assert!(number.len() == 3 && number.starts_with('E') && said.contains(text), "{body}: {said}");
    }
    drop(lldb);
    served.is_unharmed();
}

#[test]
fn damage_on_the_way_is_asked_for_again() {
    let served = Served::short();
    let mut debugger = served.connect();
    let expected = debugger.ask("g");
    for wrong in ["$g#00", "$g#zz", "$g#6", "$g#ff", "$bs#00", "$D#00", "$k#00"] {
        debugger.send(wrong.as_bytes());
        if wrong == "$g#6" {
            // The `$` of the next packet is taken for the other digit.
            debugger.send(b"$");
        }
        while debugger.byte() != Some(b'-') {}
        assert_eq!(debugger.ask("g"), expected, "behind {wrong}");
    }
    // A reply that was damaged is repeated, as often as it takes.
    for _ in 0..3 {
        debugger.send(b"-");
        assert_eq!(debugger.receive(), expected);
    }
    drop(debugger);
    served.is_unharmed();
}

#[test]
fn packets_are_taken_up_to_the_size_that_is_announced() {
    let served = Served::short();
    let mut debugger = served.connect();
    let features = debugger.ask(GDB_FEATURES);
    let size = features.split(';').find_map(|f| f.strip_prefix("PacketSize=")).expect("a size");
    let size = usize::from_str_radix(size, 16).expect("a number");
    let long = |length: usize| format!("qSupported:{}", "a".repeat(length - "qSupported:".len()));
    assert!(debugger.ask(&long(size - 4)).starts_with("PacketSize="));
    for length in [size * 2, size * 100] {
        let answer = debugger.ask(&long(length));
        assert_eq!(answer, "E.packet too long", "{length}");
        assert_eq!(debugger.ask("qC"), "QCp1.1");
    }
    // The longest answers fit as well.
    for body in ["m100000,ffffffff", "qXfer:features:read:target.xml:0,ffffffff", "g"] {
        assert!(debugger.ask(body).len() <= size, "{body}");
    }
    drop(debugger);
    served.is_unharmed();
}

#[test]
fn huge_numbers_are_no_trouble() {
    let served = Served::with_paging();
    let mut debugger = served.connect();
    let before = place(&mut debugger);
    let most = "ffffffffffffffff";
    assert_eq!(debugger.ask(&format!("m{most},{most}")), "E0e");
    assert!(debugger.ask(&format!("m100000,{most}")).len() > 1000);
    assert_eq!(debugger.ask("m100000,0"), "");
    assert_eq!(debugger.ask(&format!("qXfer:features:read:target.xml:{most},{most}")), "l");
    for kind in 0..5 {
        for (addr, len) in [("0", most), (most, "1"), (most, most), (most, "0"), ("7fffffffffffffff", "2")] {
            let set = debugger.ask(&format!("Z{kind},{addr},{len}"));
            assert!(set == "OK" || set.starts_with("E."), "Z{kind},{addr},{len}: {set}");
            assert_eq!(debugger.ask(&format!("z{kind},{addr},{len}")), "OK");
        }
    }
    for command in
        ["seek 99999999999999999999", "seek +18446744073709551615", "seek 1e300s", "replay_break -1"]
    {
        assert!(debugger.monitor(command).starts_with("error: "), "{command}");
    }
    assert_eq!(place(&mut debugger), before);
    drop(debugger);
    served.is_unharmed();
}

#[test]
fn breakpoints_where_nothing_is_are_never_met() {
    let served = Served::short();
    let mut debugger = served.connect();
    let end = debugger.position();
    let never = symbol(&served.kernel, "never_called");
    let nowhere =
        [0x8000_0000, 0xffff_ffff, 0x1_0000_0000, 0x0000_8000_0000_0000, u64::MAX - 1, u64::MAX, 0, never];
    for addr in nowhere {
        for kind in 0..2 {
            assert_eq!(debugger.ask(&format!("Z{kind},{addr:x},1")), "OK");
        }
    }
    assert_eq!(debugger.ask("bc"), "T05thread:01;replaylog:begin;");
    assert_eq!(debugger.position(), 0);
    assert_eq!(debugger.ask("vCont;c"), "T05thread:01;replaylog:end;");
    assert_eq!(debugger.position(), end);
    for addr in nowhere {
        for kind in 0..2 {
            assert_eq!(debugger.ask(&format!("z{kind},{addr:x},1")), "OK");
            assert_eq!(debugger.ask(&format!("z{kind},{addr:x},1")), "OK", "removed twice");
        }
    }
    drop(debugger);
    served.is_unharmed();
}

#[test]
fn memory_that_is_not_there_is_neither_read_nor_watched() {
    let guests = [
        (Served::with_paging(), [0x10, 0x8000_0000, 0xffff_fffe]),
        // 64-bit code at its end: not mapped, not canonical, and at the end of the address space.
        (
            Served::of(build_guest("longmode"), "", 33),
            [0x4000_0000_0000, 0x0000_8000_0000_0000, u64::MAX - 1],
        ),
    ];
    for (served, addresses) in guests {
        let mut debugger = served.connect();
        for addr in addresses {
            assert_eq!(debugger.ask(&format!("m{addr:x},2")), "E0e", "{addr:#x}");
            for kind in 2..5 {
                let answer = debugger.ask(&format!("Z{kind},{addr:x},2"));
                assert!(answer.starts_with("E.") && answer.contains("not mapped"), "{addr:#x}: {answer}");
            }
        }
        assert_eq!(debugger.ask("bc"), "T05thread:01;replaylog:begin;");
        drop(debugger);
        served.is_unharmed();
    }
}

#[test]
fn ten_thousand_breakpoints_cost_nothing() {
    let served = Served::with_iterations(2_000_000);
    let mut debugger = served.connect();
    let start = Instant::now();
    debugger.ask("bc");
    debugger.ask("vCont;c");
    let plain = start.elapsed();
    let hot = symbol(&served.kernel, "mix");
    // On the hottest page, between its instructions' first bytes or on code that never runs.
    for n in 0..10_000_u64 {
        assert_eq!(debugger.ask(&format!("Z0,{:x},1", hot + 0x200 + n)), "OK");
    }
    let start = Instant::now();
    assert_eq!(debugger.ask("bc"), "T05thread:01;replaylog:begin;");
    assert_eq!(debugger.ask("vCont;c"), "T05thread:01;replaylog:end;");
    let with = start.elapsed();
    println!("there and back: {plain:?} without, {with:?} with 10,000 breakpoints");
    assert!(with < plain * 4 + Duration::from_secs(2), "{plain:?} without breakpoints, {with:?} with");
    drop(debugger);
    served.is_unharmed();
}

#[test]
fn a_debugger_for_another_architecture_is_told_so() {
    let served = Served::short();
    let mut debugger = served.connect();
    let before = place(&mut debugger);
    for registers in ["arm", "arm,mips", "riscv"] {
        let answer = debugger.ask(&format!("qSupported:multiprocess+;xmlRegisters={registers};qRelocInsn+"));
        assert!(answer.starts_with("E.") && answer.contains("x86") && answer.contains(registers), "{answer}");
    }
    // One that knows several chooses.
    for registers in ["i386", "arm,i386", "i386,arm,mips,arc"] {
        let answer = debugger.ask(&format!("qSupported:xmlRegisters={registers}"));
        assert!(answer.starts_with("PacketSize="), "{answer}");
    }
    assert_eq!(place(&mut debugger), before);
    drop(debugger);
    served.is_unharmed();
}

#[test]
fn ctrl_c_between_all_packets_and_inside_of_them() {
    let served = Served::short();
    let mut debugger = served.connect();
    for (body, reply) in PACKETS.iter().filter(|(body, _)| !moves(body)) {
        debugger.send(b"\x03\x03");
        let answer = ask_all(&mut debugger, body.as_bytes());
        assert!(answer.starts_with(reply), "{body}: {answer}");
        debugger.send(b"\x03");
    }
    // In a packet it is a byte like any other: this one is not known.
    assert_eq!(debugger.ask("q\u{3}C"), "");
    // One that comes when nothing runs stops what the debugger resumes at once, and nothing later.
    sleep(Duration::from_millis(1100));
    assert_eq!(debugger.ask("bc"), "T05thread:01;replaylog:begin;");
    drop(debugger);
    served.is_unharmed();
}

#[test]
fn stops_tell_debuggers_what_they_ask_for_next() {
    let served = Served::short();
    let mut debugger = served.connect();
    debugger.ask(GDB_FEATURES);
    for command in ["bs", "bc", "vCont;s:p1.1", "vCont;c"] {
        let stop = debugger.ask(command);
        for number in [4, 5, 8] {
            let value = debugger.ask(&format!("p{number:x}"));
            assert!(stop.contains(&format!(";{number:02x}:{value};")), "{command}: {stop}, {value}");
        }
    }
}

#[test]
fn ctrl_c_stops_both_directions_at_a_true_position() {
    let served = Served::with_iterations(10_000_000);
    let mut debugger = served.connect();
    let end = debugger.position();
    // Always met, never true: it takes long.
    let hot = symbol(&served.kernel, "mix");
    let never_true = format!("Z1,{hot:x},1;X3,220027");
    debugger.ask(GDB_FEATURES);
    assert_eq!(debugger.ask(&never_true), "OK");
    for (command, start) in [("bc", end / 2), ("vCont;c", end / 4), ("vCont;r0,ffffffff", end / 4)] {
        debugger.monitor(&format!("seek {start}"));
        debugger.send(&packet(command.as_bytes()));
        sleep(Duration::from_millis(300));
        let sent = Instant::now();
        debugger.send(b"\x03");
        let stop = debugger.receive();
        assert!(stop.starts_with("T02thread:p01.01;"), "{command}: {stop}");
        println!("{command} stops {:?} after Ctrl-C", sent.elapsed());
        assert!(sent.elapsed() < Duration::from_secs(2), "{command}: {:?}", sent.elapsed());
        let here = place(&mut debugger);
        debugger.monitor("seek 10");
        debugger.monitor(&format!("seek {}", here.position));
        assert_eq!(place(&mut debugger), here, "{command}");
    }
    drop(debugger);
    served.is_unharmed();
}

/// How many of `what` the server has when it has noticed that nobody is there any more.
fn fewest(server: &Server, what: &str) -> usize {
    let counts = (0..50).map(|_| {
        sleep(Duration::from_millis(10));
        server.count(what)
    });
    counts.min().unwrap_or(0)
}

#[test]
fn a_thousand_debuggers_vanish_in_the_middle_and_leave_nothing() {
    let served = Served::with_iterations(1_000_000);
    let mut debugger = served.connect();
    let end = debugger.position();
    debugger.monitor(&format!("seek {}", end / 2));
    debugger.monitor("mark here");
    let before = place(&mut debugger);
    drop(debugger);
    let (tasks, descriptors) = (fewest(&served.server, "task"), fewest(&served.server, "fd"));
    let hot = symbol(&served.kernel, "mix");
    let middles: Vec<Vec<u8>> = vec![
        Vec::new(),
        b"$".to_vec(),
        b"$g#6".to_vec(),
        packet(b"g"),
        packet(b"bc"),
        packet(b"bs"),
        packet(b"vCont;c"),
        packet(b"vCont;r0,ffffffff"),
        [packet(format!("Z0,{hot:x},1;X3,220027").as_bytes()), packet(b"bc")].concat(),
        [packet(format!("Z0,{hot:x},1;X3,220027").as_bytes()), packet(b"vCont;c")].concat(),
        [packet(b"Z2,100000,4"), packet(b"Z4,100010,4"), packet(b"bc")].concat(),
        packet(format!("qRcmd,{}", to_hex(b"break 0x100000 if $eax == 1")).as_bytes()),
        packet(format!("qRcmd,{}", to_hex(b"replay_break 5")).as_bytes()),
        packet(format!("qRcmd,{}", to_hex(b"seek 50%")).as_bytes()),
        packet(format!("qRcmd,{}", to_hex(b"last-write 0x100000")).as_bytes()),
        packet(b"qXfer:features:read:target.xml:0,4000").repeat(50),
        packet(b"QStartNoAckMode"),
        packet(b"QEnableErrorStrings"),
    ];
    let mut random = Random::new(4);
    for _ in 0..1000 {
        let middle = &middles[random.below(middles.len() as u64) as usize];
        // Half of them before it is their turn.
        let mut debugger = match random.below(2) {
            0 => RawDebugger::dial(served.server.address()),
            _ => served.connect(),
        };
        debugger.send(middle);
        if random.below(4) == 0 {
            sleep(Duration::from_millis(random.below(5)));
        }
    }
    let mut debugger = served.connect();
    // Nobody's breakpoint is left, and no stop at a position.
    assert_eq!(debugger.monitor("breaks"), before.breakpoints);
    assert_eq!(debugger.ask("bc"), "T05thread:01;replaylog:begin;");
    assert_eq!(debugger.ask("vCont;c"), "T05thread:01;replaylog:end;");
    assert_eq!(debugger.position(), end);
    debugger.monitor("seek @here");
    assert_eq!(place(&mut debugger), before);
    drop(debugger);
    assert_eq!(fewest(&served.server, "task"), tasks, "threads");
    assert_eq!(fewest(&served.server, "fd"), descriptors, "descriptors");
    served.is_unharmed();
}

#[test]
fn random_packets_do_not_end_a_session() {
    let served = Served::short();
    let mut random = Random::new(5);
    let mut debugger = served.connect();
    let leaves = |body: &[u8]| matches!(body.first(), Some(b'D' | b'k')) || body.starts_with(b"vKill");
    for _ in 0..3000 {
        let (seed, _) = PACKETS[random.below(PACKETS.len() as u64) as usize];
        let mut body = seed.as_bytes().to_vec();
        for _ in 0..random.below(4) {
            let at = random.below(body.len() as u64 + 1) as usize;
            match random.below(3) {
                // Neither the end of a packet nor a beginning.
                0 => body.insert(at, b"0123456789abcdefzZ,:;.=+-*\x03\xff\x00"[random.below(29) as usize]),
                1 if at < body.len() => drop(body.remove(at)),
                _ => body.truncate(at),
            }
        }
        if leaves(&body) || body.starts_with(b"qRcmd") {
            continue;
        }
        debugger.send(&packet(&body));
        debugger.receive();
    }
    assert_eq!(debugger.ask("qC"), "QCp1.1");
    assert_eq!(debugger.ask(EIP).len(), 8);
    drop(debugger);
    served.is_unharmed();
}
