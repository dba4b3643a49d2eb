//! `urlDecode`, `urlDecodeUni` and `urlEncode`.

use std::borrow::Cow;

use super::{Tables, hex, hex_pair, narrow, rewrite};

/// `%XX` and `+`; what is not an escape stays.
pub(super) fn decode(value: &[u8]) -> Cow<'_, [u8]> {
    rewrite(value, begins, plain)
}

/// The same with `%uHHHH` of IIS: through the code page, else its low byte, full-width forms narrowed.
pub(super) fn decode_uni<'a>(value: &'a [u8], tables: &Tables) -> Cow<'a, [u8]> {
    rewrite(value, begins, |rest, out| match rest {
        [b'%', b'u' | b'U', a, b, c, d, behind @ ..] => match (hex_pair(*a, *b), hex_pair(*c, *d)) {
            (Some(high), Some(low)) => {
                let point = u32::from(high) << 8 | u32::from(low);
                out.push(tables.byte_of(point).unwrap_or(narrow(high, low)));
                behind
            }
            _ => plain(rest, out),
        },
        _ => plain(rest, out),
    })
}

/// A space becomes `+`; all but letters, digits and `*` become `%xx`.
pub(super) fn encode(value: &[u8]) -> Cow<'_, [u8]> {
    rewrite(
        value,
        |byte| !keeps(byte),
        |rest, out| match rest {
            [b' ', rest @ ..] => {
                out.push(b'+');
                rest
            }
            [byte, rest @ ..] => {
                out.push(b'%');
                out.extend_from_slice(&hex::digits(*byte));
                rest
            }
            [] => rest,
        },
    )
}

/// Whether `urlEncode` leaves a byte as it is.
pub(super) const fn keeps(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'*'
}

const fn begins(byte: u8) -> bool {
    matches!(byte, b'%' | b'+')
}

fn plain<'a>(rest: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let (byte, rest) = match rest {
        [b'%', high, low, rest @ ..] if hex_pair(*high, *low).is_some() => {
            (hex_pair(*high, *low).unwrap_or_default(), rest)
        }
        [b'+', rest @ ..] => (b' ', rest),
        [byte, rest @ ..] => (*byte, rest),
        [] => return rest,
    };
    out.push(byte);
    rest
}
