#![no_main]
//! Fuzzes `targets/strict_head.rs`.

#[path = "../targets/strict_head.rs"]
mod strict_head;

libfuzzer_sys::fuzz_target!(|data: &[u8]| strict_head::run(data));
