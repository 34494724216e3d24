//! Image files of the host. They are opened for reading only and locked against programs that would change them.

use super::qcow2::{self, Backing, Qcow2};
use super::{Shared, SharedSource};
use rustix::process::{Flock, FlockType, fcntl_getlk};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;
use vm::BlockSource;
use xxhash_rust::xxh3::Xxh3;

/// Bytes read at once for the hash.
const HASH_STEP: u64 = 1 << 20;
/// Images that may lie below each other.
const CHAIN_MAX: usize = 64;

/// Why a file cannot be used as an image.
#[derive(Debug, Error)]
#[error("{}: {what}", path.display())]
pub struct ImageError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub what: String,
}

/// An opened image.
#[derive(Clone, Debug)]
pub struct Image {
    path: PathBuf,
    source: Arc<dyn SharedSource>,
    bytes: u64,
    is_qcow2: bool,
    /// The file, if it may be written to.
    writer: Option<Arc<File>>,
}

impl Image {
    /// Opens an image to be read. It stays locked against changes as long as it is used.
    pub fn open(path: &Path) -> Result<Image, ImageError> {
        Image::open_as(path, false)
    }

    /// Opens an image to be read, and written to at the end. It stays locked against all other use.
    pub fn open_for_writing(path: &Path) -> Result<Image, ImageError> {
        Image::open_as(path, true)
    }

    fn open_as(path: &Path, write: bool) -> Result<Image, ImageError> {
        let error = |what: String| ImageError { path: path.to_owned(), what };
        let opened = open_file(path, write).map_err(error)?;
        let OpenFile { file, bytes, start } = opened;
        if bytes == 0 {
            return Err(error("it is empty".to_owned()));
        }
        if start.starts_with(qcow2::MAGIC) {
            if write {
                return Err(error(
                    "a qcow2 image is not written to: convert it with `qemu-img convert -O raw`".to_owned(),
                ));
            }
            let source = open_qcow2(path, ReadFile { file: Arc::new(file), bytes }, CHAIN_MAX)?;
            let bytes = source.bytes();
            return Ok(Image {
                path: path.to_owned(),
                source: Arc::new(source),
                bytes,
                is_qcow2: true,
                writer: None,
            });
        }
        let file = Arc::new(file);
        let writer = write.then(|| file.clone());
        match foreign_format(&start) {
            Some(name) => Err(error(format!(
                "it is {name}; raw and qcow2 images can be used: convert it with `qemu-img convert -O raw`"
            ))),
            None => {
                let source = Arc::new(ReadFile { file, bytes });
                Ok(Image { path: path.to_owned(), source, bytes, is_qcow2: false, writer })
            }
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file is a qcow2 image.
    pub fn is_qcow2(&self) -> bool {
        self.is_qcow2
    }

    /// Size of the medium in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The contents, for a machine.
    pub fn share(&self) -> Shared {
        Shared(self.source.clone())
    }

    /// Fills `buf` from `offset` on.
    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), ImageError> {
        self.source
            .read_at(offset, buf)
            .map_err(|e| ImageError { path: self.path.clone(), what: e.to_string() })
    }

    /// Writes `bytes` at `offset`, which must be inside.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), ImageError> {
        self.written(|file| file.write_all_at(bytes, offset))
    }

    /// Waits until all that was written is on the disk.
    pub fn finish_writing(&self) -> Result<(), ImageError> {
        self.written(File::sync_all)
    }

    fn written(&self, act: impl FnOnce(&File) -> std::io::Result<()>) -> Result<(), ImageError> {
        let Some(file) = &self.writer else { return Ok(()) };
        act(file).map_err(|e| ImageError { path: self.path.clone(), what: e.to_string() })
    }

    /// XXH3-128 of the contents. `progress` is told how many bytes have been read.
    pub fn hash(&self, progress: &mut dyn FnMut(u64)) -> Result<u128, ImageError> {
        let mut hasher = Xxh3::new();
        let mut buf = vec![0; HASH_STEP as usize];
        let mut done = 0;
        while done < self.bytes {
            let len = HASH_STEP.min(self.bytes - done) as usize;
            self.read_at(done, &mut buf[..len])?;
            hasher.update(&buf[..len]);
            done += len as u64;
            progress(done);
        }
        Ok(hasher.digest128())
    }
}

/// A file that was opened and locked, with its first bytes.
struct OpenFile {
    file: File,
    bytes: u64,
    start: [u8; 512],
}

fn open_file(path: &Path, write: bool) -> Result<OpenFile, String> {
    let io = |e: std::io::Error| e.to_string();
    // Asked before it is opened: to open a pipe would wait for its other end.
    let kind = std::fs::metadata(path).map_err(io)?.file_type();
    if !kind.is_file() && !kind.is_block_device() {
        return Err("an image is an ordinary file".to_owned());
    }
    let mut file = OpenOptions::new().read(true).write(write).open(path).map_err(io)?;
    let locked = match if write { file.try_lock() } else { file.try_lock_shared() } {
        Err(TryLockError::WouldBlock) => true,
        // Not every file system has locks.
        Err(TryLockError::Error(_)) | Ok(()) => has_locked_bytes(&file, write),
    };
    if locked {
        return Err("it is locked: another program uses it".to_owned());
    }
    let bytes = file.seek(SeekFrom::End(0)).map_err(io)?;
    let mut start = [0; 512];
    let len = bytes.min(start.len() as u64) as usize;
    file.read_exact_at(&mut start[..len], 0).map_err(io)?;
    Ok(OpenFile { file, bytes, start })
}

/// Whether somebody has locked bytes of an image so that it cannot be read, or written to if that is wanted. QEMU locks one byte
/// for each thing that it does, or does not want others to do.
fn has_locked_bytes(file: &File, write: bool) -> bool {
    const QEMU_WRITES: u64 = 101;
    let all = |kind: FlockType| Flock::from(kind);
    let byte = |kind: FlockType, start| Flock { start, length: 1, ..Flock::from(kind) };
    let locks = if write {
        vec![all(FlockType::WriteLock)]
    } else {
        vec![all(FlockType::ReadLock), byte(FlockType::WriteLock, QEMU_WRITES)]
    };
    locks.iter().any(|lock| matches!(fcntl_getlk(file, lock), Ok(Some(_))))
}

/// Opens a qcow2 image with all that lies below it, `chain` images at most.
fn open_qcow2(path: &Path, file: ReadFile, chain: usize) -> Result<Qcow2, ImageError> {
    let error = |what: String| ImageError { path: path.to_owned(), what };
    let bytes = file.bytes;
    let mut image = Qcow2::open(Arc::new(file), bytes).map_err(error)?;
    if let Some(backing) = image.backing() {
        let below = open_below(path, backing, chain).map_err(|e| error(format!("its backing file {e}")))?;
        image.set_below(below);
    }
    Ok(image)
}

/// Opens what lies below the image in `path`.
fn open_below(path: &Path, backing: &Backing, chain: usize) -> Result<Arc<dyn SharedSource>, ImageError> {
    let name = backing.name.strip_prefix("file:").unwrap_or(&backing.name);
    // Names are relative to the image that has them.
    let below = path.parent().unwrap_or(Path::new("")).join(name);
    let error = |what: String| ImageError { path: below.clone(), what };
    let Some(chain) = chain.checked_sub(1) else {
        return Err(error(format!("is one of more than {CHAIN_MAX}")));
    };
    let OpenFile { file, bytes, start } = open_file(&below, false).map_err(error)?;
    let is_qcow2 = match backing.format.as_deref() {
        Some("raw") => false,
        Some("qcow2") => true,
        None => start.starts_with(qcow2::MAGIC),
        Some(other) => return Err(error(format!("is of the format {other}; raw and qcow2 can be used"))),
    };
    let file = ReadFile { file: Arc::new(file), bytes };
    if is_qcow2 { Ok(Arc::new(open_qcow2(&below, file, chain)?)) } else { Ok(Arc::new(file)) }
}

/// A file that is read.
#[derive(Debug)]
pub struct ReadFile {
    file: Arc<File>,
    /// Its length when it was opened.
    bytes: u64,
}

impl BlockSource for ReadFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<()> {
        let len = self.bytes.saturating_sub(offset).min(buf.len() as u64) as usize;
        self.file.read_exact_at(&mut buf[..len], offset).map_err(|e| match e.kind() {
            ErrorKind::UnexpectedEof => std::io::Error::new(e.kind(), "the file has become shorter"),
            _ => e,
        })?;
        buf[len..].fill(0);
        Ok(())
    }
}

/// A format that is recognised, and not read.
fn foreign_format(start: &[u8]) -> Option<&'static str> {
    let formats: [(usize, &[u8], &str); 9] = [
        (0, b"QED\0", "a QED image"),
        (0, b"KDMV", "a VMDK image"),
        (0, b"# Disk DescriptorFile", "the description of a VMDK image"),
        (0, b"vhdxfile", "a VHDX image"),
        (0, b"conectix", "a VHD image"),
        (0x40, b"\x7f\x10\xda\xbe", "a VDI image"),
        (0, b"\x1f\x8b", "compressed by gzip"),
        (0, b"\xfd7zXZ\0", "compressed by xz"),
        (0, b"\x28\xb5\x2f\xfd", "compressed by zstd"),
    ];
    formats.into_iter().find(|(at, magic, _)| start[*at..].starts_with(magic)).map(|(_, _, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(bytes: &[u8]) -> Result<Image, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk.img");
        std::fs::write(&path, bytes).unwrap();
        Image::open(&path).map_err(|e| e.to_string())
    }

    #[test]
    fn a_raw_image_is_read_with_zeros_behind_it() {
        let image = image(&[7; 1000]).unwrap();
        assert_eq!(image.bytes(), 1000);
        let mut buf = [1; 512];
        image.read_at(600, &mut buf).unwrap();
        assert_eq!(buf[..400], [7; 400]);
        assert_eq!(buf[400..], [0; 112]);
        let mut told = 0;
        let hash = image.hash(&mut |done| told = done).unwrap();
        assert_eq!((hash, told), (xxhash_rust::xxh3::xxh3_128(&[7; 1000]), 1000));
    }

    #[test]
    fn what_is_no_image_is_refused_by_name() {
        for (bytes, word) in [(&b""[..], "empty"), (b"KDMV....", "VMDK"), (b"\x1f\x8b\x08", "gzip")] {
            let error = image(bytes).unwrap_err();
            assert!(error.contains("disk.img") && error.contains(word), "{error}");
        }
        let dir = tempfile::tempdir().unwrap();
        assert!(Image::open(dir.path()).is_err());
        assert!(Image::open(&dir.path().join("missing")).is_err());
    }

    #[test]
    fn a_locked_image_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [1; 512]).unwrap();
        let other = File::open(file.path()).unwrap();
        other.lock().unwrap();
        let error = Image::open(file.path()).unwrap_err().to_string();
        assert!(error.contains("locked"), "{error}");
        other.unlock().unwrap();
        assert!(Image::open(file.path()).is_ok());
    }
}
