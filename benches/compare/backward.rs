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

/// Pages in which a state is to differ from the present one, to measure what it costs to go back to it.
const PAGES: std::ops::Range<usize> = 150..300;

/// As `retrograde serve` has it.
fn open(recording: &Path) -> Result<Timeline> {
    let mut timeline = Timeline::new(Arc::new(Recording::open(recording)?))?;
    timeline.set_jobs(std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
    Ok(timeline)
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

/// Steps and seeks in a recording.
pub fn through(name: &str, recording: &Path, samples: usize) -> Result<()> {
    report::heading(&format!("Backward through {name}, by the timeline"));
    let (_, opening) = timed(|| Recording::open(recording))?;
    report::latency("opening the recording", opening, "");
    report::aim(&format!("{name}: opening"), "ms", 50.0, false, report::millis(opening));
    let mut timeline = open(recording)?;
    let end = timeline.recording().end();
    let (_, first) = timed(|| timeline.seek(end, &mut || false))?;
    report::latency("opened, to the end", first, "");
    let first = step_back(&mut timeline, "from the end, then")?;
    report::aim(
        &format!("{name}: first reverse-stepi at its end"),
        "ms",
        100.0,
        false,
        report::millis(first),
    );

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
    report::quantiles("first reverse-stepi after running forward", &firsts);
    report::quantiles("reverse-stepi after it", &following);
    for (what, times, percent, limit) in [
        ("first reverse-stepi anywhere, the longest", &firsts, 100, 100.0),
        ("reverse-stepi after it, p50", &following, 50, 1.0),
        ("reverse-stepi after it, p99", &following, 99, 20.0),
    ] {
        report::aim(&format!("{name}: {what}"), "ms", limit, false, report::quantile(times, percent));
    }

    let mut seeks = Vec::new();
    for place in places(end, samples) {
        seeks.push(timed(|| timeline.seek(place, &mut || false))?.1);
    }
    report::quantiles("seek to a random place", &seeks);
    report::aim(
        &format!("{name}: seek to a random place, p99"),
        "ms",
        150.0,
        false,
        report::quantile(&seeks, 99),
    );
    restore(name, &mut timeline, Icount(end.0 / 4 * 3))
}

/// How long it takes to go back to a checkpoint in memory from where some 200 pages are different.
fn restore(name: &str, timeline: &mut Timeline, place: Icount) -> Result<()> {
    timeline.seek(place, &mut || false)?;
    // Now there is a checkpoint a thousand steps before this.
    timeline.step(Direction::Reverse, &mut || false)?;
    let home = timeline.position();
    let before = timeline.machine().storage().to_vec();
    let (mut distance, mut pages) = (1 << 12, 0);
    while !PAGES.contains(&pages) && home.0 + distance < timeline.recording().end().0 {
        distance += distance / 4;
        timeline.seek(Icount(home.0 + distance), &mut || false)?;
        let now = timeline.machine().storage();
        pages = before.chunks(4096).zip(now.chunks(4096)).filter(|(a, b)| a != b).count();
    }
    let mut times = Vec::new();
    for _ in 0..PLACES {
        timeline.seek(Icount(home.0 + distance), &mut || false)?;
        times.push(timed(|| timeline.seek(home, &mut || false))?.1);
    }
    report::quantiles("back to a checkpoint", &times);
    report::line("", &format!("{pages} pages and {distance} steps away, with up to 1024 steps run"));
    if PAGES.contains(&pages) {
        let what = format!("{name}: back to a state {pages} pages away, p50");
        report::aim(&what, "ms", 0.5, false, report::quantile(&times, 50));
    }
    Ok(())
}

fn step_back(timeline: &mut Timeline, what: &str) -> Result<Duration> {
    let (_, first) = timed(|| timeline.step(Direction::Reverse, &mut || false))?;
    let (_, second) = timed(|| timeline.step(Direction::Reverse, &mut || false))?;
    report::latency("reverse-stepi", first, &format!("{what} {:.3} ms", report::millis(second)));
    Ok(first)
}

/// Breakpoints and watchpoints in a recording of the loop. Each is measured once with nothing prepared, from three places: the end,
/// from which hits are near, and the middle of two quarters, from which they are far.
pub fn stops(name: &str, recording: &Path) -> Result<()> {
    report::heading(&format!("Reverse-continue through {name}, by the timeline"));
    let end = Recording::open(recording)?.end();
    for (what, symbol, watch) in [
        ("to a breakpoint, cold page, 4 hits in all", "rare_function", false),
        ("to a breakpoint, cold page, never hit", "never_called", false),
        ("to a breakpoint, hot page, 4 hits in all", "hot_loop", false),
        ("to a breakpoint, hot page, every 26 steps", "accumulate", false),
        ("to a write, 4 in all, on a hot page", "rare_variable", true),
        ("to a write, every 26 steps", "hot_variable", true),
    ] {
        let address = address_of(symbol)?;
        for (from, place) in
            [("the end", end), ("7/8", Icount(end.0 / 8 * 7)), ("3/8", Icount(end.0 / 8 * 3))]
        {
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
            ensure!(expected, "{what}: {stop:?}");
            let far = (place.0 - timeline.position().0) / 1_000_000;
            report::latency(what, time, &format!("from {from}, {far} million steps"));
            let limit = if stop == Stop::Begin { 50.0 } else { 1000.0 };
            let what = format!("{name}: back {what}, from {from}");
            report::aim(&what, "ms", limit, false, report::millis(time));
        }
    }
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
