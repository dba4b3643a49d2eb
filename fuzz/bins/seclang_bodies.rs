#![no_main]
//! Fuzzes `targets/seclang_bodies.rs`.

#[path = "../targets/seclang_bodies.rs"]
mod seclang_bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| seclang_bodies::run(data));
