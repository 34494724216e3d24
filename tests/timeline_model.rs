//! The timeline against a naive one that knows nothing but a straight run, with random operations: every answer is equal.
//!
//! `OPERATIONS=n` says how many are made with each guest and density of checkpoints; `SEED=n` begins with another one.

use retrograde_tests::busy::{BUSY, Truth, record_busy, variables};
use retrograde_tests::random::Random;
use snapshots::{Answer, Condition, Direction, Stop, Timeline, Watch};
use std::collections::BTreeSet;
use std::env;
use vm::{CpuState, Icount, LinAddr, Machine, WatchKind};

const STEPS: u64 = 60_000;
/// Steps between checkpoints in the recordings: few, some, none but the first and the last.
const DENSITIES: [u64; 3] = [2_500, 17_000, 10_000_000];
const OPERATIONS: u64 = 500;
/// How many operations there are from one comparison of whole machines to the next.
const HASH_EVERY: u64 = 16;

fn never() -> bool {
    false
}

fn number(name: &str, otherwise: u64) -> u64 {
    env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

/// Whether a breakpoint counts, by the registers.
fn odd_one(cpu: &CpuState, modulus: u64) -> bool {
    let words = cpu.gpr.iter().chain(cpu.xmm.iter().flatten()).chain([&cpu.rip, &cpu.rflags, &cpu.cr2]);
    let more = [cpu.fpu.status, cpu.fpu.control, cpu.fpu.tag.into(), cpu.seg[1].selector].map(u64::from);
    words.chain(&more).fold(0, |sum: u64, word| sum.rotate_left(7) ^ word).is_multiple_of(modulus)
}

/// The naive timeline.
struct Naive<'a> {
    truth: &'a Truth,
    here: usize,
    breakpoints: BTreeSet<LinAddr>,
    condition: Option<u64>,
    watches: BTreeSet<Watch>,
    position_break: Option<usize>,
}

impl Naive<'_> {
    /// The watchpoints that the step from `step` meets.
    fn watches_met(&self, step: usize) -> impl Iterator<Item = Watch> + '_ {
        self.watches.iter().copied().filter(move |w| self.truth.met(w.phys, w.len, w.kind)[step])
    }

    fn breakpoint_at(&self, at: usize) -> Option<LinAddr> {
        let pc = self.truth.pc(at);
        let counts = self.condition.is_none_or(|modulus| odd_one(&self.truth.cpus[at], modulus));
        (self.truth.runs[at] && self.breakpoints.contains(&pc) && counts).then_some(pc)
    }

    /// Why one stops that gets to `at`, in a direction: any of these.
    fn stops(&self, direction: Direction, at: usize) -> Vec<Stop> {
        let step = if direction == Direction::Forward { at - 1 } else { at };
        let watches: Vec<Stop> = self.watches_met(step).map(Stop::Watch).collect();
        if watches.is_empty() {
            self.breakpoint_at(at).map(Stop::Breakpoint).into_iter().collect()
        } else {
            watches
        }
    }

    /// One position further, if there is one.
    fn next(&self, direction: Direction) -> Option<usize> {
        match direction {
            Direction::Forward => (self.here < self.truth.end()).then(|| self.here + 1),
            Direction::Reverse => self.here.checked_sub(1),
        }
    }

    /// What a step may say.
    fn step(&mut self, direction: Direction) -> Vec<Stop> {
        let Some(next) = self.next(direction) else { return vec![edge(direction)] };
        self.here = next;
        let stops = self.stops(direction, next);
        if stops.is_empty() { vec![Stop::Step] } else { stops }
    }

    /// What going on may say.
    fn resume(&mut self, direction: Direction) -> Vec<Stop> {
        while let Some(next) = self.next(direction) {
            self.here = next;
            let stops = self.stops(direction, next);
            if !stops.is_empty() {
                return stops;
            }
            if self.position_break == Some(next) && next != self.truth.end() {
                return vec![Stop::Position];
            }
        }
        vec![edge(direction)]
    }
}

fn edge(direction: Direction) -> Stop {
    if direction == Direction::Forward { Stop::End } else { Stop::Begin }
}

/// Both, and what decides what to do with them.
struct Model<'a> {
    guest: &'static str,
    real: Timeline,
    naive: Naive<'a>,
    /// Addresses of instructions: common ones, rare ones, one that never runs.
    code: Vec<LinAddr>,
    random: Random,
}

impl Model<'_> {
    fn position(&mut self) -> usize {
        self.random.below(self.naive.truth.end() as u64 + 1) as usize
    }

    fn address(&mut self) -> LinAddr {
        self.code[self.random.below(self.code.len() as u64) as usize]
    }

    fn kind(&mut self) -> WatchKind {
        [WatchKind::Write, WatchKind::Read, WatchKind::Access][self.random.below(3) as usize]
    }

    fn variable(&mut self) -> (LinAddr, u64) {
        let all = variables(self.guest);
        let (addr, len) = all[self.random.below(all.len() as u64) as usize];
        (LinAddr(addr), len)
    }

    /// One random operation on both; they must agree. What it was.
    fn operate(&mut self) -> Stop {
        let direction = if self.random.below(2) == 0 { Direction::Forward } else { Direction::Reverse };
        let kind = self.random.below(16);
        let (expected, actual) = match kind {
            0 | 1 => {
                self.naive.here = self.position();
                let to = Icount(self.naive.here as u64);
                (vec![Stop::Position], self.real.seek(to, &mut never).unwrap())
            }
            2..=5 => (self.naive.step(direction), self.real.step(direction, &mut || false).unwrap()),
            6..=8 => (self.naive.resume(direction), self.real.resume(direction, &mut never).unwrap()),
            9 => return self.interrupted(direction),
            10 | 11 => {
                self.change_breakpoints();
                return Stop::Step;
            }
            12 => {
                self.change_watches();
                return Stop::Step;
            }
            13 => {
                let at = (self.random.below(3) != 0).then(|| self.position());
                self.naive.position_break = at;
                self.real.set_position_break(at.map(|at| Icount(at as u64)));
                let enough_for_helpers = self.random.below(2) as usize * (512 << 20);
                self.real.set_memory_budget(self.random.below(5) as usize * 400_000 + enough_for_helpers);
                self.real.set_jobs(1 + self.random.below(3) as usize);
                self.real.set_worth_a_wire([0, 10_000, u64::MAX][self.random.below(3) as usize]);
                return Stop::Step;
            }
            _ => {
                self.ask();
                return Stop::Step;
            }
        };
        assert!(expected.contains(&actual), "{kind} {direction:?}: {expected:?}, not {actual:?}");
        assert_eq!(self.real.position().0, self.naive.here as u64, "{kind} {direction:?} {actual:?}");
        actual
    }

    /// Goes on, and is interrupted after a while.
    fn interrupted(&mut self, direction: Direction) -> Stop {
        let mut patience = self.random.below(4);
        let from = self.naive.here;
        let stop = self.real.resume(direction, &mut || {
            patience = patience.saturating_sub(1);
            patience == 0
        });
        let stop = stop.unwrap();
        if stop == Stop::Interrupted {
            let at = self.real.position().0 as usize;
            match direction {
                // Nothing was passed on the way.
                Direction::Forward => {
                    assert!((from + 1..=at).all(|p| self.naive.stops(direction, p).is_empty()));
                }
                Direction::Reverse => assert_eq!(at, from),
            }
            self.naive.here = at;
        } else {
            let expected = self.naive.resume(direction);
            assert!(expected.contains(&stop), "{direction:?}: {expected:?}, not {stop:?}");
            assert_eq!(self.real.position().0, self.naive.here as u64);
        }
        stop
    }

    fn change_breakpoints(&mut self) {
        if self.naive.breakpoints.len() >= 3 {
            for addr in std::mem::take(&mut self.naive.breakpoints) {
                assert!(self.real.remove_breakpoint(addr));
            }
            let modulus = (self.random.below(2) == 0).then(|| 2 + self.random.below(400));
            self.naive.condition = modulus;
            self.real.set_condition(modulus.map_or_else(Condition::default, |modulus| {
                Condition::new(move |machine: &Machine, _| odd_one(&machine.cpu(), modulus))
            }));
        }
        let addr = self.address();
        assert_eq!(self.naive.breakpoints.insert(addr), self.real.add_breakpoint(addr));
    }

    fn change_watches(&mut self) {
        if self.naive.watches.len() >= 2 {
            // The same address may have named two places when it was watched; both go.
            while let Some(w) = self.naive.watches.pop_first() {
                assert!(self.real.remove_watchpoint_for(w.kind, w.linear, w.len));
                self.naive.watches.retain(|o| (o.kind, o.linear, o.len) != (w.kind, w.linear, w.len));
            }
        } else {
            let ((addr, len), kind) = (self.variable(), self.kind());
            self.naive.watches.extend(self.real.add_watchpoint_for(kind, addr, len));
        }
    }

    /// One question about all of history.
    fn ask(&mut self) {
        let truth = self.naive.truth;
        let at = self.position();
        let to = Icount(at as u64);
        let position = |found: Option<usize>| found.map(|p| Icount(p as u64));
        if self.random.below(2) == 0 {
            let addr = self.address();
            let runs = |p: &usize| truth.runs[*p] && truth.pc(*p) == addr;
            let first = self.real.first_exec(addr, &mut never).unwrap();
            assert_eq!(first, Answer::Is(position((0..truth.end()).find(runs))), "first of {addr:?}");
            let last = self.real.last_exec(addr, to, &mut never).unwrap();
            assert_eq!(last, Answer::Is(position((0..at).rfind(runs))), "last of {addr:?} before {at}");
            let Answer::Is(count) = self.real.count_execs(addr, Icount(0)..to, &mut never).unwrap() else {
                panic!("nobody interrupts")
            };
            assert_eq!(count.steps as usize, (0..at).filter(runs).count(), "{addr:?} before {at}");
            return;
        }
        let ((addr, len), kind) = (self.variable(), self.kind());
        let phys = self.real.machine().translate(addr);
        // A page table may lead to where there is no RAM.
        let Some(phys) = phys.filter(|at| self.real.machine().storage_at(*at, false) == Some(at.0)) else {
            let last = self.real.last_access(kind, addr, len, to, &mut never).unwrap();
            assert_eq!(last, Answer::NotMapped);
            return;
        };
        let met = truth.met(phys, len, kind);
        let found = |answer| match answer {
            Answer::Is(met) => met,
            other => panic!("{other:?}"),
        };
        let last = found(self.real.last_access(kind, addr, len, to, &mut never).unwrap());
        let place = format!("{kind:?} of {addr:?} around {at}");
        assert_eq!(last.map(|m| m.position), position((0..at).rfind(|p| met[*p])), "{place}");
        let writes = truth.met(phys, len, WatchKind::Write);
        let next = found(self.real.next_write(addr, len, to, &mut never).unwrap());
        assert_eq!(next.map(|m| m.position), position((at..truth.end()).find(|p| writes[*p])), "{place}");
        let range = Icount(at as u64 / 2)..to;
        let Answer::Is(count) = self.real.count_accesses(kind, addr, len, range, &mut never).unwrap() else {
            panic!("nobody interrupts")
        };
        assert_eq!(count.steps as usize, (at / 2..at).filter(|p| met[*p]).count(), "{place}");
    }

    /// Whether both are in the same state; all of it if `whole`.
    fn compare(&self, whole: bool) {
        let here = self.naive.here;
        assert_eq!(self.real.position().0, here as u64);
        assert!(self.real.cpu() == self.naive.truth.cpus[here], "other registers at {here}");
        if whole {
            assert_eq!(self.real.machine().hash(), self.naive.truth.hash(here), "at {here}");
        }
    }
}

/// Addresses for breakpoints: the most common, the rarest, some between, and two that never run.
fn code(truth: &Truth) -> Vec<LinAddr> {
    let mut counts = std::collections::BTreeMap::new();
    for at in 0..truth.end() {
        *counts.entry(truth.pc(at)).or_insert(0u32) += 1;
    }
    let mut all: Vec<(u32, LinAddr)> = counts.into_iter().map(|(addr, count)| (count, addr)).collect();
    all.sort_unstable();
    let every = all.len().div_ceil(20);
    let never_run = [LinAddr(0x100), LinAddr(0x12_3456)];
    all.into_iter().step_by(every).map(|(_, addr)| addr).chain(never_run).collect()
}

fn every_answer_is_equal(guest: &'static str) {
    let dir = tempfile::tempdir().unwrap();
    let (operations, seed) = (number("OPERATIONS", OPERATIONS), number("SEED", 1));
    for (round, every) in DENSITIES.into_iter().enumerate() {
        let seed = seed * 1000 + round as u64;
        let recording = record_busy(guest, &dir.path().join("r"), STEPS, every, seed);
        assert!(recording.interrupts().unwrap().len() > 5 && !recording.inputs().unwrap().is_empty());
        let truth = Truth::of(&recording);
        let naive = Naive {
            truth: &truth,
            here: 0,
            breakpoints: BTreeSet::new(),
            condition: None,
            watches: BTreeSet::new(),
            position_break: None,
        };
        let real = Timeline::new(recording).unwrap();
        let mut model = Model { guest, real, naive, code: code(&truth), random: Random::new(seed) };
        let mut seen = [0u32; 6];
        for n in 0..operations {
            let kind = match model.operate() {
                Stop::Breakpoint(_) => 0,
                Stop::Watch(_) => 1,
                Stop::Position => 2,
                Stop::Begin => 3,
                Stop::End => 4,
                Stop::Event(_) | Stop::Step | Stop::Interrupted | Stop::NoFurther(_) => 5,
            };
            seen[kind] += 1;
            model.compare(n % HASH_EVERY == 0);
        }
        println!("{guest}, seed {seed}: {operations} operations {seen:?}");
        assert!(operations < OPERATIONS || seen.iter().all(|n| *n > 0), "{seen:?}");
        std::fs::remove_file(dir.path().join("r")).unwrap();
    }
}

#[test]
fn in_real_mode_every_answer_equals_the_naive_one() {
    every_answer_is_equal(BUSY[0]);
}

#[test]
fn in_protected_mode_every_answer_equals_the_naive_one() {
    every_answer_is_equal(BUSY[1]);
}

#[test]
fn with_paging_every_answer_equals_the_naive_one() {
    every_answer_is_equal(BUSY[2]);
}

/// The machine is some steps beyond the one that met a watchpoint when it is noticed.
#[test]
fn a_run_that_is_interrupted_where_it_meets_a_watchpoint_does_not_pass_it() {
    let dir = tempfile::tempdir().unwrap();
    let recording = record_busy(BUSY[0], &dir.path().join("r"), STEPS, DENSITIES[1], 1001);
    let truth = Truth::of(&recording);
    let mut timeline = Timeline::new(recording).unwrap();
    // No checkpoint is near to go back to: pages are unpacked for it, and that can be interrupted.
    timeline.set_memory_budget(0);
    let mut met = 0;
    for (addr, len) in variables(BUSY[0]) {
        for from in (0..STEPS).step_by(2_999) {
            timeline.seek(Icount(from), &mut never).unwrap();
            let Some(watch) = timeline.add_watchpoint(LinAddr(*addr), *len) else { continue };
            let steps = truth.met(watch.phys, watch.len, watch.kind);
            let stop = timeline.resume(Direction::Forward, &mut || true).unwrap();
            let here = timeline.position().0;
            let passed = (from..here).find(|step| steps[*step as usize]);
            let at_it = matches!(stop, Stop::Watch(_)) && passed.is_some_and(|step| step + 1 == here);
            assert!(passed.is_none() || at_it, "{stop:?} from {from} for {addr:#x}: past {passed:?}");
            met += u32::from(matches!(stop, Stop::Watch(_)));
            timeline.remove_watchpoint(LinAddr(*addr), *len);
        }
    }
    assert!(met > 20, "{met}");
}
