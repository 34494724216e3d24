//! System control port B, 0x61 (PIIX3, NMISC): gate and output of timer 2, the speaker, NMI enables.
//!
//! | bit | meaning |
//! |---|---|
//! | 0 | gate of timer 2 (R/W) |
//! | 1 | speaker data enable (R/W) |
//! | 2, 3 | SERR# and IOCHK# disable (R/W) |
//! | 4 | toggles with every refresh cycle (R) |
//! | 5 | output of timer 2 (R) |
//! | 6, 7 | IOCHK# and SERR# status (R) |
//!
//! An error is latched while it is not disabled, and raises NMI until it is; bit 7 of port 0x70 masks it. No chip of this
//! board reports one.

use super::pit::{PIT_CLOCK, Pit};
use crate::units::VmTime;
use serde::{Deserialize, Serialize};

/// PIT clocks between two refresh cycles: 15.09 µs, as every BIOS has programmed timer 1 since the AT. The PIIX3 makes
/// refresh by itself, so the toggle goes on whatever timer 1 does.
const REFRESH_CLOCKS: u64 = 18;

/// The bits of port 0x61 that are written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemControl {
    written: u8,
    /// Errors that were reported: bits 6 and 7.
    errors: u8,
}

/// Who reports an error: its bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// A card on the ISA bus: IOCHK#.
    IoCheck = 1 << 6,
    /// A device on the PCI bus: SERR#.
    System = 1 << 7,
}

impl Error {
    /// The bit that disables it.
    fn disable(self) -> u8 {
        match self {
            Error::IoCheck => 1 << 3,
            Error::System => 1 << 2,
        }
    }
}

impl SystemControl {
    /// The port after reset: everything off.
    pub fn new() -> SystemControl {
        SystemControl::default()
    }

    /// Reads port 0x61.
    pub fn read(&self, pit: &mut Pit, now: VmTime) -> u8 {
        pit.advance(now);
        let refresh = PIT_CLOCK.ticks(now) / REFRESH_CLOCKS % 2 == 1;
        self.written | self.errors | u8::from(refresh) << 4 | u8::from(pit.out(2)) << 5
    }

    /// Writes port 0x61.
    pub fn write(&mut self, value: u8, pit: &mut Pit, now: VmTime) {
        self.written = value & 0x0f;
        for error in [Error::IoCheck, Error::System] {
            if value & error.disable() != 0 {
                self.errors &= !(error as u8);
            }
        }
        pit.set_gate2(value & 1 != 0, now);
    }

    /// An error is reported.
    pub fn report(&mut self, error: Error) {
        if self.written & error.disable() == 0 {
            self.errors |= error as u8;
        }
    }

    /// What the port makes of the NMI line.
    pub fn nmi(&self) -> bool {
        self.errors != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refresh_bit_toggles_every_fifteen_microseconds() {
        let (ctl, mut pit) = (SystemControl::new(), Pit::new());
        let mut toggles = 0;
        let mut last = ctl.read(&mut pit, VmTime(0)) & 0x10;
        for us in 0..1000 {
            let bit = ctl.read(&mut pit, VmTime(us * 1000)) & 0x10;
            toggles += u32::from(bit != last);
            last = bit;
        }
        assert_eq!(toggles, 66); // 1 ms / 15.085 µs
    }

    #[test]
    fn a_one_shot_of_timer_2_is_started_by_its_gate_and_seen_in_bit_5() {
        // How kernels calibrate: gate off, mode 0, count, gate on, poll OUT2.
        let (mut ctl, mut pit) = (SystemControl::new(), Pit::new());
        ctl.write(0x00, &mut pit, VmTime(0));
        pit.write(0x43, 0xb0, VmTime(0));
        pit.write(0x42, 0x9c, VmTime(0));
        pit.write(0x42, 0x2e, VmTime(0));
        assert_eq!(ctl.read(&mut pit, VmTime(100_000_000)) & 0x20, 0, "the gate holds it");
        let start = 200_000_000;
        ctl.write(0x01, &mut pit, VmTime(start));
        let clocks = PIT_CLOCK.ticks(VmTime(start)) + 0x2e9c;
        let end = PIT_CLOCK.time_of(clocks).expect("in range");
        assert_eq!(ctl.read(&mut pit, VmTime(end.0 - 1)) & 0x20, 0);
        assert_eq!(ctl.read(&mut pit, end) & 0x21, 0x21);
    }

    #[test]
    fn an_error_is_latched_until_it_is_disabled() {
        let (mut ctl, mut pit) = (SystemControl::new(), Pit::new());
        ctl.report(Error::IoCheck);
        assert!(ctl.nmi());
        assert_eq!(ctl.read(&mut pit, VmTime(0)) & 0xc0, 0x40);
        ctl.write(0x04, &mut pit, VmTime(0));
        assert!(ctl.nmi(), "that is the other one");
        ctl.report(Error::System);
        assert_eq!(ctl.read(&mut pit, VmTime(0)) & 0xc0, 0x40, "it is disabled");
        ctl.write(0x0c, &mut pit, VmTime(0));
        assert!(!ctl.nmi());
        ctl.write(0x00, &mut pit, VmTime(0));
        ctl.report(Error::System);
        assert_eq!(ctl.read(&mut pit, VmTime(0)) & 0xc0, 0x80);
    }

    #[test]
    fn only_the_four_low_bits_are_kept() {
        let (mut ctl, mut pit) = (SystemControl::new(), Pit::new());
        ctl.write(0xff, &mut pit, VmTime(0));
        assert_eq!(ctl.read(&mut pit, VmTime(0)) & 0xcf, 0x0f);
    }
}
