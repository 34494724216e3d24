//! A machine of a few lines for tests: a deterministic toy CPU that stores, halts, takes interrupts and inputs, and
//! stops in every awkward place that the contract allows (some steps after a watched write, at breakpoints again and
//! again, at the time limit of a halt).

use crate::condition::AtPlace;
use crate::{Recorder, RecorderOptions, Replayer};
use std::collections::{BTreeSet, VecDeque};
use vm::board::Board;
use vm::machine::{Divergence, RunLimit};
use vm::units::NS_PER_STEP;
use vm::watch::{NOTED_BYTES, Noted, WatchHit};
use vm::{
    BlockSource, CpuModel, CpuState, Exit, Footprint, Icount, Input, InterruptTaken, LinAddr, MachineConfig,
    MachineState, Output, PhysAddr, Trap, Vector, VmError, VmTime, WatchKind, WatchRange,
};

const R: usize = 0;
const TIMER: usize = 1;
const PENDING: usize = 2;
/// Addresses at which the toy's instructions lie.
pub(crate) const CODE: u64 = 0x1000;
/// How many there are.
pub(crate) const INSTRUCTIONS: u64 = 97;
/// What [`Replayer::set_effort`] counts for each step.
const EFFORT_OF_A_STEP: u64 = 1000;
/// The step that does what ends a run.
const LAST_GASP: u64 = 1_000_000;

/// The toy. All its state is in registers (and RAM): gpr 0 is a random number, 1 the time of the next timer
/// interrupt, 2 whether one is pending.
#[derive(Debug)]
pub(crate) struct Toy {
    config: MachineConfig,
    position: u64,
    skipped: u64,
    digest: u64,
    cpu: CpuState,
    board: Board,
    shut_down: bool,
    ram: Vec<u8>,
    dirty: BTreeSet<usize>,
    executed: BTreeSet<u64>,
    accessed: BTreeSet<u32>,
    log: Option<VecDeque<InterruptTaken>>,
    taken: Vec<InterruptTaken>,
    output: Vec<(Icount, Output)>,
    breakpoints: Vec<LinAddr>,
    watched: Vec<WatchRange>,
    noted: Option<Vec<Noted>>,
    /// Steps in a run.
    most_steps: u64,
    /// Flips bits at this position: a machine that does not do what it did.
    pub(crate) sick_at: Option<u64>,
    /// Flips them so many steps behind the state that it was put into last: a machine that has what no state tells.
    forgets: Option<u64>,
    restored_at: u64,
}

thread_local! {
    /// From which position new toys of this thread are sick.
    pub(crate) static SICK: std::cell::Cell<Option<u64>> = const { std::cell::Cell::new(None) };
    /// How many steps behind a restored state new toys of this thread are.
    pub(crate) static FORGETS: std::cell::Cell<Option<u64>> = const { std::cell::Cell::new(None) };
}

/// A machine with 1 MiB of RAM.
pub(crate) fn config() -> MachineConfig {
    MachineConfig {
        ram_bytes: 1 << 20,
        cpu: CpuModel::default(),
        rtc_start: 0,
        bios: vec![0x90; 100],
        debug_exit_port: None,
        no_reboot: true,
        ..MachineConfig::default()
    }
}

/// Records a toy for about `steps` steps with inputs that arrive whenever `seed` says.
pub(crate) fn record(path: &std::path::Path, steps: u64, seed: u64, every: u64) -> Recorder<Toy> {
    let toy = Toy::with_media(&config(), Vec::new()).unwrap();
    let mut recorder = Recorder::create(
        path,
        false,
        toy,
        RecorderOptions { checkpoint_every: Some(every), ..Default::default() },
    )
    .unwrap();
    let mut random = Random(seed);
    while recorder.machine().position().0 < steps {
        let left = steps - recorder.machine().position().0;
        match recorder.run((random.next() % 3000).min(left), random.next() % 3000).unwrap() {
            Exit::HaltedForever => recorder.inject(Input::Reset).unwrap(),
            Exit::PowerOff => break,
            _ => {}
        }
        for _ in 0..(random.next() % 7).saturating_sub(3) {
            recorder.inject(Input::Serial { port: 0, bytes: vec![b'x'; 3] }).unwrap();
        }
    }
    recorder
}

/// Random numbers from a seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e3779b97f4a7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58476d1ce4e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d049bb133111eb);
        z ^ (z >> 31)
    }
}

impl Toy {
    fn time(&self) -> u64 {
        self.position * NS_PER_STEP + self.skipped
    }

    fn store(&mut self, addr: u64, value: u64) -> Option<WatchHit> {
        let at = addr as usize;
        let before: [u8; 8] = std::array::from_fn(|i| self.ram[at + i]);
        let after = value.to_le_bytes();
        self.ram[at..at + 8].copy_from_slice(&after);
        self.dirty.insert(at / 4096);
        self.dirty.insert((at + 7) / 4096);
        self.access(addr, |kind, i| kind.writes() && (kind != WatchKind::Change || before[i] != after[i]))
    }

    fn load(&mut self, addr: u64) -> Option<WatchHit> {
        let at = addr as usize;
        self.cpu.gpr[6] ^= u64::from(self.ram[at]);
        self.accessed.insert((addr / 4096) as u32);
        self.access(addr, |kind, _| kind.reads())
    }

    /// An access to eight bytes, of which it is known what each counts for.
    fn access(&self, addr: u64, counts: impl Fn(WatchKind, usize) -> bool) -> Option<WatchHit> {
        (0..8).find_map(|i| {
            let at = addr + i as u64;
            let holds = |w: &&WatchRange| (w.addr.0..w.addr.0 + w.len).contains(&at);
            let met = self.watched.iter().filter(holds).find(|w| counts(w.kind, i))?;
            Some(WatchHit::Memory { addr: PhysAddr(at), kind: met.kind })
        })
    }

    /// Whether the machine must stop for what the step at `position` met.
    fn met(&mut self, position: u64, hit: Option<WatchHit>) -> Option<(u64, WatchHit)> {
        let hit = hit?;
        let Some(noted) = &mut self.noted else { return Some((position, hit)) };
        let bytes = self.watched.iter().flat_map(|w| &self.ram[w.addr.0 as usize..][..w.len as usize]);
        let mut value = [0; NOTED_BYTES];
        value.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        noted.push(Noted { position: Icount(position), hit, value });
        None
    }

    /// Chips: the timer fires when its time has come, however late that is noticed.
    fn tick(&mut self) {
        while self.cpu.gpr[TIMER] <= self.time() {
            self.cpu.gpr[TIMER] += 7919;
            self.cpu.gpr[PENDING] = 1;
        }
    }

    fn interrupt_due(&self) -> Result<bool, Divergence> {
        let Some(log) = &self.log else { return Ok(self.cpu.gpr[PENDING] == 1 && self.interruptible()) };
        let due = log.front().is_some_and(|i| i.position.0 <= self.position && i.time.0 <= self.time());
        if due && (log[0].position.0 < self.position || self.cpu.gpr[PENDING] == 0) {
            let (expected, actual) = (format!("{:?}", log[0]), "nothing".to_owned());
            return Err(Divergence { position: Icount(self.position), expected, actual });
        }
        Ok(due)
    }

    fn interruptible(&self) -> bool {
        self.cpu.gpr[R] & 0x300 != 0
    }

    fn take_interrupt(&mut self) -> Option<WatchHit> {
        if let Some(log) = &mut self.log {
            log.pop_front();
        }
        let time = VmTime(self.time());
        self.taken.push(InterruptTaken {
            position: Icount(self.position),
            time,
            vector: Vector(0x20),
            nmi: false,
        });
        self.cpu.gpr[PENDING] = 0;
        self.cpu.halted = false;
        self.position += 1;
        self.store(0x8000, self.position)
    }

    fn instruction(&mut self) -> Option<WatchHit> {
        let r = self.cpu.gpr[R].wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        self.cpu.gpr[R] = r;
        let choice = r >> 33;
        self.executed.insert(self.cpu.rip);
        let is_sick = self.sick_at == Some(self.position)
            || self.forgets == Some(self.position.saturating_sub(self.restored_at));
        let sick = is_sick.then(|| {
            self.cpu.gpr[5] ^= 1;
            self.store(0xb000, 1)
        });
        let hit = match self.cpu.rip - CODE {
            i if i >= INSTRUCTIONS => self.store(0xd000, r),
            i if i % 5 == 0 => self.store(0x1_0000 + (choice % 0x2_0000), r),
            7 => self.store(0x9000, r),
            23 => self.load(0x9000),
            31 if choice.is_multiple_of(64) => self.load(0xc000),
            11 if choice.is_multiple_of(64) => self.store(0xa000, r),
            13 => {
                self.digest = self.digest.rotate_left(5) ^ r;
                self.output.push((Icount(self.position), Output::Debugcon { port: 0xe9, byte: r as u8 }));
                None
            }
            17 if choice.is_multiple_of(8) => {
                self.cpu.halted = true;
                None
            }
            _ => None,
        };
        self.cpu.rip = CODE
            + if choice.is_multiple_of(4096) {
                (choice >> 12) % 3 * 0x20 + 0x3000
            } else if choice.is_multiple_of(4) {
                choice % INSTRUCTIONS
            } else {
                (self.cpu.rip - CODE + 1) % INSTRUCTIONS
            };
        self.position += 1;
        hit.or(sick.flatten())
    }
}

impl Replayer for Toy {
    fn with_media(config: &MachineConfig, _: Vec<Box<dyn BlockSource>>) -> Result<Self, VmError> {
        let cpu = CpuState {
            rip: CODE,
            gpr: std::array::from_fn(|i| if i == TIMER { 5000 } else { 0 }),
            ..CpuState::default()
        };
        Ok(Toy {
            config: config.clone(),
            position: 0,
            skipped: 0,
            digest: 0,
            cpu,
            board: Board::new(config),
            shut_down: false,
            ram: vec![0; config.ram_bytes as usize],
            dirty: BTreeSet::new(),
            executed: BTreeSet::new(),
            accessed: BTreeSet::new(),
            log: None,
            taken: Vec::new(),
            output: Vec::new(),
            breakpoints: Vec::new(),
            watched: Vec::new(),
            noted: None,
            most_steps: u64::MAX,
            sick_at: SICK.get(),
            forgets: FORGETS.get(),
            restored_at: 0,
        })
    }

    fn config(&self) -> &MachineConfig {
        &self.config
    }

    fn position(&self) -> Icount {
        Icount(self.position)
    }

    fn now(&self) -> VmTime {
        VmTime(self.time())
    }

    fn run(&mut self, limit: RunLimit) -> Result<Exit, VmError> {
        let start = self.position;
        let mut written: Option<(u64, WatchHit)> = None;
        let mut waited = false;
        loop {
            // Runs on for up to two steps after a watched write, as one stopped at the end of a block does.
            if let Some((position, hit)) = written
                && (self.position >= position + 1 + position % 3 || self.position >= limit.position.0)
            {
                return Ok(Exit::Watchpoint { position: Icount(position), hit });
            }
            if self.position >= limit.position.0 {
                return Ok(Exit::Position);
            }
            if self.position - start >= self.most_steps && written.is_none() && !waited {
                return Ok(Exit::Pause);
            }
            waited = false;
            self.tick();
            let at = self.position;
            match self.interrupt_due() {
                Err(divergence) => return Ok(Exit::Diverged(Box::new(divergence))),
                Ok(true) => {
                    let hit = self.take_interrupt();
                    let met = self.met(at, hit);
                    written = written.or(met);
                    continue;
                }
                Ok(false) => {}
            }
            if self.cpu.halted {
                if limit.time.0 <= self.time() {
                    return Ok(Exit::Time);
                }
                let event = match &self.log {
                    // One that comes later than here cannot end this halt.
                    Some(log) => {
                        log.front().filter(|i| i.position.0 <= self.position).map_or(u64::MAX, |i| i.time.0)
                    }
                    None if !self.interruptible() => return Ok(Exit::HaltedForever),
                    None => self.cpu.gpr[TIMER],
                };
                self.skipped += event.min(limit.time.0).saturating_sub(self.time());
                waited = true;
                continue;
            }
            let pc = LinAddr(self.cpu.linear_pc());
            if at != start && written.is_none() && self.breakpoints.contains(&pc) {
                return Ok(Exit::Breakpoint(pc));
            }
            let hit = self.instruction();
            let met = self.met(at, hit);
            written = written.or(met);
            if at == LAST_GASP && self.log.is_none() {
                return Ok(Exit::PowerOff);
            }
        }
    }

    fn inject(&mut self, input: &Input) {
        self.executed.insert(self.cpu.rip);
        if *input == Input::Reset {
            self.cpu.halted = false;
        }
        self.cpu.gpr[PENDING] = 1;
        self.cpu.gpr[R] ^= format!("{input:?}").len() as u64;
        self.cpu.gpr[3] = self.cpu.gpr[3].wrapping_mul(31).wrapping_add(self.time());
    }

    fn follow(&mut self, log: Option<Vec<InterruptTaken>>) {
        self.log = log.map(VecDeque::from);
    }

    fn take_interrupts(&mut self) -> Vec<InterruptTaken> {
        std::mem::take(&mut self.taken)
    }

    fn take_output(&mut self) -> Vec<(Icount, Output)> {
        std::mem::take(&mut self.output)
    }

    fn cpu(&self) -> CpuState {
        self.cpu.clone()
    }

    fn in_rep(&self) -> bool {
        false
    }

    fn interrupt_comes(&self) -> bool {
        self.log.is_none() && self.cpu.gpr[PENDING] == 1 && self.interruptible()
    }

    fn set_cpu(&mut self, cpu: &CpuState) {
        self.cpu = cpu.clone();
    }

    fn write_phys(&mut self, addr: PhysAddr, bytes: &[u8]) {
        let at = addr.0 as usize;
        self.ram[at..at + bytes.len()].copy_from_slice(bytes);
        self.dirty.extend(at / 4096..(at + bytes.len()).div_ceil(4096));
    }

    fn save(&self) -> MachineState {
        MachineState {
            position: Icount(self.position),
            skipped_ns: self.skipped,
            io_digest: self.digest,
            shut_down: self.shut_down,
            in_rep: false,
            cpu: self.cpu.clone(),
            board: self.board.clone(),
        }
    }

    fn restore(&mut self, state: &MachineState) {
        self.position = state.position.0;
        self.restored_at = self.position;
        self.skipped = state.skipped_ns;
        self.digest = state.io_digest;
        self.cpu = state.cpu.clone();
        self.shut_down = state.shut_down;
    }

    fn storage(&self) -> &[u8] {
        &self.ram
    }

    fn write_page(&mut self, page: usize, bytes: &[u8; 4096]) {
        self.ram[page * 4096..][..4096].copy_from_slice(bytes);
    }

    fn take_dirty(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.dirty).into_iter().collect()
    }

    fn take_footprint(&mut self) -> Footprint {
        self.executed.insert(self.cpu.rip);
        let executed = std::mem::take(&mut self.executed).into_iter().map(|pc| (pc, pc)).collect();
        let accessed = std::mem::take(&mut self.accessed).into_iter().collect();
        Footprint { executed: Some(executed), accessed, ..Footprint::default() }
    }

    fn video_at(&self, _: PhysAddr) -> Option<u64> {
        None
    }

    fn linear_pc(&self) -> u64 {
        self.cpu.linear_pc()
    }

    fn is_halted(&self) -> bool {
        self.cpu.halted
    }

    /// It stops at all of them, as it may.
    fn set_condition(&mut self, _: Option<AtPlace<Toy>>) {}

    fn storage_at(&self, addr: PhysAddr, _write: bool) -> Option<u64> {
        (addr.0 < self.config.ram_bytes).then_some(addr.0)
    }

    fn translate(&self, addr: LinAddr) -> Option<PhysAddr> {
        (addr.0 < self.config.ram_bytes).then_some(PhysAddr(addr.0))
    }

    // It has no ports, exceptions or address spaces.
    fn set_traps(&mut self, _traps: &BTreeSet<Trap>) {}

    fn set_breakpoints(&mut self, addrs: &[LinAddr]) {
        self.breakpoints = addrs.to_vec();
    }

    fn set_watchpoints(&mut self, ranges: &[WatchRange]) {
        self.watched = ranges.to_vec();
    }

    fn set_effort(&mut self, allowed: u64) {
        self.most_steps = allowed / EFFORT_OF_A_STEP;
    }

    fn note_hits(&mut self, on: bool) {
        self.noted = on.then(Vec::new);
    }

    fn take_noted(&mut self) -> Vec<Noted> {
        self.noted.as_mut().map(std::mem::take).unwrap_or_default()
    }
}
