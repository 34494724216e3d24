//! Where two recordings part.
//!
//! Two runs of the same machine are equal up to some step and differ after it. (Machines that are alike but for the date at
//! power-on are compared by what their guests saw: registers, memory, and all that was read from chips.) The checkpoints' hashes narrow it down, and
//! halving what is between them finds the step. That takes for granted that what has become different stays different, as it
//! does: every state is in a hash of the whole machine.

use crate::recording::{Error, Recording, TimedInput};
use crate::{Replayer, Timeline};
use std::sync::Arc;
use vm::{CpuState, Icount, InterruptTaken, Machine, MachineConfig, MachineState, VmTime};

/// Pages that are named.
pub(crate) const MOST_PAGES: usize = 64;
/// Registers and fields that an error writes out.
pub(crate) const MOST_FIELDS: usize = 20;

/// Writes out registers and fields that differ (name, and what each of two machines has), a line for each of the first `most`.
/// `both` puts into words what the two have. Each line has its end before it.
pub fn lines_of_fields(
    fields: &[(String, String, String)],
    most: usize,
    both: impl Fn(&str, &str) -> String,
) -> String {
    let line = |(name, a, b): &(String, String, String)| format!("\n  {name}: {}", both(a, b));
    let left = fields.len().saturating_sub(most);
    let more = (left > 0).then(|| format!("\n  and {left} more"));
    fields.iter().take(most).map(line).chain(more).collect()
}

/// Writes out pages of memory that differ, if there are any, as [`lines_of_fields`] does fields.
pub fn line_of_pages(pages: &[usize]) -> String {
    if pages.is_empty() {
        return String::new();
    }
    let pages: Vec<_> = pages.iter().map(|page| format!("{:#x}", page << 12)).collect();
    format!("\n  pages of memory: {}", pages.join(" "))
}

/// What two recordings have in common, and what not.
#[derive(Clone, Debug, PartialEq)]
pub enum Difference {
    /// They are of different machines: what differs first, in each.
    Machines(String, String),
    /// They start at different positions, or in different states.
    Starts(Icount, Icount),
    /// They are equal as long as both last: up to the first position, where one ends; the other ends at the second.
    None(Icount, Icount),
    /// They part.
    Parts(Box<Parting>),
}

/// The step by which two recordings become different.
#[derive(Clone, Debug, PartialEq)]
pub struct Parting {
    /// The last position at which both are equal: the step from here differs.
    pub position: Icount,
    /// Virtual time there.
    pub time: VmTime,
    /// The registers there.
    pub cpu: CpuState,
    /// The bytes at the program counter there, as many of 15 as are mapped.
    pub code: Vec<u8>,
    /// What is different one step later, register by register and field by field: name, first, second.
    pub fields: Vec<(String, String, String)>,
    /// Pages of storage that are different then; at most 64 are named.
    pub pages: Vec<usize>,
    /// The last input at or before the parting, in each.
    pub inputs: [Option<TimedInput>; 2],
    /// The last interrupt at or before the parting, in each.
    pub interrupts: [Option<InterruptTaken>; 2],
}

/// Where `first` and `second` part. `progressed` is told between which positions it must be, now and then.
pub fn diff(
    first: &Arc<Recording>,
    second: &Arc<Recording>,
    progressed: &mut dyn FnMut(Icount, Icount),
) -> Result<Difference, Error> {
    diff_on::<Machine>(first, second, progressed)
}

/// [`diff`] on any machine.
pub fn diff_on<M: Replayer>(
    first: &Arc<Recording>,
    second: &Arc<Recording>,
    progressed: &mut dyn FnMut(Icount, Icount),
) -> Result<Difference, Error> {
    let clock = second.config().rtc_start;
    let same_clock = MachineConfig { rtc_start: clock, ..first.config().clone() };
    if let Some((a, b)) = first_line(&same_clock, second.config()) {
        return Ok(Difference::Machines(a, b));
    }
    let what = if first.config().rtc_start == clock { What::Machine } else { What::Guest };
    let mut a = Timeline::<M>::on(first.clone())?;
    let mut b = Timeline::<M>::on(second.clone())?;
    let start = first.start();
    if start != second.start() || !equal_at(&mut a, &mut b, start, what)? {
        return Ok(Difference::Starts(start, second.start()));
    }
    let end = first.end().min(second.end());
    let (mut low, mut high) = (start, None);
    // Where one has a checkpoint its hash is at hand; the other one must go there.
    let marks: Vec<Icount> =
        first.checkpoints().map(|c| c.position).filter(|p| *p < end).chain([end]).collect();
    let (mut known, mut beyond) = (0, marks.len());
    while known < beyond {
        let middle = known + (beyond - known) / 2;
        if equal_at(&mut a, &mut b, marks[middle], what)? {
            (known, low) = (middle + 1, low.max(marks[middle]));
        } else {
            (beyond, high) = (middle, Some(marks[middle]));
        }
        progressed(low, high.unwrap_or(end));
    }
    let Some(mut high) = high else { return Ok(Difference::None(end, first.end().max(second.end()))) };
    while high.0 - low.0 > 1 {
        let middle = Icount(low.0 + (high.0 - low.0) / 2);
        if equal_at(&mut a, &mut b, middle, what)? {
            low = middle
        } else {
            high = middle
        }
        progressed(low, high);
    }
    parting(&mut a, &mut b, low).map(|parting| Difference::Parts(Box::new(parting)))
}

/// What is compared.
#[derive(Clone, Copy)]
enum What {
    /// All of the machine.
    Machine,
    /// What the guest has seen of it.
    Guest,
}

fn equal_at<M: Replayer>(
    a: &mut Timeline<M>,
    b: &mut Timeline<M>,
    position: Icount,
    what: What,
) -> Result<bool, Error> {
    a.seek(position, &mut || false)?;
    b.seek(position, &mut || false)?;
    match what {
        What::Machine => Ok(a.hash()? == b.hash()?),
        What::Guest => Ok(a.session().guest_hash() == b.session().guest_hash()),
    }
}

fn parting<M: Replayer>(
    a: &mut Timeline<M>,
    b: &mut Timeline<M>,
    position: Icount,
) -> Result<Parting, Error> {
    a.seek(position, &mut || false)?;
    let (time, cpu) = (a.now(), a.cpu());
    let code = code_at(a.machine(), cpu.linear_pc());
    let next = Icount(position.0.saturating_add(1));
    equal_at(a, b, next, What::Machine)?;
    let (here, there) = (a.machine().save(), b.machine().save());
    let fields = fields_that_differ(&here, &there);
    let mut pages = a.session().differing_pages(b.session());
    pages.truncate(MOST_PAGES);
    Ok(Parting {
        position,
        time,
        cpu,
        code,
        fields,
        pages,
        inputs: [a.recording().last_input_before(next)?, b.recording().last_input_before(next)?],
        interrupts: [a.recording().last_interrupt_before(next)?, b.recording().last_interrupt_before(next)?],
    })
}

/// Registers and fields of chips that are different: name, and both values.
pub(crate) fn fields_that_differ(a: &MachineState, b: &MachineState) -> Vec<(String, String, String)> {
    let mut fields = lines_that_differ("", &a.cpu, &b.cpu);
    fields.extend(lines_that_differ("chips: ", &a.board, &b.board));
    for (name, x, y) in
        [("skipped time", a.skipped_ns, b.skipped_ns), ("digest of I/O", a.io_digest, b.io_digest)]
    {
        if x != y {
            fields.push((name.to_owned(), format!("{x:#x}"), format!("{y:#x}")));
        }
    }
    fields
}

/// Bytes as two digits each.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

/// The bytes of the instruction at a linear address, as many of 15 as are mapped.
pub(crate) fn code_at<M: Replayer>(machine: &M, pc: u64) -> Vec<u8> {
    let byte = |at: u64| {
        let addr = machine.translate(vm::LinAddr(pc.wrapping_add(at)))?;
        machine.storage().get(addr.0 as usize).copied()
    };
    (0..15).map_while(byte).collect()
}

/// The first line in which two things, written out, differ.
fn first_line(a: &impl std::fmt::Debug, b: &impl std::fmt::Debug) -> Option<(String, String)> {
    let all = lines_that_differ("", a, b);
    all.into_iter().next().map(|(name, x, y)| (format!("{name} {x}"), format!("{name} {y}")))
}

/// The lines in which two things, written out, differ: their name, and both values.
fn lines_that_differ(
    prefix: &str,
    a: &impl std::fmt::Debug,
    b: &impl std::fmt::Debug,
) -> Vec<(String, String, String)> {
    let (a, b) = (format!("{a:#x?}"), format!("{b:#x?}"));
    let (mut path, mut found): (Vec<(usize, String)>, Vec<_>) = (Vec::new(), Vec::new());
    for (number, (x, y)) in a.lines().zip(b.lines()).enumerate() {
        // Where a line stands in the whole is told by the lines above it that are indented less.
        let indent = x.len() - x.trim_start().len();
        path.retain(|(above, _)| *above < indent);
        let name = x.trim().split_once(':').map_or_else(String::new, |(name, _)| name.to_owned());
        if x != y {
            let above: Vec<&str> = path.iter().map(|(_, n)| n.as_str()).filter(|n| !n.is_empty()).collect();
            let place = if name.is_empty() { format!("line {number}") } else { name.clone() };
            let whole = above.into_iter().chain([place.as_str()]).collect::<Vec<_>>().join(".");
            let value = |line: &str| {
                let text = line.trim().trim_end_matches(',');
                text.split_once(": ").map_or(text, |(_, value)| value).to_owned()
            };
            found.push((format!("{prefix}{whole}"), value(x), value(y)));
        }
        path.push((indent, name));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{Toy, config};
    use crate::{EndReason, Recorder, RecorderOptions};
    use std::path::Path;
    use vm::Input;

    /// A toy that gets an input every 700 steps; from position `other_from` on, another one.
    fn recorded(path: &Path, steps: u64, other_from: u64, every: u64) -> Arc<Recording> {
        let toy = Toy::with_media(&config(), Vec::new()).unwrap();
        let mut recorder = Recorder::create(
            path,
            true,
            toy,
            RecorderOptions { checkpoint_every: Some(every), ..Default::default() },
        )
        .unwrap();
        while recorder.machine().position().0 < steps {
            let before = recorder.machine().position();
            let exit = recorder.run((steps - before.0).min(700), 100).unwrap();
            if exit == vm::Exit::HaltedForever {
                recorder.inject(Input::Reset).unwrap();
            }
            let here = recorder.machine().position().0;
            let text = if here < other_from { b"same".to_vec() } else { b"other".to_vec() };
            recorder.inject(Input::Serial { port: 0, bytes: text }).unwrap();
        }
        recorder.finish(EndReason::Interrupted).unwrap();
        Arc::new(Recording::open(path).unwrap())
    }

    fn compared(a: &Arc<Recording>, b: &Arc<Recording>) -> Difference {
        diff_on::<Toy>(a, b, &mut |low, high| assert!(low <= high)).unwrap()
    }

    #[test]
    fn equal_runs_differ_in_nothing_whatever_their_checkpoints() {
        let dir = tempfile::tempdir().unwrap();
        let a = recorded(&dir.path().join("a"), 9000, u64::MAX, 1000);
        let b = recorded(&dir.path().join("b"), 9000, u64::MAX, 3500);
        assert_eq!(compared(&a, &b), Difference::None(a.end(), b.end()));
        let c = recorded(&dir.path().join("c"), 5000, u64::MAX, 700);
        assert_eq!(compared(&a, &c), Difference::None(c.end(), a.end()));
    }

    #[test]
    fn the_first_step_that_differs_is_found_with_its_input_and_registers() {
        let dir = tempfile::tempdir().unwrap();
        let a = recorded(&dir.path().join("a"), 9000, u64::MAX, 1000);
        for (from, every) in [(1, 1_000_000), (4000, 900), (8000, 333)] {
            let b = recorded(&dir.path().join("b"), 9000, from, every);
            let first = b.inputs().unwrap().iter().find(|(p, _, _)| p.0 >= from).unwrap().clone();
            let Difference::Parts(parting) = compared(&a, &b) else { panic!("they part") };
            assert_eq!(parting.position, first.0);
            assert_eq!(parting.inputs[1], Some(first));
            assert!(
                matches!(&parting.inputs[0], Some((_, _, Input::Serial { bytes, .. })) if bytes == b"same")
            );
            assert!(parting.fields.iter().any(|(name, _, _)| name.contains("gpr")), "{:?}", parting.fields);
        }
    }

    #[test]
    fn different_machines_are_not_compared() {
        let dir = tempfile::tempdir().unwrap();
        let a = recorded(&dir.path().join("a"), 1000, u64::MAX, 1000);
        let path = dir.path().join("b");
        let other = MachineConfig { ram_bytes: 2 << 20, ..config() };
        let recorder = Recorder::create(
            &path,
            true,
            Toy::with_media(&other, Vec::new()).unwrap(),
            RecorderOptions::default(),
        );
        recorder.unwrap().finish(EndReason::Interrupted).unwrap();
        let b = Arc::new(Recording::open(&path).unwrap());
        assert_eq!(
            compared(&a, &b),
            Difference::Machines("ram_bytes 0x100000".into(), "ram_bytes 0x200000".into())
        );
    }
}
