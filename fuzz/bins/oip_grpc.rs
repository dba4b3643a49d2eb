#![no_main]
//! Fuzzes `targets/oip_grpc.rs`.

#[path = "../targets/oip_grpc.rs"]
mod oip_grpc;

libfuzzer_sys::fuzz_target!(|data: &[u8]| oip_grpc::run(data));
