//! `length`: the number of bytes, in decimal digits.

pub(super) fn apply(value: &[u8]) -> Vec<u8> {
    value.len().to_string().into_bytes()
}
