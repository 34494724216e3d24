//! What can be asked through the control socket.

use super::input;
use super::message::{Arguments, Command, Failure, version};
use super::{ClientId, Control};
use crate::gdb::monitor;
use crate::gdb::resume::Resume;
use crate::gdb::target::{Debuggee, Doing};
use crate::screen::{write_png, write_ppm};
use serde_json::{Map, Value, json};
use snapshots::Direction;
use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use vm::Icount;

const NAMES: [&str; 13] = [
    "qmp_capabilities",
    "query-version",
    "query-commands",
    "query-status",
    "query-replay",
    "replay-break",
    "replay-delete-break",
    "replay-seek",
    "stop",
    "cont",
    "screendump",
    "human-monitor-command",
    "quit",
];

/// What is to be done after the answer is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Nothing,
    Seek(Icount),
    Continue,
    Quit,
}

/// Whether the machine runs while a command is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Machine {
    Paused,
    Running,
}

impl Debuggee {
    /// Carries out what has come in through the control socket, all of it or up to something that the debugger has sent.
    /// False when the server is to end.
    pub fn serve_control(&mut self) -> bool {
        let Some(control) = self.control.clone() else { return true };
        control.borrow_mut().receive();
        while let Some((client, command)) = next(&control) {
            match self.command(&control, client, command, Machine::Paused) {
                Then::Nothing => {}
                Then::Seek(position) => self.announced(|debuggee| {
                    let mut interrupted = debuggee.interrupter();
                    if let Err(e) = debuggee.history.seek(position, &mut interrupted) {
                        tracing::error!("{e}");
                    }
                }),
                Then::Continue => {
                    // Whatever stops it, the position is the answer.
                    let stopped = self.run(Resume::Continue(Direction::Forward), Doing::Something);
                    tracing::debug!("stopped: {:?}", stopped.reason);
                }
                Then::Quit => return false,
            }
            control.borrow_mut().receive();
        }
        true
    }

    /// Carries out what can be done while the machine runs on afterwards.
    pub(crate) fn serve_control_between(&mut self) {
        let Some(control) = self.control.clone() else { return };
        // What ends the run was left for later.
        while let Some((client, command)) = next(&control) {
            self.command(&control, client, command, Machine::Running);
        }
    }

    /// Does something that moves the machine, between the events that say so.
    pub(crate) fn announced<R>(&mut self, act: impl FnOnce(&mut Debuggee) -> R) -> R {
        let announce = |control: &Option<Rc<RefCell<Control>>>, name| {
            if let Some(control) = control {
                control.borrow_mut().announce(name);
            }
        };
        announce(&self.control, "RESUME");
        let result = act(self);
        announce(&self.control, "STOP");
        result
    }

    fn command(
        &mut self,
        control: &Rc<RefCell<Control>>,
        client: ClientId,
        command: Command,
        machine: Machine,
    ) -> Then {
        let Command { id, what } = command;
        let ready = control.borrow().is_ready(client);
        let result = what.and_then(|(name, arguments)| match (name.as_str(), ready) {
            ("qmp_capabilities", false) => {
                capabilities(arguments)?;
                control.borrow_mut().set_ready(client);
                Ok((json!({}), Then::Nothing))
            }
            ("qmp_capabilities", true) => {
                Err(Failure::not_found("Capabilities negotiation is already complete, command ignored"))
            }
            (_, false) => {
                Err(Failure::not_found("Expecting capabilities negotiation with 'qmp_capabilities'"))
            }
            (name, true) => self.execute(name, arguments, machine),
        });
        let (result, then) = match result {
            Ok((value, then)) => (Ok(value), then),
            Err(failure) => (Err(failure), Then::Nothing),
        };
        control.borrow_mut().reply(client, id, result);
        then
    }

    fn execute(
        &mut self,
        name: &str,
        arguments: Map<String, Value>,
        machine: Machine,
    ) -> Result<(Value, Then), Failure> {
        let mut arguments = Arguments::new(arguments);
        let mut then = Then::Nothing;
        let must_stand = || match machine {
            Machine::Paused => Ok(()),
            Machine::Running => Err(Failure::generic("the machine is running; send 'stop' first")),
        };
        let value = match name {
            "query-version" => version(),
            "query-commands" => NAMES.iter().chain(&input::NAMES).map(|name| json!({"name": name})).collect(),
            "query-status" => {
                let running = machine == Machine::Running || self.runs_free();
                json!({"running": running, "status": if running { "running" } else { "paused" }})
            }
            "query-replay" => json!({
                "mode": self.history.mode(),
                "filename": self.history.name(),
                "icount": self.history.position().0,
            }),
            "replay-break" => {
                let position = self.position_argument(&mut arguments)?;
                self.set_position_break(Some(position));
                json!({})
            }
            "replay-delete-break" => {
                self.set_position_break(None);
                json!({})
            }
            "replay-seek" => {
                must_stand()?;
                then = Then::Seek(self.position_argument(&mut arguments)?);
                json!({})
            }
            "screendump" => {
                self.screendump(&mut arguments)?;
                json!({})
            }
            "stop" => {
                self.pause(true);
                json!({})
            }
            "cont" => {
                self.pause(false);
                then = if self.runs_free() {
                    // The server sees to it.
                    Then::Nothing
                } else if machine == Machine::Paused {
                    Then::Continue
                } else {
                    Then::Nothing
                };
                json!({})
            }
            "human-monitor-command" => {
                must_stand()?;
                let line = arguments.text("command-line")?;
                arguments.end()?;
                json!(monitor::run(self, &line))
            }
            name if input::NAMES.contains(&name) => {
                let action = input::action(name, &mut arguments)?;
                arguments.end()?;
                self.history.act(action).map_err(Failure::generic)?;
                json!({})
            }
            "quit" => {
                then = Then::Quit;
                json!({})
            }
            _ => return Err(Failure::not_found(format!("The command {name} has not been found"))),
        };
        arguments.end()?;
        Ok((value, then))
    }

    /// The screen into a file: PPM, as in QEMU, unless another format is named.
    fn screendump(&self, arguments: &mut Arguments) -> Result<(), Failure> {
        let file = arguments.text("filename")?;
        let format = arguments.optional_text("format")?;
        if let Some(device) = arguments.optional_text("device")? {
            return Err(Failure::generic(format!("Device '{device}' not found: there is one display")));
        }
        arguments.end()?;
        let write = match format.as_deref() {
            None | Some("ppm") => write_ppm,
            Some("png") => write_png,
            Some(other) => {
                return Err(Failure::generic(format!(
                    "Parameter 'format' does not accept value '{other}': ppm or png"
                )));
            }
        };
        let picture = self.history.view().picture();
        let picture =
            picture.ok_or_else(|| Failure::generic("There is no console to take a screendump from"))?;
        write(Path::new(&file), &picture).map_err(|e| Failure::generic(format!("{e:#}")))
    }

    fn position_argument(&self, arguments: &mut Arguments) -> Result<Icount, Failure> {
        let (position, end) = (arguments.number("icount")?, self.history.end().0);
        arguments.end()?;
        if position <= end || self.history.runs_free() {
            Ok(Icount(position))
        } else {
            Err(Failure::generic(format!(
                "position {position} is never reached: the recording ends at {end}"
            )))
        }
    }
}

fn next(control: &Rc<RefCell<Control>>) -> Option<(ClientId, Command)> {
    control.borrow_mut().next_command()
}

/// There are no capabilities, so none can be switched on.
fn capabilities(arguments: Map<String, Value>) -> Result<(), Failure> {
    match arguments.get("enable") {
        Some(Value::Array(wanted)) if !wanted.is_empty() => {
            Err(Failure::generic(format!("there is no capability {}", wanted[0])))
        }
        _ => Ok(()),
    }
}
