//! Guests that do nothing any more, with interrupts off: what `retrograde record` does about them.

use retrograde_tests::recordings::info;
use retrograde_tests::retrograde::{ends_with, retrograde};
use std::fs;
use tempfile::tempdir;

const BASE: u32 = 0x10_0000;
const HEADER_BYTES: u32 = 32;
const FLAGS: u32 = 0x1_0003;
const MAGIC: u32 = 0x1bad_b002;
/// Status of a guest that hangs.
const HUNG: i32 = 3;

/// A Multiboot kernel of this code, whose first instruction is at 0x100020.
fn kernel(code: &[u8]) -> Vec<u8> {
    let end = BASE + HEADER_BYTES + code.len() as u32;
    let checksum = MAGIC.wrapping_add(FLAGS).wrapping_neg();
    let header = [MAGIC, FLAGS, checksum, BASE, BASE, end, end, BASE + HEADER_BYTES];
    header.iter().flat_map(|word| word.to_le_bytes()).chain(code.iter().copied()).collect()
}

/// Records it until `until` at most; what ended the recording, and what was said.
fn record(code: &[u8], until: &str, status: i32) -> (String, String) {
    let dir = tempdir().unwrap();
    let [image, recording] = ["kernel", "hang.rgr"].map(|name| dir.path().join(name));
    fs::write(&image, kernel(code)).unwrap();
    let mut command = retrograde(["record", "--serial", "none", "--until", until, "--kernel"]);
    let outcome = ends_with(status, command.arg(&image).arg("-o").arg(&recording));
    ends_with(0, retrograde(["replay", "--verify"]).arg(&recording));
    (info(&recording)["ended_by"].as_str().unwrap().to_owned(), outcome.stderr)
}

#[test]
fn a_loop_that_cannot_end_is_a_hang() {
    let endless: [&[u8]; 5] = [
        // cli; jmp $
        &[0xfa, 0xeb, 0xfe],
        // cli; again: pause; jmp again
        &[0xfa, 0xf3, 0x90, 0xeb, 0xfc],
        // cli; again: add eax, 3; rol ebx, 1; jnz again; jmp again
        &[0xfa, 0x83, 0xc0, 3, 0xd1, 0xc3, 0x75, 0xf9, 0xeb, 0xf7],
        // cli; again: mov ecx, 1000; wait: loop wait; inc edx; jmp again
        &[0xfa, 0xb9, 0xe8, 3, 0, 0, 0xe2, 0xfe, 0x42, 0xeb, 0xf6],
        // cli; hlt
        &[0xfa, 0xf4],
    ];
    for code in endless {
        let (ended_by, _) = record(code, "time=5", HUNG);
        assert!(ended_by.starts_with("hang"), "{ended_by}");
    }
}

#[test]
fn a_loop_that_may_end_is_waited_for() {
    let waiting: [&[u8]; 2] = [
        // cli; again: in al, 0x64; test al, 1; jz again: a key may be pressed
        &[0xfa, 0xe4, 0x64, 0xa8, 1, 0x74, 0xfa],
        // cli; again: inc eax; jnz again; int3: it ends some time
        &[0xfa, 0x40, 0x75, 0xfd, 0xcc],
    ];
    for code in waiting {
        let (ended_by, said) = record(code, "time=0.2", 0);
        assert!(ended_by.starts_with("time="), "{ended_by}");
        assert!(!said.contains("interrupts have been off"), "{said}");
    }
}

#[test]
fn a_loop_that_waits_for_memory_for_long_is_told() {
    // cli; again: cmp byte [0x200000], 0; je again
    let code = [0xfa, 0x80, 0x3d, 0, 0, 0x20, 0, 0, 0x74, 0xf7];
    let (ended_by, said) = record(&code, "time=12", 0);
    assert!(ended_by.starts_with("time="), "{ended_by}");
    assert!(said.contains("retrograde: interrupts have been off since 0.0"), "{said}");
}
