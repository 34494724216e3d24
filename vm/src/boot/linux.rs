//! Linux bzImage by the 32-bit boot protocol.
//!
//! Source: "The Linux/x86 Boot Protocol" and "Zero Page" of the kernel's documentation. Offsets below are those of that
//! document; they count from the start of the file and, the header being copied, from the start of `boot_params` too.

use super::BootError;
use super::bytes::{clear, put, u16_at, u32_at, u64_at};
use super::layout::{BOOT_DATA, BOOT_DATA_END, HIGH, Layout};
use super::state::protected_mode_state;
use crate::cpu::state::CpuState;

/// `boot_params`, the "zero page".
const BOOT_PARAMS: u64 = BOOT_DATA;
const BOOT_PARAMS_BYTES: usize = 0x1000;
/// The command line follows `boot_params`.
const CMDLINE: u64 = BOOT_DATA + BOOT_PARAMS_BYTES as u64;
/// Room for it, with its terminating zero.
const CMDLINE_ROOM: usize = (BOOT_DATA_END - CMDLINE) as usize;
pub(super) const SECTOR: usize = 512;
const PAGE: u64 = 4096;

const HEADER_START: usize = 0x1f1;
/// `boot_params` has something else from here on.
const HEADER_LIMIT: usize = 0x290;
pub(super) const SETUP_SECTS: usize = 0x1f1;
const SYSSIZE: usize = 0x1f4;
pub(super) const VID_MODE: usize = 0x1fa;
const BOOT_FLAG: usize = 0x1fe;
/// The displacement of the jump over the header, which tells where the header ends.
const JUMP_DISTANCE: usize = 0x201;
const MAGIC: usize = 0x202;
pub(super) const VERSION: usize = 0x206;
pub(super) const TYPE_OF_LOADER: usize = 0x210;
pub(super) const LOADFLAGS: usize = 0x211;
const CODE32_START: usize = 0x214;
pub(super) const RAMDISK_IMAGE: usize = 0x218;
pub(super) const RAMDISK_SIZE: usize = 0x21c;
pub(super) const HEAP_END_PTR: usize = 0x224;
pub(super) const CMD_LINE_PTR: usize = 0x228;
pub(super) const INITRD_ADDR_MAX: usize = 0x22c;
const KERNEL_ALIGNMENT: usize = 0x230;
const RELOCATABLE_KERNEL: usize = 0x234;
pub(super) const CMDLINE_SIZE: usize = 0x238;
const SETUP_DATA: usize = 0x250;
const PREF_ADDRESS: usize = 0x258;
const INIT_SIZE: usize = 0x260;

pub(super) const LOADED_HIGH: u8 = 1;
pub(super) const CAN_USE_HEAP: u8 = 1 << 7;
/// "Undefined" boot loader.
pub(super) const LOADER_UNDEFINED: u8 = 0xff;
/// `vid_mode`: leave the video mode alone.
pub(super) const VIDEO_NORMAL: u16 = 0xffff;

const E820_ENTRIES: usize = 0x1e8;
const E820_TABLE: usize = 0x2d0;
const ALT_MEM_K: usize = 0x1e0;
const EXT_MEM_K: usize = 0x002;

/// Whether this is a Linux kernel of any version.
pub fn is_linux(kernel: &[u8]) -> bool {
    u16_at(kernel, BOOT_FLAG) == Some(0xaa55) && kernel.get(MAGIC..MAGIC + 4) == Some(b"HdrS")
}

/// Whether this is a Linux kernel that can only be entered in real mode, with a BIOS to call: one of an old protocol, one that
/// loads low, or one without an entry point in protected mode.
pub fn needs_firmware(kernel: &[u8]) -> bool {
    match Setup::parse(kernel) {
        Ok(setup) => !setup.relocatable && setup.code32_start < HIGH,
        Err(BootError::LinuxTooOld(_) | BootError::LinuxLow) => is_linux(kernel),
        Err(_) => false,
    }
}

/// What the setup header says, with the defaults of protocol versions that lack a field.
struct Setup {
    /// The header, at its offset in a buffer that is zero where the kernel's header does not reach.
    raw: [u8; HEADER_LIMIT],
    /// Offset of the protected-mode code in the file.
    payload_offset: usize,
    cmdline_max: usize,
    /// Highest address of a byte of the initial RAM disk.
    initrd_addr_max: u64,
    relocatable: bool,
    alignment: u64,
    /// Where the kernel runs best, or for one that is not relocatable: where it will move itself.
    pref_address: Option<u64>,
    /// Memory that the kernel needs from its run-time address on, before it reads the memory map.
    init_size: u64,
    code32_start: u64,
}

impl Setup {
    fn parse(kernel: &[u8]) -> Result<Setup, BootError> {
        let mut raw = [0; HEADER_LIMIT];
        let jump = *kernel.get(JUMP_DISTANCE).ok_or(BootError::Truncated("setup header"))?;
        let end = (MAGIC + usize::from(jump)).min(HEADER_LIMIT);
        let header = kernel.get(HEADER_START..end).ok_or(BootError::Truncated("setup header"))?;
        raw[HEADER_START..end].copy_from_slice(header);
        let field16 = |offset| u16_at(&raw, offset).unwrap_or(0);
        let field32 = |offset| u32_at(&raw, offset).unwrap_or(0);

        let version = field16(VERSION);
        if version < 0x202 {
            return Err(BootError::LinuxTooOld(version));
        }
        if raw[LOADFLAGS] & LOADED_HIGH == 0 {
            return Err(BootError::LinuxLow);
        }
        // "For backwards compatibility, if the setup_sects field contains 0, the real value is 4."
        let setup_sects = if raw[SETUP_SECTS] == 0 { 4 } else { usize::from(raw[SETUP_SECTS]) };
        let payload_offset = (setup_sects + 1) * SECTOR;
        let since = |first: u16| version >= first;
        let syssize = if since(0x204) { field32(SYSSIZE) } else { field16(SYSSIZE).into() };
        let payload_bytes =
            kernel.len().checked_sub(payload_offset).ok_or(BootError::Truncated("setup sectors"))?;
        if payload_bytes == 0 || (payload_bytes as u64).div_ceil(16) < u64::from(syssize) {
            return Err(BootError::Truncated("protected-mode code"));
        }

        let pref_address = u64_at(&raw, PREF_ADDRESS).unwrap_or(0);
        let init_size = if since(0x20a) { field32(INIT_SIZE).into() } else { 0 };
        Ok(Setup {
            payload_offset,
            cmdline_max: if since(0x206) { field32(CMDLINE_SIZE) as usize } else { 255 },
            initrd_addr_max: if since(0x203) { field32(INITRD_ADDR_MAX).into() } else { 0x37ff_ffff },
            relocatable: since(0x205) && raw[RELOCATABLE_KERNEL] != 0,
            alignment: u64::from(field32(KERNEL_ALIGNMENT)).max(1),
            pref_address: (since(0x20a) && pref_address != 0).then_some(pref_address),
            init_size: init_size.max(payload_bytes as u64),
            code32_start: field32(CODE32_START).into(),
            raw,
        })
    }

    /// Where to load the protected-mode code, and the end of the memory that it takes before it looks at the map.
    fn place(&self, layout: &Layout, payload_bytes: u64) -> Result<(u64, u64), BootError> {
        let fits = |start: u64| {
            start >= HIGH && start.checked_add(self.init_size).is_some_and(|end| end <= layout.usable_end)
        };
        let does_not_fit = |start| BootError::DoesNotFit {
            what: "the kernel",
            start,
            size: self.init_size,
            end: layout.usable_end,
        };
        if !self.relocatable {
            let load = self.code32_start;
            if load < HIGH {
                return Err(BootError::LinuxLow);
            }
            layout.check_kernel_range(load, payload_bytes)?;
            let run = self.pref_address.unwrap_or(load);
            if !fits(run) {
                return Err(does_not_fit(run));
            }
            return Ok((load, (load + payload_bytes).max(run + self.init_size)));
        }
        // A relocatable kernel runs where it is loaded, but moves itself up if that is below its preferred address: so
        // there is no use in trying lower ones.
        let load = self.pref_address.unwrap_or(0).max(HIGH).checked_next_multiple_of(self.alignment);
        let load = load.unwrap_or(u64::MAX);
        if !fits(load) {
            return Err(does_not_fit(load));
        }
        Ok((load, load + self.init_size))
    }

    /// Address of the initial RAM disk: as high as kernel and memory allow.
    fn place_initrd(&self, layout: &Layout, kernel_end: u64, bytes: u64) -> Result<u64, BootError> {
        let end = layout.usable_end.min(self.initrd_addr_max.saturating_add(1));
        let lowest = kernel_end.next_multiple_of(PAGE);
        end.checked_sub(bytes)
            .map(|start| start & !(PAGE - 1))
            .filter(|&start| start >= lowest)
            .ok_or(BootError::DoesNotFit { what: "the initial RAM disk", start: lowest, size: bytes, end })
    }
}

/// Loads a bzImage.
pub(super) fn load(
    ram: &mut [u8],
    layout: &Layout,
    kernel: &[u8],
    initrd: &[u8],
    cmdline: &str,
) -> Result<CpuState, BootError> {
    let setup = Setup::parse(kernel)?;
    let cmdline_max = setup.cmdline_max.min(CMDLINE_ROOM - 1);
    if cmdline.len() > cmdline_max {
        return Err(BootError::CmdlineTooLong { len: cmdline.len(), max: cmdline_max });
    }
    let payload = &kernel[setup.payload_offset..];
    let (load_addr, kernel_end) = setup.place(layout, payload.len() as u64)?;
    let initrd_addr = match initrd {
        [] => 0,
        _ => setup.place_initrd(layout, kernel_end, initrd.len() as u64)?,
    };
    let params = boot_params(&setup, layout, load_addr as u32, initrd_addr as u32, initrd.len() as u32);

    put(ram, load_addr, payload)?;
    put(ram, initrd_addr, initrd)?;
    put(ram, BOOT_PARAMS, &params)?;
    put(ram, CMDLINE, cmdline.as_bytes())?;
    clear(ram, CMDLINE + cmdline.len() as u64, 1)?;

    // EBP, EDI and EBX are to be zero, as they are.
    let mut state = protected_mode_state(load_addr as u32);
    state.gpr[6] = BOOT_PARAMS;
    Ok(state)
}

/// The zero page: the kernel's own header, completed, and what real-mode code would have found out.
fn boot_params(
    setup: &Setup,
    layout: &Layout,
    load: u32,
    initrd: u32,
    initrd_bytes: u32,
) -> [u8; BOOT_PARAMS_BYTES] {
    let mut page = [0; BOOT_PARAMS_BYTES];
    let mut set = |offset: usize, bytes: &[u8]| page[offset..offset + bytes.len()].copy_from_slice(bytes);
    set(0, &setup.raw);
    set(VID_MODE, &VIDEO_NORMAL.to_le_bytes());
    set(TYPE_OF_LOADER, &[LOADER_UNDEFINED]);
    set(CODE32_START, &load.to_le_bytes());
    set(RAMDISK_IMAGE, &initrd.to_le_bytes());
    set(RAMDISK_SIZE, &initrd_bytes.to_le_bytes());
    set(CMD_LINE_PTR, &(CMDLINE as u32).to_le_bytes());
    set(SETUP_DATA, &[0; 8]);

    // screen_info: colour text mode 3, 80x25, VGA with 256 KiB, characters 16 lines high.
    set(0x06, &[3, 80]);
    set(0x0a, &[3]);
    set(0x0e, &[25, 1, 16]);

    let (_, kib_high) = layout.kib_low_high();
    set(EXT_MEM_K, &u16::try_from(kib_high).unwrap_or(u16::MAX).to_le_bytes());
    set(ALT_MEM_K, &kib_high.to_le_bytes());
    let ranges = layout.ranges();
    set(E820_ENTRIES, &[ranges.len() as u8]);
    for (index, range) in ranges.iter().enumerate() {
        let at = E820_TABLE + 20 * index;
        set(at, &range.start.to_le_bytes());
        set(at + 8, &(range.end - range.start).to_le_bytes());
        set(at + 16, &(range.kind as u32).to_le_bytes());
    }
    page
}
