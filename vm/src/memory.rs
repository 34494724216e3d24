//! Guest-physical memory: RAM, ROM, and what is where.
//!
//! RAM and ROM are host mappings that the engine executes from directly. The map is i440FX's: RAM from 0, the PAM
//! window at 0xc0000..0x100000 that shows RAM or ROM block by block, devices at 0xa0000..0xc0000 and above RAM, and the
//! system ROM below 4 GiB.
//!
//! *Storage* is everything that a guest can change: RAM, and behind it the memory of the display adapter, flash and what was
//! written to each disk. It is one sequence of pages, numbered from 0, so that whoever saves, compares or restores a machine
//! needs to know nothing of what they are for. Pages of storage carry three marks: *dirty* (may have changed since [`Memory::take_dirty`]),
//! *code* (the engine has translated from it, so a write must reach the engine) and *table* (a cached translation was
//! made by walking through it, so a write may make that translation void).

use crate::board::fw_cfg::Items;
use crate::config::{EXPANSION_ROM_BYTES, FIRMWARE_MAX, FLASH_CHIPS_MAX, MachineConfig, Vga};
use crate::media::{BlockSource, Media, MediumShape};
use crate::trap::{Event, Trap};
use crate::units::PhysAddr;
use crate::watch::{NOTED_BYTES, WatchHit, WatchRange, Watched};
use memmap2::{MmapMut, MmapOptions};
use std::collections::BTreeMap;
use std::ops::Range;

/// Bytes in a page.
pub const PAGE_SIZE: usize = 4096;
/// First address that is not RAM although RAM may lie below and above it.
const DEVICE_HOLE: std::ops::Range<u64> = 0xa_0000..0xc_0000;
/// The window that the PAM registers divide.
const PAM_WINDOW: std::ops::Range<u64> = 0xc_0000..0x10_0000;
/// PAM blocks are 16 KiB.
const PAM_BLOCK: u64 = 0x4000;
const PAM_BLOCKS: usize = 16;

/// Physical memory as a bus-mastering device sees it.
pub trait PhysMemory {
    /// Reads; holes read as 0xff.
    fn read(&self, addr: PhysAddr, buf: &mut [u8]);
    /// Writes; holes and ROM ignore it.
    fn write(&mut self, addr: PhysAddr, bytes: &[u8]);
    /// Reads a region of storage; zeros beyond its end.
    fn read_region(&self, region: Region, offset: u64, buf: &mut [u8]);
    /// Writes a region of storage; ignored beyond its end.
    fn write_region(&mut self, region: Region, offset: u64, bytes: &[u8]);
    /// What medium `number` is, if there is one.
    fn medium(&self, number: usize) -> Option<MediumShape>;
    /// Reads what medium `number` holds now; zeros beyond its end.
    fn read_medium(&self, number: usize, offset: u64, buf: &mut [u8]);
    /// Writes to medium `number`; ignored beyond its end and if it cannot be written to.
    fn write_medium(&mut self, number: usize, offset: u64, bytes: &[u8]);
    /// What the firmware configuration device holds under this number; empty for nothing.
    fn firmware_item(&self, _item: u16) -> &[u8] {
        &[]
    }
}

/// A part of storage behind RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Region {
    /// The memory of the display adapter.
    Video,
    /// The contents of the flash chip of this number.
    Flash(usize),
    /// What was written to the disk of this number: new contents XOR the image's, so that zeros mean "as in the image".
    Disk(usize),
}

/// What answers at a physical address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Storage at this offset: RAM (the offset is the address), video memory or, to be read only, flash.
    Ram(u64),
    /// ROM at this offset.
    Rom(u64),
    /// A device or nothing.
    Device,
}

/// Where the CPU sees parts of the display adapter that need no chip to answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Windows {
    /// Video memory as a whole.
    pub frame_buffer: Option<u64>,
    /// The expansion ROM.
    pub expansion_rom: Option<u64>,
    /// The flash chips that answer commands where their contents would be.
    pub flash_answers: [bool; FLASH_CHIPS_MAX],
}

/// Guest-physical memory.
pub struct Memory {
    /// All of storage.
    ram: MmapMut,
    ram_len: u64,
    video: Range<u64>,
    flash: Vec<Range<u64>>,
    disks: Vec<Range<u64>>,
    shapes: Vec<MediumShape>,
    media: Media,
    /// Pages of disks that were ever stored to: the others are zeros.
    touched: Vec<u64>,
    windows: Windows,
    /// The adapter's expansion ROM, and at the end the firmware.
    rom: MmapMut,
    expansion_rom_len: u64,
    /// Length of the firmware in ROM.
    rom_len: u64,
    has_firmware: bool,
    dirty: Vec<u64>,
    dirty_list: Vec<u32>,
    accessed: Vec<u64>,
    accessed_list: Vec<u32>,
    code: Vec<u64>,
    /// For each page, whether present TLB entries may allow fast stores to it: 0 none does, [`SEVERAL`], or the linear address of
    /// the page that does, plus 1.
    fast_store: Vec<u64>,
    /// The pages for which one may.
    fast_store_list: Vec<u32>,
    /// (reads from RAM, writes to RAM) for each PAM block.
    pam: [(bool, bool); PAM_BLOCKS],
    a20: bool,
    watched: Watched,
    stale_code: Vec<(u64, u64)>,
    table: Vec<u64>,
    tables: BTreeMap<usize, Table>,
    stale_translations: Option<Stale>,
    /// A table was walked that is not in RAM.
    table_elsewhere: bool,
    firmware_items: Items,
}

/// A page table that cached translations were made with.
#[derive(Clone, Copy, Debug)]
struct Table {
    /// Linear address that its first entry maps, if it is a last-level table seen at one place only.
    base: Option<u64>,
    /// Bytes of an entry.
    entry: u64,
    /// Entries need no accessed bit to have been used (PDPTEs of legacy PAE have none).
    no_accessed: bool,
    /// Stores since it was marked that voided nothing.
    harmless: u32,
}

/// Cached translations that are void.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stale {
    /// Those of the page at this linear address.
    Page(u64),
    /// All.
    All,
}

impl Stale {
    /// What is void if both are.
    pub fn both(one: Option<Stale>, other: Option<Stale>) -> Option<Stale> {
        match (one, other) {
            (None, stale) | (stale, None) => stale,
            (Some(a), Some(b)) if a == b => Some(a),
            _ => Some(Stale::All),
        }
    }
}

/// A table with this many stores that voided nothing is probably no table any more. Filling one may take as many as it has entries.
const HARMLESS_MAX: u32 = 1024;
/// Of [`Memory::note_fast_store`]: by more than one address.
const SEVERAL: u64 = 2;

fn bit(bits: &[u64], page: usize) -> bool {
    bits.get(page / 64).is_some_and(|word| word >> (page % 64) & 1 != 0)
}

impl Memory {
    /// Storage of zeroes as `config` has it, and a ROM with its firmware at the end (so that it ends at 4 GiB). `media` are
    /// the images of `config.media`.
    pub fn new(config: &MachineConfig, media: Vec<Box<dyn BlockSource>>) -> std::io::Result<Memory> {
        let bios = &config.bios;
        let ram_len = config.ram_bytes;
        let video = ram_len..ram_len + config.video_bytes();
        let mut end = video.end;
        let mut region = |bytes: u64| {
            let start = end;
            end += bytes.next_multiple_of(PAGE_SIZE as u64);
            start..end
        };
        let flash = config.flash.iter().map(|chip| region(chip.bytes)).collect();
        let disks = config.disk_bytes().map(region).collect();
        let words = (end as usize / PAGE_SIZE).div_ceil(64);
        // The CPU sees no disk: what is noted for its sake, and forgotten often, needs no bits for them.
        let seen_pages = config.reachable_bytes() as usize / PAGE_SIZE;
        let seen_words = seen_pages.div_ceil(64);
        let rom_len = bios.len().next_multiple_of(PAGE_SIZE).max(PAGE_SIZE);
        let expansion_rom_len = if config.vga == Vga::None { 0 } else { EXPANSION_ROM_BYTES };
        let mut rom = MmapMut::map_anon(expansion_rom_len + rom_len)?;
        rom.fill(0xff);
        for (byte, image) in rom[..expansion_rom_len].iter_mut().zip(&config.vga_bios) {
            *byte = *image;
        }
        rom[expansion_rom_len + rom_len - bios.len()..].copy_from_slice(bios);
        let pam = !config.has_firmware();
        Ok(Memory {
            // Most of a disk is never written: pages count when they are touched.
            ram: MmapOptions::new().len(end as usize).no_reserve_swap().map_anon()?,
            ram_len,
            video,
            flash,
            disks,
            shapes: (0..config.media.len()).filter_map(|number| config.medium(number)).collect(),
            media: Media::new(media),
            touched: vec![0; words],
            windows: Windows::default(),
            rom,
            expansion_rom_len: expansion_rom_len as u64,
            rom_len: if bios.is_empty() { 0 } else { rom_len as u64 },
            has_firmware: config.has_firmware(),
            dirty: vec![0; words],
            dirty_list: Vec::new(),
            accessed: vec![0; words],
            accessed_list: Vec::new(),
            code: vec![0; seen_words],
            fast_store: vec![0; seen_pages],
            fast_store_list: Vec::new(),
            pam: [(pam, pam); PAM_BLOCKS],
            a20: true,
            watched: Watched::default(),
            stale_code: Vec::new(),
            table: vec![0; seen_words],
            tables: BTreeMap::new(),
            stale_translations: None,
            table_elsewhere: false,
            firmware_items: Items::new(config),
        })
    }

    /// All of storage.
    pub fn storage(&self) -> &[u8] {
        &self.ram
    }

    /// The memory of the display adapter.
    pub fn video(&self) -> &[u8] {
        self.region(Region::Video)
    }

    /// First byte of storage that belongs to a disk, which the CPU cannot reach.
    fn reachable_end(&self) -> u64 {
        self.flash.last().unwrap_or(&self.video).end
    }

    /// First page of storage that belongs to a disk.
    fn first_disk_page(&self) -> usize {
        self.reachable_end() as usize / PAGE_SIZE
    }

    #[inline]
    fn touch(&mut self, page: usize) {
        if page >= self.first_disk_page() {
            self.touched[page / 64] |= 1 << (page % 64);
        }
    }

    /// Pages of disks that may be no zeros, ascending.
    pub fn touched_disk_pages(&self) -> impl Iterator<Item = usize> + '_ {
        let first = self.first_disk_page();
        let words = self.touched.iter().enumerate().skip(first / 64).filter(|(_, word)| **word != 0);
        words.flat_map(|(i, word)| {
            (0..64).filter(move |bit| word >> bit & 1 != 0).map(move |bit| i * 64 + bit)
        })
    }

    /// The part of storage that is the overlay of medium `number`, in bytes.
    pub fn overlay(&self, number: usize) -> Range<u64> {
        self.disks.get(number).cloned().unwrap_or(0..0)
    }

    /// Why what media gave is not to be believed, if the host could not read one.
    pub fn media_failure(&self) -> Option<String> {
        let failure = self.media.failure()?;
        Some(failure.to_owned())
    }

    /// All of RAM, for loading before power-on. Everything counts as dirty afterwards.
    pub fn ram_mut(&mut self) -> &mut [u8] {
        for page in 0..self.ram_len as usize / PAGE_SIZE {
            self.mark_dirty(page);
        }
        &mut self.ram[..self.ram_len as usize]
    }

    /// Host address and length of RAM with video memory and flash, and of ROM, for the engine.
    pub fn host_regions(&mut self) -> [(*mut u8, u64); 2] {
        [(self.ram.as_mut_ptr(), self.reachable_end()), (self.rom.as_mut_ptr(), self.rom.len() as u64)]
    }

    /// Takes over the A20 gate, the PAM registers and the windows; true if anything changed. Without
    /// firmware the window is RAM.
    pub fn set_map(&mut self, a20: bool, windows: Windows, pam: impl Fn(PhysAddr) -> (bool, bool)) -> bool {
        let before = (self.a20, self.windows, self.pam);
        self.a20 = a20;
        self.windows = windows;
        if self.has_firmware {
            for (i, block) in self.pam.iter_mut().enumerate() {
                *block = pam(PhysAddr(PAM_WINDOW.start + i as u64 * PAM_BLOCK));
            }
        }
        before != (self.a20, self.windows, self.pam)
    }

    /// What the ACPI tables for firmware say: the power management registers are at `base`.
    pub fn set_pm_base(&mut self, base: u16) {
        self.firmware_items.set_pm_base(base);
    }

    /// The address that reaches the bus: bit 20 is forced to 0 while the A20 gate is closed.
    #[inline]
    pub fn bus_address(&self, addr: u64) -> u64 {
        if self.a20 { addr } else { addr & !(1 << 20) }
    }

    /// What answers a read (or fetch), or a write, at a bus address.
    #[inline]
    pub fn place(&self, addr: u64, write: bool) -> Place {
        let ram_len = self.ram_len;
        if addr < DEVICE_HOLE.start || (addr >= PAM_WINDOW.end && addr < ram_len) {
            return if addr < ram_len { Place::Ram(addr) } else { Place::Device };
        }
        if PAM_WINDOW.contains(&addr) {
            let (read_ram, write_ram) = self.pam[((addr - PAM_WINDOW.start) / PAM_BLOCK) as usize];
            if if write { write_ram } else { read_ram } {
                return if addr < ram_len { Place::Ram(addr) } else { Place::Device };
            }
            // The ISA bridge shows the last 128 KiB of the firmware at 0xe0000.
            let from_top = PAM_WINDOW.end - addr;
            let shown = Some(from_top).filter(|from_top| *from_top <= 0x2_0000);
            return shown.and_then(|at| self.firmware_place(at, write)).unwrap_or(Place::Device);
        }
        if let Some(from_top) =
            (1u64 << 32).checked_sub(addr).filter(|from_top| (1..=FIRMWARE_MAX).contains(from_top))
            && let Some(place) = self.firmware_place(from_top, write)
        {
            return place;
        }
        let offset = |base: Option<u64>| base.and_then(|base| addr.checked_sub(base));
        if let Some(offset) = offset(self.windows.frame_buffer)
            && offset < self.video.end - self.video.start
        {
            return Place::Ram(self.video.start + offset);
        }
        if let Some(offset) = offset(self.windows.expansion_rom)
            && offset < self.expansion_rom_len
        {
            return Place::Rom(offset);
        }
        Place::Device
    }

    /// What answers so many bytes below the end of the firmware. Flash takes commands there, and stores nothing by itself.
    fn firmware_place(&self, from_top: u64, write: bool) -> Option<Place> {
        if from_top <= self.rom_len {
            return Some(Place::Rom(self.rom.len() as u64 - from_top));
        }
        let mut left = from_top;
        for (chip, answers) in self.flash.iter().zip(self.windows.flash_answers) {
            let bytes = chip.end - chip.start;
            if left <= bytes {
                return Some(if write || answers { Place::Device } else { Place::Ram(chip.end - left) });
            }
            left -= bytes;
        }
        None
    }

    /// Where in storage a load from an address, or a store to it, arrives.
    pub fn storage_at(&self, addr: u64, write: bool) -> Option<u64> {
        match self.place(self.bus_address(addr), write) {
            Place::Ram(at) => Some(at),
            Place::Rom(_) | Place::Device => None,
        }
    }

    /// Where in storage a byte of video memory is.
    pub fn video_at(&self, offset: u64) -> Option<u64> {
        self.video.start.checked_add(offset).filter(|at| *at < self.video.end)
    }

    /// Marks a page of RAM as changed.
    #[inline]
    pub fn mark_dirty(&mut self, page: usize) {
        let word = &mut self.dirty[page / 64];
        if *word >> (page % 64) & 1 == 0 {
            *word |= 1 << (page % 64);
            self.dirty_list.push(page as u32);
        }
    }

    /// Whether the page has been marked since [`Memory::take_dirty`].
    #[inline]
    pub fn is_dirty(&self, page: usize) -> bool {
        bit(&self.dirty, page)
    }

    /// The marked pages, ascending; none is marked afterwards. Cached translations that allow stores must be flushed.
    pub fn take_dirty(&mut self) -> Vec<usize> {
        let mut pages: Vec<usize> = self.dirty_list.drain(..).map(|p| p as usize).collect();
        for &page in &pages {
            self.dirty[page / 64] = 0;
        }
        pages.sort_unstable();
        pages
    }

    /// Notes that a translation to a page of RAM is handed out.
    #[inline]
    pub fn mark_accessed(&mut self, page: usize) {
        let word = &mut self.accessed[page / 64];
        if *word >> (page % 64) & 1 == 0 {
            *word |= 1 << (page % 64);
            self.accessed_list.push(page as u32);
        }
    }

    /// The pages so noted since the last call, ascending. Cached translations must be flushed.
    pub fn take_accessed(&mut self) -> Vec<u32> {
        let mut pages = std::mem::take(&mut self.accessed_list);
        for &page in &pages {
            self.accessed[page as usize / 64] = 0;
        }
        pages.sort_unstable();
        pages
    }

    /// Whether the engine may have translated code from this page.
    #[inline]
    pub fn is_code(&self, page: usize) -> bool {
        bit(&self.code, page)
    }

    /// Sets or clears the code mark.
    pub fn set_code(&mut self, page: usize, code: bool) {
        let mask = 1 << (page % 64);
        if code {
            self.code[page / 64] |= mask;
        } else {
            self.code[page / 64] &= !mask;
        }
    }

    /// Notes that a TLB entry with fast stores to a page of RAM is handed out, for the page at this linear address.
    #[inline]
    pub fn note_fast_store(&mut self, page: usize, linear: u64) {
        let linear = (linear & !(PAGE_SIZE as u64 - 1)) | 1;
        match &mut self.fast_store[page] {
            slot @ 0 => {
                *slot = linear;
                self.fast_store_list.push(page as u32);
            }
            slot if *slot != linear => *slot = SEVERAL,
            _ => {}
        }
    }

    /// The cached translations that may be such entries.
    pub fn fast_stores(&self, page: usize) -> Option<Stale> {
        match self.fast_store[page] {
            0 => None,
            SEVERAL => Some(Stale::All),
            linear => Some(Stale::Page(linear - 1)),
        }
    }

    /// The TLB was flushed: no entry exists, and no table has been walked for one.
    pub fn forget_translations(&mut self) {
        for page in self.fast_store_list.drain(..) {
            self.fast_store[page as usize] = 0;
        }
        for page in std::mem::take(&mut self.tables).into_keys() {
            self.table[page / 64] = 0;
        }
        self.stale_translations = None;
        self.table_elsewhere = false;
    }

    /// Whether every change of a table that cached translations were made with is noticed.
    pub fn follows_tables(&self) -> bool {
        !self.table_elsewhere
    }

    /// Whether cached translations were made by walking through this page.
    #[inline]
    pub fn is_table(&self, page: usize) -> bool {
        bit(&self.table, page)
    }

    /// Notes that the table at `addr` (physical) was walked for a translation that is going to be cached. `base` is the
    /// linear address that its first entry maps if it is a last-level table, `entry` the size of its entries in bytes.
    /// Returns the cached translations that allow fast stores to it, which they must not from now on: the caller makes them void.
    pub fn note_table(
        &mut self,
        addr: u64,
        base: Option<u64>,
        entry: u64,
        no_accessed: bool,
    ) -> Option<Stale> {
        let Place::Ram(at) = self.place(self.bus_address(addr), false) else {
            self.table_elsewhere = true;
            return None;
        };
        let page = at as usize / PAGE_SIZE;
        if self.is_table(page) {
            if let Some(table) = self.tables.get_mut(&page)
                && table.base != base
            {
                table.base = None;
            }
            return None;
        }
        self.table[page / 64] |= 1 << (page % 64);
        self.tables.insert(page, Table { base, entry, no_accessed, harmless: 0 });
        self.fast_stores(page)
    }

    /// Which cached translations are void, if any, since the last call.
    pub fn take_stale_translations(&mut self) -> Option<Stale> {
        self.stale_translations.take()
    }

    /// A store of `bytes` at RAM offset `at` to a table: does it void a cached translation? Only an entry that is present
    /// and accessed can have been cached.
    fn note_table_store(&mut self, at: u64, bytes: &[u8]) {
        let Some(table) = self.tables.get_mut(&(at as usize / PAGE_SIZE)) else { return };
        let used = if table.no_accessed { 1 } else { 1 | 1 << 5 };
        let end = at + bytes.len() as u64;
        let first = at & !(table.entry - 1);
        let mut voided = None;
        for entry in (first..end).step_by(table.entry as usize) {
            let from = entry.max(at);
            let to = (entry + table.entry).min(end);
            let old = &self.ram[from as usize..to as usize];
            let same = old == &bytes[(from - at) as usize..(to - at) as usize];
            if same || self.ram[entry as usize] & used != used {
                continue;
            }
            let index = (entry % PAGE_SIZE as u64) / table.entry;
            voided = match (voided, table.base) {
                (None, Some(base)) => Some(Stale::Page(base.wrapping_add(index * PAGE_SIZE as u64))),
                _ => Some(Stale::All),
            };
        }
        table.harmless += 1;
        if voided.is_none() && table.harmless > HARMLESS_MAX {
            voided = Some(Stale::All);
        }
        self.stale_translations = Stale::both(self.stale_translations, voided);
    }

    /// Replaces the watched physical ranges; true if they changed: cached translations must be flushed.
    pub fn set_watched(&mut self, ranges: &[WatchRange]) -> bool {
        self.watched.set(ranges)
    }

    /// Replaces the events that count.
    pub fn set_traps(&mut self, traps: Vec<Trap>) {
        self.watched.set_traps(traps);
    }

    /// Something has happened that may count.
    #[inline]
    pub fn note_event(&mut self, event: Event) {
        self.watched.note_event(event);
    }

    /// Whether anything is watched.
    #[inline]
    pub fn is_watching(&self) -> bool {
        !self.watched.ranges().is_empty()
    }

    /// Whether stores to the page at this address, or loads from it, are watched.
    #[inline]
    pub fn is_watched(&self, page: u64, write: bool) -> bool {
        self.watched.watches(page, write)
    }

    /// The first watched byte, or event that counts, met since the last call.
    pub fn take_watch_hit(&mut self) -> Option<WatchHit> {
        self.watched.take_hit()
    }

    /// Whether [`Memory::take_watch_hit`] would give something.
    #[inline]
    pub fn has_watch_hit(&self) -> bool {
        self.watched.has_hit()
    }

    /// What the watched ranges hold, one behind the other.
    pub fn watched_value(&self) -> [u8; NOTED_BYTES] {
        let mut value = [0; NOTED_BYTES];
        let mut at = 0;
        for range in self.watched.ranges() {
            let len = (NOTED_BYTES - at).min(range.len as usize);
            let from = range.addr.0 as usize;
            value[at..at + len].copy_from_slice(&self.ram[from..from + len]);
            at += len;
        }
        value
    }

    /// A load of an instruction from storage at this offset, inside one page.
    pub fn watched_load(&mut self, at: u64, buf: &mut [u8]) {
        self.watched.note_load(at, buf.len() as u64);
        buf.copy_from_slice(&self.ram[at as usize..at as usize + buf.len()]);
    }

    /// Replaces a whole page of storage: a restore, which is no store of the machine.
    pub fn replace_page(&mut self, page: usize, bytes: &[u8; PAGE_SIZE]) {
        let at = page * PAGE_SIZE;
        self.touch(page);
        self.mark_dirty(page);
        if self.is_code(page) {
            self.stale_code.push((at as u64, PAGE_SIZE as u64));
        }
        self.ram[at..at + PAGE_SIZE].copy_from_slice(bytes);
    }

    /// Ranges of code that were overwritten here and that the engine must forget.
    pub fn take_stale_code(&mut self) -> Vec<(u64, u64)> {
        std::mem::take(&mut self.stale_code)
    }

    /// Whether a store made something stale that the engine holds.
    #[inline]
    pub fn has_stale(&self) -> bool {
        !self.stale_code.is_empty() || self.stale_translations.is_some()
    }

    /// Sets bits in the first byte of a page-table entry: the walker's accessed and dirty bits, which void nothing.
    pub fn mark_entry(&mut self, addr: u64, bits: u8) {
        let Place::Ram(at) = self.place(self.bus_address(addr), true) else { return };
        let page = at as usize / PAGE_SIZE;
        self.mark_dirty(page);
        if self.is_code(page) {
            self.stale_code.push((at, 1));
        }
        let byte = &mut self.ram[at as usize];
        self.watched.note_store(at, &[*byte], &[*byte | bits]);
        *byte |= bits;
    }

    /// The part of storage that a region is, in bytes.
    fn range(&self, region: Region) -> Range<u64> {
        match region {
            Region::Video => self.video.clone(),
            Region::Flash(chip) => self.flash.get(chip).cloned().unwrap_or(0..0),
            Region::Disk(number) => self.overlay(number),
        }
    }

    /// A region as a whole.
    pub fn region(&self, region: Region) -> &[u8] {
        let range = self.range(region);
        &self.ram[range.start as usize..range.end as usize]
    }

    /// Where in storage `offset` of a region is, and how many of `len` bytes from there are inside it.
    fn part(&self, region: Region, offset: u64, len: usize) -> (u64, usize) {
        let range = self.range(region);
        let left = (range.end - range.start).saturating_sub(offset);
        let len = (len as u64).min(left) as usize;
        (if len == 0 { range.start } else { range.start + offset }, len)
    }

    /// Reads `N` bytes that do not cross a page.
    #[inline]
    pub fn load<const N: usize>(&self, addr: u64) -> [u8; N] {
        let mut out = [0xff; N];
        match self.place(self.bus_address(addr), false) {
            Place::Ram(at) => out.copy_from_slice(&self.ram[at as usize..at as usize + N]),
            Place::Rom(at) => out.copy_from_slice(&self.rom[at as usize..at as usize + N]),
            Place::Device => {}
        }
        out
    }

    /// Writes bytes that do not cross a page, with all marks.
    pub fn store(&mut self, addr: u64, bytes: &[u8]) {
        if let Place::Ram(at) = self.place(self.bus_address(addr), true) {
            self.store_at(at, bytes);
        }
    }

    /// Fills `n` elements at an offset of RAM, in a page where a store needs no other marks than it has.
    pub fn fill(&mut self, at: usize, element: &[u8], n: usize) {
        let target = &mut self.ram[at..at + element.len() * n];
        if element.iter().all(|byte| *byte == element[0]) {
            target.fill(element[0]);
        } else {
            target.chunks_exact_mut(element.len()).for_each(|place| place.copy_from_slice(element));
        }
    }

    /// Copies `n` elements of `size` bytes from one offset of RAM to another, one after the other: where they overlap, those
    /// that were written are read again. The target is as for [`Memory::fill`].
    pub fn move_elements(&mut self, from: usize, to: usize, size: usize, n: usize) {
        let len = size * n;
        if to <= from || to - from >= len {
            self.ram.copy_within(from..from + len, to);
            return;
        }
        for i in (0..len).step_by(size) {
            self.ram.copy_within(from + i..from + i + size, to + i);
        }
    }

    /// Writes bytes at an offset of storage, inside one page.
    fn store_at(&mut self, at: u64, bytes: &[u8]) {
        let page = at as usize / PAGE_SIZE;
        self.touch(page);
        self.mark_dirty(page);
        if self.is_code(page) {
            self.stale_code.push((at, bytes.len() as u64));
        }
        if self.is_table(page) {
            self.note_table_store(at, bytes);
        }
        let place = &mut self.ram[at as usize..at as usize + bytes.len()];
        self.watched.note_store(at, place, bytes);
        place.copy_from_slice(bytes);
    }
}

/// Splits `[addr, addr + len)` at page boundaries: (address, offset in the buffer, length).
pub(crate) fn pieces(addr: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let at = addr.wrapping_add(done as u64);
        let n = (PAGE_SIZE - at as usize % PAGE_SIZE).min(len - done);
        let piece = (at, done, n);
        done += n;
        Some(piece)
    })
}

impl PhysMemory for Memory {
    fn read(&self, addr: PhysAddr, buf: &mut [u8]) {
        for (at, from, n) in pieces(addr.0, buf.len()) {
            let out = &mut buf[from..from + n];
            match self.place(self.bus_address(at), false) {
                Place::Ram(a) => out.copy_from_slice(&self.ram[a as usize..a as usize + n]),
                Place::Rom(a) => out.copy_from_slice(&self.rom[a as usize..a as usize + n]),
                Place::Device => out.fill(0xff),
            }
        }
    }

    fn write(&mut self, addr: PhysAddr, bytes: &[u8]) {
        for (at, from, n) in pieces(addr.0, bytes.len()) {
            self.store(at, &bytes[from..from + n]);
        }
    }

    fn read_region(&self, region: Region, offset: u64, buf: &mut [u8]) {
        let (at, len) = self.part(region, offset, buf.len());
        buf[..len].copy_from_slice(&self.ram[at as usize..at as usize + len]);
        buf[len..].fill(0);
    }

    fn write_region(&mut self, region: Region, offset: u64, bytes: &[u8]) {
        let (start, len) = self.part(region, offset, bytes.len());
        for (at, from, n) in pieces(start, len) {
            self.store_at(at, &bytes[from..from + n]);
        }
    }

    fn firmware_item(&self, item: u16) -> &[u8] {
        self.firmware_items.get(item)
    }

    fn medium(&self, number: usize) -> Option<MediumShape> {
        self.shapes.get(number).copied()
    }

    fn read_medium(&self, number: usize, offset: u64, buf: &mut [u8]) {
        self.media.read(number, offset, buf);
        let (at, len) = self.part(Region::Disk(number), offset, buf.len());
        for (byte, change) in buf.iter_mut().zip(&self.ram[at as usize..at as usize + len]) {
            *byte ^= change;
        }
    }

    fn write_medium(&mut self, number: usize, offset: u64, bytes: &[u8]) {
        let mut image = [0; PAGE_SIZE];
        for (at, from, n) in pieces(offset, bytes.len()) {
            self.media.read(number, at, &mut image[..n]);
            for (byte, new) in image.iter_mut().zip(&bytes[from..from + n]) {
                *byte ^= new;
            }
            self.write_region(Region::Disk(number), at, &image[..n]);
        }
    }
}
