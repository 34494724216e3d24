//! `retrograde live`: a machine that is recorded while it is debugged.
//!
//! There are two machines. One is the present: it runs live, and is recorded. The other is somewhere in what has been recorded
//! so far, and there only when somebody went back. Which of them the debugger sees depends on where it stands: going
//! forward over the end of what was recorded arrives at the present, and goes on there.

use super::history::{Condition, History, Sink, around, find, on_machines};
use super::scope::View;
use super::transcript::Transcript;
use crate::record::{Between, Ended, Run};
use crate::script::Action;
use snapshots::recording::TimedInput;
use snapshots::timeline::{Watches, stop_at, watched};
use snapshots::{Answer, Chips, Direction, EndReason, Error, Met, Recording, Stop, Timeline};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use vm::watch::{Noted, WatchHit};
use vm::{
    CpuState, Exit, Icount, InterruptTaken, LinAddr, Machine, Output, Trap, VmError, VmTime, WatchKind,
};

/// How long a machine that has nothing to do waits before it looks whether somebody wants it to stop.
const PATIENCE: Duration = Duration::from_millis(10);

/// A machine that is recorded while it is debugged.
pub struct Live {
    name: String,
    /// The present; `None` once the recording has ended.
    run: Option<Run>,
    /// The past, as far as it was looked back on.
    past: Option<Timeline>,
    /// The debugger sees the past, or a diversion.
    in_past: bool,
    breakpoints: BTreeSet<LinAddr>,
    watches: Watches,
    traps: BTreeSet<Trap>,
    position_break: Option<Icount>,
    condition: snapshots::Condition<Machine>,
    /// The past does not know yet what stops it.
    stops_changed: bool,
    /// The recording as it was when somebody looked at it last.
    seen: Option<Arc<Recording>>,
    transcript: Transcript,
    ended: Option<Ended>,
}

impl Live {
    /// A machine at power-on, recorded to the file `name`.
    pub(crate) fn new(name: String, run: Run) -> Live {
        Live {
            name,
            run: Some(run),
            past: None,
            in_past: false,
            breakpoints: BTreeSet::new(),
            watches: Watches::new(),
            traps: BTreeSet::new(),
            position_break: None,
            condition: snapshots::Condition::default(),
            stops_changed: true,
            seen: None,
            transcript: Transcript::default(),
            ended: None,
        }
    }

    /// The machine that the debugger sees.
    fn machine(&self) -> &Machine {
        match (&self.past, &self.run) {
            (Some(past), _) if self.in_past => past.machine(),
            (_, Some(run)) => run.machine(),
            (Some(past), None) => past.machine(),
            (None, None) => unreachable!("there is a past once the run has ended"),
        }
    }

    /// The timeline of all that has happened, where the debugger stands.
    fn past(&mut self) -> Result<&mut Timeline, Error> {
        let was_in_past = self.in_past;
        if let Some(run) = &mut self.run {
            let recording = run.recorder().look_back()?;
            match &mut self.past {
                Some(past) => past.extend(recording)?,
                None => {
                    self.past = Some(Timeline::new(recording)?);
                    self.stops_changed = true;
                }
            }
        }
        let past = self.past.as_mut().ok_or_else(|| lost("there is no recording"))?;
        if std::mem::take(&mut self.stops_changed) {
            let (breakpoints, watches) = (self.breakpoints.clone(), self.watches.clone());
            past.set_stops(
                breakpoints,
                watches,
                self.traps.clone(),
                self.position_break,
                self.condition.clone(),
            );
        }
        if !was_in_past {
            past.seek(past.recording().end(), &mut || false)?;
        }
        Ok(past)
    }

    /// Lets something happen in the past that may move it.
    fn with_past<R>(&mut self, act: impl FnOnce(&mut Timeline) -> Result<R, Error>) -> Result<R, Error> {
        let past = self.past()?;
        let result = act(past);
        let at_end = past.diverted_from().is_none() && past.position() >= past.recording().end();
        self.in_past = !at_end;
        result
    }

    /// All that has happened, as a recording.
    fn recording(&mut self) -> Result<&Recording, Error> {
        let recording = match (&mut self.run, &self.past) {
            (Some(run), _) => run.recorder().look_back()?,
            (None, Some(past)) => past.shared_recording(),
            (None, None) => return Err(lost("there is no recording")),
        };
        Ok(self.seen.insert(recording))
    }

    /// Runs the present: at most `steps`, or until something stops it.
    fn run_live(&mut self, steps: u64, interrupted: &mut dyn FnMut() -> bool) -> Result<Stop, Error> {
        let watched: Vec<_> = self.watches.values().flatten().copied().collect();
        if let Some(run) = &mut self.run {
            run.recorder().arm(&self.breakpoints, &watched, &self.traps);
        }
        let stop = self.run_armed(steps, interrupted);
        if let Some(run) = &mut self.run {
            run.recorder().arm(&BTreeSet::new(), &[], &BTreeSet::new());
        }
        match stop? {
            // A store is noticed a little late: the present may not be where the debugger is to stand.
            (stop @ (Stop::Watch(_) | Stop::Event(_)), behind) if self.position() > behind => {
                self.with_past(|past| past.seek(behind, &mut || false))?;
                Ok(stop)
            }
            (stop, _) => Ok(stop),
        }
    }

    /// The stop, and where the debugger is to stand.
    fn run_armed(
        &mut self,
        steps: u64,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<(Stop, Icount), Error> {
        let start = self.end();
        let goal = start.0.saturating_add(steps);
        loop {
            let Some(run) = &mut self.run else { return Ok((Stop::End, start)) };
            if interrupted() {
                return Ok((Stop::Interrupted, run.machine().position()));
            }
            match run.between_slices(Some(PATIENCE)).map_err(lost)? {
                Between::Go => {}
                Between::Wait => continue,
                Between::End(reason) => return self.end_run(reason),
            }
            let here = run.machine().position();
            let ahead = self.position_break.filter(|p| *p > here).map_or(u64::MAX, |p| p.0);
            let most = goal.min(ahead).saturating_sub(here.0);
            let exit = run.run_slice(most)?;
            let now_at = run.machine().position();
            match exit {
                Exit::Breakpoint(addr) if self.condition.holds(run.machine(), addr) => {
                    return Ok((Stop::Breakpoint(addr), now_at));
                }
                Exit::Breakpoint(_) => {}
                Exit::Watchpoint { position, hit: WatchHit::Event(event) }
                    if now_at.0 == position.0.saturating_add(1)
                        && !self.condition.holds_behind(run.machine(), &event) => {}
                Exit::Watchpoint { position, hit } => {
                    return Ok((stop_at(&self.watches, hit), Icount(position.0.saturating_add(1))));
                }
                exit => {
                    if let Some(reason) = run.after_exit(exit).map_err(lost)? {
                        return self.end_run(reason);
                    }
                }
            }
            if now_at.0 >= goal {
                return Ok((Stop::Step, now_at));
            }
            if self.position_break == Some(now_at) && now_at > start {
                return Ok((Stop::Position, now_at));
            }
        }
    }

    /// The recording ends here, and is one like any other from now on.
    fn end_run(&mut self, reason: EndReason) -> Result<(Stop, Icount), Error> {
        let path = PathBuf::from(&self.name);
        if let Some(run) = self.run.take() {
            self.ended = Some(run.finish(reason).map_err(lost)?);
        }
        let recording = Arc::new(Recording::open(&path)?);
        match &mut self.past {
            Some(past) => past.extend(recording)?,
            None => self.past = Some(Timeline::new(recording)?),
        }
        self.stops_changed = true;
        self.in_past = false;
        self.past()?;
        Ok((Stop::End, self.end()))
    }
}

/// What went wrong beside the machine and its recording.
fn lost(what: impl std::fmt::Display) -> Error {
    Error::Vm(VmError::Config(format!("{what:#}")))
}

impl History for Live {
    fn view(&self) -> &dyn View {
        self.machine()
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn mode(&self) -> &'static str {
        if self.run.is_some() && !self.in_past { "record" } else { "play" }
    }

    fn end(&self) -> Icount {
        match (&self.run, &self.past) {
            (Some(run), _) => run.machine().position(),
            (None, Some(past)) => past.recording().end(),
            (None, None) => Icount(0),
        }
    }

    fn end_time(&self) -> VmTime {
        match (&self.run, &self.past) {
            (Some(run), _) => run.machine().now(),
            (None, Some(past)) => past.recording().end_time(),
            (None, None) => VmTime(0),
        }
    }

    fn time_at(&mut self, position: Icount) -> Result<VmTime, Error> {
        match &self.seen {
            Some(seen) if seen.end() >= position => seen.time_at(position),
            _ => self.recording()?.time_at(position),
        }
    }

    fn step(&mut self, direction: Direction, interrupted: &mut dyn FnMut() -> bool) -> Result<Stop, Error> {
        if direction == Direction::Forward && !self.in_past {
            return self.run_live(1, interrupted);
        }
        self.with_past(|past| past.step(direction, interrupted))
    }

    fn resume(&mut self, direction: Direction, interrupted: &mut dyn FnMut() -> bool) -> Result<Stop, Error> {
        if direction == Direction::Reverse || self.in_past {
            let stop = self.with_past(|past| past.resume(direction, interrupted))?;
            if stop != Stop::End || self.run.is_none() {
                return Ok(stop);
            }
        }
        self.run_live(u64::MAX, interrupted)
    }

    fn seek(&mut self, position: Icount, interrupted: &mut dyn FnMut() -> bool) -> Result<Stop, Error> {
        if position >= self.end() && self.run.is_some() {
            self.in_past = false;
            return Ok(Stop::Position);
        }
        self.with_past(|past| past.seek(position, interrupted))
    }

    fn divert(&mut self, chips: Chips) -> Result<(), Error> {
        self.with_past(|past| past.divert(chips))
    }

    fn diverted_from(&self) -> Option<Icount> {
        self.past.as_ref().filter(|_| self.in_past)?.diverted_from()
    }

    fn write_cpu(&mut self, cpu: &CpuState) {
        if let Some(past) = self.past.as_mut().filter(|_| self.in_past) {
            past.write_cpu(cpu);
        }
    }

    fn write_linear(&mut self, addr: LinAddr, bytes: &[u8]) -> usize {
        self.past.as_mut().filter(|_| self.in_past).map_or(0, |past| past.write_linear(addr, bytes))
    }

    fn act(&mut self, action: Action) -> Result<(), String> {
        match &mut self.run {
            Some(_) if self.in_past => {
                Err("what is shown is the past, which takes no input; first monitor seek end".into())
            }
            Some(run) => run.act_for_user(action),
            None => Err("the recording has ended; a machine takes input only while it is recorded".into()),
        }
    }

    fn runs_free(&self) -> bool {
        self.run.is_some()
    }

    fn branch(&mut self, path: &Path) -> Result<String, String> {
        if self.run.is_none() {
            return Err("the recording has ended; only one that is being made can branch".into());
        }
        if self.diverted_from().is_some() {
            return Err(
                "a branch begins in what was recorded, and this is a diversion: first monitor divert off"
                    .into(),
            );
        }
        if path.exists() {
            return Err(format!("{} exists; give the branch another name", path.display()));
        }
        self.past().map_err(|e| e.to_string())?;
        let (Some(run), Some(past)) = (&mut self.run, self.past.take()) else {
            return Err("there is no recording".into());
        };
        let was_in_past = std::mem::take(&mut self.in_past);
        let (here, before) = (past.position(), run.machine().position());
        let branch = match past.branch(run.recorder(), path, false) {
            Ok(branch) => branch,
            Err(error) => {
                // The past is gone with it, and the debugger stands there.
                if was_in_past {
                    self.seek(here, &mut || false).map_err(|e| e.to_string())?;
                }
                return Err(error.to_string());
            }
        };
        // They are of what does not happen any more.
        (self.seen, self.transcript) = (None, Transcript::default());
        let first = run.replace(branch);
        let name = std::mem::replace(&mut self.name, path.display().to_string());
        first
            .finish(EndReason::Until(format!("a branch: {}", path.display())))
            .map_err(|e| format!("{name}: {e}"))?;
        Ok(format!("{name} ends at position {before};\n{} goes on live from position {here}\n", self.name))
    }

    fn finish(&mut self) -> Result<Option<Ended>, Error> {
        if self.run.is_some() {
            self.end_run(EndReason::Interrupted)?;
        }
        Ok(self.ended.take())
    }

    fn add_breakpoint(&mut self, addr: LinAddr) {
        self.stops_changed |= self.breakpoints.insert(addr);
    }

    fn remove_breakpoint(&mut self, addr: LinAddr) {
        self.stops_changed |= self.breakpoints.remove(&addr);
    }

    fn set_condition(&mut self, condition: Condition) {
        self.stops_changed = true;
        self.condition = on_machines(&condition);
    }

    fn add_watchpoint(&mut self, addr: LinAddr, len: u64, kind: WatchKind) -> bool {
        self.stops_changed = true;
        let added = watched(self.machine(), kind, addr, len);
        added.map(|(watch, pieces)| self.watches.insert(watch, pieces)).is_some()
    }

    fn remove_watchpoint(&mut self, addr: LinAddr, len: u64, kind: WatchKind) {
        self.stops_changed = true;
        self.watches.retain(|w, _| (w.linear, w.len, w.kind) != (addr, len, kind));
    }

    fn set_trap(&mut self, trap: Trap, on: bool) {
        self.stops_changed = true;
        if on {
            self.traps.insert(trap)
        } else {
            self.traps.remove(&trap)
        };
    }

    fn set_position_break(&mut self, position: Option<Icount>) {
        self.stops_changed = true;
        self.position_break = position;
    }

    fn interrupts(&mut self) -> Result<Vec<InterruptTaken>, Error> {
        self.recording()?.interrupts()
    }

    fn is_interrupted_at(&mut self, position: Icount) -> Result<bool, Error> {
        if self.diverted_from().is_some() {
            return Ok(false);
        }
        match &mut self.run {
            Some(run) if !self.in_past => {
                Ok(run.recorder().last_interrupt().is_some_and(|i| i.position == position))
            }
            _ => {
                let next = Icount(position.0.saturating_add(1));
                Ok(!self.recording()?.interrupts_between(position, next)?.is_empty())
            }
        }
    }

    fn inputs(&mut self) -> Result<Vec<TimedInput>, Error> {
        self.recording()?.inputs()
    }

    fn checkpoints(&mut self) -> Result<Vec<(Icount, VmTime)>, Error> {
        Ok(self.recording()?.checkpoints().map(|c| (c.position, c.time)).collect())
    }

    fn find(
        &mut self,
        trap: Trap,
        direction: Direction,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Answer<Option<Icount>>, Error> {
        self.with_past(|past| find(past, trap, direction, interrupted))
    }

    fn around(
        &mut self,
        trap: Trap,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Answer<Vec<Noted>>, Error> {
        self.with_past(|past| around(past, trap, interrupted))
    }

    fn output(
        &mut self,
        end: Icount,
        sink: &mut Sink<'_>,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<(), Error> {
        self.recording()?;
        match &self.seen {
            Some(recording) => self.transcript.follow(recording, end, sink, interrupted),
            None => Ok(()),
        }
    }

    fn diverted_output(&self) -> &[(Icount, Output)] {
        self.past.as_ref().filter(|_| self.in_past).map_or(&[], |past| past.diverted_output())
    }

    fn last_write(
        &mut self,
        addr: LinAddr,
        len: u64,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Answer<Option<Met>>, Error> {
        self.with_past(|past| past.last_write(addr, len, past.position(), interrupted))
    }

    fn first_exec(
        &mut self,
        addr: LinAddr,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Answer<Option<Icount>>, Error> {
        self.with_past(|past| past.first_exec(addr, interrupted))
    }
}
