//! The machine: CPU, board and memory, and the loop that runs them.

use crate::board::Board;
use crate::config::MachineConfig;
use crate::cpu::state::CpuState;
use crate::input::{Input, Output};
use crate::units::{Icount, LinAddr, PhysAddr, Vector, VmTime};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A hardware interrupt that the CPU took: the step at `position` is its delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterruptTaken {
    /// The position at which it was delivered; the handler's first instruction is at `position + 1`.
    pub position: Icount,
    /// Virtual time of the delivery.
    pub time: VmTime,
    /// The vector the interrupt controller gave.
    pub vector: Vector,
}

/// How far [`Machine::run`] may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunLimit {
    /// Stop exactly here.
    pub position: Icount,
    /// While the CPU is halted do not skip past this time.
    pub time: VmTime,
}

/// Why [`Machine::run`] came back. The machine is always between two steps then, and can go on from there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The limit's position is reached.
    Position,
    /// The CPU is halted and the limit's time is reached.
    Time,
    /// The instruction at this address is about to run and has a breakpoint (never reported for the position at which
    /// `run` was called).
    Breakpoint(LinAddr),
    /// A watched range was written by the step at `position`. The machine may have gone a few steps on.
    Watchpoint {
        /// Position of the writing step (the state *before* it).
        position: Icount,
        /// Physical address of the first watched byte written.
        addr: PhysAddr,
    },
    /// The guest switched the power off.
    PowerOff,
    /// The guest reset the machine, and the configuration says `no_reboot`.
    Reset,
    /// A triple fault, and the configuration says `no_reboot`.
    TripleFault,
    /// The guest wrote this value to isa-debug-exit.
    DebugExit(u32),
    /// HLT with interrupts off: nothing but a reset can wake this CPU.
    HaltedForever,
    /// HLT with interrupts on and no timer armed: only an input can wake this CPU.
    Idle,
    /// The machine does not do what the log says that it did.
    Diverged(Box<Divergence>),
}

/// A replay that differs from what was recorded.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("replay diverges at position {position}: expected {expected}, got {actual}")]
pub struct Divergence {
    /// Where it was noticed.
    pub position: Icount,
    /// What the recording says.
    pub expected: String,
    /// What the machine did.
    pub actual: String,
}

/// What can go wrong that is not the guest's doing.
#[derive(Debug, Error)]
pub enum VmError {
    /// The configuration cannot be built.
    #[error("{0}")]
    Config(String),
    /// The engine is not the one this program was written for, or it failed.
    #[error("CPU engine: {0}")]
    Engine(String),
}

/// Everything of a machine but its RAM and ROM: CPU, chips, position, time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MachineState {
    /// Steps since power-on.
    pub position: Icount,
    /// Virtual time that was skipped while halted, in ns.
    pub skipped_ns: u64,
    /// Running digest of all port and MMIO accesses.
    pub io_digest: u64,
    /// The CPU.
    pub cpu: CpuState,
    /// The chips.
    pub board: Board,
}

/// A whole PC.
pub struct Machine {}

#[allow(unused_variables)]
impl Machine {
    /// A machine at power-on: RAM zero, firmware in ROM, CPU at the reset vector.
    pub fn new(config: &MachineConfig) -> Result<Machine, VmError> {
        todo!()
    }

    /// What it is made of.
    pub fn config(&self) -> &MachineConfig {
        todo!()
    }

    /// Steps since power-on.
    pub fn position(&self) -> Icount {
        todo!()
    }

    /// Virtual time.
    pub fn now(&self) -> VmTime {
        todo!()
    }

    /// Runs until `limit` or until something else in [`Exit`] happens.
    pub fn run(&mut self, limit: RunLimit) -> Result<Exit, VmError> {
        todo!()
    }

    /// An input arrives now.
    pub fn inject(&mut self, input: &Input) {
        todo!()
    }

    /// From now on interrupts are taken where `log` says (positions not before the present one, ascending), and each
    /// is checked against what the board asks for; `None`: when the board asks for them (recording). With `Some`, an
    /// interrupt that the board asks for beyond the end of the log is not taken.
    pub fn follow(&mut self, log: Option<Vec<InterruptTaken>>) {
        todo!()
    }

    /// Interrupts taken since the last call, in order (also those that were followed).
    pub fn take_interrupts(&mut self) -> Vec<InterruptTaken> {
        todo!()
    }

    /// What the guest sent out since the last call, each with the position of its step.
    pub fn take_output(&mut self) -> Vec<(Icount, Output)> {
        todo!()
    }

    /// The CPU's registers.
    pub fn cpu(&self) -> CpuState {
        todo!()
    }

    /// Writes the CPU's registers.
    pub fn set_cpu(&mut self, cpu: &CpuState) {
        todo!()
    }

    /// The chips.
    pub fn board(&self) -> &Board {
        todo!()
    }

    /// CPU, chips, position and time. RAM goes by pages: [`Machine::ram`], [`Machine::take_dirty`].
    pub fn save(&self) -> MachineState {
        todo!()
    }

    /// Takes over a saved state. RAM must be brought to the same position by [`Machine::write_page`].
    pub fn restore(&mut self, state: &MachineState) {
        todo!()
    }

    /// All of RAM.
    pub fn ram(&self) -> &[u8] {
        todo!()
    }

    /// Replaces page `page` of RAM (physical address / 4096), also where it holds code.
    pub fn write_page(&mut self, page: usize, bytes: &[u8; 4096]) {
        todo!()
    }

    /// Pages of RAM that may have changed since the last call (or since power-on), ascending; the list is empty
    /// afterwards. Costs as much as the pages touched, not as RAM.
    pub fn take_dirty(&mut self) -> Vec<usize> {
        todo!()
    }

    /// Reads physical memory as the CPU would without side effects: device ranges and holes read as 0xff.
    pub fn read_phys(&self, addr: PhysAddr, buf: &mut [u8]) {
        todo!()
    }

    /// Writes RAM (holes and ROM ignore it), also where it holds code.
    pub fn write_phys(&mut self, addr: PhysAddr, bytes: &[u8]) {
        todo!()
    }

    /// The physical address behind a linear one through the page tables of the present CR3; `None` where not present.
    /// Never sets an accessed bit.
    pub fn translate(&self, addr: LinAddr) -> Option<PhysAddr> {
        todo!()
    }

    /// Reads memory by linear address; stops at the first byte that is not mapped. Returns the bytes read.
    pub fn read_linear(&self, addr: LinAddr, buf: &mut [u8]) -> usize {
        todo!()
    }

    /// Replaces the set of breakpoints (linear addresses of instructions).
    pub fn set_breakpoints(&mut self, addrs: &[LinAddr]) {
        todo!()
    }

    /// Replaces the set of write watchpoints (physical ranges: address and length in bytes).
    pub fn set_watchpoints(&mut self, ranges: &[(PhysAddr, u64)]) {
        todo!()
    }

    /// A hash of the whole machine: CPU, chips, RAM. Equal states have equal hashes.
    pub fn hash(&self) -> u64 {
        todo!()
    }
}
