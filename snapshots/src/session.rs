//! A session: one machine that follows a recording.

/// One machine at one position of a recording.
pub struct Session {}
