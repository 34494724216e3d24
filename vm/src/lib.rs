//! A deterministic x86 PC.
//!
//! [`Machine`] is a CPU (the Unicorn engine behind one door, [`cpu`]), a [`board::Board`] of chips, and
//! [`memory::Memory`]. Its whole future is a function of its state and of the [`Input`]s that are injected at stated
//! positions; the crate knows no file, socket, debugger, thread or host clock.

pub mod board;
pub mod boot;
pub mod config;
pub mod cpu;
pub mod footprint;
pub mod input;
pub mod machine;
pub mod media;
pub mod memory;
pub mod trap;
pub mod units;
pub mod watch;

pub use board::vga::Picture;
pub use boot::{Kernel, Module};
pub use config::{
    BootDevice, BootOptions, CardConfig, CpuModel, FlashConfig, MachineConfig, SERIAL_PORTS, Vga,
};
pub use cpu::state::CpuState;
pub use footprint::Footprint;
pub use input::{Frame, Input, Output};
pub use machine::{BreakCondition, Exit, InterruptTaken, Machine, MachineState, RunLimit, VmError};
pub use media::{BlockSource, Drive, DriveKind, Medium, MediumShape, Slot};
pub use memory::{PAGE_SIZE, PhysMemory, Region};
pub use trap::{Event, Trap};
pub use units::{Icount, LinAddr, PhysAddr, Vector, VmTime};
pub use watch::{WatchKind, WatchRange};
