//! Recordings and timelines of the real machine, with a guest that stores, halts and takes interrupts. Needs nasm.

use snapshots::session::Reached;
use snapshots::{Direction, EndReason, Recorder, RecorderOptions, Recording, Session, Stop, Timeline};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use vm::{CpuModel, CpuState, Icount, Input, LinAddr, Machine, MachineConfig, PhysAddr};

const STEPS: u64 = 120_000;
const COUNTER: u64 = 0x20_0000;
const TICKS: u64 = 0x20_0020;
const RECEIVED: u64 = 0x20_0030;

fn machine(dir: &Path) -> Machine {
    let kernel = dir.join("busy.bin");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/busy.asm");
    let nasm = Command::new("nasm").args(["-f", "bin", "-o"]).arg(&kernel).arg(source).status();
    assert!(nasm.expect("nasm is installed").success());
    let config = MachineConfig {
        ram_bytes: 4 << 20,
        cpu: CpuModel::default(),
        rtc_start: 0,
        bios: Vec::new(),
        debug_exit_port: None,
        no_reboot: true,
        ..MachineConfig::default()
    };
    let mut machine = Machine::new(&config).unwrap();
    machine.load_kernel(&std::fs::read(kernel).unwrap(), None, "").unwrap();
    machine
}

fn recorded(dir: &Path, checkpoint_every: u64) -> Arc<Recording> {
    let path = dir.join("recording");
    let options = RecorderOptions { checkpoint_every, ..Default::default() };
    let mut recorder = Recorder::create(&path, true, machine(dir), options).unwrap();
    let mut round = 0u8;
    while recorder.machine().position().0 < STEPS {
        let left = STEPS - recorder.machine().position().0;
        recorder.run(left.min(3000 + u64::from(round) * 17), 100_000).unwrap();
        round = round.wrapping_add(1);
        if round.is_multiple_of(4) {
            recorder.inject(Input::Serial { port: 0, bytes: vec![round] }).unwrap();
        }
    }
    recorder.finish(EndReason::Interrupted).unwrap();
    Arc::new(Recording::open(&path).unwrap())
}

/// What a straight run shows.
struct Table {
    cpus: Vec<CpuState>,
    /// Positions whose next instruction runs (no halt, no interrupt), by its address.
    runs: BTreeMap<u64, Vec<u64>>,
    /// Steps that write the byte.
    writes: BTreeMap<u64, Vec<u64>>,
}

fn straight_run(recording: &Arc<Recording>) -> Table {
    let mut session = Session::<Machine>::new(recording.clone()).unwrap();
    let watched = [COUNTER, TICKS, RECEIVED];
    session.arm(&BTreeSet::new(), &watched.map(|a| (PhysAddr(a), 1)));
    let mut table = Table { cpus: Vec::new(), runs: BTreeMap::new(), writes: BTreeMap::new() };
    loop {
        let here = session.position();
        let cpu = session.machine().cpu();
        let pc = cpu.linear_pc();
        if session.met(&BTreeSet::from([LinAddr(pc)])).is_some() {
            table.runs.entry(pc).or_default().push(here.0);
        }
        table.cpus.push(cpu);
        if here == recording.end() {
            return table;
        }
        if let Reached::Watchpoint { position, addr } = session.run_to(Icount(here.0 + 1)).unwrap() {
            assert_eq!(position, here);
            table.writes.entry(addr.0).or_default().push(here.0);
        }
    }
}

#[test]
fn a_recording_of_the_real_machine_replays_equal() {
    let dir = tempfile::tempdir().unwrap();
    let recording = recorded(dir.path(), 10_000);
    assert!(recording.interrupts().len() > 10, "{}", recording.interrupts().len());
    let report = snapshots::verify(&recording, &mut |_, _| ()).unwrap();
    assert!(report.checkpoints >= 11 && report.end_hash, "{report:?}");
}

#[test]
fn stepping_back_and_seeking_show_what_a_straight_run_shows() {
    let dir = tempfile::tempdir().unwrap();
    let recording = recorded(dir.path(), 50_000);
    let table = straight_run(&recording);
    let mut timeline = Timeline::new(recording.clone()).unwrap();
    let end = recording.end();
    timeline.seek(end, &mut || false).unwrap();
    for position in (end.0 - 3000..end.0).rev() {
        assert_eq!(timeline.step(Direction::Reverse).unwrap(), Stop::Step);
        assert_eq!(timeline.position(), Icount(position));
        assert_eq!(timeline.cpu(), table.cpus[position as usize], "at {position}");
    }
    let mut position = 1;
    for _ in 0..200 {
        position = position * 48_271 % 2_147_483_647;
        let target = position % (end.0 + 1);
        timeline.seek(Icount(target), &mut || false).unwrap();
        assert_eq!(timeline.cpu(), table.cpus[target as usize], "at {target}");
    }
}

#[test]
fn stops_are_where_a_straight_run_has_them_in_both_directions() {
    let dir = tempfile::tempdir().unwrap();
    let recording = recorded(dir.path(), 50_000);
    let table = straight_run(&recording);
    let mut timeline = Timeline::new(recording.clone()).unwrap();
    for watched in [RECEIVED, TICKS, COUNTER] {
        let writes = &table.writes[&watched];
        assert!(timeline.add_watchpoint(LinAddr(watched), 1).is_some());
        timeline.seek(recording.end(), &mut || false).unwrap();
        for write in writes.iter().rev().take(60) {
            assert!(matches!(timeline.resume(Direction::Reverse, &mut || false).unwrap(), Stop::Watch(_)));
            assert_eq!(timeline.position(), Icount(*write), "{watched:#x}");
        }
        timeline.seek(Icount(0), &mut || false).unwrap();
        for write in writes.iter().take(60) {
            assert!(matches!(timeline.resume(Direction::Forward, &mut || false).unwrap(), Stop::Watch(_)));
            assert_eq!(timeline.position(), Icount(*write + 1), "{watched:#x}");
        }
        assert!(timeline.remove_watchpoint(LinAddr(watched), 1));
    }
    // One address that runs often and one that runs rarely; not that of a string instruction, whose every pass has it.
    let often = *table.runs.iter().max_by_key(|(_, at)| at.len()).unwrap().0;
    let rarely = *table.runs.iter().find(|(_, at)| (20..100).contains(&at.len())).unwrap().0;
    for addr in [often, rarely] {
        let at = &table.runs[&addr];
        assert!(timeline.add_breakpoint(LinAddr(addr)));
        timeline.seek(recording.end(), &mut || false).unwrap();
        for position in at.iter().rev().filter(|p| **p < recording.end().0).take(60) {
            let stop = timeline.resume(Direction::Reverse, &mut || false).unwrap();
            assert_eq!((stop, timeline.position()), (Stop::Breakpoint(LinAddr(addr)), Icount(*position)));
        }
        timeline.seek(Icount(0), &mut || false).unwrap();
        for position in at.iter().filter(|p| **p > 0).take(60) {
            let stop = timeline.resume(Direction::Forward, &mut || false).unwrap();
            assert_eq!((stop, timeline.position()), (Stop::Breakpoint(LinAddr(addr)), Icount(*position)));
        }
        assert!(timeline.remove_breakpoint(LinAddr(addr)));
    }
}
