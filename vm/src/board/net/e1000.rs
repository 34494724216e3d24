//! The Intel 82540EM: a gigabit network card with rings of descriptors in memory, which QEMU calls `e1000`.
//!
//! | range | what |
//! |---|---|
//! | BAR 0, 128 KiB of memory | registers: `regs` |
//! | BAR 1, 64 ports | the same through an address and a data port |
//!
//! Reference: PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual (317453), for the 82540EM.
//! The link is always there, at 1000 Mbit/s. What is sent takes its time on the wire, one piece of a descriptor after the other; what
//! comes in is in memory at once, as long as there are descriptors, and else waits in the packet buffer.
//!
//! Left out: wake-up and management, flow control (pause frames are not sent, and obeyed by nobody), the diagnostic
//! window of the packet buffer, writing the EEPROM, IPv6 checksums of received packets.

mod checksum;
mod eeprom;
mod phy;
mod receive;
mod registers;
mod regs;
mod ring;
mod segment;
mod transmit;

use crate::board::cards::{CardBus, CardChip};
use crate::board::pci::{Bar, Endpoint, Identity};
use crate::config::Mac;
use crate::units::VmTime;
use eeprom::Microwire;
use phy::Phy;
use receive::Receiver;
use regs::icr;
use serde::{Deserialize, Serialize};
use transmit::Transmitter;

const VENDOR: u16 = 0x8086;
const DEVICE: u16 = 0x100e;
const SUBSYSTEM_VENDOR: u16 = 0x1af4;
const SUBSYSTEM: u16 = 0x1100;

const MEMORY_BYTES: u32 = 0x2_0000;
const PORTS: u16 = 64;
/// Number of the range of ports.
const PORTS_BAR: u8 = 1;

/// Unit of the interrupt throttle.
const THROTTLE_UNIT_NS: u64 = 256;
/// Unit of the delays of receive and transmit interrupts.
const DELAY_UNIT_NS: u64 = 1024;

/// The chip.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct E1000 {
    mac: Mac,
    /// The address port of the range of ports.
    io_address: u32,
    ctrl: u32,
    eecd: Microwire,
    eerd: u32,
    mdic: u32,
    vlan_type: u16,
    phy: Phy,
    /// Interrupt causes, their mask, and the throttle.
    causes: u32,
    mask: u32,
    throttle: u16,
    /// The pin does not rise before this.
    quiet_until: VmTime,
    irq: bool,
    rx: Receiver,
    tx: Transmitter,
    packet_buffer: u32,
    statistics: Vec<u32>,
    /// Registers that do nothing: [`regs::KEPT`].
    kept: Vec<u32>,
}

/// An interrupt that waits a while for more to come: a delay that starts anew with each event, and one that does not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Delay {
    /// In units of 1.024 us.
    relative: u16,
    absolute: u16,
    relative_at: Option<VmTime>,
    absolute_at: Option<VmTime>,
}

impl Delay {
    /// Something has happened; whether the interrupt is due at once.
    fn start(&mut self, now: VmTime) -> bool {
        if self.relative == 0 {
            return true;
        }
        self.relative_at = Some(now.plus_ns(u64::from(self.relative) * DELAY_UNIT_NS));
        if self.absolute != 0 && self.absolute_at.is_none() {
            self.absolute_at = Some(now.plus_ns(u64::from(self.absolute) * DELAY_UNIT_NS));
        }
        false
    }

    /// The interrupt comes now. Whether one was waited for.
    fn flush(&mut self) -> bool {
        let waited = self.relative_at.is_some();
        (self.relative_at, self.absolute_at) = (None, None);
        waited
    }

    fn next_event(&self) -> Option<VmTime> {
        [self.relative_at, self.absolute_at].into_iter().flatten().min()
    }

    /// Whether the interrupt is due.
    fn advance(&mut self, now: VmTime) -> bool {
        self.next_event().is_some_and(|at| at <= now) && self.flush()
    }
}

impl E1000 {
    /// A chip at power-on.
    pub fn new(mac: Mac) -> E1000 {
        let mut chip = E1000 {
            mac,
            io_address: 0,
            ctrl: regs::ctrl::FULL_DUPLEX,
            eecd: Microwire::default(),
            eerd: 0,
            mdic: 0,
            vlan_type: 0x8100,
            phy: Phy::new(),
            causes: 0,
            mask: 0,
            throttle: 0,
            quiet_until: VmTime(0),
            irq: false,
            rx: Receiver::new(),
            tx: Transmitter::default(),
            packet_buffer: 0x0010_0030, // 16 KiB for sending, 48 for receiving
            statistics: vec![0; regs::STATISTICS_COUNT],
            kept: vec![0; regs::KEPT.len()],
        };
        chip.rx.load_address(mac);
        chip
    }

    /// Its configuration space.
    pub fn endpoint() -> Endpoint {
        let identity = Identity {
            vendor: VENDOR,
            device: DEVICE,
            revision: 3,
            class: 0x02_00_00,
            command: 0,
            status: 0,
            header_type: 0,
        };
        Endpoint::new(&identity).bar(0, Bar::Memory(MEMORY_BYTES)).bar(PORTS_BAR, Bar::Io(PORTS)).pin(1)
    }

    /// CTRL.RST: everything but the PHY (manual, 14.7).
    fn reset_mac(&mut self) {
        let phy = self.phy.clone();
        *self = E1000 { phy, io_address: self.io_address, ..E1000::new(self.mac) };
    }

    /// Interrupt causes come up.
    fn raise(&mut self, causes: u32, now: VmTime) {
        self.causes |= causes;
        self.update_irq(now);
    }

    /// The pin follows causes and mask; it rises only so often (manual, 13.4.18 "ITR").
    fn update_irq(&mut self, now: VmTime) {
        let wanted = self.causes & self.mask != 0;
        if !wanted {
            self.irq = false;
        } else if !self.irq && now >= self.quiet_until {
            self.irq = true;
            self.quiet_until = now.plus_ns(u64::from(self.throttle) * THROTTLE_UNIT_NS);
        }
    }

    /// Counts in a statistics register; it stays at its last value.
    fn count(&mut self, number: usize, by: u32) {
        if let Some(counter) = self.statistics.get_mut(number) {
            *counter = counter.saturating_add(by);
        }
    }

    /// Counts in a statistics register of 64 bits.
    fn count_wide(&mut self, number: usize, by: u64) {
        if let Some([low, high]) = self.statistics.get_mut(number..number + 2) {
            let sum = (u64::from(*high) << 32 | u64::from(*low)).saturating_add(by);
            (*low, *high) = (sum as u32, (sum >> 32) as u32);
        }
    }

    /// Counts a frame in the registers for lengths, with its check sequence.
    fn count_by_size(&mut self, first: usize, bytes: usize) {
        let class = [65, 128, 256, 512, 1024].iter().filter(|limit| bytes >= **limit).count();
        self.count(first + class, 1);
    }
}

impl CardChip for E1000 {
    fn reset(&mut self) {
        *self = E1000::new(self.mac);
    }

    fn read(&mut self, bar: u8, offset: u32, size: u8, bus: &mut CardBus) -> u32 {
        if bar == PORTS_BAR {
            return match offset {
                0 => self.io_address,
                4 => self.read_register(self.io_address, bus.now),
                _ => 0,
            };
        }
        // Registers are read as a whole; a narrow access gets its part.
        let value = self.read_register(offset & !3, bus.now) >> (8 * (offset & 3));
        match size {
            1 => value & 0xff,
            2 => value & 0xffff,
            _ => value,
        }
    }

    fn write(&mut self, bar: u8, offset: u32, size: u8, value: u32, bus: &mut CardBus) {
        if size != 4 || offset & 3 != 0 {
            tracing::debug!(offset, size, value, "write to a part of a register of the 82540");
            return;
        }
        match (bar, offset) {
            (PORTS_BAR, 0) => self.io_address = value & (MEMORY_BYTES - 1),
            (PORTS_BAR, 4) => self.write_register(self.io_address & !3, value, bus),
            (PORTS_BAR, _) => {}
            _ => self.write_register(offset, value, bus),
        }
    }

    fn advance(&mut self, bus: &mut CardBus) {
        let now = bus.now;
        if self.phy.advance(now) {
            self.raise(icr::LINK_CHANGE, now);
        }
        if self.tx.due.is_some_and(|at| at <= now) {
            self.transmit_step(bus);
        }
        if self.tx.delay.advance(now) {
            self.raise(icr::TX_WRITTEN_BACK, now);
        }
        if self.rx.delay.advance(now) {
            self.raise(icr::RX_TIMER, now);
        }
        self.update_irq(now);
    }

    fn next_event(&self) -> Option<VmTime> {
        let throttled = self.causes & self.mask != 0 && !self.irq;
        [
            self.phy.next_event(),
            self.tx.due,
            self.tx.delay.next_event(),
            self.rx.delay.next_event(),
            throttled.then_some(self.quiet_until),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn memory_event(&self) -> Option<VmTime> {
        self.tx.due
    }

    fn irq(&self) -> bool {
        self.irq
    }

    fn receive(&mut self, frame: &[u8], bus: &mut CardBus) {
        if self.phy.link() && !self.in_loopback() {
            self.receive_frame(frame, bus);
        }
    }

    fn can_receive(&self) -> bool {
        self.phy.link() && !self.in_loopback() && self.has_room(super::FRAME_MAX)
    }
}

#[cfg(test)]
mod tests;
