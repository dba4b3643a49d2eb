#![no_main]
//! Fuzzes `targets/media.rs`.

#[path = "../targets/media.rs"]
mod media;

libfuzzer_sys::fuzz_target!(|data: &[u8]| media::run(data));
