//! 82078 floppy disk controller with two drives.
//!
//! | port | read | write |
//! |---|---|---|
//! | 0x3f0, 0x3f1 | status registers A and B, as in a PS/2 | |
//! | 0x3f2 | digital output register | the same |
//! | 0x3f3 | tape drive register | the same |
//! | 0x3f4 | main status register | data rate select register |
//! | 0x3f5 | FIFO | FIFO |
//! | 0x3f7 | digital input register: disk change | configuration control register |
//!
//! References: Intel 82078 data sheet (290474), 82077AA data sheet (290166); for the SCAN commands 8272A.
//!
//! Time: heads step at the programmed rate, disks turn, both ten times as fast as in a real drive, and a sector is read or written
//! when it passes the head. Its bytes all move at once then, so that there is no overrun between them: a host that is late misses
//! a rotation. Heads settle and load in no time, and motors are at speed at once.
//!
//! The drive of a command is the one that its own bits name; its motor is that of the digital output register. A command that
//! needs a disk that does not turn waits for it, as the chip does, until a reset.

mod command;
mod drive;
mod format;
mod seek;
mod transfer;

use crate::board::dma::{Moved, Transfer};
use crate::media::MediumShape;
use crate::units::VmTime;
use command::{Command, DONE, LOCK};
use drive::Drive;
pub use format::{DriveKind, SECTOR_BYTES};
use seek::Seek;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use transfer::Job;

/// First port.
pub const BASE: u16 = 0x3f0;
/// Drives that can be there.
pub const DRIVES: usize = 2;
/// Drives that the chip knows.
const UNITS: usize = 4;

/// From the end of a reset to its interrupt: polling the four drives.
const RESET_NS: u64 = 250_000;
/// From one interrupt to the next where two seeks have ended.
const NEXT_INTERRUPT_NS: u64 = 20_000;

const DOR_NOT_RESET: u8 = 0x04;
const DOR_DMA_GATE: u8 = 0x08;

const MSR_READY: u8 = 0x80;
const MSR_TO_HOST: u8 = 0x40;
const MSR_NON_DMA: u8 = 0x20;
const MSR_BUSY: u8 = 0x10;

const DSR_RESET: u8 = 0x80;
const RATE: u8 = 0x03;

const SRA_INTERRUPT: u8 = 0x80;
const SRA_NO_SECOND_DRIVE: u8 = 0x40;
const SRA_NOT_TRACK_0: u8 = 0x10;
const SRA_NOT_INDEX: u8 = 0x04;
const SRA_NOT_PROTECTED: u8 = 0x02;

const DIR_CHANGED: u8 = 0x80;

/// CONFIGURE: implied seeks, no FIFO, no polling.
const CONFIG_IMPLIED_SEEK: u8 = 0x40;
const CONFIG_NO_FIFO: u8 = 0x20;
const CONFIG_NO_POLLING: u8 = 0x10;
/// PERPENDICULAR MODE: what a software reset clears, and what is written only with bit 7.
const PERPENDICULAR_MODE: u8 = 0x03;
const PERPENDICULAR_DRIVES: u8 = 0x3c;
const PERPENDICULAR_OVERWRITE: u8 = 0x80;
/// SPECIFY, third byte: no DMA.
const SPECIFY_NON_DMA: u8 = 0x01;
/// DRIVE SPECIFICATION, last byte: no result.
const SPECIFICATION_SILENT: u8 = 0x40;

const VERSION: u8 = 0x90;
/// An 82078 with 64 pins.
const PART_ID: u8 = 0x01;

/// ST0: what the command ended as.
const ST0_INVALID: u8 = 0x80;
const ST0_READY_CHANGED: u8 = 0xc0;
/// ST3.
const ST3_WRITE_PROTECTED: u8 = 0x40;
const ST3_READY: u8 = 0x20;
const ST3_TRACK_0: u8 = 0x10;
const ST3_TWO_SIDES: u8 = 0x08;

/// What the controller reaches through its wires.
pub trait Host {
    /// Moves bytes by DMA.
    fn transfer(&mut self, data: Transfer) -> Moved;
    /// Reads sector `sector` of medium number `medium`.
    fn read_sector(&mut self, medium: usize, sector: u16, data: &mut [u8; SECTOR_BYTES]);
    /// Writes it.
    fn write_sector(&mut self, medium: usize, sector: u16, data: &[u8; SECTOR_BYTES]);
}

/// The controller with its drives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fdc {
    drives: [Option<Drive>; DRIVES],
    dor: u8,
    tdr: u8,
    /// Rate select bits.
    rate: u8,
    /// Where the chip believes that each head is.
    cylinders: [u8; UNITS],
    specify: [u8; 2],
    config: u8,
    precompensation: u8,
    perpendicular: u8,
    lock: bool,
    last_sector: u8,
    options: u8,
    powerdown: u8,
    specifications: [u8; UNITS],
    /// Bytes of a command so far.
    bytes: Vec<u8>,
    result: VecDeque<u8>,
    job: Option<Job>,
    seeks: [Option<Seek>; UNITS],
    /// ST0 of ended seeks that were not asked for yet.
    ended: [Option<u8>; UNITS],
    /// Interrupt statuses that a reset left, one for each drive.
    reset_statuses: u8,
    /// When the chip next interrupts for a reset, or for one more ended seek.
    interrupt_at: Option<VmTime>,
    interrupt: bool,
}

impl Fdc {
    /// The controller at power-on, with these drives and no disks.
    pub fn new(drives: [Option<DriveKind>; DRIVES]) -> Fdc {
        Fdc {
            drives: drives.map(|kind| kind.map(Drive::new)),
            dor: 0,
            tdr: 0,
            rate: 2,
            cylinders: [0; UNITS],
            specify: [0; 2],
            config: CONFIG_NO_FIFO,
            precompensation: 0,
            perpendicular: 0,
            lock: false,
            last_sector: 0,
            options: 0,
            powerdown: 0,
            specifications: [0; UNITS],
            bytes: Vec::new(),
            result: VecDeque::new(),
            job: None,
            seeks: [None; UNITS],
            ended: [None; UNITS],
            reset_statuses: 0,
            interrupt_at: None,
            interrupt: false,
        }
    }

    /// The reset line: the drives stay as they are.
    pub fn reset(&mut self) {
        let drives = std::mem::take(&mut self.drives);
        *self = Fdc { drives, ..Fdc::new([None; DRIVES]) };
    }

    /// Puts a disk into a drive, or takes out what is in.
    pub fn change_disk(&mut self, drive: usize, disk: Option<MediumShape>, now: VmTime) {
        if let Some(Some(drive)) = self.drives.get_mut(drive) {
            drive.change(disk);
            self.look_again(now);
        }
    }

    /// The interrupt line.
    pub fn irq(&self) -> bool {
        self.interrupt && self.dor & DOR_DMA_GATE != 0
    }

    /// IN of one byte at `register` (the port less [`BASE`]).
    pub fn read(&mut self, register: u16, now: VmTime) -> u8 {
        match register {
            0 => self.status_a(now),
            1 => 0xc0 | (self.dor & 1) << 5 | self.dor >> 4 & 3,
            2 => self.dor,
            3 => self.tdr,
            4 => self.main_status(),
            5 => self.read_fifo(now),
            7 if self.selected().is_some_and(Drive::changed) => DIR_CHANGED,
            7 => 0,
            _ => 0xff,
        }
    }

    /// OUT of one byte.
    pub fn write(&mut self, register: u16, value: u8, now: VmTime) {
        match register {
            2 => {
                let released = value & !self.dor & DOR_NOT_RESET != 0;
                self.dor = value;
                if released {
                    self.software_reset(now);
                } else if value & DOR_NOT_RESET == 0 {
                    self.stop();
                }
                self.look_again(now);
            }
            3 => self.tdr = value & 0x03,
            4 => {
                self.rate = value & RATE;
                if value & DSR_RESET != 0 && self.is_running() {
                    self.software_reset(now);
                }
            }
            5 => self.write_fifo(value, now),
            7 => self.rate = value & RATE,
            _ => tracing::debug!(register, value, "write to a floppy controller register that is read only"),
        }
    }

    /// Does what happens up to and including `now`, event by event.
    pub fn advance(&mut self, now: VmTime, host: &mut dyn Host) {
        while let Some(event) = self.next_event().filter(|event| *event <= now) {
            self.interrupt |= self.interrupt_at.take_if(|at| *at <= event).is_some();
            self.end_seeks(event);
            self.go_on(event, host);
        }
    }

    /// When something next happens by itself.
    pub fn next_event(&self) -> Option<VmTime> {
        let seeks = self.seeks.iter().flatten().map(|seek| seek.at);
        seeks.chain(self.interrupt_at).chain(self.memory_event()).min()
    }

    /// When memory may next change by itself.
    pub fn memory_event(&self) -> Option<VmTime> {
        self.job.as_ref()?.at
    }

    fn is_running(&self) -> bool {
        self.dor & DOR_NOT_RESET != 0
    }

    fn non_dma(&self) -> bool {
        self.specify[1] & SPECIFY_NON_DMA != 0
    }

    fn drive(&self, unit: usize) -> Option<&Drive> {
        self.drives.get(unit)?.as_ref()
    }

    fn selected(&self) -> Option<&Drive> {
        self.drive(usize::from(self.dor & 3))
    }

    fn motor_on(&self, unit: usize) -> bool {
        self.dor >> (4 + unit) & 1 != 0
    }

    /// Everything that is under way ends.
    fn stop(&mut self) {
        self.bytes.clear();
        self.result.clear();
        self.job = None;
        self.finish_seeks();
        self.ended = [None; UNITS];
        self.reset_statuses = 0;
        self.interrupt_at = None;
        self.interrupt = false;
    }

    /// 82078, "Reset Behavior": what LOCK protects stays.
    fn software_reset(&mut self, now: VmTime) {
        self.stop();
        self.cylinders = [0; UNITS];
        self.perpendicular &= !PERPENDICULAR_MODE;
        if !self.lock {
            self.config = CONFIG_NO_FIFO;
            self.precompensation = 0;
        }
        if self.config & CONFIG_NO_POLLING == 0 {
            self.reset_statuses = UNITS as u8;
            self.interrupt_at = Some(now.plus_ns(RESET_NS));
        }
    }

    fn status_a(&self, now: VmTime) -> u8 {
        let drive = self.selected();
        let at_index = drive.is_some_and(|drive| drive.disk.is_some() && drive.next_index(now) == now);
        let bits = [
            (self.interrupt, SRA_INTERRUPT),
            (self.drives[1].is_none(), SRA_NO_SECOND_DRIVE),
            (drive.is_none_or(|drive| drive.cylinder != 0), SRA_NOT_TRACK_0),
            (!at_index, SRA_NOT_INDEX),
            (!drive.is_some_and(Drive::write_protected), SRA_NOT_PROTECTED),
        ];
        bits.iter().filter(|(on, _)| *on).map(|(_, bit)| bit).sum()
    }

    fn main_status(&self) -> u8 {
        if !self.is_running() {
            return 0;
        }
        let seeking =
            (0..UNITS).filter(|unit| self.seeks[*unit].is_some()).fold(0, |bits, unit| bits | 1 << unit);
        let phase = match &self.job {
            Some(job) => MSR_BUSY | job.main_status(self.non_dma()),
            None if !self.result.is_empty() => MSR_READY | MSR_TO_HOST | MSR_BUSY,
            None if !self.bytes.is_empty() => MSR_READY | MSR_BUSY,
            None => MSR_READY,
        };
        phase | seeking
    }

    fn read_fifo(&mut self, now: VmTime) -> u8 {
        if let Some(byte) = self.result.pop_front() {
            self.interrupt = false;
            return byte;
        }
        self.give_data(now).unwrap_or(0xff)
    }

    fn write_fifo(&mut self, value: u8, now: VmTime) {
        if !self.is_running() || !self.result.is_empty() || self.take_data(value, now) {
            return;
        }
        self.bytes.push(value);
        let command = Command::of(self.bytes[0]);
        if command.is_complete(&self.bytes) {
            let bytes = std::mem::take(&mut self.bytes);
            self.run(command, &bytes, now);
        }
    }

    fn run(&mut self, command: Command, bytes: &[u8], now: VmTime) {
        match command {
            Command::Transfer(data) => self.start(data, bytes, now),
            Command::Seek => self.seek(bytes[1], i32::from(bytes[2]), now),
            Command::RelativeSeek => self.seek_relative(bytes, now),
            Command::Recalibrate => self.recalibrate(bytes[1], now),
            Command::SenseInterrupt => self.sense_interrupt(now),
            Command::SenseDriveStatus => self.result.push_back(self.drive_status(bytes[1])),
            Command::Specify => self.specify = [bytes[1], bytes[2]],
            Command::Configure => (self.config, self.precompensation) = (bytes[2] & 0x7f, bytes[3]),
            Command::Version => self.result.push_back(VERSION),
            Command::DumpRegisters => self.dump_registers(),
            Command::Perpendicular => self.set_perpendicular(bytes[1]),
            Command::Lock => {
                self.lock = bytes[0] & LOCK != 0;
                self.result.push_back(u8::from(self.lock) << 4);
            }
            Command::PartId => self.result.push_back(PART_ID),
            Command::PowerdownMode => {
                self.powerdown = bytes[1];
                self.result.push_back(bytes[1]);
            }
            Command::Options => self.options = bytes[1],
            Command::Save => self.save(),
            Command::Restore => self.restore(bytes),
            Command::DriveSpecification => self.specify_drives(&bytes[1..]),
            Command::Invalid => {
                tracing::debug!(byte = bytes[0], "invalid floppy controller command");
                self.result.push_back(ST0_INVALID);
            }
        }
    }

    /// SENSE INTERRUPT STATUS is invalid while there is nothing to ask for.
    fn sense_interrupt(&mut self, now: VmTime) {
        let reset = self.reset_statuses != 0 && self.interrupt_at.is_none();
        let (unit, status) = if reset {
            let unit = UNITS - usize::from(self.reset_statuses);
            self.reset_statuses -= 1;
            (unit, ST0_READY_CHANGED | unit as u8)
        } else {
            let ended = (0..UNITS).find_map(|unit| Some((unit, self.ended[unit].take()?)));
            let Some(ended) = ended else {
                self.result.push_back(ST0_INVALID);
                return;
            };
            ended
        };
        self.interrupt = false;
        if !reset && self.ended.iter().any(Option::is_some) {
            self.interrupt_at = Some(now.plus_ns(NEXT_INTERRUPT_NS));
        }
        self.result.extend([status, self.cylinders[unit]]);
    }

    fn drive_status(&self, select: u8) -> u8 {
        let drive = self.drive(usize::from(select & 3));
        let bits = [
            (drive.is_some_and(Drive::write_protected), ST3_WRITE_PROTECTED),
            (drive.is_some_and(|drive| drive.cylinder == 0), ST3_TRACK_0),
        ];
        let lines: u8 = bits.iter().filter(|(on, _)| *on).map(|(_, bit)| bit).sum();
        lines | ST3_READY | ST3_TWO_SIDES | select & 0x07
    }

    fn set_perpendicular(&mut self, value: u8) {
        let drives = if value & PERPENDICULAR_OVERWRITE != 0 { value } else { self.perpendicular };
        self.perpendicular = drives & PERPENDICULAR_DRIVES | value & PERPENDICULAR_MODE;
    }

    fn locked_perpendicular(&self) -> u8 {
        u8::from(self.lock) << 7 | self.perpendicular
    }

    fn dump_registers(&mut self) {
        self.result.extend(self.cylinders);
        self.result.extend(self.specify);
        let rest = [self.last_sector, self.locked_perpendicular(), self.config, self.precompensation];
        self.result.extend(rest);
    }

    /// The result of SAVE is what RESTORE takes.
    fn save(&mut self) {
        self.result.extend([self.rate, self.options]);
        self.dump_registers();
        self.result.extend([self.powerdown, 0, 0, 0]);
    }

    fn restore(&mut self, bytes: &[u8]) {
        let [
            _,
            rate,
            options,
            c0,
            c1,
            c2,
            c3,
            srt,
            hlt,
            last_sector,
            locked,
            config,
            precompensation,
            powerdown,
            ..,
        ] = *bytes
        else {
            return;
        };
        self.rate = rate & RATE;
        self.options = options;
        self.cylinders = [c0, c1, c2, c3];
        self.specify = [srt, hlt];
        self.last_sector = last_sector;
        self.lock = locked & 0x80 != 0;
        self.perpendicular = locked & (PERPENDICULAR_DRIVES | PERPENDICULAR_MODE);
        self.config = config & 0x7f;
        self.precompensation = precompensation;
        self.powerdown = powerdown;
    }

    /// A byte for each drive, which it names in bits 5 and 6; the last byte says whether there is a result.
    fn specify_drives(&mut self, bytes: &[u8]) {
        let (Some(last), drives) = (bytes.last(), &bytes[..bytes.len().saturating_sub(1)]) else { return };
        for byte in drives.iter().filter(|byte| **byte & DONE == 0) {
            self.specifications[usize::from(byte >> 5 & 3)] = byte & 0x1f;
        }
        if last & SPECIFICATION_SILENT == 0 {
            self.result.extend(self.specifications);
        }
    }
}

#[cfg(test)]
mod tests;
