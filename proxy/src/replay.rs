//! `retrograde replay`.

use crate::cli::ReplayArgs;
use crate::console::follow;
use crate::open;
use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use snapshots::Recording;
use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::Arc;
use std::time::Instant;
use vm::{Icount, Output};

/// Runs the subcommand; the exit status.
pub fn run(args: &ReplayArgs) -> Result<u8> {
    let (name, recording) = open::recording(&args.file, &args.media)?;
    if args.console {
        show_console(&recording).with_context(|| format!("{name} does not replay"))?;
    }
    if args.verify || !args.console {
        verify(&name, &recording)?;
    }
    Ok(0)
}

fn show_console(recording: &Arc<Recording>) -> Result<()> {
    let end = recording.end();
    let mut out = std::io::stdout().lock();
    let mut broken = None;
    follow(
        recording,
        recording.start(),
        end,
        &mut |_, _, output| {
            let Output::Serial { byte, .. } = output else { return true };
            broken = out.write_all(&[byte]).err();
            broken.is_none()
        },
        &mut || false,
    )?;
    match broken.or_else(|| out.flush().err()) {
        Some(e) if e.kind() != ErrorKind::BrokenPipe => Err(e.into()),
        _ => Ok(()),
    }
}

fn verify(name: &str, recording: &Arc<Recording>) -> Result<()> {
    let began = Instant::now();
    let mut progress = Progress::new(recording.end());
    let result = snapshots::verify(recording, &mut |position, _| progress.at(position));
    progress.finish();
    let report = result.with_context(|| format!("{name} does not replay as it was recorded"))?;
    let end = if report.end_hash {
        " and the end"
    } else {
        "; the recorder was killed, so there is no hash of the end"
    };
    crate::note!(
        "retrograde: {name}: replayed {} steps in {:.1} s; equal at {} checkpoints{end}, {} interrupts, {} inputs",
        report.end,
        began.elapsed().as_secs_f64(),
        report.checkpoints,
        report.interrupts,
        report.inputs,
    );
    Ok(())
}

/// A bar on a terminal, a line for every tenth elsewhere.
enum Progress {
    Bar(ProgressBar),
    Lines { end: u64, tenths: u64 },
}

impl Progress {
    fn new(end: Icount) -> Progress {
        if !std::io::stderr().is_terminal() {
            return Progress::Lines { end: end.0.max(1), tenths: 0 };
        }
        let bar = ProgressBar::new(end.0);
        if let Ok(style) =
            ProgressStyle::with_template("{bar:40} {percent:>3}% {human_pos} steps, {eta} left")
        {
            bar.set_style(style);
        }
        Progress::Bar(bar)
    }

    fn at(&mut self, position: Icount) {
        match self {
            Progress::Bar(bar) => bar.set_position(position.0),
            Progress::Lines { end, tenths } => {
                let now = u64::try_from(u128::from(position.0) * 10 / u128::from(*end)).unwrap_or(10);
                if now > *tenths {
                    *tenths = now;
                    crate::note!("retrograde: {}% (position {position})", now.saturating_mul(10));
                }
            }
        }
    }

    fn finish(&self) {
        if let Progress::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
