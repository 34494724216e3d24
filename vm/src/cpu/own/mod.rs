//! Instructions that are executed here and not by the engine, because it does them wrong or not at all: access to
//! model-specific, control and debug registers, far transfers of control in protected mode, IRET, system calls and their
//! returns, permission for INS and OUTS, the loads of descriptor table registers and TR, ENTER, INT1, opcodes that are
//! undefined, or not announced by CPUID, and SSE with an operand at a
//! fixed address that is not aligned.
//!
//! A block is left before such an instruction, so that it begins one ([`super::count`]).

mod control;
mod far;
mod frames;
mod msr;
mod returns;
mod vme;

pub use control::cr4;

use super::Cpu;
use super::cpuid::Model;
use super::delivery::{Cause, Fault, TripleFault, vector};
use super::descriptor::{canonical, selector_error};
use super::engine::off;
use super::instructions::InstructionSet;
use super::regs::flag;
use super::state::seg;
use iced_x86::{Code, CodeSize, Instruction, Mnemonic, OpKind, Register};

/// What an instruction did with RIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// The next instruction comes next.
    Next,
    /// RIP and the flags are where the instruction put them.
    Jumped,
    /// In this mode the engine does it.
    Engine,
}

/// Whether an instruction is executed here at a privilege level.
pub fn is_own(insn: &Instruction, cpl: u8, set: &InstructionSet) -> bool {
    use Mnemonic::*;
    match insn.mnemonic() {
        Rdmsr | Wrmsr | Rdpmc | Int1 | Lmsw | Ltr | Lldt | Ud2 => true,
        Iret | Iretd | Iretq | Retf | Sysret | Sysretq | Sysexit | Sysexitq => true,
        Syscall | Sysenter => true,
        Lgdt | Lidt | Enter => true,
        // The engine's image has VM, which 16-bit code of privilege level 3 may be running with.
        Pushfd => cpl == 3 && insn.code_size() == CodeSize::Code16,
        Smsw => insn.op0_kind() == OpKind::Register,
        // It may turn on the alignment check.
        Popf | Popfd | Popfq => cpl == 3,
        // The engine's INS stores before it asks for the port.
        Insb | Insw | Insd | Outsb | Outsw | Outsd => cpl != 0,
        Mov => {
            let special = |r: Register| r.is_cr() || r.is_dr();
            special(insn.op0_register()) || special(insn.op1_register())
        }
        Jmp | Call => is_far(insn),
        Reservednop => is_prefetch_of_register(insn) || !set.has(insn),
        _ => !set.has(insn),
    }
}

/// Nothing to be done (SDM 2B, table A-6, 0F 18): the engine takes it for an undefined opcode.
fn is_prefetch_of_register(insn: &Instruction) -> bool {
    matches!(
        insn.code(),
        Code::Reservednop_rm16_r16_0F18 | Code::Reservednop_rm32_r32_0F18 | Code::Reservednop_rm64_r64_0F18
    )
}

fn is_far(insn: &Instruction) -> bool {
    insn.is_jmp_far() || insn.is_call_far() || insn.is_jmp_far_indirect() || insn.is_call_far_indirect()
}

impl Cpu {
    /// Executes the instruction at RIP, one of those that [`is_own`] names. What [`Cpu::complete_own`] needs.
    pub fn execute_own(&mut self, insn: &Instruction, model: &Model) -> Result<Flow, Fault> {
        use Mnemonic::*;
        self.forget_near();
        if !self.instruction_set.has(insn) {
            return Err(Fault::undefined());
        }
        match insn.mnemonic() {
            Rdmsr => self.rdmsr(model),
            Wrmsr => self.wrmsr(model),
            Rdpmc => self.rdpmc(model),
            Mov => self.mov_special(insn, model),
            Lmsw => self.lmsw(insn),
            Smsw => self.smsw(insn),
            Lgdt | Lidt => self.check_table(insn),
            Ltr => self.ltr(insn),
            Lldt => self.lldt(insn),
            Jmp | Call => self.far_transfer(insn),
            Retf => self.retf(insn),
            Iret | Iretd | Iretq => self.iret(insn),
            Syscall => self.syscall(insn, model),
            Sysenter => self.sysenter(model),
            Sysret | Sysretq => self.sysret(insn, model),
            Sysexit | Sysexitq => self.sysexit(insn, model),
            Popf | Popfd | Popfq => self.popf(insn),
            Pushfd => self.v86_pushfd(),
            Enter => self.enter(insn),
            Insb | Insw | Insd | Outsb | Outsw | Outsd => self.check_string_io(insn),
            Reservednop => Ok(Flow::Next),
            _ => Err(Fault::undefined()),
        }
    }

    /// Ends the instruction at RIP: goes on behind it, or delivers what it raised.
    pub fn complete_own(
        &mut self,
        insn: &Instruction,
        result: Result<Flow, Fault>,
    ) -> Result<(), TripleFault> {
        let stepping = self.stepping;
        match result {
            Ok(flow) => {
                if flow == Flow::Next {
                    self.env.set_rip(self.behind(insn));
                    self.env.w64(off::EFLAGS, self.env.r64(off::EFLAGS) & !flag::RF);
                }
                self.env.clear_shadow();
                self.env.update_hflags();
                self.update_careful();
                if stepping {
                    self.pending_db |= super::debug::DR6_BS;
                }
                if insn.mnemonic() == Mnemonic::Int1 {
                    return Ok(());
                }
                self.deliver_pending_db().map(|_| ())
            }
            Err(fault) => self.deliver(fault.vector, fault.cause()),
        }
    }

    /// INT1: a trap that no privilege level restrains.
    pub fn int1(&mut self, insn: &Instruction) -> Result<(), TripleFault> {
        self.int_len = insn.len() as u64;
        self.env.set_rip(self.behind(insn));
        // What MOV SS held back comes with it.
        if self.pending_db != 0 {
            self.report_debug(self.pending_db);
        }
        self.deliver(vector::DB, Cause::Icebp)
    }

    /// Whether debug conditions that the step before met are delivered now. MOV SS and POP SS hold them back for one
    /// instruction (SDM 3A, 6.8.3).
    pub fn traps_now(&self) -> bool {
        self.pending_db != 0 && !self.env.shadowed()
    }

    /// Delivers debug conditions that the step before met. Whether there were any.
    pub fn deliver_pending_db(&mut self) -> Result<bool, TripleFault> {
        if self.pending_db == 0 {
            return Ok(false);
        }
        self.report_debug(self.pending_db);
        self.deliver(vector::DB, Cause::Exception(None))?;
        Ok(true)
    }

    /// RIP behind the instruction at RIP.
    pub(super) fn behind(&self, insn: &Instruction) -> u64 {
        let next = self.env.rip().wrapping_add(insn.len() as u64);
        if self.env.code_bits() == 64 { next } else { next & 0xffff_ffff }
    }

    /// Real-address mode, or virtual-8086 mode: segments are paragraphs.
    fn paragraphs(&self) -> bool {
        !self.env.protected() || self.env.r64(off::EFLAGS) & flag::VM != 0
    }

    fn privileged(&self) -> Result<(), Fault> {
        if self.env.cpl() == 0 { Ok(()) } else { Err(Fault::protection()) }
    }

    fn cr4(&self) -> u64 {
        self.env.r64(off::CR + 32)
    }

    fn cr0(&self) -> u64 {
        self.env.r64(off::CR)
    }

    /// A general register as an operand.
    pub(super) fn register(&self, register: Register) -> u64 {
        let full = self.env.gpr(register.full_register().number());
        let high = matches!(register, Register::AH | Register::CH | Register::DH | Register::BH);
        match register.size() {
            1 if high => full >> 8 & 0xff,
            1 => full & 0xff,
            2 => full & 0xffff,
            4 => full & 0xffff_ffff,
            _ => full,
        }
    }

    /// The linear address of the memory operand, with the checks of its segment for `size` bytes read.
    pub(super) fn operand(&self, insn: &Instruction, size: u64) -> Result<u64, Fault> {
        let env = self.env;
        let mut factory = iced_x86::InstructionInfoFactory::new();
        let memory = factory.info(insn).used_memory().iter().find(|m| {
            // An address relative to RIP is given as it comes out.
            (m.base() == insn.memory_base() || insn.is_ip_rel_memory_operand())
                && m.index() == insn.memory_index()
                && m.segment() == insn.memory_segment()
        });
        let addr = memory.and_then(|m| super::operand_address(&env, m)).ok_or(Fault::protection())?;
        let stack = insn.memory_segment() == Register::SS;
        let refused = Err(if stack { Fault::new(vector::SS, 0) } else { Fault::protection() });
        if env.code_bits() == 64 {
            return if canonical(addr) { Ok(addr) } else { refused };
        }
        let segment = env.segment(insn.memory_segment().number());
        let offset = addr.wrapping_sub(segment.base) & 0xffff_ffff;
        if !super::descriptor::in_limit(&segment, offset, size) {
            return refused;
        }
        Ok(addr & 0xffff_ffff)
    }

    /// LGDT and LIDT of 64-bit code: the base must be canonical (SDM 2A). The rest is the engine's.
    fn check_table(&mut self, insn: &Instruction) -> Result<Flow, Fault> {
        if self.env.code_bits() == 64 && self.env.cpl() == 0 {
            let addr = self.operand(insn, 10)?;
            let base = self.load_linear(addr.wrapping_add(2), 8, false)?;
            self.check_canonical(base)?;
        }
        Ok(Flow::Engine)
    }

    /// The 16-bit register or memory operand of LTR, LLDT and LMSW.
    fn word_operand(&mut self, insn: &Instruction) -> Result<u16, Fault> {
        if insn.op0_kind() == OpKind::Register {
            return Ok(self.register(insn.op0_register()) as u16);
        }
        let addr = self.operand(insn, 2)?;
        Ok(self.load_linear(addr, 2, self.env.cpl() == 3)? as u16)
    }

    /// The far pointer that JMP or CALL names.
    fn far_pointer(&mut self, insn: &Instruction) -> Result<(u16, u64, u64), Fault> {
        match insn.op0_kind() {
            OpKind::FarBranch16 => Ok((insn.far_branch_selector(), insn.far_branch16().into(), 2)),
            OpKind::FarBranch32 => Ok((insn.far_branch_selector(), insn.far_branch32().into(), 4)),
            _ => {
                let width = match insn.code() {
                    Code::Jmp_m1616 | Code::Call_m1616 => 2,
                    Code::Jmp_m1664 | Code::Call_m1664 => 8,
                    _ => 4,
                };
                let addr = self.operand(insn, width + 2)?;
                let user = self.env.cpl() == 3;
                let offset = self.load_linear(addr, width as usize, user)?;
                let selector = self.load_linear(addr.wrapping_add(width), 2, user)? as u16;
                Ok((selector, offset, width))
            }
        }
    }

    /// LTR (SDM 2A).
    fn ltr(&mut self, insn: &Instruction) -> Result<Flow, Fault> {
        use super::descriptor::kind;
        if self.paragraphs() {
            return Err(Fault::undefined());
        }
        self.privileged()?;
        let selector = self.word_operand(insn)?;
        if selector & !3 == 0 {
            return Err(Fault::protection());
        }
        let refused = Err(Fault::new(vector::GP, selector_error(selector)));
        if selector & 4 != 0 {
            return refused;
        }
        let (addr, descriptor) = self.descriptor(selector, vector::GP)?;
        let long = self.env.long_mode();
        match descriptor.system() {
            Some(kind::TSS32) => {}
            Some(kind::TSS16) if !long => {}
            _ => return refused,
        }
        if !descriptor.present() {
            return Err(Fault::new(vector::NP, selector_error(selector)));
        }
        let mut segment = descriptor.segment(selector);
        if long {
            segment.base = self.long_base(selector, addr, segment.base)?;
        }
        self.write_system(addr.wrapping_add(5), &[(descriptor.0 >> 40) as u8 | kind::BUSY])?;
        segment.flags |= u32::from(kind::BUSY) << 8;
        self.env.set_segment_at(off::TR, &segment);
        Ok(Flow::Next)
    }

    /// LLDT (SDM 2A).
    fn lldt(&mut self, insn: &Instruction) -> Result<Flow, Fault> {
        if self.paragraphs() {
            return Err(Fault::undefined());
        }
        self.privileged()?;
        let selector = self.word_operand(insn)?;
        if selector & !3 == 0 {
            let old = self.env.segment_at(off::LDT);
            self.env.set_segment_at(
                off::LDT,
                &super::state::Segment { selector, base: 0, limit: 0, flags: old.flags & !0x8000 },
            );
            return Ok(Flow::Next);
        }
        let refused = Err(Fault::new(vector::GP, selector_error(selector)));
        if selector & 4 != 0 {
            return refused;
        }
        let (addr, descriptor) = self.descriptor(selector, vector::GP)?;
        if descriptor.system() != Some(super::descriptor::kind::LDT) {
            return refused;
        }
        if !descriptor.present() {
            return Err(Fault::new(vector::NP, selector_error(selector)));
        }
        let mut segment = descriptor.segment(selector);
        if self.env.long_mode() {
            segment.base = self.long_base(selector, addr, segment.base)?;
        }
        self.env.set_segment_at(off::LDT, &segment);
        Ok(Flow::Next)
    }

    /// The 64-bit base of a system descriptor of long mode, which has 16 bytes.
    fn long_base(&mut self, selector: u16, addr: u64, low: u64) -> Result<u64, Fault> {
        let refused = Fault::new(vector::GP, selector_error(selector));
        if u32::from(selector & !7) + 15 > u32::from(self.env.gdtr().limit) {
            return Err(refused);
        }
        let high = self.read_system(addr.wrapping_add(8), 8)?;
        let base = low | high << 32;
        if high >> 40 & 0x1f != 0 || !canonical(base) { Err(refused) } else { Ok(base) }
    }

    /// Gives up the data segments that an outer level may not use; of a null selector the RPL (SDM 2A, IRET).
    fn drop_inner_segments(&self, cpl: u8) {
        for i in [seg::ES, seg::DS, seg::FS, seg::GS] {
            let s = self.env.segment(i);
            let conforming_code = s.flags & 0x0c00 == 0x0c00;
            let dpl = (s.flags >> 13 & 3) as u8;
            if s.selector & !3 == 0 || (!conforming_code && dpl < cpl) {
                let base = if self.env.long_mode() { s.base } else { 0 };
                self.env.set_segment(i, &super::state::Segment { base, ..Default::default() });
            }
        }
    }
}
