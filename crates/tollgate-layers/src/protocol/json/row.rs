//! Rows of numbers as tensors are written: one after the other, without an exponent, a comma and at most one space between
//! them. What is in any other form, or wrong, is left where it stands, for [`super::number`].
//!
//! A tensor is mostly this, so it is read with as few branches as can be: neither the length of a double nor its sign can be
//! foreseen, and a processor that guesses wrong loses more time than the number takes.

use super::decimal;
use super::number::{POWERS, WHOLE_POWERS, eight_digits};

/// Reads numbers from `from` on, at most `most`, as long as `take` takes them: how many, and where the last one ended.
#[inline]
pub(super) fn read(bytes: &[u8], from: usize, most: u64, mut take: impl FnMut(f64) -> bool) -> (u64, usize) {
    let (mut count, mut end, mut next) = (0, from, from);
    while count < most {
        let Some((_, length)) = number(bytes, next).filter(|(value, _)| take(*value)) else { break };
        count += 1;
        end = next + length;
        next = match bytes.get(end..) {
            Some([b',', b' ', ..]) => end + 2,
            Some([b',', ..]) => end + 1,
            _ => break,
        };
    }
    (count, end)
}

/// The number that begins at `from`, and its length; `None` for what this does not read.
#[inline]
fn number(bytes: &[u8], from: usize) -> Option<(f64, usize)> {
    let negative = bytes.get(from) == Some(&b'-');
    let window: &Window = bytes.get(from + usize::from(negative)..)?.first_chunk()?;
    let word = eight_from(window, 0);
    let bits = bits_of_digits(word);
    // None is no number, zeros before others neither, and eight digits before a point are rare.
    if bits == 0 || bits == 64 || (bits > 8 && word & 0xFF == 0) {
        return None;
    }
    let whole = places(bits);
    let (amount, length) = if window.get(whole) == Some(&b'.') {
        // The digits on both sides of the point, without it.
        let before = (1 << bits) - 1;
        with_point(window, whole, (word & before) | (eight_from(window, 1) & !before))?
    } else {
        (exactly(eight_digits(word << (64 - bits))), whole)
    };
    if !matches!(window.get(length), Some(b',' | b']')) {
        return None;
    }
    let sign = u64::from(negative) << 63;
    Some((f64::from_bits(amount.to_bits() | sign), length + usize::from(negative)))
}

/// A number with a point behind `whole` digits, whose first eight digits are in `joined`.
#[inline]
fn with_point(window: &Window, whole: usize, joined: u64) -> Option<(f64, usize)> {
    let first = Part::of(joined);
    let is_long = first.digits == 8 && window.get(9).is_some_and(u8::is_ascii_digit);
    let (amount, digits) = if is_long {
        let second = Part::of(eight_from(window, 9));
        let third = Part::of(eight_from(window, 17)).only_if(second.digits == 8);
        let digits = 8 + second.digits + third.digits;
        // Nineteen digits always fit 64 bits.
        if digits > 19 {
            return None;
        }
        let exponent = i32::try_from(whole).ok()? - i32::try_from(digits).ok()?;
        (decimal::nearest(third.behind(second.behind(first.value)), exponent)?, digits)
    } else {
        // Both are exact, so that one division rounds once (Clinger 1990).
        (exactly(first.value) / POWERS.get(first.digits.checked_sub(whole)?)?, first.digits)
    };
    (digits > whole).then_some((amount, digits + 1))
}

/// What a number and the byte behind it fit into: a point and three times eight digits.
type Window = [u8; 25];

/// Eight bytes of a window, each less `0`.
#[inline]
fn eight_from(window: &Window, at: usize) -> u64 {
    u64::from_le_bytes(window.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or_default())
        ^ 0x3030_3030_3030_3030
}

/// How many bits of eight bytes are digits, from the first byte on.
#[inline]
const fn bits_of_digits(word: u64) -> u32 {
    // The upper bit of each byte that is above 9; nothing carries over from one byte to the next.
    let above = ((word & 0x7F7F_7F7F_7F7F_7F7F) + 0x7676_7676_7676_7676) | word;
    (above & 0x8080_8080_8080_8080).trailing_zeros() & !7
}

/// How many bytes these bits are.
#[inline]
fn places(bits: u32) -> usize {
    usize::try_from(bits / 8).unwrap_or(8)
}

#[expect(clippy::cast_precision_loss, reason = "of at most eight digits, which a double holds exactly")]
const fn exactly(amount: u64) -> f64 {
    amount as f64
}

/// The digits at the beginning of eight bytes.
#[derive(Clone, Copy, Default)]
struct Part {
    digits: usize,
    value: u64,
}

impl Part {
    #[inline]
    fn of(word: u64) -> Self {
        let bits = bits_of_digits(word);
        // What is no digit is pushed out; the zeros that come in stand before the first digit.
        Self { digits: places(bits), value: eight_digits(word.checked_shl(64 - bits).unwrap_or(0)) }
    }

    #[inline]
    fn only_if(self, wanted: bool) -> Self {
        if wanted { self } else { Self::default() }
    }

    /// The number that these digits make behind others.
    #[inline]
    fn behind(self, before: u64) -> u64 {
        before.wrapping_mul(WHOLE_POWERS.get(self.digits).copied().unwrap_or(1)).wrapping_add(self.value)
    }
}
