//! A timeline takes no more memory than it was given, however much is asked of it.

use retrograde_tests::random::Random;
use retrograde_tests::recordings::{linux_recording, open};
use snapshots::{Direction, Timeline};
use vm::{Icount, LinAddr};

/// Less than the checkpoints of this test would take.
const BUDGET: usize = 160 << 20;
/// What the program may take beside the guest's memory and the budget.
const PROGRAM: usize = 200 << 20;
const SEEKS: usize = 120;

/// Largest resident memory of this process so far, in bytes ("proc_pid_status(5)", VmHWM).
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") << 10
}

#[test]
fn a_timeline_keeps_to_its_memory_budget() {
    let recording = open(&linux_recording());
    let guest = recording.config().storage_bytes() as usize;
    let end = recording.end().0;
    let mut timeline = Timeline::new(recording).unwrap();
    timeline.set_memory_budget(BUDGET);
    timeline.set_jobs(4);
    let mut random = Random::new(1);
    for _ in 0..SEEKS {
        timeline.seek(Icount(random.below(end)), &mut || false).unwrap();
        for _ in 0..5 {
            timeline.step(Direction::Reverse, &mut || false).unwrap();
        }
    }
    // And a search, as far as it comes.
    let pc = timeline.cpu().linear_pc();
    timeline.add_breakpoint(LinAddr(pc));
    let mut patience = 400;
    timeline
        .resume(Direction::Reverse, &mut || {
            patience -= 1;
            patience == 0
        })
        .unwrap();
    let peak = peak();
    println!("guest {} MiB, budget {} MiB, peak {} MiB", guest >> 20, BUDGET >> 20, peak >> 20);
    assert!(peak <= guest + BUDGET + PROGRAM, "{} MiB", peak >> 20);
    assert!(peak >= BUDGET, "the budget was not filled: {} MiB", peak >> 20);
}
