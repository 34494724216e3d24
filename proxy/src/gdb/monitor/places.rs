//! `monitor seek next` and `prev`: places by what happens there.

use super::breaks::vector;
use super::look;
use crate::gdb::target::Debuggee;
use crate::place::Place;
use snapshots::{Answer, Direction};
use vm::{Icount, Output, Trap};

/// Longest line that is looked at.
const LINE_MAX_BYTES: usize = 64 << 10;

/// Goes to what is named: `irq [VECTOR]`, `exception VECTOR`, or `serial TEXT`, which is the rest of `text`.
pub fn seek(
    debuggee: &mut Debuggee,
    direction: Direction,
    what: &[&str],
    text: &str,
) -> Result<String, String> {
    // What is looked for is in the recording.
    let diverted = debuggee.history.diverted_from().is_some();
    if diverted {
        debuggee.end_diversion()?;
    }
    go(debuggee, direction, what, text)
        .map_err(|reason| if diverted { format!("{reason}; the diversion is left") } else { reason })
}

fn go(debuggee: &mut Debuggee, direction: Direction, what: &[&str], text: &str) -> Result<String, String> {
    let position = match what {
        ["irq"] => look::interrupt(debuggee, direction == Direction::Forward, None)?,
        ["irq", number] => look::interrupt(debuggee, direction == Direction::Forward, Some(vector(number)?))?,
        ["exception", number] => {
            let number = vector(number)?;
            match find(debuggee, Trap::Exception(number), direction)? {
                Found::At(position) => position,
                Found::Interrupted => return Ok("interrupted\n".into()),
                Found::Nothing => return Err(none(debuggee, &format!("exception {number}"), direction)),
            }
        }
        ["serial", _, ..] => {
            let wanted = text.split_once("serial").map_or("", |(_, text)| text.trim());
            match line(debuggee, wanted, direction)? {
                Found::At(position) => position,
                Found::Interrupted => return Ok("interrupted\n".into()),
                Found::Nothing => return Err(none(debuggee, &format!("line with `{wanted}`"), direction)),
            }
        }
        _ => {
            return Err("write for example: monitor seek next irq 0x20, monitor seek prev exception 14, \
             monitor seek prev serial login:"
                .into());
        }
    };
    super::seek(debuggee, Place::Position(position.0))
}

enum Found {
    At(Icount),
    Nothing,
    Interrupted,
}

fn none(debuggee: &Debuggee, what: &str, direction: Direction) -> String {
    let side = if direction == Direction::Forward { "after" } else { "before" };
    format!("no {what} comes {side} position {}", debuggee.history.position())
}

fn find(debuggee: &mut Debuggee, trap: Trap, direction: Direction) -> Result<Found, String> {
    let mut interrupted = debuggee.interrupter();
    let answer = debuggee.history.find(trap, direction, &mut interrupted).map_err(|e| e.to_string())?;
    Ok(match answer {
        Answer::Is(Some(position)) => Found::At(position),
        Answer::Is(None) | Answer::NotMapped => Found::Nothing,
        Answer::Interrupted => Found::Interrupted,
    })
}

/// The step that sent the first byte of the next line on the serial ports that has a text, or of the last before here.
fn line(debuggee: &mut Debuggee, wanted: &str, direction: Direction) -> Result<Found, String> {
    let here = debuggee.history.position();
    let forward = direction == Direction::Forward;
    // A line that has begun before here may end behind it; it counts if it has the text by now.
    let end = if forward { debuggee.history.end() } else { here };
    let mut lines: Vec<(Icount, Vec<u8>)> = Vec::new();
    let (mut found, mut stopped) = (None, false);
    let mut interrupted = debuggee.interrupter();
    debuggee
        .history
        .output(
            end,
            &mut |position, output| {
                let Output::Serial { port, byte } = output else { return true };
                let port = usize::from(port);
                if lines.len() <= port {
                    lines.resize(port + 1, (Icount(0), Vec::new()));
                }
                let (start, line) = &mut lines[port];
                if line.is_empty() {
                    *start = position;
                }
                if byte == b'\n' || line.len() >= LINE_MAX_BYTES {
                    line.clear();
                    return true;
                }
                line.push(byte);
                if if forward { *start > here } else { *start < here } && line.ends_with(wanted.as_bytes()) {
                    found = Some(*start);
                    return !forward;
                }
                true
            },
            &mut || {
                stopped |= interrupted();
                stopped
            },
        )
        .map_err(|e| e.to_string())?;
    Ok(match found {
        _ if stopped => Found::Interrupted,
        Some(position) => Found::At(position),
        None => Found::Nothing,
    })
}
