//! Signals that the engine brings about by its faults.

use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::sync::OnceLock;

/// A handler with SA_SIGINFO.
pub(super) type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

/// One signal, and what was done about it before.
pub(super) struct Signal {
    number: c_int,
    before: OnceLock<libc::sigaction>,
}

impl Signal {
    pub(super) const fn new(number: c_int) -> Signal {
        Signal { number, before: OnceLock::new() }
    }

    /// From now on `handler` sees to it. It may leave by a jump: the signal is not blocked meanwhile.
    pub(super) fn handle(&self, handler: Handler) {
        self.before.get_or_init(|| {
            let mut before = MaybeUninit::zeroed();
            // SAFETY: a structure of plain data with the handler's address.
            unsafe {
                let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
                action.sa_sigaction = handler as *const () as usize;
                action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
                libc::sigaction(self.number, &raw const action, before.as_mut_ptr());
                before.assume_init()
            }
        });
    }

    /// From within the handler, which has no answer: the signal comes again, to whoever saw to it before.
    pub(super) fn give_back(&self) {
        if let Some(before) = self.before.get() {
            // SAFETY: what the kernel gave.
            unsafe { libc::sigaction(self.number, before, std::ptr::null_mut()) };
        }
    }
}
