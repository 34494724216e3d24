//! Random short instruction sequences end in the same state whether they run in one go, step by step, or are saved in the
//! middle and go on in another machine.
//!
//! `SEQUENCES=n` runs n of them instead of 1500, from the seed `SEQUENCE_FIRST` on; `SEQUENCE_SEED=n` only that one (all
//! decimal). A hundred thousand, which take some 25 minutes, are for the night:
//!
//! ```text
//! SEQUENCES=100000 cargo test --release --locked -p retrograde-tests --test sequences -- --nocapture
//! ```

use retrograde_tests::random::Random;
use retrograde_tests::sequences::{Sequence, new_machine, set};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use std::{env, process, thread};
use vm::{CpuState, Exit, Icount, Machine, MachineState, RunLimit, VmTime};

const DEFAULT_CASES: u64 = 1500;
/// Time that may be skipped in a halt: a case that waits is at its end.
const MOST_TIME_NS: u64 = 10_000_000;
/// Every so many cases the machine that goes on in the middle is a new one.
const NEW_MACHINE_EVERY: u64 = 50;

fn run(machine: &mut Machine, position: u64) -> Result<Exit, String> {
    let limit = RunLimit { position: Icount(position), time: VmTime(MOST_TIME_NS) };
    machine.run(limit).map_err(|error| error.to_string())
}

/// What is compared.
#[derive(PartialEq)]
struct End {
    exit: Exit,
    state: MachineState,
    ram: Vec<u8>,
}

fn end(machine: &Machine, exit: Exit) -> End {
    End { exit, state: machine.save(), ram: machine.storage().to_vec() }
}

/// `looping`: at the end is a loop that changes nothing, which is noticed where a run starts in it.
fn in_one_go(machine: &mut Machine, steps: u64, looping: bool) -> Result<Exit, String> {
    match run(machine, steps)? {
        Exit::Position if looping => run(machine, steps + 1),
        exit => Ok(exit),
    }
}

fn step_by_step(machine: &mut Machine, steps: u64) -> Result<Exit, String> {
    loop {
        let next = machine.position().0 + 1;
        let exit = run(machine, next.min(steps))?;
        if exit != Exit::Position || next >= steps {
            return Ok(exit);
        }
    }
}

fn difference(a: &End, b: &End) -> String {
    if a.exit != b.exit || a.state.position != b.state.position {
        return format!("{:?} at {}, and {:?} at {}", a.exit, a.state.position, b.exit, b.state.position);
    }
    if a.state.cpu != b.state.cpu {
        return format!("registers: {}", differing_lines(&a.state.cpu, &b.state.cpu));
    }
    if a.state != b.state {
        return "the board".into();
    }
    let at = a.ram.iter().zip(&b.ram).position(|(a, b)| a != b);
    at.map_or("nothing".into(), |at| format!("RAM at {at:#x}: {:#x}, {:#x}", a.ram[at], b.ram[at]))
}

/// The fields that differ, one value after the other.
fn differing_lines(a: &CpuState, b: &CpuState) -> String {
    let (a, b) = (format!("{a:#x?}"), format!("{b:#x?}"));
    let differing = a.lines().zip(b.lines()).enumerate().filter(|(_, (a, b))| a != b);
    differing.map(|(line, (a, b))| format!("[{line}: {}, {}]", a.trim(), b.trim())).collect()
}

struct Machines {
    power_on: MachineState,
    straight: Machine,
    stepped: Machine,
    resumed: Machine,
}

impl Machines {
    fn new() -> Machines {
        let straight = new_machine();
        Machines { power_on: straight.save(), straight, stepped: new_machine(), resumed: new_machine() }
    }

    /// Runs a sequence in each way; the error says what differs.
    fn check(&mut self, seed: u64, sequence: &Sequence, fresh: bool) -> Result<(), String> {
        let (ram, steps) = (&sequence.ram, sequence.steps);
        let start = MachineState { cpu: sequence.cpu.clone(), ..self.power_on.clone() };

        set(&mut self.stepped, ram, &start);
        let exit = step_by_step(&mut self.stepped, steps)?;
        let stepped = end(&self.stepped, exit);

        // Steps are the first to notice that nothing changes any more.
        let looping = stepped.exit == Exit::HaltedForever && !stepped.state.cpu.halted;
        let steps = if looping { stepped.state.position.0 } else { steps };
        set(&mut self.straight, ram, &start);
        let exit = in_one_go(&mut self.straight, steps, looping)?;
        let straight = end(&self.straight, exit);
        if straight != stepped {
            let first = self.first_difference(sequence, &start)?;
            return Err(format!("steps differ in {}; {first}", difference(&straight, &stepped)));
        }

        let reached = straight.state.position.0;
        let middle = Random::new(!seed).below(reached + 1);
        set(&mut self.stepped, ram, &start);
        if let Exit::Reset | Exit::PowerOff = run(&mut self.stepped, middle)? {
            // What the guest asked for has been told; it is not asked for again.
            return Ok(());
        }
        if fresh {
            self.resumed = new_machine();
        }
        set(&mut self.resumed, self.stepped.storage(), &self.stepped.save());
        let exit = in_one_go(&mut self.resumed, steps, looping)?;
        let resumed = end(&self.resumed, exit);
        if straight != resumed {
            return Err(format!("saved at {middle}: {}", difference(&straight, &resumed)));
        }
        Ok(())
    }

    /// The first position at which running there in one go and step by step differ.
    fn first_difference(&mut self, sequence: &Sequence, start: &MachineState) -> Result<String, String> {
        set(&mut self.stepped, &sequence.ram, start);
        let mut before = CpuState::default();
        for position in 1..=sequence.steps {
            set(&mut self.straight, &sequence.ram, start);
            let exit = run(&mut self.straight, position)?;
            let straight = end(&self.straight, exit);
            let exit = run(&mut self.stepped, position)?;
            let stepped = end(&self.stepped, exit);
            if straight != stepped {
                let what = difference(&straight, &stepped);
                let [after, a, b] =
                    [&before, &straight.state.cpu, &stepped.state.cpu].map(CpuState::linear_pc);
                return Ok(format!("first at {position}, after {after:#x}, at {a:#x} and {b:#x}: {what}"));
            }
            before = self.stepped.cpu();
        }
        Ok("but no position on the way differs".into())
    }
}

/// Runs the sequence of a seed; on a failure the machines are made anew, and all about it is printed.
fn passes(machines: &mut Machines, seed: u64, fresh: bool) -> bool {
    let sequence = Sequence::new(seed, &machines.power_on.cpu);
    let outcome = catch_unwind(AssertUnwindSafe(|| machines.check(seed, &sequence, fresh)));
    let why = match outcome {
        Ok(Ok(())) => return true,
        Ok(Err(why)) => why,
        Err(_) => "it panics".into(),
    };
    let Sequence { mode, steps, cpu, .. } = &sequence;
    println!(
        "SEQUENCE_SEED={seed}, {mode:?}, {steps} steps: {why}\n{}registers {cpu:x?}\n",
        sequence.listing()
    );
    *machines = Machines::new();
    false
}

/// Ends the process if one sequence goes on for minutes, which is thousands of times as long as any takes: a machine that hangs cannot
/// be told to stop, and the seed is what is needed to find out why.
fn watch_for_hangs() -> Arc<AtomicU64> {
    let running = Arc::new(AtomicU64::new(u64::MAX));
    let seed = Arc::clone(&running);
    thread::spawn(move || {
        let mut last = u64::MAX;
        loop {
            thread::sleep(Duration::from_secs(120));
            let now = seed.load(Ordering::Relaxed);
            if now == last && now != u64::MAX {
                eprintln!("SEQUENCE_SEED={now} does not end, perhaps only after those before it");
                process::abort();
            }
            last = now;
        }
    });
    running
}

#[test]
fn sequences_end_the_same_in_one_go_by_steps_and_resumed() {
    let number = |name: &str| env::var(name).ok().map(|text| text.parse().expect("a decimal number"));
    let mut machines = Machines::new();
    if let Some(seed) = number("SEQUENCE_SEED") {
        return assert!(passes(&mut machines, seed, true), "seed {seed}");
    }
    let cases = number("SEQUENCES").unwrap_or(DEFAULT_CASES);
    let first = number("SEQUENCE_FIRST").unwrap_or(0);
    let running = watch_for_hangs();
    let failed: Vec<u64> = (first..first + cases)
        .filter(|&seed| {
            running.store(seed, Ordering::Relaxed);
            !passes(&mut machines, seed, seed.is_multiple_of(NEW_MACHINE_EVERY))
        })
        .collect();
    running.store(u64::MAX, Ordering::Relaxed);
    println!("{cases} sequences");
    assert!(failed.is_empty(), "{} of {cases} sequences fail, of the seeds {failed:?}", failed.len());
}
