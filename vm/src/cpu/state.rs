//! The CPU's registers as plain data.

use serde::{Deserialize, Serialize};

/// A segment register with its hidden part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// The selector.
    pub selector: u16,
    /// Linear base address.
    pub base: u64,
    /// Limit in bytes, granularity applied.
    pub limit: u32,
    /// Bits 8 to 23 of the descriptor's second doubleword (type, S, DPL, P, AVL, L, D/B, G), at their places.
    pub flags: u32,
}

impl Segment {
    /// Of a system descriptor that exists in two widths, a TSS or a gate: it is the wider one (SDM 3A, 3.5).
    pub fn is_wide_system(&self) -> bool {
        self.flags & 1 << 11 != 0
    }
}

/// GDTR or IDTR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRegister {
    /// Linear base address.
    pub base: u64,
    /// Limit in bytes.
    pub limit: u16,
}

/// The x87 FPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fpu {
    /// R0 to R7 by physical number: 64-bit significand, sign and exponent.
    pub regs: [(u64, u16); 8],
    /// Control word.
    pub control: u16,
    /// Status word, TOP included.
    pub status: u16,
    /// Abridged tag: bit n set if physical register n is in use.
    pub tag: u8,
    /// Last opcode, instruction pointer and data pointer.
    pub opcode: u16,
    /// Code segment of the last instruction.
    pub cs: u16,
    /// Data segment of its operand.
    pub ds: u16,
    /// Last instruction pointer.
    pub ip: u64,
    /// Last data pointer.
    pub dp: u64,
}

/// Model-specific registers that the machine keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // named as in the manuals
pub struct Msrs {
    pub efer: u64,
    pub star: u64,
    pub lstar: u64,
    pub cstar: u64,
    pub fmask: u64,
    pub kernel_gs_base: u64,
    pub sysenter_cs: u32,
    pub sysenter_esp: u64,
    pub sysenter_eip: u64,
    pub tsc_aux: u64,
    pub pat: u64,
    pub misc_enable: u64,
    pub mtrr_fixed: [u64; 11],
    pub mtrr_deftype: u64,
    pub mtrr_var: [(u64, u64); 8],
    pub mcg_status: u64,
    pub mcg_ctl: u64,
    pub tsc_adjust: u64,
}

/// Everything the CPU remembers between two steps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuState {
    /// RAX RCX RDX RBX RSP RBP RSI RDI R8..R15, in the order of instruction encoding.
    pub gpr: [u64; 16],
    /// Offset in CS of the next instruction.
    pub rip: u64,
    /// RFLAGS, all bits.
    pub rflags: u64,
    /// ES CS SS DS FS GS, in the order of instruction encoding.
    pub seg: [Segment; 6],
    /// Local descriptor table register.
    pub ldtr: Segment,
    /// Task register.
    pub tr: Segment,
    /// Global descriptor table register.
    pub gdtr: TableRegister,
    /// Interrupt descriptor table register.
    pub idtr: TableRegister,
    /// CR0.
    pub cr0: u64,
    /// CR2.
    pub cr2: u64,
    /// CR3.
    pub cr3: u64,
    /// CR4.
    pub cr4: u64,
    /// CR8 (task priority), which is the local APIC's.
    pub cr8: u64,
    /// DR0 to DR7 (4 and 5 unused).
    pub dr: [u64; 8],
    /// x87.
    pub fpu: Fpu,
    /// XMM0 to XMM15: low and high quadword.
    pub xmm: [[u64; 2]; 16],
    /// SSE control and status.
    pub mxcsr: u32,
    /// Model-specific registers.
    pub msr: Msrs,
    /// Debug conditions (bits of DR6) that the step before met and that are reported before the next one.
    pub pending_debug: u32,
    /// HLT was executed and nothing has woken the CPU.
    pub halted: bool,
    /// Interrupts are held off for one instruction (after STI or a load of SS).
    pub interrupt_shadow: bool,
    /// An NMI is being handled: further ones wait for IRET.
    pub nmi_blocked: bool,
    /// Private state of the engine that has no architectural name (current privilege level and mode bits, softfloat
    /// flags), needed to go on exactly.
    pub engine: EngineState,
}

/// What the engine keeps beside the architectural registers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // the engine's own names
pub struct EngineState {
    pub hflags: u32,
    pub hflags2: u32,
    pub fp_status: [u8; 8],
    pub mmx_status: [u8; 8],
    pub sse_status: [u8; 8],
}

/// Index of a segment register in [`CpuState::seg`].
#[allow(missing_docs)]
pub mod seg {
    pub const ES: usize = 0;
    pub const CS: usize = 1;
    pub const SS: usize = 2;
    pub const DS: usize = 3;
    pub const FS: usize = 4;
    pub const GS: usize = 5;
}

impl CpuState {
    /// Linear address of the next instruction.
    pub fn linear_pc(&self) -> u64 {
        let pc = self.seg[seg::CS].base.wrapping_add(self.rip);
        if self.is_long_mode_code() { pc } else { pc & 0xffff_ffff }
    }

    /// Whether CS is a 64-bit code segment in long mode.
    pub fn is_long_mode_code(&self) -> bool {
        self.msr.efer & (1 << 10) != 0 && self.seg[seg::CS].flags & (1 << 21) != 0
    }

    /// Current privilege level.
    pub fn cpl(&self) -> u8 {
        (self.engine.hflags & 3) as u8
    }

    /// 16, 32 or 64: how instructions at CS:RIP are decoded.
    pub fn code_bits(&self) -> u32 {
        if self.is_long_mode_code() {
            64
        } else if self.cr0 & 1 != 0
            && self.seg[seg::CS].flags & (1 << 22) != 0
            && self.rflags & (1 << 17) == 0
        {
            32
        } else {
            16
        }
    }
}
