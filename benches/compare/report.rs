//! Tables.

use crate::program::Took;
use std::sync::Mutex;
use std::time::Duration;

/// Lines of the last table: what was aimed at, and what was measured.
static AIMS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Compares a number with what is aimed at, for the last table. `more` is better, or less.
pub fn aim(what: &str, unit: &str, limit: f64, more: bool, measured: f64) {
    let reached = if more { measured >= limit } else { measured <= limit };
    let (sign, verdict) = (if more { ">=" } else { "<=" }, if reached { "reached" } else { "MISSED" });
    let limit = format!("{sign} {limit} {unit}");
    let line = format!("  {what:<88} {limit:>24} {measured:>12.3} {verdict:>8}");
    AIMS.lock().expect("nobody panics with it").push(line);
}

/// The table of what was aimed at.
pub fn aims() {
    heading("What is aimed at, and what was measured");
    AIMS.lock().expect("nobody panics with it").iter().for_each(|line| println!("{line}"));
}

/// Milliseconds.
pub fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// A quantile of several measurements, in milliseconds.
pub fn quantile(times: &[Duration], percent: usize) -> f64 {
    let mut times = times.to_vec();
    times.sort_unstable();
    times.get(times.len().saturating_sub(1) * percent / 100).map_or(f64::NAN, |time| millis(*time))
}

/// Says what this is measured on.
pub fn machine() {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field =
        |name| info.lines().find(|l| l.starts_with(name)).and_then(|l| l.split_once(": ")).map(|(_, v)| v);
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    println!("{} with {threads} CPUs", field("model name").unwrap_or("unknown processor"));
}

/// A heading.
pub fn heading(text: &str) {
    println!("\n{text}");
}

/// One line with a name and what was measured.
pub fn line(name: &str, value: &str) {
    println!("  {name:<52} {value}");
}

/// Head of the lines printed by [`speed`].
pub fn speed_head() {
    line("", &format!("{:>8} {:>8} {:>9} {:>8} {:>9}", "seconds", "CPU s", "Msteps/s", "x QEMU", "x engine"));
}

/// Times of a run, with its speed by CPU time beside that of the two baselines, where there are.
pub fn speed(name: &str, took: Took, steps: u64, qemu: Option<Took>, bare: Option<Took>) {
    let (wall, cpu) = (took.wall.as_secs_f64(), took.cpu.as_secs_f64());
    let ratio = |base: Option<Took>| base.map_or("-".into(), |b| format!("{:.2}", b.cpu.as_secs_f64() / cpu));
    let millions = steps as f64 / 1e6 / cpu;
    line(name, &format!("{wall:>8.2} {cpu:>8.2} {millions:>9.0} {:>8} {:>9}", ratio(qemu), ratio(bare)));
}

/// Quantiles of several measurements.
pub fn quantiles(name: &str, times: &[Duration]) {
    let [p50, p99, longest] = [50, 99, 100].map(|percent| quantile(times, percent));
    let count = times.len();
    line(name, &format!("p50 {p50:>8.3} p99 {p99:>8.3} max {longest:>8.3} ms, of {count}"));
}

/// One measurement.
pub fn latency(name: &str, time: Duration, note: &str) {
    line(name, &format!("{:>8.3} ms  {note}", millis(time)));
}
