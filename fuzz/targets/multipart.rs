//! Any bytes as a body of `multipart/form-data`, whose boundary is its first line.

/// Parts that are taken come in order, inside the body, and hold no boundary.
pub(crate) fn run(data: &[u8]) {
    tollgate_layers::protocol::multipart::fuzz_multipart(data);
}
