//! The GDB server: the remote protocol over a [`history::History`].
//!
//! Bytes become packets in [`framing`], [`filter`] decides what is done with each, gdbstub handles those that it is
//! good at with [`target`] as its target, and [`resume`] runs the machine when it is told to go on.

pub mod agent;
pub mod arch;
pub mod breakpoints;
pub mod expr;
#[cfg(any(test, fuzzing))]
pub mod fake;
#[cfg(any(test, fuzzing))]
pub mod feed;
pub mod filter;
pub mod framing;
pub mod history;
pub mod link;
pub mod live;
pub mod monitor;
pub mod regs;
pub mod resume;
pub mod scope;
pub mod steps;
pub mod target;
pub mod transcript;
pub mod writing;
pub mod xml;

use filter::{Verdict, judge};
use framing::{Frame, PACKET_MAX_BYTES, packet};
use gdbstub::stub::GdbStub;
use gdbstub::stub::state_machine::GdbStubStateMachine;
use link::{Handle, Link};
use std::cell::RefCell;
use std::fmt::Write;
use std::rc::Rc;
use target::{Debuggee, Features};

/// What we can do and gdbstub does not know of.
const OUR_FEATURES: &[u8] = b";ConditionalBreakpoints+";

type Machine = GdbStubStateMachine<'static, Debuggee, Handle>;

/// One debugger's session, from its connection to its end.
pub struct Session {
    link: Rc<RefCell<Link>>,
    /// `None` once it has failed or ended.
    stub: Option<Machine>,
    lldb_errors: bool,
}

impl Session {
    /// A debugger has connected.
    pub fn new(link: Link, debuggee: &mut Debuggee) -> Session {
        let link = Rc::new(RefCell::new(link));
        debuggee.attach(Rc::clone(&link));
        let stub = GdbStub::builder(Handle::new(Rc::clone(&link)))
            // Room for the frame around the longest body that is taken.
            .packet_buffer_size(PACKET_MAX_BYTES + 4)
            .build()
            .ok()
            .and_then(|stub| stub.run_state_machine(debuggee).ok());
        Session { link, stub, lldb_errors: false }
    }

    /// The connection.
    pub fn link(&self) -> &Rc<RefCell<Link>> {
        &self.link
    }

    /// Whether something of the debugger's waits to be served.
    pub fn has_more(&self) -> bool {
        self.link.borrow().has_frames()
    }

    /// Does all that the debugger has asked for so far. False when the session is over.
    pub fn serve(&mut self, debuggee: &mut Debuggee) -> bool {
        self.link.borrow_mut().flush();
        self.link.borrow_mut().receive();
        while self.stub.is_some() {
            let Some(frame) = self.link.borrow_mut().next_frame() else {
                return self.link.borrow().is_open();
            };
            self.handle(frame, debuggee);
        }
        false
    }

    fn handle(&mut self, frame: Frame, debuggee: &mut Debuggee) {
        match frame {
            Frame::Ack => {}
            // It crossed with a stop reply, which may be one that the debugger passes over by itself.
            Frame::Interrupt => debuggee.interrupt_soon(),
            Frame::Nack => self.link.borrow_mut().repeat(),
            Frame::Damaged => self.send_if_acks(b"-"),
            Frame::TooLong => {
                self.send_if_acks(b"+");
                self.refuse("packet too long");
            }
            Frame::Packet(body) => {
                tracing::trace!("<-- {}", String::from_utf8_lossy(&body));
                self.send_if_acks(b"+");
                self.packet(&body, debuggee);
            }
        }
    }

    fn packet(&mut self, body: &[u8], debuggee: &mut Debuggee) {
        match judge(body) {
            Verdict::Forward(form) => {
                if body.starts_with(b"qSupported") {
                    debuggee.features = Features::new(&String::from_utf8_lossy(body), debuggee.features.lldb);
                    self.link.borrow_mut().add_to_next(OUR_FEATURES);
                }
                self.forward(&form, debuggee);
                if form == b"QStartNoAckMode" {
                    self.link.borrow_mut().stop_acks();
                }
            }
            Verdict::Break { form, conditions } => {
                debuggee.breaks.conditions = conditions;
                self.forward(&form, debuggee);
            }
            Verdict::Reply(text) => self.reply(text),
            Verdict::IsPhysical => self.reply(if debuggee.physical { "1" } else { "0" }),
            Verdict::Physical(on) => {
                debuggee.physical = on;
                self.reply("OK");
            }
            Verdict::Read { addr, len } => self.read(addr, len, debuggee),
            Verdict::Write { addr, bytes } => self.written(debuggee.write_memory(addr, &bytes)),
            Verdict::WriteRegister { number, bytes } => {
                self.written(debuggee.write_register(number, &bytes));
            }
            Verdict::WriteRegisters(bytes) => self.written(debuggee.write_registers(&bytes)),
            Verdict::Watch { set, kind, addr, len } => match debuggee.watch(set, kind, addr, len) {
                Ok(()) => self.reply("OK"),
                Err(reason) => self.refuse(&reason),
            },
            Verdict::Register(number) => match debuggee.read_register(number) {
                Some(bytes) => self.reply(&hex(&bytes)),
                None => self.refuse(&format!("there is no register {number}")),
            },
            Verdict::Refuse(reason) => self.refuse(&reason),
            Verdict::LldbErrors => {
                self.lldb_errors = true;
                debuggee.describe_to_lldb();
                self.reply("OK");
            }
            Verdict::Host => self.reply(&debuggee.host_info()),
            Verdict::Leave(text) => {
                // To a packet that GDB wants no answer to LLDB wants one, and says that it has failed.
                let text = text.or(debuggee.features.lldb.then_some("X09"));
                text.into_iter().for_each(|t| self.reply(t));
                self.stub = None;
            }
        }
    }

    fn read(&self, addr: u64, len: u64, debuggee: &Debuggee) {
        // Two digits a byte must fit into a packet. A shorter reply than asked for is within the protocol.
        let len = usize::try_from(len).unwrap_or(usize::MAX).min(PACKET_MAX_BYTES / 2);
        let bytes = debuggee.read_for_debugger(addr, len);
        if bytes.is_empty() && len > 0 {
            match debuggee.features.error_message || debuggee.features.lldb {
                true => self.refuse(&format!("address {addr:#x} is not mapped here")),
                false => self.reply("E0e"),
            }
        } else {
            self.reply(&hex(&bytes));
        }
    }

    fn written(&self, result: Result<(), &'static str>) {
        match result {
            Ok(()) => self.reply("OK"),
            Err(reason) => self.refuse(reason),
        }
    }

    /// Gives a packet to gdbstub, and runs the machine if it says so.
    fn forward(&mut self, body: &[u8], debuggee: &mut Debuggee) {
        for byte in packet(body) {
            self.advance(debuggee, |stub, debuggee| match stub {
                GdbStubStateMachine::Idle(idle) => idle.incoming_data(debuggee, byte),
                other => Ok(other),
            });
        }
        if matches!(self.stub, Some(GdbStubStateMachine::Running(_))) {
            let stopped = debuggee.run_pending();
            if let Some(message) = stopped.message.filter(|_| !debuggee.features.nothing) {
                self.link.borrow_mut().reply(format!("O{}", hex(message.as_bytes())).as_bytes());
            }
            // A program that reads stop replies by itself may not expect them.
            if debuggee.features.gdb || debuggee.features.lldb {
                self.link.borrow_mut().add_to_next(debuggee.expedited().as_bytes());
            }
            self.advance(debuggee, |stub, debuggee| match stub {
                GdbStubStateMachine::Running(running) => running.report_stop(debuggee, stopped.reason),
                other => Ok(other),
            });
        }
        if matches!(self.stub, Some(GdbStubStateMachine::Disconnected(_))) {
            self.stub = None;
        }
    }

    fn advance<E: std::fmt::Display>(
        &mut self,
        debuggee: &mut Debuggee,
        step: impl FnOnce(Machine, &mut Debuggee) -> Result<Machine, E>,
    ) {
        let Some(stub) = self.stub.take() else { return };
        match step(stub, debuggee) {
            Ok(stub) => self.stub = Some(stub),
            Err(error) => {
                tracing::warn!("the debugger is disconnected: {error}");
                self.link.borrow_mut().close();
            }
        }
    }

    fn send_if_acks(&self, bytes: &[u8]) {
        let mut link = self.link.borrow_mut();
        if link.acks() {
            link.send(bytes);
        }
    }

    fn reply(&self, text: &str) {
        self.link.borrow_mut().reply(text.as_bytes());
    }

    /// An error in words, in the form that this debugger shows.
    fn refuse(&self, reason: &str) {
        if self.lldb_errors {
            self.reply(&format!("E16;{}", hex(reason.as_bytes())));
        } else {
            self.reply(&format!("E.{reason}"));
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
