//! The machine: CPU, board and memory, and the loop that runs them.

#![allow(unsafe_code)] // the engine calls back into the machine through a pointer; each use says why it is sound

mod access;
mod between;
mod block;
mod effort;
mod engine_left;
mod exit;
mod hooks;
mod peek;
mod watching;
mod with_board;

pub use exit::{Divergence, Exit, InterruptTaken, RunLimit, VmError};

use crate::board::vga::Adapter;
use crate::board::{Board, Request, StrayPlace};
use crate::boot::Kernel;
use crate::config::{MachineConfig, Vga};
use crate::cpu::Cpu;
use crate::cpu::count::MAX_INSN;
use crate::cpu::cpuid::{self, Model};
use crate::cpu::engine::Engine;
use crate::cpu::instructions::InstructionSet;
use crate::cpu::state::CpuState;
use crate::cpu::tlb;
use crate::input::{Input, Output};
use crate::media::BlockSource;
use crate::memory::{Memory, PAGE_SIZE, PhysMemory, Region};
use crate::units::{Icount, LinAddr, VmTime};
use crate::watch::{Noted, WatchHit};
use effort::Effort;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, VecDeque};
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::rc::Rc;
use xxhash_rust::xxh3::Xxh3;

impl MachineState {
    /// The state as bytes, equal for equal states.
    pub fn to_bytes(&self) -> Vec<u8> {
        bincode::serde::encode_to_vec(self, bincode::config::standard()).expect("plain data can be encoded")
    }
}

/// Everything of a machine but its storage and ROM: CPU, chips, position, time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MachineState {
    /// Steps since power-on.
    pub position: Icount,
    /// Virtual time that was skipped while halted, in ns.
    pub skipped_ns: u64,
    /// Running digest of all port and MMIO accesses.
    pub io_digest: u64,
    /// The CPU gave up in a triple fault: only a reset wakes it.
    pub shut_down: bool,
    /// The step before was an iteration of the REP instruction that comes next: a breakpoint on it has been met already.
    pub in_rep: bool,
    /// The CPU.
    pub cpu: CpuState,
    /// The chips.
    pub board: Board,
}

/// How a hardware interrupt is decided.
enum Source {
    /// The board asks for it (recording).
    Board,
    /// The log says so (replay).
    Log(VecDeque<InterruptTaken>),
}

/// What the engine's callbacks work on: everything of the machine, at a fixed address.
struct Core {
    config: MachineConfig,
    model: Model,
    cpu: Cpu,
    board: Board,
    skipped_ns: u64,
    io_digest: u64,
    /// The last position at which something was taken into it, and what it was before.
    digested: (u64, u64),
    source: Source,
    taken: Vec<InterruptTaken>,
    output: Vec<(Icount, Output)>,
    request: Option<Request>,
    shut_down: bool,
    watch: Option<(u64, WatchHit)>,
    /// Hits are noted here instead of stopping the machine.
    noted: Option<Vec<Noted>>,
    exit: Option<Exit>,
    condition: Option<BreakCondition>,
    /// Where nothing is and something was looked for: each is said once.
    strays: BTreeSet<StrayPlace>,
    /// `engine.stop()` was called.
    stopping: bool,
    /// The engine's next block must not be longer than this.
    partial: Option<u32>,
    /// Breakpoints at this position are ignored: it is where the run started.
    run_start: u64,
    effort: Effort,
    /// Where the engine was last set going.
    engine_start: u64,
    /// The step before was an iteration of the REP instruction at RIP.
    in_rep: bool,
    /// The engine must stop exactly here.
    stop_pos: u64,
    /// First position at which the board's next event is due.
    event_pos: u64,
    event_time: Option<VmTime>,
    /// The board asks for an interrupt, and it is not the log that decides.
    intr: bool,
    /// The same for an NMI.
    nmi: bool,
    /// Blocks that end beyond this position take the slow path; 0 while something waits for a block boundary.
    soft_limit: u64,
    /// Blocks of a known count that end at or before this position run without a closer look: `soft_limit`, or 0 while
    /// each block must be looked at.
    free_limit: u64,
}

/// Whether a breakpoint that is met counts; see [`Machine::set_condition`].
pub type BreakCondition = Rc<dyn Fn(&Machine, LinAddr) -> bool>;

/// RFLAGS.TF.
const TF: u64 = 1 << 8;

/// A whole PC.
pub struct Machine {
    core: NonNull<Core>,
}

impl Drop for Machine {
    fn drop(&mut self) {
        // SAFETY: made by Box::leak in `new`, dropped once; the engine, which points to it, is part of it.
        drop(unsafe { Box::from_raw(self.core.as_ptr()) });
    }
}

impl Machine {
    /// A machine without media at power-on.
    pub fn new(config: &MachineConfig) -> Result<Machine, VmError> {
        Machine::with_media(config, Vec::new())
    }

    /// A machine at power-on: RAM zero, firmware in ROM, CPU at the reset vector. `media` are the contents of
    /// `config.media`, in order.
    pub fn with_media(config: &MachineConfig, media: Vec<Box<dyn BlockSource>>) -> Result<Machine, VmError> {
        config.check().map_err(VmError::Config)?;
        if media.len() != config.media.len() {
            let what = format!("{} images for {} media", media.len(), config.media.len());
            return Err(VmError::Config(what));
        }
        let mem = Memory::new(config, media).map_err(|e| {
            VmError::Config(format!("cannot allocate {} bytes of storage: {e}", config.storage_bytes()))
        })?;
        let model = cpuid::model(config.cpu);
        let mut cpu = Cpu::new(mem)?;
        cpu.page_features = model.page_features();
        cpu.instruction_set = InstructionSet::of(&model);
        cpu.real_limits = model.has_limits_in_real_mode();
        model.apply(&cpu.env);
        let regions = tlb::engine_map(&mut cpu);
        let core = NonNull::from(Box::leak(Box::new(Core {
            config: config.clone(),
            model,
            cpu,
            board: Board::new(config),
            skipped_ns: 0,
            io_digest: 0,
            digested: (u64::MAX, 0),
            source: Source::Board,
            taken: Vec::new(),
            output: Vec::new(),
            request: None,
            shut_down: false,
            watch: None,
            noted: None,
            exit: None,
            condition: None,
            strays: BTreeSet::new(),
            stopping: false,
            partial: None,
            run_start: 0,
            effort: Effort::unbounded(),
            engine_start: 0,
            in_rep: false,
            stop_pos: 0,
            event_pos: 0,
            event_time: None,
            intr: false,
            nmi: false,
            soft_limit: 0,
            free_limit: 0,
        })));
        let mut machine = Machine { core };
        let engine = &machine.core().cpu.engine;
        // SAFETY: the regions are mappings owned by the same object as the engine and dropped after it is closed is not
        // observable: the engine does not touch memory while closing. `core` is at a fixed address until Drop.
        unsafe {
            for (addr, host, len) in regions {
                engine.map_host(addr, host, len)?;
            }
            engine.map_mmio(tlb::ENGINE_MMIO, tlb::MMIO_LEN, core)?;
            engine.install(core)?;
        }
        let core = machine.core_mut();
        core.update_map();
        core.reset_cpu();
        if !config.has_firmware() && config.vga == Vga::Std {
            Adapter::fill_text_memory(&config.vga_bios, &mut core.cpu.mem);
        }
        core.schedule();
        Ok(machine)
    }

    fn core(&self) -> &Core {
        // SAFETY: valid until Drop; the engine's callbacks, which also use it, run only inside `run`, which holds
        // `&mut self`.
        unsafe { self.core.as_ref() }
    }

    fn core_mut(&mut self) -> &mut Core {
        // SAFETY: as above, and `&mut self` is exclusive.
        unsafe { self.core.as_mut() }
    }

    /// Lets somebody look at the machine that this core is of.
    fn looked_at<T>(core: &mut Core, look: impl FnOnce(&Machine) -> T) -> T {
        // Not dropped, as there is another one, through which nobody looks meanwhile: `core` is exclusive.
        let machine = ManuallyDrop::new(Machine { core: NonNull::from(core) });
        look(&machine)
    }

    /// Loads a kernel with at most one module: see [`Machine::load`].
    pub fn load_kernel(&mut self, image: &[u8], module: Option<&[u8]>, cmdline: &str) -> Result<(), VmError> {
        self.load(&Kernel::new(image, module, cmdline))
    }

    /// Loads a kernel as `-kernel` does: Linux, Multiboot or flat; the CPU is at its entry point afterwards, and the board as
    /// firmware hands it over.
    pub fn load(&mut self, kernel: &Kernel) -> Result<(), VmError> {
        let core = self.core_mut();
        let ram = core.cpu.mem.ram_mut();
        let state = crate::boot::load(ram, kernel)
            .and_then(|state| crate::boot::describe(ram, &core.config).map(|()| state))
            .map_err(|e| VmError::Config(e.to_string()))?;
        core.cpu.set_state(&state);
        core.board.hand_over();
        core.schedule();
        Ok(())
    }

    /// Puts these bytes into flash chip `chip`, from its start, before power-on.
    pub fn load_flash(&mut self, chip: usize, image: &[u8]) {
        self.core_mut().cpu.mem.write_region(Region::Flash(chip), 0, image);
    }

    /// What flash chip `chip` holds.
    pub fn flash(&self, chip: usize) -> &[u8] {
        self.core().cpu.mem.region(Region::Flash(chip))
    }

    /// What it is made of.
    pub fn config(&self) -> &MachineConfig {
        &self.core().config
    }

    /// Steps since power-on.
    pub fn position(&self) -> Icount {
        Icount(self.core().cpu.pos)
    }

    /// Virtual time.
    pub fn now(&self) -> VmTime {
        self.core().now()
    }

    /// Runs until `limit` or until something else in [`Exit`] happens.
    pub fn run(&mut self, limit: RunLimit) -> Result<Exit, VmError> {
        let core = self.core_mut();
        core.run_start = core.cpu.pos;
        core.effort.begin();
        core.exit = None;
        core.schedule();
        core.copy_window_code(core.cpu.env.linear_pc(), MAX_INSN as u32);
        if core.cpu.pos < limit.position.0 && core.loops_forever() {
            return Ok(Exit::HaltedForever);
        }
        loop {
            let core = self.core_mut();
            if let Some(exit) = core.between_steps(limit) {
                core.advance();
                return match core.cpu.mem.media_failure() {
                    Some(failure) => Err(VmError::Medium(failure)),
                    None => Ok(exit),
                };
            }
            core.stop_pos = limit.position.0;
            if let Source::Log(log) = &core.source
                && let Some(next) = log.front()
            {
                core.stop_pos = core.stop_pos.min(next.position.0);
            }
            if core.cpu.engine.lacks_room() {
                core.cpu.flush_code();
            }
            core.stopping = false;
            core.in_rep = false;
            core.engine_start = core.cpu.pos;
            let partial = core.partial.take();
            core.cpu.single = partial == Some(1);
            core.update_soft_limit();
            let engine: *const Engine = &raw const core.cpu.engine;
            // SAFETY: the engine lives in `core`, which outlives the call; no other reference to `core` is used while
            // the callbacks use it.
            let result = unsafe { (*engine).start(partial) };
            self.core_mut().after_engine(result)?;
        }
    }

    /// An input arrives now.
    pub fn inject(&mut self, input: &Input) {
        let core = self.core_mut();
        let (pos, now) = (core.cpu.pos, core.now());
        // A debugger sees the CPU stand here, whatever the input makes of it.
        core.cpu.note_executed_here();
        core.on_board(pos, now, |board, bus| board.inject(input, bus));
        if *input == Input::Reset {
            core.request = None;
            core.update_map();
            core.reset_cpu();
            core.schedule();
        }
    }

    /// From now on interrupts are taken where `log` says (positions not before the present one, ascending), and each
    /// is checked against what the board asks for; requests of the guest (reset, power off) are ignored, as the recording
    /// has them as inputs or ends there. `None`: when the board asks for them (recording).
    pub fn follow(&mut self, log: Option<Vec<InterruptTaken>>) {
        let core = self.core_mut();
        core.source = match log {
            Some(log) => Source::Log(log.into()),
            None => Source::Board,
        };
        core.schedule();
    }

    /// Interrupts taken since the last call, in order (also those that were followed).
    pub fn take_interrupts(&mut self) -> Vec<InterruptTaken> {
        std::mem::take(&mut self.core_mut().taken)
    }

    /// What the guest sent out since the last call, each with the position of its step.
    pub fn take_output(&mut self) -> Vec<(Icount, Output)> {
        std::mem::take(&mut self.core_mut().output)
    }

    /// Whether the step before was an iteration of the REP instruction that comes next.
    pub fn in_rep(&self) -> bool {
        self.core().in_rep
    }

    /// CPU, chips, position and time. Storage goes by pages: [`Machine::storage`], [`Machine::take_dirty`].
    pub fn save(&self) -> MachineState {
        let core = self.core();
        MachineState {
            position: Icount(core.cpu.pos),
            skipped_ns: core.skipped_ns,
            io_digest: core.io_digest,
            shut_down: core.shut_down,
            in_rep: core.in_rep,
            cpu: core.cpu_state(),
            board: core.board.clone(),
        }
    }

    /// Takes over a saved state. Storage must be brought to the same position by [`Machine::write_page`].
    pub fn restore(&mut self, state: &MachineState) {
        let core = self.core_mut();
        core.cpu.pos = state.position.0;
        core.skipped_ns = state.skipped_ns;
        core.io_digest = state.io_digest;
        core.digested = (u64::MAX, 0);
        core.shut_down = state.shut_down;
        core.in_rep = state.in_rep;
        core.board = state.board.clone();
        core.request = None;
        core.watch = None;
        core.taken.clear();
        core.output.clear();
        core.partial = None;
        core.update_map();
        core.cpu.drop_stale();
        core.cpu.set_state(&state.cpu);
        core.schedule();
    }

    /// A hash of the whole machine: CPU, chips, storage. Equal states have equal hashes.
    pub fn hash(&self) -> u64 {
        let mut hasher = Xxh3::new();
        hasher.update(&self.save().to_bytes());
        let (storage, config) = (self.storage(), self.config());
        // Most of a disk is never written, and then zeros.
        hasher.update(&storage[..config.reachable_bytes() as usize]);
        for page in self.core().cpu.mem.touched_disk_pages() {
            let bytes = &storage[page * PAGE_SIZE..][..PAGE_SIZE];
            if bytes.iter().any(|byte| *byte != 0) {
                hasher.update(&(page as u64).to_le_bytes());
                hasher.update(bytes);
            }
        }
        hasher.digest()
    }
}
