#![no_main]
//! Fuzzes `targets/json.rs`.

#[path = "../targets/json.rs"]
mod json;

libfuzzer_sys::fuzz_target!(|data: &[u8]| json::run(data));
