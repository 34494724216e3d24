//! No header, however damaged, may do more than be refused.

use super::*;

/// Damaged images are loaded into little RAM, so that clearing it each time stays cheap.
const RAM_BYTES: usize = 20 * MIB;

fn images() -> [(&'static str, Vec<u8>); 3] {
    [
        ("linux", BzImage::default().build()),
        ("elf", Elf::default().build()),
        ("addresses", aout_kludge(0x20_0000, 0x20_0020)),
    ]
}

/// Loads an image that may be nonsense; where it is accepted, the entry must lie in RAM.
fn try_load(ram: &mut [u8], image: &[u8], what: &str) {
    if let Ok(state) = load(ram, image, Some(b"initrd"), "quiet") {
        assert!(state.rip < ram.len() as u64, "{what}: entered at {:#x}", state.rip);
        assert_eq!(state.code_bits(), 32);
    }
}

#[test]
fn truncated_images_are_loaded_or_refused() {
    let mut ram = vec![0; RAM_BYTES];
    for (name, image) in images() {
        for len in 0..image.len() {
            try_load(&mut ram, &image[..len], &format!("{name} cut to {len}"));
        }
    }
}

#[test]
fn a_truncated_linux_kernel_is_refused_as_such() {
    let image = BzImage::default().build();
    let mut ram = vec![0; RAM_BYTES];
    for len in [0x206, 0x230, 0x263, 0x300, 1024, image.len() - 16] {
        let error = load(&mut ram, &image[..len], None, "").unwrap_err();
        assert!(matches!(error, BootError::Truncated(_)), "cut to {len}: {error}");
    }
}

#[test]
fn single_bit_flips_are_loaded_or_refused() {
    let mut ram = vec![0; RAM_BYTES];
    for (name, image) in images() {
        let header = image.len().min(0x290);
        for bit in 0..header * 8 {
            let mut image = image.clone();
            image[bit / 8] ^= 1 << (bit % 8);
            try_load(&mut ram, &image, &format!("{name}, bit {bit}"));
        }
    }
}

#[test]
fn fields_of_all_ones_or_zeros_are_loaded_or_refused() {
    let mut ram = vec![0; RAM_BYTES];
    for (name, image) in images() {
        for at in 0..image.len().min(0x290) - 8 {
            for (value, len) in [(0xff, 2), (0xff, 4), (0xff, 8), (0, 4), (0x7f, 4)] {
                let mut image = image.clone();
                image[at..at + len].fill(value);
                try_load(&mut ram, &image, &format!("{name}, {len} bytes {value:#x} at {at:#x}"));
            }
        }
    }
}

#[test]
fn many_segments_over_the_same_memory_are_refused_at_once() {
    let mut image = Elf { mem_size: 18 << 20, ..Elf::default() }.build();
    image[42..44].copy_from_slice(&32u16.to_le_bytes());
    image[44..46].copy_from_slice(&2000u16.to_le_bytes());
    let table = image.len() as u32;
    image[28..32].copy_from_slice(&table.to_le_bytes());
    let header: [u8; 32] = image[52..84].try_into().unwrap();
    for _ in 0..2000 {
        image.extend_from_slice(&header);
    }
    let error = load(&mut vec![0; RAM_BYTES], &image, None, "").unwrap_err();
    assert!(matches!(error, BootError::DoesNotFit { .. }), "{error}");
}
