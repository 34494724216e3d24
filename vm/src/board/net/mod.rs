//! Network cards, and what they share.
//!
//! A frame is what is between preamble and check sequence. What goes out is an output and nobody's business any more; what
//! comes in is an input of the machine.

pub mod e1000;
pub mod ne2k;

/// A frame is at least this long without its check sequence; shorter ones are padded on the wire.
pub const FRAME_MIN: usize = 60;
/// And at most this long, with a VLAN tag.
pub const FRAME_MAX: usize = 1518;
/// The destination of a broadcast.
pub const BROADCAST: [u8; 6] = [0xff; 6];

/// The check sequence of a frame, as the number whose bytes are sent lowest first.
pub fn check_sequence(frame: &[u8]) -> u32 {
    crc32fast::hash(frame)
}

/// The destination of a frame; `None` if it is too short to have one.
pub fn destination(frame: &[u8]) -> Option<[u8; 6]> {
    frame.first_chunk().copied()
}

/// Whether an address is for more than one station.
pub fn is_group(address: &[u8; 6]) -> bool {
    address[0] & 1 != 0
}
