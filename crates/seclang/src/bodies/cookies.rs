//! The `Cookie` header: pairs between semicolons, trimmed, never decoded.
//!
//! It does not know quotes: servers that do end a cookie elsewhere, servers that do not see what is reported here.

use std::ops::Range;

use memchr::{memchr, memchr_iter};

/// Finds the name and the value of each cookie. A cookie without `=` has an empty value, one that is empty is skipped.
pub fn cookies(header: &[u8], sink: &mut dyn FnMut(Range<usize>, Range<usize>)) {
    let mut start = 0;
    for end in memchr_iter(b';', header).chain([header.len()]) {
        let at = trim(header, start..end);
        start = end + 1;
        let text = header.get(at.clone()).unwrap_or_default();
        match memchr(b'=', text) {
            Some(equals) => {
                let equals = at.start + equals;
                sink(trim(header, at.start..equals), trim(header, equals + 1..at.end));
            }
            None if text.is_empty() => {}
            None => sink(at.clone(), at.end..at.end),
        }
    }
}

fn trim(header: &[u8], at: Range<usize>) -> Range<usize> {
    let text = header.get(at.clone()).unwrap_or_default();
    let before = text.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    let behind = text.iter().skip(before).rev().take_while(|byte| byte.is_ascii_whitespace()).count();
    at.start + before..at.end - behind
}
