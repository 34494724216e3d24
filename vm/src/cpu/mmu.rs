//! The page walker. One walker serves the engine's TLB fills, the delivery of exceptions and the debugger, which may also
//! want to see all that is mapped (Intel SDM 3A, chapter 4).

use super::cpuid::PHYSICAL_BITS;
use super::engine::{Access, Env, off};
use super::regs::flag;
use crate::memory::{Memory, PAGE_SIZE, PhysMemory, Stale};
use crate::units::PhysAddr;

const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;
/// Bits 12 to 51 of an 8-byte entry.
const FRAME: u64 = 0x000f_ffff_ffff_f000;
/// Bits 40 to 51: address bits that no model has.
const BEYOND: u64 = FRAME & !((1u64 << PHYSICAL_BITS) - 1);
/// Bits 52 to 62 of an 8-byte entry, which software may use in long mode only.
const IGNORED_LONG: u64 = 0x7ff0_0000_0000_0000;
const CR4_SMEP: u64 = 1 << 20;
const CR4_SMAP: u64 = 1 << 21;

/// What page-table entries may have, by CPU model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// 4 MiB pages beyond 4 GiB.
    pub pse36: bool,
    /// Pages of 1 GiB.
    pub page_1g: bool,
}

/// Whether a present PDPTE of legacy PAE has reserved bits set (SDM 3A, 4.4.1).
pub fn pdpte_reserved(entry: u64) -> bool {
    entry & (0x1e6 | BEYOND | IGNORED_LONG | NO_EXECUTE) != 0
}

/// Bits of the page-fault error code (SDM 3A, 4.7).
pub mod error {
    pub const PROTECTION: u32 = 1;
    pub const WRITE: u32 = 1 << 1;
    pub const USER: u32 = 1 << 2;
    pub const RESERVED: u32 = 1 << 3;
    pub const FETCH: u32 = 1 << 4;
}

/// The control registers that paging depends on.
#[derive(Clone, Copy, Debug)]
pub struct Paging {
    cr0: u64,
    cr3: u64,
    cr4: u64,
    efer: u64,
    /// EFLAGS.AC: a supervisor may access user pages in spite of SMAP.
    ac: bool,
    features: Features,
}

/// One entry met on the way.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    addr: u64,
    value: u64,
    wide: bool,
}

/// A successful walk. Nothing has been written yet: see [`Walk::commit`].
#[derive(Clone, Copy, Debug)]
pub struct Walk {
    /// Physical address (before the A20 gate).
    pub phys: u64,
    /// Stores are allowed to the one who asked.
    pub writable: bool,
    /// Fetches are allowed.
    pub executable: bool,
    entries: [Entry; 4],
    levels: usize,
    /// The last entry maps a page of 4 KiB.
    small: bool,
    /// Address of the PDPTE of legacy PAE.
    pdpte: Option<u64>,
}

/// A page that is mapped, or a large one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Its linear address.
    pub linear: u64,
    /// Its size in bytes.
    pub size: u64,
    /// Its physical address.
    pub phys: u64,
    /// The entry that maps it.
    pub entry: u64,
    /// Every entry on the way to it lets code at privilege level 3 in.
    pub user: bool,
    /// Every entry on the way to it lets stores in.
    pub writable: bool,
}

/// How entries of one paging mode are laid out.
struct Format {
    levels: u32,
    index_bits: u32,
    wide: bool,
    /// Highest level (0 = page table) at which the page-size bit makes a page.
    large_level: u32,
    /// 4 MiB pages beyond 4 GiB.
    pse36: bool,
}

/// Where an entry leads.
enum Next {
    /// To the table at this address.
    Table(u64),
    /// To the page at this address.
    Page(u64),
}

impl Format {
    /// How far an address is shifted to index a table of this level.
    #[inline]
    fn shift(&self, level: u32) -> u32 {
        12 + self.index_bits * level
    }

    /// Whether entries of this level are PDPTEs of legacy PAE, which have no rights and no accessed bit (SDM 3A, 4.4.1).
    #[inline]
    fn is_legacy_pdpt(&self, level: u32) -> bool {
        self.levels == 3 && level == 2
    }

    /// Where the entry with this index is, and what it holds.
    #[inline]
    fn entry(&self, mem: &Memory, table: u64, index: u64) -> (u64, u64) {
        if self.wide {
            let at = table + index * 8;
            (at, u64::from_le_bytes(mem.load(at)))
        } else {
            let at = table + index * 4;
            (at, u32::from_le_bytes(mem.load(at)).into())
        }
    }

    /// Where a present entry leads.
    #[inline]
    fn next(&self, value: u64, level: u32) -> Next {
        let frame = if self.wide { value & FRAME } else { value & 0xffff_f000 };
        if level > 0 && (level > self.large_level || value & LARGE == 0) {
            return Next::Table(frame);
        }
        // PSE-36: bits 13 to 20 of a 4 MiB entry are address bits 32 to 39 (SDM 3A, table 4-4).
        let high = if level > 0 && !self.wide && self.pse36 { (value >> 13 & 0xff) << 32 } else { 0 };
        Next::Page(frame & (!0 << self.shift(level)) | high)
    }
}

impl Paging {
    /// From the engine's registers.
    #[inline]
    pub fn of(env: &Env, features: Features) -> Paging {
        Paging {
            cr0: env.r64(off::CR),
            cr3: env.r64(off::CR + 24),
            cr4: env.r64(off::CR + 32),
            efer: env.r64(off::EFER),
            ac: env.r64(off::EFLAGS) & flag::AC != 0,
            features,
        }
    }

    /// For the debugger, which may see what SMAP hides.
    pub fn seeing_all(self) -> Paging {
        Paging { ac: true, ..self }
    }

    /// Whether CR0.PG is set.
    #[inline]
    pub fn enabled(&self) -> bool {
        self.cr0 & 1 << 31 != 0
    }

    /// The same with another CR3.
    pub fn with_cr3(self, cr3: u64) -> Paging {
        Paging { cr3, ..self }
    }

    /// Whether an address is in the part of the address space that [`Paging::upper_entries`] are for: from its middle on with
    /// four levels, its last quarter otherwise. It is where systems have their kernel, in every process the same.
    #[inline]
    pub fn is_upper(&self, addr: u64) -> bool {
        if self.efer & 1 << 10 != 0 { addr >> 47 != 0 } else { addr >= 0xc000_0000 }
    }

    /// The entries of the uppermost table that map the upper part: where they are, how many bytes they have together, and one
    /// of them.
    fn upper_entries(&self) -> (u64, usize, u64) {
        let (format, root) = self.format();
        match format.levels {
            4 => (root + 2048, 2048, 8),
            3 => (root + 24, 8, 8),
            _ => (root + 3072, 1024, 4),
        }
    }

    /// Whether the upper part is the same in both, entry by entry, down to the accessed bits.
    pub fn shares_upper(&self, other: &Paging, mem: &Memory) -> bool {
        let entries = |paging: &Paging| {
            let (at, len, _) = paging.upper_entries();
            let mut bytes = [0; PAGE_SIZE / 2];
            mem.read(PhysAddr(at), &mut bytes[..len]);
            bytes
        };
        entries(self) == entries(other)
    }

    /// Tells memory that cached translations of the upper part depend on the uppermost table. Returns whether stores to it may
    /// be cached as fast.
    pub fn note_upper(&self, mem: &mut Memory) -> Option<Stale> {
        let (at, _, entry) = self.upper_entries();
        mem.note_table(at, None, entry, self.format().0.levels == 3)
    }

    fn pae(&self) -> bool {
        self.cr4 & 1 << 5 != 0
    }

    fn no_execute(&self) -> bool {
        self.efer & 1 << 11 != 0 && self.pae()
    }

    fn format(&self) -> (Format, u64) {
        if self.efer & 1 << 10 != 0 {
            let large_level = if self.features.page_1g { 2 } else { 1 };
            (Format { levels: 4, index_bits: 9, wide: true, large_level, pse36: false }, self.cr3 & FRAME)
        } else if self.pae() {
            let format = Format { levels: 3, index_bits: 9, wide: true, large_level: 1, pse36: false };
            (format, self.cr3 & 0xffff_ffe0)
        } else {
            let (pse, pse36) = (self.cr4 & 1 << 4 != 0, self.features.pse36);
            let format = Format { levels: 2, index_bits: 10, wide: false, large_level: pse.into(), pse36 };
            (format, self.cr3 & 0xffff_f000)
        }
    }

    /// Whether a present entry has reserved bits set (SDM 3A, 4.3 to 4.5).
    fn reserved(&self, value: u64, level: u32, format: &Format) -> bool {
        let large = level > 0 && level <= format.large_level && value & LARGE != 0;
        if !format.wide {
            // A 4 MiB page: bit 21, and without PSE-36 the address bits above 32.
            let bits = if format.pse36 { 1 << 21 } else { 0x3f_e000 };
            return large && value & bits != 0;
        }
        let mut bits = BEYOND;
        if !self.no_execute() {
            bits |= NO_EXECUTE;
        }
        if format.levels == 3 {
            bits |= IGNORED_LONG;
            if format.is_legacy_pdpt(level) {
                return pdpte_reserved(value);
            }
        } else if level == 3 || (level == 2 && !large) {
            bits |= LARGE;
        }
        if large {
            // Below the page's address and above the PAT bit.
            bits |= ((1 << (12 + 9 * level)) - 1) & !0x1fff;
        }
        value & bits != 0
    }

    /// Calls `each` with what is mapped at and above `from`, in order of address, until it returns false. Not at all without paging.
    pub fn mappings(&self, mem: &Memory, from: u64, each: &mut dyn FnMut(&Mapping) -> bool) {
        if self.enabled() {
            let (format, root) = self.format();
            let top = format.levels - 1;
            Survey { mem, format, from, each }.table(root, top, 0, true, true);
        }
    }

    /// Translates `addr` for `access` at privilege `user`; an error is the page-fault error code.
    pub fn walk(&self, mem: &Memory, addr: u64, access: Access, user: bool) -> Result<Walk, u32> {
        if !self.enabled() {
            return Ok(Walk {
                phys: addr & 0xffff_ffff,
                writable: true,
                executable: true,
                entries: [Entry::default(); 4],
                levels: 0,
                small: false,
                pdpte: None,
            });
        }
        let mut code = 0;
        if access == Access::Write {
            code |= error::WRITE;
        }
        if user {
            code |= error::USER;
        }
        if access == Access::Fetch && (self.no_execute() || self.cr4 & CR4_SMEP != 0) {
            code |= error::FETCH;
        }
        let (format, root) = self.format();
        let mut entries = [Entry::default(); 4];
        let mut used = 0;
        let (mut writable, mut user_page, mut executable) = (true, true, true);
        let mut table = root;
        let mut level = format.levels - 1;
        let mut pdpte = None;
        let phys = loop {
            let index = (addr >> format.shift(level)) & ((1 << format.index_bits) - 1);
            let (at, value) = format.entry(mem, table, index);
            if value & PRESENT == 0 {
                return Err(code);
            }
            if self.reserved(value, level, &format) {
                return Err(code | error::PROTECTION | error::RESERVED);
            }
            if format.is_legacy_pdpt(level) {
                pdpte = Some(at);
            } else {
                entries[used] = Entry { addr: at, value, wide: format.wide };
                used += 1;
                writable &= value & WRITABLE != 0;
                user_page &= value & USER != 0;
                executable &= value & NO_EXECUTE == 0;
            }
            match format.next(value, level) {
                Next::Page(page) => break page | (addr & ((1 << format.shift(level)) - 1)),
                Next::Table(next) => table = next,
            }
            level -= 1;
        };
        let write_protect = self.cr0 & 1 << 16 != 0;
        let writable = writable || (!user && !write_protect);
        let executable = executable && (user || !user_page || self.cr4 & CR4_SMEP == 0);
        let smap = !user && user_page && self.cr4 & CR4_SMAP != 0 && !self.ac;
        let allowed = (user_page || !user)
            && match access {
                Access::Read => !smap,
                Access::Write => writable && !smap,
                Access::Fetch => executable,
            };
        let writable = writable && !smap;
        if !allowed {
            return Err(code | error::PROTECTION);
        }
        Ok(Walk { phys, writable, executable, entries, levels: used, small: level == 0, pdpte })
    }
}

/// A look through all tables.
struct Survey<'a> {
    mem: &'a Memory,
    format: Format,
    /// The first address of interest.
    from: u64,
    each: &'a mut dyn FnMut(&Mapping) -> bool,
}

impl Survey<'_> {
    /// One table, which maps the addresses from `base`, below entries with these rights; false: no more is wanted.
    fn table(&mut self, table: u64, level: u32, base: u64, user: bool, writable: bool) -> bool {
        let shift = self.format.shift(level);
        let entries = if self.format.is_legacy_pdpt(level) { 4 } else { 1 << self.format.index_bits };
        for index in 0..entries {
            let linear = self.canonical(base | index << shift);
            let (_, entry) = self.format.entry(self.mem, table, index);
            if entry & PRESENT == 0 || linear | ((1 << shift) - 1) < self.from {
                continue;
            }
            let has_rights = !self.format.is_legacy_pdpt(level);
            let user = user && !(has_rights && entry & USER == 0);
            let writable = writable && !(has_rights && entry & WRITABLE == 0);
            let goes_on = match self.format.next(entry, level) {
                Next::Table(next) => self.table(next, level - 1, linear, user, writable),
                Next::Page(phys) => {
                    (self.each)(&Mapping { linear, size: 1 << shift, phys, entry, user, writable })
                }
            };
            if !goes_on {
                return false;
            }
        }
        true
    }

    /// With four levels addresses have 48 bits, of which the uppermost is repeated.
    fn canonical(&self, addr: u64) -> u64 {
        if self.format.levels == 4 { ((addr << 16) as i64 >> 16) as u64 } else { addr }
    }
}

impl Walk {
    /// Whether every entry is marked accessed.
    pub fn accessed(&self) -> bool {
        self.entries[..self.levels].iter().all(|e| e.value & ACCESSED != 0)
    }

    /// Whether the page is marked dirty (or paging is off).
    pub fn dirty(&self) -> bool {
        self.levels == 0 || self.entries[self.levels - 1].value & DIRTY != 0
    }

    /// Sets the accessed bits, and for a store the dirty bit: both are in an entry's first byte.
    pub fn commit(&mut self, mem: &mut Memory, access: Access) {
        for i in 0..self.levels {
            let entry = &mut self.entries[i];
            let mut value = entry.value | ACCESSED;
            if i + 1 == self.levels && access == Access::Write {
                value |= DIRTY;
            }
            if value != entry.value {
                entry.value = value;
                mem.mark_entry(entry.addr, value as u8);
            }
        }
    }

    /// Tells memory which tables this walk through `addr` went by, as its result is going to be cached. Returns the
    /// cached translations that allow fast stores to one of them: the caller makes them void.
    pub fn note_tables(&self, mem: &mut Memory, addr: u64) -> Option<Stale> {
        let mut fast = None;
        if let Some(root) = self.pdpte {
            fast = mem.note_table(root, None, 8, true);
        }
        for (i, entry) in self.entries[..self.levels].iter().enumerate() {
            let size = if entry.wide { 8 } else { 4 };
            let leaf = i + 1 == self.levels && self.small;
            let span = (PAGE_SIZE as u64 / size) * PAGE_SIZE as u64;
            let base = leaf.then_some(addr & !(span - 1));
            fast = Stale::both(fast, mem.note_table(entry.addr, base, size, false));
        }
        fast
    }

    /// Whether this walk went by an entry of which a byte is among `len` bytes of RAM at this offset.
    pub fn went_by(&self, mem: &Memory, at: u64, len: u64) -> bool {
        let hit = |entry: u64, size: u64| {
            let entry = mem.bus_address(entry);
            at < entry + size && entry < at + len
        };
        self.pdpte.is_some_and(|entry| hit(entry, 8))
            || self.entries[..self.levels].iter().any(|e| hit(e.addr, if e.wide { 8 } else { 4 }))
    }
}
