//! ENTER, and PUSHFD of virtual-8086 mode.

use super::Flow;
use crate::cpu::Cpu;
use crate::cpu::delivery::Fault;
use crate::cpu::regs::flag;
use iced_x86::{Code, Instruction};

const BP: usize = 5;

impl Cpu {
    /// ENTER (SDM 2A). The engine pushes frame pointers without what a 16-bit stack leaves of ESP, and does not look at where the stack
    /// pointer comes to be.
    pub(super) fn enter(&mut self, insn: &Instruction) -> Result<Flow, Fault> {
        let width = match insn.code() {
            Code::Enterw_imm16_imm8 => 2,
            Code::Enterd_imm16_imm8 => 4,
            _ => 8,
        };
        let mut stack = self.stack();
        let bp = self.env.gpr(BP);
        self.push(&mut stack, width, bp)?;
        let frame = stack.sp;
        let level = insn.immediate8_2nd() & 31;
        if level != 0 {
            let mut outer = stack;
            outer.sp = bp;
            for _ in 1..level {
                outer.add(width.wrapping_neg());
                let pointer = self.peek(&outer, 0, width)?;
                self.push(&mut stack, width, pointer)?;
            }
            self.push(&mut stack, width, frame)?;
        }
        stack.add(u64::from(insn.immediate16()).wrapping_neg());
        self.touch(&stack, width)?;
        self.commit_sp(&stack);
        // The operand's size says how much of it is the frame pointer, whatever the stack counts.
        self.env.set_gpr(
            BP,
            match width {
                2 => bp & !0xffff | frame & 0xffff,
                4 => frame & 0xffff_ffff,
                _ => frame,
            },
        );
        Ok(Flow::Next)
    }

    /// PUSHFD of virtual-8086 mode: VM and RF are clear in the image (SDM 2B, PUSHF). Without IOPL 3 the engine refuses it.
    pub(super) fn v86_pushfd(&mut self) -> Result<Flow, Fault> {
        let rflags = self.engine.rflags();
        if rflags & flag::VM == 0 || rflags & flag::IOPL != flag::IOPL {
            return Ok(Flow::Engine);
        }
        let mut stack = self.stack();
        self.push(&mut stack, 4, rflags & !(flag::VM | flag::RF))?;
        self.commit_sp(&stack);
        Ok(Flow::Next)
    }
}
