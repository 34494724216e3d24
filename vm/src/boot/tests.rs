//! Kernels made by hand, whole and broken.

use super::bytes::{u16_at, u32_at, u64_at};
use super::*;
use crate::cpu::state::seg;

mod broken;
pub(super) mod images;
use images::{BzImage, Elf, aout_kludge};

const MIB: usize = 1 << 20;

fn load(ram: &mut [u8], image: &[u8], module: Option<&[u8]>, cmdline: &str) -> Result<CpuState, BootError> {
    super::load(ram, &Kernel::new(image, module, cmdline))
}

fn ram(mib: usize) -> Vec<u8> {
    vec![0; mib * MIB]
}

fn u32_in(ram: &[u8], addr: u64) -> u32 {
    u32_at(ram, addr as usize).unwrap()
}

fn bytes_in(ram: &[u8], addr: u64, len: usize) -> &[u8] {
    &ram[addr as usize..addr as usize + len]
}

fn c_string(ram: &[u8], addr: u32) -> &str {
    let rest = &ram[addr as usize..];
    std::str::from_utf8(&rest[..rest.iter().position(|&byte| byte == 0).unwrap()]).unwrap()
}

/// (start, end, kind) of each E820 entry of the zero page.
fn e820(ram: &[u8], params: u64) -> Vec<(u64, u64, u32)> {
    let params = bytes_in(ram, params, 4096);
    (0..usize::from(params[0x1e8]))
        .map(|index| {
            let at = 0x2d0 + 20 * index;
            let (start, len) = (u64_at(params, at).unwrap(), u64_at(params, at + 8).unwrap());
            (start, start + len, u32_at(params, at + 16).unwrap())
        })
        .collect()
}

#[test]
fn a_relocatable_linux_kernel_goes_to_its_preferred_address() {
    let mut ram = ram(64);
    let image = BzImage::default();
    let state = load(&mut ram, &image.build(), None, "console=ttyS0").unwrap();

    assert_eq!(state.rip, 0x100_0000);
    assert_eq!(bytes_in(&ram, state.rip, image.payload.len()), image.payload);
    let params = state.gpr[6];
    assert_eq!(c_string(&ram, u32_in(&ram, params + 0x228)), "console=ttyS0");
    assert_eq!(bytes_in(&ram, params + 0x202, 4), b"HdrS");
    assert_eq!(ram[params as usize + 0x210], 0xff);
    assert_eq!(u32_in(&ram, params + 0x214), 0x100_0000);
    assert_eq!((u32_in(&ram, params + 0x218), u32_in(&ram, params + 0x21c)), (0, 0));
    assert_eq!([state.gpr[3], state.gpr[5], state.gpr[7]], [0; 3], "EBX, EBP, EDI");
}

#[test]
fn a_kernel_is_entered_in_flat_protected_mode_with_a_matching_gdt() {
    let mut ram = ram(64);
    let state = load(&mut ram, &BzImage::default().build(), None, "").unwrap();

    assert_eq!(state.cr0 & 0x8000_0001, 1, "PE on, PG off");
    assert_eq!(state.rflags, 2);
    assert_eq!(state.code_bits(), 32);
    assert_eq!([state.seg[seg::CS].selector, state.seg[seg::SS].selector], [0x10, 0x18]);
    for segment in state.seg {
        assert_eq!((segment.base, segment.limit), (0, 0xffff_ffff));
        assert!(segment.selector <= state.gdtr.limit);
        let descriptor = u64_at(&ram, state.gdtr.base as usize + usize::from(segment.selector)).unwrap();
        assert_eq!((descriptor >> 32) as u32 & 0x00f0_ff00, segment.flags);
        assert_eq!(
            descriptor & 0xff0f_0000_00ff_ffff & !0xffff,
            0x000f_0000_0000_0000,
            "base 0, limit 4 GiB"
        );
    }
}

#[test]
fn a_kernel_that_cannot_be_relocated_is_loaded_at_code32_start() {
    let mut ram = ram(64);
    let image = BzImage { relocatable: 0, ..BzImage::default() };
    let state = load(&mut ram, &image.build(), None, "").unwrap();
    assert_eq!(state.rip, 0x10_0000);
    assert_eq!(bytes_in(&ram, 0x10_0000, image.payload.len()), image.payload);
}

#[test]
fn alignment_moves_a_kernel_up_and_memory_needs_keep_it_out() {
    let kernel = BzImage { alignment: 0x60_0000, ..BzImage::default() }.build();
    assert_eq!(load(&mut ram(64), &kernel, None, "").unwrap().rip, 0x120_0000);
    let error = load(&mut ram(16), &kernel, None, "").unwrap_err();
    assert!(matches!(error, BootError::DoesNotFit { what: "the kernel", .. }), "{error}");
}

#[test]
fn setup_sects_zero_means_four() {
    let four = BzImage { setup_sects: 4, ..BzImage::default() };
    let zero = {
        let mut kernel = four.build();
        kernel[0x1f1] = 0;
        kernel
    };
    let (mut ram_four, mut ram_zero) = (ram(64), ram(64));
    load(&mut ram_four, &four.build(), None, "").unwrap();
    load(&mut ram_zero, &zero, None, "").unwrap();
    assert_eq!(ram_four[0x100_0000..0x101_0000], ram_zero[0x100_0000..0x101_0000]);
}

#[test]
fn old_protocols_get_the_defaults_of_their_time() {
    let image = BzImage { version: 0x202, relocatable: 1, ..BzImage::default() };
    let state = load(&mut ram(64), &image.build(), None, &"a".repeat(255)).unwrap();
    assert_eq!(state.rip, 0x10_0000, "relocatable_kernel is a field of 2.05");
    let error = load(&mut ram(64), &image.build(), None, &"a".repeat(256)).unwrap_err();
    assert_eq!(error, BootError::CmdlineTooLong { len: 256, max: 255 });

    let image = BzImage { version: 0x201, ..BzImage::default() };
    assert_eq!(load(&mut ram(64), &image.build(), None, ""), Err(BootError::LinuxTooOld(0x201)));
    let image = BzImage { loadflags: 0, ..BzImage::default() };
    assert_eq!(load(&mut ram(64), &image.build(), None, ""), Err(BootError::LinuxLow));
}

#[test]
fn the_initial_ram_disk_goes_as_high_as_the_kernel_allows() {
    let initrd: Vec<u8> = (0..10_000).map(|n| n as u8).collect();
    for (max, expected) in [(0x7fff_ffff, 64 * MIB - 0x1_0000 - 12288), (0x2ff_ffff, 0x300_0000 - 12288)] {
        let mut ram = ram(64);
        let image = BzImage { initrd_addr_max: max, ..BzImage::default() };
        let state = load(&mut ram, &image.build(), Some(&initrd), "").unwrap();
        let at = u32_in(&ram, state.gpr[6] + 0x218);
        assert_eq!(at as usize, expected);
        assert_eq!(u32_in(&ram, state.gpr[6] + 0x21c), 10_000);
        assert_eq!(bytes_in(&ram, at.into(), 10_000), initrd);
    }
}

#[test]
fn a_ram_disk_that_does_not_fit_above_the_kernel_is_refused() {
    let kernel = BzImage::default().build();
    for (ram_mib, initrd) in [(24, vec![0; 8 * MIB]), (24, vec![0; 30 * MIB])] {
        let error = load(&mut ram(ram_mib), &kernel, Some(&initrd), "").unwrap_err();
        assert!(matches!(error, BootError::DoesNotFit { what: "the initial RAM disk", .. }), "{error}");
    }
    let low = BzImage { initrd_addr_max: 0xff_ffff, ..BzImage::default() }.build();
    assert!(load(&mut ram(64), &low, Some(&[1]), "").is_err());
}

#[test]
fn the_memory_map_covers_ram_once_and_sets_tables_apart() {
    let mut ram = ram(64);
    let state = load(&mut ram, &BzImage::default().build(), None, "").unwrap();
    let map = e820(&ram, state.gpr[6]);
    assert_eq!(map[0], (0, 0x9_fc00, 1));
    assert_eq!(map[1], (0x9_fc00, 0xa_0000, 2));
    assert_eq!(map.last().unwrap().1, 64 * MIB as u64);
    assert!(map.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{map:x?}");
    assert_eq!(u32_in(&ram, state.gpr[6] + 0x1e0), (63 << 10) - 64, "KiB above 1 MiB");
}

#[test]
fn a_multiboot_elf_is_loaded_by_physical_address() {
    let mut ram = ram(16);
    ram[0x20_0000..0x20_3000].fill(0xaa);
    let elf = Elf { vaddr: 0xc020_0000, paddr: 0x20_0000, entry: 0xc020_0010, ..Elf::default() };
    let state = load(&mut ram, &elf.build(), Some(b"module!"), "one two").unwrap();

    assert_eq!(state.rip, 0x20_0010, "the entry point is translated like its segment");
    assert_eq!(state.gpr[0], 0x2bad_b002);
    assert_eq!(bytes_in(&ram, 0x20_0000, elf.code.len()), elf.code);
    let bss = &ram[0x20_0000 + elf.code.len()..0x20_0000 + elf.mem_size as usize];
    assert!(bss.iter().all(|&byte| byte == 0), "bss is cleared");

    let info = state.gpr[3];
    assert_eq!(u32_in(&ram, info), 1 << 0 | 1 << 2 | 1 << 3 | 1 << 6 | 1 << 9);
    assert_eq!(u32_in(&ram, info + 4), 639);
    assert_eq!(u32_in(&ram, info + 8), (15 << 10) - 64);
    assert_eq!(c_string(&ram, u32_in(&ram, info + 16)), "one two");
    assert_eq!(c_string(&ram, u32_in(&ram, info + 64)), "Retrograde");
    assert_eq!(u32_in(&ram, info + 20), 1);
    let module = u64::from(u32_in(&ram, info + 24));
    let (start, end) = (u32_in(&ram, module), u32_in(&ram, module + 4));
    assert_eq!(start % 4096, 0);
    assert!(start >= 0x20_0000 + elf.mem_size);
    assert_eq!(bytes_in(&ram, start.into(), (end - start) as usize), b"module!");
}

#[test]
fn the_multiboot_memory_map_can_be_walked() {
    let mut ram = ram(16);
    let state = load(&mut ram, &Elf::default().build(), None, "").unwrap();
    let info = state.gpr[3];
    assert_eq!(u32_in(&ram, info) & 1 << 3, 0, "no modules");
    let (len, mut at) = (u32_in(&ram, info + 44), u64::from(u32_in(&ram, info + 48)));
    let (end, mut usable) = (at + u64::from(len), 0);
    while at < end {
        if u32_in(&ram, at + 20) == 1 {
            usable += u64_at(&ram, at as usize + 12).unwrap();
        }
        at += 4 + u64::from(u32_in(&ram, at));
    }
    assert_eq!(at, end);
    assert_eq!(usable, 0x9_fc00 + (15 << 20) - 0x1_0000);
}

#[test]
fn multiboot_modules_and_command_lines_that_do_not_fit_are_refused() {
    let kernel = Elf::default().build();
    let error = load(&mut ram(4), &kernel, Some(&vec![0; 3 * MIB]), "").unwrap_err();
    assert!(matches!(error, BootError::DoesNotFit { what: "the module", .. }), "{error}");
    let error = load(&mut ram(4), &kernel, None, &"x".repeat(0x1_0000)).unwrap_err();
    assert!(matches!(error, BootError::CmdlineTooLong { len: 0x1_0000, .. }), "{error}");
}

#[test]
fn address_fields_go_before_elf_headers() {
    let mut ram = ram(16);
    let image = aout_kludge(0x20_0000, 0x20_0020);
    let state = load(&mut ram, &image, None, "").unwrap();
    assert_eq!(state.rip, 0x20_0020);
    assert_eq!(state.gpr[0], 0x2bad_b002);
    assert_eq!(bytes_in(&ram, 0x20_0000, 64), &image[4..68], "the image starts four bytes into the file");
}

#[test]
fn what_multiboot_cannot_start_is_refused_with_the_reason() {
    let refuse = |elf: Elf| load(&mut ram(16), &elf.build(), None, "").unwrap_err();
    assert_eq!(refuse(Elf { class: 2, ..Elf::default() }), BootError::Elf64);
    assert_eq!(refuse(Elf { magic: 0, ..Elf::default() }), BootError::ElfNotMultiboot);
    assert_eq!(refuse(Elf { flags: 0x8, ..Elf::default() }), BootError::MultibootFlags(8));
    assert_eq!(refuse(Elf { entry: 0x30_0000, ..Elf::default() }), BootError::EntryOutside(0x30_0000));
    assert!(matches!(refuse(Elf { paddr: 0xb_8000, ..Elf::default() }), BootError::Overlap { .. }));
    assert!(matches!(refuse(Elf { paddr: 0xf00_0000, ..Elf::default() }), BootError::DoesNotFit { .. }));
    assert!(matches!(refuse(Elf { mem_size: 4, ..Elf::default() }), BootError::ElfKind(_)));
    assert!(matches!(refuse(Elf { machine: 62, ..Elf::default() }), BootError::ElfKind(_)));
}

#[test]
fn anything_else_is_a_flat_binary_at_one_mebibyte() {
    let mut ram = ram(2);
    let state = load(&mut ram, b"\xf4\xeb\xfd", None, "hello").unwrap();
    assert_eq!((state.rip, state.gpr[0]), (0x10_0000, 0));
    assert_eq!(bytes_in(&ram, 0x10_0000, 3), b"\xf4\xeb\xfd");
    assert_eq!(c_string(&ram, u32_in(&ram, state.gpr[3] + 16)), "hello");
    let error = load(&mut ram, &vec![0x90; MIB], None, "").unwrap_err();
    assert!(matches!(error, BootError::DoesNotFit { .. }));
    assert_eq!(load(&mut ram, b"", None, ""), Err(BootError::Empty));
    let tiny = load(&mut vec![0; MIB], b"\xf4", None, "").unwrap_err();
    assert!(matches!(tiny, BootError::RamTooSmall { .. }));
}

#[test]
fn acpi_tables_are_found_from_the_root_pointer_and_add_up_to_zero() {
    let mut ram = ram(16);
    load(&mut ram, b"\xf4", None, "").unwrap();
    let sum = |addr: u64, len: usize| bytes_in(&ram, addr, len).iter().fold(0u8, |a, b| a.wrapping_add(*b));
    let follow = |at: u64, signature: &[u8]| {
        let addr = u64::from(u32_in(&ram, at));
        let len = u32_in(&ram, addr + 4) as usize;
        assert_eq!(bytes_in(&ram, addr, 4), signature);
        assert!(addr >= 16 * MIB as u64 - 0x1_0000);
        if signature != b"FACS" {
            assert_eq!(sum(addr, len), 0, "{}", String::from_utf8_lossy(signature));
        }
        addr
    };
    let rsdp = (0xe_0000..0x10_0000).step_by(16).find(|&at| bytes_in(&ram, at, 8) == b"RSD PTR ").unwrap();
    assert_eq!(sum(rsdp, 20), 0);
    let rsdt = follow(rsdp + 16, b"RSDT");
    let fadt = follow(rsdt + 36, b"FACP");
    let facs = follow(fadt + 36, b"FACS");
    let dsdt = follow(fadt + 40, b"DSDT");
    assert_eq!(facs % 64, 0);
    assert_eq!(u32_in(&ram, fadt + 64), 0x604);
    assert_eq!(u32_in(&ram, fadt + 48), 0xb2);
    let aml = bytes_in(&ram, dsdt + 36, u32_in(&ram, dsdt + 4) as usize - 36);
    assert!(aml.ends_with(b"\x08\\_S5_\x12\x06\x04\0\0\0\0"), "soft off is sleep type 0");
}

#[test]
fn the_bios_data_area_has_serial_port_and_memory_size() {
    let mut ram = ram(16);
    load(&mut ram, b"\xf4", None, "").unwrap();
    assert_eq!(u16_at(&ram, 0x400), Some(0x3f8));
    assert_eq!(u16_at(&ram, 0x413), Some(639));
    assert_eq!(u16_at(&ram, 0x40e), Some(0x9fc0));
}

#[test]
fn power_on_is_as_the_manual_says() {
    let state = reset_state();
    assert_eq!(state.linear_pc(), 0xffff_fff0);
    assert_eq!(state.code_bits(), 16);
    assert_eq!((state.cr0, state.rflags, state.mxcsr), (0x6000_0010, 2, 0x1f80));
    assert_eq!((state.dr[6], state.dr[7]), (0xffff_0ff0, 0x400));
    assert_eq!((state.fpu.control, state.fpu.status, state.fpu.tag), (0x40, 0, 0xff));
    assert_eq!(state.msr.pat, 0x0007_0406_0007_0406);
    assert!(state.seg.iter().all(|segment| segment.limit == 0xffff));
}
