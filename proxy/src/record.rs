//! `retrograde record`: runs a machine while its host ends, script and stop conditions are served between slices.

use crate::cli::{Pace, RecordArgs};
use crate::drives::Drives;
use crate::ending::{self, Next, describe};
use crate::host_serial::{HostSerial, Hotkey, HotkeyFilter, RawTerminal, SerialSpec, wait_ready};
use crate::machine_args;
use crate::net::Networks;
use crate::script::{Action, Script, ScriptRun, Stream, View};
use crate::signals::Signals;
use crate::stuck::Stuck;
use crate::typist::Typist;
use crate::units::human_bytes;
use crate::until::{Finder, Until};
use crate::usage::Usage;
use anyhow::{Context, Result, anyhow, bail};
use rustix::event::PollFlags;
use snapshots::{EndReason, Recorder, RecorderOptions};
use std::collections::VecDeque;
use std::io::IsTerminal;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};
use vm::config::CARDS_MAX;
use vm::units::NS_PER_STEP;
use vm::{Exit, Input, Machine, Output, SERIAL_PORTS, VmTime};

/// Steps of one slice: some milliseconds of the host, which is how long input waits.
const SLICE_STEPS: u64 = 1_000_000;
/// Virtual time that a slice may skip while the guest is halted.
const SLICE_HALT_NS: u64 = 10_000_000;
/// The same while a network has something to do: how long a frame waits.
const NET_SLICE_NS: u64 = 1_000_000;
/// Ten bits at 115200 baud: input comes no faster than that line would bring it.
const NS_PER_SERIAL_BYTE: u64 = 86_806;
/// Bytes that enter a port at one position at most: the depth of a 16550A's FIFO.
const SERIAL_BURST_BYTES: usize = 16;
/// Serial ports: those on the board, and as many on cards as there can be cards.
const PORTS_MAX: usize = SERIAL_PORTS as usize + CARDS_MAX;
/// EFLAGS.IF.
const INTERRUPT_FLAG: u64 = 1 << 9;

/// Runs the subcommand; the exit status.
pub fn run(args: &RecordArgs) -> Result<u8> {
    let (run, terminal) = Run::begin(args, Rc::new(Signals::catch()?))?;
    if terminal.is_some() {
        crate::note!("retrograde: recording; Ctrl-A x ends it, Ctrl-A h helps");
    }
    let ended = run.run();
    drop(terminal);
    Ok(report(args, &args.output, &ended?))
}

/// Refuses an output file that is there already, that cannot hold a recording, or that something else uses.
fn check_output(args: &RecordArgs, specs: &[PortSpec]) -> Result<()> {
    let shown = args.output.display();
    if let Ok(metadata) = std::fs::metadata(&args.output) {
        if !metadata.is_file() {
            bail!("-o: {shown} is no ordinary file; a recording needs one");
        }
        if !args.force {
            bail!("{shown} exists; give --force to overwrite it, or another name to -o");
        }
    }
    let machine = &args.machine;
    let read = [
        ("--kernel", machine.kernel.as_deref()),
        ("--initrd", machine.initrd.as_deref()),
        ("--bios", machine.bios.as_deref()),
        ("--script", args.script.as_deref()),
    ];
    let roms = machine.option_rom.iter().map(|path| ("--option-rom", Some(path.as_path())));
    let outputs = [("--debugcon", &args.debugcon), ("--parallel", &args.parallel)];
    let written = specs.iter().map(|port| (port.option(), &port.to)).chain(outputs);
    let written = written.map(|(option, spec)| match spec {
        SerialSpec::File(path) => (option, Some(path.as_path())),
        _ => (option, None),
    });
    for (option, path) in read.into_iter().chain(roms).chain(written) {
        if path.is_some_and(|path| crate::open::is_same_file(path, &args.output)) {
            bail!("-o: {shown} is also what {option} names; give the recording a name of its own");
        }
    }
    Ok(())
}

/// Refuses an output file that is an image in use.
fn check_media(args: &RecordArgs, drives: &Drives) -> Result<()> {
    match drives.paths().find(|path| crate::open::is_same_file(path, &args.output)) {
        Some(path) => {
            bail!("-o: {} is also an image of a drive; give the recording a name of its own", path.display())
        }
        None => Ok(()),
    }
}

fn load_script(path: &Path) -> Result<Script> {
    const SCRIPT_MAX_BYTES: u64 = 1 << 20;
    let shown = path.display();
    let bytes = machine_args::read_file("--script", path, SCRIPT_MAX_BYTES)?;
    let text = String::from_utf8(bytes).map_err(|e| {
        let line = e.as_bytes()[..e.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count() + 1;
        anyhow!("--script: {shown}, line {line}: this is not text in UTF-8")
    })?;
    Script::parse(&text).map_err(|e| anyhow!("--script: {shown}, {e}"))
}

/// What a serial port is connected to.
struct PortSpec {
    /// Its number in the machine.
    number: u8,
    to: SerialSpec,
}

impl PortSpec {
    /// The option that names it.
    fn option(&self) -> &'static str {
        if self.number < SERIAL_PORTS { "--serial" } else { "--virtconsole" }
    }
}

fn port_specs(args: &RecordArgs) -> Result<Vec<PortSpec>> {
    let consoles = &args.machine.virtconsole;
    let stdio_users = args.serial.iter().chain(consoles).filter(|s| **s == SerialSpec::Stdio).count();
    if stdio_users > 1 {
        bail!("stdio can be given to one port; send the others to file:PATH, a socket or none");
    }
    if args.serial.len() > SERIAL_PORTS.into() {
        bail!("--serial can be given {SERIAL_PORTS} times: a PC has {SERIAL_PORTS} serial ports");
    }
    if consoles.len() > CARDS_MAX {
        bail!("--virtconsole is given {} times: there are slots for {CARDS_MAX} cards", consoles.len());
    }
    let serial = match (args.serial.is_empty(), args.script.is_some() || stdio_users > 0) {
        (false, _) => args.serial.clone(),
        // A script's run must not depend on what standard input happens to be.
        (true, true) => vec![SerialSpec::Stdout],
        (true, false) => vec![SerialSpec::Stdio],
    };
    let ports = (0..).zip(serial).chain((SERIAL_PORTS..).zip(consoles.iter().cloned()));
    Ok(ports.map(|(number, to)| PortSpec { number, to }).collect())
}

/// A serial port with what is on its way to the guest.
struct Port {
    number: u8,
    host: HostSerial,
    queue: VecDeque<u8>,
    /// When the line has brought what was injected last.
    free_at: VmTime,
}

impl Port {
    fn open(spec: &PortSpec) -> Result<Port> {
        let host = HostSerial::open(&spec.to).context(spec.option())?;
        Ok(Port { number: spec.number, host, queue: VecDeque::new(), free_at: VmTime(0) })
    }
}

/// A stop condition, with what it has seen.
struct Condition {
    until: Until,
    /// For a text: one finder for each serial port, and one for each debug console.
    finders: Vec<Finder>,
    held: bool,
}

impl Condition {
    fn new(until: Until) -> Condition {
        let finders = match &until {
            Until::Console(text) => vec![Finder::new(text.as_bytes()); PORTS_MAX + 1],
            _ => Vec::new(),
        };
        Condition { until, finders, held: false }
    }

    fn output(&mut self, channel: usize, bytes: &[u8]) {
        if let Some(finder) = self.finders.get_mut(channel) {
            self.held |= finder.feed(bytes).is_some();
        }
    }
}

/// How a run ended.
pub struct Ended {
    reason: EndReason,
    /// The script's line that was not done.
    script_waiting: Option<String>,
    position: u64,
    now: VmTime,
    took: Duration,
}

/// What comes between two slices.
pub(crate) enum Between {
    /// The next one.
    Go,
    /// Nothing yet: the guest waits for input, or is ahead of the host's clock.
    Wait,
    /// The end.
    End(EndReason),
}

/// A recording being made.
pub(crate) struct Run {
    recorder: Recorder,
    drives: Drives,
    ports: Vec<Port>,
    debugcon: HostSerial,
    parallel: HostSerial,
    networks: Networks,
    hotkeys: Option<HotkeyFilter>,
    until: Vec<Condition>,
    script: Option<ScriptRun>,
    typist: Typist,
    signals: Rc<Signals>,
    pace: Pace,
    /// A reset reboots instead of ending the run.
    may_reboot: bool,
    began: Instant,
    /// The guest waits for input and no timer runs: virtual time stands still.
    idle: bool,
    stuck: Stuck,
}

impl Run {
    /// Everything that `args` says, at power-on, and the terminal in raw mode if the guest's console is there.
    pub(crate) fn begin(args: &RecordArgs, signals: Rc<Signals>) -> Result<(Run, Option<RawTerminal>)> {
        let script = match (&args.script, &args.typed) {
            (Some(path), _) => Some(load_script(path)?),
            (None, Some(text)) => {
                Some(Script::typing(text).map_err(|what| Usage(format!("--type: {what}")))?)
            }
            (None, None) => None,
        };
        let specs = port_specs(args)?;
        check_output(args, &specs)?;
        let inserted = script.as_ref().map(Script::inserted).unwrap_or_default();
        let drives = Drives::open(&args.machine.drives, &inserted)?;
        check_media(args, &drives)?;
        let machine = machine_args::build(&args.machine, &drives)?;
        // Without firmware nothing is there to start the machine again: its kernel was loaded from outside.
        let may_reboot = !args.machine.no_reboot && machine.config().has_firmware();
        let ports = specs.iter().map(Port::open).collect::<Result<Vec<_>>>()?;
        let debugcon = HostSerial::open(&args.debugcon).context("--debugcon")?;
        let parallel = HostSerial::open(&args.parallel).context("--parallel")?;
        let networks = Networks::open(&args.machine.nic)?;
        let options = RecorderOptions { checkpoint_every: args.checkpoint_every, embed: drives.embedded() };
        let recorder = Recorder::create(&args.output, args.force, machine, options)
            .with_context(|| format!("cannot record to {}", args.output.display()))?;
        let terminal =
            specs.iter().any(|port| port.to == SerialSpec::Stdio).then(RawTerminal::enter).flatten();
        let run = Run {
            recorder,
            drives,
            ports,
            debugcon,
            parallel,
            networks,
            hotkeys: terminal.is_some().then(HotkeyFilter::default),
            until: args.until.iter().cloned().map(Condition::new).collect(),
            script: script.map(ScriptRun::new),
            typist: Typist::default(),
            signals,
            pace: args.pace,
            may_reboot,
            began: Instant::now(),
            idle: false,
            stuck: Stuck::default(),
        };
        Ok((run, terminal))
    }

    fn run(mut self) -> Result<Ended> {
        let reason = loop {
            if let Between::End(reason) = self.between_slices(None)? {
                break reason;
            }
            let exit = self.run_slice(u64::MAX)?;
            if let Some(reason) = self.after_exit(exit)? {
                break reason;
            }
        };
        self.finish(reason)
    }

    /// Runs up to the next moment at which something is to be looked at, or `steps`, and hands on what the guest wrote.
    pub(crate) fn run_slice(&mut self, most_steps: u64) -> Result<Exit, snapshots::Error> {
        let (steps, halt_ns) = self.slice();
        let exit = self.recorder.run(steps.min(most_steps), halt_ns)?;
        self.deliver_output();
        self.look_at_screen();
        self.idle = exit == Exit::Idle;
        self.say_if_stuck();
        Ok(exit)
    }

    /// A guest that hangs is not always one that can be told to.
    fn say_if_stuck(&mut self) {
        let interrupts_on = self.machine().cpu().rflags & INTERRUPT_FLAG != 0;
        if let Some(since) = self.stuck.look(self.recorder.now(), interrupts_on) {
            crate::note!(
                "retrograde: interrupts have been off since {since}: the guest may hang; --until or Ctrl-C ends it"
            );
        }
    }

    /// Does what the guest asks for. Why to end, if so.
    pub(crate) fn after_exit(&mut self, exit: Exit) -> Result<Option<EndReason>> {
        match ending::after(exit, self.may_reboot)? {
            Next::Continue => {}
            Next::Reset => self.recorder.inject(Input::Reset)?,
            Next::End(reason) => {
                // The guest's last words may be what the script waits for. What it would do then comes too late.
                let view = self.view();
                if let Some(script) = self.script.as_mut() {
                    script.next_action(view);
                }
                return Ok(Some(reason));
            }
        }
        Ok(None)
    }

    /// What the script is shown.
    fn view(&self) -> View {
        View {
            position: self.recorder.machine().position(),
            now: self.recorder.now(),
            input_drained: self.typist.is_done() && self.ports.iter().all(|p| p.queue.is_empty()),
            idle: self.idle,
        }
    }

    /// The recorder.
    pub(crate) fn recorder(&mut self) -> &mut Recorder {
        &mut self.recorder
    }

    /// The machine.
    pub(crate) fn machine(&self) -> &Machine {
        self.recorder.machine()
    }

    /// From now on another course of events: `recorder`. What was on its way in the one before is forgotten.
    pub(crate) fn replace(&mut self, recorder: Recorder) -> Recorder {
        for port in &mut self.ports {
            port.queue.clear();
            port.free_at = VmTime(0);
        }
        if self.script.take().is_some() {
            crate::note!("retrograde: the script ends with the branch");
        }
        self.typist = Typist::default();
        self.idle = false;
        std::mem::replace(&mut self.recorder, recorder)
    }

    /// Writes the end of the recording.
    pub(crate) fn finish(self, reason: EndReason) -> Result<Ended> {
        let script_waiting = self.script.as_ref().and_then(ScriptRun::waiting);
        let ended = Ended {
            script_waiting,
            position: self.recorder.machine().position().0,
            now: self.recorder.now(),
            took: self.began.elapsed(),
            reason: reason.clone(),
        };
        // First what cannot be had again.
        let written = self.drives.write_back(self.recorder.machine());
        self.recorder.finish(reason).context("cannot finish the recording")?;
        written?;
        Ok(ended)
    }

    /// Everything from outside: signals, stop conditions, host input, the script. Where nothing can be done but wait, waits
    /// as long as it takes, or for `patience`.
    pub(crate) fn between_slices(&mut self, patience: Option<Duration>) -> Result<Between> {
        loop {
            if self.signals.caught() || self.read_hosts() {
                return Ok(Between::End(EndReason::Interrupted));
            }
            if let Some(until) = self.condition_holds() {
                return Ok(Between::End(EndReason::Until(until)));
            }
            if self.run_script()? {
                return Ok(Between::End(EndReason::Until("the script's `quit`".into())));
            }
            let injected = self.inject_due()?;
            if self.idle && !injected {
                if let Some(reason) = self.wait_for_input(patience) {
                    return Ok(Between::End(reason));
                }
                if patience.is_some() {
                    return Ok(Between::Wait);
                }
                continue;
            }
            return Ok(if self.keep_pace(patience) { Between::Go } else { Between::Wait });
        }
    }

    /// The idle guest waits, and so do we. Why to end, if nothing can ever come.
    fn wait_for_input(&mut self, patience: Option<Duration>) -> Option<EndReason> {
        if self.ports.iter().any(|p| p.host.is_open()) || self.networks.are_open() {
            self.wait(patience);
            return None;
        }
        let waiting = self.script.as_ref().and_then(ScriptRun::waiting);
        Some(waiting.map_or_else(
            || EndReason::Until("the guest waits for input, and none can come".into()),
            EndReason::ScriptWaiting,
        ))
    }

    /// Waits for host input or a signal.
    fn wait(&self, timeout: Option<Duration>) {
        let mut inputs = vec![(self.signals.descriptor(), PollFlags::IN)];
        inputs.extend(self.ports.iter().filter_map(|p| Some((p.host.input()?, PollFlags::IN))));
        inputs.extend(self.networks.interests());
        wait_ready(&inputs, timeout);
    }

    /// Under `--pace realtime`, waits until the host's clock has caught up with the guest's, or for `patience`: false if it
    /// has not.
    fn keep_pace(&mut self, patience: Option<Duration>) -> bool {
        let ahead = self.networks.ahead(self.recorder.now());
        if ahead >= Duration::from_millis(1) {
            self.wait(Some(patience.unwrap_or(ahead).min(ahead)));
        }
        while self.pace == Pace::Realtime && !self.signals.caught() {
            let ahead = Duration::from_nanos(self.recorder.now().0).saturating_sub(self.began.elapsed());
            if ahead < Duration::from_millis(1) {
                return true;
            }
            let wait = patience.unwrap_or(ahead).min(ahead);
            wait_ready(&[(self.signals.descriptor(), PollFlags::IN)], Some(wait));
            if patience.is_some_and(|patience| patience < ahead) {
                return false;
            }
        }
        true
    }

    /// Takes what the hosts have for ports that have nothing on the way. True if the user wants to end.
    fn read_hosts(&mut self) -> bool {
        for port in &mut self.ports {
            if !port.queue.is_empty() {
                continue;
            }
            let bytes = port.host.read_ready(SERIAL_BURST_BYTES);
            // Only standard input has hotkeys, and only one port can have that.
            let (bytes, hotkey) = match self.hotkeys.as_mut() {
                Some(filter) if port.host.is_stdio() => filter.filter(&bytes),
                _ => (bytes, None),
            };
            port.queue.extend(bytes);
            match hotkey {
                Some(Hotkey::Quit) => return true,
                Some(Hotkey::Help) => crate::note!(
                    "\nCtrl-A x  end the recording\nCtrl-A h  this help\nCtrl-A Ctrl-A  send Ctrl-A to the guest"
                ),
                None => {}
            }
        }
        false
    }

    fn condition_holds(&self) -> Option<String> {
        let position = self.recorder.machine().position().0;
        let now = self.recorder.now().0;
        let holds = |c: &&Condition| match c.until {
            Until::Insns(n) => position >= n,
            Until::TimeNs(ns) => now >= ns || self.idle,
            Until::Console(_) | Until::Screen(_) => c.held,
            Until::PowerOff => false,
        };
        self.until.iter().find(holds).map(|c| c.until.to_string())
    }

    /// Does what the script says is to be done now. True if it quits.
    fn run_script(&mut self) -> Result<bool> {
        loop {
            let view = self.view();
            let Some(script) = self.script.as_mut() else { return Ok(false) };
            match script.next_action(view) {
                None => return Ok(false),
                Some(Action::Quit) => return Ok(true),
                Some(action) => self.act(action)?,
            }
        }
    }

    /// Does what a script or the user wants to be done, but for the end.
    fn act(&mut self, action: Action) -> Result<()> {
        let input = match action {
            Action::Send(bytes) => {
                let port = self.ports.first_mut().context("there is no port to send to")?;
                port.queue.extend(bytes);
                return Ok(());
            }
            Action::Keys(chords) => {
                self.typist.type_chords(&chords, self.recorder.now());
                return Ok(());
            }
            Action::Quit => return Ok(()),
            Action::Mouse { dx, dy, buttons } => Input::Mouse { dx, dy, dz: 0, buttons },
            Action::Power => Input::PowerButton,
            Action::Reset => Input::Reset,
            Action::Change(slot, path) => {
                Input::Media { slot, medium: path.and_then(|path| self.drives.number(&path)) }
            }
        };
        // There may be something to do for it now.
        self.idle = false;
        Ok(self.recorder.inject(input)?)
    }

    /// The same for the user, who may want what cannot be.
    pub(crate) fn act_for_user(&mut self, action: Action) -> Result<(), String> {
        match &action {
            Action::Change(slot, path) => self.drives.check_change(*slot, path.as_deref())?,
            Action::Quit => return Err("`quit` is for scripts".into()),
            _ => {}
        }
        self.act(action).map_err(|e| format!("{e:#}"))
    }

    /// Injects serial bytes and keys whose time has come. True if there were any.
    fn inject_due(&mut self) -> Result<bool> {
        let now = self.recorder.now();
        let mut any = self.networks.inject(&mut self.recorder)?;
        for port in &mut self.ports {
            if port.queue.is_empty() || (now < port.free_at && !self.idle) {
                continue;
            }
            let count = port.queue.len().min(SERIAL_BURST_BYTES);
            let bytes: Vec<u8> = port.queue.drain(..count).collect();
            port.free_at = now.plus_ns(NS_PER_SERIAL_BYTE * count as u64);
            self.recorder.inject(Input::Serial { port: port.number, bytes })?;
            any = true;
        }
        while let Some(scancode) = self.typist.due(now, self.idle) {
            self.recorder.inject(Input::Key { scancode })?;
            any = true;
            if self.idle {
                // The next key waits until the guest has seen this one.
                break;
            }
        }
        Ok(any)
    }

    /// How far the next slice may go: to the next moment at which something is to be looked at.
    fn slice(&self) -> (u64, u64) {
        let position = self.recorder.machine().position().0;
        let now = self.recorder.now().0;
        let mut steps = SLICE_STEPS;
        let mut halt_ns = SLICE_HALT_NS;
        let mut until_step = |at: u64| steps = steps.min(at.saturating_sub(position).max(1));
        let mut until_time = |at: u64| halt_ns = halt_ns.min(at.saturating_sub(now).max(1));
        for condition in &self.until {
            match condition.until {
                Until::Insns(n) => until_step(n),
                Until::TimeNs(ns) => until_time(ns),
                Until::Console(_) | Until::Screen(_) | Until::PowerOff => {}
            }
        }
        if let Some((step, time)) = self.script.as_ref().map(ScriptRun::deadline) {
            step.into_iter().for_each(|p| until_step(p.0));
            time.into_iter().for_each(|t| until_time(t.0));
        }
        if self.networks.are_busy() {
            until_time(now.saturating_add(NET_SLICE_NS));
        }
        self.typist.next().into_iter().for_each(|t| until_time(t.0));
        for port in self.ports.iter().filter(|p| !p.queue.is_empty()) {
            until_time(port.free_at.0);
        }
        // Time passes with steps too.
        (steps.min((halt_ns / NS_PER_STEP).saturating_add(1)), halt_ns)
    }

    /// Hands the guest's output to the hosts, the script and the stop conditions.
    fn deliver_output(&mut self) {
        let now = self.recorder.now();
        let mut serial: [Vec<u8>; PORTS_MAX] = Default::default();
        let (mut debugcon, mut parallel) = (Vec::new(), Vec::new());
        for (_, output) in self.recorder.take_output() {
            match output {
                Output::Serial { port, byte } => {
                    if let Some(bytes) = serial.get_mut(usize::from(port)) {
                        bytes.push(byte);
                    }
                }
                Output::Debugcon { byte, .. } => debugcon.push(byte),
                Output::Parallel { byte, .. } => parallel.push(byte),
                Output::Net { card, frame } => self.networks.from_guest(card, &frame, now),
            }
        }
        for (index, bytes) in serial.iter().enumerate().filter(|(_, bytes)| !bytes.is_empty()) {
            if let Some(port) = self.ports.iter_mut().find(|port| usize::from(port.number) == index) {
                port.host.write(bytes);
            }
            self.watch_output(index, Stream::Serial, bytes);
        }
        if !parallel.is_empty() {
            self.parallel.write(&parallel);
        }
        if !debugcon.is_empty() {
            self.debugcon.write(&debugcon);
            self.watch_output(PORTS_MAX, Stream::Debugcon, &debugcon);
        }
    }

    /// Shows the screen to a script and to stop conditions that wait for a text on it.
    fn look_at_screen(&mut self) {
        let waiting = self.until.iter().any(|c| matches!(c.until, Until::Screen(_)));
        let script = self.script.as_mut().filter(|script| script.watches_screen());
        if !waiting && script.is_none() {
            return;
        }
        let text = self.recorder.machine().screen_text().unwrap_or_default().join("\n");
        for condition in &mut self.until {
            if let Until::Screen(wanted) = &condition.until {
                condition.held |= text.contains(wanted);
            }
        }
        if let Some(script) = script {
            script.screen(&text);
        }
    }

    fn watch_output(&mut self, channel: usize, stream: Stream, bytes: &[u8]) {
        for condition in &mut self.until {
            condition.output(channel, bytes);
        }
        if let Some(script) = self.script.as_mut() {
            script.output(stream, bytes);
        }
    }
}

/// The last line, and the exit status.
pub(crate) fn report(args: &RecordArgs, output: &Path, ended: &Ended) -> u8 {
    let bytes = std::fs::metadata(output).map_or(0, |m| m.len());
    let newline = if std::io::stdout().is_terminal() { "\n" } else { "" };
    crate::note!(
        "{newline}retrograde: {}: {} steps, {} virtual, {} in {:.1} s; ended by {}",
        output.display(),
        ended.position,
        ended.now,
        human_bytes(bytes),
        ended.took.as_secs_f64(),
        describe(&ended.reason)
    );
    if let Some(line) = &ended.script_waiting
        && ended.reason != EndReason::Interrupted
    {
        let script = args.script.as_ref().map_or_else(|| "of --type".into(), |p| p.display().to_string());
        crate::note!("retrograde: the run ended while the script {script} was still at {line}");
    }
    ending::exit_status(&ended.reason, ended.script_waiting.is_some())
}
