//! `monitor` commands that look at the recording and the machine and move nothing.

use super::breaks::address;
use crate::gdb::scope::why_unwatched;
use crate::gdb::target::Debuggee;
use crate::units::parse_count;
use serde_json::Value;
use snapshots::Answer;
use std::fmt::Write;
use vm::Icount;

/// Interrupts that are shown before and after the present position.
const IRQS_SHOWN: usize = 8;
/// Lines of a chip's state that are shown.
const CHIP_LINES: usize = 200;
/// Longest variable.
const VARIABLE_MAX_BYTES: u64 = 4096;

const INTERRUPTED: &str = "interrupted\n";

/// Who wrote a variable last, seen from here: `ADDR` and perhaps how many bytes.
pub fn last_write(debuggee: &mut Debuggee, text: &str) -> Result<String, String> {
    let (place, len) = match text.rsplit_once(' ') {
        Some((place, len)) if parse_count(len).is_ok() && !ends_open(place) => (place, parse_count(len)?),
        _ => (text, 4),
    };
    if !(1..=VARIABLE_MAX_BYTES).contains(&len) {
        return Err(format!("a variable has 1 to {VARIABLE_MAX_BYTES} bytes"));
    }
    let addr = address(debuggee, place)?;
    let mut interrupted = debuggee.interrupter();
    let answer = debuggee.history.last_write(addr, len, &mut interrupted).map_err(|e| e.to_string())?;
    Ok(match answer {
        Answer::NotMapped => return Err(why_unwatched(debuggee.history.view(), addr, len)),
        Answer::Interrupted => INTERRUPTED.into(),
        Answer::Is(None) => format!("nothing has written to {addr} since the start\n"),
        Answer::Is(Some(met)) => format!(
            "the step at position {} wrote to {addr}: {} before, {} after\ngo there: monitor seek {}\n",
            met.position,
            bytes(&met.before),
            bytes(&met.after),
            met.position
        ),
    })
}

/// `0x1000 + 4` is one address; `0x1000 4` is one with a length.
fn ends_open(text: &str) -> bool {
    text.trim_end().ends_with(['+', '-', '*', '/', '%', '&', '|', '^', '<', '>', '=', '(', '['])
}

/// A few bytes as they lie in memory.
fn bytes(bytes: &[u8]) -> String {
    let mut text: Vec<_> = bytes.iter().take(8).map(|b| format!("{b:02x}")).collect();
    if bytes.len() > 8 {
        text.push("...".into());
    }
    text.join(" ")
}

/// When an instruction ran first.
pub fn first_exec(debuggee: &mut Debuggee, text: &str) -> Result<String, String> {
    let addr = address(debuggee, text)?;
    let mut interrupted = debuggee.interrupter();
    let answer = debuggee.history.first_exec(addr, &mut interrupted).map_err(|e| e.to_string())?;
    Ok(match answer {
        Answer::Interrupted => INTERRUPTED.into(),
        Answer::Is(Some(position)) => {
            format!("{addr} runs first at position {position}\ngo there: monitor seek {position}\n")
        }
        Answer::Is(None) | Answer::NotMapped => format!("{addr} never runs in this recording\n"),
    })
}

/// Interrupts taken around here.
pub fn irqs(debuggee: &mut Debuggee) -> Result<String, String> {
    let here = debuggee.recorded_position();
    let interrupts = debuggee.history.interrupts().map_err(|e| e.to_string())?;
    let next = interrupts.partition_point(|i| i.position < here);
    let mut text = format!("{} interrupts, {next} of them before position {here}\n", interrupts.len());
    let shown = next.saturating_sub(IRQS_SHOWN)..interrupts.len().min(next + IRQS_SHOWN);
    for (index, i) in interrupts[shown.clone()].iter().enumerate() {
        if shown.start + index == next {
            text.push_str("  -- here --\n");
        }
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{:>14}  {}  vector {:#04x}", i.position.0, i.time, i.vector.0);
    }
    Ok(text)
}

/// The next interrupt after here, or the last before it, of any vector or of this one.
pub fn interrupt(debuggee: &mut Debuggee, forward: bool, vector: Option<u8>) -> Result<Icount, String> {
    let here = debuggee.history.position();
    let interrupts = debuggee.history.interrupts().map_err(|e| e.to_string())?;
    let wanted = |i: &&vm::InterruptTaken| vector.is_none_or(|v| i.vector.0 == v);
    let found = if forward {
        interrupts.iter().filter(wanted).find(|i| i.position > here)
    } else {
        interrupts.iter().filter(wanted).rfind(|i| i.position < here)
    };
    let which = vector.map(|v| format!(" with vector {v:#x}")).unwrap_or_default();
    let side = if forward { "after" } else { "before" };
    found.map(|i| i.position).ok_or_else(|| format!("no interrupt{which} comes {side} position {here}"))
}

/// Checkpoints of the recording.
pub fn checkpoints(debuggee: &mut Debuggee) -> Result<String, String> {
    let lines = debuggee.history.checkpoints().map_err(|e| e.to_string())?;
    Ok(lines.into_iter().map(|(position, time)| format!("{:>14}  {time}\n", position.0)).collect())
}

/// The state of a chip, or of a part of it: `vga`, `vga.dac`.
pub fn chip(debuggee: &Debuggee, name: &str) -> Result<String, String> {
    let board = debuggee.history.view().board();
    let Value::Object(chips) = &board else { return Err("there are no chips to look at".into()) };
    let whole = name.split('.').next().unwrap_or(name);
    let Some(chip) = chips.get(whole) else {
        let names: Vec<_> = chips.keys().map(String::as_str).collect();
        return Err(format!("one can ask for: info replay, and the chips\n{}", wrapped(&names)));
    };
    let mut lines = Vec::new();
    flatten(whole, chip, &mut lines);
    lines.retain(|line| line.starts_with(name));
    if lines.is_empty() {
        return Err(format!("{whole} has no part of this name; all of it: monitor info {whole}"));
    }
    let left_out = lines.len().saturating_sub(CHIP_LINES);
    lines.truncate(CHIP_LINES);
    if left_out > 0 {
        lines.push(format!("({left_out} more lines; a part of them: monitor info {whole}.NAME)"));
    }
    Ok(lines.join("\n") + "\n")
}

/// One line for each value, with the way to it.
fn flatten(path: &str, value: &Value, lines: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(name, value)| flatten(&format!("{path}.{name}"), value, lines));
        }
        Value::Array(items) if items.iter().all(Value::is_number) => {
            let words: Vec<_> = items.iter().map(number).collect();
            let words: Vec<_> = words.iter().map(String::as_str).collect();
            for (index, line) in wrapped(&words).lines().enumerate() {
                lines.push(if index == 0 { format!("{path}: {line}") } else { format!("    {line}") });
            }
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(i, value)| flatten(&format!("{path}[{i}]"), value, lines));
        }
        value => lines.push(format!("{path}: {}", number(value))),
    }
}

fn number(value: &Value) -> String {
    value.as_u64().map_or_else(|| value.to_string(), |n| format!("{n:#x}"))
}

/// Words in lines of at most 60 characters.
fn wrapped(words: &[&str]) -> String {
    let mut lines = vec![String::new()];
    for word in words {
        let last = lines.last_mut().map_or(0, |line| line.len());
        if last + word.len() > 60 {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            line.push_str(word);
            line.push(' ');
        }
    }
    lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n")
}
