//! Proves the engine `seclang`: reads the Core Rule Set's regression tests and our own suites, builds their requests byte
//! for byte, runs them without a socket, and judges what the rules found. Used by tests, fuzz targets and benchmarks;
//! never in the product.

pub mod base64;
pub mod cases;
pub mod exchange;
pub mod folder;
pub mod form;
pub mod front;
pub mod judge;
pub mod mutants;
pub mod pages;
pub mod reflect;
pub mod rules;
pub mod shapes;
pub mod suites;
pub mod wire;
