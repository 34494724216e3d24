//! Answers to the engine's TLB misses.
//!
//! What an entry allows decides what the machine gets to see: store permission is withheld until the first store to a
//! page after a checkpoint (dirty pages), fetch permission until the first fetch (code pages). A page with translated
//! code is answered with fetch *and* store permission together, which makes the engine check every store to it against
//! that code; all other pages take the engine's fast store path.

use super::Cpu;
use super::descriptor::canonical;
use super::engine::{Access, Fill, off};
use super::mmu::{self, Paging, Walk};
use super::window;
use crate::memory::{PAGE_SIZE, Place};
use crate::trap::Event;
use iced_x86::{Code, Mnemonic};

/// Engine-physical address of RAM offset 0.
pub const ENGINE_RAM: u64 = 0;
/// Engine-physical address of ROM offset 0.
pub const ENGINE_ROM: u64 = 1 << 40;
/// Engine-physical address of the copy of what the display adapter's window shows ([`super::window`]).
pub const ENGINE_WINDOW: u64 = 1 << 39;
/// Engine-physical address of the window whose accesses call back with their offset as the guest-physical address.
pub const ENGINE_MMIO: u64 = 1 << 41;
/// Size of that window: 40 physical address bits, twice.
pub const MMIO_LEN: u64 = 2 * DEVICE_LEN;
const DEVICE_LEN: u64 = 1 << 40;
/// The window's second half takes the accesses to watched pages of RAM and the stores to page tables, by RAM offset.
pub const WATCHED: u64 = DEVICE_LEN;
/// Linear addresses with this bit, which no guest can have (they are not canonical), mean RAM by physical address: by them
/// the engine is told of code to forget.
pub const PHYSICAL_ALIAS: u64 = 1 << 62;

/// The last page below the addresses that are not canonical.
const LAST_LOWER_PAGE: u64 = 0x0000_7fff_ffff_f000;
const PAGE_MASK: u64 = !(PAGE_SIZE as u64 - 1);

/// A miss that cannot be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Miss {
    /// A page fault with this error code.
    Fault {
        /// Error code.
        error: u32,
        /// It was an instruction fetch.
        fetch: bool,
    },
    /// An address that is not canonical: #SS if it is the stack's, else #GP.
    NotCanonical,
    /// The engine, translating ahead, reads code that the program has not reached: run single instructions until it is.
    TooFarAhead,
}

/// The pages of the lower part of the address space, which is another one for each process, for which there may be entries. (The
/// upper part is what [`Paging::is_upper`] says.)
#[derive(Debug, Default)]
pub(super) struct LowerPages {
    pages: Vec<u64>,
}

impl LowerPages {
    /// More than this are not worth telling apart.
    const MAX: usize = 64;

    fn note(&mut self, page: u64) {
        if self.pages.len() <= Self::MAX && self.pages.last() != Some(&page) {
            self.pages.push(page);
        }
    }

    /// The pages, unless they are too many.
    fn all(&self) -> Option<&[u64]> {
        (self.pages.len() <= Self::MAX).then_some(&self.pages)
    }

    pub(super) fn clear(&mut self) {
        self.pages.clear();
    }
}

impl Cpu {
    /// Writes CR3. As an entry never outlives a change of the tables that it was made from, those of a part of the address space
    /// that is the same in the old and the new one may stay: that is what systems have global pages for.
    pub(super) fn switch_address_space(&mut self, cr3: u64) {
        let old = Paging::of(&self.env, self.page_features);
        let new = old.with_cr3(cr3);
        self.env.w64(off::CR + 24, cr3);
        self.mem.note_event(Event::AddressSpace(cr3));
        if !new.enabled() {
            return;
        }
        let follows = self.mem.follows_tables() && old.shares_upper(&new, &self.mem);
        let stale = new.note_upper(&mut self.mem);
        match self.lower_pages.all() {
            Some(pages) if follows => pages.iter().for_each(|page| self.engine.flush_page(*page)),
            _ => return self.flush_tlb(),
        }
        self.lower_pages.clear();
        self.drop_translations(stale);
    }

    /// Answers a TLB miss that it matters nothing to where RIP is, as nearly all are; unless it is a fetch, it may be at any
    /// instruction of the running block. `None`: [`Cpu::fill`] is to be asked. So is it where accessed or dirty bits may be
    /// watched.
    pub fn fill_anywhere(&mut self, page: u64, access: Access) -> Option<Fill> {
        let canonical = !self.env.long_mode() || canonical(page);
        if self.aliasing.get() || !canonical || page == LAST_LOWER_PAGE || self.mem.is_watching() {
            return None;
        }
        let paging = Paging::of(&self.env, self.page_features);
        let user = self.env.cpl() == 3;
        if user && paging.enabled() && self.may_be_system_access(page, access) {
            return None;
        }
        let mut walk = paging.walk(&self.mem, page, access, user).ok()?;
        if self.is_ahead(page, access) && !walk.accessed() {
            return None;
        }
        walk.commit(&mut self.mem, access);
        Some(self.cacheable_answer(&paging, &walk, page, access))
    }

    /// Whether the engine, translating, fetches from a page that the program may not have reached.
    fn is_ahead(&self, page: u64, access: Access) -> bool {
        access == Access::Fetch && !self.single && page != self.env.linear_pc() & PAGE_MASK
    }

    /// Answers a TLB miss. RIP is at the instruction that misses (at the block's start while it is being translated).
    pub fn fill(&mut self, page: u64, access: Access) -> Option<Fill> {
        if self.aliasing.get() {
            let page = page & !PHYSICAL_ALIAS;
            return Some(Fill { page: ENGINE_RAM + page, read: true, write: false, exec: true });
        }
        if self.env.long_mode() && !canonical(page) {
            self.mend_flags();
            self.page_fault = Some(Miss::NotCanonical);
            return None;
        }
        // The rest of an operand that leaves the lower half is looked at before any page.
        if page == LAST_LOWER_PAGE && access != Access::Fetch && self.operand_not_canonical().is_some() {
            self.page_fault = Some(Miss::NotCanonical);
            return None;
        }
        let paging = Paging::of(&self.env, self.page_features);
        let user = self.env.cpl() == 3 && !(paging.enabled() && self.is_system_access(page, access));
        let ahead = self.is_ahead(page, access);
        match paging.walk(&self.mem, page, access, user) {
            Ok(walk) if ahead && !walk.accessed() => {
                self.page_fault = Some(Miss::TooFarAhead);
                None
            }
            Ok(mut walk) => {
                walk.commit(&mut self.mem, access);
                Some(self.cacheable_answer(&paging, &walk, page, access))
            }
            Err(_) if ahead => {
                self.page_fault = Some(Miss::TooFarAhead);
                None
            }
            Err(mut error) => {
                // Also here: before it is back, the engine adds what it takes for flags to the rest of EFLAGS.
                self.mend_flags();
                if access == Access::Read && self.will_write(page) {
                    error |= mmu::error::WRITE;
                }
                self.page_fault = Some(Miss::Fault { error, fetch: access == Access::Fetch });
                None
            }
        }
    }

    /// An answer whose tables are noted as walked. Finding it may flush the TLB, and with it the notes: then again.
    fn cacheable_answer(&mut self, paging: &Paging, walk: &Walk, page: u64, access: Access) -> Fill {
        let fill = self.noted_answer(walk, page, access);
        if !paging.is_upper(page) {
            self.lower_pages.note(page);
        }
        fill
    }

    fn noted_answer(&mut self, walk: &Walk, page: u64, access: Access) -> Fill {
        loop {
            let flushes = self.flushes;
            let stale = walk.note_tables(&mut self.mem, page);
            self.drop_translations(stale);
            if flushes != self.flushes {
                continue;
            }
            let fill = self.answer(walk, page, access);
            if flushes == self.flushes {
                return fill;
            }
        }
    }

    fn answer(&mut self, walk: &Walk, page: u64, access: Access) -> Fill {
        let bus = self.mem.bus_address(walk.phys & PAGE_MASK);
        let device = |write: bool| Fill {
            page: ENGINE_MMIO + (bus & (DEVICE_LEN - 1)),
            read: !write,
            write,
            exec: !write,
        };
        let watched =
            |at: u64, read, write| Fill { page: ENGINE_MMIO + WATCHED + at, read, write, exec: false };
        if access == Access::Write {
            return match self.mem.place(bus, true) {
                Place::Ram(at)
                    if self.mem.is_watched(at, true)
                        || self.mem.is_watched(at, false)
                        || self.mem.is_table(at as usize / PAGE_SIZE) =>
                {
                    watched(at, false, true)
                }
                Place::Ram(at) => {
                    self.mem.mark_dirty(at as usize / PAGE_SIZE);
                    let readable = self.mem.place(bus, false) == Place::Ram(at);
                    self.ram_entry(at, walk, page, access, readable)
                }
                // A store to ROM is ignored by whoever answers at its address.
                Place::Rom(_) | Place::Device => device(true),
            };
        }
        match self.mem.place(bus, false) {
            Place::Ram(at) if access == Access::Read && self.mem.is_watched(at, false) => {
                watched(at, true, false)
            }
            Place::Ram(at) => {
                let writable = self.mem.place(bus, true) == Place::Ram(at);
                self.ram_entry(at, walk, page, access, writable)
            }
            Place::Rom(at) => Fill { page: ENGINE_ROM + at, read: true, write: false, exec: true },
            Place::Device => match window::fetched(&self.mem, bus) {
                Some(at) if access == Access::Fetch => {
                    Fill { page: ENGINE_WINDOW + at, read: false, write: false, exec: true }
                }
                // A fetch asks again.
                Some(_) => Fill { exec: false, ..device(false) },
                None => device(false),
            },
        }
    }

    /// An entry for the page at `linear`, which is RAM. `symmetric`: reads and writes both reach this RAM.
    fn ram_entry(&mut self, at: u64, walk: &Walk, linear: u64, access: Access, symmetric: bool) -> Fill {
        let page = at as usize / PAGE_SIZE;
        self.mem.mark_accessed(page);
        let shared = symmetric && walk.executable;
        if access == Access::Fetch && !self.mem.is_code(page) {
            self.mem.set_code(page, true);
            self.drop_translations(self.mem.fast_stores(page));
        } else if access == Access::Write && self.mem.is_code(page) && !shared {
            // This mapping cannot be fetched from, so its stores cannot be checked: forget the page's code instead, and
            // every entry by which it could be translated again without asking here.
            self.invalidate_code(at, PAGE_SIZE as u64);
            self.mem.set_code(page, false);
            self.flush_tlb();
        }
        let code = self.mem.is_code(page);
        let free = walk.writable && walk.dirty() && self.mem.is_dirty(page);
        let read_freely = !self.mem.is_watched(at, false);
        let free = free && read_freely && !self.mem.is_watched(at, true) && !self.mem.is_table(page);
        let store = access == Access::Write || (symmetric && free && (!code || shared));
        let exec = code && walk.executable && (symmetric || access == Access::Fetch);
        if store && !exec {
            self.mem.note_fast_store(page, linear);
        }
        Fill {
            page: ENGINE_RAM + at,
            read: read_freely && (symmetric || access != Access::Write),
            write: store,
            exec,
        }
    }

    /// Whether the load that the instruction at RIP makes from this page is the first half of a change in place, which
    /// faults as a store does.
    fn will_write(&self, page: u64) -> bool {
        use iced_x86::OpAccess::{ReadCondWrite, ReadWrite};
        let Some(insn) = self.instruction() else { return false };
        let mut factory = iced_x86::InstructionInfoFactory::new();
        factory.info(&insn).used_memory().iter().any(|memory| {
            matches!(memory.access(), ReadWrite | ReadCondWrite)
                && super::operand_address(&self.env, memory).is_some_and(|at| {
                    let last = at.wrapping_add(memory.memory_size().size().max(1) as u64 - 1);
                    at & PAGE_MASK == page || last & PAGE_MASK == page
                })
        })
    }

    /// Whether an access made at CPL 3 is the processor's own, to a descriptor table or the TSS, which has supervisor
    /// rights (SDM 3A, 4.6.1): the engine does not say, but the instruction at RIP does.
    fn is_system_access(&self, page: u64, access: Access) -> bool {
        self.may_be_system_access(page, access)
            && self.instruction().is_some_and(|insn| loads_descriptor(&insn))
    }

    /// Whether the page has a part of a descriptor table or the TSS.
    fn may_be_system_access(&self, page: u64, access: Access) -> bool {
        if access == Access::Fetch {
            return false;
        }
        let gdt = self.env.gdtr();
        let ldt = self.env.segment_at(off::LDT);
        let tr = self.env.segment_at(off::TR);
        let covers = |base: u64, limit: u64| page + 0xfff >= base && page <= base.wrapping_add(limit);
        covers(gdt.base, gdt.limit.into())
            || covers(ldt.base, ldt.limit.into())
            || covers(tr.base, tr.limit.into())
    }
}

/// Instructions that read a descriptor table or the TSS by themselves.
fn loads_descriptor(insn: &iced_x86::Instruction) -> bool {
    use Mnemonic::*;
    let loads_segment = insn.op0_register().is_segment_register() && matches!(insn.mnemonic(), Mov | Pop);
    let far = match insn.code() {
        Code::Call_m1616 | Code::Call_m1632 | Code::Call_m1664 => true,
        Code::Jmp_m1616 | Code::Jmp_m1632 | Code::Jmp_m1664 => true,
        _ => insn.is_jmp_far() || insn.is_call_far(),
    };
    loads_segment
        || far
        || matches!(
            insn.mnemonic(),
            Lds | Les | Lfs | Lgs | Lss | Retf | Iret | Iretd | Iretq | Lar | Lsl | Verr | Verw
        )
}

/// Maps memory into a new engine's address space.
pub fn engine_map(cpu: &mut Cpu) -> [(u64, *mut u8, u64); 3] {
    let [(ram, ram_len), (rom, rom_len)] = cpu.mem.host_regions();
    let (window, window_len) = cpu.window.host_region();
    [(ENGINE_RAM, ram, ram_len), (ENGINE_ROM, rom, rom_len), (ENGINE_WINDOW, window, window_len)]
}
