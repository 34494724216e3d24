//! The two register sets that a debugger may be shown.
//!
//! GDB decides once per connection whether it debugs a 32-bit or a 64-bit machine, and refuses to mix: an ELF file for
//! i386 does not go with a description of x86-64. A PC changes its mode as it boots, so the server shows the set that
//! fits the end of the recording, or the one that the user chose.

use super::regs::Layout;
use clap::ValueEnum;
use gdbstub::arch::{Arch, Registers};
use vm::CpuState;

/// What `--arch` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ArchChoice {
    /// By the mode of the processor at the end of the recording.
    Auto,
    /// 32-bit registers; code is shown as 16-bit code unless the debugger is told otherwise.
    I8086,
    /// 32-bit registers.
    I386,
    /// 64-bit registers.
    #[value(name = "x86-64")]
    X86_64,
}

impl ArchChoice {
    /// The register set for a session; `end` is the CPU at the end of the recording.
    pub fn width(self, end: &CpuState) -> Width {
        const EFER_LMA: u64 = 1 << 10;
        match self {
            ArchChoice::I8086 => Width::Bits16,
            ArchChoice::I386 => Width::Bits32,
            ArchChoice::X86_64 => Width::Bits64,
            ArchChoice::Auto if end.msr.efer & EFER_LMA != 0 => Width::Bits64,
            ArchChoice::Auto if end.code_bits() == 16 => Width::Bits16,
            ArchChoice::Auto => Width::Bits32,
        }
    }
}

/// Width of the general registers that the debugger is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Width {
    /// i386 as well, under the name of the i8086. GDB takes the greater of this and of what the user or the ELF file says,
    /// so that under the name of the i386 `set architecture i8086` would do nothing.
    Bits16,
    /// i386.
    Bits32,
    /// x86-64.
    #[default]
    Bits64,
}

/// For gdbstub: both register sets, told apart at run time.
#[derive(Debug)]
pub enum X86 {}

impl Arch for X86 {
    type Usize = u64;
    type Registers = GRegisters;
    type BreakpointKind = usize;
    // Single registers are read past gdbstub: their size depends on the width, which only the target knows.
    type RegId = ();
}

/// The contents of a `g` packet, which are all registers that the debugger reads at every stop.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GRegisters {
    bytes: Vec<u8>,
    pc: u64,
}

impl GRegisters {
    /// Those of `cpu`.
    pub fn new(layout: &Layout, cpu: &CpuState) -> GRegisters {
        GRegisters { bytes: layout.g_packet(cpu), pc: cpu.linear_pc() }
    }
}

impl Registers for GRegisters {
    type ProgramCounter = u64;

    fn pc(&self) -> u64 {
        self.pc
    }

    fn gdb_serialize(&self, mut write_byte: impl FnMut(Option<u8>)) {
        self.bytes.iter().for_each(|&byte| write_byte(Some(byte)));
    }

    fn gdb_deserialize(&mut self, _bytes: &[u8]) -> Result<(), ()> {
        // Such packets are answered before they come here.
        Err(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vm::cpu::state::seg;

    #[test]
    fn the_mode_at_the_end_decides_unless_the_user_does() {
        let mut cpu = CpuState::default();
        assert_eq!(ArchChoice::Auto.width(&cpu), Width::Bits16);
        cpu.cr0 = 1;
        cpu.seg[seg::CS].flags = u32::MAX;
        assert_eq!(ArchChoice::Auto.width(&cpu), Width::Bits32);
        assert_eq!(ArchChoice::I8086.width(&cpu), Width::Bits16);
        assert_eq!(ArchChoice::X86_64.width(&cpu), Width::Bits64);
        cpu.msr.efer = 1 << 10;
        assert_eq!(ArchChoice::Auto.width(&cpu), Width::Bits64);
        assert_eq!(ArchChoice::I386.width(&cpu), Width::Bits32);
    }
}
