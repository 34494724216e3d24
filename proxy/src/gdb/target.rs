//! The recording as gdbstub's target: registers, memory and breakpoints.

use super::arch::{GRegisters, Width, X86};
use super::breakpoints::{BreakTable, Kind};
use super::history::History;
use super::link::Link;
use super::regs::Layout;
use super::resume::Resume;
use super::xml::target_xml;
use crate::control::Control;
use gdbstub::common::Signal;
use gdbstub::target::ext::base::BaseOps;
use gdbstub::target::ext::base::reverse_exec::{ReverseCont, ReverseContOps, ReverseStep, ReverseStepOps};
use gdbstub::target::ext::base::singlethread::{
    SingleThreadBase, SingleThreadRangeStepping, SingleThreadRangeSteppingOps, SingleThreadResume,
    SingleThreadResumeOps, SingleThreadSingleStep, SingleThreadSingleStepOps,
};
use gdbstub::target::ext::breakpoints::{
    Breakpoints, BreakpointsOps, HwBreakpoint, HwBreakpointOps, HwWatchpoint, HwWatchpointOps, SwBreakpoint,
    SwBreakpointOps, WatchKind as StubWatchKind,
};
use gdbstub::target::ext::monitor_cmd::{ConsoleOutput, MonitorCmd, MonitorCmdOps};
use gdbstub::target::ext::target_description_xml_override::{
    TargetDescriptionXmlOverride, TargetDescriptionXmlOverrideOps,
};
use gdbstub::target::{Target, TargetError, TargetResult};
use snapshots::Direction;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use vm::{Icount, LinAddr, PhysAddr, WatchKind};

/// EFAULT: the error of an address that is not mapped.
const E_FAULT: u8 = 14;
/// EINVAL.
const E_INVAL: u8 = 22;
/// Console output for the debugger goes in pieces of this size.
const CONSOLE_PIECE_BYTES: usize = 1024;

/// GDB stops waiting for an answer after two seconds without a word, and LLDB gives up the connection after fifteen. Console output,
/// even if it is empty, is one.
const PATIENCE: Duration = Duration::from_millis(500);
/// A debugger that passes over a stop has resumed by then.
const RESUMES_BY_ITSELF: Duration = Duration::from_secs(1);

/// What is known of a debugger, from what it says in qSupported, that makes a difference to replies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Features {
    /// `swbreak+`
    pub swbreak: bool,
    /// `hwbreak+`
    pub hwbreak: bool,
    /// `error-message+`: the reply to each packet may be an error in words.
    pub error_message: bool,
    /// It is LLDB.
    pub lldb: bool,
    /// It is GDB.
    pub gdb: bool,
    /// It names nothing that it understands: a program, which may take text for the stop that it waits for.
    pub nothing: bool,
}

impl Features {
    /// From the text of the packet.
    pub(super) fn new(packet: &str, lldb: bool) -> Features {
        let says = |name: &str| packet.split([':', ';']).any(|feature| feature == name);
        Features {
            swbreak: says("swbreak+"),
            hwbreak: says("hwbreak+"),
            error_message: says("error-message+"),
            lldb,
            // An extension that nobody else has use for: GDB's tracepoints ask for it.
            gdb: says("qRelocInsn+"),
            nothing: !packet.contains(':'),
        }
    }
}

/// A recording that is being debugged. It outlives the debuggers that come and go.
pub struct Debuggee {
    pub(crate) history: Box<dyn History>,
    pub(super) breaks: BreakTable,
    /// Positions that the user has named. They outlive debuggers.
    pub(super) marks: BTreeMap<String, Icount>,
    /// What the debugger has told the machine to do.
    pub(super) pending: Option<Resume>,
    pub(super) layout: Rc<Layout>,
    xml: String,
    link: Option<Rc<RefCell<Link>>>,
    pub(crate) control: Option<Rc<RefCell<Control>>>,
    /// What else the debugger has said that it understands.
    pub(super) features: Features,
    /// What the debugger is doing.
    pub(crate) debugger: Doing,
    /// The position break is the debugger's, and goes with it.
    debuggers_position_break: bool,
    /// A machine that could run when no debugger is there does not.
    paused: bool,
    /// Single steps pass over interrupts and their handlers.
    pub(super) skips_interrupts: bool,
    /// Addresses of memory that the debugger names are physical.
    pub(super) physical: bool,
    /// Whatever the debugger resumes next stops before it does anything.
    pub(super) stays: bool,
    /// What ran last was a single step.
    pub(super) steps: bool,
    /// A Ctrl-C that came when nothing ran.
    early_ctrl_c: Option<Instant>,
    quit: Arc<AtomicBool>,
}

impl Debuggee {
    /// A recording shown with registers of `width`; whatever runs stops when `quit` is set.
    pub fn new(mut history: Box<dyn History>, width: Width, quit: Arc<AtomicBool>) -> Debuggee {
        let layout = Rc::new(Layout::new(width));
        Debuggee {
            breaks: BreakTable::new(history.as_mut(), Rc::clone(&layout)),
            history,
            marks: BTreeMap::new(),
            pending: None,
            xml: target_xml(&layout),
            layout,
            link: None,
            control: None,
            features: Features::default(),
            debugger: Doing::Ignored,
            debuggers_position_break: false,
            paused: false,
            skips_interrupts: false,
            physical: false,
            stays: false,
            steps: false,
            early_ctrl_c: None,
            quit,
        }
    }

    /// Where one stands in what was recorded: in a diversion, where it began.
    pub(super) fn recorded_position(&self) -> Icount {
        self.history.diverted_from().unwrap_or_else(|| self.history.position())
    }

    /// The recording.
    pub fn history(&mut self) -> &mut dyn History {
        self.history.as_mut()
    }

    /// A debugger is there: its Ctrl-C stops what runs.
    pub fn attach(&mut self, link: Rc<RefCell<Link>>) {
        self.link = Some(link);
    }

    /// The debugger is gone, and its breakpoints go too.
    pub fn detach(&mut self) {
        self.link = None;
        self.paused = false;
        self.features = Features::default();
        self.skips_interrupts = false;
        self.physical = false;
        self.stays = false;
        self.steps = false;
        self.pending = None;
        self.early_ctrl_c = None;
        self.xml = target_xml(&self.layout);
        self.breaks.clear(self.history.as_mut());
        if self.debuggers_position_break {
            self.set_position_break(None);
        }
    }

    /// Sets or clears the position break. That of a debugger goes with it.
    pub(crate) fn set_position_break(&mut self, position: Option<Icount>) {
        self.debuggers_position_break = self.debugger == Doing::AwaitsAnswer;
        self.history.set_position_break(position);
    }

    /// Whether the machine stands although no debugger holds it.
    pub fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// Whether the machine is to run as no debugger holds it.
    pub fn runs_free(&self) -> bool {
        self.link.is_none() && !self.paused && self.history.runs_free()
    }

    /// From now on `control` is listened to as well.
    pub fn set_control(&mut self, control: Rc<RefCell<Control>>) {
        self.control = Some(control);
    }

    /// Whether what runs is to stop; to be asked again and again.
    pub(crate) fn interrupter(&self) -> impl FnMut() -> bool + use<> {
        let mut interrupter = Interrupter::new(self, self.debugger);
        move || interrupter.stops()
    }

    /// The debugger is LLDB, which shows no registers of an architecture that it does not know: the i8086.
    pub fn describe_to_lldb(&mut self) {
        self.features.lldb = true;
        if self.layout.width == Width::Bits16 {
            self.xml = target_xml(&Layout::new(Width::Bits32));
        }
    }

    /// The answer to LLDB's question for the machine: only that 16-bit code is to be disassembled as such. All else it knows
    /// from the target description, which has no word for this that it understands.
    pub(super) fn host_info(&self) -> String {
        if self.layout.width != Width::Bits16 {
            return String::new();
        }
        format!("triple:{};ptrsize:4;endian:little;", super::hex(b"i386-unknown-unknown-code16"))
    }

    /// A Ctrl-C came when nothing ran. A debugger that evaluates conditions resumes by itself after most stops; what it
    /// resumes next is stopped then, for otherwise no Ctrl-C may ever meet it running.
    pub fn interrupt_soon(&mut self) {
        self.early_ctrl_c = Some(Instant::now());
    }

    /// Whether there was such a Ctrl-C a moment ago. Later than that, it is the user who resumes.
    pub(super) fn take_early_ctrl_c(&mut self) -> bool {
        self.early_ctrl_c.take().is_some_and(|came| came.elapsed() < RESUMES_BY_ITSELF)
    }

    /// Reads memory up to the first byte that is not mapped.
    pub fn read_memory(&self, addr: u64, len: usize) -> Vec<u8> {
        // An access does not go on from the last address to the first.
        let most = usize::try_from(u64::MAX - addr).unwrap_or(usize::MAX).saturating_add(1);
        let mut bytes = vec![0; len.min(most)];
        let read = self.history.view().read_linear(LinAddr(addr), &mut bytes);
        bytes.truncate(read);
        bytes
    }

    /// Reads what the debugger names: physical memory after `monitor phys on`.
    pub(super) fn read_for_debugger(&self, addr: u64, len: usize) -> Vec<u8> {
        if !self.physical {
            return self.read_memory(addr, len);
        }
        let mut bytes = vec![0; len];
        self.history.view().read_phys(PhysAddr(addr), &mut bytes);
        bytes
    }

    /// The value of a register by its number, little-endian.
    pub fn read_register(&self, number: usize) -> Option<Vec<u8>> {
        self.layout.read(number, &self.history.view().cpu(), self.history.view().moment())
    }

    /// What a debugger that has stopped need not ask for.
    pub(super) fn expedited(&self) -> String {
        let view = self.history.view();
        self.layout.expedited(&view.cpu(), view.moment())
    }

    /// Sets or removes a watchpoint. GDB goes on by itself where a store has left the value as it was, and there may be thousands of
    /// those before the one that it waits for; LLDB, for which what it asks for may be every store, does not say so.
    pub fn watch(&mut self, set: bool, kind: WatchKind, addr: u64, len: u64) -> Result<(), String> {
        let kind = match kind {
            WatchKind::Write if self.features.gdb => WatchKind::Change,
            kind => kind,
        };
        if set && self.physical {
            // The debugger would compare values of another place.
            return Err(
                "watchpoints are on linear addresses, and it reads physical ones: first monitor phys off"
                    .into(),
            );
        }
        if set {
            self.breaks.watch(self.history.as_mut(), LinAddr(addr), len, kind)
        } else {
            self.breaks.unwatch(self.history.as_mut(), LinAddr(addr), len, kind);
            Ok(())
        }
    }
}

/// What a debugger does while something runs in the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doing {
    /// It waits for a stop: it sends nothing but Ctrl-C.
    AwaitsStop,
    /// It waits for the answer to a command. It may send Ctrl-C. GDB does not, when its user types it: it gives up waiting,
    /// without a word, and what it sends next is something else.
    AwaitsAnswer,
    /// Whatever it likes: it is somebody else for whom the machine runs. All that it sends is to be looked at first.
    Something,
    /// It is not listened to before this is done, which somebody else has asked for.
    Ignored,
}

/// Looks for whatever is to stop what runs.
pub(super) struct Interrupter {
    quit: Arc<AtomicBool>,
    link: Option<Rc<RefCell<Link>>>,
    control: Option<Rc<RefCell<Control>>>,
    debugger: Doing,
    /// When a debugger that awaits an answer was last told that there will be one.
    told: Instant,
}

impl Interrupter {
    pub(super) fn new(debuggee: &Debuggee, debugger: Doing) -> Interrupter {
        Interrupter {
            quit: Arc::clone(&debuggee.quit),
            link: debuggee.link.clone(),
            control: debuggee.control.clone(),
            debugger,
            told: Instant::now(),
        }
    }

    /// Whether somebody wants the machine to stop.
    pub(super) fn stops(&mut self) -> bool {
        if self.debugger == Doing::AwaitsAnswer && self.told.elapsed() > PATIENCE {
            self.told = Instant::now();
            if let Some(link) = &self.link {
                link.borrow_mut().reply(b"O");
            }
        }
        let debugger = |link: &RefCell<Link>| {
            let mut link = link.borrow_mut();
            match self.debugger {
                Doing::AwaitsStop => link.interrupted(),
                Doing::AwaitsAnswer => link.gives_up(),
                // A Ctrl-C among it belongs to what it resumes.
                Doing::Something => link.has_news(),
                Doing::Ignored => false,
            }
        };
        let control = |control: &RefCell<Control>| {
            let mut control = control.borrow_mut();
            control.receive();
            control.wants_stop()
        };
        self.quit.load(Ordering::Relaxed)
            || self.link.as_deref().is_some_and(debugger)
            || self.control.as_deref().is_some_and(control)
    }

    /// Whether somebody wants to know something of the machine.
    pub(super) fn pauses(&self) -> bool {
        self.control.as_deref().is_some_and(|control| control.borrow().has_commands())
    }
}

impl Target for Debuggee {
    type Arch = X86;
    type Error = Infallible;

    fn base_ops(&mut self) -> BaseOps<'_, X86, Infallible> {
        BaseOps::SingleThread(self)
    }

    // LLDB does not undo run-length encoding in every reply that it reads.
    fn use_rle(&self) -> bool {
        false
    }

    fn support_breakpoints(&mut self) -> Option<BreakpointsOps<'_, Self>> {
        Some(self)
    }

    fn support_monitor_cmd(&mut self) -> Option<MonitorCmdOps<'_, Self>> {
        Some(self)
    }

    fn support_target_description_xml_override(
        &mut self,
    ) -> Option<TargetDescriptionXmlOverrideOps<'_, Self>> {
        Some(self)
    }
}

impl SingleThreadBase for Debuggee {
    fn read_registers(&mut self, regs: &mut GRegisters) -> TargetResult<(), Self> {
        *regs = GRegisters::new(&self.layout, &self.history.view().cpu());
        Ok(())
    }

    // Writes do not come this way.
    fn write_registers(&mut self, _regs: &GRegisters) -> TargetResult<(), Self> {
        Err(TargetError::Errno(E_INVAL))
    }

    fn read_addrs(&mut self, start: u64, data: &mut [u8]) -> TargetResult<usize, Self> {
        match self.history.view().read_linear(LinAddr(start), data) {
            0 if !data.is_empty() => Err(TargetError::Errno(E_FAULT)),
            n => Ok(n),
        }
    }

    fn write_addrs(&mut self, _start: u64, _data: &[u8]) -> TargetResult<(), Self> {
        Err(TargetError::Errno(E_INVAL))
    }

    fn support_resume(&mut self) -> Option<SingleThreadResumeOps<'_, Self>> {
        Some(self)
    }
}

impl SingleThreadResume for Debuggee {
    fn resume(&mut self, _signal: Option<Signal>) -> Result<(), Infallible> {
        self.pending = Some(Resume::Continue(Direction::Forward));
        Ok(())
    }

    fn support_single_step(&mut self) -> Option<SingleThreadSingleStepOps<'_, Self>> {
        Some(self)
    }

    fn support_range_step(&mut self) -> Option<SingleThreadRangeSteppingOps<'_, Self>> {
        Some(self)
    }

    fn support_reverse_step(&mut self) -> Option<ReverseStepOps<'_, (), Self>> {
        Some(self)
    }

    fn support_reverse_cont(&mut self) -> Option<ReverseContOps<'_, (), Self>> {
        Some(self)
    }
}

impl SingleThreadSingleStep for Debuggee {
    fn step(&mut self, _signal: Option<Signal>) -> Result<(), Infallible> {
        self.pending = Some(Resume::Step(Direction::Forward));
        Ok(())
    }
}

impl SingleThreadRangeStepping for Debuggee {
    fn resume_range_step(&mut self, start: u64, end: u64) -> Result<(), Infallible> {
        self.pending = Some(Resume::RangeStep(start..end));
        Ok(())
    }
}

impl ReverseStep<()> for Debuggee {
    fn reverse_step(&mut self, _tid: ()) -> Result<(), Infallible> {
        self.pending = Some(Resume::Step(Direction::Reverse));
        Ok(())
    }
}

impl ReverseCont<()> for Debuggee {
    fn reverse_cont(&mut self) -> Result<(), Infallible> {
        self.pending = Some(Resume::Continue(Direction::Reverse));
        Ok(())
    }
}

impl Breakpoints for Debuggee {
    fn support_sw_breakpoint(&mut self) -> Option<SwBreakpointOps<'_, Self>> {
        Some(self)
    }

    fn support_hw_breakpoint(&mut self) -> Option<HwBreakpointOps<'_, Self>> {
        Some(self)
    }

    fn support_hw_watchpoint(&mut self) -> Option<HwWatchpointOps<'_, Self>> {
        Some(self)
    }
}

impl SwBreakpoint for Debuggee {
    fn add_sw_breakpoint(&mut self, addr: u64, _kind: usize) -> TargetResult<bool, Self> {
        Ok(self.breaks.add(self.history.as_mut(), Kind::Software, LinAddr(addr)))
    }

    fn remove_sw_breakpoint(&mut self, addr: u64, _kind: usize) -> TargetResult<bool, Self> {
        self.breaks.remove(self.history.as_mut(), Kind::Software, LinAddr(addr));
        Ok(true)
    }
}

impl HwBreakpoint for Debuggee {
    fn add_hw_breakpoint(&mut self, addr: u64, _kind: usize) -> TargetResult<bool, Self> {
        Ok(self.breaks.add(self.history.as_mut(), Kind::Hardware, LinAddr(addr)))
    }

    fn remove_hw_breakpoint(&mut self, addr: u64, _kind: usize) -> TargetResult<bool, Self> {
        self.breaks.remove(self.history.as_mut(), Kind::Hardware, LinAddr(addr));
        Ok(true)
    }
}

// gdbstub has no way to say why one cannot be set, so these packets do not go to it. It asks for this before it reports a
// watchpoint that is met.
impl HwWatchpoint for Debuggee {
    fn add_hw_watchpoint(&mut self, _addr: u64, _len: u64, _kind: StubWatchKind) -> TargetResult<bool, Self> {
        Ok(false)
    }

    fn remove_hw_watchpoint(
        &mut self,
        _addr: u64,
        _len: u64,
        _kind: StubWatchKind,
    ) -> TargetResult<bool, Self> {
        Ok(false)
    }
}

impl MonitorCmd for Debuggee {
    fn handle_monitor_cmd(&mut self, cmd: &[u8], mut out: ConsoleOutput<'_>) -> Result<(), Infallible> {
        self.debugger = Doing::AwaitsAnswer;
        let answer = super::monitor::run(self, &String::from_utf8_lossy(cmd));
        self.debugger = Doing::Ignored;
        for piece in answer.as_bytes().chunks(CONSOLE_PIECE_BYTES) {
            out.write_raw(piece);
            out.flush();
        }
        Ok(())
    }
}

impl TargetDescriptionXmlOverride for Debuggee {
    fn target_description_xml(
        &self,
        annex: &[u8],
        offset: u64,
        length: usize,
        buf: &mut [u8],
    ) -> TargetResult<usize, Self> {
        if annex != b"target.xml" {
            return Err(TargetError::NonFatal);
        }
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = self.xml.as_bytes().get(start..).unwrap_or(&[]);
        let count = rest.len().min(length).min(buf.len());
        buf[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}
