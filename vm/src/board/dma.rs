//! Two 8237A DMA controllers and the page registers that give them the upper address bits.
//!
//! | ports | what |
//! |---|---|
//! | 0x00 to 0x0f | controller 1: channels 0 to 3, for 8-bit devices |
//! | 0xc0 to 0xdf | controller 2: channels 4 to 7, a register every two ports; 16-bit devices. Channel 4 takes requests of controller 1 |
//! | 0x81 to 0x8f | page registers: address bits 16 to 23 |
//! | 0x480 to 0x48f | address bits 24 to 31 |
//!
//! References: Intel 8237A data sheet (231466); 82371SB (290550), "DMA Registers". Port 0x80 is a page register without a
//! channel: it belongs to the POST codes.
//!
//! A device calls [`Dma::transfer`] when it has data or wants some; the cycles of such a call take no time. So single, demand
//! and block mode do the same here, and fixed, rotating or compressed timing makes no difference.

use crate::memory::PhysMemory;
use crate::units::PhysAddr;
use serde::{Deserialize, Serialize};

/// First page register.
pub const PAGES: u16 = 0x80;
/// First register of address bits 24 to 31.
pub const HIGH_PAGES: u16 = 0x480;
/// Registers of one controller.
const REGISTERS: u16 = 16;
/// First port of controller 2, whose registers are two ports apart.
const SECOND: u16 = 0xc0;
/// The channel of controller 2 that controller 1 is behind.
const CASCADE: u8 = 4;
/// Page register of each channel; channel 4 has that of the refresh logic.
const PAGE_OF: [usize; 8] = [0x7, 0x3, 0x1, 0x2, 0xf, 0xb, 0x9, 0xa];

/// Command register.
const COMMAND_MEMORY_TO_MEMORY: u8 = 0x01;
const COMMAND_HOLD_ADDRESS_0: u8 = 0x02;
const COMMAND_DISABLE: u8 = 0x04;

/// Mode register.
const MODE_AUTOINIT: u8 = 0x10;
const MODE_DECREMENT: u8 = 0x20;
const MODE_BLOCK: u8 = 0x80;
const MODE_CASCADE: u8 = 0xc0;

/// What a device does in a transfer.
pub enum Transfer<'a> {
    /// It has these bytes for memory.
    ToMemory(&'a [u8]),
    /// It wants bytes from memory.
    FromMemory(&'a mut [u8]),
    /// It moves so many bytes that nobody looks at.
    Count(usize),
}

/// What became of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Bytes that went through, from the start.
    pub bytes: usize,
    /// The terminal count was reached with the last of them.
    pub terminal: bool,
}

/// A channel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Channel {
    mode: u8,
    base_address: u16,
    base_count: u16,
    address: u16,
    count: u16,
}

/// A controller.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Controller {
    channels: [Channel; 4],
    command: u8,
    mask: u8,
    /// Requests by software.
    requests: u8,
    /// Requests by devices, as levels.
    dreq: u8,
    terminal: u8,
    temporary: u8,
    /// The flip-flop: the next access is to the high byte of an address or count.
    high: bool,
}

/// Both controllers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dma {
    controllers: [Controller; 2],
    pages: [u8; 16],
    high_pages: [u8; 16],
    without_firmware: bool,
}

impl Dma {
    /// The controllers at power-on, with all channels masked. Without firmware they are as it would leave them, with
    /// controller 1 let through.
    pub fn new(without_firmware: bool) -> Dma {
        let mut dma = Dma {
            controllers: [Controller::new(), Controller::new()],
            pages: [0; 16],
            high_pages: [0; 16],
            without_firmware,
        };
        if without_firmware {
            dma.controllers[1].channels[0].mode = MODE_CASCADE;
            dma.controllers[1].mask &= !1;
        }
        dma
    }

    /// The reset line.
    pub fn reset(&mut self) {
        *self = Dma::new(self.without_firmware);
    }

    /// Whether `port` is one of these.
    pub fn decodes(port: u16) -> bool {
        matches!(port, 0x00..=0x0f | 0x81..=0x8f | 0xc0..=0xdf | 0x480..=0x48f)
    }

    /// IN of one byte.
    pub fn read(&mut self, port: u16) -> u8 {
        match port {
            0x80..=0x8f => self.pages[usize::from(port - PAGES)],
            0x480..=0x48f => self.high_pages[usize::from(port - HIGH_PAGES)],
            SECOND..=0xdf => self.controllers[1].read((port - SECOND) / 2),
            _ => self.controllers[0].read(port % REGISTERS),
        }
    }

    /// OUT of one byte.
    pub fn write(&mut self, port: u16, value: u8, mem: &mut dyn PhysMemory) {
        let (number, register) = match port {
            0x80..=0x8f => {
                self.pages[usize::from(port - PAGES)] = value;
                return;
            }
            0x480..=0x48f => {
                self.high_pages[usize::from(port - HIGH_PAGES)] = value;
                return;
            }
            SECOND..=0xdf => (1, (port - SECOND) / 2),
            _ => (0, port % REGISTERS),
        };
        self.controllers[number].write(register, value);
        self.serve_software(number, mem);
    }

    /// A device on `channel` asks for a transfer, or no longer does, as the status register shows it.
    pub fn set_dreq(&mut self, channel: u8, asks: bool) {
        let dreq = &mut self.controllers[usize::from(channel >> 2 & 1)].dreq;
        let bit = 1 << (channel & 3);
        *dreq = if asks { *dreq | bit } else { *dreq & !bit };
    }

    /// A device on `channel` (0 to 7, not 4) moves as many bytes as the channel lets it.
    pub fn transfer(&mut self, channel: u8, data: Transfer, mem: &mut dyn PhysMemory) -> Moved {
        if self.lets_through(channel) {
            self.run(channel, data, mem)
        } else {
            Moved { bytes: 0, terminal: false }
        }
    }

    /// Whether a request of `channel` reaches the bus. In cascade mode the device would have to drive the bus itself.
    pub fn lets_through(&self, channel: u8) -> bool {
        let open = |channel: u8| {
            let controller = &self.controllers[usize::from(channel >> 2 & 1)];
            controller.command & COMMAND_DISABLE == 0 && controller.mask >> (channel & 3) & 1 == 0
        };
        let cascaded = self.channel(channel).mode & MODE_CASCADE == MODE_CASCADE;
        open(channel) && !cascaded && (channel >= CASCADE || open(CASCADE))
    }

    /// Bytes up to and including the one at which `channel` reaches its terminal count.
    pub fn bytes_left(&self, channel: u8) -> usize {
        (usize::from(self.channel(channel).count) + 1) << u32::from(channel >= CASCADE)
    }

    fn channel(&self, channel: u8) -> &Channel {
        &self.controllers[usize::from(channel >> 2 & 1)].channels[usize::from(channel & 3)]
    }

    /// The cycles of a transfer. A device that moves data in the other direction than the channel's mode moves nothing.
    fn run(&mut self, channel: u8, mut data: Transfer, mem: &mut dyn PhysMemory) -> Moved {
        let unit = 1 << u32::from(channel >= CASCADE);
        let wanted = match &data {
            Transfer::ToMemory(bytes) => bytes.len(),
            Transfer::FromMemory(buffer) => buffer.len(),
            Transfer::Count(bytes) => *bytes,
        };
        let mut moved = Moved { bytes: 0, terminal: false };
        while moved.bytes + unit <= wanted && !moved.terminal {
            let at = self.address(channel);
            let range = moved.bytes..moved.bytes + unit;
            match (&mut data, self.channel(channel).mode >> 2 & 3) {
                (Transfer::ToMemory(bytes), 1) => mem.write(at, &bytes[range]),
                (Transfer::FromMemory(buffer), 2) => mem.read(at, &mut buffer[range]),
                (Transfer::FromMemory(buffer), _) => buffer[range].fill(0xff),
                _ => {}
            }
            moved.bytes += unit;
            let controller = &mut self.controllers[usize::from(channel >> 2 & 1)];
            moved.terminal = controller.count(usize::from(channel & 3));
        }
        moved
    }

    /// Where the next cycle of `channel` goes. On 16-bit channels the address counts words.
    fn address(&self, channel: u8) -> PhysAddr {
        let page = PAGE_OF[usize::from(channel & 7)];
        let upper = u32::from(self.pages[page]) << 16 | u32::from(self.high_pages[page]) << 24;
        let low = u32::from(self.channel(channel).address);
        PhysAddr(u64::from(match channel < CASCADE {
            true => upper | low,
            false => upper & 0xfffe_0000 | low << 1,
        }))
    }

    /// Carries out what software asked for: only channels in block mode listen to it (8237A, "Request Register").
    fn serve_software(&mut self, number: usize, mem: &mut dyn PhysMemory) {
        let controller = &self.controllers[number];
        if controller.requests == 0 || controller.command & COMMAND_DISABLE != 0 {
            return;
        }
        if controller.command & COMMAND_MEMORY_TO_MEMORY != 0 && controller.requests & 1 != 0 {
            self.memory_to_memory(number, mem);
        }
        for index in 0..4u8 {
            let controller = &self.controllers[number];
            let block = controller.channels[usize::from(index)].mode & MODE_CASCADE == MODE_BLOCK;
            if controller.requests >> index & 1 != 0 && block {
                // Nobody answers the cycles: memory gets what an empty bus reads as.
                let channel = number as u8 * CASCADE + index;
                let bytes = vec![0xff; self.bytes_left(channel)];
                self.run(channel, Transfer::ToMemory(&bytes), mem);
            }
        }
    }

    /// Channel 0 reads, channel 1 writes, until the count of channel 1 ends.
    fn memory_to_memory(&mut self, number: usize, mem: &mut dyn PhysMemory) {
        let from = number as u8 * CASCADE;
        let mut terminal = false;
        while !terminal {
            let mut byte = [0];
            mem.read(self.address(from), &mut byte);
            mem.write(self.address(from + 1), &byte);
            let controller = &mut self.controllers[number];
            controller.temporary = byte[0];
            if controller.command & COMMAND_HOLD_ADDRESS_0 == 0 {
                controller.channels[0].step();
            }
            terminal = controller.count(1);
        }
        self.controllers[number].requests &= !1;
    }
}

impl Channel {
    fn step(&mut self) {
        self.address = match self.mode & MODE_DECREMENT {
            0 => self.address.wrapping_add(1),
            _ => self.address.wrapping_sub(1),
        };
    }
}

impl Controller {
    fn new() -> Controller {
        Controller { mask: 0x0f, ..Controller::default() }
    }

    /// After a cycle of a channel: true if it was the last one.
    fn count(&mut self, index: usize) -> bool {
        let channel = &mut self.channels[index];
        channel.step();
        channel.count = channel.count.wrapping_sub(1);
        if channel.count != 0xffff {
            return false;
        }
        let bit = 1 << index;
        self.terminal |= bit;
        self.requests &= !bit;
        if channel.mode & MODE_AUTOINIT != 0 {
            (channel.address, channel.count) = (channel.base_address, channel.base_count);
        } else {
            self.mask |= bit;
        }
        true
    }

    fn read(&mut self, register: u16) -> u8 {
        match register {
            0..=7 => {
                let channel = &self.channels[usize::from(register / 2)];
                let word = if register & 1 == 0 { channel.address } else { channel.count };
                word.to_le_bytes()[self.flip()]
            }
            8 => std::mem::take(&mut self.terminal) | (self.requests | self.dreq) << 4,
            0xd => self.temporary,
            0xf => self.mask,
            _ => 0xff,
        }
    }

    fn write(&mut self, register: u16, value: u8) {
        let bit = 1 << (value & 3);
        match register {
            0..=7 => self.write_word(register, value),
            8 => self.command = value,
            9 if value & 4 != 0 => self.requests |= bit,
            9 => self.requests &= !bit,
            0xa if value & 4 != 0 => self.mask |= bit,
            0xa => self.mask &= !bit,
            0xb => self.channels[usize::from(value & 3)].mode = value & !3,
            0xc => self.high = false,
            // Master clear: mode, address and count stay.
            0xd => {
                *self = Controller { channels: self.channels.clone(), dreq: self.dreq, ..Controller::new() }
            }
            0xe => self.mask = 0,
            _ => self.mask = value & 0x0f,
        }
    }

    /// Which byte of a word this access is to.
    fn flip(&mut self) -> usize {
        self.high = !self.high;
        usize::from(!self.high)
    }

    /// Base and current register are written together, a byte at a time.
    fn write_word(&mut self, register: u16, value: u8) {
        let high = self.flip();
        let channel = &mut self.channels[usize::from(register / 2)];
        let (base, current) = match register & 1 {
            0 => (&mut channel.base_address, &mut channel.address),
            _ => (&mut channel.base_count, &mut channel.count),
        };
        for word in [base, current] {
            let mut bytes = word.to_le_bytes();
            bytes[high] = value;
            *word = u16::from_le_bytes(bytes);
        }
    }
}

#[cfg(test)]
#[path = "dma_tests.rs"]
mod tests;
