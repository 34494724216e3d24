//! Real-address mode, and interrupts of virtual-8086 mode that its own vector table handles (SDM 3A, 20.1.4 and 20.3.3).

use super::Fault;
use crate::cpu::Cpu;
use crate::cpu::engine::off;
use crate::cpu::regs::flag;
use crate::cpu::state::{Segment, seg};

impl Cpu {
    /// The vector table holds far pointers.
    pub(super) fn deliver_real(&mut self, vector: u8, rflags: u64) -> Result<(), Fault> {
        let idt = self.env.idtr();
        let at = u64::from(vector) * 4;
        if at + 3 > idt.limit.into() {
            return Err(Fault::protection());
        }
        let entry = self.read_system(idt.base + at, 4)?;
        self.enter_real(entry, rflags, flag::IF)
    }

    /// INT n of virtual-8086 mode, redirected to the vector table at address 0 of the virtual machine.
    pub(super) fn deliver_redirected(&mut self, vector: u8, rflags: u64) -> Result<(), Fault> {
        let entry = self.load_linear(u64::from(vector) * 4, 4, true)?;
        if rflags & flag::IOPL == flag::IOPL {
            return self.enter_real(entry, rflags, flag::IF);
        }
        // The program sees VIF in the place of IF, and an IOPL of 3.
        let interrupts = if rflags & flag::VIF != 0 { flag::IF } else { 0 };
        let seen = rflags & !flag::IF | interrupts | flag::IOPL;
        self.enter_real(entry, seen, 0)?;
        self.env.set_rflags(rflags & !(flag::VIF | flag::TF | flag::RF));
        Ok(())
    }

    fn enter_real(&mut self, entry: u64, rflags: u64, cleared: u64) -> Result<(), Fault> {
        let cs = self.env.segment(seg::CS);
        let (ip, selector) = (entry & 0xffff, (entry >> 16) as u16);
        let mut stack = self.stack();
        stack.room(6, 2)?;
        for value in [rflags, cs.selector.into(), self.env.rip()] {
            self.push(&mut stack, 2, value)?;
        }
        if ip > cs.limit.into() {
            return Err(Fault::protection());
        }
        self.commit_sp(&stack);
        self.env.set_segment(seg::CS, &Segment { selector, base: u64::from(selector) << 4, ..cs });
        self.env.set_rip(ip);
        self.env.set_rflags(rflags & !(flag::TF | flag::RF | flag::AC | cleared));
        Ok(())
    }

    /// Whether the task's interrupt redirection bitmap leaves INT `vector` to the program (SDM 3A, 20.3.3.4). `None`: there
    /// is no such map.
    pub(in crate::cpu) fn redirected(&mut self, vector: u8) -> Result<Option<bool>, Fault> {
        let tr = self.env.segment_at(off::TR);
        if !tr.is_wide_system() || tr.limit < 0x67 {
            return Ok(None);
        }
        let io_map = self.read_system(tr.base.wrapping_add(0x66), 2)? as u32;
        let Some(at) = io_map.checked_sub(32).map(|map| map + u32::from(vector / 8)) else { return Ok(None) };
        if at > tr.limit {
            return Ok(None);
        }
        let bits = self.read_system(tr.base.wrapping_add(at.into()), 1)?;
        Ok(Some(bits >> (vector % 8) & 1 == 0))
    }
}
