//! A history without a machine, for tests: at position `n` the program counter is `0x1000 + n % 16`, and at every
//! position divisible by 100 the step writes to 0x2000, and at every one divisible by 50 to port 0x3f8. Interrupts of vectors 0x21 and 0x20 come every 200 positions.

use super::arch::Width;
use super::history::{Condition, History, Sink};
use super::regs::Moment;
use super::scope::View;
use super::target::Debuggee;
use snapshots::recording::TimedInput;
use snapshots::{Answer, Chips, Direction, Error, Met, Stop, Watch};
use std::collections::{BTreeMap, BTreeSet};
use vm::cpu::Mapping;
use vm::watch::{Noted, WatchHit};
use vm::{
    CpuState, Event, Icount, Input, InterruptTaken, LinAddr, Output, PhysAddr, Picture, Trap, Vector, VmTime,
    WatchKind,
};

/// A way of so many steps does not end.
const FAR: u64 = 1 << 40;

/// The fake.
pub struct FakeHistory {
    position: u64,
    end: u64,
    /// Breakpoints that are set.
    pub breakpoints: BTreeSet<LinAddr>,
    /// Watchpoints that are set.
    pub watches: BTreeSet<(LinAddr, u64, WatchKind)>,
    /// Traps that are set.
    pub traps: BTreeSet<Trap>,
    position_break: Option<Icount>,
    diversion: Option<Icount>,
    /// What differs in the diversion.
    rax: Option<u64>,
    memory: BTreeMap<u64, u8>,
    condition: Option<Condition>,
    interrupts: Vec<InterruptTaken>,
    inputs: Vec<TimedInput>,
}

/// A fake being debugged.
pub fn debuggee(end: u64) -> Debuggee {
    Debuggee::new(Box::new(FakeHistory::new(end)), Width::Bits64, Default::default())
}

impl FakeHistory {
    /// A history that ends at position `end`.
    pub fn new(end: u64) -> FakeHistory {
        FakeHistory {
            position: 0,
            end,
            breakpoints: BTreeSet::new(),
            watches: BTreeSet::new(),
            traps: BTreeSet::new(),
            position_break: None,
            diversion: None,
            rax: None,
            memory: BTreeMap::new(),
            condition: None,
            inputs: vec![(Icount(300), VmTime(2400), Input::Reset)],
            interrupts: (1..5)
                .map(|n| InterruptTaken {
                    position: Icount(n * 200),
                    time: VmTime(n * 1600),
                    vector: Vector(if n % 2 == 0 { 0x20 } else { 0x21 }),
                    nmi: false,
                })
                .collect(),
        }
    }

    fn pc(&self) -> LinAddr {
        LinAddr(0x1000 + self.position % 16)
    }

    /// Every 50th step writes to a port.
    fn event(&self, step: u64) -> Option<Event> {
        let value = step as u32;
        step.is_multiple_of(50).then_some(Event::Port { port: 0x3f8, size: 1, write: true, value })
    }

    fn watch_hit(&self, direction: Direction) -> Option<Watch> {
        let writer = match direction {
            Direction::Forward => self.position.checked_sub(1)?,
            Direction::Reverse => self.position,
        };
        let &(linear, len, kind) = self.watches.first()?;
        (writer % 100 == 0).then_some(Watch { linear, phys: PhysAddr(linear.0), len, kind })
    }
}

impl View for FakeHistory {
    fn cpu(&self) -> CpuState {
        let mut cpu = CpuState { rip: self.pc().0, rflags: 2, ..CpuState::default() };
        cpu.gpr[0] = self.rax.unwrap_or(self.position);
        cpu.msr.efer = 1 << 10;
        cpu.seg[vm::cpu::state::seg::CS].flags = 1 << 21;
        cpu
    }

    fn moment(&self) -> Moment {
        Moment { position: Icount(self.position), now: VmTime(self.position * 8) }
    }

    fn read_linear(&self, addr: LinAddr, buf: &mut [u8]) -> usize {
        let mapped = 0x3000_u64.saturating_sub(addr.0);
        let count = buf.len().min(usize::try_from(mapped).unwrap());
        for (at, byte) in buf[..count].iter_mut().enumerate() {
            *byte = self.memory.get(&(addr.0 + at as u64)).copied().unwrap_or(0x90);
        }
        count
    }

    fn read_phys(&self, addr: PhysAddr, buf: &mut [u8]) {
        buf.fill(0xff);
        self.read_linear(LinAddr(addr.0), buf);
    }

    fn translate(&self, addr: LinAddr) -> Option<PhysAddr> {
        (addr.0 < 0x3000).then_some(PhysAddr(addr.0))
    }

    fn mappings(&self, _from: LinAddr, _each: &mut dyn FnMut(&Mapping) -> bool) -> bool {
        false
    }

    fn peek_port(&self, port: u16, size: u8) -> (u32, bool) {
        (u32::from(port) + u32::from(size), port == 0x60)
    }

    fn board(&self) -> serde_json::Value {
        serde_json::json!({"pic": {"mask": 255}})
    }

    fn picture(&self) -> Option<Picture> {
        Some(Picture { width: 1, height: 1, rgb: vec![1, 2, 3] })
    }

    fn screen_text(&self) -> Option<Vec<String>> {
        Some(vec!["C:\\>".to_owned(), String::new()])
    }
}

impl History for FakeHistory {
    fn view(&self) -> &dyn View {
        self
    }

    fn name(&self) -> &str {
        "fake.rec"
    }

    fn end(&self) -> Icount {
        Icount(self.end)
    }

    fn end_time(&self) -> VmTime {
        VmTime(self.end * 8)
    }

    fn time_at(&mut self, position: Icount) -> Result<VmTime, Error> {
        Ok(VmTime(position.0 * 8))
    }

    fn step(&mut self, direction: Direction, interrupted: &mut dyn FnMut() -> bool) -> Result<Stop, Error> {
        if let Some(from) = self.diversion.filter(|_| direction == Direction::Reverse) {
            return self.seek(from, interrupted);
        }
        match direction {
            Direction::Forward if self.position == self.end => return Ok(Stop::End),
            Direction::Reverse if self.position == 0 => return Ok(Stop::Begin),
            Direction::Forward => self.position += 1,
            Direction::Reverse => self.position -= 1,
        }
        Ok(Stop::Step)
    }

    fn resume(&mut self, direction: Direction, interrupted: &mut dyn FnMut() -> bool) -> Result<Stop, Error> {
        loop {
            let stop = self.step(direction, interrupted)?;
            if stop != Stop::Step {
                return Ok(stop);
            }
            if let Some(watch) = self.watch_hit(direction) {
                return Ok(Stop::Watch(watch));
            }
            let done = if direction == Direction::Forward { self.position - 1 } else { self.position };
            let event = self.event(done).filter(|event| self.traps.iter().any(|trap| trap.matches(event)));
            let counts = |event: &Event| self.condition.as_ref().is_none_or(|c| c.behind(self, event));
            if let Some(event) = event.filter(counts) {
                return Ok(Stop::Event(event));
            }
            let counts = |fake: &FakeHistory| fake.condition.as_ref().is_none_or(|c| c.at(fake, fake.pc()));
            if self.breakpoints.contains(&self.pc()) && counts(self) {
                return Ok(Stop::Breakpoint(self.pc()));
            }
            if self.position_break == Some(self.position()) {
                return Ok(Stop::Position);
            }
            if self.position.is_multiple_of(1024) && interrupted() {
                return Ok(Stop::Interrupted);
            }
        }
    }

    fn seek(&mut self, position: Icount, interrupted: &mut dyn FnMut() -> bool) -> Result<Stop, Error> {
        if position.0.abs_diff(self.position) > FAR {
            while !interrupted() {
                std::thread::yield_now();
            }
            self.position += 1;
            return Ok(Stop::Interrupted);
        }
        self.position = position.0.min(self.end);
        (self.diversion, self.rax) = (None, None);
        self.memory.clear();
        Ok(Stop::Position)
    }

    fn divert(&mut self, _chips: Chips) -> Result<(), Error> {
        self.diversion = self.diversion.or(Some(self.position()));
        Ok(())
    }

    fn diverted_from(&self) -> Option<Icount> {
        self.diversion
    }

    fn write_cpu(&mut self, cpu: &CpuState) {
        self.rax = Some(cpu.gpr[0]);
    }

    fn write_linear(&mut self, addr: LinAddr, bytes: &[u8]) -> usize {
        // What lies below is ROM.
        self.memory.extend((addr.0..).zip(bytes.iter().copied()).filter(|(at, _)| *at >= 0x1000));
        bytes.len()
    }

    fn add_breakpoint(&mut self, addr: LinAddr) {
        self.breakpoints.insert(addr);
    }

    fn remove_breakpoint(&mut self, addr: LinAddr) {
        self.breakpoints.remove(&addr);
    }

    fn set_condition(&mut self, condition: Condition) {
        self.condition = Some(condition);
    }

    fn add_watchpoint(&mut self, addr: LinAddr, len: u64, kind: WatchKind) -> bool {
        self.watches.insert((addr, len, kind))
    }

    fn remove_watchpoint(&mut self, addr: LinAddr, len: u64, kind: WatchKind) {
        self.watches.remove(&(addr, len, kind));
    }

    fn set_trap(&mut self, trap: Trap, on: bool) {
        if on {
            self.traps.insert(trap)
        } else {
            self.traps.remove(&trap)
        };
    }

    fn find(
        &mut self,
        trap: Trap,
        direction: Direction,
        _interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Answer<Option<Icount>>, Error> {
        let here = self.position;
        let mut steps: Box<dyn Iterator<Item = u64>> = match direction {
            Direction::Forward => Box::new(here + 1..self.end),
            Direction::Reverse => Box::new((0..here).rev()),
        };
        let met = steps.find(|step| self.event(*step).is_some_and(|event| trap.matches(&event)));
        Ok(Answer::Is(met.map(Icount)))
    }

    fn around(
        &mut self,
        trap: Trap,
        _interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Answer<Vec<Noted>>, Error> {
        let noted = |step| {
            let hit = WatchHit::Event(self.event(step).filter(|event| trap.matches(event))?);
            Some(Noted { position: Icount(step), hit, value: [0; 16] })
        };
        Ok(Answer::Is((0..self.end).filter_map(noted).collect()))
    }

    fn output(
        &mut self,
        end: Icount,
        sink: &mut Sink<'_>,
        _interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<(), Error> {
        for (at, byte) in (0..end.0).zip(b"hello\r\n\x1b[1mworld\r\nhello again\n") {
            sink(Icount(at), Output::Serial { port: 0, byte: *byte });
        }
        Ok(())
    }

    fn set_position_break(&mut self, position: Option<Icount>) {
        self.position_break = position;
    }

    fn interrupts(&mut self) -> Result<Vec<InterruptTaken>, Error> {
        Ok(self.interrupts.clone())
    }

    fn diverted_output(&self) -> &[(Icount, Output)] {
        &[]
    }

    fn is_interrupted_at(&mut self, position: Icount) -> Result<bool, Error> {
        Ok(self.interrupts.iter().any(|i| i.position == position))
    }

    fn inputs(&mut self) -> Result<Vec<TimedInput>, Error> {
        Ok(self.inputs.clone())
    }

    fn checkpoints(&mut self) -> Result<Vec<(Icount, VmTime)>, Error> {
        Ok(vec![(Icount(0), VmTime(0))])
    }

    fn last_write(
        &mut self,
        _addr: LinAddr,
        _len: u64,
        _interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Answer<Option<Met>>, Error> {
        let position = Icount(self.position.saturating_sub(1) / 100 * 100);
        Ok(Answer::Is(Some(Met { position, before: vec![1], after: vec![2] })))
    }

    fn first_exec(
        &mut self,
        addr: LinAddr,
        _interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Answer<Option<Icount>>, Error> {
        Ok(Answer::Is(addr.0.checked_sub(0x1000).filter(|n| *n < 16).map(Icount)))
    }
}
