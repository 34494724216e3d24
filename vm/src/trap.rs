//! What stops a machine beside breakpoints on linear addresses and watched memory.

use crate::units::PhysAddr;
use crate::watch::WatchKind;

/// What a step did, other than to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// IN, OUT, or one iteration of INS or OUTS.
    Port {
        /// The first port.
        port: u16,
        /// How many.
        size: u8,
        /// It was written, not read.
        write: bool,
        /// What was read or written.
        value: u32,
    },
    /// The delivery of a hardware interrupt with this vector; an NMI has 2.
    Interrupt(u8),
    /// An exception with this vector, or INT n. It may have become another one on its way.
    Exception(u8),
    /// CR3 was loaded with this, by MOV or a task switch.
    AddressSpace(u64),
}

/// What to stop for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trap {
    /// Accesses to ports `first` to `last`.
    Port {
        /// The first port.
        first: u16,
        /// The last one.
        last: u16,
        /// Which accesses.
        kind: WatchKind,
    },
    /// See [`Event::Interrupt`].
    Interrupt(u8),
    /// See [`Event::Exception`].
    Exception(u8),
    /// CR3 is loaded, with this if it is given.
    AddressSpace(Option<u64>),
    /// The instruction at this physical address is next: a breakpoint, and no event.
    Execute(PhysAddr),
}

impl Trap {
    /// Whether it is for events, which are known when their step is done.
    pub fn is_event(&self) -> bool {
        !matches!(self, Trap::Execute(_))
    }

    /// Whether it is for this event.
    pub fn matches(&self, event: &Event) -> bool {
        match (self, event) {
            (Trap::Port { first, last, kind }, Event::Port { port, size, write, .. }) => {
                let end = u32::from(*port) + u32::from(*size);
                let counts = if *write { kind.writes() } else { kind.reads() };
                counts && port <= last && u32::from(*first) < end
            }
            (Trap::Interrupt(wanted), Event::Interrupt(vector))
            | (Trap::Exception(wanted), Event::Exception(vector)) => wanted == vector,
            (Trap::AddressSpace(wanted), Event::AddressSpace(cr3)) => wanted.is_none_or(|w| w == *cr3),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_met_in_part_too() {
        let trap = |kind| Trap::Port { first: 0x3f8, last: 0x3f9, kind };
        let event = |port, size, write| Event::Port { port, size, write, value: 0 };
        let access = trap(WatchKind::Access);
        assert!(access.matches(&event(0x3f8, 1, false)) && access.matches(&event(0x3f9, 4, true)));
        assert!(access.matches(&event(0x3f5, 4, true)) && !access.matches(&event(0x3f4, 4, true)));
        assert!(!access.matches(&event(0x3fa, 1, true)) && !access.matches(&Event::Exception(3)));
        assert!(!trap(WatchKind::Write).matches(&event(0x3f8, 1, false)));
        assert!(!trap(WatchKind::Read).matches(&event(0x3f8, 1, true)));
        let last = Trap::Port { first: 0xffff, last: 0xffff, kind: WatchKind::Read };
        assert!(last.matches(&event(0xfffe, 4, false)));
    }

    #[test]
    fn interrupts_exceptions_and_address_spaces_are_told_apart() {
        assert!(Trap::Interrupt(14).matches(&Event::Interrupt(14)));
        assert!(!Trap::Interrupt(14).matches(&Event::Exception(14)));
        assert!(!Trap::Exception(13).matches(&Event::Exception(14)));
        assert!(Trap::AddressSpace(None).matches(&Event::AddressSpace(5)));
        assert!(!Trap::AddressSpace(Some(4)).matches(&Event::AddressSpace(5)));
        assert!(!Trap::Execute(PhysAddr(0)).is_event());
    }
}
