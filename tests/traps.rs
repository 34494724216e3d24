//! Stops at ports, interrupts, exceptions, address spaces and physical addresses: forward and backward the same ones, and they
//! are those that a walk through all single steps finds.

use retrograde_tests::build_guest;
use retrograde_tests::recordings::{open, record_kernel};
use snapshots::session::Reached;
use snapshots::{Answer, Condition, Direction, Recording, Session, Stop, Timeline};
use std::collections::BTreeSet;
use std::sync::Arc;
use tempfile::tempdir;
use vm::watch::WatchHit;
use vm::{Event, Icount, Machine, PhysAddr, Trap, WatchKind};

fn never() -> bool {
    false
}

/// All stops for a trap, from the start on: position behind the step, and what it did.
fn forward(timeline: &mut Timeline) -> Vec<(u64, Stop)> {
    timeline.seek(Icount(0), &mut never).unwrap();
    let mut stops = Vec::new();
    loop {
        match timeline.resume(Direction::Forward, &mut never).unwrap() {
            Stop::End => return stops,
            stop => stops.push((timeline.position().0, stop)),
        }
    }
}

/// The same from the end back: position before the step.
fn backward(timeline: &mut Timeline) -> Vec<(u64, Stop)> {
    timeline.seek(timeline.recording().end(), &mut never).unwrap();
    let mut stops = Vec::new();
    loop {
        match timeline.resume(Direction::Reverse, &mut never).unwrap() {
            Stop::Begin => break,
            stop => stops.push((timeline.position().0, stop)),
        }
    }
    stops.reverse();
    stops
}

fn check(recording: &Arc<Recording>, trap: Trap) -> Vec<(u64, Event)> {
    let mut timeline = Timeline::new(recording.clone()).unwrap();
    assert!(timeline.add_trap(trap));
    let forward: Vec<_> = forward(&mut timeline).into_iter().map(|(at, stop)| (at - 1, stop)).collect();
    assert_eq!(forward, backward(&mut timeline), "{trap:?}");
    let events = forward.into_iter().map(|(at, stop)| match stop {
        Stop::Event(event) if trap.matches(&event) => (at, event),
        other => panic!("{trap:?}: {other:?}"),
    });
    events.collect()
}

fn walked(recording: &Arc<Recording>, traps: &[Trap], to: u64) -> Vec<(u64, Event)> {
    let mut session = Session::<Machine>::new(recording.clone()).unwrap();
    session.arm(&BTreeSet::new(), &[], &traps.iter().copied().collect());
    let mut events = Vec::new();
    while session.position().0 < to {
        let here = session.position().0;
        if let Reached::Watchpoint { position, hit: WatchHit::Event(event) } =
            session.run_to(Icount(here + 1)).unwrap()
        {
            assert_eq!((position.0, session.position().0), (here, here + 1));
            events.push((here, event));
        }
    }
    events
}

#[test]
fn what_a_32_bit_kernel_does_is_met_both_ways() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("loop.rgr");
    record_kernel(&build_guest("loop"), "iterations=200000", 33, &path);
    let recording = open(&path);
    let interrupt = Trap::Interrupt(0x20);
    let interrupts = check(&recording, interrupt);
    let taken: Vec<_> = recording.interrupts().unwrap().iter().map(|i| i.position.0).collect();
    assert!(!taken.is_empty());
    assert_eq!(interrupts.iter().map(|(at, _)| *at).collect::<Vec<_>>(), taken);
    let eoi = Trap::Port { first: 0x20, last: 0x20, kind: WatchKind::Write };
    let ends = check(&recording, eoi);
    assert!(
        ends.iter().filter(|(_, event)| matches!(event, Event::Port { value: 0x20, .. })).count()
            >= taken.len()
    );
    assert_eq!(check(&recording, Trap::Port { first: 0x20, last: 0x20, kind: WatchKind::Read }), []);
    assert_eq!(check(&recording, Trap::Exception(14)), []);
    let to = 20_000.min(recording.end().0);
    let expected: Vec<_> = interrupts.iter().chain(&ends).filter(|(at, _)| *at < to).copied().collect();
    let mut walked = walked(&recording, &[interrupt, eoi], to);
    walked.sort_by_key(|(at, _)| *at);
    let mut sorted = expected;
    sorted.sort_by_key(|(at, _)| *at);
    assert_eq!(walked, sorted);
}

#[test]
fn a_condition_is_looked_at_behind_the_step() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("loop.rgr");
    record_kernel(&build_guest("loop"), "iterations=200000", 33, &path);
    let recording = open(&path);
    let all = Trap::Port { first: 0, last: u16::MAX, kind: WatchKind::Write };
    let every = check(&recording, all);
    let mut timeline = Timeline::new(recording).unwrap();
    timeline.add_trap(all);
    timeline.set_condition(Condition::new(|_: &Machine, _| true).with_events(|machine, event| {
        let value = machine.cpu().gpr[0] & 0xff;
        matches!(event, Event::Port { size: 1, value: written, .. } if u64::from(*written) == value && value == 0x20)
    }));
    let expected: Vec<_> = every
        .into_iter()
        .filter(|(_, event)| matches!(event, Event::Port { size: 1, value: 0x20, .. }))
        .map(|(at, event)| (at, Stop::Event(event)))
        .collect();
    assert!(!expected.is_empty());
    assert_eq!(backward(&mut timeline), expected);
    let forward: Vec<_> = forward(&mut timeline).into_iter().map(|(at, stop)| (at - 1, stop)).collect();
    assert_eq!(forward, expected);
}

#[test]
fn code_by_its_physical_address_is_met_wherever_it_is_mapped() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("pages.rgr");
    record_kernel(&build_guest("pages"), "", 33, &path);
    let recording = open(&path);
    let mut timeline = Timeline::new(recording.clone()).unwrap();
    timeline.seek(recording.end(), &mut never).unwrap();
    timeline.step(Direction::Reverse, &mut never).unwrap();
    let (last, pc) = (timeline.position(), timeline.cpu().linear_pc());
    let phys = timeline.machine().translate(vm::LinAddr(pc)).unwrap();
    timeline.add_trap(Trap::Execute(phys));
    timeline.seek(recording.end(), &mut never).unwrap();
    assert_eq!(timeline.resume(Direction::Reverse, &mut never).unwrap(), Stop::Breakpoint(vm::LinAddr(pc)));
    assert_eq!(timeline.position(), last);
    timeline.seek(Icount(0), &mut never).unwrap();
    assert_eq!(timeline.resume(Direction::Forward, &mut never).unwrap(), Stop::Breakpoint(vm::LinAddr(pc)));
    assert!(timeline.position() <= last);
    assert!(timeline.remove_trap(&Trap::Execute(phys)));
    timeline.add_trap(Trap::Execute(PhysAddr(phys.0 ^ 0x80_0000)));
    assert_eq!(timeline.resume(Direction::Forward, &mut never).unwrap(), Stop::End);
}

#[test]
fn exceptions_and_address_spaces_of_linux_are_found() {
    let recording = open(&retrograde_tests::recordings::linux_recording());
    let mut timeline = Timeline::new(recording.clone()).unwrap();
    let end = recording.end();
    timeline.seek(end, &mut never).unwrap();
    for trap in [Trap::Exception(14), Trap::AddressSpace(None), Trap::Interrupt(0xec)] {
        let Answer::Is(Some(last)) = timeline.last_event(trap, end, &mut never).unwrap() else {
            panic!("{trap:?}")
        };
        assert_eq!(timeline.next_event(trap, last, &mut never).unwrap(), Answer::Is(Some(last)));
        let behind = Icount(last.0 + 1);
        assert_eq!(timeline.next_event(trap, behind, &mut never).unwrap(), Answer::Is(None), "{trap:?}");
        assert_eq!(timeline.position(), end);
        timeline.add_trap(trap);
        assert!(matches!(timeline.resume(Direction::Reverse, &mut never).unwrap(), Stop::Event(_)));
        assert_eq!(timeline.position(), last);
        timeline.remove_trap(&trap);
        timeline.seek(end, &mut never).unwrap();
    }
    // What never came is known from the index.
    let started = std::time::Instant::now();
    assert_eq!(timeline.last_event(Trap::Exception(17), end, &mut never).unwrap(), Answer::Is(None));
    println!("an exception that never came: {:.1?}", started.elapsed());
}
