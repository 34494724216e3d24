//! The reader of qcow2 images: an image without others below it, of which some places are read.
#![no_main]

use snapshots::image::Qcow2;
use std::sync::Arc;
use vm::BlockSource;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Ok(image) = Qcow2::open(Arc::new(input.to_vec()), input.len() as u64) else { return };
    let mut buf = [0; 1024];
    for part in 0..64 {
        // An error is an answer too.
        let _ = image.read_at(image.bytes() / 64 * part, &mut buf);
    }
});
