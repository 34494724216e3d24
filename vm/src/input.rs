//! What enters the machine from outside, and what it sends out.

use crate::media::Slot;
use serde::{Deserialize, Serialize};
use std::fmt;

/// An Ethernet frame from the destination address on, without preamble and check sequence.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame(pub Vec<u8>);

impl fmt::Debug for Frame {
    /// Its length, and its first bytes: who sends what to whom.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 14;
        write!(f, "{} bytes ", self.0.len())?;
        self.0.iter().take(SHOWN).try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(if self.0.len() > SHOWN { "..." } else { "" })
    }
}

/// Anything from outside. Enters at one place, [`crate::Machine::inject`], at a recorded position and time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// Bytes that arrive on the line of serial port `port`, in order.
    Serial {
        /// 0 to 3 for COM1 to COM4; from 4 on the consoles on cards.
        port: u8,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// A key of a PC keyboard pressed or released, as its scan code set 1 sequence (as `[0xe0, 0x48]`).
    Key {
        /// Set 1 make or break code with its prefix.
        scancode: Vec<u8>,
    },
    /// The reset button.
    Reset,
    /// The power button.
    PowerButton,
    /// Somebody takes the medium out of a drive and puts another one in.
    Media {
        /// Which drive.
        slot: Slot,
        /// The number of the medium that is in it from now on.
        medium: Option<usize>,
    },
    /// The PS/2 mouse is moved, and has these buttons pressed from now on.
    Mouse {
        /// Counts to the right.
        dx: i16,
        /// Counts downwards, as on the screen.
        dy: i16,
        /// Clicks of the wheel towards the user.
        dz: i16,
        /// Bit 0 left, 1 middle, 2 right, 3 and 4 at the sides.
        buttons: u8,
    },
    /// A frame arrives on the wire of a network card.
    Net {
        /// The card's number among all cards.
        card: u8,
        /// The frame.
        frame: Frame,
    },
}

/// What the guest sends out. Not machine state: replaying regenerates it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Output {
    /// A byte sent by serial port `port`.
    Serial {
        /// 0 to 3 for COM1 to COM4; from 4 on the consoles on cards.
        port: u8,
        /// The byte.
        byte: u8,
    },
    /// A byte that the printer on parallel port `port` (0 = LPT1) took over.
    Parallel {
        /// 0 for LPT1.
        port: u8,
        /// The byte.
        byte: u8,
    },
    /// A byte written to a debug console (port 0xe9 or 0x402).
    Debugcon {
        /// The I/O port it was written to.
        port: u16,
        /// The byte.
        byte: u8,
    },
    /// A frame that a network card sends.
    Net {
        /// The card's number among all cards.
        card: u8,
        /// The frame.
        frame: Frame,
    },
}
