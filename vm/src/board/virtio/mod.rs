//! Virtio cards: QEMU's transitional ones, which drivers of old (0.9.5) and of version 1 both know.
//!
//! | range | what |
//! |---|---|
//! | BAR 0, 64 ports | the legacy interface: 20 registers (24 while MSI-X is on), then the device's configuration |
//! | BAR 1, 4 KiB | MSI-X: messages and pending bits |
//! | BAR 4, 16 KiB | version 1: common configuration, interrupt status, device configuration, notifications; 4 KiB each |
//!
//! Reference: Virtio 1.1 (OASIS). What a driver offers is served at events, a piece at a time, so that no request holds the machine
//! up. A driver's mistake (a ring that cannot be) sets DEVICE_NEEDS_RESET, and the device stops. Left out: indirect descriptors,
//! event indices and packed rings, none of which is offered.

mod blk;
mod console;
mod msix;
mod net;
mod queue;
pub mod registers;
mod rng;

use crate::board::cards::{CardBus, CardChip};
use crate::board::pci::Endpoint;
use crate::config::Mac;
use crate::media::MediumShape;
use crate::units::VmTime;
use blk::Blk;
use console::Console;
use msix::{CONTROL_ENABLE, Msix};
use net::Net;
use queue::{Broken, Queue};
use registers::{
    COMMON, DEVICE, ISR, LEGACY_BAR, MODERN_BAR, MSIX_BAR, NOTIFY, NOTIFY_STEP, PART, common, legacy,
};
use rng::Rng;
use serde::{Deserialize, Serialize};

/// Bits of the device status.
const STATUS_DRIVER_OK: u8 = 4;
const STATUS_FEATURES_OK: u8 = 8;
const STATUS_NEEDS_RESET: u8 = 64;

/// Bits of the interrupt status.
const ISR_QUEUE: u8 = 1;
const ISR_CONFIG: u8 = 2;

/// The driver may divide its memory as it likes.
const ANY_LAYOUT: u64 = 1 << 27;
/// The device knows version 1.
const VERSION_1: u64 = 1 << 32;

/// From a notification to what comes of it.
const NOTIFY_NS: u64 = 5_000;

/// What a device has done at an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Step {
    /// A queue whose driver is to be interrupted.
    interrupt: Option<usize>,
    /// After how long there is more to do; `None` if there is nothing.
    more_in_ns: Option<u64>,
}

/// What kinds of devices have alike.
trait Device {
    /// Features beside those of all.
    fn features(&self) -> u64;
    /// Sizes of the queues.
    fn queues(&self) -> &'static [u16];
    /// The configuration that a driver can read.
    fn config(&self) -> Vec<u8>;
    /// The driver has reset it.
    fn reset(&mut self);
    /// Does a piece of work.
    fn step(&mut self, queues: &mut [Queue], features: u64, bus: &mut CardBus) -> Result<Step, Broken>;
    /// A frame arrives; whether it was kept.
    fn receive(&mut self, _frame: &[u8]) -> bool {
        false
    }
    /// Whether a frame would be kept.
    fn can_receive(&self) -> bool {
        false
    }
    /// Bytes come to a serial port; whether it is this one's.
    fn receive_serial(&mut self, _port: u8, _bytes: &[u8]) -> bool {
        false
    }
}

/// A kind of device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Kind {
    Blk(Blk),
    Net(Net),
    Rng(Rng),
    Console(Console),
}

impl Kind {
    fn device(&self) -> &dyn Device {
        match self {
            Kind::Blk(device) => device,
            Kind::Net(device) => device,
            Kind::Rng(device) => device,
            Kind::Console(device) => device,
        }
    }

    fn device_mut(&mut self) -> &mut dyn Device {
        match self {
            Kind::Blk(device) => device,
            Kind::Net(device) => device,
            Kind::Rng(device) => device,
            Kind::Console(device) => device,
        }
    }
}

/// A virtio card.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Virtio {
    kind: Kind,
    queues: Vec<Queue>,
    msix: Msix,
    config_vector: u16,
    status: u8,
    isr: u8,
    /// What the driver has accepted.
    features: u64,
    /// Which half of the features is read, and which written.
    selects: [u32; 2],
    queue_select: u16,
    /// When there is work to do.
    wake_at: Option<VmTime>,
}

impl Virtio {
    fn new(kind: Kind) -> Virtio {
        let mut chip = Virtio {
            kind,
            queues: Vec::new(),
            msix: Msix::new(0),
            config_vector: msix::NO_VECTOR,
            status: 0,
            isr: 0,
            features: 0,
            selects: [0; 2],
            queue_select: 0,
            wake_at: None,
        };
        chip.start_anew();
        chip.msix = Msix::new(chip.queues.len() + 1);
        chip
    }

    /// A disk with this medium.
    pub fn blk(medium: MediumShape) -> Virtio {
        Virtio::new(Kind::Blk(Blk::new(medium)))
    }

    /// A network card.
    pub fn net(mac: Mac) -> Virtio {
        Virtio::new(Kind::Net(Net::new(mac)))
    }

    /// A source of numbers that follow from a seed.
    pub fn rng(seed: u64) -> Virtio {
        Virtio::new(Kind::Rng(Rng::new(seed)))
    }

    /// A console with this number among the serial ports.
    pub fn console(port: u8) -> Virtio {
        Virtio::new(Kind::Console(Console::new(port)))
    }

    /// The configuration space of a card that is one of these.
    pub fn endpoint(&self) -> Endpoint {
        let (device, class, subsystem) = match self.kind {
            Kind::Net(_) => (0x1000, 0x02_00_00, 1),
            Kind::Blk(_) => (0x1001, 0x01_00_00, 2),
            Kind::Console(_) => (0x1003, 0x07_80_00, 3),
            Kind::Rng(_) => (0x1005, 0x00_ff_00, 4),
        };
        registers::endpoint(device, class, subsystem, self.msix.vectors())
    }

    /// What a driver's reset does; the messages stay.
    fn start_anew(&mut self) {
        self.kind.device_mut().reset();
        self.queues = self.kind.device().queues().iter().map(|size| Queue::new(*size)).collect();
        self.config_vector = msix::NO_VECTOR;
        (self.status, self.isr, self.features, self.selects, self.queue_select) = (0, 0, 0, [0; 2], 0);
        self.wake_at = None;
    }

    fn offered(&self) -> u64 {
        self.kind.device().features() | ANY_LAYOUT | VERSION_1
    }

    fn set_status(&mut self, value: u8) {
        if value == 0 {
            return self.start_anew();
        }
        let kept = self.status & STATUS_NEEDS_RESET;
        // What was not offered is not accepted (3.1.1).
        let refused = if self.features & !self.offered() != 0 { STATUS_FEATURES_OK } else { 0 };
        self.status = value & !refused | kept;
        if self.status & STATUS_DRIVER_OK != 0 && self.kind.device().can_receive() {
            tracing::debug!(status = self.status, "a virtio driver is ready");
        }
    }

    fn notify(&mut self, queue: u32, now: VmTime) {
        if (queue as usize) < self.queues.len() && self.status & STATUS_NEEDS_RESET == 0 {
            self.wake_at = self.wake_at.or(Some(now.plus_ns(NOTIFY_NS)));
        }
    }

    fn interrupt(&mut self, vector: u16, cause: u8, bus: &CardBus) {
        if bus.msix_control & CONTROL_ENABLE != 0 {
            self.msix.raise(vector);
        } else {
            self.isr |= cause;
        }
    }

    fn selected(&mut self) -> Option<&mut Queue> {
        self.queues.get_mut(usize::from(self.queue_select))
    }

    /// The common configuration as it reads.
    fn common_bytes(&self) -> [u8; common::END as usize] {
        let mut bytes = [0; common::END as usize];
        let half = |features: u64, select: u32| match select {
            0 => features as u32,
            1 => (features >> 32) as u32,
            _ => 0,
        };
        let mut set = |at: u32, value: &[u8]| bytes[at as usize..][..value.len()].copy_from_slice(value);
        let [device_select, driver_select] = self.selects;
        set(common::DEVICE_FEATURE_SELECT, &device_select.to_le_bytes());
        set(common::DEVICE_FEATURE, &half(self.offered(), device_select).to_le_bytes());
        set(common::DRIVER_FEATURE_SELECT, &driver_select.to_le_bytes());
        set(common::DRIVER_FEATURE, &half(self.features, driver_select).to_le_bytes());
        set(common::MSIX_CONFIG, &self.config_vector.to_le_bytes());
        set(common::NUM_QUEUES, &(self.queues.len() as u16).to_le_bytes());
        set(common::DEVICE_STATUS, &[self.status]);
        set(common::CONFIG_GENERATION, &[0]); // it never changes
        set(common::QUEUE_SELECT, &self.queue_select.to_le_bytes());
        if let Some(queue) = self.queues.get(usize::from(self.queue_select)) {
            set(common::QUEUE_SIZE, &queue.size.to_le_bytes());
            set(common::QUEUE_VECTOR, &queue.vector.to_le_bytes());
            set(common::QUEUE_ENABLE, &u16::from(queue.enabled).to_le_bytes());
            set(common::QUEUE_NOTIFY_OFF, &self.queue_select.to_le_bytes());
            set(common::QUEUE_DESC, &queue.descriptors.to_le_bytes());
            set(common::QUEUE_DRIVER, &queue.available.to_le_bytes());
            set(common::QUEUE_DEVICE, &queue.used.to_le_bytes());
        }
        bytes
    }

    fn write_common(&mut self, offset: u32, value: u32) {
        let vector = self.msix.checked(value as u16);
        match offset {
            common::DEVICE_FEATURE_SELECT => self.selects[0] = value,
            common::DRIVER_FEATURE_SELECT => self.selects[1] = value,
            common::DRIVER_FEATURE if self.status & STATUS_FEATURES_OK == 0 => match self.selects[1] {
                0 => self.features = self.features & !0xffff_ffff | u64::from(value),
                1 => self.features = self.features & 0xffff_ffff | u64::from(value) << 32,
                _ => {}
            },
            common::MSIX_CONFIG => self.config_vector = vector,
            common::DEVICE_STATUS => self.set_status(value as u8),
            common::QUEUE_SELECT => self.queue_select = value as u16,
            _ => self.write_queue(offset, value, vector),
        }
    }

    fn write_queue(&mut self, offset: u32, value: u32, vector: u16) {
        let largest = self.kind.device().queues().get(usize::from(self.queue_select)).copied();
        let (Some(largest), Some(queue)) = (largest, self.selected()) else { return };
        let half = |word: &mut u64, upper: bool| {
            *word = if upper {
                *word & 0xffff_ffff | u64::from(value) << 32
            } else {
                *word & !0xffff_ffff | u64::from(value)
            };
        };
        match offset {
            common::QUEUE_VECTOR => queue.vector = vector,
            common::QUEUE_ENABLE if value & 1 != 0 => queue.enabled = true,
            // What a queue lies in is settled once it is enabled (4.1.4.3.2).
            _ if queue.enabled => {}
            common::QUEUE_SIZE => {
                let size = value as u16;
                if size.is_power_of_two() && size <= largest {
                    queue.size = size;
                }
            }
            _ => {
                let upper = offset & 4 != 0;
                match offset & !4 {
                    common::QUEUE_DESC => half(&mut queue.descriptors, upper),
                    common::QUEUE_DRIVER => half(&mut queue.available, upper),
                    common::QUEUE_DEVICE => half(&mut queue.used, upper),
                    _ => tracing::debug!(offset, value, "write to a virtio register that cannot be written"),
                }
            }
        }
    }

    /// The legacy interface as it reads, the interrupt status left out.
    fn legacy_bytes(&self, msix: bool) -> Vec<u8> {
        let mut bytes = vec![0; legacy::MSIX_END as usize];
        let mut set = |at: u32, value: &[u8]| bytes[at as usize..][..value.len()].copy_from_slice(value);
        set(legacy::DEVICE_FEATURES, &(self.offered() as u32).to_le_bytes());
        set(legacy::DRIVER_FEATURES, &(self.features as u32).to_le_bytes());
        if let Some(queue) = self.queues.get(usize::from(self.queue_select)) {
            set(legacy::QUEUE_ADDRESS, &queue.legacy_page().to_le_bytes());
            set(legacy::QUEUE_SIZE, &queue.size.to_le_bytes());
            set(legacy::QUEUE_VECTOR, &queue.vector.to_le_bytes());
        }
        set(legacy::QUEUE_SELECT, &self.queue_select.to_le_bytes());
        set(legacy::DEVICE_STATUS, &[self.status]);
        set(legacy::CONFIG_VECTOR, &self.config_vector.to_le_bytes());
        if !msix {
            bytes.truncate(legacy::CONFIG_VECTOR as usize);
        }
        bytes.extend(self.kind.device().config());
        bytes
    }

    fn write_legacy(&mut self, offset: u32, value: u32, bus: &CardBus) {
        let vector = self.msix.checked(value as u16);
        let msix = bus.msix_control & CONTROL_ENABLE != 0;
        match offset {
            legacy::DRIVER_FEATURES => self.features = u64::from(value),
            legacy::QUEUE_ADDRESS => {
                if let Some(queue) = self.selected() {
                    queue.set_legacy_page(value);
                }
            }
            legacy::QUEUE_SELECT => self.queue_select = value as u16,
            legacy::QUEUE_NOTIFY => self.notify(value & 0xffff, bus.now),
            legacy::DEVICE_STATUS => self.set_status(value as u8),
            legacy::CONFIG_VECTOR if msix => self.config_vector = vector,
            legacy::QUEUE_VECTOR if msix => {
                if let Some(queue) = self.selected() {
                    queue.vector = vector;
                }
            }
            _ => tracing::debug!(offset, value, "write to a virtio register that cannot be written"),
        }
    }

    fn read_isr(&mut self) -> u8 {
        std::mem::take(&mut self.isr)
    }
}

/// `size` bytes of a block of registers; what is behind its end reads as zeros.
fn slice(bytes: &[u8], offset: u32, size: u8) -> u32 {
    let byte = |i: u32| u32::from(bytes.get((offset + i) as usize).copied().unwrap_or(0));
    (0..u32::from(size)).fold(0, |value, i| value | byte(i) << (8 * i))
}

impl CardChip for Virtio {
    fn reset(&mut self) {
        self.start_anew();
        self.msix = Msix::new(self.queues.len() + 1);
    }

    fn read(&mut self, bar: u8, offset: u32, size: u8, bus: &mut CardBus) -> u32 {
        match (bar, offset & !(PART - 1)) {
            (LEGACY_BAR, _) if offset == legacy::ISR => self.read_isr().into(),
            (LEGACY_BAR, _) => {
                slice(&self.legacy_bytes(bus.msix_control & CONTROL_ENABLE != 0), offset, size)
            }
            (MSIX_BAR, _) => self.msix.read(offset & !3) >> (8 * (offset & 3)),
            (MODERN_BAR, COMMON) => slice(&self.common_bytes(), offset, size),
            (MODERN_BAR, ISR) => self.read_isr().into(),
            (MODERN_BAR, DEVICE) => slice(&self.kind.device().config(), offset - DEVICE, size),
            _ => 0,
        }
    }

    fn write(&mut self, bar: u8, offset: u32, size: u8, value: u32, bus: &mut CardBus) {
        match (bar, offset & !(PART - 1)) {
            (LEGACY_BAR, _) => self.write_legacy(offset, value, bus),
            (MSIX_BAR, _) if size == 4 => self.msix.write(offset, value),
            (MODERN_BAR, COMMON) => self.write_common(offset, value),
            (MODERN_BAR, NOTIFY) => self.notify((offset - NOTIFY) / NOTIFY_STEP, bus.now),
            _ => tracing::debug!(bar, offset, value, "write to a virtio register that cannot be written"),
        }
    }

    fn advance(&mut self, bus: &mut CardBus) {
        if self.wake_at.is_none_or(|at| at > bus.now) {
            return;
        }
        self.wake_at = None;
        let features = self.features;
        let Virtio { kind, queues, .. } = self;
        match kind.device_mut().step(queues, features, bus) {
            Ok(step) => {
                self.wake_at = step.more_in_ns.map(|ns| bus.now.plus_ns(ns.max(1)));
                if let Some(queue) = step.interrupt {
                    self.interrupt(self.queues[queue].vector, ISR_QUEUE, bus);
                }
            }
            Err(Broken) => {
                tracing::debug!("a virtio driver has made a mistake: the device stops");
                self.status |= STATUS_NEEDS_RESET;
                self.interrupt(self.config_vector, ISR_CONFIG, bus);
            }
        }
    }

    fn next_event(&self) -> Option<VmTime> {
        self.wake_at
    }

    fn memory_event(&self) -> Option<VmTime> {
        self.wake_at
    }

    fn irq(&self) -> bool {
        self.isr != 0
    }

    fn take_message(&mut self, control: u16) -> Option<(u64, u32)> {
        self.msix.take(control)
    }

    fn receive(&mut self, frame: &[u8], bus: &mut CardBus) {
        if self.can_receive() && self.kind.device_mut().receive(frame) {
            self.notify(0, bus.now);
        }
    }

    fn receive_serial(&mut self, port: u8, bytes: &[u8], bus: &mut CardBus) {
        if self.kind.device_mut().receive_serial(port, bytes) {
            self.notify(0, bus.now);
        }
    }

    fn can_receive(&self) -> bool {
        self.status & (STATUS_DRIVER_OK | STATUS_NEEDS_RESET) == STATUS_DRIVER_OK
            && self.kind.device().can_receive()
    }
}

#[cfg(test)]
mod tests;
