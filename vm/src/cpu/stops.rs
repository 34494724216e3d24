//! Where the machine is to stop before an instruction, and which blocks must be looked at for that.
//!
//! A block that has no breakpoint runs as if there were none, however many there are elsewhere, on the same page too: only
//! those that have one are kept from becoming known to the engine's code ([`super::engine::KnownCall`]). Debuggers take
//! breakpoints out whenever the machine stands and put the same ones in again; so those that were in last are remembered,
//! and their blocks are kept back meanwhile.

use super::Cpu;
use super::count::{BlockTable, MAX_INSN};
use super::engine::{KnownCall, off};
use super::regs::flag;
use crate::memory::PAGE_SIZE;
use crate::units::{LinAddr, PhysAddr};
use std::collections::BTreeSet;

/// Known blocks that are remembered, 32 bytes each.
const KNOWN_MAX: usize = 1 << 20;
const OFFSET: u64 = PAGE_SIZE as u64 - 1;

/// Breakpoints.
#[derive(Debug, Default)]
pub struct Stops {
    /// Linear addresses, ascending.
    linear: Vec<u64>,
    /// Physical addresses, by their offset in the page.
    physical: Vec<(u64, u64)>,
    /// The linear ones are in; otherwise only remembered.
    linear_on: bool,
    /// The physical ones are.
    physical_on: bool,
    /// Addresses of the instructions that the guest's debug registers stop at.
    guest: BTreeSet<u64>,
}

impl Stops {
    /// Whether a block has an address at which something stops or stopped last.
    #[inline]
    fn marks(&self, addr: u64, size: u64) -> bool {
        !self.is_empty() && self.marks_some(addr, size)
    }

    #[inline]
    fn is_empty(&self) -> bool {
        self.linear.is_empty() && self.physical.is_empty() && self.guest.is_empty()
    }

    fn marks_some(&self, addr: u64, size: u64) -> bool {
        let end = addr.saturating_add(size);
        let first = self.linear.partition_point(|at| *at < addr);
        self.linear.get(first).is_some_and(|at| *at < end)
            || self.guest.range(addr..end).next().is_some()
            || self.physical.iter().any(|(offset, _)| offset.wrapping_sub(addr) & OFFSET < size)
    }
}

/// A block whose count the engine's code knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    addr: u64,
    size: u32,
    call: KnownCall,
}

impl Cpu {
    /// The engine's code knows the number of instructions of a block.
    pub fn note_known(&mut self, addr: u64, size: u32, call: KnownCall) {
        // Code that the engine has dropped since is among them.
        if self.known.len() >= KNOWN_MAX {
            self.forget_known_if(|_, _| true);
        }
        self.known.push(Known { addr, size, call });
    }

    /// Forgets all translated code.
    pub fn flush_code(&mut self) {
        self.engine.flush_code();
        self.known.clear();
        self.table.forgotten();
    }

    /// Makes every block be looked up again that the footprint does not have.
    pub(super) fn forget_known_not_noted(&mut self) {
        self.forget_known_if(|known, table| table.front(known.addr, known.size).is_none());
    }

    fn forget_known_if(&mut self, wanted: impl Fn(&Known, &BlockTable) -> bool) {
        let (engine, table) = (&self.engine, &self.table);
        self.known.retain(|known| {
            let wanted = wanted(known, table);
            if wanted {
                engine.forget_known(known.call);
            }
            !wanted
        });
    }

    /// Blocks that have one of these are looked at from now on.
    fn look_at(&mut self, added: &Stops) {
        if !added.is_empty() {
            self.forget_known_if(|known, _| added.marks(known.addr, known.size.into()));
        }
    }

    /// Replaces the breakpoints.
    pub fn set_breakpoints(&mut self, addrs: &[LinAddr]) {
        let stops = &mut self.stops;
        stops.linear_on = !addrs.is_empty();
        if !stops.linear_on || addrs.iter().map(|at| at.0).eq(stops.linear.iter().copied()) {
            return;
        }
        let mut linear: Vec<_> = addrs.iter().map(|at| at.0).collect();
        linear.sort_unstable();
        let added = Stops { linear: without(&linear, &stops.linear), ..Stops::default() };
        stops.linear = linear;
        self.look_at(&added);
    }

    /// Replaces the breakpoints on physical addresses.
    pub fn set_physical_breakpoints(&mut self, addrs: impl Iterator<Item = PhysAddr>) {
        let stops = &mut self.stops;
        let mut physical: Vec<_> = addrs.map(|at| (at.0 & OFFSET, at.0)).collect();
        physical.sort_unstable();
        stops.physical_on = !physical.is_empty();
        if !stops.physical_on || physical == stops.physical {
            return;
        }
        let added = Stops { physical: without(&physical, &stops.physical), ..Stops::default() };
        stops.physical = physical;
        self.look_at(&added);
    }

    /// Replaces the addresses at which the guest's debug registers stop.
    pub(super) fn set_guest_breakpoints(&mut self, guest: BTreeSet<u64>) {
        let added = Stops { guest: &guest - &self.stops.guest, ..Stops::default() };
        self.stops.guest = guest;
        self.look_at(&added);
    }

    /// Whether the guest's debug registers stop anywhere.
    pub(super) fn has_guest_breakpoints(&self) -> bool {
        !self.stops.guest.is_empty()
    }

    /// Whether a block must not become known, as it may have to stop.
    #[inline]
    pub fn is_marked(&self, addr: u64, size: u32) -> bool {
        self.stops.marks(addr, size.into())
    }

    /// First breakpoint in `[addr, addr + size)`, not before `from`, that lies at the start of an instruction: its address
    /// and the number of instructions before it.
    pub fn breakpoint_in(&self, addr: u64, size: u32, from: u64) -> Option<(u64, u64)> {
        let stops = &self.stops;
        let left = addr.saturating_add(size.into()).saturating_sub(from);
        if !(stops.linear_on || stops.physical_on) || !stops.marks(from, left) {
            return None;
        }
        // An instruction is at the start of a block: this needs no decoding.
        if from == addr && self.has_breakpoint(addr) {
            return Some((addr, 0));
        }
        self.first_of(addr, size, from, |at| self.has_breakpoint(at))
    }

    /// Whether an instruction at this address has a breakpoint.
    pub fn has_breakpoint(&self, addr: u64) -> bool {
        let stops = &self.stops;
        let is_wanted = |phys: PhysAddr| stops.physical.binary_search(&(phys.0 & OFFSET, phys.0)).is_ok();
        stops.linear_on && stops.linear.binary_search(&addr).is_ok()
            || stops.physical_on && self.translate(LinAddr(addr)).is_some_and(is_wanted)
    }

    /// The same for the guest's own breakpoints. RF makes it ignore one at the block's start.
    pub fn guest_breakpoint_in(&self, addr: u64, size: u32) -> Option<(u64, u64)> {
        let end = addr.saturating_add(size.into());
        self.stops.guest.range(addr..end).next()?;
        let resumed = self.env.r64(off::EFLAGS) & flag::RF != 0;
        self.first_of(addr, size, addr.saturating_add(resumed.into()), |at| self.stops.guest.contains(&at))
    }

    fn first_of(&self, addr: u64, size: u32, from: u64, stops: impl Fn(u64) -> bool) -> Option<(u64, u64)> {
        let end = addr.saturating_add(size.into());
        let (mut n, mut found) = (0, None);
        self.decode(addr, size as usize + MAX_INSN, |at, _| {
            if at >= from && at < end && stops(at) {
                found = Some((at, n));
            }
            n += 1;
            found.is_none() && at < end
        });
        found
    }
}

/// What is in one list and not in the other; both ascend.
fn without<T: Ord + Copy>(list: &[T], other: &[T]) -> Vec<T> {
    list.iter().filter(|item| other.binary_search(item).is_err()).copied().collect()
}
