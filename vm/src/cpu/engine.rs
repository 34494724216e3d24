//! The one door to the Unicorn engine: building it, its callbacks, and its private CPU state.
//!
//! Everything `unsafe` about the engine is here. The rest of the program implements [`Hooks`] and reads and writes
//! registers through [`Env`].
//!
//! Some fields of the engine's private structures are used because the public interface has no way to do the same
//! without flushing translated code or a callback per instruction: `cpu` and `env_ptr` (the register file, read and
//! written in place), `cflags_next_tb` (the next block ends after N instructions: exact stops and single steps without
//! EFLAGS.TF), `no_exit_request` (no exit check after each memory access), `invalid_addr` (the address of a fault),
//! `mem_io_pc` (where an MMIO access came from), `tb_phys_invalidate_count` (whether code was overwritten), and `cc` with its
//! `tlb_fill` (what is called at a TLB miss). The crate is pinned to one version, and [`Engine::new`] looks for known values in
//! those that have one when an engine is opened (the registers, `cflags_next_tb`, `no_exit_request`, `tlb_fill`); the other
//! three rest on the pinned version alone. The call at the start of each translated block is rewritten, where it looks as
//! expected: see `block_call`.

#![allow(unsafe_code)] // the engine's C interface; each block says why it is sound

use crate::machine::VmError;
use std::ffi::{c_int, c_uint, c_void};
use std::ptr::NonNull;
use unicorn_engine_sys as sys;
use unicorn_engine_sys::{Arch, ControlType, HookType, MemType, Mode, Prot, TlbEntry, X86Insn, uc_error};

mod block_call;
mod division;
mod signals;
mod untranslatable;

pub use block_call::KnownCall;

/// Offsets of private fields in unicorn-engine 2.1.5 on 64-bit hosts, printed by a C program from its headers.
mod layout {
    pub const UC_CPU: usize = 440;
    pub const UC_TCG_CTX: usize = 768;
    pub const UC_INVALID_ADDR: usize = 1416;
    pub const UC_NO_EXIT_REQUEST: usize = 2034;
    pub const CPU_CFLAGS_NEXT_TB: usize = 24;
    pub const CPU_ENV_PTR: usize = 296;
    pub const CPU_MEM_IO_PC: usize = 33144;
    pub const CPU_CC: usize = 33200;
    /// In the class of a CPU, which each engine has of its own: what is called at a TLB miss, and what would be called if the
    /// engine's own MMU were in use, which it never is here.
    pub const CC_TLB_FILL: usize = 72;
    pub const CC_TLB_FILL_CPU: usize = 80;
    pub const TCG_CODE_GEN_PTR: usize = 192;
    pub const TCG_CODE_GEN_HIGHWATER: usize = 208;
    pub const TCG_TB_PHYS_INVALIDATE_COUNT: usize = 216;
    /// In the translation of a block: linear address, and the flags that it was made with, whose lowest 15 bits are the
    /// most instructions that it was to have.
    pub const TB_PC: usize = 0;
    pub const TB_CFLAGS: usize = 24;
    pub const CF_COUNT_MASK: u32 = 0x7fff;
    /// Size of CPUX86State: nothing is read or written beyond it.
    pub const ENV_SIZE: usize = 7008;
}

unsafe extern "C" {
    /// The engine's own, not part of its public interface: finds the guest instruction behind a return address into
    /// translated code and writes RIP and cc_op.
    fn cpu_restore_state_x86_64(cpu: *mut c_void, host_pc: usize, will_exit: bool) -> bool;
    /// The engine's own: forgets the cached translation of one page, what INVLPG does.
    fn tlb_flush_page_x86_64(cpu: *mut c_void, addr: u64);
    /// The engine's own: what it calls at a TLB miss. It looks up which instruction missed, asks the hook and enters the answer.
    fn unicorn_fill_tlb_x86_64(
        cpu: *mut c_void,
        addr: u64,
        size: c_int,
        access: c_int,
        mmu: c_int,
        probe: bool,
        returns_to: usize,
    ) -> bool;
    /// The engine's own: the MMU that is not in use.
    fn x86_cpu_tlb_fill_x86_64();
    /// The engine's own: enters a page into the TLB.
    fn tlb_set_page_x86_64(cpu: *mut c_void, addr: u64, page: u64, allowed: c_int, mmu: c_int, size: u64);
    /// The engine's own: leaves the running block for the main loop, which goes on at RIP. Does not return.
    fn cpu_loop_exit_noexc_x86_64(cpu: *mut c_void) -> !;
    /// The engine's own: the translation that an address in translated code belongs to, or null.
    fn tcg_tb_lookup_x86_64(tcg: *mut c_void, code: usize) -> *const u8;
    /// The engine's own: raises an exception at RIP. Does not return.
    fn raise_exception_err_x86_64(env: *mut c_void, vector: c_int, error: c_int) -> !;
}

/// How the engine wants to use a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A load.
    Read,
    /// A store.
    Write,
    /// An instruction fetch.
    Fetch,
}

/// Answer to a TLB miss: a page of the engine's physical address space and what may be done to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    /// Engine-physical address of the page.
    pub page: u64,
    /// Loads are allowed.
    pub read: bool,
    /// Stores are allowed.
    pub write: bool,
    /// Fetches are allowed; with `write`, stores take the slow path that invalidates translated code.
    pub exec: bool,
}

impl Fill {
    /// What may be done to the page, as the engine's `PAGE_READ`, `PAGE_WRITE` and `PAGE_EXEC`.
    fn allowed(&self) -> c_int {
        c_int::from(self.read) | c_int::from(self.write) << 1 | c_int::from(self.exec) << 2
    }

    fn allows(&self, access: Access) -> bool {
        match access {
            Access::Read => self.read,
            Access::Write => self.write,
            Access::Fetch => self.exec,
        }
    }
}

/// The engine's error for a fetch from the MMIO window.
pub const FETCH_FROM_DEVICE: uc_error = uc_error::FETCH_PROT;

/// What the engine calls back for.
pub trait Hooks: Sized {
    /// Where [`Hooks::known_block`] finds and leaves its data.
    const OFFSETS: Offsets;
    /// A block of `size` bytes and `insns` instructions at linear address `addr` is about to run: whether it may without
    /// a closer look. Where no interrupt waits, [`block_call`] does the same without asking.
    fn known_block(&mut self, addr: u64, size: u32, insns: u16) -> bool;
    /// A block of `size` bytes at linear address `addr` is about to run: `call` is where it called.
    fn block(&mut self, addr: u64, size: u32, call: BlockCall) -> BlockStart;
    /// From now on [`Hooks::known_block`] is asked first at this call of this block; until [`Engine::forget_known`].
    fn became_known(&mut self, addr: u64, size: u32, call: KnownCall);
    /// A block was translated: linear address, bytes, instructions.
    fn translated(&mut self, addr: u64, size: u16, insns: u16);
    /// TLB miss for a page (linear address). RIP may be at any instruction of the block, unless it is a fetch. `None`: ask
    /// [`Hooks::fill`].
    fn fill_anywhere(&mut self, page: u64, access: Access) -> Option<Fill>;
    /// TLB miss for a page, with RIP at the instruction that misses; `None` raises [`StartError::PageFault`].
    fn fill(&mut self, page: u64, access: Access) -> Option<Fill>;
    /// An exception or software interrupt: RIP is at the faulting instruction, or after INT n.
    fn exception(&mut self, vector: u8);
    /// IN or INS, with RIP at it.
    fn port_in(&mut self, port: u16, size: u8) -> PortIn;
    /// OUT or OUTS, with RIP at it.
    fn port_out(&mut self, port: u16, size: u8, value: u32) -> PortOut;
    /// A load from the MMIO window, at its offset. RIP is at the block's start: see [`Engine::sync_rip`].
    fn mmio_read(&mut self, addr: u64, size: u8) -> u64;
    /// A store to the MMIO window. False: it is not done, and the engine goes on at RIP, which is the instruction that
    /// stores.
    fn mmio_write(&mut self, addr: u64, size: u8, value: u64) -> bool;
    /// RDTSC (also the first half of RDTSCP): the counter.
    fn rdtsc(&mut self) -> u64;
    /// CPUID with its EAX and ECX: EAX, EBX, ECX, EDX.
    fn cpuid(&mut self, leaf: u32, subleaf: u32) -> [u32; 4];
}

/// Offsets of fields in a [`Hooks`], for the one path that every block takes.
#[derive(Clone, Copy, Debug)]
pub struct Offsets {
    /// `u64`: the position behind the block before; then behind this one.
    pub position: usize,
    /// `u64`: a block that ends beyond this position needs a closer look.
    pub free_limit: usize,
    /// `bool`: an interrupt waits.
    pub interrupt: usize,
    /// `*const u64`: the engine's count of invalidated blocks.
    pub invalidations: usize,
    /// `u64`: that count when it was last looked at.
    pub seen_invalidations: usize,
    /// `u64`: linear address of the running block.
    pub block_addr: usize,
    /// `u64`: position of its first instruction.
    pub block_start: usize,
    /// `u16`: its bytes, and right behind that a `u16`: its instructions.
    pub block_size_insns: usize,
}

/// Where in translated code [`Hooks::block`] was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockCall(usize);

/// What becomes of a block that is about to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockStart {
    /// It runs.
    Run,
    /// It runs, and every later time [`Hooks::known_block`] may be asked first with this number of instructions.
    RunKnown(u16),
    /// It does not run: the engine goes on at RIP, or comes back if [`Engine::stop`] was called.
    Stop,
}

/// What becomes of an IN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortIn {
    /// This was read; go on.
    Value(u32),
    /// The instruction is done, its register and RIP are written: leave the block here.
    Leave,
    /// It raises an exception instead: vector and error code.
    Raise(u8, u32),
}

/// What becomes of an OUT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortOut {
    /// Go on.
    Done,
    /// The instruction is done, RIP is behind it: leave the block here.
    Leave,
    /// It raises an exception instead: vector and error code.
    Raise(u8, u32),
}

/// Why [`Engine::start`] came back other than by a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartError {
    /// [`Hooks::fill`] said no. The address is the engine's (for unaligned accesses possibly aligned down).
    PageFault {
        /// Linear address.
        addr: u64,
    },
    /// It cannot translate the code at RIP; if the block was not limited, that may be behind the first instruction.
    Untranslatable,
    /// The engine gave up for another reason.
    Engine(uc_error),
}

/// An engine with its hooks installed on a `H` at a fixed address.
pub struct Engine {
    uc: NonNull<sys::uc_engine>,
    cpu: NonNull<u8>,
    env: Env,
    tcg: NonNull<u8>,
    invalidate_count: NonNull<u64>,
}

fn check(err: uc_error, what: &str) -> Result<(), VmError> {
    if err == uc_error::OK { Ok(()) } else { Err(VmError::Engine(format!("{what}: {err}"))) }
}

/// The engine's memory for translated code. Linux, its boot and a minute of work, fills a half of it.
const CODE_BYTES: c_uint = 64 << 20;
/// With less of it left than this, all code is forgotten. A block is smaller by far.
const ROOM: usize = 1 << 20;

/// `UC_CTL_WRITE(type, nr)` of unicorn.h.
fn ctl_write(kind: ControlType, args: u32) -> ControlType {
    ControlType(kind.0 | (args << 26) | (1 << 30))
}

impl Engine {
    /// Offset of the pointer to the count that [`Engine::invalidations`] reads.
    pub const INVALIDATIONS_OFFSET: usize = std::mem::offset_of!(Engine, invalidate_count);

    /// Opens an engine and checks that its private layout is the one this program knows.
    pub fn new() -> Result<Engine, VmError> {
        division::survive_overflow();
        untranslatable::survive();
        let mut uc = std::ptr::null_mut();
        // SAFETY: out-pointer to a local; the engine is closed in Drop.
        check(unsafe { sys::uc_open(Arch::X86, Mode::MODE_64, &mut uc) }, "open")?;
        let uc = NonNull::new(uc).ok_or_else(|| VmError::Engine("open gave no engine".into()))?;
        let wrong = |what: &str| VmError::Engine(format!("not the Unicorn 2.1.5 that was expected: {what}"));
        // SAFETY: ctl calls with the argument types that unicorn.h states. The first call makes the engine
        // initialise its CPU, so that `cpu` is set afterwards.
        unsafe {
            let uc = uc.as_ptr();
            let size = ctl_write(ControlType::TCG_BUFFER_SIZE, 1);
            check(sys::uc_ctl(uc, size, CODE_BYTES), "code buffer")?;
            check(sys::uc_ctl(uc, ctl_write(ControlType::UC_USE_EXITS, 1), 1 as c_int), "exits")?;
            check(sys::uc_ctl(uc, ctl_write(ControlType::TLB_TYPE, 1), 1 as c_int), "virtual TLB")?;
        }
        // Sentinels written through the register interface must be found at the private offsets.
        let sentinels: [(sys::RegisterX86, usize, u64); 4] = [
            (sys::RegisterX86::RAX, off::REGS, 0x1122_3344_5566_7788),
            (sys::RegisterX86::R15, off::REGS + 15 * 8, 0x99aa_bbcc_ddee_ff01),
            (sys::RegisterX86::CR2, off::CR + 16, 0x0123_4567_89ab_cdef),
            (sys::RegisterX86::RIP, off::EIP, 0xfeed_f00d),
        ];
        // SAFETY: the offsets lie inside the two C structures of the pinned version, which `uc_open` and the calls
        // above allocated; pointers read there are checked for null before use.
        unsafe {
            for (reg, _, value) in sentinels {
                check(
                    sys::uc_reg_write(uc.as_ptr(), reg as c_int, (&raw const value).cast()),
                    "register write",
                )?;
            }
            let base = uc.as_ptr().cast::<u8>();
            let read_ptr = |p: *mut u8| NonNull::new(p.cast::<*mut u8>().read());
            let cpu = read_ptr(base.add(layout::UC_CPU)).ok_or_else(|| wrong("cpu"))?;
            let env = read_ptr(cpu.as_ptr().add(layout::CPU_ENV_PTR)).ok_or_else(|| wrong("env_ptr"))?;
            let tcg = read_ptr(base.add(layout::UC_TCG_CTX)).ok_or_else(|| wrong("tcg_ctx"))?;
            let env = Env { p: env };
            for (_, offset, value) in sentinels {
                if env.r64(offset) != value {
                    return Err(wrong("register file"));
                }
            }
            if cpu.as_ptr().add(layout::CPU_CFLAGS_NEXT_TB).cast::<u32>().read() != u32::MAX {
                return Err(wrong("cflags_next_tb"));
            }
            let no_exit = base.add(layout::UC_NO_EXIT_REQUEST);
            if no_exit.read() != 0 {
                return Err(wrong("no_exit_request"));
            }
            no_exit.write(1);
            let class = read_ptr(cpu.as_ptr().add(layout::CPU_CC)).ok_or_else(|| wrong("cc"))?;
            let is = |offset, function: *const ()| {
                class.as_ptr().add(offset).cast::<*const ()>().read() == function
            };
            if !is(layout::CC_TLB_FILL, unicorn_fill_tlb_x86_64 as *const ())
                || !is(layout::CC_TLB_FILL_CPU, x86_cpu_tlb_fill_x86_64 as *const ())
            {
                return Err(wrong("tlb_fill"));
            }
            let invalidate_count =
                NonNull::new(tcg.as_ptr().add(layout::TCG_TB_PHYS_INVALIDATE_COUNT).cast::<u64>())
                    .ok_or_else(|| wrong("tb_phys_invalidate_count"))?;
            let engine = Engine { uc, cpu, env, tcg, invalidate_count };
            if !(CODE_BYTES as usize / 2..CODE_BYTES as usize).contains(&engine.room()) {
                return Err(wrong("code_gen_highwater"));
            }
            Ok(engine)
        }
    }

    /// Installs all callbacks on `hooks`.
    ///
    /// # Safety
    /// `hooks` must stay valid and at its address until the engine is dropped, and while [`Engine::start`] runs no
    /// reference to it may be used by the caller.
    pub unsafe fn install<H: Hooks>(&self, hooks: NonNull<H>) -> Result<(), VmError> {
        let user = hooks.as_ptr().cast::<c_void>();
        let add = |kind: HookType, callback: *mut c_void, insn: c_int| {
            let mut handle = 0;
            // SAFETY: the callback has the type that unicorn.h states for this kind of hook; begin > end means
            // "everywhere".
            let err = unsafe {
                sys::uc_hook_add(
                    self.uc.as_ptr(),
                    &mut handle,
                    kind.0 as c_int,
                    callback,
                    user,
                    1u64,
                    0u64,
                    insn,
                )
            };
            check(err, "hook")
        };
        add(HookType::BLOCK, block_call::entry::<H> as *mut c_void, 0)?;
        add(HookType::EDGE_GENERATED, on_edge::<H> as *mut c_void, 0)?;
        add(HookType::TLB_FILL, on_fill::<H> as *mut c_void, 0)?;
        // SAFETY: the class was checked in `new`, and is this engine's alone.
        unsafe {
            let class = class_of(self.cpu.as_ptr());
            class.add(layout::CC_TLB_FILL).cast::<*const ()>().write(on_miss::<H> as *const ());
            class.add(layout::CC_TLB_FILL_CPU).cast::<*mut c_void>().write(user);
        }
        add(HookType::INTR, on_intr::<H> as *mut c_void, 0)?;
        add(HookType::INSN_INVALID, on_invalid::<H> as *mut c_void, 0)?;
        for (insn, callback) in [
            (X86Insn::IN, on_in::<H> as *mut c_void),
            (X86Insn::OUT, on_out::<H> as *mut c_void),
            (X86Insn::RDTSC, on_rdtsc::<H> as *mut c_void),
            (X86Insn::RDTSCP, on_rdtscp::<H> as *mut c_void),
            (X86Insn::CPUID, on_cpuid::<H> as *mut c_void),
        ] {
            add(HookType::INSN, callback, insn as c_int)?;
        }
        Ok(())
    }

    /// Maps host memory at engine-physical `addr`.
    ///
    /// # Safety
    /// `host` must be valid for `len` bytes until the engine is dropped.
    pub unsafe fn map_host(&self, addr: u64, host: *mut u8, len: u64) -> Result<(), VmError> {
        let all = (Prot::READ | Prot::WRITE | Prot::EXEC).0;
        // SAFETY: promised by the caller.
        check(unsafe { sys::uc_mem_map_ptr(self.uc.as_ptr(), addr, len, all, host.cast()) }, "map memory")
    }

    /// Maps the MMIO window: accesses at `addr + n` call the hooks with `n`.
    ///
    /// # Safety
    /// As for [`Engine::install`].
    pub unsafe fn map_mmio<H: Hooks>(&self, addr: u64, len: u64, hooks: NonNull<H>) -> Result<(), VmError> {
        let user = hooks.as_ptr().cast::<c_void>();
        // SAFETY: callbacks of the stated types; `user` lives as long as the engine.
        let err = unsafe {
            sys::uc_mmio_map(
                self.uc.as_ptr(),
                addr,
                len,
                Some(on_mmio_read::<H>),
                user,
                Some(on_mmio_write::<H>),
                user,
            )
        };
        check(err, "map MMIO")
    }

    /// Brings RIP up to date from inside an MMIO callback, where the engine does not do it by itself.
    pub fn sync_rip(&self) {
        // SAFETY: `mem_io_pc` is the return address into translated code that the engine stored just before it called
        // back; its own function finds the instruction behind it.
        unsafe {
            let pc = self.cpu.as_ptr().add(layout::CPU_MEM_IO_PC).cast::<usize>().read();
            cpu_restore_state_x86_64(self.cpu.as_ptr().cast(), pc, false);
        }
    }

    /// Runs from RIP until [`Engine::stop`], HLT or an error. With `limit` the first block ends after that many
    /// instructions. No reference to the hooks' object may be live.
    pub fn start(&self, limit: Option<u32>) -> Result<(), StartError> {
        let rip = self.env.r64(off::EIP);
        // On entry the engine takes the arithmetic flags and DF from its eflags field, and keeps them elsewhere while it
        // runs: what was written there since it last ran (a restore, a delivery) would be lost.
        self.env.w64(off::EFLAGS, self.rflags());
        // SAFETY: the field was checked in `new`; CF_COUNT_MASK is 0x7fff and the other flags of the engine's
        // `curr_cflags()` are 0.
        unsafe {
            self.cpu
                .as_ptr()
                .add(layout::CPU_CFLAGS_NEXT_TB)
                .cast::<u32>()
                .write(limit.map_or(u32::MAX, |n| n.clamp(1, 0x7fff)));
        }
        // SAFETY: the engine is open; its callbacks use the object given to `install`.
        let run = || unsafe { sys::uc_emu_start(self.uc.as_ptr(), rip, 0, 0, 0) };
        match untranslatable::watch(self.uc.as_ptr(), run) {
            (_, true) => Err(StartError::Untranslatable),
            (uc_error::OK, _) => Ok(()),
            (uc_error::EXCEPTION, _) => Err(StartError::PageFault { addr: self.invalid_addr() }),
            (other, _) => Err(StartError::Engine(other)),
        }
    }

    /// From a callback that leaves the running block: the next one ends after `n` instructions.
    pub fn limit_next_block(&self, n: u32) {
        // SAFETY: as in `start`.
        unsafe {
            self.cpu.as_ptr().add(layout::CPU_CFLAGS_NEXT_TB).cast::<u32>().write(n.clamp(1, 0x7fff));
        }
    }

    /// How many instructions the block at `addr`, which has called from there, was allowed to have when it was translated;
    /// 0: any number.
    pub fn block_limit(&self, addr: u64, call: BlockCall) -> u32 {
        // SAFETY: the engine's own function on its own structure; what it finds lives at least until the block is left.
        unsafe {
            let block = tcg_tb_lookup_x86_64(self.tcg.as_ptr().cast(), call.0);
            if block.is_null() || block.add(layout::TB_PC).cast::<u64>().read() != addr {
                return 0;
            }
            block.add(layout::TB_CFLAGS).cast::<u32>().read() & layout::CF_COUNT_MASK
        }
    }

    fn invalid_addr(&self) -> u64 {
        // SAFETY: inside the engine's structure of the pinned version.
        unsafe { self.uc.as_ptr().cast::<u8>().add(layout::UC_INVALID_ADDR).cast::<u64>().read() }
    }

    /// Ends [`Engine::start`] before the block that is about to run (from [`Hooks::block`]) or before the next one
    /// (from [`Hooks::exception`]).
    pub fn stop(&self) {
        // SAFETY: the engine is open.
        unsafe { sys::uc_emu_stop(self.uc.as_ptr()) };
    }

    /// Forgets all cached translations of addresses.
    pub fn flush_tlb(&self) {
        // SAFETY: the engine is open.
        unsafe { sys::uc_ctl(self.uc.as_ptr(), ctl_write(ControlType::TLB_FLUSH, 0)) };
    }

    /// Forgets the cached translation of the page at a linear address.
    pub fn flush_page(&self, addr: u64) {
        // SAFETY: the engine's own function on its own CPU, on the engine's thread.
        unsafe { tlb_flush_page_x86_64(self.cpu.as_ptr().cast(), addr) };
    }

    /// Forgets code translated from `[addr, addr + len)`. The address is one that [`Hooks::fill`] resolves for a fetch;
    /// the range must lie in one page.
    pub fn invalidate_code(&self, addr: u64, len: u64) {
        // SAFETY: the engine is open; two 64-bit arguments as unicorn.h states.
        unsafe {
            sys::uc_ctl(
                self.uc.as_ptr(),
                ctl_write(ControlType::TB_REMOVE_CACHE, 2),
                addr,
                addr.saturating_add(len),
            )
        };
    }

    /// Makes [`Hooks::block`] be asked again at this call.
    pub fn forget_known(&self, call: KnownCall) {
        // SAFETY: the engine is open, and runs in this thread only.
        unsafe { block_call::forget(call) };
    }

    /// Forgets all translated code.
    pub fn flush_code(&self) {
        // SAFETY: the engine is open.
        unsafe { sys::uc_ctl(self.uc.as_ptr(), ctl_write(ControlType::TB_FLUSH, 0)) };
    }

    /// Whether it will soon have to forget all translated code, for want of room. It is not to do that by itself: in the middle of a
    /// run it would forget how long the next block may be.
    #[inline]
    pub fn lacks_room(&self) -> bool {
        self.room() < ROOM
    }

    /// Bytes of its memory for translated code that are left.
    #[inline]
    fn room(&self) -> usize {
        // SAFETY: two fields inside the engine's structure; `new` looks whether they are plausible.
        let at = |offset| unsafe { self.tcg.as_ptr().add(offset).cast::<usize>().read() };
        at(layout::TCG_CODE_GEN_HIGHWATER).saturating_sub(at(layout::TCG_CODE_GEN_PTR))
    }

    /// How many blocks were ever invalidated: changes when a store hits translated code.
    #[inline]
    pub fn invalidations(&self) -> u64 {
        // SAFETY: inside the engine's TCG context of the pinned version; never freed before the engine.
        unsafe { self.invalidate_count.as_ptr().read_volatile() }
    }

    /// The register file.
    pub fn env(&self) -> Env {
        self.env
    }

    /// RFLAGS with the arithmetic flags that the engine keeps elsewhere.
    pub fn rflags(&self) -> u64 {
        let mut value = 0u64;
        // SAFETY: EFLAGS is read as 8 bytes at most.
        unsafe {
            sys::uc_reg_read(self.uc.as_ptr(), sys::RegisterX86::EFLAGS as c_int, (&raw mut value).cast())
        };
        value
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // SAFETY: opened in `new`, closed once.
        unsafe { sys::uc_close(self.uc.as_ptr()) };
    }
}

/// Offsets in the register file (CPUX86State of the pinned version).
#[allow(missing_docs)] // the engine's own names
pub mod off {
    pub const REGS: usize = 0;
    pub const EIP: usize = 128;
    pub const EFLAGS: usize = 136;
    pub const CC_DST: usize = 144;
    pub const CC_SRC: usize = 152;
    pub const CC_SRC2: usize = 160;
    pub const CC_OP: usize = 168;
    pub const DF: usize = 172;
    pub const HFLAGS: usize = 176;
    pub const HFLAGS2: usize = 180;
    pub const SEGS: usize = 184;
    pub const LDT: usize = 328;
    pub const TR: usize = 352;
    pub const GDT: usize = 376;
    pub const IDT: usize = 400;
    pub const CR: usize = 424;
    pub const EFER: usize = 592;
    pub const FPSTT: usize = 604;
    pub const FPUS: usize = 608;
    pub const FPUC: usize = 610;
    pub const FPTAGS: usize = 612;
    pub const FPREGS: usize = 624;
    pub const FPOP: usize = 752;
    pub const FPCS: usize = 754;
    pub const FPDS: usize = 756;
    pub const FPIP: usize = 760;
    pub const FPDP: usize = 768;
    pub const FP_STATUS: usize = 776;
    pub const MMX_STATUS: usize = 800;
    pub const SSE_STATUS: usize = 808;
    pub const MXCSR: usize = 816;
    pub const XMM: usize = 824;
    pub const XMM_STRIDE: usize = 64;
    pub const SYSENTER_CS: usize = 4800;
    pub const SYSENTER_ESP: usize = 4808;
    pub const SYSENTER_EIP: usize = 4816;
    pub const STAR: usize = 4824;
    pub const LSTAR: usize = 4840;
    pub const CSTAR: usize = 4848;
    pub const FMASK: usize = 4856;
    pub const KERNEL_GS_BASE: usize = 4864;
    pub const TSC_ADJUST: usize = 4880;
    pub const TSC_AUX: usize = 4896;
    pub const MCG_STATUS: usize = 4912;
    pub const MISC_ENABLE: usize = 4920;
    pub const PAT: usize = 5280;
    pub const ERROR_CODE: usize = 5384;
    pub const EXCEPTION_IS_INT: usize = 5388;
    pub const EXCEPTION_NEXT_EIP: usize = 5392;
    pub const OLD_EXCEPTION: usize = 5496;
    pub const FEATURES: usize = 5632;
    pub const MTRR_FIXED: usize = 6320;
    pub const MTRR_DEFTYPE: usize = 6408;
    pub const MTRR_VAR: usize = 6416;
    pub const MCG_CTL: usize = 6616;
}

/// The engine's register file, in place. All offsets are those in [`off`] plus an index inside the field.
#[derive(Clone, Copy)]
pub struct Env {
    p: NonNull<u8>,
}

macro_rules! accessors {
    ($read:ident, $write:ident, $t:ty) => {
        /// Reads the field at this offset.
        #[inline]
        pub fn $read(&self, offset: usize) -> $t {
            assert!(offset <= layout::ENV_SIZE - size_of::<$t>());
            // SAFETY: inside the register file, which lives as long as the engine; it is plain memory that only
            // this thread touches.
            unsafe { self.p.as_ptr().add(offset).cast::<$t>().read_unaligned() }
        }

        /// Writes the field at this offset.
        #[inline]
        pub fn $write(&self, offset: usize, value: $t) {
            assert!(offset <= layout::ENV_SIZE - size_of::<$t>());
            // SAFETY: as for reading.
            unsafe { self.p.as_ptr().add(offset).cast::<$t>().write_unaligned(value) }
        }
    };
}

impl Env {
    accessors!(r8, w8, u8);
    accessors!(r16, w16, u16);
    accessors!(r32, w32, u32);
    accessors!(r64, w64, u64);
}

/// The object that callbacks work on.
///
/// # Safety
/// `user` is the pointer given to [`Engine::install`], valid and unaliased while the engine runs.
unsafe fn hooks<'a, H: Hooks>(user: *mut c_void) -> &'a mut H {
    // SAFETY: promised by the caller of `install`.
    unsafe { &mut *user.cast::<H>() }
}

/// `size` also has the number of instructions if the call was rewritten; see [`block_call`].
extern "C" fn on_block<H: Hooks>(
    uc: *mut sys::uc_engine,
    addr: u64,
    size: u32,
    user: *mut c_void,
    returns_to: *mut u8,
) {
    let (bytes, insns) = block_call::split(size);
    // SAFETY: see `hooks`; the same for every callback below.
    if insns == 0 || !unsafe { hooks::<H>(user) }.known_block(addr, bytes, insns) {
        on_other_block::<H>(uc, addr, size, user, returns_to);
    }
}

#[cold]
#[inline(never)]
extern "C" fn on_other_block<H: Hooks>(
    uc: *mut sys::uc_engine,
    addr: u64,
    size: u32,
    user: *mut c_void,
    returns_to: *mut u8,
) {
    let (bytes, known) = block_call::split(size);
    match unsafe { hooks::<H>(user) }.block(addr, bytes, BlockCall(returns_to as usize)) {
        // SAFETY: the engine has just called from there, and runs in this thread only.
        BlockStart::RunKnown(insns) if known == 0 => unsafe {
            if let Some(call) = block_call::rewrite::<H>(returns_to, bytes, insns) {
                hooks::<H>(user).became_known(addr, bytes, call);
            }
        },
        BlockStart::Run | BlockStart::RunKnown(_) => {}
        // The check for a stop request behind the call may be gone. RIP is at the block.
        // SAFETY: called from inside translated code of this engine; nothing on this stack needs to be dropped.
        BlockStart::Stop => unsafe {
            let cpu = uc.cast::<u8>().add(layout::UC_CPU).cast::<*mut c_void>().read();
            cpu_loop_exit_noexc_x86_64(cpu)
        },
    }
}

extern "C" fn on_edge<H: Hooks>(
    _uc: *mut sys::uc_engine,
    cur: *mut sys::TranslationBlock,
    _prev: *mut sys::TranslationBlock,
    user: *mut c_void,
) {
    // SAFETY: the engine passes a pointer to a local structure of this type.
    let tb = unsafe { &*cur };
    unsafe { hooks::<H>(user) }.translated(tb.pc, tb.size, tb.icount);
}

/// The class of an engine's CPU.
///
/// # Safety
/// `cpu` must be that of an engine that [`Engine::new`] has checked.
unsafe fn class_of(cpu: *mut u8) -> *mut u8 {
    // SAFETY: promised by the caller.
    unsafe { cpu.add(layout::CPU_CC).cast::<*mut u8>().read() }
}

/// In place of the engine's own function, which looks up the instruction that missed before it asks: that takes longer than all
/// the rest, and hardly any answer depends on it.
unsafe extern "C" fn on_miss<H: Hooks>(
    cpu: *mut c_void,
    addr: u64,
    size: c_int,
    kind: c_int,
    mmu: c_int,
    probe: bool,
    returns_to: usize,
) -> bool {
    const PAGE: u64 = crate::memory::PAGE_SIZE as u64;
    // The engine's MMUAccessType.
    let access = match kind {
        0 => Access::Read,
        1 => Access::Write,
        _ => Access::Fetch,
    };
    let page = addr & !(PAGE - 1);
    // SAFETY: `Engine::install` has put the hooks' object there, together with this function.
    let hooks =
        unsafe { hooks::<H>(class_of(cpu.cast()).add(layout::CC_TLB_FILL_CPU).cast::<*mut c_void>().read()) };
    match hooks.fill_anywhere(page, access).filter(|fill| fill.allows(access)) {
        // SAFETY: what the engine's own function does with the same answer.
        Some(fill) => unsafe {
            tlb_set_page_x86_64(cpu, page, fill.page, fill.allowed(), mmu, PAGE);
            true
        },
        // SAFETY: called as the engine has called this.
        None => unsafe { unicorn_fill_tlb_x86_64(cpu, addr, size, kind, mmu, probe, returns_to) },
    }
}

extern "C" fn on_fill<H: Hooks>(
    _uc: *mut sys::uc_engine,
    vaddr: u64,
    kind: MemType,
    result: *mut TlbEntry,
    user: *mut c_void,
) -> bool {
    let access = match kind {
        MemType::FETCH => Access::Fetch,
        MemType::WRITE => Access::Write,
        _ => Access::Read,
    };
    let Some(fill) = unsafe { hooks::<H>(user) }.fill(vaddr, access) else { return false };
    // SAFETY: out-pointer to a local of the engine. The bits of `Prot` are the same as those inside.
    unsafe { result.write(TlbEntry { paddr: fill.page, perms: Prot(fill.allowed() as u32) }) };
    true
}

extern "C" fn on_intr<H: Hooks>(_uc: *mut sys::uc_engine, vector: u32, user: *mut c_void) {
    unsafe { hooks::<H>(user) }.exception(vector as u8);
}

extern "C" fn on_invalid<H: Hooks>(uc: *mut sys::uc_engine, user: *mut c_void) -> bool {
    // INT 6 comes here as well, and RIP is still at it.
    // SAFETY: called back by a checked engine; the fields are inside its register file.
    unsafe {
        let env = cpu_and_env(uc).1;
        if env.add(off::EXCEPTION_IS_INT).cast::<u32>().read_unaligned() != 0 {
            let next = env.add(off::EXCEPTION_NEXT_EIP).cast::<u64>().read_unaligned();
            env.add(off::EIP).cast::<u64>().write_unaligned(next);
        }
    }
    unsafe { hooks::<H>(user) }.exception(6);
    true
}

extern "C" fn on_in<H: Hooks>(uc: *mut sys::uc_engine, port: u32, size: c_int, user: *mut c_void) -> u32 {
    match unsafe { hooks::<H>(user) }.port_in(port as u16, size as u8) {
        PortIn::Value(value) => value,
        // SAFETY: see `leave_block` and `raise`: no destructor is pending in this frame.
        PortIn::Leave => unsafe { leave_block(uc) },
        PortIn::Raise(vector, error) => unsafe { raise(uc, vector, error) },
    }
}

extern "C" fn on_out<H: Hooks>(
    uc: *mut sys::uc_engine,
    port: u32,
    size: c_int,
    value: u32,
    user: *mut c_void,
) {
    match unsafe { hooks::<H>(user) }.port_out(port as u16, size as u8, value) {
        PortOut::Done => {}
        // SAFETY: as for `on_in`.
        PortOut::Leave => unsafe { leave_block(uc) },
        PortOut::Raise(vector, error) => unsafe { raise(uc, vector, error) },
    }
}

/// The engine's CPU object and register file, from a callback.
///
/// # Safety
/// `uc` must be an engine that [`Engine::new`] has checked.
unsafe fn cpu_and_env(uc: *mut sys::uc_engine) -> (*mut u8, *mut u8) {
    // SAFETY: the same fields as in `Engine::new`.
    unsafe {
        let cpu = uc.cast::<u8>().add(layout::UC_CPU).cast::<*mut u8>().read();
        (cpu, cpu.add(layout::CPU_ENV_PTR).cast::<*mut u8>().read())
    }
}

/// Leaves the running block.
///
/// # Safety
/// Only from a callback where RIP and the flags are up to date; the engine jumps out over the callback's frame, so nothing
/// in it may need to be dropped.
unsafe fn leave_block(uc: *mut sys::uc_engine) -> ! {
    // SAFETY: promised by the caller.
    unsafe { cpu_loop_exit_noexc_x86_64(cpu_and_env(uc).0.cast()) }
}

/// Raises an exception at RIP.
///
/// # Safety
/// As for [`leave_block`].
unsafe fn raise(uc: *mut sys::uc_engine, vector: u8, error: u32) -> ! {
    // SAFETY: promised by the caller.
    unsafe { raise_exception_err_x86_64(cpu_and_env(uc).1.cast(), vector.into(), error as c_int) }
}

extern "C" fn on_mmio_read<H: Hooks>(
    _uc: *mut sys::uc_engine,
    offset: u64,
    size: c_uint,
    user: *mut c_void,
) -> u64 {
    unsafe { hooks::<H>(user) }.mmio_read(offset, size as u8)
}

extern "C" fn on_mmio_write<H: Hooks>(
    uc: *mut sys::uc_engine,
    offset: u64,
    size: c_uint,
    value: u64,
    user: *mut c_void,
) {
    if !unsafe { hooks::<H>(user) }.mmio_write(offset, size as u8, value) {
        // SAFETY: the hook has brought RIP and the flags up to date; no destructor is pending here.
        unsafe { leave_block(uc) }
    }
}

fn set_reg(uc: *mut sys::uc_engine, reg: sys::RegisterX86, value: u64) {
    // SAFETY: `uc` comes from the engine's own callback.
    unsafe { sys::uc_reg_write(uc, reg as c_int, (&raw const value).cast()) };
}

fn get_reg(uc: *mut sys::uc_engine, reg: sys::RegisterX86) -> u64 {
    let mut value = 0u64;
    // SAFETY: `uc` comes from the engine's own callback.
    unsafe { sys::uc_reg_read(uc, reg as c_int, (&raw mut value).cast()) };
    value
}

/// The engine asks these for an int: non-zero means that the instruction was done here.
extern "C" fn on_rdtsc<H: Hooks>(uc: *mut sys::uc_engine, user: *mut c_void) -> c_int {
    let tsc = unsafe { hooks::<H>(user) }.rdtsc();
    set_reg(uc, sys::RegisterX86::RAX, tsc & 0xffff_ffff);
    set_reg(uc, sys::RegisterX86::RDX, tsc >> 32);
    1
}

extern "C" fn on_rdtscp<H: Hooks>(uc: *mut sys::uc_engine, user: *mut c_void) -> c_int {
    on_rdtsc::<H>(uc, user);
    let aux = get_tsc_aux(uc);
    set_reg(uc, sys::RegisterX86::RCX, aux & 0xffff_ffff);
    1
}

fn get_tsc_aux(uc: *mut sys::uc_engine) -> u64 {
    // SAFETY: called back by a checked engine; the field is inside its register file.
    unsafe { cpu_and_env(uc).1.add(off::TSC_AUX).cast::<u64>().read_unaligned() }
}

extern "C" fn on_cpuid<H: Hooks>(uc: *mut sys::uc_engine, user: *mut c_void) -> c_int {
    let leaf = get_reg(uc, sys::RegisterX86::RAX) as u32;
    let subleaf = get_reg(uc, sys::RegisterX86::RCX) as u32;
    let [a, b, c, d] = unsafe { hooks::<H>(user) }.cpuid(leaf, subleaf);
    set_reg(uc, sys::RegisterX86::RAX, a.into());
    set_reg(uc, sys::RegisterX86::RBX, b.into());
    set_reg(uc, sys::RegisterX86::RCX, c.into());
    set_reg(uc, sys::RegisterX86::RDX, d.into());
    1
}
