#![no_main]
//! Fuzzes `targets/chat.rs`.

#[path = "../targets/chat.rs"]
mod chat;

libfuzzer_sys::fuzz_target!(|data: &[u8]| chat::run(data));
