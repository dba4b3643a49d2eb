//! Pieces that the benchmark programs share.

pub mod wire;
