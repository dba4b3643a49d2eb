#![no_main]
//! Fuzzes `targets/multipart.rs`.

#[path = "../targets/multipart.rs"]
mod multipart;

libfuzzer_sys::fuzz_target!(|data: &[u8]| multipart::run(data));
