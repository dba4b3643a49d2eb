//! Tests of the loader as a whole, on a small configuration type that holds every construct a real one uses.

mod agreement;
mod cases;
mod good;
mod hostile;
mod sample;
mod schemas;
