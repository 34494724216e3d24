//! The index by interval: what the steps between two checkpoints touched.
//!
//! It is made while recording and lets a search leave out the intervals that cannot have what it looks for. It may name too
//! much, never too little; where there is none, anything may have happened.

//!
//! Summaries say the same of many intervals in a row, so that "never" is answered by few of them.

use super::format::Span;
use serde::{Deserialize, Serialize};
use vm::footprint::MOST_PIECES;
use vm::{Footprint, Icount, LinAddr, PAGE_SIZE, Trap, WatchRange};

/// Intervals in a summary, and summaries in a summary of those.
const SUMMARIZED: usize = 32;
/// Summaries upon summaries.
const LEVELS: usize = 2;

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
    /// Each piece as what lies between it and the one before, and how much longer it is than a byte.
    executed: Option<Vec<(u64, u64)>>,
    accessed: Vec<u32>,
    ports: Vec<u16>,
    vectors: [u64; 4],
}

impl IntervalBody {
    /// As it is stored.
    pub(crate) fn new(interval: &Interval) -> IntervalBody {
        let Footprint { executed, accessed, ports, vectors } = interval.footprint.clone();
        let mut body = IntervalBody { written: interval.written.clone(), executed, accessed, ports, vectors };
        differences(&mut body.written);
        differences(&mut body.accessed);
        let mut before = 0;
        for piece in body.executed.iter_mut().flatten() {
            let (first, last) = *piece;
            *piece = (first.wrapping_sub(before), last.wrapping_sub(first));
            before = last;
        }
        body
    }

    /// As it was before it was stored.
    pub(crate) fn unpacked(mut self, span: Span) -> Interval {
        sums(&mut self.written);
        sums(&mut self.accessed);
        let mut before = 0u64;
        for piece in self.executed.iter_mut().flatten() {
            let first = before.wrapping_add(piece.0);
            before = first.wrapping_add(piece.1);
            *piece = (first, before);
        }
        let IntervalBody { written, executed, accessed, ports, vectors } = self;
        let footprint = Footprint { executed, accessed, ports, vectors };
        Interval { from: span.from, to: span.to, written, footprint }
    }
}

/// Replaces each number but the first by how much it is more than the one before.
fn differences(list: &mut [u32]) {
    for i in (1..list.len()).rev() {
        list[i] = list[i].wrapping_sub(list[i - 1]);
    }
}

/// Undoes [`differences`].
fn sums(list: &mut [u32]) {
    for i in 1..list.len() {
        list[i] = list[i].wrapping_add(list[i - 1]);
    }
}

/// Summaries that are being made: one of each level.
#[derive(Debug, Default)]
pub(crate) struct Summaries([Option<(Interval, usize)>; LEVELS]);

impl Summaries {
    /// Takes in the next interval; the summaries that are complete by it, with their levels.
    pub(crate) fn add(&mut self, interval: &Interval) -> Vec<(u8, Interval)> {
        let mut complete = Vec::new();
        let mut next = interval.clone();
        for (level, slot) in self.0.iter_mut().enumerate() {
            let (sum, count) = match slot.take() {
                Some((mut sum, count)) if sum.to == next.from => {
                    sum.join(next);
                    (sum, count + 1)
                }
                // What is not seen from its start is not summarized.
                _ => (next, 1),
            };
            if count < SUMMARIZED {
                *slot = Some((sum, count));
                break;
            }
            complete.push((level as u8, sum.clone()));
            next = sum;
        }
        complete
    }
}

impl Interval {
    /// Bytes that it takes in memory.
    pub(crate) fn bytes(&self) -> usize {
        let pieces = self.footprint.executed.as_ref().map_or(0, Vec::len);
        size_of::<Interval>() + pieces * 16 + (self.written.len() + self.footprint.accessed.len()) * 4
    }

    /// Its extent.
    pub(crate) fn span(&self) -> Span {
        Span { from: self.from, to: self.to }
    }

    /// The next interval becomes part of this one.
    fn join(&mut self, next: Interval) {
        self.to = next.to;
        let (ours, theirs) = (&mut self.footprint, next.footprint);
        ours.executed = match (ours.executed.take(), theirs.executed) {
            (Some(a), Some(b)) => joined(&a, &b),
            _ => None,
        };
        union(&mut self.written, next.written);
        union(&mut ours.accessed, theirs.accessed);
        union(&mut ours.ports, theirs.ports);
        ours.vectors.iter_mut().zip(theirs.vectors).for_each(|(a, b)| *a |= b);
    }
}

/// Adds what is not there yet to an ascending list.
fn union<T: Ord>(list: &mut Vec<T>, more: Vec<T>) {
    list.extend(more);
    // Two ascending runs: sorting merges them.
    list.sort();
    list.dedup();
}

/// All pieces of two lists, put together where they touch; `None` if they are too many.
fn joined(a: &[(u64, u64)], b: &[(u64, u64)]) -> Option<Vec<(u64, u64)>> {
    let mut all: Vec<(u64, u64)> = [a, b].concat();
    all.sort();
    let mut pieces: Vec<(u64, u64)> = Vec::with_capacity(a.len().max(b.len()));
    for (first, last) in all {
        match pieces.last_mut() {
            Some((_, before)) if first <= before.saturating_add(1) => *before = last.max(*before),
            _ => pieces.push((first, last)),
        }
    }
    (pieces.len() <= MOST_PIECES).then_some(pieces)
}

impl Interval {
    /// Whether the instruction at `addr` may have been executed.
    pub fn may_execute(&self, addr: LinAddr) -> bool {
        let Some(executed) = &self.footprint.executed else { return true };
        let next = executed.partition_point(|(_, last)| *last < addr.0);
        executed.get(next).is_some_and(|(first, _)| *first <= addr.0)
    }

    /// Whether a trap may have been met.
    pub fn may_spring(&self, trap: &Trap) -> bool {
        let has = |vector: u8| self.footprint.vectors[usize::from(vector) / 64] >> (vector % 64) & 1 != 0;
        match trap {
            Trap::Port { first, last, .. } => {
                // An access of four ports has its first one noted.
                let from = first.saturating_sub(3);
                let next = self.footprint.ports.partition_point(|port| *port < from);
                self.footprint.ports.get(next).is_some_and(|port| port <= last)
            }
            Trap::Interrupt(vector) | Trap::Exception(vector) => has(*vector),
            Trap::AddressSpace(_) => true,
            Trap::Execute(addr) => {
                let page = (addr.0 / PAGE_SIZE as u64) as u32;
                self.footprint.accessed.binary_search(&page).is_ok()
                    || self.written.binary_search(&page).is_ok()
            }
        }
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

    fn interval(from: u64, to: u64, written: &[u32], executed: Option<&[(u64, u64)]>) -> Interval {
        let executed = executed.map(<[_]>::to_vec);
        let footprint = Footprint { executed, ..Footprint::default() };
        Interval { from: Icount(from), to: Icount(to), written: written.to_vec(), footprint }
    }

    #[test]
    fn an_interval_is_the_same_after_storing() {
        let mut before = interval(
            3,
            9,
            &[3, 4, 70_000],
            Some(&[(0x1000, 0x100f), (0x1012, 0x1012), (u64::MAX, u64::MAX)]),
        );
        before.footprint.accessed = vec![0, 9];
        before.footprint.ports = vec![0x20, 0xffff];
        before.footprint.vectors = [1, 0, 0, 0];
        let interval = IntervalBody::new(&before).unpacked(before.span());
        assert_eq!(interval, before);
        let meets =
            |page: u64, kind| interval.may_meet(&WatchRange { addr: PhysAddr(page << 12), len: 8, kind });
        assert!(meets(70_000, WatchKind::Write) && !meets(9, WatchKind::Write));
        assert!(meets(9, WatchKind::Read) && meets(3, WatchKind::Access) && !meets(8, WatchKind::Access));
        for (addr, may) in [
            (0xfff, false),
            (0x1000, true),
            (0x100f, true),
            (0x1010, false),
            (0x1012, true),
            (0x1013, false),
            (u64::MAX - 1, false),
            (u64::MAX, true),
        ] {
            assert_eq!(interval.may_execute(LinAddr(addr)), may, "{addr:#x}");
        }
    }

    #[test]
    fn traps_are_ruled_out_by_what_was_seen() {
        let mut interval = interval(0, 1, &[], None);
        interval.footprint.accessed = vec![9];
        interval.footprint.ports = vec![0x20];
        interval.footprint.vectors = [1 << 14, 0, 0, 0];
        let port = |first, last| interval.may_spring(&Trap::Port { first, last, kind: WatchKind::Read });
        assert!(port(0x20, 0x20) && port(0x23, 0x30) && !port(0x24, 0x30) && !port(0, 0x1f));
        assert!(interval.may_spring(&Trap::Exception(14)) && !interval.may_spring(&Trap::Interrupt(13)));
        assert!(interval.may_spring(&Trap::Execute(PhysAddr(0x9123))));
        assert!(!interval.may_spring(&Trap::Execute(PhysAddr(0x8123))));
        assert!(interval.may_spring(&Trap::AddressSpace(None)));
    }

    #[test]
    fn where_too_much_was_executed_anything_may_have_been() {
        let interval =
            IntervalBody::new(&interval(0, 1, &[], None)).unpacked(Span { from: Icount(0), to: Icount(1) });
        assert!(interval.may_execute(LinAddr(5)));
    }

    #[test]
    fn a_summary_names_all_that_its_intervals_name() {
        let mut summaries = Summaries::default();
        let most = SUMMARIZED as u64;
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for n in 0..most * most {
            let interval = interval(n, n + 1, &[n as u32 % 7], Some(&[(n * 10, n * 10 + 8), (5, 12)]));
            for (level, summary) in summaries.add(&interval) {
                [&mut first, &mut second][usize::from(level)].push(summary);
            }
        }
        assert_eq!((first.len() as u64, second.len()), (most, 1));
        let all = &second[0];
        assert_eq!(
            (all.from, all.to, &all.written[..]),
            (Icount(0), Icount(most * most), &[0, 1, 2, 3, 4, 5, 6][..])
        );
        for n in 2..most * most {
            assert!(all.may_execute(LinAddr(n * 10 + 8)) && !all.may_execute(LinAddr(n * 10 + 9)));
        }
        assert!(all.may_execute(LinAddr(9)));
        assert_eq!(first[1].from, Icount(most));
        assert!(!first[1].may_execute(LinAddr(40)) && first[0].may_execute(LinAddr(40)));
    }

    #[test]
    fn a_summary_begins_anew_behind_a_gap_and_knows_when_too_much_was_executed() {
        let mut summaries = Summaries::default();
        assert!(summaries.add(&interval(0, 1, &[1], Some(&[]))).is_empty());
        let most = SUMMARIZED as u64;
        let mut complete = Vec::new();
        for n in 5..5 + most {
            let executed: Option<&[_]> = if n == 7 { None } else { Some(&[]) };
            complete.extend(summaries.add(&interval(n, n + 1, &[2], executed)));
        }
        assert_eq!(complete.len(), 1);
        assert_eq!(complete[0].1, interval(5, 5 + most, &[2], None));
    }
}
