//! Writing cpio archives of the kind that Linux takes as an initial RAM disk ("initramfs buffer format", newc).
//!
//! Device nodes are only a number in the archive, so making one needs no privilege. Owner and time of everything are zero
//! and inode numbers count up: equal contents make equal archives.

const DIRECTORY: u32 = 0o040_755;
const EXECUTABLE: u32 = 0o100_755;
const FILE: u32 = 0o100_644;
const SYMBOLIC_LINK: u32 = 0o120_777;
const CHARACTER_DEVICE: u32 = 0o020_600;

/// An archive being written.
#[derive(Default)]
pub struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// A directory.
    pub fn directory(&mut self, name: &str) {
        self.entry(name, DIRECTORY, (0, 0), &[]);
    }

    /// A file that may be executed.
    pub fn executable(&mut self, name: &str, contents: &[u8]) {
        self.entry(name, EXECUTABLE, (0, 0), contents);
    }

    /// A file.
    pub fn file(&mut self, name: &str, contents: &[u8]) {
        self.entry(name, FILE, (0, 0), contents);
    }

    /// A symbolic link.
    pub fn symbolic_link(&mut self, name: &str, to: &str) {
        self.entry(name, SYMBOLIC_LINK, (0, 0), to.as_bytes());
    }

    /// A character device.
    pub fn character_device(&mut self, name: &str, major: u32, minor: u32) {
        self.entry(name, CHARACTER_DEVICE, (major, minor), &[]);
    }

    /// The whole archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), contents: &[u8]) {
        self.entries += 1;
        let links = 1;
        let (uid, gid, mtime, own_device, checksum) = (0, 0, 0, (0, 0), 0);
        let fields = [
            self.entries,
            mode,
            uid,
            gid,
            links,
            mtime,
            u32::try_from(contents.len()).expect("a file of an initial RAM disk"),
            own_device.0,
            own_device.1,
            device.0,
            device.1,
            name.len() as u32 + 1,
            checksum,
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(contents);
        self.pad();
    }

    /// Header with name, and contents, are padded to four bytes each.
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}
