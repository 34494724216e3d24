//! `retrograde diff`: two recordings of the same guest that really part, by an input or by the date.

use retrograde_tests::busy::{BUSY, machine_at, record_with};
use retrograde_tests::retrograde::{ends_with, retrograde};
use snapshots::diff::Parting;
use snapshots::{Difference, Recording};
use std::path::Path;
use std::sync::Arc;
use tempfile::tempdir;
use vm::Input;

const STEPS: u64 = 400_000;

fn parting(a: &Arc<Recording>, b: &Arc<Recording>) -> Parting {
    match snapshots::diff(a, b, &mut |_, _| ()).unwrap() {
        Difference::Parts(parting) => *parting,
        other => panic!("{other:?}"),
    }
}

/// What the program says.
fn said(a: &Path, b: &Path) -> String {
    ends_with(1, retrograde(["diff"]).args([a, b])).stdout
}

#[test]
fn another_byte_is_found_where_it_came_and_in_all_that_it_changed() {
    let dir = tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| dir.path().join(name));
    let mut parted = 0;
    for guest in BUSY {
        for (other_from, every) in [(1_000, 50_000), (200_000, 30_000), (390_000, 10_000_000)] {
            let byte = |at: u64, other: u8| if at >= other_from { other } else { b'x' };
            let first = record_with(machine_at(guest, 0), &a, STEPS, 50_000, |at| byte(at, b'y'));
            let second = record_with(machine_at(guest, 0), &b, STEPS, every, |at| byte(at, b'z'));
            let other = first.inputs().unwrap().into_iter().find(|(p, ..)| p.0 >= other_from).unwrap();
            let parting = parting(&first, &second);
            assert_eq!(parting.position, other.0, "{guest}, {other_from}");
            assert_eq!(parting.inputs[0], Some(other.clone()));
            let sent = |input: &Option<_>| match input {
                Some((_, _, Input::Serial { bytes, .. })) => bytes.clone(),
                other => panic!("{other:?}"),
            };
            assert_eq!([sent(&parting.inputs[0]), sent(&parting.inputs[1])], [b"y", b"z"]);
            assert!(
                parting.fields.iter().any(|(name, ..)| name.starts_with("chips: ") && name.contains("uart")),
                "{parting:?}"
            );
            assert!(!parting.code.is_empty());
            let text = said(&a, &b);
            for part in
                [&format!("equal up to position {} ", other.0), "instruction at 0x", "last input", "uart"]
            {
                assert!(text.contains(part), "{part}: {text}");
            }
            parted += 1;
        }
    }
    assert_eq!(parted, 9);
}

#[test]
fn another_date_is_found_where_the_guest_reads_it() {
    let dir = tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| dir.path().join(name));
    let first = record_with(machine_at("busypaging", 1_700_000_000), &a, STEPS, 50_000, |_| b'x');
    let second = record_with(machine_at("busypaging", 1_700_000_001), &b, STEPS, 70_000, |_| b'x');
    let parting = parting(&first, &second);
    // IN AL, 71h, in the first interrupt.
    assert_eq!(parting.code[..2], [0xe4, 0x71]);
    assert!(parting.interrupts.iter().all(|i| i.is_some_and(|i| i.position < parting.position)));
    let registers: Vec<_> = parting.fields.iter().filter(|(name, ..)| name.contains("gpr")).collect();
    assert_eq!(registers.len(), 1, "{:?}", parting.fields);
    let text = said(&a, &b);
    assert!(text.contains("digest of I/O") && text.contains("last interrupt 0x20"), "{text}");
}
