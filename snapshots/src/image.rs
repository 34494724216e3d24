//! Images of media: files of the host that are read, raw or qcow2, and pages in a recording.

mod file;
mod qcow2;

pub use file::{Image, ImageError, ReadFile};
pub use qcow2::Qcow2;

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
