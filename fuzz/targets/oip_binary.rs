//! Any bytes as a body of JSON and binary tensors.

use tollgate_layers::parse::fuzz_oip_binary;

/// What is taken has as many values as its shapes say, and they stand where it says.
pub(crate) fn run(data: &[u8]) {
    fuzz_oip_binary(data);
}
