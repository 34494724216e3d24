//! Looking at a machine that stands, and changing what is looked for.

use super::{BreakCondition, Machine};
use crate::board::Board;
use crate::board::vga::Picture;
use crate::cpu::Mapping;
use crate::cpu::state::CpuState;
use crate::footprint::Footprint;
use crate::memory::{PAGE_SIZE, PhysMemory, Place};
use crate::trap::Trap;
use crate::units::{LinAddr, PhysAddr};
use crate::watch::{Noted, WatchRange};
use std::collections::BTreeSet;

impl Machine {
    /// The CPU's registers.
    pub fn cpu(&self) -> CpuState {
        self.core().cpu_state()
    }

    /// A general register by its number in instruction encoding: what [`Machine::cpu`] has of it, and cheaper.
    ///
    /// # Panics
    /// If there is no such register.
    pub fn gpr(&self, number: usize) -> u64 {
        assert!(number < 16);
        self.core().cpu.env.gpr(number)
    }

    /// The linear address of the next instruction, in the same way.
    pub fn linear_pc(&self) -> u64 {
        self.core().cpu.env.linear_pc()
    }

    /// Whether the CPU is halted, in the same way.
    pub fn is_halted(&self) -> bool {
        self.core().cpu.halted
    }

    /// Whether the next step is the delivery of an interrupt that the board asks for. Never while a log is followed.
    pub fn interrupt_comes(&self) -> bool {
        let core = self.core();
        core.takes_nmi() || core.takes_interrupt()
    }

    /// Writes the CPU's registers.
    pub fn set_cpu(&mut self, cpu: &CpuState) {
        let core = self.core_mut();
        // Somewhere else no REP instruction is half done.
        core.in_rep &= core.cpu.env.linear_pc() == cpu.linear_pc();
        core.board.set_tpr(cpu.cr8 as u8);
        core.cpu.set_state(cpu);
        core.schedule();
    }

    /// The chips.
    pub fn board(&self) -> &Board {
        &self.core().board
    }

    /// What is on the screen; `None` without a display adapter. Looking changes nothing.
    pub fn picture(&self) -> Option<Picture> {
        let core = self.core();
        Some(core.board.vga()?.picture(core.cpu.mem.video(), core.now()))
    }

    /// The lines of text on the screen, without blanks at their ends; `None` without a display adapter and while it shows
    /// graphics.
    pub fn screen_text(&self) -> Option<Vec<String>> {
        let core = self.core();
        core.board.vga()?.text(core.cpu.mem.video())
    }

    /// All that a guest can change and that is not in [`MachineState`](super::MachineState), as one sequence of pages: RAM, then video memory,
    /// then what was written to disks.
    pub fn storage(&self) -> &[u8] {
        self.core().cpu.mem.storage()
    }

    /// Replaces page `page` of storage (for RAM: physical address / 4096), also where it holds code.
    ///
    /// # Panics
    /// If storage has no such page.
    pub fn write_page(&mut self, page: usize, bytes: &[u8; PAGE_SIZE]) {
        let core = self.core_mut();
        core.cpu.mem.replace_page(page, bytes);
        core.cpu.drop_stale();
    }

    /// Pages of storage that may have changed since the last call (or since power-on), ascending; the list is empty
    /// afterwards. Costs as much as the pages touched, not as storage.
    pub fn take_dirty(&mut self) -> Vec<usize> {
        let core = self.core_mut();
        let pages = core.cpu.mem.take_dirty();
        core.cpu.flush_tlb();
        pages
    }

    /// What was touched since the last call (or since power-on). Like a clean slate for [`Machine::take_dirty`], it makes
    /// the machine look up pages anew, and blocks of code, but for most of those that ran between the last calls too: they count as
    /// touched for a few calls more.
    pub fn take_footprint(&mut self) -> Footprint {
        self.core_mut().cpu.take_footprint()
    }

    /// Reads physical memory as the CPU would, without side effects: video memory is seen through its window, other device
    /// ranges and holes read as 0xff.
    pub fn read_phys(&self, addr: PhysAddr, buf: &mut [u8]) {
        let core = self.core();
        core.cpu.mem.read(addr, buf);
        core.board.look(addr, buf, &core.cpu.mem);
    }

    /// Writes RAM (holes and ROM ignore it), also where it holds code.
    pub fn write_phys(&mut self, addr: PhysAddr, bytes: &[u8]) {
        let core = self.core_mut();
        core.cpu.mem.write(addr, bytes);
        core.cpu.drop_stale();
    }

    /// The physical address behind a linear one through the page tables of the present CR3; `None` where not present.
    /// Never sets an accessed bit.
    pub fn translate(&self, addr: LinAddr) -> Option<PhysAddr> {
        self.core().cpu.translate(addr)
    }

    /// Where in storage a load from a physical address, or a store to it, arrives: for RAM at the same place. `None` for ROM, devices,
    /// and where there is nothing.
    pub fn storage_at(&self, addr: PhysAddr, write: bool) -> Option<u64> {
        self.core().cpu.mem.storage_at(addr.0, write)
    }

    /// Where in storage the byte is that a load from a physical address gives which is in the window to video memory, in the
    /// display adapter's present mode.
    pub fn video_at(&self, addr: PhysAddr) -> Option<u64> {
        let core = self.core();
        let mem = &core.cpu.mem;
        let addr = mem.bus_address(addr.0);
        (mem.place(addr, true) == Place::Device)
            .then(|| core.board.video_at(PhysAddr(addr)))?
            .and_then(|at| mem.video_at(at))
    }

    /// Calls `each` with what the page tables of the present CR3 map at and above `from`, in order of address, until it returns false.
    /// False: paging is off.
    pub fn mappings(&self, from: LinAddr, each: &mut dyn FnMut(&Mapping) -> bool) -> bool {
        self.core().cpu.mappings(from, each)
    }

    /// Reads memory by linear address; stops at the first byte that is not mapped. Returns the bytes read.
    pub fn read_linear(&self, addr: LinAddr, buf: &mut [u8]) -> usize {
        self.core().cpu.read_linear_by(addr, buf, |phys, part| self.read_phys(phys, part))
    }

    /// Replaces the set of breakpoints (linear addresses of instructions).
    pub fn set_breakpoints(&mut self, addrs: &[LinAddr]) {
        self.core_mut().cpu.set_breakpoints(addrs);
    }

    /// Replaces what is asked about each breakpoint that is met, by its linear address, where the machine stands before its
    /// instruction: if the answer is no, it is none. It may be asked about one place several times, and must depend on nothing
    /// but the machine. An instruction that cannot be fetched is stopped at without asking.
    pub fn set_condition(&mut self, condition: Option<BreakCondition>) {
        self.core_mut().condition = condition;
    }

    /// Replaces the set of watched ranges.
    pub fn set_watchpoints(&mut self, ranges: &[WatchRange]) {
        self.core_mut().cpu.set_watchpoints(ranges);
    }

    /// Replaces the events and physical addresses of instructions for which it stops.
    pub fn set_traps(&mut self, traps: &BTreeSet<Trap>) {
        let cpu = &mut self.core_mut().cpu;
        cpu.mem.set_traps(traps.iter().filter(|trap| trap.is_event()).copied().collect());
        let place = |trap: &Trap| if let Trap::Execute(addr) = trap { Some(*addr) } else { None };
        cpu.set_physical_breakpoints(traps.iter().filter_map(place));
    }

    /// From now on each run comes back with [`Exit::Pause`](super::Exit::Pause), a step on at least, when it has done so much beside plain
    /// steps (translation, TLB misses, deliveries, accesses to chips), in units of about 0.1 µs; `u64::MAX`, as at first: never.
    pub fn set_effort(&mut self, allowed: u64) {
        self.core_mut().effort.allowed = allowed;
    }

    /// Whether hits of watched ranges and events are noted, for [`Machine::take_noted`], instead of stopping the machine.
    pub fn note_hits(&mut self, on: bool) {
        self.core_mut().noted = on.then(Vec::new);
    }

    /// Hits since the last call, ascending, one for each step. Each takes memory: run no further than can be borne.
    pub fn take_noted(&mut self) -> Vec<Noted> {
        self.core_mut().noted.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// What the guest wrote to medium `number`, page by page: the offset in the medium, in
    /// bytes, and what it holds now. Pages that are as in the image may be among them.
    pub fn written_pages(&self, number: usize) -> impl Iterator<Item = (u64, [u8; PAGE_SIZE])> + '_ {
        let mem = &self.core().cpu.mem;
        let overlay = mem.overlay(number);
        let at = mem.touched_disk_pages().map(|page| (page * PAGE_SIZE) as u64);
        at.filter(move |at| overlay.contains(at)).map(move |at| {
            let offset = at - mem.overlay(number).start;
            let mut bytes = [0; PAGE_SIZE];
            mem.read_medium(number, offset, &mut bytes);
            (offset, bytes)
        })
    }
}
