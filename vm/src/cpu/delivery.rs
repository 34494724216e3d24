//! Delivery of interrupts and exceptions (Intel SDM 3A, chapters 6 and 20.1; AMD APM 2, 8.9).
//!
//! The engine raises exceptions but never delivers them. Delivery is one step of the machine: either all of its register
//! changes happen or, if it faults, none; then the fault (or a double fault) is delivered instead.

use super::Cpu;
use super::engine::{Access, off};
use super::mmu::Paging;
use super::regs::flag;
use super::state::{Segment, seg};
use crate::memory::{PhysMemory, pieces};
use crate::units::PhysAddr;

/// Exceptions by name.
#[allow(missing_docs)]
pub mod vector {
    pub const DB: u8 = 1;
    pub const BP: u8 = 3;
    pub const OF: u8 = 4;
    pub const UD: u8 = 6;
    pub const DF: u8 = 8;
    pub const TS: u8 = 10;
    pub const NP: u8 = 11;
    pub const SS: u8 = 12;
    pub const GP: u8 = 13;
    pub const PF: u8 = 14;
}

/// What is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A maskable hardware interrupt.
    Hardware,
    /// INT n, INT3, INTO: the gate's privilege level is checked.
    Software,
    /// An exception of the processor, with its error code where it has one.
    Exception(Option<u32>),
}

/// A fault met on the way.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Its vector.
    pub vector: u8,
    /// Its error code; for a page fault CR2 is written.
    pub error: u32,
}

impl Fault {
    /// A fault of this vector with this error code.
    pub fn new(vector: u8, error: u32) -> Fault {
        fault(vector, error)
    }
}

/// The processor gave up: a fault while delivering a double fault.
#[derive(Debug)]
pub struct TripleFault;

const fn fault(vector: u8, error: u32) -> Fault {
    Fault { vector, error }
}

/// A fault is contributory, a page fault, or benign (SDM 3A, table 6-4).
fn contributory(vector: u8) -> bool {
    matches!(vector, 0 | 10..=13)
}

fn makes_double_fault(first: u8, second: u8) -> bool {
    (contributory(first) && contributory(second))
        || (first == vector::PF && (contributory(second) || second == vector::PF))
}

/// A segment descriptor's two halves, decoded (SDM 3A, 3.4.5).
#[derive(Clone, Copy)]
struct Descriptor(u64);

impl Descriptor {
    fn segment(self, selector: u16) -> Segment {
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
    fn dpl(self) -> u8 {
        (self.0 >> 45 & 3) as u8
    }
    fn present(self) -> bool {
        self.bit(15)
    }
    fn is_code(self) -> bool {
        self.bit(12) && self.bit(11)
    }
    fn conforming(self) -> bool {
        self.bit(10)
    }
    fn writable_data(self) -> bool {
        self.bit(12) && !self.bit(11) && self.bit(9)
    }
}

/// A stack being pushed to before the registers are committed.
struct Stack {
    base: u64,
    sp: u64,
    /// Which bits of SP the stack uses.
    mask: u64,
    width: u64,
    user: bool,
}

/// Where a gate leads.
struct Target {
    cs: Segment,
    rip: u64,
    cpl: u8,
    interrupt_gate: bool,
}

impl Cpu {
    /// Delivers an event; afterwards the next step is the handler's first instruction.
    pub fn deliver(&mut self, vector: u8, cause: Cause) -> Result<(), TripleFault> {
        let (mut vector, mut cause) = (vector, cause);
        loop {
            let Err(fault) = self.try_deliver(vector, cause) else {
                let env = &self.env;
                env.w32(off::OLD_EXCEPTION, u32::MAX);
                env.clear_shadow();
                env.update_hflags();
                return Ok(());
            };
            if vector == vector::DF {
                return Err(TripleFault);
            }
            let exception = matches!(cause, Cause::Exception(_));
            if exception && makes_double_fault(vector, fault.vector) {
                (vector, cause) = (vector::DF, Cause::Exception(Some(0)));
            } else {
                // EXT: the fault was met while delivering something external to the program (SDM 3A, 6.13).
                let ext = u32::from(cause != Cause::Software && fault.vector != vector::PF);
                (vector, cause) = (fault.vector, Cause::Exception(Some(fault.error | ext)));
            }
        }
    }

    fn try_deliver(&mut self, vector: u8, cause: Cause) -> Result<(), Fault> {
        self.footprint.vector(vector);
        let mut rflags = self.engine.rflags();
        if let Cause::Exception(_) = cause {
            let trap = matches!(vector, vector::DB | vector::BP | vector::OF);
            // RF in the image of a fault: the instruction's own breakpoint does not fire again (SDM 3A, 17.3.1.1).
            if !trap && vector != vector::DF {
                rflags |= flag::RF;
            }
        }
        if !self.env.protected() {
            return self.deliver_real(vector, rflags & !flag::RF);
        }
        let error = match cause {
            Cause::Exception(error) => error,
            _ => None,
        };
        if self.env.long_mode() {
            self.deliver_long(vector, cause, error, rflags)
        } else {
            self.deliver_protected(vector, cause, error, rflags)
        }
    }

    /// Real-address mode: the vector table holds far pointers (SDM 3A, 20.1.4).
    fn deliver_real(&mut self, vector: u8, rflags: u64) -> Result<(), Fault> {
        let idt = self.env.idtr();
        let at = u64::from(vector) * 4;
        if at + 3 > idt.limit.into() {
            return Err(fault(vector::DF, 0));
        }
        let entry = self.read_system(idt.base + at, 4)?;
        let ss = self.env.segment(seg::SS);
        let mut stack = Stack {
            base: ss.base,
            sp: self.env.gpr(4),
            mask: if ss.flags & 1 << 22 != 0 { 0xffff_ffff } else { 0xffff },
            width: 2,
            user: false,
        };
        let cs = self.env.segment(seg::CS);
        for value in [rflags, cs.selector.into(), self.env.rip()] {
            self.push(&mut stack, value)?;
        }
        let selector = (entry >> 16) as u16;
        self.commit_sp(&stack);
        self.env.set_segment(seg::CS, &Segment { selector, base: u64::from(selector) << 4, ..cs });
        self.env.set_rip(entry & 0xffff);
        self.env.set_rflags(rflags & !(flag::IF | flag::TF | flag::AC));
        Ok(())
    }

    /// Protected mode through a 16- or 32-bit interrupt or trap gate (SDM 3A, 6.12).
    fn deliver_protected(
        &mut self,
        vector: u8,
        cause: Cause,
        error: Option<u32>,
        rflags: u64,
    ) -> Result<(), Fault> {
        let gate_error = gate_error(vector);
        let at = self.gate_address(vector, 8)?;
        let gate = self.read_system(at, 8)?;
        let kind = gate >> 40 & 0x1f;
        let width = match kind {
            0x06 | 0x07 => 2,
            0x0e | 0x0f => 4,
            _ => return Err(fault(vector::GP, gate_error)),
        };
        self.check_gate(gate, gate_error, cause)?;
        let offset = gate & 0xffff | if width == 4 { gate >> 32 & 0xffff_0000 } else { 0 };
        let mut target = self.gate_target((gate >> 16) as u16)?;
        target.rip = offset;
        target.interrupt_gate = kind & 1 == 0;

        let v86 = rflags & flag::VM != 0;
        let cpl = self.env.cpl();
        let old_ss = self.env.segment(seg::SS);
        let old_sp = self.env.gpr(4);
        let mut new_ss = None;
        if v86 && target.cpl != 0 {
            return Err(fault(vector::GP, u32::from(target.cs.selector & !3)));
        }
        let mut stack = if target.cpl < cpl {
            let (ss, sp) = self.tss_stack(target.cpl)?;
            new_ss = Some(ss);
            Stack { base: ss.base, sp, mask: stack_mask(&ss), width, user: false }
        } else {
            Stack { base: old_ss.base, sp: old_sp, mask: stack_mask(&old_ss), width, user: cpl == 3 }
        };
        if v86 {
            for i in [seg::GS, seg::FS, seg::DS, seg::ES] {
                self.push(&mut stack, self.env.segment(i).selector.into())?;
            }
        }
        if new_ss.is_some() {
            self.push(&mut stack, old_ss.selector.into())?;
            self.push(&mut stack, old_sp)?;
        }
        let cs = self.env.segment(seg::CS).selector;
        for value in [rflags, cs.into(), self.env.rip()] {
            self.push(&mut stack, value)?;
        }
        if let Some(error) = error {
            self.push(&mut stack, error.into())?;
        }
        if let Some(ss) = new_ss {
            self.env.set_segment(seg::SS, &ss);
            // A new stack pointer is loaded whole; only pushes wrap at the stack's width.
            self.env.set_gpr(4, stack.sp & 0xffff_ffff);
        } else {
            self.commit_sp(&stack);
        }
        if v86 {
            for i in [seg::GS, seg::FS, seg::DS, seg::ES] {
                self.env.set_segment(i, &Segment::default());
            }
        }
        self.commit_target(&target, rflags);
        Ok(())
    }

    /// Long mode (AMD APM 2, 8.9): 16-byte gates, IST, an aligned stack, SS:RSP always pushed.
    fn deliver_long(
        &mut self,
        vector: u8,
        cause: Cause,
        error: Option<u32>,
        rflags: u64,
    ) -> Result<(), Fault> {
        let gate_error = gate_error(vector);
        let at = self.gate_address(vector, 16)?;
        let gate = self.read_system(at, 8)?;
        let high = self.read_system(at + 8, 8)?;
        let kind = gate >> 40 & 0x1f;
        if !matches!(kind, 0x0e | 0x0f) {
            return Err(fault(vector::GP, gate_error));
        }
        self.check_gate(gate, gate_error, cause)?;
        let mut target = self.gate_target((gate >> 16) as u16)?;
        if target.cs.flags & 1 << 21 == 0 || target.cs.flags & 1 << 22 != 0 {
            return Err(fault(vector::GP, u32::from(target.cs.selector & !3)));
        }
        target.rip = gate & 0xffff | gate >> 32 & 0xffff_0000 | high << 32;
        target.interrupt_gate = kind & 1 == 0;
        if !canonical(target.rip) {
            return Err(fault(vector::GP, 0));
        }
        let cpl = self.env.cpl();
        let inner = target.cpl < cpl;
        let ist = (gate >> 32 & 7) as u32;
        let sp = if ist != 0 {
            self.tss_field(0x1c + 8 * ist, 8)?
        } else if inner {
            self.tss_field(4 + 8 * u32::from(target.cpl), 8)?
        } else {
            self.env.gpr(4)
        };
        if !canonical(sp) {
            return Err(fault(vector::SS, 0));
        }
        let mut stack = Stack { base: 0, sp: sp & !15, mask: u64::MAX, width: 8, user: target.cpl == 3 };
        let cs = self.env.segment(seg::CS).selector;
        let ss = self.env.segment(seg::SS).selector;
        for value in [ss.into(), self.env.gpr(4), rflags, cs.into(), self.env.rip()] {
            self.push(&mut stack, value)?;
        }
        if let Some(error) = error {
            self.push(&mut stack, error.into())?;
        }
        if inner {
            let cpl = target.cpl;
            let null = Segment { selector: cpl.into(), base: 0, limit: 0, flags: u32::from(cpl) << 13 };
            self.env.set_segment(seg::SS, &null);
        }
        self.env.set_gpr(4, stack.sp);
        self.commit_target(&target, rflags);
        Ok(())
    }

    /// Linear address of a gate of `size` bytes, which must be inside the IDT.
    fn gate_address(&self, vector: u8, size: u64) -> Result<u64, Fault> {
        let idt = self.env.idtr();
        let at = u64::from(vector) * size;
        if at + size - 1 > idt.limit.into() {
            return Err(fault(vector::GP, gate_error(vector)));
        }
        Ok(idt.base + at)
    }

    /// Presence, and for INT n the gate's privilege level.
    fn check_gate(&self, gate: u64, gate_error: u32, cause: Cause) -> Result<(), Fault> {
        let gate = Descriptor(gate);
        if cause == Cause::Software && gate.dpl() < self.env.cpl() {
            return Err(fault(vector::GP, gate_error));
        }
        if !gate.present() {
            return Err(fault(vector::NP, gate_error));
        }
        Ok(())
    }

    /// The code segment that a gate names, and the privilege level it leads to.
    fn gate_target(&mut self, selector: u16) -> Result<Target, Fault> {
        let error = u32::from(selector & !3);
        if selector & !3 == 0 {
            return Err(fault(vector::GP, 0));
        }
        let descriptor = self.descriptor(selector, vector::GP)?;
        let cpl = self.env.cpl();
        if !descriptor.is_code() || descriptor.dpl() > cpl {
            return Err(fault(vector::GP, error));
        }
        if !descriptor.present() {
            return Err(fault(vector::NP, error));
        }
        let new_cpl = if descriptor.conforming() { cpl } else { descriptor.dpl() };
        let cs = descriptor.segment(selector & !3 | u16::from(new_cpl));
        Ok(Target { cs, rip: 0, cpl: new_cpl, interrupt_gate: false })
    }

    fn commit_target(&mut self, target: &Target, rflags: u64) {
        self.env.set_segment(seg::CS, &target.cs);
        self.env.set_rip(target.rip);
        let mut cleared = flag::TF | flag::VM | flag::RF | flag::NT;
        if target.interrupt_gate {
            cleared |= flag::IF;
        }
        self.env.set_rflags(rflags & !cleared);
    }

    fn commit_sp(&mut self, stack: &Stack) {
        let old = self.env.gpr(4);
        self.env.set_gpr(4, old & !stack.mask | stack.sp & stack.mask);
    }

    fn push(&mut self, stack: &mut Stack, value: u64) -> Result<(), Fault> {
        let sp = stack.sp.wrapping_sub(stack.width) & stack.mask;
        stack.sp = stack.sp & !stack.mask | sp;
        let mut addr = stack.base.wrapping_add(sp);
        if stack.width != 8 {
            addr &= 0xffff_ffff;
        }
        self.write_system(addr, &value.to_le_bytes()[..stack.width as usize], stack.user)
    }

    /// A field of the task state segment.
    fn tss_field(&mut self, offset: u32, size: u32) -> Result<u64, Fault> {
        let tr = self.env.segment_at(off::TR);
        if offset + size - 1 > tr.limit {
            return Err(fault(vector::TS, u32::from(tr.selector & !3)));
        }
        self.read_system(tr.base.wrapping_add(offset.into()), size as usize)
    }

    /// SS:ESP for an inner privilege level from a 16- or 32-bit TSS, checked (SDM 3A, 6.12.1).
    fn tss_stack(&mut self, cpl: u8) -> Result<(Segment, u64), Fault> {
        let tss32 = self.env.segment_at(off::TR).flags & 1 << 11 != 0;
        let level = u32::from(cpl);
        let (sp, selector) = if tss32 {
            (self.tss_field(4 + 8 * level, 4)?, self.tss_field(8 + 8 * level, 2)? as u16)
        } else {
            (self.tss_field(2 + 4 * level, 2)?, self.tss_field(4 + 4 * level, 2)? as u16)
        };
        let error = u32::from(selector & !3);
        if selector & !3 == 0 || (selector & 3) as u8 != cpl {
            return Err(fault(vector::TS, error));
        }
        let descriptor = self.descriptor(selector, vector::TS)?;
        if descriptor.dpl() != cpl || !descriptor.writable_data() {
            return Err(fault(vector::TS, error));
        }
        if !descriptor.present() {
            return Err(fault(vector::SS, error));
        }
        Ok((descriptor.segment(selector), sp))
    }

    /// Reads a descriptor from the GDT or LDT; a selector beyond its table is `bad`.
    fn descriptor(&mut self, selector: u16, bad: u8) -> Result<Descriptor, Fault> {
        let (base, limit) = if selector & 4 != 0 {
            let ldt = self.env.segment_at(off::LDT);
            (ldt.base, ldt.limit)
        } else {
            let gdt = self.env.gdtr();
            (gdt.base, gdt.limit.into())
        };
        let at = u32::from(selector & !7);
        if at + 7 > limit {
            return Err(fault(bad, u32::from(selector & !3)));
        }
        let addr = base.wrapping_add(at.into());
        let value = self.read_system(addr, 8)?;
        let descriptor = Descriptor(value);
        // The processor marks a segment that it loads as accessed.
        if descriptor.bit(12) && !descriptor.bit(8) && descriptor.present() {
            self.write_system(addr.wrapping_add(5), &[(value >> 40) as u8 | 1], false)?;
            return Ok(Descriptor(value | 1 << 40));
        }
        Ok(descriptor)
    }

    /// An access that the processor makes for itself, with supervisor rights.
    pub(super) fn read_system(&mut self, addr: u64, size: usize) -> Result<u64, Fault> {
        let mut bytes = [0; 8];
        for (at, from, n) in pieces(addr, size) {
            let phys = self.translate_system(at, Access::Read, false)?;
            self.mem.read(PhysAddr(phys), &mut bytes[from..from + n]);
        }
        Ok(u64::from_le_bytes(bytes))
    }

    fn write_system(&mut self, addr: u64, bytes: &[u8], user: bool) -> Result<(), Fault> {
        for (at, from, n) in pieces(addr, bytes.len()) {
            let phys = self.translate_system(at, Access::Write, user)?;
            self.mem.store(phys, &bytes[from..from + n]);
        }
        Ok(())
    }

    fn translate_system(&mut self, addr: u64, access: Access, user: bool) -> Result<u64, Fault> {
        let addr = if self.env.long_mode() { addr } else { addr & 0xffff_ffff };
        match Paging::of(&self.env).walk(&self.mem, addr, access, user) {
            Ok(mut walk) => {
                walk.commit(&mut self.mem, access);
                Ok(walk.phys)
            }
            Err(error) => {
                self.env.w64(off::CR + 16, addr);
                Err(fault(vector::PF, error))
            }
        }
    }
}

/// The error code that names a gate: its index with the IDT bit (SDM 3A, 6.13).
fn gate_error(vector: u8) -> u32 {
    u32::from(vector) * 8 + 2
}

fn stack_mask(ss: &Segment) -> u64 {
    if ss.flags & 1 << 22 != 0 { 0xffff_ffff } else { 0xffff }
}

fn canonical(addr: u64) -> bool {
    let top = addr as i64 >> 47;
    top == 0 || top == -1
}
