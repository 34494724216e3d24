//! Between two steps: exits, interrupts, halted time.

use super::{Core, Divergence, Exit, InterruptTaken, RunLimit, Source, effort};
use crate::board::Request;
use crate::cpu::delivery::{Cause, TripleFault, vector};
use crate::cpu::fpu::Waiting;
use crate::units::{Icount, Vector};

impl Core {
    pub(super) fn deliver(&mut self, vector: u8, cause: Cause, step: u64) {
        self.cpu.rep_interrupted = std::mem::take(&mut self.in_rep);
        self.cpu.abandon_comparison();
        let result = self.cpu.deliver(vector, cause);
        self.cpu.current.insns = 0;
        self.after_delivery(result, step);
    }

    /// The step at `step` delivered something, or tried to: sees to what it overwrote, and to a triple fault.
    pub(super) fn after_delivery(&mut self, result: Result<(), TripleFault>, step: u64) {
        if result.is_err() {
            self.shut_down = true;
        }
        self.takes(effort::DELIVERY);
        self.note_watch(step);
        self.cpu.drop_stale();
        self.cpu.update_guards();
        self.update_soft_limit();
    }

    /// Looks at what the block that is done has left. Whether its one instruction was undone and an exception delivered.
    pub(super) fn settle(&mut self) -> bool {
        if !self.cpu.is_unsettled() {
            return false;
        }
        let fault = self.cpu.settle();
        if let Some(fault) = fault {
            self.deliver(fault.vector, fault.cause(), self.cpu.pos.saturating_sub(1));
        }
        self.update_soft_limit();
        fault.is_some()
    }

    /// Whether an NMI waits and the CPU would take it.
    pub(super) fn takes_nmi(&self) -> bool {
        self.nmi && self.cpu.env.takes_nmi()
    }

    /// Whether the board asks for an interrupt and the CPU would take it.
    #[inline]
    pub(super) fn takes_interrupt(&self) -> bool {
        self.intr && self.cpu.env.interruptible()
    }

    /// Whether something that the instruction at RIP caused must be seen to before the next one.
    pub(super) fn must_leave(&self) -> bool {
        self.soft_limit == 0 || self.takes_interrupt()
    }

    /// Whether the program goes round in a loop that it cannot leave, with interrupts off.
    pub(super) fn loops_forever(&self) -> bool {
        !self.following()
            && !self.cpu.halted
            && !self.shut_down
            && !self.cpu.env.interrupts_enabled()
            && !self.board.nmi()
            && !self.board.nmi_can_come()
            // What a disk is about to bring still belongs to the run.
            && self.board.next_memory_event().is_none()
            && self.cpu.never_leaves()
    }

    /// Does what is due between two steps. `None`: go on with the engine.
    pub(super) fn between_steps(&mut self, limit: RunLimit) -> Option<Exit> {
        self.cpu.end_resumption();
        self.settle();
        self.watch_ferr();
        // Whether time has passed here while the CPU was halted.
        let mut waited = false;
        loop {
            if self.cpu.traps_now() {
                let result = self.cpu.deliver_pending_db();
                self.after_delivery(result.map(|_| ()), self.cpu.pos.saturating_sub(1));
            }
            if let Some(exit) = self.exit.take() {
                return Some(exit);
            }
            if let Some((position, hit)) = self.watch.take() {
                return Some(Exit::Watchpoint { position: Icount(position), hit });
            }
            if let Some(request) = self.request.take()
                && !self.following()
            {
                return Some(match request {
                    Request::Reset => Exit::Reset,
                    Request::PowerOff => Exit::PowerOff,
                    Request::DebugExit(value) => Exit::DebugExit(value),
                });
            }
            // Before anything is returned: the chips at a position must not depend on how it was reached.
            if self.event_time.is_some_and(|t| t <= self.now()) {
                self.advance_after(waited);
                if self.watch.is_some() {
                    continue;
                }
            }
            if self.cpu.pos >= limit.position.0 {
                return Some(Exit::Position);
            }
            // Halted time that has passed here is not on the way to this position but from it.
            if self.is_tired() && !waited {
                return Some(Exit::Pause);
            }
            if self.shut_down {
                return Some(Exit::TripleFault);
            }
            let interrupted = match self.source {
                Source::Board => self.interrupt_by_board(),
                Source::Log(_) => self.interrupt_by_log(limit),
            };
            match interrupted {
                Ok(true) => {
                    waited = false;
                    continue;
                }
                Ok(false) => {}
                Err(divergence) => return Some(Exit::Diverged(Box::new(divergence))),
            }
            if !self.cpu.halted {
                return None;
            }
            if let Some(exit) = self.pass_halted_time(limit) {
                return Some(exit);
            }
            waited = true;
        }
    }

    /// Takes the interrupt that the board asks for, if the CPU lets it.
    pub(super) fn interrupt_by_board(&mut self) -> Result<bool, Divergence> {
        if self.takes_nmi() {
            self.take_nmi();
            return Ok(true);
        }
        if !self.takes_interrupt() {
            return Ok(false);
        }
        self.take_interrupt();
        Ok(true)
    }

    /// Takes the interrupt that the log has here, after checking that the board asks for just that.
    pub(super) fn interrupt_by_log(&mut self, limit: RunLimit) -> Result<bool, Divergence> {
        let Source::Log(log) = &mut self.source else { return Ok(false) };
        let pos = self.cpu.pos;
        let Some(&next) = log.front() else { return Ok(false) };
        if next.position.0 > pos || (self.cpu.halted && next.time > limit.time) {
            return Ok(false);
        }
        log.pop_front();
        if self.cpu.halted && next.time > self.now() {
            self.skipped_ns += next.time.0 - self.now().0;
        }
        self.advance();
        // The x87 instruction at RIP, which is not looked at before the interrupt, asks for it.
        if !self.cpu.halted && self.cpu.waiting_x87() == Waiting::Ferr && self.cpu.at_waiting_instruction() {
            self.board.ferr();
        }
        let diverged =
            |expected: String, actual: String| Err(Divergence { position: Icount(pos), expected, actual });
        let expected = format!("interrupt {:#04x} at {} ({})", next.vector.0, next.position, next.time);
        if next.position.0 < pos {
            return diverged(expected, format!("position {pos} was reached without it"));
        }
        if next.time != self.now() {
            return diverged(expected, format!("virtual time {}", self.now()));
        }
        if next.nmi {
            if !self.cpu.env.takes_nmi() {
                return diverged(expected, "NMIs are blocked".into());
            }
            if !self.board.nmi() {
                return diverged(expected, "no NMI waits".into());
            }
            self.take_nmi();
            return Ok(true);
        }
        if !self.cpu.env.interruptible() {
            return diverged(expected, "interrupts are off".into());
        }
        match self.board.intr().then(|| self.board.peek_vector()).flatten() {
            Some(vector) if vector == next.vector => {}
            Some(vector) => return diverged(expected, format!("the PIC gives {:#04x}", vector.0)),
            None => return diverged(expected, "no device asks for an interrupt".into()),
        }
        self.take_interrupt();
        Ok(true)
    }

    pub(super) fn take_interrupt(&mut self) {
        // A timer that asks for the vector that is taken now asks before it is taken.
        self.advance();
        let (position, time) = (self.cpu.pos, self.now());
        let vector = self.board.acknowledge();
        self.cpu.halted = false;
        self.taken.push(InterruptTaken { position: Icount(position), time, vector, nmi: false });
        self.deliver(vector.0, Cause::Hardware, position);
        self.cpu.pos += 1;
        self.schedule();
    }

    pub(super) fn take_nmi(&mut self) {
        let (position, time) = (self.cpu.pos, self.now());
        self.board.take_nmi();
        self.cpu.halted = false;
        let vector = Vector(vector::NMI);
        self.taken.push(InterruptTaken { position: Icount(position), time, vector, nmi: true });
        self.deliver(vector.0, Cause::Nmi, position);
        self.cpu.pos += 1;
        self.schedule();
    }

    /// The CPU is halted: skips to the board's next event, but not past the limit.
    pub(super) fn pass_halted_time(&mut self, limit: RunLimit) -> Option<Exit> {
        let now = self.now();
        if limit.time <= now {
            return Some(Exit::Time);
        }
        if !self.following() && !self.cpu.env.interruptible() {
            return Some(Exit::HaltedForever);
        }
        let Some(event) = self.event_time else {
            if !self.following() {
                return Some(Exit::Idle);
            }
            self.skipped_ns += limit.time.0 - now.0;
            return Some(Exit::Time);
        };
        let until = event.min(limit.time);
        self.skipped_ns += until.0.saturating_sub(now.0);
        self.schedule();
        (until < event).then_some(Exit::Time)
    }
}
