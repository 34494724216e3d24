//! Long mode (AMD APM 2, 8.9): 16-byte gates, IST, an aligned stack, SS:RSP always pushed.

use super::{Cause, Fault, gate_error, vector};
use crate::cpu::Cpu;
use crate::cpu::descriptor::{Descriptor, Stack, canonical, kind, selector_error};
use crate::cpu::state::{Segment, seg};

impl Cpu {
    pub(super) fn deliver_long(&mut self, vector: u8, cause: Cause, rflags: u64) -> Result<(), Fault> {
        let error = gate_error(vector);
        let at = self.gate_address(vector, 16)?;
        let gate = Descriptor(self.read_system(at, 8)?);
        let high = self.read_system(at.wrapping_add(8), 8)?;
        let interrupt_gate = match gate.system() {
            Some(kind::INTERRUPT32) => true,
            Some(kind::TRAP32) => false,
            _ => return Err(Fault::new(vector::GP, error)),
        };
        self.check_gate(gate, error, cause)?;
        let target = self.gate_target(gate.gate_selector())?;
        if !target.descriptor.long() || target.descriptor.big() {
            return Err(Fault::new(vector::GP, selector_error(target.cs.selector)));
        }
        let rip = gate.gate_offset() | high << 32;
        let inner = target.cpl < self.env.cpl();
        let ist = (gate.0 >> 32 & 7) as u32;
        let sp = if ist != 0 {
            self.tss_field(0x1c + 8 * ist, 8)?
        } else if inner {
            self.tss_field(4 + 8 * u32::from(target.cpl), 8)?
        } else {
            self.env.gpr(4)
        };
        if !canonical(sp) {
            return Err(Fault::new(vector::SS, 0));
        }
        if !canonical(rip) {
            return Err(Fault::protection());
        }
        let mut stack = Stack::long(sp & !15, target.cpl == 3);
        let cs = self.env.segment(seg::CS).selector;
        let ss = self.env.segment(seg::SS).selector;
        for value in [ss.into(), self.env.gpr(4), rflags, cs.into(), self.env.rip()] {
            self.push(&mut stack, 8, value)?;
        }
        if let Some(error) = cause.error() {
            self.push(&mut stack, 8, error.into())?;
        }
        if inner {
            self.env.set_segment(seg::SS, &null_stack(target.cpl));
        }
        self.env.set_gpr(4, stack.sp);
        self.commit_target(&target.cs, rip, rflags, interrupt_gate);
        Ok(())
    }
}

/// SS of 64-bit mode after a change to an inner level: null, with the level in RPL and DPL.
pub(in crate::cpu) fn null_stack(cpl: u8) -> Segment {
    Segment { selector: cpl.into(), base: 0, limit: 0, flags: u32::from(cpl) << 13 }
}
