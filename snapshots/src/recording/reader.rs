//! Reading a recording. Nothing in the file is believed before it has been checked.

use super::events::EventChunks;
use super::format::{
    self, CHUNK_HEADER_BYTES, CHUNK_MAGIC, CHUNK_VERSION, CheckpointBody, CheckpointHead, ChunkHeader, Entry,
    FILE_HEADER_BYTES, FILE_MAGIC, FILE_VERSION, GROUP_PAGES, Kind, MAX_PAYLOAD, OPTIONAL, Place, Progress,
    Span, StoredPage, SummaryHead,
};
use super::interval::{Interval, IntervalBody};
use super::media::Media;
use super::writer::Writer;
use super::{Error, Known, PageGroup, Recording};
use crate::pages::{PageBytes, page_hash, page_of, short_hash};
use serde::de::DeserializeOwned;
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::num::NonZero;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread::{self, available_parallelism};
use vm::{Icount, MachineConfig, PAGE_SIZE};

/// Bytes of the footer's payload: the offset of the index.
const FOOTER_BYTES: u32 = 8;
/// Places that look like a chunk's beginning which are tried behind a damaged one.
const MOST_TRIED: usize = 64;
/// Bytes of a group of pages that is kept unpacked.
const GROUP_BYTES: usize = GROUP_PAGES * PAGE_SIZE;
/// Bytes of such groups that are kept unless it is said otherwise: a quarter of what a timeline may take.
const KEPT_BYTES: usize = 256 << 20;
/// As many groups are worth another thread.
const GROUPS_PER_THREAD: usize = 8;

/// The file and what is needed to say what is wrong with it.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    file: File,
    pub(super) size: u64,
}

/// What a pass over the file found.
struct Found {
    entries: Vec<Entry>,
    progress: Option<Progress>,
    torn_at: Option<u64>,
}

pub(super) fn open(path: &Path) -> Result<Recording, Error> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    // Asked before it is opened: to open a pipe would wait for its other end.
    let meta = std::fs::metadata(path).map_err(io)?;
    let foreign = |reason| Error::Foreign { path: path.to_owned(), reason };
    if !meta.is_file() {
        return Err(foreign("it is not a regular file"));
    }
    let source = Source { path: path.to_owned(), file: File::open(path).map_err(io)?, size: meta.len() };
    source.check_header()?;
    let found = match source.read_index() {
        Some(entries) => Found { entries, progress: None, torn_at: None },
        None => source.scan()?,
    };
    build(source, found)
}

/// The recording that `writer` is writing, up to `at`, up to where all was written.
pub(super) fn unfinished(writer: &Writer, at: Progress) -> Result<Recording, Error> {
    let path = writer.path().to_owned();
    let io = |source| Error::Io { path: path.clone(), source };
    let file = File::open(&path).map_err(io)?;
    let size = file.metadata().map_err(io)?.len();
    let found = Found { entries: writer.entries(), progress: Some(at), torn_at: None };
    build(Source { path, file, size }, found)
}

impl Source {
    fn check_header(&self) -> Result<(), Error> {
        let foreign = |reason| Err(Error::Foreign { path: self.path.clone(), reason });
        if self.size == 0 {
            return foreign("it is empty");
        }
        let length = self.size.min(FILE_HEADER_BYTES as u64) as usize;
        let mut header = [0; FILE_HEADER_BYTES];
        self.read_at(&mut header[..length], 0)?;
        let magic = length.min(FILE_MAGIC.len());
        if header[..magic] != FILE_MAGIC[..magic] {
            return foreign("it begins differently");
        }
        if length < FILE_HEADER_BYTES {
            return Err(self.damaged(self.size, "it ends within the header"));
        }
        let long =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        if long(12) != crc32fast::hash(&header[..12]) {
            return Err(self.damaged(0, "the header's checksum is wrong"));
        }
        if long(8) != FILE_VERSION {
            return Err(self.newer(8, long(8), FILE_VERSION));
        }
        Ok(())
    }

    /// The index that an orderly end left, if there is one and it is undamaged. It can always be made anew.
    fn read_index(&self) -> Option<Vec<Entry>> {
        let footer = Place {
            offset: self.size.checked_sub(u64::from(FOOTER_BYTES) + CHUNK_HEADER_BYTES as u64)?,
            length: FOOTER_BYTES,
        };
        let offset = self.chunk(Kind::Footer, footer).ok()?;
        let offset = u64::from_le_bytes(offset.try_into().ok()?);
        let index = Place { offset, length: self.header_at(offset).ok()??.length };
        if index.end() != footer.offset {
            return None;
        }
        let packed = self.chunk(Kind::Index, index).ok()?;
        format::decode(&format::unpack(&packed, MAX_PAYLOAD).ok()?).ok()
    }

    /// Reads every chunk from the first to the last that is whole.
    fn scan(&self) -> Result<Found, Error> {
        let mut found = Found { entries: Vec::new(), progress: None, torn_at: None };
        let mut offset = FILE_HEADER_BYTES as u64;
        while offset < self.size {
            match self.scan_one(offset, &mut found) {
                Ok(next) => offset = next,
                Err(Error::Damaged { offset, .. }) if self.is_torn(offset)? => {
                    found.torn_at = Some(offset);
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// Takes in the chunk at `offset`; returns where the next one begins.
    fn scan_one(&self, offset: u64, found: &mut Found) -> Result<u64, Error> {
        let header = self.header_at(offset)?.ok_or_else(|| self.damaged(offset, "no chunk begins here"))?;
        let place = Place { offset, length: header.length };
        let payload = self.payload(&header, place)?;
        let Some(kind) = self.kind(&header, offset)? else { return Ok(place.end()) };
        match kind {
            Kind::Config => found.entries.push(Entry::Config(place)),
            Kind::Pages => {
                let count = payload.first_chunk::<4>().map(|c| u32::from_le_bytes(*c));
                let count = count.ok_or_else(|| self.damaged(offset, "too short for pages"))?;
                found.entries.push(Entry::Pages { place, count });
            }
            Kind::Inputs => found.entries.push(Entry::Inputs(place)),
            Kind::Interrupts => found.entries.push(Entry::Interrupts(place)),
            Kind::Checkpoint => {
                let (head, _) = format::split_head(&payload).map_err(|e| self.damaged(offset, e))?;
                found.entries.push(Entry::Checkpoint { place, head });
            }
            Kind::Progress => {
                found.progress = Some(format::decode(&payload).map_err(|e| self.damaged(offset, e))?);
            }
            Kind::End => found.entries.push(Entry::End(place)),
            Kind::Interval => {
                let (span, _) = format::split_head(&payload).map_err(|e| self.damaged(offset, e))?;
                found.entries.push(Entry::Interval { place, span });
            }
            Kind::Medium => found.entries.push(Entry::Medium(place)),
            Kind::Summary => {
                let (head, _) = format::split_head(&payload).map_err(|e| self.damaged(offset, e))?;
                found.entries.push(Entry::Summary { place, head });
            }
            Kind::Index | Kind::Footer => {}
        }
        Ok(place.end())
    }

    /// Whether the damage at `offset` is what a killed recorder leaves: nothing whole comes after it.
    fn is_torn(&self, offset: u64) -> Result<bool, Error> {
        let mut window = vec![0; 1 << 16];
        let mut tried = 0;
        let mut at = offset.saturating_add(1);
        while at < self.size {
            let length = (self.size - at).min(window.len() as u64) as usize;
            self.read_at(&mut window[..length], at)?;
            for i in find_magic(&window[..length]) {
                let candidate = at + i as u64;
                let whole = match self.header_at(candidate)? {
                    Some(h) => self.payload(&h, Place { offset: candidate, length: h.length }).is_ok(),
                    None => false,
                };
                tried += 1;
                if whole || tried == MOST_TRIED {
                    return Ok(false);
                }
            }
            // The magic may lie across the windows' border.
            at += if length > CHUNK_MAGIC.len() {
                (length - CHUNK_MAGIC.len() + 1) as u64
            } else {
                length as u64
            };
        }
        Ok(true)
    }

    /// The header at `offset`; `None` if what is there is none.
    fn header_at(&self, offset: u64) -> Result<Option<ChunkHeader>, Error> {
        let fits = offset.checked_add(CHUNK_HEADER_BYTES as u64).is_some_and(|end| end <= self.size);
        if !fits {
            return Ok(None);
        }
        let mut bytes = [0; CHUNK_HEADER_BYTES];
        self.read_at(&mut bytes, offset)?;
        Ok(ChunkHeader::parse(&bytes))
    }

    /// The payload that belongs to `header`, checked against its CRC.
    fn payload(&self, header: &ChunkHeader, place: Place) -> Result<Vec<u8>, Error> {
        if place.length as usize > MAX_PAYLOAD {
            return Err(self.damaged(place.offset, "a chunk is longer than any may be"));
        }
        if place.end() > self.size {
            return Err(self.damaged(place.offset, "the file ends within a chunk"));
        }
        let mut payload = vec![0; place.length as usize];
        self.read_at(&mut payload, place.offset + CHUNK_HEADER_BYTES as u64)?;
        if crc32fast::hash(&payload) != header.payload_crc {
            return Err(self.damaged(place.offset, "a chunk's checksum is wrong"));
        }
        Ok(payload)
    }

    /// What kind of chunk this is; `None` for one that may be skipped.
    fn kind(&self, header: &ChunkHeader, offset: u64) -> Result<Option<Kind>, Error> {
        match Kind::from_number(header.kind) {
            Some(kind) if header.version == CHUNK_VERSION => Ok(Some(kind)),
            None if header.kind & OPTIONAL != 0 => Ok(None),
            _ => Err(self.newer(offset, header.version.into(), CHUNK_VERSION.into())),
        }
    }

    /// The payload of a chunk that the index or a pass over the file has named.
    pub(super) fn chunk(&self, kind: Kind, place: Place) -> Result<Vec<u8>, Error> {
        let header = self
            .header_at(place.offset)?
            .filter(|h| h.length == place.length)
            .ok_or_else(|| self.damaged(place.offset, "no chunk begins here"))?;
        if self.kind(&header, place.offset)? != Some(kind) {
            return Err(self.damaged(place.offset, format!("this chunk should be {kind:?}")));
        }
        self.payload(&header, place)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), Error> {
        #[cfg(test)]
        super::tests::READ.set(super::tests::READ.get() + buf.len());
        self.file.read_exact_at(buf, offset).map_err(|source| Error::Io { path: self.path.clone(), source })
    }

    pub(super) fn damaged(&self, offset: u64, what: impl Into<String>) -> Error {
        Error::Damaged { path: self.path.clone(), offset, what: what.into() }
    }

    fn newer(&self, offset: u64, found: u32, known: u32) -> Error {
        Error::Newer { path: self.path.clone(), offset, found, known }
    }
}

/// Offsets in `bytes` at which a chunk may begin.
fn find_magic(bytes: &[u8]) -> impl Iterator<Item = usize> + '_ {
    bytes.windows(CHUNK_MAGIC.len()).enumerate().filter(|(_, w)| *w == CHUNK_MAGIC).map(|(i, _)| i)
}

/// Makes a recording of what was found in its file.
fn build(source: Source, found: Found) -> Result<Recording, Error> {
    let torn_at = found.torn_at.unwrap_or(source.size);
    let Some((Entry::Config(place), rest)) = found.entries.split_first() else {
        return Err(source.damaged(torn_at, "the description of the machine is missing"));
    };
    let mut r = Recording {
        config: read_config(&source, *place)?,
        source,
        events: EventChunks::default(),
        checkpoints: Vec::new(),
        intervals: Vec::new(),
        summaries: Vec::new(),
        groups: Vec::new(),
        media: Media::default(),
        last: Progress::default(),
        end: None,
        torn_at: found.torn_at,
    };
    for entry in rest {
        r.last = r.take_in(entry)?.unwrap_or(r.last);
    }
    if r.checkpoints.is_empty() {
        return Err(r.source.damaged(torn_at, "the machine's initial state is missing"));
    }
    let checkpointed = (r.last.position, r.last.time);
    r.last = match (&r.end, found.progress) {
        (Some(end), _) => end.at,
        (None, Some(at)) if (at.position, at.time) >= checkpointed => at,
        _ => r.last,
    };
    if (r.last.position, r.last.time) < checkpointed {
        return Err(r.source.damaged(torn_at, "the end lies before the last checkpoint"));
    }
    Ok(r)
}

/// Adds an interval behind those that there are.
fn push_span(spans: &mut Vec<(Span, Place)>, span: Span, place: Place) -> Result<(), &'static str> {
    let last = spans.last().map_or(Icount(0), |(last, _)| last.to);
    if span.from < last || span.to <= span.from {
        return Err("the intervals are out of order");
    }
    spans.push((span, place));
    Ok(())
}

fn read_config(source: &Source, place: Place) -> Result<MachineConfig, Error> {
    let packed = source.chunk(Kind::Config, place)?;
    let config = format::unpack(&packed, MAX_PAYLOAD).and_then(|b| format::decode::<MachineConfig>(&b));
    let config = config.map_err(|e| source.damaged(place.offset, e))?;
    config.check().map_err(|e| source.damaged(place.offset, e))?;
    Ok(config)
}

impl Recording {
    /// Adds one row of the index; returns how far the recording is known by it, if it says so.
    fn take_in(&mut self, entry: &Entry) -> Result<Option<Progress>, Error> {
        match *entry {
            Entry::Config(place) => {
                return Err(self.source.damaged(place.offset, "a second machine is described"));
            }
            Entry::Pages { place, count } => {
                let first = self.groups.last().map_or(Some(0), |g| g.first.checked_add(g.count));
                match first {
                    Some(first) if (1..=GROUP_PAGES as u32).contains(&count) => {
                        self.groups.push(PageGroup { first, count, place });
                    }
                    _ => return Err(self.source.damaged(place.offset, format!("{count} pages in a chunk"))),
                }
            }
            Entry::Inputs(place) => self.add_events(Kind::Inputs, place)?,
            Entry::Interrupts(place) => self.add_events(Kind::Interrupts, place)?,
            Entry::Checkpoint { place, head } => {
                if self.checkpoints.last().is_some_and(|(last, _)| last.position >= head.at.position) {
                    return Err(self.source.damaged(place.offset, "the checkpoints are out of order"));
                }
                if self.checkpoints.is_empty() && !head.whole {
                    return Err(self
                        .source
                        .damaged(place.offset, "the machine's initial state is not whole"));
                }
                self.checkpoints.push((head.into(), place));
                return Ok(Some(head.at));
            }
            Entry::Interval { place, span } => {
                let ordered = push_span(&mut self.intervals, span, place);
                ordered.map_err(|e| self.source.damaged(place.offset, e))?;
            }
            Entry::Summary { place, head: SummaryHead { span, level } } => {
                let level = usize::from(level);
                if level > self.summaries.len() {
                    return Err(self.source.damaged(place.offset, "a summary of nothing"));
                }
                if level == self.summaries.len() {
                    self.summaries.push(Vec::new());
                }
                let ordered = push_span(&mut self.summaries[level], span, place);
                ordered.map_err(|e| self.source.damaged(place.offset, e))?;
            }
            Entry::Medium(place) => self.media.add(place),
            Entry::End(place) => {
                let end = format::decode(&self.source.chunk(Kind::End, place)?);
                self.end = Some(end.map_err(|e| self.source.damaged(place.offset, e))?);
            }
        }
        Ok(None)
    }

    fn add_events(&mut self, kind: Kind, place: Place) -> Result<(), Error> {
        let early = "something happens before the machine's initial state";
        let behind = self.checkpoints.len().checked_sub(1);
        let behind = behind.ok_or_else(|| self.source.damaged(place.offset, early))?;
        self.events.add(behind, kind, place);
        Ok(())
    }

    /// The contents of checkpoint `index`.
    pub(crate) fn read_checkpoint(&self, index: usize) -> Result<CheckpointBody, Error> {
        let (info, place) = self.checkpoints[index];
        let bad = |what: String| self.source.damaged(place.offset, what);
        let payload = self.source.chunk(Kind::Checkpoint, place)?;
        let (_, packed) = format::split_head::<CheckpointHead>(&payload).map_err(bad)?;
        let body = format::unpack(packed, MAX_PAYLOAD).map_err(bad)?;
        let body: CheckpointBody = format::decode(&body).map_err(bad)?;
        let pages = self.config.storage_bytes().div_ceil(PAGE_SIZE as u64);
        let stored = self.groups.last().map_or(0, |g| g.first.saturating_add(g.count));
        let sound = body.state.position == info.position
            && body.pages.is_sorted_by(|a, b| a.page < b.page)
            && body.pages.last().is_none_or(|p| u64::from(p.page) < pages)
            && body.pages.iter().all(|p| p.stored.is_none_or(|s| s.id < stored));
        if sound { Ok(body) } else { Err(bad("a checkpoint contradicts itself".to_owned())) }
    }

    /// Checkpoint `index` does not have its hash, although it was read without a fault.
    pub(crate) fn misplaced(&self, index: usize) -> Error {
        let what = "a checkpoint has not the hash that it should have: something before it is missing or out of place";
        self.source.damaged(self.checkpoints[index].1.offset, what)
    }

    /// What the steps of interval `index` touched.
    pub fn interval(&self, index: usize) -> Result<Interval, Error> {
        let (span, place) = self.intervals[index];
        self.touched(Kind::Interval, span, place, |head: Span| head)
    }

    /// What the steps of one of the recording's intervals, or of many together, touched.
    pub(crate) fn read_known(&self, known: Known) -> Result<Interval, Error> {
        match known.level {
            0 => self.interval(known.index),
            level => {
                let (span, place) = self.summaries[level - 1][known.index];
                self.touched(Kind::Summary, span, place, |head: SummaryHead| head.span)
            }
        }
    }

    fn touched<H: DeserializeOwned>(
        &self,
        kind: Kind,
        span: Span,
        place: Place,
        span_of: impl Fn(H) -> Span,
    ) -> Result<Interval, Error> {
        let bad = |what: String| self.source.damaged(place.offset, what);
        let payload = self.source.chunk(kind, place)?;
        let (head, packed) = format::split_head::<H>(&payload).map_err(bad)?;
        if span_of(head) != span {
            return Err(bad("it is of other steps than the index says".to_owned()));
        }
        let body = format::unpack(packed, MAX_PAYLOAD).map_err(bad)?;
        let body: IntervalBody = format::decode(&body).map_err(bad)?;
        Ok(body.unpacked(span))
    }

    /// Reads the whole file, checks every checksum in it, and takes apart all that it says.
    pub fn check(&self) -> Result<(), Error> {
        self.source.check_header()?;
        self.source.scan()?;
        let mut stored = BTreeSet::new();
        for index in 0..self.checkpoints.len() {
            stored.extend(self.read_checkpoint(index)?.pages.iter().filter_map(|p| p.stored));
        }
        // In the order in which they are stored, so that each group is read once.
        let mut reader = PageReader::default();
        for page in stored {
            reader.page(self, page)?;
        }
        for (level, spans) in std::iter::once(&self.intervals).chain(&self.summaries).enumerate() {
            for index in 0..spans.len() {
                self.read_known(Known { level, index })?;
            }
        }
        self.count_events()?;
        self.embeds(0).map(|_| ())
    }

    /// Number of the group that page `id` is in.
    fn group_of(&self, id: u32) -> Option<usize> {
        self.groups.partition_point(|g| g.first <= id).checked_sub(1)
    }

    fn read_group(&self, group: &PageGroup) -> Result<Unpacked, Error> {
        let bad = |what: String| self.source.damaged(group.place.offset, what);
        let payload = self.source.chunk(Kind::Pages, group.place)?;
        let count = group.count as usize;
        let (hashes, packed) = payload
            .split_at_checked(4 + count * 16)
            .filter(|(head, _)| head[..4] == group.count.to_le_bytes())
            .ok_or_else(|| bad("pages are missing".to_owned()))?;
        let bytes = format::unpack(packed, count * PAGE_SIZE).map_err(bad)?;
        let mut short = Vec::with_capacity(count);
        for (i, hash) in hashes[4..].chunks_exact(16).enumerate() {
            let actual = page_of(&bytes, i).and_then(page_hash);
            if actual.map(u128::to_le_bytes).as_ref().map(|h| h.as_slice()) != Some(hash) {
                return Err(bad("a page is not the one that was stored".to_owned()));
            }
            short.push(short_hash(actual));
        }
        Ok(Unpacked { bytes, hashes: short })
    }
}

/// A group of pages.
#[derive(Debug)]
struct Unpacked {
    bytes: Vec<u8>,
    /// The short hash of each page.
    hashes: Vec<u64>,
}

/// Reads pages of a recording and keeps the groups last used.
#[derive(Debug)]
pub(crate) struct PageReader {
    groups: HashMap<u32, (u64, Unpacked)>,
    clock: u64,
    /// Groups kept.
    most: usize,
}

impl Default for PageReader {
    fn default() -> PageReader {
        PageReader { groups: HashMap::new(), clock: 0, most: KEPT_BYTES / GROUP_BYTES }
    }
}

impl PageReader {
    /// Sets how many bytes may be kept; one group is in any case.
    pub(crate) fn set_kept_bytes(&mut self, bytes: usize) {
        self.most = (bytes / GROUP_BYTES).max(1);
        self.drop_oldest(self.most);
    }

    /// Unpacks what is needed for these pages, as much as may be kept, on several processors if it is much. What cannot be read is
    /// left out: it is an error when it is asked for. False: it was `interrupted`, which is asked every few milliseconds.
    pub(crate) fn prepare(
        &mut self,
        recording: &Recording,
        pages: impl Iterator<Item = StoredPage>,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> bool {
        let wanted: BTreeSet<usize> = pages.filter_map(|page| recording.group_of(page.id)).collect();
        self.clock += 1;
        let clock = self.clock;
        let mut missing = Vec::new();
        for group in wanted.into_iter().map(|i| recording.groups[i]) {
            match self.groups.get_mut(&group.first) {
                Some((used, _)) => *used = clock,
                None => missing.push(group),
            }
        }
        missing.truncate(self.most);
        self.drop_oldest(self.most - missing.len());
        let read = |part: &[PageGroup]| -> Vec<(u32, Unpacked)> {
            part.iter().filter_map(|g| Some((g.first, recording.read_group(g).ok()?))).collect()
        };
        // To ask how many there may be takes longer than a few groups.
        let threads = match missing.len() {
            ..=GROUPS_PER_THREAD => 1,
            _ => available_parallelism().map_or(1, NonZero::get),
        };
        for batch in missing.chunks(threads * GROUPS_PER_THREAD) {
            let unpacked: Vec<_> = thread::scope(|scope| {
                let (mine, theirs) = batch.split_at(batch.len().min(GROUPS_PER_THREAD));
                let running: Vec<_> =
                    theirs.chunks(GROUPS_PER_THREAD).map(|part| scope.spawn(move || read(part))).collect();
                let mine = read(mine);
                running.into_iter().filter_map(|thread| thread.join().ok()).flatten().chain(mine).collect()
            });
            self.groups.extend(unpacked.into_iter().map(|(first, unpacked)| (first, (clock, unpacked))));
            if interrupted() {
                return false;
            }
        }
        true
    }

    /// A page of `recording` (always the same one), which must be the one that is meant.
    pub(crate) fn page(&mut self, recording: &Recording, page: StoredPage) -> Result<&PageBytes, Error> {
        let StoredPage { id, hash } = page;
        let missing = || recording.source.damaged(recording.source.size, format!("page {id} is missing"));
        let group = recording.group_of(id).map(|i| &recording.groups[i]).ok_or_else(missing)?;
        self.clock += 1;
        if !self.groups.contains_key(&group.first) {
            self.drop_oldest(self.most - 1);
            self.groups.insert(group.first, (0, recording.read_group(group)?));
        }
        let (used, unpacked) = self.groups.get_mut(&group.first).ok_or_else(missing)?;
        *used = self.clock;
        let index = (id - group.first) as usize;
        if unpacked.hashes.get(index) != Some(&hash) {
            let what = format!("page {id} is not the one that a checkpoint means");
            return Err(recording.source.damaged(group.place.offset, what));
        }
        page_of(&unpacked.bytes, index).ok_or_else(missing)
    }

    /// Drops the groups used longest ago until at most `most` are left.
    fn drop_oldest(&mut self, most: usize) {
        let excess = self.groups.len().saturating_sub(most);
        if excess > 0 {
            let mut by_age: Vec<(u64, u32)> =
                self.groups.iter().map(|(first, (used, _))| (*used, *first)).collect();
            by_age.select_nth_unstable(excess - 1);
            by_age[..excess].iter().for_each(|(_, first)| drop(self.groups.remove(first)));
        }
    }
}
