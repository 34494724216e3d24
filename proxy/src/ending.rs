//! How a run ends: from what the machine reports to words and an exit status.

use anyhow::{Result, bail};
use snapshots::EndReason;
use vm::Exit;

/// What a recording does when the machine has stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Goes on.
    Continue,
    /// Resets the machine, as a PC does, and goes on.
    Reset,
    /// Ends.
    End(EndReason),
}

/// What comes after `exit`. A machine that asks for a reset gets it if `may_reboot`.
pub fn after(exit: Exit, may_reboot: bool) -> Result<Next> {
    Ok(match exit {
        Exit::Position | Exit::Pause | Exit::Time | Exit::Idle => Next::Continue,
        Exit::Reset | Exit::TripleFault if may_reboot => Next::Reset,
        Exit::PowerOff => Next::End(EndReason::PowerOff),
        Exit::Reset => Next::End(EndReason::Reset),
        Exit::TripleFault => Next::End(EndReason::TripleFault),
        Exit::DebugExit(value) => Next::End(EndReason::DebugExit(value)),
        Exit::HaltedForever => Next::End(EndReason::Hung),
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
        EndReason::Reset => "reset".into(),
        EndReason::TripleFault => "triple fault".into(),
        EndReason::DebugExit(value) => format!("isa-debug-exit with {value:#x}"),
        EndReason::Hung => "hang (HLT or an endless loop, with interrupts off)".into(),
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
        assert_eq!(after(Exit::Position, false).unwrap(), Next::Continue);
        assert_eq!(after(Exit::Idle, false).unwrap(), Next::Continue);
        assert_eq!(after(Exit::DebugExit(3), true).unwrap(), Next::End(EndReason::DebugExit(3)));
        assert_eq!(after(Exit::HaltedForever, true).unwrap(), Next::End(EndReason::Hung));
    }

    #[test]
    fn a_reset_reboots_unless_it_must_not() {
        for exit in [Exit::Reset, Exit::TripleFault] {
            assert_eq!(after(exit.clone(), true).unwrap(), Next::Reset);
        }
        assert_eq!(after(Exit::Reset, false).unwrap(), Next::End(EndReason::Reset));
        assert_eq!(after(Exit::TripleFault, false).unwrap(), Next::End(EndReason::TripleFault));
    }
}
