//! qcow2 images, which are read and never written.
//!
//! Reference: QEMU, docs/interop/qcow2.txt. A disk is divided into clusters. A table of the first level (L1) names tables of the
//! second (L2), and these say for each cluster where it is in the file, that it holds zeros, that it is compressed,
//! or that it is what the image below has.

mod header;

pub use header::{Backing, Header, MAGIC};

use super::SharedSource;
use header::Compression;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read};
use std::sync::{Arc, Mutex};
use vm::BlockSource;

const OFFSET_MASK: u64 = 0x00ff_ffff_ffff_fe00;
const COMPRESSED: u64 = 1 << 62;
const ALL_ZEROS: u64 = 1;
/// What compressed data is counted in.
const SECTOR_BYTES: u64 = 512;
/// Parts of a cluster in an image with extended tables.
const PARTS: u64 = 32;
/// Bytes of L2 tables that are kept.
const TABLES_KEPT_BYTES: usize = 8 << 20;

/// An image.
#[derive(Debug)]
pub struct Qcow2 {
    file: Arc<dyn SharedSource>,
    file_bytes: u64,
    header: Header,
    l1: Vec<u64>,
    below: Option<Arc<dyn SharedSource>>,
    kept: Mutex<Kept>,
}

/// What was read last, as it is often read again.
#[derive(Debug, Default)]
struct Kept {
    /// Tables of the second level, by their place in the file.
    tables: BTreeMap<u64, Arc<[u64]>>,
    /// A cluster that was decompressed, and its entry.
    cluster: Option<(u64, Vec<u8>)>,
}

/// Where a part of the disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Below,
    Zeros,
    /// At this offset of the file.
    File(u64),
    /// In the cluster of this entry.
    Compressed(u64),
}

impl Qcow2 {
    /// Reads the header and the first table of the image in `file`.
    ///
    /// # Errors
    /// If it is damaged, was cut off, or has a feature that is not there.
    pub fn open(file: Arc<dyn SharedSource>, file_bytes: u64) -> Result<Qcow2, String> {
        let header = Header::read(&*file, file_bytes)?;
        let mut bytes = vec![0; header.l1_entries as usize * 8];
        file.read_at(header.l1_offset, &mut bytes).map_err(|e| e.to_string())?;
        Ok(Qcow2 { file, file_bytes, header, l1: entries(&bytes), below: None, kept: Mutex::default() })
    }

    /// Size of the disk in bytes.
    pub fn bytes(&self) -> u64 {
        self.header.bytes
    }

    /// The image below.
    pub fn backing(&self) -> Option<&Backing> {
        self.header.backing.as_ref()
    }

    /// Gives it the image below.
    pub fn set_below(&mut self, below: Arc<dyn SharedSource>) {
        self.below = Some(below);
    }

    fn cluster_bytes(&self) -> u64 {
        1 << self.header.cluster_bits
    }

    /// Where the byte at `offset` of the disk is, and how many bytes from there on are in one piece.
    fn find(&self, offset: u64) -> io::Result<(Place, u64)> {
        let within = offset & (self.cluster_bytes() - 1);
        let whole = self.cluster_bytes() - within;
        let index = offset >> self.header.cluster_bits;
        let table = usize::try_from(index >> self.header.l2_bits()).ok();
        let table = table.and_then(|at| self.l1.get(at)).map_or(0, |entry| entry & OFFSET_MASK);
        if table == 0 {
            return Ok((Place::Below, whole));
        }
        let entries = self.table(table)?;
        let at = (index & ((1 << self.header.l2_bits()) - 1)) as usize;
        if self.header.extended_l2 {
            return self.find_part(entries[2 * at], entries[2 * at + 1], within);
        }
        let entry = entries[at];
        let place = match entry & OFFSET_MASK {
            _ if entry & COMPRESSED != 0 => Place::Compressed(entry),
            _ if entry & ALL_ZEROS != 0 && self.header.zero_flag => Place::Zeros,
            0 => Place::Below,
            start => Place::File(self.inside(start, within)?),
        };
        Ok((place, whole))
    }

    /// [`Self::find`] in a cluster that is divided: `parts` has a bit for each part that is in the file, and 32 above for those
    /// that are zeros.
    fn find_part(&self, entry: u64, parts: u64, within: u64) -> io::Result<(Place, u64)> {
        if entry & COMPRESSED != 0 {
            return Ok((Place::Compressed(entry), self.cluster_bytes() - within));
        }
        let part_bytes = self.cluster_bytes() / PARTS;
        let part = within / part_bytes;
        let place = match (parts >> part & 1 != 0, parts >> (part + 32) & 1 != 0) {
            (_, true) => Place::Zeros,
            (true, false) => Place::File(self.inside(entry & OFFSET_MASK, within)?),
            (false, false) => Place::Below,
        };
        Ok((place, part_bytes - within % part_bytes))
    }

    /// A place in the file, which may end within its last cluster.
    fn inside(&self, start: u64, within: u64) -> io::Result<u64> {
        if start == 0 || start >= self.file_bytes {
            return Err(cut_off());
        }
        Ok(start + within)
    }

    fn kept(&self) -> io::Result<std::sync::MutexGuard<'_, Kept>> {
        self.kept.lock().map_err(|_| io::Error::other("lost"))
    }

    /// The table of the second level at `start` of the file.
    fn table(&self, start: u64) -> io::Result<Arc<[u64]>> {
        let mut kept = self.kept()?;
        if let Some(table) = kept.tables.get(&start) {
            return Ok(table.clone());
        }
        if start.saturating_add(self.cluster_bytes()) > self.file_bytes {
            return Err(cut_off());
        }
        let mut bytes = vec![0; self.cluster_bytes() as usize];
        self.file.read_at(start, &mut bytes)?;
        let table: Arc<[u64]> = entries(&bytes).into();
        if (kept.tables.len() + 1) * bytes.len() > TABLES_KEPT_BYTES {
            kept.tables.clear();
        }
        kept.tables.insert(start, table.clone());
        Ok(table)
    }

    /// Fills `buf` from byte `within` on of the compressed cluster of `entry`.
    fn read_compressed(&self, entry: u64, within: usize, buf: &mut [u8]) -> io::Result<()> {
        let mut kept = self.kept()?;
        let cluster = match kept.cluster.take() {
            Some((of, bytes)) if of == entry => bytes,
            _ => self.decompress(entry)?,
        };
        buf.copy_from_slice(&cluster[within..within + buf.len()]);
        kept.cluster = Some((entry, cluster));
        Ok(())
    }

    fn decompress(&self, entry: u64) -> io::Result<Vec<u8>> {
        // "Compressed Clusters Descriptor": the offset, and above it the number of further sectors.
        let offset_bits = 62 - (self.header.cluster_bits - 8);
        let offset = entry & ((1 << offset_bits) - 1);
        let sectors = 1 + ((entry & !(1 << 63) & !COMPRESSED) >> offset_bits);
        let end = (offset - offset % SECTOR_BYTES + sectors * SECTOR_BYTES).min(self.file_bytes);
        let Some(len @ 1..) = end.checked_sub(offset) else { return Err(cut_off()) };
        let mut data = vec![0; len as usize];
        self.file.read_at(offset, &mut data)?;
        let mut cluster = vec![0; self.cluster_bytes() as usize];
        let filled = match self.header.compression {
            Compression::Deflate => flate2::read::DeflateDecoder::new(&data[..]).read_exact(&mut cluster),
            Compression::Zstd => zstd::Decoder::with_buffer(&data[..])
                .and_then(|decoder| decoder.single_frame().read_exact(&mut cluster)),
        };
        filled.map_err(|e| {
            io::Error::new(
                ErrorKind::InvalidData,
                format!("the compressed cluster at byte {offset} of the file is damaged: {e}"),
            )
        })?;
        Ok(cluster)
    }
}

impl BlockSource for Qcow2 {
    fn read_at(&self, mut offset: u64, mut buf: &mut [u8]) -> io::Result<()> {
        while !buf.is_empty() {
            let left = self.header.bytes.saturating_sub(offset);
            if left == 0 {
                buf.fill(0);
                break;
            }
            let (place, contiguous) = self.find(offset)?;
            let len = contiguous.min(left).min(buf.len() as u64);
            let (now, rest) = buf.split_at_mut(len as usize);
            match (place, &self.below) {
                (Place::Below, Some(below)) => below.read_at(offset, now)?,
                (Place::Below, None) | (Place::Zeros, _) => now.fill(0),
                (Place::File(at), _) => self.file.read_at(at, now)?,
                (Place::Compressed(entry), _) => {
                    let within = offset & (self.cluster_bytes() - 1);
                    self.read_compressed(entry, within as usize, now)?;
                }
            }
            (offset, buf) = (offset + len, rest);
        }
        Ok(())
    }
}

fn cut_off() -> io::Error {
    io::Error::new(
        ErrorKind::UnexpectedEof,
        "the qcow2 image points beyond the end of its file: it was cut off",
    )
}

fn entries(bytes: &[u8]) -> Vec<u64> {
    let numbers = bytes.chunks_exact(8);
    numbers.map(|b| u64::from_be_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]])).collect()
}

#[cfg(test)]
mod tests;
