//! Where the registers are and what their bits mean (8254x manual, chapter 13).

pub const CTRL: u32 = 0x0000;
pub const STATUS: u32 = 0x0008;
pub const EECD: u32 = 0x0010;
pub const EERD: u32 = 0x0014;
pub const MDIC: u32 = 0x0020;
pub const VET: u32 = 0x0038;
pub const ICR: u32 = 0x00c0;
pub const ITR: u32 = 0x00c4;
pub const ICS: u32 = 0x00c8;
pub const IMS: u32 = 0x00d0;
pub const IMC: u32 = 0x00d8;
pub const RCTL: u32 = 0x0100;
pub const TCTL: u32 = 0x0400;
pub const PBA: u32 = 0x1000;
/// The rings: base low and high, length, head and tail, as `registers::ring` has them.
pub const RDBAL: u32 = 0x2800;
pub const RDT: u32 = 0x2818;
pub const RDTR: u32 = 0x2820;
pub const RADV: u32 = 0x282c;
pub const RSRPD: u32 = 0x2c00;
pub const TDBAL: u32 = 0x3800;
pub const TDT: u32 = 0x3818;
pub const TIDV: u32 = 0x3820;
pub const TXDCTL: u32 = 0x3828;
pub const TADV: u32 = 0x382c;
/// Statistics: 64 registers that reading clears.
pub const STATISTICS: u32 = 0x4000;
pub const STATISTICS_LAST: u32 = 0x40fc;
pub const STATISTICS_COUNT: usize = 64;
pub const RXCSUM: u32 = 0x5000;
/// Multicast table array.
pub const MTA: u32 = 0x5200;
pub const MTA_LAST: u32 = 0x53fc;
/// Sixteen receive addresses, low and high.
pub const RAL: u32 = 0x5400;
pub const RAL_LAST: u32 = 0x547c;
/// VLAN filter table array.
pub const VFTA: u32 = 0x5600;
pub const VFTA_LAST: u32 = 0x57fc;

/// Registers that keep what is written and do nothing here: flow control, LEDs, inter-packet gap, wake-up, management,
/// prefetch thresholds, the diagnostic pointers of the packet buffer.
pub const KEPT: [u32; 39] = [
    0x0018, 0x001c, 0x0028, 0x002c, 0x0030, 0x0170, 0x0178, 0x0180, 0x0410, 0x0458, 0x0e00, 0x2160, 0x2168,
    0x2410, 0x2418, 0x2420, 0x2428, 0x2430, 0x2828, 0x3000, 0x3410, 0x3418, 0x3420, 0x3428, 0x3430, 0x3830,
    0x5800, 0x5808, 0x5810, 0x5820, 0x5828, 0x5838, 0x5840, 0x5848, 0x5850, 0x5858, 0x5900, 0x5908, 0x5b58,
];

pub mod ctrl {
    pub const FULL_DUPLEX: u32 = 1 << 0;
    pub const RESET: u32 = 1 << 26;
    /// Tags of VLANs are put in and taken out.
    pub const VLAN_MODE: u32 = 1 << 30;
    pub const PHY_RESET: u32 = 1 << 31;
}

pub mod status {
    pub const FULL_DUPLEX: u32 = 1 << 0;
    pub const LINK_UP: u32 = 1 << 1;
    pub const SPEED_1000: u32 = 2 << 6;
}

/// The causes that there are.
pub const CAUSES: u32 = 0x0001_f6df;

pub mod icr {
    pub const TX_WRITTEN_BACK: u32 = 1 << 0;
    pub const TX_QUEUE_EMPTY: u32 = 1 << 1;
    pub const LINK_CHANGE: u32 = 1 << 2;
    pub const RX_LOW: u32 = 1 << 4;
    pub const RX_OVERRUN: u32 = 1 << 6;
    pub const RX_TIMER: u32 = 1 << 7;
    pub const MDIO_DONE: u32 = 1 << 9;
    pub const TX_LOW: u32 = 1 << 15;
    pub const RX_SMALL: u32 = 1 << 16;
}

pub mod rctl {
    pub const ENABLE: u32 = 1 << 1;
    pub const UNICAST_PROMISCUOUS: u32 = 1 << 3;
    pub const MULTICAST_PROMISCUOUS: u32 = 1 << 4;
    pub const LONG_PACKETS: u32 = 1 << 5;
    pub const LOOPBACK: u32 = 3 << 6;
    pub const BROADCAST: u32 = 1 << 15;
    pub const VLAN_FILTER: u32 = 1 << 18;
    pub const CANONICAL_FORM_CHECK: u32 = 1 << 19;
    pub const CANONICAL_FORM: u32 = 1 << 20;
    pub const DISCARD_PAUSE: u32 = 1 << 22;
    pub const SIZE_EXTENSION: u32 = 1 << 25;
    pub const STRIP_CHECK: u32 = 1 << 26;
}

pub mod tctl {
    pub const ENABLE: u32 = 1 << 1;
    pub const PAD: u32 = 1 << 3;
}

pub mod rxcsum {
    pub const IP: u32 = 1 << 8;
    pub const TCP_UDP: u32 = 1 << 9;
}

/// Statistics by their number from [`STATISTICS`] on; of the 64-bit ones the lower half.
pub mod stat {
    pub const MISSED: usize = 0x10 / 4;
    pub const RECEIVED_BY_SIZE: usize = 0x5c / 4;
    pub const GOOD_RECEIVED: usize = 0x74 / 4;
    pub const BROADCAST_RECEIVED: usize = 0x78 / 4;
    pub const MULTICAST_RECEIVED: usize = 0x7c / 4;
    pub const GOOD_SENT: usize = 0x80 / 4;
    pub const GOOD_OCTETS_RECEIVED: usize = 0x88 / 4;
    pub const GOOD_OCTETS_SENT: usize = 0x90 / 4;
    pub const NO_BUFFER: usize = 0xa0 / 4;
    pub const OVERSIZE: usize = 0xac / 4;
    pub const OCTETS_RECEIVED: usize = 0xc0 / 4;
    pub const OCTETS_SENT: usize = 0xc8 / 4;
    pub const RECEIVED: usize = 0xd0 / 4;
    pub const SENT: usize = 0xd4 / 4;
    pub const SENT_BY_SIZE: usize = 0xd8 / 4;
    pub const MULTICAST_SENT: usize = 0xf0 / 4;
    pub const BROADCAST_SENT: usize = 0xf4 / 4;
    pub const SEGMENTED: usize = 0xf8 / 4;
}
