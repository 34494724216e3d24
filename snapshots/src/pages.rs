//! Pages of RAM: their hashes, and the table of all pages at one moment.
//!
//! A [`PageMap`] says what each page of RAM held at a checkpoint. It is a persistent tree: the map of the next checkpoint
//! shares every branch below which nothing changed, so making one costs as much as the pages that changed, and so does
//! finding out in what two of them differ.

use crate::recording::StoredPage;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use vm::{MachineState, PAGE_SIZE};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// The contents of one page.
pub(crate) type PageBytes = [u8; PAGE_SIZE];

/// A page of zeros.
pub(crate) static ZERO_PAGE: PageBytes = [0; PAGE_SIZE];

/// Children of a tree node, a power of two.
const FAN_OUT: usize = 16;
/// `FAN_OUT` is 2 to this.
const FAN_BITS: u32 = 4;
/// Levels of the tree: enough for 2^28 pages, 1 TiB.
const LEVELS: u32 = 7;
/// What a page costs in memory beside its bytes: its share of the tree.
const OVERHEAD_BYTES: usize = 640;

/// By what a page's contents are known: `None` for zeros.
pub(crate) fn page_hash(bytes: &PageBytes) -> Option<u128> {
    if bytes == &ZERO_PAGE { None } else { Some(xxh3_128(bytes)) }
}

/// The short form that goes into the hash of all RAM; 0 for zeros.
pub(crate) fn short_hash(hash: Option<u128>) -> u64 {
    hash.map_or(0, |h| h as u64)
}

/// Page `page` of `ram`, if RAM has it.
pub(crate) fn page_of(ram: &[u8], page: usize) -> Option<&PageBytes> {
    let start = page.checked_mul(PAGE_SIZE)?;
    ram.get(start..start.checked_add(PAGE_SIZE)?)?.try_into().ok()
}

/// A hash of all RAM that is brought up to date page by page: the sum, wrapping, of one number per page made from the
/// page's place and contents. A sum does not depend on the order in which pages changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RamHash {
    pages: Vec<u64>,
    sum: u64,
}

impl RamHash {
    /// RAM of `bytes` bytes, all zero.
    pub(crate) fn new(bytes: u64) -> RamHash {
        RamHash { pages: vec![0; (bytes as usize).div_ceil(PAGE_SIZE)], sum: 0 }
    }

    /// Page `page` now has this short hash.
    pub(crate) fn set(&mut self, page: usize, hash: u64) {
        if let Some(slot) = self.pages.get_mut(page) {
            self.sum = self.sum.wrapping_sub(mix(page, *slot)).wrapping_add(mix(page, hash));
            *slot = hash;
        }
    }

    /// The short hash of page `page`.
    pub(crate) fn page(&self, page: usize) -> u64 {
        self.pages.get(page).copied().unwrap_or(0)
    }

    /// The pages that are not zeros, ascending.
    pub(crate) fn used(&self) -> Vec<usize> {
        (0..self.pages.len()).filter(|page| self.pages[*page] != 0).collect()
    }

    /// The pages that are not the same in `other`, ascending.
    pub(crate) fn differing(&self, other: &RamHash) -> Vec<usize> {
        let most = self.pages.len().max(other.pages.len());
        (0..most).filter(|page| self.page(*page) != other.page(*page)).collect()
    }

    /// The hash of the machine whose RAM this is and whose other state encodes as `state`.
    pub(crate) fn with_state(&self, state: &[u8]) -> u64 {
        let mut both = [0; 16];
        both[..8].copy_from_slice(&xxh3_64(state).to_le_bytes());
        both[8..].copy_from_slice(&self.sum.to_le_bytes());
        xxh3_64(&both)
    }
}

/// Brings `hashes` up to date after the pages `dirty` of `ram` may have changed.
pub(crate) fn rehash(hashes: &mut RamHash, ram: &[u8], dirty: &[usize]) {
    for page in dirty {
        if let Some(bytes) = page_of(ram, *page) {
            hashes.set(*page, short_hash(page_hash(bytes)));
        }
    }
}

/// One page's part in the sum; zeros count nothing.
fn mix(page: usize, hash: u64) -> u64 {
    if hash == 0 {
        return 0;
    }
    let mut both = [0; 16];
    both[..8].copy_from_slice(&(page as u64).to_le_bytes());
    both[8..].copy_from_slice(&hash.to_le_bytes());
    xxh3_64(&both)
}

/// A state as bytes: what is hashed and what is stored.
pub(crate) fn encode_state(state: &MachineState) -> Result<Vec<u8>, bincode::error::EncodeError> {
    bincode::serde::encode_to_vec(state, bincode::config::standard())
}

/// Counts the memory that pages of checkpoints take, however they are shared.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meter(Arc<AtomicUsize>);

impl Meter {
    /// Bytes in use.
    pub(crate) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// A page kept in memory.
#[derive(Debug)]
pub(crate) struct MemPage {
    /// What it holds.
    pub(crate) bytes: Box<PageBytes>,
    hash: u64,
    meter: Meter,
}

impl MemPage {
    /// A copy of `bytes`, whose short hash is `hash`.
    pub(crate) fn new(bytes: &PageBytes, hash: u64, meter: &Meter) -> Arc<MemPage> {
        meter.0.fetch_add(PAGE_SIZE + OVERHEAD_BYTES, Ordering::Relaxed);
        Arc::new(MemPage { bytes: Box::new(*bytes), hash, meter: meter.clone() })
    }
}

impl Drop for MemPage {
    fn drop(&mut self) {
        self.meter.0.fetch_sub(PAGE_SIZE + OVERHEAD_BYTES, Ordering::Relaxed);
    }
}

/// Where a page's contents are.
#[derive(Clone, Debug, Default)]
pub(crate) enum Page {
    /// All zeros.
    #[default]
    Zero,
    /// In the recording.
    File(StoredPage),
    /// In memory.
    Memory(Arc<MemPage>),
}

impl Page {
    /// The short hash of its contents.
    pub(crate) fn hash(&self) -> u64 {
        match self {
            Page::Zero => 0,
            Page::File(stored) => stored.hash,
            Page::Memory(page) => page.hash,
        }
    }

    /// Whether both are the same copy. Two copies of equal bytes may count as different: that costs a comparison later,
    /// never an answer.
    fn same(&self, other: &Page) -> bool {
        match (self, other) {
            (Page::Zero, Page::Zero) => true,
            (Page::File(a), Page::File(b)) => a == b,
            (Page::Memory(a), Page::Memory(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

#[derive(Clone, Debug)]
enum Node {
    Inner(Box<[Option<Arc<Node>>; FAN_OUT]>),
    Leaf(Box<[Page; FAN_OUT]>),
}

impl Node {
    fn empty(level: u32) -> Node {
        if level == 0 {
            Node::Leaf(Box::new(std::array::from_fn(|_| Page::Zero)))
        } else {
            Node::Inner(Box::new(std::array::from_fn(|_| None)))
        }
    }
}

/// What every page of RAM holds at one moment; zeros where nothing was set.
#[derive(Clone, Debug, Default)]
pub(crate) struct PageMap {
    root: Option<Arc<Node>>,
}

/// Which child of a node at `level` leads to `page`.
fn child(page: usize, level: u32) -> usize {
    (page >> (FAN_BITS * level)) & (FAN_OUT - 1)
}

impl PageMap {
    /// Says what page `page` holds.
    pub(crate) fn set(&mut self, page: usize, to: Page) {
        debug_assert!(page < 1 << (FAN_BITS * LEVELS));
        let mut slot = &mut self.root;
        let mut level = LEVELS - 1;
        loop {
            let node = Arc::make_mut(slot.get_or_insert_with(|| Arc::new(Node::empty(level))));
            match node {
                Node::Inner(children) => slot = &mut children[child(page, level)],
                Node::Leaf(pages) => {
                    pages[child(page, 0)] = to;
                    return;
                }
            }
            level = level.saturating_sub(1);
        }
    }

    /// What page `page` holds.
    pub(crate) fn get(&self, page: usize) -> Page {
        let mut slot = &self.root;
        let mut level = LEVELS - 1;
        while let Some(node) = slot {
            match node.as_ref() {
                Node::Inner(children) => slot = &children[child(page, level)],
                Node::Leaf(pages) => return pages[child(page, 0)].clone(),
            }
            level = level.saturating_sub(1);
        }
        Page::Zero
    }

    /// The pages in which `other` is not known to equal this map, ascending.
    pub(crate) fn changed(&self, other: &PageMap) -> Vec<usize> {
        let mut found = Vec::new();
        diff(self.root.as_ref(), other.root.as_ref(), 0, LEVELS - 1, &mut found);
        found
    }
}

/// Adds the pages below two nodes at the same place that differ; `first` is the place's first page.
fn diff(a: Option<&Arc<Node>>, b: Option<&Arc<Node>>, first: usize, level: u32, found: &mut Vec<usize>) {
    match (a, b) {
        (None, None) => return,
        (Some(a), Some(b)) if Arc::ptr_eq(a, b) => return,
        _ => {}
    }
    for i in 0..FAN_OUT {
        let place = first | (i << (FAN_BITS * level));
        if level == 0 {
            if !page_in(a, i).same(page_in(b, i)) {
                found.push(place);
            }
        } else {
            diff(node_in(a, i), node_in(b, i), place, level - 1, found);
        }
    }
}

fn page_in(node: Option<&Arc<Node>>, i: usize) -> &Page {
    match node.map(Arc::as_ref) {
        Some(Node::Leaf(pages)) => &pages[i],
        _ => &Page::Zero,
    }
}

fn node_in(node: Option<&Arc<Node>>, i: usize) -> Option<&Arc<Node>> {
    match node.map(Arc::as_ref) {
        Some(Node::Inner(children)) => children[i].as_ref(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(id: u32) -> Page {
        Page::File(StoredPage { id, hash: u64::from(id) + 1 })
    }

    #[test]
    fn a_map_gives_back_what_was_set_and_zero_elsewhere() {
        let mut map = PageMap::default();
        for page in [0, 63, 64, 4095, 4096, 786_431] {
            map.set(page, file(page as u32));
        }
        for page in [0, 63, 64, 4095, 4096, 786_431] {
            assert_eq!(map.get(page).hash(), page as u64 + 1);
        }
        for page in [1, 62, 65, 4097, 786_430] {
            assert_eq!(map.get(page).hash(), 0);
        }
    }

    #[test]
    fn a_changed_copy_leaves_the_original_and_differs_only_where_changed() {
        let mut old = PageMap::default();
        for page in (0..10_000).step_by(7) {
            old.set(page, file(page as u32));
        }
        let mut new = old.clone();
        new.set(14, file(99));
        new.set(5000, file(98));
        new.set(7, Page::Zero);
        assert_eq!(old.changed(&new), [7, 14, 5000]);
        assert_eq!(new.changed(&old), [7, 14, 5000]);
        assert_eq!(old.get(14).hash(), 15);
        assert!(old.changed(&old.clone()).is_empty());
    }

    #[test]
    fn the_hash_of_ram_depends_on_contents_and_place_but_not_on_history() {
        let mut a = RamHash::new(64 << 12);
        let mut b = a.clone();
        let start = a.with_state(b"s");
        a.set(3, 77);
        a.set(5, 78);
        b.set(5, 1);
        b.set(5, 78);
        b.set(3, 77);
        assert_eq!(a, b);
        a.set(3, 78);
        a.set(5, 77);
        assert_ne!(a.with_state(b"s"), b.with_state(b"s"));
        a.set(3, 0);
        a.set(5, 0);
        assert_eq!(a.with_state(b"s"), start);
        assert_ne!(a.with_state(b"t"), start);
    }

    #[test]
    fn the_meter_counts_shared_pages_once_and_falls_to_zero() {
        let meter = Meter::default();
        let mut map = PageMap::default();
        map.set(1, Page::Memory(MemPage::new(&[1; PAGE_SIZE], 5, &meter)));
        let one = meter.bytes();
        assert!(one >= PAGE_SIZE);
        let copy = map.clone();
        assert_eq!(meter.bytes(), one);
        drop(map);
        assert_eq!(meter.bytes(), one);
        drop(copy);
        assert_eq!(meter.bytes(), 0);
    }
}
