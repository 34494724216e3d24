//! Multiboot kernels by way of firmware: an option ROM that firmware boots from puts the kernel and its modules into memory, asks
//! the BIOS what memory there is, and enters the kernel. So it finds chips, vectors and tables as firmware left them.
//!
//! Sources: "Multiboot Specification version 0.6.96"; for the calls to the BIOS, "ACPI Specification" 15.1 (INT 15h, E820h), and
//! Phoenix' "System BIOS for IBM PCs" (INT 12h; INT 15h, E801h).

use super::BootError;
use super::kernel::Kernel;
use super::layout::{BOOT_DATA, BOOT_DATA_END, GDT, Layout};
use super::multiboot::{
    INFO_MEM_LOWER, INFO_MEM_UPPER, INFO_MMAP_LENGTH, MMAP_ROOM, Part, Plan, STACK_ROOM, plan,
};
use super::option_rom::{self, FIRMWARE_BYTES, REQUEST_BYTES, read_item, read_on};
use super::state::{GDT_BYTES, gdt};

/// Items of fw_cfg: the contents of all parts one behind the other; one that is not there, and so all zeros.
const DATA: u16 = 0x11;
const ZEROS: u16 = 0x1f;
/// So many zeros are had in one request.
const ZEROS_MAX: u64 = 1 << 20;
/// Requests that an option ROM may have: as many as leave room for other ROMs.
const REQUESTS_MAX: usize = 1024;

impl Kernel {
    /// Why firmware cannot start this as a Multiboot kernel on a machine with so much RAM.
    pub(super) fn check_multiboot(&self, ram_bytes: u64) -> Result<(), BootError> {
        let requests = requests(&self.plan_for_firmware(ram_bytes)?).len() / REQUEST_BYTES;
        if requests > REQUESTS_MAX {
            return Err(BootError::TooManyParts(requests, REQUESTS_MAX));
        }
        Ok(())
    }

    fn plan_for_firmware(&self, ram_bytes: u64) -> Result<Plan<'_>, BootError> {
        let mut layout = Layout::new(ram_bytes)?;
        layout.usable_end = layout.usable_end.min(ram_bytes - FIRMWARE_BYTES);
        // The memory map is the BIOS's.
        let mut plan = plan(&layout, self, &[])?;
        plan.parts.push(Part { at: GDT, bytes: gdt().into(), zeros: 0 });
        Ok(plan)
    }

    /// The items of fw_cfg; none if the kernel cannot be started.
    pub(super) fn multiboot_items(&self, ram_bytes: u64) -> Vec<(u16, Vec<u8>)> {
        let Ok(plan) = self.plan_for_firmware(ram_bytes) else { return Vec::new() };
        let data: Vec<_> = plan.parts.iter().map(|part| &*part.bytes).collect();
        vec![(DATA, data.concat())]
    }

    /// The option ROM.
    pub(super) fn multiboot_rom(&self, ram_bytes: u64) -> Vec<u8> {
        let Ok(plan) = self.plan_for_firmware(ram_bytes) else { return Vec::new() };
        let mmap = (plan.mmap_at - BOOT_DATA) as u16;
        option_rom::image("Multiboot", &requests(&plan), &enter(mmap, plan.entry, plan.magic))
    }
}

/// What puts a plan into memory: zeros last, as they begin with another item.
fn requests(plan: &Plan) -> Vec<u8> {
    let mut requests = Vec::new();
    for part in plan.parts.iter().filter(|part| !part.bytes.is_empty()) {
        let request =
            |at, bytes| if requests.is_empty() { read_item(DATA, at, bytes) } else { read_on(at, bytes) };
        let request = request(part.at as u32, part.bytes.len() as u32);
        requests.extend(request);
    }
    for part in &plan.parts {
        let start = part.at + part.bytes.len() as u64;
        let end = start + part.zeros;
        for at in (start..end).step_by(ZEROS_MAX as usize) {
            requests.extend(read_item(ZEROS, at as u32, ZEROS_MAX.min(end - at) as u32));
        }
    }
    requests
}

/// 16-bit code: completes the information structure and enters the kernel. `mmap` is where the memory map is in it.
fn enter(mmap: u16, entry: u32, magic: u32) -> Vec<u8> {
    let [segment, segment_high] = ((BOOT_DATA >> 4) as u16).to_le_bytes();
    let [stack, stack_high] = ((BOOT_DATA_END - BOOT_DATA) as u16).to_le_bytes();
    let [first, first_high] = (mmap + 4).to_le_bytes();
    let [end, end_high] = (mmap + 4 + MMAP_ROOM as u16).to_le_bytes();
    let [length, length_high] = INFO_MMAP_LENGTH.to_le_bytes();
    let [lower, lower_high] = INFO_MEM_LOWER.to_le_bytes();
    let [upper, upper_high] = INFO_MEM_UPPER.to_le_bytes();
    // The stack's last bytes have been used up by then: the operand of LGDT.
    let [gdtr, gdtr_high] = ((BOOT_DATA_END - BOOT_DATA - STACK_ROOM) as u16).to_le_bytes();
    let [m0, m1, m2, m3] = magic.to_le_bytes();
    let [e0, e1, e2, e3] = entry.to_le_bytes();
    let [limit, limit_high] = (GDT_BYTES - 1).to_le_bytes();
    let [g0, g1, g2, g3] = (GDT as u32).to_le_bytes();
    let [b0, b1, b2, b3] = (BOOT_DATA as u32).to_le_bytes();
    [
        &[0xb8, segment, segment_high][..],                       // mov ax, segment
        &[0x8e, 0xd0],                                            // mov ss, ax
        &[0x66, 0xbc, stack, stack_high, 0, 0],                   // mov esp, stack
        &[0x8e, 0xd8, 0x8e, 0xc0],                                // mov ds, ax; mov es, ax
        &[0xbf, first, first_high],                               // mov di, first
        &[0x66, 0x31, 0xdb],                                      // xor ebx, ebx
        &[0x66, 0xb8, 0x20, 0xe8, 0, 0],                          // next: mov eax, 0xe820
        &[0x66, 0xba, 0x50, 0x41, 0x4d, 0x53],                    // mov edx, "SMAP"
        &[0x66, 0xb9, 20, 0, 0, 0],                               // mov ecx, 20
        &[0xcd, 0x15],                                            // int 0x15
        &[0x72, 0x16],                                            // jc done
        &[0x66, 0xc7, 0x45, 0xfc, 20, 0, 0, 0],                   // mov dword [di - 4], 20
        &[0x83, 0xc7, 24],                                        // add di, 24
        &[0x81, 0xff, end, end_high],                             // cmp di, end
        &[0x73, 0x05],                                            // jae done
        &[0x66, 0x85, 0xdb],                                      // test ebx, ebx
        &[0x75, 0xd4],                                            // jnz next
        &[0x81, 0xef, first, first_high],                         // done: sub di, first
        &[0x89, 0x3e, length, length_high],                       // mov [length], di
        &[0xcd, 0x12],                                            // int 0x12
        &[0xa3, lower, lower_high],                               // mov [lower], ax
        &[0xb8, 0x01, 0xe8],                                      // mov ax, 0xe801
        &[0xcd, 0x15],                                            // int 0x15
        &[0x66, 0x0f, 0xb7, 0xc0],                                // movzx eax, ax: KiB from 1 to 16 MiB
        &[0x66, 0x0f, 0xb7, 0xdb],                                // movzx ebx, bx: 64 KiB from there on
        &[0x66, 0xc1, 0xe3, 6],                                   // shl ebx, 6
        &[0x66, 0x01, 0xd8],                                      // add eax, ebx
        &[0x66, 0xa3, upper, upper_high],                         // mov [upper], eax
        &[0xc7, 0x06, gdtr, gdtr_high, limit, limit_high],        // mov word [gdtr], limit
        &[0x66, 0xc7, 0x06, gdtr + 2, gdtr_high, g0, g1, g2, g3], // mov dword [gdtr + 2], GDT
        &[0x0f, 0x01, 0x16, gdtr, gdtr_high],                     // lgdt [gdtr]
        &[0x0f, 0x20, 0xc0],                                      // mov eax, cr0
        &[0x0c, 0x01],                                            // or al, 1
        &[0x0f, 0x22, 0xc0],                                      // mov cr0, eax
        &[0xb8, 0x18, 0],                                         // mov ax, 0x18
        &[0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xe0, 0x8e, 0xe8],        // mov ds, es, fs, gs, ax
        &[0x8e, 0xd0],                                            // mov ss, ax
        &[0x66, 0xbc, b0, b1, b2, b3],                            // mov esp, BOOT_DATA
        &[0x66, 0xb8, m0, m1, m2, m3],                            // mov eax, magic
        &[0x66, 0xbb, b0, b1, b2, b3],                            // mov ebx, BOOT_DATA
        &[0x66, 0xea, e0, e1, e2, e3, 0x10, 0],                   // jmp 0x10:entry
    ]
    .concat()
}

#[cfg(test)]
#[path = "tests/multiboot_rom.rs"]
mod tests;
