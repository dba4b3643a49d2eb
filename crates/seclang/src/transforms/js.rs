//! `jsDecode`: escapes of ECMAScript strings.

use std::borrow::Cow;

use super::escape_seq::control;
use super::{hex_pair, narrow, rewrite};

pub(super) fn apply(value: &[u8]) -> Cow<'_, [u8]> {
    rewrite(value, |byte| byte == b'\\', step)
}

fn step<'a>(rest: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let (byte, rest) = match rest {
        [b'\\', b'u', a, b, c, d, rest @ ..] if hex_pair(*a, *b).is_some() && hex_pair(*c, *d).is_some() => {
            let pair = |high, low| hex_pair(high, low).unwrap_or_default();
            (narrow(pair(*a, *b), pair(*c, *d)), rest)
        }
        [b'\\', b'x', high, low, rest @ ..] if hex_pair(*high, *low).is_some() => {
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

/// Up to three octal digits, two when three would exceed a byte.
fn octal<'a>(rest: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let most = if rest.first().is_some_and(|&byte| byte > b'3') { 2 } else { 3 };
    let digits = rest.iter().take(most).take_while(|byte| matches!(byte, b'0'..=b'7')).count();
    let (digits, rest) = rest.split_at_checked(digits).unwrap_or((rest, &[]));
    out.push(digits.iter().fold(0u8, |code, digit| code.wrapping_shl(3) | (digit - b'0')));
    rest
}
