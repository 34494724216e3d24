//! A watchpoint over two pages that are far apart in physical memory sees the stores to both, and no others.

use retrograde_tests::build_guest;
use retrograde_tests::recordings::{open, record_kernel};
use snapshots::{Direction, Stop, Timeline};
use tempfile::tempdir;
use vm::LinAddr;

#[test]
fn a_watchpoint_over_two_pages_sees_the_stores_to_both() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("pages.rgr");
    record_kernel(&build_guest("pages"), "", 33, &path);
    let recording = open(&path);
    let mut timeline = Timeline::new(recording.clone()).unwrap();
    timeline.seek(recording.end(), &mut || false).unwrap();
    let watch = timeline.add_watchpoint(LinAddr(0x40_0ffc), 8).expect("both pages are mapped");
    assert!(timeline.add_watchpoint(LinAddr(0x40_1ffc), 8).is_none(), "the page behind it is not mapped");
    let mut values = Vec::new();
    loop {
        let stop = timeline.resume(Direction::Reverse, &mut || false).unwrap();
        if stop == Stop::Begin {
            break;
        }
        assert_eq!(stop, Stop::Watch(watch));
        let mut bytes = [0; 8];
        assert_eq!(timeline.machine().read_linear(LinAddr(0x40_0ffc), &mut bytes), 8);
        values.push(u64::from_le_bytes(bytes));
    }
    // Before each store, from the last to the first.
    assert_eq!(values, [0x2222_2222_1111_1111, 0x1111_1111, 0]);
}
