//! Opening recordings with errors that name the file.

use anyhow::{Context, Result};
use snapshots::Recording;
use std::path::Path;
use std::sync::Arc;

/// The recording in a file, and the file's name as the user gave it.
pub fn recording(path: &Path) -> Result<(String, Arc<Recording>)> {
    let name = path.display().to_string();
    // The error names the file.
    let recording = Recording::open(path).context("cannot open the recording")?;
    Ok((name, Arc::new(recording)))
}
