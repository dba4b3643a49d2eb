#![no_main]
//! Fuzzes `targets/certificate.rs`.

#[path = "../targets/certificate.rs"]
mod certificate;

libfuzzer_sys::fuzz_target!(|data: &[u8]| certificate::run(data));
