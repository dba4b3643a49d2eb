//! The gateway: the only crate that knows sockets.

pub mod config;
