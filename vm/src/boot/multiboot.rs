//! Multiboot 1 kernels, and flat binaries, which are entered the same way.
//!
//! Source: "Multiboot Specification version 0.6.96". Not done, as nothing asks for it yet: ELF section headers, video
//! modes and the APM table in the information structure; their bits in `flags` stay clear, so that a kernel can tell.

use super::BootError;
use super::bytes::{clear, put, u32_at};
use super::elf;
use super::layout::{BOOT_DATA, BOOT_DATA_END, HIGH, Layout};
use super::state::protected_mode_state;
use crate::cpu::state::CpuState;

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
const MODULE_BYTES: u64 = 16;
const MMAP_ENTRY_BYTES: usize = 24;

/// A Multiboot header and where it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Offset in the file.
    offset: usize,
    flags: u32,
}

/// What loading a kernel came to.
struct Loaded {
    entry: u32,
    /// End of the highest byte it uses, or 1 MiB if that is higher.
    end: u64,
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

/// Loads a Multiboot kernel.
pub(super) fn load(
    ram: &mut [u8],
    layout: &Layout,
    kernel: &[u8],
    header: &Header,
    module: &[u8],
    cmdline: &str,
) -> Result<CpuState, BootError> {
    let unknown = header.flags & DEMANDS & !KNOWN_DEMANDS;
    if unknown != 0 {
        return Err(BootError::MultibootFlags(unknown));
    }
    let loaded = if header.flags & HAS_ADDRESSES != 0 {
        load_by_addresses(ram, layout, kernel, header)?
    } else if elf::is_elf(kernel) {
        load_elf(ram, layout, kernel)?
    } else {
        return Err(BootError::MultibootAddresses("neither an ELF file nor addresses in the header"));
    };
    enter(ram, layout, &loaded, LOADER_MAGIC, module, cmdline)
}

/// Loads a flat binary.
pub(super) fn load_flat(
    ram: &mut [u8],
    layout: &Layout,
    image: &[u8],
    module: &[u8],
    cmdline: &str,
) -> Result<CpuState, BootError> {
    let bytes = image.len() as u64;
    layout.check_kernel_range(HIGH, bytes)?;
    put(ram, HIGH, image)?;
    enter(ram, layout, &Loaded { entry: HIGH as u32, end: HIGH + bytes }, 0, module, cmdline)
}

/// "Address fields of the Multiboot header": they go before any ELF header that the file may have too.
fn load_by_addresses(
    ram: &mut [u8],
    layout: &Layout,
    file: &[u8],
    header: &Header,
) -> Result<Loaded, BootError> {
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
    put(ram, load_addr, image)?;
    clear(ram, image_end, end - image_end)?;
    Ok(Loaded { entry: entry as u32, end: end.max(HIGH) })
}

/// Loads the segments of an ELF file at their physical addresses.
fn load_elf(ram: &mut [u8], layout: &Layout, file: &[u8]) -> Result<Loaded, BootError> {
    let (segments, entry) = elf::parse(file)?;
    // Thousands of headers may claim the same gigabyte: what is more than memory in sum overlaps.
    let total = segments.iter().map(|segment| u64::from(segment.mem_size)).sum::<u64>();
    if total > layout.usable_end {
        let end = layout.usable_end;
        return Err(BootError::DoesNotFit { what: "the kernel", start: 0, size: total, end });
    }
    let mut end = HIGH;
    for segment in &segments {
        let (start, size) = (u64::from(segment.paddr), u64::from(segment.mem_size));
        layout.check_kernel_range(start, size)?;
        put(ram, start, segment.bytes)?;
        clear(ram, start + segment.bytes.len() as u64, size - segment.bytes.len() as u64)?;
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
    Ok(Loaded { entry, end })
}

/// Loads the module, writes the information structure and makes the registers.
fn enter(
    ram: &mut [u8],
    layout: &Layout,
    loaded: &Loaded,
    magic: u32,
    module: &[u8],
    cmdline: &str,
) -> Result<CpuState, BootError> {
    let start = loaded.end.next_multiple_of(PAGE);
    let end = start + module.len() as u64;
    if !module.is_empty() {
        if end > layout.usable_end {
            let size = module.len() as u64;
            return Err(BootError::DoesNotFit { what: "the module", start, size, end: layout.usable_end });
        }
        put(ram, start, module)?;
    }
    let module = (!module.is_empty()).then_some((start as u32, end as u32));
    write_info(ram, layout, module, cmdline)?;
    let mut state = protected_mode_state(loaded.entry);
    state.gpr[0] = magic.into();
    state.gpr[3] = BOOT_DATA;
    Ok(state)
}

/// The information structure at [`BOOT_DATA`], followed by module list, memory map, loader name and command line.
fn write_info(
    ram: &mut [u8],
    layout: &Layout,
    module: Option<(u32, u32)>,
    cmdline: &str,
) -> Result<(), BootError> {
    let mmap = memory_map(layout);
    let modules_at = BOOT_DATA + INFO_BYTES as u64;
    let mmap_at = modules_at + MODULE_BYTES;
    let name_at = mmap_at + mmap.len() as u64;
    let cmdline_at = name_at + LOADER_NAME.len() as u64;
    let cmdline_max = (BOOT_DATA_END - cmdline_at - 1) as usize;
    if cmdline.len() > cmdline_max {
        return Err(BootError::CmdlineTooLong { len: cmdline.len(), max: cmdline_max });
    }

    let mut info = [0; INFO_BYTES];
    let mut set = |offset: usize, value: u32| info[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
    let (kib_low, kib_high) = layout.kib_low_high();
    let mut flags = INFO_MEMORY | INFO_CMDLINE | INFO_MMAP | INFO_LOADER_NAME;
    set(4, kib_low);
    set(8, kib_high);
    set(16, cmdline_at as u32);
    set(44, mmap.len() as u32);
    set(48, mmap_at as u32);
    set(64, name_at as u32);
    if let Some((start, end)) = module {
        flags |= INFO_MODULES;
        set(20, 1);
        set(24, modules_at as u32);
        // The module has no string of its own: an empty one, as some kernels read it without asking.
        let empty_at = name_at + LOADER_NAME.len() as u64 - 1;
        let entry = [start, end, empty_at as u32, 0].map(u32::to_le_bytes);
        put(ram, modules_at, entry.as_flattened())?;
    }
    set(0, flags);

    put(ram, BOOT_DATA, &info)?;
    put(ram, mmap_at, &mmap)?;
    put(ram, name_at, LOADER_NAME)?;
    put(ram, cmdline_at, cmdline.as_bytes())?;
    clear(ram, cmdline_at + cmdline.len() as u64, 1)
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
