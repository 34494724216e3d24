//! Layout of the registers in both interfaces, and of the capabilities that say where they are.
//!
//! Reference: Virtio 1.1, 4.1.4 "Virtio Structure PCI Capabilities" and 4.1.4.8 "Legacy Interfaces".

use crate::board::pci::{Bar, Endpoint, Identity};

/// Ranges.
pub const LEGACY_BAR: u8 = 0;
/// MSI-X table.
pub const MSIX_BAR: u8 = 1;
/// Registers of version 1.
pub const MODERN_BAR: u8 = 4;

const LEGACY_PORTS: u16 = 64;
const MSIX_RANGE: u32 = 4096;
const MODERN_RANGE: u32 = 16384;

/// Parts of the range of version 1.
pub const COMMON: u32 = 0x0000;
/// Interrupt status.
pub const ISR: u32 = 0x1000;
/// What the device is configured with.
pub const DEVICE: u32 = 0x2000;
/// A queue has something new.
pub const NOTIFY: u32 = 0x3000;
/// Bytes of each part.
pub const PART: u32 = 0x1000;
/// Bytes between the places of two queues there.
pub const NOTIFY_STEP: u32 = 4;

/// The capability of MSI-X.
pub const MSIX_CAPABILITY: u8 = 0x98;

/// The capability with a window to the registers.
pub const WINDOW_CAPABILITY: u8 = 0x84;

/// Registers of the common configuration.
pub mod common {
    #![allow(missing_docs)]
    pub const DEVICE_FEATURE_SELECT: u32 = 0x00;
    pub const DEVICE_FEATURE: u32 = 0x04;
    pub const DRIVER_FEATURE_SELECT: u32 = 0x08;
    pub const DRIVER_FEATURE: u32 = 0x0c;
    pub const MSIX_CONFIG: u32 = 0x10;
    pub const NUM_QUEUES: u32 = 0x12;
    pub const DEVICE_STATUS: u32 = 0x14;
    pub const CONFIG_GENERATION: u32 = 0x15;
    pub const QUEUE_SELECT: u32 = 0x16;
    pub const QUEUE_SIZE: u32 = 0x18;
    pub const QUEUE_VECTOR: u32 = 0x1a;
    pub const QUEUE_ENABLE: u32 = 0x1c;
    pub const QUEUE_NOTIFY_OFF: u32 = 0x1e;
    pub const QUEUE_DESC: u32 = 0x20;
    pub const QUEUE_DRIVER: u32 = 0x28;
    pub const QUEUE_DEVICE: u32 = 0x30;
    pub const END: u32 = 0x38;
}

/// Registers of the legacy interface.
pub mod legacy {
    #![allow(missing_docs)]
    pub const DEVICE_FEATURES: u32 = 0x00;
    pub const DRIVER_FEATURES: u32 = 0x04;
    pub const QUEUE_ADDRESS: u32 = 0x08;
    pub const QUEUE_SIZE: u32 = 0x0c;
    pub const QUEUE_SELECT: u32 = 0x0e;
    pub const QUEUE_NOTIFY: u32 = 0x10;
    pub const DEVICE_STATUS: u32 = 0x12;
    pub const ISR: u32 = 0x13;
    /// Only while MSI-X is on; then the device's configuration follows behind it.
    pub const CONFIG_VECTOR: u32 = 0x14;
    pub const QUEUE_VECTOR: u32 = 0x16;
    pub const MSIX_END: u32 = 0x18;
}

/// A device's configuration space: a transitional one, as QEMU has it.
pub fn endpoint(device: u16, class: u32, subsystem: u8, vectors: u16) -> Endpoint {
    const CAPABILITIES: u16 = 1 << 4;
    let identity = Identity {
        vendor: 0x1af4,
        device,
        revision: 0,
        class,
        command: 0,
        status: CAPABILITIES,
        header_type: 0,
    };
    let endpoint = Endpoint::new(&identity)
        .bar(LEGACY_BAR, Bar::Io(LEGACY_PORTS))
        .bar(MSIX_BAR, Bar::Memory(MSIX_RANGE))
        .bar(MODERN_BAR, Bar::Prefetchable(MODERN_RANGE))
        .pin(1)
        .register(0x2e, subsystem, 0)
        .register(0x2f, 0, 0)
        .register(0x34, MSIX_CAPABILITY, 0);
    let msix_control = vectors - 1;
    let msix = [
        0x11,
        0x74,
        msix_control as u8,
        (msix_control >> 8) as u8, // next: 0x74
        MSIX_BAR,
        0,
        0,
        0,
        MSIX_BAR,
        (super::msix::PENDING >> 8) as u8,
        0,
        0,
    ];
    let endpoint = bytes(endpoint, MSIX_CAPABILITY, &msix).register(
        MSIX_CAPABILITY + 3,
        (msix_control >> 8) as u8,
        0xc0,
    );
    // Kinds: common configuration 1, notifications 2, interrupt status 3, device configuration 4, a window 5.
    let parts = [(0x74, WINDOW_CAPABILITY, 3, ISR), (0x64, 0x54, 4, DEVICE), (0x54, 0x40, 1, COMMON)];
    let endpoint = parts.into_iter().fold(endpoint, |endpoint, (at, next, kind, offset)| {
        bytes(endpoint, at, &capability(next, 16, kind, offset))
    });
    let notify = [&capability(0, 20, 2, NOTIFY)[..], &NOTIFY_STEP.to_le_bytes()].concat();
    let endpoint = bytes(endpoint, 0x40, &notify);
    // What the window shows can be written: range, offset, length. What is in it is not kept here.
    let window = [0x09, 0x64, 20, 5, 0, 0, 0, 0];
    let endpoint = bytes(endpoint, WINDOW_CAPABILITY, &window).register(WINDOW_CAPABILITY + 4, 0, 0xff);
    (8..16).fold(endpoint, |endpoint, at| endpoint.register(WINDOW_CAPABILITY + at, 0, 0xff))
}

/// What an access to byte `register` of the configuration space reaches through the window (4.1.4.7): range, offset, length.
pub fn window(endpoint: &Endpoint, register: u8) -> Option<(u8, u32, u8)> {
    let kind = [0, 3].map(|at| endpoint.get(WINDOW_CAPABILITY + at));
    if kind != [0x09, 5] || register != WINDOW_CAPABILITY + 16 {
        return None;
    }
    let word = |at: u8| u32::from_le_bytes([0, 1, 2, 3].map(|i| endpoint.get(WINDOW_CAPABILITY + at + i)));
    let (bar, offset, length) = (endpoint.get(WINDOW_CAPABILITY + 4), word(8), word(12));
    let good = matches!(bar, LEGACY_BAR | MSIX_BAR | MODERN_BAR)
        && matches!(length, 1 | 2 | 4)
        && offset < MODERN_RANGE
        && offset.is_multiple_of(length);
    good.then_some((bar, offset, length as u8))
}

/// A capability of the vendor's: where a part of the registers is.
fn capability(next: u8, len: u8, kind: u8, offset: u32) -> Vec<u8> {
    let head = [0x09, next, len, kind, MODERN_BAR, 0, 0, 0];
    [&head[..], &offset.to_le_bytes(), &PART.to_le_bytes()].concat()
}

fn bytes(endpoint: Endpoint, at: u8, bytes: &[u8]) -> Endpoint {
    (at..).zip(bytes).fold(endpoint, |endpoint, (at, byte)| endpoint.register(at, *byte, 0))
}
