//! `removeNulls` and `replaceNulls`.

use std::borrow::Cow;

use super::delete_bytes;

pub(super) fn remove(value: &[u8]) -> Cow<'_, [u8]> {
    delete_bytes(value, |byte| byte == 0)
}

/// A null becomes a space.
pub(super) const fn replaced(byte: u8) -> u8 {
    if byte == 0 { b' ' } else { byte }
}
