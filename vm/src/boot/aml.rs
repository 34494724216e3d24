//! ACPI Machine Language, as much of it as our tables need ("Advanced Configuration and Power Interface Specification",
//! revision 2.0, chapter 17; resource descriptors: section 6.4). Every function returns the bytes of one term.

/// A name of at most four characters as a name segment, or a path from the root: `\_SB.PCI0`.
pub fn name_string(path: &str) -> Vec<u8> {
    const DUAL_NAME: u8 = 0x2e;
    const MULTI_NAME: u8 = 0x2f;
    let (root, segments) = match path.strip_prefix('\\') {
        Some(rest) => (true, rest),
        None => (false, path),
    };
    let segments: Vec<&str> = segments.split('.').collect();
    let mut bytes = if root { vec![b'\\'] } else { Vec::new() };
    match segments.len() {
        1 => {}
        2 => bytes.push(DUAL_NAME),
        count => bytes.extend_from_slice(&[MULTI_NAME, count as u8]),
    }
    for segment in segments {
        bytes.extend_from_slice(segment.as_bytes());
        bytes.resize(bytes.len() + 4usize.saturating_sub(segment.len()), b'_');
    }
    bytes
}

/// An integer constant.
pub fn integer(value: u32) -> Vec<u8> {
    match value {
        0 | 1 => vec![value as u8],
        2..=0xff => vec![0x0a, value as u8],
        _ => [&[0x0c], &value.to_le_bytes()[..]].concat(),
    }
}

/// A string constant of ASCII characters.
pub fn string(text: &str) -> Vec<u8> {
    [&[0x0d], text.as_bytes(), &[0]].concat()
}

/// A plug-and-play identifier in its compressed form (EISAID).
pub fn eisa_id(id: &str) -> Vec<u8> {
    let (letters, product) = id.split_at(3);
    let vendor = letters.bytes().fold(0, |packed: u16, letter| packed << 5 | u16::from(letter & 0x1f));
    let product = u16::from_str_radix(product, 16).expect("four hexadecimal digits");
    integer(u32::from(vendor.swap_bytes()) | u32::from(product.swap_bytes()) << 16)
}

/// `Name (name, value)`.
pub fn name(name: &str, value: &[u8]) -> Vec<u8> {
    [&[0x08], &name_string(name)[..], value].concat()
}

/// `Package () { elements }`.
pub fn package(elements: &[Vec<u8>]) -> Vec<u8> {
    with_length(&[0x12], &[&[elements.len() as u8], &elements.concat()[..]].concat())
}

/// `Buffer () { bytes }`.
pub fn buffer(bytes: &[u8]) -> Vec<u8> {
    with_length(&[0x11], &[&integer(bytes.len() as u32), bytes].concat())
}

/// `Scope (path) { terms }`.
pub fn scope(path: &str, terms: &[Vec<u8>]) -> Vec<u8> {
    with_length(&[0x10], &[name_string(path), terms.concat()].concat())
}

/// `Device (name) { terms }`.
pub fn device(name: &str, terms: &[Vec<u8>]) -> Vec<u8> {
    with_length(&[0x5b, 0x82], &[name_string(name), terms.concat()].concat())
}

/// `Processor (name, 0, 0, 0) {}`: the first one, without a block of registers.
pub fn processor(name: &str) -> Vec<u8> {
    with_length(&[0x5b, 0x83], &[&name_string(name)[..], &[0; 6]].concat())
}

/// `Method (name, arguments, Serialized) { terms }`.
pub fn method(name: &str, arguments: u8, terms: &[Vec<u8>]) -> Vec<u8> {
    const SERIALIZED: u8 = 1 << 3;
    with_length(&[0x14], &[name_string(name), vec![arguments | SERIALIZED], terms.concat()].concat())
}

/// `Return (value)`.
pub fn return_value(value: &[u8]) -> Vec<u8> {
    [&[0xa4], value].concat()
}

/// `Store (value, target)`.
pub fn store(value: &[u8], target: &[u8]) -> Vec<u8> {
    [&[0x70], value, target].concat()
}

/// `And (left, right, target)`.
pub fn and(left: &[u8], right: &[u8], target: &[u8]) -> Vec<u8> {
    [&[0x7b], left, right, target].concat()
}

/// The first argument of a method.
pub const ARG0: &[u8] = &[0x68];

/// `CreateDWordField (source, index, name)`.
pub fn create_dword_field(source: &[u8], index: u32, name: &str) -> Vec<u8> {
    [&[0x8a], source, &integer(index), &name_string(name)].concat()
}

/// `OperationRegion (name, PCI_Config, offset, length)`.
pub fn pci_config_region(name: &str, offset: u32, length: u32) -> Vec<u8> {
    const PCI_CONFIG: u8 = 2;
    [&[0x5b, 0x80], &name_string(name)[..], &[PCI_CONFIG], &integer(offset), &integer(length)].concat()
}

/// `Field (region, ByteAcc, NoLock, Preserve) { names, 8 bits each }`.
pub fn byte_fields(region: &str, names: &[&str]) -> Vec<u8> {
    const BYTE_ACCESS: u8 = 1;
    let mut body = name_string(region);
    body.push(BYTE_ACCESS);
    for field in names {
        body.extend_from_slice(&name_string(field));
        body.push(8);
    }
    with_length(&[0x5b, 0x81], &body)
}

/// A resource template as a buffer: the descriptors and an end tag without checksum.
pub fn resources(descriptors: &[Vec<u8>]) -> Vec<u8> {
    buffer(&[&descriptors.concat()[..], &[0x79, 0]].concat())
}

/// Level-triggered, active-high, shared interrupts of which one may be chosen (extended interrupt descriptor). The first
/// number is at byte 5 of the template.
pub fn interrupts(numbers: &[u32]) -> Vec<u8> {
    const CONSUMER_SHARED: u8 = 1 << 0 | 1 << 3;
    let length = (2 + 4 * numbers.len()) as u16;
    let mut bytes = vec![0x89];
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&[CONSUMER_SHARED, numbers.len() as u8]);
    bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    bytes
}

/// Ports `first` to `first + length - 1`, decoded with 16 bits, that the device itself uses.
pub fn ports(first: u16, length: u8) -> Vec<u8> {
    let [low, high] = first.to_le_bytes();
    vec![0x47, 1, low, high, low, high, 1, length]
}

/// An edge-triggered interrupt, active high and not shared, as on the ISA bus.
pub fn isa_irq(number: u8) -> Vec<u8> {
    let [low, high] = (1u16 << number).to_le_bytes();
    vec![0x22, low, high]
}

/// A DMA channel of the ISA bus: 8 bits, one byte at a time.
pub fn isa_dma(channel: u8) -> Vec<u8> {
    vec![0x2a, 1 << channel, 0]
}

/// Memory that the device itself uses, read-only for others.
pub fn fixed_memory(first: u32, length: u32) -> Vec<u8> {
    [&[0x86, 9, 0, 0][..], &first.to_le_bytes(), &length.to_le_bytes()].concat()
}

/// What a bridge passes on (address space descriptors).
#[derive(Clone, Copy)]
pub enum Window {
    /// Bus numbers `first..=last`.
    Buses(u16, u16),
    /// I/O ports `first..=last`.
    Ports(u16, u16),
    /// Memory `first..=last`, not cacheable.
    Memory(u32, u32),
}

/// A window of a bridge.
pub fn window(window: Window) -> Vec<u8> {
    /// Minimum and maximum fixed; producer; positive decode.
    const FIXED: u8 = 0x0c;
    const ENTIRE_RANGE: u8 = 3;
    const READ_WRITE: u8 = 1;
    let word = |kind: u8, flags: u8, first: u16, last: u16| {
        let length = last.wrapping_sub(first).wrapping_add(1);
        let values = [0, first, last, 0, length].map(u16::to_le_bytes);
        [&[0x88, 13, 0, kind, FIXED, flags], values.as_flattened()].concat()
    };
    match window {
        Window::Buses(first, last) => word(2, 0, first, last),
        Window::Ports(first, last) => word(1, ENTIRE_RANGE, first, last),
        Window::Memory(first, last) => {
            let length = last.wrapping_sub(first).wrapping_add(1);
            let values = [0, first, last, 0, length].map(u32::to_le_bytes);
            [&[0x87, 23, 0, 0, FIXED, READ_WRITE], values.as_flattened()].concat()
        }
    }
}

/// An opcode, the length of the package that follows (which counts its own bytes), and the package.
fn with_length(opcode: &[u8], body: &[u8]) -> Vec<u8> {
    let mut bytes = opcode.to_vec();
    let (short, long) = (body.len() + 1, body.len() + 2);
    if short < 1 << 6 {
        bytes.push(short as u8);
    } else if long < 1 << 12 {
        bytes.extend_from_slice(&[1 << 6 | (long & 0xf) as u8, (long >> 4) as u8]);
    } else {
        let longer = body.len() + 3;
        bytes.extend_from_slice(&[2 << 6 | (longer & 0xf) as u8, (longer >> 4) as u8, (longer >> 12) as u8]);
    }
    bytes.extend_from_slice(body);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_padded_and_paths_prefixed() {
        assert_eq!(name_string("_S5"), b"_S5_");
        assert_eq!(name_string("\\_SB"), b"\\_SB_");
        assert_eq!(name_string("\\_SB.PCI0"), b"\\\x2e_SB_PCI0");
        assert_eq!(name_string("\\_SB.PCI0.ISA.PRQA"), b"\\\x2f\x04_SB_PCI0ISA_PRQA");
    }

    #[test]
    fn identifiers_are_compressed_as_in_the_specification() {
        assert_eq!(eisa_id("PNP0A03"), [0x0c, 0x41, 0xd0, 0x0a, 0x03]);
        assert_eq!(eisa_id("PNP0C0F"), [0x0c, 0x41, 0xd0, 0x0c, 0x0f]);
    }

    #[test]
    fn package_lengths_count_themselves() {
        assert_eq!(with_length(&[0x10], &[0; 62])[..2], [0x10, 63]);
        assert_eq!(with_length(&[0x10], &[0; 63])[..3], [0x10, 0x41, 0x04]); // 65 bytes
        assert_eq!(with_length(&[0x10], &[0; 4093])[..3], [0x10, 0x4f, 0xff]); // 4095 bytes
        assert_eq!(with_length(&[0x10], &[0; 4094])[..4], [0x10, 0x81, 0x00, 0x01]); // 4097 bytes
    }
}
