#![no_main]
//! Fuzzes `targets/seclang_transform.rs`.

#[path = "../targets/seclang_transform.rs"]
mod seclang_transform;

libfuzzer_sys::fuzz_target!(|data: &[u8]| seclang_transform::run(data));
