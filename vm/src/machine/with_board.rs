//! What the machine does with the board: time, events, and when the engine must be left for them.

use super::{Core, Source, effort};
use crate::board::{Board, Bus, Effects, Stray, TSC_DEADLINE};
use crate::cpu::delivery::Fault;
use crate::cpu::engine::Fill;
use crate::cpu::own::Flow;
use crate::cpu::state::CpuState;
use crate::units::{Icount, NS_PER_STEP, VmTime};

/// A guest may look everywhere; so many places are enough to see what it is after.
const STRAYS_MAX: usize = 256;

impl Core {
    pub(super) fn time_at(&self, pos: u64) -> VmTime {
        VmTime(pos.saturating_mul(NS_PER_STEP).saturating_add(self.skipped_ns))
    }

    pub(super) fn now(&self) -> VmTime {
        self.time_at(self.cpu.pos)
    }

    pub(super) fn following(&self) -> bool {
        matches!(self.source, Source::Log(_))
    }

    /// Lets something happen on the board at `now`, which is at position `pos`, with all that follows from it.
    pub(super) fn on_board<R>(
        &mut self,
        pos: u64,
        now: VmTime,
        act: impl FnOnce(&mut Board, &mut Bus) -> R,
    ) -> R {
        let mut fx = Effects::default();
        let mut bus = Bus { now, mem: &mut self.cpu.mem, fx: &mut fx };
        if self.event_time.is_some_and(|t| t <= now) {
            self.board.advance(&mut bus);
        }
        let result = act(&mut self.board, &mut bus);
        self.output.extend(fx.output.into_iter().map(|o| (Icount(pos), o)));
        if fx.request.is_some() {
            self.request = fx.request;
        }
        if fx.memory_map_changed {
            self.update_map();
        }
        self.say_strays(pos, &fx.strays);
        self.note_watch(pos);
        self.cpu.drop_stale();
        self.schedule();
        self.takes(effort::ACCESS);
        result
    }

    /// Says where the guest looks for something that is not there: each place once.
    fn say_strays(&mut self, position: u64, strays: &[Stray]) {
        for stray in strays {
            if self.strays.len() < STRAYS_MAX && self.strays.insert(stray.place) {
                let (place, written) = (stray.place, stray.written);
                tracing::info!(position, %place, written, "nothing is there");
            }
        }
    }

    /// A TLB miss is answered.
    pub(super) fn filled(&mut self, fill: Fill) {
        self.cpu.drop_stale();
        self.takes(effort::MISS);
        let board = &self.board;
        self.cpu.copy_window_page(fill.page, |addr, buf, mem| board.look(addr, buf, mem));
    }

    /// Brings the copy of code in the display adapter's window up to what it shows. Whether it was something else.
    pub(super) fn copy_window_code(&mut self, addr: u64, len: u32) -> bool {
        let board = &self.board;
        self.cpu.copy_window_code(addr, len, |addr, buf, mem| board.look(addr, buf, mem))
    }

    pub(super) fn update_map(&mut self) {
        let board = &self.board;
        self.cpu.mem.set_pm_base(board.pm_base());
        if self.cpu.mem.set_map(board.a20(), board.windows(), |addr| board.pam(addr)) {
            self.cpu.flush_tlb();
        }
    }

    /// After a change of the board: when must the engine be left?
    pub(super) fn schedule(&mut self) {
        self.event_time = self.board.next_event();
        // The log has the interrupts: a replay may look at the chips later, unless they change memory meanwhile.
        let event = if self.following() { self.board.next_memory_event() } else { self.event_time };
        self.event_pos =
            event.map_or(u64::MAX, |t| t.0.saturating_sub(self.skipped_ns).div_ceil(NS_PER_STEP));
        self.update_soft_limit();
    }

    pub(super) fn update_soft_limit(&mut self) {
        self.intr = !self.following() && self.board.intr();
        self.nmi = !self.following() && self.board.nmi();
        let waiting = self.request.is_some() || self.shut_down || self.watch.is_some() || self.is_tired();
        let careful = self.cpu.careful || self.cpu.resuming() || self.cpu.pending_db != 0;
        let careful = careful || self.board.watches_ferr() || self.cpu.is_unsettled();
        let waiting = waiting || careful || self.takes_nmi();
        self.soft_limit = if waiting { 0 } else { self.stop_pos.min(self.event_pos) };
        self.free_limit = if self.cpu.single { 0 } else { self.soft_limit };
    }

    /// Something waits for the next block boundary.
    pub(super) fn leave_soon(&mut self) {
        self.soft_limit = 0;
        self.free_limit = 0;
    }

    pub(super) fn advance(&mut self) {
        self.advance_in(self.cpu.pos);
    }

    /// Lets happen what is due. Where the CPU has just arrived, it belongs to the step that led here, as the state of this position
    /// has it; where it has `waited`, halted, to the step that is to come.
    pub(super) fn advance_after(&mut self, waited: bool) {
        let pos = self.cpu.pos;
        self.advance_in(if waited { pos } else { pos.saturating_sub(1) });
    }

    fn advance_in(&mut self, step: u64) {
        let now = self.now();
        self.on_board(step, now, |board, bus| board.advance(bus));
    }

    /// An x87 exception waits and CR0.NE is clear: the CPU stands still until an interrupt comes, unless the board lets it
    /// go on (SDM 3A, 13.3).
    pub(super) fn frozen_by_ferr(&mut self) -> bool {
        let ignored = self.board.ferr();
        self.schedule();
        self.cpu.halted = !ignored;
        !ignored
    }

    /// Between two instructions: FERR# falls when no x87 exception waits any more.
    pub(super) fn watch_ferr(&mut self) {
        if self.board.watches_ferr() && !self.cpu.has_x87_error() {
            self.board.ferr_falls();
            self.update_soft_limit();
        }
    }

    /// Registers that are the local APIC's: some MSRs, and CR8.
    pub(super) fn board_access(
        &mut self,
        insn: &iced_x86::Instruction,
        pos: u64,
    ) -> Option<Result<Flow, Fault>> {
        use iced_x86::{Mnemonic, Register};
        if !self.cpu.instruction_set.has(insn) {
            return None;
        }
        let now = self.time_at(pos);
        let env = self.cpu.env;
        match insn.mnemonic() {
            Mnemonic::Rdmsr | Mnemonic::Wrmsr => {
                let msr = self.cpu.msr_number(&self.model).ok()?;
                if !Board::has_msr(msr) || (msr == TSC_DEADLINE && !self.model.has_tsc_deadline()) {
                    return None;
                }
                let done = if insn.mnemonic() == Mnemonic::Rdmsr {
                    let value = self.on_board(pos, now, |board, _| board.read_msr(msr, now));
                    value.map(|value| self.cpu.set_msr_result(value))
                } else {
                    let (value, tsc) = (self.cpu.msr_operand(), self.cpu.tsc(now.0));
                    self.on_board(pos, now, |board, _| board.write_msr(msr, value, tsc, now)).then_some(())
                };
                Some(done.map(|()| Flow::Next).ok_or(Fault::protection()))
            }
            Mnemonic::Mov if insn.op0_register() == Register::CR8 || insn.op1_register() == Register::CR8 => {
                Some(if env.cpl() != 0 {
                    Err(Fault::protection())
                } else if insn.op1_register() == Register::CR8 {
                    let value = self.on_board(pos, now, |board, _| board.tpr());
                    env.set_gpr(insn.op0_register().full_register().number(), value.into());
                    Ok(Flow::Next)
                } else {
                    let value = env.gpr(insn.op1_register().full_register().number());
                    if value > 15 {
                        Err(Fault::protection())
                    } else {
                        self.on_board(pos, now, |board, _| board.set_tpr(value as u8));
                        Ok(Flow::Next)
                    }
                })
            }
            _ => None,
        }
    }

    /// Executes an instruction that is the CPU's alone, but for what the board has to know of it.
    pub(super) fn execute_own(&mut self, insn: &iced_x86::Instruction, pos: u64) -> Result<Flow, Fault> {
        let result = self.cpu.execute_own(insn, &self.model);
        if insn.mnemonic() == iced_x86::Mnemonic::Wrmsr && self.model.has_tsc_deadline() && result.is_ok() {
            // The time-stamp counter, or the adjustment of it, may have been written.
            let now = self.time_at(pos);
            let tsc = self.cpu.tsc(now.0);
            self.on_board(pos, now, |board, _| board.tsc_changed(tsc, now));
        }
        result
    }

    /// All registers, with the one that the board has.
    pub(super) fn cpu_state(&self) -> CpuState {
        CpuState { cr8: self.board.tpr().into(), ..self.cpu.state() }
    }

    /// The instruction at this position, which is left in its middle, is made again.
    pub(super) fn undo_digest(&mut self, pos: u64) {
        if self.digested.0 == pos {
            self.io_digest = self.digested.1;
        }
    }

    pub(super) fn reset_cpu(&mut self) {
        let mut state = crate::boot::reset_state();
        state.gpr[2] = self.model.signature().into();
        self.cpu.set_state(&state);
        self.shut_down = false;
    }

    pub(super) fn digest(&mut self, pos: u64, what: u64, value: u64) {
        if self.digested.0 != pos {
            self.digested = (pos, self.io_digest);
        }
        let mut h = self.io_digest ^ pos.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for x in [what, value] {
            h = (h ^ x).wrapping_mul(0xff51_afd7_ed55_8ccd);
            h ^= h >> 32;
        }
        self.io_digest = h;
    }
}
