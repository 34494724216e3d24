//! `retrograde serve`: one recording, one debugger at a time.

use crate::cli::ServeArgs;
use crate::control::Control;
use crate::gdb::Session;
use crate::gdb::history::{History, Recorded};
use crate::gdb::link::Link;
use crate::gdb::monitor::go_to;
use crate::gdb::target::Debuggee;
use crate::open;
use crate::place::Place;
use crate::signals::Signals;
use crate::socket::{Address, Listener, Stream};
use anyhow::{Context, Result, anyhow};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{ErrorKind, Write};
use std::num::NonZero;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::thread::available_parallelism;
use std::time::Duration;

#[cfg(test)]
mod tests;

const LISTENER: Token = Token(0);
const SIGNAL: Token = Token(1);
const DEBUGGER: Token = Token(2);
const CONTROL: Token = Token(3);
/// Debuggers that were turned away and may still be reading why.
const TURNED_AWAY_MAX: usize = 8;

/// Runs the subcommand; the exit status.
pub fn run(args: &ServeArgs) -> Result<u8> {
    let address = Address::parse("--gdb", &args.gdb)?;
    let control = args.qmp.as_ref().map(|text| Address::parse("--qmp", text)).transpose()?;
    let (name, recording) = open::recording(&args.file, &args.media)?;
    // First of all the ports, so that a busy one is known at once.
    let listener = Listener::bind("--gdb", &address)?;
    let control = control.map(|address| Listener::bind("--qmp", &address)).transpose()?;
    let signals = Signals::catch()?;
    let mut history = Recorded::new(name, recording)?;
    let jobs = args.jobs.or_else(|| available_parallelism().ok()).map_or(1, NonZero::get);
    history.set_limits(usize::try_from(args.memory_budget).unwrap_or(usize::MAX), jobs);
    // The mode at the end is asked for there; this is also where a session starts by default.
    let end = history.end();
    // On the way to the last step checkpoints are planted in memory, which make the first steps back from the end quick.
    if let Err(e) = history.seek(vm::Icount(end.0.saturating_sub(1)), &mut || signals.caught()) {
        crate::note!("retrograde: {name}: warning: {e}", name = history.name());
    }
    history.seek(end, &mut || signals.caught())?;
    let width = args.arch.width(&history.view().cpu());
    let mut debuggee = Debuggee::new(Box::new(history), width, signals.flag());
    if args.at != Place::End {
        go_to(&mut debuggee, args.at).map_err(|e| anyhow!("--at: {e}"))?;
    }
    let control_address = control.as_ref().map(|listener| listener.address().clone());
    let mut server = Server::new(listener, &signals)?;
    if let Some(control) = control {
        server.control(control, &mut debuggee)?;
    }
    let (position, end) = (debuggee.history().position(), debuggee.history().end());
    let what = format!("{}: at position {position} of {end}", args.file.display());
    announce(&what, server.address(), control_address);
    server.run(&mut debuggee, &signals, args.once)?;
    Ok(0)
}

/// Says what is there and where to connect.
pub(crate) fn announce(what: &str, address: &Address, control: Option<Address>) {
    crate::say!("retrograde: {what}");
    if let Some(control) = control {
        crate::say!("retrograde: control socket at {control}");
    }
    let target = match address {
        Address::Tcp(address) if address.ip().is_loopback() => format!(":{}", address.port()),
        Address::Tcp(address) => address.to_string(),
        Address::Unix(path) => path.display().to_string(),
    };
    crate::say!("retrograde: listening on {address}, connect with: gdb -ex 'target remote {target}'");
    // Whoever started this in a pipe waits for the line.
    let _ = std::io::stdout().flush();
}

/// The sockets.
pub(crate) struct Server {
    poll: Poll,
    listener: Listener,
    session: Option<Session>,
    turned_away: VecDeque<Stream>,
}

impl Server {
    /// A server for who connects to `listener`; a signal ends it.
    pub(crate) fn new(mut listener: Listener, signals: &Signals) -> Result<Server> {
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let signal_fd = signals.descriptor().as_raw_fd();
        poll.registry().register(&mut SourceFd(&signal_fd), SIGNAL, Interest::READABLE)?;
        Ok(Server { poll, listener, session: None, turned_away: VecDeque::new() })
    }

    /// Where it listens for debuggers.
    pub(crate) fn address(&self) -> &Address {
        self.listener.address()
    }

    /// Serves until a signal, a `quit`, the end of the first debugger if it is for one only, or the end of what is recorded
    /// with nobody there to look at it.
    pub(crate) fn run(&mut self, debuggee: &mut Debuggee, signals: &Signals, once: bool) -> Result<()> {
        let mut events = Events::with_capacity(16);
        let live = debuggee.history().runs_free();
        while !signals.caught() && (!live || self.session.is_some() || debuggee.history().runs_free()) {
            let timeout = debuggee.runs_free().then_some(Duration::ZERO);
            match self.poll.poll(&mut events, timeout) {
                Err(e) if e.kind() != ErrorKind::Interrupted => {
                    return Err(e).context("waiting for a debugger");
                }
                _ => {}
            }
            // Whoever came while descriptors were short, or a machine ran free, is looked for again.
            if self.session.is_none() || events.iter().any(|event| event.token() == LISTENER) {
                self.accept(debuggee);
            }
            // What one side does may leave something for the other that came in meanwhile.
            loop {
                if self.session.as_mut().is_some_and(|session| !session.serve(debuggee)) {
                    self.end_session(debuggee);
                    if once {
                        return Ok(());
                    }
                }
                if !debuggee.serve_control() {
                    return Ok(());
                }
                if !self.session.as_ref().is_some_and(Session::has_more) {
                    break;
                }
            }
            if debuggee.runs_free() {
                let poll = &mut self.poll;
                // What has come is looked for above, whatever it is.
                debuggee.run_free(&mut || {
                    poll.poll(&mut events, Some(Duration::ZERO)).is_err() || !events.is_empty()
                });
            }
        }
        Ok(())
    }

    /// Serves a control socket as well.
    pub(crate) fn control(&mut self, listener: Listener, debuggee: &mut Debuggee) -> Result<()> {
        let control = Control::new(listener, self.poll.registry().try_clone()?, CONTROL)?;
        debuggee.set_control(Rc::new(RefCell::new(control)));
        Ok(())
    }

    fn accept(&mut self, debuggee: &mut Debuggee) {
        loop {
            let (mut stream, peer) = match self.listener.accept() {
                Ok(accepted) => accepted,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                // Out of descriptors, or the peer is gone again: the next event tries anew.
                Err(e) => return tracing::warn!("cannot accept a debugger: {e}"),
            };
            if self.session.is_some() {
                tracing::info!("{peer}: turned away, a debugger is connected already");
                self.turn_away(stream);
                continue;
            }
            let interest = Interest::READABLE | Interest::WRITABLE;
            if let Err(e) = self.poll.registry().register(&mut stream, DEBUGGER, interest) {
                tracing::warn!("cannot serve a debugger: {e}");
                continue;
            }
            tracing::info!("{peer}: connected");
            self.session = Some(Session::new(Link::new(stream), debuggee));
        }
    }

    /// Answers the first packet that a debugger sends, before it is read. The connection stays for a while: closing it
    /// at once could destroy the answer on its way.
    fn turn_away(&mut self, mut stream: Stream) {
        let reply =
            crate::gdb::framing::packet(b"E.another debugger is connected; try again when it has left");
        // If it does not even take this, nothing is lost.
        let _ = stream.write_all(b"+").and_then(|()| stream.write_all(&reply));
        stream.end_writing();
        if self.turned_away.len() >= TURNED_AWAY_MAX {
            self.turned_away.pop_front();
        }
        self.turned_away.push_back(stream);
    }

    fn end_session(&mut self, debuggee: &mut Debuggee) {
        if let Some(session) = self.session.take() {
            let mut link = session.link().borrow_mut();
            link.flush();
            // It is closed next, which deregisters it as well.
            let _ = self.poll.registry().deregister(link.stream_mut());
        }
        debuggee.detach();
        self.turned_away.clear();
        tracing::info!("the debugger has left");
    }
}
