//! The AC'97 controller of the 82801AA (ICH) with its codec: three streams that a list of buffers in memory describes.
//!
//! | range | what |
//! |---|---|
//! | BAR 0, 256 ports | the codec's registers: `codec` |
//! | BAR 1, 64 ports | three streams of 16 ports each, recording, playback and microphone: `stream`; then the global registers |
//!
//! References: 82801AA data sheet (290655), chapter 13; Audio Codec '97 revision 2.1. Samples are taken at the rate that
//! the codec is set to, and thrown away; recorded ones are silence. Left out: the modem.

mod codec;
mod stream;

use crate::board::cards::{CardBus, CardChip};
use crate::board::pci::{Bar, Endpoint, Identity};
use crate::units::VmTime;
use codec::Codec;
use serde::{Deserialize, Serialize};
use stream::Stream;

const CODEC_PORTS: u16 = 256;
const MASTER_PORTS: u16 = 64;
const CODEC_BAR: u8 = 0;

const STREAM_PORTS: u32 = 16;
const GLOBAL_CONTROL: u32 = 0x2c;
const GLOBAL_STATUS: u32 = 0x30;
const CODEC_ACCESS: u32 = 0x34;

/// Global control: the codec is not held in reset.
const CONTROL_COLD: u32 = 1 << 1;
/// Global control: wakes the link; clears itself.
const CONTROL_WARM: u32 = 1 << 2;
const CONTROL_BITS: u32 = 0x3f;
/// Global status: the codec is there.
const STATUS_READY: u32 = 1 << 8;
/// Global status: the interrupts of the three streams.
const STATUS_STREAMS: [u32; 3] = [1 << 5, 1 << 6, 1 << 7];

/// The stream that plays; the others record.
const PLAYBACK: usize = 1;

/// The controller and its codec.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ac97 {
    codec: Codec,
    streams: [Stream; 3],
    control: u32,
    /// Somebody uses the codec.
    access: bool,
}

impl Default for Ac97 {
    /// The chips at power-on.
    fn default() -> Ac97 {
        Ac97 { codec: Codec::new(), streams: Default::default(), control: 0, access: false }
    }
}

impl Ac97 {
    /// Its configuration space.
    pub fn endpoint() -> Endpoint {
        let identity = Identity {
            vendor: 0x8086,
            device: 0x2415,
            revision: 1,
            class: 0x04_01_00,
            command: 0,
            status: 0x0280,
            header_type: 0,
        };
        Endpoint::new(&identity).bar(CODEC_BAR, Bar::Io(CODEC_PORTS)).bar(1, Bar::Io(MASTER_PORTS)).pin(1)
    }

    /// Samples a second of a stream, both channels counted.
    fn rate(&self, number: usize) -> u64 {
        let frames =
            if number == PLAYBACK { self.codec.playback_rate() } else { self.codec.recording_rate() };
        2 * u64::from(frames)
    }

    fn read_global(&mut self, register: u32) -> u32 {
        match register {
            GLOBAL_CONTROL => self.control,
            GLOBAL_STATUS => {
                let interrupts = self.streams.iter().zip(STATUS_STREAMS);
                let interrupts =
                    interrupts.filter(|(stream, _)| stream.irq()).map(|(_, bit)| bit).sum::<u32>();
                interrupts | if self.control & CONTROL_COLD != 0 { STATUS_READY } else { 0 }
            }
            // Reading takes it, if it is free.
            CODEC_ACCESS => std::mem::replace(&mut self.access, true).into(),
            _ => 0xffff_ffff,
        }
    }

    fn write_global(&mut self, register: u32, value: u32) {
        match register {
            GLOBAL_CONTROL => {
                if value & CONTROL_COLD == 0 {
                    self.codec = Codec::new();
                }
                self.control = value & CONTROL_BITS & !CONTROL_WARM;
            }
            // What can be cleared there is the modem's.
            GLOBAL_STATUS | CODEC_ACCESS => {}
            _ => tracing::debug!(
                register,
                value,
                "write to a register that the sound controller does not have"
            ),
        }
    }
}

impl CardChip for Ac97 {
    fn reset(&mut self) {
        *self = Ac97::default();
    }

    fn read(&mut self, bar: u8, offset: u32, size: u8, bus: &mut CardBus) -> u32 {
        if bar == CODEC_BAR {
            self.access = false;
            return self.codec.read(offset).into();
        }
        let (number, register) = ((offset / STREAM_PORTS) as usize, offset % STREAM_PORTS);
        if offset >= GLOBAL_CONTROL {
            return self.read_global(offset & !3) >> (8 * (offset & 3));
        }
        let rate = self.rate(number);
        match self.streams.get(number) {
            Some(stream) => stream.read(register, size, rate, bus.now),
            None => 0xffff_ffff,
        }
    }

    fn write(&mut self, bar: u8, offset: u32, size: u8, value: u32, bus: &mut CardBus) {
        if bar == CODEC_BAR {
            self.access = false;
            let rates = [0, 1, 2].map(|number| self.rate(number));
            self.codec.write(offset, value as u16);
            // What is left of a buffer takes another time from now on.
            for (number, before) in rates.into_iter().enumerate() {
                let after = self.rate(number);
                if after != before {
                    self.streams[number].change_rate(before, after, bus.now);
                }
            }
            return;
        }
        let (number, register) = ((offset / STREAM_PORTS) as usize, offset % STREAM_PORTS);
        if offset >= GLOBAL_CONTROL {
            return self.write_global(offset, value);
        }
        let rate = self.rate(number);
        if let Some(stream) = self.streams.get_mut(number) {
            stream.write(register, size, value, rate, bus);
        }
    }

    fn advance(&mut self, bus: &mut CardBus) {
        for number in 0..self.streams.len() {
            let (rate, records) = (self.rate(number), number != PLAYBACK);
            self.streams[number].advance(records, rate, bus);
        }
    }

    fn next_event(&self) -> Option<VmTime> {
        self.streams.iter().filter_map(Stream::next_event).min()
    }

    fn memory_event(&self) -> Option<VmTime> {
        // The next entry of the list is read at the end of a buffer, and silence is written.
        self.next_event()
    }

    fn irq(&self) -> bool {
        self.streams.iter().any(Stream::irq)
    }
}

#[cfg(test)]
mod tests;
