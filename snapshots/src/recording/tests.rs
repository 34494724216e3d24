//! Recordings as files: whole, cut off, damaged, and not recordings at all.

use super::*;
use crate::fake::{SICK, Toy, record};
use crate::verify::replay_on;
use crate::{EndReason, VerifyReport};
use std::cell::Cell;
use std::sync::Arc;

mod mutations;

thread_local! {
    /// Bytes of recordings that this thread has read.
    pub(super) static READ: Cell<usize> = const { Cell::new(0) };
}

const STEPS: u64 = 20_000;

fn check(path: &Path) -> Result<VerifyReport, Error> {
    let recording = Arc::new(Recording::open(path)?);
    recording.check()?;
    replay_on::<Toy>(&recording, true, &mut |_, _| (), &mut |_, _| ())
}

fn whole(dir: &Path) -> PathBuf {
    let path = dir.join("whole");
    record(&path, STEPS, 7, 2500).finish(EndReason::DebugExit(5)).unwrap();
    path
}

#[test]
fn what_was_recorded_is_replayed_equal() {
    let dir = tempfile::tempdir().unwrap();
    let path = whole(dir.path());
    let recording = Recording::open(&path).unwrap();
    assert_eq!(recording.end(), Icount(STEPS));
    assert_eq!(recording.ended_by(), Some(&EndReason::DebugExit(5)));
    assert_eq!(recording.config(), &crate::fake::config());
    assert!(recording.inputs().unwrap().len() > 5 && recording.interrupts().unwrap().len() > 20);
    let report = check(&path).unwrap();
    assert_eq!(report.end, Icount(STEPS));
    assert!(report.checkpoints >= 8, "{report:?}");
    assert!(report.end_hash);
}

#[test]
fn a_run_that_ends_by_itself_is_replayed_to_its_very_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("r");
    record(&path, 2_000_000, 3, 200_000).finish(EndReason::PowerOff).unwrap();
    let report = check(&path).unwrap();
    assert_eq!(report.end, Icount(1_000_001));
}

#[test]
fn output_is_regenerated() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("r");
    let mut recorder = record(&path, STEPS, 7, 2500);
    let live = recorder.take_output();
    recorder.finish(EndReason::Interrupted).unwrap();
    let mut replayed = Vec::new();
    let recording = Arc::new(Recording::open(&path).unwrap());
    replay_on::<Toy>(&recording, false, &mut |_, _| (), &mut |at, what| replayed.push((at, what))).unwrap();
    assert!(live.len() > 50);
    assert_eq!(live, replayed);
}

#[test]
fn a_recording_cut_off_anywhere_opens_up_to_its_last_whole_chunk_or_says_where_it_ends() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(whole(dir.path())).unwrap();
    let path = dir.path().join("cut");
    let (mut last_end, mut opened) = (Icount(0), 0);
    let lengths = (0..bytes.len()).step_by(331).chain(bytes.len() - 200..bytes.len());
    for length in lengths {
        std::fs::write(&path, &bytes[..length]).unwrap();
        match check(&path) {
            Ok(report) => {
                assert!(report.end >= last_end, "cut at {length}");
                last_end = report.end;
                opened += 1;
            }
            Err(Error::Foreign { .. } | Error::Damaged { .. }) => assert_eq!(opened, 0, "cut at {length}"),
            Err(error) => panic!("cut at {length}: {error}"),
        }
        assert_eq!(std::fs::read(&path).unwrap().len(), length);
    }
    assert!(opened > 10);
    assert_eq!(last_end, Icount(STEPS));
}

#[test]
fn a_killed_recorder_leaves_what_it_had_flushed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("killed");
    let recorder = record(&path, STEPS, 7, 2500);
    std::mem::forget(recorder);
    let recording = Recording::open(&path).unwrap();
    assert_eq!(recording.ended_by(), None);
    assert!(recording.end() >= Icount(STEPS - 2500), "{}", recording.end());
    assert!(!check(&path).unwrap().end_hash);
}

#[test]
fn a_flipped_bit_is_found_and_its_place_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(whole(dir.path())).unwrap();
    let footer = bytes.len() - format::CHUNK_HEADER_BYTES - size_of::<u64>();
    let path = dir.path().join("flipped");
    for at in (0..bytes.len()).step_by(509) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        std::fs::write(&path, &flipped).unwrap();
        match check(&path) {
            Err(Error::Foreign { .. }) => assert!(at < 8),
            Err(Error::Damaged { offset, .. }) => assert!(offset <= at as u64, "{offset} {at}"),
            // Nothing is lost with the footer: the index is made anew.
            Ok(_) if at >= footer => {}
            other => panic!("bit flipped at {at}: {other:?}"),
        }
    }
}

#[test]
fn files_that_are_no_recordings_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x");
    let of_version = |version: u32| {
        let mut header = format::file_header();
        header[8..12].copy_from_slice(&version.to_le_bytes());
        let crc = crc32fast::hash(&header[..12]);
        header[12..].copy_from_slice(&crc.to_le_bytes());
        header
    };
    let (older, newer) = (of_version(format::FILE_VERSION - 1), of_version(format::FILE_VERSION + 1));
    let cases: [(&[u8], &str); 6] = [
        (b"", "it is empty"),
        (b"\x7fELF not at all", "it begins differently"),
        (&[0; 100_000], "it begins differently"),
        (&format::file_header(), "is missing"),
        (&older, "written by an older program"),
        (&newer, "written by a newer program"),
    ];
    for (bytes, says) in cases {
        std::fs::write(&path, bytes).unwrap();
        let error = Recording::open(&path).unwrap_err().to_string();
        assert!(error.contains(says) && error.contains(path.to_str().unwrap()), "{error}");
    }
    assert!(matches!(Recording::open(dir.path()), Err(Error::Foreign { .. })));
    assert!(matches!(Recording::open(&dir.path().join("none")), Err(Error::Io { .. })));
}

#[test]
fn an_existing_file_is_not_overwritten_unasked() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x");
    std::fs::write(&path, "precious").unwrap();
    let toy = || <Toy as crate::Replayer>::with_media(&crate::fake::config(), Vec::new()).unwrap();
    let made = crate::Recorder::create(&path, false, toy(), Default::default());
    assert!(matches!(made, Err(Error::Io { .. })));
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    crate::Recorder::create(&path, true, toy(), Default::default()).unwrap();
}

#[test]
fn a_machine_that_does_something_else_diverges_at_the_next_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let path = whole(dir.path());
    SICK.set(Some(6000));
    let result = check(&path);
    SICK.set(None);
    match result {
        Err(Error::Mismatch(m)) => {
            assert_eq!((m.position, m.narrowed.before), (Icount(7500), Icount(5000)));
            assert!(m.fields.iter().any(|(name, ..)| name.contains("gpr")), "{m}");
            assert!(m.narrowed.interrupt.is_some_and(|i| i.position < m.position), "{m}");
            assert!(m.to_string().contains("recorded 0x"), "{m}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn equal_pages_are_stored_once_and_zeros_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("p");
    let mut writer = Writer::create(&path, false, &crate::fake::config()).unwrap();
    let (a, b, zero) = ([1; 4096], [2; 4096], [0; 4096]);
    let ids = |w: &mut Writer, pages: &[&[u8; 4096]]| -> Vec<Option<u32>> {
        w.pages(pages.iter().copied()).unwrap().into_iter().map(|p| p.map(|p| p.id)).collect()
    };
    assert_eq!(ids(&mut writer, &[&a, &zero, &b, &a]), [Some(0), None, Some(1), Some(0)]);
    assert_eq!(ids(&mut writer, &[&b, &zero]), [Some(1), None]);
}

/// Chunks of a file as offset and payload length.
fn chunks(bytes: &[u8]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut at = format::FILE_HEADER_BYTES;
    while let Some(header) = bytes.get(at..).and_then(|b| b.first_chunk()) {
        let length = format::ChunkHeader::parse(header).unwrap().length as usize;
        found.push((at, length));
        at += format::CHUNK_HEADER_BYTES + length;
    }
    found
}

/// Makes the checksums of the chunk at `at` right again.
fn seal(bytes: &mut [u8], at: usize, length: usize) {
    let payload = at + format::CHUNK_HEADER_BYTES;
    let crc = crc32fast::hash(&bytes[payload..payload + length]);
    bytes[at + 12..at + 16].copy_from_slice(&crc.to_le_bytes());
    let crc = crc32fast::hash(&bytes[at..at + 16]);
    bytes[at + 16..at + 20].copy_from_slice(&crc.to_le_bytes());
}

#[test]
fn forged_contents_under_right_checksums_are_read_or_refused_without_a_panic() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(whole(dir.path())).unwrap();
    let path = dir.path().join("forged");
    let mut random = crate::fake::Random(11);
    let mut refused = 0;
    for (at, length) in chunks(&bytes) {
        for _ in 0..12 {
            let mut forged = bytes.clone();
            for _ in 0..=random.next() % 3 {
                let early = if random.next().is_multiple_of(2) { length.min(24) } else { length };
                let victim = at + format::CHUNK_HEADER_BYTES + random.next() as usize % early.max(1);
                forged[victim] = if random.next().is_multiple_of(2) { 0xff } else { random.next() as u8 };
            }
            seal(&mut forged, at, length);
            std::fs::write(&path, &forged).unwrap();
            refused += usize::from(read_all(&path).is_err());
        }
    }
    assert!(refused > 50, "{refused}");
}

/// Reads everything that a recording has.
fn read_all(path: &Path) -> Result<(), Error> {
    Recording::open(path)?.check()
}

#[test]
fn a_chunk_of_a_newer_version_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let mut bytes = std::fs::read(whole(dir.path())).unwrap();
    let path = dir.path().join("newer");
    let (at, length) = chunks(&bytes)[0];
    bytes[at + 6] = 9;
    seal(&mut bytes, at, length);
    std::fs::write(&path, &bytes).unwrap();
    match Recording::open(&path) {
        Err(Error::Newer { offset, found: 9, known: 1, .. }) => assert_eq!(offset, at as u64),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_lost_index_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let mut bytes = std::fs::read(whole(dir.path())).unwrap();
    let path = dir.path().join("lost");
    let all = chunks(&bytes);
    bytes.truncate(all[all.len() - 2].0);
    std::fs::write(&path, &bytes).unwrap();
    let recording = Recording::open(&path).unwrap();
    assert_eq!(recording.ended_by(), Some(&EndReason::DebugExit(5)));
    assert_eq!(recording.torn_at(), None);
    assert_eq!(check(&path).unwrap(), check(&dir.path().join("whole")).unwrap());
}

/// Makes a recording that seems to have ten gigabytes: the index names as many chunks as such a one has, and most lie in a hole.
fn stretched(bytes: &[u8], path: &Path) -> u64 {
    const SIZE: u64 = 10 << 30;
    let all = chunks(bytes);
    let payload = |(at, length): (usize, usize)| &bytes[at + format::CHUNK_HEADER_BYTES..][..length];
    let index = payload(all[all.len() - 2]);
    let mut entries: Vec<format::Entry> =
        format::decode(&format::unpack(index, format::MAX_PAYLOAD).unwrap()).unwrap();
    let Some(format::Entry::End(end)) = entries.pop() else { panic!("the end comes last") };
    let mut ended: End =
        format::decode(&bytes[end.offset as usize + format::CHUNK_HEADER_BYTES..][..end.length as usize])
            .unwrap();
    let room = 256 << 10;
    for n in 0..SIZE / room {
        let place = Place { offset: bytes.len() as u64 + n * room, length: 200_000 };
        entries.push(format::Entry::Pages { place, count: 64 });
        entries.push(format::Entry::Interrupts(place));
        if n % 8 == 0 {
            let from = ended.at.position;
            ended.at.position.0 += 50_000_000;
            entries.push(format::Entry::Interval { place, span: Span { from, to: ended.at.position } });
            let head = CheckpointHead { at: ended.at, hash: n, whole: false };
            entries.push(format::Entry::Checkpoint { place, head });
        }
    }
    let mut tail = format::chunk(format::Kind::End, &format::encode(&ended).unwrap());
    entries.push(format::Entry::End(Place {
        offset: SIZE,
        length: (tail.len() - format::CHUNK_HEADER_BYTES) as u32,
    }));
    let index = SIZE + tail.len() as u64;
    tail.extend(format::chunk(
        format::Kind::Index,
        &format::pack(&format::encode(&entries).unwrap()).unwrap(),
    ));
    let length = tail.len() as u64;
    tail.extend(format::chunk(format::Kind::Footer, &index.to_le_bytes()));
    std::fs::write(path, bytes).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &tail, SIZE).unwrap();
    length
}

#[test]
fn opening_a_recording_of_ten_gigabytes_reads_its_index_and_little_else() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(whole(dir.path())).unwrap();
    let path = dir.path().join("large");
    let index = stretched(&bytes, &path) as usize;
    READ.set(0);
    let recording = Recording::open(&path).unwrap();
    assert!(recording.bytes() > 10 << 30 && recording.checkpoints().len() > 5000);
    let read = READ.get();
    assert!(read < index + 8192 && index < 1 << 20, "{read} bytes read, {index} of index");
    // What comes before the hole is read without touching the rest.
    let mut session = crate::Session::<Toy>::new(Arc::new(recording)).unwrap();
    session.run_to(Icount(STEPS / 2)).unwrap();
    assert!(READ.get() < read + bytes.len());
}
