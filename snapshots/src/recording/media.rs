//! Where the contents of a recording's media come from: the recording itself, or files of the host that must be those that
//! were recorded.

use super::format::{self, Kind, MAX_PAYLOAD, Place, StoredPage};
use super::{Error, PageReader, Recording, Writer};
use crate::image::Image;
use crate::pages::PageBytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use vm::{BlockSource, Medium, PAGE_SIZE};

/// Pages of a medium in one chunk.
const MOST_PAGES: usize = 1 << 16;

/// Pages of a medium that are in the recording.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MediumPages {
    medium: usize,
    /// Number of the first page.
    first: u64,
    /// What each page holds; `None` for zeros.
    pages: Vec<Option<StoredPage>>,
}

/// By number of the medium.
type Embeddings = BTreeMap<usize, Vec<Option<StoredPage>>>;

/// What a recording has of its media.
#[derive(Debug, Default)]
pub(super) struct Media {
    /// Where it says which stored pages those that are in the recording are.
    places: Vec<Place>,
    /// Of media that are in the recording, each page from the first on; read when it is needed.
    embedded: OnceLock<Embeddings>,
    /// Files to take instead of those that were recorded.
    moved: Vec<(String, PathBuf)>,
    /// Images that were opened and are the right ones.
    opened: Mutex<BTreeMap<usize, Image>>,
}

impl Media {
    /// Takes in a chunk.
    pub(super) fn add(&mut self, place: Place) {
        self.places.push(place);
    }
}

impl Writer {
    /// Stores what medium `number` holds.
    pub(crate) fn medium(
        &mut self,
        number: usize,
        bytes: u64,
        source: &dyn BlockSource,
    ) -> Result<(), Error> {
        let total = bytes.div_ceil(PAGE_SIZE as u64);
        let mut first = 0;
        while first < total {
            let count = (total - first).min(MOST_PAGES as u64);
            let mut pages = Vec::with_capacity(count as usize);
            // A few at a time, so that memory stays bounded.
            for group in (first..first + count).step_by(format::GROUP_PAGES) {
                let end = (group + format::GROUP_PAGES as u64).min(first + count);
                let mut contents = Vec::with_capacity(format::GROUP_PAGES);
                for page in group..end {
                    let mut bytes: Box<PageBytes> = Box::new([0; PAGE_SIZE]);
                    source
                        .read_at(page * PAGE_SIZE as u64, &mut *bytes)
                        .map_err(|e| self.unrecordable(e.to_string()))?;
                    contents.push(bytes);
                }
                pages.extend(self.pages(contents.iter().map(|bytes| &**bytes))?);
            }
            self.medium_pages(&MediumPages { medium: number, first, pages })?;
            first += count;
        }
        Ok(())
    }
}

impl Recording {
    /// Files to take instead of those that the recording names: (name there, file).
    pub fn move_media(&mut self, moved: Vec<(String, PathBuf)>) {
        self.media.moved = moved;
    }

    /// Whether medium `number` is in the recording.
    pub fn embeds(&self, number: usize) -> Result<bool, Error> {
        Ok(self.embedded()?.contains_key(&number))
    }

    fn embedded(&self) -> Result<&Embeddings, Error> {
        if let Some(known) = self.media.embedded.get() {
            return Ok(known);
        }
        let mut all = Embeddings::new();
        for place in &self.media.places {
            let bad = |what: String| self.source.damaged(place.offset, what);
            let packed = self.source.chunk(Kind::Medium, *place)?;
            let some = format::unpack(&packed, MAX_PAYLOAD).and_then(|bytes| format::decode(&bytes));
            let some: MediumPages = some.map_err(bad)?;
            let pages = all.entry(some.medium).or_default();
            if some.first != pages.len() as u64 {
                return Err(bad("the pages of a medium are out of order".to_owned()));
            }
            pages.extend(some.pages);
        }
        Ok(self.media.embedded.get_or_init(|| all))
    }

    /// The contents of all media, for a machine.
    ///
    /// # Errors
    /// If a file that is needed is missing or is not what was recorded.
    pub fn open_media(self: &Arc<Recording>) -> Result<Vec<Box<dyn BlockSource>>, Error> {
        let all = self.config().media.iter().enumerate();
        all.map(|(number, medium)| {
            if self.embeds(number)? {
                let reader = Mutex::default();
                return Ok(
                    Box::new(Embedded { recording: self.clone(), number, reader }) as Box<dyn BlockSource>
                );
            }
            Ok(Box::new(self.open_image(number, medium)?.share()) as Box<dyn BlockSource>)
        })
        .collect()
    }

    fn open_image(&self, number: usize, medium: &Medium) -> Result<Image, Error> {
        let Ok(mut opened) = self.media.opened.lock() else {
            return Err(self.medium_error(medium, "lost".into()));
        };
        if let Some(image) = opened.get(&number) {
            return Ok(image.clone());
        }
        let image = self.find_image(medium).map_err(|what| self.medium_error(medium, what))?;
        opened.insert(number, image.clone());
        Ok(image)
    }

    /// The image where the user says it is, where it was, or beside the recording.
    fn find_image(&self, medium: &Medium) -> Result<Image, String> {
        let moved = self.media.moved.iter().find(|(old, _)| *old == medium.name);
        if let Some((_, new)) = moved {
            return check(new, medium);
        }
        let named = Path::new(&medium.name);
        let first = check(named, medium);
        let beside = named.file_name().and_then(|name| Some(self.path().parent()?.join(name)));
        match (first, beside) {
            (Err(what), Some(beside)) if beside != named && beside.exists() => {
                check(&beside, medium).map_err(|other| format!("{what}; {other}"))
            }
            (first, _) => first,
        }
    }

    fn medium_error(&self, medium: &Medium, what: String) -> Error {
        Error::Medium { path: self.path().to_owned(), name: medium.name.clone(), what }
    }

    /// The contents of page `page` of an embedded medium.
    fn medium_page(&self, number: usize, page: u64) -> Option<StoredPage> {
        let pages = self.media.embedded.get()?.get(&number)?;
        *pages.get(usize::try_from(page).ok()?)?
    }
}

/// Opens the file and compares it with what was recorded.
fn check(path: &Path, medium: &Medium) -> Result<Image, String> {
    let image = Image::open(path).map_err(|e| e.to_string())?;
    if image.bytes() != medium.bytes {
        return Err(format!(
            "{}: it has {} bytes instead of {}",
            path.display(),
            image.bytes(),
            medium.bytes
        ));
    }
    let hash = image.hash(&mut |_| ()).map_err(|e| e.to_string())?;
    if hash != medium.hash {
        let (is, was) = (hash, medium.hash);
        return Err(format!(
            "{}: its contents have changed (hash {is:032x} instead of {was:032x})",
            path.display()
        ));
    }
    Ok(image)
}

/// A medium that is in its recording.
#[derive(Debug)]
struct Embedded {
    recording: Arc<Recording>,
    number: usize,
    reader: Mutex<PageReader>,
}

impl BlockSource for Embedded {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<()> {
        let mut reader = self.reader.lock().map_err(|_| std::io::Error::other("a reader panicked"))?;
        let mut done = 0;
        while done < buf.len() {
            let at = offset.saturating_add(done as u64);
            let within = (at % PAGE_SIZE as u64) as usize;
            let len = (PAGE_SIZE - within).min(buf.len() - done);
            let out = &mut buf[done..done + len];
            match self.recording.medium_page(self.number, at / PAGE_SIZE as u64) {
                Some(stored) => {
                    let page = reader.page(&self.recording, stored).map_err(std::io::Error::other)?;
                    out.copy_from_slice(&page[within..within + len]);
                }
                None => out.fill(0),
            }
            done += len;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Toy;
    use crate::{EndReason, Recorder, RecorderOptions, Replayer};
    use vm::MachineConfig;

    /// A recording of nothing with one medium, in `dir`.
    fn recorded(dir: &Path, contents: &[u8], embed: bool) -> Recording {
        let image = dir.join("disk.img");
        std::fs::write(&image, contents).unwrap();
        let image = Image::open(&image).unwrap();
        let medium = Medium {
            name: image.path().display().to_string(),
            bytes: image.bytes(),
            hash: image.hash(&mut |_| ()).unwrap(),
            read_only: false,
        };
        let config = MachineConfig { media: vec![medium], ..crate::fake::config() };
        let embed = if embed { vec![(0, image.share())] } else { Vec::new() };
        let toy = Toy::with_media(&config, Vec::new()).unwrap();
        let path = dir.join("recording");
        let options = RecorderOptions { embed, ..Default::default() };
        Recorder::create(&path, false, toy, options).unwrap().finish(EndReason::PowerOff).unwrap();
        Recording::open(&path).unwrap()
    }

    fn read(recording: Recording, offset: u64, buf: &mut [u8]) {
        Arc::new(recording).open_media().unwrap()[0].read_at(offset, buf).unwrap();
    }

    #[test]
    fn an_embedded_image_is_not_needed_any_more() {
        let dir = tempfile::tempdir().unwrap();
        let contents: Vec<u8> = (0..300_000u32).map(|i| (i / 8192) as u8).collect();
        let recording = recorded(dir.path(), &contents, true);
        assert!(recording.embeds(0).unwrap());
        // Most pages are equal to others.
        assert!(recording.bytes() < 100_000);
        std::fs::remove_file(dir.path().join("disk.img")).unwrap();
        let mut buf = vec![0xff; 10_000];
        read(recording, 292_000, &mut buf);
        assert_eq!(buf[..8000], contents[292_000..]);
        assert!(buf[8000..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn an_image_that_changed_or_is_missing_is_refused_until_the_right_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Recording::open(&dir.path().join("recording")).unwrap();
        let mut buf = [0; 4];
        read(recorded(dir.path(), &[5; 5000], false), 10, &mut buf);
        assert_eq!(buf, [5; 4]);
        let image = dir.path().join("disk.img");
        for (contents, says) in [(&[6; 5000][..], "changed"), (&[5; 4000], "4000 bytes instead of 5000")] {
            std::fs::write(&image, contents).unwrap();
            let error = Arc::new(open()).open_media().unwrap_err().to_string();
            assert!(error.contains(says) && error.contains("--media"), "{error}");
        }
        std::fs::remove_file(&image).unwrap();
        let error = Arc::new(open()).open_media().unwrap_err().to_string();
        assert!(error.contains("disk.img"), "{error}");
        let elsewhere = dir.path().join("moved.img");
        std::fs::write(&elsewhere, [5; 5000]).unwrap();
        let mut moved = open();
        moved.move_media(vec![(image.display().to_string(), elsewhere)]);
        read(moved, 10, &mut buf);
    }
}
