//! A device on the cable: its registers, its state between the steps of a command, and the data register.

use super::SECTOR_BYTES;
use super::ata::Disk;
use super::bus_master::BusMaster;
use super::mmc::Cd;
use super::power::Power;
use crate::media::{MediumShape, Slot};
use crate::memory::PhysMemory;
use crate::units::{PhysAddr, VmTime};
use serde::{Deserialize, Serialize};

pub(super) const STATUS_ERR: u8 = 0x01;
pub(super) const STATUS_DRQ: u8 = 0x08;
pub(super) const STATUS_DSC: u8 = 0x10;
pub(super) const STATUS_DRDY: u8 = 0x40;
pub(super) const STATUS_BSY: u8 = 0x80;

pub(super) const ERROR_ABORTED: u8 = 0x04;
pub(super) const ERROR_ID_NOT_FOUND: u8 = 0x10;

/// From a command to its first effect.
pub(super) const COMMAND_NS: u64 = 20_000;
/// From one block of data to the next.
pub(super) const BLOCK_NS: u64 = 4_000;
/// A bus master moves a byte in this time: 100 MB/s.
const NS_PER_DMA_BYTE: u64 = 10;
/// From the end of a reset to the signature.
const RESET_NS: u64 = 200_000;
/// Bytes moved between device and memory at once.
const DMA_PIECE: usize = 16 << 10;

/// Registers that the host writes, each with the value before: the high order bytes of 48-bit commands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct TaskFile {
    pub(super) features: [u8; 2],
    pub(super) count: [u8; 2],
    pub(super) low: [u8; 2],
    pub(super) mid: [u8; 2],
    pub(super) high: [u8; 2],
    pub(super) device: u8,
}

/// What happens when the device is no longer busy.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Then {
    /// The command ends, with these bits in the error register.
    End(u8),
    /// The next block is ready to be read.
    Offer,
    /// The block that was written goes to the medium.
    Store,
    /// The next sectors are erased.
    Erase,
    /// All data is moved by the bus master.
    Dma,
    /// The packet is carried out.
    RunPacket,
    /// A reset is over.
    Signature,
    /// A diagnostic is over, and this device tells about it.
    Diagnosed(bool),
}

/// Where a command is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Phase {
    Idle,
    /// Held in reset.
    Held,
    Busy {
        until: VmTime,
        then: Then,
    },
    /// The host reads the buffer.
    In,
    /// The host fills the buffer.
    Out,
    /// The host writes a packet.
    Packet,
    /// The bus master has not been started yet.
    AwaitMaster,
}

/// What is left to move of the running command, beyond the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Job {
    /// Nothing: the buffer is all.
    Buffer,
    /// Sectors of a disk, `block` of them at once.
    Sectors { lba: u64, left: u64, block: u64, write: bool },
    /// Blocks of a CD.
    Blocks { lba: u64, left: u64 },
    /// A block from the host for this command.
    Block(u8),
    /// Sectors are erased from this one on.
    Erase { lba: u64 },
    /// Parameters of a packet command, which nobody looks at.
    Parameters { left: u64 },
}

/// What kind of device it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Unit {
    Disk(Disk),
    Cd(Cd),
}

/// A device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Device {
    pub(super) slot: Slot,
    pub(super) tf: TaskFile,
    status: u8,
    error: u8,
    interrupt: bool,
    phase: Phase,
    pub(super) buffer: Vec<u8>,
    /// Of the buffer so much has gone through the data register.
    at: usize,
    pub(super) job: Job,
    pub(super) unit: Unit,
    /// What SET FEATURES chose: bits 7 to 3 the kind of transfer, 2 to 0 the mode.
    pub(super) transfer_mode: u8,
    pub(super) write_cache: bool,
    pub(super) look_ahead: bool,
    pub(super) power: Power,
}

impl Device {
    /// A hard disk.
    pub(super) fn disk(medium: MediumShape, slot: Slot) -> Device {
        Device::new(Unit::Disk(Disk::new(medium)), slot)
    }

    /// A CD-ROM drive.
    pub(super) fn cd(medium: Option<MediumShape>, slot: Slot) -> Device {
        Device::new(Unit::Cd(Cd::new(medium)), slot)
    }

    fn new(unit: Unit, slot: Slot) -> Device {
        let mut device = Device {
            slot,
            tf: TaskFile::default(),
            status: 0,
            error: 0,
            interrupt: false,
            phase: Phase::Idle,
            buffer: Vec::new(),
            at: 0,
            job: Job::Buffer,
            unit,
            transfer_mode: 0x45, // Ultra DMA mode 5, as firmware finds it
            write_cache: true,
            look_ahead: true,
            power: Power::new(),
        };
        device.sign();
        device
    }

    /// The reset line.
    pub(super) fn reset(&mut self) {
        let unit = match &self.unit {
            Unit::Disk(disk) => Unit::Disk(disk.after_reset()),
            Unit::Cd(cd) => Unit::Cd(cd.after_reset()),
        };
        *self = Device::new(unit, self.slot);
    }

    /// The registers as after a reset (ATA/ATAPI-6, 9.12 "Signature").
    pub(super) fn sign(&mut self) {
        let (mid, high, status) = match &self.unit {
            Unit::Disk(_) => (0, 0, STATUS_DRDY | STATUS_DSC),
            Unit::Cd(_) => (0x14, 0xeb, 0),
        };
        self.tf.count[0] = 1;
        self.tf.low[0] = 1;
        self.tf.mid[0] = mid;
        self.tf.high[0] = high;
        self.tf.device &= 0x10;
        self.error = 1; // passed
        self.status = status;
        self.phase = Phase::Idle;
    }

    /// Another medium, or none.
    pub(super) fn change_medium(&mut self, medium: Option<MediumShape>) {
        match &mut self.unit {
            Unit::Cd(cd) => cd.change(medium),
            Unit::Disk(_) => tracing::debug!(slot = %self.slot, "a hard disk cannot be changed"),
        }
    }

    pub(super) fn status(&self) -> u8 {
        self.status
    }

    pub(super) fn error(&self) -> u8 {
        self.error
    }

    pub(super) fn interrupts(&self) -> bool {
        self.interrupt
    }

    /// Status was read.
    pub(super) fn acknowledge(&mut self) {
        self.interrupt = false;
    }

    /// Asks for an interrupt.
    pub(super) fn raise(&mut self) {
        self.interrupt = true;
    }

    fn is_busy(&self) -> bool {
        self.status & STATUS_BSY != 0
    }

    /// Register 2 to 6 as it reads; with `high` the value before.
    pub(super) fn register(&self, register: u8, high: bool) -> u8 {
        let high = usize::from(high);
        match register {
            2 => self.tf.count[high],
            3 => self.tf.low[high],
            4 => self.tf.mid[high],
            5 => self.tf.high[high],
            _ => self.tf.device | 0xa0,
        }
    }

    /// OUT to register 1 to 6. A busy device does not listen, except to which device is selected.
    pub(super) fn write_register(&mut self, register: u8, value: u8) {
        if self.is_busy() {
            return;
        }
        let tf = &mut self.tf;
        let pair = match register {
            1 => &mut tf.features,
            2 => &mut tf.count,
            3 => &mut tf.low,
            4 => &mut tf.mid,
            5 => &mut tf.high,
            _ => {
                tf.device = value;
                return;
            }
        };
        *pair = [value, pair[0]];
    }

    /// SRST is set.
    pub(super) fn hold_in_reset(&mut self) {
        self.status = STATUS_BSY;
        self.interrupt = false;
        self.phase = Phase::Held;
        self.job = Job::Buffer;
    }

    /// SRST is cleared.
    pub(super) fn leave_reset(&mut self, now: VmTime) {
        self.phase = Phase::Busy { until: now.plus_ns(RESET_NS), then: Then::Signature };
    }

    /// EXECUTE DEVICE DIAGNOSTIC, which both devices obey and device 0 answers.
    pub(super) fn start_diagnostic(&mut self, answers: bool, now: VmTime) {
        self.interrupt = false;
        self.busy(COMMAND_NS, Then::Diagnosed(answers), now);
    }

    /// A command. One that comes while the device is busy is not heard, except DEVICE RESET.
    pub(super) fn command(&mut self, command: u8, now: VmTime) {
        const DEVICE_RESET: u8 = 0x08;
        self.interrupt = false;
        if command == DEVICE_RESET && matches!(self.unit, Unit::Cd(_)) {
            self.status = STATUS_BSY;
            self.phase = Phase::Busy { until: now.plus_ns(COMMAND_NS), then: Then::Signature };
            return;
        }
        if self.is_busy() {
            return;
        }
        self.power.note_command(now);
        self.error = 0;
        self.job = Job::Buffer;
        match self.unit {
            Unit::Disk(_) => self.ata_command(command, now),
            Unit::Cd(_) => self.atapi_command(command, now),
        }
    }

    /// Is busy for a while.
    pub(super) fn busy(&mut self, ns: u64, then: Then, now: VmTime) {
        let until = now.plus_ns(ns);
        self.status = STATUS_BSY | STATUS_DRDY | STATUS_DSC;
        self.phase = Phase::Busy { until, then };
        self.power.rest_from(until);
    }

    /// A command that moves data by DMA waits for the bus master.
    pub(super) fn await_master(&mut self) {
        self.status = STATUS_BSY | STATUS_DRDY | STATUS_DSC;
        self.phase = Phase::AwaitMaster;
    }

    /// The bus master is started.
    pub(super) fn start_dma(&mut self, now: VmTime) {
        if self.phase == Phase::AwaitMaster {
            let bytes = self.bytes_to_move().0;
            let ns = COMMAND_NS.saturating_add(bytes.saturating_mul(NS_PER_DMA_BYTE));
            self.busy(ns, Then::Dma, now);
        }
    }

    /// The command is over.
    pub(super) fn end(&mut self, error: u8) {
        self.error = error;
        self.status = STATUS_DRDY | STATUS_DSC | if error == 0 { 0 } else { STATUS_ERR };
        self.phase = Phase::Idle;
        self.interrupt = true;
        if self.is_packet() {
            self.tf.count[0] = super::atapi::REASON_STATUS;
        }
    }

    /// The buffer is ready to be read, or to be filled up to its length.
    pub(super) fn data_request(&mut self, phase: Phase) {
        self.status = STATUS_DRDY | STATUS_DSC | STATUS_DRQ;
        self.phase = phase;
        self.at = 0;
    }

    pub(super) fn next_event(&self) -> Option<VmTime> {
        match self.phase {
            Phase::Busy { until, .. } => Some(until),
            _ => None,
        }
    }

    pub(super) fn memory_event(&self) -> Option<VmTime> {
        match self.phase {
            Phase::Busy { until, then: Then::Dma } => Some(until),
            _ => None,
        }
    }

    /// What is due at `now`.
    pub(super) fn advance(&mut self, now: VmTime, master: Option<&mut BusMaster>, mem: &mut dyn PhysMemory) {
        let Phase::Busy { until, then } = self.phase else { return };
        if until > now {
            return;
        }
        match then {
            Then::End(error) => self.end(error),
            Then::Offer => self.offer(mem),
            Then::Store => self.store(now, mem),
            Then::Erase => self.erase(now, mem),
            Then::Dma => self.move_by_master(master, mem),
            Then::RunPacket => {
                self.run_packet(now);
                if master.is_some_and(|master| master.is_started()) {
                    self.start_dma(now);
                }
            }
            Then::Signature => self.sign(),
            Then::Diagnosed(answers) => {
                self.sign();
                self.interrupt = answers;
            }
        }
    }

    /// Makes the next block ready to be read.
    fn offer(&mut self, mem: &mut dyn PhysMemory) {
        if matches!(self.job, Job::Sectors { .. }) && !self.load_sectors(mem) {
            return;
        }
        if matches!(self.job, Job::Blocks { .. }) {
            self.load_blocks(mem);
        }
        if self.is_packet() {
            self.announce_packet_data();
        }
        self.data_request(Phase::In);
        self.interrupt = true;
    }

    /// The block that was written is complete.
    fn store(&mut self, now: VmTime, mem: &mut dyn PhysMemory) {
        match self.job {
            Job::Sectors { .. } => self.store_sectors(mem),
            Job::Parameters { left } => self.take_parameters(left),
            Job::Block(command) => self.take_block(command, now),
            Job::Buffer | Job::Blocks { .. } | Job::Erase { .. } => self.end(0),
        }
    }

    /// A word from the data register.
    pub(super) fn read_word(&mut self, now: VmTime) -> u16 {
        if self.phase != Phase::In {
            return 0xffff;
        }
        let byte = |at: usize| self.buffer.get(at).copied().unwrap_or(0);
        let word = u16::from_le_bytes([byte(self.at), byte(self.at + 1)]);
        self.at += 2;
        if self.at >= self.buffer.len() {
            self.block_was_read(now);
        }
        word
    }

    /// A word to the data register.
    pub(super) fn write_word(&mut self, value: u16, now: VmTime) {
        if !matches!(self.phase, Phase::Out | Phase::Packet) {
            return;
        }
        for byte in value.to_le_bytes() {
            if let Some(cell) = self.buffer.get_mut(self.at) {
                *cell = byte;
            }
            self.at += 1;
        }
        if self.at >= self.buffer.len() {
            let then = if self.phase == Phase::Packet { Then::RunPacket } else { Then::Store };
            self.busy(BLOCK_NS, then, now);
        }
    }

    /// The host has read the buffer.
    fn block_was_read(&mut self, now: VmTime) {
        let more = match self.job {
            Job::Sectors { left, .. } => left > 0,
            Job::Blocks { .. } => self.blocks_left(),
            Job::Buffer => self.next_of_packet(),
            Job::Parameters { .. } | Job::Block(_) | Job::Erase { .. } => false,
        };
        if more {
            self.busy(BLOCK_NS, Then::Offer, now);
        } else if self.is_packet() {
            self.busy(BLOCK_NS, Then::End(0), now);
        } else {
            // A disk has nothing to say after the last block.
            self.status = STATUS_DRDY | STATUS_DSC;
            self.phase = Phase::Idle;
            self.power.rest_from(now);
        }
    }

    /// Bytes that the running command moves by DMA, and whether to memory.
    fn bytes_to_move(&self) -> (u64, bool) {
        match self.job {
            Job::Sectors { left, write, .. } => (left * SECTOR_BYTES as u64, !write),
            Job::Blocks { left, .. } => (left.saturating_mul(super::mmc::BLOCK_BYTES as u64), true),
            Job::Buffer => (self.buffer.len() as u64, true),
            Job::Parameters { left } => (left, false),
            Job::Block(_) | Job::Erase { .. } => (0, false),
        }
    }

    /// The bus master moves all data at once. If its table is too short the command hangs, as it does on a real one; if it may
    /// not use the bus, until it may.
    fn move_by_master(&mut self, master: Option<&mut BusMaster>, mem: &mut dyn PhysMemory) {
        let (bytes, to_memory) = self.bytes_to_move();
        self.phase = Phase::AwaitMaster;
        let Some(master) = master.filter(|master| master.is_started()) else { return };
        let device = &*self;
        let complete = master.transfer(bytes, to_memory, mem, |mem, offset, addr, len| {
            let mut piece = [0; DMA_PIECE];
            for from in (0..len).step_by(DMA_PIECE) {
                let part = &mut piece[..DMA_PIECE.min(len - from)];
                let (at, addr) = (offset + from as u64, PhysAddr(addr.0.wrapping_add(from as u64)));
                device.dma_piece(mem, at, addr, part);
            }
        });
        if complete {
            self.end(0);
        }
    }

    /// Moves `part` bytes of the running command from or to `offset` of its data.
    fn dma_piece(&self, mem: &mut dyn PhysMemory, offset: u64, addr: PhysAddr, part: &mut [u8]) {
        match (&self.unit, self.job) {
            (Unit::Disk(disk), Job::Sectors { lba, write, .. }) => {
                let at = lba.saturating_mul(SECTOR_BYTES as u64).saturating_add(offset);
                if write {
                    mem.read(addr, part);
                    mem.write_medium(disk.medium.number, at, part);
                } else {
                    mem.read_medium(disk.medium.number, at, part);
                    mem.write(addr, part);
                }
            }
            (Unit::Cd(cd), Job::Blocks { lba, .. }) => {
                cd.read(mem, lba.saturating_mul(super::mmc::BLOCK_BYTES as u64).saturating_add(offset), part);
                mem.write(addr, part);
            }
            (_, Job::Buffer) => {
                if let Some(bytes) =
                    self.buffer.get(offset as usize..).and_then(|rest| rest.get(..part.len()))
                {
                    mem.write(addr, bytes);
                }
            }
            _ => {}
        }
    }
}
