//! Guests that nobody here wrote, from their own boot media. `scripts/guests` runs all of them and prints a table.

use retrograde_tests::debian_guests::{GUESTS, Guest, Run};
use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tempfile::tempdir;

fn run(guest: &Guest) -> Result<Run, String> {
    let dir = tempdir().map_err(|error| error.to_string())?;
    // What a guest is made of may be missing: that is said, and the others run.
    let run = catch_unwind(AssertUnwindSafe(|| guest.run(dir.path())));
    run.unwrap_or_else(|_| Err("it could not be run; see above".to_owned()))
}

fn line(guest: &Guest, run: &Run) -> String {
    format!(
        "{:20} {:>12} steps {:>8.3} s virtual; CPU to record {:5.1} s, to replay {:5.1} s; {:6.2} MB",
        guest.name,
        run.steps,
        run.virtual_time.as_secs_f64(),
        run.recorded_in,
        run.replayed_in,
        run.bytes as f64 / 1e6
    )
}

fn all_pass<'a>(guests: impl Iterator<Item = &'a Guest>) {
    let mut failed = Vec::new();
    for guest in guests {
        match run(guest) {
            Ok(run) => println!("ok     {}", line(guest, &run)),
            Err(error) => {
                println!("FAILED {}: {error}", guest.name);
                failed.push(guest.name);
            }
        }
    }
    assert!(failed.is_empty(), "guests that failed: {}", failed.join(", "));
}

#[test]
fn firmware_boot_loaders_and_memory_tests() {
    all_pass(GUESTS.iter().filter(|guest| guest.is_quick()));
}

/// Those whose names contain one of the words in the environment's `GUESTS`; all if there are none.
#[test]
#[ignore = "takes minutes: scripts/guests"]
fn every_guest() {
    let wanted = env::var("GUESTS").unwrap_or_default();
    let words: Vec<_> = wanted.split_whitespace().collect();
    let is_wanted = |guest: &&Guest| words.is_empty() || words.iter().any(|word| guest.name.contains(word));
    all_pass(GUESTS.iter().filter(is_wanted));
}
