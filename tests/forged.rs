//! Recordings in which something has been changed so that no checksum shows it: only a replay does, and it says where.

use retrograde_tests::busy::record_busy;
use retrograde_tests::chunks::{CHECKPOINT, INDEX, INPUTS, INTERRUPTS, chunks, first, make_right};
use retrograde_tests::retrograde::{ends_with, retrograde};
use snapshots::Recording;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

const STEPS: u64 = 400_000;
const EVERY: u64 = 50_000;

/// A guest that is sent bytes, recorded; the file as it should be.
fn recorded() -> (TempDir, PathBuf, Arc<Recording>, Vec<u8>) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("busy.rgr");
    let recording = record_busy("busy32", &path, STEPS, EVERY, 5);
    ends_with(0, retrograde(["replay", "--verify"]).arg(&path));
    let file = fs::read(&path).expect("the recording");
    (dir, path, recording, file)
}

#[test]
fn another_byte_that_came_in_is_found_between_two_checkpoints() {
    let (_dir, path, recording, mut file) = recorded();
    let inputs = recording.inputs().expect("they can be read");
    let chunk = chunks(&file).into_iter().filter(|chunk| chunk.kind == INPUTS).nth(1).expect("inputs");
    // The last thing in there is the last byte of the last input before a checkpoint.
    file[chunk.end - 1] ^= 1;
    make_right(&mut file, chunk);
    fs::write(&path, &file).expect("the recording can be written");
    let forged = Recording::open(&path).expect("nothing is wrong with it by itself");
    let differs = forged.inputs().expect("they can be read").into_iter().zip(inputs).find(|(a, b)| a != b);
    let ((at, _, what), _) = differs.expect("an input is another one");
    let outcome = ends_with(1, retrograde(["replay", "--verify"]).arg(&path));
    let positions: Vec<_> = recording.checkpoints().map(|checkpoint| checkpoint.position).collect();
    let next = positions.iter().position(|position| *position > at).expect("a checkpoint");
    let (before, behind) = (positions[next - 1], positions[next]);
    for text in [
        format!("at position {behind} ("),
        format!("the checkpoint before is at {before}"),
        "chips: ".to_owned(),
        format!("last input {what:?} at {at}"),
        format!(
            "replayed again from position {before} it comes to the same: the recording was made by another"
        ),
    ] {
        assert!(outcome.stderr.contains(&text), "no {text:?} in {}", outcome.stderr);
    }
}

#[test]
fn a_checkpoint_with_another_hash_is_told_from_a_machine_that_is_different() {
    let (_dir, path, recording, mut file) = recorded();
    let chunk =
        chunks(&file).into_iter().filter(|chunk| chunk.kind == CHECKPOINT).nth(3).expect("checkpoints");
    let info = recording.checkpoints().nth(3).expect("as many checkpoints");
    let hash = info.hash.to_le_bytes();
    let payload = &file[chunk.start..chunk.end];
    let at = payload.windows(8).position(|bytes| bytes == hash).expect("the hash is in the head");
    file[chunk.start + at] ^= 1;
    make_right(&mut file, chunk);
    // The index has the hash as well. Without it the chunks count.
    let index = first(&file, INDEX).expect("an index");
    fs::write(&path, &file[..index.start]).expect("the recording can be written");
    let outcome = ends_with(1, retrograde(["replay", "--verify"]).arg(&path));
    for text in [
        format!("at position {} (", info.position),
        "nothing of it differs: the checkpoint has another hash than its contents".to_owned(),
    ] {
        assert!(outcome.stderr.contains(&text), "no {text:?} in {}", outcome.stderr);
    }
}

#[test]
fn another_interrupt_is_found_where_it_is_taken() {
    let (_dir, path, recording, mut file) = recorded();
    let interrupts = recording.interrupts().expect("they can be read");
    let chunk =
        chunks(&file).into_iter().filter(|chunk| chunk.kind == INTERRUPTS).nth(1).expect("interrupts");
    // The last thing in there is the vector of the last one.
    file[chunk.end - 1] ^= 1;
    make_right(&mut file, chunk);
    fs::write(&path, &file).expect("the recording can be written");
    let forged = Recording::open(&path).expect("nothing is wrong with it by itself");
    let differs = forged.interrupts().expect("they can be read").into_iter().zip(interrupts);
    let (taken, _) = differs.into_iter().find(|(a, b)| a != b).expect("an interrupt is another one");
    let before = recording.checkpoints().map(|checkpoint| checkpoint.position);
    let before = before.take_while(|position| *position <= taken.position).last().expect("a checkpoint");
    let outcome = ends_with(1, retrograde(["replay", "--verify"]).arg(&path));
    for text in [
        format!("replay diverges at position {}: expected interrupt {:#04x}", taken.position, taken.vector.0),
        format!("the checkpoint before is at {before}"),
        format!("replayed again from position {before} it comes to the same"),
    ] {
        assert!(outcome.stderr.contains(&text), "no {text:?} in {}", outcome.stderr);
    }
}
