//! Retrograde's own program in a process of its own: this executable, started again.
//!
//! Cargo gives a benchmark no path to the binary of another package, and this way both are surely built alike.

use anyhow::{Context, Result, ensure};
use clap::Parser;
use proxy::cli::Cli;
use std::ffi::OsString;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// First argument of such a process.
const MARK: &str = "retrograde";
/// In front of the peak memory that it reports.
const PEAK: &str = "peak KiB: ";

/// Whether this process is to be the program.
pub fn is_asked_for() -> bool {
    std::env::args().nth(1).is_some_and(|arg| arg == MARK)
}

/// Is the program; says at its end how much memory it took.
pub fn be() -> Result<()> {
    let status = proxy::run(&Cli::parse_from(std::env::args_os().skip(1)))?;
    eprintln!("{PEAK}{}", peak_kib("self")?);
    std::process::exit(status.into());
}

/// A command that runs the program.
pub fn command() -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(MARK).stdin(Stdio::null());
    Ok(command)
}

/// What a run took.
#[derive(Clone, Copy)]
pub struct Took {
    /// Time on the wall.
    pub wall: Duration,
    /// Time of processors: the one to compare, as other programs may run at the same time.
    pub cpu: Duration,
    /// Largest resident memory; 0 if it is not known.
    pub peak_kib: u64,
}

/// Keeps the better of two.
pub fn keep(best: &mut Option<Took>, took: Took) {
    if best.is_none_or(|b| took.cpu < b.cpu) {
        *best = Some(took);
    }
}

/// Does something, in this process or in others that it waits for.
pub fn measure<R>(act: impl FnOnce() -> Result<R>) -> Result<(R, Took)> {
    let (start, before) = (Instant::now(), cpu_time()?);
    let result = act()?;
    Ok((result, Took { wall: start.elapsed(), cpu: cpu_time()?.saturating_sub(before), peak_kib: 0 }))
}

/// Processor time of this process and of all processes that it has waited for ("proc_pid_stat(5)", fields 14 to 17).
fn cpu_time() -> Result<Duration> {
    /// USER_HZ, the same on all of Linux's x86.
    const TICK: Duration = Duration::from_millis(10);
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(") ").context("/proc/self/stat has no name")?;
    let ticks = fields.split(' ').skip(11).take(4).map(str::parse::<u32>).sum::<Result<u32, _>>()?;
    Ok(TICK * ticks)
}

/// Runs the program to its end.
pub fn run(arguments: &[OsString]) -> Result<Took> {
    let mut command = command()?;
    command.args(arguments).stdout(Stdio::null());
    let (output, took) = measure(|| Ok(command.output()?))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    // 33 is what guests of ours give isa-debug-exit when they pass.
    ensure!(matches!(output.status.code(), Some(0 | 33)), "{command:?}: {}\n{errors}", output.status);
    let peak = errors.lines().find_map(|line| line.strip_prefix(PEAK));
    Ok(Took { peak_kib: peak.context("no peak memory reported")?.parse()?, ..took })
}

/// Largest resident memory of a process so far.
pub fn peak_kib(process: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
