//! How fast a guest runs, forward.

use crate::guest::{Guest, TIME_LIMIT};
use crate::program::{self, Took, keep, measure};
use crate::{bare, report};
use anyhow::{Result, bail, ensure};
use retrograde_tests::chunks;
use retrograde_tests::qemu::Qemu;
use snapshots::Recording;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;
use vm::{CpuModel, Exit, Icount, Input, Machine, MachineConfig, Output, RunLimit, VmTime};

/// The same machine as ours: no local APIC, no HPET. `sleep=off`: it skips idle time, as we do.
pub const QEMU_OPTIONS: &[&str] =
    &["-machine", "pc,hpet=off", "-cpu", "qemu64,-apic", "-icount", "shift=3,sleep=off"];
/// As for `Qemu`.
const RAM_BYTES: u64 = 128 << 20;
/// `retrograde record` looks at its inputs as often.
const SLICE_STEPS: u64 = 1_000_000;

/// The best times of a guest.
#[derive(Default)]
struct Best {
    qemu: Option<Took>,
    qemu_start: Option<Took>,
    bare: Option<Took>,
    machine: Option<Took>,
    sparse: Option<Took>,
    record: Option<Took>,
    replay: Option<Took>,
    verify: Option<Took>,
}

/// Runs `guest` in all ways and prints how they compare; a recording of it.
pub fn compare(guest: &Guest, rounds: u32, directory: &Path) -> Result<PathBuf> {
    let recording = directory.join(format!("{}.rgr", guest.name.replace([' ', ','], "-")));
    let scratch = directory.join("scratch.rgr");
    let nothing = Guest::no_loop();
    let mut best = Best::default();
    for _ in 0..rounds.max(1) {
        keep(&mut best.qemu_start, in_qemu(&nothing)?);
        keep(&mut best.qemu, in_qemu(guest)?);
        if guest.initrd.is_none() {
            keep(&mut best.bare, measure(|| bare::run(&guest.kernel, &guest.cmdline))?.1);
        }
        keep(&mut best.machine, measure(|| unrecorded(guest))?.1);
        keep(&mut best.sparse, record(guest, &scratch, &["--checkpoint-every", "1000000000000"])?);
        keep(&mut best.record, record(guest, &recording, &[])?);
        keep(&mut best.replay, replay(&recording, "--console")?);
        keep(&mut best.verify, replay(&recording, "--verify")?);
    }
    print(guest, &best, &recording)?;
    print_recording(&guest.name, &best, &recording)?;
    Ok(recording)
}

fn in_qemu(guest: &Guest) -> Result<Took> {
    let run = || {
        let initrd = guest.initrd.as_deref();
        let mut qemu = Qemu::start_with(QEMU_OPTIONS, &guest.kernel, initrd, &guest.cmdline);
        if let Some((prompt, typed)) = guest.typed {
            qemu.wait_for(prompt, TIME_LIMIT);
            qemu.send(typed);
        }
        Ok(qemu.wait_for_end(TIME_LIMIT).1)
    };
    let (console, took) = measure(run)?;
    ensure!(guest.typed.is_some() || console.contains("PASS"), "{console}");
    Ok(took)
}

/// Our machine by itself, without a recorder.
fn unrecorded(guest: &Guest) -> Result<()> {
    let config = MachineConfig {
        ram_bytes: RAM_BYTES,
        cpu: CpuModel::Qemu64,
        rtc_start: 1_700_000_000,
        bios: Vec::new(),
        debug_exit_port: Some(0xf4),
        no_reboot: true,
        ..MachineConfig::default()
    };
    let start = Instant::now();
    let mut machine = Machine::new(&config)?;
    let initrd = guest.initrd.as_ref().map(fs::read).transpose()?;
    machine.load_kernel(&fs::read(&guest.kernel)?, initrd.as_deref(), &guest.cmdline)?;
    let (mut console, mut typed) = (Vec::new(), guest.typed);
    loop {
        let limit = RunLimit { position: Icount(machine.position().0 + SLICE_STEPS), time: VmTime(u64::MAX) };
        let exit = machine.run(limit)?;
        for (_, output) in machine.take_output() {
            if let Output::Serial { byte, .. } = output {
                console.push(byte);
            }
        }
        // The shell asks for the cursor's place right behind its prompt.
        if let Some((_, text)) =
            typed.take_if(|(prompt, _)| console.windows(prompt.len()).any(|w| w == prompt.as_bytes()))
        {
            machine.inject(&Input::Serial { port: 0, bytes: text.into() });
            continue;
        }
        match exit {
            Exit::Position if start.elapsed() < TIME_LIMIT => {}
            Exit::PowerOff | Exit::DebugExit(_) => return Ok(()),
            other => bail!("{other:?}: {}", String::from_utf8_lossy(&console)),
        }
    }
}

fn record(guest: &Guest, to: &Path, options: &[&str]) -> Result<Took> {
    let mut arguments: Vec<OsString> =
        ["record", "--no-reboot", "--device", "isa-debug-exit,iobase=0xf4", "--kernel"]
            .map(Into::into)
            .into();
    arguments.push(guest.kernel.clone().into());
    for (option, path) in [("--initrd", &guest.initrd), ("--script", &guest.script)] {
        if let Some(path) = path {
            arguments.extend([option.into(), path.into()]);
        }
    }
    arguments.extend([
        "--append".into(),
        guest.cmdline.clone().into(),
        "--force".into(),
        "-o".into(),
        to.into(),
    ]);
    arguments.extend(options.iter().map(Into::into));
    program::run(&arguments)
}

fn replay(recording: &Path, option: &str) -> Result<Took> {
    program::run(&["replay".into(), option.into(), recording.into()])
}

fn print(guest: &Guest, best: &Best, recording: &Path) -> Result<()> {
    let steps = Recording::open(recording)?.end().0;
    report::heading(&format!("Forward: {}, {} million steps", guest.name, steps / 1_000_000));
    report::speed_head();
    // What QEMU needs to start, its firmware included, is not held against it; ours is in our numbers.
    let qemu = best.qemu.zip(best.qemu_start).map(|(all, start)| Took {
        wall: all.wall.saturating_sub(start.wall),
        cpu: all.cpu.saturating_sub(start.cpu),
        peak_kib: 0,
    });
    let rows = [
        ("QEMU -icount shift=3, less its start-up", qemu),
        ("the bare engine, its own MMU, no interrupts", best.bare),
        ("the machine, not recorded", best.machine),
        ("record, no checkpoints", best.sparse),
        ("record", best.record),
        ("replay", best.replay),
        ("replay --verify", best.verify),
    ];
    for (name, took) in rows {
        match took {
            Some(took) => report::speed(name, took, steps, qemu, best.bare),
            None => report::line(name, "not possible: it has no chips and delivers no interrupts"),
        }
    }
    let cpu = |took: Option<Took>| took.map_or(f64::NAN, |took| took.cpu.as_secs_f64());
    let over = (cpu(best.record) / cpu(best.machine) - 1.0) * 100.0;
    report::aim(&format!("{}: recording costs more than running", guest.name), "%", 10.0, false, over);
    for (what, took) in [("record", best.record), ("replay", best.replay)] {
        let ratio = cpu(qemu) / cpu(took);
        report::aim(&format!("{}: {what}, speed beside QEMU's", guest.name), "x", 1.0, true, ratio);
    }
    Ok(())
}

/// Bytes of a recording that its replay needs, and bytes that make it quick.
fn sizes(file: &[u8]) -> (usize, usize) {
    let size = |kinds: &[u16]| {
        chunks::chunks(file).iter().filter(|c| kinds.contains(&c.kind)).map(|c| c.end - c.start).sum()
    };
    (size(&chunks::LOG), size(&chunks::CHECKPOINTS))
}

/// What the recording costs.
fn print_recording(name: &str, best: &Best, path: &Path) -> Result<()> {
    let recording = Recording::open(path)?;
    let start = Instant::now();
    Recording::open(path)?;
    report::latency("opening the recording", start.elapsed(), "");
    let checkpoints = recording.checkpoints().len();
    ensure!(checkpoints > 0, "no checkpoint in {}", path.display());
    let (with, without) = (best.record, best.sparse);
    if let Some((with, without)) = with.zip(without) {
        let each = with.cpu.saturating_sub(without.cpu) / checkpoints as u32;
        report::latency(
            "a checkpoint",
            each,
            &format!("(difference of two runs, {checkpoints} checkpoints)"),
        );
    }
    let seconds = recording.end_time().0 as f64 / 1e9;
    let (log, checkpoints) = sizes(&fs::read(path)?);
    let kib = |bytes: usize| bytes as f64 / 1024.0;
    let per_million = log as f64 / (recording.end().0 as f64 / 1e6);
    report::line(
        "log: inputs, interrupts, progress",
        &format!("{:.0} KiB, {per_million:.1} bytes per million steps", kib(log)),
    );
    report::aim(&format!("{name}: log"), "B per 1000 steps", 0.5, false, per_million / 1000.0);
    report::line(
        "checkpoints, pages and index by interval",
        &format!(
            "{:.0} KiB, {:.0} KiB per guest second ({seconds:.1} s)",
            kib(checkpoints),
            kib(checkpoints) / seconds
        ),
    );
    if let Some((record, verify)) = best.record.zip(best.verify) {
        let mib = |took: Took| took.peak_kib / 1024;
        let ram = recording.config().ram_bytes >> 20;
        report::line(
            "peak memory: record, replay --verify",
            &format!("{} MiB, {} MiB ({ram} MiB of it the guest's)", mib(record), mib(verify)),
        );
        report::aim(
            &format!("{name}: peak memory of record"),
            "MiB",
            (ram + 300) as f64,
            false,
            mib(record) as f64,
        );
    }
    Ok(())
}
