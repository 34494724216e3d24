//! The PIIX3's IDE controller: two channels with two devices each, and a bus master for both.
//!
//! | ports | IRQ | what |
//! |---|---|---|
//! | 0x1f0 to 0x1f7, 0x3f6 | 14 | first channel |
//! | 0x170 to 0x177, 0x376 | 15 | second channel |
//! | BAR 4, 16 ports | | bus masters, eight ports each |
//!
//! References: 82371SB (290550), "IDE"; ATA/ATAPI-6 (T13 1410D); SFF-8020i and MMC-3 for CD-ROM; SFF-8038i for the bus master.
//! A command is busy for a short, fixed virtual time. What a device moves at once (a sector, a packet's data, a whole DMA
//! transfer) it moves at the end of such a time.

mod ata;
mod atapi;
mod bus_master;
mod channel;
mod device;
mod identify;
mod max_address;
mod mmc;
mod power;
mod security;
mod smart;

use crate::config::MachineConfig;
use crate::media::{DriveKind, MediumShape, Slot};
use crate::memory::PhysMemory;
use crate::units::VmTime;
use channel::Channel;
use device::Device;
use serde::{Deserialize, Serialize};

pub use ata::Geometry;

/// Bytes of a disk's sector.
pub const SECTOR_BYTES: usize = 512;
/// IRQ of each channel.
pub const IRQS: [u8; 2] = [14, 15];
/// First port of each channel's command block.
const COMMAND_BLOCKS: [u16; 2] = [0x1f0, 0x170];
/// Device control and alternate status.
const CONTROLS: [u16; 2] = [0x3f6, 0x376];
/// Ports of one channel's bus master.
const MASTER_PORTS: u16 = 8;

/// What an access reaches, with the number of its channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The data register: two or four bytes at once.
    Data(usize),
    /// Another register of the command block.
    Register(usize, u8),
    /// Device control and alternate status.
    Control(usize),
    /// A register of the bus master.
    Master(usize, u8),
}

impl Place {
    /// What is at a port. `enabled` says which channels are decoded, `master` where the bus masters are.
    pub fn at(port: u16, enabled: [bool; 2], master: Option<u16>) -> Option<Place> {
        for (channel, on) in enabled.into_iter().enumerate() {
            let register = port.wrapping_sub(COMMAND_BLOCKS[channel]);
            match register {
                0 if on => return Some(Place::Data(channel)),
                1..=7 if on => return Some(Place::Register(channel, register as u8)),
                _ if on && port == CONTROLS[channel] => return Some(Place::Control(channel)),
                _ => {}
            }
        }
        let offset = port.checked_sub(master?).filter(|offset| *offset < 2 * MASTER_PORTS)?;
        Some(Place::Master(usize::from(offset / MASTER_PORTS), (offset % MASTER_PORTS) as u8))
    }
}

/// The controller with its devices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ide {
    channels: [Channel; 2],
}

impl Ide {
    /// The controller at power-on with the drives of `config`.
    pub fn new(config: &MachineConfig) -> Ide {
        let device = |slot: Slot| {
            let drive = config.drive(slot)?;
            let medium = config.medium_in(slot);
            match (drive.kind, medium) {
                (DriveKind::Disk, Some(medium)) => Some(Device::disk(medium, slot)),
                (DriveKind::Cd, medium) => Some(Device::cd(medium, slot)),
                _ => None,
            }
        };
        let [hda, hdb, hdc, hdd] = Slot::IDE.map(device);
        Ide { channels: [Channel::new([hda, hdb]), Channel::new([hdc, hdd])] }
    }

    /// The reset line.
    pub fn reset(&mut self) {
        self.channels.iter_mut().for_each(Channel::reset);
    }

    /// IN of `size` bytes.
    pub fn read(&mut self, place: Place, size: u8, now: VmTime) -> u32 {
        match place {
            Place::Data(channel) => self.channels[channel].read_data(size, now),
            Place::Register(channel, register) => self.channels[channel].read(register).into(),
            Place::Control(channel) => self.channels[channel].status().into(),
            Place::Master(channel, register) => self.channels[channel].master.read(register).into(),
        }
    }

    /// OUT of `size` bytes.
    pub fn write(&mut self, place: Place, size: u8, value: u32, now: VmTime) {
        match place {
            Place::Data(channel) => self.channels[channel].write_data(size, value, now),
            Place::Register(channel, register) => self.channels[channel].write(register, value as u8, now),
            Place::Control(channel) => self.channels[channel].write_control(value as u8, now),
            Place::Master(channel, register) => {
                self.channels[channel].write_master(register, value as u8, now)
            }
        }
    }

    /// Another medium is in the CD-ROM drive at `slot`, or none. Somebody who opens the drive by hand does not mind whether
    /// the guest has locked it.
    pub fn change_medium(&mut self, slot: Slot, medium: Option<MediumShape>) {
        let place = Slot::IDE.iter().position(|other| *other == slot);
        let device = place.and_then(|at| self.channels[at / 2].devices[at % 2].as_mut());
        match device {
            Some(device) => device.change_medium(medium),
            None => tracing::debug!(%slot, "there is no drive for this medium"),
        }
    }

    /// Whether each channel interrupts.
    pub fn irqs(&self) -> [bool; 2] {
        self.channels.each_ref().map(Channel::irq)
    }

    /// Does what happens up to and including `now`. `may_master` says whether the bus masters may use the bus.
    pub fn advance(&mut self, now: VmTime, may_master: bool, mem: &mut dyn PhysMemory) {
        while let Some(event) = self.next_event().filter(|event| *event <= now) {
            for channel in &mut self.channels {
                channel.advance(event, may_master, mem);
            }
        }
    }

    /// The bus masters may use the bus now: those that wait for it go on.
    pub fn may_master(&mut self, now: VmTime) {
        self.channels.iter_mut().for_each(|channel| channel.go_on(now));
    }

    /// When something next happens by itself.
    pub fn next_event(&self) -> Option<VmTime> {
        self.channels.iter().filter_map(Channel::next_event).min()
    }

    /// When memory may next change by itself.
    pub fn memory_event(&self) -> Option<VmTime> {
        self.channels.iter().filter_map(Channel::memory_event).min()
    }
}

#[cfg(test)]
mod tests;
