use super::*;
use crate::boot::kernel::Module;
use crate::boot::tests::images::Elf;

const RAM: u64 = 64 << 20;

fn kernel(elf: Elf, modules: &[&str]) -> Kernel {
    let modules = modules.iter().map(|text| Module { bytes: text.bytes().collect(), string: (*text).into() });
    Kernel { image: elf.build(), modules: modules.collect(), cmdline: "kernel one".into() }
}

/// Carries out a list of requests on memory that firmware has used.
fn carry_out(requests: &[u8], items: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut ram = vec![0xaa; RAM as usize];
    let (mut item, mut offset): (&[u8], usize) = (&[], 0);
    for request in requests.chunks(REQUEST_BYTES) {
        let word = |at: usize| u32::from_be_bytes(request[at..at + 4].try_into().unwrap());
        if word(0) & 8 != 0 {
            item =
                items.iter().find(|(number, _)| u32::from(*number) == word(0) >> 16).map_or(&[], |(_, b)| b);
            offset = 0;
        }
        for at in word(12)..word(12) + word(4) {
            ram[at as usize] = item.get(offset).copied().unwrap_or(0);
            offset += 1;
        }
    }
    ram
}

#[test]
fn firmware_loads_what_is_loaded_without_it() {
    let kernel = kernel(Elf { mem_size: 0x30_0000, ..Elf::default() }, &["first 1", "second"]);
    let plan = kernel.plan_for_firmware(RAM).unwrap();
    let by_firmware = carry_out(&requests(&plan), &kernel.items(RAM));
    let mut direct = vec![0; RAM as usize];
    crate::boot::load(&mut direct, &kernel).unwrap();
    for part in plan.parts.iter().filter(|part| part.at != BOOT_DATA) {
        let range = part.at as usize..(part.at + part.zeros) as usize + part.bytes.len();
        assert!(by_firmware[range.clone()] == direct[range.clone()], "{range:x?}");
    }
    // But for the memory sizes and the memory map.
    let info = BOOT_DATA as usize;
    let strings = info + 12..plan.mmap_at as usize;
    let length = info + 44 - strings.start;
    let (mut one, mut other) = (by_firmware[strings.clone()].to_vec(), direct[strings].to_vec());
    one[length..length + 4].fill(0);
    other[length..length + 4].fill(0);
    assert!(one == other);
}

#[test]
fn the_option_rom_is_whole() {
    let kernel = kernel(Elf::default(), &[]);
    assert_eq!(kernel.check(RAM), Ok(()));
    let rom = kernel.rom(RAM);
    assert_eq!(rom[..2], [0x55, 0xaa]);
    assert_eq!(rom.len(), usize::from(rom[2]) * 512);
    assert_eq!(rom.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)), 0);
    assert_eq!(kernel.rom_name(), "mb.rom");
}

#[test]
fn a_kernel_in_too_many_parts_is_refused() {
    let many = vec!["x"; REQUESTS_MAX];
    let error = kernel(Elf::default(), &many).check(RAM).unwrap_err();
    assert!(matches!(error, BootError::TooManyParts(_, REQUESTS_MAX)), "{error}");
}
