//! Speed beside the speed of QEMU and of the bare engine, on the same guests, in one run: `cargo bench --bench compare`.
//!
//! The guests are `tests/guests/loop.c`, which stores and calls in a loop, and Debian's kernel from its first instruction
//! through a minute of work in a busybox shell to its power-off; and `tests/guests/cost.asm`, which does nothing but be interrupted,
//! fault, or switch contexts. All ways to run a guest take turns, and the best of all rounds counts, by
//! CPU time. Nothing here
//! fails because something is slow: the numbers are for people to judge, and are kept in `docs/performance.md`.

mod backward;
mod bare;
mod debugger;
mod delivery;
mod forward;
mod guest;
mod program;
mod report;

use anyhow::Result;
use clap::Parser;
use guest::Guest;

/// Compares the speed of Retrograde with that of QEMU and of the bare engine.
#[derive(Parser)]
struct Options {
    /// Given by `cargo bench`; without it nothing is run
    #[arg(long, hide = true)]
    bench: bool,
    /// Runs of each configuration; the best counts [default: 2, or 1 if quick]
    #[arg(long)]
    rounds: Option<u32>,
    /// Only what interrupts, exceptions, system calls and context switches cost
    #[arg(long)]
    delivery: bool,
    /// One loop of half a billion steps instead of those of two and ten billion
    #[arg(long)]
    quick: bool,
    /// Backward steps, seeks and so on to take quantiles of
    #[arg(long, default_value_t = 100)]
    samples: usize,
}

fn main() -> Result<()> {
    if program::is_asked_for() {
        return program::be();
    }
    let options = Options::parse();
    if !options.bench {
        println!("run this by `cargo bench --bench compare`");
        return Ok(());
    }
    report::machine();
    let rounds = options.rounds.unwrap_or(if options.quick { 1 } else { 2 });
    if options.delivery {
        return delivery::compare(rounds);
    }
    let directory = tempfile::tempdir()?;
    let mut guests = vec![Guest::linux(directory.path())?];
    if options.quick {
        guests.push(Guest::short_loop());
    } else {
        guests.extend([Guest::long_loop(), Guest::longest_loop()]);
    }
    let mut recordings = Vec::new();
    for guest in &guests {
        recordings.push(forward::compare(guest, rounds, directory.path())?);
    }
    // What fails does not take the rest of a long run with it.
    let failed = |part: Result<()>| part.unwrap_or_else(|error| println!("FAILED: {error:#}"));
    for (guest, recording) in guests.iter().zip(&recordings) {
        failed(backward::through(&guest.name, recording, options.samples));
        if guest.initrd.is_none() {
            failed(backward::stops(&guest.name, recording));
            failed(debugger::reverse_next(&guest.name, recording));
        }
    }
    failed(debugger::step_back(&recordings[0], options.samples));
    failed(delivery::compare(rounds));
    report::aims();
    Ok(())
}
