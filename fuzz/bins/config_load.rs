#![no_main]
//! Fuzzes `targets/config_load.rs`.

#[path = "../targets/config_load.rs"]
mod config_load;

libfuzzer_sys::fuzz_target!(|data: &[u8]| config_load::run(data));
