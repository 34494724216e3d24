//! IN and OUT as the CPU sees them: who may use a port, and leaving the block right behind the instruction.

use super::Cpu;
use super::count::Rep;
use super::delivery::{Fault, vector};
use super::engine::off;
use super::own::Flow;
use super::regs::flag;
use iced_x86::{Instruction, Mnemonic};

impl Cpu {
    /// Whether the program may access `size` ports from `port`: by IOPL or by the task's I/O permission bitmap
    /// (SDM 1, 19.5). An error is the exception that is raised instead.
    pub fn check_port(&mut self, port: u16, size: u8) -> Result<(), Fault> {
        let eflags = self.env.r64(off::EFLAGS);
        let iopl = ((eflags & flag::IOPL) >> 12) as u8;
        let v86 = eflags & flag::VM != 0;
        if !self.env.protected() || (self.env.cpl() <= iopl && !v86) {
            return Ok(());
        }
        self.forget_near();
        let refused = Fault::new(vector::GP, 0);
        let tr = self.env.segment_at(off::TR);
        const TSS32: u32 = 9;
        let is_tss32 = tr.flags >> 8 & 0xd == TSS32;
        if !is_tss32 || tr.limit < 0x67 {
            return Err(refused);
        }
        let map = self.read_system(tr.base.wrapping_add(0x66), 2)? as u32 + u32::from(port / 8);
        // Two bytes are read, as the ports may straddle a byte of the map; both must be inside the segment.
        if map + 1 > tr.limit {
            return Err(refused);
        }
        let bits = self.read_system(tr.base.wrapping_add(map.into()), 2)?;
        let mask = ((1u64 << size) - 1) << (port % 8);
        if bits & mask == 0 { Ok(()) } else { Err(refused) }
    }

    /// Whether INS or OUTS may do what it is about to do.
    pub(super) fn check_string_io(&mut self, insn: &Instruction) -> Result<Flow, Fault> {
        let rep = Rep::of(insn);
        if rep == Rep::No || rep.count(self.env.gpr(1)) != 0 {
            self.check_port(self.env.gpr(2) as u16, insn.memory_size().size() as u8)?;
        }
        Ok(Flow::Engine)
    }

    /// Ends the IN or OUT at RIP here, so that the running block can be left behind it: its register is written from
    /// `value` (IN), RIP goes on. False, with nothing done, where the block ends there anyway or the instruction is a
    /// string one.
    pub fn finish_port_access(&mut self, value: Option<(u32, u8)>) -> bool {
        let Some(insn) = self.instruction() else { return false };
        let current = self.current;
        let pc = self.env.linear_pc();
        let last = pc.wrapping_add(insn.len() as u64) == current.addr.wrapping_add(current.size.into());
        if last || current.insns < 2 || !matches!(insn.mnemonic(), Mnemonic::In | Mnemonic::Out) {
            return false;
        }
        let env = self.env;
        if let Some((value, size)) = value {
            let old = env.gpr(0);
            env.set_gpr(
                0,
                match size {
                    1 => old & !0xff | u64::from(value & 0xff),
                    2 => old & !0xffff | u64::from(value & 0xffff),
                    _ => value.into(),
                },
            );
        }
        self.pos = self.position_here() + 1;
        self.cut_mmx(self.pos.wrapping_sub(current.start));
        self.current.insns = 0;
        let next = env.rip().wrapping_add(insn.len() as u64);
        env.set_rip(if env.code_bits() == 64 { next } else { next & 0xffff_ffff });
        env.w64(off::EFLAGS, env.r64(off::EFLAGS) & !flag::RF);
        true
    }
}
