//! Opening recordings with errors that name the file.

use crate::cli::MediaArgs;
use crate::place::Bounds;
use crate::usage::Usage;
use anyhow::{Context, Result};
use snapshots::Recording;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

/// The recording in a file, and the file's name as the user gave it.
pub fn recording(path: &Path, media: &MediaArgs) -> Result<(String, Arc<Recording>)> {
    let name = path.display().to_string();
    // The error names the file.
    let mut recording = Recording::open(path).context("cannot open the recording")?;
    if let Some((old, _)) =
        media.media.iter().find(|(old, _)| recording.config().media.iter().all(|m| m.name != *old))
    {
        return Err(Usage(format!("--media: {name} has no image {old}")).into());
    }
    recording.move_media(media.media.clone());
    Ok((name, Arc::new(recording)))
}

/// What places in a recording are looked up in.
pub fn bounds(recording: &Recording) -> Bounds {
    Bounds { start: recording.start(), end: recording.end(), end_time: recording.end_time() }
}

/// Whether two names mean one file, which need not be there yet.
pub fn is_same_file(a: &Path, b: &Path) -> bool {
    match (std::fs::metadata(a), std::fs::metadata(b)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        (Err(_), Err(_)) => std::path::absolute(a).ok() == std::path::absolute(b).ok(),
        _ => false,
    }
}
