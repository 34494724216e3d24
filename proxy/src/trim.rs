//! `retrograde trim`: a part of a recording as a recording of its own.

use crate::cli::TrimArgs;
use crate::open;
use crate::place::Place;
use crate::units::human_bytes;
use crate::usage::Usage;
use anyhow::{Context, Result};
use snapshots::Recording;
use std::fs;
use vm::Icount;

/// Runs the subcommand; the exit status.
pub fn run(args: &TrimArgs) -> Result<u8> {
    let (name, recording) = open::recording(&args.file, &args.media)?;
    if open::is_same_file(&args.file, &args.output) {
        return Err(Usage(format!("{name} is not trimmed in place: give -o another name")).into());
    }
    let (from, to) = (position(&recording, args.from)?, position(&recording, args.to)?);
    if from > to {
        return Err(Usage(format!("--from {from} comes after --to {to}")).into());
    }
    snapshots::trim(&recording, from..to, &args.output, args.force, &mut |_, _| ())
        .context("cannot write the part")?;
    let output = args.output.display();
    let bytes = fs::metadata(&args.output).map_or(0, |file| file.len());
    crate::note!("retrograde: {output}: positions {from} to {to} of {name}, {}", human_bytes(bytes));
    Ok(0)
}

/// A place as a position of `recording`.
pub(crate) fn position(recording: &Recording, place: Place) -> Result<Icount> {
    let bounds = open::bounds(recording);
    let position = place.position(bounds.start, bounds, &mut |at| recording.time_at(at))?;
    Ok(position.unwrap_or(bounds.end))
}
