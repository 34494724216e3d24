//! Bytes from a debugger to packets (GDB manual, "Overview" of the remote protocol): `$body#checksum`, acknowledgements,
//! and the interrupt byte, which may come at any time outside a packet.

/// Longest packet body that is taken, and what is announced as PacketSize.
pub const PACKET_MAX_BYTES: usize = 0x4000;

const INTERRUPT: u8 = 3;

/// What came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A packet with a right checksum: its body.
    Packet(Vec<u8>),
    /// `+`
    Ack,
    /// `-`
    Nack,
    /// Ctrl-C.
    Interrupt,
    /// A packet with a wrong checksum.
    Damaged,
    /// A packet longer than [`PACKET_MAX_BYTES`].
    TooLong,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Between,
    Body,
    Checksum(Option<u8>),
    /// In a packet that is too long, up to its `#`.
    Skipping,
}

/// Takes bytes one at a time. Bytes between packets that mean nothing are dropped.
#[derive(Debug, Default)]
pub struct Framer {
    state: State,
    body: Vec<u8>,
}

impl Framer {
    /// The frame that `byte` completes.
    pub fn push(&mut self, byte: u8) -> Option<Frame> {
        match (&self.state, byte) {
            (State::Between, b'$') => {
                self.body.clear();
                self.state = State::Body;
            }
            (State::Between, b'+') => return Some(Frame::Ack),
            (State::Between, b'-') => return Some(Frame::Nack),
            (State::Between, INTERRUPT) => return Some(Frame::Interrupt),
            (State::Between, _) => {}
            (State::Body, b'#') => self.state = State::Checksum(None),
            // A `$` never stands in a body: the end of the last packet was lost, and here a new one begins.
            (State::Body, b'$') => self.body.clear(),
            (State::Body, _) if self.body.len() < PACKET_MAX_BYTES => self.body.push(byte),
            (State::Body, _) => self.state = State::Skipping,
            (State::Skipping, b'#') => {
                self.state = State::Between;
                return Some(Frame::TooLong);
            }
            (State::Skipping, _) => {}
            (State::Checksum(None), _) => self.state = State::Checksum(Some(byte)),
            (State::Checksum(Some(first)), _) => {
                let frame = self.complete(*first, byte);
                self.state = State::Between;
                return Some(frame);
            }
        }
        None
    }

    fn complete(&mut self, first: u8, second: u8) -> Frame {
        let digit = |b: u8| (b as char).to_digit(16);
        let claimed = digit(first).zip(digit(second)).map(|(high, low)| high << 4 | low);
        if claimed == Some(u32::from(checksum(&self.body))) {
            Frame::Packet(std::mem::take(&mut self.body))
        } else {
            Frame::Damaged
        }
    }
}

/// The sum of all bytes of a body.
pub fn checksum(body: &[u8]) -> u8 {
    body.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte))
}

/// A body as it goes over the wire.
pub fn packet(body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(body.len() + 4);
    bytes.push(b'$');
    bytes.extend_from_slice(body);
    bytes.extend_from_slice(format!("#{:02x}", checksum(body)).as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(bytes: &[u8]) -> Vec<Frame> {
        let mut framer = Framer::default();
        bytes.iter().filter_map(|&b| framer.push(b)).collect()
    }

    #[test]
    fn packets_acknowledgements_and_interrupts_are_told_apart() {
        assert_eq!(
            frames(b"+$g#67\x03-$m0,4#fd"),
            [
                Frame::Ack,
                Frame::Packet(b"g".to_vec()),
                Frame::Interrupt,
                Frame::Nack,
                Frame::Packet(b"m0,4".to_vec())
            ]
        );
    }

    #[test]
    fn what_is_written_is_read_again() {
        assert_eq!(frames(&packet(b"vCont;c")), [Frame::Packet(b"vCont;c".to_vec())]);
        assert_eq!(packet(b""), b"$#00");
    }

    #[test]
    fn damage_is_noticed_and_does_not_spread() {
        assert_eq!(
            frames(b"$g#68$g#zz$g#67"),
            [Frame::Damaged, Frame::Damaged, Frame::Packet(b"g".to_vec())]
        );
        assert_eq!(frames(b"$lost$g#67"), [Frame::Packet(b"g".to_vec())]);
        assert_eq!(frames(b"GET / HTTP/1.1\r\n\r\n"), []);
    }

    #[test]
    fn an_interrupt_byte_inside_a_packet_is_data() {
        assert_eq!(frames(&packet(b"X0,1:\x03")), [Frame::Packet(b"X0,1:\x03".to_vec())]);
    }

    #[test]
    fn an_endless_packet_takes_no_memory() {
        let mut framer = Framer::default();
        framer.push(b'$');
        for _ in 0..PACKET_MAX_BYTES * 3 {
            assert_eq!(framer.push(b'a'), None);
        }
        assert!(framer.body.capacity() <= PACKET_MAX_BYTES * 2);
        assert_eq!(framer.push(b'#'), Some(Frame::TooLong));
    }
}
