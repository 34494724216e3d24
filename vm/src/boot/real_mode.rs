//! Linux kernels by way of firmware: fw_cfg has the kernel's parts, and an option ROM that firmware boots from puts them into
//! memory and jumps to the kernel's real-mode code, which may call the BIOS.
//!
//! Source: "The Linux/x86 Boot Protocol", sections on the real-mode header and the 16-bit protocol. The numbers of the items
//! are QEMU's, so firmware that loads kernels without an option ROM finds them too.

use super::BootError;
use super::bytes::{u16_at, u32_at};
use super::kernel::Kernel;
use super::linux::{
    self, CAN_USE_HEAP, CMD_LINE_PTR, CMDLINE_SIZE, HEAP_END_PTR, INITRD_ADDR_MAX, LOADED_HIGH,
    LOADER_UNDEFINED, LOADFLAGS, RAMDISK_IMAGE, RAMDISK_SIZE, SECTOR, SETUP_SECTS, TYPE_OF_LOADER, VERSION,
    VID_MODE, VIDEO_NORMAL,
};
use super::option_rom::{self, FIRMWARE_BYTES, read_item};

/// Items of fw_cfg.
mod item {
    pub const KERNEL_ADDR: u16 = 0x07;
    pub const KERNEL_SIZE: u16 = 0x08;
    pub const INITRD_ADDR: u16 = 0x0a;
    pub const INITRD_SIZE: u16 = 0x0b;
    pub const KERNEL_DATA: u16 = 0x11;
    pub const INITRD_DATA: u16 = 0x12;
    pub const CMDLINE_ADDR: u16 = 0x13;
    pub const CMDLINE_SIZE: u16 = 0x14;
    pub const CMDLINE_DATA: u16 = 0x15;
    pub const SETUP_ADDR: u16 = 0x16;
    pub const SETUP_SIZE: u16 = 0x17;
    pub const SETUP_DATA: u16 = 0x18;
}

/// Protocols before 2.02: a magic number that says that the offset of the command line follows.
const OLD_CMDLINE_MAGIC: usize = 0x20;
/// End of what a kernel of the old protocols, or one that loads low, may use of conventional memory.
const OLD_END: u32 = 0x9_a000;
/// Protocols before 2.03 say nothing of where an initial RAM disk may be.
const OLD_INITRD_MAX: u32 = 0x37ff_ffff;

/// Where the parts go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Placed {
    /// Bytes of real-mode code in the image: boot sector and setup.
    setup_bytes: usize,
    setup: u32,
    payload: u32,
    cmdline: u32,
    initrd: u32,
}

impl Kernel {
    /// Why firmware cannot start this as Linux on a machine with so much RAM.
    pub(super) fn check_linux(&self, ram_bytes: u64) -> Result<(), BootError> {
        self.place(ram_bytes).map(|_| ())
    }

    fn version(&self) -> u16 {
        u16_at(&self.image, VERSION).unwrap_or(0)
    }

    fn place(&self, ram_bytes: u64) -> Result<Placed, BootError> {
        if !linux::is_linux(&self.image) {
            return Err(BootError::NotForFirmware);
        }
        let sectors = match self.image.get(SETUP_SECTS) {
            Some(0) | None => 4,
            Some(sectors) => usize::from(*sectors),
        };
        let setup_bytes = (sectors + 1) * SECTOR;
        if self.image.len() <= setup_bytes {
            return Err(BootError::Truncated("setup sectors"));
        }
        let max = if self.version() >= 0x206 {
            u32_at(&self.image, CMDLINE_SIZE).unwrap_or(255) as usize
        } else {
            255
        };
        let cmdline_bytes = self.cmdline.len() + 1;
        let high = self.version() >= 0x200 && self.image[LOADFLAGS] & LOADED_HIGH != 0;
        let recent = high && self.version() >= 0x202;
        let room = if recent { (OLD_END - 0x2_0000) as usize } else { 0x1000 };
        if cmdline_bytes > room.min(max.saturating_add(1)) {
            return Err(BootError::CmdlineTooLong { len: self.cmdline.len(), max: max.min(room - 1) });
        }
        let old_cmdline = OLD_END - cmdline_bytes.next_multiple_of(16) as u32;
        let (setup, payload, cmdline) = match (recent, high) {
            (true, _) => (0x1_0000, 0x10_0000, 0x2_0000),
            (false, true) => (0x9_0000, 0x10_0000, old_cmdline),
            (false, false) => (0x9_0000, 0x1_0000, old_cmdline),
        };
        let top = ram_bytes.saturating_sub(FIRMWARE_BYTES);
        let payload_bytes = (self.image.len() - setup_bytes) as u64;
        let payload_end = u64::from(payload) + payload_bytes;
        let end = if high { top } else { u64::from(setup) };
        if payload_end > end {
            let start = payload.into();
            return Err(BootError::DoesNotFit { what: "the kernel", start, size: payload_bytes, end });
        }
        let initrd_max =
            if self.version() >= 0x203 { u32_at(&self.image, INITRD_ADDR_MAX) } else { Some(OLD_INITRD_MAX) };
        let end = top.min(u64::from(initrd_max.unwrap_or(OLD_INITRD_MAX)) + 1);
        let size = self.initrd().len() as u64;
        let lowest = payload_end.max(0x10_0000);
        let initrd =
            end.checked_sub(size).map(|start| start & !0xfff).filter(|start| *start >= lowest || size == 0);
        let initrd =
            initrd.ok_or(BootError::DoesNotFit { what: "the initial RAM disk", start: lowest, size, end })?;
        Ok(Placed { setup_bytes, setup, payload, cmdline, initrd: if size == 0 { 0 } else { initrd as u32 } })
    }

    /// The real-mode code with its header filled in as a boot loader does.
    fn setup(&self, placed: &Placed) -> Vec<u8> {
        let mut setup = self.image[..placed.setup_bytes].to_vec();
        let mut set = |at: usize, bytes: &[u8]| setup[at..at + bytes.len()].copy_from_slice(bytes);
        let version = self.version();
        let offset = (placed.cmdline.wrapping_sub(placed.setup)) as u16;
        if version >= 0x202 {
            set(CMD_LINE_PTR, &placed.cmdline.to_le_bytes());
        } else {
            set(OLD_CMDLINE_MAGIC, &[0x3f, 0xa3]);
            set(OLD_CMDLINE_MAGIC + 2, &offset.to_le_bytes());
        }
        set(TYPE_OF_LOADER, &[LOADER_UNDEFINED]);
        if version >= 0x201 {
            set(LOADFLAGS, &[self.image[LOADFLAGS] | CAN_USE_HEAP]);
            // Up to the command line, or to the end of the segment; it counts from the setup code.
            let heap_end = placed.cmdline.wrapping_sub(placed.setup).min(0x1_0000) - 0x200;
            set(HEAP_END_PTR, &(heap_end as u16).to_le_bytes());
        }
        if let Some(mode) = video_mode(&self.cmdline) {
            set(VID_MODE, &mode.to_le_bytes());
        }
        set(RAMDISK_IMAGE, &placed.initrd.to_le_bytes());
        set(RAMDISK_SIZE, &(self.initrd().len() as u32).to_le_bytes());
        setup
    }

    fn cmdline_bytes(&self) -> Vec<u8> {
        [self.cmdline.as_bytes(), &[0]].concat()
    }

    /// The items of fw_cfg; none if the kernel cannot be started.
    pub(super) fn linux_items(&self, ram_bytes: u64) -> Vec<(u16, Vec<u8>)> {
        let Ok(placed) = self.place(ram_bytes) else { return Vec::new() };
        let (setup, cmdline) = (self.setup(&placed), self.cmdline_bytes());
        let payload = self.image[placed.setup_bytes..].to_vec();
        let word = |value: u32| value.to_le_bytes().to_vec();
        vec![
            (item::SETUP_ADDR, word(placed.setup)),
            (item::SETUP_SIZE, word(setup.len() as u32)),
            (item::SETUP_DATA, setup),
            (item::KERNEL_ADDR, word(placed.payload)),
            (item::KERNEL_SIZE, word(payload.len() as u32)),
            (item::KERNEL_DATA, payload),
            (item::CMDLINE_ADDR, word(placed.cmdline)),
            (item::CMDLINE_SIZE, word(cmdline.len() as u32)),
            (item::CMDLINE_DATA, cmdline),
            (item::INITRD_ADDR, word(placed.initrd)),
            (item::INITRD_SIZE, word(self.initrd().len() as u32)),
            (item::INITRD_DATA, self.initrd().to_vec()),
        ]
    }

    /// The option ROM: it enters the setup code.
    pub(super) fn linux_rom(&self, ram_bytes: u64) -> Vec<u8> {
        let Ok(placed) = self.place(ram_bytes) else { return Vec::new() };
        let mut parts = vec![
            (item::SETUP_DATA, placed.setup, placed.setup_bytes),
            (item::KERNEL_DATA, placed.payload, self.image.len() - placed.setup_bytes),
            (item::CMDLINE_DATA, placed.cmdline, self.cmdline_bytes().len()),
        ];
        if !self.initrd().is_empty() {
            parts.push((item::INITRD_DATA, placed.initrd, self.initrd().len()));
        }
        let requests: Vec<u8> =
            parts.iter().flat_map(|&(item, at, bytes)| read_item(item, at, bytes as u32)).collect();
        let segment = (placed.setup >> 4) as u16;
        // The stack grows down from the command line, or from the end of the segment.
        let stack = placed.cmdline.wrapping_sub(placed.setup).min(0x1_0000) - 16;
        option_rom::image("Linux", &requests, &enter(segment, stack as u16))
    }
}

/// 16-bit code: enters setup code.
fn enter(segment: u16, stack: u16) -> Vec<u8> {
    let [segment_low, segment_high] = segment.to_le_bytes();
    let [entry_low, entry_high] = segment.wrapping_add(0x20).to_le_bytes();
    let [stack_low, stack_high] = stack.to_le_bytes();
    [
        &[0xb8, segment_low, segment_high][..],            // mov ax, segment
        &[0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xe0, 0x8e, 0xe8], // mov ds, es, fs, gs, ax
        &[0x8e, 0xd0],                                     // mov ss, ax
        &[0x66, 0xbc, stack_low, stack_high, 0, 0],        // mov esp, stack
        &[0x66, 0x31, 0xdb, 0x66, 0x31, 0xc9, 0x66, 0x31, 0xd2], // xor ebx, ebx; ecx; edx
        &[0x66, 0x31, 0xff, 0x66, 0x31, 0xf6, 0x66, 0x31, 0xed], // xor edi, edi; esi; ebp
        &[0xea, 0, 0, entry_low, entry_high],              // jmp far entry:0
    ]
    .concat()
}

/// `vga=` of the command line, which boot loaders carry out.
fn video_mode(cmdline: &str) -> Option<u16> {
    const EXTENDED: u16 = 0xfffe;
    const ASK: u16 = 0xfffd;
    let wish = cmdline.split_whitespace().filter_map(|word| word.strip_prefix("vga=")).next_back()?;
    match wish {
        "normal" => Some(VIDEO_NORMAL),
        "ext" => Some(EXTENDED),
        "ask" => Some(ASK),
        number => match number.strip_prefix("0x") {
            Some(digits) => u16::from_str_radix(digits, 16).ok(),
            None => number.parse().ok(),
        },
    }
}

#[cfg(test)]
#[path = "tests/real_mode.rs"]
mod tests;
