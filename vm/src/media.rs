//! Media: what is in the drives.
//!
//! A machine never changes the contents of an image. What it writes goes to an overlay in its storage
//! ([`crate::Region::Disk`]), so that it is saved, compared and restored as RAM is; the image itself is outside of the
//! machine's state, like a ROM. It is given when the machine is made and must not change as long as that lives.

use serde::{Deserialize, Serialize};
use std::cell::OnceCell;
use std::fmt::{Debug, Display};

/// The contents of an image.
pub trait BlockSource: Debug {
    /// Fills `buf` with the bytes from `offset` on. What lies beyond the end reads as zeros.
    ///
    /// # Errors
    /// If the host cannot read the image, with what it said.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<()>;
}

impl BlockSource for Vec<u8> {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<()> {
        let rest = usize::try_from(offset).ok().and_then(|at| self.get(at..)).unwrap_or(&[]);
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        buf[len..].fill(0);
        Ok(())
    }
}

/// An image that is in a drive, or may be put into one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Medium {
    /// How the user named it.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// XXH3-128 of its contents.
    pub hash: u128,
    /// The guest cannot write to it: a CD-ROM, a disk whose write-protect tab is set.
    pub read_only: bool,
}

/// What a chip must know of a medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediumShape {
    /// Its number among the machine's media.
    pub number: usize,
    /// Its size in bytes.
    pub bytes: u64,
    /// The guest cannot write to it.
    pub read_only: bool,
}

/// A place for a drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Slot {
    /// First IDE channel, device 0.
    Hda,
    /// First IDE channel, device 1.
    Hdb,
    /// Second IDE channel, device 0.
    Hdc,
    /// Second IDE channel, device 1.
    Hdd,
    /// First floppy drive.
    Fda,
    /// Second floppy drive.
    Fdb,
}

impl Slot {
    /// The places on the IDE channels, device by device.
    pub const IDE: [Slot; 4] = [Slot::Hda, Slot::Hdb, Slot::Hdc, Slot::Hdd];
    /// The floppy drives.
    pub const FLOPPY: [Slot; 2] = [Slot::Fda, Slot::Fdb];

    /// Its name on the command line, without the dashes.
    pub fn name(self) -> &'static str {
        match self {
            Slot::Hda => "hda",
            Slot::Hdb => "hdb",
            Slot::Hdc => "hdc",
            Slot::Hdd => "hdd",
            Slot::Fda => "fda",
            Slot::Fdb => "fdb",
        }
    }
}

impl Display for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What kind of drive it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DriveKind {
    /// A hard disk. It is its own medium.
    Disk,
    /// A CD-ROM drive.
    Cd,
    /// A floppy drive.
    Floppy,
}

/// A drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drive {
    /// Where it is.
    pub slot: Slot,
    /// What it is.
    pub kind: DriveKind,
    /// Number of the medium that is in it at power-on.
    pub medium: Option<usize>,
}

/// The images of a machine.
#[derive(Debug, Default)]
pub(crate) struct Media {
    sources: Vec<Box<dyn BlockSource>>,
    failure: OnceCell<String>,
}

impl Media {
    pub(crate) fn new(sources: Vec<Box<dyn BlockSource>>) -> Media {
        Media { sources, failure: OnceCell::new() }
    }

    /// Reads an image. If that fails the guest is given zeros, and nothing that the machine does from now on is worth
    /// anything: [`Media::failure`].
    pub(crate) fn read(&self, number: usize, offset: u64, buf: &mut [u8]) {
        let Some(source) = self.sources.get(number) else { return buf.fill(0) };
        if let Err(error) = source.read_at(offset, buf) {
            tracing::error!(number, offset, %error, "a medium cannot be read");
            self.failure.get_or_init(|| format!("medium {number} cannot be read at byte {offset}: {error}"));
            buf.fill(0);
        }
    }

    /// What went wrong first.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MachineConfig;
    use crate::memory::{Memory, PAGE_SIZE, PhysMemory, Region};

    #[derive(Debug)]
    struct Broken;

    impl BlockSource for Broken {
        fn read_at(&self, _: u64, _: &mut [u8]) -> std::io::Result<()> {
            Err(std::io::Error::other("a bad sector"))
        }
    }

    fn memory(image: Box<dyn BlockSource>, bytes: u64, read_only: bool) -> Memory {
        let medium = Medium { name: "image".into(), bytes, hash: 0, read_only };
        let config = MachineConfig { ram_bytes: 1 << 20, media: vec![medium], ..MachineConfig::default() };
        Memory::new(&config, vec![image]).unwrap()
    }

    #[test]
    fn what_is_written_is_read_and_the_rest_is_as_in_the_image() {
        let image: Vec<u8> = (0..9000u32).map(|i| i as u8).collect();
        let mut mem = memory(Box::new(image.clone()), 9216, false);
        mem.take_dirty();
        mem.write_medium(0, 4000, &[7; 200]);
        let mut buf = vec![0; 9216];
        mem.read_medium(0, 0, &mut buf);
        assert_eq!(buf[..4000], image[..4000]);
        assert_eq!(buf[4000..4200], [7; 200]);
        assert_eq!(buf[4200..9000], image[4200..]);
        assert_eq!(buf[9000..], [0; 216]);
        assert_eq!(mem.take_dirty(), [256, 257]);
        assert_eq!(mem.touched_disk_pages().collect::<Vec<_>>(), [256, 257]);
    }

    #[test]
    fn writing_back_what_the_image_has_leaves_no_trace() {
        let mut mem = memory(Box::new(vec![3; PAGE_SIZE]), PAGE_SIZE as u64, false);
        mem.write_medium(0, 0, &[9; 512]);
        mem.write_medium(0, 0, &[3; 512]);
        let mut overlay = [1; 512];
        mem.read_region(Region::Disk(0), 0, &mut overlay);
        assert_eq!(overlay, [0; 512]);
    }

    #[test]
    fn a_read_only_medium_stays_as_it_is() {
        let mut mem = memory(Box::new(vec![3; 2048]), 2048, true);
        mem.write_medium(0, 0, &[9; 512]);
        let mut buf = [0; 512];
        mem.read_medium(0, 0, &mut buf);
        assert_eq!(buf, [3; 512]);
    }

    #[test]
    fn an_image_that_cannot_be_read_gives_zeros_and_is_reported() {
        let mem = memory(Box::new(Broken), 512, false);
        assert_eq!(mem.media_failure(), None);
        let mut buf = [1; 512];
        mem.read_medium(0, 0, &mut buf);
        assert_eq!(buf, [0; 512]);
        assert!(mem.media_failure().unwrap().contains("a bad sector"));
    }
}
