//! Changing registers, in a diversion: as far as a register can have another value without the mode of the processor being
//! another. A mode is more than its bits, so those are left to the guest's own code.

use super::{FpuReg, Layout, Moment, Reg, fpu_top};
use vm::CpuState;
use vm::cpu::state::seg;

/// CF, PF, AF, ZF, SF, TF, IF, DF, OF, IOPL, NT, RF, AC, ID.
const FLAGS: u64 = 0x0025_7fd5;
/// MP, EM, TS, NE, WP, AM, NW, CD: what does not make another mode of it.
const CR0_FREE: u64 = 0x6005_002e;
/// RC and PC of the x87's control word.
const FPU_MODES: u16 = 0x0f00;
/// Rounding, flush to zero, denormals are zeros.
const MXCSR_MODES: u32 = 0xe040;
const MXCSR_DEFINED: u32 = 0xffff;

impl Layout {
    /// Writes register `number`, given as it is read; an error in words.
    pub fn write(
        &self,
        number: usize,
        cpu: &mut CpuState,
        moment: Moment,
        bytes: &[u8],
    ) -> Result<(), &'static str> {
        let def = self.regs.get(number).ok_or("there is no such register")?;
        if bytes.len() != def.bits / 8 {
            return Err("a value of the wrong size for this register");
        }
        // Debuggers write back what they have read.
        if self.read(number, cpu, moment).is_some_and(|now| now == bytes) {
            return Ok(());
        }
        let word = bytes.iter().take(8).rev().fold(0, |word: u64, byte| word << 8 | u64::from(*byte));
        match (def.reg, moment) {
            // GDB restores all registers after a call of a function: no harm, as neither can be anything but what it is.
            (Reg::Icount, Moment { position, .. }) if word < position.0 => Ok(()),
            (Reg::VmTime, Moment { now, .. }) if word < now.0 => Ok(()),
            (reg, _) => write(reg, cpu, word, bytes),
        }
    }

    /// Writes the registers of a `G` packet, which may end early; all or, with an error, none.
    pub fn write_g(&self, cpu: &mut CpuState, moment: Moment, bytes: &[u8]) -> Result<(), &'static str> {
        let mut changed = cpu.clone();
        let mut rest = bytes;
        for (number, def) in
            self.regs.iter().enumerate().filter(|(_, def)| def.feature != super::Feature::System)
        {
            let Some((value, after)) = rest.split_at_checked(def.bits / 8) else { break };
            self.write(number, &mut changed, moment, value)?;
            rest = after;
        }
        *cpu = changed;
        Ok(())
    }
}

fn write(reg: Reg, cpu: &mut CpuState, word: u64, bytes: &[u8]) -> Result<(), &'static str> {
    match reg {
        Reg::Gpr(index) => cpu.gpr[index] = word,
        Reg::Pc => {
            let offset = word.wrapping_sub(cpu.seg[seg::CS].base);
            cpu.rip = if cpu.is_long_mode_code() { offset } else { offset & 0xffff_ffff };
            // Whoever says where to go on wants it to go on.
            cpu.halted = false;
            cpu.interrupt_shadow = false;
        }
        Reg::Eflags if (word ^ cpu.rflags) & (1 << 17) != 0 => {
            return Err("VM cannot be changed here: the guest's own IRET does it");
        }
        Reg::Eflags => cpu.rflags = cpu.rflags & !FLAGS | word & FLAGS | 2,
        Reg::Selector(index) if cpu.cr0 & 1 == 0 || cpu.rflags & 1 << 17 != 0 => {
            cpu.seg[index].selector = word as u16;
            cpu.seg[index].base = u64::from(word as u16) << 4;
        }
        Reg::Selector(_) | Reg::Ldtr | Reg::Tr => {
            return Err("a selector has a descriptor behind it: only the guest's own code can load it");
        }
        Reg::Base(index) => cpu.seg[index].base = word,
        Reg::St(index) => {
            let physical = (fpu_top(&cpu.fpu) + index) & 7;
            cpu.fpu.regs[physical] = (word, u16::from_le_bytes([bytes[8], bytes[9]]));
            cpu.fpu.tag |= 1 << physical;
        }
        Reg::Xmm(index) => {
            let high = bytes[8..].iter().rev().fold(0, |word: u64, byte| word << 8 | u64::from(*byte));
            cpu.xmm[index] = [word, high];
        }
        Reg::Fpu(which) => write_fpu(which, cpu, word)?,
        Reg::Mxcsr if (word as u32 ^ cpu.mxcsr) & MXCSR_MODES != 0 => {
            return Err("rounding cannot be changed here: the guest's own LDMXCSR does it");
        }
        Reg::Mxcsr => cpu.mxcsr = word as u32 & MXCSR_DEFINED,
        Reg::Cr(0) if (word ^ cpu.cr0) & !CR0_FREE == 0 => cpu.cr0 = word,
        Reg::Cr(2) => cpu.cr2 = word,
        Reg::Cr(3) => cpu.cr3 = word,
        Reg::Cr(8) => cpu.cr8 = word & 15,
        Reg::Cr(_) | Reg::Efer => {
            return Err("the mode of the processor cannot be changed here: the guest's own code does it");
        }
        Reg::GdtBase => cpu.gdtr.base = word,
        Reg::GdtLimit => cpu.gdtr.limit = word as u16,
        Reg::IdtBase => cpu.idtr.base = word,
        Reg::IdtLimit => cpu.idtr.limit = word as u16,
        Reg::Dr(_) => {
            return Err("the guest's debug registers cannot be changed here; set breakpoints of your own");
        }
        Reg::Icount => return Err("it is the position: `monitor seek` goes elsewhere"),
        Reg::VmTime => return Err("it is the virtual time: `monitor seek` goes elsewhere"),
    }
    Ok(())
}

fn write_fpu(which: FpuReg, cpu: &mut CpuState, word: u64) -> Result<(), &'static str> {
    let fpu = &mut cpu.fpu;
    let half = |whole: u64, part: u64, at: u32| whole & !(0xffff_ffff << at) | (part & 0xffff_ffff) << at;
    match which {
        FpuReg::Control if (word as u16 ^ fpu.control) & FPU_MODES != 0 => {
            return Err("rounding and precision cannot be changed here: the guest's own FLDCW does it");
        }
        FpuReg::Control => fpu.control = word as u16,
        FpuReg::Status => fpu.status = word as u16,
        FpuReg::Tag => {
            fpu.tag = (0..8).filter(|n| word >> (2 * n) & 3 != 3).fold(0, |tag, n| tag | 1 << n);
        }
        FpuReg::IpOffset => fpu.ip = half(fpu.ip, word, 0),
        FpuReg::IpSelector => fpu.ip = half(fpu.ip, word & 0xffff, 32),
        FpuReg::DataOffset => fpu.dp = half(fpu.dp, word, 0),
        FpuReg::DataSelector => fpu.dp = half(fpu.dp, word & 0xffff, 32),
        FpuReg::Opcode => fpu.opcode = word as u16 & 0x7ff,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gdb::arch::Width;
    use vm::{Icount, VmTime};

    const MOMENT: Moment = Moment { position: Icount(7), now: VmTime(56) };

    fn number(layout: &Layout, name: &str) -> usize {
        layout.regs.iter().position(|r| r.name == name).unwrap()
    }

    /// A processor in 64-bit mode.
    fn wide() -> CpuState {
        let mut cpu = CpuState { cr0: 0x8000_0011, rflags: 2, mxcsr: 0x1f80, ..CpuState::default() };
        cpu.msr.efer = 1 << 10;
        cpu.seg[seg::CS].flags = 1 << 21;
        cpu.fpu.control = 0x37f;
        cpu
    }

    #[test]
    fn what_was_written_is_read() {
        let layout = Layout::new(Width::Bits64);
        for name in [
            "rax", "r15", "rip", "st0", "st7", "xmm0", "xmm15", "fs_base", "cr2", "cr3", "gdt_base", "fooff",
            "fop",
        ] {
            let mut cpu = wide();
            cpu.fpu.status = 3 << 11;
            let register = number(&layout, name);
            let before = layout.read(register, &cpu, MOMENT).unwrap();
            let value: Vec<u8> =
                before.iter().enumerate().map(|(i, _)| if i < 2 { 1 + i as u8 } else { 0 }).collect();
            layout.write(register, &mut cpu, MOMENT, &value).unwrap();
            assert_eq!(layout.read(register, &cpu, MOMENT).unwrap(), value, "{name}");
            layout.write(register, &mut cpu, MOMENT, &before).unwrap();
            assert_eq!(layout.read(register, &cpu, MOMENT).unwrap(), before, "{name}");
        }
    }

    #[test]
    fn all_registers_can_be_written_back_as_they_are() {
        for width in [Width::Bits16, Width::Bits32, Width::Bits64] {
            let layout = Layout::new(width);
            let mut cpu = wide();
            let before = cpu.clone();
            layout.write_g(&mut cpu, MOMENT, &layout.g_packet(&before)).unwrap();
            for number in 0..layout.regs.len() {
                let value = layout.read(number, &before, MOMENT).unwrap();
                layout.write(number, &mut cpu, MOMENT, &value).unwrap();
            }
            assert_eq!(cpu, before);
        }
    }

    #[test]
    fn what_would_change_the_mode_is_refused() {
        let layout = Layout::new(Width::Bits64);
        let mut cpu = wide();
        let before = cpu.clone();
        for (name, value) in [
            ("cs", 8_u64),
            ("tr", 8),
            ("cr0", 0x11),
            ("cr4", 0x20),
            ("efer", 0),
            ("eflags", 0x2_0002),
            ("dr7", 1),
            ("icount", 8),
            ("vmtime_ns", 80),
            ("mxcsr", 0x7f80),
            ("fctrl", 0x77f),
        ] {
            let register = number(&layout, name);
            let bytes = &value.to_le_bytes()[..layout.regs[register].bits / 8];
            layout.write(register, &mut cpu, MOMENT, bytes).unwrap_err();
        }
        assert!(layout.write(0, &mut cpu, MOMENT, &[0]).unwrap_err().contains("size"));
        assert!(layout.write(9999, &mut cpu, MOMENT, &[0]).is_err());
        assert!(layout.write_g(&mut cpu, MOMENT, &[0xff; 2000]).is_err());
        assert_eq!(cpu, before);
    }

    #[test]
    fn a_halted_processor_goes_on_where_it_is_told_to() {
        let layout = Layout::new(Width::Bits16);
        let mut cpu = CpuState { halted: true, ..CpuState::default() };
        cpu.seg[seg::CS].base = 0xf_0000;
        layout.write(number(&layout, "eip"), &mut cpu, MOMENT, &0xf_1234_u32.to_le_bytes()).unwrap();
        assert_eq!((cpu.rip, cpu.halted), (0x1234, false));
        layout.write(number(&layout, "ds"), &mut cpu, MOMENT, &0xb800_u32.to_le_bytes()).unwrap();
        assert_eq!(cpu.seg[seg::DS].base, 0xb_8000);
    }
}
