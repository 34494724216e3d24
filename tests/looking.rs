//! Looking changes nothing: breakpoints and watchpoints set, hit, removed and passed in any order leave every later state as
//! it was.

use retrograde_tests::random::Random;
use retrograde_tests::recordings::{linux_recording, open, record_kernel};
use retrograde_tests::{build_guest, symbol, workspace_root};
use snapshots::{Direction, Recording, Session, Stop, Timeline};
use std::path::Path;
use std::sync::Arc;
use tempfile::tempdir;
use vm::cpu::state::seg;
use vm::{CpuState, Icount, LinAddr, Machine};

/// States of the undisturbed run that the disturbed one is compared with.
const CHECKS: usize = 12;
/// What is done to the timeline before each comparison.
const DEEDS: usize = 14;
/// How far a disturbed run goes on its own, in steps.
const REACH: u64 = 200_000;

fn never() -> bool {
    false
}

/// The undisturbed run at one position.
struct Check {
    position: Icount,
    hash: u64,
    cpu: CpuState,
}

/// An undisturbed replay, looked at in `CHECKS` places and at the end.
fn undisturbed(recording: &Arc<Recording>, random: &mut Random) -> Vec<Check> {
    let (start, end) = (recording.start().0, recording.end().0);
    let mut positions: Vec<u64> = (1..CHECKS).map(|_| start + random.below(end - start)).collect();
    positions.push(end);
    positions.sort_unstable();
    let mut session = Session::<Machine>::new(recording.clone()).unwrap();
    let look = |position: u64| {
        session.run_to(Icount(position)).unwrap();
        let machine = session.machine();
        Check { position: Icount(position), hash: machine.hash(), cpu: machine.cpu() }
    };
    positions.into_iter().map(look).collect()
}

/// Addresses that break- and watchpoints are set on.
#[derive(Clone, Default)]
struct Places {
    code: Vec<LinAddr>,
    data: Vec<LinAddr>,
}

impl Places {
    /// Code where the machine was seen, hence hot, and near it; the stacks it had, and data on pages with code.
    fn of(checks: &[Check]) -> Places {
        let mut places = Places::default();
        for cpu in checks.iter().map(|check| &check.cpu) {
            let pc = cpu.linear_pc();
            let stack = cpu.seg[seg::SS].base.wrapping_add(cpu.gpr[4]);
            places.code.extend([pc, pc.wrapping_add(1), pc & !0xfff].map(LinAddr));
            places.data.extend([stack.wrapping_sub(8), stack & !0xfff, pc & !0xfff, pc].map(LinAddr));
        }
        places
    }
}

/// What has happened to a disturbed timeline, so that a test can say that something has.
#[derive(Debug, Default)]
struct Tally {
    breakpoints_hit: [usize; 2],
    watchpoints_hit: [usize; 2],
    removed: usize,
}

impl Tally {
    fn note(&mut self, direction: Direction, stop: &Stop) {
        let way = usize::from(direction == Direction::Reverse);
        match stop {
            Stop::Breakpoint(_) => self.breakpoints_hit[way] += 1,
            Stop::Watch(_) => self.watchpoints_hit[way] += 1,
            _ => {}
        }
    }
}

/// A timeline to which things are done.
struct Disturbed {
    timeline: Timeline,
    places: Places,
    breakpoints: Vec<LinAddr>,
    watchpoints: Vec<(LinAddr, u64)>,
    random: Random,
    tally: Tally,
}

impl Disturbed {
    fn new(recording: &Arc<Recording>, places: Places, seed: u64) -> Disturbed {
        let timeline = Timeline::new(recording.clone()).unwrap();
        let (breakpoints, watchpoints) = (Vec::new(), Vec::new());
        let (random, tally) = (Random::new(seed), Tally::default());
        Disturbed { timeline, places, breakpoints, watchpoints, random, tally }
    }

    fn any<T: Copy>(random: &mut Random, of: &[T]) -> T {
        of[random.below(of.len() as u64) as usize]
    }

    /// One deed.
    fn disturb(&mut self) {
        match self.random.below(10) {
            0 | 1 => {
                let addr = Disturbed::any(&mut self.random, &self.places.code);
                self.timeline.add_breakpoint(addr);
                self.breakpoints.push(addr);
            }
            2 | 3 => {
                let addr = Disturbed::any(&mut self.random, &self.places.data);
                let len = 1 << self.random.below(4);
                if self.timeline.add_watchpoint(addr, len).is_some() {
                    self.watchpoints.push((addr, len));
                }
            }
            4 => self.remove_one(),
            5 | 6 => self.resume(Direction::Forward),
            7 => self.resume(Direction::Reverse),
            8 => self.step(Direction::Forward),
            _ => self.step(Direction::Reverse),
        }
    }

    fn remove_one(&mut self) {
        if let Some(addr) = self.breakpoints.pop() {
            self.timeline.remove_breakpoint(addr);
            self.tally.removed += 1;
        }
        if self.random.below(2) == 0
            && let Some((addr, len)) = self.watchpoints.pop()
        {
            self.timeline.remove_watchpoint(addr, len);
            self.tally.removed += 1;
        }
    }

    fn remove_all(&mut self) {
        while !(self.breakpoints.is_empty() && self.watchpoints.is_empty()) {
            self.remove_one();
        }
    }

    /// Goes on to whatever is met, at most `REACH` far.
    fn resume(&mut self, direction: Direction) {
        let here = self.timeline.position().0;
        let limit = match direction {
            Direction::Forward => here.saturating_add(REACH),
            Direction::Reverse => here.saturating_sub(REACH),
        };
        self.timeline.set_position_break(Some(Icount(limit)));
        let stop = self.timeline.resume(direction, &mut never).unwrap();
        self.timeline.set_position_break(None);
        self.tally.note(direction, &stop);
    }

    fn step(&mut self, direction: Direction) {
        let stop = self.timeline.step(direction, &mut || false).unwrap();
        self.tally.note(direction, &stop);
    }

    /// Disturbs the machine before `check`, runs to there with everything still set, and compares.
    fn arrive_at(&mut self, check: &Check) {
        let before = check.position.0.saturating_sub(self.random.below(REACH));
        self.timeline.seek(Icount(before), &mut never).unwrap();
        for _ in 0..DEEDS {
            self.disturb();
        }
        if self.timeline.position() > check.position {
            self.timeline.seek(Icount(before), &mut never).unwrap();
        }
        // Through what is set: some hits, then without the rest of it.
        let mut hits = 0;
        while self.timeline.position() < check.position {
            self.timeline.set_position_break(Some(check.position));
            let stop = self.timeline.resume(Direction::Forward, &mut never).unwrap();
            self.timeline.set_position_break(None);
            self.tally.note(Direction::Forward, &stop);
            hits += 1;
            if hits > 30 {
                self.remove_one();
            }
        }
        self.timeline.seek(check.position, &mut never).unwrap();
        self.compare(check);
        if self.random.below(3) == 0 {
            self.remove_all();
        }
    }

    /// Goes back to the last write of what lies above the stack's top at `check`, and to its instruction.
    fn look_back_from(&mut self, check: &Check) {
        let stack = check.cpu.seg[seg::SS].base.wrapping_add(check.cpu.gpr[4]);
        self.timeline.seek(check.position, &mut never).unwrap();
        if self.timeline.add_watchpoint(LinAddr(stack), 8).is_some() {
            self.watchpoints.push((LinAddr(stack), 8));
            self.resume(Direction::Reverse);
        }
        let pc = LinAddr(check.cpu.linear_pc());
        self.timeline.add_breakpoint(pc);
        self.breakpoints.push(pc);
        self.timeline.seek(Icount(check.position.0 + 1), &mut never).unwrap();
        self.resume(Direction::Reverse);
    }

    fn compare(&self, check: &Check) {
        assert_eq!(self.timeline.position(), check.position);
        assert_eq!(self.timeline.cpu(), check.cpu, "registers at {}; {:?}", check.position, self.tally);
        assert_eq!(
            self.timeline.machine().hash(),
            check.hash,
            "hash at {}; {:?}",
            check.position,
            self.tally
        );
    }
}

/// Compares disturbed replays of a recording with an undisturbed one, in order and out of order.
fn is_not_disturbed(recording: &Path, more: Places) {
    let recording = open(recording);
    let mut random = Random::new(0x100c);
    let checks = undisturbed(&recording, &mut random);
    let mut places = Places::of(&checks);
    places.code.extend(more.code);
    places.data.extend(more.data);
    let mut disturbed = Disturbed::new(&recording, places, random.next());
    for check in &checks {
        disturbed.arrive_at(check);
    }
    let mut shuffled: Vec<&Check> = checks.iter().collect();
    random.shuffle(&mut shuffled);
    for check in shuffled {
        disturbed.look_back_from(check);
        disturbed.arrive_at(check);
    }
    disturbed.remove_all();
    let tally = &disturbed.tally;
    assert!(tally.breakpoints_hit.iter().chain(&tally.watchpoints_hit).all(|hits| *hits > 0), "{tally:?}");
    assert!(tally.removed > 0, "{tally:?}");
}

/// Runs from the start to the end with one thing set, hit at most `limit` times before it is removed; the end is the same.
fn passes_to_the_end(
    recording: &Path,
    limit: usize,
    set: impl Fn(&mut Timeline),
    unset: impl Fn(&mut Timeline),
) -> usize {
    let recording = open(recording);
    let mut straight = Session::<Machine>::new(recording.clone()).unwrap();
    straight.run_to(recording.end()).unwrap();
    let mut timeline = Timeline::new(recording.clone()).unwrap();
    set(&mut timeline);
    let mut hits = 0;
    while timeline.resume(Direction::Forward, &mut never).unwrap() != Stop::End {
        hits += 1;
        if hits == limit {
            unset(&mut timeline);
        }
    }
    assert_eq!(timeline.position(), recording.end());
    assert_eq!(timeline.cpu(), straight.machine().cpu());
    assert_eq!(timeline.machine().hash(), straight.machine().hash());
    hits
}

fn passes_a_breakpoint(recording: &Path, limit: usize, addr: LinAddr) -> usize {
    let unset = |timeline: &mut Timeline| assert!(timeline.remove_breakpoint(addr));
    passes_to_the_end(recording, limit, |timeline| assert!(timeline.add_breakpoint(addr)), unset)
}

fn passes_a_watchpoint(recording: &Path, limit: usize, addr: LinAddr, len: u64) -> usize {
    let unset = |timeline: &mut Timeline| assert!(timeline.remove_watchpoint(addr, len));
    passes_to_the_end(
        recording,
        limit,
        |timeline| assert!(timeline.add_watchpoint(addr, len).is_some()),
        unset,
    )
}

#[test]
fn a_loop() {
    let dir = tempdir().unwrap();
    let (kernel, recording) = (build_guest("loop"), dir.path().join("loop.rgr"));
    record_kernel(&kernel, "iterations=100000", 33, &recording);
    let at = |name: &str| LinAddr(symbol(&kernel, name));

    assert_eq!(passes_a_breakpoint(&recording, 2000, at("mix")), 2000, "in the hot loop");
    assert_eq!(passes_a_breakpoint(&recording, 100, at("rare_function")), 4);
    assert_eq!(passes_a_breakpoint(&recording, 100, at("never_called")), 0);
    assert_eq!(passes_a_watchpoint(&recording, 500, at("hot_variable"), 4), 500);
    assert_eq!(passes_a_watchpoint(&recording, 100, at("rare_variable"), 4), 4);
    // The page of the hot loop is only read and executed; so is a page that no one uses.
    assert_eq!(passes_a_watchpoint(&recording, 100, at("mix"), 4096), 0);
    assert_eq!(passes_a_watchpoint(&recording, 100, LinAddr(0xc0_0000), 8), 0);

    let code = ["mix", "accumulate", "rare_function", "never_called", "timer_handler"].map(at);
    let data = ["hot_variable", "rare_variable", "ticks", "mix"].map(at);
    is_not_disturbed(&recording, Places { code: code.to_vec(), data: data.to_vec() });
}

#[test]
fn the_clobber_example() {
    let dir = tempdir().unwrap();
    let kernel = workspace_root().join("examples/clobber/clobber.elf");
    let recording = dir.path().join("clobber.rgr");
    record_kernel(&kernel, "", 3, &recording);
    let at = |name: &str| LinAddr(symbol(&kernel, name));
    assert!(passes_a_watchpoint(&recording, 100, at("reports"), 4) >= 3, "set up, and overwritten twice");
    assert!(passes_a_breakpoint(&recording, 200, at("timer_tick")) > 30);
    let (code, data) =
        (vec![at("timer_tick"), at("panic")], vec![at("reports"), at("samples"), at("sample_count")]);
    is_not_disturbed(&recording, Places { code, data });
}

#[test]
fn linux() {
    is_not_disturbed(&linux_recording(), Places::default());
}
