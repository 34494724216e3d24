//! The control socket: QMP, the protocol by which programs control QEMU, for what there is of it here.
//!
//! [`Control`] has the sockets and the commands that came in. It is looked at between two things that the machine does,
//! and again and again while the machine runs; [`commands`] carries them out.

pub mod commands;
mod input;
pub mod message;

use crate::socket::{Listener, Outbox, Stream};
use message::{Command, Failure, Parser, answer, event, greeting};
use mio::{Interest, Registry, Token};
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::io::{ErrorKind, Read};

/// Tokens from this one on are clients of the control socket.
const FIRST_TOKEN: usize = 16;
/// Most clients at a time.
const CLIENTS_MAX: usize = 16;
/// Commands that may wait.
const COMMANDS_MAX: usize = 4096;

/// One who asked, to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientId(usize);

struct Client {
    stream: Stream,
    parser: Parser,
    outbox: Outbox,
    /// It has sent qmp_capabilities and is told of events.
    ready: bool,
    open: bool,
}

/// The control socket and its clients.
pub struct Control {
    listener: Listener,
    registry: Registry,
    clients: BTreeMap<ClientId, Client>,
    next: usize,
    commands: VecDeque<(ClientId, Command)>,
}

impl Control {
    /// Serves who connects to `listener`; something that happens there wakes the poll of `registry`.
    pub fn new(mut listener: Listener, registry: Registry, token: Token) -> std::io::Result<Control> {
        registry.register(&mut listener, token, Interest::READABLE)?;
        Ok(Control {
            listener,
            registry,
            clients: BTreeMap::new(),
            next: FIRST_TOKEN,
            commands: VecDeque::new(),
        })
    }

    /// Takes in all that has arrived.
    pub fn receive(&mut self) {
        self.accept();
        self.receive_from_clients();
    }

    fn receive_from_clients(&mut self) {
        for (&id, client) in &mut self.clients {
            client.flush();
            for command in client.receive() {
                self.commands.push_back((id, command));
            }
            client.open &= self.commands.len() <= COMMANDS_MAX;
        }
        let gone: Vec<_> = self.clients.iter().filter(|(_, c)| !c.open).map(|(id, _)| *id).collect();
        for id in gone {
            self.drop_client(id);
        }
    }

    /// The next command.
    pub fn next_command(&mut self) -> Option<(ClientId, Command)> {
        self.commands.pop_front()
    }

    /// Whether a command waits.
    pub fn has_commands(&self) -> bool {
        !self.commands.is_empty()
    }

    /// Whether one that ends what runs waits.
    pub fn wants_stop(&self) -> bool {
        self.commands.iter().any(|(_, command)| matches!(command.name(), "stop" | "quit"))
    }

    /// Whether a client has negotiated.
    pub fn is_ready(&self, id: ClientId) -> bool {
        self.clients.get(&id).is_some_and(|client| client.ready)
    }

    /// A client has negotiated.
    pub fn set_ready(&mut self, id: ClientId) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.ready = true;
        }
    }

    /// Answers a command.
    pub fn reply(&mut self, id: ClientId, command_id: Option<Value>, result: Result<Value, Failure>) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.send(&answer(command_id, result));
        }
    }

    /// Tells all clients of an event.
    pub fn announce(&mut self, name: &str) {
        let event = event(name);
        self.clients.values_mut().filter(|client| client.ready).for_each(|client| client.send(&event));
    }

    fn accept(&mut self) {
        loop {
            let (stream, peer) = match self.listener.accept() {
                Ok(accepted) => accepted,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                // Out of descriptors, or the peer is gone again: the next event tries anew.
                Err(e) => return tracing::warn!("cannot accept a client of the control socket: {e}"),
            };
            stream.hurry();
            let mut client = Client {
                stream,
                parser: Parser::default(),
                outbox: Outbox::default(),
                ready: false,
                open: true,
            };
            if self.clients.len() >= CLIENTS_MAX {
                // Those who have left make room.
                self.receive_from_clients();
            }
            if self.clients.len() >= CLIENTS_MAX {
                let full =
                    format!("{CLIENTS_MAX} clients are connected already; try again when one has left");
                client.send(&answer(None, Err(Failure::generic(full))));
                continue;
            }
            let id = ClientId(self.next);
            let interest = Interest::READABLE | Interest::WRITABLE;
            if let Err(e) = self.registry.register(&mut client.stream, Token(id.0), interest) {
                tracing::warn!("cannot serve a client of the control socket: {e}");
                continue;
            }
            tracing::info!("{peer}: controls");
            self.next = self.next.wrapping_add(1).max(FIRST_TOKEN);
            client.send(&greeting());
            self.clients.insert(id, client);
        }
    }

    fn drop_client(&mut self, id: ClientId) {
        if let Some(mut client) = self.clients.remove(&id) {
            // It is closed next, which deregisters it as well.
            let _ = self.registry.deregister(&mut client.stream);
        }
        // One that says `cont` and leaves has said it.
    }
}

impl Client {
    fn receive(&mut self) -> Vec<Command> {
        let mut commands = Vec::new();
        let mut buf = [0; 4096];
        while self.open && commands.len() <= COMMANDS_MAX {
            match self.stream.read(&mut buf) {
                Ok(0) => self.open = false,
                Ok(n) => commands.extend(self.parser.push(&buf[..n])),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(_) => self.open = false,
            }
        }
        commands
    }

    fn send(&mut self, value: &Value) {
        tracing::trace!("control --> {value}");
        self.outbox.push(format!("{value}\r\n").as_bytes());
        self.flush();
    }

    fn flush(&mut self) {
        self.open = self.open && self.outbox.flush(&mut self.stream);
    }
}
