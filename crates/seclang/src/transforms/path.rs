//! `normalizePath` and `normalizePathWin`: one spelling for each path.

use std::borrow::Cow;

use super::{map_bytes, settle};

/// Repeated slashes, self references and back references go. Nothing climbs above the root; back references that lead a
/// relative path stay, and so does a trailing slash.
pub(super) fn apply(value: &[u8]) -> Cow<'_, [u8]> {
    if value.is_empty() { Cow::Borrowed(value) } else { settle(value, normalize(value)) }
}

/// The same with backslashes for slashes.
pub(super) fn apply_win(value: &[u8]) -> Cow<'_, [u8]> {
    match map_bytes(value, |byte| if byte == b'\\' { b'/' } else { byte }) {
        Cow::Borrowed(value) => apply(value),
        Cow::Owned(slashed) => {
            let out = normalize(&slashed);
            settle(value, out)
        }
    }
}

fn normalize(value: &[u8]) -> Vec<u8> {
    let absolute = value.first() == Some(&b'/');
    let mut out = Vec::with_capacity(value.len());
    if absolute {
        out.push(b'/');
    }
    // What back references cannot take away: the root, or the back references that lead a relative path.
    let mut floor = out.len();
    for segment in value.split(|&byte| byte == b'/') {
        match segment {
            b"" | b"." => {}
            b".." if out.len() > floor => {
                let kept = out.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
                out.truncate(kept.max(floor));
            }
            b".." if absolute => {}
            _ => {
                if out.last().is_some_and(|&byte| byte != b'/') {
                    out.push(b'/');
                }
                out.extend_from_slice(segment);
                if segment == b".." {
                    floor = out.len();
                }
            }
        }
    }
    if value.last() == Some(&b'/') && out.last().is_some_and(|&byte| byte != b'/') {
        out.push(b'/');
    }
    out
}
