//! `replaceComments`, `removeComments` and `removeCommentsChar`: comments of C, SQL and HTML.

use std::borrow::Cow;

use memchr::memmem;

use super::{rewrite, settle};

/// A C comment becomes one space, also one without an end; a stray `*/` stays.
pub(super) fn replace(value: &[u8]) -> Cow<'_, [u8]> {
    rewrite(
        value,
        |byte| byte == b'/',
        |rest, out| match rest {
            [b'/', b'*', inside @ ..] => {
                out.push(b' ');
                behind(inside, b"*/")
            }
            [byte, rest @ ..] => {
                out.push(*byte);
                rest
            }
            [] => rest,
        },
    )
}

/// The characters that begin or end comments go, what stands between stays.
pub(super) fn remove_char(value: &[u8]) -> Cow<'_, [u8]> {
    rewrite(
        value,
        |byte| matches!(byte, b'/' | b'*' | b'-' | b'#' | b'<'),
        |rest, out| match rest {
            [b'<', b'!', b'-', b'-', rest @ ..]
            | [b'-', b'-', b'>', rest @ ..]
            | [b'/', b'*', rest @ ..]
            | [b'*', b'/', rest @ ..]
            | [b'-', b'-', rest @ ..]
            | [b'#', rest @ ..] => rest,
            [byte, rest @ ..] => {
                out.push(*byte);
                rest
            }
            [] => rest,
        },
    )
}

/// Comments of C and HTML go whole; `--` and `#` end the value. What is cut off without an end leaves a space.
pub(super) fn remove(value: &[u8]) -> Cow<'_, [u8]> {
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value;
    loop {
        rest = match rest {
            [b'/', b'*', inside @ ..] => match memmem::find(inside, b"*/") {
                Some(at) => inside.get(at + 2..).unwrap_or_default(),
                None => return cut_off(out),
            },
            [b'<', b'!', b'-', b'-', inside @ ..] => match memmem::find(inside, b"-->") {
                Some(at) => inside.get(at + 3..).unwrap_or_default(),
                None => return cut_off(out),
            },
            [b'-', b'-', ..] | [b'#', ..] => return cut_off(out),
            [byte, rest @ ..] => {
                out.push(*byte);
                rest
            }
            [] => return settle(value, out),
        };
    }
}

fn cut_off<'a>(mut out: Vec<u8>) -> Cow<'a, [u8]> {
    out.push(b' ');
    Cow::Owned(out)
}

/// What follows the first `end`, or nothing.
fn behind<'a>(text: &'a [u8], end: &[u8]) -> &'a [u8] {
    memmem::find(text, end).and_then(|at| text.get(at + end.len()..)).unwrap_or_default()
}
