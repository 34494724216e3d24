use super::*;
use crate::boot::tests::images::BzImage;
use iced_x86::{Decoder, DecoderOptions, Formatter, IntelFormatter};

const RAM: u64 = 64 << 20;

fn kernel(image: BzImage, cmdline: &str) -> Kernel {
    Kernel::new(&image.build(), Some(&[7; 5000]), cmdline)
}

fn item(kernel: &Kernel, number: u16) -> Vec<u8> {
    kernel.items(RAM).into_iter().find(|(item, _)| *item == number).expect("all items are there").1
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32_at(bytes, at).unwrap()
}

#[test]
fn a_kernel_comes_in_parts_with_its_header_filled_in() {
    let kernel = kernel(BzImage::default(), "quiet vga=0x301");
    let setup = item(&kernel, item::SETUP_DATA);
    assert_eq!(setup.len(), 1024);
    assert_eq!(item(&kernel, item::KERNEL_DATA), BzImage::default().payload);
    assert_eq!(item(&kernel, item::CMDLINE_DATA), b"quiet vga=0x301\0");
    assert_eq!(word(&setup, CMD_LINE_PTR), 0x2_0000);
    assert_eq!(setup[TYPE_OF_LOADER], 0xff);
    assert_eq!(setup[LOADFLAGS], 0x81);
    assert_eq!(u16_at(&setup, HEAP_END_PTR), Some(0xfe00));
    assert_eq!(u16_at(&setup, VID_MODE), Some(0x301));
    let initrd = (RAM - FIRMWARE_BYTES) as u32 - 8192;
    assert_eq!((word(&setup, RAMDISK_IMAGE), word(&setup, RAMDISK_SIZE)), (initrd, 5000));
    assert_eq!(item(&kernel, item::INITRD_ADDR), initrd.to_le_bytes());
}

#[test]
fn old_kernels_have_their_command_line_in_the_segment() {
    let old = kernel(BzImage { version: 0x201, loadflags: 0, ..BzImage::default() }, "root=/dev/fd0");
    let setup = item(&old, item::SETUP_DATA);
    assert_eq!(item(&old, item::SETUP_ADDR), 0x9_0000u32.to_le_bytes());
    assert_eq!(item(&old, item::KERNEL_ADDR), 0x1_0000u32.to_le_bytes());
    assert_eq!(u16_at(&setup, 0x20), Some(0xa33f));
    assert_eq!(u16_at(&setup, 0x22), Some(0x9ff0));
    assert_eq!(u16_at(&setup, HEAP_END_PTR), Some(0x9df0));
}

#[test]
fn what_cannot_be_started_is_refused() {
    let check = |kernel: Kernel| kernel.check(RAM);
    assert_eq!(
        check(Kernel { image: vec![0; 4096], ..kernel(BzImage::default(), "") }),
        Err(BootError::NotForFirmware)
    );
    assert!(matches!(
        check(kernel(BzImage::default(), &"x".repeat(2048))),
        Err(BootError::CmdlineTooLong { max: 2047, .. })
    ));
    let low = BzImage { loadflags: 0, payload: vec![0; 0x8_0001], ..BzImage::default() };
    assert!(matches!(check(kernel(low, "")), Err(BootError::DoesNotFit { what: "the kernel", .. })));
    let large = Kernel::new(&BzImage::default().build(), Some(&vec![0; RAM as usize]), "");
    assert!(matches!(check(large), Err(BootError::DoesNotFit { what: "the initial RAM disk", .. })));
    let short =
        Kernel { image: BzImage::default().build()[..1024].to_vec(), ..kernel(BzImage::default(), "") };
    assert!(matches!(check(short), Err(BootError::Truncated(_))));
}

#[test]
fn a_kernel_that_starts_in_real_mode_is_known() {
    let image = |image: BzImage| linux::needs_firmware(&image.build());
    assert!(!image(BzImage::default()));
    assert!(image(BzImage { version: 0x201, ..BzImage::default() }));
    assert!(image(BzImage { loadflags: 0, ..BzImage::default() }));
    let mut no_entry = BzImage { relocatable: 0, ..BzImage::default() }.build();
    no_entry[0x214..0x218].fill(0);
    assert!(linux::needs_firmware(&no_entry));
    assert!(!linux::needs_firmware(b"\xf4"));
}

#[test]
fn the_option_rom_adds_up_to_zero_and_says_where_it_boots() {
    let rom = kernel(BzImage::default(), "").rom(RAM);
    assert_eq!(rom[..2], [0x55, 0xaa]);
    assert_eq!(rom.len(), usize::from(rom[2]) * 512);
    let sum = |bytes: &[u8]| bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    assert_eq!(sum(&rom), 0);
    let pnp = usize::from(u16_at(&rom, 0x1a).unwrap());
    assert_eq!(rom[pnp..pnp + 4], *b"$PnP");
    assert_eq!(sum(&rom[pnp..pnp + 32]), 0);
    let name = usize::from(u16_at(&rom, pnp + 0x10).unwrap());
    assert_eq!(rom[name..name + 6], *b"Linux\0");
}

#[test]
fn the_option_rom_makes_its_requests_and_enters_the_setup_code() {
    let rom = kernel(BzImage::default(), "").rom(RAM);
    let entry = u16_at(&rom, 0x3a).unwrap();
    let mut decoder = Decoder::with_ip(16, &rom[usize::from(entry)..], entry.into(), DecoderOptions::NONE);
    let (mut text, mut formatter) = (Vec::new(), IntelFormatter::new());
    loop {
        let instruction = decoder.decode();
        let mut line = String::new();
        formatter.format(&instruction, &mut line);
        text.push(line);
        if instruction.is_jmp_far() || instruction.is_invalid() {
            break;
        }
    }
    let requests = rom.windows(4).position(|bytes| bytes == [0, 0x18, 0, 0x0a]).expect("a request");
    assert_eq!(requests % 16, 0);
    let add = format!("add eax,0{requests:X}h");
    let expected = [
        "cli",
        "cld",
        "xor eax,eax",
        "mov ax,cs",
        "shl eax,4",
        &add,
        "mov dx,518h",
        "mov cx,4",
        "mov ebx,eax",
        "bswap ebx",
        "xchg ebx,eax",
        "out dx,eax",
        "lea eax,[ebx+10h]",
        "loop 005Dh",
        "mov ax,1000h",
        "mov ds,ax",
        "mov es,ax",
        "mov fs,ax",
        "mov gs,ax",
        "mov ss,ax",
        "mov esp,0FFF0h",
        "xor ebx,ebx",
        "xor ecx,ecx",
        "xor edx,edx",
        "xor edi,edi",
        "xor esi,esi",
        "xor ebp,ebp",
        "jmp far 0,1020h",
    ];
    assert_eq!(text, expected);
}
