//! Code in the display adapter's window at 0xa0000. The engine executes from memory only, and what the window shows depends on the
//! adapter's registers; so it executes a copy. Instructions there run one at a time, each compared with the window before it runs:
//! it does not matter by what way they were changed.

use super::{Cpu, tlb};
use crate::board::vga::window::{WINDOW, WINDOW_BYTES};
use crate::memory::{Memory, PAGE_SIZE, PhysMemory, Place, pieces};
use crate::units::{LinAddr, PhysAddr};
use memmap2::MmapMut;

/// The copy.
pub struct WindowCode(MmapMut);

impl WindowCode {
    /// Of a window that shows nothing.
    pub fn new() -> std::io::Result<WindowCode> {
        MmapMut::map_anon(WINDOW_BYTES as usize).map(WindowCode)
    }

    /// Host address and length, for the engine.
    pub fn host_region(&mut self) -> (*mut u8, u64) {
        (self.0.as_mut_ptr(), WINDOW_BYTES)
    }

    fn at(&self, offset: u64, len: usize) -> &[u8] {
        &self.0[offset as usize..][..len]
    }
}

/// Offset in the window of what a fetch from this physical address finds there.
pub(super) fn fetched(mem: &Memory, phys: u64) -> Option<u64> {
    let addr = mem.bus_address(phys);
    let offset = addr.checked_sub(WINDOW).filter(|offset| *offset < WINDOW_BYTES)?;
    (mem.place(addr, false) == Place::Device).then_some(offset)
}

impl Cpu {
    /// Reads code by its linear address; stops at the first byte that is not mapped.
    pub(super) fn read_code_at(&self, addr: u64, buf: &mut [u8]) -> usize {
        self.read_linear_by(LinAddr(addr), buf, |phys, part| self.read_code(phys, part))
    }

    /// Reads code inside one page, which may be in the window.
    fn read_code(&self, phys: PhysAddr, buf: &mut [u8]) {
        match fetched(&self.mem, phys.0) {
            Some(offset) => buf.copy_from_slice(self.window.at(offset, buf.len())),
            None => self.mem.read(phys, buf),
        }
    }

    /// Whether code has bytes in the window.
    pub(super) fn is_in_window(&self, addr: u64, len: u32) -> bool {
        self.window_pieces(addr, len).next().is_some()
    }

    /// The pieces of code that are in the window: physical addresses and lengths.
    fn window_pieces(&self, addr: u64, len: u32) -> impl Iterator<Item = (PhysAddr, usize)> {
        pieces(addr, len as usize).filter_map(|(at, _, n)| {
            let phys = self.translate(LinAddr(at))?;
            fetched(&self.mem, phys.0).map(|_| (phys, n))
        })
    }

    /// Brings the copy of code up to what the window shows, which `look` reads. Whether it was something else: then the engine has
    /// forgotten it.
    pub fn copy_window_code(
        &mut self,
        addr: u64,
        len: u32,
        look: impl Fn(PhysAddr, &mut [u8], &Memory),
    ) -> bool {
        let found: Vec<(PhysAddr, usize)> = self.window_pieces(addr, len).collect();
        let mut changed = false;
        for (phys, n) in found {
            changed |= self.copy_window(phys, n, &look);
        }
        changed
    }

    /// The same for the page that an answer to a fetch leads to.
    pub fn copy_window_page(&mut self, engine_page: u64, look: impl Fn(PhysAddr, &mut [u8], &Memory)) {
        if let Some(offset) =
            engine_page.checked_sub(tlb::ENGINE_WINDOW).filter(|offset| *offset < WINDOW_BYTES)
        {
            self.copy_window(PhysAddr(WINDOW + offset), PAGE_SIZE, &look);
        }
    }

    fn copy_window(
        &mut self,
        phys: PhysAddr,
        len: usize,
        look: &impl Fn(PhysAddr, &mut [u8], &Memory),
    ) -> bool {
        let Some(offset) = fetched(&self.mem, phys.0) else { return false };
        let mut shown = [0xff; PAGE_SIZE];
        look(phys, &mut shown[..len], &self.mem);
        let copy = &mut self.window.0[offset as usize..][..len];
        if copy == &shown[..len] {
            return false;
        }
        copy.copy_from_slice(&shown[..len]);
        self.invalidate_code(tlb::ENGINE_WINDOW + offset, len as u64);
        true
    }
}
