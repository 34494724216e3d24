//! Every stop that a user meets on the way forward is met again on the way back, with the same values: a guest made for it,
//! walked through by GDB's own commands.

use retrograde_tests::build_guest;
use retrograde_tests::debugged::{Debugged, Which};
use retrograde_tests::debuggers::shows;

fn walking() -> Debugged {
    let mut session = Debugged::kernel(Which::Gdb, &build_guest("both_ways"), 33);
    session.expect("monitor seek start", &["position 0 of"]);
    session.expect("maint flush register-cache", &[]);
    session
}

/// What is shown after each of `count` runs of `command`.
fn places(session: &mut Debugged, command: &str, count: usize, format: &str, values: &str) -> Vec<String> {
    let shown = session.debugger.run(&format!(
        "set $places = 0\nwhile $places < {count}\n{command}\nprintf \"AT {format}\\n\", {values}\nset $places = $places + 1\nend"
    ));
    let places: Vec<_> =
        shown.lines().filter_map(|line| line.strip_prefix("AT ")).map(str::to_owned).collect();
    assert_eq!(places.len(), count, "{shown}");
    places
}

/// `count` stops by `forward`, one more, and the same by `backward`.
fn same_both_ways(
    session: &mut Debugged,
    (forward, backward): (&str, &str),
    count: usize,
    format: &str,
    values: &str,
) -> Vec<String> {
    let there = places(session, forward, count, format, values);
    session.debugger.run(forward);
    let mut back = places(session, backward, count, format, values);
    back.reverse();
    assert_eq!(back, there, "{forward}");
    let mut distinct = there.clone();
    distinct.dedup();
    assert_eq!(distinct.len(), count, "{there:?}");
    there
}

#[test]
fn recursion_is_entered_and_left_at_the_same_places() {
    let mut session = walking();
    session.expect("break factorial", &["Breakpoint 1"]);
    let depths =
        same_both_ways(&mut session, ("continue", "reverse-continue"), 5, "%lu %u %#x", "$icount, n, $sp");
    assert!(depths[0].contains(" 6 ") && depths[4].contains(" 2 "), "{depths:?}");
    session.expect("delete", &[]);
    session.expect("tbreak factorial if n == 3", &[]);
    session.expect("continue", &["factorial (n=3)"]);
    session.expect("bt", &["n=3", "n=4", "n=5", "n=6", "walk ()", "guest_main"]);
    let (entry, stack) = (session.debugger.position(), session.debugger.value("$sp"));
    // Out by its beginning, in again, and out by its end. (From its end GDB would go to the beginning of the innermost call.)
    session
        .expect("reverse-finish", &["Run back to call of", "factorial (n=4)", "smaller = factorial(n - 1);"]);
    assert!(session.debugger.position() < entry);
    session.expect("step", &["factorial (n=3)"]);
    assert_eq!((session.debugger.position(), session.debugger.value("$sp")), (entry, stack));
    session.expect("finish", &["Run till exit", "factorial (n=4)", "Value returned is $", " = 6"]);
    session.expect("reverse-step", &["factorial (n=3)", "}"]);
    session.expect("reverse-next", &["return n * smaller;"]);
    session.expect("reverse-next", &["smaller = factorial(n - 1);"]);
    session.expect("print n", &[" = 3"]);
    session.verify();
}

#[test]
fn lines_with_calls_in_them_are_the_same_lines_back() {
    let mut session = walking();
    session.expect("tbreak walk", &[]);
    session.expect("continue", &["walk ()", "product = factorial(DEPTH);"]);
    let start = session.debugger.position();
    let values = "$icount, $pc, product, total, jumped";
    let lines = same_both_ways(&mut session, ("next", "reverse-next"), 2, "%lu %#x %u %u %u", values);
    assert!(lines[1].contains(" 720 204 "), "{lines:?}");
    // Nested calls are left by a jump in one of them.
    session.expect("tbreak numbers", &[]);
    session.expect("continue", &["numbers ()"]);
    session.expect("reverse-finish", &["walk ()", "numbers();"]);
    session.expect("reverse-next", &["jumped = leaper();"]);
    session.expect("reverse-next", &["total = squares(ROUNDS);"]);
    session.expect("reverse-next", &["product = factorial(DEPTH);"]);
    assert_eq!(session.debugger.position(), start);
    session.verify();
}

#[test]
fn a_loop_is_the_same_line_by_line() {
    let mut session = walking();
    session.expect("tbreak squares", &[]);
    session.expect("continue", &["squares (rounds=9)"]);
    // Where the loop begins, GDB takes the line before for a part of its first line on the way back.
    session.expect("next", &["for (uint32_t i = 0;"]);
    let values = "$icount, $pc, total";
    same_both_ways(&mut session, ("next", "reverse-next"), 20, "%lu %#x %u", values);
    session.expect("next", &[]);
    // `until` does not go round again.
    session.debugger.run("until");
    session.expect("advance walk", &["walk ()"]);
    assert_eq!(session.debugger.value("stored"), 204);
    session.expect("set exec-direction reverse", &[]);
    session.expect("advance squares", &["squares (rounds=9)"]);
    session.expect("set exec-direction forward", &[]);
    session.verify();
}

#[test]
fn each_store_is_met_with_its_values_swapped() {
    let mut session = walking();
    session.expect("watch stored", &["Hardware watchpoint 1"]);
    // The first round stores what is there already: no change to show, but passed over by GDB itself.
    let there = places(&mut session, "continue", 8, "%lu %u", "$icount, stored");
    session.expect("continue", &["No more reverse-execution history."]);
    let back = places(&mut session, "reverse-continue", 8, "%lu %u", "$icount, stored");
    let number = |text: &str| text.split(' ').map(|n| n.parse().unwrap()).collect::<Vec<u64>>();
    let there: Vec<_> = there.iter().map(|text| number(text)).collect();
    let back: Vec<_> = back.iter().rev().map(|text| number(text)).collect();
    for (n, (forward, backward)) in there.iter().zip(&back).enumerate() {
        let before = if n == 0 { 0 } else { there[n - 1][1] };
        // Forward: behind the store. Backward: in front of it.
        assert_eq!((backward[0], backward[1]), (forward[0] - 1, before), "{there:?} {back:?}");
    }
    assert_eq!(there[7][1], 204);
    session.verify();
}

#[test]
fn x87_and_sse_registers_go_back_with_the_steps() {
    let mut session = walking();
    session.expect("tbreak numbers", &[]);
    session.expect("continue", &["numbers ()"]);
    let values =
        "$icount, $st0, $st1, $fstat, $ftag, $xmm0.v4_float[1], $xmm1.v4_float[2], $xmm7.v4_float[3]";
    let states =
        same_both_ways(&mut session, ("stepi", "reverse-stepi"), 14, "%lu %g %g %x %x %g %g %g", values);
    assert!(states.iter().any(|state| state.contains(" 5.87738 ")), "{states:#?}");
    assert!(states.iter().any(|state| state.ends_with(" 8")), "{states:#?}");
    session.verify();
}

#[test]
fn interrupts_come_at_the_same_places() {
    let mut session = walking();
    session.expect("break timer_handler", &["Breakpoint 1"]);
    let values = "$icount, $pc, $sp, ticks, waited";
    same_both_ways(&mut session, ("continue", "reverse-continue"), 3, "%lu %#x %#x %u %u", values);
    session.expect("delete", &[]);
    // From inside of a handler to the interrupted line, step by step, and on again.
    let values = "$icount, $pc, $sp, $eflags";
    session.expect("reverse-stepi 20", &[]);
    same_both_ways(&mut session, ("stepi", "reverse-stepi"), 40, "%lu %#x %#x %#x", values);
    session.verify();
}

#[test]
fn a_jump_out_of_nested_calls_is_gone_back_over() {
    let mut session = walking();
    session.expect("tbreak leap if depth == 0", &[]);
    session.expect("continue", &["leap (depth=0)"]);
    session.expect("bt", &["depth=0", "depth=1", "depth=2", "depth=3", "leaper ()"]);
    let values = "$icount, $pc, $sp, $ebp";
    let places = same_both_ways(&mut session, ("stepi", "reverse-stepi"), 30, "%lu %#x %#x %#x", values);
    assert!(!places.is_empty());
    session.expect("bt", &["leap (depth=0)", "leaper ()"]);
    session.expect("finish", &[]);
    session.verify();
}

/// What is shown by `command`, and how often GDB lets the machine go on meanwhile.
fn resumes(session: &mut Debugged, command: &str) -> (String, usize) {
    session.debugger.run("set debug remote 1");
    let shown = session.debugger.run(command);
    session.debugger.run("set debug remote 0");
    let sent = ["$bc#", "$bs#", "$vCont;"].map(|packet| format!("Sending packet: {packet}"));
    (shown.clone(), sent.iter().map(|packet| shown.matches(packet).count()).sum())
}

#[test]
fn stores_that_change_nothing_are_no_stops_of_a_watchpoint() {
    let mut session = walking();
    session.expect("watch level", &["Hardware watchpoint 1"]);
    let mut there = Vec::new();
    for value in 1..4 {
        let (shown, count) = resumes(&mut session, "continue");
        shows(&shown, &[&format!("Old value = {}", value - 1), &format!("New value = {value}"), "levels ()"]);
        // Forward GDB leaves the place by a step of its own.
        assert!(count <= 2, "{count} times\n{shown}");
        there.push(session.debugger.position());
    }
    session.expect("continue", &["No more reverse-execution history"]);
    for value in (1..4).rev() {
        let (shown, count) = resumes(&mut session, "reverse-continue");
        shows(&shown, &[&format!("Old value = {value}"), &format!("New value = {}", value - 1), "levels ()"]);
        assert_eq!(count, 1, "{shown}");
        // Right before the store, and not right behind it.
        assert_eq!(Some(session.debugger.position() + 1), there.pop());
    }
    session.expect("reverse-continue", &["No more reverse-execution history"]);
    // Who asks for every access is shown every one.
    session.expect("delete", &[]);
    session.expect("awatch level", &["Hardware access (read/write) watchpoint 2"]);
    for _ in 0..3 {
        session.expect("continue", &["Value = 0", "levels ()"]);
    }
    session.verify();
}

#[test]
fn lldb_is_told_of_each_store_and_decides_itself() {
    let mut session = Debugged::kernel(Which::Lldb, &build_guest("both_ways"), 33);
    session.expect("process plugin packet monitor seek start", &["position 0 of"]);
    session.expect("watchpoint set variable -w write level", &["Watchpoint 1"]);
    session.expect("process continue -F", &["Watchpoint 1 hit:", "new value: 0"]);
    for _ in 0..3 {
        let before = session.debugger.position();
        session.expect("process continue -F", &["old value: 0", "new value: 0"]);
        assert!((before + 1..before + 50).contains(&session.debugger.position()), "after {before}");
    }
    session.expect("watchpoint delete", &["All watchpoints removed."]);
    session.expect("watchpoint set variable -w modify level", &["Watchpoint 2"]);
    session.expect("process continue -F", &["Watchpoint 2 hit:", "old value: 0", "new value: 1"]);
    session.verify();
}

#[test]
fn of_several_watched_places_that_one_instruction_stores_to_the_changed_one_is_shown() {
    let mut session = walking();
    session.expect("watch lanes[0]", &["Hardware watchpoint 1"]);
    session.expect("watch lanes[3]", &["Hardware watchpoint 2"]);
    session.expect("continue", &["Hardware watchpoint 2: lanes[3]", "Old value = 4", "New value = 5"]);
    session.expect("continue", &["No more reverse-execution history"]);
    session
        .expect("reverse-continue", &["Hardware watchpoint 2: lanes[3]", "Old value = 5", "New value = 4"]);
    session.expect("delete", &[]);
    // All four as one range, of which one number changes.
    session.expect("watch lanes", &["Hardware watchpoint 3"]);
    session.expect("continue", &["Old value = {1, 2, 3, 4}", "New value = {1, 2, 3, 5}"]);
    session.expect("reverse-continue", &["Old value = {1, 2, 3, 5}", "New value = {1, 2, 3, 4}"]);
    session.verify();
}
