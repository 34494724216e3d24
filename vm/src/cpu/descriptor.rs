//! Segment descriptors, and the accesses that the processor makes for itself: to descriptor tables, task state segments and
//! stacks (Intel SDM 3A, chapters 3 and 5).

use super::Cpu;
use super::delivery::{Fault, vector};
use super::engine::{Access, off};
use super::mmu::Paging;
use super::state::Segment;
use crate::memory::{PAGE_SIZE, PhysMemory, pieces};
use crate::units::PhysAddr;

/// Types of system descriptors and gates (SDM 3A, table 3-2).
#[allow(missing_docs)]
pub mod kind {
    pub const TSS16: u8 = 1;
    pub const LDT: u8 = 2;
    pub const CALL16: u8 = 4;
    pub const TASK: u8 = 5;
    pub const INTERRUPT16: u8 = 6;
    pub const TRAP16: u8 = 7;
    pub const TSS32: u8 = 9;
    pub const CALL32: u8 = 12;
    pub const INTERRUPT32: u8 = 14;
    pub const TRAP32: u8 = 15;
    /// The bit that makes a TSS a busy one.
    pub const BUSY: u8 = 2;
}

/// A descriptor's two halves.
#[derive(Clone, Copy, Debug)]
pub struct Descriptor(pub u64);

impl Descriptor {
    /// As a segment register holds it.
    pub fn segment(self, selector: u16) -> Segment {
        let (low, high) = (self.0 as u32, (self.0 >> 32) as u32);
        let base = low >> 16 | (high & 0xff) << 16 | high & 0xff00_0000;
        let limit = low & 0xffff | high & 0xf_0000;
        let granular = high & 1 << 23 != 0;
        Segment {
            selector,
            base: base.into(),
            limit: if granular { limit << 12 | 0xfff } else { limit },
            flags: high & 0x00ff_ff00,
        }
    }

    fn bit(self, n: u32) -> bool {
        self.0 >> (32 + n) & 1 != 0
    }

    /// Descriptor privilege level.
    pub fn dpl(self) -> u8 {
        (self.0 >> 45 & 3) as u8
    }

    /// P.
    pub fn present(self) -> bool {
        self.bit(15)
    }

    /// The type of a system descriptor; `None` for code and data.
    pub fn system(self) -> Option<u8> {
        (!self.bit(12)).then_some((self.0 >> 40 & 15) as u8)
    }

    /// A code segment.
    pub fn is_code(self) -> bool {
        self.bit(12) && self.bit(11)
    }

    /// A code segment that may be entered from an outer level without a change of level.
    pub fn conforming(self) -> bool {
        self.is_code() && self.bit(10)
    }

    /// A data segment that may be written.
    pub fn writable_data(self) -> bool {
        self.bit(12) && !self.bit(11) && self.bit(9)
    }

    /// A segment that may be read.
    pub fn readable(self) -> bool {
        self.bit(12) && (!self.bit(11) || self.bit(9))
    }

    /// L: a 64-bit code segment.
    pub fn long(self) -> bool {
        self.bit(21)
    }

    /// D/B.
    pub fn big(self) -> bool {
        self.bit(22)
    }

    /// For a gate: the selector of where it leads.
    pub fn gate_selector(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// For a gate: the offset of where it leads, the low 32 bits.
    pub fn gate_offset(self) -> u64 {
        self.0 & 0xffff | self.0 >> 32 & 0xffff_0000
    }
}

/// The error code that names a selector.
pub fn selector_error(selector: u16) -> u32 {
    u32::from(selector & !3)
}

/// Whether `[offset, offset + size)` lies in a segment (SDM 3A, 5.3).
pub fn in_limit(segment: &Segment, offset: u64, size: u64) -> bool {
    let last = offset.saturating_add(size.saturating_sub(1));
    let expand_down = segment.flags >> 8 & 0x1c == 0x14;
    if expand_down {
        let top = if segment.flags & 1 << 22 != 0 { 0xffff_ffff } else { 0xffff };
        offset > segment.limit.into() && last <= top
    } else {
        last <= segment.limit.into()
    }
}

/// Whether an address has 48 significant bits.
pub fn canonical(addr: u64) -> bool {
    let top = addr as i64 >> 47;
    top == 0 || top == -1
}

/// Which bits of SP a stack in this segment uses.
pub fn stack_mask(ss: &Segment) -> u64 {
    if ss.flags & 1 << 22 != 0 { 0xffff_ffff } else { 0xffff }
}

/// A stack that is worked on before registers are committed.
#[derive(Clone, Copy, Debug)]
pub struct Stack {
    /// SS.
    pub seg: Segment,
    /// The whole stack pointer.
    pub sp: u64,
    /// Which of its bits count.
    pub mask: u64,
    /// Accesses have user rights.
    pub user: bool,
    /// What leaving the segment raises: the error code of #SS.
    pub error: u32,
}

impl Stack {
    /// A stack in 64-bit mode.
    pub fn long(sp: u64, user: bool) -> Stack {
        Stack { seg: Segment::default(), sp, mask: u64::MAX, user, error: 0 }
    }

    fn at(&self, sp: u64, size: u64) -> Result<u64, Fault> {
        let refused = Err(Fault::new(vector::SS, self.error));
        let offset = sp & self.mask;
        if self.mask == u64::MAX {
            return if canonical(offset) && canonical(offset.wrapping_add(size - 1)) {
                Ok(offset)
            } else {
                refused
            };
        }
        if in_limit(&self.seg, offset, size) {
            Ok(self.seg.base.wrapping_add(offset) & 0xffff_ffff)
        } else {
            refused
        }
    }

    /// Moves the pointer, in the bits that count.
    pub fn add(&mut self, n: u64) {
        self.sp = self.sp & !self.mask | self.sp.wrapping_add(n) & self.mask;
    }

    /// Whether `bytes` can be pushed in units of `width`.
    pub fn room(&self, bytes: u64, width: u64) -> Result<(), Fault> {
        let mut probe = *self;
        for _ in 0..bytes / width {
            probe.add(width.wrapping_neg());
            self.at(probe.sp, width)?;
        }
        Ok(())
    }
}

/// A translation that the processor keeps while it does one thing. It may: for that time it sees no other change of the tables.
#[derive(Clone, Copy, Debug)]
pub struct Near {
    page: u64,
    phys: u64,
    user: bool,
}

/// The part of an address inside a page.
const OFFSET: u64 = PAGE_SIZE as u64 - 1;

impl Cpu {
    /// The present stack.
    pub(super) fn stack(&self) -> Stack {
        use super::state::seg;
        let seg = self.env.segment(seg::SS);
        let mask = if self.env.code_bits() == 64 { u64::MAX } else { stack_mask(&seg) };
        Stack { seg, sp: self.env.gpr(4), mask, user: self.env.cpl() == 3, error: 0 }
    }

    /// Writes the stack pointer back, in the bits that count.
    pub(super) fn commit_sp(&self, stack: &Stack) {
        let old = self.env.gpr(4);
        self.env.set_gpr(
            4,
            if stack.mask == 0xffff { old & !0xffff | stack.sp & 0xffff } else { stack.sp & stack.mask },
        );
    }

    pub(super) fn push(&mut self, stack: &mut Stack, width: u64, value: u64) -> Result<(), Fault> {
        let mut after = *stack;
        after.add(width.wrapping_neg());
        let addr = after.at(after.sp, width)?;
        self.write_linear(addr, &value.to_le_bytes()[..width as usize], stack.user)?;
        *stack = after;
        Ok(())
    }

    /// Raises what a push would raise that left the stack pointer where it is.
    pub(super) fn touch(&mut self, stack: &Stack, width: u64) -> Result<(), Fault> {
        let addr = stack.at(stack.sp, width)?;
        for (at, _, _) in pieces(addr, width as usize) {
            self.access(at, Access::Write, stack.user)?;
        }
        Ok(())
    }

    pub(super) fn pop(&mut self, stack: &mut Stack, width: u64) -> Result<u64, Fault> {
        let value = self.peek(stack, 0, width)?;
        stack.add(width);
        Ok(value)
    }

    /// The value `above` bytes above the top of the stack.
    pub(super) fn peek(&mut self, stack: &Stack, above: u64, width: u64) -> Result<u64, Fault> {
        let addr = stack.at(stack.sp.wrapping_add(above), width)?;
        self.load_linear(addr, width as usize, stack.user)
    }

    /// A descriptor and its linear address; `None` if the selector is beyond its table.
    pub(super) fn find_descriptor(&mut self, selector: u16) -> Result<Option<(u64, Descriptor)>, Fault> {
        let (base, limit) = if selector & 4 != 0 {
            let ldt = self.env.segment_at(off::LDT);
            // A null LDTR has no table.
            (ldt.base, if ldt.selector & !3 == 0 { None } else { Some(ldt.limit) })
        } else {
            let gdt = self.env.gdtr();
            (gdt.base, Some(gdt.limit.into()))
        };
        let at = u32::from(selector & !7);
        if limit.is_none_or(|limit| at + 7 > limit) {
            return Ok(None);
        }
        let addr = base.wrapping_add(at.into());
        Ok(Some((addr, Descriptor(self.read_system(addr, 8)?))))
    }

    /// The same; a selector beyond its table raises `bad` with it.
    pub(super) fn descriptor(&mut self, selector: u16, bad: u8) -> Result<(u64, Descriptor), Fault> {
        self.find_descriptor(selector)?.ok_or(Fault::new(bad, selector_error(selector)))
    }

    /// Marks a segment that is loaded as accessed.
    pub(super) fn mark_accessed(&mut self, addr: u64, descriptor: Descriptor) -> Result<Descriptor, Fault> {
        if descriptor.bit(12) && !descriptor.bit(8) {
            self.write_system(addr.wrapping_add(5), &[(descriptor.0 >> 40) as u8 | 1])?;
        }
        Ok(if descriptor.bit(12) { Descriptor(descriptor.0 | 1 << 40) } else { descriptor })
    }

    /// A field of the task state segment.
    pub(super) fn tss_field(&mut self, offset: u32, size: u32) -> Result<u64, Fault> {
        let tr = self.env.segment_at(off::TR);
        if offset + size - 1 > tr.limit || tr.selector & !3 == 0 {
            return Err(Fault::new(vector::TS, selector_error(tr.selector)));
        }
        self.read_system(tr.base.wrapping_add(offset.into()), size as usize)
    }

    /// SS:ESP for an inner privilege level from a 16- or 32-bit TSS, checked (SDM 3A, 6.12.1).
    pub(super) fn tss_stack(&mut self, cpl: u8) -> Result<(Segment, u64), Fault> {
        let tss32 = self.env.segment_at(off::TR).is_wide_system();
        let level = u32::from(cpl);
        let (sp, selector) = if tss32 {
            (self.tss_field(4 + 8 * level, 4)?, self.tss_field(8 + 8 * level, 2)? as u16)
        } else {
            (self.tss_field(2 + 4 * level, 2)?, self.tss_field(4 + 4 * level, 2)? as u16)
        };
        let error = selector_error(selector);
        if selector & !3 == 0 || (selector & 3) as u8 != cpl {
            return Err(Fault::new(vector::TS, error));
        }
        let (addr, descriptor) = self.descriptor(selector, vector::TS)?;
        if descriptor.dpl() != cpl || !descriptor.writable_data() {
            return Err(Fault::new(vector::TS, error));
        }
        if !descriptor.present() {
            return Err(Fault::new(vector::SS, error));
        }
        let descriptor = self.mark_accessed(addr, descriptor)?;
        Ok((descriptor.segment(selector), sp))
    }

    /// An access that the processor makes for itself, with supervisor rights.
    pub(super) fn read_system(&mut self, addr: u64, size: usize) -> Result<u64, Fault> {
        self.load_linear(addr, size, false)
    }

    /// The same for a store.
    pub(super) fn write_system(&mut self, addr: u64, bytes: &[u8]) -> Result<(), Fault> {
        self.write_linear(addr, bytes, false)
    }

    /// A load of up to 8 bytes.
    pub(super) fn load_linear(&mut self, addr: u64, size: usize, user: bool) -> Result<u64, Fault> {
        let mut bytes = [0; 8];
        for (at, from, n) in pieces(addr, size) {
            let phys = self.access(at, Access::Read, user)?;
            self.mem.read(PhysAddr(phys), &mut bytes[from..from + n]);
        }
        Ok(u64::from_le_bytes(bytes))
    }

    /// A store. Nothing is written if any page of it faults.
    pub(super) fn write_linear(&mut self, addr: u64, bytes: &[u8], user: bool) -> Result<(), Fault> {
        let mut places = [(0, 0, 0); 2];
        let mut used = 0;
        for (at, from, n) in pieces(addr, bytes.len()) {
            places[used] = (self.access(at, Access::Write, user)?, from, n);
            used += 1;
        }
        for &(phys, from, n) in &places[..used] {
            self.mem.store(phys, &bytes[from..from + n]);
        }
        Ok(())
    }

    /// Forgets what the processor may keep of translations while it does one thing.
    pub(super) fn forget_near(&mut self) {
        self.near = [None; 2];
    }

    /// Translates one address for an access that is made now. A fault writes CR2.
    pub(super) fn access(&mut self, addr: u64, access: Access, user: bool) -> Result<u64, Fault> {
        let long = self.env.long_mode();
        if long && !canonical(addr) {
            return Err(Fault::new(vector::GP, 0));
        }
        let addr = if long { addr } else { addr & 0xffff_ffff };
        let slot = usize::from(access == Access::Write);
        let page = addr & !OFFSET;
        if let Some(near) = self.near[slot].filter(|near| near.page == page && near.user == user) {
            return Ok(near.phys | addr & OFFSET);
        }
        match Paging::of(&self.env, self.page_features).walk(&self.mem, addr, access, user) {
            Ok(mut walk) => {
                walk.commit(&mut self.mem, access);
                if access != Access::Fetch {
                    self.near[slot] = Some(Near { page, phys: walk.phys & !OFFSET, user });
                }
                Ok(walk.phys)
            }
            Err(error) => {
                self.env.w64(super::CR2, addr);
                Err(Fault::new(vector::PF, error))
            }
        }
    }
}
