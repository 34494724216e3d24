//! The control socket.

use super::*;
use serde_json::{Value, json};

struct Qmp {
    stream: std::net::TcpStream,
    bytes: Vec<u8>,
    events: Vec<String>,
}

impl Running {
    /// A client that has read the greeting.
    fn control(&self) -> Qmp {
        let stream = std::net::TcpStream::connect(self.control).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut qmp = Qmp { stream, bytes: Vec::new(), events: Vec::new() };
        let greeting = qmp.next();
        assert!(greeting["QMP"]["version"]["qemu"]["major"].is_u64(), "{greeting}");
        assert_eq!(greeting["QMP"]["capabilities"], json!([]));
        qmp
    }

    /// A client that has negotiated.
    fn controller(&self) -> Qmp {
        let mut qmp = self.control();
        assert_eq!(qmp.ask("qmp_capabilities", json!({})), json!({}));
        qmp
    }
}

impl Qmp {
    fn next(&mut self) -> Value {
        loop {
            if let Some(end) = self.bytes.iter().position(|&b| b == b'\n') {
                let line: Vec<u8> = self.bytes.drain(..=end).collect();
                return serde_json::from_slice(&line).unwrap();
            }
            let mut buf = [0; 4096];
            let n = self.stream.read(&mut buf).unwrap();
            assert!(n > 0, "the server has hung up");
            self.bytes.extend_from_slice(&buf[..n]);
        }
    }

    /// The next answer; events before it are kept.
    fn answer(&mut self) -> Value {
        loop {
            let message = self.next();
            match message["event"].as_str() {
                Some(name) => self.events.push(name.to_owned()),
                None => return message,
            }
        }
    }

    fn wait_for_event(&mut self, name: &str) {
        while !self.events.iter().any(|event| event == name) {
            let message = self.next();
            self.events.extend(message["event"].as_str().map(str::to_owned));
        }
        self.events.clear();
    }

    fn send(&mut self, command: &Value) {
        self.stream.write_all(command.to_string().as_bytes()).unwrap();
    }

    fn ask(&mut self, name: &str, arguments: Value) -> Value {
        self.send(&json!({"execute": name, "arguments": arguments}));
        let answer = self.answer();
        assert!(answer.get("return").is_some(), "{name}: {answer}");
        answer["return"].clone()
    }

    fn refused(&mut self, command: &Value) -> (String, String) {
        self.send(command);
        let answer = self.answer();
        let text =
            |name: &str| answer["error"][name].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
        (text("class"), text("desc"))
    }

    fn position(&mut self) -> u64 {
        self.ask("query-replay", json!({}))["icount"].as_u64().unwrap()
    }
}

#[test]
fn a_client_must_negotiate_first() {
    let server = start(1000);
    let mut qmp = server.control();
    let (class, desc) = qmp.refused(&json!({"execute": "query-status"}));
    assert_eq!((class.as_str(), desc.contains("qmp_capabilities")), ("CommandNotFound", true));
    qmp.ask("qmp_capabilities", json!({"enable": []}));
    let (class, _) = qmp.refused(&json!({"execute": "qmp_capabilities"}));
    assert_eq!(class, "CommandNotFound");
    assert_eq!(qmp.ask("query-status", json!({})), json!({"running": false, "status": "paused"}));
}

#[test]
fn mistakes_are_answered_as_qmp_has_them() {
    let server = start(1000);
    let mut qmp = server.controller();
    for (command, class, text) in [
        (json!({"execute": "fly"}), "CommandNotFound", "The command fly has not been found"),
        (json!({"execute": "replay-seek"}), "GenericError", "Parameter 'icount' is missing"),
        (
            json!({"execute": "replay-seek", "arguments": {"icount": "5"}}),
            "GenericError",
            "expected: integer",
        ),
        (json!({"execute": "replay-seek", "arguments": {"icount": -5}}), "GenericError", "expected: integer"),
        (json!({"execute": "replay-seek", "arguments": {"icount": 1001}}), "GenericError", "ends at 1000"),
        (json!({"execute": "stop", "arguments": {"x": 1}}), "GenericError", "Parameter 'x' is unexpected"),
        (json!({"execute": "replay-break", "arguments": {"icount": 1, "y": 2}}), "GenericError", "'y'"),
        (json!({"execute": "human-monitor-command"}), "GenericError", "'command-line' is missing"),
        (json!([]), "GenericError", "JSON object"),
    ] {
        let (answered, desc) = qmp.refused(&command);
        assert_eq!(answered, class, "{command}");
        assert!(desc.contains(text), "{command}: {desc}");
    }
    qmp.stream.write_all(b"hello there\n").unwrap();
    assert!(qmp.answer()["error"]["desc"].as_str().unwrap().contains("JSON"));
    qmp.send(&json!({"execute": "query-replay", "id": {"n": 1}}));
    assert_eq!(
        qmp.answer(),
        json!({"return": {"mode": "play", "filename": "fake.rec", "icount": 0}, "id": {"n": 1}})
    );
    assert_eq!(qmp.position(), 0);
}

#[test]
fn every_command_is_listed_and_known() {
    let server = start(1000);
    let mut qmp = server.controller();
    let commands = qmp.ask("query-commands", json!({}));
    let names: Vec<_> = commands.as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"replay-seek"));
    for name in names.into_iter().filter(|name| *name != "quit") {
        qmp.send(&json!({"execute": name}));
        let answer = qmp.answer();
        let desc = answer["error"]["desc"].as_str().unwrap_or("");
        assert!(!desc.contains("has not been found"), "{name}: {answer}");
    }
}

#[test]
fn seeking_and_continuing_are_told_by_events() {
    let server = start(1000);
    let mut qmp = server.controller();
    qmp.ask("replay-seek", json!({"icount": 500}));
    qmp.wait_for_event("STOP");
    assert_eq!(qmp.position(), 500);
    qmp.ask("replay-break", json!({"icount": 600}));
    qmp.ask("cont", json!({}));
    qmp.wait_for_event("STOP");
    assert_eq!(qmp.position(), 600);
    qmp.ask("replay-delete-break", json!({}));
    qmp.ask("cont", json!({}));
    qmp.wait_for_event("STOP");
    assert_eq!(qmp.position(), 1000);
    assert!(
        qmp.ask("human-monitor-command", json!({"command-line": "info replay"}))
            .as_str()
            .unwrap()
            .contains("instruction count = 1000")
    );
}

#[test]
fn a_running_machine_answers_and_stops() {
    let server = start(u64::MAX / 16);
    let mut qmp = server.controller();
    qmp.ask("cont", json!({}));
    assert_eq!(qmp.ask("query-status", json!({})), json!({"running": true, "status": "running"}));
    let first = qmp.position();
    while qmp.position() <= first {}
    let (_, desc) = qmp.refused(&json!({"execute": "replay-seek", "arguments": {"icount": 1}}));
    assert!(desc.contains("send 'stop' first"), "{desc}");
    let sent = Instant::now();
    qmp.ask("stop", json!({}));
    assert!(sent.elapsed() < Duration::from_millis(500), "{:?}", sent.elapsed());
    assert_eq!(qmp.ask("query-status", json!({})), json!({"running": false, "status": "paused"}));
    let here = qmp.position();
    assert_eq!(qmp.position(), here);
}

#[test]
fn a_debugger_and_a_controller_share_one_machine() {
    let server = start(u64::MAX / 16);
    let mut qmp = server.controller();
    let mut gdb = server.connect();
    gdb.ask("QStartNoAckMode");
    // The debugger runs; the controller looks, and stops it.
    gdb.send(&packet(b"vCont;c"));
    qmp.wait_for_event("RESUME");
    assert_eq!(qmp.ask("query-status", json!({}))["running"], json!(true));
    qmp.ask("stop", json!({}));
    assert_eq!(gdb.receive(), "T02thread:01;");
    // The controller runs; whatever the debugger asks stops it.
    qmp.ask("cont", json!({}));
    assert_eq!(gdb.ask("p0").len(), 16);
    qmp.wait_for_event("STOP");
    assert_eq!(qmp.ask("query-status", json!({}))["running"], json!(false));
    // What the controller does, the debugger sees.
    qmp.ask("replay-seek", json!({"icount": 0x55}));
    qmp.wait_for_event("STOP");
    assert_eq!(gdb.ask("p0"), "5500000000000000");
}

#[test]
fn clients_come_and_go() {
    let server = start(1000);
    for n in 0..40 {
        let mut qmp = server.control();
        qmp.stream.write_all(&b"{\"execute\": \"qmp_capabilities\"} {\"exec"[..n % 38]).unwrap();
    }
    assert_eq!(server.controller().position(), 0);
}

#[test]
fn quit_ends_the_server() {
    let mut server = start(1000);
    let mut qmp = server.controller();
    qmp.ask("quit", json!({}));
    server.thread.take().unwrap().join().unwrap();
}

#[test]
fn a_ctrl_c_behind_a_debuggers_continue_is_for_that() {
    let server = start(u64::MAX / 16);
    let mut qmp = server.controller();
    let mut gdb = server.connect();
    gdb.ask("QStartNoAckMode");
    for _ in 0..20 {
        qmp.ask("cont", json!({}));
        let mut both = packet(b"vCont;c");
        both.push(3);
        gdb.send(&both);
        assert_eq!(gdb.receive(), "T02thread:01;");
    }
}

#[test]
fn a_position_break_stays_when_a_debugger_leaves_that_did_not_set_it() {
    let server = start(1000);
    let mut qmp = server.controller();
    qmp.ask("replay-break", json!({"icount": 500}));
    let mut gdb = server.connect();
    assert_eq!(gdb.ask("D"), "OK");
    qmp.ask("cont", json!({}));
    qmp.wait_for_event("STOP");
    assert_eq!(qmp.position(), 500);
    let mut gdb = server.connect();
    assert!(monitor(&mut gdb, "replay_break 700").contains("700"));
    assert_eq!(gdb.ask("D"), "OK");
    qmp.ask("cont", json!({}));
    qmp.wait_for_event("STOP");
    assert_eq!(qmp.position(), 1000);
}

/// The logic of QEMU's functional test of reverse debugging: what its tools expect of a machine that replays.
#[test]
fn qemus_reverse_debugging_test_passes() {
    const STEPS: usize = 10;
    let server = start(1000);
    let mut qmp = server.controller();
    let mut gdb = server.connect();
    let features = gdb.ask("qSupported");
    assert!(features.contains("ReverseStep+") && features.contains("ReverseContinue+"), "{features}");
    let pc = |gdb: &mut Client| u64::from_str_radix(&gdb.ask("p10"), 16).unwrap().swap_bytes();
    let mut steps = Vec::new();
    for _ in 0..STEPS {
        steps.push(pc(&mut gdb));
        assert_eq!(gdb.ask("s"), "T05thread:01;");
    }
    for &address in steps.iter().rev() {
        assert_eq!(gdb.ask("bs"), "T05thread:01;");
        assert_eq!(pc(&mut gdb), address);
    }
    for &address in &steps {
        assert_eq!(pc(&mut gdb), address);
        assert_eq!(gdb.ask("s"), "T05thread:01;");
    }
    for address in &steps {
        assert_eq!(gdb.ask(&format!("Z1,{address:x},1")), "OK");
    }
    assert_eq!(gdb.ask("c"), "T05thread:01;");
    qmp.ask("replay-break", json!({"icount": 999}));
    let replies = ["T05thread:01;", "T02thread:01;"];
    assert!(replies.contains(&gdb.ask("c").as_str()));
    while qmp.position() != 999 {
        assert!(steps.contains(&pc(&mut gdb)));
        assert!(replies.contains(&gdb.ask("c").as_str()));
    }
    assert_eq!(gdb.ask("bc"), "T05thread:01;");
    assert!(steps.contains(&pc(&mut gdb)));
}

#[test]
fn the_screen_is_written_to_a_file() {
    let server = start(1000);
    let mut qmp = server.controller();
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).display().to_string();
    assert_eq!(qmp.ask("screendump", json!({"filename": file("a.ppm")})), json!({}));
    assert_eq!(std::fs::read(file("a.ppm")).unwrap(), b"P6\n1 1\n255\n\x01\x02\x03");
    assert_eq!(qmp.ask("screendump", json!({"filename": file("a.png"), "format": "png"})), json!({}));
    assert!(std::fs::read(file("a.png")).unwrap().starts_with(b"\x89PNG"));
    for (arguments, text) in [
        (json!({}), "'filename' is missing"),
        (json!({"filename": 1}), "expected: string"),
        (json!({"filename": file("a"), "format": "gif"}), "ppm or png"),
        (json!({"filename": file("a"), "device": "vga2"}), "vga2"),
        (json!({"filename": "/nowhere/at/all.ppm"}), "cannot write"),
        (json!({"filename": file("a"), "head": 7}), "'head' is unexpected"),
    ] {
        let (_, error) = qmp.refused(&json!({"execute": "screendump", "arguments": arguments}));
        assert!(error.contains(text), "{error}");
    }
}
