//! System control port A (0x92) and the reset control register (0xcf9).
//!
//! Reference: Intel 82371SB (PIIX3) data sheet, "Port 92" and "RC - Reset Control Register". The A20 line has one owner,
//! the keyboard controller; port 0x92 moves that same line, and the last writer wins.
//!
//! Port 0xcf9 lies inside the dword of the PCI address register: an access of four bytes to 0xcf8 goes to the host
//! bridge, an access of one byte to 0xcf9 comes here.

use crate::board::Request;
use crate::board::i8042::I8042;
use serde::{Deserialize, Serialize};

/// System control port A.
pub const PORT_A: u16 = 0x92;
/// Reset control register.
pub const RESET_CONTROL: u16 = 0xcf9;

const FAST_RESET: u8 = 0x01;
const A20: u8 = 0x02;
const SYSTEM_RESET: u8 = 0x02;
const RESET_CPU: u8 = 0x04;

/// The two registers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SysCtl {
    /// Port 0x92 without the A20 bit.
    port_a: u8,
    reset_control: u8,
}

impl SysCtl {
    /// The registers after reset.
    pub fn new() -> SysCtl {
        SysCtl::default()
    }

    /// IN of one byte.
    pub fn read(&self, port: u16, keyboard: &I8042) -> u8 {
        match port {
            PORT_A if keyboard.a20() => self.port_a | A20,
            PORT_A => self.port_a,
            RESET_CONTROL => self.reset_control,
            _ => 0xff,
        }
    }

    /// OUT of one byte. Both resets happen where their bit goes from 0 to 1.
    pub fn write(&mut self, port: u16, value: u8, keyboard: &mut I8042) -> Option<Request> {
        let reset = match port {
            PORT_A => {
                keyboard.set_a20(value & A20 != 0);
                let rises = value & !self.port_a & FAST_RESET != 0;
                self.port_a = value & !A20;
                rises
            }
            RESET_CONTROL => {
                let rises = value & !self.reset_control & RESET_CPU != 0;
                self.reset_control = value & (SYSTEM_RESET | RESET_CPU);
                rises
            }
            _ => false,
        };
        reset.then_some(Request::Reset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::i8042::COMMAND;
    use crate::board::test_support::Rng;
    use crate::units::VmTime;

    #[test]
    fn port_92_and_the_keyboard_controller_share_a20() {
        let (mut sysctl, mut keyboard) = (SysCtl::new(), I8042::new());
        assert_eq!(sysctl.read(PORT_A, &keyboard), A20);
        assert_eq!(sysctl.write(PORT_A, 0, &mut keyboard), None);
        assert!(!keyboard.a20());
        keyboard.write(COMMAND, 0xdf, VmTime(0));
        assert_eq!(sysctl.read(PORT_A, &keyboard), A20);
    }

    #[test]
    fn resets_happen_where_their_bit_rises() {
        let (mut sysctl, mut keyboard) = (SysCtl::new(), I8042::new());
        assert_eq!(sysctl.write(PORT_A, 0x03, &mut keyboard), Some(Request::Reset));
        assert_eq!(sysctl.write(PORT_A, 0x03, &mut keyboard), None);
        assert_eq!(sysctl.write(RESET_CONTROL, 0x02, &mut keyboard), None);
        assert_eq!(sysctl.read(RESET_CONTROL, &keyboard), 0x02);
        assert_eq!(sysctl.write(RESET_CONTROL, 0x06, &mut keyboard), Some(Request::Reset));
        assert_eq!(sysctl.write(RESET_CONTROL, 0x06, &mut keyboard), None);
    }

    #[test]
    fn random_accesses_do_not_panic_and_survive_a_round_trip() {
        let (mut sysctl, mut keyboard, mut rng) = (SysCtl::new(), I8042::new(), Rng::new(1));
        for _ in 0..1000 {
            sysctl.write([PORT_A, RESET_CONTROL, 7][rng.below(3) as usize], rng.byte(), &mut keyboard);
            let bytes = bincode::serde::encode_to_vec(&sysctl, bincode::config::standard()).expect("encodes");
            let (back, _): (SysCtl, usize) =
                bincode::serde::decode_from_slice(&bytes, bincode::config::standard()).expect("decodes");
            assert_eq!(back, sysctl);
        }
    }
}
