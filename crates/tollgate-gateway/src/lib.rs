//! The gateway: the only crate that knows sockets.

pub mod config;
pub mod listen;
pub mod tick;
