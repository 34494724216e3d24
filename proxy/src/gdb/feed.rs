//! A debugger made of bytes, for fuzzing: whatever it sends, the session answers or ends, and nothing hangs.

use super::Session;
use super::fake::debuggee;
use super::framing::packet;
use super::link::Link;
use crate::socket::Stream;
use mio::net::UnixStream;
use std::io::Read;

/// Short, so that no command takes long.
const HISTORY_STEPS: u64 = 5000;
/// Between two things that are sent.
const SEPARATOR: u8 = b'\n';
/// In front of bytes that are sent as they are. Everything else is put into a packet.
const RAW: u8 = b'\\';

/// Sends each line of `input` to a new session over a fake history.
pub fn feed(input: &[u8]) {
    let (ours, mut theirs) = UnixStream::pair().expect("a pair of sockets");
    let mut debuggee = debuggee(HISTORY_STEPS);
    let mut session = Session::new(Link::new(Stream::Unix(ours)), &mut debuggee);
    let mut replies = [0; 0x8000];
    for line in input.split(|byte| *byte == SEPARATOR).filter(|line| !writes_files(line)) {
        let bytes = match line {
            [RAW, bytes @ ..] => bytes.to_vec(),
            body => packet(body),
        };
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            // It takes nothing more while its socket is full, which is emptied next, or when the session has ended.
            let sent = std::io::Write::write(&mut theirs, rest).unwrap_or(0);
            rest = &rest[sent..];
            if !session.serve(&mut debuggee) {
                return debuggee.detach();
            }
            while theirs.read(&mut replies).is_ok_and(|count| count > 0) {}
        }
    }
    debuggee.detach();
}

/// A monitor command that saves a picture.
fn writes_files(line: &[u8]) -> bool {
    let text = String::from_utf8_lossy(line).to_ascii_lowercase();
    text.contains("qrcmd") && text.contains("73637265656e")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEDS: &[&str] = &[
        "qSupported:multiprocess+;swbreak+;xmlRegisters=i386;error-message+",
        "QStartNoAckMode",
        "QEnableErrorStrings",
        "?",
        "g",
        "p10",
        "m1000,40",
        "X1000,2:ab",
        "M1000,1:00",
        "P1=00",
        "Hgp1.1",
        "T1",
        "qfThreadInfo",
        "qXfer:features:read:target.xml:0,ffb",
        "Z0,1004,1;X8,26000023012413 27",
        "Z1,1004,1;X3,220127",
        "Z2,2000,4",
        "z4,2000,4",
        "vCont;r1000,1008:p1.1;c",
        "vCont;C05:1",
        "bs",
        "bc",
        "s",
        "qRcmd,7365656b20353025",
        "qRcmd,627265616b2024706320696620247261783e33",
        "qRcmd,6c6173742d77726974652030783230303020382b34",
        "D;1",
        "k",
        "\\+-\u{3}$g#67",
        "\\$g#00",
    ];

    /// Changes lines a little and puts them into any order.
    fn input(random: &mut impl FnMut() -> usize) -> Vec<u8> {
        let mut input = Vec::new();
        for _ in 0..random() % 12 {
            let mut line = SEEDS[random() % SEEDS.len()].as_bytes().to_vec();
            for _ in 0..random() % 4 {
                let at = random() % (line.len() + 1);
                match random() % 5 {
                    0 => line.insert(at, random() as u8),
                    1 => line.insert(at, b"0123456789abcdef,:;-#$}"[random() % 23]),
                    2 if at < line.len() => drop(line.remove(at)),
                    3 => line.truncate(at),
                    _ => line.splice(at..at, *b"ffffffffffffffff").for_each(drop),
                }
            }
            input.extend_from_slice(&line);
            input.push(SEPARATOR);
        }
        input
    }

    #[test]
    fn no_packets_harm() {
        let mut seed = 1_u64;
        let mut random = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed >> 16) as usize
        };
        for _ in 0..3000 {
            feed(&input(&mut random));
        }
        for _ in 0..500 {
            let noise: Vec<u8> = (0..random() % 500).map(|_| random() as u8).collect();
            feed(&noise);
            feed(&[&[RAW], noise.as_slice()].concat());
        }
    }

    #[test]
    fn a_session_that_floods_is_ended() {
        feed(&b"m0,3000\n".repeat(5000));
        feed(&[b"\\".as_slice(), &b"+".repeat(1 << 20)].concat());
        feed(&[b"\\$".as_slice(), &b"a".repeat(1 << 20)].concat());
    }
}
