#![no_main]
//! Fuzzes `targets/token.rs`.

#[path = "../targets/token.rs"]
mod token;

libfuzzer_sys::fuzz_target!(|data: &[u8]| token::run(data));
