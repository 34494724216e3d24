//! Recordings with bytes or whole chunks changed, lost, doubled or out of place: each is refused with an error, or is a recording
//! that shows what the original shows.

use super::*;
use crate::fake::Random;
use crate::{Direction, Timeline};

const MUTATIONS: u64 = 150;

/// A file as its header and its chunks.
struct Parts {
    header: Vec<u8>,
    chunks: Vec<Vec<u8>>,
}

impl Parts {
    fn of(bytes: &[u8]) -> Parts {
        let chunk = |(at, length)| bytes[at..at + format::CHUNK_HEADER_BYTES + length].to_vec();
        Parts {
            header: bytes[..format::FILE_HEADER_BYTES].to_vec(),
            chunks: chunks(bytes).into_iter().map(chunk).collect(),
        }
    }

    fn joined(self) -> Vec<u8> {
        [self.header, self.chunks.concat()].concat()
    }
}

/// Some bytes of a file of this length.
fn range(random: &mut Random, length: usize) -> std::ops::Range<usize> {
    let from = random.next() as usize % length;
    let most = if random.next().is_multiple_of(2) { 64 } else { length - from };
    from..from + 1 + random.next() as usize % most.min(length - from)
}

/// The file with one thing changed, and what it was.
fn mutated(bytes: &[u8], random: &mut Random) -> (&'static str, Vec<u8>) {
    let mut file = bytes.to_vec();
    let mut parts = Parts::of(bytes);
    let count = parts.chunks.len();
    let (one, other) = (random.next() as usize % count, random.next() as usize % count);
    match random.next() % 9 {
        0 => {
            let at = random.next() as usize % file.len();
            file[at] ^= 1 << (random.next() % 8);
            ("a bit is flipped", file)
        }
        1 => {
            file.truncate(random.next() as usize % file.len());
            ("the end is cut off", file)
        }
        2 => {
            let lost = range(random, file.len());
            file[lost].fill(0);
            ("bytes are zero", file)
        }
        3 => {
            file.drain(range(random, bytes.len()));
            ("bytes are missing", file)
        }
        4 => {
            let doubled = range(random, file.len());
            let at = doubled.end;
            file.splice(at..at, bytes[doubled].iter().copied());
            ("bytes are doubled", file)
        }
        5 => {
            parts.chunks.remove(one);
            ("a chunk is missing", parts.joined())
        }
        6 => {
            let chunk = parts.chunks[one].clone();
            parts.chunks.insert(other, chunk);
            ("a chunk is doubled", parts.joined())
        }
        7 => {
            parts.chunks.swap(one, other);
            ("two chunks are swapped", parts.joined())
        }
        _ => {
            parts.chunks.truncate(one);
            ("the last chunks are missing", parts.joined())
        }
    }
}

/// The hash of the machine at a position, and where it is one step before.
fn hash_at(timeline: &mut Timeline<Toy>, position: Icount) -> Result<(u64, Icount), Error> {
    timeline.seek(position, &mut || false)?;
    let hash = timeline.hash()?;
    timeline.step(Direction::Reverse, &mut || false)?;
    Ok((hash, timeline.position()))
}

#[test]
fn what_is_not_refused_shows_what_the_original_shows() {
    let dir = tempfile::tempdir().unwrap();
    let original = whole(dir.path());
    let bytes = std::fs::read(&original).unwrap();
    let original = Arc::new(Recording::open(&original).unwrap());
    let mut good_one = Timeline::<Toy>::on(original.clone()).unwrap();
    let path = dir.path().join("mutated");
    let mut random = Random(23);
    let mut good = 0;
    for n in 0..MUTATIONS {
        let (what, file) = mutated(&bytes, &mut random);
        std::fs::write(&path, &file).unwrap();
        let what = format!("{what}, {n}");
        let Ok(recording) = Recording::open(&path).map(Arc::new) else { continue };
        assert!(recording.end() <= original.end(), "{what}");
        // Wherever it lets one go, it is as it was, or this shows that something is wrong.
        let checked = check(&path);
        let Ok(mut timeline) = Timeline::<Toy>::on(recording.clone()) else { continue };
        for part in (1..=4).rev() {
            let at = Icount(recording.end().0 * part / 4);
            if let Ok(found) = hash_at(&mut timeline, at) {
                let expected = hash_at(&mut good_one, at).unwrap();
                assert!(checked.is_err() || found == expected, "{what}: {at}");
            }
        }
        if let Ok(report) = checked {
            assert_eq!(report.end, recording.end(), "{what}");
            good += 1;
        }
    }
    assert!(good > 20 && good < MUTATIONS as usize / 2, "{good}");
}
