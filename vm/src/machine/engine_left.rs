//! After the engine came back by itself: faults that it met, and errors.

use super::{Core, Exit, VmError};
use crate::cpu::debug::DR6_BS;
use crate::cpu::delivery::{Cause, vector};
use crate::cpu::engine::{FETCH_FROM_DEVICE, StartError, off};
use crate::cpu::regs::flag;
use crate::cpu::tlb::Miss;
use crate::units::LinAddr;

impl Core {
    /// An undefined opcode: whether it is one that is executed here.
    pub(super) fn emulated(&mut self, step: u64) -> bool {
        let (cx8, cx16) = self.model.compare_exchange();
        let result = self.cpu.emulate(cx8, cx16);
        let done = *result.as_ref().unwrap_or(&true);
        self.after_delivery(result.map(|_| ()), step);
        done
    }

    /// The engine came back by itself.
    pub(super) fn after_engine(&mut self, result: Result<(), StartError>) -> Result<(), VmError> {
        match result {
            Ok(()) => {
                if !self.stopping {
                    // A debug exception ends the halt at once (SDM 2A, HLT), and a single step is one.
                    let stepping = self.cpu.env.r64(off::EFLAGS) & flag::TF != 0;
                    self.cpu.halted = !stepping;
                    if stepping {
                        self.cpu.pending_db |= DR6_BS;
                    }
                    self.cpu.current.insns = 0;
                }
                Ok(())
            }
            Err(StartError::PageFault { addr }) => match self.cpu.page_fault.take() {
                Some(Miss::Fault { fetch: true, .. }) if self.stops_before_fetch() => Ok(()),
                Some(Miss::Fault { error, fetch }) => {
                    self.page_fault(addr, error, fetch);
                    Ok(())
                }
                Some(Miss::NotCanonical) if !self.in_block() && self.stops_before_fetch() => Ok(()),
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
            // The instructions before it run first.
            Err(StartError::Untranslatable) if !self.cpu.single => {
                self.cpu.current.insns = 0;
                self.partial = Some(1);
                Ok(())
            }
            Err(StartError::Untranslatable) => {
                if self.stops_before_fetch() || self.own_instruction() {
                    return Ok(());
                }
                Err(self.engine_error("the engine cannot translate the instruction".into()))
            }
            // Fetching from a device reads all ones, which is an undefined opcode.
            Err(StartError::Engine(e)) if e == FETCH_FROM_DEVICE => {
                if self.stops_before_fetch() {
                    return Ok(());
                }
                self.cpu.pos += 1;
                let step = self.cpu.pos - 1;
                self.deliver(vector::UD, Cause::Exception(None), step);
                Ok(())
            }
            Err(StartError::Engine(e)) => Err(self.engine_error(e.to_string())),
        }
    }

    /// The instruction at RIP cannot be fetched, and no block has begun at whose start something could be decided first. Whether
    /// there is something: between two steps it is looked for, unless the engine has just come from there, and a breakpoint
    /// is looked for here.
    fn stops_before_fetch(&mut self) -> bool {
        self.cpu.current.insns = 0;
        if self.cpu.pos != self.engine_start {
            return true;
        }
        self.cpu.note_executed_here();
        let pc = self.cpu.env.linear_pc();
        let stops = self.cpu.pos != self.run_start && self.cpu.has_breakpoint(pc);
        if stops {
            self.exit = Some(Exit::Breakpoint(LinAddr(pc)));
        }
        stops
    }

    /// Whether RIP is at an instruction of the block that runs.
    fn in_block(&self) -> bool {
        self.cpu.index_of(self.cpu.env.linear_pc()).is_some()
    }

    pub(super) fn engine_error(&self, what: String) -> VmError {
        let pc = self.cpu.env.linear_pc();
        VmError::Engine(format!("{what} (position {}, pc {pc:#x})", self.cpu.pos))
    }

    /// An address that is not canonical. RIP is at the instruction; for a fetch its block never started.
    pub(super) fn not_canonical(&mut self) {
        if self.report_pending_db() {
            return;
        }
        let stack = self.cpu.stack_fault();
        if self.in_block() {
            self.cpu.mend_flags();
            self.correct_position(1);
        } else {
            self.cpu.pos += 1;
        }
        let step = self.cpu.pos - 1;
        let vector = if stack { vector::SS } else { vector::GP };
        self.deliver(vector, Cause::Exception(Some(0)), step);
    }

    /// Before a fault of the fetch of an instruction comes the trap of the one before. Whether there was one.
    pub(super) fn report_pending_db(&mut self) -> bool {
        if self.cpu.pending_db == 0 || self.in_block() {
            return false;
        }
        let step = self.cpu.pos.saturating_sub(1);
        self.cpu.current.insns = 0;
        let result = self.cpu.deliver_pending_db();
        self.after_delivery(result.map(|_| ()), step);
        true
    }

    pub(super) fn page_fault(&mut self, addr: u64, error: u32, fetch: bool) {
        if fetch && self.cpu.pending_db != 0 && self.report_pending_db() {
            return;
        }
        if fetch {
            // The faulting instruction was not counted: its block never started.
            self.cpu.pos += 1;
        } else {
            self.cpu.mend_flags();
            self.correct_position(1);
        }
        let step = self.cpu.pos - 1;
        let cr2 = self.cpu.fault_address(addr, fetch);
        self.cpu.env.w64(crate::cpu::CR2, cr2);
        self.deliver(vector::PF, Cause::Exception(Some(error)), step);
    }

    /// The running block ended early with RIP at the faulting instruction (`done` 1) or behind it (0).
    pub(super) fn correct_position(&mut self, done: u64) {
        if let Some(index) = self.cpu.index_of(self.cpu.env.linear_pc()) {
            self.cpu.cut_mmx(index);
            self.cpu.pos = self.cpu.current.start + index + done;
        }
        self.cpu.current.insns = 0;
    }
}
