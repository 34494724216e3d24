//! What the header of a qcow2 image says.
//!
//! Reference: QEMU, docs/interop/qcow2.txt, "Header" and "Header extensions". All numbers are big-endian.

use std::io;
use vm::BlockSource;

/// The first bytes of an image.
pub const MAGIC: &[u8] = b"QFI\xfb";

/// Bytes of the header that are looked at; extensions may follow.
const HEADER_BYTES: usize = 112;
/// A header of version 2 has no length of its own.
const VERSION_2_BYTES: u32 = 72;
/// Extensions are not looked for beyond this.
const EXTENSIONS_END: usize = 64 << 10;
const L1_ENTRIES_MAX: u64 = 4 << 20;
const BACKING_NAME_MAX: u32 = 1023;

const DIRTY: u64 = 1 << 0;
const CORRUPT: u64 = 1 << 1;
const EXTERNAL_DATA: u64 = 1 << 2;
const COMPRESSION_TYPE: u64 = 1 << 3;
const EXTENDED_L2: u64 = 1 << 4;
/// Features that make no difference to a reader, or that are read here.
const KNOWN: u64 = DIRTY | COMPRESSION_TYPE | EXTENDED_L2;

const EXTENSION_END: u32 = 0;
const EXTENSION_BACKING_FORMAT: u32 = 0xe279_2aca;
const EXTENSION_FEATURE_NAMES: u32 = 0x6803_f857;
/// A name: kind, bit, text.
const FEATURE_NAME_BYTES: usize = 48;
const KIND_INCOMPATIBLE: u8 = 0;

/// How clusters are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    Deflate,
    Zstd,
}

/// The header.
#[derive(Debug)]
pub struct Header {
    /// Size of the disk in bytes.
    pub bytes: u64,
    pub cluster_bits: u32,
    /// Clusters are divided into 32 parts each.
    pub extended_l2: bool,
    /// Entries can say that a cluster holds zeros.
    pub zero_flag: bool,
    pub compression: Compression,
    pub l1_offset: u64,
    pub l1_entries: u64,
    /// The image below, as it is named here.
    pub backing: Option<Backing>,
}

/// What the image below is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backing {
    pub name: String,
    /// Its format, if that is said.
    pub format: Option<String>,
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]))
}

fn be64(bytes: &[u8], at: usize) -> u64 {
    u64::from(be32(bytes, at)) << 32 | u64::from(be32(bytes, at + 4))
}

fn unreadable(error: io::Error) -> String {
    error.to_string()
}

impl Header {
    /// Reads the header of an image of version 2 or 3.
    ///
    /// # Errors
    /// If it needs something that is not there, with the name of that.
    pub fn read(file: &dyn BlockSource, file_bytes: u64) -> Result<Header, String> {
        let mut start = [0; HEADER_BYTES];
        file.read_at(0, &mut start).map_err(unreadable)?;
        let version = be32(&start, 4);
        let (features, header_bytes) = match version {
            2 => (0, VERSION_2_BYTES),
            3 => (be64(&start, 72), be32(&start, 100)),
            _ => return Err(format!("qcow2 version {version} is not known; versions 2 and 3 are")),
        };
        if header_bytes < VERSION_2_BYTES || u64::from(header_bytes) > file_bytes {
            return Err("its header is damaged, or it was cut off".into());
        }
        let extensions = Extensions::read(file, header_bytes as usize)?;
        check_features(features, &extensions)?;
        if be32(&start, 32) != 0 {
            return Err("it is encrypted; decrypt it with `qemu-img convert`".into());
        }
        let cluster_bits = be32(&start, 20);
        let extended_l2 = features & EXTENDED_L2 != 0;
        // 512 bytes to 2 MiB; a part of a cluster is no smaller than 512 bytes.
        let smallest = if extended_l2 { 14 } else { 9 };
        if !(smallest..=21).contains(&cluster_bits) {
            return Err(format!("clusters of 2^{cluster_bits} bytes are not possible"));
        }
        let compression = match start[104] {
            _ if header_bytes <= 104 || features & COMPRESSION_TYPE == 0 => Compression::Deflate,
            0 => Compression::Deflate,
            1 => Compression::Zstd,
            other => return Err(format!("compression type {other} is not known; zlib and zstd are")),
        };
        let header = Header {
            bytes: be64(&start, 24),
            cluster_bits,
            extended_l2,
            zero_flag: version >= 3,
            compression,
            l1_offset: be64(&start, 40),
            l1_entries: be32(&start, 36).into(),
            backing: backing(file, &start, extensions.backing_format)?,
        };
        header.check_tables(file_bytes)?;
        Ok(header)
    }

    /// Entries of a table of the second level, as a power of two.
    pub fn l2_bits(&self) -> u32 {
        self.cluster_bits - if self.extended_l2 { 4 } else { 3 }
    }

    fn check_tables(&self, file_bytes: u64) -> Result<(), String> {
        let needed = self.bytes.div_ceil(1 << (self.cluster_bits + self.l2_bits()));
        if self.l1_entries < needed || self.l1_entries > L1_ENTRIES_MAX {
            return Err(format!("its table of {} entries does not fit its size", self.l1_entries));
        }
        match self.l1_offset.checked_add(self.l1_entries * 8) {
            Some(end) if end <= file_bytes => Ok(()),
            _ => Err("its table lies beyond the end of the file: it was cut off".into()),
        }
    }
}

fn check_features(features: u64, extensions: &Extensions) -> Result<(), String> {
    if features & CORRUPT != 0 {
        return Err("it is marked as corrupt; repair it with `qemu-img check -r all`".into());
    }
    let unknown = features & !KNOWN;
    if unknown == 0 {
        return Ok(());
    }
    let bit = unknown.trailing_zeros() as u8;
    let name = match extensions.feature_names.iter().find(|(number, _)| *number == bit) {
        Some((_, name)) => name.clone(),
        None if unknown & EXTERNAL_DATA != 0 => "external data file".to_owned(),
        None => format!("bit {bit}"),
    };
    Err(format!(
        "it has the qcow2 feature `{name}`, which is not supported; `qemu-img convert -O raw` makes a raw image of it"
    ))
}

fn backing(file: &dyn BlockSource, start: &[u8], format: Option<String>) -> Result<Option<Backing>, String> {
    let (offset, len) = (be64(start, 8), be32(start, 16));
    if offset == 0 || len == 0 {
        return Ok(None);
    }
    if len > BACKING_NAME_MAX {
        return Err("the name of its backing file is too long".into());
    }
    let mut name = vec![0; len as usize];
    file.read_at(offset, &mut name).map_err(unreadable)?;
    let name = String::from_utf8(name).map_err(|_| "the name of its backing file is no text")?;
    Ok(Some(Backing { name, format }))
}

/// What of the extensions is of interest.
#[derive(Debug, Default)]
struct Extensions {
    backing_format: Option<String>,
    /// Names of incompatible features, by bit.
    feature_names: Vec<(u8, String)>,
}

impl Extensions {
    fn read(file: &dyn BlockSource, mut at: usize) -> Result<Extensions, String> {
        let mut found = Extensions::default();
        while at < EXTENSIONS_END {
            let mut head = [0; 8];
            file.read_at(at as u64, &mut head).map_err(unreadable)?;
            let (kind, len) = (be32(&head, 0), be32(&head, 4) as usize);
            if kind == EXTENSION_END || len > EXTENSIONS_END {
                break;
            }
            let mut data = vec![0; len];
            file.read_at(at as u64 + 8, &mut data).map_err(unreadable)?;
            match kind {
                EXTENSION_BACKING_FORMAT => {
                    found.backing_format = Some(String::from_utf8_lossy(&data).into_owned());
                }
                EXTENSION_FEATURE_NAMES => {
                    let names = data.chunks_exact(FEATURE_NAME_BYTES);
                    let names = names.filter(|name| name[0] == KIND_INCOMPATIBLE).map(|name| {
                        let text = name[2..].split(|byte| *byte == 0).next().unwrap_or_default();
                        (name[1], String::from_utf8_lossy(text).into_owned())
                    });
                    found.feature_names = names.collect();
                }
                _ => {}
            }
            at += 8 + len.next_multiple_of(8);
        }
        Ok(found)
    }
}
