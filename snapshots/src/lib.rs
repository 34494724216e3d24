//! Recordings, checkpoints and the timeline.
//!
//! A [`Recorder`] runs a machine and writes a recording; a [`Recording`] is an opened file; a [`Session`] is one machine
//! following a recording; a [`Timeline`] is a session plus checkpoints, breakpoints and seeking. This crate knows no
//! socket and no debugger.

mod branch;
mod checkpointer;
pub mod condition;
pub mod diff;
#[cfg(test)]
mod fake;
pub mod image;
pub mod mismatch;
pub mod narrow;
mod pages;
pub mod recorder;
pub mod recording;
pub mod replayer;
pub mod session;
mod spacing;
pub mod timeline;
pub mod trim;
pub mod verify;

pub use condition::Condition;
pub use diff::{Difference, diff};
pub use image::{Image, ImageError, Shared};
pub use recorder::{EndReason, Recorder, RecorderOptions};
pub use recording::{Error, Recording};
pub use replayer::Replayer;
pub use session::Session;
pub use timeline::diversion::Chips;
pub use timeline::questions::{Answer, Count, Met};
pub use timeline::{Direction, Stop, Timeline, Watch, watched};
pub use trim::trim;
pub use verify::{VerifyReport, replay, verify};
