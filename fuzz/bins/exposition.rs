#![no_main]
//! Fuzzes `targets/exposition.rs`.

#[path = "../targets/exposition.rs"]
mod exposition;

libfuzzer_sys::fuzz_target!(|data: &[u8]| exposition::run(data));
