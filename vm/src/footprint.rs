//! What a machine has touched since it was last asked: the addresses that it executed, the pages that it read, the ports
//! and vectors that it used.
//!
//! A search through a recording leaves out the parts that cannot have what it looks for. So a footprint may name too
//! much, and never too little. It is no part of any state: nothing in the machine depends on it.

use std::collections::BTreeMap;

/// Pages that are told apart: beyond that, and beyond [`MOST_PIECES`], it only says that there was more.
const MOST_PAGES: usize = 1 << 15;
/// Most pieces of code that are told apart.
pub const MOST_PIECES: usize = 1 << 18;
const PAGE_BITS: u32 = 12;

/// Which bytes of a page were executed: bit `n % 64` of word `n / 64`.
type Bytes = [u64; 64];

/// What was touched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Linear addresses that were executed, as pieces from the first to the last byte of each, ascending and apart; `None`: too many
    /// to say. The address at which the machine stood when it was asked is among them.
    pub executed: Option<Vec<(u64, u64)>>,
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
    executed: BTreeMap<u64, Box<Bytes>>,
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
        let last = addr.saturating_add(size.max(1) - 1);
        let mut at = addr;
        loop {
            let end = (at | 63).min(last);
            let bytes = self.executed.entry(at >> PAGE_BITS).or_insert_with(|| Box::new([0; 64]));
            bytes[(at >> 6 & 63) as usize] |= (u64::MAX >> (63 - (end - at))) << (at & 63);
            if end == last {
                break;
            }
            at = end + 1;
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
            executed: if self.overflow { None } else { pieces(&self.executed) },
            accessed,
            ports: self.ports.iter().enumerate().flat_map(bits).collect(),
            vectors: self.vectors,
        };
        *self = Collector::new();
        footprint
    }
}

/// The bytes that are marked, as pieces; `None` if there are too many.
fn pieces(pages: &BTreeMap<u64, Box<Bytes>>) -> Option<Vec<(u64, u64)>> {
    let mut pieces: Vec<(u64, u64)> = Vec::new();
    for (page, bytes) in pages {
        for (i, word) in bytes.iter().enumerate() {
            let (base, mut rest) = ((page << PAGE_BITS) + 64 * i as u64, *word);
            while rest != 0 {
                let start = rest.trailing_zeros();
                let len = (rest >> start).trailing_ones();
                rest &= !((u64::MAX >> (64 - len)) << start);
                let (first, last) = (base + u64::from(start), base + u64::from(start + len - 1));
                match pieces.last_mut() {
                    Some((_, before)) if *before + 1 == first => *before = last,
                    _ => pieces.push((first, last)),
                }
            }
        }
        if pieces.len() > MOST_PIECES {
            return None;
        }
    }
    Some(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_noted_byte_by_byte_and_put_together_over_borders() {
        let mut collector = Collector::new();
        collector.executed(0x1ff8, 0x20);
        collector.executed(0x5000, 1);
        collector.executed(0x5002, 3);
        collector.executed(0x5003, 200);
        let executed = collector.take(Vec::new()).executed.unwrap();
        assert_eq!(executed, [(0x1ff8, 0x2017), (0x5000, 0x5000), (0x5002, 0x50ca)]);
        assert_eq!(collector.take(Vec::new()).executed, Some(vec![]));
    }

    #[test]
    fn a_guest_that_runs_everywhere_takes_no_memory_without_bound() {
        let mut collector = Collector::new();
        (0..1 << 17).for_each(|page: u64| collector.executed(page << 12, 4));
        assert_eq!(collector.take(Vec::new()).executed, None);
        (0..1 << 20).for_each(|n: u64| collector.executed(n * 2, 1));
        assert_eq!(collector.take(Vec::new()).executed, None);
        collector.executed(u64::MAX - 1, 100);
        assert_eq!(collector.take(Vec::new()).executed, Some(vec![(u64::MAX - 1, u64::MAX)]));
        collector.executed(0, 64);
        assert_eq!(collector.take(Vec::new()).executed, Some(vec![(0, 63)]));
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
