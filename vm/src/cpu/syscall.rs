//! SYSCALL and SYSENTER, which the engine leaves to us (their returns are its own).

use super::Cpu;
use super::cpuid::Model;
use super::delivery::{Cause, Fault, TripleFault, vector};
use super::engine::off;
use super::regs::flag;
use super::state::{Segment, seg};

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
    /// SYSCALL at RIP, `len` bytes long (AMD APM 3, SYSCALL). On return RIP is the next instruction's address.
    pub fn syscall(&mut self, len: u64, model: &Model) -> Result<(), TripleFault> {
        let env = self.env;
        if env.r64(off::EFER) & 1 == 0 || (model.is_intel() && env.code_bits() != 64) {
            return self.deliver(vector::UD, Cause::Exception(None));
        }
        let star = env.r64(off::STAR);
        let selector = (star >> 32) as u16 & 0xfffc;
        let rflags = self.engine.rflags();
        let next = env.rip().wrapping_add(len);
        if env.long_mode() {
            let target = if env.code_bits() == 64 { off::LSTAR } else { off::CSTAR };
            env.set_gpr(1, if env.code_bits() == 64 { next } else { next & 0xffff_ffff });
            env.set_gpr(11, rflags & !flag::RF);
            env.set_segment(seg::CS, &flat(selector, FLAT_CODE & !DEFAULT_BIG | LONG));
            env.set_rip(env.r64(target));
            env.set_rflags(rflags & !(env.r64(off::FMASK) | flag::RF));
        } else {
            env.set_gpr(1, next & 0xffff_ffff);
            env.set_segment(seg::CS, &flat(selector, FLAT_CODE));
            env.set_rip(star & 0xffff_ffff);
            env.set_rflags(rflags & !(flag::IF | flag::RF | flag::VM));
        }
        env.set_segment(seg::SS, &flat(selector.wrapping_add(8), FLAT_DATA));
        env.update_hflags();
        Ok(())
    }

    /// SYSENTER at RIP (SDM 2B, SYSENTER).
    pub fn sysenter(&mut self, model: &Model) -> Result<(), TripleFault> {
        let env = self.env;
        // AMD's processors do not have it in long mode.
        if !model.has_sysenter() || (env.long_mode() && !model.is_intel()) {
            return self.deliver(vector::UD, Fault::undefined().cause());
        }
        let selector = env.r32(off::SYSENTER_CS) as u16 & 0xfffc;
        if selector == 0 || !env.protected() {
            return self.deliver(vector::GP, Cause::Exception(Some(0)));
        }
        let rflags = self.engine.rflags();
        let code = if env.long_mode() { FLAT_CODE & !DEFAULT_BIG | LONG } else { FLAT_CODE };
        env.set_segment(seg::CS, &flat(selector, code));
        env.set_segment(seg::SS, &flat(selector.wrapping_add(8), FLAT_DATA));
        let mask = if env.long_mode() { u64::MAX } else { 0xffff_ffff };
        env.set_gpr(4, env.r64(off::SYSENTER_ESP) & mask);
        env.set_rip(env.r64(off::SYSENTER_EIP) & mask);
        env.set_rflags(rflags & !(flag::VM | flag::IF | flag::RF));
        env.update_hflags();
        Ok(())
    }
}
