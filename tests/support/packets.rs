//! A debugger that sends what it likes: the remote serial protocol by hand, against `retrograde serve`.

use std::io::{BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// No answer of a server takes longer, on a slow and busy machine.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// A connection to a server.
pub struct RawDebugger {
    stream: BufReader<TcpStream>,
}

impl RawDebugger {
    /// Connects, again and again while the server has not noticed that the debugger before is gone.
    pub fn connect(address: &str) -> RawDebugger {
        let deadline = Instant::now() + ANSWER_LIMIT;
        loop {
            let mut debugger = RawDebugger::dial(address);
            if debugger.try_ask("qC").is_some_and(|reply| reply == "QCp1.1") {
                return debugger;
            }
            assert!(Instant::now() < deadline, "the server serves nobody");
            sleep(Duration::from_millis(1));
        }
    }

    /// Connects, and does not care whether it is its turn.
    pub fn dial(address: &str) -> RawDebugger {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_read_timeout(Some(ANSWER_LIMIT)).expect("a limit can be set");
        stream.set_nodelay(true).expect("small pieces go at once");
        RawDebugger { stream: BufReader::new(stream) }
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).expect("the server reads");
    }

    /// The next packet, without what stands before it; `None` if the server closes the connection instead.
    pub fn try_receive(&mut self) -> Option<String> {
        read_packet(&mut self.stream)
    }

    /// The next packet.
    pub fn receive(&mut self) -> String {
        self.try_receive().expect("the server keeps the connection")
    }

    /// Sends a packet; the reply.
    pub fn ask(&mut self, body: &str) -> String {
        self.send(&packet(body.as_bytes()));
        self.receive()
    }

    /// Sends a packet; the reply, if the server is there for us.
    fn try_ask(&mut self, body: &str) -> Option<String> {
        self.stream.get_mut().write_all(&packet(body.as_bytes())).ok()?;
        self.try_receive()
    }

    /// The next byte, whatever it is; `None` at the end.
    pub fn byte(&mut self) -> Option<u8> {
        read_byte(&mut self.stream)
    }

    /// The answer to a monitor command, as text.
    pub fn monitor(&mut self, command: &str) -> String {
        let mut text = Vec::new();
        self.send(&packet(format!("qRcmd,{}", to_hex(command.as_bytes())).as_bytes()));
        loop {
            let reply = self.receive();
            match reply.strip_prefix('O') {
                Some("K") => break,
                Some(digits) => text.extend(from_hex(digits)),
                None => panic!("{command}: {reply}"),
            }
        }
        String::from_utf8(text).expect("monitor commands answer in text")
    }

    /// The present position.
    pub fn position(&mut self) -> u64 {
        let answer = self.monitor("where");
        let words = answer.strip_prefix("position ").and_then(|rest| rest.split(' ').next());
        words.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{answer}"))
    }
}

/// The body of the next packet, without what stands before it; `None` if the connection is closed instead.
pub fn read_packet(stream: &mut impl Read) -> Option<String> {
    while read_byte(stream)? != b'$' {}
    let mut body = Vec::new();
    loop {
        match read_byte(stream)? {
            b'#' => break,
            byte => body.push(byte),
        }
    }
    let sum = [read_byte(stream)?, read_byte(stream)?];
    assert_eq!(packet(&body).last_chunk(), Some(&sum), "the checksum of a reply");
    Some(String::from_utf8(body).expect("replies are text"))
}

fn read_byte(stream: &mut impl Read) -> Option<u8> {
    let mut byte = [0];
    match stream.read(&mut byte) {
        Ok(0) => None,
        Ok(_) => Some(byte[0]),
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => panic!("no answer"),
        Err(_) => None,
    }
}

/// A body as a packet.
pub fn packet(body: &[u8]) -> Vec<u8> {
    let sum = body.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    [b"$".as_slice(), body, format!("#{sum:02x}").as_bytes()].concat()
}

/// Two digits for each byte.
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes that [`to_hex`] wrote.
pub fn from_hex(text: &str) -> Vec<u8> {
    let pair = |at: usize| u8::from_str_radix(text.get(at..at + 2).unwrap_or("00"), 16).unwrap_or(0);
    (0..text.len()).step_by(2).map(pair).collect()
}
