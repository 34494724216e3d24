//! The guests of `tests/guests/cpu` step by step here and in QEMU: registers after each step, and memory at the end.
//!
//! `CPU_GUESTS=name,name` runs only these, `LOCKSTEP_STEPS=n` follows each for n steps instead of 800. A step is the same on both
//! sides: an instruction, an iteration of REP, or an instruction that faults, with the delivery of its exception.

use iced_x86::{Decoder, DecoderOptions, Formatter, Instruction, IntelFormatter, Mnemonic};
use retrograde_tests::cpu_guests::{
    End, Guest, IMAGE_BASE, build_cpu_guest, cpu_guests, cpu_machine, memory_of_guest, start_of_guest,
};
use retrograde_tests::gdb_remote::{Ended, Registers, SteppedQemu};
use std::{env, fs};
use vm::{CpuState, Exit, Icount, LinAddr, Machine, PhysAddr, RunLimit, VmTime};

const DEFAULT_STEPS: u64 = 800;
/// The resume flag, which QEMU 7.2 does not set in the image that a fault leaves: a register or a doubleword in memory may
/// differ in this bit.
const RF: u64 = 1 << 16;
/// EFLAGS that are compared; not RF, which QEMU clears at the end of a block.
const FLAGS: u64 = 0x3e_7fd5;
/// CR0 as both sides keep it: not the cache bits, which a loader may leave either way.
const CR0: u64 = !0x6000_0000;

/// Why registers may differ without anybody being wrong.
const NOT_COMPARED: &[(&str, &str)] = &[
    ("dr_execute", "QEMU's step before a breakpoint goes on into its handler"),
    ("rf_break", "the same"),
    ("task_switch16", "the upper halves of registers from a 16-bit TSS are undefined"),
    ("real_interrupts", "QEMU has the vectors of a BIOS, which it copies"),
    ("cpuid_qemu64", "MMX instructions do not set the exponent in QEMU"),
    ("nmi", "QEMU takes no interrupt while it is stepped"),
];

/// What the registers of both sides have in common.
fn ours(cpu: &CpuState) -> Registers {
    let mut registers = Registers {
        gpr: cpu.gpr,
        rip: cpu.rip,
        eflags: (cpu.rflags & FLAGS) as u32,
        selectors: cpu.seg.map(|segment| segment.selector),
        cr0: cpu.cr0 & CR0,
        cr2: cpu.cr2,
        cr3: cpu.cr3,
        cr4: cpu.cr4,
        efer: cpu.msr.efer,
    };
    // Outside of 64-bit code the stub shows lower halves only.
    if !cpu.is_long_mode_code() {
        registers.gpr[..8].iter_mut().for_each(|register| *register &= 0xffff_ffff);
        registers.gpr[8..].fill(0);
    }
    registers
}

fn theirs(qemu: &mut SteppedQemu) -> Result<Registers, Ended> {
    let mut registers = qemu.registers()?;
    registers.eflags &= FLAGS as u32;
    registers.cr0 &= CR0;
    Ok(registers)
}

/// The two machines side by side.
struct Pair {
    machine: Machine,
    qemu: SteppedQemu,
    /// Arithmetic flags that the last instruction to write them left undefined.
    undefined: u32,
    /// The image and all behind it that guests use by name.
    memory_bytes: usize,
}

fn next_instruction(machine: &Machine) -> Instruction {
    let cpu = machine.cpu();
    let mut bytes = [0; 15];
    let got = machine.read_linear(LinAddr(cpu.linear_pc()), &mut bytes);
    Decoder::with_ip(cpu.code_bits(), &bytes[..got], cpu.rip, DecoderOptions::NONE).decode()
}

fn text(instruction: &Instruction) -> String {
    let mut text = String::new();
    IntelFormatter::new().format(instruction, &mut text);
    text
}

/// iced-x86 has the flags in an order of its own.
fn eflags_of(bits: u32) -> u32 {
    use iced_x86::RflagsBits as Bits;
    let pairs = [
        (Bits::CF, 1),
        (Bits::PF, 4),
        (Bits::AF, 0x10),
        (Bits::ZF, 0x40),
        (Bits::SF, 0x80),
        (Bits::OF, 0x800),
    ];
    pairs.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, flag)| flag).sum()
}

impl Pair {
    /// Both at the start of the guest proper, with the same general registers and flags.
    fn new(guest: &Guest) -> Pair {
        let image = build_cpu_guest(guest);
        let kernel = fs::read(&image).expect("the image");
        let start = start_of_guest(&kernel);
        let mut machine = cpu_machine(guest, &kernel);
        machine.set_breakpoints(&[LinAddr(start)]);
        let limit = RunLimit { position: Icount(1_000_000), time: VmTime(u64::MAX) };
        let exit = machine.run(limit).expect("the engine runs");
        assert_eq!(exit, Exit::Breakpoint(LinAddr(start)), "{} comes to its start", guest.name);
        machine.set_breakpoints(&[]);
        let mut qemu = SteppedQemu::start(&guest.qemu_options(), &image);
        qemu.run_to(start).expect("QEMU comes to the start");
        let mut pair = Pair { machine, qemu, undefined: 0, memory_bytes: memory_of_guest(&kernel) };
        pair.copy_to_qemu(8).expect("QEMU is there");
        pair
    }

    /// Gives QEMU our first `registers` general registers, and the flags.
    fn copy_to_qemu(&mut self, registers: usize) -> Result<(), Ended> {
        let cpu = self.machine.cpu();
        for (encoding, value) in cpu.gpr.iter().enumerate().take(registers) {
            self.qemu.set_gpr(encoding, *value)?;
        }
        self.qemu.set_eflags(cpu.rflags as u32)
    }

    /// One step of both. `Ok(false)`: this was the end.
    fn step(&mut self) -> Result<bool, String> {
        let instruction = next_instruction(&self.machine);
        let before = self.machine.cpu();
        let limit = RunLimit { position: Icount(self.machine.position().0 + 1), time: VmTime(u64::MAX) };
        let exit = self.machine.run(limit).map_err(|error| error.to_string())?;
        let stepped = self.step_qemu(before.rip);
        if exit != Exit::Position {
            return if stepped.is_err() { Ok(false) } else { Err(format!("we end: {exit:?}, QEMU goes on")) };
        }
        let Ok(mut there) = stepped else {
            // The end is noticed here with the next step.
            return match self.machine.run(limit_behind(limit)).map_err(|error| error.to_string())? {
                Exit::Position => Err("QEMU ends, we go on".into()),
                _ => Ok(false),
            };
        };
        // What no two machines have in common.
        if matches!(
            instruction.mnemonic(),
            Mnemonic::Rdtsc | Mnemonic::Rdtscp | Mnemonic::Cpuid | Mnemonic::Rdmsr | Mnemonic::In
        ) {
            self.copy_to_qemu(4).map_err(|_| "QEMU has ended")?;
            there = theirs(&mut self.qemu).map_err(|_| "QEMU has ended")?;
        }
        self.undefined &= !eflags_of(instruction.rflags_modified());
        self.undefined |= eflags_of(instruction.rflags_undefined());
        let mut here = ours(&self.machine.cpu());
        here.eflags &= !self.undefined;
        there.eflags &= !self.undefined;
        if differ_in_rf(&here, &there) {
            self.copy_to_qemu(8).map_err(|_| "QEMU has ended")?;
        } else if here != there {
            return Err(format!(
                "after {} at {:#x}:\nhere  {here:x?}\nthere {there:x?}",
                text(&instruction),
                before.linear_pc()
            ));
        }
        Ok(true)
    }

    /// One step of QEMU, whose instruction was at `rip`. It leaves a REP only in a step that finds the count at zero, and now and then
    /// it stops without having done anything.
    fn step_qemu(&mut self, rip: u64) -> Result<Registers, Ended> {
        self.qemu.step()?;
        let mut registers = theirs(&mut self.qemu)?;
        if registers.rip == rip && self.machine.cpu().rip != rip {
            self.qemu.step()?;
            registers = theirs(&mut self.qemu)?;
        }
        Ok(registers)
    }

    fn memory_differs(&mut self) -> Option<String> {
        let mut here = vec![0; self.memory_bytes];
        self.machine.read_phys(PhysAddr(IMAGE_BASE), &mut here);
        let there = self.qemu.read_phys(IMAGE_BASE, self.memory_bytes).expect("QEMU is there");
        let word = |bytes: &[u8]| u64::from(u32::from_le_bytes(bytes.try_into().expect("four bytes")));
        let words = || here.chunks_exact(4).zip(there.chunks_exact(4)).map(|(a, b)| (word(a), word(b)));
        let at = words().position(|(a, b)| (a ^ b) & !RF != 0)?;
        let (a, b) = words().nth(at)?;
        Some(format!("memory at {:#x}: {a:#x} here, {b:#x} there", IMAGE_BASE + 4 * at as u64))
    }
}

/// Whether only general registers differ, and those only in the place of RF.
fn differ_in_rf(here: &Registers, there: &Registers) -> bool {
    let other = Registers { gpr: there.gpr, ..here.clone() };
    let mut pairs = here.gpr.iter().zip(&there.gpr);
    here != there && other == *there && pairs.all(|(a, b)| (a ^ b) & !RF == 0)
}

fn limit_behind(limit: RunLimit) -> RunLimit {
    RunLimit { position: Icount(limit.position.0 + 1), ..limit }
}

/// Follows a guest; how many steps.
fn follow(guest: &Guest, most: u64) -> Result<u64, String> {
    let mut pair = Pair::new(guest);
    for steps in 0..most {
        let next = next_instruction(&pair.machine);
        let ends = next.mnemonic() == Mnemonic::Out && next.immediate8() == 0xf4;
        if (ends || steps + 1 == most)
            && let Some(difference) = pair.memory_differs()
        {
            return Err(format!("step {steps}: {difference}"));
        }
        if !pair.step().map_err(|why| format!("step {steps}: {why}"))? {
            return Ok(steps + 1);
        }
    }
    Ok(most)
}

#[test]
fn guests_do_the_same_here_and_in_qemu_step_by_step() {
    let most = env::var("LOCKSTEP_STEPS").map_or(DEFAULT_STEPS, |text| text.parse().expect("a number"));
    let mut failures = Vec::new();
    for guest in cpu_guests() {
        let different = guest.timed || guest.known.is_some() || guest.qemu_is_wrong.is_some();
        if different || guest.end == End::Reset || NOT_COMPARED.iter().any(|(name, _)| *name == guest.name) {
            continue;
        }
        match follow(&guest, most) {
            Ok(steps) => println!("{}: the same for {steps} steps", guest.name),
            Err(why) => failures.push(format!("{}: {why}", guest.name)),
        }
    }
    assert!(failures.is_empty(), "{} guests:\n{}", failures.len(), failures.join("\n"));
}
