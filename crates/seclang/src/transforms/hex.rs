//! `hexEncode`, `hexDecode` and `sqlHexDecode`.

use std::borrow::Cow;

use super::{hex_pair, rewrite};

/// Two lower-case digits for each byte.
pub(super) fn encode(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len() * 2);
    for &byte in value {
        out.extend_from_slice(&digits(byte));
    }
    out
}

/// Decodes the longest prefix of pairs of digits.
pub(super) fn decode(value: &[u8]) -> Vec<u8> {
    pairs(value).collect()
}

/// Decodes `0x…` as SQL reads it, where at least one pair of digits follows; an odd last digit stays.
pub(super) fn decode_sql(value: &[u8]) -> Cow<'_, [u8]> {
    rewrite(
        value,
        |byte| byte == b'0',
        |rest, out| match rest {
            [b'0', b'x' | b'X', digits @ ..] if pairs(digits).next().is_some() => {
                let before = out.len();
                out.extend(pairs(digits));
                digits.get((out.len() - before) * 2..).unwrap_or_default()
            }
            [byte, rest @ ..] => {
                out.push(*byte);
                rest
            }
            [] => rest,
        },
    )
}

/// The two lower-case digits of a byte.
pub(super) fn digits(byte: u8) -> [u8; 2] {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
    [digit(byte >> 4), digit(byte & 15)]
}

fn pairs(value: &[u8]) -> impl Iterator<Item = u8> {
    value.chunks_exact(2).map_while(|pair| match pair {
        [high, low] => hex_pair(*high, *low),
        _ => None,
    })
}
