//! A tripwire: the host's processor notices stores to a few bytes of storage, while the machine runs as fast as it can.
//!
//! The machine itself watches whole pages, and has to look at every store to them. A debug register looks at up to eight bytes and costs
//! nothing until they are stored to. It says that something in this thread stored to them, and neither where nor whether it counts. So a
//! search only takes from it that there was no store; for the rest it asks the machine. Where the host grants no debug registers
//! (some containers do not), there is no tripwire.
#![allow(unsafe_code)] // the kernel's interface to debug registers; each block says why it is sound

use std::cell::Cell;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd};
use vm::WatchRange;

/// x86 has four debug registers. One is for the tripwire's own word.
const MOST_WIRES: usize = 3;
/// The longest aligned piece that one looks at.
const MOST_BYTES: usize = 8;

/// Over some bytes, for the thread that made it.
#[derive(Debug)]
pub(super) struct Tripwire {
    wires: Vec<Wire>,
    /// Looks at `word`.
    own: Wire,
    word: Box<Cell<u64>>,
}

impl Tripwire {
    /// Over `ranges` of `storage`; `None` if they are too many, or if the host does not do it.
    pub(super) fn over<'a>(storage: &[u8], ranges: impl Iterator<Item = &'a WatchRange>) -> Option<Tripwire> {
        let mut wires = Vec::new();
        for range in ranges {
            let bytes = storage.get(range.addr.0 as usize..)?.get(..range.len as usize)?.as_ptr_range();
            for (addr, len) in aligned(bytes.start as usize..bytes.end as usize) {
                if wires.len() == MOST_WIRES {
                    return None;
                }
                wires.push(Wire::over(addr, len)?);
            }
        }
        let word = Box::new(Cell::new(0));
        let own = word.as_ptr() as usize;
        Some(Tripwire { wires, own: Wire::over(own, size_of::<u64>())?, word })
    }

    /// Whether there may have been a store. A wire that was torn notices nothing more.
    pub(super) fn is_torn(&self) -> bool {
        self.wires.iter().any(Wire::is_torn)
    }

    /// Whether it still notices what is stored to its own word: where debug registers are lost on the way, all of its life counts for
    /// nothing.
    pub(super) fn held(self) -> bool {
        let before = self.own.is_torn();
        // SAFETY: the word is ours. Volatile, as nobody reads it.
        unsafe { self.word.as_ptr().write_volatile(1) };
        !before && self.own.is_torn()
    }
}

/// One debug register.
#[derive(Debug)]
struct Wire {
    counter: File,
}

/// `struct perf_event_attr` of `perf_event_open`(2), as far as its second version goes.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    breakpoint_type: u32,
    breakpoint_addr: u64,
    breakpoint_len: u64,
}

const TYPE_BREAKPOINT: u32 = 5;
const BREAKPOINT_WRITE: u32 = 2;
const DISABLED: u64 = 1 << 0;
const PINNED: u64 = 1 << 2;
const EXCLUDE_KERNEL: u64 = 1 << 5;
const EXCLUDE_HYPERVISOR: u64 = 1 << 6;
const CLOSE_ON_EXEC: libc::c_ulong = 1 << 3;
/// `PERF_EVENT_IOC_REFRESH`: enables for so many overflows.
const REFRESH: libc::c_ulong = 0x2402;

impl Wire {
    /// Over an aligned piece of memory of this process. It is torn by the first store, as each that is noticed takes microseconds.
    fn over(addr: usize, len: usize) -> Option<Wire> {
        let attributes = Attributes {
            kind: TYPE_BREAKPOINT,
            size: size_of::<Attributes>() as u32,
            sample_period: 1,
            flags: DISABLED | PINNED | EXCLUDE_KERNEL | EXCLUDE_HYPERVISOR,
            breakpoint_type: BREAKPOINT_WRITE,
            breakpoint_addr: addr as u64,
            breakpoint_len: len as u64,
            ..Attributes::default()
        };
        let (this_thread, any_processor, no_group) = (0, -1, -1);
        // SAFETY: the attributes are as the kernel expects them, of the size that they name, and outlive the call.
        let opened = unsafe {
            libc::syscall(
                libc::SYS_perf_event_open,
                &raw const attributes,
                this_thread,
                any_processor,
                no_group,
                CLOSE_ON_EXEC,
            )
        };
        let descriptor = i32::try_from(opened).ok().filter(|descriptor| *descriptor >= 0)?;
        // SAFETY: the kernel has just opened it for us.
        let counter = unsafe { File::from_raw_fd(descriptor) };
        // SAFETY: this request has a number for its argument.
        let enabled = unsafe { libc::ioctl(counter.as_raw_fd(), REFRESH, 1) };
        (enabled == 0).then_some(Wire { counter })
    }

    /// Whether there was a store, or nobody can tell.
    fn is_torn(&self) -> bool {
        let mut count = [0; 8];
        !matches!((&self.counter).read(&mut count), Ok(8)) || u64::from_ne_bytes(count) != 0
    }
}

/// The range in pieces that debug registers can look at, each as its address and length: 1, 2, 4 or 8 bytes, aligned to that.
fn aligned(range: Range<usize>) -> impl Iterator<Item = (usize, usize)> {
    let mut at = range.start;
    std::iter::from_fn(move || {
        let left = range.end.checked_sub(at).filter(|left| *left > 0)?;
        let mut len = MOST_BYTES;
        while len > left || !at.is_multiple_of(len) {
            len /= 2;
        }
        at += len;
        Some((at - len, len))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hint::black_box;
    use vm::{PhysAddr, WatchKind};

    fn range(addr: u64, len: u64) -> WatchRange {
        WatchRange { addr: PhysAddr(addr), len, kind: WatchKind::Write }
    }

    /// `None` where the host has no debug registers for us.
    fn over(storage: &[u8], ranges: &[WatchRange]) -> Option<Tripwire> {
        Tripwire::over(&[0], [].iter())?;
        Some(Tripwire::over(storage, ranges.iter()).expect("there are as many as x86 has"))
    }

    #[test]
    fn pieces_are_aligned_and_cover_the_range_once() {
        for (range, expected) in [
            (16..24, vec![(16, 8)]),
            (17..24, vec![(17, 1), (18, 2), (20, 4)]),
            (6..9, vec![(6, 2), (8, 1)]),
            (5..5, vec![]),
            (8..25, vec![(8, 8), (16, 8), (24, 1)]),
        ] {
            assert_eq!(aligned(range).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn every_way_to_store_to_a_watched_byte_is_noticed_and_none_beside_it() {
        let page = vec![7; 4096];
        type Store = fn(&mut [u8]);
        let stores: [(&str, Store); 6] = [
            ("a byte", |page| page[104] = 7),
            ("eight bytes across it", |page| page[100..108].copy_from_slice(&[7; 8])),
            ("a page copied", |page| page.copy_from_slice(&vec![7; 4096])),
            ("a page filled", |page| page.fill(7)),
            ("moved within", |page| page.copy_within(2000..4000, 50)),
            ("bits set that are set", |page| page[104] |= 1),
        ];
        for (what, store) in stores {
            let mut storage = page.clone();
            let Some(wire) = over(&storage, &[range(104, 4)]) else { return };
            storage[103] = black_box(7);
            storage[108..].copy_from_slice(black_box(&page[108..]));
            assert!(!wire.is_torn());
            store(black_box(&mut storage));
            assert!(wire.is_torn(), "{what}");
            assert!(wire.held());
        }
    }

    #[test]
    fn what_is_too_much_or_not_there_has_none() {
        let storage = vec![0; 4096];
        let several = [range(0, 8), range(16, 8), range(32, 4)];
        if over(&storage, &several).is_none() {
            return;
        }
        assert!(Tripwire::over(&storage, [range(1, 16)].iter()).is_none());
        assert!(Tripwire::over(&storage, several.iter().chain(&[range(64, 1)])).is_none());
        assert!(Tripwire::over(&storage, [range(4095, 2)].iter()).is_none());
        assert!(Tripwire::over(&storage, [range(1 << 40, 1)].iter()).is_none());
    }
}
