//! The TFTP server of the gateway, from which a guest without anything starts: files of one directory, to be read.
//!
//! Reference: RFC 1350; RFC 2347 to 2349 for the options. As QEMU's it talks from its own port, and a file has as many blocks as
//! it takes: their numbers start again after 65535.

use super::packet::DATAGRAM_MAX;
use std::fs::{self, File};
use std::net::SocketAddrV4;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Port of the server.
pub const PORT: u16 = 69;

const READ: u16 = 1;
const WRITE: u16 = 2;
const DATA: u16 = 3;
const ACK: u16 = 4;
const ERROR: u16 = 5;
const OPTIONS: u16 = 6;

const NOT_FOUND: u16 = 1;
const ILLEGAL: u16 = 4;

const BLOCK_BYTES: usize = 512;
const BLOCK_BYTES_MAX: usize = DATAGRAM_MAX - 4;
/// Transfers at once; the oldest goes first.
const TRANSFERS_MAX: usize = 16;

/// A file on its way to a guest.
#[derive(Debug)]
struct Transfer {
    guest: SocketAddrV4,
    file: File,
    bytes: u64,
    block_bytes: usize,
    /// Number of the block that was sent last; they count from 1.
    sent: u64,
}

/// The server.
#[derive(Debug)]
pub struct Tftp {
    dir: PathBuf,
    transfers: Vec<Transfer>,
}

fn message(kind: u16, number: u16, rest: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &number.to_be_bytes(), rest].concat()
}

fn error(number: u16, text: &str) -> Vec<u8> {
    message(ERROR, number, &[text.as_bytes(), &[0]].concat())
}

impl Tftp {
    /// Serves the files of `dir`.
    pub fn new(dir: &Path) -> Tftp {
        Tftp { dir: dir.to_owned(), transfers: Vec::new() }
    }

    /// What a guest is answered, if it is.
    pub fn answer(&mut self, guest: SocketAddrV4, message: &[u8]) -> Option<Vec<u8>> {
        let (kind, rest) = message.split_first_chunk()?;
        match u16::from_be_bytes(*kind) {
            READ => Some(self.begin(guest, rest)),
            WRITE => Some(error(ILLEGAL, "files can only be read")),
            ACK => self.go_on(guest, u16::from_be_bytes(*rest.first_chunk()?)),
            _ => {
                self.forget(guest);
                None
            }
        }
    }

    fn forget(&mut self, guest: SocketAddrV4) {
        self.transfers.retain(|transfer| transfer.guest != guest);
    }

    fn begin(&mut self, guest: SocketAddrV4, request: &[u8]) -> Vec<u8> {
        self.forget(guest);
        let mut words = request.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        let [name, mode] = [(); 2].map(|()| words.next().unwrap_or_default());
        if !mode.eq_ignore_ascii_case("octet") {
            return error(ILLEGAL, "octet is the only mode");
        }
        let Some((file, bytes)) = self.open(&name) else {
            tracing::info!(%name, "TFTP: there is no such file");
            return error(NOT_FOUND, "there is no such file");
        };
        let mut transfer = Transfer { guest, file, bytes, block_bytes: BLOCK_BYTES, sent: 0 };
        let granted = transfer.grant(words);
        let reply = if granted.is_empty() {
            transfer.next_block()
        } else {
            [&OPTIONS.to_be_bytes()[..], &granted].concat()
        };
        if self.transfers.len() >= TRANSFERS_MAX {
            self.transfers.remove(0);
        }
        self.transfers.push(transfer);
        reply
    }

    /// An ordinary file inside the directory, and its length.
    fn open(&self, name: &str) -> Option<(File, u64)> {
        let dir = fs::canonicalize(&self.dir).ok()?;
        let path = fs::canonicalize(dir.join(name.trim_start_matches('/'))).ok()?;
        let length = fs::metadata(&path).ok().filter(|meta| meta.is_file() && path.starts_with(&dir))?.len();
        Some((File::open(path).ok()?, length))
    }

    /// The guest has this block. One that it confirms again has been lost behind.
    fn go_on(&mut self, guest: SocketAddrV4, block: u16) -> Option<Vec<u8>> {
        let at = self.transfers.iter().position(|transfer| transfer.guest == guest)?;
        let transfer = &mut self.transfers[at];
        if block == transfer.sent as u16 {
            if transfer.is_complete() {
                self.transfers.remove(at);
                return None;
            }
            return Some(transfer.next_block());
        }
        (transfer.sent > 0 && block == (transfer.sent - 1) as u16).then(|| transfer.block())
    }
}

impl Transfer {
    /// Takes over what the guest asks for; the options that it gets.
    fn grant<'a>(&mut self, mut words: impl Iterator<Item = std::borrow::Cow<'a, str>>) -> Vec<u8> {
        let mut granted = Vec::new();
        while let (Some(name), Some(value)) = (words.next(), words.next()) {
            let value = match (name.to_ascii_lowercase().as_str(), value.parse::<usize>()) {
                ("blksize", Ok(bytes @ 8..)) => {
                    self.block_bytes = bytes.min(BLOCK_BYTES_MAX);
                    self.block_bytes as u64
                }
                ("tsize", Ok(_)) => self.bytes,
                _ => continue,
            };
            granted.extend(format!("{name}\0{value}\0").bytes());
        }
        granted
    }

    /// Where the block begins that was sent last.
    fn offset(&self) -> u64 {
        (self.sent.max(1) - 1) * self.block_bytes as u64
    }

    /// The last block is one that is not full.
    fn is_complete(&self) -> bool {
        self.sent > 0 && self.offset() + self.block_bytes as u64 > self.bytes
    }

    fn next_block(&mut self) -> Vec<u8> {
        self.sent += 1;
        self.block()
    }

    fn block(&self) -> Vec<u8> {
        let left = self.bytes.saturating_sub(self.offset());
        let mut data = vec![0; self.block_bytes.min(left as usize)];
        match self.file.read_exact_at(&mut data, self.offset()) {
            Ok(()) => message(DATA, self.sent as u16, &data),
            Err(_) => error(NOT_FOUND, "the file has become shorter"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUEST: &str = "10.0.2.15:2000";

    fn server(files: &[(&str, &[u8])]) -> (tempfile::TempDir, Tftp) {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            fs::write(dir.path().join(name), bytes).unwrap();
        }
        let server = Tftp::new(dir.path());
        (dir, server)
    }

    fn ask(server: &mut Tftp, kind: u16, rest: &[u8]) -> Option<Vec<u8>> {
        server.answer(GUEST.parse().unwrap(), &[&kind.to_be_bytes()[..], rest].concat())
    }

    /// Reads a file from its first block on.
    fn read(server: &mut Tftp, first: Vec<u8>, block_bytes: usize) -> Vec<u8> {
        let (mut file, mut block, mut number) = (Vec::new(), first, 1u16);
        loop {
            assert_eq!(block[..4], message(DATA, number, &[]));
            file.extend_from_slice(&block[4..]);
            let next = ask(server, ACK, &number.to_be_bytes());
            if block.len() < block_bytes + 4 {
                assert_eq!(next, None);
                return file;
            }
            number = number.wrapping_add(1);
            block = next.expect("another block");
        }
    }

    #[test]
    fn files_are_read_block_by_block_also_those_with_more_blocks_than_numbers() {
        let bytes: Vec<u8> = (0..600_000u32).map(|i| (i / 3) as u8).collect();
        let (_dir, mut server) = server(&[("kernel", &bytes[..1024]), ("large", &bytes)]);
        let first = ask(&mut server, READ, b"/kernel\0OCTET\0").unwrap();
        assert_eq!(
            read(&mut server, first, 512),
            bytes[..1024],
            "an empty block ends a file of whole blocks"
        );
        let granted =
            ask(&mut server, READ, b"large\0octet\0tsize\x000\0blksize\x008\0timeout\x001\0").unwrap();
        assert_eq!(granted, b"\0\x06tsize\x00600000\0blksize\x008\0");
        let first = ask(&mut server, ACK, &[0, 0]).unwrap();
        assert_eq!(read(&mut server, first, 8), bytes);
        let granted = ask(&mut server, READ, b"large\0octet\0blksize\x0065464\0").unwrap();
        assert_eq!(granted, b"\0\x06blksize\x001468\0");
    }

    #[test]
    fn a_block_that_was_lost_is_sent_again() {
        let (_dir, mut server) = server(&[("file", &[7; 1000])]);
        let first = ask(&mut server, READ, b"file\0octet\0").unwrap();
        let second = ask(&mut server, ACK, &[0, 1]).unwrap();
        assert_ne!(first, second);
        assert_eq!(ask(&mut server, ACK, &[0, 1]), Some(second));
        assert_eq!(ask(&mut server, ACK, &[0, 9]), None);
        assert_eq!(ask(&mut server, ERROR, &[0, 0, 0]), None);
        assert_eq!(ask(&mut server, ACK, &[0, 1]), None, "the guest has given up");
    }

    #[test]
    fn what_is_not_there_or_elsewhere_is_refused() {
        let (dir, mut server) = server(&[]);
        let inner = dir.path().join("inner");
        fs::create_dir(&inner).unwrap();
        fs::write(dir.path().join("secret"), b"x").unwrap();
        server.dir = inner;
        for request in
            [&b"missing\0octet\0"[..], b"../secret\0octet\0", b"\0octet\0", b"secret\0netascii\0", b""]
        {
            assert_eq!(ask(&mut server, READ, request).unwrap()[..2], ERROR.to_be_bytes());
        }
        assert_eq!(ask(&mut server, WRITE, b"secret\0octet\0").unwrap()[..2], ERROR.to_be_bytes());
        assert_eq!(server.answer(GUEST.parse().unwrap(), &[0]), None);
    }
}
