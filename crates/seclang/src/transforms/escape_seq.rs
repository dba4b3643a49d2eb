//! `escapeSeqDecode`: escapes of ANSI C.

use std::borrow::Cow;

use super::{hex_pair, rewrite};

pub(super) fn apply(value: &[u8]) -> Cow<'_, [u8]> {
    rewrite(value, |byte| byte == b'\\', step)
}

fn step<'a>(rest: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let (byte, rest) = match rest {
        [b'\\', b'x' | b'X', high, low, rest @ ..] if hex_pair(*high, *low).is_some() => {
            (hex_pair(*high, *low).unwrap_or_default(), rest)
        }
        [b'\\', rest @ ..] if matches!(rest, [b'0'..=b'7', ..]) => return octal(rest, out),
        [b'\\', name, rest @ ..] => (control(*name).unwrap_or(*name), rest),
        [byte, rest @ ..] => (*byte, rest),
        [] => return rest,
    };
    out.push(byte);
    rest
}

/// Up to three octal digits, modulo 256.
fn octal<'a>(rest: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let digits = rest.iter().take(3).take_while(|byte| matches!(byte, b'0'..=b'7')).count();
    let (digits, rest) = rest.split_at_checked(digits).unwrap_or((rest, &[]));
    out.push(digits.iter().fold(0u8, |code, digit| code.wrapping_shl(3) | (digit - b'0')));
    rest
}

/// The control character of a one-letter escape.
pub(super) const fn control(name: u8) -> Option<u8> {
    match name {
        b'a' => Some(0x07),
        b'b' => Some(0x08),
        b'f' => Some(0x0c),
        b'n' => Some(b'\n'),
        b'r' => Some(b'\r'),
        b't' => Some(b'\t'),
        b'v' => Some(0x0b),
        _ => None,
    }
}
