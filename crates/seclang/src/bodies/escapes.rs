//! Escapes in JSON strings: `\n`, `\u0041`, surrogate pairs. Whether the rest of the string is text is not asked here.

use memchr::memchr;

use super::{Stop, hex};

/// Appends a string without its escapes.
pub(super) fn unescape(raw: &[u8], text: &mut Vec<u8>) -> Result<(), Stop> {
    const BAD: Stop = Stop::Error("json: an escape is malformed");
    let mut rest = raw;
    while let Some(at) = memchr(b'\\', rest) {
        let (plain, tail) = rest.split_at_checked(at).ok_or(BAD)?;
        text.extend_from_slice(plain);
        let (&letter, tail) = tail.get(1..).and_then(<[u8]>::split_first).ok_or(BAD)?;
        rest = tail;
        text.push(match letter {
            b'"' | b'\\' | b'/' => letter,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let (decoded, tail) = code_point(tail).ok_or(BAD)??;
                rest = tail;
                text.extend_from_slice(decoded.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            _ => return Err(BAD),
        });
    }
    text.extend_from_slice(rest);
    Ok(())
}

/// Reads the digits behind `\u`, and the second half of a surrogate pair.
fn code_point(text: &[u8]) -> Option<Result<(char, &[u8]), Stop>> {
    const LONE: Stop = Stop::Error("json: half a surrogate pair");
    let (high, tail) = unit(text)?;
    let (code, tail) = match (high, tail) {
        (0xD800..=0xDBFF, [b'\\', b'u', low @ ..]) => {
            let (low, tail) = unit(low)?;
            if !(0xDC00..=0xDFFF).contains(&low) {
                return Some(Err(LONE));
            }
            (0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00), tail)
        }
        _ => (high, tail),
    };
    Some(char::from_u32(code).map(|decoded| (decoded, tail)).ok_or(LONE))
}

fn unit(text: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, tail) = text.split_first_chunk::<4>()?;
    let mut code = 0;
    for &digit in digits {
        code = code << 4 | u32::from(hex(digit)?);
    }
    Some((code, tail))
}
