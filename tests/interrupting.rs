//! Ctrl-C in whatever takes long, in a recording of Linux. How long it takes to be heard is printed:
//! `cargo test --release --test interrupting -- --nocapture`.

use retrograde_tests::packets::{RawDebugger, packet, to_hex};
use retrograde_tests::recordings::linux_recording;
use retrograde_tests::server::Server;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Something is under way by then.
const UNDER_WAY: Duration = Duration::from_millis(150);

fn interrupted(debugger: &mut RawDebugger, what: &str, body: &str) {
    debugger.send(&packet(body.as_bytes()));
    sleep(UNDER_WAY);
    let sent = Instant::now();
    debugger.send(b"\x03");
    // A command has its text before its OK.
    loop {
        let reply = debugger.receive();
        if reply.starts_with('T') || reply == "OK" || reply.starts_with('E') {
            break;
        }
    }
    println!("{what}: {:.1?} after Ctrl-C", sent.elapsed());
    // One that came behind the answer is for nobody.
    sleep(Duration::from_millis(20));
    assert!(debugger.ask("?").starts_with('T'), "{what}");
}

#[test]
fn ctrl_c_is_heard_in_everything_that_takes_long() {
    let server = Server::start(&linux_recording());
    let mut debugger = RawDebugger::connect(server.address());
    debugger.ask("qSupported:multiprocess+;swbreak+;hwbreak+;xmlRegisters=i386");
    let command = |text: &str| format!("qRcmd,{}", to_hex(text.as_bytes()));
    debugger.monitor("seek end");
    interrupted(&mut debugger, "console", &command("console"));
    interrupted(&mut debugger, "seek to a line that never came", &command("seek prev serial \u{1}\u{1}"));
    debugger.monitor("break cr3 if $icount == 1");
    interrupted(&mut debugger, "reverse-continue past false conditions", "bc");
    debugger.monitor("delete 1");
    debugger.monitor("break io 0x3f8-0x3ff if $icount == 1");
    interrupted(&mut debugger, "reverse-continue over ports", "bc");
    debugger.monitor("delete 2");
    debugger.monitor("seek start");
    interrupted(&mut debugger, "continue", "vCont;c");
    debugger.monitor("seek start");
    interrupted(&mut debugger, "seek to the end", &command("seek 99%"));
    debugger.monitor("seek 30%");
    debugger.monitor("divert");
    interrupted(&mut debugger, "continue in a diversion", "vCont;c");
    debugger.monitor("divert off");
    debugger.monitor("seek end");
    debugger.monitor("seek -1000000");
    // The stack is written all the time; what lies far above it is not.
    for what in ["last-write $rsp & ~0xfff", "last-write 0xffffffff81000000 4096", "first-exec $pc + 1"] {
        interrupted(&mut debugger, what, &command(what));
    }
    let here = debugger.position();
    assert_eq!(debugger.ask("bs").chars().next(), Some('T'));
    assert_eq!(debugger.position(), here - 1);
}
