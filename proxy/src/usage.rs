//! Errors of whoever wrote the command line.

use thiserror::Error;

/// Something given on the command line cannot be used: an option, or a file that one names. Status 2.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct Usage(pub String);
