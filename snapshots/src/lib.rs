//! Recordings, checkpoints and the timeline.
