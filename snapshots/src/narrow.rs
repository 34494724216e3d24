//! Narrowing down where a replay and its recording part.
//!
//! A recording says what the machine was at its checkpoints, and of the steps between them only what came in and which interrupts were
//! taken. So when a replay is found to be different, its last part is replayed again, from the checkpoint before. If that comes to
//! something else, the replays themselves part, and halving finds the step. If it comes to the same, it is the recording that was made
//! by something else; then of the memory that differs it is told which step of the replay has written it.

use crate::diff::{MOST_FIELDS, code_at, fields_that_differ, hex, lines_of_fields};
use crate::pages::page_of;
use crate::recording::{Error, Recording, TimedInput};
use crate::{Replayer, Session, Timeline};
use std::collections::BTreeSet;
use std::fmt;
use vm::watch::WatchHit;
use vm::{Icount, InterruptTaken, PAGE_SIZE, PhysAddr, WatchKind, WatchRange};

/// Positions that are compared in one replay.
const PLACES: u64 = 64;
/// Ranges of memory that are watched.
const MOST_RANGES: usize = 64;
/// Steps between two looks at what was noted.
const STRIDE: u64 = 5_000_000;

/// What is known of where a replay and its recording part.
#[derive(Clone, Debug, PartialEq)]
pub struct Narrowed {
    /// The checkpoint before: up to there all was found equal.
    pub before: Icount,
    /// The last input before the difference was seen.
    pub input: Option<TimedInput>,
    /// The last interrupt before it.
    pub interrupt: Option<InterruptTaken>,
    /// What a second replay has shown, if there was one.
    pub again: Option<Again>,
}

/// What came of a second replay, from the checkpoint before.
#[derive(Clone, Debug, PartialEq)]
pub enum Again {
    /// The same. Of the memory that differs, what has been as it is for longest.
    Same(Option<Written>),
    /// Something else.
    Other {
        /// It is what was recorded.
        recorded: bool,
        /// The step by which the two replays part, unless they are equal this time.
        parting: Option<Box<Parting>>,
    },
}

/// An instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Position of its step.
    pub position: Icount,
    /// Its linear address.
    pub pc: u64,
    /// The bytes there, as many of 15 as are mapped.
    pub code: Vec<u8>,
}

/// A byte of memory that is not as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Where.
    pub addr: PhysAddr,
    /// What the recording has.
    pub recorded: u8,
    /// What the replay has.
    pub replayed: u8,
    /// The step of the replay that wrote it last.
    pub by: Instruction,
}

/// The step by which two replays part.
#[derive(Clone, Debug, PartialEq)]
pub struct Parting {
    /// It.
    pub by: Instruction,
    /// What is different behind it: name, in the replay from the start, in the one from the checkpoint before.
    pub fields: Vec<(String, String, String)>,
}

impl Narrowed {
    /// Without a second replay. The difference was seen at `position`; all was equal at `before`.
    pub(crate) fn new(recording: &Recording, before: Icount, position: Icount) -> Result<Narrowed, Error> {
        Ok(Narrowed {
            before,
            input: recording.last_input_before(position)?,
            interrupt: recording.last_interrupt_before(position)?,
            again: None,
        })
    }
}

/// Looks for the cause of `error`, with which the replay `first` has just ended, and adds what it finds.
pub(crate) fn narrowed<M: Replayer>(error: Error, first: &mut Session<M>) -> Error {
    let found = match &error {
        Error::Mismatch(mismatch) if mismatch.is_of_hash() => return error,
        Error::Mismatch(mismatch) => after_mismatch(mismatch.narrowed.before, mismatch.position, first),
        Error::Diverged(_) => after_divergence(&error, first),
        _ => return error,
    };
    match (error, found) {
        (Error::Mismatch(mut mismatch), Ok(Some(narrowed))) => {
            mismatch.narrowed.again = narrowed.again;
            Error::Mismatch(mismatch)
        }
        (Error::Diverged(divergence), Ok(Some(narrowed))) => {
            Error::Narrowed { divergence, narrowed: Box::new(narrowed) }
        }
        // What was found first is what matters.
        (error, _) => error,
    }
}

fn after_mismatch<M: Replayer>(
    before: Icount,
    position: Icount,
    first: &mut Session<M>,
) -> Result<Option<Narrowed>, Error> {
    let recording = first.recording().clone();
    let mut narrowed = Narrowed::new(&recording, before, position)?;
    if before >= position {
        return Ok(None);
    }
    let mut again = Timeline::<M>::on(recording.clone())?;
    again.restore(before)?;
    run(again.session(), position)?;
    let hash = again.session().hash()?;
    let expected = recording.checkpoint_before(position).map(|index| recording.checkpoint_info(index).hash);
    narrowed.again = Some(if hash == first.hash()? {
        Again::Same(longest_written(&mut again, before, position)?)
    } else {
        let parting = part(&mut again, before, position)?.map(Box::new);
        Again::Other { recorded: Some(hash) == expected, parting }
    });
    Ok(Some(narrowed))
}

fn after_divergence<M: Replayer>(error: &Error, first: &mut Session<M>) -> Result<Option<Narrowed>, Error> {
    let (recording, position) = (first.recording().clone(), first.position());
    let Some(index) = recording.checkpoint_before(position) else { return Ok(None) };
    let before = recording.checkpoint_info(index).position;
    let mut narrowed = Narrowed::new(&recording, before, position)?;
    let mut again = Timeline::<M>::on(recording.clone())?;
    again.restore(before)?;
    let next = recording.checkpoints().nth(index + 1).map_or(recording.end(), |next| next.position);
    let result = run(again.session(), next);
    let same = matches!((&result, error), (Err(Error::Diverged(a)), Error::Diverged(b)) if a == b);
    narrowed.again = Some(if same {
        Again::Same(None)
    } else {
        let parting = part(&mut again, before, position)?.map(Box::new);
        Again::Other { recorded: result.is_ok(), parting }
    });
    Ok(Some(narrowed))
}

/// The step by which a replay from the start and `again`, from `low`, part: at `high` they have.
fn part<M: Replayer>(
    again: &mut Timeline<M>,
    mut low: Icount,
    mut high: Icount,
) -> Result<Option<Parting>, Error> {
    let before = low;
    let straight = |again: &Timeline<M>| Session::<M>::new(again.shared_recording());
    while high.0 - low.0 > 1 {
        let stride = (high.0 - low.0).div_ceil(PLACES);
        let places: Vec<Icount> =
            (1..=PLACES).map(|n| Icount(low.0.saturating_add(n * stride)).min(high)).collect();
        let one = hashes(&mut straight(again)?, &places)?;
        again.restore(before)?;
        let other = hashes(again.session(), &places)?;
        let Some(differs) = (0..places.len()).find(|n| one[*n] != other[*n]) else { return Ok(None) };
        high = places[differs];
        low = differs.checked_sub(1).map_or(low, |equal| places[equal]);
    }
    let mut one = straight(again)?;
    run(&mut one, low)?;
    again.restore(before)?;
    let other = again.session();
    run(other, low)?;
    let by = instruction(other.machine());
    run(&mut one, high)?;
    run(other, high)?;
    let fields = fields_that_differ(&one.machine().save(), &other.machine().save());
    Ok(Some(Parting { by, fields }))
}

/// Goes on to a position.
fn run<M: Replayer>(session: &mut Session<M>, to: Icount) -> Result<(), Error> {
    while session.position() < to {
        session.run_to(to)?;
    }
    Ok(())
}

/// The hashes of a machine at these positions, ascending.
fn hashes<M: Replayer>(session: &mut Session<M>, places: &[Icount]) -> Result<Vec<u64>, Error> {
    let at = |place: &Icount| {
        run(session, *place)?;
        session.hash()
    };
    places.iter().map(at).collect()
}

/// The instruction that comes next.
fn instruction<M: Replayer>(machine: &M) -> Instruction {
    let pc = machine.cpu().linear_pc();
    Instruction { position: machine.position(), pc, code: code_at(machine, pc) }
}

/// Of the memory that is not as it was recorded at the checkpoint at `position`, to which `again` has come from `before`: what was
/// written first, of the last writes of each.
fn longest_written<M: Replayer>(
    again: &mut Timeline<M>,
    before: Icount,
    position: Icount,
) -> Result<Option<Written>, Error> {
    let mut recorded = Timeline::<M>::on(again.shared_recording())?;
    recorded.restore(position)?;
    let pages = again.session().differing_pages(recorded.session());
    let of_ram = recorded.recording().config().ram_bytes as usize / PAGE_SIZE;
    let (is, was) = (again.machine().storage(), recorded.machine().storage());
    let mut ranges = Vec::new();
    for page in pages.into_iter().filter(|page| *page < of_ram) {
        let bytes = |storage| page_of(storage, page).map_or(&[][..], |bytes| &bytes[..]);
        let same = bytes(is).iter().zip(bytes(was)).map(|(a, b)| a == b).collect::<Vec<_>>();
        let mut at = 0;
        for run in same.chunk_by(|a, b| a == b) {
            if !run[0] {
                let addr = PhysAddr((page * PAGE_SIZE + at) as u64);
                ranges.push(WatchRange { addr, len: run.len() as u64, kind: WatchKind::Write });
            }
            at += run.len();
        }
    }
    ranges.truncate(MOST_RANGES);
    if ranges.is_empty() {
        return Ok(None);
    }
    let differing = |at: PhysAddr| (was[at.0 as usize], is[at.0 as usize]);
    let first_bytes: Vec<_> = ranges.iter().map(|range| differing(range.addr)).collect();
    let last = last_writes(again, before, position, &ranges)?;
    let oldest = (0..ranges.len()).filter_map(|n| Some((last[n]?, n))).min();
    let Some((at, n)) = oldest else { return Ok(None) };
    again.restore(before)?;
    run(again.session(), at)?;
    let (recorded, replayed) = first_bytes[n];
    let by = instruction(again.machine());
    Ok(Some(Written { addr: ranges[n].addr, recorded, replayed, by }))
}

/// The last step from `before` to `position` that wrote to each of `ranges`, which are in order.
fn last_writes<M: Replayer>(
    again: &mut Timeline<M>,
    before: Icount,
    position: Icount,
    ranges: &[WatchRange],
) -> Result<Vec<Option<Icount>>, Error> {
    let mut last = vec![None; ranges.len()];
    again.restore(before)?;
    let session = again.session();
    session.arm(&BTreeSet::new(), ranges, &BTreeSet::new());
    session.note_hits(true);
    while session.position() < position {
        let next = Icount(session.position().0.saturating_add(STRIDE)).min(position);
        run(session, next)?;
        for noted in session.take_noted() {
            let WatchHit::Memory { addr, .. } = noted.hit else { continue };
            if let Some(n) = ranges.partition_point(|range| range.addr <= addr).checked_sub(1) {
                last[n] = Some(noted.position);
            }
        }
    }
    session.note_hits(false);
    session.arm(&BTreeSet::new(), &[], &BTreeSet::new());
    Ok(last)
}

impl fmt::Display for Instruction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "position {}, instruction at {:#x}: {}", self.position, self.pc, hex(&self.code))
    }
}

impl fmt::Display for Narrowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((at, _, what)) = &self.input {
            write!(f, "\n  last input {what:?} at {at}")?;
        }
        if let Some(i) = self.interrupt {
            write!(f, "\n  last interrupt {:#04x} at {}", i.vector.0, i.position)?;
        }
        match &self.again {
            None => Ok(()),
            Some(again) => write!(f, "\nreplayed again from position {} it {again}", self.before),
        }
    }
}

impl fmt::Display for Again {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parting = match self {
            Again::Same(written) => {
                write!(
                    f,
                    "comes to the same: the recording was made by another program or with other input"
                )?;
                let Some(Written { addr, recorded, replayed, by }) = written else { return Ok(()) };
                return write!(
                    f,
                    "\n  of the memory that differs, the replay wrote {:#x} first: {by}\n  recorded {recorded:02x}, replayed \
                     {replayed:02x}",
                    addr.0
                );
            }
            Again::Other { recorded, parting } => {
                let what = if *recorded { "what was recorded" } else { "something else" };
                write!(f, "comes to {what}: this program does not do the same each time")?;
                parting
            }
        };
        let Some(Parting { by, fields }) = parting.as_deref() else { return Ok(()) };
        let both = |one: &str, other: &str| format!("{one} from the start, {other} from there");
        write!(f, "\n  the step by which they part: {by}{}", lines_of_fields(fields, MOST_FIELDS, both))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EndReason;
    use crate::fake::{FORGETS, SICK, Toy, record};
    use crate::verify::replay_on;
    use std::sync::Arc;

    /// What a replay with checks ends with.
    fn replayed(recording: &Arc<Recording>) -> Error {
        replay_on::<Toy>(recording, true, &mut |_, _| (), &mut |_, _| ()).unwrap_err()
    }

    fn recorded(dir: &tempfile::TempDir) -> Arc<Recording> {
        let path = dir.path().join("whole");
        record(&path, 20_000, 7, 2500).finish(EndReason::Interrupted).unwrap();
        Arc::new(Recording::open(&path).unwrap())
    }

    #[test]
    fn where_replays_are_the_same_the_write_that_differs_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let recording = recorded(&dir);
        SICK.set(Some(6000));
        let error = replayed(&recording);
        SICK.set(None);
        let Error::Mismatch(mismatch) = &error else { panic!("{error}") };
        assert_eq!((mismatch.position, mismatch.narrowed.before), (Icount(7500), Icount(5000)));
        let Some(Again::Same(Some(written))) = &mismatch.narrowed.again else { panic!("{error}") };
        assert_eq!((written.addr, written.by.position), (PhysAddr(0xb000), Icount(6000)));
        assert_eq!((written.recorded, written.replayed), (0, 1));
        assert!(error.to_string().contains("the replay wrote 0xb000 first: position 6000,"), "{error}");
    }

    #[test]
    fn where_replays_are_not_the_same_the_step_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let recording = recorded(&dir);
        FORGETS.set(Some(6000));
        let error = replayed(&recording);
        FORGETS.set(None);
        let Error::Mismatch(mismatch) = &error else { panic!("{error}") };
        assert_eq!((mismatch.position, mismatch.narrowed.before), (Icount(7500), Icount(5000)));
        let Some(Again::Other { recorded: true, parting: Some(parting) }) = &mismatch.narrowed.again else {
            panic!("{error}")
        };
        assert_eq!(parting.by.position, Icount(6000));
        assert!(parting.fields.iter().any(|(name, ..)| name.contains("gpr")), "{error}");
        assert!(error.to_string().contains("the step by which they part: position 6000,"), "{error}");
    }
}
