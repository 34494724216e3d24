//! Guests that each check one behaviour of the processor by themselves: in our machine, again from a recording, and in QEMU.
//!
//! `CPU_GUESTS=name,name` runs only these.

use retrograde_tests::cpu_guests::{
    End, Guest, build_cpu_guest, cpu_guests, cpu_machine, run_to_end, where_it_failed,
};
use retrograde_tests::qemu::Qemu;
use retrograde_tests::random::Random;
use std::fs;
use std::time::Duration;
use vm::{Exit, Icount, Machine, RunLimit, VmTime};

/// A guest ends within so many steps.
const MOST_STEPS: u64 = 20_000_000;
/// In QEMU it ends within this time.
const QEMU_LIMIT: Duration = Duration::from_secs(20);
/// isa-debug-exit of QEMU: the status is twice the value and one.
const QEMU_PASS: i32 = 0x10 << 1 | 1;

/// Runs each guest and panics with all that did not do what the table says.
fn each(check: impl Fn(&Guest) -> Result<(), String>) {
    let failures: Vec<String> = cpu_guests()
        .iter()
        .filter_map(|guest| match check(guest) {
            Ok(()) => {
                println!("{}: PASS", guest.name);
                None
            }
            Err(why) => Some(format!("{}: {why}", guest.name)),
        })
        .collect();
    assert!(failures.is_empty(), "{} guests:\n{}", failures.len(), failures.join("\n"));
}

/// The outcome of a run of ours: `Ok` if it ended as a guest that passes does.
fn outcome(guest: &Guest, exit: &Exit, console: &[u8]) -> Result<(), String> {
    let passed = match guest.end {
        End::Pass => *exit == Exit::DebugExit(0x10),
        End::Reset => matches!(exit, Exit::Reset | Exit::TripleFault) && console == b"T",
    };
    if passed { Ok(()) } else { Err(format!("{exit:?}, {}", where_it_failed(guest, console))) }
}

#[test]
fn each_passes_in_our_machine_and_from_its_recording() {
    each(|guest| {
        let kernel = fs::read(build_cpu_guest(guest)).expect("the image");
        let mut free = cpu_machine(guest, &kernel);
        let (exit, console) = run_to_end(&mut free, MOST_STEPS)?;
        match (outcome(guest, &exit, &console), guest.known) {
            (Ok(()), None) => {}
            (Err(why), None) => return Err(why),
            (Err(how), Some(why)) => println!("{}: known difference: {why}: {how}", guest.name),
            (Ok(()), Some(why)) => return Err(format!("passes now; it was known to fail: {why}")),
        }
        replays(guest, &kernel, &mut free)
    });
}

/// Follows the interrupts that were taken in random strides; the end is the same.
fn replays(guest: &Guest, kernel: &[u8], free: &mut Machine) -> Result<(), String> {
    let end = free.position().0;
    let mut again = cpu_machine(guest, kernel);
    again.follow(Some(free.take_interrupts()));
    let mut random = Random::new(end);
    while again.position().0 < end {
        let goal = (again.position().0 + 1 + random.below(1000)).min(end);
        let limit = RunLimit { position: Icount(goal), time: VmTime(u64::MAX) };
        match again.run(limit).map_err(|error| format!("replay: {error}"))? {
            Exit::Position => {}
            exit => return Err(format!("replay: {exit:?} at {} of {end}", again.position())),
        }
    }
    let (recorded, replayed) = (free.save(), again.save());
    if recorded.cpu != replayed.cpu {
        return Err(format!("replay ends with other registers:\n{:x?}\n{:x?}", recorded.cpu, replayed.cpu));
    }
    if free.hash() != again.hash() {
        return Err("replay ends with another hash".into());
    }
    Ok(())
}

#[test]
fn each_passes_in_qemu_where_qemu_is_right() {
    each(|guest| {
        if let Some(how) = guest.qemu_is_wrong {
            println!("{}: QEMU is wrong: {how}", guest.name);
            return Ok(());
        }
        let image = build_cpu_guest(guest);
        let log = image.with_extension("qemu-console");
        let console = format!("file:{}", log.display());
        let options = [["-debugcon", console.as_str()].as_slice(), &guest.qemu_options()].concat();
        let (status, _) = Qemu::start_with(&options, &image, None, "").wait_for_end(QEMU_LIMIT);
        let console = fs::read(&log).expect("what it wrote to the debug console");
        let passed = match guest.end {
            End::Pass => status.code() == Some(QEMU_PASS),
            End::Reset => status.code() == Some(0) && console == b"T",
        };
        if passed {
            return Ok(());
        }
        Err(format!("{status}, {}", where_it_failed(guest, &console)))
    });
}
