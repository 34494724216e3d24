//! The reader of recordings. Chunks come with right checksums, so that what is behind them is reached.
//!
//! Input: records of a kind (one byte), a length (two bytes) and a payload. Kinds 1 to 11 become chunks of the format, packed where
//! the format says so; of any other, the payload goes into the file as it is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::io::Write;

const HEADER: [u8; 12] = *b"\x8eRetro\r\n\x02\0\0\0";

fn sealed(bytes: &[u8]) -> Vec<u8> {
    [bytes, &crc32fast::hash(bytes).to_le_bytes()].concat()
}

fn chunk(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = b"rChk".to_vec();
    header.extend([kind, 0, 1, 0]);
    header.extend((payload.len() as u32).to_le_bytes());
    header.extend(crc32fast::hash(payload).to_le_bytes());
    [sealed(&header), payload.to_vec()].concat()
}

fn packed(plain: &[u8]) -> Vec<u8> {
    let bytes = zstd::bulk::compress(plain, 1).expect("bytes in memory");
    [&(plain.len() as u32).to_le_bytes(), bytes.as_slice()].concat()
}

/// The file that an input stands for.
fn file(mut input: &[u8]) -> Vec<u8> {
    let mut file = sealed(&HEADER);
    while let [kind, low, high, rest @ ..] = input {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let (payload, rest) = rest.split_at(length);
        input = rest;
        match kind {
            // Machine, index and media are packed; checkpoints and intervals have a head before that.
            1 | 8 | 11 => file.extend(chunk(*kind, &packed(payload))),
            5 | 10 => {
                let head = usize::from(payload.first().copied().unwrap_or(0)).min(payload.len());
                let (head, body) = payload.split_at(head);
                let head = [&[head.len() as u8], head].concat();
                file.extend(chunk(*kind, &[head, packed(body)].concat()));
            }
            2..=11 => file.extend(chunk(*kind, payload)),
            _ => file.extend(payload),
        }
    }
    file
}

fuzz_target!(|input: &[u8]| {
    let mut path = tempfile::NamedTempFile::new().expect("a temporary file");
    path.write_all(&file(input)).expect("it is written");
    if let Ok(recording) = snapshots::Recording::open(path.path()) {
        let _ = recording.check();
        let _ = recording.time_at(recording.end());
        let _ = (recording.inputs(), recording.interrupts());
    }
});
