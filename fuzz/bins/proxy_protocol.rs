#![no_main]
//! Fuzzes `targets/proxy_protocol.rs`.

#[path = "../targets/proxy_protocol.rs"]
mod proxy_protocol;

libfuzzer_sys::fuzz_target!(|data: &[u8]| proxy_protocol::run(data));
