//! The little of ELF that a boot loader needs ("Tool Interface Standard: Executable and Linking Format", version 1.2).

use super::BootError;
use super::bytes::{u16_at, u32_at};

const HEADER_BYTES: usize = 52;
const PROGRAM_HEADER_BYTES: usize = 32;
const CLASS_64: u8 = 2;
const CLASS_32: u8 = 1;
const LITTLE_ENDIAN: u8 = 1;
const TYPE_EXECUTABLE: u16 = 2;
const MACHINE_386: u16 = 3;
const PT_LOAD: u32 = 1;

/// A loadable segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    pub vaddr: u32,
    pub paddr: u32,
    /// Contents from the file; the rest of `mem_size` is zero.
    pub bytes: &'a [u8],
    pub mem_size: u32,
}

/// Whether the file is ELF of any kind.
pub fn is_elf(file: &[u8]) -> bool {
    file.starts_with(b"\x7fELF")
}

/// The loadable segments of a 32-bit executable, and its entry point as the file states it.
pub fn parse(file: &[u8]) -> Result<(Vec<Segment<'_>>, u32), BootError> {
    let header = file.get(..HEADER_BYTES).ok_or(BootError::Truncated("ELF header"))?;
    match header[4] {
        CLASS_32 => {}
        CLASS_64 => return Err(BootError::Elf64),
        _ => return Err(BootError::ElfKind("neither 32 nor 64 bit")),
    }
    if header[5] != LITTLE_ENDIAN {
        return Err(BootError::ElfKind("big-endian"));
    }
    let field16 = |offset| u16_at(header, offset).unwrap_or(0);
    let field32 = |offset| u32_at(header, offset).unwrap_or(0);
    if field16(16) != TYPE_EXECUTABLE {
        return Err(BootError::ElfKind("not linked to fixed addresses"));
    }
    if field16(18) != MACHINE_386 {
        return Err(BootError::ElfKind("for another processor"));
    }
    let (table, entry_bytes, entries) = (field32(28) as usize, usize::from(field16(42)), field16(44));
    if entry_bytes < PROGRAM_HEADER_BYTES {
        return Err(BootError::ElfKind("program headers too short"));
    }
    let mut segments = Vec::new();
    for index in 0..usize::from(entries) {
        let at = table.saturating_add(index * entry_bytes);
        if let Some(segment) = parse_segment(file, at)? {
            segments.push(segment);
        }
    }
    if segments.is_empty() {
        return Err(BootError::ElfKind("nothing to load"));
    }
    Ok((segments, field32(24)))
}

/// The segment that the program header at `at` describes; `None` if it is not to be loaded.
fn parse_segment(file: &[u8], at: usize) -> Result<Option<Segment<'_>>, BootError> {
    let header = file.get(at..).and_then(|rest| rest.get(..PROGRAM_HEADER_BYTES));
    let header = header.ok_or(BootError::Truncated("ELF program headers"))?;
    let field = |offset| u32_at(header, offset).unwrap_or(0);
    let mem_size = field(20);
    if field(0) != PT_LOAD || mem_size == 0 {
        return Ok(None);
    }
    let (offset, file_size) = (field(4) as usize, field(16) as usize);
    if file_size > mem_size as usize {
        return Err(BootError::ElfKind("a segment is larger in the file than in memory"));
    }
    let bytes = file.get(offset..).and_then(|rest| rest.get(..file_size));
    let bytes = bytes.ok_or(BootError::Truncated("ELF segment"))?;
    Ok(Some(Segment { vaddr: field(8), paddr: field(12), bytes, mem_size }))
}
