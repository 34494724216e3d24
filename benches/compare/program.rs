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
    /// Time.
    pub time: Duration,
    /// Largest resident memory.
    pub peak_kib: u64,
}

/// Runs the program to its end.
pub fn run(arguments: &[OsString]) -> Result<Took> {
    let mut command = command()?;
    command.args(arguments).stdout(Stdio::null());
    let start = Instant::now();
    let output = command.output()?;
    let time = start.elapsed();
    let errors = String::from_utf8_lossy(&output.stderr);
    // 33 is what guests of ours give isa-debug-exit when they pass.
    ensure!(matches!(output.status.code(), Some(0 | 33)), "{command:?}: {}\n{errors}", output.status);
    let peak = errors.lines().find_map(|line| line.strip_prefix(PEAK));
    Ok(Took { time, peak_kib: peak.context("no peak memory reported")?.parse()? })
}

/// Largest resident memory of a process so far.
pub fn peak_kib(process: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
