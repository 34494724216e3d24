//! Diversions: a debugger writes registers and memory and calls functions of the guest, and the past stays what it was.

use retrograde_tests::build_guest;
use retrograde_tests::debugged::{Debugged, Which};
use retrograde_tests::debuggers::shows;

/// The guest with few landmarks, a while before its end.
fn looping(which: Which) -> Debugged {
    Debugged::kernel(which, &build_guest("loop"), 33)
}

#[test]
fn gdb_calls_a_function_of_the_guest_and_the_past_stays() {
    let mut session = looping(Which::Gdb);
    session.expect("tbreak rare_function", &["Temporary breakpoint 1"]);
    session.expect("reverse-continue", &["Temporary breakpoint 1, rare_function (iteration=100000)"]);
    let here = session.debugger.position();
    let registers = session.debugger.run("info registers");
    let hot = session.debugger.value("hot_variable");
    // What is refused names the way.
    session.expect("set var $eax = 5", &["the past cannot be changed; `monitor divert`"]);
    session.expect("monitor divert", &[&format!("a diversion from position {here}"), "any seek"]);
    // xorshift of 1, and a sum with a rotation: from the guest's own code, with a timer that ticks.
    session.expect("print mix(1)", &[" = 270369"]);
    session.expect("print accumulate(0x80000001, 4)", &[" = 7"]);
    session.expect("call rare_function(77)", &[&format!("[diversion from position {here}]")]);
    session.expect("print rare_variable", &[" = 77"]);
    session.expect("info registers", &[&registers]);
    // GDB has put back `$icount` with the other registers, though it is later now.
    session.expect("maint flush register-cache", &[]);
    assert!(session.debugger.position() > here);
    session.expect("set var rare_calls = 1000", &[]);
    session.expect("next", &["[diversion from position", "rare_variable = iteration;"]);
    session.expect("print rare_calls", &[" = 1001"]);
    session.expect("set var $eax = 0x12345678", &[]);
    session.expect("print/x $eax", &["0x12345678"]);
    session.expect("monitor where", &["in a diversion from position", "pc 0x"]);
    // Back into the past, in each way.
    session.expect("reverse-stepi", &[&format!("[the diversion is left: position {here}]")]);
    assert_eq!(session.debugger.position(), here);
    session.expect("info registers", &[&registers]);
    assert_eq!(session.debugger.value("hot_variable"), hot);
    session.expect("print rare_calls", &[" = 3"]);
    session.expect("monitor divert", &["a diversion from"]);
    session.expect("set var rare_calls = 4", &[]);
    session.expect("monitor seek +1", &[&format!("position {} of", here + 1)]);
    session.expect("maint flush register-cache", &[]);
    assert_eq!(session.debugger.position(), here + 1);
    session.expect("print rare_calls", &[" = 3"]);
    session.expect("set var rare_calls = 4", &["Cannot access memory"]);
    session.expect("reverse-stepi", &[]);
    session.expect("info registers", &[&registers]);
    session.expect("continue", &["No more reverse-execution history."]);
    session.verify();
}

#[test]
fn gdb_runs_another_course_of_events() {
    let mut session = looping(Which::Gdb);
    session.expect("tbreak rare_function", &[]);
    session.expect("reverse-continue", &["rare_function (iteration=100000)"]);
    session.expect("monitor divert", &[]);
    // The guest compares this at its end.
    session.expect("set var iteration = 5", &[]);
    session.expect("watch rare_variable", &["Hardware watchpoint 2"]);
    session.expect("continue", &["[diversion from", "Old value = 75000", "New value = 5"]);
    session.expect("delete", &[]);
    session.expect("continue", &["The machine does not go on: the guest writes to isa-debug-exit."]);
    session.expect("print/x $eax", &["0x11"]);
    // Not what it wrote when it was recorded.
    let console = session.expect("monitor console", &["FAIL"]);
    assert!(!console.contains("PASS"), "{console}");
    session.expect("monitor divert off", &["position ", " of "]);
    session.expect("maint flush register-cache", &[]);
    session.expect("print iteration", &[" = 100000"]);
    session.verify();
}

#[test]
fn a_quiet_diversion_takes_no_interrupt() {
    let mut session = Debugged::kernel_with(Which::Gdb, &build_guest("loop"), "iterations=1000000", 33);
    session.expect("monitor seek 50%", &["position "]);
    session.expect("maint flush register-cache", &[]);
    session.expect("print/x $eflags & 0x200", &["0x200"]);
    let ticks = session.debugger.value("ticks");
    session.expect("monitor divert quiet", &["no interrupt is taken"]);
    session.expect("break rare_function", &[]);
    session.expect("continue", &["rare_function (iteration="]);
    session.expect("continue", &["rare_function (iteration="]);
    assert_eq!(session.debugger.value("ticks"), ticks);
    session.expect("monitor divert", &["chips work"]);
    session.expect("reverse-continue", &["the diversion is left"]);
    session.expect("continue", &["rare_function (iteration="]);
    session.expect("continue", &["rare_function (iteration="]);
    assert!(session.debugger.value("ticks") > ticks);
    session.verify();
}

#[test]
fn lldb_changes_what_happens_and_comes_back() {
    let mut session = looping(Which::Lldb);
    session.expect("breakpoint set --name rare_function", &["Breakpoint 1"]);
    session.expect("process continue --reverse", &["stop reason = breakpoint 1.1"]);
    let here = session.debugger.position();
    session.expect("expression rare_calls = 9", &["error: "]);
    session.expect("process plugin packet monitor divert", &["a diversion from position"]);
    session.expect("expression rare_calls = 9", &[" 9"]);
    session.expect("register write eax 5", &[]);
    session.expect("register read eax", &["eax = 0x00000005"]);
    session.expect("thread step-inst", &["stop reason = instruction step into"]);
    session.expect("process continue --reverse", &["the diversion is left", "Process 1 stopped"]);
    assert_eq!(session.debugger.position(), here);
    session.expect("print rare_calls", &["3"]);
    session.verify();
}

/// The general registers, as LLDB shows them.
fn registers(session: &mut Debugged) -> Vec<String> {
    let shown = session.debugger.run("register read eax ecx edx ebx esp ebp esi edi eip eflags");
    shown.lines().filter(|line| line.contains(" = ")).map(str::to_owned).collect()
}

#[test]
fn lldb_calls_functions_of_the_guest() {
    let mut session = looping(Which::Lldb);
    session.debugger.load_script();
    session.expect("breakpoint set --name rare_function", &["Breakpoint 1"]);
    session.expect("process continue --reverse", &["stop reason = breakpoint 1.1"]);
    let here = session.debugger.position();
    let before = registers(&mut session);
    session.expect("rg call mix(1)", &["error: A call changes the machine; first: monitor divert"]);
    session.expect("monitor divert", &["a diversion from position"]);
    session.expect("rg call mix(1)", &["(uint32_t) mix = 270369", "in a diversion from position"]);
    session.expect("rg call accumulate(0x80000001, rare_calls + 1)", &["(uint32_t) accumulate = 7"]);
    // By its address it has no type.
    session.expect("rg call &mix(1)", &["0x42021\n"]);
    session.expect("rg call rare_function(77)", &["in a diversion"]);
    session.expect("print rare_variable", &[" 77"]);
    assert_eq!(registers(&mut session), before);
    session.expect("rg call nothing(1)", &["error: ", "use of undeclared identifier 'nothing'"]);
    session.expect("rg call mix", &["error: Write a call: rg call mix(1)"]);
    // What stops inside is told.
    session.expect("breakpoint set --file loop.c --line 24", &["rare_function", "loop.c:24"]);
    session
        .expect("rg call rare_function(1)", &["error: Something else stopped in the function: breakpoint"]);
    session.expect("monitor divert off", &[&format!("position {here} of")]);
    session.expect("rg forward", &[&format!("position {here} of"), "rare_function(iteration=100000)"]);
    assert_eq!(registers(&mut session), before);
    session.expect("thread step-inst", &["stop reason = instruction step into"]);
    assert_eq!(session.debugger.position(), here + 1);
    session.verify();
}

#[test]
fn lldb_goes_through_a_string_instruction_and_is_told_once_of_the_diversion() {
    let mut session = looping(Which::Lldb);
    session.debugger.load_script();
    session.expect("breakpoint set --one-shot true --name rare_function", &["Breakpoint 1"]);
    session.expect("process continue --reverse", &["stop reason = one-shot breakpoint 1"]);
    session.expect("monitor divert", &["a diversion from position"]);
    // rep movsb: LLDB steps until the program counter moves.
    session.expect("memory write --size 2 --format x $eip 0xa4f3", &[]);
    session.expect("register write ecx 100", &[]);
    for pointer in ["esi", "edi"] {
        session.expect(&format!("register write {pointer} 0x104000"), &[]);
    }
    let before = session.debugger.position();
    let shown = session.debugger.run("thread step-inst");
    assert_eq!(shown.matches("[diversion from position").count(), 1, "{shown}");
    assert_eq!(session.debugger.position(), before + 100);
    session.verify();
}

#[test]
fn ctrl_c_stops_a_machine_that_waits_for_an_interrupt_that_never_comes() {
    let mut session = looping(Which::Gdb);
    session.expect("tbreak rare_function", &[]);
    session.expect("reverse-continue", &["rare_function (iteration=100000)"]);
    session.expect("monitor divert", &["a diversion from position"]);
    // mov al, 0xff; out 0x21, al; hlt; jmp to the hlt: the timer ticks on, and the PIC lets nothing through.
    session.expect("set {unsigned long long}$pc = 0xfdebf421e6ffb0", &[]);
    session.debugger.begin("continue");
    session.debugger.wait_for("Continuing.");
    std::thread::sleep(std::time::Duration::from_millis(200));
    session.debugger.interrupt();
    shows(&session.debugger.finish(), &["received signal SIGINT"]);
    session.expect("monitor where", &["in a diversion from position", "privilege level 0, halted"]);
    session.expect("reverse-stepi", &["the diversion is left"]);
    session.verify();
}

#[test]
fn what_is_asked_of_the_recording_in_a_diversion_is_answered_for_where_it_began() {
    let mut session = looping(Which::Gdb);
    let end = session.debugger.position();
    // Behind the end of the recording, a while.
    let divert = |session: &mut Debugged| {
        session.expect("monitor divert", &["a diversion from position"]);
        session.expect("set var $pc = hot_loop", &[]);
        session.expect("stepi 40", &[]);
        session.expect("monitor where", &[&format!("position {} in a diversion from", end + 40)]);
    };
    divert(&mut session);
    session.expect("monitor console", &["PASS"]);
    session.expect("monitor irqs", &[&format!("before position {end}")]);
    session.expect("monitor timeline", &["here ", "^|"]);
    session.expect("monitor events", &[" interrupts and 0 inputs in this recording"]);
    session.expect("monitor io", &["this is a diversion, which has no history"]);
    session.expect("monitor where", &["in a diversion from"]);
    for (place, none) in [
        ("next irq", "no interrupt comes after"),
        ("prev exception 13", "no exception 13 comes before"),
        ("prev serial NOTHING", "no line with `NOTHING` comes before"),
    ] {
        // What looks for something else has left it.
        session.expect(
            &format!("monitor seek {place}"),
            &[none, &format!("position {end}"), "; the diversion is", "left"],
        );
        session.expect("monitor where", &[&format!("position {end} of {end}")]);
        session.expect("maint flush register-cache", &[]);
        divert(&mut session);
    }
    session.expect("monitor seek prev serial PASS", &["position ", &format!(" of {end}")]);
    session.verify();
}
