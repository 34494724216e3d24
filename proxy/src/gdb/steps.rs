//! Steps of a debugger, and the interrupts that come while it makes them.
//!
//! The delivery of an interrupt is a step of the machine. To somebody who goes through a program it is none: a line goes on
//! when the handler has returned, and with `monitor skip-irqs on` single steps do so too, in both directions.

use super::breakpoints::Spot;
use super::target::Debuggee;
use snapshots::{Direction, Error, Stop};
use std::ops::Range;
use vm::{CpuState, LinAddr};

/// Its number in [`CpuState::gpr`].
const RSP: usize = 4;
/// A range step looks for Ctrl-C this often.
const STEPS_PER_POLL: u32 = 1000;
/// Handlers may interrupt each other this often.
const NESTED_MAX: usize = 64;

impl Debuggee {
    /// One step of the machine, or of the program where interrupts are passed over.
    pub(super) fn step(&mut self, direction: Direction) -> Result<Stop, Error> {
        if !self.skips_interrupts || self.history.diverted_from().is_some() {
            return self.step_machine(direction);
        }
        loop {
            let (before, position) = (self.history.view().cpu(), self.history.position());
            let stop = self.step_machine(direction)?;
            if stop != Stop::Step {
                return Ok(stop);
            }
            let passed = match direction {
                Direction::Forward if self.history.is_interrupted_at(position)? => {
                    self.run_handler(&before)?
                }
                Direction::Reverse if self.is_at_iret() => self.back_to_delivery(&before)?,
                _ => return Ok(Stop::Step),
            };
            if let Some(stop) = passed {
                return Ok(stop);
            }
        }
    }

    fn step_machine(&mut self, direction: Direction) -> Result<Stop, Error> {
        let mut interrupted = self.interrupter();
        self.history.step(direction, &mut interrupted)
    }

    /// A line of the program, which an interrupt does not end: its handler runs, and the line goes on.
    pub(super) fn step_through(&mut self, range: Range<u64>) -> Result<Stop, Error> {
        let mut interrupted = self.interrupter();
        loop {
            for _ in 0..STEPS_PER_POLL {
                let (before, position) = (self.history.view().cpu(), self.history.position());
                let mut stop = self.history.step(Direction::Forward, &mut || false)?;
                let inside = |debuggee: &Debuggee| range.contains(&debuggee.history.view().cpu().linear_pc());
                if stop == Stop::Step && !inside(self) && self.history.is_interrupted_at(position)? {
                    stop = self.run_handler(&before)?.unwrap_or(Stop::Step);
                }
                if stop != Stop::Step || !inside(self) {
                    return Ok(stop);
                }
            }
            if interrupted() {
                return Ok(Stop::Interrupted);
            }
        }
    }

    /// On, until the code that was interrupted goes on; what stops the machine before, if something does.
    fn run_handler(&mut self, before: &CpuState) -> Result<Option<Stop>, Error> {
        let back = LinAddr(before.linear_pc());
        let Ok(number) = self.breaks.add_monitor(self.history.as_mut(), Spot::Code(back), None) else {
            return Ok(Some(Stop::Step));
        };
        let mut interrupted = self.interrupter();
        let stop = loop {
            match self.history.resume(Direction::Forward, &mut interrupted) {
                Ok(Stop::Breakpoint(addr)) if addr == back => {
                    if self.history.view().cpu().gpr[RSP] == before.gpr[RSP] {
                        break Ok(None);
                    }
                    // The handler runs the same code, and the user wants to see that or not.
                    if self.breaks.kind(back).is_some() {
                        break Ok(Some(Stop::Breakpoint(back)));
                    }
                }
                other => break other.map(Some),
            }
        };
        self.breaks.remove_monitor(self.history.as_mut(), number);
        stop
    }

    /// IRET in all operand sizes.
    fn is_at_iret(&self) -> bool {
        matches!(
            *self.read_memory(self.history.view().cpu().linear_pc(), 2),
            [0xcf, ..] | [0x48 | 0x66, 0xcf]
        )
    }

    /// Back to the delivery of the interrupt whose handler has returned to `after`; if there was none it stays where it is,
    /// and this is a step like any other.
    fn back_to_delivery(&mut self, after: &CpuState) -> Result<Option<Stop>, Error> {
        let here = self.history.position();
        let interrupts = self.history.interrupts()?;
        let count = interrupts.partition_point(|taken| taken.position < here);
        let mut interrupted = self.interrupter();
        for taken in interrupts[..count].iter().rev().take(NESTED_MAX) {
            let stop = self.history.seek(taken.position, &mut interrupted)?;
            if stop == Stop::Interrupted {
                return Ok(Some(stop));
            }
            let cpu = self.history.view().cpu();
            if cpu.linear_pc() == after.linear_pc() && cpu.gpr[RSP] == after.gpr[RSP] {
                return Ok(None);
            }
        }
        self.history.seek(here, &mut interrupted)?;
        Ok(Some(Stop::Step))
    }
}

#[cfg(test)]
mod tests {
    use crate::gdb::fake::debuggee;
    use crate::gdb::monitor::run;
    use crate::gdb::resume::Resume;
    use crate::gdb::target::Doing;
    use snapshots::Direction;
    use vm::Icount;

    #[test]
    fn an_interrupt_is_a_step_or_is_passed_over() {
        let mut debuggee = debuggee(1000);
        run(&mut debuggee, "seek 200");
        debuggee.run(Resume::Step(Direction::Forward), Doing::AwaitsStop);
        assert_eq!(debuggee.history.position(), Icount(201));
        run(&mut debuggee, "seek 200");
        assert_eq!(run(&mut debuggee, "skip-irqs on"), "");
        debuggee.run(Resume::Step(Direction::Forward), Doing::AwaitsStop);
        // The fake comes to the same place after 16 steps, and makes one.
        assert_eq!(debuggee.history.position(), Icount(217));
        assert!(run(&mut debuggee, "skip-irqs maybe").starts_with("error: "));
        run(&mut debuggee, "skip-irqs off");
        run(&mut debuggee, "seek 200");
        debuggee.run(Resume::Step(Direction::Forward), Doing::AwaitsStop);
        assert_eq!(debuggee.history.position(), Icount(201));
    }

    #[test]
    fn a_line_goes_on_behind_an_interrupt() {
        let mut debuggee = debuggee(1000);
        run(&mut debuggee, "seek 199");
        // Positions 198 to 200 are at 0x1006 to 0x1008.
        debuggee.run(Resume::RangeStep(0x1006..0x1009), Doing::AwaitsStop);
        assert_eq!(debuggee.history.position(), Icount(217));
    }
}
