//! `compressWhitespace`, `removeWhitespace` and the trims.

use std::borrow::Cow;

use super::{delete_bytes, is_space, settle};

/// Every run of whitespace becomes one space. Of ASCII only: A0 is also the end of an accented letter in UTF-8.
pub(super) fn compress(value: &[u8]) -> Cow<'_, [u8]> {
    let mut out = Vec::with_capacity(value.len());
    let mut spaced = false;
    for &byte in value {
        let space = is_space(byte);
        if !space {
            out.push(byte);
        } else if !spaced {
            out.push(b' ');
        }
        spaced = space;
    }
    settle(value, out)
}

/// Deletes whitespace and the bytes of a no-break space in UTF-8.
pub(super) fn remove(value: &[u8]) -> Cow<'_, [u8]> {
    delete_bytes(value, |byte| is_space(byte) || matches!(byte, 0xa0 | 0xc2))
}

pub(super) fn trim_left(value: &[u8]) -> &[u8] {
    let kept = value.iter().position(|&byte| !is_space(byte)).unwrap_or(value.len());
    value.get(kept..).unwrap_or_default()
}

pub(super) fn trim_right(value: &[u8]) -> &[u8] {
    let kept = value.iter().rposition(|&byte| !is_space(byte)).map_or(0, |last| last + 1);
    value.get(..kept).unwrap_or_default()
}
