//! CPU models: what CPUID says, and which instructions there are, so that one that is not announced raises #UD. Nothing is announced that the engine does not execute or that is not deterministic (RDRAND, RDSEED), and no
//! local APIC as long as the board has none. `qemu64` does without CMPXCHG16B, which QEMU's has: it is slow here, and
//! kernels that see it use it for every allocation.

use super::engine::{Env, off};
use super::own::cr4;
use crate::config::CpuModel;
use iced_x86::CpuidFeature;

/// Feature bits of leaf 1 EDX.
mod d1 {
    pub const FPU: u32 = 1;
    pub const VME: u32 = 1 << 1;
    pub const APIC: u32 = 1 << 9;
    pub const DE: u32 = 1 << 2;
    pub const PSE: u32 = 1 << 3;
    pub const TSC: u32 = 1 << 4;
    pub const MSR: u32 = 1 << 5;
    pub const PAE: u32 = 1 << 6;
    pub const MCE: u32 = 1 << 7;
    pub const CX8: u32 = 1 << 8;
    pub const SEP: u32 = 1 << 11;
    pub const PGE: u32 = 1 << 13;
    pub const MCA: u32 = 1 << 14;
    pub const CMOV: u32 = 1 << 15;
    pub const PAT: u32 = 1 << 16;
    pub const PSE36: u32 = 1 << 17;
    pub const CLFSH: u32 = 1 << 19;
    pub const MMX: u32 = 1 << 23;
    pub const FXSR: u32 = 1 << 24;
    pub const SSE: u32 = 1 << 25;
    pub const SSE2: u32 = 1 << 26;
    pub const MTRR: u32 = 1 << 12;
}

/// Physical address bits.
pub const PHYSICAL_BITS: u32 = 40;

const I486: u32 = d1::FPU;
const PENTIUM: u32 =
    I486 | d1::APIC | d1::VME | d1::DE | d1::PSE | d1::TSC | d1::MSR | d1::MCE | d1::CX8 | d1::MMX;
const PENTIUM3: u32 = PENTIUM
    | d1::MCA
    | d1::PAE
    | d1::SEP
    | d1::PGE
    | d1::CMOV
    | d1::PAT
    | d1::PSE36
    | d1::FXSR
    | d1::SSE
    | d1::MTRR;
const QEMU32: u32 = PENTIUM3 | d1::SSE2;
const QEMU64: u32 = QEMU32 | d1::CLFSH;

const SSE3: u32 = 1;
const PCLMULQDQ: u32 = 1 << 1;
const SSSE3: u32 = 1 << 9;
const CX16: u32 = 1 << 13;
const SSE4_1: u32 = 1 << 19;
const SSE4_2: u32 = 1 << 20;
const MOVBE: u32 = 1 << 22;
const POPCNT: u32 = 1 << 23;
const TSC_DEADLINE: u32 = 1 << 24;
const AES: u32 = 1 << 25;
const HYPERVISOR: u32 = 1 << 31;

/// Leaf 0x8000_0001 EDX: what AMD repeats of leaf 1, and SYSCALL, NX, RDTSCP, LM.
const AMD_COPY: u32 = 0x0183_f3ff;
const SYSCALL: u32 = 1 << 11;
const NX: u32 = 1 << 20;
const PAGE_1G: u32 = 1 << 26;
const RDTSCP: u32 = 1 << 27;
const LM: u32 = 1 << 29;
/// Leaf 0x8000_0001 ECX.
const LAHF_LM: u32 = 1;
const ABM: u32 = 1 << 5;

/// Leaf 7 EBX: the instruction groups of `max`.
const FSGSBASE: u32 = 1;
const TSC_ADJUST: u32 = 1 << 1;
const BMI1: u32 = 1 << 3;
const SMEP: u32 = 1 << 7;
const BMI2: u32 = 1 << 8;
const ERMS: u32 = 1 << 9;
const ADX: u32 = 1 << 19;
const SMAP: u32 = 1 << 20;
const CLFLUSHOPT: u32 = 1 << 23;

/// A processor.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    vendor: &'static [u8; 12],
    signature: u32,
    d1: u32,
    c1: u32,
    b7: u32,
    d8: u32,
    c8: u32,
    name: &'static str,
    long_mode: bool,
}

/// The model behind a name.
pub fn model(name: CpuModel) -> Model {
    let intel = |signature, d1, name| Model {
        vendor: b"GenuineIntel",
        signature,
        d1,
        c1: 0,
        b7: 0,
        d8: 0,
        c8: 0,
        name,
        long_mode: false,
    };
    let amd64 = Model {
        vendor: b"AuthenticAMD",
        signature: 0x0006_0fb1,
        d1: QEMU64,
        c1: SSE3 | HYPERVISOR,
        b7: 0,
        d8: (QEMU64 & AMD_COPY) | SYSCALL | NX | LM,
        c8: LAHF_LM,
        name: "QEMU Virtual CPU version 2.5+",
        long_mode: true,
    };
    match name {
        CpuModel::I486 => intel(0x0480, I486, ""),
        CpuModel::Pentium => intel(0x0543, PENTIUM, ""),
        CpuModel::Pentium3 => intel(0x0673, PENTIUM3, ""),
        CpuModel::Qemu32 => {
            Model { c1: SSE3 | HYPERVISOR, ..intel(0x0663, QEMU32, "QEMU Virtual CPU version 2.5+") }
        }
        CpuModel::Qemu64 => amd64,
        CpuModel::Max => Model {
            c1: SSE3
                | PCLMULQDQ
                | SSSE3
                | CX16
                | SSE4_1
                | SSE4_2
                | MOVBE
                | POPCNT
                | TSC_DEADLINE
                | AES
                | HYPERVISOR,
            b7: FSGSBASE | TSC_ADJUST | BMI1 | SMEP | BMI2 | ERMS | ADX | SMAP | CLFLUSHOPT,
            d8: amd64.d8 | PAGE_1G | RDTSCP,
            c8: LAHF_LM | ABM,
            name: "QEMU TCG CPU version 2.5+",
            ..amd64
        },
    }
}

impl Model {
    /// Value of EDX after reset, and leaf 1's EAX.
    pub fn signature(&self) -> u32 {
        self.signature
    }

    /// CPUID.
    pub fn cpuid(&self, leaf: u32, subleaf: u32, local_apic: bool) -> [u32; 4] {
        // Once switched off by IA32_APIC_BASE, it is not there (SDM 3A, 10.4.3).
        let hidden = if local_apic { 0 } else { d1::APIC };
        let word = |i: usize| u32::from_le_bytes([0, 1, 2, 3].map(|b| self.vendor[4 * i + b]));
        let max_basic = if self.b7 != 0 { 7 } else { 1 };
        let max_extended = if self.long_mode { 0x8000_0008 } else { 0x8000_0004 };
        match leaf {
            0 => [max_basic, word(0), word(2), word(1)],
            // EBX: CLFLUSH line of 8 quadwords, one logical processor, APIC ID 0.
            1 => [self.signature, 0x0001_0800, self.c1, self.d1 & !hidden],
            7 if max_basic >= 7 && subleaf == 0 => [0, self.b7, 0, 0],
            0x4000_0000 => [0x4000_0000, 0, 0, 0],
            0x8000_0000 => [max_extended, word(0), word(2), word(1)],
            0x8000_0001 => [self.signature, 0, self.c8, self.d8 & !hidden],
            0x8000_0002..=0x8000_0004 => self.name_part((leaf - 0x8000_0002) as usize),
            // Cache descriptors of AMD: 64 KiB L1, 512 KiB L2.
            0x8000_0005 if self.long_mode => [0x01ff_01ff, 0x01ff_01ff, 0x4002_0140, 0x4002_0140],
            0x8000_0006 if self.long_mode => [0, 0x4200_4200, 0x0200_8140, 0],
            // 40 physical and 48 linear address bits.
            0x8000_0008 if self.long_mode => [0x0000_3028, 0, 0, 0],
            _ => [0; 4],
        }
    }

    /// Whether it is one of Intel's, and not of AMD's.
    pub fn is_intel(&self) -> bool {
        self.vendor == b"GenuineIntel"
    }

    /// Whether it has what came with the Pentium Pro.
    pub fn is_p6(&self) -> bool {
        self.d1 & d1::CMOV != 0
    }

    /// Whether there are model-specific registers.
    pub fn has_msr(&self) -> bool {
        self.d1 & d1::MSR != 0
    }

    /// Whether there is a CR4.
    pub fn has_cr4(&self) -> bool {
        self.cr4_bits() != 0
    }

    /// The bits of CR4 that exist.
    pub fn cr4_bits(&self) -> u64 {
        let features = [
            (self.d1 & d1::VME, cr4::VME | cr4::PVI),
            (self.d1 & d1::TSC, cr4::TSD),
            (self.d1 & d1::DE, cr4::DE),
            (self.d1 & d1::PSE, cr4::PSE),
            (self.d1 & d1::PAE, cr4::PAE),
            (self.d1 & d1::MCE, cr4::MCE),
            (self.d1 & d1::PGE, cr4::PGE),
            (self.d1 & d1::CMOV, cr4::PCE),
            (self.d1 & d1::FXSR, cr4::OSFXSR),
            (self.d1 & d1::SSE, cr4::OSXMMEXCPT),
            (self.b7 & FSGSBASE, cr4::FSGSBASE),
            (self.b7 & SMEP, cr4::SMEP),
            (self.b7 & SMAP, cr4::SMAP),
        ];
        features.into_iter().filter(|f| f.0 != 0).map(|f| f.1).sum()
    }

    /// The bits of EFER that can be written.
    pub fn efer_bits(&self) -> u64 {
        let features = [(SYSCALL, 1), (LM, 1 << 8), (NX, 1 << 11)];
        features.into_iter().filter(|f| self.d8 & f.0 != 0).map(|f| f.1).sum()
    }

    /// SYSCALL and SYSRET.
    pub fn has_syscall(&self) -> bool {
        self.d8 & SYSCALL != 0
    }

    /// SYSENTER and SYSEXIT.
    pub fn has_sysenter(&self) -> bool {
        self.d1 & d1::SEP != 0
    }

    /// Long mode.
    pub fn has_long_mode(&self) -> bool {
        self.long_mode
    }

    /// The time-stamp counter.
    pub fn has_tsc(&self) -> bool {
        self.d1 & d1::TSC != 0
    }

    /// IA32_TSC_DEADLINE, and the mode of the local APIC's timer that goes with it.
    pub fn has_tsc_deadline(&self) -> bool {
        self.c1 & TSC_DEADLINE != 0
    }

    /// IA32_TSC_ADJUST.
    pub fn has_tsc_adjust(&self) -> bool {
        self.b7 & TSC_ADJUST != 0
    }

    /// RDTSCP and TSC_AUX.
    pub fn has_rdtscp(&self) -> bool {
        self.d8 & RDTSCP != 0
    }

    /// The page attribute table.
    pub fn has_pat(&self) -> bool {
        self.d1 & d1::PAT != 0
    }

    /// Memory type range registers.
    pub fn has_mtrr(&self) -> bool {
        self.d1 & d1::MTRR != 0
    }

    /// Machine-check exceptions, which never come.
    pub fn has_machine_check(&self) -> bool {
        self.d1 & d1::MCE != 0
    }

    /// The machine-check architecture.
    pub fn has_mca(&self) -> bool {
        self.d1 & d1::MCA != 0
    }

    /// Whether it has the instructions of a feature, as far as CPUID tells.
    pub fn has_instructions(&self, feature: CpuidFeature) -> bool {
        use CpuidFeature as F;
        match feature {
            F::INTEL8086 | F::INTEL186 | F::INTEL286 | F::INTEL386 | F::INTEL486 | F::CPUID => true,
            F::FPU | F::FPU287 | F::FPU387 => self.d1 & d1::FPU != 0,
            F::X64 => self.long_mode,
            F::TSC => self.has_tsc(),
            F::MSR => self.has_msr(),
            // It came with the Pentium MMX.
            F::RDPMC => self.d1 & d1::MMX != 0,
            F::CX8 => self.d1 & d1::CX8 != 0,
            F::SEP => self.has_sysenter(),
            F::CMOV => self.d1 & d1::CMOV != 0,
            F::CLFSH => self.d1 & d1::CLFSH != 0,
            F::MMX => self.d1 & d1::MMX != 0,
            F::FXSR => self.d1 & d1::FXSR != 0,
            F::SSE => self.d1 & d1::SSE != 0,
            F::SSE2 => self.d1 & d1::SSE2 != 0,
            F::SSE3 => self.c1 & SSE3 != 0,
            F::PCLMULQDQ => self.c1 & PCLMULQDQ != 0,
            F::SSSE3 => self.c1 & SSSE3 != 0,
            F::CMPXCHG16B => self.c1 & CX16 != 0,
            F::SSE4_1 => self.c1 & SSE4_1 != 0,
            F::SSE4_2 => self.c1 & SSE4_2 != 0,
            F::MOVBE => self.c1 & MOVBE != 0,
            F::POPCNT => self.c1 & POPCNT != 0,
            F::AES => self.c1 & AES != 0,
            F::SYSCALL => self.has_syscall(),
            F::RDTSCP => self.has_rdtscp(),
            F::LZCNT => self.c8 & ABM != 0,
            F::FSGSBASE => self.b7 & FSGSBASE != 0,
            F::BMI1 => self.b7 & BMI1 != 0,
            F::BMI2 => self.b7 & BMI2 != 0,
            F::ADX => self.b7 & ADX != 0,
            F::SMAP => self.b7 & SMAP != 0,
            F::CLFLUSHOPT => self.b7 & CLFLUSHOPT != 0,
            _ => false,
        }
    }

    /// What page-table entries may have.
    pub fn page_features(&self) -> super::mmu::Features {
        super::mmu::Features { pse36: self.d1 & d1::PSE36 != 0, page_1g: self.d8 & PAGE_1G != 0 }
    }

    /// Whether segments have limits in real-address and virtual-8086 mode. QEMU's own processors, which say that they are
    /// a hypervisor's, have none there, and there is firmware that has only ever run on them.
    pub fn has_limits_in_real_mode(&self) -> bool {
        self.c1 & HYPERVISOR == 0
    }

    /// Whether it has CMPXCHG8B and CMPXCHG16B, which are not the engine's.
    pub fn compare_exchange(&self) -> (bool, bool) {
        (self.d1 & d1::CX8 != 0, self.c1 & CX16 != 0)
    }

    fn name_part(&self, part: usize) -> [u32; 4] {
        let mut text = [0u8; 48];
        text[..self.name.len()].copy_from_slice(self.name.as_bytes());
        let at = |i: usize| u32::from_le_bytes([0, 1, 2, 3].map(|b| text[16 * part + 4 * i + b]));
        [at(0), at(1), at(2), at(3)]
    }

    /// Tells the engine which instructions exist (its feature words: leaf 1 EDX and ECX, 7 EBX, 7 ECX, 7 EDX, 7.1 EAX,
    /// 0x8000_0001 EDX and ECX).
    pub fn apply(&self, env: &Env) {
        let words = [self.d1 & !d1::CX8, self.c1 & !(HYPERVISOR | CX16), self.b7, 0, 0, 0, self.d8, self.c8];
        for (i, word) in words.into_iter().enumerate() {
            env.w64(off::FEATURES + 8 * i, word.into());
        }
    }
}
