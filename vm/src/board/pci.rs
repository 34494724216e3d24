//! PCI bus 0 behind configuration mechanism #1, its bridges, and the configuration space of its devices.
//!
//! | device.function | chip                                              |
//! |-----------------|---------------------------------------------------|
//! | 0.0             | 82441FX host bridge (i440FX): `i440fx`            |
//! | 1.0             | 82371SB ISA bridge (PIIX3): `piix3`               |
//! | 1.1             | 82371SB IDE controller (PIIX3)                    |
//! | 1.3             | 82371AB power management (PIIX4): `piix4_pm`      |
//! | 2.0             | display adapter, if there is one                  |
//! | 3.0 and on      | cards                                             |
//!
//! What a device does is in a chip of its own on the board; here is where it is found.
//!
//! Reference: PCI Local Bus Specification 2.1, 3.7.4.1 "Configuration Mechanism #1".

mod config_space;
mod endpoint;
mod i440fx;
mod piix3;
mod piix4_pm;

use crate::board::cards::Cards;
use crate::config::{EXPANSION_ROM_BYTES, MachineConfig, VIDEO_BYTES, Vga};
use crate::units::PhysAddr;
use config_space::ConfigSpace;
pub(in crate::board) use config_space::Identity;
pub(in crate::board) use endpoint::Bar;
pub use endpoint::{Endpoint, MSIX_ENABLE};
use i440fx::I440fx;
use piix3::Piix3;
use piix4_pm::Piix4Pm;
use serde::{Deserialize, Serialize};

/// CONFIG_ADDRESS: takes accesses of four bytes only; smaller ones belong to whatever else is at those ports.
pub const CONFIG_ADDRESS: u16 = 0xcf8;
/// First of the four ports of CONFIG_DATA.
pub const CONFIG_DATA: u16 = 0xcfc;
/// Where the PM I/O block is on a machine without firmware; SeaBIOS puts it there too.
pub const PM_BASE_WITHOUT_FIRMWARE: u16 = 0x600;

const CONFIG_DATA_LAST: u16 = CONFIG_DATA + 3;

const ENABLE: u32 = 1 << 31;
/// Bits of CONFIG_ADDRESS that exist.
const ADDRESS_BITS: u32 = 0x80ff_fffc;

/// The bus.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pci {
    address: u32,
    host: I440fx,
    isa: Piix3,
    pm: Piix4Pm,
    ide: Endpoint,
    vga: Option<Endpoint>,
    cards: Vec<Endpoint>,
    without_firmware: bool,
}

/// Bytes of the display adapter's block of registers.
pub const VIDEO_BLOCK_BYTES: u64 = 4096;

/// The slots of the devices behind the bridges.
const IDE: (u8, u8) = (1, 1);
const VGA: (u8, u8) = (2, 0);
/// The slot of the first card.
pub const FIRST_CARD: u8 = 3;
/// Where a machine without firmware has its devices' ports and memory, as firmware would put them.
const FIRST_PORT: u16 = 0xc000;
const FIRST_MEMORY: u32 = 0xfd00_0000;
/// The IRQs that firmware routes PIRQA# to PIRQD# to.
pub const FIRMWARE_ROUTES: [u8; 4] = [10, 10, 11, 11];

fn ide() -> Endpoint {
    let identity = Identity {
        vendor: 0x8086,
        device: 0x7010,
        revision: 0,
        class: 0x01_01_80, // a bus master, both channels at the ports of old
        command: 0,
        status: 0x0280,
        header_type: 0,
    };
    // IDETIM: decode enable and timing of both channels (82371SB, 2.3.9). They decode from the start, as firmware made for
    // emulators does not turn them on.
    [0x40, 0x41, 0x42, 0x43]
        .into_iter()
        .fold(Endpoint::new(&identity).bar(4, Bar::Io(16)), |e, at| e.register(at, (at & 1) << 7, 0xff))
}

fn vga() -> Endpoint {
    let identity = Identity {
        vendor: 0x1234,
        device: 0x1111,
        revision: 2,
        class: 0x03_00_00,
        command: 0,
        status: 0,
        header_type: 0,
    };
    Endpoint::new(&identity)
        .bar(0, Bar::Prefetchable(VIDEO_BYTES as u32))
        .bar(2, Bar::Memory(VIDEO_BLOCK_BYTES as u32))
        .bar(6, Bar::Rom(EXPANSION_ROM_BYTES as u32))
}

impl Pci {
    /// The bus and its chips at power-on. Without firmware it is as firmware would hand it on.
    pub fn new(config: &MachineConfig) -> Pci {
        let cards = Cards::new(config).endpoints();
        Pci::after_reset(config.vga == Vga::Std, cards, !config.has_firmware())
    }

    fn after_reset(has_vga: bool, cards: Vec<Endpoint>, without_firmware: bool) -> Pci {
        let mut pci = Pci {
            address: 0,
            host: I440fx::new(),
            isa: Piix3::new(),
            pm: Piix4Pm::new(),
            ide: ide(),
            vga: has_vga.then(vga),
            cards,
            without_firmware,
        };
        if without_firmware {
            pci.set_up_like_firmware();
        }
        pci
    }

    /// For kernels that are loaded without firmware: shadow RAM readable and write protected, the PM I/O block at
    /// [`PM_BASE_WITHOUT_FIRMWARE`], its interrupt on IRQ 9, PCI interrupts routed, devices decoding.
    fn set_up_like_firmware(&mut self) {
        self.host.protect_shadow_ram();
        self.pm.enable(PM_BASE_WITHOUT_FIRMWARE);
        for (line, irq) in (0..).zip(FIRMWARE_ROUTES) {
            self.isa.set_pirq_route(line, irq);
        }
        let (mut port, mut memory) = (FIRST_PORT, FIRST_MEMORY);
        for ((device, _), endpoint) in self.endpoints_mut() {
            let pin = endpoint.config().get(0x3d).checked_sub(1);
            let irq = pin.map(|pin| FIRMWARE_ROUTES[usize::from(pirq(device, pin))]);
            endpoint.assign(&mut port, &mut memory, irq);
        }
    }

    /// The reset line: everything as it was at power-on, with the cards in these configurations.
    pub fn reset(&mut self, cards: Vec<Endpoint>) {
        *self = Pci::after_reset(self.vga.is_some(), cards, self.without_firmware);
    }

    /// The devices behind the bridges, with their places.
    fn endpoints_mut(&mut self) -> impl Iterator<Item = ((u8, u8), &mut Endpoint)> {
        let cards = (FIRST_CARD..).zip(&mut self.cards).map(|(device, card)| ((device, 0), card));
        let vga = self.vga.iter_mut().map(|vga| (VGA, vga));
        std::iter::once((IDE, &mut self.ide)).chain(vga).chain(cards)
    }

    fn endpoints(&self) -> impl Iterator<Item = ((u8, u8), &Endpoint)> {
        let cards = (FIRST_CARD..).zip(&self.cards).map(|(device, card)| ((device, 0), card));
        let vga = self.vga.iter().map(|vga| (VGA, vga));
        std::iter::once((IDE, &self.ide)).chain(vga).chain(cards)
    }

    /// The IDE controller's configuration.
    pub fn ide(&self) -> &Endpoint {
        &self.ide
    }

    /// The display adapter's configuration, if there is one.
    pub fn vga(&self) -> Option<&Endpoint> {
        self.vga.as_ref()
    }

    /// A card's configuration, by its number.
    pub fn card(&self, number: usize) -> Option<&Endpoint> {
        self.cards.get(number)
    }

    /// The level of a card's interrupt.
    pub fn set_card_interrupt(&mut self, number: usize, asserted: bool) {
        if let Some(card) = self.cards.get_mut(number) {
            card.set_interrupt(asserted);
        }
    }

    /// Which IRQs PCI devices assert, as a bit set.
    pub fn irqs(&self) -> u16 {
        let asserted = |(place, endpoint): ((u8, u8), &Endpoint)| {
            self.isa.pirq_route(pirq(place.0, endpoint.asserted_pin()?))
        };
        self.endpoints().filter_map(asserted).fold(0, |set, irq| set | 1 << irq)
    }

    /// Everything of which memory has a copy: what decides where accesses go, and what the ACPI tables say.
    fn memory_map(&self) -> impl PartialEq + use<> {
        let vga = self.vga();
        let base = |of: fn(&Endpoint) -> Option<u64>| vga.and_then(of);
        (self.host.memory_map(), base(|vga| vga.memory_base(0)), base(Endpoint::rom_base), self.pm_base())
    }

    /// IN of `size` bytes; what nobody answers reads as ones.
    pub fn read(&self, port: u16, size: u8) -> u32 {
        match (port, size) {
            (CONFIG_ADDRESS, 4) => self.address,
            (CONFIG_DATA..=CONFIG_DATA_LAST, _) => {
                let space = self.selected();
                let byte = |i| self.register(port, i).and_then(|at| Some(space?.get(at))).unwrap_or(0xff);
                u32::from_le_bytes([0, 1, 2, 3].map(|i| if i < size { byte(i) } else { 0 }))
            }
            _ => u32::MAX,
        }
    }

    /// OUT of `size` bytes. Returns whether the memory map changed.
    pub fn write(&mut self, port: u16, size: u8, value: u32) -> bool {
        match (port, size) {
            (CONFIG_ADDRESS, 4) => {
                self.address = value & ADDRESS_BITS;
                false
            }
            (CONFIG_DATA..=CONFIG_DATA_LAST, _) => {
                let before = self.memory_map();
                for (i, byte) in (0..size).zip(value.to_le_bytes()) {
                    if let Some(at) = self.register(port, i) {
                        self.write_byte(at, byte);
                    }
                }
                before != self.memory_map()
            }
            _ => false,
        }
    }

    /// Whether reads and writes of the block at `addr` (0xc0000..0x100000) go to RAM instead of to ROM or PCI.
    pub fn pam(&self, addr: PhysAddr) -> (bool, bool) {
        self.host.pam(addr)
    }

    /// Whether SMRAM is open: the CPU sees RAM instead of the frame buffer at 0xa0000..0xc0000.
    pub fn smram_open(&self) -> bool {
        self.host.smram_open()
    }

    /// First port of the PM I/O block.
    pub fn pm_base(&self) -> u16 {
        self.pm.pm_base()
    }

    /// Whether it is there.
    pub fn pm_enabled(&self) -> bool {
        self.pm.is_enabled()
    }

    /// The IRQ that line PIRQA# to PIRQD# (0 to 3) is routed to.
    pub fn pirq_route(&self, line: u8) -> Option<u8> {
        self.isa.pirq_route(line)
    }

    /// Register that byte `i` of an access to CONFIG_DATA touches. Bytes past the dword reach nothing.
    fn register(&self, port: u16, i: u8) -> Option<u8> {
        let lane = (port - CONFIG_DATA) as u8 + i;
        (self.address & ENABLE != 0 && lane < 4).then_some(self.address as u8 | lane)
    }

    /// Bus, device and function as CONFIG_ADDRESS has them.
    fn target(&self) -> (u8, u8, u8) {
        ((self.address >> 16) as u8, (self.address >> 11) as u8 & 0x1f, (self.address >> 8) as u8 & 7)
    }

    /// The card, and its register, that an access to CONFIG_DATA reaches.
    pub fn selected_card(&self, port: u16) -> Option<(usize, u8)> {
        let register = self.register(port, 0)?;
        match self.target() {
            (0, device, 0) => Some((usize::from(device.checked_sub(FIRST_CARD)?), register)),
            _ => None,
        }
    }

    fn selected(&self) -> Option<&ConfigSpace> {
        match self.target() {
            (0, 0, 0) => Some(self.host.config()),
            (0, 1, 0) => Some(self.isa.config()),
            (0, 1, 3) => Some(self.pm.config()),
            (0, device, function) => {
                self.endpoints().find(|(at, _)| *at == (device, function)).map(|(_, e)| e.config())
            }
            _ => None,
        }
    }

    fn write_byte(&mut self, at: u8, byte: u8) {
        match self.target() {
            (0, 0, 0) => self.host.write(at, byte),
            (0, 1, 0) => self.isa.write(at, byte),
            (0, 1, 3) => self.pm.write(at, byte),
            (0, device, function) => {
                if let Some((_, endpoint)) =
                    self.endpoints_mut().find(|(place, _)| *place == (device, function))
                {
                    endpoint.write(at, byte);
                }
            }
            _ => {}
        }
    }
}

/// The line that a pin (0 for INTA#) of a device is wired to: the board rotates them by slot.
fn pirq(device: u8, pin: u8) -> u8 {
    device.wrapping_sub(1).wrapping_add(pin) & 3
}

#[cfg(test)]
mod tests;
