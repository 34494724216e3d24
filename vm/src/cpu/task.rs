//! Hardware task switches (Intel SDM 3A, chapter 7).

use super::Cpu;
use super::delivery::{Fault, vector};
use super::descriptor::{Descriptor, in_limit, kind, selector_error};
use super::engine::{Access, off};
use super::regs::flag;
use super::state::{Segment, seg};

/// What switches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// JMP to a TSS or task gate.
    Jump,
    /// CALL.
    Call,
    /// An interrupt or exception through a task gate.
    Gate,
    /// IRET with NT set.
    Return,
}

const CR0_TS: u64 = 1 << 3;
const BUSY: u64 = (kind::BUSY as u64) << 40;

/// Where a TSS has its fields (SDM 3A, figures 7-2 and 7-10).
struct Layout {
    wide: bool,
    least_limit: u32,
    ip: u64,
    flags: u64,
    registers: u64,
    segments: u64,
    segment_count: usize,
    ldt: u64,
    width: u64,
}

const TSS32: Layout = Layout {
    wide: true,
    least_limit: 0x67,
    ip: 0x20,
    flags: 0x24,
    registers: 0x28,
    segments: 0x48,
    segment_count: 6,
    ldt: 0x60,
    width: 4,
};

const TSS16: Layout = Layout {
    wide: false,
    least_limit: 0x2b,
    ip: 0x0e,
    flags: 0x10,
    registers: 0x12,
    segments: 0x22,
    segment_count: 4,
    ldt: 0x2a,
    width: 2,
};

fn layout(wide: bool) -> &'static Layout {
    if wide { &TSS32 } else { &TSS16 }
}

/// What is read from the new task's TSS.
struct Incoming {
    cr3: u64,
    ip: u64,
    flags: u64,
    registers: [u64; 8],
    segments: [u16; 6],
    ldt: u16,
    trap: bool,
}

impl Cpu {
    /// Switches to the task whose TSS descriptor is at linear address `addr`. The privilege of who asks has been checked.
    /// [`Cpu::finish_task_switch`] must follow. Faults before the registers change belong to the old task, later ones to the
    /// new.
    pub(super) fn switch_task(
        &mut self,
        selector: u16,
        addr: u64,
        descriptor: Descriptor,
        switch: Switch,
        next_rip: u64,
    ) -> Result<(), Fault> {
        let error = selector_error(selector);
        let (wide, busy) = match descriptor.system() {
            Some(t) if t & !kind::BUSY == kind::TSS16 => (false, t & kind::BUSY != 0),
            Some(t) if t & !kind::BUSY == kind::TSS32 => (true, t & kind::BUSY != 0),
            _ if switch == Switch::Return => return Err(Fault::new(vector::TS, error)),
            _ => return Err(Fault::new(vector::GP, error)),
        };
        if busy != (switch == Switch::Return) {
            let vector = if switch == Switch::Return { vector::TS } else { vector::GP };
            return Err(Fault::new(vector, error));
        }
        if !descriptor.present() {
            return Err(Fault::new(vector::NP, error));
        }
        let new = layout(wide);
        let tss = descriptor.segment(selector);
        if tss.limit < new.least_limit {
            return Err(Fault::new(vector::TS, error));
        }
        let tr = self.env.segment_at(off::TR);
        let old = layout(tr.is_wide_system());
        self.probe(tr.base, old.least_limit, Access::Write)?;
        self.probe(tss.base, new.least_limit, Access::Read)?;

        let nested = matches!(switch, Switch::Call | Switch::Gate);
        if !nested {
            let old_addr = self.env.gdtr().base.wrapping_add((tr.selector & !7).into());
            let old_descriptor = self.read_system(old_addr, 8)?;
            self.write_system(old_addr.wrapping_add(5), &[((old_descriptor & !BUSY) >> 40) as u8])?;
        }
        self.save_task(&tr, old, switch, next_rip)?;
        if nested {
            self.write_system(tss.base, &tr.selector.to_le_bytes())?;
        }
        if switch != Switch::Return {
            self.write_system(addr.wrapping_add(5), &[((descriptor.0 | BUSY) >> 40) as u8])?;
        }
        let incoming = self.read_task(&tss, new)?;
        self.load_task(tss, incoming, new, nested)
    }

    /// Whether the CPU may access a TSS, before anything is changed.
    fn probe(&mut self, base: u64, limit: u32, access: Access) -> Result<(), Fault> {
        self.access(base, access, false)?;
        self.access(base.wrapping_add(limit.into()), access, false)?;
        Ok(())
    }

    fn save_task(&mut self, tr: &Segment, old: &Layout, switch: Switch, next_rip: u64) -> Result<(), Fault> {
        let mut flags = self.engine.rflags();
        if switch == Switch::Return {
            flags &= !flag::NT;
        }
        let width = old.width as usize;
        let put = |cpu: &mut Cpu, at: u64, value: u64, n: usize| {
            cpu.write_system(tr.base.wrapping_add(at), &value.to_le_bytes()[..n])
        };
        put(self, old.ip, next_rip, width)?;
        put(self, old.flags, flags, width)?;
        for i in 0..8 {
            put(self, old.registers + old.width * i as u64, self.env.gpr(i), width)?;
        }
        for i in 0..old.segment_count {
            put(self, old.segments + old.width * i as u64, self.env.segment(i).selector.into(), 2)?;
        }
        Ok(())
    }

    fn read_task(&mut self, tss: &Segment, new: &Layout) -> Result<Incoming, Fault> {
        let width = new.width as usize;
        let get = |cpu: &mut Cpu, at: u64, n: usize| cpu.read_system(tss.base.wrapping_add(at), n);
        let mut incoming = Incoming {
            cr3: if new.wide { get(self, 0x1c, 4)? } else { 0 },
            ip: get(self, new.ip, width)?,
            flags: get(self, new.flags, width)?,
            registers: [0; 8],
            segments: [0; 6],
            ldt: get(self, new.ldt, 2)? as u16,
            trap: new.wide && get(self, 0x64, 1)? & 1 != 0,
        };
        for i in 0..8 {
            // The upper halves that a 16-bit TSS does not have are undefined; these are the ones of real processors.
            let upper = if new.wide { 0 } else { 0xffff_0000 };
            incoming.registers[i] = get(self, new.registers + new.width * i as u64, width)? | upper;
        }
        for i in 0..new.segment_count {
            incoming.segments[i] = get(self, new.segments + new.width * i as u64, 2)? as u16;
        }
        Ok(incoming)
    }

    /// Loads the new task. From here on faults are the new task's.
    fn load_task(
        &mut self,
        tss: Segment,
        incoming: Incoming,
        new: &Layout,
        nested: bool,
    ) -> Result<(), Fault> {
        let env = self.env;
        env.set_segment_at(off::TR, &Segment { flags: tss.flags | u32::from(kind::BUSY) << 8, ..tss });
        env.w64(off::CR, env.r64(off::CR) | CR0_TS);
        if new.wide && env.r64(off::CR) & 1 << 31 != 0 {
            self.switch_address_space(incoming.cr3);
            self.forget_near();
        }
        let mut flags = incoming.flags & (flag::TASK | flag::ARITHMETIC | flag::DF) | 2;
        if nested {
            flags |= flag::NT;
        }
        env.set_rip(incoming.ip);
        for (i, value) in incoming.registers.into_iter().enumerate() {
            env.set_gpr(i, value);
        }
        let v86 = flags & flag::VM != 0;
        env.set_rflags(flags);
        for (i, &selector) in incoming.segments.iter().enumerate() {
            let segment =
                if v86 { v86_segment(selector) } else { Segment { selector, ..Segment::default() } };
            env.set_segment(i, &segment);
        }
        // What an unloaded SS says of the privilege level is what CS says.
        let cpl = if v86 { 3 } else { (incoming.segments[seg::CS] & 3) as u8 };
        if !v86 {
            let ss = env.segment(seg::SS);
            env.set_segment(seg::SS, &Segment { flags: u32::from(cpl) << 13, ..ss });
        }
        env.set_segment_at(off::LDT, &Segment { selector: incoming.ldt, ..Segment::default() });
        env.update_hflags();
        let local = self.debug.dr7() & !0x155;
        self.set_dr7(local);
        if incoming.trap {
            self.pending_db |= super::debug::DR6_BT;
        }
        self.load_task_ldt(incoming.ldt)?;
        if !v86 {
            self.load_task_segments(&incoming.segments, cpl)?;
        }
        Ok(())
    }

    fn load_task_ldt(&mut self, selector: u16) -> Result<(), Fault> {
        if selector & !3 == 0 {
            return Ok(());
        }
        let bad = Err(Fault::new(vector::TS, selector_error(selector)));
        if selector & 4 != 0 {
            return bad;
        }
        let (_, descriptor) = self.descriptor(selector, vector::TS)?;
        if descriptor.system() != Some(kind::LDT) || !descriptor.present() {
            return bad;
        }
        self.env.set_segment_at(off::LDT, &descriptor.segment(selector));
        Ok(())
    }

    fn load_task_segments(&mut self, selectors: &[u16; 6], cpl: u8) -> Result<(), Fault> {
        for i in [seg::SS, seg::CS, seg::ES, seg::DS, seg::FS, seg::GS] {
            let selector = selectors[i];
            let rpl = (selector & 3) as u8;
            let bad = Err(Fault::new(vector::TS, selector_error(selector)));
            if selector & !3 == 0 {
                if matches!(i, seg::CS | seg::SS) {
                    return bad;
                }
                continue;
            }
            let (addr, descriptor) = self.descriptor(selector, vector::TS)?;
            let dpl = descriptor.dpl();
            let fits = match i {
                seg::CS if descriptor.conforming() => dpl <= cpl,
                seg::CS => descriptor.is_code() && dpl == cpl,
                seg::SS => descriptor.writable_data() && dpl == cpl && rpl == cpl,
                _ => descriptor.readable() && (descriptor.conforming() || (dpl >= cpl && dpl >= rpl)),
            };
            if !fits {
                return bad;
            }
            if !descriptor.present() {
                let vector = if i == seg::SS { vector::SS } else { vector::NP };
                return Err(Fault::new(vector, selector_error(selector)));
            }
            let descriptor = self.mark_accessed(addr, descriptor)?;
            self.env.set_segment(i, &descriptor.segment(selector));
            self.env.update_hflags();
        }
        Ok(())
    }

    /// The last check of a task switch, made in the new task.
    pub(super) fn finish_task_switch(&mut self) -> Result<(), Fault> {
        self.env.update_hflags();
        let cs = self.env.segment(seg::CS);
        if in_limit(&cs, self.env.rip(), 1) { Ok(()) } else { Err(Fault::protection()) }
    }
}

/// A segment register of virtual-8086 mode.
pub fn v86_segment(selector: u16) -> Segment {
    Segment { selector, base: u64::from(selector) << 4, limit: 0xffff, flags: 0x00f300 }
}
