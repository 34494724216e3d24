//! The control socket of a real recording, as QEMU's own tools and tests use one.

use retrograde_tests::debuggers::{Debugger, shows};
use retrograde_tests::packets::{RawDebugger, from_hex};
use retrograde_tests::recordings::record_kernel;
use retrograde_tests::retrograde::{ends_with, retrograde};
use retrograde_tests::server::{Server, verify};
use retrograde_tests::{build_guest, workspace_root};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// A client that has negotiated.
struct Qmp {
    stream: BufReader<TcpStream>,
    events: VecDeque<String>,
}

impl Qmp {
    fn connect(server: &Server) -> Qmp {
        let stream = TcpStream::connect(server.control_address()).expect("the control socket listens");
        stream.set_read_timeout(Some(ANSWER_LIMIT)).expect("a limit can be set");
        let mut qmp = Qmp { stream: BufReader::new(stream), events: VecDeque::new() };
        let greeting = qmp.next();
        assert!(greeting["QMP"]["version"]["qemu"].is_object(), "{greeting}");
        assert_eq!(qmp.ask("qmp_capabilities", json!({})), json!({}));
        qmp
    }

    fn next(&mut self) -> Value {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("the server answers");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }

    fn send(&mut self, text: &str) {
        self.stream.get_mut().write_all(text.as_bytes()).expect("the server reads");
    }

    /// The next answer; events before it are kept.
    fn answer(&mut self) -> Value {
        loop {
            let message = self.next();
            match message["event"].as_str() {
                Some(name) => self.events.push_back(name.to_owned()),
                None => return message,
            }
        }
    }

    fn ask(&mut self, name: &str, arguments: Value) -> Value {
        self.send(&json!({"execute": name, "arguments": arguments}).to_string());
        let answer = self.answer();
        assert!(answer.get("return").is_some(), "{name}: {answer}");
        answer["return"].clone()
    }

    /// What a wrong line is answered with.
    fn refusal(&mut self, line: &str) -> String {
        self.send(line);
        let answer = self.answer();
        answer["error"]["desc"].as_str().unwrap_or_else(|| panic!("{line}: {answer}")).to_owned()
    }

    /// Waits for events in this order, whatever comes between them.
    fn wait_for(&mut self, events: &[&str]) {
        for event in events {
            loop {
                let next = match self.events.pop_front() {
                    Some(name) => name,
                    None => self.next()["event"].as_str().expect("an event").to_owned(),
                };
                if next == *event {
                    break;
                }
            }
        }
    }

    fn icount(&mut self) -> u64 {
        self.ask("query-replay", json!({}))["icount"].as_u64().expect("a number")
    }
}

/// The example, recorded now, and a server with a control socket at `place`.
fn serve(place: &str) -> (Server, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let recording = dir.path().join("clobber.rgr");
    record_kernel(&workspace_root().join("examples/clobber/clobber.elf"), "", 3, &recording);
    let server = Server::start_with(&recording, &["--qmp", "127.0.0.1:0", "--at", place]);
    (server, dir)
}

/// What QEMU's functional test of reverse debugging does: steps forward, back, and forward again with GDB, then runs
/// into a break that was set by QMP and back to the last breakpoint.
#[test]
fn what_qemus_test_of_reverse_debugging_does() {
    const STEPS: usize = 10;
    let (server, _dir) = serve("start");
    let mut qmp = Qmp::connect(&server);
    let replay = qmp.ask("query-replay", json!({}));
    assert_eq!((&replay["mode"], &replay["icount"]), (&json!("play"), &json!(0)));
    let last = qmp.ask("human-monitor-command", json!({"command-line": "where"}));
    let last = last.as_str().and_then(|text| text.split(' ').nth(3)).expect("where the recording ends");
    let last: u64 = last.parse().expect("a number");
    let (mut gdb, _) = Debugger::gdb(&server, None);
    let mut steps = Vec::new();
    for _ in 0..STEPS {
        steps.push(gdb.value("$pc"));
        gdb.run("stepi");
    }
    for &address in steps.iter().rev() {
        gdb.run("reverse-stepi");
        assert_eq!(gdb.value("$pc"), address);
    }
    for &address in &steps {
        assert_eq!(gdb.value("$pc"), address);
        gdb.run("stepi");
    }
    assert_eq!(qmp.icount(), STEPS as u64);
    for address in &steps {
        gdb.run(&format!("break *{address:#x}"));
    }
    qmp.ask("replay-break", json!({"icount": last - 1}));
    gdb.run("continue");
    assert_eq!(qmp.icount(), last - 1, "none of the first instructions runs again");
    gdb.run("reverse-continue");
    assert_eq!(gdb.value("$pc"), *steps.last().expect("ten steps"));
    assert_eq!(qmp.icount(), STEPS as u64 - 1);
    // One slot, which a second break takes, and which can be emptied.
    gdb.run("delete");
    qmp.ask("replay-break", json!({"icount": 2_000_000}));
    qmp.ask("replay-break", json!({"icount": 1_000_000}));
    shows(&gdb.run("continue"), &["Position 1000000 reached."]);
    qmp.ask("replay-delete-break", json!({}));
    qmp.ask("replay-delete-break", json!({}));
    shows(&gdb.run("continue"), &["No more reverse-execution history"]);
    assert_eq!(qmp.icount(), last);
}

/// The same with no debugger but bare packets, on a recording that is made and ended through the control socket.
#[test]
fn what_qemus_test_does_can_be_done_by_packets() {
    const STEPS: usize = 10;
    const TRAP: &str = "T05thread:01;";
    let dir = tempfile::tempdir().expect("a temporary directory");
    let recording = dir.path().join("recording.rgr");
    let mut command = retrograde(["live", "-m", "16M", "--rtc", "2024-01-01T00:00:00", "--serial", "none"]);
    command.args(["--gdb", "127.0.0.1:0", "--qmp", "127.0.0.1:0", "--append", "iterations=200000000"]);
    let recorder = Server::of(command.arg("--kernel").arg(build_guest("loop")).arg("-o").arg(&recording));
    let mut qmp = Qmp::connect(&recorder);
    assert_eq!(qmp.ask("query-replay", json!({}))["mode"], "record");
    while qmp.icount() <= STEPS as u64 {}
    let last = qmp.icount();
    qmp.ask("quit", json!({}));
    assert_eq!(recorder.wait_for_end().status.code(), Some(0));
    let server = Server::start_with(&recording, &["--qmp", "127.0.0.1:0", "--at", "start"]);
    let mut qmp = Qmp::connect(&server);
    let mut gdb = RawDebugger::connect(server.address());
    let features = gdb.ask("qSupported");
    assert!(features.contains("ReverseStep+") && features.contains("ReverseContinue+"), "{features}");
    // EIP of the i386: register 8.
    let pc = |gdb: &mut RawDebugger| gdb.ask("p8");
    let mut steps = Vec::new();
    for _ in 0..STEPS {
        steps.push(pc(&mut gdb));
        assert_eq!(gdb.ask("s"), TRAP);
    }
    for address in steps.iter().rev() {
        assert_eq!(gdb.ask("bs"), TRAP);
        assert_eq!(pc(&mut gdb), *address);
    }
    for address in &steps {
        assert_eq!(pc(&mut gdb), *address);
        assert_eq!(gdb.ask("s"), TRAP);
    }
    for address in &steps {
        let bytes = from_hex(address);
        let number = u32::from_le_bytes(bytes[..4].try_into().expect("four bytes"));
        assert_eq!(gdb.ask(&format!("Z1,{number:x},1")), "OK");
    }
    qmp.ask("replay-break", json!({"icount": last - 1}));
    // No text stands before the stop.
    assert_eq!(gdb.ask("c"), TRAP);
    assert_eq!(qmp.icount(), last - 1);
    assert_eq!(gdb.ask("bc"), TRAP);
    assert_eq!(pc(&mut gdb), steps[STEPS - 1]);
    assert_eq!(qmp.icount(), STEPS as u64 - 1);
    qmp.ask("replay-seek", json!({"icount": 3}));
    assert_eq!(qmp.icount(), 3);
    assert_eq!(gdb.ask("bs"), TRAP);
    assert_eq!(pc(&mut gdb), steps[2]);
}

#[test]
fn seeking_stopping_and_going_on_are_told_by_events() {
    let (server, _dir) = serve("end");
    let mut qmp = Qmp::connect(&server);
    let mut listener = Qmp::connect(&server);
    assert_eq!(qmp.ask("query-status", json!({})), json!({"running": false, "status": "paused"}));
    qmp.ask("replay-seek", json!({"icount": 12_345_678}));
    qmp.wait_for(&["STOP"]);
    assert_eq!(qmp.icount(), 12_345_678);
    listener.wait_for(&["RESUME", "STOP"]);
    qmp.ask("replay-break", json!({"icount": 13_000_000}));
    qmp.ask("cont", json!({}));
    qmp.wait_for(&["RESUME", "STOP"]);
    assert_eq!(qmp.icount(), 13_000_000);
    qmp.ask("replay-delete-break", json!({}));
    qmp.ask("cont", json!({}));
    qmp.ask("stop", json!({}));
    qmp.wait_for(&["RESUME", "STOP"]);
    assert!(qmp.icount() >= 13_000_000);
    let text = qmp.ask("human-monitor-command", json!({"command-line": "info replay"}));
    assert!(text.as_str().is_some_and(|text| text.starts_with("Replaying execution '")), "{text}");
    qmp.ask("quit", json!({}));
    server.wait_for_end();
}

#[test]
fn somebody_sits_at_a_machine_that_is_recorded() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let [recording, first, second] = ["live.rgr", "a.iso", "b.iso"].map(|name| dir.path().join(name));
    fs::write(&first, [b'a'; 4096]).expect("an image");
    fs::write(&second, [b'b'; 4096]).expect("an image");
    let mut command = retrograde(["live", "-S", "--rtc", "2024-01-01T00:00:00", "--serial", "none"]);
    command.args(["--gdb", "127.0.0.1:0", "--qmp", "127.0.0.1:0", "--cdrom"]).arg(&first);
    command.arg("--drive").arg(format!("file={},if=none,media=cdrom", second.display()));
    command.args(["--append", "iterations=1000000000", "--kernel"]).arg(build_guest("loop"));
    let server = Server::of(command.arg("-o").arg(&recording));
    let mut qmp = Qmp::connect(&server);
    qmp.ask("send-key", json!({"keys": [{"type": "qcode", "data": "ctrl"}, {"type": "qcode", "data": "c"}]}));
    qmp.ask("eject", json!({"device": "ide1-cd0"}));
    qmp.ask("blockdev-change-medium", json!({"id": "ide1-cd0", "filename": second}));
    qmp.ask("human-monitor-command", json!({"command-line": "input mouse 3 -4 1"}));
    qmp.ask("system_powerdown", json!({}));
    for (command, text) in [
        (r#""eject", "arguments": {"id": "floppy0"}"#, "no drive at"),
        (r#""eject", "arguments": {"id": "sd0"}"#, "Device 'sd0' not found"),
        (r#""eject""#, "'id' is missing"),
        (
            r#""blockdev-change-medium", "arguments": {"id": "cd", "filename": "c.iso"}"#,
            "if=none,media=cdrom",
        ),
        (r#""send-key", "arguments": {"keys": []}"#, "qcode"),
        (r#""send-key", "arguments": {"keys": [{"type": "qcode", "data": "any"}]}"#, "no key `any`"),
    ] {
        let answer = qmp.refusal(&format!("{{\"execute\": {command}}}"));
        assert!(answer.contains(text), "{command}: {answer}");
    }
    qmp.ask("cont", json!({}));
    while qmp.icount() < 30_000_000 {}
    qmp.ask("quit", json!({}));
    server.wait_for_end();
    let mut events = retrograde(["events", "--kind", "input"]);
    let events = ends_with(0, events.arg(&recording)).stdout;
    shows(
        &events,
        &[
            "Media { slot: Hdc, medium: None }",
            "Media { slot: Hdc, medium: Some(1) }",
            "Mouse { dx: 3, dy: -4, dz: 0, buttons: 1 }",
            "PowerButton",
            "Key { scancode: [29] }",
            "Key { scancode: [46] }",
        ],
    );
    verify(&recording);
}

/// A disk with the boot sector that shows the first byte of what is in the CD-ROM drive, over and over.
fn disk_that_looks_at_the_cd() -> Vec<u8> {
    const DRIVE: usize = 4;
    const CD: u8 = 0xe0;
    let mut image = fs::read(build_guest("drive")).expect("the guest");
    image[DRIVE] = CD;
    image.resize(1 << 20, 0);
    image
}

#[test]
fn a_guest_sees_that_a_cd_is_changed() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let [recording, disk, first, second, shown] =
        ["cd.rgr", "boot.img", "a.iso", "b.iso", "shown"].map(|name| dir.path().join(name));
    fs::write(&disk, disk_that_looks_at_the_cd()).expect("an image");
    fs::write(&first, [b'a'; 1 << 16]).expect("an image");
    fs::write(&second, [b'b'; 1 << 16]).expect("an image");
    let mut command = retrograde(["live", "-m", "16M", "--rtc", "2024-01-01T00:00:00", "--serial", "none"]);
    command.args(["--gdb", "127.0.0.1:0", "--qmp", "127.0.0.1:0", "--debugcon"]);
    command.arg(format!("file:{}", shown.display())).arg("--hda").arg(&disk).arg("--cdrom").arg(&first);
    command.arg("--drive").arg(format!("file={},if=none,media=cdrom", second.display()));
    let server = Server::of(command.arg("-o").arg(&recording));
    let mut qmp = Qmp::connect(&server);
    let wait_for = |qmp: &mut Qmp, text: &str| {
        let shows = || fs::read_to_string(&shown).is_ok_and(|contents| contents.contains(text));
        while !shows() {
            qmp.ask("query-status", json!({}));
        }
    };
    wait_for(&mut qmp, "<a>");
    qmp.ask("eject", json!({"id": "ide1-cd0"}));
    wait_for(&mut qmp, "<!>");
    qmp.ask("blockdev-change-medium", json!({"id": "ide1-cd0", "filename": second}));
    wait_for(&mut qmp, "<b>");
    qmp.ask("quit", json!({}));
    server.wait_for_end();
    verify(&recording);
}

#[test]
fn what_has_happened_takes_no_input() {
    let (server, _dir) = serve("end");
    let answer = Qmp::connect(&server).refusal("{\"execute\": \"system_reset\"}");
    assert!(answer.contains("retrograde live"), "{answer}");
}

#[test]
fn what_is_not_qmp_is_answered_and_harms_nothing() {
    let (server, dir) = serve("end");
    let mut qmp = Qmp::connect(&server);
    let here = qmp.icount();
    for (line, text) in [
        ("hello\n", "JSON parse error"),
        ("}}}}\n", "JSON parse error"),
        ("[1, 2]\n", "JSON object"),
        ("{\"execute\": 5}\n", "must be a string"),
        ("{\"execute\": \"fly\"}\n", "The command fly has not been found"),
        ("{\"execute\": \"replay-seek\"}\n", "'icount' is missing"),
        ("{\"execute\": \"replay-seek\", \"arguments\": {\"icount\": 1e40}}\n", "expected: integer"),
        ("{\"execute\": \"replay-seek\", \"arguments\": {\"icount\": 99999999999}}\n", "ends at"),
        ("{\"execute\": \"human-monitor-command\", \"arguments\": {}}\n", "'command-line' is missing"),
        ("{\"execute\": \"screendump\", \"arguments\": {\"filename\": \"/nowhere/x\"}}\n", "/nowhere/x"),
    ] {
        let answer = qmp.refusal(line);
        assert!(answer.contains(text), "{line}: {answer}");
    }
    assert_eq!(qmp.icount(), here);
    drop(qmp);
    assert_eq!(Qmp::connect(&server).icount(), here);
    assert!(!server.said().contains("panicked"), "{}", server.said());
    verify(&dir.path().join("clobber.rgr"));
}
