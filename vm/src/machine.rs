//! The machine: CPU, board and memory, and the loop that runs them.

#![allow(unsafe_code)] // the engine calls back into the machine through a pointer; each use says why it is sound

use crate::board::vga::{Adapter, Picture};
use crate::board::{Board, Bus, Effects, Request};
use crate::config::{MachineConfig, Vga};
use crate::cpu::cpuid::{self, Model};
use crate::cpu::delivery::{Cause, Fault, TripleFault, has_error_code, vector};
use crate::cpu::engine::{
    Access, BlockStart, Engine, FETCH_FROM_DEVICE, Fill, Hooks, KnownCall, Offsets, PortIn, PortOut,
    StartError, off,
};
use crate::cpu::fpu::Waiting;
use crate::cpu::own::Flow;
use crate::cpu::state::CpuState;
use crate::cpu::tlb::{self, Miss};
use crate::cpu::{Cpu, Current};
use crate::footprint::Footprint;
use crate::input::{Input, Output};
use crate::media::BlockSource;
use crate::memory::{Memory, PAGE_SIZE, PhysMemory};
use crate::units::{Icount, LinAddr, NS_PER_STEP, PhysAddr, Vector, VmTime};
use crate::watch::{Noted, WatchHit, WatchRange};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::mem::offset_of;
use std::ptr::NonNull;
use thiserror::Error;
use xxhash_rust::xxh3::Xxh3;

/// A hardware interrupt that the CPU took: the step at `position` is its delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterruptTaken {
    /// The position at which it was delivered; the handler's first instruction is at `position + 1`.
    pub position: Icount,
    /// Virtual time of the delivery.
    pub time: VmTime,
    /// The vector the interrupt controller gave; 2 for an NMI.
    pub vector: Vector,
    /// It is a non-maskable one.
    pub nmi: bool,
}

/// How far [`Machine::run`] may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunLimit {
    /// Stop exactly here.
    pub position: Icount,
    /// While the CPU is halted do not skip past this time.
    pub time: VmTime,
}

/// Why [`Machine::run`] came back. The machine is always between two steps then, and can go on from there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The limit's position is reached.
    Position,
    /// The CPU is halted and the limit's time is reached.
    Time,
    /// The instruction at this address is about to run and has a breakpoint (never reported for the position at which
    /// `run` was called).
    Breakpoint(LinAddr),
    /// A watched range was met by the step at `position`. The machine may have gone a few steps on.
    Watchpoint {
        /// Position of that step (the state *before* it).
        position: Icount,
        /// The first watched byte that it met.
        hit: WatchHit,
    },
    /// The guest switched the power off.
    PowerOff,
    /// The guest asks for a reset; inject [`Input::Reset`] to carry it out.
    Reset,
    /// A triple fault: the CPU is shut down until [`Input::Reset`].
    TripleFault,
    /// The guest wrote this value to isa-debug-exit.
    DebugExit(u32),
    /// HLT with interrupts off, or a loop that changes nothing with interrupts off: nothing but a reset can wake this CPU.
    HaltedForever,
    /// HLT with interrupts on and no timer armed: only an input can wake this CPU.
    Idle,
    /// The machine does not do what the log says that it did.
    Diverged(Box<Divergence>),
}

/// A replay that differs from what was recorded.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("replay diverges at position {position}: expected {expected}, got {actual}")]
pub struct Divergence {
    /// Where it was noticed.
    pub position: Icount,
    /// What the recording says.
    pub expected: String,
    /// What the machine did.
    pub actual: String,
}

impl MachineState {
    /// The state as bytes, equal for equal states.
    pub fn to_bytes(&self) -> Vec<u8> {
        bincode::serde::encode_to_vec(self, bincode::config::standard()).expect("plain data can be encoded")
    }
}

/// What can go wrong that is not the guest's doing.
#[derive(Debug, Error)]
pub enum VmError {
    /// The configuration cannot be built.
    #[error("{0}")]
    Config(String),
    /// An image cannot be read any more, so what the machine did since is worth nothing.
    #[error("{0}")]
    Medium(String),
    /// The engine is not the one this program was written for, or it failed.
    #[error("CPU engine: {0}")]
    Engine(String),
}

/// Everything of a machine but its storage and ROM: CPU, chips, position, time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MachineState {
    /// Steps since power-on.
    pub position: Icount,
    /// Virtual time that was skipped while halted, in ns.
    pub skipped_ns: u64,
    /// Running digest of all port and MMIO accesses.
    pub io_digest: u64,
    /// The CPU gave up in a triple fault: only a reset wakes it.
    pub shut_down: bool,
    /// The step before was an iteration of the REP instruction that comes next: a breakpoint on it has been met already.
    pub in_rep: bool,
    /// The CPU.
    pub cpu: CpuState,
    /// The chips.
    pub board: Board,
}

/// How a hardware interrupt is decided.
enum Source {
    /// The board asks for it (recording).
    Board,
    /// The log says so (replay).
    Log(VecDeque<InterruptTaken>),
}

/// What the engine's callbacks work on: everything of the machine, at a fixed address.
struct Core {
    config: MachineConfig,
    model: Model,
    cpu: Cpu,
    board: Board,
    skipped_ns: u64,
    io_digest: u64,
    source: Source,
    taken: Vec<InterruptTaken>,
    output: Vec<(Icount, Output)>,
    request: Option<Request>,
    shut_down: bool,
    watch: Option<(u64, WatchHit)>,
    /// Hits are noted here instead of stopping the machine.
    noted: Option<Vec<Noted>>,
    exit: Option<Exit>,
    /// `engine.stop()` was called.
    stopping: bool,
    /// The engine's next block must not be longer than this.
    partial: Option<u32>,
    /// Breakpoints at this position are ignored: it is where the run started.
    run_start: u64,
    /// The step before was an iteration of the REP instruction at RIP.
    in_rep: bool,
    /// The engine must stop exactly here.
    stop_pos: u64,
    /// First position at which the board's next event is due.
    event_pos: u64,
    event_time: Option<VmTime>,
    /// The board asks for an interrupt, and it is not the log that decides.
    intr: bool,
    /// The same for an NMI.
    nmi: bool,
    /// Blocks that end beyond this position take the slow path; 0 while something waits for a block boundary.
    soft_limit: u64,
    /// Blocks of a known count that end at or before this position run without a closer look: `soft_limit`, or 0 while
    /// each block must be looked at.
    free_limit: u64,
}

/// RFLAGS.TF.
const TF: u64 = 1 << 8;

/// A whole PC.
pub struct Machine {
    core: NonNull<Core>,
}

impl Core {
    fn time_at(&self, pos: u64) -> VmTime {
        VmTime(pos.saturating_mul(NS_PER_STEP).saturating_add(self.skipped_ns))
    }

    fn now(&self) -> VmTime {
        self.time_at(self.cpu.pos)
    }

    fn following(&self) -> bool {
        matches!(self.source, Source::Log(_))
    }

    /// Lets something happen on the board at `now`, which is at position `pos`, with all that follows from it.
    fn on_board<R>(&mut self, pos: u64, now: VmTime, act: impl FnOnce(&mut Board, &mut Bus) -> R) -> R {
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
        self.note_watch(pos);
        self.cpu.drop_stale();
        self.schedule();
        result
    }

    fn update_map(&mut self) {
        let board = &self.board;
        if self.cpu.mem.set_map(board.a20(), board.windows(), |addr| board.pam(addr)) {
            self.cpu.flush_tlb();
        }
    }

    /// After a change of the board: when must the engine be left?
    fn schedule(&mut self) {
        self.event_time = self.board.next_event();
        // The log has the interrupts: a replay may look at the chips later, unless they change memory meanwhile.
        let event = if self.following() { self.board.next_memory_event() } else { self.event_time };
        self.event_pos =
            event.map_or(u64::MAX, |t| t.0.saturating_sub(self.skipped_ns).div_ceil(NS_PER_STEP));
        self.update_soft_limit();
    }

    fn update_soft_limit(&mut self) {
        self.intr = !self.following() && self.board.intr();
        self.nmi = !self.following() && self.board.nmi();
        let waiting = self.request.is_some() || self.shut_down || self.watch.is_some();
        let careful = self.cpu.careful || self.cpu.resuming() || self.cpu.pending_db != 0;
        let waiting = waiting || careful || self.takes_nmi();
        self.soft_limit = if waiting { 0 } else { self.stop_pos.min(self.event_pos) };
        let look = self.cpu.single || self.cpu.has_breakpoints();
        self.free_limit = if look { 0 } else { self.soft_limit };
    }

    /// Something waits for the next block boundary.
    fn leave_soon(&mut self) {
        self.soft_limit = 0;
        self.free_limit = 0;
    }

    fn advance(&mut self) {
        let (pos, now) = (self.cpu.pos, self.now());
        self.on_board(pos, now, |board, bus| board.advance(bus));
    }

    /// Whether a watched range was met during the step at `pos`.
    fn note_watch(&mut self, pos: u64) {
        let Some(hit) = self.cpu.mem.take_watch_hit() else { return };
        if let Some(noted) = &mut self.noted {
            let value = self.cpu.mem.watched_value();
            match noted.last_mut().filter(|last| last.position.0 == pos) {
                Some(last) => last.value = value,
                None => noted.push(Noted { position: Icount(pos), hit, value }),
            }
        } else if self.watch.is_none() {
            self.watch = Some((pos, hit));
            self.leave_soon();
        }
    }

    fn deliver(&mut self, vector: u8, cause: Cause, step: u64) {
        self.cpu.rep_interrupted = std::mem::take(&mut self.in_rep);
        let result = self.cpu.deliver(vector, cause);
        self.cpu.current.insns = 0;
        self.after_delivery(result, step);
    }

    /// The step at `step` delivered something, or tried to: sees to what it overwrote, and to a triple fault.
    fn after_delivery(&mut self, result: Result<(), TripleFault>, step: u64) {
        if result.is_err() {
            self.shut_down = true;
        }
        self.note_watch(step);
        self.cpu.drop_stale();
        self.update_soft_limit();
    }

    /// Whether an NMI waits and the CPU would take it.
    fn takes_nmi(&self) -> bool {
        self.nmi && self.cpu.env.takes_nmi()
    }

    /// Whether the board asks for an interrupt and the CPU would take it.
    #[inline]
    fn takes_interrupt(&self) -> bool {
        self.intr && self.cpu.env.interruptible()
    }

    /// Whether something that the instruction at RIP caused must be seen to before the next one.
    fn must_leave(&self) -> bool {
        self.soft_limit == 0 || self.takes_interrupt()
    }

    /// A store to a page of RAM whose stores are done here: it is watched, or a page table. False: it is not done, as it
    /// hits what follows in the running block, which must end before it.
    fn watched_store(&mut self, at: u64, bytes: &[u8]) -> bool {
        if self.cpu.hits_running_block(at, bytes.len() as u64) {
            self.cpu.engine.sync_rip();
            if let Some(index) = self.cpu.index_of(self.cpu.env.linear_pc()) {
                self.cpu.pos = self.cpu.current.start + index;
                self.cpu.current.insns = 0;
                self.cpu.engine.limit_next_block(1);
                self.cpu.single = true;
                self.update_soft_limit();
                return false;
            }
        }
        self.cpu.mem.store(at, bytes);
        self.note_watch_by_engine();
        self.cpu.drop_stale();
        true
    }

    /// A load from a page of RAM whose loads are watched.
    fn watched_load(&mut self, at: u64, size: u8) -> u64 {
        let mut bytes = [0; 8];
        self.cpu.mem.watched_load(at, &mut bytes[..usize::from(size.min(8))]);
        self.note_watch_by_engine();
        u64::from_le_bytes(bytes)
    }

    /// After an access that was done here for the engine.
    fn note_watch_by_engine(&mut self) {
        if self.cpu.mem.has_watch_hit() {
            self.cpu.engine.sync_rip();
            let pos = self.cpu.position_here();
            self.note_watch(pos);
        }
    }

    /// An undefined opcode: whether it is one that is executed here.
    fn emulated(&mut self, step: u64) -> bool {
        let (cx8, cx16) = self.model.compare_exchange();
        let result = self.cpu.emulate(cx8, cx16);
        let done = *result.as_ref().unwrap_or(&true);
        self.after_delivery(result.map(|_| ()), step);
        done
    }

    fn stop_engine(&mut self) -> BlockStart {
        self.stopping = true;
        self.cpu.current.insns = 0;
        self.cpu.engine.stop();
        BlockStart::Stop
    }

    #[inline]
    fn enter(&mut self, addr: u64, size: u32, insns: u16) {
        self.cpu.current = Current { addr, start: self.cpu.pos, size: size as u16, insns };
        self.cpu.pos = self.cpu.pos.wrapping_add(insns.into());
    }

    /// A block at whose start something may have to be decided.
    #[cold]
    #[inline(never)]
    fn block_slow(&mut self, addr: u64, size: u32) -> BlockStart {
        self.cpu.end_resumption();
        if self.soft_limit == 0 {
            self.update_soft_limit();
        }
        let block = self.cpu.block(addr, size);
        if self.cpu.is_empty_rep_pass(&block) {
            return BlockStart::Run;
        }
        if self.cpu.code_was_overwritten() {
            self.cpu.undo_aborted_block(&block);
        }
        if self.cpu.pending_db != 0 {
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
            || self.takes_interrupt()
            || self.takes_nmi()
            || pos >= bound
        {
            self.in_rep = self.cpu.is_rep_pass(&block);
            return self.stop_engine();
        }
        let mut room = bound - pos;
        if block.split != 0 {
            room = room.min(block.split.into());
        }
        if block.special {
            let arriving = pos != self.run_start && !self.cpu.is_rep_pass(&block);
            let from = if arriving { addr } else { addr.wrapping_add(1) };
            match self.cpu.breakpoint_in(addr, size, from) {
                Some((bp, 0)) => {
                    self.exit = Some(Exit::Breakpoint(LinAddr(bp)));
                    return self.stop_engine();
                }
                Some((_, before)) => room = room.min(before),
                None => {}
            }
            match self.cpu.guest_breakpoint_in(addr, size) {
                Some((bp, 0)) if !self.cpu.is_rep_pass(&block) => {
                    self.cpu.report_debug(self.cpu.debug.hits_instruction(bp));
                    return self.fault(Fault::new(vector::DB, 0));
                }
                Some((_, 0)) | None => {}
                Some((_, before)) => room = room.min(before),
            }
            if block.waits {
                match self.cpu.waiting_x87() {
                    Waiting::Nothing => {}
                    Waiting::Unmasked => room = 1,
                    waiting => {
                        room = 1;
                        if self.cpu.instruction().is_some_and(|insn| crate::cpu::fpu::waits(&insn)) {
                            if waiting == Waiting::Exception {
                                return self.fault(Fault::new(vector::MF, 0));
                            }
                            if self.frozen_by_ferr() {
                                return self.stop_engine();
                            }
                        }
                    }
                }
            }
            if block.own && self.own_instruction() {
                return BlockStart::Stop;
            }
        }
        if self.cpu.careful || self.cpu.resuming() {
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
        self.cpu.begin_resumption();
        self.enter(addr, size, block.insns);
        BlockStart::Run
    }

    /// The instruction that was about to run raises this instead: a step of its own.
    fn fault(&mut self, fault: Fault) -> BlockStart {
        let step = self.cpu.pos;
        self.cpu.pos += 1;
        self.deliver(fault.vector, fault.cause(), step);
        BlockStart::Stop
    }

    /// An x87 exception waits and CR0.NE is clear: the CPU stands still until an interrupt comes, unless the board lets it
    /// go on (SDM 3A, 13.3).
    fn frozen_by_ferr(&mut self) -> bool {
        let ignored = self.board.ferr();
        self.schedule();
        self.cpu.halted = !ignored;
        !ignored
    }

    /// Executes the instruction at RIP if it is one that is not the engine's. False: in this mode it is.
    fn own_instruction(&mut self) -> bool {
        let Some(insn) = self.cpu.own_instruction() else { return false };
        let step = self.cpu.pos;
        self.cpu.current.insns = 0;
        self.cpu.stepping = self.cpu.env.r64(off::EFLAGS) & TF != 0;
        self.cpu.now_ns = self.time_at(step).0;
        if self.cpu.careful {
            self.cpu.pending_db |= self.cpu.look_at_operands().hits;
        }
        if insn.mnemonic() == iced_x86::Mnemonic::Int1 && !insn.has_lock_prefix() {
            self.cpu.pos += 1;
            self.in_rep = false;
            let result = self.cpu.int1(&insn);
            self.after_delivery(result, step);
            return true;
        }
        let result = match self.board_access(&insn, step) {
            Some(result) => result,
            None => self.cpu.execute_own(&insn, &self.model),
        };
        if result == Ok(Flow::Engine) {
            self.cpu.pending_db = 0;
            return false;
        }
        self.cpu.pos += 1;
        self.in_rep = false;
        let result = self.cpu.complete_own(&insn, result);
        self.after_delivery(result, step);
        true
    }

    /// Registers that are the local APIC's: some MSRs, and CR8.
    fn board_access(&mut self, insn: &iced_x86::Instruction, pos: u64) -> Option<Result<Flow, Fault>> {
        use iced_x86::{Mnemonic, Register};
        if insn.is_invalid() || insn.has_lock_prefix() {
            return None;
        }
        let now = self.time_at(pos);
        let env = self.cpu.env;
        match insn.mnemonic() {
            Mnemonic::Rdmsr | Mnemonic::Wrmsr => {
                let msr = self.cpu.msr_number(&self.model).ok()?;
                if !Board::has_msr(msr) {
                    return None;
                }
                let done = if insn.mnemonic() == Mnemonic::Rdmsr {
                    let value = self.on_board(pos, now, |board, bus| board.read_msr(msr, bus));
                    value.map(|value| self.cpu.set_msr_result(value))
                } else {
                    let value = self.cpu.msr_operand();
                    self.on_board(pos, now, |board, bus| board.write_msr(msr, value, bus)).then_some(())
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

    /// All registers, with the one that the board has.
    fn cpu_state(&self) -> CpuState {
        CpuState { cr8: self.board.tpr().into(), ..self.cpu.state() }
    }

    /// Whether the program goes round in a loop that changes nothing, with interrupts off.
    fn loops_forever(&self) -> bool {
        !self.following()
            && !self.cpu.halted
            && !self.shut_down
            && !self.cpu.env.interrupts_enabled()
            && !self.board.nmi()
            && !self.board.nmi_can_come()
            && self.cpu.loops_in_place()
    }

    /// Does what is due between two steps. `None`: go on with the engine.
    fn between_steps(&mut self, limit: RunLimit) -> Option<Exit> {
        self.cpu.end_resumption();
        loop {
            if self.cpu.pending_db != 0 {
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
                self.advance();
            }
            if self.cpu.pos >= limit.position.0 {
                return Some(Exit::Position);
            }
            if self.shut_down {
                return Some(Exit::TripleFault);
            }
            let interrupted = match self.source {
                Source::Board => self.interrupt_by_board(),
                Source::Log(_) => self.interrupt_by_log(limit),
            };
            match interrupted {
                Ok(true) => continue,
                Ok(false) => {}
                Err(divergence) => return Some(Exit::Diverged(Box::new(divergence))),
            }
            if !self.cpu.halted {
                return None;
            }
            if let Some(exit) = self.pass_halted_time(limit) {
                return Some(exit);
            }
        }
    }

    /// Takes the interrupt that the board asks for, if the CPU lets it.
    fn interrupt_by_board(&mut self) -> Result<bool, Divergence> {
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
    fn interrupt_by_log(&mut self, limit: RunLimit) -> Result<bool, Divergence> {
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
        if !self.cpu.halted
            && self.cpu.waiting_x87() == Waiting::Ferr
            && self.cpu.instruction().is_some_and(|insn| crate::cpu::fpu::waits(&insn))
        {
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

    fn take_interrupt(&mut self) {
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

    fn take_nmi(&mut self) {
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
    fn pass_halted_time(&mut self, limit: RunLimit) -> Option<Exit> {
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

    /// The engine came back by itself.
    fn after_engine(&mut self, result: Result<(), StartError>) -> Result<(), VmError> {
        match result {
            Ok(()) => {
                if !self.stopping {
                    self.cpu.halted = true;
                    self.cpu.current.insns = 0;
                }
                Ok(())
            }
            Err(StartError::PageFault { addr }) => match self.cpu.page_fault.take() {
                Some(Miss::Fault { error, fetch }) => {
                    self.page_fault(addr, error, fetch);
                    Ok(())
                }
                Some(Miss::NotCanonical) => {
                    self.not_canonical();
                    Ok(())
                }
                Some(Miss::TooFarAhead) => {
                    self.cpu.current.insns = 0;
                    self.partial = Some(1);
                    Ok(())
                }
                None => Err(self.engine_error(format!("unexplained fault at {addr:#x}"))),
            },
            // Fetching from a device reads all ones, which is an undefined opcode.
            Err(StartError::Engine(e)) if e == FETCH_FROM_DEVICE => {
                self.cpu.note_executed_here();
                self.cpu.pos += 1;
                let step = self.cpu.pos - 1;
                self.deliver(vector::UD, Cause::Exception(None), step);
                Ok(())
            }
            Err(StartError::Engine(e)) => Err(self.engine_error(e.to_string())),
        }
    }

    fn engine_error(&self, what: String) -> VmError {
        let pc = self.cpu.env.linear_pc();
        VmError::Engine(format!("{what} (position {}, pc {pc:#x})", self.cpu.pos))
    }

    /// An address that is not canonical. RIP is at the instruction; for a fetch its block never started.
    fn not_canonical(&mut self) {
        if self.report_pending_db() {
            return;
        }
        let stack = self.cpu.stack_fault();
        match self.cpu.index_of(self.cpu.env.linear_pc()) {
            Some(_) => self.correct_position(1),
            None => self.cpu.pos += 1,
        }
        let step = self.cpu.pos - 1;
        let vector = if stack { vector::SS } else { vector::GP };
        self.deliver(vector, Cause::Exception(Some(0)), step);
    }

    /// Before a fault of the fetch of an instruction comes the trap of the one before. Whether there was one.
    fn report_pending_db(&mut self) -> bool {
        if self.cpu.pending_db == 0 || self.cpu.index_of(self.cpu.env.linear_pc()).is_some() {
            return false;
        }
        let step = self.cpu.pos.saturating_sub(1);
        self.cpu.current.insns = 0;
        let result = self.cpu.deliver_pending_db();
        self.after_delivery(result.map(|_| ()), step);
        true
    }

    fn page_fault(&mut self, addr: u64, error: u32, fetch: bool) {
        if fetch && self.cpu.pending_db != 0 && self.report_pending_db() {
            return;
        }
        if fetch {
            self.cpu.note_executed_here();
            // The faulting instruction was not counted: its block never started.
            self.cpu.pos += 1;
        } else {
            self.correct_position(1);
        }
        let step = self.cpu.pos - 1;
        let cr2 = self.cpu.fault_address(addr, fetch);
        self.cpu.env.w64(crate::cpu::CR2, cr2);
        self.deliver(vector::PF, Cause::Exception(Some(error)), step);
    }

    /// The running block ended early with RIP at the faulting instruction (`done` 1) or behind it (0).
    fn correct_position(&mut self, done: u64) {
        if let Some(index) = self.cpu.index_of(self.cpu.env.linear_pc()) {
            self.cpu.pos = self.cpu.current.start + index + done;
        }
        self.cpu.current.insns = 0;
    }

    fn reset_cpu(&mut self) {
        let mut state = crate::boot::reset_state();
        state.gpr[2] = self.model.signature().into();
        self.cpu.set_state(&state);
        self.shut_down = false;
    }

    fn digest(&mut self, pos: u64, what: u64, value: u64) {
        let mut h = self.io_digest ^ pos.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for x in [what, value] {
            h = (h ^ x).wrapping_mul(0xff51_afd7_ed55_8ccd);
            h ^= h >> 32;
        }
        self.io_digest = h;
    }
}

impl Hooks for Core {
    const OFFSETS: Offsets = Offsets {
        position: offset_of!(Core, cpu.pos),
        free_limit: offset_of!(Core, free_limit),
        interrupt: offset_of!(Core, intr),
        invalidations: offset_of!(Core, cpu.engine) + Engine::INVALIDATIONS_OFFSET,
        seen_invalidations: offset_of!(Core, cpu.seen_invalidations),
        block_addr: offset_of!(Core, cpu.current.addr),
        block_start: offset_of!(Core, cpu.current.start),
        block_size_insns: offset_of!(Core, cpu.current.size),
    };

    #[inline]
    fn known_block(&mut self, addr: u64, size: u32, insns: u16) -> bool {
        let end = self.cpu.pos.wrapping_add(insns.into());
        let free = end <= self.free_limit && !self.cpu.code_was_overwritten() && !self.takes_interrupt();
        if free {
            self.enter(addr, size, insns);
        }
        free
    }

    #[inline]
    fn block(&mut self, addr: u64, size: u32) -> BlockStart {
        if self.cpu.single {
            self.cpu.single = false;
            self.update_soft_limit();
        }
        let block = self.cpu.cached_block(addr, size);
        let insns = block.insns;
        let end = self.cpu.pos.wrapping_add(insns.into());
        let plain = block.is_plain(addr, size) && end <= self.soft_limit;
        if !plain || self.cpu.code_was_overwritten() || self.takes_interrupt() {
            return self.block_slow(addr, size);
        }
        self.enter(addr, size, insns);
        BlockStart::RunKnown(insns)
    }

    fn became_known(&mut self, call: KnownCall) {
        self.cpu.note_known(call);
    }

    fn translated(&mut self, addr: u64, size: u16, insns: u16) {
        self.cpu.translated(addr, size, insns);
    }

    fn fill(&mut self, page: u64, access: Access) -> Option<Fill> {
        let fill = self.cpu.fill(page, access);
        if self.cpu.mem.has_watch_hit() {
            let pos = self.cpu.position_here();
            self.note_watch(pos);
        }
        self.cpu.drop_stale();
        fill
    }

    fn exception(&mut self, vector: u8) {
        let env = self.cpu.env;
        let software = env.r32(off::EXCEPTION_IS_INT) != 0;
        if software {
            self.cpu.int_len = self.cpu.len_behind();
        }
        // A single-step trap is raised behind its instruction, wherever that went; its block has one instruction.
        if vector == vector::DB && !software {
            self.cpu.current.insns = 0;
            let bits = std::mem::take(&mut self.cpu.pending_db);
            self.cpu.report_debug(bits | crate::cpu::debug::DR6_BS);
        } else {
            self.correct_position(u64::from(!software));
        }
        let step = self.cpu.pos.saturating_sub(1);
        if vector == vector::UD && self.emulated(step) {
            return;
        }
        if vector == vector::GP && !software && env.cpl() == 3 {
            self.cpu.stepping = env.r64(off::EFLAGS) & TF != 0;
            let result = self.cpu.allowed_by_virtual_interrupts();
            let done = *result.as_ref().unwrap_or(&true);
            self.after_delivery(result.map(|_| ()), step);
            if done {
                return;
            }
        }
        let cause = if software {
            self.cpu.software_cause(vector)
        } else {
            Cause::Exception(has_error_code(vector).then(|| env.r32(off::ERROR_CODE)))
        };
        self.deliver(vector, cause, step);
    }

    fn port_in(&mut self, port: u16, size: u8) -> PortIn {
        if let Err(fault) = self.cpu.check_port(port, size) {
            return PortIn::Raise(fault.vector, fault.error);
        }
        self.cpu.footprint.port(port);
        let pos = self.cpu.position_here();
        let now = self.time_at(pos);
        let value = self.on_board(pos, now, |board, bus| board.io_read(port, size, bus));
        self.digest(pos, u64::from(port) << 8 | u64::from(size), value.into());
        self.cpu.note_port_access(port, size);
        if self.must_leave() && self.cpu.finish_port_access(Some((value, size))) {
            return PortIn::Leave;
        }
        PortIn::Value(value)
    }

    fn port_out(&mut self, port: u16, size: u8, value: u32) -> PortOut {
        if let Err(fault) = self.cpu.check_port(port, size) {
            return PortOut::Raise(fault.vector, fault.error);
        }
        self.cpu.footprint.port(port);
        let pos = self.cpu.position_here();
        let now = self.time_at(pos);
        self.digest(pos, u64::from(port) << 8 | u64::from(size) | 0x80, value.into());
        self.on_board(pos, now, |board, bus| board.io_write(port, size, value, bus));
        self.cpu.note_port_access(port, size);
        if self.must_leave() && self.cpu.finish_port_access(None) {
            return PortOut::Leave;
        }
        PortOut::Done
    }

    fn mmio_read(&mut self, addr: u64, size: u8) -> u64 {
        if addr >= tlb::WATCHED {
            return self.watched_load(addr - tlb::WATCHED, size);
        }
        self.cpu.engine.sync_rip();
        let pos = self.cpu.position_here();
        let now = self.time_at(pos);
        let value = self.on_board(pos, now, |board, bus| board.mmio_read(PhysAddr(addr), size, bus));
        self.digest(pos, addr << 8 | u64::from(size) | 0x40, value);
        value
    }

    fn mmio_write(&mut self, addr: u64, size: u8, value: u64) -> bool {
        if addr >= tlb::WATCHED {
            return self.watched_store(addr - tlb::WATCHED, &value.to_le_bytes()[..usize::from(size.min(8))]);
        }
        self.cpu.engine.sync_rip();
        let pos = self.cpu.position_here();
        let now = self.time_at(pos);
        self.digest(pos, addr << 8 | u64::from(size) | 0xc0, value);
        if self.board.video_memory_write(PhysAddr(addr), size, value, &mut self.cpu.mem) {
            // No line and no event of the board can have changed.
            if self.cpu.mem.has_watch_hit() || self.cpu.mem.has_stale() {
                self.note_watch(pos);
                self.cpu.drop_stale();
            }
            return true;
        }
        self.on_board(pos, now, |board, bus| board.mmio_write(PhysAddr(addr), size, value, bus));
        true
    }

    fn rdtsc(&mut self) -> u64 {
        let pos = self.cpu.position_here();
        self.cpu.tsc(self.time_at(pos).0)
    }

    fn cpuid(&mut self, leaf: u32, subleaf: u32) -> [u32; 4] {
        self.model.cpuid(leaf, subleaf, self.board.has_local_apic())
    }

    fn syscall(&mut self, sysenter: bool) {
        // The engine adds the instruction's length to RIP when this returns.
        let len = self.cpu.instruction().map_or(2, |insn| insn.len() as u64);
        let step = self.cpu.position_here();
        let result =
            if sysenter { self.cpu.sysenter(&self.model) } else { self.cpu.syscall(len, &self.model) };
        self.after_delivery(result, step);
        self.cpu.env.set_rip(self.cpu.env.rip().wrapping_sub(len));
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // SAFETY: made by Box::leak in `new`, dropped once; the engine, which points to it, is part of it.
        drop(unsafe { Box::from_raw(self.core.as_ptr()) });
    }
}

impl Machine {
    /// A machine without media at power-on.
    pub fn new(config: &MachineConfig) -> Result<Machine, VmError> {
        Machine::with_media(config, Vec::new())
    }

    /// A machine at power-on: RAM zero, firmware in ROM, CPU at the reset vector. `media` are the contents of
    /// `config.media`, in order.
    pub fn with_media(config: &MachineConfig, media: Vec<Box<dyn BlockSource>>) -> Result<Machine, VmError> {
        config.check().map_err(VmError::Config)?;
        if media.len() != config.media.len() {
            let what = format!("{} images for {} media", media.len(), config.media.len());
            return Err(VmError::Config(what));
        }
        let mem = Memory::new(config, media).map_err(|e| {
            VmError::Config(format!("cannot allocate {} bytes of storage: {e}", config.storage_bytes()))
        })?;
        let model = cpuid::model(config.cpu);
        let mut cpu = Cpu::new(mem)?;
        cpu.page_features = model.page_features();
        model.apply(&cpu.env);
        let regions = tlb::engine_map(&mut cpu.mem);
        let core = NonNull::from(Box::leak(Box::new(Core {
            config: config.clone(),
            model,
            cpu,
            board: Board::new(config),
            skipped_ns: 0,
            io_digest: 0,
            source: Source::Board,
            taken: Vec::new(),
            output: Vec::new(),
            request: None,
            shut_down: false,
            watch: None,
            noted: None,
            exit: None,
            stopping: false,
            partial: None,
            run_start: 0,
            in_rep: false,
            stop_pos: 0,
            event_pos: 0,
            event_time: None,
            intr: false,
            nmi: false,
            soft_limit: 0,
            free_limit: 0,
        })));
        let mut machine = Machine { core };
        let engine = &machine.core().cpu.engine;
        // SAFETY: the regions are mappings owned by the same object as the engine and dropped after it is closed is not
        // observable: the engine does not touch memory while closing. `core` is at a fixed address until Drop.
        unsafe {
            for (addr, host, len) in regions {
                engine.map_host(addr, host, len)?;
            }
            engine.map_mmio(tlb::ENGINE_MMIO, tlb::MMIO_LEN, core)?;
            engine.install(core)?;
        }
        let core = machine.core_mut();
        core.update_map();
        core.reset_cpu();
        if config.bios.is_empty() && config.vga == Vga::Std {
            Adapter::fill_text_memory(&config.vga_bios, &mut core.cpu.mem);
        }
        core.schedule();
        Ok(machine)
    }

    fn core(&self) -> &Core {
        // SAFETY: valid until Drop; the engine's callbacks, which also use it, run only inside `run`, which holds
        // `&mut self`.
        unsafe { self.core.as_ref() }
    }

    fn core_mut(&mut self) -> &mut Core {
        // SAFETY: as above, and `&mut self` is exclusive.
        unsafe { self.core.as_mut() }
    }

    /// Loads a kernel as `-kernel` does: Linux, Multiboot or flat; the CPU is at its entry point afterwards.
    pub fn load_kernel(
        &mut self,
        kernel: &[u8],
        initrd: Option<&[u8]>,
        cmdline: &str,
    ) -> Result<(), VmError> {
        let core = self.core_mut();
        let state = crate::boot::load(core.cpu.mem.ram_mut(), kernel, initrd, cmdline)
            .map_err(|e| VmError::Config(e.to_string()))?;
        core.cpu.set_state(&state);
        Ok(())
    }

    /// What it is made of.
    pub fn config(&self) -> &MachineConfig {
        &self.core().config
    }

    /// Steps since power-on.
    pub fn position(&self) -> Icount {
        Icount(self.core().cpu.pos)
    }

    /// Virtual time.
    pub fn now(&self) -> VmTime {
        self.core().now()
    }

    /// Runs until `limit` or until something else in [`Exit`] happens.
    pub fn run(&mut self, limit: RunLimit) -> Result<Exit, VmError> {
        let core = self.core_mut();
        core.run_start = core.cpu.pos;
        core.exit = None;
        core.schedule();
        if core.cpu.pos < limit.position.0 && core.loops_forever() {
            return Ok(Exit::HaltedForever);
        }
        loop {
            let core = self.core_mut();
            if let Some(exit) = core.between_steps(limit) {
                core.advance();
                return match core.cpu.mem.media_failure() {
                    Some(failure) => Err(VmError::Medium(failure)),
                    None => Ok(exit),
                };
            }
            core.stop_pos = limit.position.0;
            if let Source::Log(log) = &core.source
                && let Some(next) = log.front()
            {
                core.stop_pos = core.stop_pos.min(next.position.0);
            }
            core.stopping = false;
            core.in_rep = false;
            let partial = core.partial.take();
            core.cpu.single = partial == Some(1);
            core.update_soft_limit();
            let engine: *const Engine = &raw const core.cpu.engine;
            // SAFETY: the engine lives in `core`, which outlives the call; no other reference to `core` is used while
            // the callbacks use it.
            let result = unsafe { (*engine).start(partial) };
            self.core_mut().after_engine(result)?;
        }
    }

    /// An input arrives now.
    pub fn inject(&mut self, input: &Input) {
        let core = self.core_mut();
        let (pos, now) = (core.cpu.pos, core.now());
        // A debugger sees the CPU stand here, whatever the input makes of it.
        core.cpu.note_executed_here();
        core.on_board(pos, now, |board, bus| board.inject(input, bus));
        if *input == Input::Reset {
            core.board.reset();
            core.update_map();
            core.reset_cpu();
            core.schedule();
        }
    }

    /// From now on interrupts are taken where `log` says (positions not before the present one, ascending), and each
    /// is checked against what the board asks for; requests of the guest (reset, power off) are ignored, as the recording
    /// has them as inputs or ends there. `None`: when the board asks for them (recording).
    pub fn follow(&mut self, log: Option<Vec<InterruptTaken>>) {
        let core = self.core_mut();
        core.source = match log {
            Some(log) => Source::Log(log.into()),
            None => Source::Board,
        };
        core.schedule();
    }

    /// Interrupts taken since the last call, in order (also those that were followed).
    pub fn take_interrupts(&mut self) -> Vec<InterruptTaken> {
        std::mem::take(&mut self.core_mut().taken)
    }

    /// What the guest sent out since the last call, each with the position of its step.
    pub fn take_output(&mut self) -> Vec<(Icount, Output)> {
        std::mem::take(&mut self.core_mut().output)
    }

    /// Whether the step before was an iteration of the REP instruction that comes next.
    pub fn in_rep(&self) -> bool {
        self.core().in_rep
    }

    /// The CPU's registers.
    pub fn cpu(&self) -> CpuState {
        self.core().cpu_state()
    }

    /// Writes the CPU's registers.
    pub fn set_cpu(&mut self, cpu: &CpuState) {
        let core = self.core_mut();
        core.board.set_tpr(cpu.cr8 as u8);
        core.cpu.set_state(cpu);
        core.schedule();
    }

    /// The chips.
    pub fn board(&self) -> &Board {
        &self.core().board
    }

    /// What is on the screen; `None` without a display adapter. Looking changes nothing.
    pub fn picture(&self) -> Option<Picture> {
        let core = self.core();
        Some(core.board.vga()?.picture(core.cpu.mem.video(), core.now()))
    }

    /// The lines of text on the screen, without blanks at their ends; `None` without a display adapter and while it shows
    /// graphics.
    pub fn screen_text(&self) -> Option<Vec<String>> {
        let core = self.core();
        core.board.vga()?.text(core.cpu.mem.video())
    }

    /// CPU, chips, position and time. Storage goes by pages: [`Machine::storage`], [`Machine::take_dirty`].
    pub fn save(&self) -> MachineState {
        let core = self.core();
        MachineState {
            position: Icount(core.cpu.pos),
            skipped_ns: core.skipped_ns,
            io_digest: core.io_digest,
            shut_down: core.shut_down,
            in_rep: core.in_rep,
            cpu: core.cpu_state(),
            board: core.board.clone(),
        }
    }

    /// Takes over a saved state. Storage must be brought to the same position by [`Machine::write_page`].
    pub fn restore(&mut self, state: &MachineState) {
        let core = self.core_mut();
        core.cpu.pos = state.position.0;
        core.skipped_ns = state.skipped_ns;
        core.io_digest = state.io_digest;
        core.shut_down = state.shut_down;
        core.in_rep = state.in_rep;
        core.board = state.board.clone();
        core.request = None;
        core.watch = None;
        core.taken.clear();
        core.output.clear();
        core.partial = None;
        core.update_map();
        core.cpu.drop_stale();
        core.cpu.set_state(&state.cpu);
        core.schedule();
    }

    /// All that a guest can change and that is not in [`MachineState`], as one sequence of pages: RAM, then video memory,
    /// then what was written to disks.
    pub fn storage(&self) -> &[u8] {
        self.core().cpu.mem.storage()
    }

    /// Replaces page `page` of storage (for RAM: physical address / 4096), also where it holds code.
    ///
    /// # Panics
    /// If storage has no such page.
    pub fn write_page(&mut self, page: usize, bytes: &[u8; PAGE_SIZE]) {
        let core = self.core_mut();
        core.cpu.mem.replace_page(page, bytes);
        core.cpu.drop_stale();
    }

    /// Pages of storage that may have changed since the last call (or since power-on), ascending; the list is empty
    /// afterwards. Costs as much as the pages touched, not as storage.
    pub fn take_dirty(&mut self) -> Vec<usize> {
        let core = self.core_mut();
        let pages = core.cpu.mem.take_dirty();
        core.cpu.flush_tlb();
        pages
    }

    /// What was touched since the last call (or since power-on). Like a clean slate for [`Machine::take_dirty`], it makes
    /// the machine look up pages and blocks anew.
    pub fn take_footprint(&mut self) -> Footprint {
        let core = self.core_mut();
        core.cpu.forget_known_blocks::<Core>();
        core.cpu.take_footprint()
    }

    /// Reads physical memory as the CPU would without side effects: device ranges and holes read as 0xff.
    pub fn read_phys(&self, addr: PhysAddr, buf: &mut [u8]) {
        self.core().cpu.mem.read(addr, buf);
    }

    /// Writes RAM (holes and ROM ignore it), also where it holds code.
    pub fn write_phys(&mut self, addr: PhysAddr, bytes: &[u8]) {
        let core = self.core_mut();
        core.cpu.mem.write(addr, bytes);
        core.cpu.drop_stale();
    }

    /// The physical address behind a linear one through the page tables of the present CR3; `None` where not present.
    /// Never sets an accessed bit.
    pub fn translate(&self, addr: LinAddr) -> Option<PhysAddr> {
        self.core().cpu.translate(addr)
    }

    /// Reads memory by linear address; stops at the first byte that is not mapped. Returns the bytes read.
    pub fn read_linear(&self, addr: LinAddr, buf: &mut [u8]) -> usize {
        self.core().cpu.read_linear(addr, buf)
    }

    /// Replaces the set of breakpoints (linear addresses of instructions).
    pub fn set_breakpoints(&mut self, addrs: &[LinAddr]) {
        self.core_mut().cpu.set_breakpoints(addrs);
    }

    /// Replaces the set of watched ranges.
    pub fn set_watchpoints(&mut self, ranges: &[WatchRange]) {
        self.core_mut().cpu.set_watchpoints(ranges);
    }

    /// Whether hits of watched ranges are noted, for [`Machine::take_noted`], instead of stopping the machine.
    pub fn note_hits(&mut self, on: bool) {
        self.core_mut().noted = on.then(Vec::new);
    }

    /// Hits since the last call, ascending, one for each step. Each takes memory: run no further than can be borne.
    pub fn take_noted(&mut self) -> Vec<Noted> {
        self.core_mut().noted.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// What the guest wrote to medium `number`, page by page: the offset in the medium, in
    /// bytes, and what it holds now. Pages that are as in the image may be among them.
    pub fn written_pages(&self, number: usize) -> impl Iterator<Item = (u64, [u8; PAGE_SIZE])> + '_ {
        let mem = &self.core().cpu.mem;
        let overlay = mem.overlay(number);
        let at = mem.touched_disk_pages().map(|page| (page * PAGE_SIZE) as u64);
        at.filter(move |at| overlay.contains(at)).map(move |at| {
            let offset = at - mem.overlay(number).start;
            let mut bytes = [0; PAGE_SIZE];
            mem.read_medium(number, offset, &mut bytes);
            (offset, bytes)
        })
    }

    /// A hash of the whole machine: CPU, chips, storage. Equal states have equal hashes.
    pub fn hash(&self) -> u64 {
        let mut hasher = Xxh3::new();
        hasher.update(&self.save().to_bytes());
        let (storage, config) = (self.storage(), self.config());
        // Most of a disk is never written, and then zeros.
        hasher.update(&storage[..(config.ram_bytes + config.video_bytes()) as usize]);
        for page in self.core().cpu.mem.touched_disk_pages() {
            let bytes = &storage[page * PAGE_SIZE..][..PAGE_SIZE];
            if bytes.iter().any(|byte| *byte != 0) {
                hasher.update(&(page as u64).to_le_bytes());
                hasher.update(bytes);
            }
        }
        hasher.digest()
    }
}
