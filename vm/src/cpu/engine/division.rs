//! IDIV of -2^63 by -1 (SDM 2A, IDIV: #DE). The engine divides by the host's own IDIV and looks at the quotient afterwards, but
//! that is one that the host's cannot make either: the host raises its #DE, and the process would end by SIGFPE. Here it goes on
//! behind that instruction with the quotient that wraps around, which the engine then finds to be too large.

use super::signals::Signal;
use iced_x86::{Decoder, DecoderOptions, Mnemonic};
use std::ffi::{c_int, c_void};

unsafe extern "C" {
    /// The engine's own: IDIV r/m32. Only its address is used.
    fn helper_idivl_EAX_x86_64(env: *mut c_void, divisor: u64);
}

/// The function is shorter than this.
const HELPER_BYTES: usize = 256;
/// The only dividend whose quotient may be too large for the 64 bits that the engine divides by.
const DIVIDEND: i64 = i64::MIN;

static SIGFPE: Signal = Signal::new(libc::SIGFPE);

/// From now on the process survives that division. Other reasons for SIGFPE are left to whoever saw to them before.
pub(super) fn survive_overflow() {
    SIGFPE.handle(on_sigfpe);
}

extern "C" fn on_sigfpe(_signal: c_int, _info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel gives a handler with SA_SIGINFO this structure.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let helper = helper_idivl_EAX_x86_64 as *const () as usize;
    let at = registers[libc::REG_RIP as usize] as usize;
    let dividend = registers[libc::REG_RAX as usize];
    if (helper..helper + HELPER_BYTES).contains(&at) && dividend == DIVIDEND {
        // SAFETY: code of this program, behind which there is more.
        let code = unsafe { std::slice::from_raw_parts(at as *const u8, super::super::count::MAX_INSN) };
        let insn = Decoder::with_ip(64, code, at as u64, DecoderOptions::NONE).decode();
        if insn.mnemonic() == Mnemonic::Idiv {
            registers[libc::REG_RDX as usize] = 0;
            registers[libc::REG_RIP as usize] = insn.next_ip() as i64;
            return;
        }
    }
    SIGFPE.give_back();
}
