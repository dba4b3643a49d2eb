#![no_main]
//! Fuzzes `targets/plain.rs`.

#[path = "../targets/plain.rs"]
mod plain;

libfuzzer_sys::fuzz_target!(|data: &[u8]| plain::run(data));
