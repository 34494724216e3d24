//! SYSCALL and SYSENTER.

use super::Cpu;
use super::cpuid::Model;
use super::delivery::Fault;
use super::engine::off;
use super::own::Flow;
use super::regs::flag;
use super::state::{Segment, seg};
use iced_x86::Instruction;

/// A flat code segment at privilege level 0: present, code, readable, accessed, 4 GiB.
pub(super) const FLAT_CODE: u32 = 0x00c0_9b00 | 0xf_0000;
/// A flat data segment at privilege level 0.
pub(super) const FLAT_DATA: u32 = 0x00c0_9300 | 0xf_0000;
pub(super) const LONG: u32 = 1 << 21;
pub(super) const DEFAULT_BIG: u32 = 1 << 22;

/// A flat segment.
pub(super) fn flat(selector: u16, flags: u32) -> Segment {
    Segment { selector, base: 0, limit: u32::MAX, flags }
}

impl Cpu {
    /// SYSCALL at RIP (AMD APM 3, SYSCALL).
    pub(super) fn syscall(&mut self, insn: &Instruction, model: &Model) -> Result<Flow, Fault> {
        let env = self.env;
        if env.r64(off::EFER) & 1 == 0 || (model.is_intel() && env.code_bits() != 64) {
            return Err(Fault::undefined());
        }
        let star = env.r64(off::STAR);
        let selector = (star >> 32) as u16 & 0xfffc;
        let rflags = self.engine.rflags();
        let next = self.behind(insn);
        let masked = if env.long_mode() {
            let target = if env.code_bits() == 64 { off::LSTAR } else { off::CSTAR };
            env.set_gpr(1, next);
            env.set_gpr(11, rflags & !flag::RF);
            env.set_segment(seg::CS, &flat(selector, FLAT_CODE & !DEFAULT_BIG | LONG));
            env.set_rip(env.r64(target));
            env.r64(off::FMASK)
        } else {
            env.set_gpr(1, next & 0xffff_ffff);
            env.set_segment(seg::CS, &flat(selector, FLAT_CODE));
            env.set_rip(star & 0xffff_ffff);
            flag::IF | flag::VM
        };
        env.set_rflags(rflags & !(masked | flag::RF));
        env.set_segment(seg::SS, &flat(selector.wrapping_add(8), FLAT_DATA));
        // The single step is that of the flags as they are now, so that a kernel which masks TF is not stepped into.
        self.stepping &= masked & flag::TF == 0;
        Ok(Flow::Jumped)
    }

    /// SYSENTER at RIP (SDM 2B, SYSENTER).
    pub(super) fn sysenter(&mut self, model: &Model) -> Result<Flow, Fault> {
        let env = self.env;
        // AMD's processors do not have it in long mode.
        if !model.has_sysenter() || (env.long_mode() && !model.is_intel()) {
            return Err(Fault::undefined());
        }
        let selector = env.r32(off::SYSENTER_CS) as u16 & 0xfffc;
        if selector == 0 || !env.protected() {
            return Err(Fault::protection());
        }
        let rflags = self.engine.rflags();
        let code = if env.long_mode() { FLAT_CODE & !DEFAULT_BIG | LONG } else { FLAT_CODE };
        env.set_segment(seg::CS, &flat(selector, code));
        env.set_segment(seg::SS, &flat(selector.wrapping_add(8), FLAT_DATA));
        let mask = if env.long_mode() { u64::MAX } else { 0xffff_ffff };
        env.set_gpr(4, env.r64(off::SYSENTER_ESP) & mask);
        env.set_rip(env.r64(off::SYSENTER_EIP) & mask);
        env.set_rflags(rflags & !(flag::VM | flag::IF | flag::RF));
        Ok(Flow::Jumped)
    }
}
