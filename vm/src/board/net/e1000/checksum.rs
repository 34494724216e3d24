//! The Internet's checksum (RFC 1071), where hardware takes it off the driver's hands.

/// Ones' complement sum of bytes as 16-bit words in network order, beginning with `sum`.
pub fn add(sum: u32, bytes: &[u8]) -> u32 {
    let words =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from));
    words.fold(sum, |sum, word| fold(sum + word).into())
}

/// A sum in 16 bits.
pub fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

/// Puts the checksum of `start` to `end` at `at`. The field itself is part of the sum: it holds that of a pseudo header,
/// or zero. What does not fit into the packet is not done.
pub fn put(packet: &mut [u8], start: usize, at: usize, end: usize, never_zero: bool) {
    let end = end.min(packet.len());
    let Some(summed) = packet.get(start..end) else { return };
    let sum = match !fold(add(0, summed)) {
        0 if never_zero => 0xffff,
        sum => sum,
    };
    set_word(packet, at, sum);
}

/// A 16-bit word in network order; 0 outside of the packet.
pub fn word(packet: &[u8], at: usize) -> u16 {
    let byte = |at: usize| packet.get(at).copied().unwrap_or(0);
    u16::from_be_bytes([byte(at), byte(at + 1)])
}

/// Writes a 16-bit word in network order, if it is inside the packet.
pub fn set_word(packet: &mut [u8], at: usize, value: u16) {
    if let Some(field) = packet.get_mut(at..at + 2) {
        field.copy_from_slice(&value.to_be_bytes());
    }
}
