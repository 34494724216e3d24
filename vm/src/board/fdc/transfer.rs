//! The commands that wait for the disk to turn: reading, writing, comparing, formatting.
//!
//! A [`Job`] is such a command in its execution phase. It knows what it waits for and, if that comes by itself, when.

use super::command::{Data, MFM, MULTI_TRACK, SKIP, Scan};
use super::format::{Format, SECTOR_BYTES, SECTOR_CODE};
use super::{CONFIG_IMPLIED_SEEK, DOR_DMA_GATE, Fdc, Host, MSR_NON_DMA, MSR_READY, MSR_TO_HOST};
use crate::board::dma::Transfer;
use crate::units::VmTime;
use serde::{Deserialize, Serialize};

/// A refusal that needs no look at the disk.
const REFUSAL_NS: u64 = 20_000;
/// Bytes of an ID that FORMAT TRACK takes.
const ID_BYTES: usize = 4;

const ST0_ABNORMAL: u8 = 0x40;

const ST1_END_OF_CYLINDER: u8 = 0x80;
const ST1_OVERRUN: u8 = 0x10;
const ST1_NO_DATA: u8 = 0x04;
const ST1_NOT_WRITABLE: u8 = 0x02;
const ST1_NO_ADDRESS_MARK: u8 = 0x01;

const ST2_CONTROL_MARK: u8 = 0x40;
const ST2_WRONG_CYLINDER: u8 = 0x10;
const ST2_SCAN_EQUAL: u8 = 0x08;
const ST2_SCAN_NOT_SATISFIED: u8 = 0x04;

/// VERIFY, second byte: the last byte is the number of sectors.
const VERIFY_COUNT: u8 = 0x80;

/// What a job waits for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Wait {
    /// The implied seek.
    Seek,
    /// A disk that turns.
    Disk,
    /// The host, to give what is to be written.
    HostGives,
    /// The host, to take what was read.
    HostTakes,
    /// The data of a sector, or the place of an ID that is formatted.
    Sector,
    /// The ID of this sector.
    Id(u8),
    /// The end: these are ST1 and ST2.
    End(u8, u8),
}

/// A command in its execution phase.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Job {
    kind: Data,
    unit: u8,
    /// The head in use.
    head: u8,
    multi_track: bool,
    mfm: bool,
    skip: bool,
    /// The ID of the sector that is wanted: cylinder, head, sector, size.
    c: u8,
    h: u8,
    r: u8,
    n: u8,
    /// The last sector, or how many FORMAT TRACK makes.
    last: u8,
    /// The last byte of the command, and for VERIFY what is left of it.
    count: u8,
    /// VERIFY counts.
    counted: bool,
    /// READ TRACK and FORMAT TRACK: sectors done.
    done: u8,
    /// ST1 and ST2 so far.
    st1: u8,
    st2: u8,
    /// Bytes on their way between host and disk.
    data: Vec<u8>,
    wait: Wait,
    /// When that comes, if it comes by itself.
    pub(super) at: Option<VmTime>,
}

impl Job {
    fn new(kind: Data, bytes: &[u8]) -> Job {
        let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
        let format = kind == Data::Format;
        Job {
            kind,
            unit: byte(1) & 3,
            head: byte(1) >> 2 & 1,
            multi_track: byte(0) & MULTI_TRACK != 0,
            mfm: byte(0) & MFM != 0,
            skip: byte(0) & SKIP != 0,
            c: if format { 0 } else { byte(2) },
            h: if format { 0 } else { byte(3) },
            r: if format { 0 } else { byte(4) },
            n: if format { byte(2) } else { byte(5) },
            last: if format { byte(3) } else { byte(6) },
            count: if format { byte(5) } else { byte(8) },
            counted: kind == Data::Verify && byte(1) & VERIFY_COUNT != 0,
            done: 0,
            st1: 0,
            st2: 0,
            data: Vec::new(),
            wait: Wait::Disk,
            at: None,
        }
    }

    /// Bits of the main status register besides BUSY.
    pub(super) fn main_status(&self, non_dma: bool) -> u8 {
        match self.wait {
            Wait::HostTakes => MSR_NON_DMA | MSR_READY | MSR_TO_HOST,
            Wait::HostGives => MSR_NON_DMA | MSR_READY,
            _ if non_dma => MSR_NON_DMA,
            _ => 0,
        }
    }

    fn has_id(&self) -> bool {
        !matches!(self.kind, Data::ReadId | Data::Format)
    }

    /// Bytes that the host gives for each sector.
    fn wants(&self) -> Option<usize> {
        match self.kind {
            Data::Write { .. } | Data::Scan(_) => Some(SECTOR_BYTES),
            Data::Format => Some(ID_BYTES),
            _ => None,
        }
    }

    fn wait_for(&mut self, wait: Wait, at: Option<VmTime>) {
        self.wait = wait;
        self.at = at;
    }

    /// What the sector's bytes, compared with the host's, mean for a SCAN: whether it is the one, and ST2. 0xff is a byte
    /// that equals all (8272A).
    fn scan(&self, scan: Scan, disk: &[u8], host: &[u8]) -> (bool, u8) {
        let differ =
            disk.iter().zip(host).find(|(disk, host)| disk != host && **disk != 0xff && **host != 0xff);
        match (differ, scan) {
            (None, _) => (true, ST2_SCAN_EQUAL),
            (Some((disk, host)), Scan::LowOrEqual) if disk < host => (true, 0),
            (Some((disk, host)), Scan::HighOrEqual) if disk > host => (true, 0),
            _ => (false, ST2_SCAN_NOT_SATISFIED),
        }
    }

    /// The ID that the result shows: that of the next sector.
    fn next_id(&mut self) {
        if self.r != self.last {
            self.r = self.r.wrapping_add(1);
            return;
        }
        self.r = 1;
        if self.multi_track {
            self.h ^= 1;
        }
        if !self.multi_track || self.h & 1 == 0 {
            self.c = self.c.wrapping_add(1);
        }
    }
}

impl Fdc {
    /// Begins the execution phase.
    pub(super) fn start(&mut self, kind: Data, bytes: &[u8], now: VmTime) {
        let mut job = Job::new(kind, bytes);
        if job.has_id() || kind == Data::Format {
            self.last_sector = job.last;
        }
        let by = i32::from(job.c) - i32::from(self.cylinders[usize::from(job.unit)]);
        if job.has_id() && self.config & CONFIG_IMPLIED_SEEK != 0 && by != 0 {
            job.wait_for(Wait::Seek, Some(now.plus_ns(self.step_time_ns(by))));
            self.job = Some(job);
        } else {
            self.prepare(job, now);
        }
    }

    /// The motors or disks have changed: a job that waits for them looks again.
    pub(super) fn look_again(&mut self, now: VmTime) {
        if let Some(job) = self.job.take_if(|job| job.wait == Wait::Disk) {
            self.prepare(job, now);
        }
    }

    /// Before a sector: what the host has to give comes first where there is no DMA.
    fn prepare(&mut self, mut job: Job, now: VmTime) {
        let more = job.kind != Data::Format || job.done < job.last;
        if self.non_dma() && more && job.wants().is_some_and(|bytes| job.data.len() < bytes) {
            job.wait_for(Wait::HostGives, None);
            self.interrupt = true;
        } else {
            self.locate(&mut job, now);
        }
        self.job = Some(job);
    }

    /// When the disk brings what the job wants.
    fn locate(&mut self, job: &mut Job, now: VmTime) {
        let unit = usize::from(job.unit);
        let Some(drive) = self.drive(unit).filter(|drive| drive.disk.is_some() && self.motor_on(unit)) else {
            return job.wait_for(Wait::Disk, None);
        };
        let fail = |st1, st2| {
            // The second index hole tells that the whole track was looked at.
            let at = drive.next_index(now).plus_ns(drive.kind.rotation_ns());
            (Wait::End(job.st1 | st1, job.st2 | st2), at)
        };
        let writes = matches!(job.kind, Data::Write { .. } | Data::Format);
        let format = drive.readable(job.head, self.rate).filter(|_| job.mfm);
        let (wait, at) = match (job.kind, format) {
            _ if writes && drive.write_protected() => {
                (Wait::End(ST1_NOT_WRITABLE, 0), now.plus_ns(REFUSAL_NS))
            }
            (Data::Format, _) if job.done == 0 => {
                let at = drive.next_index(now).plus_ns(drive.slot_ns(job.last));
                (if job.last == 0 { Wait::End(0, 0) } else { Wait::Sector }, at)
            }
            (Data::Format, _) if job.done < job.last => (Wait::Sector, now.plus_ns(drive.slot_ns(job.last))),
            (Data::Format, _) => (Wait::End(job.st1, job.st2), now.plus_ns(REFUSAL_NS)),
            (_, None) => fail(ST1_NO_ADDRESS_MARK, 0),
            (Data::ReadId, Some(format)) => {
                let (sector, at) = drive.next_sector(now, format.sectors);
                (Wait::Id(sector), at.plus_ns(drive.slot_ns(format.sectors) / 8))
            }
            (Data::ReadTrack, Some(format)) if job.done < format.sectors => {
                let at = drive.next_pass(now, job.done, format.sectors);
                (Wait::Sector, at.plus_ns(data_ns(drive.slot_ns(format.sectors))))
            }
            (Data::ReadTrack, _) => fail(ST1_NO_DATA, 0),
            (_, Some(_)) if job.c != drive.cylinder => fail(ST1_NO_DATA, ST2_WRONG_CYLINDER),
            (_, Some(format)) if !is_id(job, format) => fail(ST1_NO_DATA, 0),
            (_, Some(format)) => {
                let at = drive.next_pass(now, job.r - 1, format.sectors);
                (Wait::Sector, at.plus_ns(data_ns(drive.slot_ns(format.sectors))))
            }
        };
        job.wait_for(wait, Some(at));
    }

    /// What the job waited for has come, if it is due at `now`.
    pub(super) fn go_on(&mut self, now: VmTime, host: &mut dyn Host) {
        let Some(mut job) = self.job.take_if(|job| job.at.is_some_and(|at| at <= now)) else { return };
        match job.wait {
            Wait::Seek => {
                let unit = usize::from(job.unit);
                let by = i32::from(job.c) - i32::from(self.cylinders[unit]);
                self.move_head(unit, by, job.c);
                self.prepare(job, now);
            }
            Wait::End(st1, st2) => self.end(&job, st1, st2),
            _ => {
                match self.drive(usize::from(job.unit)).and_then(|drive| drive.readable(job.head, self.rate))
                {
                    // The disk is gone, the motor stands, or it is formatted anew.
                    format
                        if job.kind != Data::Format
                            && (format.is_none() || !self.motor_on(usize::from(job.unit))) =>
                    {
                        self.prepare(job, now);
                    }
                    format => match (job.wait, job.kind) {
                        (Wait::Id(sector), _) => {
                            job.c = self.drives[usize::from(job.unit & 1)]
                                .as_ref()
                                .map_or(0, |drive| drive.cylinder);
                            (job.h, job.r, job.n) = (job.head, sector, SECTOR_CODE);
                            self.end(&job, 0, 0);
                        }
                        (_, Data::Format) => self.format_sector(job, format, now, host),
                        _ => {
                            if let Some(format) = format {
                                self.pass_sector(job, format, now, host);
                            }
                        }
                    },
                }
            }
        }
    }

    /// A sector passes the head.
    fn pass_sector(&mut self, mut job: Job, format: Format, now: VmTime, host: &mut dyn Host) {
        // By the data sheet a last sector that the track does not have is looked for in vain. QEMU goes on with the other side,
        // and boot sectors that read more than a track at once have only ever run there.
        if job.multi_track {
            job.last = job.last.min(format.sectors);
        }
        let unit = usize::from(job.unit);
        let cylinder = self.drive(unit).map_or(0, |drive| drive.cylinder);
        let sector = if job.kind == Data::ReadTrack { job.done + 1 } else { job.r };
        let index = format.index(cylinder, job.head, sector);
        let marked = self.is_deleted(unit, index);
        let wants_marked = matches!(job.kind, Data::Read { deleted: true });
        let other_mark = match job.kind {
            Data::Read { .. } | Data::Verify | Data::Scan(_) => marked != wants_marked,
            _ => false,
        };
        if other_mark {
            job.st2 |= ST2_CONTROL_MARK;
            if job.skip {
                return self.next(job, false, now);
            }
        }
        let mut bytes = [0; SECTOR_BYTES];
        match job.kind {
            Data::Write { deleted } => {
                let Some(terminal) = self.take_from_host(&mut job, &mut bytes, host) else {
                    return self.end(&job, ST1_OVERRUN, 0);
                };
                host.write_sector(self.medium(unit), index, &bytes);
                self.mark(unit, index, deleted);
                self.next(job, terminal, now);
            }
            Data::Scan(scan) => {
                let mut wanted = [0xff; SECTOR_BYTES];
                let Some(terminal) = self.take_from_host(&mut job, &mut wanted, host) else {
                    return self.end(&job, ST1_OVERRUN, 0);
                };
                host.read_sector(self.medium(unit), index, &mut bytes);
                let (satisfied, st2) = job.scan(scan, &bytes, &wanted);
                job.st2 = job.st2 & !ST2_SCAN_NOT_SATISFIED | st2;
                self.next(job, satisfied || terminal || other_mark, now);
            }
            Data::Verify => self.next(job, other_mark, now),
            _ => {
                host.read_sector(self.medium(unit), index, &mut bytes);
                if job.kind == Data::ReadTrack && (job.c, job.h, job.n) != (cylinder, job.head, SECTOR_CODE) {
                    job.st1 |= ST1_NO_DATA;
                }
                if self.non_dma() {
                    job.data = bytes.to_vec();
                    job.data.reverse();
                    job.wait_for(Wait::HostTakes, None);
                    self.interrupt = true;
                    self.job = Some(job);
                    return;
                }
                let moved = self.dma(Transfer::ToMemory(&bytes), host);
                if moved.bytes < SECTOR_BYTES && !moved.terminal {
                    return self.end(&job, ST1_OVERRUN, 0);
                }
                self.next(job, moved.terminal || other_mark, now);
            }
        }
    }

    /// An ID of FORMAT TRACK: the sector gets the filler byte, if the image has a place for it.
    fn format_sector(&mut self, mut job: Job, format: Option<Format>, now: VmTime, host: &mut dyn Host) {
        let unit = usize::from(job.unit);
        let mut id = [0; ID_BYTES];
        let Some(terminal) = self.take_from_host(&mut job, &mut id, host) else {
            return self.end(&job, ST1_OVERRUN, 0);
        };
        [job.c, job.h, job.r, _] = id;
        let cylinder = self.drive(unit).map_or(0, |drive| drive.cylinder);
        let format = format.filter(|format| {
            job.mfm
                && job.last == format.sectors
                && is_id(&job, *format)
                && (id[0], id[3]) == (cylinder, SECTOR_CODE)
        });
        match format {
            Some(format) => {
                let index = format.index(cylinder, job.head, job.r);
                host.write_sector(self.medium(unit), index, &[job.count; SECTOR_BYTES]);
                self.mark(unit, index, false);
            }
            None => tracing::debug!(?id, sectors = job.last, "formatting what no image has a place for"),
        }
        job.done = job.done.saturating_add(1);
        if terminal {
            job.done = job.last;
        }
        self.prepare(job, now);
    }

    /// After a sector; `ends` if it was the last one for a reason of its own.
    fn next(&mut self, mut job: Job, mut ends: bool, now: VmTime) {
        if job.kind == Data::ReadTrack {
            job.done += 1;
            job.r = job.r.wrapping_add(1);
            return match ends || job.done >= job.last {
                true => self.end(&job, job.st1, job.st2),
                false => self.prepare(job, now),
            };
        }
        if job.counted {
            job.count = job.count.wrapping_sub(1);
            ends |= job.count == 0;
        }
        let step = if matches!(job.kind, Data::Scan(_)) && job.count == 2 { 2 } else { 1 };
        let past = u16::from(job.r) + step > u16::from(job.last);
        // A scan that found nothing has looked at all there is, and so has a verification without a number.
        let complete = matches!(job.kind, Data::Scan(_)) || (job.kind == Data::Verify && !job.counted);
        if ends || (past && !(job.multi_track && job.head == 0)) {
            let st1 = if ends || complete { 0 } else { ST1_END_OF_CYLINDER };
            job.next_id();
            return self.end(&job, st1, job.st2);
        }
        if past {
            (job.head, job.h, job.r) = (1, job.h ^ 1, 1);
        } else {
            job.r += step as u8;
        }
        self.prepare(job, now);
    }

    /// Ends the execution phase.
    fn end(&mut self, job: &Job, st1: u8, st2: u8) {
        let failed = if st1 == 0 { 0 } else { ST0_ABNORMAL };
        let st0 = failed | job.head << 2 | job.unit;
        self.result.extend([st0, st1, st2, job.c, job.h, job.r, job.n]);
        self.interrupt = true;
    }

    fn dma(&self, data: Transfer, host: &mut dyn Host) -> crate::board::dma::Moved {
        let gate = self.dor & DOR_DMA_GATE != 0;
        host.transfer(if gate { data } else { Transfer::Count(0) })
    }

    /// Fills `bytes` with what the host gives, and tells whether that was the last; `None` if it gives nothing.
    fn take_from_host(&self, job: &mut Job, bytes: &mut [u8], host: &mut dyn Host) -> Option<bool> {
        if self.non_dma() {
            let given = std::mem::take(&mut job.data);
            bytes.iter_mut().zip(given).for_each(|(byte, given)| *byte = given);
            return Some(false);
        }
        let wanted = bytes.len();
        let moved = self.dma(Transfer::FromMemory(bytes), host);
        (moved.bytes == wanted || moved.terminal).then_some(moved.terminal)
    }

    /// The host reads data from the FIFO.
    pub(super) fn give_data(&mut self, now: VmTime) -> Option<u8> {
        let job = self.job.as_mut().filter(|job| job.wait == Wait::HostTakes)?;
        let byte = job.data.pop();
        if job.data.is_empty() {
            self.interrupt = false;
            let job = self.job.take()?;
            let ends = job.st2 & ST2_CONTROL_MARK != 0 && !job.skip;
            self.next(job, ends, now);
        }
        byte
    }

    /// The host writes to the FIFO: true if that was data, or came when nothing was wanted.
    pub(super) fn take_data(&mut self, byte: u8, now: VmTime) -> bool {
        let Some(job) = self.job.as_mut() else { return false };
        if job.wait == Wait::HostGives {
            job.data.push(byte);
            if job.wants().is_none_or(|bytes| job.data.len() >= bytes)
                && let Some(job) = self.job.take()
            {
                self.interrupt = false;
                self.prepare(job, now);
            }
        }
        true
    }

    /// The number of the disk in a drive, which has one.
    fn medium(&self, unit: usize) -> usize {
        self.drive(unit).and_then(|drive| drive.disk.as_ref()).map_or(usize::MAX, |disk| disk.medium)
    }

    fn is_deleted(&self, unit: usize, index: u16) -> bool {
        let disk = self.drive(unit).and_then(|drive| drive.disk.as_ref());
        disk.is_some_and(|disk| disk.deleted.contains(&index))
    }

    /// Notes the data address mark that a sector is written with.
    fn mark(&mut self, unit: usize, index: u16, deleted: bool) {
        let drive = self.drives.get_mut(unit).and_then(Option::as_mut);
        if let Some(disk) = drive.and_then(|drive| drive.disk.as_mut()) {
            if deleted {
                disk.deleted.insert(index);
            } else {
                disk.deleted.remove(&index);
            }
        }
    }
}

/// Whether the track has a sector with the head, number and size that the job wants.
fn is_id(job: &Job, format: Format) -> bool {
    job.h == job.head && job.n == SECTOR_CODE && (1..=format.sectors).contains(&job.r)
}

/// From the start of a slot until its data has passed: the gaps at its end are time for the host.
fn data_ns(slot_ns: u64) -> u64 {
    slot_ns / 8 * 7
}
