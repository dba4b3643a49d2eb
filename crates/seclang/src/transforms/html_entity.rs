//! `htmlEntityDecode`: numeric references and the five names that hide markup.

use std::borrow::Cow;

use super::{hex_digit, rewrite};

/// The names that browsers accept without a semicolon and that matter to an attacker.
const NAMES: [(&[u8], u8); 5] = [(b"quot", b'"'), (b"amp", b'&'), (b"lt", b'<'), (b"gt", b'>'), (b"nbsp", 0xa0)];

pub(super) fn apply(value: &[u8]) -> Cow<'_, [u8]> {
    rewrite(
        value,
        |byte| byte == b'&',
        |rest, out| {
            let (byte, rest) = match reference(rest) {
                Some((byte, [b';', rest @ ..])) => (byte, rest),
                Some(other) => other,
                None => match rest {
                    [byte, rest @ ..] => (*byte, rest),
                    [] => return rest,
                },
            };
            out.push(byte);
            rest
        },
    )
}

/// The byte of a reference and what follows it, without its semicolon. Numbers count modulo 256, however long: a
/// reference that is too long for an integer is still one for a browser.
fn reference(rest: &[u8]) -> Option<(u8, &[u8])> {
    match rest {
        [b'&', b'#', b'x' | b'X', digits @ ..] => number(digits, hex_digit, 16),
        [b'&', b'#', digits @ ..] => number(digits, |byte| byte.is_ascii_digit().then(|| byte - b'0'), 10),
        [b'&', name @ ..] => NAMES.iter().find_map(|&(known, byte)| {
            let (name, rest) = name.split_at_checked(known.len())?;
            name.eq_ignore_ascii_case(known).then_some((byte, rest))
        }),
        _ => None,
    }
}

fn number(rest: &[u8], digit: impl Fn(u8) -> Option<u8>, base: u8) -> Option<(u8, &[u8])> {
    let count = rest.iter().take_while(|&&byte| digit(byte).is_some()).count();
    let (digits, rest) = rest.split_at_checked(count).filter(|(digits, _)| !digits.is_empty())?;
    let step = |code: u8, &byte: &u8| code.wrapping_mul(base).wrapping_add(digit(byte).unwrap_or_default());
    Some((digits.iter().fold(0, step), rest))
}
