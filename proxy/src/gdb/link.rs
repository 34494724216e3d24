//! The connection to one debugger.

use super::framing::{Frame, Framer, packet};
use crate::socket::{Outbox, Stream};
use gdbstub::conn::Connection;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{ErrorKind, Read};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Packets that may wait: a debugger sends one and awaits the reply.
const INBOX_MAX_FRAMES: usize = 4096;
/// A Ctrl-C may wait for so long: a debugger that goes back over many calls resumes thousands of times a second, and each time it
/// is asked several times whether to stop.
const MOMENT: Duration = Duration::from_millis(1);

/// A non-blocking connection: frames in, bytes out.
#[derive(Debug)]
pub struct Link {
    stream: Stream,
    framer: Framer,
    inbox: VecDeque<Frame>,
    outbox: Outbox,
    /// The last packet sent, for a debugger that asks for it again.
    last: Vec<u8>,
    /// What the next packet of gdbstub's gets at its end.
    addition: Vec<u8>,
    /// When it was last looked what has arrived.
    received: Instant,
    /// The debugger no longer waits for the reply to its last packet: none is sent.
    given_up: bool,
    /// Packets are still acknowledged.
    acks: bool,
    open: bool,
}

impl Link {
    /// Takes over an accepted connection.
    pub fn new(stream: Stream) -> Link {
        stream.hurry();
        Link {
            stream,
            framer: Framer::default(),
            inbox: VecDeque::new(),
            outbox: Outbox::default(),
            last: Vec::new(),
            addition: Vec::new(),
            received: Instant::now(),
            given_up: false,
            acks: true,
            open: true,
        }
    }

    /// The socket, to register it.
    pub fn stream_mut(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// Whether the debugger is still there.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Gives the connection up.
    pub fn close(&mut self) {
        self.open = false;
    }

    /// Takes in all that has arrived.
    pub fn receive(&mut self) {
        self.received = Instant::now();
        let mut buf = [0; 4096];
        while self.open && self.inbox.len() < INBOX_MAX_FRAMES {
            match self.stream.read(&mut buf) {
                Ok(0) => self.open = false,
                Ok(n) => self.inbox.extend(buf[..n].iter().filter_map(|&b| self.framer.push(b))),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(e) => {
                    tracing::debug!("debugger's connection: {e}");
                    self.open = false;
                }
            }
        }
        // More waiting packets than any debugger sends: not one.
        if self.inbox.len() >= INBOX_MAX_FRAMES {
            self.open = false;
        }
    }

    /// The same, unless that was done a moment ago: for those who ask again and again.
    fn look(&mut self) {
        if self.received.elapsed() >= MOMENT {
            self.receive();
        }
    }

    /// The next frame that was received.
    pub fn next_frame(&mut self) -> Option<Frame> {
        self.given_up = false;
        self.inbox.pop_front()
    }

    /// Whether a running machine is to stop: the debugger sent Ctrl-C, or is gone. The Ctrl-C is used up; whatever else
    /// was received stays.
    pub fn interrupted(&mut self) -> bool {
        self.look();
        let ctrl_c = self.inbox.iter().position(|frame| *frame == Frame::Interrupt);
        if let Some(at) = ctrl_c {
            self.inbox.remove(at);
        }
        ctrl_c.is_some() || !self.open
    }

    /// Whether a command whose answer the debugger should wait for is to stop: it sent Ctrl-C, as above, or something else, or is
    /// gone. Who has sent something else gets no reply, which it would take for one to that.
    pub fn gives_up(&mut self) -> bool {
        // One look: a Ctrl-C that comes behind it is not something else.
        let interrupted = self.interrupted();
        self.given_up |= !interrupted && self.has_frames();
        interrupted || self.given_up
    }

    /// Whether the debugger has just sent something, or is gone.
    pub fn has_news(&mut self) -> bool {
        self.look();
        self.has_frames() || !self.open
    }

    /// Whether the debugger has sent something that was not looked at yet.
    pub fn has_frames(&self) -> bool {
        self.inbox.iter().any(|frame| *frame != Frame::Ack)
    }

    /// Stops acknowledging.
    pub fn stop_acks(&mut self) {
        self.acks = false;
    }

    /// Whether packets are acknowledged.
    pub fn acks(&self) -> bool {
        self.acks
    }

    /// Sends a packet.
    pub fn reply(&mut self, body: &[u8]) {
        if self.given_up {
            return;
        }
        let bytes = packet(body);
        tracing::trace!("--> {}", String::from_utf8_lossy(&bytes));
        self.send(&bytes);
        self.last = bytes;
    }

    /// Sends the last packet again.
    pub fn repeat(&mut self) {
        let last = std::mem::take(&mut self.last);
        self.send(&last);
        self.last = last;
    }

    /// The next packet of gdbstub's gets this at its end.
    pub fn add_to_next(&mut self, addition: &[u8]) {
        self.addition = addition.to_vec();
    }

    /// Sends bytes, as far as the socket takes them; the rest waits.
    pub fn send(&mut self, bytes: &[u8]) {
        self.outbox.push(bytes);
        self.flush();
    }

    /// Goes on sending what waits.
    pub fn flush(&mut self) {
        self.open = self.open && self.outbox.flush(&mut self.stream);
    }
}

/// gdbstub's end of a [`Link`]. It collects what gdbstub writes until a whole packet is there.
#[derive(Debug)]
pub struct Handle {
    link: Rc<RefCell<Link>>,
    pending: Vec<u8>,
}

impl Handle {
    /// An end of `link`.
    pub fn new(link: Rc<RefCell<Link>>) -> Handle {
        Handle { link, pending: Vec::new() }
    }
}

impl Connection for Handle {
    type Error = std::convert::Infallible;

    fn write(&mut self, byte: u8) -> Result<(), Self::Error> {
        self.pending.push(byte);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Self::Error> {
        let mut link = self.link.borrow_mut();
        // gdbstub acknowledges for itself; that was done when the packet came.
        let start = self.pending.iter().take_while(|&&b| b == b'+').count();
        let mut bytes = self.pending.split_off(start);
        self.pending.clear();
        let addition = std::mem::take(&mut link.addition);
        if link.given_up {
            return Ok(());
        }
        if !addition.is_empty()
            && let [b'$', body @ .., b'#', _, _] = bytes.as_slice()
        {
            bytes = packet(&[body, &addition].concat());
        }
        tracing::trace!("--> {}", String::from_utf8_lossy(&bytes));
        link.send(&bytes);
        link.last = bytes;
        Ok(())
    }
}
