//! GDB 18, which the tests install for themselves: what its users see that those of Debian's GDB 13 do not.
//!
//! `RETROGRADE_GDB=18 cargo test --release --test gdb` runs the other one's tests with it.

use retrograde_tests::debugged::{Debugged, Which};
use retrograde_tests::workspace_root;

#[test]
fn gdb_18_hunts_and_walks_in_both_directions() {
    let mut session =
        Debugged::kernel(Which::Gdb18, &workspace_root().join("examples/clobber/clobber.elf"), 3);
    session.expect("show version", &["GNU gdb (GDB) 18."]);
    let end = session.debugger.position();
    session.expect(
        "bt",
        &["in panic (frame=0x105fac)", "<signal handler called>", "print_reports ()", "_start ()"],
    );
    session.expect("watch -l reports", &["Hardware watchpoint 1: -location reports"]);
    session.expect(
        "reverse-continue",
        &["Old value = (struct report *) 0xd0", "New value = (struct report *) 0x4e"],
    );
    session.expect("x/i $pc", &["=> 0x1002f1 <timer_tick+34>:"]);
    session.expect("delete", &[]);
    let store = session.debugger.position();
    session.expect("reverse-stepi", &["0x001002eb", "samples[sample_count].tick = ticks;"]);
    assert_eq!(session.debugger.position(), store - 1);
    session.expect("reverse-step", &["89", "if (sample_count <= SAMPLES_MAX) {"]);
    session.expect("reverse-step", &["interrupt (frame=", "timer_tick(frame->eip);"]);
    session.expect("reverse-next", &["276", "if (frame->vector == TIMER_VECTOR)"]);
    session.expect("reverse-finish", &["Run back to call of #0  interrupt", "<signal handler called>"]);
    // A breakpoint in both directions, under a condition that the server evaluates.
    session.expect("break run_job if samples_lost == 0", &["Breakpoint 2 at "]);
    session.expect("reverse-continue", &["Breakpoint 2, run_job (job="]);
    let back = session.debugger.position();
    session.expect("reverse-continue", &["Breakpoint 2, run_job (job="]);
    session.expect("continue", &["Breakpoint 2, run_job (job="]);
    assert_eq!(session.debugger.position(), back);
    session.expect("delete", &[]);
    session.expect("reverse-continue", &["Reached end of recorded history; stopping."]);
    assert_eq!(session.debugger.position(), 0);
    session.expect("continue", &["Reached end of recorded history; stopping."]);
    assert_eq!(session.debugger.position(), end);
    session.verify();
}

#[test]
fn our_commands_work_in_gdb_18() {
    let mut session =
        Debugged::kernel(Which::Gdb18, &workspace_root().join("examples/clobber/clobber.elf"), 3);
    session.debugger.load_script();
    // It takes what a command shows for text in this character set.
    session.expect("set host-charset ASCII", &[]);
    // Longer than what is shown of it.
    session.expect("rg who-wrote samples", &["the step at position ", " ... after", "timer_tick (eip="]);
    // What is not in it is no error.
    session.expect("python print(ascii(monitor(\"mark \\u00e9\")))", &["position ", " is @\\xe9"]);
    session.expect("rg seek 50%", &["#0  "]);
    session.expect("rg console", &["clobber: a kernel with a bug"]);
    session.verify();
}
