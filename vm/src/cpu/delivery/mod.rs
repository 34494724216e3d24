//! Delivery of interrupts and exceptions (Intel SDM 3A, chapters 6 and 20; AMD APM 2, 8.9).
//!
//! The engine raises exceptions but never delivers them. Delivery is one step of the machine: either all of its register
//! changes happen or, if it faults, none (but for a task switch, which may fault in the new task); then the fault (or a
//! double fault) is delivered instead.

mod long;
mod protected;
mod real;

pub(super) use long::null_stack;

use super::Cpu;
use super::regs::flag;
use crate::trap::Event;

/// Exceptions by name.
#[allow(missing_docs)]
pub mod vector {
    pub const DB: u8 = 1;
    pub const NMI: u8 = 2;
    pub const BP: u8 = 3;
    pub const OF: u8 = 4;
    pub const UD: u8 = 6;
    pub const DF: u8 = 8;
    pub const TS: u8 = 10;
    pub const NP: u8 = 11;
    pub const SS: u8 = 12;
    pub const GP: u8 = 13;
    pub const PF: u8 = 14;
    pub const MF: u8 = 16;
    pub const AC: u8 = 17;
    pub const XM: u8 = 19;
}

/// What is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A maskable hardware interrupt.
    Hardware,
    /// A non-maskable interrupt.
    Nmi,
    /// INT n: the gate's privilege level is checked, and virtual-8086 mode may redirect it.
    Software,
    /// INT3 and INTO: the gate's privilege level is checked.
    Trap,
    /// INT1: no privilege level is checked.
    Icebp,
    /// An exception of the processor, with its error code where it has one.
    Exception(Option<u32>),
}

impl Cause {
    /// Whether the gate's privilege level matters.
    fn checks_gate(self) -> bool {
        matches!(self, Cause::Software | Cause::Trap)
    }

    /// The EXT bit of the error codes of faults met on the way: set while something is delivered that is not the
    /// program's own doing (SDM 3A, 6.13).
    fn ext(self) -> u32 {
        u32::from(!self.checks_gate())
    }

    fn error(self) -> Option<u32> {
        match self {
            Cause::Exception(error) => error,
            _ => None,
        }
    }
}

/// A fault met on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its vector.
    pub vector: u8,
    /// Its error code; for a page fault CR2 is written.
    pub error: u32,
}

impl Fault {
    /// A fault of this vector with this error code, which is ignored for vectors that have none.
    pub const fn new(vector: u8, error: u32) -> Fault {
        Fault { vector, error }
    }

    /// An undefined opcode.
    pub const fn undefined() -> Fault {
        Fault { vector: vector::UD, error: 0 }
    }

    /// A general protection fault with error code 0.
    pub const fn protection() -> Fault {
        Fault { vector: vector::GP, error: 0 }
    }

    /// As what is delivered.
    pub fn cause(self) -> Cause {
        Cause::Exception(has_error_code(self.vector).then_some(self.error))
    }
}

/// The processor gave up: a fault while delivering a double fault.
#[derive(Debug)]
pub struct TripleFault;

/// Whether an exception pushes an error code.
pub fn has_error_code(vector: u8) -> bool {
    matches!(vector, 8 | 10..=14 | 17)
}

/// A fault is contributory, a page fault, or benign (SDM 3A, table 6-4).
fn contributory(vector: u8) -> bool {
    matches!(vector, 0 | 10..=13)
}

fn makes_double_fault(first: u8, second: u8) -> bool {
    (contributory(first) && contributory(second))
        || (first == vector::PF && (contributory(second) || second == vector::PF))
}

impl Cpu {
    /// Delivers an event; afterwards the next step is the handler's first instruction.
    pub fn deliver(&mut self, vector: u8, cause: Cause) -> Result<(), TripleFault> {
        let (mut vector, mut cause) = (vector, cause);
        if !matches!(cause, Cause::Software | Cause::Trap) {
            self.pending_db = 0;
        }
        loop {
            let Err(fault) = self.try_deliver(vector, cause) else {
                self.env.clear_shadow();
                if vector == vector::DB && matches!(cause, Cause::Exception(_) | Cause::Icebp) {
                    // The handler may access the debug registers.
                    self.set_dr7(self.debug.dr7() & !super::debug::DR7_GD);
                }
                if cause == Cause::Nmi {
                    self.env.set_nmi_blocked(true);
                }
                self.env.update_hflags();
                self.resumed = false;
                self.update_careful();
                return Ok(());
            };
            self.env.update_hflags();
            if matches!(cause, Cause::Software | Cause::Trap | Cause::Icebp) {
                // A fault on the way is one of the INT itself (SDM 3A, 6.12.1).
                self.env.set_rip(self.env.rip().wrapping_sub(self.int_len));
            }
            if vector == vector::DF && matches!(cause, Cause::Exception(_)) {
                return Err(TripleFault);
            }
            let exception = matches!(cause, Cause::Exception(_));
            if exception && makes_double_fault(vector, fault.vector) {
                (vector, cause) = (vector::DF, Cause::Exception(Some(0)));
            } else {
                let ext = if fault.vector == vector::PF { 0 } else { cause.ext() };
                (vector, cause) = (fault.vector, Fault::new(fault.vector, fault.error | ext).cause());
            }
        }
    }

    fn try_deliver(&mut self, vector: u8, cause: Cause) -> Result<(), Fault> {
        self.footprint.vector(vector);
        self.mem.note_event(match cause {
            Cause::Hardware | Cause::Nmi => Event::Interrupt(vector),
            _ => Event::Exception(vector),
        });
        self.forget_near();
        let mut rflags = self.engine.rflags();
        match cause {
            // RF in the image of a fault: the instruction's own breakpoint does not fire again (SDM 3A, 17.3.1.1).
            Cause::Exception(_) if !matches!(vector, vector::DB | vector::BP | vector::OF | vector::DF) => {
                rflags |= flag::RF;
            }
            // Between two iterations of a string instruction the same.
            Cause::Hardware | Cause::Nmi if self.rep_interrupted => rflags |= flag::RF,
            // The instruction is done, so that RF is clear.
            Cause::Software | Cause::Trap | Cause::Icebp => rflags &= !flag::RF,
            _ => {}
        }
        if !self.env.protected() {
            self.deliver_real(vector, rflags & !flag::RF)
        } else if self.env.long_mode() {
            self.deliver_long(vector, cause, rflags)
        } else {
            self.deliver_protected(vector, cause, rflags)
        }
    }
}

/// The error code that names a gate: its index with the IDT bit (SDM 3A, 6.13).
fn gate_error(vector: u8) -> u32 {
    u32::from(vector) * 8 + 2
}
