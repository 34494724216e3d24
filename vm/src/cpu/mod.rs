//! The CPU: the one door to the engine ([`engine`]), and what makes the engine the CPU of a PC: its registers
//! ([`state`]), paging, delivery of interrupts and exceptions, system calls, CPUID.

pub(crate) mod count;
pub(crate) mod cpuid;
pub(crate) mod debug;
pub(crate) mod delivery;
mod descriptor;
mod emulate;
mod endless;
pub(crate) mod engine;
pub(crate) mod fpu;
pub(crate) mod fpu_by_hand;
mod fpu_stack;
pub(crate) mod guard;
pub(crate) mod instructions;
mod lazy_flags;
pub(crate) mod limits;
pub(crate) mod mmu;
pub(crate) mod own;
mod ports;
pub(crate) mod regs;
mod sse;
pub mod state;
mod stops;
pub(crate) mod strings;
mod syscall;
mod task;
pub(crate) mod tlb;
mod window;

use crate::footprint::{Collector, Footprint};
use crate::machine::VmError;
use crate::memory::{Memory, PAGE_SIZE, PhysMemory, Stale};
use crate::units::{LinAddr, PhysAddr};
use crate::watch::WatchRange;
use count::{BlockTable, MAX_INSN, Rep, Shape};
use debug::Debug;
use engine::{Access, Engine, Env, off};
use iced_x86::{Instruction, Register, UsedMemory};
pub use mmu::Mapping;
use mmu::{Paging, Walk};
use state::CpuState;
use std::cell::Cell;
use std::rc::Rc;

/// The block that runs now.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)] // `size` and `insns` are written as one: see `engine::Offsets`
pub struct Current {
    /// Linear address.
    pub addr: u64,
    /// Position of its first instruction.
    pub start: u64,
    /// Bytes.
    pub size: u16,
    /// Instructions; 0: no block is running.
    pub insns: u16,
}

/// Code of so many bytes is decoded without an allocation: most blocks are shorter.
const SHORT: usize = 64;

/// What a block leaves to be looked at.
#[derive(Debug)]
enum Unsettled {
    /// A segment register may be another.
    Segment,
    /// MXCSR may be another, or have bits that it does not have.
    Mxcsr(sse::Trial),
    /// The engine's notes of SSE exceptions, as far as they are in the mask, are to be these again.
    Noted { before: u8, mask: u8 },
    /// If RIP is here, FCOMI or one of its kind has run.
    Comparison(u64),
    /// A register has a result once that it is to have twice.
    Doubling((usize, usize)),
    /// RAX and RDX are to be these again.
    Lengths([u64; 2]),
    /// It may have to be undone.
    Trial(sse::Trial),
}

/// Engine, registers and memory, and the exact count of steps.
pub struct Cpu {
    /// The engine.
    pub engine: Engine,
    /// Its registers.
    pub env: Env,
    /// Guest-physical memory.
    pub mem: Memory,
    /// Steps since power-on, counting the running block as done.
    pub pos: u64,
    /// The running block.
    pub current: Current,
    /// HLT was executed.
    pub halted: bool,
    /// The engine is about to run a block of a single instruction: what it fetches is what the program reaches.
    pub single: bool,
    /// Error code of a page fault that a TLB miss met.
    pub page_fault: Option<tlb::Miss>,
    /// Debug registers.
    pub debug: Debug,
    /// Debug conditions (bits of DR6) that the step before met.
    pub pending_db: u32,
    /// Each instruction must be looked at before it runs.
    pub careful: bool,
    /// The running block is a single instruction with RF set.
    resumed: bool,
    /// What is to be looked at when the running block is done.
    unsettled: Option<Unsettled>,
    /// The x87's tags and TOP are to be these again when the running block is done.
    tags: Option<fpu::Tags>,
    /// What is not as it nearly always is.
    pub guards: guard::Guards,
    limits: limits::Limits,
    /// MMX registers whose exponents the engine does not have yet.
    mmx: fpu::MmxWritten,
    /// ZE of the x87 was clear when the last block with instructions of it began.
    no_zero_divide: bool,
    /// EFLAGS.TF was set when the instruction that is executed here began.
    pub stepping: bool,
    /// Length of the INT that is delivered: RIP is behind it, and goes back to it if its delivery faults.
    pub int_len: u64,
    /// What is delivered comes between two iterations of a REP instruction.
    pub rep_interrupted: bool,
    /// What page-table entries may have.
    pub page_features: mmu::Features,
    /// The instructions that there are.
    pub instruction_set: instructions::InstructionSet,
    /// Segments have limits in real-address and virtual-8086 mode.
    pub real_limits: bool,
    /// Virtual time of the instruction that is executed here, in ns.
    pub now_ns: u64,
    /// Pages that the delivery, or the instruction that is executed here, has read from and written to last.
    near: [Option<descriptor::Near>; 2],
    /// What has been touched.
    pub(crate) footprint: Collector,
    table: BlockTable,
    /// Where the engine's code knows a block's number of instructions.
    known: Vec<stops::Known>,
    stops: stops::Stops,
    /// The engine is told of code to forget: addresses with [`tlb::PHYSICAL_ALIAS`] are RAM.
    ///
    /// Shared, because the engine asks back while this structure is borrowed: the compiler must not think that nobody
    /// reads it meanwhile.
    aliasing: Rc<Cell<bool>>,
    /// Value of [`Engine::invalidations`] when it was last looked at.
    pub seen_invalidations: u64,
    /// How often the TLB was flushed.
    flushes: u64,
    lower_pages: tlb::LowerPages,
    window: window::WindowCode,
}

impl Cpu {
    /// Engine and memory at power-on; registers are undefined until [`Cpu::set_state`].
    pub fn new(mem: Memory) -> Result<Cpu, VmError> {
        let engine = Engine::new()?;
        let env = engine.env();
        let window = window::WindowCode::new().map_err(|e| {
            VmError::Config(format!("cannot allocate a copy of the window of video memory: {e}"))
        })?;
        Ok(Cpu {
            engine,
            env,
            mem,
            pos: 0,
            current: Current::default(),
            halted: false,
            single: false,
            page_fault: None,
            debug: Debug::new(),
            pending_db: 0,
            careful: false,
            resumed: false,
            unsettled: None,
            tags: None,
            guards: guard::Guards::default(),
            limits: limits::Limits::new(),
            mmx: fpu::MmxWritten::default(),
            no_zero_divide: false,
            stepping: false,
            int_len: 0,
            rep_interrupted: false,
            page_features: mmu::Features::default(),
            instruction_set: instructions::InstructionSet::all(),
            real_limits: false,
            now_ns: 0,
            near: [None; 2],
            footprint: Collector::new(),
            table: BlockTable::new(),
            known: Vec::new(),
            stops: stops::Stops::default(),
            aliasing: Rc::default(),
            seen_invalidations: 0,
            flushes: 0,
            lower_pages: tlb::LowerPages::default(),
            window,
        })
    }

    /// All registers.
    pub fn state(&self) -> CpuState {
        let mut engine = regs::save(&self.engine);
        // It is in the status word.
        engine.engine.fp_status[fpu::FLAGS] = 0;
        let mxcsr = self.mxcsr();
        engine.engine.sse_status[fpu::FLAGS] = mxcsr as u8 & 0x3d;
        CpuState {
            dr: self.debug.registers(),
            pending_debug: self.pending_db,
            halted: self.halted,
            fpu: self.settled_fpu(engine.fpu),
            mxcsr,
            ..engine
        }
    }

    /// Writes all registers.
    pub fn set_state(&mut self, state: &CpuState) {
        regs::restore(&self.engine, state);
        self.halted = state.halted;
        self.pending_db = state.pending_debug;
        self.resumed = false;
        self.mmx = fpu::MmxWritten::default();
        self.no_zero_divide = false;
        self.unsettled = None;
        self.tags = None;
        self.update_guards();
        self.set_debug(state.dr);
        self.current = Current::default();
        self.flush_tlb();
    }

    /// The block, if nothing about it needs care but that it may be a REP instruction.
    #[inline]
    pub fn plain_block(&self, addr: u64, size: u32) -> Option<&count::Block> {
        let guards = self.guards.up();
        self.table.front(addr, size).filter(|block| !block.special && block.guards & guards == 0)
    }

    /// The block about to run and its number of instructions.
    #[inline]
    pub fn block(&mut self, addr: u64, size: u32) -> count::Block {
        match self.table.front(addr, size) {
            Some(block) => *block,
            None => self.find_block(addr, size),
        }
    }

    #[cold]
    fn find_block(&mut self, addr: u64, size: u32) -> count::Block {
        self.footprint.executed(addr, size.into());
        if let Some(block) = self.table.note(addr, size) {
            return block;
        }
        let shape = match self.table.lookup(addr, size) {
            Some(count::Count::Known(shape)) => shape,
            // Decode it from memory, every time.
            Some(count::Count::Ambiguous) => {
                return count::Block::with_shape(addr, size, self.shape(addr, size));
            }
            // The engine does not report the first block that it translates: it runs now.
            None => {
                let shape = self.shape(addr, size);
                self.table.translated(addr, size, shape);
                shape
            }
        };
        self.table.cache(count::Block::with_shape(addr, size, shape))
    }

    /// The instruction at RIP counts as executed, although its block may never be entered.
    pub fn note_executed_here(&mut self) {
        self.footprint.executed(self.env.linear_pc(), 1);
    }

    /// What has been touched since the last call. Blocks and pages are noted when they are first looked up, so what is
    /// remembered of them is forgotten, but for blocks that run all the time.
    pub fn take_footprint(&mut self) -> Footprint {
        self.note_executed_here();
        let accessed = self.mem.take_accessed();
        self.flush_tlb();
        let taken = self.footprint.take(accessed);
        let next = &mut self.footprint;
        self.table.begin_interval(|addr, size| next.executed(addr, size.into()));
        self.forget_known_not_noted();
        taken
    }

    /// A block runs now: what it leaves to be looked at behind it.
    pub fn begin_unsettled(&mut self, block: &count::Block) {
        self.unsettled = match block.settles {
            count::Settles::Nothing => return,
            count::Settles::Segment => Some(Unsettled::Segment),
            count::Settles::Mxcsr => Some(Unsettled::Mxcsr(self.try_load_of_mxcsr())),
            count::Settles::Doubling => self.begin_doubling().map(Unsettled::Doubling),
            count::Settles::Lengths => self.begin_lengths().map(Unsettled::Lengths),
            count::Settles::Noted(mask) => Some(Unsettled::Noted { before: self.noted(), mask }),
            count::Settles::Comparison => {
                Some(Unsettled::Comparison(block.addr.wrapping_add(block.size.into())))
            }
        };
    }

    /// The same for an instruction that may have to be undone.
    pub fn begin_trial(&mut self) {
        self.unsettled = Some(Unsettled::Trial(self.try_sse()));
    }

    /// The same for one that leaves the x87's tags and TOP as they are.
    pub fn begin_tags(&mut self) {
        self.tags = Some(self.x87_tags());
    }

    /// Whether the running block leaves something to be looked at.
    #[inline]
    pub fn is_unsettled(&self) -> bool {
        self.unsettled.is_some() || self.tags.is_some()
    }

    /// Something else happens than what the instruction at RIP was to do.
    pub fn abandon_comparison(&mut self) {
        self.unsettled.take_if(|unsettled| matches!(unsettled, Unsettled::Comparison(_)));
    }

    /// Looks at what the block that is done has left: what its one instruction raises after all.
    pub fn settle(&mut self) -> Option<delivery::Fault> {
        if let Some(tags) = self.tags.take() {
            self.set_x87_tags(tags);
        }
        let fault = match self.unsettled.take()? {
            Unsettled::Segment => None,
            Unsettled::Mxcsr(trial) => self.end_load_of_mxcsr(trial),
            Unsettled::Noted { before, mask } => {
                self.restore_noted(before, mask);
                None
            }
            Unsettled::Comparison(behind) => {
                self.end_comparison(behind);
                None
            }
            Unsettled::Doubling(register) => {
                self.end_doubling(register);
                None
            }
            Unsettled::Lengths(before) => {
                self.end_lengths(before);
                None
            }
            Unsettled::Trial(trial) => self.end_trial(trial),
        };
        self.update_guards();
        fault
    }

    /// Decodes the instructions that start in a block.
    fn shape(&self, addr: u64, size: u32) -> Shape {
        let end = addr.saturating_add(size.into());
        let mode = self.mode();
        let mut shape = Shape { in_window: self.is_in_window(addr, size), ..Shape::default() };
        let mut before = count::Before::default();
        self.decode(addr, size as usize + MAX_INSN, |at, insn| {
            if at < end {
                shape.add(insn, own::is_own(insn, mode.cpl, &self.instruction_set), mode, &mut before);
            }
            at < end
        });
        shape
    }

    /// The engine reports a new block. It is decoded here and now, while the address space is the one that it was
    /// translated in.
    pub fn translated(&mut self, addr: u64, size: u16, insns: u16) {
        let shape = Shape { insns, ..self.shape(addr, size.into()) };
        self.table.translated(addr, size.into(), shape);
        self.limits.translated(addr);
    }

    /// Index of the instruction at linear address `pc` in the running block; `None` if no instruction starts there.
    pub fn index_of(&self, pc: u64) -> Option<u64> {
        let block = self.current;
        if block.insns == 0 || pc.wrapping_sub(block.addr) > block.size.into() {
            return None;
        }
        if pc == block.addr {
            return Some(0);
        }
        let (mut n, mut found) = (0, None);
        self.decode(block.addr, block.size as usize + MAX_INSN, |at, _| {
            if at == pc {
                found = Some(n);
            }
            n += 1;
            at < pc
        });
        found
    }

    fn decode(&self, addr: u64, len: usize, each: impl FnMut(u64, &Instruction) -> bool) {
        match len {
            ..=SHORT => self.decode_in(&mut [0; SHORT][..len], addr, each),
            _ => self.decode_in(&mut vec![0; len.min(PAGE_SIZE + MAX_INSN)], addr, each),
        }
    }

    fn decode_in(&self, code: &mut [u8], addr: u64, each: impl FnMut(u64, &Instruction) -> bool) {
        let got = self.read_code_at(addr, code);
        count::for_each_insn(self.env.code_bits(), addr, &code[..got], each);
    }

    /// The instruction at CS:RIP, if its bytes can be read.
    pub fn instruction(&self) -> Option<Instruction> {
        let mut found = None;
        self.decode(self.env.linear_pc(), MAX_INSN, |_, insn| {
            found = (!insn.is_invalid()).then_some(*insn);
            false
        });
        found
    }

    /// The instruction at CS:RIP if it is one that is executed here.
    pub fn own_instruction(&self) -> Option<Instruction> {
        let cpl = self.env.cpl();
        let mut found = None;
        self.decode(self.env.linear_pc(), MAX_INSN, |_, insn| {
            found = own::is_own(insn, cpl, &self.instruction_set).then_some(*insn);
            false
        });
        found
    }

    /// Position of the instruction at RIP, from inside a callback.
    pub fn position_here(&self) -> u64 {
        match self.index_of(self.env.linear_pc()) {
            Some(index) => self.current.start + index,
            None => self.pos,
        }
    }

    /// Whether the block about to run is a further pass of the REP instruction that ran just before.
    #[inline]
    pub fn is_rep_pass(&self, block: &count::Block) -> bool {
        let current = &self.current;
        block.rep != Rep::No
            && current.insns != 0
            && current.addr.wrapping_add(current.size.into()) == block.addr.wrapping_add(block.size.into())
    }

    /// Whether it is the empty last pass: the engine leaves the instruction only when it finds the count at zero, which
    /// is no step of its own.
    #[inline]
    pub fn is_empty_rep_pass(&self, block: &count::Block) -> bool {
        self.is_rep_pass(block) && block.rep.count(self.env.gpr(1)) == 0
    }

    /// Whether a store hit translated code since [`Cpu::undo_aborted_block`].
    #[inline]
    pub fn code_was_overwritten(&self) -> bool {
        self.engine.invalidations() != self.seen_invalidations
    }

    /// A store into the running block makes the engine leave it at the storing instruction and run that one again in a
    /// block of its own. Called when the running block has overwritten code; `again`: the block about to run is such a one.
    /// Then the instruction is not counted twice.
    pub fn undo_aborted_block(&mut self, again: bool) {
        self.seen_invalidations = self.engine.invalidations();
        if again && let Some(index) = self.index_of(self.env.linear_pc()) {
            self.mend_flags();
            self.cut_mmx(index);
            self.pos = self.current.start + index;
        }
    }

    /// Replaces the watched physical ranges.
    pub fn set_watchpoints(&mut self, ranges: &[WatchRange]) {
        if self.mem.set_watched(ranges) {
            self.flush_tlb();
        }
    }

    /// Reads memory by linear address, without side effects; stops at the first byte that is not mapped.
    pub fn read_linear(&self, addr: LinAddr, buf: &mut [u8]) -> usize {
        self.read_linear_by(addr, buf, |phys, part| self.mem.read(phys, part))
    }

    /// [`Self::read_linear`], with what reads physical memory within a page.
    pub fn read_linear_by(&self, addr: LinAddr, buf: &mut [u8], read: impl Fn(PhysAddr, &mut [u8])) -> usize {
        let mut done = 0;
        while done < buf.len() {
            let at = LinAddr(addr.0.wrapping_add(done as u64));
            let Some(phys) = self.translate(at) else { break };
            let n = (PAGE_SIZE - at.0 as usize % PAGE_SIZE).min(buf.len() - done);
            read(phys, &mut buf[done..done + n]);
            done += n;
        }
        done
    }

    /// The physical address behind a linear one, without side effects.
    pub fn translate(&self, addr: LinAddr) -> Option<PhysAddr> {
        if self.env.long_mode() && !descriptor::canonical(addr.0) {
            return None;
        }
        Some(PhysAddr(self.walk(addr)?.phys))
    }

    /// Calls `each` with what the page tables of the present CR3 map at and above `from`, in order of address, until it returns false;
    /// false: paging is off.
    pub fn mappings(&self, from: LinAddr, each: &mut dyn FnMut(&Mapping) -> bool) -> bool {
        let paging = Paging::of(&self.env, self.page_features);
        paging.mappings(&self.mem, from.0, each);
        paging.enabled()
    }

    fn walk(&self, addr: LinAddr) -> Option<Walk> {
        let addr = if self.env.long_mode() { addr.0 } else { addr.0 & 0xffff_ffff };
        Paging::of(&self.env, self.page_features).seeing_all().walk(&self.mem, addr, Access::Read, false).ok()
    }

    /// The address that CR2 gets for a fault that the engine reports at `reported`. The engine aligns the address of a
    /// load that crosses a page down to its size; the first byte that the instruction meant is in its operand.
    pub fn fault_address(&self, reported: u64, fetch: bool) -> u64 {
        if fetch {
            return reported;
        }
        let Some(insn) = self.instruction() else { return reported };
        let mut factory = iced_x86::InstructionInfoFactory::new();
        let page = reported & !(PAGE_SIZE as u64 - 1);
        let env = self.env;
        for memory in factory.info(&insn).used_memory() {
            let Some(addr) = operand_address(&env, memory) else { continue };
            if addr > reported && addr - reported < 16 && addr & !(PAGE_SIZE as u64 - 1) == page {
                return addr;
            }
        }
        reported
    }

    /// Whether a store to RAM at this offset hits the running block, which has more than one instruction, or the page-table
    /// entries that it is read by: the position of what comes behind it could not be told.
    pub fn hits_running_block(&self, at: u64, len: u64) -> bool {
        let (block, page) = (self.current, at as usize / PAGE_SIZE);
        if block.insns < 2 || !(self.mem.is_code(page) || self.mem.is_table(page)) {
            return false;
        }
        crate::memory::pieces(block.addr, block.size as usize).any(|(addr, _, n)| {
            let Some(walk) = self.walk(LinAddr(addr)) else { return false };
            let phys = self.mem.bus_address(walk.phys);
            (at < phys + n as u64 && phys < at + len) || walk.went_by(&self.mem, at, len)
        })
    }

    /// The operand of the instruction at RIP that has a byte at an address that is not canonical.
    fn operand_not_canonical(&self) -> Option<UsedMemory> {
        let insn = self.instruction()?;
        let mut factory = iced_x86::InstructionInfoFactory::new();
        let canonical = |memory: &UsedMemory| {
            operand_address(&self.env, memory).is_none_or(|at| {
                let last = at.wrapping_add(memory.memory_size().size().max(1) as u64 - 1);
                descriptor::canonical(at) && descriptor::canonical(last)
            })
        };
        factory.info(&insn).used_memory().iter().find(|memory| !canonical(memory)).copied()
    }

    /// Whether the operand that is not canonical is the stack's.
    pub fn stack_fault(&self) -> bool {
        self.operand_not_canonical().is_some_and(|memory| {
            memory.segment() == Register::SS
                || matches!(memory.base(), Register::RSP | Register::RBP | Register::ESP | Register::EBP)
        })
    }

    /// Length of the instruction of the running block that ends at RIP.
    pub fn len_behind(&self) -> u64 {
        let (block, pc) = (self.current, self.env.linear_pc());
        let mut len = 0;
        self.decode(block.addr, block.size as usize + MAX_INSN, |at, insn| {
            if at.wrapping_add(insn.len() as u64) == pc {
                len = insn.len() as u64;
            }
            at < pc
        });
        len
    }

    /// What a software interrupt was, now that RIP is behind it: INT n, or INT3 or INTO.
    pub fn software_cause(&self, vector: u8) -> delivery::Cause {
        let mut byte = [0];
        self.read_linear(LinAddr(self.env.linear_pc().wrapping_sub(1)), &mut byte);
        let opcode = match vector {
            delivery::vector::BP => 0xcc,
            delivery::vector::OF => 0xce,
            _ => return delivery::Cause::Software,
        };
        if byte[0] == opcode { delivery::Cause::Trap } else { delivery::Cause::Software }
    }

    /// Makes the engine forget code translated from RAM at this offset, or what else it has there, inside one page.
    fn invalidate_code(&mut self, at: u64, len: u64) {
        let overwritten = self.code_was_overwritten();
        self.aliasing.set(true);
        self.engine.invalidate_code(tlb::PHYSICAL_ALIAS | at, len);
        self.aliasing.set(false);
        if !overwritten {
            self.seen_invalidations = self.engine.invalidations();
        }
    }

    /// After a change of what [`tlb`] would answer.
    pub fn flush_tlb(&mut self) {
        self.engine.flush_tlb();
        self.mem.forget_translations();
        self.lower_pages.clear();
        self.flushes = self.flushes.wrapping_add(1);
    }

    /// Forgets cached translations.
    fn drop_translations(&mut self, stale: Option<Stale>) {
        match stale {
            Some(Stale::Page(addr)) => self.engine.flush_page(addr),
            Some(Stale::All) => self.flush_tlb(),
            None => {}
        }
    }

    /// Tells the engine of code and page tables that were overwritten behind its back; not while it is being told of some, as the
    /// second time would end the first.
    #[inline]
    pub fn drop_stale(&mut self) {
        if self.mem.has_stale() && !self.aliasing.get() {
            let stale = self.mem.take_stale_translations();
            self.drop_translations(stale);
            for (addr, len) in self.mem.take_stale_code() {
                self.invalidate_code(addr, len);
            }
        }
    }
}

fn operand_address(env: &Env, memory: &UsedMemory) -> Option<u64> {
    address(env, memory, |i| env.segment(i).base, [None, None])
}

/// The offset of an operand in its segment, with its base and index registers as they will be.
fn operand_offset(env: &Env, memory: &UsedMemory, moved: [Option<limits::Moved>; 2]) -> Option<u64> {
    address(env, memory, |_| 0, moved)
}

fn address(
    env: &Env,
    memory: &UsedMemory,
    base: impl Fn(usize) -> u64,
    moved: [Option<limits::Moved>; 2],
) -> Option<u64> {
    memory.virtual_address(0, |register, _, _| {
        let segment = |i: usize| Some(base(i));
        match register {
            Register::ES => segment(0),
            Register::CS => segment(1),
            Register::SS => segment(2),
            Register::DS => segment(3),
            Register::FS => segment(4),
            Register::GS => segment(5),
            Register::RIP | Register::EIP => Some(env.rip()),
            r if r.is_gpr() => {
                let moved = if r == memory.base() { moved[0] } else { moved[1] };
                let full = match moved {
                    Some(moved) => env.gpr(moved.from).wrapping_add_signed(moved.by),
                    None => env.gpr(r.full_register().number()),
                };
                let high = matches!(r, Register::AH | Register::CH | Register::DH | Register::BH);
                Some(match (r.size(), high) {
                    (1, true) => full >> 8 & 0xff,
                    (1, false) => full & 0xff,
                    (2, _) => full & 0xffff,
                    (4, _) => full & 0xffff_ffff,
                    _ => full,
                })
            }
            _ => None,
        }
    })
}

/// Offset of CR2 in the engine's registers.
pub(crate) const CR2: usize = off::CR + 16;
