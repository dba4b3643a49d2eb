#![no_main]
//! Fuzzes `targets/intake_decode.rs`.

#[path = "../targets/intake_decode.rs"]
mod intake_decode;

libfuzzer_sys::fuzz_target!(|data: &[u8]| intake_decode::run(data));
