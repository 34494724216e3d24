//! What the engine calls while it runs.

use super::{Core, TF, effort};
use crate::cpu::count::{Block, Rep};
use crate::cpu::delivery::{Cause, has_error_code, vector};
use crate::cpu::engine::{
    Access, BlockCall, BlockStart, Engine, Fill, Hooks, KnownCall, Offsets, PortIn, PortOut, off,
};
use crate::cpu::tlb;
use crate::trap::Event;
use crate::units::PhysAddr;
use std::mem::offset_of;

impl Hooks for Core {
    const OFFSETS: Offsets = Offsets {
        position: offset_of!(Core, cpu.pos),
        free_limit: offset_of!(Core, free_limit),
        interrupt: offset_of!(Core, intr),
        invalidations: offset_of!(Core, cpu.engine) + Engine::INVALIDATIONS_OFFSET,
        seen_invalidations: offset_of!(Core, cpu.seen_invalidations),
        block_addr: offset_of!(Core, cpu.current.addr),
        block_start: offset_of!(Core, cpu.current.start),
        block_size_insns: offset_of!(Core, cpu.current.size),
    };

    #[inline]
    fn known_block(&mut self, addr: u64, size: u32, insns: u16) -> bool {
        let end = self.cpu.pos.wrapping_add(insns.into());
        let free = end <= self.free_limit && !self.cpu.code_was_overwritten() && !self.takes_interrupt();
        if free {
            self.enter(addr, size, insns);
        }
        free
    }

    #[inline]
    fn block(&mut self, addr: u64, size: u32, call: BlockCall) -> BlockStart {
        if self.cpu.single {
            self.cpu.single = false;
            self.update_soft_limit();
        }
        let fits = |block: &&Block| self.cpu.pos.wrapping_add(block.insns.into()) <= self.soft_limit;
        let Some(block) = self.cpu.plain_block(addr, size).filter(fits) else {
            return self.block_slow(addr, size, call);
        };
        if self.cpu.is_marked(addr, size) || self.cpu.code_was_overwritten() || self.takes_interrupt() {
            return self.block_slow(addr, size, call);
        }
        if block.rep != Rep::No {
            let block = *block;
            return self.rep_pass(&block, call);
        }
        let insns = block.insns;
        self.enter(addr, size, insns);
        BlockStart::RunKnown(insns)
    }

    fn became_known(&mut self, addr: u64, size: u32, call: KnownCall) {
        self.cpu.note_known(addr, size, call);
    }

    fn translated(&mut self, addr: u64, size: u16, insns: u16) {
        self.cpu.translated(addr, size, insns);
        if self.cpu.engine.lacks_room() {
            self.leave_soon();
        }
        self.takes(effort::TRANSLATION);
    }

    fn fill_anywhere(&mut self, page: u64, access: Access) -> Option<Fill> {
        let fill = self.cpu.fill_anywhere(page, access)?;
        self.filled(fill);
        Some(fill)
    }

    fn fill(&mut self, page: u64, access: Access) -> Option<Fill> {
        let fill = self.cpu.fill(page, access);
        if self.cpu.mem.has_watch_hit() {
            let pos = self.cpu.position_here();
            self.note_watch(pos);
        }
        match fill {
            Some(fill) => self.filled(fill),
            None => self.cpu.drop_stale(),
        }
        fill
    }

    fn exception(&mut self, vector: u8) {
        let env = self.cpu.env;
        let software = env.r32(off::EXCEPTION_IS_INT) != 0;
        // What makes a double fault is decided in delivery, and not everything that the engine raises is delivered.
        env.w32(off::OLD_EXCEPTION, u32::MAX);
        // An instruction that is undone is not one that a single step has made.
        if vector == vector::DB && !software && self.settle() {
            return;
        }
        if software {
            self.cpu.int_len = self.cpu.len_behind();
        }
        // A single-step trap is raised behind its instruction, wherever that went; its block has one instruction.
        if vector == vector::DB && !software {
            self.cpu.current.insns = 0;
            let bits = std::mem::take(&mut self.cpu.pending_db);
            self.cpu.report_debug(bits | crate::cpu::debug::DR6_BS);
        } else {
            self.correct_position(u64::from(!software));
        }
        let step = self.cpu.pos.saturating_sub(1);
        if vector == vector::UD && !software && self.emulated(step) {
            return;
        }
        if vector == vector::GP && !software && env.cpl() == 3 {
            self.cpu.stepping = env.r64(off::EFLAGS) & TF != 0;
            let result = self.cpu.allowed_by_virtual_interrupts();
            let done = *result.as_ref().unwrap_or(&true);
            self.after_delivery(result.map(|_| ()), step);
            if done {
                return;
            }
        }
        let cause = if software {
            self.cpu.software_cause(vector)
        } else {
            Cause::Exception(has_error_code(vector).then(|| env.r32(off::ERROR_CODE)))
        };
        self.deliver(vector, cause, step);
    }

    fn port_in(&mut self, port: u16, size: u8) -> PortIn {
        if let Err(fault) = self.cpu.check_port(port, size) {
            return PortIn::Raise(fault.vector, fault.error);
        }
        self.cpu.footprint.port(port);
        let pos = self.cpu.position_here();
        let now = self.time_at(pos);
        let value = self.on_board(pos, now, |board, bus| board.io_read(port, size, bus));
        self.digest(pos, u64::from(port) << 8 | u64::from(size), value.into());
        self.note_port_event(pos, Event::Port { port, size, write: false, value });
        self.cpu.note_port_access(port, size);
        if self.must_leave() && self.cpu.finish_port_access(Some((value, size))) {
            return PortIn::Leave;
        }
        PortIn::Value(value)
    }

    fn port_out(&mut self, port: u16, size: u8, value: u32) -> PortOut {
        if let Err(fault) = self.cpu.check_port(port, size) {
            return PortOut::Raise(fault.vector, fault.error);
        }
        self.cpu.footprint.port(port);
        let pos = self.cpu.position_here();
        let now = self.time_at(pos);
        self.digest(pos, u64::from(port) << 8 | u64::from(size) | 0x80, value.into());
        self.on_board(pos, now, |board, bus| board.io_write(port, size, value, bus));
        self.note_port_event(pos, Event::Port { port, size, write: true, value });
        self.cpu.note_port_access(port, size);
        if self.must_leave() && self.cpu.finish_port_access(None) {
            return PortOut::Leave;
        }
        PortOut::Done
    }

    fn mmio_read(&mut self, addr: u64, size: u8) -> u64 {
        if addr >= tlb::WATCHED {
            return self.watched_load(addr - tlb::WATCHED, size);
        }
        self.cpu.engine.sync_rip();
        let pos = self.cpu.position_here();
        let now = self.time_at(pos);
        let value = self.on_board(pos, now, |board, bus| board.mmio_read(PhysAddr(addr), size, bus));
        self.digest(pos, addr << 8 | u64::from(size) | 0x40, value);
        value
    }

    fn mmio_write(&mut self, addr: u64, size: u8, value: u64) -> bool {
        if addr >= tlb::WATCHED {
            return self.watched_store(addr - tlb::WATCHED, &value.to_le_bytes()[..usize::from(size.min(8))]);
        }
        self.cpu.engine.sync_rip();
        let pos = self.cpu.position_here();
        let now = self.time_at(pos);
        self.digest(pos, addr << 8 | u64::from(size) | 0xc0, value);
        if self.board.video_memory_write(PhysAddr(addr), size, value, &mut self.cpu.mem) {
            // No line and no event of the board can have changed.
            if self.cpu.mem.has_watch_hit() || self.cpu.mem.has_stale() {
                self.note_watch(pos);
                self.cpu.drop_stale();
            }
            return true;
        }
        self.on_board(pos, now, |board, bus| board.mmio_write(PhysAddr(addr), size, value, bus));
        true
    }

    fn rdtsc(&mut self) -> u64 {
        let pos = self.cpu.position_here();
        self.cpu.tsc(self.time_at(pos).0)
    }

    fn cpuid(&mut self, leaf: u32, subleaf: u32) -> [u32; 4] {
        self.model.cpuid(leaf, subleaf, self.board.has_local_apic())
    }
}
