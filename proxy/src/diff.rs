//! `retrograde diff`: where two recordings part.

use crate::cli::DiffArgs;
use crate::open;
use anyhow::Result;
use serde_json::json;
use snapshots::Difference;
use snapshots::diff::{Parting, hex, line_of_pages, lines_of_fields};
use std::fmt::Write as _;

/// Registers and fields that are shown unless it is for a program.
const MOST_SHOWN: usize = 40;

/// Runs the subcommand; the exit status: 0 if no step differs, 1 if one does.
pub fn run(args: &DiffArgs) -> Result<u8> {
    let (_, first) = open::recording(&args.first, &args.media)?;
    let (_, second) = open::recording(&args.second, &args.media)?;
    let difference = snapshots::diff(&first, &second, &mut |low, high| {
        tracing::info!("they part between {low} and {high}");
    })?;
    if args.json {
        crate::say!("{:#}", as_json(&difference));
    } else {
        crate::say!("{}", as_text(&difference));
    }
    Ok(u8::from(!matches!(difference, Difference::None(..))))
}

fn as_json(difference: &Difference) -> serde_json::Value {
    match difference {
        Difference::Machines(a, b) => json!({ "equal": false, "machines": [a, b] }),
        Difference::Starts(a, b) => json!({ "equal": false, "starts": [a.0, b.0] }),
        Difference::None(shorter, longer) => json!({ "equal": true, "ends": [shorter.0, longer.0] }),
        Difference::Parts(p) => json!({
            "equal": false,
            "position": p.position.0,
            "virtual_ns": p.time.0,
            "pc": p.cpu.linear_pc(),
            "code": hex(&p.code),
            "fields": p.fields.iter().map(|(name, a, b)| json!([name, a, b])).collect::<Vec<_>>(),
            "pages": p.pages,
            "inputs": p.inputs.iter().map(|i| i.as_ref().map(|(at, _, what)| json!([at.0, format!("{what:?}")]))).collect::<Vec<_>>(),
            "interrupts": p.interrupts.iter().map(|i| i.map(|i| json!([i.position.0, i.vector.0]))).collect::<Vec<_>>(),
        }),
    }
}

fn as_text(difference: &Difference) -> String {
    match difference {
        Difference::Machines(a, b) => format!("different machines\n  first   {a}\n  second  {b}"),
        Difference::Starts(a, b) => format!("they start differently, at positions {a} and {b}"),
        Difference::None(a, b) if a == b => format!("equal, to the end at position {a}"),
        Difference::None(a, b) => format!("equal up to position {a}, where one ends; the other ends at {b}"),
        Difference::Parts(parting) => parts(parting),
    }
}

fn parts(p: &Parting) -> String {
    let mut text = format!(
        "equal up to position {} ({}); the step from there differs\n  instruction at {:#x}: {}",
        p.position,
        p.time,
        p.cpu.linear_pc(),
        hex(&p.code),
    );
    for (which, (input, interrupt)) in ["first", "second"].iter().zip(p.inputs.iter().zip(&p.interrupts)) {
        let input = input.as_ref().map_or("none".to_owned(), |(at, _, what)| format!("{what:?} at {at}"));
        let interrupt =
            interrupt.map_or("none".to_owned(), |i| format!("{:#04x} at {}", i.vector.0, i.position));
        let _ = write!(text, "\n  {which:6}  last input {input}; last interrupt {interrupt}");
    }
    text + &lines_of_fields(&p.fields, MOST_SHOWN, |a, b| format!("{a} / {b}")) + &line_of_pages(&p.pages)
}
