//! Images of media: files of the host that are read, and pages in a recording.

mod file;

pub use file::{Image, ImageError, ReadFile};

use std::sync::Arc;
use vm::BlockSource;

/// Something that can be read by several machines.
pub trait SharedSource: BlockSource + Send + Sync {}

impl<T: BlockSource + Send + Sync> SharedSource for T {}

/// One machine's hold on a shared image.
#[derive(Clone, Debug)]
pub struct Shared(pub Arc<dyn SharedSource>);

impl BlockSource for Shared {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<()> {
        self.0.read_at(offset, buf)
    }
}
