//! Writing a recording: chunk after chunk, nothing ever changed.

use super::Error;
use super::format::{
    self, CheckpointBody, CheckpointHead, End, Entry, GROUP_PAGES, Kind, MAX_PAYLOAD, Place, Progress,
    StoredPage, SummaryHead,
};
use super::interval::{Interval, IntervalBody};
use super::media::MediumPages;
use crate::pages::{PageBytes, page_hash, short_hash};
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use vm::{Icount, Input, InterruptTaken, MachineConfig, PAGE_SIZE, VmTime};

/// Hashes of stored pages that are remembered to store no page twice: 70 MB of them. Beyond that (7 GB of different pages) they
/// are forgotten, so that a recorder's memory stays bounded: pages may then be stored again. A table of 2^21 places holds as many.
const MOST_KNOWN: usize = 7 << 18;
/// Interrupts in one chunk.
const MOST_INTERRUPTS: usize = 1 << 20;
/// Inputs in one chunk.
const MOST_INPUTS: usize = 1 << 12;

/// A recording being written.
#[derive(Debug)]
pub(crate) struct Writer {
    path: PathBuf,
    file: File,
    /// Where the next chunk goes: all before is whole.
    offset: u64,
    entries: Vec<Entry>,
    known: HashMap<u128, u32>,
    next_page: u32,
}

fn create(path: &Path, overwrite: bool) -> Result<File, Error> {
    let mut options = OpenOptions::new();
    options.write(true);
    if overwrite {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    options.open(path).map_err(|source| Error::Io { path: path.to_owned(), source })
}

impl Writer {
    /// Creates the file and writes what does not change during the run.
    pub(crate) fn create(path: &Path, overwrite: bool, config: &MachineConfig) -> Result<Writer, Error> {
        let io = |source| Error::Io { path: path.to_owned(), source };
        let mut file = create(path, overwrite)?;
        let header = format::file_header();
        file.write_all(&header).map_err(io)?;
        let mut writer = Writer {
            path: path.to_owned(),
            file,
            offset: header.len() as u64,
            entries: Vec::new(),
            known: HashMap::new(),
            next_page: 0,
        };
        let payload = format::encode(config).and_then(|b| format::pack(&b));
        let payload = payload.map_err(|e| writer.unrecordable(e))?;
        let place = writer.append(Kind::Config, &payload)?;
        writer.entries.push(Entry::Config(place));
        Ok(writer)
    }

    /// Creates the file `path` with a copy of all up to the checkpoint at `at`.
    pub(crate) fn copy(&self, path: &Path, overwrite: bool, at: Icount) -> Result<Writer, Error> {
        let is_there =
            |entry: &&Entry| matches!(entry, Entry::Checkpoint { head, .. } if head.at.position == at);
        let Some(Entry::Checkpoint { place, .. }) = self.entries.iter().find(is_there) else {
            return Err(self.unrecordable(format!("it has no checkpoint at position {at}")));
        };
        let end = place.end();
        let entries: Vec<_> = self.entries.iter().filter(|e| e.place().end() <= end).copied().collect();
        let pages = entries.iter().map(|e| if let Entry::Pages { count, .. } = e { *count } else { 0 });
        let next_page = pages.sum();
        let mut file = create(path, overwrite)?;
        let io = |source| Error::Io { path: path.to_owned(), source };
        let mut first = File::open(&self.path).map_err(io)?.take(end);
        let copied = std::io::copy(&mut first, &mut file).map_err(io)?;
        if copied < end {
            return Err(self.unrecordable(format!("it is shorter than what was written, {end} bytes")));
        }
        // Which hashes the pages have is not known: they may be stored again.
        Ok(Writer { path: path.to_owned(), file, offset: end, entries, known: HashMap::new(), next_page })
    }

    /// All chunks so far.
    pub(super) fn entries(&self) -> Vec<Entry> {
        self.entries.clone()
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes inputs, in order.
    pub(crate) fn inputs(&mut self, inputs: &[(Icount, VmTime, Input)]) -> Result<(), Error> {
        for some in inputs.chunks(MOST_INPUTS) {
            let payload = format::encode(&some).map_err(|e| self.unrecordable(e))?;
            let place = self.append(Kind::Inputs, &payload)?;
            self.entries.push(Entry::Inputs(place));
        }
        Ok(())
    }

    /// Writes interrupts, in order.
    pub(crate) fn interrupts(&mut self, interrupts: &[InterruptTaken]) -> Result<(), Error> {
        for some in interrupts.chunks(MOST_INTERRUPTS) {
            let place = self.append(Kind::Interrupts, &format::encode_interrupts(some))?;
            self.entries.push(Entry::Interrupts(place));
        }
        Ok(())
    }

    /// Says that everything up to here has been written.
    pub(crate) fn progress(&mut self, at: &Progress) -> Result<(), Error> {
        let payload = format::encode(at).map_err(|e| self.unrecordable(e))?;
        self.append(Kind::Progress, &payload)?;
        Ok(())
    }

    /// Stores pages that are not in the file yet and says, for each, where it is (`None`: zeros).
    pub(crate) fn pages<'a>(
        &mut self,
        pages: impl Iterator<Item = &'a PageBytes>,
    ) -> Result<Vec<Option<StoredPage>>, Error> {
        let mut places = Vec::with_capacity(pages.size_hint().0);
        let mut group = Group::default();
        for bytes in pages {
            let Some(hash) = page_hash(bytes) else {
                places.push(None);
                continue;
            };
            let id = match self.known.get(&hash) {
                Some(id) => *id,
                None => self.add_page(hash, bytes, &mut group)?,
            };
            places.push(Some(StoredPage { id, hash: short_hash(Some(hash)) }));
        }
        self.write_group(&mut group)?;
        Ok(places)
    }

    /// Writes a checkpoint whose pages have been stored.
    pub(crate) fn checkpoint(&mut self, head: CheckpointHead, body: &CheckpointBody) -> Result<(), Error> {
        let payload = format::encode_with_head(&head, body).map_err(|e| self.unrecordable(e))?;
        let place = self.append(Kind::Checkpoint, &payload)?;
        self.entries.push(Entry::Checkpoint { place, head });
        Ok(())
    }

    /// Writes what the steps of an interval touched.
    pub(crate) fn interval(&mut self, interval: &Interval) -> Result<(), Error> {
        let (span, body) = (interval.span(), IntervalBody::new(interval));
        let payload = format::encode_with_head(&span, &body).map_err(|e| self.unrecordable(e))?;
        let place = self.append(Kind::Interval, &payload)?;
        self.entries.push(Entry::Interval { place, span });
        Ok(())
    }

    /// Writes what the steps of many intervals touched.
    pub(crate) fn summary(&mut self, level: u8, interval: &Interval) -> Result<(), Error> {
        let (head, body) = (SummaryHead { span: interval.span(), level }, IntervalBody::new(interval));
        let payload = format::encode_with_head(&head, &body).map_err(|e| self.unrecordable(e))?;
        let place = self.append(Kind::Summary, &payload)?;
        self.entries.push(Entry::Summary { place, head });
        Ok(())
    }

    /// Writes which stored pages a part of a medium is.
    pub(super) fn medium_pages(&mut self, some: &MediumPages) -> Result<(), Error> {
        let payload = format::encode(some).and_then(|b| format::pack(&b));
        let payload = payload.map_err(|e| self.unrecordable(e))?;
        let place = self.append(Kind::Medium, &payload)?;
        self.entries.push(Entry::Medium(place));
        Ok(())
    }

    /// Chunks that the index will name.
    pub(crate) fn indexed(&self) -> usize {
        self.entries.len()
    }

    /// Writes how the run ended and the index, and waits until all of it is on the disk.
    pub(crate) fn finish(mut self, end: &End) -> Result<(), Error> {
        let payload = format::encode(end).map_err(|e| self.unrecordable(e))?;
        let place = self.append(Kind::End, &payload)?;
        self.entries.push(Entry::End(place));
        let index = format::encode(&self.entries).map_err(|e| self.unrecordable(e))?;
        // One that is too long is left out: the reader can make it anew.
        if index.len() <= MAX_PAYLOAD {
            let payload = format::pack(&index).map_err(|e| self.unrecordable(e))?;
            let index = self.append(Kind::Index, &payload)?;
            self.append(Kind::Footer, &index.offset.to_le_bytes())?;
        }
        self.file.sync_all().map_err(|source| Error::Io { path: self.path, source })
    }

    /// Gives a page its number and puts it into the group that is being filled.
    fn add_page(&mut self, hash: u128, bytes: &PageBytes, group: &mut Group) -> Result<u32, Error> {
        let id = self.next_page;
        self.next_page =
            id.checked_add(1).ok_or_else(|| self.unrecordable("more than 2^32 pages".to_owned()))?;
        if self.known.len() >= MOST_KNOWN {
            self.known.clear();
        }
        self.known.insert(hash, id);
        group.hashes.push(hash);
        group.bytes.extend_from_slice(bytes);
        if group.hashes.len() == GROUP_PAGES {
            self.write_group(group)?;
        }
        Ok(id)
    }

    /// Writes the group's pages and empties it.
    fn write_group(&mut self, group: &mut Group) -> Result<(), Error> {
        if group.hashes.is_empty() {
            return Ok(());
        }
        debug_assert_eq!(group.bytes.len(), group.hashes.len() * PAGE_SIZE);
        let count = group.hashes.len() as u32;
        let mut payload = count.to_le_bytes().to_vec();
        payload.extend(group.hashes.iter().flat_map(|h| h.to_le_bytes()));
        payload.extend(format::pack(&group.bytes).map_err(|e| self.unrecordable(e))?);
        let place = self.append(Kind::Pages, &payload)?;
        self.entries.push(Entry::Pages { place, count });
        *group = Group::default();
        Ok(())
    }

    /// Appends one chunk by one write. If that fails (a full disk), what was written of it is cut off again, so that the
    /// file stays whole up to here.
    fn append(&mut self, kind: Kind, payload: &[u8]) -> Result<Place, Error> {
        if payload.len() > MAX_PAYLOAD {
            return Err(self.unrecordable(format!("{kind:?} of {} bytes is too large", payload.len())));
        }
        let bytes = format::chunk(kind, payload);
        if let Err(source) = self.file.write_all(&bytes) {
            // If this fails too the reader finds the torn chunk by itself.
            let _ = self.file.set_len(self.offset);
            return Err(Error::Io { path: self.path.clone(), source });
        }
        let place = Place { offset: self.offset, length: payload.len() as u32 };
        self.offset = place.end();
        Ok(place)
    }

    pub(super) fn unrecordable(&self, what: String) -> Error {
        Error::Unrecordable { path: self.path.clone(), what }
    }
}

/// Pages on their way into the file.
#[derive(Default)]
struct Group {
    hashes: Vec<u128>,
    bytes: Vec<u8>,
}
