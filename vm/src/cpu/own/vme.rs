//! The virtual interrupt flag of virtual-8086 mode (CR4.VME) and of protected mode (CR4.PVI): SDM 3A, 20.3 and 20.4. The
//! engine refuses what needs an IOPL that the program does not have; the refusal comes here first.

use super::Flow;
use super::control::cr4;
use crate::cpu::Cpu;
use crate::cpu::delivery::{Cause, Fault, TripleFault};
use crate::cpu::regs::flag;
use iced_x86::{Code, Instruction, Mnemonic};

impl Cpu {
    /// The engine raised #GP at RIP: whether it was for an instruction that VME or PVI allows after all, which is done then.
    pub fn allowed_by_virtual_interrupts(&mut self) -> Result<bool, TripleFault> {
        let rflags = self.engine.rflags();
        let v86 = rflags & flag::VM != 0;
        let feature = if v86 { cr4::VME } else { cr4::PVI };
        if self.cr4() & feature == 0 || self.env.cpl() != 3 || rflags & flag::IOPL == flag::IOPL {
            return Ok(false);
        }
        self.forget_near();
        let Some(insn) = self.instruction() else { return Ok(false) };
        let result = match insn.mnemonic() {
            Mnemonic::Cli => {
                self.env.set_rflags(rflags & !flag::VIF);
                Ok(Flow::Next)
            }
            Mnemonic::Sti if rflags & flag::VIP != 0 => return Ok(false),
            Mnemonic::Sti => {
                self.env.set_rflags(rflags | flag::VIF);
                Ok(Flow::Next)
            }
            Mnemonic::Pushf if v86 => self.virtual_pushf(&insn, rflags),
            Mnemonic::Int if v86 => {
                let vector = insn.immediate8();
                let rip = self.env.rip();
                self.env.set_rip(self.behind(&insn));
                self.int_len = insn.len() as u64;
                // A refusal is reported at the instruction.
                return match self.redirect_or_refuse(vector) {
                    Ok(()) => Ok(true),
                    Err(()) => {
                        self.env.set_rip(rip);
                        Ok(false)
                    }
                };
            }
            _ => return Ok(false),
        };
        self.complete_own(&insn, result)?;
        Ok(true)
    }

    fn redirect_or_refuse(&mut self, vector: u8) -> Result<(), ()> {
        match self.redirected(vector) {
            Ok(Some(true)) => self.deliver(vector, Cause::Software).map_err(|_| ()),
            _ => Err(()),
        }
    }

    fn virtual_pushf(&mut self, insn: &Instruction, rflags: u64) -> Result<Flow, Fault> {
        if insn.code() != Code::Pushfw {
            return Err(Fault::protection());
        }
        let interrupts = if rflags & flag::VIF != 0 { flag::IF } else { 0 };
        let mut stack = self.stack();
        self.push(&mut stack, 2, rflags & !flag::IF | interrupts | flag::IOPL)?;
        self.commit_sp(&stack);
        Ok(Flow::Next)
    }

    /// The flags that POPF and IRET load where IF means VIF.
    pub(super) fn virtual_flags(&self, flags: u64, rflags: u64, loaded: &mut u64) -> Result<u64, Fault> {
        if flags & flag::TF != 0 && rflags & flag::VM != 0
            || (flags & flag::IF != 0 && rflags & flag::VIP != 0)
        {
            return Err(Fault::protection());
        }
        *loaded = *loaded & !(flag::IF | flag::IOPL) | flag::VIF;
        let interrupts = if flags & flag::IF != 0 { flag::VIF } else { 0 };
        Ok(flags & *loaded & !flag::VIF | interrupts)
    }
}
