#![no_main]
//! Fuzzes `targets/oip_contract.rs`.

#[path = "../targets/oip_contract.rs"]
mod oip_contract;

libfuzzer_sys::fuzz_target!(|data: &[u8]| oip_contract::run(data));
