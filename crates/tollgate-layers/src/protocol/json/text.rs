//! Strings of JSON: where they end, and what they say once their escapes are resolved.

use super::{Malformed, What};

/// Finds the closing quote of the string whose first byte is at `from`, and whether it holds an escape.
pub(super) fn end(text: &str, from: usize) -> Result<(usize, bool), Malformed> {
    let bytes = text.as_bytes();
    let mut at = from;
    let mut escaped = false;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let Some(plain) = memchr::memchr2(b'"', b'\\', rest) else {
            return Err(Malformed::new(What::End, bytes.len()));
        };
        let run = rest.get(..plain).unwrap_or_default();
        // The fold without an early end is what the compiler turns into vector instructions.
        if run.iter().fold(false, |control, byte| control | (*byte < 0x20)) {
            let place = run.iter().position(|byte| *byte < 0x20).unwrap_or(0);
            return Err(Malformed::new(What::Control, at + place));
        }
        at += plain;
        if bytes.get(at) == Some(&b'"') {
            return Ok((at, escaped));
        }
        escaped = true;
        let (_, width) = escape(bytes, at).ok_or(Malformed::new(What::Escape, at))?;
        at += width;
    }
}

/// Resolves the escapes of a string that [`end`] has passed over.
pub(super) fn decode(raw: &str) -> String {
    let mut decoded = String::with_capacity(raw.len());
    let mut at = 0;
    while let Some(rest) = raw.get(at..) {
        let Some(plain) = memchr::memchr(b'\\', rest.as_bytes()) else {
            decoded.push_str(rest);
            break;
        };
        decoded.push_str(rest.get(..plain).unwrap_or_default());
        let Some((letter, width)) = escape(raw.as_bytes(), at + plain) else { break };
        decoded.push(letter);
        at += plain + width;
    }
    decoded
}

/// The character of the escape that begins at `at`, and how many bytes it takes; `None` where it is none.
fn escape(bytes: &[u8], at: usize) -> Option<(char, usize)> {
    let letter = match bytes.get(at + 1)? {
        b'"' => '"',
        b'/' => '/',
        b'\\' => '\\',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unicode(bytes, at),
        _ => return None,
    };
    Some((letter, 2))
}

/// `\uXXXX`, or a surrogate pair of two; half a pair is none.
fn unicode(bytes: &[u8], at: usize) -> Option<(char, usize)> {
    let first = hex(bytes, at + 2)?;
    if !(0xD800..0xE000).contains(&first) {
        return Some((char::from_u32(first)?, 6));
    }
    if first >= 0xDC00 || bytes.get(at + 6..at + 8)? != b"\\u" {
        return None;
    }
    let second = hex(bytes, at + 8)?;
    if !(0xDC00..0xE000).contains(&second) {
        return None;
    }
    let letter = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
    Some((char::from_u32(letter)?, 12))
}

fn hex(bytes: &[u8], at: usize) -> Option<u32> {
    let digits = bytes.get(at..at + 4)?;
    digits.iter().try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))
}
