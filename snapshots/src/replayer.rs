//! What recording and replaying ask of a machine.

use crate::condition::AtPlace;
use std::collections::BTreeSet;
use vm::{
    BlockSource, CpuState, Exit, Footprint, Icount, Input, InterruptTaken, LinAddr, Machine, MachineConfig,
    MachineState, Output, PhysAddr, Trap, VmError, VmTime, WatchRange, machine::RunLimit, watch::Noted,
};

/// A machine that can be recorded and replayed. [`Machine`] is the one that programs use; each method is the method of
/// the same name there. The trait exists so that the logic of recordings and timelines can be tested against a machine
/// of a few lines that stops in every awkward place the contract allows.
#[allow(missing_docs)] // see `Machine`
pub trait Replayer: Sized + 'static {
    fn with_media(config: &MachineConfig, media: Vec<Box<dyn BlockSource>>) -> Result<Self, VmError>;
    fn config(&self) -> &MachineConfig;
    fn position(&self) -> Icount;
    fn now(&self) -> VmTime;
    fn run(&mut self, limit: RunLimit) -> Result<Exit, VmError>;
    fn inject(&mut self, input: &Input);
    fn follow(&mut self, log: Option<Vec<InterruptTaken>>);
    fn take_interrupts(&mut self) -> Vec<InterruptTaken>;
    fn take_output(&mut self) -> Vec<(Icount, Output)>;
    fn cpu(&self) -> CpuState;
    fn linear_pc(&self) -> u64;
    fn is_halted(&self) -> bool;
    fn in_rep(&self) -> bool;
    fn interrupt_comes(&self) -> bool;
    fn save(&self) -> MachineState;
    fn restore(&mut self, state: &MachineState);
    fn storage(&self) -> &[u8];
    fn write_page(&mut self, page: usize, bytes: &[u8; 4096]);
    fn take_dirty(&mut self) -> Vec<usize>;
    fn take_footprint(&mut self) -> Footprint;
    fn translate(&self, addr: LinAddr) -> Option<PhysAddr>;
    fn storage_at(&self, addr: PhysAddr, write: bool) -> Option<u64>;
    fn video_at(&self, addr: PhysAddr) -> Option<u64>;
    fn set_cpu(&mut self, cpu: &CpuState);
    fn write_phys(&mut self, addr: PhysAddr, bytes: &[u8]);
    fn set_breakpoints(&mut self, addrs: &[LinAddr]);
    fn set_condition(&mut self, condition: Option<AtPlace<Self>>);
    fn set_watchpoints(&mut self, ranges: &[WatchRange]);
    fn set_traps(&mut self, traps: &BTreeSet<Trap>);
    fn set_effort(&mut self, allowed: u64);
    fn note_hits(&mut self, on: bool);
    fn take_noted(&mut self) -> Vec<Noted>;
}

/// Writes each method as a call of the inherent one.
macro_rules! forward {
    (look: { $($name:ident(&self $(, $arg:ident: $ty:ty)*) -> $ret:ty;)* }
     change: { $($mname:ident(&mut self $(, $marg:ident: $mty:ty)*) $(-> $mret:ty)?;)* }) => {
        $(fn $name(&self $(, $arg: $ty)*) -> $ret { Machine::$name(self $(, $arg)*) })*
        $(fn $mname(&mut self $(, $marg: $mty)*) $(-> $mret)? { Machine::$mname(self $(, $marg)*) })*
    };
}

impl Replayer for Machine {
    fn with_media(config: &MachineConfig, media: Vec<Box<dyn BlockSource>>) -> Result<Self, VmError> {
        Machine::with_media(config, media)
    }

    forward! {
        look: {
        config(&self) -> &MachineConfig;
        position(&self) -> Icount;
        now(&self) -> VmTime;
        cpu(&self) -> CpuState;
        in_rep(&self) -> bool;
        interrupt_comes(&self) -> bool;
        save(&self) -> MachineState;
        storage(&self) -> &[u8];
        translate(&self, addr: LinAddr) -> Option<PhysAddr>;
        storage_at(&self, addr: PhysAddr, write: bool) -> Option<u64>;
        video_at(&self, addr: PhysAddr) -> Option<u64>;
        linear_pc(&self) -> u64;
        is_halted(&self) -> bool;
        }
        change: {
        run(&mut self, limit: RunLimit) -> Result<Exit, VmError>;
        inject(&mut self, input: &Input);
        follow(&mut self, log: Option<Vec<InterruptTaken>>);
        take_interrupts(&mut self) -> Vec<InterruptTaken>;
        take_output(&mut self) -> Vec<(Icount, Output)>;
        restore(&mut self, state: &MachineState);
        write_page(&mut self, page: usize, bytes: &[u8; 4096]);
        take_dirty(&mut self) -> Vec<usize>;
        take_footprint(&mut self) -> Footprint;
        set_cpu(&mut self, cpu: &CpuState);
        write_phys(&mut self, addr: PhysAddr, bytes: &[u8]);
        set_breakpoints(&mut self, addrs: &[LinAddr]);
        set_condition(&mut self, condition: Option<AtPlace<Machine>>);
        set_watchpoints(&mut self, ranges: &[WatchRange]);
        set_traps(&mut self, traps: &BTreeSet<Trap>);
        set_effort(&mut self, allowed: u64);
        note_hits(&mut self, on: bool);
        take_noted(&mut self) -> Vec<Noted>;
        }
    }
}
