#![no_main]
//! Fuzzes `targets/seclang_parse.rs`.

#[path = "../targets/seclang_parse.rs"]
mod seclang_parse;

libfuzzer_sys::fuzz_target!(|data: &[u8]| seclang_parse::run(data));
