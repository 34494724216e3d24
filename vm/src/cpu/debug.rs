//! Debug registers (Intel SDM 3A, chapter 17): the engine knows nothing of them. Breakpoints on instructions are met where
//! blocks begin; while one on data or ports is armed, the machine goes on one instruction at a time and looks at the
//! operands of each.

use super::engine::off;
use super::regs::flag;
use super::{Cpu, operand_address};
use iced_x86::{Instruction, InstructionInfoFactory, Mnemonic, OpAccess};

/// DR6: a breakpoint of the task-state segment's T bit.
pub const DR6_BT: u32 = 1 << 15;
/// DR6: single step.
pub const DR6_BS: u32 = 1 << 14;
/// DR6: access to a debug register while DR7.GD is set.
pub const DR6_BD: u32 = 1 << 13;
/// DR7: general detect.
pub const DR7_GD: u64 = 1 << 13;
const DR6_ONES: u64 = 0xffff_0ff0;
const DR7_ONES: u64 = 0x400;
const CR4_DE: u64 = 1 << 3;
const CR0_AM: u64 = 1 << 18;

/// What a breakpoint watches: the R/W field of DR7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watch {
    Execute,
    Write,
    Port,
    Access,
}

/// DR0 to DR7.
#[derive(Clone, Debug)]
pub struct Debug {
    dr: [u64; 8],
}

impl Debug {
    /// After reset.
    pub fn new() -> Debug {
        Debug { dr: [0, 0, 0, 0, 0, 0, DR6_ONES, DR7_ONES] }
    }

    /// All, as they are saved.
    pub fn registers(&self) -> [u64; 8] {
        self.dr
    }

    /// DR7.
    pub fn dr7(&self) -> u64 {
        self.dr[7]
    }

    /// One of the registers that exist: 0 to 3, 6, 7.
    pub fn get(&self, n: usize) -> u64 {
        self.dr[n & 7]
    }

    /// Enabled breakpoints: number, kind, address, length.
    fn armed(&self) -> impl Iterator<Item = (u32, Watch, u64, u64)> {
        let dr = self.dr;
        (0..4u32).filter(move |n| dr[7] >> (2 * n) & 3 != 0).map(move |n| {
            let fields = dr[7] >> (16 + 4 * n);
            let watch = [Watch::Execute, Watch::Write, Watch::Port, Watch::Access][(fields & 3) as usize];
            let len = [1, 2, 8, 4][(fields >> 2 & 3) as usize];
            (n, watch, dr[n as usize] & !(len - 1), len)
        })
    }

    /// Addresses at which an instruction raises #DB.
    pub fn instructions(&self) -> impl Iterator<Item = u64> {
        self.armed().filter(|b| b.1 == Watch::Execute).map(|b| self.dr[b.0 as usize])
    }

    /// B0 to B3 for an instruction at a linear address.
    pub fn hits_instruction(&self, addr: u64) -> u32 {
        let hits = (0..4u32)
            .filter(|&n| self.dr[n as usize] == addr)
            .filter(|&n| self.dr[7] >> (2 * n) & 3 != 0 && self.dr[7] >> (16 + 4 * n) & 3 == 0);
        hits.map(|n| 1 << n).sum()
    }

    /// B0 to B3 for an access to memory.
    pub fn hits_data(&self, addr: u64, len: u64, write: bool) -> u32 {
        let hit = |b: &(u32, Watch, u64, u64)| {
            (b.1 == Watch::Access || (b.1 == Watch::Write && write))
                && addr < b.2.saturating_add(b.3)
                && b.2 < addr.saturating_add(len)
        };
        self.armed().filter(hit).map(|b| 1 << b.0).sum()
    }

    /// B0 to B3 for an access to ports (only with CR4.DE).
    fn hits_port(&self, port: u64, size: u64) -> u32 {
        let hit = |b: &(u32, Watch, u64, u64)| b.1 == Watch::Port && port < b.2 + b.3 && b.2 < port + size;
        self.armed().filter(hit).map(|b| 1 << b.0).sum()
    }

    fn watches_accesses(&self) -> bool {
        self.armed().any(|b| b.1 != Watch::Execute)
    }
}

impl Cpu {
    /// Takes over saved debug registers.
    pub(super) fn set_debug(&mut self, dr: [u64; 8]) {
        self.debug.dr = dr;
        self.debug_changed();
    }

    /// MOV to a debug register.
    pub(super) fn write_dr(&mut self, n: usize, value: u64) {
        match n {
            6 => self.debug.dr[6] = value & 0xe00f | DR6_ONES,
            7 => self.set_dr7(value),
            _ => {
                self.debug.dr[n & 3] = value;
                self.debug_changed();
            }
        }
    }

    /// DR7, with the bits that are fixed.
    pub(super) fn set_dr7(&mut self, value: u64) {
        self.debug.dr[7] = value & 0xffff_23ff | DR7_ONES;
        self.debug_changed();
    }

    /// Sets bits of DR6 as a debug exception does; B0 to B3 are those of this exception.
    pub fn report_debug(&mut self, bits: u32) {
        self.debug.dr[6] = self.debug.dr[6] & !0xf | u64::from(bits);
    }

    fn debug_changed(&mut self) {
        self.set_guest_breakpoints(self.debug.instructions().collect());
        self.update_careful();
    }

    /// After a change of what decides whether each instruction must be looked at before it runs.
    pub(super) fn update_careful(&mut self) {
        self.careful = self.debug.watches_accesses() || self.checks_alignment();
    }

    /// Whether RF is set, for the one instruction that comes next.
    #[inline]
    pub fn resuming(&self) -> bool {
        self.env.r64(off::EFLAGS) & flag::RF != 0
    }

    /// A block begins, of one instruction if RF is set. The image of PUSHF does not have it (SDM 2B), where the engine would
    /// put it.
    pub fn begin_resumption(&mut self) {
        self.resumed = self.resuming();
        let pushes = |insn: Instruction| {
            matches!(insn.mnemonic(), Mnemonic::Pushf | Mnemonic::Pushfd | Mnemonic::Pushfq)
        };
        if self.resumed && self.instruction().is_some_and(pushes) {
            self.env.w64(off::EFLAGS, self.env.r64(off::EFLAGS) & !flag::RF);
        }
    }

    /// Before anything else is done behind a block: the engine clears RF at the end of some blocks only.
    #[inline]
    pub fn end_resumption(&mut self) {
        if std::mem::take(&mut self.resumed) {
            self.env.w64(off::EFLAGS, self.env.r64(off::EFLAGS) & !flag::RF);
        }
    }

    /// Alignment is checked: CR0.AM, EFLAGS.AC, privilege level 3 (SDM 3A, 6.15).
    pub(super) fn checks_alignment(&self) -> bool {
        let env = &self.env;
        env.r64(off::CR) & CR0_AM != 0 && env.r64(off::EFLAGS) & flag::AC != 0 && env.cpl() == 3
    }

    /// Breakpoints on ports, after an access.
    pub fn note_port_access(&mut self, port: u16, size: u8) {
        if self.careful && self.env.r64(off::CR + 32) & CR4_DE != 0 {
            self.pending_db |= self.debug.hits_port(port.into(), size.into());
        }
    }

    /// Before the instruction at RIP runs: which breakpoints its operands hit, and whether one is misaligned where that
    /// matters.
    pub fn look_at_operands(&mut self) -> Operands {
        let Some(insn) = self.instruction() else { return Operands::default() };
        let checks = self.checks_alignment();
        let env = self.env;
        let mut factory = InstructionInfoFactory::new();
        let mut found = Operands::default();
        for memory in factory.info(&insn).used_memory() {
            let write = match memory.access() {
                OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite => true,
                OpAccess::Read | OpAccess::CondRead => false,
                OpAccess::None | OpAccess::NoMemAccess => continue,
            };
            let Some(addr) = operand_address(&env, memory) else { continue };
            let size = memory.memory_size().size().max(1) as u64;
            found.hits |= self.debug.hits_data(addr, size, write);
            if checks && addr & (alignment(&insn, size) - 1) != 0 {
                found.misaligned = true;
            }
        }
        found
    }
}

/// What [`Cpu::look_at_operands`] found.
#[derive(Clone, Copy, Debug, Default)]
pub struct Operands {
    /// B0 to B3.
    pub hits: u32,
    /// An operand is not aligned to its size.
    pub misaligned: bool,
}

/// The alignment that an operand of this size must have (SDM 3A, table 6-7).
fn alignment(insn: &Instruction, size: u64) -> u64 {
    use iced_x86::MemorySize as M;
    match insn.memory_size() {
        M::SegPtr16 => 2,
        M::SegPtr32 | M::Bound16_WordWord => 4,
        M::Bound32_DwordDword | M::SegPtr64 => 4,
        M::Float80 | M::Bcd => 8,
        M::FpuEnv14 | M::FpuState94 => 2,
        M::FpuEnv28 | M::FpuState108 => 4,
        M::Fword6 | M::Fword10 => 4,
        // FXSAVE and SSE have rules of their own.
        _ if size >= 16 => 1,
        _ if size.is_power_of_two() => size,
        _ => 1,
    }
}
