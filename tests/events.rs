//! Breakpoints on what the machine does, and what else `monitor` tells of it, as GDB's user sees them.

use retrograde_tests::debugged::{Debugged, Which};
use retrograde_tests::debuggers::{Debugger, shows};
use retrograde_tests::recordings::linux_recording;
use retrograde_tests::server::{Server, verify};
use retrograde_tests::workspace_root;

#[test]
fn a_32_bit_kernel_stops_at_ports_interrupts_and_exceptions() {
    let kernel = workspace_root().join("examples/clobber/clobber.elf");
    let mut session = Debugged::kernel(Which::Gdb, &kernel, 3);
    session.expect("monitor break exception 14 if $cr2 == 0xd4", &["monitor breakpoint 1 at exception 14"]);
    session.expect(
        "reverse-continue",
        &[
            "Monitor breakpoint 1 at exception 14 if $cr2 == 0xd4, hit 1 times.",
            "Before the step that raises exception 14.",
        ],
    );
    let fault = session.debugger.position();
    session.expect("continue", &["Behind the step that raises exception 14.", "SIGTRAP"]);
    assert_eq!(session.debugger.position(), fault + 1);
    session.debugger.run("monitor delete 1");
    session.expect("monitor break irq 0x20", &["monitor breakpoint 2"]);
    session.expect("reverse-continue", &["Before the step that delivers interrupt 0x20."]);
    let last = session.debugger.position();
    session.expect("monitor ignore 2 3", &["passed 3 times"]);
    session.expect("reverse-continue", &["hit 5 times"]);
    session.expect("monitor ignore 2 3", &[]);
    session.expect("continue", &["Behind the step that delivers interrupt 0x20."]);
    assert!(session.debugger.position() <= last + 1);
    session.expect("monitor info breakpoints", &["2  irq 0x20  (hit 9 times)"]);
    session.debugger.run("monitor delete 2");
    session.expect("monitor break exception 17", &["monitor breakpoint 3"]);
    session.expect("reverse-continue", &["No more reverse-execution history."]);
    session.debugger.run("monitor delete 3");
    session.expect("monitor break io 0xf4 w", &["monitor breakpoint 4 at io 0xf4 w"]);
    session.expect("continue", &["to port 0xf4"]);
    session.debugger.run("monitor delete 4");
    session.expect("monitor break io 0x3f8 w if $al == 0x0a", &["monitor breakpoint 5 at io 0x3f8 w"]);
    session.expect("reverse-continue", &["Before the step that writes 0x0a to port 0x3f8."]);
    session.debugger.run("monitor delete 5");
    // Of two on one event only that counts whose condition holds, also backward.
    session.expect("monitor break exception 14 if $cr2 > 0x1000", &["monitor breakpoint 6"]);
    session.expect("monitor break exception 14 if $cr2 == 0xd4", &["monitor breakpoint 7"]);
    session
        .expect("reverse-continue", &["Monitor breakpoint 7 at exception 14 if $cr2 == 0xd4, hit 1 times."]);
    assert_eq!(session.debugger.position(), fault);
    session
        .expect("monitor breaks", &["6  exception 14", "(hit 0 times)", "7  exception 14", "(hit 1 times)"]);
    session.debugger.run("monitor delete 6");
    session.debugger.run("monitor delete 7");
    session.debugger.seek("end");
    session.expect("monitor info mem", &["rw"]);
    session.expect("monitor info tlb", &["0000000000100000: 0000000000100000 "]);
    session.expect("monitor io 0x21", &["port 0x21: 0x"]);
    session.expect("monitor io", &["to port 0xf4"]);
    session.debugger.run("monitor phys on");
    session.expect("x/1xb 0", &["0x0"]);
    session.debugger.run("monitor phys off");
    session.expect("x/1xb 0", &["Cannot access memory at address 0x0"]);
    session.expect("maint packet Qqemu.PhyMemMode:1", &["OK"]);
    session.expect("maint packet qqemu.PhyMemMode", &["\"1\""]);
    session.verify();
}

#[test]
fn linux_stops_at_exceptions_and_lines() {
    let recording = linux_recording();
    let server = Server::start(&recording);
    let (mut gdb, _) = Debugger::gdb(&server, None);
    shows(&gdb.run("monitor seek prev serial Power down"), &["position "]);
    gdb.run("monitor break exception 14");
    shows(&gdb.run("reverse-continue"), &["Before the step that raises exception 14."]);
    let before = gdb.position();
    shows(&gdb.run("continue"), &["Behind the step that raises exception 14."]);
    assert_eq!(gdb.position(), before + 1);
    gdb.run("monitor delete 1");
    gdb.run("monitor break cr3");
    shows(&gdb.run("reverse-continue"), &["Before the step that loads CR3 with 0x"]);
    shows(&gdb.run("x/i $pc"), &["cr3"]);
    gdb.run("monitor delete 2");
    let pc = gdb.value("$pc");
    shows(&gdb.run(&format!("monitor info tlb {:#x}", pc & !0xfff)), &[&format!("{:010x}", pc >> 24)]);
    shows(&gdb.run(&format!("monitor info mem {pc:#x}")), &["-r"]);
    shows(&gdb.run("monitor seek prev exception 14"), &["position "]);
    drop(gdb);
    drop(server);
    verify(&recording);
}
