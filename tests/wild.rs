//! Whatever a program executes, the machine goes on: random encodings, most of them undefined, with registers at the edge of what
//! they hold. A machine that panics, never ends, or takes the process with it (by a signal, where the engine itself falls over)
//! fails; its seed is the last in `target/tmp/wild-seed`.
//!
//! `WILD=n` runs n programs instead of 1000, from the seed `WILD_FIRST` on instead of 1000.

use retrograde_tests::random::Random;
use retrograde_tests::sequences::{CHUNK, CODE, Mode, SANDBOX, Sequence, new_machine, set};
use std::path::Path;
use std::{env, fs};
use vm::{CpuState, Exit, Icount, MachineState, RunLimit, VmTime};

const DEFAULT_CASES: u64 = 1000;
/// So that 1757 is among them, a LOCK BTR of a register, at which the engine ends the process if it may.
const DEFAULT_FIRST: u64 = 1000;
const STEPS: u64 = 300;
const MOST_TIME_NS: u64 = 10_000_000;
/// Chunks of code, each of which goes on at the next one if it faults.
const CHUNKS: usize = 24;

/// Integers at the edge of a size.
const EDGES: [u64; 12] = [
    0,
    1,
    u64::MAX,
    1 << 63,
    (1 << 63) - 1,
    0x8000_0000,
    0xffff_ffff_8000_0000,
    0x7fff_ffff,
    0xffff_ffff,
    0x8000,
    0xffff,
    0x80,
];
const PREFIXES: [u8; 10] = [0x66, 0xf2, 0xf3, 0xf0, 0x67, 0x2e, 0x64, 0x65, 0x26, 0x36];

fn edge(random: &mut Random) -> u64 {
    EDGES[random.below(EDGES.len() as u64) as usize]
}

/// For a general register: any, at an edge or near it, or an address.
fn integer(random: &mut Random) -> u64 {
    match random.below(4) {
        0 => random.next(),
        1 => edge(random),
        2 => edge(random).wrapping_add(random.below(5)).wrapping_sub(2),
        _ => u64::from(SANDBOX) + random.below(0x8010),
    }
}

/// For an XMM register or a significand: any, at an edge, infinities and NaNs of 64 and of 32 bits, small numbers.
fn float(random: &mut Random) -> u64 {
    match random.below(5) {
        0 => random.next(),
        1 => edge(random),
        2 => 0x7ff0_0000_0000_0000 | (random.next() & 0x800f_0000_0000_0001),
        3 => 0x7f80_0001_7f80_0000 ^ (random.next() & 0x8040_0001_8040_0001),
        _ => 0x3ff0_0000_0000_0000 ^ (random.next() & 0xff) << 52,
    }
}

/// Prefixes, an opcode of any map, and what may be its operands.
fn encoding(random: &mut Random, long: bool) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..random.below(3)).map(|_| PREFIXES[random.below(10) as usize]).collect();
    if long && random.below(2) == 0 {
        bytes.push(0x40 | random.below(16) as u8);
    }
    let map: &[u8] = match random.below(8) {
        0..=2 => &[],
        3..=5 => &[0x0f],
        6 => &[0x0f, 0x38],
        _ => &[0x0f, 0x3a],
    };
    bytes.extend(map);
    bytes.push(random.next() as u8);
    for _ in 0..1 + random.below(8) {
        bytes.push(if random.below(3) == 0 { 0 } else { random.next() as u8 });
    }
    bytes
}

fn write_code(ram: &mut [u8], random: &mut Random, long: bool) {
    let chunks = ram[CODE as usize..].chunks_exact_mut(CHUNK);
    for chunk in chunks.take(CHUNKS) {
        let mut bytes: Vec<u8> = (0..1 + random.below(3)).flat_map(|_| encoding(random, long)).collect();
        bytes.resize(CHUNK, 0x90);
        chunk.copy_from_slice(&bytes);
    }
    ram[CODE as usize + CHUNKS * CHUNK] = 0xf4;
}

fn set_registers(cpu: &mut CpuState, random: &mut Random, long: bool) {
    const RSP: usize = 4;
    for i in (0..16).filter(|i| *i != RSP && (*i < 8 || long)) {
        let value = integer(random);
        cpu.gpr[i] = if long { value } else { value & 0xffff_ffff };
    }
    cpu.xmm.iter_mut().for_each(|register| *register = [float(random), float(random)]);
    for (significand, sign_exponent) in &mut cpu.fpu.regs {
        *significand = float(random);
        *sign_exponent = [random.next() as u16, 0x7fff, 0][random.below(3) as usize];
    }
    cpu.fpu.tag = random.next() as u8;
    cpu.fpu.control = random.next() as u16;
    cpu.mxcsr = if random.below(3) == 0 { random.next() as u32 & 0xffff } else { 0x1f80 };
    // Single steps, and breakpoints.
    if random.below(8) == 0 {
        cpu.rflags |= 1 << 8;
    }
    if random.below(8) == 0 {
        let (code, data) = (u64::from(CODE), u64::from(SANDBOX));
        let watched = [data + random.below(64), code + 0x40, data + 0xfff, code + 0x80];
        cpu.dr[..4].copy_from_slice(&watched);
        cpu.dr[7] = random.next() & 0xffff_00ff | 0x400;
    }
    // SSE is on, and neither it nor the x87 traps.
    cpu.cr4 |= 0x600;
    cpu.cr0 &= !0xc;
}

/// A number from the environment.
fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn whatever_a_program_executes_the_machine_goes_on() {
    let mut machine = new_machine();
    let power_on = machine.save();
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("wild-seed");
    let (first, cases) = (number("WILD_FIRST", DEFAULT_FIRST), number("WILD", DEFAULT_CASES));
    let (mut ran, mut ended) = (0, 0);
    for seed in first..first + cases {
        fs::write(&place, format!("{seed}\n")).expect("a file in the target folder");
        let mut random = Random::new(!seed);
        let mut sequence = Sequence::new(seed, &power_on.cpu);
        let long = matches!(sequence.mode, Mode::Kernel64 | Mode::User64);
        write_code(&mut sequence.ram, &mut random, long);
        set_registers(&mut sequence.cpu, &mut random, long);
        set(&mut machine, &sequence.ram, &MachineState { cpu: sequence.cpu, ..power_on.clone() });
        let limit = RunLimit { position: Icount(STEPS), time: VmTime(MOST_TIME_NS) };
        match machine.run(limit) {
            Ok(Exit::Position) => assert_eq!(machine.position().0, STEPS, "seed {seed}"),
            Ok(_) => ended += 1,
            Err(error) => panic!("seed {seed}: {error}"),
        }
        ran += machine.position().0;
    }
    println!("{cases} programs, {ran} steps, {ended} ended early");
    assert!(ran > 20 * cases, "the programs run");
}
