//! A standard parallel port with a printer on it that is always ready.
//!
//! | offset | read | write |
//! |---|---|---|
//! | 0 | data, or what the printer sends back: nothing | data |
//! | 1 | status | |
//! | 2 | control | control |
//!
//! References: IBM PC/AT Technical Reference, "Parallel Printer Adapter"; IEEE 1284, compatibility mode; for the direction bit and
//! the pending interrupt in the status, the IBM PS/2 reference. There are no EPP or ECP registers.

use crate::units::VmTime;
use serde::{Deserialize, Serialize};

/// Ports.
pub const REGISTERS: u16 = 3;

/// From the strobe to the end of the printer's acknowledge pulse: a printer that takes 100,000 characters a second.
const BYTE_NS: u64 = 10_000;

const STATUS_NOT_BUSY: u8 = 0x80;
const STATUS_NOT_ACK: u8 = 0x40;
const STATUS_SELECTED: u8 = 0x10;
const STATUS_NO_ERROR: u8 = 0x08;
const STATUS_NO_INTERRUPT: u8 = 0x04;
const STATUS_UNUSED: u8 = 0x03;

const CONTROL_STROBE: u8 = 0x01;
const CONTROL_NOT_INIT: u8 = 0x04;
const CONTROL_INTERRUPT: u8 = 0x10;
const CONTROL_INPUT: u8 = 0x20;
const CONTROL_UNUSED: u8 = 0xc0;

/// The port.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lpt {
    data: u8,
    control: u8,
    /// The printer is busy with a byte until then.
    busy_until: Option<VmTime>,
    interrupt: bool,
}

impl Lpt {
    /// The port after reset: the printer is held in its own reset until software ends that.
    pub fn new() -> Lpt {
        Lpt::default()
    }

    /// IN of one byte.
    pub fn read(&mut self, register: u16, now: VmTime) -> u8 {
        self.advance(now);
        match register {
            0 if self.control & CONTROL_INPUT != 0 => 0xff,
            0 => self.data,
            1 => {
                let status = self.status();
                self.interrupt = false;
                status
            }
            2 => self.control | CONTROL_UNUSED,
            _ => 0xff,
        }
    }

    /// OUT of one byte. What the printer takes over with the strobe is returned.
    pub fn write(&mut self, register: u16, value: u8, now: VmTime) -> Option<u8> {
        self.advance(now);
        match register {
            0 => self.data = value,
            2 => {
                let strobe = value & !self.control & CONTROL_STROBE != 0;
                self.control = value & !CONTROL_UNUSED;
                self.interrupt &= value & CONTROL_INTERRUPT != 0;
                if value & CONTROL_NOT_INIT == 0 {
                    self.busy_until = None;
                } else if strobe && self.busy_until.is_none() {
                    self.busy_until = Some(now.plus_ns(BYTE_NS));
                    // The acknowledge line falls; the interrupt comes when it rises.
                    self.interrupt = false;
                    return Some(self.data);
                }
            }
            _ => {}
        }
        None
    }

    /// The interrupt line.
    pub fn irq(&self) -> bool {
        self.interrupt
    }

    /// Does what happens up to and including `now`.
    pub fn advance(&mut self, now: VmTime) {
        if self.busy_until.is_some_and(|until| until <= now) {
            self.busy_until = None;
            self.interrupt = self.control & CONTROL_INTERRUPT != 0;
        }
    }

    /// When the printer is done with a byte.
    pub fn next_event(&self) -> Option<VmTime> {
        self.busy_until
    }

    fn status(&self) -> u8 {
        let mut status = STATUS_SELECTED | STATUS_NO_ERROR | STATUS_UNUSED;
        if self.busy_until.is_none() {
            status |= STATUS_NOT_BUSY | STATUS_NOT_ACK;
        }
        if !self.interrupt {
            status |= STATUS_NO_INTERRUPT;
        }
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::test_support::{Chip, Rng, chip_properties};

    const READY: u8 = 0xdf;

    #[test]
    fn a_strobe_hands_the_byte_to_the_printer_once() {
        let mut lpt = Lpt::new();
        lpt.write(2, 0x0c, VmTime(0));
        assert_eq!(lpt.write(0, b'A', VmTime(0)), None);
        assert_eq!(lpt.read(1, VmTime(0)), READY);
        assert_eq!(lpt.write(2, 0x0d, VmTime(0)), Some(b'A'));
        assert_eq!(lpt.write(2, 0x0d, VmTime(0)), None);
        assert_eq!(lpt.write(2, 0x0c, VmTime(0)), None);
        assert_eq!(lpt.read(1, VmTime(0)), READY & !0xc0);
        assert_eq!(lpt.write(2, 0x0d, VmTime(0)), None, "a busy printer takes nothing");
        assert_eq!(lpt.read(1, VmTime(BYTE_NS)), READY);
        assert!(!lpt.irq());
    }

    #[test]
    fn the_end_of_the_acknowledge_pulse_interrupts_until_the_status_is_read() {
        let mut lpt = Lpt::new();
        lpt.write(2, 0x1c, VmTime(0));
        lpt.write(2, 0x1d, VmTime(100));
        assert_eq!(lpt.next_event(), Some(VmTime(100 + BYTE_NS)));
        lpt.advance(VmTime(100 + BYTE_NS));
        assert!(lpt.irq());
        assert_eq!(lpt.read(1, VmTime(20_000)), READY & !STATUS_NO_INTERRUPT);
        assert!(!lpt.irq());
    }

    #[test]
    fn data_and_control_read_back_and_input_reads_as_ones() {
        let mut lpt = Lpt::new();
        lpt.write(0, 0x55, VmTime(0));
        assert_eq!(lpt.read(0, VmTime(0)), 0x55);
        lpt.write(2, 0xec, VmTime(0));
        assert_eq!((lpt.read(2, VmTime(0)), lpt.read(0, VmTime(0))), (0xec, 0xff));
        lpt.write(2, 0x01, VmTime(0));
        assert_eq!(lpt.read(1, VmTime(0)), READY, "a printer that is held in reset takes nothing");
    }

    impl Chip for Lpt {
        fn power_on() -> Lpt {
            Lpt::new()
        }

        fn poke(&mut self, rng: &mut Rng, now: VmTime) -> u64 {
            let register = rng.below(4) as u16;
            match rng.below(3) {
                0 => u64::from(self.read(register, now)),
                1 => self.write(2, rng.byte() | CONTROL_NOT_INIT, now).map_or(0, u64::from),
                _ => self.write(register, rng.byte(), now).map_or(0, u64::from),
            }
        }

        fn advance(&mut self, now: VmTime) {
            Lpt::advance(self, now);
        }

        fn next_event(&self) -> Option<VmTime> {
            Lpt::next_event(self)
        }

        fn outputs(&self) -> u64 {
            u64::from(self.status()) | u64::from(self.irq()) << 8
        }
    }

    chip_properties!(Lpt, step_ns: 1_000, exact: true);
}
