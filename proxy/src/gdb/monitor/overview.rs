//! `monitor` commands that show where in history things happen.

use crate::gdb::target::Debuggee;
use snapshots::Error;
use std::fmt::Write;
use vm::{Icount, VmTime};

/// Events that are shown before and after the present position.
const EVENTS_SHOWN: usize = 8;
/// Longest description of an event.
const EVENT_CHARS: usize = 40;
/// Columns of the timeline.
const COLUMNS: usize = 64;
/// From few to many.
const DENSITY: [char; 5] = [' ', '.', ':', '+', '#'];
/// Marks that have a letter of their own.
const MARK_LETTERS: &str = "abcdefghijklmnopqrstuvwxyz";

/// Inputs and interrupts around here.
pub fn events(debuggee: &mut Debuggee) -> Result<String, Error> {
    let here = debuggee.recorded_position();
    let (interrupts, inputs) = (debuggee.history.interrupts()?, debuggee.history.inputs()?);
    let around = |next: usize, count: usize| {
        next.saturating_sub(EVENTS_SHOWN)..count.min(next.saturating_add(EVENTS_SHOWN))
    };
    let next_interrupt = interrupts.partition_point(|i| i.position < here);
    let next_input = inputs.partition_point(|(position, ..)| *position < here);
    let mut events: Vec<(Icount, VmTime, String)> = Vec::new();
    for i in &interrupts[around(next_interrupt, interrupts.len())] {
        events.push((i.position, i.time, format!("interrupt, vector {:#04x}", i.vector.0)));
    }
    for (position, time, input) in &inputs[around(next_input, inputs.len())] {
        let what: String = format!("input: {input:?}").chars().take(EVENT_CHARS).collect();
        events.push((*position, *time, what));
    }
    events.sort_by_key(|(position, time, _)| (*position, *time));
    let next = events.partition_point(|(position, ..)| *position < here);
    let mut text = format!("{} interrupts and {} inputs in this recording\n", interrupts.len(), inputs.len());
    let shown = around(next, events.len());
    for (index, (position, time, what)) in events[shown.clone()].iter().enumerate() {
        if shown.start + index == next {
            text.push_str("  -- here --\n");
        }
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{:>14}  {time}  {what}", position.0);
    }
    Ok(text)
}

/// All of history in one picture, from left to right by position.
pub fn timeline(debuggee: &mut Debuggee) -> Result<String, Error> {
    let position = debuggee.recorded_position();
    let history = &mut debuggee.history;
    let end = history.end().0;
    // No position is behind the end.
    let column = |position: Icount| {
        let column = u128::from(position.0) * COLUMNS as u128 / (u128::from(end) + 1);
        usize::try_from(column).unwrap_or(COLUMNS).min(COLUMNS - 1)
    };
    let counts = |positions: &mut dyn Iterator<Item = Icount>| {
        let mut counts = [0_usize; COLUMNS];
        positions.for_each(|position| counts[column(position)] += 1);
        density(&counts)
    };
    let mut letters: Vec<char> = vec![' '; COLUMNS];
    let mut legend = String::new();
    for (letter, (name, &position)) in MARK_LETTERS.chars().zip(&debuggee.marks) {
        letters[column(position)] = letter;
        // Writing to a String cannot fail.
        let _ = writeln!(legend, "  {letter}  @{name}, position {position}");
    }
    let mut here: Vec<char> = vec![' '; COLUMNS];
    here[column(position)] = '^';
    let rows = [
        ("checkpoints", counts(&mut history.checkpoints()?.into_iter().map(|(position, _)| position))),
        ("interrupts", counts(&mut history.interrupts()?.iter().map(|i| i.position))),
        ("inputs", counts(&mut history.inputs()?.iter().map(|(position, ..)| *position))),
        ("marks", letters.into_iter().collect()),
        ("here", here.into_iter().collect()),
    ];
    let mut text = format!("{:12} 0{end:>width$}\n", "", width = COLUMNS);
    for (name, row) in rows {
        let _ = writeln!(text, "{name:12}|{row}|");
    }
    Ok(text + &legend)
}

/// A character for each column: more ink for more events.
fn density(counts: &[usize; COLUMNS]) -> String {
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let steps = DENSITY.len() - 1;
    // Any event at all is seen.
    counts.iter().map(|count| DENSITY[(count * steps).div_ceil(most).min(steps)]).collect()
}

#[cfg(test)]
mod tests {
    use crate::gdb::fake::debuggee;
    use crate::gdb::monitor::run;

    #[test]
    fn events_around_here_are_in_order() {
        let mut debuggee = debuggee(1000);
        run(&mut debuggee, "seek 300");
        let shown = run(&mut debuggee, "events");
        let lines: Vec<_> = shown.lines().map(|line| line.trim_start().to_owned()).collect();
        assert_eq!(lines[0], "4 interrupts and 1 inputs in this recording");
        assert!(lines[1].starts_with("200  ") && lines[1].ends_with("interrupt, vector 0x21"), "{shown}");
        assert_eq!(lines[2], "-- here --");
        assert!(lines[3].starts_with("300  ") && lines[3].ends_with("input: Reset"), "{shown}");
        assert!(lines[4].starts_with("400  "), "{shown}");
    }

    #[test]
    fn the_timeline_has_everything_where_it_belongs() {
        let mut debuggee = debuggee(1000);
        run(&mut debuggee, "seek 500");
        run(&mut debuggee, "mark middle");
        run(&mut debuggee, "seek end");
        let shown = run(&mut debuggee, "timeline");
        let row = |name: &str| {
            let line = shown.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_once('|').unwrap().1.trim_end_matches('|').to_owned()
        };
        assert_eq!(row("here").find('^'), Some(63));
        assert_eq!(row("marks").find('a'), Some(31));
        assert_eq!(row("interrupts").matches('#').count(), 4);
        assert_eq!(row("checkpoints").find('#'), Some(0));
        assert_eq!(row("inputs").find('#'), Some(19));
        assert!(shown.ends_with("  a  @middle, position 500\n"), "{shown}");
        assert!(shown.lines().all(|line| line.len() <= 80));
    }
}
