//! Any bytes as a plain body, for models of pictures, of texts, and of several inputs; then their contracts.

/// What is taken is strict JSON, and its shapes tell the number of its elements.
pub(crate) fn run(data: &[u8]) {
    tollgate_layers::parse::fuzz_plain(data);
}
