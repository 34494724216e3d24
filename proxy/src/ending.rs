//! How a run ends: from what the machine reports to words and an exit status.

use anyhow::{Result, bail};
use snapshots::EndReason;
use vm::Exit;

/// Why `exit` ends a recording, if it does.
pub fn of_exit(exit: Exit) -> Result<Option<EndReason>> {
    Ok(match exit {
        Exit::Position | Exit::Time | Exit::Idle => None,
        Exit::PowerOff => Some(EndReason::PowerOff),
        Exit::Reset => Some(EndReason::Reset),
        Exit::TripleFault => Some(EndReason::TripleFault),
        Exit::DebugExit(value) => Some(EndReason::DebugExit(value)),
        Exit::HaltedForever => Some(EndReason::Hung),
        Exit::Diverged(divergence) => bail!("{divergence}"),
        Exit::Breakpoint(_) | Exit::Watchpoint { .. } => {
            bail!("the machine stopped at a breakpoint that nobody set")
        }
    })
}

/// A phrase that goes on from "ended by".
pub fn describe(reason: &EndReason) -> String {
    match reason {
        EndReason::PowerOff => "power-off".into(),
        EndReason::Reset => "reset (--no-reboot)".into(),
        EndReason::TripleFault => "triple fault (--no-reboot)".into(),
        EndReason::DebugExit(value) => format!("isa-debug-exit with {value:#x}"),
        EndReason::Hung => "hang (HLT with interrupts off)".into(),
        EndReason::Until(what) => what.clone(),
        EndReason::Interrupted => "the user".into(),
        EndReason::ScriptWaiting(line) => format!("lack of input: the script waits at {line}"),
    }
}

/// The exit status of `record`.
pub fn exit_status(reason: &EndReason, script_waiting: bool) -> u8 {
    match reason {
        EndReason::Hung => 3,
        EndReason::Interrupted => 0,
        EndReason::ScriptWaiting(_) => 4,
        _ if script_waiting => 4,
        // As QEMU does: an odd status that no other end gives.
        EndReason::DebugExit(value) => (value << 1 | 1) as u8,
        EndReason::PowerOff | EndReason::Reset | EndReason::TripleFault | EndReason::Until(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_statuses_are_those_of_the_manual() {
        assert_eq!(exit_status(&EndReason::PowerOff, false), 0);
        assert_eq!(exit_status(&EndReason::DebugExit(0x10), false), 0x21);
        assert_eq!(exit_status(&EndReason::DebugExit(0xffff_ffff), false), 0xff);
        assert_eq!(exit_status(&EndReason::Hung, true), 3);
        assert_eq!(exit_status(&EndReason::PowerOff, true), 4);
        assert_eq!(exit_status(&EndReason::ScriptWaiting("line 1: wait serial x".into()), true), 4);
        assert_eq!(exit_status(&EndReason::Interrupted, true), 0);
    }

    #[test]
    fn only_ends_end_a_recording() {
        assert_eq!(of_exit(Exit::Position).unwrap(), None);
        assert_eq!(of_exit(Exit::Idle).unwrap(), None);
        assert_eq!(of_exit(Exit::DebugExit(3)).unwrap(), Some(EndReason::DebugExit(3)));
        assert_eq!(of_exit(Exit::HaltedForever).unwrap(), Some(EndReason::Hung));
    }
}
