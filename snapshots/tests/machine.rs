//! Recordings and timelines of the real machine, with a guest that stores, halts and takes interrupts. Needs nasm.

use snapshots::session::Reached;
use snapshots::{
    Answer, Direction, EndReason, Recorder, RecorderOptions, Recording, Session, Stop, Timeline,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use vm::watch::WatchHit;
use vm::{
    CpuModel, CpuState, Icount, Input, LinAddr, Machine, MachineConfig, PhysAddr, WatchKind, WatchRange,
};

const STEPS: u64 = 120_000;
const COUNTER: u64 = 0x20_0000;
const TICKS: u64 = 0x20_0020;
const RECEIVED: u64 = 0x20_0030;

fn machine(dir: &Path) -> Machine {
    let kernel = dir.join("busy.bin");
    let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/guests");
    let mut nasm = Command::new("nasm");
    nasm.current_dir(guests).args(["-f", "bin", "busy32.bin.asm", "-o"]);
    let nasm = nasm.arg(&kernel).status();
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
    let options = RecorderOptions { checkpoint_every: Some(checkpoint_every), ..Default::default() };
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
    session.arm(
        &BTreeSet::new(),
        &watched.map(|a| WatchRange { addr: PhysAddr(a), len: 1, kind: WatchKind::Write }),
        &BTreeSet::new(),
    );
    let mut table = Table { cpus: Vec::new(), runs: BTreeMap::new(), writes: BTreeMap::new() };
    loop {
        let here = session.position();
        let cpu = session.machine().cpu();
        let pc = cpu.linear_pc();
        if session.met(&BTreeSet::from([LinAddr(pc)]), &BTreeSet::new()).is_some() {
            table.runs.entry(pc).or_default().push(here.0);
        }
        table.cpus.push(cpu);
        if here == recording.end() {
            return table;
        }
        if let Reached::Watchpoint { position, hit } = session.run_to(Icount(here.0 + 1)).unwrap() {
            assert_eq!(position, here);
            let WatchHit::Memory { addr, .. } = hit else { panic!("{hit:?}") };
            table.writes.entry(addr.0).or_default().push(here.0);
        }
    }
}

#[test]
fn a_recording_of_the_real_machine_replays_equal() {
    let dir = tempfile::tempdir().unwrap();
    let recording = recorded(dir.path(), 10_000);
    assert!(recording.interrupts().unwrap().len() > 10);
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
        assert_eq!(timeline.step(Direction::Reverse, &mut || false).unwrap(), Stop::Step);
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

#[test]
fn a_read_watchpoint_stops_at_the_loads_of_a_string_instruction_in_both_directions() {
    const READ: u64 = 0x21_0005;
    const ESI: usize = 6;
    let dir = tempfile::tempdir().unwrap();
    let recording = recorded(dir.path(), 30_000);
    let table = straight_run(&recording);
    let esi = |at: usize| table.cpus[at].gpr[ESI];
    // MOVSB goes on to the next byte by the step that reads this one.
    let reads: Vec<_> =
        (0..table.cpus.len() - 1).filter(|s| esi(*s) == READ && esi(s + 1) == READ + 1).collect();
    assert!(reads.len() > 5, "{reads:?}");
    let mut timeline = Timeline::new(recording.clone()).unwrap();
    for kind in [WatchKind::Read, WatchKind::Access] {
        // The loop writes the byte before: only loads of this one, and its own stores, count.
        let watch = timeline.add_watchpoint_for(kind, LinAddr(READ), 1).unwrap();
        let met = |read: &usize| kind == WatchKind::Access || reads.contains(read);
        let mut stops = Vec::new();
        while timeline.resume(Direction::Forward, &mut || false).unwrap() == Stop::Watch(watch) {
            stops.push(timeline.position().0 as usize - 1);
        }
        assert!(stops.iter().all(met), "{stops:?} {reads:?}");
        assert!(reads.iter().all(|read| stops.contains(read)), "{stops:?} {reads:?}");
        for stop in stops.iter().rev() {
            assert_eq!(timeline.resume(Direction::Reverse, &mut || false).unwrap(), Stop::Watch(watch));
            assert_eq!(timeline.position(), Icount(*stop as u64));
        }
        assert_eq!(timeline.resume(Direction::Reverse, &mut || false).unwrap(), Stop::Begin);
        let count =
            timeline.count_accesses(kind, LinAddr(READ), 1, Icount(0)..recording.end(), &mut || false);
        assert!(matches!(count.unwrap(), Answer::Is(count) if count.steps as usize == stops.len()));
        assert!(timeline.remove_watchpoint_for(kind, LinAddr(READ), 1));
    }
    snapshots::verify(&recording, &mut |_, _| ()).unwrap();
}

#[test]
fn who_wrote_this_is_answered_with_the_value_before_and_after() {
    let dir = tempfile::tempdir().unwrap();
    let recording = recorded(dir.path(), 20_000);
    let table = straight_run(&recording);
    let mut timeline = Timeline::new(recording.clone()).unwrap();
    timeline.seek(Icount(70_000), &mut || false).unwrap();
    let last = *table.writes[&TICKS].iter().rfind(|step| **step < 70_000).unwrap();
    let Answer::Is(Some(met)) =
        timeline.last_write(LinAddr(TICKS), 4, Icount(70_000), &mut || false).unwrap()
    else {
        panic!("it was written")
    };
    let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap());
    assert_eq!(met.position, Icount(last));
    assert_eq!(number(&met.before) + 1, number(&met.after));
    assert_eq!(timeline.position(), Icount(70_000));
    let values = timeline.values(LinAddr(TICKS), 4, Icount(0)..recording.end(), 5, &mut || false).unwrap();
    let Answer::Is(values) = values else { panic!("nobody interrupts") };
    let ticks: Vec<_> = values.iter().map(|v| number(&v.value[..4])).collect();
    assert_eq!(ticks, [1, 2, 3, 4, 5]);
    let never = timeline.first_exec(LinAddr(0x10_5000), &mut || false).unwrap();
    assert_eq!(never, Answer::Is(None));
}
