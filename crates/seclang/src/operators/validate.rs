//! `@validateByteRange`, `@validateUrlEncoding` and `@validateUtf8Encoding`. They match what is *invalid*.

use super::Unusable;
use crate::charset::ByteSet;

/// The bytes of a list such as `9,10,13,32-126`.
pub(super) fn ranges(argument: &str) -> Result<ByteSet, Unusable> {
    let mut set = ByteSet::NONE;
    let mut at = 0;
    for part in argument.split(',') {
        let number = |text: &str| {
            let wrong = |_| Unusable::new(format!("`{}` is not a byte value", text.trim()), at).hint("0 to 255");
            text.trim().parse::<u8>().map_err(wrong)
        };
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        let (low, high) = (number(low)?, number(high)?);
        if low > high {
            return Err(Unusable::new(format!("the range `{}` is empty", part.trim()), at));
        }
        set = set.with_range(low, high);
        at += part.len() + 1;
    }
    Ok(set)
}

/// Whether two hexadecimal digits follow every `%`.
pub(super) fn is_url_encoded(value: &[u8]) -> bool {
    let digits = |at: usize| value.get(at + 1..at + 3).is_some_and(|pair| pair.iter().all(u8::is_ascii_hexdigit));
    memchr::memchr_iter(b'%', value).all(digits)
}

/// Whether the value is UTF-8: no overlong form, no surrogate, nothing above 10FFFF.
pub(super) fn is_utf8(value: &[u8]) -> bool {
    std::str::from_utf8(value).is_ok()
}
