//! The Realtek RTL8029AS: an NE2000 on PCI, which is a DP8390 with 32 KiB of memory behind a data port.
//!
//! | port | what |
//! |---|---|
//! | 0x00 | command register, in each page |
//! | 0x01 to 0x0f | registers of the page that it selects |
//! | 0x10 to 0x17 | data port: memory at the remote DMA address |
//! | 0x18 to 0x1f | reset port |
//!
//! References: DP8390D/NS32490D data sheet (National Semiconductor, 1992); RTL8029AS data sheet (Realtek, 1997).
//! A frame is sent in the time that it takes at 10 Mbit/s. Left out: the FIFO register and the tests that need it, as in
//! loopback nothing comes back; tally counters but the one of missed frames never count, as no frame is damaged.

mod registers;
mod ring;

use super::{BROADCAST, FRAME_MIN, check_sequence, destination, is_group};
use crate::board::cards::{CardBus, CardChip};
use crate::board::pci::{Bar, Endpoint, Identity};
use crate::units::VmTime;
use registers::{Command, isr};
use serde::{Deserialize, Serialize};

/// Ports.
const PORTS: u16 = 32;
const DATA_PORT: u32 = 0x10;
const RESET_PORT: u32 = 0x18;

/// Where the memory begins in the chip's address space, and how large it is.
const MEMORY: u16 = 0x4000;
const MEMORY_BYTES: usize = 0x8000;
/// The station address PROM, each byte twice, as on the card of old.
const PROM_BYTES: u16 = 32;

/// At 10 Mbit/s.
const NS_PER_BYTE: u64 = 800;
/// Preamble, check sequence and gap between frames, in bytes.
const FRAME_OVERHEAD: u64 = 8 + 4 + 12;

/// Transmit status: sent without errors.
const TSR_SENT: u8 = 0x01;

/// The chip.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ne2k {
    station: [u8; 6],
    command: Command,
    page_start: u8,
    page_stop: u8,
    boundary: u8,
    current: u8,
    transmit_page: u8,
    transmit_bytes: u16,
    transmit_status: u8,
    receive_status: u8,
    receive_config: u8,
    transmit_config: u8,
    data_config: u8,
    interrupt_status: u8,
    interrupt_mask: u8,
    remote_address: u16,
    remote_count: u16,
    missed: u8,
    physical: [u8; 6],
    multicast: [u8; 8],
    /// When the frame that is being sent is on the wire.
    sent_at: Option<VmTime>,
    memory: Vec<u8>,
}

impl Ne2k {
    /// A chip at power-on.
    pub fn new(station: [u8; 6]) -> Ne2k {
        Ne2k {
            station,
            command: Command::STOPPED,
            page_start: 0,
            page_stop: 0,
            boundary: 0,
            current: 0,
            transmit_page: 0,
            transmit_bytes: 0,
            transmit_status: 0,
            receive_status: 0,
            receive_config: 0,
            transmit_config: 0,
            data_config: 0x04,
            interrupt_status: isr::RESET,
            interrupt_mask: 0,
            remote_address: 0,
            remote_count: 0,
            missed: 0,
            physical: [0; 6],
            multicast: [0; 8],
            sent_at: None,
            memory: vec![0; MEMORY_BYTES],
        }
    }

    /// Its configuration space.
    pub fn endpoint() -> Endpoint {
        let identity = Identity {
            vendor: 0x10ec,
            device: 0x8029,
            revision: 0,
            class: 0x02_00_00,
            command: 0,
            status: 0x0200,
            header_type: 0,
        };
        Endpoint::new(&identity).bar(0, Bar::Io(PORTS)).pin(1)
    }

    /// What the reset port does: the chip stops, and its registers keep what they have (DP8390D, 10.0).
    fn stop(&mut self) {
        self.command = Command::STOPPED;
        self.interrupt_status |= isr::RESET;
        self.remote_count = 0;
        self.sent_at = None;
    }

    /// A byte of the chip's own address space.
    fn load(&self, addr: u16) -> u8 {
        if addr < PROM_BYTES {
            let prom = [&self.station[..], &[0; 8], b"WW"].concat();
            return prom.get(usize::from(addr / 2)).copied().unwrap_or(0xff);
        }
        let at = addr.checked_sub(MEMORY);
        at.and_then(|at| self.memory.get(usize::from(at))).copied().unwrap_or(0xff)
    }

    fn store(&mut self, addr: u16, byte: u8) {
        if let Some(at) = addr.checked_sub(MEMORY)
            && let Some(cell) = self.memory.get_mut(usize::from(at))
        {
            *cell = byte;
        }
    }

    /// Starts to send what is in the transmit pages.
    fn transmit(&mut self, now: VmTime) {
        if self.sent_at.is_none() && self.command.runs() {
            self.transmit_status = 0;
            let bytes = u64::from(self.transmit_bytes).max(FRAME_MIN as u64) + FRAME_OVERHEAD;
            self.sent_at = Some(now.plus_ns(bytes * NS_PER_BYTE));
        }
    }

    /// The frame is sent.
    fn transmitted(&mut self, bus: &mut CardBus) {
        self.sent_at = None;
        let start = u16::from(self.transmit_page) << 8;
        let frame: Vec<u8> = (0..self.transmit_bytes).map(|i| self.load(start.wrapping_add(i))).collect();
        if !self.in_loopback() && !frame.is_empty() {
            bus.send(frame);
        }
        self.command.end_transmit();
        self.transmit_status = TSR_SENT;
        self.interrupt_status |= isr::SENT;
    }

    /// Transmit configuration, LB1 and LB0: nothing reaches the wire.
    fn in_loopback(&self) -> bool {
        self.transmit_config & 0x06 != 0
    }

    /// Whether the receiver wants a frame for this address (DP8390D, "Receive Configuration Register").
    fn wants(&self, to: &[u8; 6]) -> bool {
        use registers::rcr;
        if *to == BROADCAST {
            self.receive_config & rcr::BROADCAST != 0
        } else if is_group(to) {
            // The upper six bits of the check sequence generator choose a bit of the filter.
            let hash = (!check_sequence(to)).reverse_bits() >> 26;
            self.receive_config & rcr::MULTICAST != 0
                && self.multicast[hash as usize >> 3] >> (hash & 7) & 1 != 0
        } else {
            self.receive_config & rcr::PROMISCUOUS != 0 || *to == self.physical
        }
    }
}

impl CardChip for Ne2k {
    fn reset(&mut self) {
        *self = Ne2k::new(self.station);
    }

    fn read(&mut self, _bar: u8, offset: u32, size: u8, _bus: &mut CardBus) -> u32 {
        match offset {
            DATA_PORT..RESET_PORT => self.read_data(size),
            RESET_PORT.. => {
                self.stop();
                0xffff_ffff
            }
            _ => (0..u32::from(size.min(4))).fold(0, |value, i| {
                value | u32::from(self.read_register((offset + i) as u8 & 0x0f)) << (8 * i)
            }),
        }
    }

    fn write(&mut self, _bar: u8, offset: u32, size: u8, value: u32, bus: &mut CardBus) {
        match offset {
            DATA_PORT..RESET_PORT => self.write_data(size, value),
            RESET_PORT.. => self.stop(),
            _ => {
                for (i, byte) in (0..u32::from(size)).zip(value.to_le_bytes()) {
                    self.write_register((offset + i) as u8 & 0x0f, byte, bus.now);
                }
            }
        }
    }

    fn advance(&mut self, bus: &mut CardBus) {
        if self.sent_at.is_some_and(|at| at <= bus.now) {
            self.transmitted(bus);
        }
    }

    fn next_event(&self) -> Option<VmTime> {
        self.sent_at
    }

    fn memory_event(&self) -> Option<VmTime> {
        // What it sends is in its own memory.
        None
    }

    fn irq(&self) -> bool {
        self.interrupt_status & self.interrupt_mask & isr::MASKABLE != 0
    }

    fn receive(&mut self, frame: &[u8], _bus: &mut CardBus) {
        if !self.command.runs() || self.in_loopback() || frame.len() > super::FRAME_MAX {
            return;
        }
        if let Some(to) = destination(frame)
            && self.wants(&to)
        {
            self.put_in_ring(frame, is_group(&to));
        }
    }

    fn can_receive(&self) -> bool {
        self.command.runs() && !self.in_loopback() && self.has_room(super::FRAME_MAX)
    }
}

#[cfg(test)]
mod tests;
