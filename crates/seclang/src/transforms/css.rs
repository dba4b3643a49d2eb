//! `cssDecode`: escapes of style sheets.

use std::borrow::Cow;

use super::{hex_digit, hex_pair, is_space, narrow, rewrite};

pub(super) fn apply(value: &[u8]) -> Cow<'_, [u8]> {
    rewrite(
        value,
        |byte| byte == b'\\',
        |rest, out| {
            let Some((_, rest)) = rest.split_first() else { return rest };
            let digits = rest.iter().take(6).take_while(|&&byte| hex_digit(byte).is_some()).count();
            match (rest.split_at_checked(digits), rest) {
                (Some((digits @ [_, ..], rest)), _) => {
                    out.push(code(digits));
                    match rest {
                        [space, rest @ ..] if is_space(*space) => rest,
                        _ => rest,
                    }
                }
                // A line continuation.
                (_, [b'\n', rest @ ..]) => rest,
                (_, [byte, rest @ ..]) => {
                    out.push(*byte);
                    rest
                }
                (_, []) => rest,
            }
        },
    )
}

/// The byte of one to six digits: the last two, narrowed when the rest says full width.
fn code(digits: &[u8]) -> u8 {
    let pair = |high, low| hex_pair(high, low).unwrap_or_default();
    match digits {
        [b'0', b'0', a, b, c, d] | [b'0', a, b, c, d] | [a, b, c, d] => narrow(pair(*a, *b), pair(*c, *d)),
        [.., c, d] => pair(*c, *d),
        [d] => pair(b'0', *d),
        [] => 0,
    }
}
