//! Protected and virtual-8086 mode: 16- and 32-bit interrupt, trap and task gates (SDM 3A, 6.12; SDM 2A, INT n).

use super::{Cause, Fault, gate_error, vector};
use crate::cpu::Cpu;
use crate::cpu::descriptor::{Descriptor, Stack, in_limit, kind, selector_error, stack_mask};
use crate::cpu::engine::off;
use crate::cpu::regs::flag;
use crate::cpu::state::{Segment, seg};
use crate::cpu::task::Switch;

/// Where a gate leads.
pub(super) struct Target {
    pub cs: Segment,
    pub cpl: u8,
    pub descriptor: Descriptor,
}

const CR4_VME: u64 = 1;

impl Cpu {
    pub(super) fn deliver_protected(&mut self, vector: u8, cause: Cause, rflags: u64) -> Result<(), Fault> {
        let v86 = rflags & flag::VM != 0;
        if v86 && cause == Cause::Software && self.env.r64(off::CR + 32) & CR4_VME != 0 {
            match self.redirected(vector)? {
                Some(true) => return self.deliver_redirected(vector, rflags),
                _ if rflags & flag::IOPL != flag::IOPL => return Err(Fault::protection()),
                _ => {}
            }
        }
        let error = gate_error(vector);
        let at = self.gate_address(vector, 8)?;
        let gate = Descriptor(self.read_system(at, 8)?);
        let (width, interrupt_gate) = match gate.system() {
            Some(kind::TASK) => {
                self.check_gate(gate, error, cause)?;
                return self.deliver_to_task(gate, cause);
            }
            Some(kind::INTERRUPT16) => (2, true),
            Some(kind::TRAP16) => (2, false),
            Some(kind::INTERRUPT32) => (4, true),
            Some(kind::TRAP32) => (4, false),
            _ => return Err(Fault::new(vector::GP, error)),
        };
        self.check_gate(gate, error, cause)?;
        let rip = if width == 4 { gate.gate_offset() } else { gate.gate_offset() & 0xffff };
        let target = self.gate_target(gate.gate_selector())?;

        if v86 && target.cpl != 0 {
            return Err(Fault::new(vector::GP, selector_error(target.cs.selector)));
        }
        let cpl = self.env.cpl();
        let old_ss = self.env.segment(seg::SS);
        let old_sp = self.env.gpr(4);
        let inner = target.cpl < cpl;
        let mut stack = if inner {
            let (ss, sp) = self.tss_stack(target.cpl)?;
            Stack { seg: ss, sp, mask: stack_mask(&ss), user: false, error: selector_error(ss.selector) }
        } else {
            self.stack()
        };
        let words =
            3 + u64::from(cause.error().is_some()) + if inner { 2 } else { 0 } + if v86 { 4 } else { 0 };
        stack.room(words * width, width)?;
        if !in_limit(&target.cs, rip, 1) {
            return Err(Fault::protection());
        }
        if v86 {
            for i in [seg::GS, seg::FS, seg::DS, seg::ES] {
                self.push(&mut stack, width, self.env.segment(i).selector.into())?;
            }
        }
        if inner {
            self.push(&mut stack, width, old_ss.selector.into())?;
            self.push(&mut stack, width, old_sp)?;
        }
        let cs = self.env.segment(seg::CS).selector;
        for value in [rflags, cs.into(), self.env.rip()] {
            self.push(&mut stack, width, value)?;
        }
        if let Some(error) = cause.error() {
            self.push(&mut stack, width, error.into())?;
        }
        if inner {
            self.env.set_segment(seg::SS, &stack.seg);
            // A new stack pointer is loaded whole; only pushes wrap at the stack's width.
            self.env.set_gpr(4, stack.sp & 0xffff_ffff);
        } else {
            self.commit_sp(&stack);
        }
        if v86 {
            for i in [seg::GS, seg::FS, seg::DS, seg::ES] {
                self.env.set_segment(i, &Segment::default());
            }
        }
        self.commit_target(&target.cs, rip, rflags, interrupt_gate);
        Ok(())
    }

    /// Through a task gate: the interrupted task's state goes to its TSS (SDM 3A, 6.12.2 and 7.3).
    fn deliver_to_task(&mut self, gate: Descriptor, cause: Cause) -> Result<(), Fault> {
        let selector = gate.gate_selector();
        if selector & 4 != 0 {
            return Err(Fault::new(vector::GP, selector_error(selector)));
        }
        let (addr, descriptor) = self.descriptor(selector, vector::GP)?;
        let next = self.env.rip();
        self.switch_task(selector, addr, descriptor, Switch::Gate, next)?;
        if let Some(error) = cause.error() {
            let width = if self.env.segment_at(off::TR).is_wide_system() { 4 } else { 2 };
            let mut stack = self.stack();
            self.push(&mut stack, width, error.into())?;
            self.commit_sp(&stack);
        }
        self.finish_task_switch()
    }

    /// Linear address of a gate of `size` bytes, which must be inside the IDT.
    pub(super) fn gate_address(&self, vector: u8, size: u64) -> Result<u64, Fault> {
        let idt = self.env.idtr();
        let at = u64::from(vector) * size;
        if at + size - 1 > idt.limit.into() {
            return Err(Fault::new(vector::GP, gate_error(vector)));
        }
        Ok(idt.base.wrapping_add(at))
    }

    /// Presence, and for INT n the gate's privilege level.
    pub(super) fn check_gate(&self, gate: Descriptor, error: u32, cause: Cause) -> Result<(), Fault> {
        if cause.checks_gate() && gate.dpl() < self.env.cpl() {
            return Err(Fault::new(vector::GP, error));
        }
        if !gate.present() {
            return Err(Fault::new(vector::NP, error));
        }
        Ok(())
    }

    /// The code segment that a gate names, and the privilege level it leads to.
    pub(super) fn gate_target(&mut self, selector: u16) -> Result<Target, Fault> {
        if selector & !3 == 0 {
            return Err(Fault::protection());
        }
        let error = selector_error(selector);
        let (addr, descriptor) = self.descriptor(selector, vector::GP)?;
        let cpl = self.env.cpl();
        if !descriptor.is_code() || descriptor.dpl() > cpl {
            return Err(Fault::new(vector::GP, error));
        }
        if !descriptor.present() {
            return Err(Fault::new(vector::NP, error));
        }
        let descriptor = self.mark_accessed(addr, descriptor)?;
        let new_cpl = if descriptor.conforming() { cpl } else { descriptor.dpl() };
        let cs = descriptor.segment(selector & !3 | u16::from(new_cpl));
        Ok(Target { cs, cpl: new_cpl, descriptor })
    }

    pub(super) fn commit_target(&mut self, cs: &Segment, rip: u64, rflags: u64, interrupt_gate: bool) {
        self.env.set_segment(seg::CS, cs);
        self.env.set_rip(rip);
        let mut cleared = flag::TF | flag::VM | flag::RF | flag::NT;
        if interrupt_gate {
            cleared |= flag::IF;
        }
        self.env.set_rflags(rflags & !cleared);
    }
}
