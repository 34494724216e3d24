//! Opening recordings with errors that name the file.

use anyhow::{Context, Result};
use snapshots::Recording;
use std::path::Path;
use std::sync::Arc;

/// The recording in a file, and the file's name as the user gave it.
pub fn recording(path: &Path) -> Result<(String, Arc<Recording>)> {
    let name = path.display().to_string();
    let recording = Recording::open(path).with_context(|| format!("cannot open the recording {name}"))?;
    Ok((name, Arc::new(recording)))
}
