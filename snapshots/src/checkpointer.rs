//! Writing checkpoints of a machine, and what it touched between them.

use crate::Replayer;
use crate::pages::{RamHash, encode_state, page_of, rehash};
use crate::recording::{
    CheckpointBody, CheckpointHead, Error, Interval, PageChange, Progress, StoredPage, Summaries, Writer,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use vm::{Footprint, Icount, MachineConfig};

/// A checkpoint is made to stand alone once those since the last such one have named this many pages, or as many as it
/// names itself if that is more: so the work to find out what storage held anywhere is bounded, and costs little.
const WHOLE_AFTER: usize = 4096;
/// Checkpoints that would name more pages than this do not stand alone.
const MOST_WHOLE: usize = 1 << 20;

/// A recording being written, and what its last checkpoint says.
#[derive(Debug)]
pub(crate) struct Checkpointer {
    path: PathBuf,
    pub(crate) writer: Writer,
    ram: RamHash,
    /// Where the last checkpoint's pages are: what storage held there.
    stored: BTreeMap<u32, StoredPage>,
    /// Pages named by checkpoints since the last whole one.
    named: usize,
    /// Of the intervals so far.
    summaries: Summaries,
    /// Position of the last checkpoint.
    last: Option<Icount>,
}

impl Checkpointer {
    /// Creates the file `path`, which must not exist unless `overwrite`, for a machine of this kind.
    pub(crate) fn create(
        path: &Path,
        overwrite: bool,
        config: &MachineConfig,
    ) -> Result<Checkpointer, Error> {
        Ok(Checkpointer {
            path: path.to_owned(),
            writer: Writer::create(path, overwrite, config)?,
            ram: RamHash::new(config.storage_bytes()),
            stored: BTreeMap::new(),
            named: 0,
            summaries: Summaries::default(),
            last: None,
        })
    }

    /// Creates the file `path` with what `other` has up to its checkpoint at `at`, where storage has the hash `ram` and holds the
    /// pages `stored`.
    pub(crate) fn copy(
        path: &Path,
        overwrite: bool,
        other: &Checkpointer,
        at: Icount,
        ram: RamHash,
        stored: BTreeMap<u32, StoredPage>,
    ) -> Result<Checkpointer, Error> {
        Ok(Checkpointer {
            path: path.to_owned(),
            writer: other.writer.copy(path, overwrite, at)?,
            ram,
            // How many have been named since the last whole one is not known: the next one is whole.
            named: WHOLE_AFTER.max(stored.len()),
            stored,
            summaries: Summaries::default(),
            last: Some(at),
        })
    }

    /// Position of the last checkpoint.
    pub(crate) fn last(&self) -> Icount {
        self.last.unwrap_or_default()
    }

    /// Writes a checkpoint of the machine, which has just arrived where it is. Only the pages `dirty` may have changed since
    /// the last one. How far the recording goes by it.
    pub(crate) fn checkpoint<M: Replayer>(
        &mut self,
        machine: &M,
        dirty: &[usize],
    ) -> Result<Progress, Error> {
        let storage = machine.storage();
        let dirty: Vec<(usize, _)> = dirty.iter().filter_map(|p| Some((*p, page_of(storage, *p)?))).collect();
        let stored = self.writer.pages(dirty.iter().map(|(_, bytes)| *bytes))?;
        let mut pages = Vec::with_capacity(dirty.len());
        for ((page, _), stored) in dirty.iter().zip(stored) {
            self.ram.set(*page, stored.map_or(0, |s| s.hash));
            let page = *page as u32;
            match stored {
                Some(stored) => self.stored.insert(page, stored),
                None => self.stored.remove(&page),
            };
            pages.push(PageChange { page, stored });
        }
        self.named += pages.len();
        let enough = self.named >= WHOLE_AFTER.max(self.stored.len()) && self.stored.len() <= MOST_WHOLE;
        let whole = self.last.is_none() || enough;
        if whole {
            pages =
                self.stored.iter().map(|(page, s)| PageChange { page: *page, stored: Some(*s) }).collect();
            self.named = 0;
        }
        let hash = self.hash(machine)?;
        let at = progress(machine);
        let body = CheckpointBody { state: machine.save(), pages };
        self.writer.checkpoint(CheckpointHead { at, hash, whole }, &body)?;
        self.last = Some(at.position);
        Ok(at)
    }

    /// Writes what was touched since the last checkpoint up to `to`: `dirty` pages were written.
    pub(crate) fn interval(&mut self, to: Icount, dirty: &[usize], touched: Footprint) -> Result<(), Error> {
        let from = self.last();
        if from == to {
            return Ok(());
        }
        let written = dirty.iter().map(|page| *page as u32).collect();
        let interval = Interval { from, to, written, footprint: touched };
        self.writer.interval(&interval)?;
        for (level, summary) in self.summaries.add(&interval) {
            self.writer.summary(level, &summary)?;
        }
        Ok(())
    }

    /// The hash of the machine at the end, where only the pages `dirty` may have changed since the last checkpoint.
    pub(crate) fn end_hash<M: Replayer>(&mut self, machine: &M, dirty: &[usize]) -> Result<u64, Error> {
        rehash(&mut self.ram, machine.storage(), dirty);
        self.hash(machine)
    }

    fn hash<M: Replayer>(&self, machine: &M) -> Result<u64, Error> {
        let unrecordable = |what: String| Error::Unrecordable { path: self.path.clone(), what };
        let encoded = encode_state(&machine.save()).map_err(|e| unrecordable(e.to_string()))?;
        Ok(self.ram.with_state(&encoded))
    }
}

/// Where a machine is.
pub(crate) fn progress<M: Replayer>(machine: &M) -> Progress {
    Progress { position: machine.position(), time: machine.now(), io_digest: machine.save().io_digest }
}
