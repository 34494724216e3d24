//! The index by interval: what the steps between two checkpoints touched.
//!
//! It is made while recording and lets a search leave out the intervals that cannot have what it looks for. It may name too
//! much, never too little; where there is none, anything may have happened.

use super::format::Span;
use serde::{Deserialize, Serialize};
use vm::footprint::{LINE, Lines};
use vm::{Footprint, Icount, LinAddr, PAGE_SIZE, WatchRange};

/// What the steps from `from` to before `to` touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interval {
    /// The first step.
    pub from: Icount,
    /// The step behind the last one.
    pub to: Icount,
    /// Pages of storage that may have been written, ascending.
    pub written: Vec<u32>,
    /// What was executed and accessed.
    pub footprint: Footprint,
}

/// How it is stored: numbers that ascend as differences.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct IntervalBody {
    written: Vec<u32>,
    executed: Option<Vec<(u64, Lines)>>,
    accessed: Vec<u32>,
    ports: Vec<u16>,
    vectors: [u64; 4],
}

impl IntervalBody {
    /// Of the pages written and the rest.
    pub(crate) fn new(written: &[usize], footprint: Footprint) -> IntervalBody {
        let Footprint { executed, accessed, ports, vectors } = footprint;
        let mut body = IntervalBody {
            written: written.iter().map(|page| *page as u32).collect(),
            executed,
            accessed,
            ports,
            vectors,
        };
        differences(&mut body.written, |n| n, u32::wrapping_sub);
        differences(&mut body.accessed, |n| n, u32::wrapping_sub);
        if let Some(executed) = &mut body.executed {
            differences(executed, |(page, _)| page, u64::wrapping_sub);
        }
        body
    }

    /// As it was before it was stored.
    pub(crate) fn unpacked(mut self, span: Span) -> Interval {
        sums(&mut self.written, |n| n, u32::wrapping_add);
        sums(&mut self.accessed, |n| n, u32::wrapping_add);
        if let Some(executed) = &mut self.executed {
            sums(executed, |(page, _)| page, u64::wrapping_add);
        }
        let IntervalBody { written, executed, accessed, ports, vectors } = self;
        let footprint = Footprint { executed, accessed, ports, vectors };
        Interval { from: span.from, to: span.to, written, footprint }
    }
}

/// Replaces each number but the first by how much it is more than the one before.
fn differences<T, N: Copy>(list: &mut [T], number: impl Fn(&mut T) -> &mut N, minus: impl Fn(N, N) -> N) {
    for i in (1..list.len()).rev() {
        let before = *number(&mut list[i - 1]);
        let here = number(&mut list[i]);
        *here = minus(*here, before);
    }
}

/// Undoes [`differences`].
fn sums<T, N: Copy>(list: &mut [T], number: impl Fn(&mut T) -> &mut N, plus: impl Fn(N, N) -> N) {
    for i in 1..list.len() {
        let before = *number(&mut list[i - 1]);
        let here = number(&mut list[i]);
        *here = plus(*here, before);
    }
}

impl Interval {
    /// Whether the instruction at `addr` may have been executed.
    pub fn may_execute(&self, addr: LinAddr) -> bool {
        let Some(executed) = &self.footprint.executed else { return true };
        let line = (addr.0 % PAGE_SIZE as u64 / LINE) as usize;
        let page = addr.0 / PAGE_SIZE as u64;
        executed
            .binary_search_by_key(&page, |(page, _)| *page)
            .is_ok_and(|i| executed[i].1[line / 64] >> (line % 64) & 1 != 0)
    }

    /// Whether a watched range may have been met.
    pub fn may_meet(&self, range: &WatchRange) -> bool {
        let first = (range.addr.0 / PAGE_SIZE as u64) as u32;
        let last = (range.addr.0.saturating_add(range.len.max(1) - 1) / PAGE_SIZE as u64) as u32;
        let among = |pages: &[u32]| {
            let next = pages.partition_point(|page| *page < first);
            pages.get(next).is_some_and(|page| *page <= last)
        };
        // A step may load from a page that it also writes, for which a translation is handed out only once.
        among(&self.written) || (range.kind.reads() && among(&self.footprint.accessed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vm::{PhysAddr, WatchKind};

    #[test]
    fn an_interval_is_the_same_after_storing() {
        let footprint = Footprint {
            executed: Some(vec![(1, [1, 2, 3, 4]), (0xf_ffff_ffff_ffff, [0, 0, 0, 1 << 63])]),
            accessed: vec![0, 9],
            ports: vec![0x20, 0xffff],
            vectors: [1, 0, 0, 0],
        };
        let span = Span { from: Icount(3), to: Icount(9) };
        let interval = IntervalBody::new(&[3, 4, 70_000], footprint.clone()).unpacked(span);
        assert_eq!((&interval.written, &interval.footprint), (&vec![3, 4, 70_000], &footprint));
        let meets =
            |page: u64, kind| interval.may_meet(&WatchRange { addr: PhysAddr(page << 12), len: 8, kind });
        assert!(meets(70_000, WatchKind::Write) && !meets(9, WatchKind::Write));
        assert!(meets(9, WatchKind::Read) && meets(3, WatchKind::Access) && !meets(8, WatchKind::Access));
        for (addr, may) in
            [(0x1000, true), (0x100f, true), (0x1010, false), (u64::MAX, true), (0x2000, false)]
        {
            assert_eq!(interval.may_execute(LinAddr(addr)), may, "{addr:#x}");
        }
    }

    #[test]
    fn where_too_much_was_executed_anything_may_have_been() {
        let span = Span { from: Icount(0), to: Icount(1) };
        let interval =
            IntervalBody::new(&[], Footprint { executed: None, ..Footprint::default() }).unpacked(span);
        assert!(interval.may_execute(LinAddr(5)));
    }
}
