//! The timeline against a naive one: a table of every position, made by one straight run.

use super::diversion::Chips;
use super::*;
use crate::fake::{CODE, INSTRUCTIONS, Random, Toy, record};
use crate::{Answer, EndReason};
use std::path::Path;

const STEPS: u64 = 30_000;

/// What is known of a position.
struct Moment {
    hash: u64,
    pc: LinAddr,
    /// The instruction at `pc` runs next: no halt, no interrupt.
    runs: bool,
    /// What the step from here accesses, if anything: eight bytes.
    meets: Option<Access>,
}

/// An access to eight bytes of memory.
struct Access {
    addr: u64,
    /// For a store, which of them hold something else afterwards.
    changed: Option<[bool; 8]>,
}

impl Access {
    /// Whether it counts for the byte at `at`, watched for this.
    fn counts(&self, kind: WatchKind, at: u64) -> bool {
        let Some(i) = at.checked_sub(self.addr).filter(|i| *i < 8) else { return false };
        match self.changed {
            Some(changed) => kind.writes() && (kind != WatchKind::Change || changed[i as usize]),
            None => kind.reads(),
        }
    }
}

fn opened(path: &Path) -> Arc<Recording> {
    Arc::new(Recording::open(path).unwrap())
}

fn recorded(dir: &Path, seed: u64, every: u64) -> Arc<Recording> {
    let path = dir.join(format!("{seed}"));
    record(&path, STEPS, seed, every).finish(EndReason::Until("enough".into())).unwrap();
    opened(&path)
}

/// Every position, seen by stepping from the start.
fn straight_run(recording: &Arc<Recording>) -> Vec<Moment> {
    let mut session = Session::<Toy>::new(recording.clone()).unwrap();
    let all = |kind| WatchRange { addr: PhysAddr(0), len: 1 << 20, kind };
    session.arm(&BTreeSet::new(), &[WatchKind::Read, WatchKind::Write].map(all), &BTreeSet::new());
    let mut moments = Vec::new();
    loop {
        let here = session.position();
        let cpu = session.machine().cpu();
        let pc = LinAddr(cpu.linear_pc());
        let runs = session.met(&BTreeSet::from([pc]), &BTreeSet::new()).is_some();
        let hash = session.hash().unwrap();
        let meets = if here < recording.end() {
            let before = session.machine().storage().to_vec();
            match session.run_to(Icount(here.0 + 1)).unwrap() {
                Reached::Watchpoint { position, hit: WatchHit::Memory { addr: PhysAddr(addr), kind } } => {
                    assert_eq!(position, here);
                    let after = session.machine().storage();
                    let differs = |i| before[addr as usize + i] != after[addr as usize + i];
                    let changed = (kind == WatchKind::Write).then(|| std::array::from_fn(differs));
                    Some(Access { addr, changed })
                }
                _ => None,
            }
        } else {
            None
        };
        moments.push(Moment { hash, pc, runs, meets });
        if here == recording.end() {
            return moments;
        }
    }
}

/// The naive timeline.
struct Naive<'a> {
    moments: &'a [Moment],
    here: usize,
    breakpoints: BTreeSet<LinAddr>,
    watches: BTreeSet<Watch>,
    position_break: Option<usize>,
}

impl Naive<'_> {
    fn watch_of(&self, step: usize) -> Option<Watch> {
        let access = self.moments[step].meets.as_ref()?;
        let met = |w: &Watch, at| (w.phys.0..w.phys.0 + w.len).contains(&at) && access.counts(w.kind, at);
        (access.addr..access.addr + 8).find_map(|at| self.watches.iter().find(|w| met(w, at)).copied())
    }

    fn breakpoint_at(&self, at: usize) -> Option<LinAddr> {
        let m = &self.moments[at];
        (m.runs && self.breakpoints.contains(&m.pc)).then_some(m.pc)
    }

    fn forward_stop(&self, at: usize) -> Option<Stop> {
        self.watch_of(at - 1).map(Stop::Watch).or(self.breakpoint_at(at).map(Stop::Breakpoint))
    }

    fn reverse_stop(&self, at: usize) -> Option<Stop> {
        self.watch_of(at).map(Stop::Watch).or(self.breakpoint_at(at).map(Stop::Breakpoint))
    }

    fn end(&self) -> usize {
        self.moments.len() - 1
    }

    fn step(&mut self, direction: Direction) -> Stop {
        match direction {
            Direction::Forward if self.here == self.end() => Stop::End,
            Direction::Reverse if self.here == 0 => Stop::Begin,
            Direction::Forward => {
                self.here += 1;
                self.forward_stop(self.here).unwrap_or(Stop::Step)
            }
            Direction::Reverse => {
                self.here -= 1;
                self.reverse_stop(self.here).unwrap_or(Stop::Step)
            }
        }
    }

    fn resume(&mut self, direction: Direction) -> Stop {
        let start = self.here;
        loop {
            let (edge, stop) = match direction {
                Direction::Forward => (self.end(), Stop::End),
                Direction::Reverse => (0, Stop::Begin),
            };
            if self.here == edge {
                return stop;
            }
            let met = match direction {
                Direction::Forward => {
                    self.here += 1;
                    self.forward_stop(self.here)
                }
                Direction::Reverse => {
                    self.here -= 1;
                    self.reverse_stop(self.here)
                }
            };
            let at_break =
                self.position_break == Some(self.here) && self.here != start && self.here != self.end();
            if let Some(stop) = met.or(at_break.then_some(Stop::Position)) {
                return stop;
            }
        }
    }
}

/// Leaves the recording, does what harms, and comes back in one way or another.
fn divert(real: &mut Timeline<Toy>, random: &mut Random) {
    let go = &mut || false;
    let here = real.position();
    let chips = if random.next().is_multiple_of(4) { Chips::Quiet } else { Chips::Live };
    real.divert(chips).unwrap();
    assert_eq!(real.diverted_from(), Some(here));
    for _ in 0..random.next() % 4 {
        real.write_cpu(&CpuState { rip: CODE + random.next() % INSTRUCTIONS, ..real.cpu() });
        assert_eq!(real.write_linear(LinAddr(0x8ffe + random.next() % 0x2000), &[0xaa; 5]), 5);
        let stop = match random.next() % 3 {
            0 => real.step(Direction::Forward, go).unwrap(),
            _ => real.run_diverted(Some(random.next() % 3000), go).unwrap(),
        };
        assert!(!matches!(stop, Stop::End | Stop::Begin | Stop::Position), "{stop:?}");
    }
    match random.next() % 3 {
        0 => assert_eq!(real.step(Direction::Reverse, go).unwrap(), Stop::Position),
        1 => assert_eq!(real.resume(Direction::Reverse, go).unwrap(), Stop::Position),
        _ => assert_eq!(real.seek(here, go).unwrap(), Stop::Position),
    }
    assert_eq!((real.position(), real.diverted_from()), (here, None));
}

/// One random operation on both; they must agree.
fn operate(real: &mut Timeline<Toy>, naive: &mut Naive, random: &mut Random) -> Stop {
    let go = &mut || false;
    let end = naive.end() as u64;
    let direction = if random.next().is_multiple_of(2) { Direction::Forward } else { Direction::Reverse };
    if random.next().is_multiple_of(6) {
        divert(real, random);
    }
    let kind = random.next() % 12;
    let (expected, actual) = match kind {
        0 => {
            naive.here = (random.next() % (end + 1)) as usize;
            (Stop::Position, real.seek(Icount(naive.here as u64), go).unwrap())
        }
        1..=4 => (naive.step(direction), real.step(direction, &mut || false).unwrap()),
        5..=7 => (naive.resume(direction), real.resume(direction, go).unwrap()),
        8 | 9 => {
            // Common code, rare code, and code that never runs.
            let addr = match random.next() % 4 {
                0 => CODE + 0x3000 + random.next() % 4 * 0x20,
                _ => CODE + random.next() % INSTRUCTIONS,
            };
            let addr = LinAddr(addr);
            let here = naive.here as u64;
            if kind == 8 && naive.breakpoints.len() < 3 {
                assert_eq!(naive.breakpoints.insert(addr), real.add_breakpoint(addr));
            } else {
                for addr in std::mem::take(&mut naive.breakpoints) {
                    assert!(real.remove_breakpoint(addr));
                }
            }
            (Stop::Position, real.seek(Icount(here), go).unwrap())
        }
        10 => {
            if naive.watches.len() < 2 {
                let places = [
                    0x8000,
                    0x8001,
                    0x9000,
                    0xa000,
                    0xc000,
                    0xd000,
                    0x1_8000 + random.next() % 4096,
                    0x1_f000,
                    0xf_0000,
                ];
                let addr = LinAddr(places[random.next() as usize % places.len()]);
                let kinds = [WatchKind::Write, WatchKind::Change, WatchKind::Read, WatchKind::Access];
                let kind = kinds[random.next() as usize % kinds.len()];
                naive.watches.extend(real.add_watchpoint_for(kind, addr, 1 + random.next() % 16));
            } else {
                for w in std::mem::take(&mut naive.watches) {
                    assert!(real.remove_watchpoint_for(w.kind, w.linear, w.len));
                }
            }
            (Stop::Step, Stop::Step)
        }
        _ => {
            let at = (!random.next().is_multiple_of(3)).then(|| random.next() % (end + 1));
            naive.position_break = at.map(|a| a as usize);
            real.set_position_break(at.map(Icount));
            let enough_for_helpers = (random.next() % 2) as usize * (64 << 20);
            real.set_memory_budget((random.next() % 4) as usize * 300_000 + enough_for_helpers);
            real.set_jobs((1 + random.next() % 3) as usize);
            real.set_worth_a_wire([0, 2000, u64::MAX][random.next() as usize % 3]);
            (Stop::Step, Stop::Step)
        }
    };
    assert_eq!((naive.here as u64, &expected), (real.position().0, &actual), "{kind} {direction:?}");
    assert_eq!(real.cpu().linear_pc(), naive.moments[naive.here].pc.0);
    if random.next().is_multiple_of(8) {
        assert_eq!(real.session.hash().unwrap(), naive.moments[naive.here].hash, "at {}", naive.here);
    }
    actual
}

#[test]
fn every_answer_equals_that_of_a_table_of_all_positions() {
    let dir = tempfile::tempdir().unwrap();
    for (seed, every) in [(1, 3000), (2, 1_000_000), (3, 700)] {
        let recording = recorded(dir.path(), seed, every);
        let moments = straight_run(&recording);
        let mut real = Timeline::<Toy>::on(recording).unwrap();
        let mut naive = Naive {
            moments: &moments,
            here: 0,
            breakpoints: BTreeSet::new(),
            watches: BTreeSet::new(),
            position_break: None,
        };
        let mut random = Random(seed);
        let mut seen = [0; 6];
        for _ in 0..1500 {
            match operate(&mut real, &mut naive, &mut random) {
                Stop::Breakpoint(_) => seen[0] += 1,
                Stop::Watch(_) => seen[1] += 1,
                Stop::Position => seen[2] += 1,
                Stop::Begin => seen[3] += 1,
                Stop::End => seen[4] += 1,
                Stop::Event(_) | Stop::Step | Stop::Interrupted | Stop::NoFurther(_) => seen[5] += 1,
            }
        }
        assert!(seen.iter().all(|n| *n > 20), "{seen:?}");
    }
}

#[test]
fn the_next_step_back_starts_near() {
    let dir = tempfile::tempdir().unwrap();
    let recording = recorded(dir.path(), 9, 1_000_000);
    let mut timeline = Timeline::<Toy>::on(recording).unwrap();
    timeline.seek(Icount(29_000), &mut || false).unwrap();
    let nearest = timeline.checkpoints.before(Icount(28_999));
    assert!(29_000 - nearest.0 <= 1024, "{nearest}");
    timeline.step(Direction::Reverse, &mut || false).unwrap();
    assert_eq!(timeline.position(), Icount(28_999));
}

#[test]
fn checkpoints_in_memory_keep_to_their_budget_and_stay_dense_near_the_present() {
    let dir = tempfile::tempdir().unwrap();
    let recording = recorded(dir.path(), 4, 1_000_000);
    let mut timeline = Timeline::<Toy>::on(recording).unwrap();
    for position in (0..STEPS).step_by(100) {
        timeline.seek(Icount(position), &mut || false).unwrap();
        timeline.plant().unwrap();
    }
    let all = timeline.checkpoints.in_memory();
    timeline.set_memory_budget(4 << 20);
    let kept = timeline.checkpoints.in_memory();
    assert!(0 < kept && kept < all, "{kept} of {all}");
    assert!(timeline.checkpoints.bytes() <= 4 << 20);
    let near = timeline.checkpoints.before(timeline.position());
    assert!(timeline.position().0 - near.0 <= 1000, "{near}");
}

#[test]
fn an_interrupted_search_returns_to_where_it_began() {
    let dir = tempfile::tempdir().unwrap();
    let recording = recorded(dir.path(), 5, 1_000_000);
    let mut timeline = Timeline::<Toy>::on(recording).unwrap();
    timeline.seek(Icount(20_000), &mut || false).unwrap();
    let hash = timeline.session.hash().unwrap();
    // It is never true, but the index cannot know.
    timeline.add_breakpoint(LinAddr(CODE));
    timeline.set_condition(Condition::new(|_, _| false));
    assert_eq!(timeline.resume(Direction::Reverse, &mut || true).unwrap(), Stop::Interrupted);
    assert_eq!(timeline.position(), Icount(20_000));
    assert_eq!(timeline.session.hash().unwrap(), hash);
    assert_eq!(timeline.resume(Direction::Reverse, &mut || false).unwrap(), Stop::Begin);
    assert_eq!(timeline.position(), Icount(0));
}

#[test]
fn a_tripwire_leaves_little_of_an_interval_to_be_searched_and_all_that_matters() {
    let dir = tempfile::tempdir().unwrap();
    let recording = recorded(dir.path(), 5, 1_000_000);
    let end = recording.end();
    let moments = straight_run(&recording);
    let mut timeline = Timeline::<Toy>::on(recording).unwrap();
    timeline.set_worth_a_wire(0);
    for (addr, rare) in [(0x8000, false), (0x9000, false), (0xa000, true), (0xa100, true), (0xd000, true)] {
        timeline.add_watchpoint(LinAddr(addr), 8).unwrap();
        let parts = match timeline.scout(Icount(0), end, &mut || false).unwrap() {
            search::Scouted::Torn(parts) => parts,
            // The host has no debug registers for us.
            search::Scouted::Not => return,
            search::Scouted::Interrupted => panic!("nobody interrupts"),
        };
        timeline.remove_watchpoint(LinAddr(addr), 8);
        let stores = |m: &Moment| {
            m.meets.as_ref().is_some_and(|access| access.addr == addr && access.changed.is_some())
        };
        for step in (0..end.0).filter(|step| stores(&moments[*step as usize])) {
            let holds = parts.iter().any(|part| (part.from.0..part.to.0).contains(&step));
            assert!(holds, "{addr:#x} at {step}: {parts:?}");
        }
        let length: u64 = parts.iter().map(|part| part.to.0 - part.from.0).sum();
        assert_eq!(length < end.0 / 2, rare, "{addr:#x}: {parts:?}");
    }
}

#[test]
fn what_was_searched_for_writes_is_not_searched_again() {
    let dir = tempfile::tempdir().unwrap();
    let recording = recorded(dir.path(), 5, 700);
    let end = recording.end();
    for jobs in [1, 3] {
        let mut timeline = Timeline::<Toy>::on(recording.clone()).unwrap();
        timeline.set_jobs(jobs);
        timeline.seek(end, &mut || false).unwrap();
        // Of this page something else is stored to.
        timeline.add_watchpoint(LinAddr(0xa100), 1).unwrap();
        let unknown = |timeline: &mut Timeline<Toy>| {
            (0..end.0).step_by(100).filter(|at| timeline.barren(Icount(*at)).unwrap().is_none()).count()
        };
        assert!(unknown(&mut timeline) > 0);
        assert_eq!(timeline.resume(Direction::Reverse, &mut || false).unwrap(), Stop::Begin);
        assert_eq!(unknown(&mut timeline), 0);
        timeline.remove_watchpoint(LinAddr(0xa100), 1);
        timeline.add_watchpoint(LinAddr(0xa101), 1).unwrap();
        assert!(unknown(&mut timeline) > 0);
    }
}

#[test]
fn helpers_find_the_last_stop_and_nothing_where_there_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let recording = recorded(dir.path(), 5, 700);
    let mut alone = Timeline::<Toy>::on(recording.clone()).unwrap();
    let mut together = Timeline::<Toy>::on(recording).unwrap();
    together.set_jobs(3);
    // A debugger's server always has a condition; nearly always there is nothing to ask it.
    together.set_condition(Condition::new(|_, _| true).idle_when(|| true));
    let end = alone.recording().end();
    for (from, len) in [(end, 8), (Icount(end.0 / 2), 1), (end, 1), (Icount(end.0 / 3 * 2), 2)] {
        let mut stops = 0;
        // Never written, on pages that often are; seldom written; written at random.
        for addr in [0x8010, 0x9010, 0xa000].into_iter().chain((0x1_0000..0x3_0000).step_by(0x1fff)) {
            let found = [&mut alone, &mut together].map(|timeline| {
                timeline.seek(from, &mut || false).unwrap();
                timeline.add_watchpoint(LinAddr(addr), len);
                let stop = timeline.resume(Direction::Reverse, &mut || false).unwrap();
                timeline.watches.clear();
                (stop, timeline.position(), timeline.session.hash().unwrap())
            });
            assert_eq!(found[0], found[1], "{addr:#x}");
            stops += u32::from(found[0].0 != Stop::Begin);
        }
        assert!((1..15).contains(&stops), "from {from}: {stops} stops");
    }
    assert!(together.crew.is_some(), "there was work for helpers");
    let mut calls = 0;
    together.seek(end, &mut || false).unwrap();
    together.add_watchpoint(LinAddr(0x9020), 1);
    let stop = together.resume(Direction::Reverse, &mut || {
        calls += 1;
        calls > 5
    });
    assert_eq!((stop.unwrap(), together.position()), (Stop::Interrupted, end));
    assert_eq!(together.resume(Direction::Reverse, &mut || false).unwrap(), Stop::Begin);
}

/// The steps of `range` that access `addr..addr + len`, by the table.
fn accesses<'a>(
    moments: &'a [Moment],
    kind: WatchKind,
    addr: u64,
    len: u64,
) -> impl DoubleEndedIterator<Item = usize> + 'a {
    let meets = move |m: &Moment| {
        m.meets.as_ref().is_some_and(|access| (addr..addr + len).any(|at| access.counts(kind, at)))
    };
    (0..moments.len()).filter(move |at| meets(&moments[*at]))
}

#[test]
fn questions_about_history_are_answered_as_the_table_says_and_move_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let go = &mut || false;
    for (seed, every) in [(11, 900), (12, 1_000_000)] {
        let recording = recorded(dir.path(), seed, every);
        let moments = straight_run(&recording);
        let mut timeline = Timeline::<Toy>::on(recording).unwrap();
        timeline.seek(Icount(STEPS / 2), go).unwrap();
        timeline.add_breakpoint(LinAddr(CODE + 3));
        let mut random = Random(seed);
        let mut found = [0; 4];
        for _ in 0..120 {
            let addr = [0x9000, 0xa000, 0xc000, 0xd000, 0xf_0000][(random.next() % 5) as usize];
            let kinds = [WatchKind::Write, WatchKind::Change, WatchKind::Read, WatchKind::Access];
            let (kind, len) = (kinds[random.next() as usize % kinds.len()], 1 + random.next() % 8);
            let (at, var) = ((random.next() % STEPS) as usize, LinAddr(addr));
            let position = Icount(at as u64);
            match random.next() % 6 {
                0 => {
                    let expected = accesses(&moments, kind, addr, len).rfind(|step| *step < at);
                    let Answer::Is(met) = timeline.last_access(kind, var, len, position, go).unwrap() else {
                        panic!()
                    };
                    assert_eq!(met.as_ref().map(|m| m.position.0), expected.map(|s| s as u64));
                    found[0] += u32::from(met.is_some());
                }
                1 => {
                    let expected = accesses(&moments, WatchKind::Write, addr, len).find(|step| *step >= at);
                    let Answer::Is(met) = timeline.next_write(var, len, position, go).unwrap() else {
                        panic!()
                    };
                    assert_eq!(met.as_ref().map(|m| m.position.0), expected.map(|s| s as u64));
                    if let Some(met) = met {
                        found[1] += 1;
                        let hash = timeline.session.hash().unwrap();
                        timeline.seek(Icount(met.position.0 + 1), go).unwrap();
                        assert_eq!(timeline.machine().storage()[addr as usize..][..len as usize], met.after);
                        timeline.seek(Icount(STEPS / 2), go).unwrap();
                        assert_eq!(timeline.session.hash().unwrap(), hash);
                    }
                }
                2 => {
                    let steps: Vec<_> =
                        accesses(&moments, kind, addr, len).filter(|s| *s >= at / 2 && *s < at).collect();
                    let range = Icount(at as u64 / 2)..position;
                    let Answer::Is(count) =
                        timeline.count_accesses(kind, var, len, range.clone(), go).unwrap()
                    else {
                        panic!()
                    };
                    assert_eq!(count.steps, steps.len() as u64);
                    assert_eq!(count.last.map(|p| p.0), steps.last().map(|s| *s as u64));
                    let most = (random.next() % 20) as usize;
                    let writes =
                        accesses(&moments, WatchKind::Write, addr, len).filter(|s| *s >= at / 2 && *s < at);
                    let Answer::Is(values) = timeline.values(var, len, range, most, go).unwrap() else {
                        panic!()
                    };
                    let got: Vec<_> = values.iter().map(|v| v.position.0 as usize).collect();
                    assert_eq!(got, writes.take(most).collect::<Vec<_>>());
                    for value in values.iter().take(3) {
                        found[2] += 1;
                        timeline.seek(Icount(value.position.0 + 1), go).unwrap();
                        let held = &timeline.machine().storage()[addr as usize..][..len as usize];
                        assert_eq!(held, &value.value[..len as usize]);
                    }
                    timeline.seek(Icount(STEPS / 2), go).unwrap();
                }
                n => {
                    let pc = LinAddr(CODE + [5, 11, 0x3000, 0x3020, 0x3060][(random.next() % 5) as usize]);
                    let runs = |step: &usize| moments[*step].runs && moments[*step].pc == pc;
                    let end = moments.len() - 1;
                    let answer = |position: Option<usize>| Answer::Is(position.map(|s| Icount(s as u64)));
                    if n == 3 {
                        assert_eq!(timeline.first_exec(pc, go).unwrap(), answer((0..end).find(runs)));
                    } else if n == 4 {
                        let expected = answer((0..at).rfind(runs));
                        assert_eq!(timeline.last_exec(pc, position, go).unwrap(), expected);
                    } else {
                        let Answer::Is(count) = timeline.count_execs(pc, Icount(0)..position, go).unwrap()
                        else {
                            panic!()
                        };
                        assert_eq!(count.steps as usize, (0..at).filter(runs).count(), "{pc:?} to {at}");
                        found[3] += u32::from(count.steps > 0);
                    }
                }
            }
            assert_eq!(timeline.position(), Icount(STEPS / 2));
        }
        assert!(found.iter().all(|n| *n > 3), "{found:?}");
    }
}

#[test]
fn only_breakpoints_whose_condition_holds_count_both_ways() {
    let dir = tempfile::tempdir().unwrap();
    let recording = recorded(dir.path(), 11, 5000);
    let moments = straight_run(&recording);
    let pc = moments.iter().filter(|m| m.runs).map(|m| m.pc).nth(100).unwrap();
    let counts = |machine: &Toy| machine.position().0 % 7 == 3;
    let expected: Vec<u64> = (1..)
        .zip(&moments[1..])
        .filter(|(position, m)| m.runs && m.pc == pc && position % 7 == 3)
        .map(|(position, _)| position)
        .collect();
    assert!(expected.len() > 10);
    let mut timeline = Timeline::<Toy>::on(recording).unwrap();
    timeline.add_breakpoint(pc);
    timeline.set_condition(Condition::new(move |machine: &Toy, _| counts(machine)));
    let mut walk = |direction, end| {
        let mut stops = Vec::new();
        loop {
            match timeline.resume(direction, &mut || false).unwrap() {
                Stop::Breakpoint(_) => stops.push(timeline.position().0),
                stop => break assert_eq!(stop, end),
            }
        }
        stops
    };
    assert_eq!(walk(Direction::Forward, Stop::End), expected);
    let mut back = walk(Direction::Reverse, Stop::Begin);
    back.retain(|position| *position != 0);
    back.reverse();
    assert_eq!(back, expected);
    // Questions are not asked of the user's breakpoints.
    let first = moments.iter().position(|m| m.runs && m.pc == pc).unwrap() as u64;
    let answer = timeline.first_exec(pc, &mut || false).unwrap();
    assert_eq!(answer, Answer::Is(Some(Icount(first))));
}

#[test]
fn a_diversion_stops_behind_the_store_that_a_watchpoint_waits_for() {
    let dir = tempfile::tempdir().unwrap();
    let recording = recorded(dir.path(), 5, 4000);
    let mut timeline = Timeline::<Toy>::on(recording.clone()).unwrap();
    let mut other = Timeline::<Toy>::on(recording).unwrap();
    let (go, from) = (&mut || false, Icount(10_000));
    for timeline in [&mut timeline, &mut other] {
        timeline.seek(from, go).unwrap();
        timeline.divert(Chips::Live).unwrap();
        timeline.write_linear(LinAddr(0x9000), &[7; 8]);
    }
    timeline.add_watchpoint(LinAddr(0x9000), 8).unwrap();
    for _ in 0..20 {
        let before = timeline.machine().storage()[0x9000..0x9008].to_vec();
        assert!(matches!(timeline.resume(Direction::Forward, go).unwrap(), Stop::Watch(_)));
        assert_ne!(timeline.machine().storage()[0x9000..0x9008], before);
        // As one sees it that goes there step by step.
        while other.position() < timeline.position() {
            assert_eq!(other.machine().storage()[0x9000..0x9008], before);
            other.step(Direction::Forward, go).unwrap();
        }
        assert_eq!(other.hash().unwrap(), timeline.hash().unwrap());
    }
    assert_eq!(timeline.diverted_from(), Some(from));
}
