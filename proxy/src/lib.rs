//! `retrograde`: records a whole PC and lets GDB and LLDB debug it backwards.
//!
//! One module for each subcommand ([`record`], [`replay`], [`serve`], [`info`], [`console`], [`screen`]), the GDB server in [`gdb`],
//! and what they share.

mod boot_option;
pub mod cli;
pub mod console;
pub mod control;
pub mod diff;
pub mod drive_spec;
mod drives;
pub mod ending;
pub mod escape;
pub mod events;
mod flash;
pub mod gdb;
pub mod host_serial;
pub mod info;
pub mod keys;
pub mod live;
pub mod machine_args;
mod messages;
pub mod net;
pub mod open;
pub mod place;
pub mod record;
pub mod replay;
pub mod screen;
pub mod script;
pub mod serve;
pub mod signals;
pub mod socket;
pub mod stuck;
pub mod trim;
pub mod typist;
pub mod units;
pub mod until;
pub mod usage;

use cli::{Cli, Command};

/// Runs what the command line says; the exit status.
pub fn run(cli: &Cli) -> anyhow::Result<u8> {
    match &cli.command {
        Command::Record(args) => record::run(args),
        Command::Live(args) => live::run(args),
        Command::Replay(args) => replay::run(args),
        Command::Serve(args) => serve::run(args),
        Command::Info(args) => info::run(args),
        Command::Console(args) => console::run(args),
        Command::Events(args) => events::run(args),
        Command::Trim(args) => trim::run(args),
        Command::Diff(args) => diff::run(args),
        Command::Screen(args) => screen::run(args),
    }
}
