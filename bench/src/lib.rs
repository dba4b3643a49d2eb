//! Pieces that the benchmark programs share.

pub mod cpu;
pub mod wire;
