#![no_main]
//! Fuzzes `targets/seclang_run.rs`.

#[path = "../targets/seclang_run.rs"]
mod seclang_run;

libfuzzer_sys::fuzz_target!(|data: &[u8]| seclang_run::run(data));
