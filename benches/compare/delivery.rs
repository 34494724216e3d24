//! What it costs to get into a handler or another context and back.

use crate::bare;
use crate::forward::QEMU_OPTIONS;
use crate::guest::TIME_LIMIT;
use crate::program::{Took, keep, measure};
use crate::report;
use anyhow::{Result, bail, ensure};
use retrograde_tests::build_cost_guest;
use retrograde_tests::qemu::Qemu;
use std::fs;
use std::path::Path;
use vm::config::Vga;
use vm::{CpuModel, Exit, Icount, Machine, MachineConfig, RunLimit, VmTime};

/// How often the thing is done. Halted, a timer of 20 kHz is waited for each time.
const COUNT: u32 = 400_000;
/// What isa-debug-exit makes of the guest's success.
const QEMU_PASSED: i32 = 33;
const PASSED: u32 = 0x10;

/// What `tests/guests/cost.asm` can be assembled for, in words, and what of it the bare engine can do.
const CASES: &[(&str, &str, Option<bare::Event>)] = &[
    ("int16", "real mode: INT n", None),
    ("undefined16", "real mode: #UD", None),
    ("timer16", "real mode: HLT and the timer's interrupt", None),
    ("int32", "32 bit: INT n", Some(bare::Event::Int)),
    ("user32", "32 bit: INT n from level 3", None),
    ("undefined32", "32 bit: #UD", Some(bare::Event::Undefined)),
    ("page32", "32 bit: #PF", None),
    ("timer32", "32 bit: HLT and the timer's interrupt", None),
    ("sysenter32", "32 bit: SYSENTER", None),
    ("space32", "32 bit: another CR3 and stack", Some(bare::Event::Cr3)),
    ("task32", "32 bit: to another task and back by JMP", None),
    ("int64", "64 bit: INT n", None),
    ("user64", "64 bit: INT n from level 3", None),
    ("undefined64", "64 bit: #UD", None),
    ("page64", "64 bit: #PF", None),
    ("timer64", "64 bit: HLT and the timer's interrupt", None),
    ("syscall64", "64 bit: SYSCALL", None),
    ("space64", "64 bit: another CR3 and stack", None),
];

/// Measures all cases in all ways and prints microseconds for each.
pub fn compare(rounds: u32) -> Result<()> {
    report::heading("There and back: microseconds of CPU time");
    report::line("", &format!("{:>8} {:>8} {:>8} {:>8}", "here", "QEMU", "x QEMU", "engine"));
    for &(case, name, event) in CASES {
        let (once, often) = (build_cost_guest(case, 1), build_cost_guest(case, COUNT));
        let [mut here, mut qemu, mut start, mut engine] = [None; 4];
        for _ in 0..rounds.max(1) {
            keep(&mut start, in_qemu(&once)?);
            keep(&mut qemu, in_qemu(&often)?);
            keep(&mut here, ours(&often)?);
            if let Some(event) = event {
                keep(&mut engine, measure(|| bare::repeat(event, COUNT))?.1);
            }
        }
        let each = |took: Option<Took>| took.map(|took| took.cpu.as_secs_f64() * 1e6 / f64::from(COUNT));
        let (here, engine) = (each(here), each(engine));
        let qemu = each(qemu).zip(each(start)).map(|(all, start)| all - start);
        let ratio = qemu.zip(here).map(|(qemu, here)| qemu / here);
        let columns = [here, qemu, ratio, engine].map(|n| n.map_or("-".into(), |n| format!("{n:.2}")));
        let [here, qemu, ratio, engine] = &columns;
        report::line(name, &format!("{here:>8} {qemu:>8} {ratio:>8} {engine:>8}"));
    }
    Ok(())
}

fn in_qemu(kernel: &Path) -> Result<Took> {
    let run = || Ok(Qemu::start_with(QEMU_OPTIONS, kernel, None, "").wait_for_end(TIME_LIMIT).0);
    let (status, took) = measure(run)?;
    ensure!(status.code() == Some(QEMU_PASSED), "{}: {status}", kernel.display());
    Ok(took)
}

/// The machine by itself, less the making of it.
fn ours(kernel: &Path) -> Result<Took> {
    let config = MachineConfig {
        ram_bytes: 16 << 20,
        cpu: CpuModel::Qemu64,
        debug_exit_port: Some(0xf4),
        vga: Vga::None,
        no_reboot: true,
        ..MachineConfig::default()
    };
    let mut machine = Machine::new(&config)?;
    machine.load_kernel(&fs::read(kernel)?, None, "")?;
    let limit = RunLimit { position: Icount(u64::MAX), time: VmTime(u64::MAX) };
    match measure(|| Ok(machine.run(limit)?))? {
        (Exit::DebugExit(PASSED), took) => Ok(took),
        (other, _) => bail!("{}: {other:?}", kernel.display()),
    }
}
