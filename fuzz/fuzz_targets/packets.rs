//! What a debugger may send: see `proxy::gdb::feed` for the form of the input.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| proxy::gdb::feed::feed(input));
