//! The chunks of a recording, read as `docs/recording-format.md` describes them and not by the program's own reader.

/// Length of the file's header.
pub const HEADER: usize = 16;
/// Length of a chunk's header.
const CHUNK_HEADER: usize = 20;
/// How much of it stands before its own CRC. The last of that is the payload's.
const CHECKED_HEADER: usize = 16;

/// Kind of a chunk that holds a checkpoint.
pub const CHECKPOINT: u16 = 5;
/// Kind of a chunk of inputs.
pub const INPUTS: u16 = 3;
/// Kind of a chunk of interrupts.
pub const INTERRUPTS: u16 = 4;
/// Kinds of what happened: inputs, interrupts, progress.
pub const LOG: [u16; 3] = [3, 4, 6];
/// Kinds of what makes going back quick: pages, checkpoints, intervals.
pub const CHECKPOINTS: [u16; 3] = [2, CHECKPOINT, 10];
/// Kind of the chunk that says how the run ended.
pub const END: u16 = 7;
/// Kind of the index.
pub const INDEX: u16 = 8;
/// Kind of the chunk that says where the index is.
pub const FOOTER: u16 = 9;

/// Where a chunk lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// What it is.
    pub kind: u16,
    /// Offset of its header.
    pub start: usize,
    /// Offset behind its payload.
    pub end: usize,
}

/// The chunks that are in `file` from their first byte to their last.
pub fn chunks(file: &[u8]) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    let mut start = HEADER;
    while let Some(header) =
        file.get(start..start + CHUNK_HEADER).filter(|header| header.starts_with(b"rChk"))
    {
        let kind = u16::from_le_bytes([header[4], header[5]]);
        let length = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
        let end = start + CHUNK_HEADER + length as usize;
        if end > file.len() {
            break;
        }
        chunks.push(Chunk { kind, start, end });
        start = end;
    }
    chunks
}

/// The first chunk of a kind.
pub fn first(file: &[u8], kind: u16) -> Option<Chunk> {
    chunks(file).into_iter().find(|chunk| chunk.kind == kind)
}

/// Makes the checksums of a chunk right, whatever has been done to its payload.
pub fn make_right(file: &mut [u8], chunk: Chunk) {
    let payload = crc32fast::hash(&file[chunk.start + CHUNK_HEADER..chunk.end]);
    let header = &mut file[chunk.start..chunk.start + CHUNK_HEADER];
    header[CHECKED_HEADER - 4..CHECKED_HEADER].copy_from_slice(&payload.to_le_bytes());
    let sum = crc32fast::hash(&header[..CHECKED_HEADER]);
    header[CHECKED_HEADER..].copy_from_slice(&sum.to_le_bytes());
}
