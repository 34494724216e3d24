//! Going back through a Linux boot shows exactly what going forward showed.

use retrograde_tests::random::Random;
use retrograde_tests::recordings::{linux_recording, open};
use snapshots::{Answer, Chips, Direction, Recording, Session, Stop, Timeline};
use std::sync::Arc;
use vm::{CpuState, Icount, Input, LinAddr, Machine, Trap};

/// Positions in a window. Five windows make ten thousand.
const WINDOW: u64 = 2_000;
/// Positions in a window at which all of the machine is compared, RAM included.
const HASHES: u64 = 20;

fn never() -> bool {
    false
}

/// What is compared at a position.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    cpu: CpuState,
    now: u64,
    hash: Option<u64>,
}

fn look(machine: &Machine, with_hash: bool) -> Seen {
    Seen { cpu: machine.cpu(), now: machine.now().0, hash: with_hash.then(|| machine.hash()) }
}

/// Steps over a window whose middle is `middle`, forward and then back; what was seen, by position.
fn walk(timeline: &mut Timeline, middle: Icount) -> Vec<Seen> {
    let first = Icount(middle.0 - WINDOW / 2);
    let with_hash = |step: u64| step.is_multiple_of(WINDOW / HASHES);
    timeline.seek(first, &mut never).unwrap();
    let mut forward = vec![look(timeline.machine(), true)];
    for step in 1..=WINDOW {
        assert_eq!(timeline.step(Direction::Forward, &mut || false).unwrap(), Stop::Step);
        assert_eq!(timeline.position(), Icount(first.0 + step));
        forward.push(look(timeline.machine(), with_hash(step)));
    }
    for step in (0..WINDOW).rev() {
        assert_eq!(timeline.step(Direction::Reverse, &mut || false).unwrap(), Stop::Step);
        assert_eq!(timeline.position(), Icount(first.0 + step));
        let back = look(timeline.machine(), with_hash(step));
        assert_eq!(back, forward[step as usize], "position {} seen going back, and forward", first.0 + step);
    }
    forward
}

/// How often neighbouring states are as `is` says.
fn count(seen: &[Seen], is: impl Fn(&Seen, &Seen) -> bool) -> usize {
    seen.windows(2).filter(|pair| is(&pair[0], &pair[1])).count()
}

/// Where the first command was typed: the shell runs from there on.
fn typed_at(recording: &Recording) -> Icount {
    let mut inputs = recording.inputs().unwrap().into_iter();
    inputs.find(|(_, _, input)| matches!(input, Input::Serial { .. })).expect("typed commands").0
}

/// Address of the handler of an exception in long mode.
fn handler(machine: &Machine, vector: u64) -> LinAddr {
    let mut gate = [0; 16];
    let at = LinAddr(machine.cpu().idtr.base + vector * 16);
    assert_eq!(machine.read_linear(at, &mut gate), 16, "the table of gates is mapped");
    let part =
        |at: usize, len: usize| gate[at..at + len].iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte));
    LinAddr(part(0, 2) | part(6, 2) << 16 | part(8, 4) << 32)
}

/// The next position after `from` at which `addr` is about to run, coming from user mode.
fn entry_from_user_mode(timeline: &mut Timeline, from: Icount, addr: LinAddr) -> Icount {
    timeline.seek(from, &mut never).unwrap();
    timeline.add_breakpoint(addr);
    loop {
        assert_eq!(timeline.resume(Direction::Forward, &mut never).unwrap(), Stop::Breakpoint(addr));
        let here = timeline.position();
        timeline.seek(Icount(here.0 - 1), &mut never).unwrap();
        if timeline.cpu().cpl() == 3 {
            timeline.remove_breakpoint(addr);
            return here;
        }
        timeline.seek(here, &mut never).unwrap();
    }
}

#[test]
fn around_system_calls() {
    let recording = open(&linux_recording());
    let mut timeline = Timeline::new(recording.clone()).unwrap();
    timeline.seek(typed_at(&recording), &mut never).unwrap();
    let entry = LinAddr(timeline.cpu().msr.lstar);
    let middle = entry_from_user_mode(&mut timeline, typed_at(&recording), entry);
    let seen = walk(&mut timeline, middle);
    let calls = count(&seen, |a, b| a.cpu.cpl() == 3 && b.cpu.cpl() == 0 && b.cpu.rip == entry.0);
    assert!(calls > 0, "there is a system call in the window");
    assert!(count(&seen, |a, b| a.cpu.cpl() == 0 && b.cpu.cpl() == 3) > 0, "and a return");
}

#[test]
fn around_page_faults() {
    let recording = open(&linux_recording());
    let mut timeline = Timeline::new(recording.clone()).unwrap();
    timeline.seek(typed_at(&recording), &mut never).unwrap();
    let page_fault = handler(timeline.machine(), 14);
    let middle = entry_from_user_mode(&mut timeline, typed_at(&recording), page_fault);
    let seen = walk(&mut timeline, middle);
    let faults = count(&seen, |a, b| a.cpu.cpl() == 3 && b.cpu.rip == page_fault.0 && a.cpu.cr2 != b.cpu.cr2);
    assert!(faults > 0, "there is a page fault in the window");
}

/// An instruction that cannot be fetched is a position like any other, although no code of it ever ran.
#[test]
fn at_faults_of_the_fetch_of_an_instruction() {
    const STEPS: u64 = 20_000_000;
    const PAGE_FAULT: u8 = 14;
    const FETCHED: u64 = 1 << 4;
    let recording = open(&linux_recording());
    let mut timeline = Timeline::new(recording.clone()).unwrap();
    let from = typed_at(&recording);
    let range = from..Icount(from.0 + STEPS);
    let Answer::Is(faults) =
        timeline.events(Trap::Exception(PAGE_FAULT), range, usize::MAX, &mut never).unwrap()
    else {
        panic!("nobody interrupts");
    };
    let mut fetches = 0;
    for Icount(at) in faults.into_iter().map(|noted| noted.position) {
        timeline.seek(Icount(at), &mut never).unwrap();
        assert_eq!(timeline.position(), Icount(at));
        let before = look(timeline.machine(), false);
        let pc = LinAddr(before.cpu.linear_pc());
        assert_eq!(timeline.step(Direction::Forward, &mut never).unwrap(), Stop::Step);
        let mut error = [0; 8];
        timeline.machine().read_linear(LinAddr(timeline.cpu().gpr[4]), &mut error);
        if u64::from_le_bytes(error) & FETCHED == 0 {
            continue;
        }
        fetches += 1;
        assert_eq!(timeline.step(Direction::Reverse, &mut never).unwrap(), Stop::Step);
        assert_eq!(timeline.position(), Icount(at));
        assert_eq!(look(timeline.machine(), false), before);
        timeline.add_breakpoint(pc);
        for (from, direction) in [(at - 1, Direction::Forward), (at + 1, Direction::Reverse)] {
            timeline.seek(Icount(from), &mut never).unwrap();
            assert_eq!(timeline.resume(direction, &mut never).unwrap(), Stop::Breakpoint(pc));
            assert_eq!(timeline.position(), Icount(at), "{direction:?}");
        }
        timeline.remove_breakpoint(pc);
    }
    assert!(fetches > 0, "some page of a program is fetched from for the first time");
}

#[test]
fn around_interrupts_of_the_kernel() {
    let recording = open(&linux_recording());
    let mut timeline = Timeline::new(recording.clone()).unwrap();
    // Where they come thickest: the most interrupts within a window.
    let positions: Vec<u64> = recording.interrupts().unwrap().iter().map(|taken| taken.position.0).collect();
    let thick = |first: &u64| positions.iter().filter(|p| (*first..first + WINDOW).contains(p)).count();
    let first = positions.iter().copied().max_by_key(thick).expect("interrupts");
    let middle = Icount(first + WINDOW / 2 - 1);
    let taken = recording.interrupts_between(Icount(first), Icount(first + WINDOW - 2)).unwrap().len();
    let seen = walk(&mut timeline, middle);
    // A delivery is a step that pushes and clears IF; the number of them that show is at least one.
    assert!(taken > 0, "there are interrupts in the window");
    let deliveries = count(&seen, |a, b| a.cpu.rflags & 0x200 != 0 && b.cpu.rflags & 0x200 == 0);
    assert!(deliveries >= taken, "{deliveries} times IF was cleared, {taken} interrupts");
}

#[test]
fn around_an_interrupt_in_user_mode() {
    let recording = open(&linux_recording());
    let mut timeline = Timeline::new(recording.clone()).unwrap();
    let after = recording.interrupts_between(typed_at(&recording), recording.end()).unwrap();
    let in_user_mode = after.iter().map(|taken| taken.position).find(|position| {
        timeline.seek(*position, &mut never).unwrap();
        timeline.cpu().cpl() == 3
    });
    let middle = in_user_mode.expect("the loop in the shell is interrupted");
    let seen = walk(&mut timeline, middle);
    let delivery = &seen[WINDOW as usize / 2..][..2];
    assert_eq!((delivery[0].cpu.cpl(), delivery[1].cpu.cpl()), (3, 0));
    let vector = recording.interrupts_between(middle, Icount(middle.0 + 1)).unwrap()[0].vector;
    timeline.seek(Icount(middle.0 + 1), &mut never).unwrap();
    assert_eq!(handler(timeline.machine(), u64::from(vector.0)).0, delivery[1].cpu.rip);
}

#[test]
fn around_an_input_that_ends_a_halt() {
    let recording = open(&linux_recording());
    let mut timeline = Timeline::new(recording.clone()).unwrap();
    let halted = recording.inputs().unwrap().into_iter().map(|(position, ..)| position).find(|position| {
        timeline.seek(*position, &mut never).unwrap();
        timeline.cpu().halted
    });
    let middle = halted.expect("the shell waits for input");
    let seen = walk(&mut timeline, middle);
    let [before, after] = [0, 1].map(|step| &seen[WINDOW as usize / 2 + step]);
    assert!(before.cpu.halted && !after.cpu.halted);
    assert!(after.now > before.now + 8, "time was skipped in the halt");
}

#[test]
fn seeks_in_random_order_equal_a_straight_run() {
    const SEEKS: u64 = 200;
    let recording = open(&linux_recording());
    let mut random = Random::new(0x5eec);
    let mut positions: Vec<Icount> =
        (0..SEEKS).map(|_| Icount(random.below(recording.end().0 + 1))).collect();
    positions.sort_unstable();
    let with_hash = |index: usize| index.is_multiple_of(8);
    let straight = straight_run(&recording, &positions, with_hash);

    let mut order: Vec<usize> = (0..positions.len()).collect();
    random.shuffle(&mut order);
    let mut timeline = Timeline::new(recording).unwrap();
    for index in order {
        assert_eq!(timeline.seek(positions[index], &mut never).unwrap(), Stop::Position);
        assert_eq!(timeline.position(), positions[index]);
        let seen = look(timeline.machine(), with_hash(index));
        assert_eq!(seen, straight[index], "position {}", positions[index]);
    }
}

/// What a session that never stops elsewhere sees at `positions`, which ascend.
fn straight_run(
    recording: &Arc<Recording>,
    positions: &[Icount],
    with_hash: impl Fn(usize) -> bool,
) -> Vec<Seen> {
    let mut session = Session::<Machine>::new(recording.clone()).unwrap();
    let mut seen = Vec::new();
    for (index, position) in positions.iter().enumerate() {
        session.run_to(*position).unwrap();
        assert_eq!(session.position(), *position);
        seen.push(look(session.machine(), with_hash(index)));
    }
    seen
}

#[test]
fn a_diversion_leaves_nothing_behind() {
    const DIVERSIONS: u64 = 12;
    let recording = open(&linux_recording());
    let mut timeline = Timeline::new(recording.clone()).unwrap();
    let (from, end) = (typed_at(&recording).0, recording.end().0);
    let mut random = Random::new(17);
    for round in 0..DIVERSIONS {
        let at = Icount(from + random.below(end - from));
        timeline.seek(at, &mut never).unwrap();
        let before = look(timeline.machine(), true);
        timeline.divert(if round % 2 == 0 { Chips::Live } else { Chips::Quiet }).unwrap();
        let mut cpu = timeline.cpu();
        timeline.write_linear(LinAddr(cpu.gpr[4]), &[0xa5; 64]);
        cpu.gpr[0] ^= 1;
        timeline.write_cpu(&cpu);
        let mut asked = 0;
        timeline
            .resume(Direction::Forward, &mut || {
                asked += 1;
                asked > 3
            })
            .unwrap();
        assert_ne!(look(timeline.machine(), true).hash, before.hash);
        timeline.seek(at, &mut never).unwrap();
        assert_eq!(look(timeline.machine(), true), before, "{at}");
    }
}
