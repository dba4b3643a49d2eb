//! Pieces that the benchmark programs share.
