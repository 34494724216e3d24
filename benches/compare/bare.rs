//! The engine with its own MMU and nothing of ours around it.
//!
//! It delivers no interrupts by itself and has no chips, so it can run the loop, without its timer, and no Linux. Of events it
//! can tell what it costs to leave translated code for them.

use anyhow::{Context, Result, anyhow, ensure};
use std::fs;
use std::path::Path;
use unicorn_engine::{Arch, Mode, Prot, RegisterX86, Unicorn};

const RAM_BYTES: u64 = 16 << 20;
const INFO: u64 = 0x1000;
const CMDLINE: u64 = 0x2000;
/// What a Multiboot kernel finds in EAX.
const MULTIBOOT: u64 = 0x2bad_b002;
const HAS_CMDLINE: u32 = 1 << 2;
const DEBUG_EXIT: u32 = 0xf4;
const PASSED: u32 = 0x10;

/// Runs a 32-bit kernel of ours to its end.
pub fn run(kernel: &Path, cmdline: &str) -> Result<()> {
    let mut engine = Unicorn::new_with_data(Arch::X86, Mode::MODE_32, None).map_err(failed)?;
    engine.mem_map(0, RAM_BYTES, Prot::ALL).map_err(failed)?;
    let entry = load(&mut engine, &fs::read(kernel)?)?;
    let mut info = [0; 20];
    info[..4].copy_from_slice(&HAS_CMDLINE.to_le_bytes());
    info[16..].copy_from_slice(&(CMDLINE as u32).to_le_bytes());
    engine.mem_write(INFO, &info).map_err(failed)?;
    engine.mem_write(CMDLINE, &[cmdline.as_bytes(), b"\0"].concat()).map_err(failed)?;
    engine.reg_write(RegisterX86::EAX, MULTIBOOT).map_err(failed)?;
    engine.reg_write(RegisterX86::EBX, INFO).map_err(failed)?;
    // A serial port that is always ready.
    engine.add_insn_in_hook(|_, _, _| 0x20).map_err(failed)?;
    engine
        .add_insn_out_hook(|engine: &mut Unicorn<Option<u32>>, port, _, value| {
            if port == DEBUG_EXIT {
                *engine.get_data_mut() = Some(value);
            }
        })
        .map_err(failed)?;
    // HLT ends it.
    engine.emu_start(entry, u64::MAX, 0, 0).map_err(failed)?;
    ensure!(*engine.get_data() == Some(PASSED), "the guest did not pass: {:?}", engine.get_data());
    Ok(())
}

/// Something that takes the engine out of translated code.
#[derive(Clone, Copy)]
pub enum Event {
    /// INT n. Its hook does nothing: nothing is delivered.
    Int,
    /// UD2. Its hook goes on behind it.
    Undefined,
    /// MOV to CR3.
    Cr3,
}

/// Does it many times, without paging, and without anything that a system would have to do about it.
pub fn repeat(event: Event, count: u32) -> Result<()> {
    const CODE: u64 = 0x1000;
    let mut engine = Unicorn::new_with_data(Arch::X86, Mode::MODE_32, ()).map_err(failed)?;
    engine.mem_map(0, RAM_BYTES, Prot::ALL).map_err(failed)?;
    let instruction: &[u8] = match event {
        Event::Int => &[0xcd, 0x40],
        Event::Undefined => &[0x0f, 0x0b],
        Event::Cr3 => &[0x0f, 0x22, 0xd8],
    };
    // DEC ECX; JNZ to the start
    let code = [instruction, &[0x49, 0x75, (-3 - instruction.len() as i8) as u8]].concat();
    engine.mem_write(CODE, &code).map_err(failed)?;
    engine.reg_write(RegisterX86::ECX, count.into()).map_err(failed)?;
    engine.add_intr_hook(|_, _| {}).map_err(failed)?;
    engine
        .add_insn_invalid_hook(|engine| {
            let next = engine.reg_read(RegisterX86::EIP).map(|eip| eip + 2);
            next.and_then(|next| engine.reg_write(RegisterX86::EIP, next)).is_ok()
        })
        .map_err(failed)?;
    engine.emu_start(CODE, CODE + code.len() as u64, 0, 0).map_err(failed)?;
    ensure!(engine.reg_read(RegisterX86::ECX).map_err(failed)? == 0, "it did not come to its end");
    Ok(())
}

fn failed(error: impl std::fmt::Debug) -> anyhow::Error {
    anyhow!("the engine: {error:?}")
}

/// Copies the segments of a 32-bit ELF file to where they belong; its entry point.
fn load(engine: &mut Unicorn<Option<u32>>, elf: &[u8]) -> Result<u64> {
    const LOADED: u32 = 1;
    const HEADER_BYTES: usize = 32;
    let word = |at: usize| {
        let bytes = elf.get(at..at + 4).context("a truncated ELF file")?;
        Ok::<u32, anyhow::Error>(u32::from_le_bytes(bytes.try_into()?))
    };
    let (headers, count) = (word(28)? as usize, word(44)? as u16);
    for header in (0..usize::from(count)).map(|i| headers + i * HEADER_BYTES) {
        if word(header)? == LOADED {
            let (offset, address, len) = (word(header + 4)?, word(header + 12)?, word(header + 16)?);
            let bytes = elf.get(offset as usize..(offset + len) as usize).context("a truncated ELF file")?;
            engine.mem_write(address.into(), bytes).map_err(failed)?;
        }
    }
    Ok(word(24)?.into())
}
