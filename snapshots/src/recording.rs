//! The recording file.

mod events;
mod format;
mod interval;
mod media;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

use crate::mismatch::Mismatch;
use crate::narrow::Narrowed;
use std::path::{Path, PathBuf};
use thiserror::Error;
use vm::machine::Divergence;
use vm::{Icount, MachineConfig, VmTime};

pub(crate) use events::Events;
pub use events::TimedInput;
pub(crate) use format::{CheckpointBody, CheckpointHead, End, PageChange, Progress, Span, StoredPage};
pub use interval::Interval;
pub(crate) use interval::Summaries;
pub(crate) use reader::PageReader;
pub(crate) use writer::Writer;

use format::Place;
use reader::Source;

/// What can be wrong with a recording or its replay.
#[derive(Debug, Error)]
pub enum Error {
    /// The machine or its engine.
    #[error(transparent)]
    Vm(#[from] vm::VmError),
    /// The replay does not do what was recorded.
    #[error(transparent)]
    Diverged(#[from] Box<Divergence>),
    /// The replay arrives at a checkpoint, and the machine is not what was recorded there.
    #[error("{0}")]
    Mismatch(Box<Mismatch>),
    /// The replay does not do what was recorded, and it was looked where that begins.
    #[error("{divergence}; the checkpoint before is at {}{narrowed}", narrowed.before)]
    Narrowed {
        /// What it does not do.
        divergence: Box<Divergence>,
        /// Where that began, as far as it is known.
        narrowed: Box<Narrowed>,
    },
    /// The system refused to read or write the file.
    #[error("{}: {source}", path.display())]
    Io {
        /// The recording.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not a recording.
    #[error("{}: not a recording: {reason}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: &'static str,
    },
    /// The file, or a part of it that matters, is of a version that this program does not know.
    #[error("{}: version {found} at offset {offset}: written by {} program than this, which reads version {known}", path.display(), if found > known { "a newer" } else { "an older" })]
    Newer {
        /// The recording.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// The version found.
        found: u32,
        /// The version that is read.
        known: u32,
    },
    /// The file is damaged.
    #[error("{}: damaged at offset {offset}: {what}", path.display())]
    Damaged {
        /// The recording.
        path: PathBuf,
        /// Where the damaged part begins.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// An image that the recording refers to is not there, or is another one.
    #[error("{}: needs the image {name}: {what}; if it is somewhere else give --media {name}=FILE", path.display())]
    Medium {
        /// The recording.
        path: PathBuf,
        /// The image's name in the recording.
        name: String,
        /// What is wrong.
        what: String,
    },
    /// Something does not fit into a recording.
    #[error("{}: cannot be recorded: {what}", path.display())]
    Unrecordable {
        /// The recording.
        path: PathBuf,
        /// What does not fit.
        what: String,
    },
}

/// A checkpoint in a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointInfo {
    /// Where.
    pub position: Icount,
    /// When.
    pub time: VmTime,
    /// Hash of the machine there.
    pub hash: u64,
    /// It stands alone; the others say what changed since the one before.
    pub whole: bool,
}

/// An opened recording. Knows where everything is; machine states and pages are read when they are needed.
#[derive(Debug)]
pub struct Recording {
    source: Source,
    config: MachineConfig,
    events: events::EventChunks,
    checkpoints: Vec<(CheckpointInfo, Place)>,
    /// What is known of the steps between checkpoints, in order; some may be missing.
    intervals: Vec<(Span, Place)>,
    /// The same for many of them together, and many of those, by level; no summary is longer than one of the next level.
    summaries: Vec<Vec<(Span, Place)>>,
    groups: Vec<PageGroup>,
    media: media::Media,
    /// The last thing known for certain.
    last: Progress,
    end: Option<End>,
    torn_at: Option<u64>,
}

/// One of the things that the index knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Known {
    /// 0 for an interval, more for many of them together.
    pub(crate) level: usize,
    pub(crate) index: usize,
}

/// Pages stored together.
#[derive(Clone, Copy, Debug)]
struct PageGroup {
    first: u32,
    count: u32,
    place: Place,
}

impl Recording {
    /// Opens and checks a recording; reads its index and the description of its machine, and nothing else. Never changes the file. A recording whose recorder
    /// was killed has no index: then all of it is read once, and it ends with the last thing that was written whole.
    pub fn open(path: &Path) -> Result<Recording, Error> {
        reader::open(path)
    }

    /// What has been written of a recording that is still being made: all up to `at`.
    pub(crate) fn unfinished(writer: &Writer, at: Progress) -> Result<Recording, Error> {
        reader::unfinished(writer, at)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.source.path
    }

    /// Length of the file in bytes.
    pub fn bytes(&self) -> u64 {
        self.source.size
    }

    /// The hardware.
    pub fn config(&self) -> &MachineConfig {
        &self.config
    }

    /// The first position.
    pub fn start(&self) -> Icount {
        self.checkpoints[0].0.position
    }

    /// The last position.
    pub fn end(&self) -> Icount {
        self.last.position
    }

    /// Virtual time at the end.
    pub fn end_time(&self) -> VmTime {
        self.last.time
    }

    /// How the run ended; `None` if the recorder was killed.
    pub fn ended_by(&self) -> Option<&crate::EndReason> {
        self.end.as_ref().map(|e| &e.reason)
    }

    /// Hash of the machine at the very end; `None` if the recorder was killed.
    pub fn end_hash(&self) -> Option<u64> {
        self.end.as_ref().map(|e| e.hash)
    }

    /// Where the file stops making sense because its recorder was killed while it wrote, if so.
    pub fn torn_at(&self) -> Option<u64> {
        self.torn_at
    }

    /// The checkpoints, ascending; there is at least the first.
    pub fn checkpoints(&self) -> impl ExactSizeIterator<Item = CheckpointInfo> + '_ {
        self.checkpoints.iter().map(|(info, _)| *info)
    }

    /// Number of the last checkpoint at or before `position`.
    pub(crate) fn checkpoint_before(&self, position: Icount) -> Option<usize> {
        self.checkpoints.partition_point(|(c, _)| c.position <= position).checked_sub(1)
    }

    /// Checkpoint `index` without its contents.
    pub(crate) fn checkpoint_info(&self, index: usize) -> CheckpointInfo {
        self.checkpoints[index].0
    }

    /// How many intervals there are of which it is known what they touched.
    pub fn intervals(&self) -> usize {
        self.intervals.len()
    }

    /// What is known of the step at `position`, with the extent of each: the widest first, the interval that it is in last.
    pub(crate) fn known_at(&self, position: Icount) -> impl Iterator<Item = (Known, Span)> + '_ {
        let levels = std::iter::once(&self.intervals).chain(&self.summaries).enumerate();
        levels.collect::<Vec<_>>().into_iter().rev().filter_map(move |(level, spans)| {
            let index = spans.partition_point(|(span, _)| span.from <= position).checked_sub(1)?;
            let span = spans[index].0;
            (position < span.to).then_some((Known { level, index }, span))
        })
    }

    /// Where and in what state the recording ends.
    pub(crate) fn last(&self) -> (Progress, Option<u64>) {
        (self.last, self.end_hash())
    }
}

impl From<CheckpointHead> for CheckpointInfo {
    fn from(head: CheckpointHead) -> CheckpointInfo {
        CheckpointInfo { position: head.at.position, time: head.at.time, hash: head.hash, whole: head.whole }
    }
}
