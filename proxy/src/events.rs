//! `retrograde events`: what came in, and which interrupts were taken.

use crate::cli::{EventKind, EventsArgs};
use crate::open;
use crate::trim::position;
use anyhow::Result;
use serde_json::json;
use snapshots::Recording;
use std::io::{self, BufWriter, ErrorKind, Write};
use vm::{Icount, VmTime};

/// Something that happened.
struct Event {
    position: Icount,
    time: VmTime,
    kind: &'static str,
    what: String,
}

/// Runs the subcommand; the exit status.
pub fn run(args: &EventsArgs) -> Result<u8> {
    let (_, recording) = open::recording(&args.file, &args.media)?;
    let (from, to) = (position(&recording, args.from)?, position(&recording, args.to)?);
    let events = events(&recording, from, Icount(to.0.saturating_add(1)), &args.kind)?;
    match write(&events, args.json) {
        // Whoever reads has seen enough.
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(0),
        other => other.map(|()| 0).map_err(Into::into),
    }
}

/// The events of these kinds (none: all) at `from` or later and before `to`, in order.
fn events(
    recording: &Recording,
    from: Icount,
    to: Icount,
    kinds: &[EventKind],
) -> Result<Vec<Event>, snapshots::Error> {
    let wanted = |kind| kinds.is_empty() || kinds.contains(&kind);
    let mut events = Vec::new();
    if wanted(EventKind::Input) {
        let inputs = recording.inputs_between(from, to)?;
        events.extend(inputs.into_iter().map(|(position, time, input)| Event {
            position,
            time,
            kind: "input",
            what: format!("{input:?}"),
        }));
    }
    if wanted(EventKind::Interrupt) {
        let interrupts = recording.interrupts_between(from, to)?;
        events.extend(interrupts.into_iter().map(|i| Event {
            position: i.position,
            time: i.time,
            kind: "interrupt",
            what: format!("{:#04x}", i.vector.0),
        }));
    }
    if wanted(EventKind::Checkpoint) {
        let checkpoints = recording.checkpoints().filter(|c| (from..to).contains(&c.position));
        events.extend(checkpoints.map(|c| Event {
            position: c.position,
            time: c.time,
            kind: "checkpoint",
            what: format!("{:016x}", c.hash),
        }));
    }
    // Those at one position in the order of their time; a checkpoint comes first.
    events.sort_by_key(|event| (event.position, event.time, event.kind));
    Ok(events)
}

fn write(events: &[Event], json: bool) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    for Event { position, time, kind, what } in events {
        if json {
            let event = json!({ "position": position.0, "virtual_ns": time.0, "kind": kind, "what": what });
            writeln!(out, "{event}")?;
        } else {
            let seconds = time.0 as f64 / 1e9;
            writeln!(out, "{:>14} {seconds:>14.6}  {kind:10} {what}", position.0)?;
        }
    }
    out.flush()
}
