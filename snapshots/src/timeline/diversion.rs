//! Diversions: what would have happened if. The machine leaves the recording, may be changed, and runs forward by itself.
//!
//! In a diversion chips work as they do while recording, and what the recording says came from outside still comes, at its
//! virtual time or at the first chance after that, but for resets: the guest asked for most of them, and may not ask
//! now. Or all is [`Chips::Quiet`]. Nothing of it is kept: whatever goes to a recorded position leaves it, and finds
//! that position as it was.

use super::{Stop, Timeline};
use crate::Replayer;
use crate::pages::PageMap;
use crate::recording::{Error, TimedInput};
use crate::session::met_by;
use std::sync::Arc;
use std::time::Instant;
use vm::machine::RunLimit;
use vm::units::NS_PER_STEP;
use vm::{CpuState, Exit, Icount, Input, LinAddr, MachineState, Output, PAGE_SIZE, VmTime};

/// Most memory that is written at once, in bytes.
const WRITE_MAX: usize = 1 << 20;
/// Most bytes that the guest sends out in a diversion that are kept; about half of them when there are more.
const MOST_OUTPUT: usize = 1 << 17;
/// Virtual time for which a halted machine runs until it is asked again whether to go on.
const HALT_NS: u64 = 100_000_000;

/// What chips do in a diversion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chips {
    /// They work, and recorded inputs come.
    Live,
    /// No interrupt is taken and nothing comes from outside; time passes, and chips answer.
    Quiet,
}

/// A diversion.
#[derive(Clone, Debug)]
pub(super) struct Diversion {
    /// The recorded position where it began.
    from: Icount,
    chips: Chips,
    /// The inputs of the recording from there on.
    inputs: Arc<Vec<TimedInput>>,
    /// The next one to inject.
    next_input: usize,
    /// What the guest has sent out since.
    output: Vec<(Icount, Output)>,
}

/// The machine somewhere in a diversion.
struct Mark {
    state: Arc<MachineState>,
    pages: PageMap,
    next_input: usize,
}

impl<M: Replayer> Timeline<M> {
    /// Leaves the recording here. In a diversion already, only `chips` change.
    pub fn divert(&mut self, chips: Chips) -> Result<(), Error> {
        if self.diversion.is_none() && !self.session.has_arrived() {
            self.go(self.position(), &mut || false)?;
        }
        let from = self.position();
        let diversion = match self.diversion.take() {
            Some(diversion) => Diversion { chips, ..diversion },
            None => {
                let inputs = Arc::new(self.recording().inputs_between(from, Icount(u64::MAX))?);
                Diversion { from, chips, inputs, next_input: 0, output: Vec::new() }
            }
        };
        self.diversion = Some(diversion);
        self.session.divert().follow(match chips {
            Chips::Live => None,
            Chips::Quiet => Some(Vec::new()),
        });
        Ok(())
    }

    /// The position where the present diversion began; `None` on the recorded path.
    pub fn diverted_from(&self) -> Option<Icount> {
        self.diversion.as_ref().map(|d| d.from)
    }

    /// What the guest has sent out in the present diversion, or the last part of it.
    pub fn diverted_output(&self) -> &[(Icount, Output)] {
        self.diversion.as_ref().map_or(&[], |d| &d.output)
    }

    /// Changes the CPU in a diversion; false outside of one.
    pub fn write_cpu(&mut self, cpu: &CpuState) -> bool {
        if self.diversion.is_some() {
            self.session.divert().set_cpu(cpu);
        }
        self.diversion.is_some()
    }

    /// Changes memory in a diversion, by linear address; how many bytes: as far as it is mapped, and none outside of one.
    pub fn write_linear(&mut self, addr: LinAddr, bytes: &[u8]) -> usize {
        if self.diversion.is_none() {
            return 0;
        }
        let mut written = 0;
        let bytes = &bytes[..bytes.len().min(WRITE_MAX)];
        while written < bytes.len() {
            let Some(at) = addr.0.checked_add(written as u64).map(LinAddr) else { break };
            let Some(phys) = self.machine().translate(at) else { break };
            let in_page = PAGE_SIZE - at.0 as usize % PAGE_SIZE;
            let piece = &bytes[written..bytes.len().min(written.saturating_add(in_page))];
            self.session.divert().write_phys(phys, piece);
            written += piece.len();
        }
        written
    }

    /// Runs on in a diversion: to the next stop, or as many steps at most.
    pub(super) fn run_diverted(
        &mut self,
        steps: Option<u64>,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Stop, Error> {
        let goal = steps.map_or(u64::MAX, |steps| self.position().0.saturating_add(steps));
        let mut idle = false;
        loop {
            // A watchpoint is noticed a little late: something to go back to.
            let mark = self.notices_late().then(|| self.mark());
            let limit = self.inject_diverted(Icount(goal), idle);
            let before = self.position();
            self.arm();
            let started = Instant::now();
            let exit = self.session.divert().run(limit);
            self.learn(started, before);
            self.disarm();
            let exit = exit?;
            idle = exit == Exit::Idle;
            self.session.divert().take_interrupts();
            self.keep_output();
            match exit {
                Exit::Watchpoint { position, hit } if !self.session.is_uncounted(&exit) => {
                    if let Some(mark) = mark {
                        self.redo(
                            &mark,
                            idle,
                            RunLimit { position: Icount(position.0.saturating_add(1)), ..limit },
                        )?;
                    }
                    return Ok(self.stop_at(hit));
                }
                Exit::Position | Exit::Pause | Exit::Breakpoint(_) | Exit::Watchpoint { .. } => {
                    let machine = self.session.machine();
                    let met = (self.position() > before && !machine.interrupt_comes())
                        .then(|| met_by(machine, &self.breakpoints, &self.traps, self.session.condition()))
                        .flatten();
                    if let Some(addr) = met {
                        return Ok(Stop::Breakpoint(addr));
                    }
                }
                Exit::Time if self.is_quiet() => {
                    return Ok(Stop::NoFurther(
                        "it is halted, and no interrupt is taken in a quiet diversion",
                    ));
                }
                Exit::Time => {}
                // Time stands still until something comes from outside: now.
                Exit::Idle if self.input_in_diversion().is_some() => {}
                exit => return Ok(Stop::NoFurther(why_no_further(&exit))),
            }
            if self.position().0 >= goal {
                return Ok(Stop::Step);
            }
            if interrupted() {
                return Ok(Stop::Interrupted);
            }
        }
    }

    /// The input that comes next.
    fn input_in_diversion(&self) -> Option<(VmTime, &Input)> {
        let diversion = self.diversion.as_ref().filter(|d| d.chips == Chips::Live)?;
        diversion.inputs.get(diversion.next_input).map(|(_, time, input)| (*time, input))
    }

    /// Injects what is due, or at once one if the machine is `idle`, and says how far it may run then.
    fn inject_diverted(&mut self, goal: Icount, mut idle: bool) -> RunLimit {
        let (here, now) = (self.position(), self.now());
        let halted_to = VmTime(now.0.saturating_add(HALT_NS));
        while let Some((time, input)) = self.input_in_diversion() {
            if time > now && !std::mem::take(&mut idle) {
                let steps = (time.0 - now.0).div_ceil(NS_PER_STEP).min(self.slice);
                let position = Icount(here.0.saturating_add(steps)).min(goal);
                return RunLimit { position, time: time.min(halted_to) };
            }
            let input = input.clone();
            if input != Input::Reset {
                self.session.divert().inject(&input);
            }
            if let Some(diversion) = &mut self.diversion {
                diversion.next_input += 1;
            }
        }
        let position = Icount(here.0.saturating_add(self.slice)).min(goal);
        RunLimit { position, time: if self.is_quiet() { now } else { halted_to } }
    }

    /// Keeps what the guest has sent out.
    fn keep_output(&mut self) {
        let output = self.session.divert().take_output();
        if let Some(diversion) = &mut self.diversion {
            diversion.output.extend(output);
            if diversion.output.len() > MOST_OUTPUT {
                diversion.output.drain(..MOST_OUTPUT / 2);
            }
        }
    }

    fn is_quiet(&self) -> bool {
        self.diversion.as_ref().is_some_and(|d| d.chips == Chips::Quiet)
    }

    /// Remembers where the machine is.
    fn mark(&mut self) -> Mark {
        self.note_pages();
        Mark {
            state: Arc::new(self.session.machine().save()),
            pages: self.base.clone(),
            next_input: self.diversion.as_ref().map_or(0, |d| d.next_input),
        }
    }

    /// Goes back to a mark and on from there as before, to `limit`.
    fn redo(&mut self, mark: &Mark, idle: bool, limit: RunLimit) -> Result<(), Error> {
        self.place(&mark.state, mark.pages.clone(), &mut || false)?;
        if let Some(diversion) = &mut self.diversion {
            diversion.next_input = mark.next_input;
            diversion.output.retain(|(at, _)| *at < mark.state.position);
        }
        self.inject_diverted(limit.position, idle);
        while self.session.divert().run(limit)? == Exit::Pause {}
        self.keep_output();
        Ok(())
    }
}

/// Why a machine does not go on.
pub fn why_no_further(exit: &Exit) -> &'static str {
    match exit {
        Exit::PowerOff => "the guest switches the power off",
        Exit::Reset => "the guest resets the machine",
        Exit::TripleFault => "a triple fault",
        Exit::DebugExit(_) => "the guest writes to isa-debug-exit",
        Exit::HaltedForever => "it is halted, or in an endless loop, with interrupts off",
        Exit::Idle => "the guest waits for input, and none comes",
        _ => "it cannot go on",
    }
}
