//! What a guest may do to a CD-ROM drive: see `vm::board::feed`.
#![no_main]

use vm::board::feed::{Fed, feed};

libfuzzer_sys::fuzz_target!(|input: &[u8]| feed(Fed::Cd, input));
