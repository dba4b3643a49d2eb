#![no_main]
//! Fuzzes `targets/rows.rs`.

#[path = "../targets/rows.rs"]
mod rows;

libfuzzer_sys::fuzz_target!(|data: &[u8]| rows::run(data));
