#![no_main]
//! Fuzzes `targets/oip_binary.rs`.

#[path = "../targets/oip_binary.rs"]
mod oip_binary;

libfuzzer_sys::fuzz_target!(|data: &[u8]| oip_binary::run(data));
