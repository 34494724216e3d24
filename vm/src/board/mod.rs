//! The board: the chips of an i440FX PC as fields of one struct, and the ports and lines that join them.

pub mod debug;
pub mod fw_cfg;
pub mod i8042;
pub mod pci;
pub mod pm;
pub mod sysctl;
pub mod uart;

use crate::config::MachineConfig;
use crate::input::{Input, Output};
use crate::memory::PhysMemory;
use crate::units::{PhysAddr, Vector, VmTime};
use serde::{Deserialize, Serialize};

/// What an access may cause outside the chips. Never machine state.
#[derive(Default)]
pub struct Effects {
    /// Bytes that leave the machine.
    pub output: Vec<Output>,
    /// What the board asks of the machine.
    pub request: Option<Request>,
    /// The A20 gate, the PAM registers or another part of the memory map changed: cached translations are void.
    pub memory_map_changed: bool,
}

/// What the board asks of the machine; carried out after the instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Reset the CPU and the chips (port 0xcf9, 0x92, 8042).
    Reset,
    /// Power off (ACPI S5).
    PowerOff,
    /// isa-debug-exit was written.
    DebugExit(u32),
}

/// What a chip may use during an access.
pub struct Bus<'a> {
    /// Virtual time of the access.
    pub now: VmTime,
    /// Physical memory, for bus masters.
    pub mem: &'a mut dyn PhysMemory,
    /// What the access causes outside.
    pub fx: &'a mut Effects,
}

/// All chips.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Board {}

#[allow(unused_variables)]
impl Board {
    /// The board at power-on.
    pub fn new(config: &MachineConfig) -> Board {
        todo!()
    }

    /// IN of `size` 1, 2 or 4 bytes.
    pub fn io_read(&mut self, port: u16, size: u8, bus: &mut Bus) -> u32 {
        todo!()
    }

    /// OUT of `size` 1, 2 or 4 bytes.
    pub fn io_write(&mut self, port: u16, size: u8, value: u32, bus: &mut Bus) {
        todo!()
    }

    /// A CPU read of `size` bytes (1, 2, 4, 8) from an address that is not RAM or ROM.
    pub fn mmio_read(&mut self, addr: PhysAddr, size: u8, bus: &mut Bus) -> u64 {
        todo!()
    }

    /// A CPU write to an address that is not RAM or ROM.
    pub fn mmio_write(&mut self, addr: PhysAddr, size: u8, value: u64, bus: &mut Bus) {
        todo!()
    }

    /// Lets every chip do what it does up to and including `bus.now`, event by event in order of time, so that the
    /// result does not depend on how often this is called.
    pub fn advance(&mut self, bus: &mut Bus) {
        todo!()
    }

    /// When the board's outputs may next change by themselves.
    pub fn next_event(&self) -> Option<VmTime> {
        todo!()
    }

    /// The INTR line of the CPU.
    pub fn intr(&self) -> bool {
        todo!()
    }

    /// Interrupt acknowledge cycle: the vector, which is now in service.
    pub fn acknowledge(&mut self) -> Vector {
        todo!()
    }

    /// The vector that [`Board::acknowledge`] would give.
    pub fn peek_vector(&self) -> Option<Vector> {
        todo!()
    }

    /// The A20 gate: address bit 20 is passed through.
    pub fn a20(&self) -> bool {
        todo!()
    }

    /// Whether reads of the 16 KiB block (32 KiB below 0xc8000.. as the PAM registers divide it) at `addr`
    /// (0xc0000..0x100000) come from RAM instead of ROM/PCI, and whether writes go to RAM.
    pub fn pam(&self, addr: PhysAddr) -> (bool, bool) {
        todo!()
    }

    /// An input arrives.
    pub fn inject(&mut self, input: &Input, bus: &mut Bus) {
        todo!()
    }

    /// All chips as after power-on, except what a reset line does not reach (RTC and its RAM).
    pub fn reset(&mut self) {
        todo!()
    }
}
