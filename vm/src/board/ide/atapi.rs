//! How packet commands and their data go through the registers.
//!
//! Reference: ATA/ATAPI-6, 9.8 and 9.9 (PACKET); SFF-8020i 2.6, 5.

use super::device::{BLOCK_NS, COMMAND_NS, Device, ERROR_ABORTED, Job, Phase, Then, Unit};
use super::mmc::{BLOCK_BYTES, Reply};
use crate::memory::PhysMemory;
use crate::units::VmTime;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Bytes of a packet.
const PACKET_BYTES: usize = 12;
/// Interrupt reason: C/D and I/O.
const REASON_PACKET: u8 = 1;
const REASON_TO_HOST: u8 = 2;
const REASON_FROM_HOST: u8 = 0;
pub(super) const REASON_STATUS: u8 = 3;
/// Feature register: data goes by DMA.
const FEATURE_DMA: u8 = 1;

/// How the data of the running packet command goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct PacketData {
    /// Bytes that the host takes at once.
    limit: u16,
    dma: bool,
    /// Behind what is in the buffer.
    rest: VecDeque<u8>,
}

impl Device {
    /// A command for a CD-ROM drive.
    pub(super) fn atapi_command(&mut self, command: u8, now: VmTime) {
        if let Unit::Cd(cd) = &mut self.unit {
            cd.packet = None;
        }
        match command {
            0xa0 => self.ask_packet(),
            0xa1 => {
                self.buffer = self.identify_packet();
                self.busy(COMMAND_NS, Then::Offer, now);
            }
            // READ SECTORS and IDENTIFY DEVICE find out what it is.
            0x20 | 0xec => {
                self.sign();
                self.finish(ERROR_ABORTED, now);
            }
            0xe7 => self.finish(0, now),
            _ => self.common_command(command, now),
        }
    }

    /// Whether a packet command is running.
    pub(super) fn is_packet(&self) -> bool {
        matches!(&self.unit, Unit::Cd(cd) if cd.packet.is_some())
    }

    /// The packet may be written: with no interrupt, as IDENTIFY PACKET DEVICE says.
    pub(super) fn ask_packet(&mut self) {
        let limit = u16::from_le_bytes([self.tf.mid[0], self.tf.high[0]]);
        let dma = self.tf.features[0] & FEATURE_DMA != 0;
        if let Unit::Cd(cd) = &mut self.unit {
            cd.packet = Some(PacketData { limit, dma, rest: VecDeque::new() });
        }
        self.buffer = vec![0; PACKET_BYTES];
        self.tf.count[0] = REASON_PACKET;
        self.data_request(Phase::Packet);
    }

    /// Carries out the packet in the buffer.
    pub(super) fn run_packet(&mut self, now: VmTime) {
        let mut packet = [0; PACKET_BYTES];
        packet.copy_from_slice(&self.buffer[..PACKET_BYTES]);
        self.buffer.clear();
        let Unit::Cd(cd) = &mut self.unit else { return };
        let reply = cd.run(&packet);
        let dma = cd.packet.as_ref().is_some_and(|packet| packet.dma);
        match reply {
            Ok(Reply::Done) => self.end(0),
            Ok(Reply::Data(bytes)) if bytes.is_empty() => self.end(0),
            Ok(Reply::Data(bytes)) if dma => {
                self.buffer = bytes;
                self.await_master();
            }
            Ok(Reply::Data(bytes)) => {
                if let Some(packet) = &mut cd.packet {
                    packet.rest = bytes.into();
                }
                self.next_of_packet();
                self.busy(BLOCK_NS, Then::Offer, now);
            }
            Ok(Reply::Blocks { lba, count }) => {
                self.job = Job::Blocks { lba, left: count };
                if dma {
                    self.await_master();
                } else {
                    self.busy(COMMAND_NS, Then::Offer, now);
                }
            }
            Ok(Reply::Parameters(0)) => self.end(0),
            Ok(Reply::Parameters(bytes)) => {
                self.job = Job::Parameters { left: bytes.into() };
                if dma {
                    self.await_master();
                } else {
                    self.ask_parameters(bytes.into());
                }
            }
            Err(sense) => self.end(sense.error()),
        }
    }

    /// The host may write parameters.
    fn ask_parameters(&mut self, left: u64) {
        let now = left.min(self.limit());
        self.buffer = vec![0; now as usize];
        self.show_count(now as usize, REASON_FROM_HOST);
        self.data_request(Phase::Out);
        self.raise();
    }

    /// Parameters were written. Nobody looks at them: nothing that they could change makes a difference here.
    pub(super) fn take_parameters(&mut self, left: u64) {
        let left = left.saturating_sub(self.buffer.len() as u64);
        self.job = Job::Parameters { left };
        if left == 0 { self.end(0) } else { self.ask_parameters(left) }
    }

    /// Bytes that the host takes at once: even, as the last block alone may be odd (SFF-8020i, 5.6).
    fn limit(&self) -> u64 {
        match &self.unit {
            Unit::Cd(cd) => match cd.packet.as_ref().map_or(0, |packet| packet.limit) {
                0 | 1 | 0xffff => 0xfffe,
                limit => u64::from(limit & !1),
            },
            Unit::Disk(_) => 0xfffe,
        }
    }

    /// Moves the next part of a reply into the buffer. False if there is none.
    pub(super) fn next_of_packet(&mut self) -> bool {
        let limit = self.limit() as usize;
        let Unit::Cd(cd) = &mut self.unit else { return false };
        let Some(packet) = &mut cd.packet else { return false };
        let len = packet.rest.len().min(limit);
        self.buffer = packet.rest.drain(..len).collect();
        len > 0
    }

    /// Reads blocks into the buffer: as many whole ones as the host takes at once, or the next part of one.
    pub(super) fn load_blocks(&mut self, mem: &mut dyn PhysMemory) {
        let Job::Blocks { lba, left } = self.job else { return };
        let limit = self.limit() as usize;
        let Unit::Cd(cd) = &mut self.unit else { return };
        if cd.packet.as_ref().is_some_and(|packet| packet.rest.is_empty()) {
            let count = left.min((limit / BLOCK_BYTES).max(1) as u64);
            let mut bytes = vec![0; count as usize * BLOCK_BYTES];
            cd.read(mem, lba * BLOCK_BYTES as u64, &mut bytes);
            if let Some(packet) = &mut cd.packet {
                packet.rest = bytes.into();
            }
            self.job = Job::Blocks { lba: lba + count, left: left - count };
        }
        self.next_of_packet();
    }

    /// Whether blocks, or parts of one, are left for the host.
    pub(super) fn blocks_left(&self) -> bool {
        let Unit::Cd(cd) = &self.unit else { return false };
        let partial = cd.packet.as_ref().is_some_and(|packet| !packet.rest.is_empty());
        partial || matches!(self.job, Job::Blocks { left: 1.., .. })
    }

    /// Says how many bytes the buffer has.
    pub(super) fn announce_packet_data(&mut self) {
        self.show_count(self.buffer.len(), REASON_TO_HOST);
    }

    fn show_count(&mut self, bytes: usize, reason: u8) {
        [self.tf.mid[0], self.tf.high[0]] = (bytes as u16).to_le_bytes();
        self.tf.count[0] = reason;
    }
}
