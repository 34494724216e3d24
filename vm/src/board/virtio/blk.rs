//! A disk.
//!
//! Reference: Virtio 1.1, 5.2 "Block Device". Requests are done one after the other.

use super::queue::{Broken, Chain, Piece, Queue, SIZE_MAX, gather, part, scatter, total};
use super::{Device, Step};
use crate::board::cards::CardBus;
use crate::media::MediumShape;
use serde::{Deserialize, Serialize};

/// Most pieces of a request's data.
const SEG_MAX: u64 = 1 << 2;
const READ_ONLY: u64 = 1 << 5;
const FLUSH: u64 = 1 << 9;

const SECTOR_BYTES: u64 = 512;
/// Type, reserved, first sector.
const HEADER_BYTES: u64 = 16;
/// Bytes of a disk's name.
const ID_BYTES: usize = 20;

const TYPE_IN: u32 = 0;
const TYPE_OUT: u32 = 1;
const TYPE_FLUSH: u32 = 4;
const TYPE_GET_ID: u32 = 8;

const STATUS_OK: u8 = 0;
const STATUS_ERROR: u8 = 1;
const STATUS_UNSUPPORTED: u8 = 2;

/// At most so much is moved at once.
const STEP_BYTES: u64 = 64 << 10;
/// What moving a byte takes, and what a request takes beside.
const NS_PER_BYTE: u64 = 2;
const REQUEST_NS: u64 = 10_000;

/// The disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Blk {
    medium: MediumShape,
    job: Option<Job>,
}

/// A request that is being done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Job {
    chain: Chain,
    write: bool,
    /// First byte on the disk.
    at: u64,
    bytes: u64,
    done: u64,
}

impl Blk {
    /// A disk with this medium.
    pub fn new(medium: MediumShape) -> Blk {
        Blk { medium, job: None }
    }

    /// Looks at a request. One that moves nothing is over with the status that is given.
    fn begin(&self, chain: Chain, bus: &mut CardBus) -> Result<Result<Job, (Chain, u8, u32)>, Broken> {
        let (readable, writable) = (total(&chain.readable), total(&chain.writable));
        if readable < HEADER_BYTES || writable == 0 {
            return Err(Broken);
        }
        let header = gather(&part(&chain.readable, 0, HEADER_BYTES), bus);
        let header = u128::from_le_bytes(header.try_into().map_err(|_| Broken)?);
        let (kind, sector) = (header as u32, (header >> 64) as u64);
        let bytes = match kind {
            TYPE_IN => writable - 1,
            TYPE_OUT => readable - HEADER_BYTES,
            TYPE_FLUSH => return Ok(Err((chain, STATUS_OK, 0))),
            TYPE_GET_ID => {
                let mut name = [0; ID_BYTES];
                let text = format!("RG{:08}", self.medium.number + 1);
                name[..text.len()].copy_from_slice(text.as_bytes());
                let room = part(&chain.writable, 0, (writable - 1).min(ID_BYTES as u64));
                scatter(&room, &name, bus);
                let written = total(&room) as u32;
                return Ok(Err((chain, STATUS_OK, written)));
            }
            _ => return Ok(Err((chain, STATUS_UNSUPPORTED, 0))),
        };
        let write = kind == TYPE_OUT;
        let at = sector.saturating_mul(SECTOR_BYTES);
        let fits = at.saturating_add(bytes) <= self.medium.bytes && bytes.is_multiple_of(SECTOR_BYTES);
        if !fits || (write && self.medium.read_only) {
            return Ok(Err((chain, STATUS_ERROR, 0)));
        }
        Ok(Ok(Job { chain, write, at, bytes, done: 0 }))
    }

    /// Moves some of a request's bytes; how many.
    fn go_on(job: &mut Job, medium: usize, bus: &mut CardBus) -> u64 {
        let bytes = (job.bytes - job.done).min(STEP_BYTES);
        let at = job.at + job.done;
        if job.write {
            let pieces = part(&job.chain.readable, HEADER_BYTES + job.done, bytes);
            let data = gather(&pieces, bus);
            bus.write_medium(medium, at, &data);
        } else {
            let mut data = vec![0; bytes as usize];
            bus.read_medium(medium, at, &mut data);
            scatter(&part(&job.chain.writable, job.done, bytes), &data, bus);
        }
        job.done += bytes;
        bytes
    }
}

/// The status is the last byte of what can be written.
fn finish(chain: &Chain, status: u8, written: u32, queue: &mut Queue, bus: &mut CardBus) -> Step {
    let last = total(&chain.writable) - 1;
    let place: Vec<Piece> = part(&chain.writable, last, 1);
    scatter(&place, &[status], bus);
    let wanted = queue.give_back(chain, written.wrapping_add(1), bus);
    Step { interrupt: wanted.then_some(0), more_in_ns: Some(REQUEST_NS) }
}

impl Device for Blk {
    fn features(&self) -> u64 {
        SEG_MAX | FLUSH | if self.medium.read_only { READ_ONLY } else { 0 }
    }

    fn queues(&self) -> &'static [u16] {
        &[SIZE_MAX]
    }

    fn config(&self) -> Vec<u8> {
        let mut config = (self.medium.bytes / SECTOR_BYTES).to_le_bytes().to_vec();
        config.extend([0; 4]); // size_max
        config.extend((u32::from(SIZE_MAX) - 2).to_le_bytes());
        config.resize(60, 0);
        config
    }

    fn reset(&mut self) {
        self.job = None;
    }

    fn step(&mut self, queues: &mut [Queue], _: u64, bus: &mut CardBus) -> Result<Step, Broken> {
        let queue = &mut queues[0];
        if self.job.is_none() {
            let Some(chain) = queue.take(bus)? else { return Ok(Step::default()) };
            match self.begin(chain, bus)? {
                Ok(job) => self.job = Some(job),
                Err((chain, status, written)) => return Ok(finish(&chain, status, written, queue, bus)),
            }
        }
        let Some(job) = &mut self.job else { return Ok(Step::default()) };
        let bytes = Blk::go_on(job, self.medium.number, bus);
        if job.done < job.bytes {
            return Ok(Step { interrupt: None, more_in_ns: Some(bytes * NS_PER_BYTE) });
        }
        let written = if job.write { 0 } else { job.bytes as u32 };
        let chain = std::mem::take(&mut job.chain);
        self.job = None;
        Ok(finish(&chain, STATUS_OK, written, queue, bus))
    }
}
