//! The option ROMs that start kernels: a list of finished requests to the DMA interface of fw_cfg, code that makes them, and
//! code that enters the kernel.
//!
//! Source: "Plug and Play BIOS Specification" 1.0a, "Option ROM" (bootstrap entry vector).

/// The end of RAM belongs to firmware: its tables, and what it works with.
pub const FIRMWARE_BYTES: u64 = 256 << 10;
/// Bytes of a request.
pub const REQUEST_BYTES: usize = 16;

const PNP: usize = 0x20;
const PNP_BYTES: usize = 0x20;
const NAME: usize = PNP + PNP_BYTES;
const BLOCK: usize = 512;

/// A request to read on in the item that is selected: control, length, address, big endian.
pub fn read_on(address: u32, bytes: u32) -> Vec<u8> {
    const READ: u32 = 0x02;
    request(READ, address, bytes)
}

/// A request to select and read an item.
pub fn read_item(item: u16, address: u32, bytes: u32) -> Vec<u8> {
    const SELECT_READ: u32 = 0x08 | 0x02;
    request(u32::from(item) << 16 | SELECT_READ, address, bytes)
}

fn request(control: u32, address: u32, bytes: u32) -> Vec<u8> {
    let mut request = [control.to_be_bytes(), bytes.to_be_bytes()].concat();
    request.extend(u64::from(address).to_be_bytes());
    request
}

/// Puts a ROM together: it makes `requests` and goes on with the code `enter`.
pub fn image(name: &str, requests: &[u8], enter: &[u8]) -> Vec<u8> {
    let count = (requests.len() / REQUEST_BYTES) as u16;
    let entry = NAME + name.len() + 1;
    let code_bytes = load_code(0, count).len() + enter.len();
    let requests_at = (entry + code_bytes).next_multiple_of(16);

    let mut rom = vec![0x55, 0xaa, 0, 0xcb]; // the length follows; initialisation: RETF
    rom.resize(0x1a, 0);
    rom.extend((PNP as u16).to_le_bytes());
    rom.resize(PNP, 0);
    rom.extend(b"$PnP\x01"); // version 1
    rom.push((PNP_BYTES / 16) as u8);
    rom.resize(PNP + 0x10, 0);
    rom.extend((NAME as u16).to_le_bytes()); // product
    rom.resize(PNP + 0x1a, 0);
    rom.extend((entry as u16).to_le_bytes()); // bootstrap entry vector
    rom.resize(NAME, 0);
    rom.extend(name.as_bytes());
    rom.push(0);
    rom.extend(load_code(requests_at as u16, count));
    rom.extend(enter);
    rom.resize(requests_at, 0);
    rom.extend(requests);
    rom.resize(rom.len().next_multiple_of(BLOCK), 0);
    rom[2] = (rom.len() / BLOCK) as u8;
    for range in [PNP..PNP + PNP_BYTES, 0..rom.len()] {
        let sum = rom[range.clone()].iter().fold(0u8, |sum, byte| sum.wrapping_sub(*byte));
        let at = if range.start == PNP { PNP + 9 } else { rom.len() - 1 };
        rom[at] = sum;
    }
    rom
}

/// 16-bit code: makes `count` requests that lie at offset `requests` of its segment.
fn load_code(requests: u16, count: u16) -> Vec<u8> {
    let [requests_low, requests_high] = requests.to_le_bytes();
    let [count_low, count_high] = count.to_le_bytes();
    [
        &[0xfa, 0xfc][..],                                // cli; cld
        &[0x66, 0x31, 0xc0],                              // xor eax, eax
        &[0x8c, 0xc8],                                    // mov ax, cs
        &[0x66, 0xc1, 0xe0, 4],                           // shl eax, 4
        &[0x66, 0x05, requests_low, requests_high, 0, 0], // add eax, requests
        &[0xba, 0x18, 0x05],                              // mov dx, 0x518
        &[0xb9, count_low, count_high],                   // mov cx, count
        &[0x66, 0x89, 0xc3],                              // next: mov ebx, eax
        &[0x66, 0x0f, 0xcb],                              // bswap ebx
        &[0x66, 0x93],                                    // xchg eax, ebx
        &[0x66, 0xef],                                    // out dx, eax
        &[0x67, 0x66, 0x8d, 0x43, 16],                    // lea eax, [ebx + 16]
        &[0xe2, 0xef],                                    // loop next
    ]
    .concat()
}
