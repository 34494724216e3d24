//! What a machine has touched since it was last asked: the addresses that it executed, the pages that it read, the ports
//! and vectors that it used.
//!
//! A search through a recording leaves out the parts that cannot have what it looks for. So a footprint may name too
//! much, and never too little. It is no part of any state: nothing in the machine depends on it.

use std::collections::BTreeMap;

/// Bytes that one bit of [`Lines`] stands for. Compilers begin functions at multiples of it.
pub const LINE: u64 = 16;
/// Which lines of a page were touched: bit `n` of word `n / 64` is line `n`.
pub type Lines = [u64; 4];
/// Pages that are told apart; beyond that it only says that there were more.
const MOST_PAGES: usize = 1 << 15;
const PAGE_BITS: u32 = 12;

/// What was touched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Linear pages (address / 4096), ascending, with the lines that were executed in each; `None`: too many to say. The
    /// address at which the machine stood when it was asked is among them.
    pub executed: Option<Vec<(u64, Lines)>>,
    /// Pages of RAM for which the CPU had a translation, ascending: it loaded from no other.
    pub accessed: Vec<u32>,
    /// Ports that were read or written, ascending.
    pub ports: Vec<u16>,
    /// Vectors of interrupts and exceptions that were delivered: bit `n % 64` of word `n / 64`.
    pub vectors: [u64; 4],
}

/// Collects a footprint, but for the pages of RAM, which memory marks itself.
#[derive(Debug)]
pub(crate) struct Collector {
    executed: BTreeMap<u64, Lines>,
    overflow: bool,
    ports: Vec<u64>,
    vectors: [u64; 4],
}

impl Collector {
    pub(crate) fn new() -> Collector {
        Collector { executed: BTreeMap::new(), overflow: false, ports: vec![0; 1 << 10], vectors: [0; 4] }
    }

    /// Code in `[addr, addr + size)` runs.
    pub(crate) fn executed(&mut self, addr: u64, size: u64) {
        if self.overflow {
            return;
        }
        let (first, last) = (addr / LINE, addr.saturating_add(size.max(1) - 1) / LINE);
        for line in first..=last {
            let lines = self.executed.entry(line >> (PAGE_BITS - LINE.ilog2())).or_default();
            lines[(line % 256 / 64) as usize] |= 1 << (line % 64);
        }
        if self.executed.len() > MOST_PAGES {
            self.overflow = true;
            self.executed.clear();
        }
    }

    /// A port is accessed.
    pub(crate) fn port(&mut self, port: u16) {
        self.ports[usize::from(port) / 64] |= 1 << (port % 64);
    }

    /// An interrupt or exception is delivered.
    pub(crate) fn vector(&mut self, vector: u8) {
        self.vectors[usize::from(vector) / 64] |= 1 << (vector % 64);
    }

    /// What was collected, with the pages that memory has marked; begins anew.
    pub(crate) fn take(&mut self, accessed: Vec<u32>) -> Footprint {
        let bits = |(i, word): (usize, &u64)| {
            let word = *word;
            (0..64usize).filter(move |bit| word >> bit & 1 != 0).map(move |bit| (i * 64 + bit) as u16)
        };
        let footprint = Footprint {
            executed: (!self.overflow).then(|| std::mem::take(&mut self.executed).into_iter().collect()),
            accessed,
            ports: self.ports.iter().enumerate().flat_map(bits).collect(),
            vectors: self.vectors,
        };
        *self = Collector::new();
        footprint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_over_a_page_border_is_noted_in_both_pages() {
        let mut collector = Collector::new();
        collector.executed(0x1ff8, 0x20);
        collector.executed(0x5000, 1);
        let executed = collector.take(Vec::new()).executed.unwrap();
        assert_eq!(executed, [(1, [0, 0, 0, 1 << 63]), (2, [0b11, 0, 0, 0]), (5, [1, 0, 0, 0])]);
        assert_eq!(collector.take(Vec::new()).executed, Some(vec![]));
    }

    #[test]
    fn a_guest_that_runs_everywhere_takes_no_memory_without_bound() {
        let mut collector = Collector::new();
        (0..1 << 17).for_each(|page: u64| collector.executed(page << 12, 4));
        assert_eq!(collector.take(Vec::new()).executed, None);
        collector.executed(u64::MAX - 1, 100);
        let last = (u64::MAX >> 12, [0, 0, 0, 1 << 63]);
        assert_eq!(collector.take(Vec::new()).executed, Some(vec![last]));
    }

    #[test]
    fn ports_and_vectors_are_listed() {
        let mut collector = Collector::new();
        [0xffff, 0, 0x3f8, 0x3f8].into_iter().for_each(|port| collector.port(port));
        [0, 0x80, 255].into_iter().for_each(|vector| collector.vector(vector));
        let footprint = collector.take(vec![7]);
        assert_eq!((footprint.ports, footprint.accessed), (vec![0, 0x3f8, 0xffff], vec![7]));
        assert_eq!(footprint.vectors, [1, 0, 1, 1 << 63]);
    }
}
