//! The registers that a debugger sees: one table gives their numbers, their names and types for the target description,
//! and their values.
//!
//! The program counter is linear (CS base added), so that `x/i $pc` and breakpoints agree in real mode too.

mod write;

use super::arch::Width;
use vm::cpu::state::{Fpu, Segment, seg};
use vm::{CpuState, Icount, VmTime};

/// A group of registers in the target description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// org.gnu.gdb.i386.core
    Core,
    /// org.gnu.gdb.i386.sse
    Sse,
    /// org.gnu.gdb.i386.segments
    Segments,
    /// org.retrograde.i386.system: ours.
    System,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reg {
    /// By number of instruction encoding.
    Gpr(usize),
    Pc,
    Eflags,
    /// By index in [`CpuState::seg`].
    Selector(usize),
    Base(usize),
    St(usize),
    Fpu(FpuReg),
    Xmm(usize),
    Mxcsr,
    Cr(u8),
    Efer,
    GdtBase,
    GdtLimit,
    IdtBase,
    IdtLimit,
    Ldtr,
    Tr,
    Dr(usize),
    Icount,
    VmTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FpuReg {
    Control,
    Status,
    Tag,
    IpSelector,
    IpOffset,
    DataSelector,
    DataOffset,
    Opcode,
}

/// One register of the table.
#[derive(Clone, Debug)]
pub struct RegDef {
    /// GDB's name.
    pub name: String,
    /// Size in bits.
    pub bits: usize,
    /// Type in the target description.
    pub kind: &'static str,
    /// The group that `info registers` shows it in, if it is not the default one.
    pub group: Option<&'static str>,
    /// Its feature.
    pub feature: Feature,
    reg: Reg,
}

/// All registers of one width, in the order of their numbers.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Which width.
    pub width: Width,
    /// The table.
    pub regs: Vec<RegDef>,
}

/// Where and when: what is not in the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Position.
    pub position: Icount,
    /// Virtual time.
    pub now: VmTime,
}

const GPR_64: [(&str, usize); 16] = [
    ("rax", 0),
    ("rbx", 3),
    ("rcx", 1),
    ("rdx", 2),
    ("rsi", 6),
    ("rdi", 7),
    ("rbp", 5),
    ("rsp", 4),
    ("r8", 8),
    ("r9", 9),
    ("r10", 10),
    ("r11", 11),
    ("r12", 12),
    ("r13", 13),
    ("r14", 14),
    ("r15", 15),
];
const GPR_32: [(&str, usize); 8] =
    [("eax", 0), ("ecx", 1), ("edx", 2), ("ebx", 3), ("esp", 4), ("ebp", 5), ("esi", 6), ("edi", 7)];
const SELECTORS: [(&str, usize); 6] =
    [("cs", seg::CS), ("ss", seg::SS), ("ds", seg::DS), ("es", seg::ES), ("fs", seg::FS), ("gs", seg::GS)];
const FPU: [(&str, FpuReg); 8] = [
    ("fctrl", FpuReg::Control),
    ("fstat", FpuReg::Status),
    ("ftag", FpuReg::Tag),
    ("fiseg", FpuReg::IpSelector),
    ("fioff", FpuReg::IpOffset),
    ("foseg", FpuReg::DataSelector),
    ("fooff", FpuReg::DataOffset),
    ("fop", FpuReg::Opcode),
];

impl Layout {
    /// The registers of `width`, in GDB's order.
    pub fn new(width: Width) -> Layout {
        let mut layout = Layout { width, regs: Vec::new() };
        layout.add_core();
        layout.add_sse();
        if width == Width::Bits64 {
            layout.add(Feature::Segments, "fs_base", Reg::Base(seg::FS), 64, "int", None);
            layout.add(Feature::Segments, "gs_base", Reg::Base(seg::GS), 64, "int", None);
        }
        layout.add_system();
        layout
    }

    fn add(
        &mut self,
        feature: Feature,
        name: &str,
        reg: Reg,
        bits: usize,
        kind: &'static str,
        group: Option<&'static str>,
    ) {
        self.regs.push(RegDef { name: name.to_owned(), bits, kind, group, feature, reg });
    }

    fn add_core(&mut self) {
        let core = Feature::Core;
        let (gprs, bits, int, pc): (&[_], _, _, _) = match self.width {
            Width::Bits64 => (&GPR_64, 64, "int64", "rip"),
            Width::Bits16 | Width::Bits32 => (&GPR_32, 32, "int32", "eip"),
        };
        for &(name, index) in gprs {
            let kind = match name {
                "rbp" | "rsp" | "ebp" | "esp" => "data_ptr",
                _ => int,
            };
            self.add(core, name, Reg::Gpr(index), bits, kind, None);
        }
        self.add(core, pc, Reg::Pc, bits, "code_ptr", None);
        self.add(core, "eflags", Reg::Eflags, 32, "i386_eflags", None);
        for (name, index) in SELECTORS {
            self.add(core, name, Reg::Selector(index), 32, "int32", None);
        }
        for index in 0..8 {
            self.add(core, &format!("st{index}"), Reg::St(index), 80, "i387_ext", Some("float"));
        }
        for (name, reg) in FPU {
            self.add(core, name, Reg::Fpu(reg), 32, "int", Some("float"));
        }
    }

    fn add_sse(&mut self) {
        let count = if self.width == Width::Bits64 { 16 } else { 8 };
        for index in 0..count {
            self.add(Feature::Sse, &format!("xmm{index}"), Reg::Xmm(index), 128, "vec128", Some("vector"));
        }
        self.add(Feature::Sse, "mxcsr", Reg::Mxcsr, 32, "i386_mxcsr", Some("vector"));
    }

    fn add_system(&mut self) {
        let system = Feature::System;
        let group = Some("system");
        for number in [0, 2, 3, 4, 8] {
            self.add(system, &format!("cr{number}"), Reg::Cr(number), 64, "uint64", group);
        }
        self.add(system, "efer", Reg::Efer, 64, "uint64", group);
        for (name, index) in SELECTORS {
            // With 64-bit registers GDB has these two in a feature of its own.
            if self.width == Width::Bits64 && matches!(index, seg::FS | seg::GS) {
                continue;
            }
            self.add(system, &format!("{name}_base"), Reg::Base(index), 64, "uint64", group);
        }
        for (name, reg, bits, kind) in [
            ("gdt_base", Reg::GdtBase, 64, "uint64"),
            ("gdt_limit", Reg::GdtLimit, 32, "uint32"),
            ("idt_base", Reg::IdtBase, 64, "uint64"),
            ("idt_limit", Reg::IdtLimit, 32, "uint32"),
            ("ldtr", Reg::Ldtr, 32, "uint32"),
            ("tr", Reg::Tr, 32, "uint32"),
            ("dr0", Reg::Dr(0), 64, "uint64"),
            ("dr1", Reg::Dr(1), 64, "uint64"),
            ("dr2", Reg::Dr(2), 64, "uint64"),
            ("dr3", Reg::Dr(3), 64, "uint64"),
            ("dr6", Reg::Dr(6), 64, "uint64"),
            ("dr7", Reg::Dr(7), 64, "uint64"),
            ("icount", Reg::Icount, 64, "uint64"),
            ("vmtime_ns", Reg::VmTime, 64, "uint64"),
        ] {
            self.add(system, name, reg, bits, kind, group);
        }
    }

    /// The value of register `number`, little-endian; `None` if there is no such register.
    pub fn read(&self, number: usize, cpu: &CpuState, moment: Moment) -> Option<Vec<u8>> {
        let def = self.regs.get(number)?;
        let mut bytes = value(def.reg, cpu, moment);
        bytes.resize(def.bits / 8, 0);
        Some(bytes)
    }

    /// For a general register its number in instruction encoding, and how many bits of it are shown.
    pub fn gpr(&self, number: usize) -> Option<(usize, usize)> {
        let def = self.regs.get(number)?;
        match def.reg {
            Reg::Gpr(gpr) => Some((gpr, def.bits)),
            _ => None,
        }
    }

    /// Program counter, stack and frame pointer, which a debugger asks for at every stop, in the form of stop replies.
    pub fn expedited(&self, cpu: &CpuState, moment: Moment) -> String {
        let wanted = |def: &RegDef| matches!(def.reg, Reg::Pc | Reg::Gpr(4 | 5));
        let numbers = (0..self.regs.len()).filter(|number| wanted(&self.regs[*number]));
        let values = numbers.filter_map(|n| self.read(n, cpu, moment).map(|bytes| (n, bytes)));
        values.map(|(number, bytes)| format!("{number:02x}:{};", super::hex(&bytes))).collect()
    }

    /// The registers of GDB's own features. The rest is left out of `g`: a debugger asks for it with `p` when shown.
    pub fn g_packet(&self, cpu: &CpuState) -> Vec<u8> {
        // None of these depends on the moment.
        let moment = Moment { position: Icount(0), now: VmTime(0) };
        let ours = self.regs.iter().position(|r| r.feature == Feature::System).unwrap_or(self.regs.len());
        (0..ours).filter_map(|number| self.read(number, cpu, moment)).flatten().collect()
    }
}

fn value(reg: Reg, cpu: &CpuState, moment: Moment) -> Vec<u8> {
    let word = match reg {
        Reg::St(index) => return stack_register(&cpu.fpu, index),
        Reg::Xmm(index) => return cpu.xmm[index].iter().flat_map(|q| q.to_le_bytes()).collect(),
        Reg::Gpr(index) => cpu.gpr[index],
        Reg::Pc => cpu.linear_pc(),
        Reg::Eflags => cpu.rflags,
        Reg::Selector(index) => selector(&cpu.seg[index]),
        Reg::Base(index) => cpu.seg[index].base,
        Reg::Fpu(which) => fpu_register(&cpu.fpu, which),
        Reg::Mxcsr => u64::from(cpu.mxcsr),
        Reg::Cr(0) => cpu.cr0,
        Reg::Cr(2) => cpu.cr2,
        Reg::Cr(3) => cpu.cr3,
        Reg::Cr(4) => cpu.cr4,
        Reg::Cr(_) => cpu.cr8,
        Reg::Efer => cpu.msr.efer,
        Reg::GdtBase => cpu.gdtr.base,
        Reg::GdtLimit => u64::from(cpu.gdtr.limit),
        Reg::IdtBase => cpu.idtr.base,
        Reg::IdtLimit => u64::from(cpu.idtr.limit),
        Reg::Ldtr => selector(&cpu.ldtr),
        Reg::Tr => selector(&cpu.tr),
        Reg::Dr(index) => cpu.dr[index],
        Reg::Icount => moment.position.0,
        Reg::VmTime => moment.now.0,
    };
    word.to_le_bytes().to_vec()
}

fn selector(segment: &Segment) -> u64 {
    u64::from(segment.selector)
}

/// ST(index): the stack top is in the status word (Intel SDM vol. 1, 8.1.3).
fn stack_register(fpu: &Fpu, index: usize) -> Vec<u8> {
    let (significand, exponent) = fpu.regs[(fpu_top(fpu) + index) & 7];
    significand.to_le_bytes().into_iter().chain(exponent.to_le_bytes()).collect()
}

fn fpu_top(fpu: &Fpu) -> usize {
    usize::from(fpu.status >> 11 & 7)
}

fn fpu_register(fpu: &Fpu, which: FpuReg) -> u64 {
    match which {
        FpuReg::Control => u64::from(fpu.control),
        FpuReg::Status => u64::from(fpu.status),
        FpuReg::Tag => u64::from(full_tag(fpu)),
        FpuReg::IpOffset => fpu.ip & 0xffff_ffff,
        FpuReg::IpSelector => fpu.ip >> 32 & 0xffff,
        FpuReg::DataOffset => fpu.dp & 0xffff_ffff,
        FpuReg::DataSelector => fpu.dp >> 32 & 0xffff,
        FpuReg::Opcode => u64::from(fpu.opcode & 0x7ff),
    }
}

/// The tag word of FSTENV from the abridged one of FXSAVE (Intel SDM vol. 2, FXSAVE): two bits for each physical
/// register, 0 valid, 1 zero, 2 special, 3 empty.
fn full_tag(fpu: &Fpu) -> u16 {
    (0..8).fold(0, |word, index| {
        let (significand, exponent) = fpu.regs[index];
        let tag: u16 = match (exponent & 0x7fff, significand) {
            _ if fpu.tag & 1 << index == 0 => 3,
            (0, 0) => 1,
            (0 | 0x7fff, _) => 2,
            (_, s) if s >> 63 == 0 => 2,
            _ => 0,
        };
        word | tag << (2 * index)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(layout: &Layout, name: &str) -> usize {
        layout.regs.iter().position(|r| r.name == name).unwrap()
    }

    fn read(width: Width, name: &str, cpu: &CpuState) -> u64 {
        let layout = Layout::new(width);
        let moment = Moment { position: Icount(77), now: VmTime(99) };
        let mut bytes = layout.read(number(&layout, name), cpu, moment).unwrap();
        bytes.resize(8, 0);
        u64::from_le_bytes(bytes.try_into().unwrap())
    }

    #[test]
    fn numbers_are_those_that_gdb_expects() {
        let wide = Layout::new(Width::Bits64);
        for (name, expected) in [
            ("rax", 0),
            ("rsp", 7),
            ("rip", 16),
            ("eflags", 17),
            ("cs", 18),
            ("st0", 24),
            ("fctrl", 32),
            ("xmm0", 40),
            ("mxcsr", 56),
        ] {
            assert_eq!(number(&wide, name), expected, "{name}");
        }
        let narrow = Layout::new(Width::Bits32);
        for (name, expected) in
            [("eax", 0), ("esp", 4), ("eip", 8), ("cs", 10), ("st0", 16), ("xmm0", 32), ("mxcsr", 40)]
        {
            assert_eq!(number(&narrow, name), expected, "{name}");
        }
    }

    #[test]
    fn names_are_unique() {
        for width in [Width::Bits32, Width::Bits64] {
            let mut names: Vec<_> = Layout::new(width).regs.into_iter().map(|r| r.name).collect();
            let count = names.len();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), count);
        }
    }

    #[test]
    fn general_registers_follow_gdbs_order_not_the_encoding() {
        let cpu = CpuState { gpr: std::array::from_fn(|i| 0x1_0000_0000 + i as u64), ..CpuState::default() };
        assert_eq!(read(Width::Bits64, "rbx", &cpu), 0x1_0000_0003);
        assert_eq!(read(Width::Bits64, "rsp", &cpu), 0x1_0000_0004);
        assert_eq!(read(Width::Bits32, "ebx", &cpu), 3);
    }

    #[test]
    fn the_program_counter_is_linear_in_real_mode() {
        let mut cpu = CpuState { rip: 0xfff0, ..CpuState::default() };
        cpu.seg[seg::CS].base = 0xffff_0000;
        assert_eq!(read(Width::Bits32, "eip", &cpu), 0xffff_fff0);
    }

    #[test]
    fn position_and_time_are_registers() {
        let cpu = CpuState::default();
        assert_eq!(read(Width::Bits64, "icount", &cpu), 77);
        assert_eq!(read(Width::Bits32, "vmtime_ns", &cpu), 99);
    }

    #[test]
    fn the_fpu_stack_is_seen_from_its_top() {
        let mut cpu = CpuState::default();
        cpu.fpu.status = 5 << 11;
        cpu.fpu.tag = 1 << 5 | 1 << 6;
        // 1.0 in physical register 5, a zero in 6.
        cpu.fpu.regs[5] = (1 << 63, 0x3fff);
        let layout = Layout::new(Width::Bits64);
        let moment = Moment { position: Icount(0), now: VmTime(0) };
        let st0 = layout.read(number(&layout, "st0"), &cpu, moment).unwrap();
        assert_eq!(st0, [0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x3f]);
        assert_eq!(read(Width::Bits64, "ftag", &cpu), 0b11_01_00_11_11_11_11_11);
    }

    #[test]
    fn an_unknown_register_is_none() {
        let layout = Layout::new(Width::Bits64);
        let moment = Moment { position: Icount(0), now: VmTime(0) };
        assert_eq!(layout.read(layout.regs.len(), &CpuState::default(), moment), None);
        assert_eq!(layout.read(usize::MAX, &CpuState::default(), moment), None);
    }
}
