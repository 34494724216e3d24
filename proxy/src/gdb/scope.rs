//! What the server and conditions see of the machine.

use super::regs::{Layout, Moment};
use std::cell::OnceCell;
use vm::cpu::Mapping;
use vm::{CpuState, LinAddr, PhysAddr, Picture};

/// A machine to look at.
pub trait View {
    /// Registers.
    fn cpu(&self) -> CpuState;
    /// A general register by its number in instruction encoding.
    fn gpr(&self, number: usize) -> u64 {
        self.cpu().gpr[number]
    }
    /// Position and virtual time.
    fn moment(&self) -> Moment;
    /// Reads memory by linear address up to the first byte that is not mapped; how many bytes were read.
    fn read_linear(&self, addr: LinAddr, buf: &mut [u8]) -> usize;
    /// Reads physical memory; what has no side effects.
    fn read_phys(&self, addr: PhysAddr, buf: &mut [u8]);
    /// The physical address behind a linear one; `None` if it is not mapped.
    fn translate(&self, addr: LinAddr) -> Option<PhysAddr>;
    /// Calls `each` with what is mapped at and above an address, in order, until it returns false; false: paging is off.
    fn mappings(&self, from: LinAddr, each: &mut dyn FnMut(&Mapping) -> bool) -> bool;
    /// What reading a port would give here, and whether that would change a chip.
    fn peek_port(&self, port: u16, size: u8) -> (u32, bool);
    /// The state of the chips here, by their names.
    fn board(&self) -> serde_json::Value;
    /// The screen here; `None` without a display adapter.
    fn picture(&self) -> Option<Picture>;
    /// The text on it; `None` without a display adapter and while it shows graphics.
    fn screen_text(&self) -> Option<Vec<String>>;
}

/// Why accesses to a variable cannot be watched.
pub fn why_unwatched(view: &dyn View, addr: LinAddr, len: u64) -> String {
    let last = LinAddr(addr.0.saturating_add(len.saturating_sub(1)));
    let pages = (addr.0..=last.0).step_by(vm::PAGE_SIZE).map(LinAddr).chain([last]);
    match pages.into_iter().find(|at| view.translate(*at).is_none()) {
        Some(at) => format!("{at} is not mapped here"),
        None => format!(
            "{addr} is no RAM: accesses to ROM and devices are not watched, and of the text screen only writes"
        ),
    }
}

impl View for vm::Machine {
    fn cpu(&self) -> CpuState {
        vm::Machine::cpu(self)
    }

    fn gpr(&self, number: usize) -> u64 {
        vm::Machine::gpr(self, number)
    }

    fn moment(&self) -> Moment {
        Moment { position: self.position(), now: self.now() }
    }

    fn read_linear(&self, addr: LinAddr, buf: &mut [u8]) -> usize {
        vm::Machine::read_linear(self, addr, buf)
    }

    fn read_phys(&self, addr: PhysAddr, buf: &mut [u8]) {
        vm::Machine::read_phys(self, addr, buf);
    }

    fn translate(&self, addr: LinAddr) -> Option<PhysAddr> {
        vm::Machine::translate(self, addr)
    }

    fn mappings(&self, from: LinAddr, each: &mut dyn FnMut(&Mapping) -> bool) -> bool {
        vm::Machine::mappings(self, from, each)
    }

    fn peek_port(&self, port: u16, size: u8) -> (u32, bool) {
        vm::Machine::peek_port(self, port, size)
    }

    fn board(&self) -> serde_json::Value {
        serde_json::to_value(vm::Machine::board(self)).unwrap_or_default()
    }

    fn picture(&self) -> Option<Picture> {
        vm::Machine::picture(self)
    }

    fn screen_text(&self) -> Option<Vec<String>> {
        vm::Machine::screen_text(self)
    }
}

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoValue {
    /// A byte of memory is not mapped.
    #[error("address {0:#x} is not mapped")]
    NotMapped(u64),
    /// There is no such register.
    #[error("there is no such register")]
    NoRegister,
    /// A division by zero.
    #[error("division by zero")]
    DivisionByZero,
    /// The bytecode of a debugger does something that it must not.
    #[error("the debugger's bytecode is wrong: {0}")]
    Bytecode(&'static str),
}

/// Registers by number and memory, as numbers.
pub struct Scope<'a> {
    view: &'a dyn View,
    /// All registers, if one was asked for that is not cheaper by itself.
    cpu: OnceCell<CpuState>,
    layout: &'a Layout,
}

impl<'a> Scope<'a> {
    /// What `view` shows now.
    pub fn new(view: &'a dyn View, layout: &'a Layout) -> Scope<'a> {
        Scope { cpu: OnceCell::new(), view, layout }
    }

    /// A register; of one with more than 64 bits, the lower ones.
    pub fn register(&self, number: usize) -> Result<u64, NoValue> {
        if let Some((gpr, bits)) = self.layout.gpr(number) {
            return Ok(self.view.gpr(gpr) & (u64::MAX >> (64 - bits)));
        }
        let cpu = self.cpu.get_or_init(|| self.view.cpu());
        let mut bytes = self.layout.read(number, cpu, self.view.moment()).ok_or(NoValue::NoRegister)?;
        bytes.resize(8, 0);
        Ok(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    /// A little-endian number of 1 to 8 bytes.
    pub fn memory(&self, addr: u64, size: usize) -> Result<u64, NoValue> {
        let mut bytes = [0; 8];
        let read = self.view.read_linear(LinAddr(addr), &mut bytes[..size]);
        if read < size {
            return Err(NoValue::NotMapped(addr.wrapping_add(read as u64)));
        }
        Ok(u64::from_le_bytes(bytes))
    }
}
