//! Recordings, checkpoints and the timeline.
//!
//! A [`Recorder`] runs a machine and writes a recording; a [`Recording`] is an opened file; a [`Session`] is one machine
//! following a recording; a [`Timeline`] is a session plus checkpoints, breakpoints and seeking. This crate knows no
//! socket and no debugger.

pub mod recorder;
pub mod recording;
pub mod session;
pub mod timeline;

pub use recorder::{EndReason, Recorder, RecorderOptions};
pub use recording::{Error, Recording};
pub use session::Session;
pub use timeline::{Direction, Stop, Timeline, Watch};
