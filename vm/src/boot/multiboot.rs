//! Multiboot 1 kernels, and flat binaries, which are entered the same way.
//!
//! Source: "Multiboot Specification version 0.6.96". Not done, as nothing asks for it yet: ELF section headers, video
//! modes and the APM table in the information structure; their bits in `flags` stay clear, so that a kernel can tell.

use super::BootError;
use super::bytes::{clear, put, u32_at};
use super::elf;
use super::kernel::{Kernel, Module};
use super::layout::{BOOT_DATA, BOOT_DATA_END, HIGH, Layout};
use super::state::protected_mode_state;
use crate::cpu::state::CpuState;
use std::borrow::Cow;

const HEADER_MAGIC: u32 = 0x1bad_b002;
/// What EAX holds at the entry.
const LOADER_MAGIC: u32 = 0x2bad_b002;
/// The header lies completely within so many bytes of the file.
const HEADER_SEARCH_BYTES: usize = 8192;
/// The header without its optional fields.
const HEADER_LEAST_BYTES: usize = 12;
/// Bits 0 to 2: page-aligned modules, memory information (both always given), preferred video mode (a preference).
const KNOWN_DEMANDS: u32 = 0x7;
/// Bits 0 to 15 must be understood or the kernel refused.
const DEMANDS: u32 = 0xffff;
const HAS_ADDRESSES: u32 = 1 << 16;
const PAGE: u64 = 4096;

const LOADER_NAME: &[u8] = b"Retrograde\0";
const INFO_BYTES: usize = 120;
const INFO_MEMORY: u32 = 1 << 0;
const INFO_CMDLINE: u32 = 1 << 2;
const INFO_MODULES: u32 = 1 << 3;
const INFO_MMAP: u32 = 1 << 6;
const INFO_LOADER_NAME: u32 = 1 << 9;
const MODULE_BYTES: usize = 16;
const MMAP_ENTRY_BYTES: usize = 24;
/// Where in the information structure the memory map's length is.
pub(super) const INFO_MMAP_LENGTH: u16 = 44;
/// Where in it KiB of low memory, and of high memory, are.
pub(super) const INFO_MEM_LOWER: u16 = 4;
/// See there.
pub(super) const INFO_MEM_UPPER: u16 = 8;
/// Room for the memory map: firmware's may have so many bytes.
pub(super) const MMAP_ROOM: u64 = 64 * MMAP_ENTRY_BYTES as u64;
/// A stack below the end of the boot data.
pub(super) const STACK_ROOM: u64 = 0x1000;

/// A Multiboot header and where it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Offset in the file.
    offset: usize,
    flags: u32,
}

/// Something in memory.
pub(super) struct Part<'a> {
    pub at: u64,
    pub bytes: Cow<'a, [u8]>,
    /// Bytes behind it that are zero.
    pub zeros: u64,
}

impl<'a> Part<'a> {
    fn new(at: u64, bytes: &'a [u8], zeros: u64) -> Part<'a> {
        Part { at, bytes: Cow::Borrowed(bytes), zeros }
    }
}

/// A kernel by itself, laid out.
struct Loaded<'a> {
    parts: Vec<Part<'a>>,
    entry: u32,
    /// What is in EAX.
    magic: u32,
    /// End of the highest byte it uses, or 1 MiB if that is higher.
    end: u64,
}

/// A kernel with its modules and what it is told, laid out.
pub(super) struct Plan<'a> {
    pub parts: Vec<Part<'a>>,
    pub entry: u32,
    pub magic: u32,
    /// Where the memory map is.
    pub mmap_at: u64,
}

impl Header {
    /// Looks for a header with a correct checksum.
    pub fn find(file: &[u8]) -> Option<Header> {
        let searched = &file[..file.len().min(HEADER_SEARCH_BYTES)];
        (0..searched.len()).step_by(4).find_map(|offset| {
            let header = searched.get(offset..offset + HEADER_LEAST_BYTES)?;
            let (magic, flags, checksum) = (u32_at(header, 0)?, u32_at(header, 4)?, u32_at(header, 8)?);
            let sum = magic.wrapping_add(flags).wrapping_add(checksum);
            (magic == HEADER_MAGIC && sum == 0).then_some(Header { offset, flags })
        })
    }
}

/// Loads a Multiboot kernel, or a flat binary if it is none.
pub(super) fn load(ram: &mut [u8], layout: &Layout, kernel: &Kernel) -> Result<CpuState, BootError> {
    let plan = plan(layout, kernel, &memory_map(layout))?;
    for part in &plan.parts {
        put(ram, part.at, &part.bytes)?;
        clear(ram, part.at + part.bytes.len() as u64, part.zeros)?;
    }
    let mut state = protected_mode_state(plan.entry);
    state.gpr[0] = plan.magic.into();
    state.gpr[3] = BOOT_DATA;
    Ok(state)
}

/// Lays out a kernel, with this memory map.
pub(super) fn plan<'a>(layout: &Layout, kernel: &'a Kernel, mmap: &[u8]) -> Result<Plan<'a>, BootError> {
    let loaded = match Header::find(&kernel.image) {
        Some(header) => lay_out(layout, &kernel.image, &header)?,
        None if elf::is_elf(&kernel.image) => return Err(BootError::ElfNotMultiboot),
        None => lay_out_flat(layout, &kernel.image)?,
    };
    let Loaded { mut parts, entry, magic, end } = loaded;
    let mut places = Vec::new();
    let mut start = end.next_multiple_of(PAGE);
    for module in &kernel.modules {
        let size = module.bytes.len() as u64;
        let end = start + size;
        if end > layout.usable_end {
            let what = if kernel.modules.len() > 1 { "one of the modules" } else { "the module" };
            return Err(BootError::DoesNotFit { what, start, size, end: layout.usable_end });
        }
        parts.push(Part::new(start, &module.bytes, 0));
        places.push((start as u32, end as u32));
        start = end.next_multiple_of(PAGE);
    }
    let (info, mmap_at) = info(layout, &kernel.modules, &places, &kernel.cmdline, mmap)?;
    parts.push(Part { at: BOOT_DATA, bytes: Cow::Owned(info), zeros: 0 });
    Ok(Plan { parts, entry, magic, mmap_at })
}

/// Lays out a kernel with a header.
fn lay_out<'a>(layout: &Layout, kernel: &'a [u8], header: &Header) -> Result<Loaded<'a>, BootError> {
    let unknown = header.flags & DEMANDS & !KNOWN_DEMANDS;
    if unknown != 0 {
        return Err(BootError::MultibootFlags(unknown));
    }
    if header.flags & HAS_ADDRESSES != 0 {
        lay_out_by_addresses(layout, kernel, header)
    } else if elf::is_elf(kernel) {
        lay_out_elf(layout, kernel)
    } else {
        Err(BootError::MultibootAddresses("neither an ELF file nor addresses in the header"))
    }
}

/// Lays out a flat binary.
fn lay_out_flat<'a>(layout: &Layout, image: &'a [u8]) -> Result<Loaded<'a>, BootError> {
    let bytes = image.len() as u64;
    layout.check_kernel_range(HIGH, bytes)?;
    Ok(Loaded { parts: vec![Part::new(HIGH, image, 0)], entry: HIGH as u32, magic: 0, end: HIGH + bytes })
}

/// "Address fields of the Multiboot header": they go before any ELF header that the file may have too.
fn lay_out_by_addresses<'a>(
    layout: &Layout,
    file: &'a [u8],
    header: &Header,
) -> Result<Loaded<'a>, BootError> {
    let field = |index: usize| {
        u32_at(file, header.offset + HEADER_LEAST_BYTES + 4 * index)
            .map(u64::from)
            .ok_or(BootError::Truncated("address fields of the Multiboot header"))
    };
    let bad = BootError::MultibootAddresses;
    let [header_addr, load_addr, load_end, bss_end, entry] =
        [field(0)?, field(1)?, field(2)?, field(3)?, field(4)?];
    let before = header_addr.checked_sub(load_addr).ok_or(bad("the header lies before the load address"))?;
    let offset =
        (header.offset as u64).checked_sub(before).ok_or(bad("the load address lies before the file"))?;
    let available = &file[offset as usize..]; // the header itself lies behind it
    let size = match load_end {
        0 => available.len() as u64,
        _ => load_end.checked_sub(load_addr).ok_or(bad("the image ends before its load address"))?,
    };
    let image = usize::try_from(size).ok().and_then(|size| available.get(..size));
    let image = image.ok_or(BootError::Truncated("image described by the Multiboot header"))?;
    let image_end = load_addr + size;
    let end = match bss_end {
        0 => image_end,
        _ if bss_end < image_end => return Err(bad("the bss ends before the image")),
        _ => bss_end,
    };
    layout.check_kernel_range(load_addr, end - load_addr)?;
    if !(load_addr..end).contains(&entry) {
        return Err(BootError::EntryOutside(entry));
    }
    let parts = vec![Part::new(load_addr, image, end - image_end)];
    Ok(Loaded { parts, entry: entry as u32, magic: LOADER_MAGIC, end: end.max(HIGH) })
}

/// The segments of an ELF file, at their physical addresses.
fn lay_out_elf<'a>(layout: &Layout, file: &'a [u8]) -> Result<Loaded<'a>, BootError> {
    let (segments, entry) = elf::parse(file)?;
    // Thousands of headers may claim the same gigabyte: what is more than memory in sum overlaps.
    let total = segments.iter().map(|segment| u64::from(segment.mem_size)).sum::<u64>();
    if total > layout.usable_end {
        let end = layout.usable_end;
        return Err(BootError::DoesNotFit { what: "the kernel", start: 0, size: total, end });
    }
    let (mut parts, mut end) = (Vec::new(), HIGH);
    for segment in &segments {
        let (start, size) = (u64::from(segment.paddr), u64::from(segment.mem_size));
        layout.check_kernel_range(start, size)?;
        parts.push(Part::new(start, segment.bytes, size - segment.bytes.len() as u64));
        end = end.max(start + size);
    }
    // A kernel linked to run elsewhere than it is loaded states its entry point as a virtual address.
    let entry = segments
        .iter()
        .find_map(|segment| {
            let offset = entry.checked_sub(segment.vaddr).filter(|&offset| offset < segment.mem_size)?;
            Some(segment.paddr + offset)
        })
        .ok_or(BootError::EntryOutside(entry.into()))?;
    Ok(Loaded { parts, entry, magic: LOADER_MAGIC, end })
}

/// The information structure at [`BOOT_DATA`], followed by module list, loader name, strings and memory map; and where that is.
fn info(
    layout: &Layout,
    modules: &[Module],
    places: &[(u32, u32)],
    cmdline: &str,
    mmap: &[u8],
) -> Result<(Vec<u8>, u64), BootError> {
    let mut info = vec![0; INFO_BYTES + MODULE_BYTES * modules.len()];
    // Strings are appended, and end with a zero.
    let append = |info: &mut Vec<u8>, bytes: &[u8]| {
        let at = BOOT_DATA as u32 + info.len() as u32;
        info.extend_from_slice(bytes);
        at
    };
    let name_at = append(&mut info, LOADER_NAME);
    let mut list = Vec::new();
    for (module, (start, end)) in modules.iter().zip(places) {
        let string_at = append(&mut info, &[module.string.as_bytes(), &[0]].concat());
        list.extend([*start, *end, string_at, 0].map(u32::to_le_bytes));
    }
    info[INFO_BYTES..][..MODULE_BYTES * modules.len()].copy_from_slice(list.as_flattened());
    let room = BOOT_DATA_END - BOOT_DATA - STACK_ROOM - MMAP_ROOM - 8;
    let used = info.len() as u64;
    let Some(rest) = room.checked_sub(used + 1) else {
        let end = BOOT_DATA + room;
        return Err(BootError::DoesNotFit { what: "the list of modules", start: BOOT_DATA, size: used, end });
    };
    if cmdline.len() as u64 > rest {
        return Err(BootError::CmdlineTooLong { len: cmdline.len(), max: rest as usize });
    }
    let cmdline_at = append(&mut info, &[cmdline.as_bytes(), &[0]].concat());
    info.resize(info.len().next_multiple_of(8), 0);
    let mmap_at = append(&mut info, mmap);

    let (kib_low, kib_high) = layout.kib_low_high();
    let has_modules = if modules.is_empty() { 0 } else { INFO_MODULES };
    let modules_at = if modules.is_empty() { 0 } else { BOOT_DATA as u32 + INFO_BYTES as u32 };
    for (offset, value) in [
        (0, INFO_MEMORY | INFO_CMDLINE | INFO_MMAP | INFO_LOADER_NAME | has_modules),
        (INFO_MEM_LOWER, kib_low),
        (INFO_MEM_UPPER, kib_high),
        (16, cmdline_at),
        (20, modules.len() as u32),
        (24, modules_at),
        (INFO_MMAP_LENGTH, mmap.len() as u32),
        (48, mmap_at),
        (64, name_at),
    ] {
        info[usize::from(offset)..][..4].copy_from_slice(&value.to_le_bytes());
    }
    Ok((info, mmap_at.into()))
}

/// The memory map. The size field of an entry does not count itself.
fn memory_map(layout: &Layout) -> Vec<u8> {
    let mut map = Vec::with_capacity(layout.ranges().len() * MMAP_ENTRY_BYTES);
    for range in layout.ranges() {
        map.extend_from_slice(&(MMAP_ENTRY_BYTES as u32 - 4).to_le_bytes());
        map.extend_from_slice(&range.start.to_le_bytes());
        map.extend_from_slice(&(range.end - range.start).to_le_bytes());
        map.extend_from_slice(&(range.kind as u32).to_le_bytes());
    }
    map
}
