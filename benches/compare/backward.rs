//! How long it takes to go somewhere else in a recording, through the timeline.

use crate::report;
use anyhow::{Context, Result, ensure};
use retrograde_tests::build_guest;
use snapshots::{Direction, Recording, Stop, Timeline};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use vm::{Icount, LinAddr};

/// Steps run forward before a first step back, so that nothing has been prepared for it.
const RUN_UP: u64 = 30_000_000;
/// Places at which the first step back is measured.
const PLACES: usize = 10;

fn open(recording: &Path) -> Result<Timeline> {
    Ok(Timeline::new(Arc::new(Recording::open(recording)?))?)
}

fn timed<R>(act: impl FnOnce() -> Result<R, snapshots::Error>) -> Result<(R, Duration)> {
    let start = Instant::now();
    let result = act()?;
    Ok((result, start.elapsed()))
}

/// Positions all over the recording, in no order, the same in every run (the golden ratio's multiples, modulo 1).
fn places(end: Icount, count: usize) -> impl Iterator<Item = Icount> {
    (1..=count as u64).map(move |i| {
        let fraction = i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        Icount(((u128::from(end.0) * u128::from(fraction)) >> 32) as u64)
    })
}

/// Steps, seeks in the Linux recording.
pub fn through_linux(recording: &Path, samples: usize) -> Result<()> {
    report::heading("Backward through Linux, by the timeline");
    let mut timeline = open(recording)?;
    let end = timeline.recording().end();
    let (_, first) = timed(|| timeline.seek(end, &mut || false))?;
    report::latency("opened, to the end", first, "");
    step_back(&mut timeline, "from the end, then")?;

    let mut firsts = Vec::new();
    let mut following = Vec::new();
    for place in places(end, PLACES) {
        let mut timeline = open(recording)?;
        timeline.seek(Icount(place.0.saturating_sub(RUN_UP)), &mut || false)?;
        timeline.set_position_break(Some(place));
        timeline.resume(Direction::Forward, &mut || false)?;
        firsts.push(timed(|| timeline.step(Direction::Reverse, &mut || false))?.1);
        for _ in 0..samples {
            following.push(timed(|| timeline.step(Direction::Reverse, &mut || false))?.1);
        }
    }
    report::quantiles("first reverse-stepi after running forward", firsts);
    report::quantiles("reverse-stepi after it", following);

    let mut seeks = Vec::new();
    for place in places(end, samples) {
        seeks.push(timed(|| timeline.seek(place, &mut || false))?.1);
    }
    report::quantiles("seek to a random place", seeks);
    Ok(())
}

fn step_back(timeline: &mut Timeline, what: &str) -> Result<()> {
    let (_, first) = timed(|| timeline.step(Direction::Reverse, &mut || false))?;
    let (_, second) = timed(|| timeline.step(Direction::Reverse, &mut || false))?;
    report::latency("reverse-stepi", first, &format!("{what} {:.3} ms", second.as_secs_f64() * 1e3));
    Ok(())
}

/// Breakpoints and watchpoints in the loop's recording.
pub fn through_loop(recording: &Path, samples: usize) -> Result<()> {
    report::heading("Backward through the loop, by the timeline");
    let end = Recording::open(recording)?.end();
    for (name, symbol, watch) in [
        ("reverse-continue to a breakpoint, 4 hits in all", "rare_function", false),
        ("reverse-continue to a breakpoint, never hit", "never_called", false),
        ("reverse-continue to a breakpoint on the hot page", "hot_loop", false),
        ("reverse-continue to a write, 4 in all", "rare_variable", true),
        ("reverse-continue to a write, every 26 steps", "hot_variable", true),
    ] {
        let address = address_of(symbol)?;
        let mut times = Vec::new();
        // The end and the middle of a quarter: hits lie near and far.
        for place in [end, Icount(end.0 / 8 * 7), Icount(end.0 / 8 * 3)] {
            let mut timeline = open(recording)?;
            timeline.seek(place, &mut || false)?;
            if watch {
                timeline.add_watchpoint(address, 4).context("the variable is mapped")?;
            } else {
                timeline.add_breakpoint(address);
            }
            let (stop, time) = timed(|| timeline.resume(Direction::Reverse, &mut || false))?;
            let expected = match stop {
                Stop::Begin => symbol == "never_called",
                Stop::Watch(_) => watch,
                Stop::Breakpoint(at) => at == address,
                _ => false,
            };
            ensure!(expected, "{name}: {stop:?}");
            times.push(time);
        }
        report::quantiles(name, times);
    }
    let mut timeline = open(recording)?;
    let mut seeks = Vec::new();
    for place in places(end, samples) {
        seeks.push(timed(|| timeline.seek(place, &mut || false))?.1);
    }
    report::quantiles("seek to a random place", seeks);
    Ok(())
}

/// Where the loop guest has a function or variable.
fn address_of(symbol: &str) -> Result<LinAddr> {
    let output = Command::new("nm").arg(build_guest("loop")).output().context("nm, of binutils")?;
    let text = String::from_utf8(output.stdout)?;
    let line = text.lines().find(|line| line.ends_with(&format!(" {symbol}")));
    let address = line.and_then(|l| l.split_whitespace().next()).with_context(|| format!("no {symbol}"))?;
    Ok(LinAddr(u64::from_str_radix(address, 16)?))
}
