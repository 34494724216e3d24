//! Far JMP and CALL in protected mode: to segments, through gates, to tasks (SDM 2A, JMP and CALL; SDM 3A, 5.8).

use super::Flow;
use crate::cpu::Cpu;
use crate::cpu::delivery::{Fault, vector};
use crate::cpu::descriptor::{Descriptor, Stack, canonical, in_limit, kind, selector_error, stack_mask};
use crate::cpu::state::{Segment, seg};
use crate::cpu::task::Switch;
use iced_x86::{Instruction, Mnemonic};

impl Cpu {
    pub(super) fn far_transfer(&mut self, insn: &Instruction) -> Result<Flow, Fault> {
        if self.paragraphs() {
            return Ok(Flow::Engine);
        }
        let (selector, offset, width) = self.far_pointer(insn)?;
        let call = insn.mnemonic() == Mnemonic::Call;
        if selector & !3 == 0 {
            return Err(Fault::protection());
        }
        let next = self.behind(insn);
        let (addr, descriptor) = self.descriptor(selector, vector::GP)?;
        let refused = Err(Fault::new(vector::GP, selector_error(selector)));
        let (cpl, rpl, long) = (self.env.cpl(), (selector & 3) as u8, self.env.long_mode());
        let Some(system) = descriptor.system() else {
            return self.far_to_segment(selector, addr, descriptor, offset, width, call.then_some(next));
        };
        match system {
            kind::CALL16 if !long => {}
            kind::CALL32 => {}
            kind::TASK | kind::TSS16 | kind::TSS32 if !long => {}
            // A busy TSS is refused like other types.
            _ => return refused,
        }
        if descriptor.dpl() < cpl || descriptor.dpl() < rpl {
            return refused;
        }
        if !descriptor.present() {
            return Err(Fault::new(vector::NP, selector_error(selector)));
        }
        let switch = if call { Switch::Call } else { Switch::Jump };
        match system {
            kind::CALL16 | kind::CALL32 => {
                self.through_gate(selector, addr, descriptor, call.then_some(next))
            }
            kind::TASK => {
                let tss = descriptor.gate_selector();
                if tss & 4 != 0 || tss & !3 == 0 {
                    return Err(Fault::new(vector::GP, selector_error(tss)));
                }
                let (addr, descriptor) = self.descriptor(tss, vector::GP)?;
                self.switch_task(tss, addr, descriptor, switch, next)?;
                self.finish_task_switch()?;
                Ok(Flow::Jumped)
            }
            _ => {
                self.switch_task(selector, addr, descriptor, switch, next)?;
                self.finish_task_switch()?;
                Ok(Flow::Jumped)
            }
        }
    }

    /// Directly to a code segment; `next`: a CALL, which pushes this.
    fn far_to_segment(
        &mut self,
        selector: u16,
        addr: u64,
        descriptor: Descriptor,
        offset: u64,
        width: u64,
        next: Option<u64>,
    ) -> Result<Flow, Fault> {
        let error = selector_error(selector);
        let refused = Err(Fault::new(vector::GP, error));
        let (cpl, rpl) = (self.env.cpl(), (selector & 3) as u8);
        let long = self.env.long_mode();
        if !descriptor.is_code() || (long && descriptor.long() && descriptor.big()) {
            return refused;
        }
        let allowed = if descriptor.conforming() {
            descriptor.dpl() <= cpl
        } else {
            rpl <= cpl && descriptor.dpl() == cpl
        };
        if !allowed {
            return refused;
        }
        if !descriptor.present() {
            return Err(Fault::new(vector::NP, error));
        }
        let cs = descriptor.segment(selector & !3 | u16::from(cpl));
        let mut stack = self.stack();
        if next.is_some() {
            stack.room(2 * width, width)?;
        }
        self.check_target(&cs, offset)?;
        self.mark_accessed(addr, descriptor)?;
        if let Some(next) = next {
            self.push(&mut stack, width, self.env.segment(seg::CS).selector.into())?;
            self.push(&mut stack, width, next)?;
            self.commit_sp(&stack);
        }
        self.env.set_segment(seg::CS, &Segment { flags: cs.flags | 0x100, ..cs });
        self.env.set_rip(offset);
        Ok(self.jumped())
    }

    /// Whether RIP may be there: inside the segment, or canonical.
    pub(super) fn check_target(&self, cs: &Segment, rip: u64) -> Result<(), Fault> {
        let long = self.env.long_mode() && cs.flags & 1 << 21 != 0;
        let good = if long { canonical(rip) } else { in_limit(cs, rip & 0xffff_ffff, 1) };
        if good { Ok(()) } else { Err(Fault::protection()) }
    }

    /// After a jump RF is clear.
    pub(super) fn jumped(&self) -> Flow {
        use crate::cpu::engine::off;
        use crate::cpu::regs::flag;
        self.env.w64(off::EFLAGS, self.env.r64(off::EFLAGS) & !flag::RF);
        Flow::Jumped
    }

    fn through_gate(
        &mut self,
        gate_selector: u16,
        gate_addr: u64,
        gate: Descriptor,
        next: Option<u64>,
    ) -> Result<Flow, Fault> {
        let long = self.env.long_mode();
        let mut offset = gate.gate_offset();
        let width = if long {
            // Gates of long mode have 16 bytes.
            let (base, limit) = (u32::from(gate_selector & !7), u32::from(self.env.gdtr().limit));
            let high = self.read_system(gate_addr.wrapping_add(8), 8)?;
            if high >> 40 & 0x1f != 0 || (gate_selector & 4 == 0 && base + 15 > limit) {
                return Err(Fault::new(vector::GP, selector_error(gate_selector)));
            }
            offset |= high << 32;
            8
        } else if gate.system() == Some(kind::CALL32) {
            4
        } else {
            offset &= 0xffff;
            2
        };
        let selector = gate.gate_selector();
        if selector & !3 == 0 {
            return Err(Fault::protection());
        }
        let error = selector_error(selector);
        let (addr, descriptor) = self.descriptor(selector, vector::GP)?;
        let cpl = self.env.cpl();
        if !descriptor.is_code()
            || descriptor.dpl() > cpl
            || (long && (!descriptor.long() || descriptor.big()))
            || (next.is_none() && !descriptor.conforming() && descriptor.dpl() != cpl)
        {
            return Err(Fault::new(vector::GP, error));
        }
        if !descriptor.present() {
            return Err(Fault::new(vector::NP, error));
        }
        let inner = next.is_some() && !descriptor.conforming() && descriptor.dpl() < cpl;
        let new_cpl = if inner { descriptor.dpl() } else { cpl };
        let cs = descriptor.segment(selector & !3 | u16::from(new_cpl));
        let old_cs = self.env.segment(seg::CS).selector;
        let Some(next) = next else {
            self.check_target(&cs, offset)?;
            self.mark_accessed(addr, descriptor)?;
            self.env.set_segment(seg::CS, &Segment { flags: cs.flags | 0x100, ..cs });
            self.env.set_rip(offset);
            return Ok(self.jumped());
        };
        let old = self.stack();
        let mut stack = old;
        let mut new_ss = None;
        if inner && long {
            let sp = self.tss_field(4 + 8 * u32::from(new_cpl), 8)?;
            stack = Stack::long(sp, false);
            new_ss = Some(crate::cpu::delivery::null_stack(new_cpl));
        } else if inner {
            let (ss, sp) = self.tss_stack(new_cpl)?;
            stack =
                Stack { seg: ss, sp, mask: stack_mask(&ss), user: false, error: selector_error(ss.selector) };
            new_ss = Some(ss);
        }
        let parameters = if inner && !long { gate.0 >> 32 & 31 } else { 0 };
        let words = 2 + if inner { 2 + parameters } else { 0 };
        stack.room(words * width, width)?;
        self.check_target(&cs, offset)?;
        self.mark_accessed(addr, descriptor)?;
        if inner {
            self.push(&mut stack, width, old.seg.selector.into())?;
            self.push(&mut stack, width, old.sp)?;
            for i in (0..parameters).rev() {
                let value = self.peek(&old, i * width, width)?;
                self.push(&mut stack, width, value)?;
            }
        }
        self.push(&mut stack, width, old_cs.into())?;
        self.push(&mut stack, width, next)?;
        match new_ss {
            Some(ss) => {
                self.env.set_segment(seg::SS, &ss);
                self.env.set_gpr(4, if long { stack.sp } else { stack.sp & 0xffff_ffff });
            }
            None => self.commit_sp(&stack),
        }
        self.env.set_segment(seg::CS, &Segment { flags: cs.flags | 0x100, ..cs });
        self.env.set_rip(offset);
        Ok(self.jumped())
    }
}
