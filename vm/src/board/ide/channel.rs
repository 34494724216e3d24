//! A channel: what the devices on one cable share.
//!
//! Writes to the command block reach both devices, reads come from the selected one. Device 0 answers for a device 1 that
//! is not there, with a status of 0 (ATA/ATAPI-6, 9.16).

use super::bus_master::BusMaster;
use super::device::Device;
use crate::memory::PhysMemory;
use crate::units::VmTime;
use serde::{Deserialize, Serialize};

const ERROR: u8 = 1;
const DEVICE: u8 = 6;
const STATUS: u8 = 7;
const COMMAND: u8 = 7;
const DEVICE_1: u8 = 0x10;

const CONTROL_NO_INTERRUPT: u8 = 0x02;
const CONTROL_RESET: u8 = 0x04;
/// Reads give what was written before the last write.
const CONTROL_HIGH_ORDER: u8 = 0x80;

const EXECUTE_DEVICE_DIAGNOSTIC: u8 = 0x90;

/// A channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Channel {
    pub(super) devices: [Option<Device>; 2],
    pub(super) master: BusMaster,
    selected: usize,
    control: u8,
}

impl Channel {
    pub(super) fn new(devices: [Option<Device>; 2]) -> Channel {
        Channel { devices, master: BusMaster::default(), selected: 0, control: 0 }
    }

    /// The reset line.
    pub(super) fn reset(&mut self) {
        self.devices.iter_mut().flatten().for_each(Device::reset);
        *self = Channel::new(std::mem::take(&mut self.devices));
    }

    fn device(&mut self) -> Option<&mut Device> {
        self.devices[self.selected].as_mut()
    }

    /// Status of the selected device, without any effect.
    pub(super) fn status(&self) -> u8 {
        self.devices[self.selected].as_ref().map_or(0, Device::status)
    }

    /// IN of a byte from the command block.
    pub(super) fn read(&mut self, register: u8) -> u8 {
        if register == STATUS {
            let status = self.status();
            if let Some(device) = self.device() {
                device.acknowledge();
            }
            return status;
        }
        let selected = self.selected;
        let high = self.control & CONTROL_HIGH_ORDER != 0;
        let value = |device: &Device| {
            if register == ERROR { device.error() } else { device.register(register, high) }
        };
        match (&self.devices[selected], &self.devices[0]) {
            (Some(device), _) => value(device),
            (None, Some(first)) => value(first),
            (None, None) => 0,
        }
    }

    /// OUT of a byte to the command block.
    pub(super) fn write(&mut self, register: u8, value: u8, now: VmTime) {
        // Any write to it ends the view of the old values.
        self.control &= !CONTROL_HIGH_ORDER;
        if register == COMMAND {
            return self.command(value, now);
        }
        if register == DEVICE {
            self.selected = usize::from(value & DEVICE_1 != 0);
        }
        for device in self.devices.iter_mut().flatten() {
            device.write_register(register, value);
        }
    }

    fn command(&mut self, command: u8, now: VmTime) {
        if command == EXECUTE_DEVICE_DIAGNOSTIC {
            self.selected = 0;
            for (number, device) in (0..).zip(&mut self.devices) {
                if let Some(device) = device {
                    device.start_diagnostic(number == 0, now);
                }
            }
            return;
        }
        let started = self.master.is_started();
        if let Some(device) = self.device() {
            device.command(command, now);
            if started {
                device.start_dma(now);
            }
        }
    }

    /// OUT to device control.
    pub(super) fn write_control(&mut self, value: u8, now: VmTime) {
        let (before, after) = (self.control & CONTROL_RESET != 0, value & CONTROL_RESET != 0);
        self.control = value & (CONTROL_NO_INTERRUPT | CONTROL_RESET | CONTROL_HIGH_ORDER);
        for device in self.devices.iter_mut().flatten() {
            match (before, after) {
                (false, true) => device.hold_in_reset(),
                (true, false) => device.leave_reset(now),
                _ => {}
            }
        }
        if after {
            self.selected = 0;
        }
    }

    /// OUT to the bus master.
    pub(super) fn write_master(&mut self, register: u8, value: u8, now: VmTime) {
        self.master.write(register, value);
        self.go_on(now);
    }

    /// A bus master that is started serves a device that waits for it.
    pub(super) fn go_on(&mut self, now: VmTime) {
        if self.master.is_started()
            && let Some(device) = self.device()
        {
            device.start_dma(now);
        }
    }

    /// IN from the data register.
    pub(super) fn read_data(&mut self, size: u8, now: VmTime) -> u32 {
        let words = if size == 4 { 2 } else { 1 };
        let Some(device) = self.device() else { return 0 };
        (0..words).fold(0, |value, i| value | u32::from(device.read_word(now)) << (16 * i))
    }

    /// OUT to the data register.
    pub(super) fn write_data(&mut self, size: u8, value: u32, now: VmTime) {
        let words = if size == 4 { 2 } else { 1 };
        if let Some(device) = self.device() {
            (0..words).for_each(|i| device.write_word((value >> (16 * i)) as u16, now));
        }
    }

    /// The interrupt line: the selected device drives it.
    pub(super) fn irq(&self) -> bool {
        let asks = self.devices[self.selected].as_ref().is_some_and(Device::interrupts);
        asks && self.control & CONTROL_NO_INTERRUPT == 0
    }

    pub(super) fn advance(&mut self, now: VmTime, may_master: bool, mem: &mut dyn PhysMemory) {
        let master = &mut self.master;
        for device in self.devices.iter_mut().flatten() {
            let before = device.interrupts();
            device.advance(now, may_master.then_some(&mut *master), mem);
            if device.interrupts() && !before {
                master.note_interrupt();
            }
        }
    }

    pub(super) fn next_event(&self) -> Option<VmTime> {
        self.devices.iter().flatten().filter_map(Device::next_event).min()
    }

    pub(super) fn memory_event(&self) -> Option<VmTime> {
        self.devices.iter().flatten().filter_map(Device::memory_event).min()
    }
}
