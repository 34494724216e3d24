//! The start of a block of instructions: what is to be decided there, and how far the engine may go.

use super::{Core, Exit, Machine, TF, effort};
use crate::cpu::Current;
use crate::cpu::count::{Block, Settles};
use crate::cpu::delivery::{Fault, vector};
use crate::cpu::engine::{BlockCall, BlockStart, off};
use crate::cpu::fpu::Waiting;
use crate::cpu::guard;
use crate::cpu::limits::Reach;
use crate::cpu::own::Flow;
use crate::units::LinAddr;
use iced_x86::Instruction;

/// What is found before a block of x87 or MMX.
enum Before {
    /// It runs.
    Runs,
    /// Its first instruction runs, in a block of its own.
    RunsAlone,
    /// Something else happens.
    Stops(BlockStart),
}

impl Core {
    /// Brings the x87 up to date before a block with instructions of it, and sees to the exception that waits.
    fn before_x87(&mut self, block: &Block) -> Before {
        self.cpu.update_x87_status(block.fpu.unmasks);
        if block.fpu.sees_registers {
            self.cpu.settle_mmx();
        }
        if block.fpu.looks_back {
            self.cpu.make_nans_quiet();
        }
        match self.cpu.waiting_x87() {
            Waiting::Nothing if self.cpu.lacks(block.fpu.needs) => Before::RunsAlone,
            Waiting::Nothing => Before::Runs,
            Waiting::Unmasked => Before::RunsAlone,
            _ if !self.cpu.at_waiting_instruction() => Before::RunsAlone,
            Waiting::Exception => Before::Stops(self.fault(Fault::new(vector::MF, 0))),
            Waiting::Ferr if self.frozen_by_ferr() => Before::Stops(self.stop_engine()),
            Waiting::Ferr => Before::RunsAlone,
        }
    }

    pub(super) fn stop_engine(&mut self) -> BlockStart {
        self.stopping = true;
        self.cpu.current.insns = 0;
        self.cpu.engine.stop();
        BlockStart::Stop
    }

    #[inline]
    pub(super) fn enter(&mut self, addr: u64, size: u32, insns: u16) {
        self.cpu.current = Current { addr, start: self.cpu.pos, size: size as u16, insns };
        self.cpu.pos = self.cpu.pos.wrapping_add(insns.into());
    }

    /// A REP instruction at whose start nothing is to be decided: its next iteration, or many.
    pub(super) fn rep_pass(&mut self, block: &Block, call: BlockCall) -> BlockStart {
        if self.cpu.is_rep_pass(block) {
            let done = self.cpu.iterate(block, self.soft_limit - self.cpu.pos);
            if done != 0 {
                self.cpu.pos += done - 1;
                self.enter(block.addr, block.size.into(), 1);
            }
            if self.cpu.is_empty_rep_pass(block) {
                return BlockStart::Run;
            }
            if self.cpu.pos == self.soft_limit {
                return self.block_slow(block.addr, block.size.into(), call);
            }
        }
        self.enter(block.addr, block.size.into(), block.insns);
        BlockStart::Run
    }

    /// A block at whose start something may have to be decided.
    #[cold]
    #[inline(never)]
    pub(super) fn block_slow(&mut self, addr: u64, size: u32, call: BlockCall) -> BlockStart {
        self.takes(effort::DECISION);
        self.cpu.end_resumption();
        if self.cpu.is_unsettled() {
            let guards = self.cpu.guards.up();
            if self.settle() || guards != self.cpu.guards.up() {
                // The engine looks for the block again: it is another one with other guards.
                return BlockStart::Stop;
            }
        }
        self.watch_ferr();
        if self.soft_limit == 0 {
            self.update_soft_limit();
        }
        let block = self.cpu.block(addr, size);
        if block.in_window && self.copy_window_code(addr, size) {
            return BlockStart::Stop;
        }
        if self.cpu.is_empty_rep_pass(&block) {
            return BlockStart::Run;
        }
        if self.cpu.code_was_overwritten() {
            // The limits that are set here are for blocks that none is running before.
            let again = self.cpu.current.insns != 0 && self.cpu.engine.block_limit(addr, call) == 1;
            self.cpu.undo_aborted_block(again);
            if again {
                self.undo_digest(self.cpu.pos);
            }
        }
        if self.cpu.traps_now() {
            let step = self.cpu.pos.saturating_sub(1);
            self.cpu.current.insns = 0;
            let result = self.cpu.deliver_pending_db();
            self.after_delivery(result.map(|_| ()), step);
            return BlockStart::Stop;
        }
        let pos = self.cpu.pos;
        let bound = self.stop_pos.min(self.event_pos);
        if self.request.is_some()
            || self.shut_down
            || self.watch.is_some()
            || self.is_tired()
            || self.takes_interrupt()
            || self.takes_nmi()
            || self.cpu.engine.lacks_room()
            || pos >= bound
        {
            self.in_rep = self.cpu.is_rep_pass(&block);
            return self.stop_engine();
        }
        let mut room = bound - pos;
        if block.split != 0 {
            room = room.min(block.split.into());
        }
        if block.special || self.cpu.is_marked(addr, size) {
            let arriving = pos != self.run_start && !self.cpu.is_rep_pass(&block);
            let from = if arriving { addr } else { addr.wrapping_add(1) };
            let mut next = self.cpu.breakpoint_in(addr, size, from);
            if let Some((bp, 0)) = next {
                if self.counts(LinAddr(bp)) {
                    self.exit = Some(Exit::Breakpoint(LinAddr(bp)));
                    return self.stop_engine();
                }
                next = self.cpu.breakpoint_in(addr, size, addr.wrapping_add(1));
            }
            if let Some((_, before)) = next {
                room = room.min(before);
            }
            match self.cpu.guest_breakpoint_in(addr, size) {
                Some((bp, 0)) if !self.cpu.is_rep_pass(&block) => {
                    self.cpu.report_debug(self.cpu.debug.hits_instruction(bp));
                    return self.fault(Fault::new(vector::DB, 0));
                }
                Some((_, 0)) | None => {}
                Some((_, before)) => room = room.min(before),
            }
            if block.fpu.any {
                match self.before_x87(&block) {
                    Before::Runs => {}
                    Before::RunsAlone => room = 1,
                    Before::Stops(start) => return start,
                }
            }
            if block.own && self.own_instruction() {
                return BlockStart::Stop;
            }
            if block.mxcsr {
                self.cpu.update_mxcsr();
            }
        }
        let guards = block.guards & self.cpu.guards.up();
        if guards & guard::OPERANDS != 0 {
            match self.cpu.reach(&block, call) {
                Reach::Instructions(n) => room = room.min(n),
                Reach::Fault(fault) => return self.fault(fault),
            }
        }
        if guards & guard::SSE != 0 {
            room = 1;
        }
        if block.fpu.any
            && (block.fpu.by_hand || self.cpu.lacks(block.fpu.needs))
            && let Some((insn, why)) = self.cpu.x87_by_hand()
        {
            self.here(&insn, |core| core.cpu.execute_x87(&insn, why));
            return BlockStart::Stop;
        }
        if self.cpu.careful
            || block.in_window
            || block.one_by_one
            || self.cpu.resuming()
            || self.cpu.pending_db != 0
        {
            room = 1;
        }
        if u64::from(block.insns) > room {
            self.cpu.current.insns = 0;
            self.cpu.engine.limit_next_block(room.min(u32::MAX.into()) as u32);
            self.cpu.single = room == 1;
            self.update_soft_limit();
            return BlockStart::Stop;
        }
        if self.cpu.careful {
            let operands = self.cpu.look_at_operands();
            if operands.misaligned {
                return self.fault(Fault::new(vector::AC, 0));
            }
            self.cpu.pending_db |= operands.hits;
        }
        if guards & guard::SSE != 0 {
            self.cpu.begin_trial();
            self.leave_soon();
        } else if block.settles != Settles::Nothing {
            self.cpu.begin_unsettled(&block);
            self.leave_soon();
        }
        if block.fpu.leaves_tags {
            self.cpu.begin_tags();
            self.leave_soon();
        }
        if block.fpu.writes_mmx != 0 {
            self.cpu.begin_mmx(block.fpu.writes_mmx);
        }
        self.cpu.begin_resumption();
        self.enter(addr, size, block.insns);
        BlockStart::Run
    }

    /// Whether the breakpoint at the next instruction counts.
    fn counts(&mut self, at: LinAddr) -> bool {
        let Some(condition) = self.condition.clone() else { return true };
        self.takes(effort::CONDITION);
        Machine::looked_at(self, |machine| condition(machine, at))
    }

    /// The instruction that was about to run raises this instead: a step of its own.
    pub(super) fn fault(&mut self, fault: Fault) -> BlockStart {
        let step = self.cpu.pos;
        self.cpu.pos += 1;
        self.deliver(fault.vector, fault.cause(), step);
        BlockStart::Stop
    }

    /// Executes the instruction at RIP if it is one that is not the engine's. False: in this mode it is.
    pub(super) fn own_instruction(&mut self) -> bool {
        let Some(insn) = self.cpu.own_instruction() else { return false };
        if insn.mnemonic() == iced_x86::Mnemonic::Int1 {
            let step = self.begin_here();
            self.cpu.pos += 1;
            self.in_rep = false;
            let result = self.cpu.int1(&insn);
            self.after_delivery(result, step);
            return true;
        }
        self.here(&insn, |core| {
            let step = core.cpu.pos;
            core.board_access(&insn, step).unwrap_or_else(|| core.execute_own(&insn, step))
        })
    }

    /// An instruction that is executed here begins. Its position.
    fn begin_here(&mut self) -> u64 {
        let step = self.cpu.pos;
        self.cpu.current.insns = 0;
        self.cpu.stepping = self.cpu.env.r64(off::EFLAGS) & TF != 0;
        self.cpu.now_ns = self.time_at(step).0;
        if self.cpu.careful {
            self.cpu.pending_db |= self.cpu.look_at_operands().hits;
        }
        step
    }

    /// Executes the instruction at RIP by `execute`. False: it turns out to be the engine's.
    fn here(&mut self, insn: &Instruction, execute: impl FnOnce(&mut Core) -> Result<Flow, Fault>) -> bool {
        let step = self.begin_here();
        let result = execute(self);
        if result == Ok(Flow::Engine) {
            self.cpu.pending_db = 0;
            return false;
        }
        self.cpu.pos += 1;
        self.in_rep = false;
        let result = self.cpu.complete_own(insn, result);
        self.after_delivery(result, step);
        true
    }
}
