//! `cmdLine`: what a shell would make of spellings such as `c^m"d` or `cat , /etc/passwd`.

use std::borrow::Cow;

use super::settle;

/// Deletes quotes, backslashes and carets; turns commas, semicolons and whitespace into one space; no space before `/`
/// or `(`; lower case.
pub(super) fn apply(value: &[u8]) -> Cow<'_, [u8]> {
    let mut out = Vec::with_capacity(value.len());
    let mut spaced = false;
    for &byte in value {
        match byte {
            b'"' | b'\'' | b'\\' | b'^' => {}
            b' ' | b'\t'..=b'\r' | b',' | b';' => {
                if !spaced {
                    out.push(b' ');
                }
                spaced = true;
            }
            b'/' | b'(' => {
                if spaced {
                    out.pop();
                }
                out.push(byte);
                spaced = false;
            }
            _ => {
                out.push(byte.to_ascii_lowercase());
                spaced = false;
            }
        }
    }
    settle(value, out)
}
