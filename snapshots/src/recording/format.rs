//! The bytes of a recording: header, chunks and what is in them. Described in `docs/recording-format.md`.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use vm::units::NS_PER_STEP;
use vm::{Icount, InterruptTaken, MachineState, Vector, VmTime};

use crate::EndReason;

/// How every recording begins. A byte that is not text, so that no text file is taken for one, and a line end, so that a
/// file mangled by a text-mode copy is noticed.
pub(crate) const FILE_MAGIC: [u8; 8] = *b"\x8eRetro\r\n";
/// Version of the whole format, of the state of a machine in it too (`vm/tests/state_shape.rs` notices when that changes).
pub(crate) const FILE_VERSION: u32 = 6;
/// Bytes of the header: magic, version, CRC.
pub(crate) const FILE_HEADER_BYTES: usize = 16;
/// How every chunk begins.
pub(crate) const CHUNK_MAGIC: [u8; 4] = *b"rChk";
/// Version of the chunks' contents that is written and read.
pub(crate) const CHUNK_VERSION: u16 = 1;
/// Bytes of a chunk's header.
pub(crate) const CHUNK_HEADER_BYTES: usize = 20;
/// The longest payload, and the most that one may grow to when it is unpacked.
pub(crate) const MAX_PAYLOAD: usize = 64 << 20;
/// Pages compressed together.
pub(crate) const GROUP_PAGES: usize = 64;
/// A chunk kind with this bit may be skipped by a reader that does not know it.
pub(crate) const OPTIONAL: u16 = 0x8000;

/// What a chunk holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Kind {
    Config = 1,
    Pages = 2,
    Inputs = 3,
    Interrupts = 4,
    Checkpoint = 5,
    Progress = 6,
    End = 7,
    Index = 8,
    Footer = 9,
    Interval = 10,
    Medium = 11,
    Summary = 12,
}

impl Kind {
    pub(crate) fn from_number(number: u16) -> Option<Kind> {
        use Kind::*;
        [
            Config, Pages, Inputs, Interrupts, Checkpoint, Progress, End, Index, Footer, Interval, Medium,
            Summary,
        ]
        .into_iter()
        .find(|k| *k as u16 == number)
    }
}

/// Where a chunk is: the offset of its header, and the length of its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) offset: u64,
    pub(crate) length: u32,
}

impl Place {
    /// Offset of the first byte after the chunk.
    pub(crate) fn end(self) -> u64 {
        self.offset.saturating_add(CHUNK_HEADER_BYTES as u64).saturating_add(u64::from(self.length))
    }
}

/// One row of the index: a chunk, and what must be known of it without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Entry {
    Config(Place),
    Pages { place: Place, count: u32 },
    Inputs(Place),
    Interrupts(Place),
    Checkpoint { place: Place, head: CheckpointHead },
    End(Place),
    Interval { place: Place, span: Span },
    Medium(Place),
    Summary { place: Place, head: SummaryHead },
}

impl Entry {
    /// Where the chunk is.
    pub(crate) fn place(&self) -> Place {
        match *self {
            Entry::Config(place)
            | Entry::Pages { place, .. }
            | Entry::Inputs(place)
            | Entry::Interrupts(place)
            | Entry::Checkpoint { place, .. }
            | Entry::End(place)
            | Entry::Interval { place, .. }
            | Entry::Medium(place)
            | Entry::Summary { place, .. } => place,
        }
    }
}

/// What is known of a checkpoint without its contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CheckpointHead {
    pub(crate) at: Progress,
    pub(crate) hash: u64,
    /// It names every page that is not zeros, not only those that may have changed.
    pub(crate) whole: bool,
}

/// The steps from `from` to before `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Span {
    pub(crate) from: Icount,
    pub(crate) to: Icount,
}

/// What is known of a summary without its contents: which intervals it is of, and how many levels of summaries are below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SummaryHead {
    pub(crate) span: Span,
    pub(crate) level: u8,
}

/// What a checkpoint holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct CheckpointBody {
    pub(crate) state: MachineState,
    /// Pages that may differ from the checkpoint before (from zeros in a whole one), ascending.
    pub(crate) pages: Vec<PageChange>,
}

/// A page of RAM and its new contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PageChange {
    pub(crate) page: u32,
    /// `None`: zeros.
    pub(crate) stored: Option<StoredPage>,
}

/// A page stored in the recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct StoredPage {
    pub(crate) id: u32,
    pub(crate) hash: u64,
}

/// Everything up to here is in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    pub(crate) position: Icount,
    pub(crate) time: VmTime,
    pub(crate) io_digest: u64,
}

/// How and where the run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct End {
    pub(crate) reason: EndReason,
    pub(crate) at: Progress,
    pub(crate) hash: u64,
}

/// The file's first bytes.
pub(crate) fn file_header() -> [u8; FILE_HEADER_BYTES] {
    let mut header = [0; FILE_HEADER_BYTES];
    header[..8].copy_from_slice(&FILE_MAGIC);
    header[8..12].copy_from_slice(&FILE_VERSION.to_le_bytes());
    let crc = crc32fast::hash(&header[..12]);
    header[12..].copy_from_slice(&crc.to_le_bytes());
    header
}

/// A whole chunk as bytes. `payload` is at most [`MAX_PAYLOAD`] long.
pub(crate) fn chunk(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(CHUNK_HEADER_BYTES + payload.len());
    bytes.extend_from_slice(&CHUNK_MAGIC);
    bytes.extend_from_slice(&(kind as u16).to_le_bytes());
    bytes.extend_from_slice(&CHUNK_VERSION.to_le_bytes());
    bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A chunk's header, its own CRC checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChunkHeader {
    pub(crate) kind: u16,
    pub(crate) version: u16,
    pub(crate) length: u32,
    pub(crate) payload_crc: u32,
}

impl ChunkHeader {
    /// `None` if these bytes are no undamaged header.
    pub(crate) fn parse(bytes: &[u8; CHUNK_HEADER_BYTES]) -> Option<ChunkHeader> {
        let long = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let good = bytes[..4] == CHUNK_MAGIC && long(16) == crc32fast::hash(&bytes[..16]);
        good.then(|| ChunkHeader {
            kind: long(4) as u16,
            version: (long(4) >> 16) as u16,
            length: long(8),
            payload_crc: long(12),
        })
    }
}

/// A chunk's payload of a head, which can be read without unpacking anything, and a packed record.
pub(crate) fn encode_with_head<H: Serialize, B: Serialize>(head: &H, body: &B) -> Result<Vec<u8>, String> {
    let mut payload = encode(head)?;
    payload.insert(0, payload.len() as u8);
    payload.extend(pack(&encode(body)?)?);
    Ok(payload)
}

/// Undoes [`encode_with_head`] as far as the head.
pub(crate) fn split_head<H: DeserializeOwned>(payload: &[u8]) -> Result<(H, &[u8]), String> {
    let (length, rest) = payload.split_first().ok_or("an empty chunk")?;
    let (head, body) = rest.split_at_checked(usize::from(*length)).ok_or("a chunk without a head")?;
    Ok((decode(head)?, body))
}

/// Encodes a record.
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, String> {
    bincode::serde::encode_to_vec(value, bincode::config::standard()).map_err(|e| e.to_string())
}

/// Decodes a record that fills `bytes` exactly; never allocates much more than [`MAX_PAYLOAD`].
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let config = bincode::config::standard().with_limit::<MAX_PAYLOAD>();
    let (value, used) = bincode::serde::decode_from_slice(bytes, config).map_err(|e| e.to_string())?;
    if used == bytes.len() { Ok(value) } else { Err(format!("{} bytes too many", bytes.len() - used)) }
}

/// Packs bytes with their length before them.
pub(crate) fn pack(bytes: &[u8]) -> Result<Vec<u8>, String> {
    if bytes.len() > MAX_PAYLOAD {
        return Err(format!("a record of {} bytes is too large", bytes.len()));
    }
    let mut packed = (bytes.len() as u32).to_le_bytes().to_vec();
    packed.extend(zstd::bulk::compress(bytes, 1).map_err(|e| e.to_string())?);
    Ok(packed)
}

/// Undoes [`pack`]; refuses what says it is longer than `most` and what is not as long as it says.
pub(crate) fn unpack(packed: &[u8], most: usize) -> Result<Vec<u8>, String> {
    let (length, body) = packed.split_first_chunk::<4>().ok_or("too short")?;
    let length = u32::from_le_bytes(*length) as usize;
    if length > most {
        return Err(format!("says it holds {length} bytes, more than {most}"));
    }
    let bytes = zstd::bulk::decompress(body, length).map_err(|e| e.to_string())?;
    if bytes.len() == length { Ok(bytes) } else { Err("is not as long as it says".to_owned()) }
}

/// Interrupts as steps from one to the next, in the usual seven bits a byte. Time is what it is beyond the time that the
/// steps themselves take, which changes only where the CPU was halted: mostly a zero.
pub(crate) fn encode_interrupts(interrupts: &[InterruptTaken]) -> Vec<u8> {
    let mut out = Vec::with_capacity(interrupts.len() * 6 + 8);
    put_varint(&mut out, interrupts.len() as u64);
    let (mut position, mut skipped) = (0, 0);
    for i in interrupts {
        let now = skipped_ns(i.position, i.time);
        put_varint(&mut out, i.position.0.wrapping_sub(position));
        put_varint(&mut out, now.wrapping_sub(skipped));
        out.push(i.vector.0);
        (position, skipped) = (i.position.0, now);
    }
    // Which of them are NMIs, of which there are next to none.
    for (index, _) in interrupts.iter().enumerate().filter(|(_, i)| i.nmi) {
        put_varint(&mut out, index as u64);
    }
    out
}

/// Undoes [`encode_interrupts`].
pub(crate) fn decode_interrupts(mut bytes: &[u8]) -> Option<Vec<InterruptTaken>> {
    let count = take_varint(&mut bytes)?;
    // Each takes at least three bytes, so that the count cannot ask for more than the file has.
    if count > bytes.len() as u64 / 3 {
        return None;
    }
    let mut interrupts = Vec::with_capacity(count as usize);
    let (mut position, mut skipped) = (0u64, 0u64);
    for _ in 0..count {
        position = position.wrapping_add(take_varint(&mut bytes)?);
        skipped = skipped.wrapping_add(take_varint(&mut bytes)?);
        let (vector, rest) = bytes.split_first()?;
        bytes = rest;
        let time = VmTime(position.wrapping_mul(NS_PER_STEP).wrapping_add(skipped));
        let vector = Vector(*vector);
        interrupts.push(InterruptTaken { position: Icount(position), time, vector, nmi: false });
    }
    while !bytes.is_empty() {
        let index = usize::try_from(take_varint(&mut bytes)?).ok()?;
        interrupts.get_mut(index)?.nmi = true;
    }
    Some(interrupts)
}

/// Time beyond what the steps took.
fn skipped_ns(position: Icount, time: VmTime) -> u64 {
    time.0.wrapping_sub(position.0.wrapping_mul(NS_PER_STEP))
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interrupts_survive_encoding_whatever_their_numbers() {
        let taken = |position, time, vector| InterruptTaken {
            position: Icount(position),
            time: VmTime(time),
            vector: Vector(vector),
            nmi: vector == 2,
        };
        let all = vec![
            taken(0, 0, 8),
            taken(1000, 8000, 0x30),
            taken(1001, 5_000_000, 0x31),
            taken(1002, 5_000_000, 2),
            taken(u64::MAX - 1, 17, 255),
            taken(u64::MAX, u64::MAX, 0),
        ];
        assert_eq!(decode_interrupts(&encode_interrupts(&all)), Some(all));
        assert_eq!(decode_interrupts(&encode_interrupts(&[])), Some(vec![]));
    }

    #[test]
    fn an_interrupt_without_halts_takes_few_bytes() {
        let all: Vec<_> = (1..=1000u64)
            .map(|i| InterruptTaken {
                position: Icount(i * 100_000),
                time: VmTime(i * 100_000 * NS_PER_STEP),
                vector: Vector(0x20),
                nmi: false,
            })
            .collect();
        assert!(encode_interrupts(&all).len() < 5100);
    }

    #[test]
    fn damaged_interrupts_are_refused_without_allocating() {
        assert_eq!(decode_interrupts(&[]), None);
        assert_eq!(decode_interrupts(&[0xff; 9]), None);
        assert_eq!(decode_interrupts(&[0xff, 0xff, 0xff, 0xff, 0x7f, 1, 1, 1]), None);
        assert_eq!(decode_interrupts(&[1, 5, 0, 8, 9]), None);
    }

    #[test]
    fn packing_checks_lengths() {
        let packed = pack(&[7; 5000]).unwrap();
        assert_eq!(unpack(&packed, 5000).unwrap(), [7; 5000]);
        assert!(unpack(&packed, 4999).is_err());
        let mut short = packed.clone();
        short[..4].copy_from_slice(&4000u32.to_le_bytes());
        assert!(unpack(&short, 5000).is_err());
        assert!(unpack(&packed[..3], 5000).is_err());
        assert!(unpack(&packed[..8], 5000).is_err());
    }

    #[test]
    fn a_header_with_any_bit_flipped_is_no_header() {
        let good: [u8; CHUNK_HEADER_BYTES] =
            chunk(Kind::Progress, b"hello")[..CHUNK_HEADER_BYTES].try_into().unwrap();
        assert!(ChunkHeader::parse(&good).is_some());
        for bit in 0..CHUNK_HEADER_BYTES * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(ChunkHeader::parse(&bad), None, "bit {bit}");
        }
    }
}
