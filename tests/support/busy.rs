//! The small endless guests, recorded, and what is true of every position of such a recording: found by going through it one
//! step at a time from its start, without checkpoints, index, or anything else that a timeline is made of.

use crate::build_guest;
use crate::random::Random;
use snapshots::session::Reached;
use snapshots::{EndReason, Recorder, RecorderOptions, Recording, Session};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use vm::{CpuState, Exit, Icount, Input, LinAddr, Machine, MachineConfig, PhysAddr, WatchKind, WatchRange};

/// The guests: one in real mode, one in protected mode, one with paging.
pub const BUSY: [&str; 3] = ["busy16", "busy32", "busypaging"];

/// Places that are worth watching in a guest: linear address and length.
pub fn variables(guest: &str) -> &'static [(u64, u64)] {
    match guest {
        // Counter, result, the rare ones, somewhere in the buffer, a vector, the stack, nothing.
        "busy16" => &[
            (0x500, 2),
            (0x504, 1),
            (0x508, 2),
            (0x50c, 2),
            (0x510, 1),
            (0x514, 1),
            (0x2_4321, 8),
            (8 * 4, 4),
            (0x7bfe, 2),
            (0xf_0000, 4),
        ],
        "busy32" => &[
            (0x20_0000, 4),
            (0x20_0002, 1),
            (0x20_0010, 4),
            (0x20_0020, 4),
            (0x20_0030, 1),
            (0x21_0005, 3),
            (0x23_0000, 1),
            (0x8_0100, 8),
            (0x8_fffc, 4),
            (0x3f_0000, 4),
        ],
        // The same and more: by an alias, on demand, in a space's own page, page-table entries.
        _ => &[
            (0x21_0000, 4),
            (0x48_0008, 4),
            (0x21_0010, 4),
            (0x48_0018, 4),
            (0x21_0020, 1),
            (0x48_0028, 1),
            (0x40_1234, 8),
            (0x40_3ff8, 8),
            (0x4a_0010, 4),
            (0x20_3000, 4),
            (0x20_3080, 32),
            (0x8_0100, 8),
            (0x8_fffc, 4),
            (0x3f_0000, 4),
        ],
    }
}

/// A new machine with the guest loaded, which is switched on at a date in seconds since 1970.
pub fn machine_at(guest: &str, date: i64) -> Machine {
    let config =
        MachineConfig { ram_bytes: 4 << 20, no_reboot: true, rtc_start: date, ..MachineConfig::default() };
    let mut machine = Machine::new(&config).expect("a machine");
    let kernel = fs::read(build_guest(guest)).expect("the guest can be read");
    machine.load_kernel(&kernel, None, "").expect("the guest can be loaded");
    machine
}

/// Records the first `steps` steps of a guest, with inputs that come whenever `seed` says.
pub fn record_busy(guest: &str, path: &Path, steps: u64, every: u64, seed: u64) -> Arc<Recording> {
    let options = RecorderOptions { checkpoint_every: Some(every), ..Default::default() };
    let mut recorder = Recorder::create(path, true, machine_at(guest, 0), options).expect("a recorder");
    let mut random = Random::new(seed);
    while recorder.machine().position().0 < steps {
        let left = steps - recorder.machine().position().0;
        let exit = recorder.run(left.min(1 + random.below(9000)), random.below(200_000)).expect("it runs");
        assert!(matches!(exit, Exit::Position | Exit::Time), "{guest}: {exit:?}");
        if random.below(3) == 0 {
            let bytes = vec![random.next() as u8];
            recorder.inject(Input::Serial { port: 0, bytes }).expect("it is injected");
        }
    }
    recorder.finish(EndReason::Interrupted).expect("the recording ends");
    Arc::new(Recording::open(path).expect("the recording can be opened"))
}

/// Records the first `steps` steps of a machine, which is sent a byte every few thousand.
pub fn record_with(
    machine: Machine,
    path: &Path,
    steps: u64,
    every: u64,
    byte: impl Fn(u64) -> u8,
) -> Arc<Recording> {
    let options = RecorderOptions { checkpoint_every: Some(every), ..Default::default() };
    let mut recorder = Recorder::create(path, true, machine, options).expect("a recorder");
    while recorder.machine().position().0 < steps {
        let here = recorder.machine().position().0;
        // Halts end within the patience, and inputs come behind steps only.
        recorder.run((steps - here).min(7_000), u64::MAX).expect("it runs");
        let here = recorder.machine().position().0;
        recorder.inject(Input::Serial { port: 0, bytes: vec![byte(here)] }).expect("it is injected");
    }
    recorder.finish(EndReason::Interrupted).expect("the recording ends");
    Arc::new(Recording::open(path).expect("the recording can be opened"))
}

/// All that is true.
pub struct Truth {
    recording: Arc<Recording>,
    /// The registers at each position.
    pub cpus: Vec<CpuState>,
    /// Whether the next step at each position is the instruction that the registers name: no halt, no interrupt, no later pass
    /// of a string instruction.
    pub runs: Vec<bool>,
    met: RefCell<BTreeMap<Watched, Rc<Vec<bool>>>>,
}

/// What is watched: first byte, length, kind.
type Watched = (u64, u64, WatchKind);

impl Truth {
    /// Goes through a recording that starts at position 0.
    pub fn of(recording: &Arc<Recording>) -> Truth {
        let mut session = Session::<Machine>::new(recording.clone()).expect("a session");
        let (mut cpus, mut runs) = (Vec::new(), Vec::new());
        loop {
            let cpu = session.machine().cpu();
            runs.push(session.met(&BTreeSet::from([LinAddr(cpu.linear_pc())]), &BTreeSet::new()).is_some());
            cpus.push(cpu);
            let here = session.position();
            if here == recording.end() {
                break;
            }
            assert_eq!(session.run_to(Icount(here.0 + 1)).expect("a step"), Reached::Target);
        }
        Truth { recording: recording.clone(), cpus, runs, met: RefCell::default() }
    }

    /// The last position.
    pub fn end(&self) -> usize {
        self.cpus.len() - 1
    }

    /// Linear address of the instruction at a position.
    pub fn pc(&self, at: usize) -> LinAddr {
        LinAddr(self.cpus[at].linear_pc())
    }

    /// For each step whether it wrote (or read) a byte of a physical range.
    pub fn met(&self, addr: PhysAddr, len: u64, kind: WatchKind) -> Rc<Vec<bool>> {
        let key = (addr.0, len, kind);
        if let Some(known) = self.met.borrow().get(&key) {
            return known.clone();
        }
        let mut session = Session::<Machine>::new(self.recording.clone()).expect("a session");
        session.arm(&BTreeSet::new(), &[WatchRange { addr, len, kind }], &BTreeSet::new());
        let bytes = |session: &Session| {
            // There need not be RAM at an address.
            let from = addr.0 as usize;
            session.machine().storage().get(from..from + len as usize).map(<[u8]>::to_vec)
        };
        let mut before = bytes(&session);
        let mut met = Vec::new();
        while session.position() < self.recording.end() {
            let here = session.position();
            let reached = session.run_to(Icount(here.0 + 1)).expect("a step");
            let hit = matches!(reached, Reached::Watchpoint { position, .. } if position == here);
            let after = bytes(&session);
            assert!(hit || !kind.writes() || before == after, "a write at {here} was not seen");
            before = after;
            met.push(hit);
        }
        met.push(false);
        let met = Rc::new(met);
        self.met.borrow_mut().insert(key, met.clone());
        met
    }

    /// The hash of the whole machine at a position, by a run from the start.
    pub fn hash(&self, at: usize) -> u64 {
        let mut session = Session::<Machine>::new(self.recording.clone()).expect("a session");
        session.run_to(Icount(at as u64)).expect("it gets there");
        session.machine().hash()
    }
}
