//! The same through the server and a real GDB, by GDB's own clock.

use crate::{program, report};
use anyhow::{Context, Result, ensure};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// What GDB runs: one number a line, in seconds.
const SCRIPT: &str = "
import time
def timed(command):
    start = time.monotonic()
    gdb.execute(command, to_string=True)
    print('took', time.monotonic() - start)
gdb.execute('set pagination off')
gdb.execute('target remote :PORT', to_string=True)
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

/// Steps back with GDB from the end and from the middle of a recording.
pub fn step_back(recording: &Path, samples: usize) -> Result<()> {
    report::heading("Backward through Linux, by GDB");
    let mut serve = program::command()?;
    serve.args(["serve", "--gdb", "127.0.0.1:0"]).arg(recording);
    let mut server = Server(serve.stdout(Stdio::piped()).spawn()?);
    let output = BufReader::new(server.0.stdout.take().context("the pipe asked for")?);
    let mut lines = output.lines();
    let port =
        lines.find_map(|line| line.ok()?.rsplit_once("target remote :").map(|(_, port)| port.to_owned()));
    let port = port.context("the server says no port")?;
    let port = port.trim_end_matches('\'');

    let middle = snapshots::Recording::open(recording)?.end().0 / 2;
    let script = SCRIPT.replace("PORT", port).replace("SAMPLES", &samples.to_string());
    let file = tempfile::Builder::new().suffix(".py").tempfile()?;
    std::fs::write(&file, script.replace("MIDDLE", &middle.to_string()))?;
    let gdb = Command::new("gdb").args(["-nx", "-batch", "-x"]).arg(file.path()).output();
    let gdb = gdb.context("gdb; apt-get install gdb")?;
    let text = String::from_utf8_lossy(&gdb.stdout);
    let seconds = text.lines().filter_map(|line| line.strip_prefix("took ")?.parse().ok());
    let times: Vec<Duration> = seconds.map(Duration::from_secs_f64).collect();
    let errors = String::from_utf8_lossy(&gdb.stderr);
    ensure!(times.len() == samples + 3, "gdb failed: {text}{errors}");
    let (first, rest) = (times[0], &times[1..]);
    report::latency("first reverse-stepi at the end", first, "");
    report::quantiles("reverse-stepi after it", rest[..samples].to_vec());
    report::latency("monitor replay_seek to the middle", rest[samples], "");
    report::latency("reverse-stepi there", rest[samples + 1], "");
    let peak = program::peak_kib(&server.0.id().to_string())? / 1024;
    report::line("peak memory of serve", &format!("{peak} MiB"));
    Ok(())
}
