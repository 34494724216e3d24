//! The call at the start of every translated block, and how it learns the block's number of instructions.
//!
//! The engine translates the block hook into a call with constant arguments, and behind it a second call, to a check for
//! stop requests:
//!
//! ```text
//!     mov edx, SIZE
//!     lea rcx, [USER]        or mov rcx, USER
//!     call HOOK
//!     lea rdi, [UC]          or mov rdi, UC
//!     xor esi, esi
//!     call CHECK
//! ```
//!
//! Neither is as cheap as it could be. The hook has to look up how many instructions the block has, in a table that does not
//! fit into the first-level cache; and the hook itself is the only one who ever stops the engine, so the check finds
//! nothing. So when the hook has found the count for the first time, the call is rewritten: SIZE gets the count in its upper
//! half, and a jump goes over the check. The hook then leaves by itself when it stops the engine.
//!
//! Only code that looks exactly like this, and calls just these two functions, is rewritten. Everything works without: then
//! the count is looked up each time.

use super::{Hooks, on_block};
use std::ffi::c_void;
use unicorn_engine_sys as sys;

unsafe extern "C" {
    /// The engine's own: the check behind the hook. Only its address is used.
    fn helper_check_exit_request_x86_64(uc: *mut c_void, in_delay_slot: u32);
}

const MOV_EDX_IMM32: u8 = 0xba;
const MOV_EDX_LEN: usize = 5;
const XOR_ESI_ESI: [u8; 2] = [0x33, 0xf6];
const JMP_REL8: u8 = 0xeb;
const JMP_LEN: usize = 2;
/// Bytes before the return address that are looked at: the longest form of the three instructions.
const BEFORE: usize = MOV_EDX_LEN + 10 + 6;
/// Bytes behind it.
const BEHIND: usize = 10 + 2 + 6;

/// The hook as the engine calls it: [`Hooks::known_block`] where no interrupt waits; everything else is for [`on_block`],
/// which is told where this returns to. In assembly, because every block of the guest goes through here, and a compiled
/// function cannot see its return address.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn entry<H: Hooks>(
    _uc: *mut sys::uc_engine,
    _addr: u64,
    _size: u32,
    _user: *mut c_void,
) {
    std::arch::naked_asm!(
        // The number of instructions; 0 while the call has not been rewritten.
        "mov eax, edx",
        "shr eax, 16",
        "jz 2f",
        // Does the block end in time?
        "mov r10, [rcx + {position}]",
        "add rax, r10",
        "cmp rax, [rcx + {free_limit}]",
        "ja 2f",
        // Did the block before overwrite code?
        "mov r11, [rcx + {invalidations}]",
        "mov r11, [r11]",
        "cmp r11, [rcx + {seen_invalidations}]",
        "jne 2f",
        "cmp byte ptr [rcx + {interrupt}], 0",
        "jne 2f",
        "mov [rcx + {block_addr}], rsi",
        "mov [rcx + {block_start}], r10",
        "mov [rcx + {block_size_insns}], edx",
        "mov [rcx + {position}], rax",
        "ret",
        "2:",
        "mov r8, [rsp]",
        "jmp {hook}",
        hook = sym on_block::<H>,
        position = const H::OFFSETS.position,
        free_limit = const H::OFFSETS.free_limit,
        interrupt = const H::OFFSETS.interrupt,
        invalidations = const H::OFFSETS.invalidations,
        seen_invalidations = const H::OFFSETS.seen_invalidations,
        block_addr = const H::OFFSETS.block_addr,
        block_start = const H::OFFSETS.block_start,
        block_size_insns = const H::OFFSETS.block_size_insns,
    )
}

/// Size and number of instructions (0: not known) of the hook's third argument.
#[inline]
pub(super) fn split(size: u32) -> (u32, u16) {
    (size & 0xffff, (size >> 16) as u16)
}

/// A call that was rewritten.
#[derive(Clone, Copy, Debug)]
pub struct KnownCall {
    /// Where its operand SIZE is.
    operand: usize,
    /// What is called.
    hook: usize,
}

/// Makes a rewritten call ask again: takes the number of instructions out of it. If the code was translated anew meanwhile, and
/// there is no such call any more, nothing happens.
///
/// # Safety
/// The engine that the call was made by must be open, and not running in another thread.
pub(super) unsafe fn forget(call: KnownCall) {
    let operand = call.operand as *mut u32;
    let start = call.operand - 1;
    // SAFETY: the engine keeps its mapping of translated code to its end, and these bytes were inside.
    let code = unsafe { std::slice::from_raw_parts(start as *const u8, BEFORE) };
    if hook_call_len(code, start, call.hook).is_some() {
        // SAFETY: the operand of this instruction; no other thread runs it.
        unsafe { operand.write_unaligned(operand.read_unaligned() & 0xffff) };
    }
}

/// Rewrites the call that returns to `returns_to`, made for a block of `size` bytes that has `insns` instructions.
///
/// # Safety
/// `returns_to` is where the hook, called by translated code in this thread, returns to.
pub(super) unsafe fn rewrite<H: Hooks>(returns_to: *mut u8, size: u32, insns: u16) -> Option<KnownCall> {
    if size > 0xffff {
        return None;
    }
    // SAFETY: the engine keeps translated code in one large mapping that is readable, writable and executable on this
    // kind of host. Before the call is at least the setting of RIP, and behind the check is the block, so the bytes
    // looked at are inside.
    let (before, behind) = unsafe {
        (
            std::slice::from_raw_parts(returns_to.sub(BEFORE), BEFORE),
            std::slice::from_raw_parts(returns_to, BEHIND),
        )
    };
    let hook = entry::<H> as *const () as usize;
    let check = helper_check_exit_request_x86_64 as *const () as usize;
    let count_at = size_operand(before, returns_to as usize, hook, size)?;
    // A call that was made to ask again has its jump already.
    let skipped =
        if behind[0] == JMP_REL8 { None } else { Some(check_len(behind, returns_to as usize, check)?) };
    // SAFETY: as above; these bytes are operands and instructions of this block, and no other thread runs them.
    unsafe {
        let operand = returns_to.sub(BEFORE).add(count_at).cast::<u32>();
        operand.write_unaligned(size | u32::from(insns) << 16);
        if let Some(skipped) = skipped {
            returns_to.write(JMP_REL8);
            returns_to.add(1).write((skipped - JMP_LEN) as u8);
        }
        Some(KnownCall { operand: operand as usize, hook })
    }
}

/// Length of the call of the hook at the start of `code`, which is at `start`: its three instructions, if they are there.
fn hook_call_len(code: &[u8], start: usize, hook: usize) -> Option<usize> {
    let rest = code.strip_prefix(&[MOV_EDX_IMM32])?.get(MOV_EDX_LEN - 1..)?;
    let load_len = [7, 10].into_iter().find(|len| rest.get(..*len).is_some_and(|load| loads(load, 1)))?;
    let before_call = MOV_EDX_LEN + load_len;
    let is_call = |len: &usize| {
        let end = before_call + len;
        code.get(before_call..end).is_some_and(|call| calls(call, start + end, hook))
    };
    [5, 6].into_iter().find(is_call).map(|call_len| before_call + call_len)
}

/// Where in `before`, which ends at `end`, the operand SIZE is, if these are the instructions that are expected.
fn size_operand(before: &[u8], end: usize, hook: usize, size: u32) -> Option<usize> {
    let starts_call = |at: &usize| {
        let len = before.len() - at;
        hook_call_len(&before[*at..], end - len, hook) == Some(len)
    };
    let at = (0..before.len()).find(starts_call)?;
    let operand = before[at + 1..at + MOV_EDX_LEN].try_into().ok().map(u32::from_le_bytes);
    (operand == Some(size)).then_some(at + 1)
}

/// Length of the check at the start of `behind`, which is at `start`.
fn check_len(behind: &[u8], start: usize, check: usize) -> Option<usize> {
    let load_len = [7, 10].into_iter().find(|len| loads(&behind[..*len], 7))?;
    let rest = behind[load_len..].strip_prefix(&XOR_ESI_ESI)?;
    let before_call = load_len + XOR_ESI_ESI.len();
    let call_len = [5, 6].into_iter().find(|len| calls(&rest[..*len], start + before_call + len, check))?;
    Some(before_call + call_len)
}

/// Whether `code` is `lea` or `mov` of a 64-bit constant into register `number`.
fn loads(code: &[u8], number: u8) -> bool {
    match code.len() {
        7 => code.starts_with(&[0x48, 0x8d, 0x05 | number << 3]),
        10 => code.starts_with(&[0x48, 0xb8 | number]),
        _ => false,
    }
}

/// Whether `code`, which ends at `end`, is a call of `target`: relative, or by a constant near it.
fn calls(code: &[u8], end: usize, target: usize) -> bool {
    let Some((opcode, operand)) = code.split_last_chunk::<4>() else { return false };
    let place = end.wrapping_add_signed(i32::from_le_bytes(*operand) as isize);
    match opcode {
        [0xe8] => place == target,
        // SAFETY: the engine has put the constant there, behind the code of the same block.
        [0xff, 0x15] => unsafe { (place as *const usize).read_unaligned() == target },
        _ => false,
    }
}
