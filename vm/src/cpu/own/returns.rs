//! RETF, IRET, SYSRET and SYSEXIT (SDM 2A, 2B; AMD APM 3).

use super::Flow;
use crate::cpu::Cpu;
use crate::cpu::cpuid::Model;
use crate::cpu::delivery::{Fault, vector};
use crate::cpu::descriptor::{Stack, canonical, selector_error, stack_mask};
use crate::cpu::engine::off;
use crate::cpu::regs::flag;
use crate::cpu::state::{Segment, seg};
use crate::cpu::syscall::{DEFAULT_BIG, FLAT_CODE, FLAT_DATA, LONG, flat};
use crate::cpu::task::{Switch, v86_segment};
use iced_x86::{Code, Instruction, Mnemonic};

const USER: u32 = 3 << 13;

/// Where a return leads.
struct Return {
    cs: u16,
    rip: u64,
    /// Bytes to drop from both stacks.
    release: u64,
    /// Flags that IRET loads.
    flags: Option<u64>,
    width: u64,
}

fn width(insn: &Instruction) -> u64 {
    match insn.code() {
        Code::Retfw | Code::Retfw_imm16 | Code::Iretw => 2,
        Code::Retfq | Code::Retfq_imm16 | Code::Iretq => 8,
        _ => 4,
    }
}

impl Cpu {
    pub(super) fn retf(&mut self, insn: &Instruction) -> Result<Flow, Fault> {
        let width = width(insn);
        let release = if insn.op_count() == 1 { insn.immediate16().into() } else { 0 };
        let mut stack = self.stack();
        let rip = self.pop(&mut stack, width)?;
        let cs = self.pop(&mut stack, width)? as u16;
        if self.paragraphs() {
            // The engine's sets RIP before it reads CS, and has it overwritten if that is a TLB miss.
            stack.add(release);
            self.return_in_paragraphs(&stack, cs, rip)?;
            return Ok(self.jumped());
        }
        self.far_return(stack, &Return { cs, rip, release, flags: None, width })?;
        Ok(self.jumped())
    }

    pub(super) fn iret(&mut self, insn: &Instruction) -> Result<Flow, Fault> {
        let width = width(insn);
        let env = self.env;
        let rflags = self.engine.rflags();
        if self.paragraphs() {
            self.iret_paragraphs(width, rflags)?;
        } else if rflags & flag::NT != 0 {
            self.return_from_task(insn)?;
        } else {
            let mut stack = self.stack();
            let rip = self.pop(&mut stack, width)?;
            let cs = self.pop(&mut stack, width)? as u16;
            let flags = self.pop(&mut stack, width)?;
            if flags & flag::VM != 0 && width == 4 && env.cpl() == 0 && !env.long_mode() {
                self.return_to_v86(stack, rip, cs, flags)?;
            } else {
                self.far_return(stack, &Return { cs, rip, release: 0, flags: Some(flags), width })?;
            }
        }
        env.set_nmi_blocked(false);
        Ok(Flow::Jumped)
    }

    /// IRET in real-address and virtual-8086 mode.
    fn iret_paragraphs(&mut self, width: u64, rflags: u64) -> Result<(), Fault> {
        let env = self.env;
        let v86 = rflags & flag::VM != 0;
        let outer = v86 && rflags & flag::IOPL != flag::IOPL;
        if outer && (self.cr4() & 1 == 0 || width != 2) {
            return Err(Fault::protection());
        }
        let mut stack = self.stack();
        let rip = self.pop(&mut stack, width)?;
        let selector = self.pop(&mut stack, width)? as u16;
        let flags = self.pop(&mut stack, width)?;
        let mut loaded = flag::ARITHMETIC | flag::DF | flag::TF | flag::NT | flag::IF;
        if !v86 {
            loaded |= flag::IOPL;
        }
        if width == 4 {
            loaded |= flag::RF | flag::AC | flag::ID;
        }
        let mut new = flags & loaded;
        if outer {
            new = self.virtual_flags(flags, rflags, &mut loaded)?;
        }
        self.return_in_paragraphs(&stack, selector, rip)?;
        env.set_rflags(rflags & !(loaded | flag::RF) | new);
        Ok(())
    }

    /// Goes on where a return in real-address or virtual-8086 mode leads, with what it leaves of the stack.
    fn return_in_paragraphs(&mut self, stack: &Stack, selector: u16, rip: u64) -> Result<(), Fault> {
        let cs = self.env.segment(seg::CS);
        if rip > cs.limit.into() {
            return Err(Fault::protection());
        }
        self.commit_sp(stack);
        self.env.set_segment(seg::CS, &Segment { selector, base: u64::from(selector) << 4, ..cs });
        self.env.set_rip(rip);
        Ok(())
    }

    /// IRET with NT: back to the task in the back link (SDM 3A, 7.4).
    fn return_from_task(&mut self, insn: &Instruction) -> Result<(), Fault> {
        if self.env.long_mode() {
            return Err(Fault::protection());
        }
        let selector = self.tss_field(0, 2)? as u16;
        let refused = Fault::new(vector::TS, selector_error(selector));
        if selector & 4 != 0 || selector & !3 == 0 {
            return Err(refused);
        }
        let (addr, descriptor) = self.descriptor(selector, vector::TS)?;
        let next = self.behind(insn);
        self.switch_task(selector, addr, descriptor, Switch::Return, next)?;
        self.finish_task_switch()
    }

    fn return_to_v86(&mut self, mut stack: Stack, rip: u64, cs: u16, flags: u64) -> Result<(), Fault> {
        let env = self.env;
        let sp = self.pop(&mut stack, 4)?;
        let mut selectors = [0u16; 6];
        for i in [seg::SS, seg::ES, seg::DS, seg::FS, seg::GS] {
            selectors[i] = self.pop(&mut stack, 4)? as u16;
        }
        selectors[seg::CS] = cs;
        if rip > 0xffff {
            return Err(Fault::protection());
        }
        for (i, &selector) in selectors.iter().enumerate() {
            env.set_segment(i, &v86_segment(selector));
        }
        env.set_gpr(4, sp);
        env.set_rip(rip);
        env.set_rflags(flags & (flag::TASK | flag::ARITHMETIC | flag::DF) | 2);
        Ok(())
    }

    /// The return of protected and long mode, to the same or an outer level.
    fn far_return(&mut self, mut stack: Stack, to: &Return) -> Result<(), Fault> {
        let env = self.env;
        let cpl = env.cpl();
        let error = selector_error(to.cs);
        let refused = Err(Fault::new(vector::GP, error));
        if to.cs & !3 == 0 {
            return Err(Fault::protection());
        }
        let (addr, descriptor) = self.descriptor(to.cs, vector::GP)?;
        let rpl = (to.cs & 3) as u8;
        let long = env.long_mode();
        let fits = if descriptor.conforming() { descriptor.dpl() <= rpl } else { descriptor.dpl() == rpl };
        if !descriptor.is_code() || rpl < cpl || !fits || (long && descriptor.long() && descriptor.big()) {
            return refused;
        }
        if !descriptor.present() {
            return Err(Fault::new(vector::NP, error));
        }
        let to_64 = long && descriptor.long();
        stack.add(to.release);
        let outer = rpl > cpl;
        let mut new_ss = None;
        let pops_stack = outer || (to.flags.is_some() && env.code_bits() == 64);
        let mut sp = 0;
        if pops_stack {
            sp = self.pop(&mut stack, to.width)?;
            let selector = self.pop(&mut stack, to.width)? as u16;
            new_ss = Some(self.returned_stack(selector, rpl, to_64)?);
        }
        let cs = descriptor.segment(to.cs);
        self.check_target(&cs, to.rip)?;
        let descriptor = self.mark_accessed(addr, descriptor)?;
        let cs = descriptor.segment(to.cs);

        if let Some(flags) = to.flags {
            let old = self.engine.rflags();
            let iopl = (old >> 12 & 3) as u8;
            let mut loaded = flag::ARITHMETIC | flag::TF | flag::DF | flag::NT;
            if to.width > 2 {
                loaded |= flag::RF | flag::AC | flag::ID;
            }
            if cpl <= iopl {
                loaded |= flag::IF;
            }
            if cpl == 0 {
                loaded |= flag::IOPL;
                if to.width > 2 {
                    loaded |= flag::VIF | flag::VIP;
                }
            }
            env.set_rflags(old & !(loaded | flag::RF) | flags & loaded);
        }
        match new_ss {
            Some(ss) => {
                let mask = if to_64 { u64::MAX } else { stack_mask(&ss) };
                let mut outer_stack = Stack { seg: ss, sp, mask, user: true, error: 0 };
                outer_stack.add(to.release);
                let old = env.gpr(4);
                env.set_segment(seg::SS, &ss);
                env.set_gpr(
                    4,
                    match mask {
                        0xffff if to.width == 2 => old & !0xffff | outer_stack.sp & 0xffff,
                        u64::MAX => outer_stack.sp,
                        _ => outer_stack.sp & 0xffff_ffff,
                    },
                );
            }
            None => self.commit_sp(&stack),
        }
        env.set_segment(seg::CS, &cs);
        env.set_rip(to.rip);
        if outer {
            self.drop_inner_segments(rpl);
        }
        Ok(())
    }

    /// SS of a return to an outer level (or of IRET in 64-bit mode).
    fn returned_stack(&mut self, selector: u16, cpl: u8, to_64: bool) -> Result<Segment, Fault> {
        if selector & !3 == 0 {
            if to_64 && cpl != 3 && (selector & 3) as u8 == cpl {
                return Ok(Segment { selector, ..crate::cpu::delivery::null_stack(cpl) });
            }
            return Err(Fault::protection());
        }
        let error = selector_error(selector);
        let (addr, descriptor) = self.descriptor(selector, vector::GP)?;
        if (selector & 3) as u8 != cpl || !descriptor.writable_data() || descriptor.dpl() != cpl {
            return Err(Fault::new(vector::GP, error));
        }
        if !descriptor.present() {
            return Err(Fault::new(vector::SS, error));
        }
        Ok(self.mark_accessed(addr, descriptor)?.segment(selector))
    }

    pub(super) fn sysret(&mut self, insn: &Instruction, model: &Model) -> Result<Flow, Fault> {
        let env = self.env;
        if !model.has_syscall() || env.r64(off::EFER) & 1 == 0 {
            return Err(Fault::undefined());
        }
        if self.paragraphs() {
            return Err(Fault::protection());
        }
        self.privileged()?;
        let selector = (env.r64(off::STAR) >> 48) as u16;
        let (rcx, r11) = (env.gpr(1), env.gpr(11));
        let wide = insn.mnemonic() == Mnemonic::Sysretq;
        if wide && model.is_intel() && !canonical(rcx) {
            return Err(Fault::protection());
        }
        let rflags = self.engine.rflags();
        if env.long_mode() {
            let kept =
                flag::TASK & !(flag::VM | flag::RF) | flag::ARITHMETIC | flag::DF | flag::VIF | flag::VIP;
            env.set_rflags(r11 & kept | 2);
        } else {
            env.set_rflags(rflags | flag::IF);
        }
        let (cs, code) = if wide {
            (selector.wrapping_add(16) | 3, FLAT_CODE & !DEFAULT_BIG | LONG | USER)
        } else {
            (selector | 3, FLAT_CODE | USER)
        };
        env.set_segment(seg::CS, &flat(cs, code));
        env.set_segment(seg::SS, &flat(selector.wrapping_add(8) | 3, FLAT_DATA | USER));
        env.set_rip(if wide { rcx } else { rcx & 0xffff_ffff });
        // The single step is that of the flags as they are now, as if the program's SYSCALL had just ended.
        self.stepping = env.r64(off::EFLAGS) & flag::TF != 0;
        Ok(Flow::Jumped)
    }

    pub(super) fn sysexit(&mut self, insn: &Instruction, model: &Model) -> Result<Flow, Fault> {
        let env = self.env;
        // AMD's processors do not have it in long mode.
        if !model.has_sysenter() || (env.long_mode() && !model.is_intel()) {
            return Err(Fault::undefined());
        }
        let selector = env.r32(off::SYSENTER_CS) as u16 & !3;
        if self.paragraphs() || selector == 0 {
            return Err(Fault::protection());
        }
        self.privileged()?;
        let (rip, sp) = (env.gpr(2), env.gpr(1));
        if insn.mnemonic() == Mnemonic::Sysexitq {
            if !canonical(rip) || !canonical(sp) {
                return Err(Fault::protection());
            }
            env.set_segment(
                seg::CS,
                &flat(selector.wrapping_add(32) | 3, FLAT_CODE & !DEFAULT_BIG | LONG | USER),
            );
            env.set_segment(seg::SS, &flat(selector.wrapping_add(40) | 3, FLAT_DATA | USER));
            env.set_rip(rip);
            env.set_gpr(4, sp);
        } else {
            env.set_segment(seg::CS, &flat(selector.wrapping_add(16) | 3, FLAT_CODE | USER));
            env.set_segment(seg::SS, &flat(selector.wrapping_add(24) | 3, FLAT_DATA | USER));
            env.set_rip(rip & 0xffff_ffff);
            env.set_gpr(4, sp & 0xffff_ffff);
        }
        Ok(self.jumped())
    }
}
