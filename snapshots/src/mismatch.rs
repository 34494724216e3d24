//! What is different when a replay arrives at a checkpoint and is not what was recorded there.

use crate::diff::{MOST_FIELDS, MOST_PAGES, fields_that_differ, line_of_pages, lines_of_fields};
use crate::narrow::Narrowed;
use crate::pages::RamHash;
use crate::recording::{CheckpointBody, Error, Recording};
use std::collections::BTreeMap;
use std::fmt;
use vm::{Icount, MachineState, VmTime};

/// A machine that is not what was recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct Mismatch {
    /// Position of the checkpoint.
    pub position: Icount,
    /// Virtual time there.
    pub time: VmTime,
    /// Registers and fields of chips that differ: name, as recorded, as replayed.
    pub fields: Vec<(String, String, String)>,
    /// Pages of storage that differ; at most 64 are named.
    pub pages: Vec<usize>,
    /// Where that began, as far as it is known.
    pub narrowed: Narrowed,
}

impl Mismatch {
    /// The machine is what was recorded, and the hash that was recorded is not its hash.
    pub(crate) fn is_of_hash(&self) -> bool {
        self.fields.is_empty() && self.pages.is_empty()
    }

    /// The machine in state `actual`, whose storage has these hashes, at checkpoint `index`.
    pub(crate) fn at(
        recording: &Recording,
        index: usize,
        actual: &MachineState,
        storage: &RamHash,
    ) -> Result<Mismatch, Error> {
        let CheckpointBody { state, .. } = recording.read_checkpoint(index)?;
        let info = recording.checkpoint_info(index);
        let fields = fields_that_differ(&state, actual);
        let expected = hashes_at(recording, index)?;
        let before = recording.checkpoint_info(index.saturating_sub(1)).position;
        let pages = recording.config().storage_bytes() as usize / vm::PAGE_SIZE;
        let differs = |page: &usize| expected.get(page).copied().unwrap_or(0) != storage.page(*page);
        Ok(Mismatch {
            position: info.position,
            time: info.time,
            fields,
            pages: (0..pages).filter(differs).take(MOST_PAGES).collect(),
            narrowed: Narrowed::new(recording, before, info.position)?,
        })
    }
}

/// The short hash of each page that is not zeros at checkpoint `index`.
fn hashes_at(recording: &Recording, index: usize) -> Result<BTreeMap<usize, u64>, Error> {
    let whole = (0..=index).rev().find(|i| recording.checkpoint_info(*i).whole).unwrap_or(0);
    let mut hashes = BTreeMap::new();
    for body in (whole..=index).map(|i| recording.read_checkpoint(i)) {
        for (number, page) in body?.changes() {
            hashes.insert(number, page.hash());
        }
    }
    Ok(hashes)
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mismatch { position, time, fields, pages, narrowed } = self;
        write!(f, "at position {position} ({time}) the machine is not what was recorded; ")?;
        write!(f, "the checkpoint before is at {}", narrowed.before)?;
        if self.is_of_hash() {
            return write!(f, "\n  nothing of it differs: the checkpoint has another hash than its contents");
        }
        let both = |recorded: &str, replayed: &str| format!("recorded {recorded}, replayed {replayed}");
        let (fields, pages) = (lines_of_fields(fields, MOST_FIELDS, both), line_of_pages(pages));
        write!(f, "{fields}{pages}{narrowed}")
    }
}
