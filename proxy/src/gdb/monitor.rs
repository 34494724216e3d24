//! `monitor` commands: what GDB has no commands of its own for.

mod breaks;
mod look;
mod overview;
mod pages;
mod places;
mod ports;

use super::target::Debuggee;
use crate::place::{Bounds, Place};
use crate::script;
use crate::units::parse_count;
use snapshots::{Chips, Direction, Stop};
use std::fmt::Write;
use std::path::Path;
use vm::{Icount, LinAddr, Output};

const HELP: &str = "\
Where we are:
  monitor where               position, virtual time, code
  monitor info replay         the same as QEMU says it
Going elsewhere:
  monitor seek 12345          a position; +10, -10: steps from here
  monitor seek start          or end, or 50% of the way
  monitor seek 1.5s           a virtual time (s, ms, us, ns); +1.5s, -20ms: from
                              here
  monitor seek next irq 0x20  or prev irq 0x20; without a vector, of any
  monitor seek prev exception 14
                              or next
  monitor seek prev serial login:
                              the last line before here with this text, or next
  monitor mark crash          a name for here: monitor seek @crash
  monitor marks               all of them
  monitor stay                what the debugger resumes next stops at once: so
                              it looks again at where it is
  monitor replay_seek N       to position N, as in QEMU
  monitor replay_break N      stop at position N when running over it
  monitor replay_delete_break
Changing what happens:
  monitor divert              leaves the recording here: registers and memory
                              can be written, functions called, and the machine
                              runs forward by itself
  monitor divert quiet        the same without interrupts and input
  monitor divert off          back to where it was left
  monitor branch FILE         in `retrograde live`: goes on recording from here,
                              in a recording of its own
  monitor input key ret       in `retrograde live`: what a script can do: type,
                              key, mouse, send, eject, insert, power, reset
Asking about history, without going anywhere:
  monitor last-write ADDR [LEN]   which step wrote it last, seen from here
  monitor first-exec ADDR         when an instruction ran first
  monitor timeline                all of it in one picture
  monitor events                  inputs and interrupts around here
  monitor irqs                    interrupts taken around here
  monitor io                      accesses to ports around here
  monitor checkpoints             those of the recording
  monitor info pic                a chip's state; monitor info names them;
  monitor info vga.crtc           a part of one
  monitor io 0x3fd                what a port would give here;
                                  monitor io 0xcf8 4: four bytes of it
  monitor info tlb [ADDR]         the page tables here, page by page
  monitor info mem [ADDR]         the same by ranges
  monitor phys on                 addresses of memory that the debugger reads
                                  are physical; phys off
Stopping:
  monitor break ADDR if EXPR  monitor break 0x100010 if $eax == 5 && u32[$esp]
  monitor break io 0x3f8 w    a port is written, or r: read; 0x3f8-0x3ff
  monitor break irq 0x20      an interrupt is delivered
  monitor break exception 14  an exception is raised, or INT 14 runs
  monitor break cr3           CR3 is loaded; cr3 0x1000: with this
  monitor break phys 0x7c00   code at a physical address
                              These too take `if EXPR`. They stop behind the
                              step, and before it when going backward.
  monitor breaks              with how often each was hit
  monitor ignore N COUNT      passes breakpoint N so many times
  monitor delete N
  monitor skip-irqs on        stepi and reverse-step, -next pass over interrupts
What the guest wrote:
  monitor console             its serial output from the start up to here
  monitor screen              the text on the screen here
  monitor screen FILE         the screen here as a picture: a PNG file on the
                              machine that serves
";

const HELP_GDB: &str = "\
A position counts the steps of the processor since power-on. GDB does not know
that a seek moves the machine: `maint flush register-cache` makes it look again.
Going back: reverse-stepi, reverse-continue, reverse-next, reverse-finish;
`watch X` and reverse-continue finds who wrote X last.
";

const HELP_LLDB: &str = "\
A position counts the steps of the processor since power-on. In LLDB a command
is `process plugin packet monitor COMMAND`, or `monitor COMMAND` with
scripts/debugger/retrograde_lldb.py, whose `rg seek` shows where it has gone.
Going back: `process continue --reverse`, and `--forward` before you step;
`watchpoint set variable X` and going back finds who wrote X last.
";

const SEEN_LATER_GDB: &str =
    "GDB still shows the place before: `maint flush register-cache` makes it look again.\n";
const SEEN_LATER_LLDB: &str = "\
LLDB still shows the place before, until it stops anew: `thread step-inst`, or use
`rg seek` of scripts/debugger/retrograde_lldb.py.
";

/// Width of a terminal.
const COLUMNS: usize = 80;
/// Longest name of a mark: it fits into a line beside its position.
const MARK_MAX_CHARS: usize = 60;
/// Most marks.
const MARKS_MAX: usize = 10_000;

/// Console output is cut to its last part.
const CONSOLE_MAX_BYTES: usize = 64 << 10;

/// Runs one command; its answer, which ends in a newline unless it is empty.
pub fn run(debuggee: &mut Debuggee, command: &str) -> String {
    let words: Vec<&str> = command.split_whitespace().collect();
    // What stands behind the command, for those that take an expression.
    let rest = command.trim_start().split_once(char::is_whitespace).map_or("", |(_, rest)| rest.trim());
    let result = match words.as_slice() {
        [] | ["help" | "?"] => Ok(help(debuggee)),
        ["info", "replay"] => Ok(info_replay(debuggee)),
        ["where"] => Ok(position_line(debuggee)),
        ["seek", "next", what @ ..] => places::seek(debuggee, Direction::Forward, what, rest),
        ["seek", "prev", what @ ..] => places::seek(debuggee, Direction::Reverse, what, rest),
        ["seek", name] if name.starts_with('@') => match debuggee.marks.get(&name[1..]) {
            Some(&position) => seek(debuggee, Place::Position(position.0)),
            None => Err(format!("there is no mark `{}`; `monitor marks` lists them", &name[1..])),
        },
        ["stay"] => {
            debuggee.stays = true;
            Ok(String::new())
        }
        ["divert"] => debuggee.divert(Chips::Live),
        ["divert", "quiet"] => debuggee.divert(Chips::Quiet),
        ["divert", "off"] => end_diversion(debuggee),
        ["divert", ..] => Err("write monitor divert, divert quiet, or divert off".into()),
        ["mark", ..] | ["io"] | ["last-write" | "first-exec", _, ..]
            if debuggee.history.diverted_from().is_some() =>
        {
            Err("this is a diversion, which has no history: first monitor divert off".into())
        }
        ["mark", name] => mark(debuggee, name),
        ["marks"] => Ok(marks(debuggee)),
        ["break", _, ..] => breaks::add(debuggee, rest),
        ["skip-irqs", "on" | "off"] => {
            debuggee.skips_interrupts = words[1] == "on";
            Ok(String::new())
        }
        ["skip-irqs", ..] => Err("write monitor skip-irqs on, or off".into()),
        ["phys", "on" | "off"] => {
            debuggee.physical = words[1] == "on";
            Ok(String::new())
        }
        ["phys"] => Ok(format!("addresses are {}\n", if debuggee.physical { "physical" } else { "virtual" })),
        ["phys", ..] => Err("write monitor phys on, or off".into()),
        ["breaks"] | ["info", "breakpoints" | "breaks"] => Ok(breaks::list(debuggee)),
        ["ignore", number, count] => breaks::ignore(debuggee, number, count),
        ["ignore", ..] => Err("write a breakpoint and how often: monitor ignore 1 10".into()),
        ["input", ..] => {
            let done = script::parse_action(rest).and_then(|action| debuggee.history.act(action));
            done.map(|()| String::new())
        }
        ["io"] => ports::around(debuggee),
        ["io", port] => ports::peek(debuggee, port, 1),
        ["io", port, "1"] => ports::peek(debuggee, port, 1),
        ["io", port, "2"] => ports::peek(debuggee, port, 2),
        ["io", port, "4"] => ports::peek(debuggee, port, 4),
        ["io", ..] => Err("write a port, and 1, 2 or 4 bytes: monitor io 0xcf8 4".into()),
        ["info", "tlb"] => Ok(pages::tlb(debuggee, LinAddr(0))),
        ["info", "mem"] => Ok(pages::mem(debuggee, LinAddr(0))),
        ["info", "tlb", from] => breaks::address(debuggee, from).map(|from| pages::tlb(debuggee, from)),
        ["info", "mem", from] => breaks::address(debuggee, from).map(|from| pages::mem(debuggee, from)),
        ["delete", number] => breaks::delete(debuggee, number),
        ["last-write", _, ..] => look::last_write(debuggee, rest),
        ["first-exec", _, ..] => look::first_exec(debuggee, rest),
        ["irqs"] => look::irqs(debuggee),
        ["events"] => overview::events(debuggee).map_err(|e| e.to_string()),
        ["timeline"] => overview::timeline(debuggee).map_err(|e| e.to_string()),
        ["checkpoints"] => look::checkpoints(debuggee),
        ["branch", file] => debuggee.history.branch(Path::new(file)),
        ["branch", ..] => Err("write one file name without blanks: monitor branch other.rgr".into()),
        ["info", chip] => look::chip(debuggee, chip),
        ["seek", place] => place.parse().and_then(|place| seek(debuggee, place)),
        ["replay_seek", n] => parse_count(n).and_then(|n| seek(debuggee, Place::Position(n))),
        ["replay_break", n] => parse_count(n).and_then(|n| replay_break(debuggee, n)),
        ["replay_delete_break"] => {
            debuggee.set_position_break(None);
            Ok(String::new())
        }
        ["console"] => console(debuggee),
        ["info", ..] => look::chip(debuggee, ""),
        ["break"] => Err("write an address: monitor break 0x1000 if $eax == 5".into()),
        ["last-write" | "first-exec"] => Err(format!("write an address: monitor {} 0x1000", words[0])),
        ["mark", ..] => Err("write one name: monitor mark before-the-crash".into()),
        ["delete", ..] => Err("write one number, as `monitor breaks` shows it".into()),
        ["screen"] => screen_text(debuggee),
        ["screen", file] => screen_picture(debuggee, Path::new(file)),
        ["screen", ..] => Err("write one file name without blanks: monitor screen FILE".into()),
        ["seek", ..] => Err("write one place, for example: monitor seek 50%".into()),
        ["replay_seek" | "replay_break", ..] => {
            Err(format!("write one position: monitor {} 12345", words[0]))
        }
        [
            first @ ("help"
            | "where"
            | "console"
            | "stay"
            | "marks"
            | "timeline"
            | "events"
            | "irqs"
            | "checkpoints"
            | "breaks"
            | "replay_delete_break"),
            ..,
        ] => Err(format!("nothing comes behind it: monitor {first}")),
        [first, ..] => {
            Err(format!("there is no monitor command `{first}`; `monitor help` lists what there is"))
        }
    };
    result.unwrap_or_else(|error| wrapped(&format!("error: {error}")))
}

/// A text with its lines broken at blanks so that each fits, if it can, and the end of a line at its end.
fn wrapped(text: &str) -> String {
    let mut answer = String::new();
    for line in text.lines() {
        let mut column = 0;
        for (i, word) in line.split(' ').enumerate() {
            let length = word.chars().count();
            if i > 0 {
                let fits = column + 1 + length <= COLUMNS;
                answer.push(if fits { ' ' } else { '\n' });
                column = if fits { column + 1 } else { 0 };
            }
            answer.push_str(word);
            column += length;
        }
        answer.push('\n');
    }
    answer
}

fn help(debuggee: &Debuggee) -> String {
    format!("{HELP}\n{}", if debuggee.features.lldb { HELP_LLDB } else { HELP_GDB })
}

/// That the debugger does not know yet where the machine is.
fn seen_later(debuggee: &Debuggee) -> &'static str {
    if debuggee.features.lldb { SEEN_LATER_LLDB } else { SEEN_LATER_GDB }
}

fn info_replay(debuggee: &Debuggee) -> String {
    let history = &debuggee.history;
    let what = if history.mode() == "record" { "Recording" } else { "Replaying" };
    format!("{what} execution '{}': instruction count = {}\n", history.name(), history.position())
}

fn position_line(debuggee: &Debuggee) -> String {
    let history = &debuggee.history;
    let (position, end, cpu) = (history.position(), history.end(), history.view().cpu());
    let percent = u128::from(position.0) * 10_000 / u128::from(end.0.max(1));
    let place = match history.diverted_from() {
        Some(from) => {
            format!("position {position} in a diversion from position {from}, {}", history.now())
        }
        None if history.mode() == "record" => format!("position {position}, recording, {}", history.now()),
        None => format!(
            "position {position} of {end} ({}.{:02}%), {} of {}",
            percent / 100,
            percent % 100,
            history.now(),
            history.end_time(),
        ),
    };
    format!(
        "{place}\npc {:#x}, {}-bit code at privilege level {}{}\n",
        cpu.linear_pc(),
        cpu.code_bits(),
        cpu.cpl(),
        if cpu.halted { ", halted" } else { "" }
    )
}

fn seek(debuggee: &mut Debuggee, place: Place) -> Result<String, String> {
    let before = (debuggee.history.position(), debuggee.history.diverted_from());
    let stop = go_to(debuggee, place)?;
    let mut answer = match stop {
        Stop::Interrupted => "interrupted on the way\n".to_owned(),
        _ => String::new(),
    };
    answer.push_str(&position_line(debuggee));
    if (debuggee.history.position(), None) != before {
        answer.push_str(seen_later(debuggee));
    }
    Ok(answer)
}

fn end_diversion(debuggee: &mut Debuggee) -> Result<String, String> {
    debuggee.end_diversion()?;
    Ok(position_line(debuggee) + seen_later(debuggee))
}

fn mark(debuggee: &mut Debuggee, name: &str) -> Result<String, String> {
    if name.chars().count() > MARK_MAX_CHARS {
        return Err(format!("the name of a mark has at most {MARK_MAX_CHARS} characters"));
    }
    if debuggee.marks.len() >= MARKS_MAX && !debuggee.marks.contains_key(name) {
        return Err(format!("there are {MARKS_MAX} marks already"));
    }
    let position = debuggee.history.position();
    debuggee.marks.insert(name.to_owned(), position);
    Ok(format!("position {position} is @{name}\n"))
}

fn marks(debuggee: &Debuggee) -> String {
    if debuggee.marks.is_empty() {
        return "there are none; for example: monitor mark here\n".into();
    }
    debuggee.marks.iter().map(|(name, position)| format!("{:>14}  @{name}\n", position.0)).collect()
}

/// Goes to a place.
pub fn go_to(debuggee: &mut Debuggee, place: Place) -> Result<Stop, String> {
    let history = &mut debuggee.history;
    let bounds = Bounds { start: history.start(), end: history.end(), end_time: history.end_time() };
    let here = history.diverted_from().unwrap_or_else(|| history.position());
    let position = place.position(here, bounds, &mut |at| history.time_at(at)).map_err(|e| e.to_string())?;
    let Some(position) = position else {
        let ends = if history.runs_free() { "has come to" } else { "ends at" };
        return Err(format!(
            "cannot seek there: the recording {ends} position {}, {}",
            bounds.end, bounds.end_time
        ));
    };
    let mut interrupted = debuggee.interrupter();
    debuggee.history.seek(position, &mut interrupted).map_err(|e| e.to_string())
}

fn replay_break(debuggee: &mut Debuggee, n: u64) -> Result<String, String> {
    let end = debuggee.history.end();
    if n > end.0 && !debuggee.history.runs_free() {
        return Err(format!("position {n} is never reached: the recording ends at {end}"));
    }
    debuggee.set_position_break(Some(Icount(n)));
    Ok(format!("will stop at position {n}, forward and backward\n"))
}

fn console(debuggee: &mut Debuggee) -> Result<String, String> {
    let (here, mut bytes, mut stopped) = (debuggee.recorded_position(), Vec::new(), false);
    let mut interrupted = debuggee.interrupter();
    let mut collect = |_, output| {
        if let Output::Serial { byte, .. } = output {
            bytes.push(byte);
        }
        true
    };
    let output = debuggee.history.output(here, &mut collect, &mut || {
        stopped |= interrupted();
        stopped
    });
    output.map_err(|e| e.to_string())?;
    if stopped {
        return Ok("interrupted\n".into());
    }
    for (_, output) in debuggee.history.diverted_output() {
        if let Output::Serial { byte, .. } = output {
            bytes.push(*byte);
        }
    }
    if bytes.is_empty() {
        return Ok("the guest has written nothing to a serial port up to here\n".into());
    }
    let left_out = bytes.len().saturating_sub(CONSOLE_MAX_BYTES);
    let mut answer = String::new();
    if left_out > 0 {
        // Writing to a String cannot fail.
        let _ = writeln!(answer, "({left_out} bytes before this are left out)");
    }
    for c in String::from_utf8_lossy(&bytes[left_out..]).chars() {
        match c {
            '\n' | '\t' => answer.push(c),
            '\r' => {}
            // What would move the user's cursor or change colours is shown, not done.
            c if c.is_control() => answer.extend(c.escape_default()),
            c => answer.push(c),
        }
    }
    if !answer.ends_with('\n') {
        answer.push('\n');
    }
    Ok(answer)
}

const NO_ADAPTER: &str = "the machine has no display adapter";

fn screen_text(debuggee: &Debuggee) -> Result<String, String> {
    let picture = debuggee.history.view().picture().ok_or(NO_ADAPTER)?;
    match debuggee.history.view().screen_text() {
        Some(text) => Ok(text.join("\n").trim_end().to_owned() + "\n"),
        None => Err(format!(
            "the screen shows graphics of {}x{}: monitor screen FILE makes a picture",
            picture.width, picture.height
        )),
    }
}

fn screen_picture(debuggee: &Debuggee, file: &Path) -> Result<String, String> {
    let picture = debuggee.history.view().picture().ok_or(NO_ADAPTER)?;
    crate::screen::write_png(file, &picture).map_err(|e| format!("{e:#}"))?;
    Ok(format!("{}: {}x{}\n", file.display(), picture.width, picture.height))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gdb::fake::debuggee;

    #[test]
    fn nothing_is_watched_while_physical_memory_is_read() {
        let mut debuggee = debuggee(1000);
        let watch = |debuggee: &mut Debuggee| debuggee.watch(true, vm::WatchKind::Write, 0x2000, 4);
        run(&mut debuggee, "phys on");
        assert!(watch(&mut debuggee).unwrap_err().contains("monitor phys off"));
        run(&mut debuggee, "phys off");
        assert_eq!(watch(&mut debuggee), Ok(()));
    }

    #[test]
    fn info_replay_is_qemus_line() {
        let mut debuggee = debuggee(1000);
        run(&mut debuggee, "seek 123");
        assert_eq!(
            run(&mut debuggee, "info replay"),
            "Replaying execution 'fake.rec': instruction count = 123\n"
        );
    }

    #[test]
    fn seeks_go_where_they_say() {
        let mut debuggee = debuggee(1000);
        for (command, position) in [
            ("seek 500", 500),
            ("seek +7", 507),
            ("seek -10", 497),
            ("seek 25%", 250),
            ("seek end", 1000),
            ("seek start", 0),
            ("replay_seek 0x10", 16),
            ("seek 801ns", 101),
            ("seek +801ns", 202),
            ("seek -9ns", 200),
            ("seek -9999", 0),
        ] {
            let answer = run(&mut debuggee, command);
            assert_eq!(debuggee.history.position(), Icount(position), "{command}");
            assert!(answer.starts_with(&format!("position {position} of 1000")), "{command}: {answer}");
        }
    }

    #[test]
    fn a_seek_says_that_gdb_must_look_again() {
        let mut debuggee = debuggee(1000);
        assert!(run(&mut debuggee, "seek 5").contains("maint flush register-cache"));
        assert!(!run(&mut debuggee, "seek 5").contains("maint"));
    }

    #[test]
    fn nonsense_is_answered_and_moves_nothing() {
        let mut debuggee = debuggee(1000);
        run(&mut debuggee, "seek 5");
        for bad in [
            "seek",
            "seek 1 2",
            "seek 1001",
            "seek +99999999999999999999",
            "seek 9s",
            "seek +9s",
            "seek -1.5",
            "replay_seek x",
            "replay_seek",
            "replay_break 1001",
            "info",
            "info registers",
            "where now",
            "console 5",
            "fly",
            "\u{fffd}",
        ] {
            assert!(run(&mut debuggee, bad).starts_with("error: "), "{bad}");
            assert_eq!(debuggee.history.position(), Icount(5));
        }
    }

    #[test]
    fn what_is_wrong_is_said_in_lines_that_fit() {
        let mut debuggee = debuggee(1000);
        for bad in ["seek 1e9", "seek next", "last-write 0x4000", "input fly", "console 5"] {
            let answer = run(&mut debuggee, bad);
            assert!(answer.lines().all(|line| line.chars().count() <= COLUMNS), "{bad}: {answer}");
        }
        assert!(run(&mut debuggee, "where now").contains("nothing comes behind it: monitor where\n"));
        let long = "x".repeat(90);
        assert_eq!(
            wrapped(&format!("error: {long} {long}  y\nz")),
            format!("error:\n{long}\n{long}\n y\nz\n")
        );
    }

    #[test]
    fn marks_are_places() {
        let mut debuggee = debuggee(1000);
        assert!(run(&mut debuggee, &format!("mark {}", "x".repeat(61))).contains("at most 60 characters"));
        run(&mut debuggee, "seek 123");
        assert_eq!(run(&mut debuggee, "mark here"), "position 123 is @here\n");
        run(&mut debuggee, "seek end");
        assert!(run(&mut debuggee, "seek @here").starts_with("position 123 of 1000"));
        assert!(run(&mut debuggee, "marks").contains("123  @here"));
        assert!(run(&mut debuggee, "seek @there").contains("monitor marks"));
    }

    #[test]
    fn interrupts_are_places() {
        let mut debuggee = debuggee(1000);
        run(&mut debuggee, "seek 500");
        for (command, position) in [
            ("seek next irq", 600),
            ("seek next irq 0x20", 800),
            ("seek prev irq 0x21", 600),
            ("seek prev irq", 400),
        ] {
            let answer = run(&mut debuggee, command);
            assert!(answer.starts_with(&format!("position {position} of")), "{command}: {answer}");
        }
        assert!(
            run(&mut debuggee, "irqs").contains("-- here --\n           400  0.000003200 s  vector 0x20")
        );
        assert!(run(&mut debuggee, "seek next irq 0x80").contains("no interrupt with vector 0x80"));
    }

    #[test]
    fn breakpoints_of_the_monitor_are_listed_and_removed() {
        let mut debuggee = debuggee(1000);
        assert_eq!(run(&mut debuggee, "break $pc + 4 if $rax > 300"), "monitor breakpoint 1 at 0x1004\n");
        assert!(run(&mut debuggee, "break main").contains("symbols are known to the debugger only"));
        let stop = debuggee.run(
            crate::gdb::resume::Resume::Continue(snapshots::Direction::Forward),
            crate::gdb::target::Doing::AwaitsStop,
        );
        assert_eq!(debuggee.history.position(), Icount(308));
        assert!(stop.message.unwrap().contains("breakpoint 1 at 0x1004 if $rax > 300, hit 1 times"));
        assert!(run(&mut debuggee, "breaks").contains("1  0x1004 if $rax > 300  (hit 1 times)"));
        assert_eq!(run(&mut debuggee, "delete 1"), "");
        assert!(run(&mut debuggee, "delete 1").starts_with("error"));
        assert!(run(&mut debuggee, "breaks").contains("none"));
    }

    fn go(debuggee: &mut Debuggee, direction: Direction) -> String {
        let resume = crate::gdb::resume::Resume::Continue(direction);
        debuggee.run(resume, crate::gdb::target::Doing::AwaitsStop).message.unwrap_or_default()
    }

    #[test]
    fn breakpoints_are_on_ports_too_and_can_be_passed() {
        let mut debuggee = debuggee(1000);
        run(&mut debuggee, "seek 10");
        assert_eq!(
            run(&mut debuggee, "break io 0x3f0-0x3ff w if $rax != 151"),
            "monitor breakpoint 1 at io 0x3f0-0x3ff w\n"
        );
        assert!(
            go(&mut debuggee, Direction::Forward).contains("Behind the step that writes 0x32 to port 0x3f8.")
        );
        assert_eq!(debuggee.history.position(), Icount(51));
        assert!(run(&mut debuggee, "ignore 1 2").contains("passed 2 times"));
        // 101 is passed, 151 does not count, 201 is passed.
        assert!(go(&mut debuggee, Direction::Forward).contains("hit 4 times"));
        assert_eq!(debuggee.history.position(), Icount(251));
        run(&mut debuggee, "ignore 1 1");
        assert!(run(&mut debuggee, "info breakpoints").contains("(hit 4 times, ignored 1 more times)"));
        assert!(go(&mut debuggee, Direction::Reverse).contains("Before the step that writes 0xc8"));
        assert_eq!(debuggee.history.position(), Icount(200));
        for bad in [
            "break io",
            "break io 0x10000",
            "break io 2-1",
            "break io 1 x",
            "break irq 256",
            "break exception x",
            "break irq",
            "ignore 7 1",
            "ignore 1",
        ] {
            assert!(run(&mut debuggee, bad).starts_with("error: "), "{bad}");
        }
        assert_eq!(run(&mut debuggee, "delete 1"), "");
        go(&mut debuggee, Direction::Forward);
        assert_eq!(debuggee.history.position(), Icount(1000));
    }

    #[test]
    fn code_at_a_physical_address_stops() {
        let mut debuggee = debuggee(1000);
        assert_eq!(run(&mut debuggee, "break phys $pc + 5"), "monitor breakpoint 1 at phys 0x1005\n");
        assert_eq!(run(&mut debuggee, "break cr3 1 + 2"), "monitor breakpoint 2 at cr3 0x3\n");
        assert!(run(&mut debuggee, "break phys").starts_with("error: "));
    }

    #[test]
    fn lines_and_exceptions_are_places() {
        let mut debuggee = debuggee(1000);
        run(&mut debuggee, "seek 3");
        for (command, position) in
            [("seek next serial hello", 18), ("seek prev serial lo", 0), ("seek next serial  again", 18)]
        {
            let answer = run(&mut debuggee, command);
            assert!(answer.starts_with(&format!("position {position} of")), "{command}: {answer}");
        }
        assert!(run(&mut debuggee, "seek next serial nothing").contains("no line"));
        assert!(run(&mut debuggee, "seek next exception 14").contains("no exception 14 comes after"));
        assert!(run(&mut debuggee, "seek next").starts_with("error: "));
        assert!(run(&mut debuggee, "seek next irq 300").contains("vectors go from 0 to 255"));
    }

    #[test]
    fn ports_are_looked_at() {
        let mut debuggee = debuggee(200);
        run(&mut debuggee, "seek 60");
        assert_eq!(run(&mut debuggee, "io 0x3f8"), "port 0x3f8: 0x3f9\n");
        assert!(run(&mut debuggee, "io 0x60 4").contains("changes the chip"));
        let shown = run(&mut debuggee, "io");
        assert!(
            shown.contains("50  writes 0x32 to port 0x3f8\n  -- here --\n           100  writes"),
            "{shown}"
        );
        assert_eq!(run(&mut debuggee, "info tlb"), "PG disabled\n");
    }

    #[test]
    fn history_is_asked_without_moving() {
        let mut debuggee = debuggee(1000);
        run(&mut debuggee, "seek 150");
        let answer = run(&mut debuggee, "last-write 0x2000 + 0 8");
        assert!(answer.contains("position 100 wrote to 0x2000: 01 before, 02 after"), "{answer}");
        assert!(run(&mut debuggee, "last-write 0x2000 0").contains("1 to 4096 bytes"));
        assert!(run(&mut debuggee, "first-exec 0x1005").contains("first at position 5\n"));
        assert!(run(&mut debuggee, "first-exec 0x9000").contains("never runs"));
        assert_eq!(run(&mut debuggee, "checkpoints"), "             0  0.000000000 s\n");
        assert!(run(&mut debuggee, "info pic").contains("pic.mask: 0xff"));
        assert!(run(&mut debuggee, "info").contains("pic"));
        assert_eq!(debuggee.history.position(), Icount(150));
    }

    #[test]
    fn the_screen_is_shown_and_written() {
        let mut debuggee = debuggee(10);
        assert_eq!(run(&mut debuggee, "screen"), "C:\\>\n");
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("screen.png");
        let answer = run(&mut debuggee, &format!("screen {}", file.display()));
        assert_eq!(answer, format!("{}: 1x1\n", file.display()));
        assert!(std::fs::read(&file).unwrap().starts_with(b"\x89PNG"));
        assert!(run(&mut debuggee, "screen /nowhere/screen.png").starts_with("error: "));
    }

    #[test]
    fn help_fits_a_terminal() {
        let mut debuggee = debuggee(10);
        assert!(run(&mut debuggee, "help").lines().all(|line| line.len() <= 80));
    }

    #[test]
    fn the_console_is_shown_without_its_control_characters() {
        let mut debuggee = debuggee(100);
        run(&mut debuggee, "seek 18");
        assert_eq!(run(&mut debuggee, "console"), "hello\n\\u{1b}[1mworld\n");
    }
}
