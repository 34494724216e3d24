//! Code that the engine cannot translate: it ends the process by `abort`. The operand of LOCK BTS is taken to be in memory, for
//! one, without looking; a program may have a register there (which is an undefined opcode). Here the engine is stopped instead, as it
//! is when it cannot fetch the code.

use super::signals::Signal;
use super::{cpu_and_env, cpu_loop_exit_noexc_x86_64};
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::ptr;
use std::thread;
use unicorn_engine_sys as sys;

static SIGABRT: Signal = Signal::new(libc::SIGABRT);

thread_local! {
    /// The engine that this thread runs.
    static RUNNING: Cell<*mut sys::uc_engine> = const { Cell::new(ptr::null_mut()) };
    /// It met such code.
    static MET: Cell<bool> = const { Cell::new(false) };
}

/// From now on the process survives such code.
pub(super) fn survive() {
    SIGABRT.handle(on_sigabrt);
}

/// Runs an engine by `run`: what that gives, and whether the engine met such code, which is where RIP is.
pub(super) fn watch<R>(uc: *mut sys::uc_engine, run: impl FnOnce() -> R) -> (R, bool) {
    RUNNING.set(uc);
    let result = run();
    RUNNING.set(ptr::null_mut());
    (result, MET.take())
}

extern "C" fn on_sigabrt(_signal: c_int, _info: *mut libc::siginfo_t, _context: *mut c_void) {
    let uc = RUNNING.get();
    // A panic in a callback is not the engine's.
    if uc.is_null() || thread::panicking() {
        return SIGABRT.give_back();
    }
    MET.set(true);
    // SAFETY: `abort` was called by the engine in this very thread, while it translated: the same jump leaves the translation where
    // a fetch faults. Nothing of what it jumps over is to be dropped.
    unsafe {
        sys::uc_emu_stop(uc);
        cpu_loop_exit_noexc_x86_64(cpu_and_env(uc).0.cast());
    }
}
