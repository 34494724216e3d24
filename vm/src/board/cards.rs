//! Cards in PCI slots: what the board does with all of them alike.
//!
//! A card decodes what its base addresses say, has one interrupt pin, and reads and writes memory while its command
//! register lets it. What it does by itself it does at events.

use super::Effects;
use super::lapic::{self, LocalApic};
use super::net::e1000::E1000;
use super::net::ne2k::Ne2k;
use super::pci::MSIX_ENABLE;
use super::pci::{Endpoint, Pci};
use super::sound::ac97::Ac97;
use super::virtio::{self, Virtio};
use crate::config::{CardConfig, MachineConfig};
use crate::input::{Frame, Output};
use crate::media::MediumShape;
use crate::memory::PhysMemory;
use crate::units::{PhysAddr, VmTime};
use serde::{Deserialize, Serialize};

/// What a card may use during an access or an event.
pub struct CardBus<'a> {
    /// Virtual time.
    pub now: VmTime,
    mem: &'a mut dyn PhysMemory,
    fx: &'a mut Effects,
    /// Whether the card may use the bus by itself.
    master: bool,
    /// Message control of MSI-X, if the card can have it.
    pub msix_control: u16,
    number: u8,
}

impl CardBus<'_> {
    /// Reads memory; all ones while the card is no bus master, and where there is none.
    pub fn read(&self, addr: u64, buf: &mut [u8]) {
        if self.master {
            self.mem.read(PhysAddr(addr), buf);
        } else {
            buf.fill(0xff);
        }
    }

    /// Writes memory; nothing happens while the card is no bus master, and where there is none.
    pub fn write(&mut self, addr: u64, bytes: &[u8]) {
        if self.master {
            self.mem.write(PhysAddr(addr), bytes);
        }
    }

    /// Reads the contents of a medium.
    pub fn read_medium(&self, number: usize, offset: u64, buf: &mut [u8]) {
        self.mem.read_medium(number, offset, buf);
    }

    /// Writes to a medium.
    pub fn write_medium(&mut self, number: usize, offset: u64, bytes: &[u8]) {
        self.mem.write_medium(number, offset, bytes);
    }

    /// Puts a frame on the wire.
    pub fn send(&mut self, frame: Vec<u8>) {
        self.fx.output.push(Output::Net { card: self.number, frame: Frame(frame) });
    }

    /// Sends bytes out of a serial port.
    pub fn send_serial(&mut self, port: u8, bytes: &[u8]) {
        self.fx.output.extend(bytes.iter().map(|byte| Output::Serial { port, byte: *byte }));
    }
}

/// What the board asks of every card. Registers are given by the number of the base address and the offset behind it.
pub trait CardChip {
    /// The reset line.
    fn reset(&mut self);
    /// A read of `size` bytes: 1, 2 or 4.
    fn read(&mut self, bar: u8, offset: u32, size: u8, bus: &mut CardBus) -> u32;
    /// A write of `size` bytes: 1, 2 or 4.
    fn write(&mut self, bar: u8, offset: u32, size: u8, value: u32, bus: &mut CardBus);
    /// Does what happens at `bus.now`; no event before it is left.
    fn advance(&mut self, bus: &mut CardBus);
    /// When something next happens by itself.
    fn next_event(&self) -> Option<VmTime>;
    /// When memory may next change, or is next read, by itself.
    fn memory_event(&self) -> Option<VmTime>;
    /// The interrupt pin.
    fn irq(&self) -> bool;
    /// The next message that it signals an interrupt with, address and data, with this message control of MSI-X.
    fn take_message(&mut self, _control: u16) -> Option<(u64, u32)> {
        None
    }
    /// A frame comes over the wire, if the card has one.
    fn receive(&mut self, _frame: &[u8], _bus: &mut CardBus) {}
    /// Whether a frame that comes now would be kept.
    fn can_receive(&self) -> bool {
        false
    }
    /// Bytes come to serial port `port`, which may be another card's.
    fn receive_serial(&mut self, _port: u8, _bytes: &[u8], _bus: &mut CardBus) {}
}

/// A card.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Card {
    /// RTL8029AS.
    Ne2k(Ne2k),
    /// 82540EM.
    E1000(Box<E1000>),
    /// 82801AA with its codec.
    Ac97(Ac97),
    /// A virtio card.
    Virtio(Box<Virtio>),
}

impl Card {
    fn new(card: &CardConfig, config: &MachineConfig) -> Card {
        let virtio = |chip| Card::Virtio(Box::new(chip));
        match card {
            CardConfig::Ne2kPci { mac } => Card::Ne2k(Ne2k::new(*mac)),
            CardConfig::E1000 { mac } => Card::E1000(Box::new(E1000::new(*mac))),
            CardConfig::Ac97 => Card::Ac97(Ac97::default()),
            CardConfig::VirtioNet { mac } => virtio(Virtio::net(*mac)),
            CardConfig::VirtioBlk { medium } => {
                let none = MediumShape { number: *medium, bytes: 0, read_only: true };
                virtio(Virtio::blk(config.medium(*medium).unwrap_or(none)))
            }
            CardConfig::VirtioRng { seed } => virtio(Virtio::rng(*seed)),
            CardConfig::VirtioConsole { port } => virtio(Virtio::console(*port)),
        }
    }

    fn chip(&self) -> &dyn CardChip {
        match self {
            Card::Ne2k(chip) => chip,
            Card::E1000(chip) => &**chip,
            Card::Ac97(chip) => chip,
            Card::Virtio(chip) => &**chip,
        }
    }

    fn chip_mut(&mut self) -> &mut dyn CardChip {
        match self {
            Card::Ne2k(chip) => chip,
            Card::E1000(chip) => &mut **chip,
            Card::Ac97(chip) => chip,
            Card::Virtio(chip) => &mut **chip,
        }
    }

    fn endpoint(&self) -> Endpoint {
        match self {
            Card::Ne2k(_) => Ne2k::endpoint(),
            Card::E1000(_) => E1000::endpoint(),
            Card::Ac97(_) => Ac97::endpoint(),
            Card::Virtio(chip) => chip.endpoint(),
        }
    }
}

/// Where an access to a card goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CardPlace {
    number: usize,
    bar: u8,
    offset: u32,
}

/// All cards.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cards(Vec<Card>);

impl Cards {
    /// The cards of `config` at power-on.
    pub fn new(config: &MachineConfig) -> Cards {
        Cards(config.cards.iter().map(|card| Card::new(card, config)).collect())
    }

    /// The reset line.
    pub fn reset(&mut self) {
        self.0.iter_mut().for_each(|card| card.chip_mut().reset());
    }

    /// Their configuration spaces at power-on.
    pub fn endpoints(&self) -> Vec<Endpoint> {
        self.0.iter().map(Card::endpoint).collect()
    }

    /// What a port reaches.
    pub fn at_port(&self, port: u16, pci: &Pci) -> Option<CardPlace> {
        self.find(|number| pci.card(number)?.port_range(port))
    }

    /// What an address reaches that is not RAM or ROM.
    pub fn at_address(&self, addr: PhysAddr, pci: &Pci) -> Option<CardPlace> {
        self.find(|number| pci.card(number)?.memory_range(addr))
    }

    /// What an access to CONFIG_DATA reaches of a card's registers through its window, and of how many bytes it is.
    pub fn at_window(&self, port: u16, pci: &Pci) -> Option<(CardPlace, u8)> {
        let (number, register) = pci.selected_card(port)?;
        let (bar, offset, length) = virtio::registers::window(pci.card(number)?, register)?;
        Some((CardPlace { number, bar, offset }, length))
    }

    fn find(&self, range: impl Fn(usize) -> Option<(u8, u32)>) -> Option<CardPlace> {
        (0..self.0.len()).find_map(|number| {
            let (bar, offset) = range(number)?;
            Some(CardPlace { number, bar, offset })
        })
    }

    /// Lets a card do something.
    fn on<R>(
        &mut self,
        number: usize,
        pci: &Pci,
        bus: &mut super::Bus,
        act: impl FnOnce(&mut dyn CardChip, &mut CardBus) -> R,
    ) -> Option<R> {
        let card = self.0.get_mut(number)?;
        let master = pci.card(number).is_some_and(Endpoint::is_master);
        let msix_control = pci.card(number).map_or(0, Endpoint::msix_control);
        let number = number as u8;
        let mut bus = CardBus { now: bus.now, mem: bus.mem, fx: bus.fx, master, msix_control, number };
        Some(act(card.chip_mut(), &mut bus))
    }

    /// A read of 1, 2, 4 or 8 bytes.
    pub fn read(&mut self, place: CardPlace, size: u8, pci: &Pci, bus: &mut super::Bus) -> u64 {
        let CardPlace { number, bar, offset } = place;
        let value = self.on(number, pci, bus, |chip, bus| match size {
            // A wide access is two on a bus of 32 bits.
            8 => {
                let low = u64::from(chip.read(bar, offset, 4, bus));
                low | u64::from(chip.read(bar, offset.wrapping_add(4), 4, bus)) << 32
            }
            _ => chip.read(bar, offset, size, bus).into(),
        });
        value.unwrap_or(u64::MAX)
    }

    /// A write of 1, 2, 4 or 8 bytes.
    pub fn write(&mut self, place: CardPlace, size: u8, value: u64, pci: &Pci, bus: &mut super::Bus) {
        let CardPlace { number, bar, offset } = place;
        self.on(number, pci, bus, |chip, bus| {
            chip.write(bar, offset, size.min(4), value as u32, bus);
            if size == 8 {
                chip.write(bar, offset.wrapping_add(4), 4, (value >> 32) as u32, bus);
            }
        });
    }

    /// A frame arrives for a card.
    pub fn receive(&mut self, number: usize, frame: &[u8], pci: &Pci, bus: &mut super::Bus) {
        self.on(number, pci, bus, |chip, bus| chip.receive(frame, bus));
    }

    /// Whether a frame that comes now would be kept.
    pub fn can_receive(&self, number: usize) -> bool {
        self.0.get(number).is_some_and(|card| card.chip().can_receive())
    }

    /// Bytes arrive for the card that has serial port `port`.
    pub fn receive_serial(&mut self, port: u8, bytes: &[u8], pci: &Pci, bus: &mut super::Bus) {
        for number in 0..self.0.len() {
            self.on(number, pci, bus, |chip, bus| chip.receive_serial(port, bytes, bus));
        }
    }

    /// Does what happens at `time`, which no event precedes.
    pub fn advance(&mut self, time: VmTime, pci: &Pci, bus: &mut super::Bus) {
        for number in 0..self.0.len() {
            self.on(number, pci, bus, |chip, bus| {
                bus.now = time;
                chip.advance(bus);
            });
        }
    }

    /// When something next happens by itself.
    pub fn next_event(&self) -> Option<VmTime> {
        self.0.iter().filter_map(|card| card.chip().next_event()).min()
    }

    /// When memory may next change by itself.
    pub fn memory_event(&self) -> Option<VmTime> {
        self.0.iter().filter_map(|card| card.chip().memory_event()).min()
    }

    /// Brings the interrupt pins to the bus, and messages to where they go.
    pub fn copy_lines(&mut self, pci: &mut Pci, lapic: &mut LocalApic) {
        for (number, card) in self.0.iter_mut().enumerate() {
            let control = pci.card(number).map_or(0, Endpoint::msix_control);
            // A card that signals by messages leaves its pin alone (PCI 3.0, 6.8.3.3).
            pci.set_card_interrupt(number, card.chip().irq() && control & MSIX_ENABLE == 0);
            if matches!(card, Card::Virtio(_)) && pci.card(number).is_some_and(Endpoint::is_master) {
                while let Some((addr, data)) = card.chip_mut().take_message(control) {
                    if lapic::MESSAGES.contains(&addr) {
                        lapic.signalled(addr, data);
                    } else {
                        tracing::debug!(addr, data, "a message that is for no processor");
                    }
                }
            }
        }
    }
}

#[cfg(test)]
pub mod test_bus;
