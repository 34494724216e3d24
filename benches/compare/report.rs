//! Tables.

use crate::program::Took;
use std::time::Duration;

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
pub fn quantiles(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let Some(&longest) = times.last() else { return line(name, "never") };
    let at = |percent: usize| ms(times[(times.len() - 1) * percent / 100]);
    let count = times.len();
    line(name, &format!("p50 {} p99 {} max {} ms, of {count}", at(50), at(99), ms(longest)));
}

/// One measurement.
pub fn latency(name: &str, time: Duration, note: &str) {
    line(name, &format!("{} ms  {note}", ms(time)));
}

fn ms(time: Duration) -> String {
    format!("{:>8.3}", time.as_secs_f64() * 1e3)
}
