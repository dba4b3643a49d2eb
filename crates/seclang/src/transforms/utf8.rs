//! `utf8toUnicode`: UTF-8 spelled as `%uhhhh`.

use std::borrow::Cow;
use std::io::Write;

use super::settle;

/// Sequences of two to four bytes become `%u` and at least four digits; ASCII and bytes that are not UTF-8 stay.
pub(super) fn apply(value: &[u8]) -> Cow<'_, [u8]> {
    if value.is_ascii() {
        return Cow::Borrowed(value);
    }
    let mut out = Vec::with_capacity(value.len() * 2);
    for chunk in value.utf8_chunks() {
        for char in chunk.valid().chars() {
            match u8::try_from(char) {
                Ok(byte @ 0..=0x7f) => out.push(byte),
                _ => write!(out, "%u{:04x}", u32::from(char)).expect("writing to memory does not fail"),
            }
        }
        out.extend_from_slice(chunk.invalid());
    }
    settle(value, out)
}
