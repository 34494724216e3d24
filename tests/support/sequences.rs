//! Random short programs for the processor in 16-, 32- and 64-bit mode, with memory that faults and handlers that go on.
//!
//! The code lies in chunks of 64 bytes. A handler goes on at the chunk behind the one that its frame names, or halts if that is
//! outside of them, so that a program runs on whatever it meets. It may do anything to its own tables.

use crate::random::Random;
use iced_x86::{Decoder, DecoderOptions, Formatter, Instruction, IntelFormatter, OpKind};
use vm::config::Vga;
use vm::cpu::state::{Segment, TableRegister, seg};
use vm::{CpuModel, CpuState, Machine, MachineConfig, MachineState, PAGE_SIZE};

/// RAM of the machines that run sequences, in bytes.
const RAM_BYTES: u64 = 1 << 20;

/// Where the code is.
pub const CODE: u32 = 0x1_0000;
const CODE_BYTES: u32 = 0x1000;
/// Bytes of a chunk of it.
pub const CHUNK: usize = 64;
const GDT: u32 = 0x2000;
const IDT: u32 = 0x3000;
const TSS: u32 = 0x4000;
const HANDLERS: u32 = 0x5000;
const TABLES: u32 = 0x8000;
const KERNEL_STACK: u32 = 0x1_8000;
const STACK: u32 = 0x1_a000;
/// Where memory to play with is.
pub const SANDBOX: u32 = 0x2_0000;
const SANDBOX_PAGES: u32 = 8;

/// How instructions of a program are decoded, and what may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Real mode.
    Real16,
    /// Protected mode with paging, level 0.
    Kernel32,
    /// Protected mode with paging, level 3.
    User32,
    /// Long mode, level 0.
    Kernel64,
    /// Long mode, level 3.
    User64,
}

const MODES: [Mode; 5] = [Mode::Real16, Mode::Kernel32, Mode::User32, Mode::Kernel64, Mode::User64];

impl Mode {
    fn bits(self) -> u32 {
        match self {
            Mode::Real16 => 16,
            Mode::Kernel32 | Mode::User32 => 32,
            Mode::Kernel64 | Mode::User64 => 64,
        }
    }

    fn user(self) -> bool {
        matches!(self, Mode::User32 | Mode::User64)
    }
}

/// A program with the memory and registers that it starts with.
pub struct Sequence {
    /// What it is decoded as.
    pub mode: Mode,
    /// All of RAM.
    pub ram: Vec<u8>,
    /// The registers.
    pub cpu: CpuState,
    /// Steps to run.
    pub steps: u64,
}

/// A machine that runs sequences.
///
/// # Panics
/// If the host has no memory for it.
pub fn new_machine() -> Machine {
    let config = MachineConfig {
        ram_bytes: RAM_BYTES,
        cpu: CpuModel::Max,
        vga: Vga::None,
        no_reboot: true,
        ..MachineConfig::default()
    };
    Machine::new(&config).expect("a machine")
}

/// Puts a machine into a state.
pub fn set(machine: &mut Machine, ram: &[u8], state: &MachineState) {
    for (number, page) in ram.chunks_exact(PAGE_SIZE).enumerate() {
        if machine.storage()[number * PAGE_SIZE..][..PAGE_SIZE] != *page {
            machine.write_page(number, page.try_into().expect("a page"));
        }
    }
    machine.restore(state);
}

impl Sequence {
    /// The program of a seed; `reset` is the state that the processor has after power-on.
    pub fn new(seed: u64, reset: &CpuState) -> Sequence {
        let mut random = Random::new(seed);
        let mode = MODES[random.below(MODES.len() as u64) as usize];
        let mut ram = vec![0; RAM_BYTES as usize];
        for byte in &mut ram[SANDBOX as usize..(SANDBOX + SANDBOX_PAGES * 4096) as usize] {
            *byte = random.next() as u8;
        }
        write_code(&mut ram, &mut random, mode.bits());
        let mut cpu = reset.clone();
        match mode {
            Mode::Real16 => real_mode(&mut ram, &mut cpu),
            _ => protected_mode(&mut ram, &mut cpu, mode, &mut random),
        }
        registers(&mut cpu, &mut random, mode);
        let steps = 10 + random.below(250);
        Sequence { mode, ram, cpu, steps }
    }

    /// Addresses, bytes and instructions of the code that is not padding, for the message of a failure.
    pub fn listing(&self) -> String {
        let code = &self.ram[CODE as usize..(CODE + CODE_BYTES) as usize];
        let base = if self.mode == Mode::Real16 { 0 } else { u64::from(CODE) };
        let mut decoder = Decoder::with_ip(self.mode.bits(), code, base, DecoderOptions::NONE);
        let mut formatter = IntelFormatter::new();
        let mut lines = String::new();
        while decoder.can_decode() {
            let at = decoder.position();
            let instruction = decoder.decode();
            let bytes = &code[at..decoder.position()];
            if bytes != [0x90] {
                let mut text = String::new();
                formatter.format(&instruction, &mut text);
                lines += &format!("{:6x}  {bytes:02x?}  {text}\n", instruction.ip());
            }
        }
        lines
    }
}

fn write_code(ram: &mut [u8], random: &mut Random, bits: u32) {
    let code = &mut ram[CODE as usize..(CODE + CODE_BYTES) as usize];
    code.fill(0x90);
    let chunks = 1 + random.below(12) as usize;
    for chunk in code.chunks_exact_mut(CHUNK).take(chunks) {
        let mut at = 0;
        for _ in 0..1 + random.below(8) {
            let bytes = instruction(random, bits);
            if at + bytes.len() > CHUNK {
                break;
            }
            chunk[at..at + bytes.len()].copy_from_slice(&bytes);
            at += bytes.len();
        }
    }
    // Halts behind the last.
    code[chunks * CHUNK] = 0xf4;
}

/// Instructions that random bytes meet too seldom.
const SPECIAL: &[&[u8]] = &[
    &[0x9c], // PUSHF
    &[0x9d], // POPF
    &[0x9c, 0x83, 0x0c, 0x24, 0x01, 0x9d],
    &[0xcf],       // IRET
    &[0xcd, 0x80], // INT 0x80
    &[0xcd, 0x0d],
    &[0xcc],
    &[0xce],
    &[0xf1],
    &[0xfa],
    &[0xfb],
    &[0xf4],
    &[0x16, 0x17],             // PUSH SS, POP SS
    &[0x8c, 0xd1, 0x8e, 0xd1], // MOV CX, SS; MOV SS, CX
    &[0x0f, 0xa2],             // CPUID
    &[0x0f, 0x0b],
    &[0x0f, 0x05],
    &[0x0f, 0x07],
    &[0x0f, 0x34],
    &[0x0f, 0x35],
    &[0x0f, 0x31],       // RDTSC
    &[0x0f, 0xc7, 0x0e], // CMPXCHG8B
    &[0xf0, 0x0f, 0xc7, 0x0f],
    &[0x0f, 0x01, 0x3e],                   // INVLPG
    &[0x0f, 0xae, 0x06],                   // FXSAVE
    &[0x0f, 0xae, 0x0e],                   // FXRSTOR
    &[0xdd, 0x36],                         // FNSAVE
    &[0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8], // CR3 again
    &[0x0f, 0x23, 0xf8],                   // DR7
    &[0x0f, 0x23, 0xc6],                   // DR0
    &[0xe4, 0x61],                         // IN
    &[0xe6, 0x80],
    &[0x6c],
    &[0x6e],
    &[0xeb, 0x00],
    &[0xe2, 0xfe], // LOOP to itself
    &[0xc6, 0x05], // MOV byte, to the next instruction in 64-bit mode
    &[0x88, 0x06],
    &[0x89, 0x07],
    &[0xff, 0xd6], // CALL by register
    &[0xff, 0xe7],
    &[0x0f, 0x01, 0xf8], // SWAPGS
];

const STRINGS: &[u8] = &[0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf, 0x6c, 0x6e];

fn instruction(random: &mut Random, bits: u32) -> Vec<u8> {
    match random.below(8) {
        0 => return SPECIAL[random.below(SPECIAL.len() as u64) as usize].to_vec(),
        1 => {
            let mut bytes = vec![[0xf3, 0xf2][random.below(2) as usize]];
            if random.below(4) == 0 {
                bytes.push([0x66, 0x67][random.below(2) as usize]);
            }
            bytes.push(STRINGS[random.below(STRINGS.len() as u64) as usize]);
            return bytes;
        }
        _ => {}
    }
    loop {
        let mut bytes = Vec::with_capacity(24);
        for prefix in [0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x26, 0x64, 0x65] {
            if random.below(24) == 0 {
                bytes.push(prefix);
            }
        }
        if bits == 64 && random.below(2) == 0 {
            bytes.push(0x40 | random.below(16) as u8);
        }
        match random.below(20) {
            0..12 => {}
            12..19 => bytes.push(0x0f),
            _ => bytes.extend([0x0f, [0x38, 0x3a][random.below(2) as usize]]),
        }
        bytes.extend(std::iter::repeat_with(|| random.next() as u8).take(16));
        bytes.truncate(15);
        let mut decoder = Decoder::new(bits, &bytes, DecoderOptions::NONE);
        let instruction = decoder.decode();
        if instruction.is_invalid() {
            continue;
        }
        let offsets = decoder.get_constant_offsets(&instruction);
        bytes.truncate(instruction.len());
        if offsets.has_displacement() && offsets.displacement_size() >= 2 {
            let place = operand(random, bits, &instruction);
            let at = offsets.displacement_offset();
            let len = offsets.displacement_size().min(8);
            bytes[at..at + len].copy_from_slice(&place.to_le_bytes()[..len]);
        }
        let near = matches!(
            instruction.op0_kind(),
            OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64
        );
        if near && offsets.has_immediate() && offsets.immediate_size() >= 2 {
            let distance = random.below(512) as i64 - 256;
            let (at, len) = (offsets.immediate_offset(), offsets.immediate_size());
            bytes[at..at + len].copy_from_slice(&distance.to_le_bytes()[..len]);
        }
        return bytes;
    }
}

/// A displacement that leads into the sandbox: the address itself, or a little beside a register that does.
fn operand(random: &mut Random, bits: u32, instruction: &Instruction) -> u64 {
    let small = random.below(64).wrapping_sub(32);
    if instruction.memory_base() != iced_x86::Register::None && !instruction.is_ip_rel_memory_operand() {
        return small;
    }
    if instruction.is_ip_rel_memory_operand() {
        let distance = [small, u64::from(SANDBOX - CODE)][random.below(2) as usize];
        return distance.wrapping_add(random.below(0x1000));
    }
    pointer(random, bits)
}

/// An address at the edge of a page of the sandbox, or in the code.
fn pointer(random: &mut Random, bits: u32) -> u64 {
    let near_edge =
        (random.below(u64::from(SANDBOX_PAGES)) * 0x1000).wrapping_add(random.below(32)).wrapping_sub(16);
    match (bits, random.below(8)) {
        (16, 0) => random.below(0x400),
        (16, _) => near_edge & 0xffff,
        (_, 0) => u64::from(CODE) + random.below(0x300),
        _ => u64::from(SANDBOX).wrapping_add(near_edge),
    }
}

fn registers(cpu: &mut CpuState, random: &mut Random, mode: Mode) {
    let bits = mode.bits();
    for (index, register) in cpu.gpr.iter_mut().enumerate() {
        let value = match random.below(6) {
            0 => random.below(48),
            1 => random.next(),
            2 => u64::MAX - random.below(16),
            _ => pointer(random, bits),
        };
        *register = match index {
            1 if random.below(2) == 0 => random.below(40),
            4 if bits == 16 => u64::from(STACK - CODE),
            4 => u64::from(STACK),
            8.. if bits != 64 => 0,
            _ if bits == 64 => value,
            _ => value & 0xffff_ffff,
        };
    }
    cpu.rflags = 2 | random.next() & 0x8d5; // CF PF AF ZF SF OF
    if random.below(8) == 0 {
        cpu.rflags |= 1 << 10; // DF
    }
    if random.below(12) == 0 {
        cpu.rflags |= 1 << 8; // TF
    }
    if mode.user() && random.below(2) == 0 {
        cpu.rflags |= 3 << 12; // IOPL
    }
    for xmm in &mut cpu.xmm[..if bits == 64 { 16 } else { 8 }] {
        *xmm = [random.next(), random.next()];
    }
    cpu.fpu.control = 0x037f;
    cpu.fpu.tag = 0;
}

fn put(ram: &mut [u8], at: u32, bytes: &[u8]) {
    ram[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
}

fn put64(ram: &mut [u8], at: u32, value: u64) {
    put(ram, at, &value.to_le_bytes());
}

fn real_mode(ram: &mut [u8], cpu: &mut CpuState) {
    // PUSH AX; PUSH BP; MOV BP, SP; MOV AX, [BP + 4]; AND AX, -64; ADD AX, 64; MOV [BP + 4], AX; CMP AX, CODE_BYTES;
    // JAE over; POP BP; POP AX; IRET; over: CLI; HLT
    let mut handler =
        vec![0x50, 0x55, 0x89, 0xe5, 0x8b, 0x46, 0x04, 0x83, 0xe0, 0xc0, 0x83, 0xc0, 0x40, 0x89, 0x46, 0x04];
    handler.push(0x3d);
    handler.extend((CODE_BYTES as u16).to_le_bytes());
    handler.extend([0x73, 0x03, 0x5d, 0x58, 0xcf, 0xfa, 0xf4]);
    put(ram, HANDLERS, &handler);
    for vector in 0..256 {
        put(ram, vector * 4, &(HANDLERS as u16).to_le_bytes());
        put(ram, vector * 4 + 2, &0u16.to_le_bytes());
    }
    let at =
        |selector: u16, flags| Segment { selector, base: u64::from(selector) << 4, limit: 0xffff, flags };
    let (code, sandbox) = ((CODE >> 4) as u16, (SANDBOX >> 4) as u16);
    cpu.seg = [at(sandbox, 0x9300); 6];
    cpu.seg[seg::CS] = at(code, 0x9b00);
    cpu.seg[seg::SS] = at(code, 0x9300);
    cpu.seg[seg::ES] = at(code, 0x9300);
    cpu.idtr = TableRegister { base: 0, limit: 0x3ff };
    cpu.cr0 = 0x32;
    cpu.cr4 = 1 << 9 | 1 << 10;
    cpu.rip = 0;
}

/// A descriptor of 8 bytes with base 0.
fn descriptor(limit: u32, access: u8, flags: u8) -> u64 {
    u64::from(limit & 0xffff)
        | u64::from(access) << 40
        | u64::from(limit >> 16 & 15 | u32::from(flags) << 4) << 48
}

fn protected_mode(ram: &mut [u8], cpu: &mut CpuState, mode: Mode, random: &mut Random) {
    let long = mode.bits() == 64;
    let code_flags = if long { 0xa } else { 0xc };
    let data_flags = 0xc;
    let entries = [
        0,
        descriptor(0xf_ffff, 0x9b, code_flags),
        descriptor(0xf_ffff, 0x93, data_flags),
        descriptor(0xf_ffff, 0xfb, code_flags),
        descriptor(0xf_ffff, 0xf3, data_flags),
        descriptor(103, 0x8b, 0) | u64::from(TSS & 0xffff) << 16,
        0,
    ];
    for (index, entry) in entries.iter().enumerate() {
        put64(ram, GDT + 8 * index as u32, *entry);
    }
    if long {
        put64(ram, TSS + 4, KERNEL_STACK.into());
    } else {
        put(ram, TSS + 4, &KERNEL_STACK.to_le_bytes());
        put(ram, TSS + 8, &0x10u32.to_le_bytes());
    }
    put(ram, TSS + 102, &104u16.to_le_bytes());
    write_handlers(ram, long);
    write_page_tables(ram, long, random);

    let segment = |selector: u16, access: u32, flags: u32| Segment {
        selector,
        base: 0,
        limit: u32::MAX,
        flags: access << 8 | flags << 20,
    };
    let ring = if mode.user() { 3 } else { 0 };
    let (code, data) = if mode.user() { (0x18, 0x20) } else { (0x08, 0x10) };
    let dpl = u32::from(ring) << 5;
    cpu.seg = [segment(data | ring, 0x93 | dpl, data_flags.into()); 6];
    cpu.seg[seg::CS] = segment(code | ring, 0x9b | dpl, code_flags.into());
    cpu.tr = Segment { selector: 0x28, base: TSS.into(), limit: 103, flags: 0x8b00 };
    cpu.ldtr = Segment { flags: 0x8200, ..Segment::default() };
    cpu.gdtr = TableRegister { base: GDT.into(), limit: 8 * entries.len() as u16 - 1 };
    cpu.idtr = TableRegister { base: IDT.into(), limit: if long { 4095 } else { 2047 } };
    cpu.cr0 = 0x8001_0033; // PG WP NE ET MP PE
    cpu.cr3 = TABLES.into();
    cpu.cr4 = 1 << 4 | 1 << 9 | 1 << 10; // PSE OSFXSR OSXMMEXCPT
    if long {
        cpu.cr4 |= 1 << 5;
        cpu.msr.efer = 0xd01; // NXE LMA LME SCE
        cpu.msr.star = 0x0010_0008_0000_0000;
        cpu.msr.lstar = u64::from(CODE) + 0x100;
        cpu.msr.fmask = 0x100;
    }
    cpu.msr.sysenter_cs = 8;
    cpu.msr.sysenter_eip = u64::from(CODE) + 0x100;
    cpu.msr.sysenter_esp = KERNEL_STACK.into();
    cpu.rip = CODE.into();
}

/// One handler, behind an entry for the vectors that push an error code.
fn write_handlers(ram: &mut [u8], long: bool) {
    let rex: &[u8] = if long { &[0x48] } else { &[] };
    let frame = if long { 8 } else { 4 };
    // ADD SP, error code
    let mut handler = [rex, &[0x83, 0xc4, frame]].concat();
    let without_code = handler.len() as u32;
    // PUSH AX; MOV AX, [SP + frame]; AND AX, -64; ADD AX, 64; MOV [SP + frame], AX; SUB AX, CODE; CMP AX, CODE_BYTES;
    // JAE over; POP AX; IRET; over: CLI; HLT
    handler.push(0x50);
    for part in
        [&[0x8b, 0x44, 0x24, frame][..], &[0x83, 0xe0, 0xc0], &[0x83, 0xc0, 0x40], &[0x89, 0x44, 0x24, frame]]
    {
        handler.extend([rex, part].concat());
    }
    handler.extend([rex, &[0x2d], &CODE.to_le_bytes(), rex, &[0x3d], &CODE_BYTES.to_le_bytes()].concat());
    handler.extend([0x73, 2 + rex.len() as u8, 0x58]);
    handler.extend([rex, &[0xcf, 0xfa, 0xf4]].concat());
    put(ram, HANDLERS, &handler);
    for vector in 0..256u32 {
        let with_code = matches!(vector, 8 | 10..=14 | 17);
        let at = u64::from(HANDLERS + if with_code { 0 } else { without_code });
        let dpl = if matches!(vector, 3 | 4 | 0x80) { 3 } else { 0 };
        let gate = at | 8 << 16 | (0x8e | dpl << 5 | u64::from(vector & 1)) << 40;
        if long {
            put64(ram, IDT + vector * 16, gate);
        } else {
            put64(ram, IDT + vector * 8, gate);
        }
    }
}

/// The first MiB by identity; pages of the sandbox lack one or another permission.
fn write_page_tables(ram: &mut [u8], long: bool, random: &mut Random) {
    const PRESENT_WRITE_USER: u64 = 7;
    let table = if long { TABLES + 0x3000 } else { TABLES + 0x1000 };
    if long {
        for level in 0..3 {
            put64(
                ram,
                TABLES + level * 0x1000,
                u64::from(TABLES + (level + 1) * 0x1000) | PRESENT_WRITE_USER,
            );
        }
    } else {
        put(ram, TABLES, &(table | 7).to_le_bytes());
    }
    for page in 0..RAM_BYTES as u32 / PAGE_SIZE as u32 {
        let sandbox = page.wrapping_sub(SANDBOX >> 12) < SANDBOX_PAGES;
        let bits = match random.below(16) {
            0 | 1 if sandbox => 0,
            2 if sandbox => 5,
            3 if sandbox => 3,
            4 if sandbox && long => 1 << 63 | 7,
            5 if page == CODE >> 12 => 5,
            _ => PRESENT_WRITE_USER,
        };
        let entry = u64::from(page) << 12 | bits;
        if long {
            put64(ram, table + page * 8, entry);
        } else {
            put(ram, table + page * 4, &(entry as u32).to_le_bytes());
        }
    }
}
