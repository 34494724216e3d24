//! The same through the server and a real GDB, by GDB's own clock.

use crate::{program, report};
use anyhow::{Context, Result, ensure};
use retrograde_tests::build_guest;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// What GDB runs first. What is timed prints one number a line, in seconds.
const CONNECT: &str = "
import time
def timed(command):
    start = time.monotonic()
    gdb.execute(command, to_string=True)
    print('took', time.monotonic() - start)
gdb.execute('set pagination off')
gdb.execute('target remote :PORT', to_string=True)
";

const STEP_SCRIPT: &str = "
timed('reverse-stepi')
for _ in range(SAMPLES):
    timed('reverse-stepi')
timed('monitor replay_seek MIDDLE')
timed('reverse-stepi')
";

/// A server that ends with the benchmark.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if it has ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What GDB runs on the loop: to the line after the last long call, and back over it.
const NEXT_SCRIPT: &str = "
gdb.execute('break rare_function')
gdb.execute('reverse-continue', to_string=True)
gdb.execute('reverse-finish', to_string=True)
timed('reverse-next')
";

/// Goes back over a call that lasts a quarter of a recording of the loop.
pub fn reverse_next(name: &str, recording: &Path) -> Result<()> {
    let times = run(recording, NEXT_SCRIPT, &["-ex", "set confirm off"], Some(&build_guest("loop")))?.0;
    ensure!(times.len() == 1, "gdb timed {} commands", times.len());
    report::heading(&format!("Backward through {name}, by GDB"));
    report::latency("reverse-next over a call of a quarter of it", times[0], "");
    report::aim(
        &format!("{name}: reverse-next over a call of a quarter of it"),
        "ms",
        1000.0,
        false,
        report::millis(times[0]),
    );
    Ok(())
}

/// Steps back with GDB from the end and from the middle of a recording.
pub fn step_back(recording: &Path, samples: usize) -> Result<()> {
    report::heading("Backward through Linux, by GDB");
    let middle = snapshots::Recording::open(recording)?.end().0 / 2;
    let script = STEP_SCRIPT.replace("SAMPLES", &samples.to_string()).replace("MIDDLE", &middle.to_string());
    let (times, peak) = run(recording, &script, &[], None)?;
    ensure!(times.len() == samples + 3, "gdb timed {} commands", times.len());
    let (first, rest) = (times[0], &times[1..]);
    report::latency("first reverse-stepi at the end", first, "");
    report::quantiles("reverse-stepi after it", &rest[..samples]);
    report::aim("Linux, by GDB: first reverse-stepi at its end", "ms", 100.0, false, report::millis(first));
    report::latency("monitor replay_seek to the middle", rest[samples], "");
    report::latency("reverse-stepi there", rest[samples + 1], "");
    report::line("peak memory of serve", &format!("{} MiB", peak / 1024));
    let limit = (128 + 1024 + 200) as f64;
    report::aim("Linux: peak memory of serve", "MiB", limit, false, (peak / 1024) as f64);
    Ok(())
}

/// Runs a script in GDB, connected to a server of this recording; how long what it timed took, and the server's peak memory in KiB.
fn run(
    recording: &Path,
    script: &str,
    options: &[&str],
    symbols: Option<&Path>,
) -> Result<(Vec<Duration>, u64)> {
    let mut serve = program::command()?;
    serve.args(["serve", "--gdb", "127.0.0.1:0"]).arg(recording);
    let mut server = Server(serve.stdout(Stdio::piped()).spawn()?);
    let output = BufReader::new(server.0.stdout.take().context("the pipe asked for")?);
    let mut lines = output.lines();
    let port =
        lines.find_map(|line| line.ok()?.rsplit_once("target remote :").map(|(_, port)| port.to_owned()));
    let port = port.context("the server says no port")?;
    let port = port.trim_end_matches('\'');

    let file = tempfile::Builder::new().suffix(".py").tempfile()?;
    std::fs::write(&file, [CONNECT.replace("PORT", port).as_str(), script].concat())?;
    let mut gdb = Command::new("gdb");
    gdb.args(["-nx", "-batch"]).args(options).args(symbols).arg("-x").arg(file.path());
    let gdb = gdb.output().context("gdb; apt-get install gdb")?;
    let text = String::from_utf8_lossy(&gdb.stdout);
    let seconds = text.lines().filter_map(|line| line.strip_prefix("took ")?.parse().ok());
    let times: Vec<Duration> = seconds.map(Duration::from_secs_f64).collect();
    let errors = String::from_utf8_lossy(&gdb.stderr);
    ensure!(!times.is_empty(), "gdb failed: {text}{errors}");
    Ok((times, program::peak_kib(&server.0.id().to_string())?))
}
