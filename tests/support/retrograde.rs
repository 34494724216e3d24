//! The program under test: the binary itself, as a user runs it.

use crate::process::{Outcome, Process};
use crate::tools::run;
use crate::workspace_root;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

/// No run of the program in these tests takes longer than this, on a slow and busy machine.
pub const RUN_LIMIT: Duration = Duration::from_secs(600);

/// The binary, built as these tests are: with or without optimisation.
pub fn retrograde_binary() -> PathBuf {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(build).clone()
}

/// Cargo tells tests the place of the binaries of their own package only, and may not have built those of others.
fn build() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(workspace_root()).args(["build", "--quiet", "--workspace", "--bin", "retrograde"]);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    run(&mut command, "the program under test cannot be built");
    // target/PROFILE/deps/TEST
    let test = std::env::current_exe().expect("the path of this test");
    let binary = test.ancestors().nth(2).expect("a target directory").join("retrograde");
    assert!(binary.exists(), "cargo has not made {}", binary.display());
    binary
}

/// A command of the program.
pub fn retrograde<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(retrograde_binary());
    command.args(args);
    command
}

/// Runs the program to its end, with no input. Whatever else it did, it ended by itself and did not panic.
pub fn outcome_of(command: &mut Command) -> Outcome {
    let mut process = Process::start(command);
    process.close_input();
    let outcome = process.wait_for_end(RUN_LIMIT);
    let Outcome { status, stdout, stderr } = &outcome;
    assert!(status.code().is_some(), "{command:?}: {status}\n{stdout}{stderr}");
    assert!(!stderr.contains("panicked"), "{command:?}: {status}\n{stdout}{stderr}");
    outcome
}

/// [`outcome_of`], and it has ended with `status`.
pub fn ends_with(status: i32, command: &mut Command) -> Outcome {
    let outcome = outcome_of(command);
    assert_eq!(outcome.status.code(), Some(status), "{command:?}:\n{}{}", outcome.stdout, outcome.stderr);
    outcome
}
