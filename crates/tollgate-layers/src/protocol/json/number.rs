//! Numbers of JSON: grammar, length, exact value.

use super::{Malformed, What, decimal};

/// The longest number.
const MAX_BYTES: usize = 32;

/// Powers of ten that a double holds exactly.
pub(super) const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// Powers of ten by which the digits before some others are worth more.
pub(super) const WHOLE_POWERS: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// A number as it was written, and what it is worth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Number<'a> {
    /// As written: digits, sign, point and exponent only.
    pub text: &'a str,
    /// The nearest double; finite.
    pub value: f64,
    /// Sign and amount, where it was written without fraction and exponent and fits.
    pub integer: Option<Integer>,
}

/// A number that was written without fraction and exponent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Integer {
    /// Whether it began with `-`.
    pub negative: bool,
    /// Its absolute value.
    pub amount: u64,
}

impl Integer {
    /// As a signed number, if it fits.
    #[must_use]
    pub fn signed(self) -> Option<i64> {
        if self.negative { 0_i64.checked_sub_unsigned(self.amount) } else { i64::try_from(self.amount).ok() }
    }

    /// As an unsigned number; a `-`, also before zero, has none.
    #[must_use]
    pub const fn unsigned(self) -> Option<u64> {
        if self.negative { None } else { Some(self.amount) }
    }
}

/// The digits of a number while it is read.
struct Digits<'t> {
    window: &'t [u8],
    at: usize,
    mantissa: u64,
    count: usize,
}

impl Digits<'_> {
    fn byte(&self) -> u8 {
        self.window.get(self.at).copied().unwrap_or(0)
    }

    /// The next eight bytes, each less `0`; beyond the window, what is no digit.
    fn word(&self) -> u64 {
        let rest = self.window.get(self.at..).unwrap_or_default();
        let eight = rest.first_chunk().copied().unwrap_or_else(|| {
            let mut padded = [0; 8];
            padded.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            padded
        });
        u64::from_le_bytes(eight) ^ 0x3030_3030_3030_3030
    }

    /// Reads a run of digits, eight at a time; how many.
    fn run(&mut self) -> usize {
        let from = self.at;
        loop {
            let word = self.word();
            // The upper bit of each byte that is above 9; nothing carries over from one byte to the next.
            let above = ((word & 0x7F7F_7F7F_7F7F_7F7F) + 0x7676_7676_7676_7676) | word;
            let bits = (above & 0x8080_8080_8080_8080).trailing_zeros() & !7;
            if bits == 0 {
                break;
            }
            let taken = usize::try_from(bits / 8).unwrap_or(8);
            // What is not taken is pushed out; the zeros that come in stand before the first digit.
            let value = eight_digits(word << (64 - bits));
            let shift = WHOLE_POWERS.get(taken).copied().unwrap_or(1);
            self.mantissa = self.mantissa.wrapping_mul(shift).wrapping_add(value);
            self.at += taken;
            if taken < 8 {
                break;
            }
        }
        let run = self.at - from;
        self.count += run;
        run
    }

    /// Reads an exponent's sign and digits; `None` without a digit.
    fn exponent(&mut self) -> Option<i32> {
        let negative = self.byte() == b'-';
        if matches!(self.byte(), b'-' | b'+') {
            self.at += 1;
        }
        let from = self.at;
        let mut exponent = 0_i32;
        while self.byte().is_ascii_digit() {
            let digit = i32::from(self.byte() - b'0');
            exponent = exponent.saturating_mul(10).saturating_add(digit);
            self.at += 1;
        }
        (self.at > from).then_some(if negative { -exponent } else { exponent })
    }
}

/// What a number is worth, and how long it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scanned {
    pub(super) bytes: usize,
    pub(super) value: f64,
    pub(super) integer: Option<Integer>,
}

/// Reads the number that begins at `from`.
#[inline]
pub(super) fn scan(text: &str, from: usize) -> Result<Scanned, Malformed> {
    let rest = text.as_bytes().get(from..).unwrap_or_default();
    let wrong = |what, at: usize| Malformed::new(what, from + at);
    let window = rest.get(..=MAX_BYTES).unwrap_or(rest);
    let mut digits = Digits { window, at: 0, mantissa: 0, count: 0 };
    let negative = digits.byte() == b'-';
    digits.at += usize::from(negative);
    let leading_zero = digits.byte() == b'0';
    let whole = digits.run();
    if whole == 0 || (leading_zero && whole > 1) {
        return Err(wrong(What::Number, digits.at));
    }
    let mut exponent = 0_i32;
    let mut integral = true;
    if digits.byte() == b'.' {
        integral = false;
        digits.at += 1;
        let fraction = digits.run();
        if fraction == 0 && digits.at <= MAX_BYTES {
            return Err(wrong(What::Number, digits.at));
        }
        exponent = -i32::try_from(fraction).unwrap_or(i32::MAX);
    }
    if matches!(digits.byte(), b'e' | b'E') {
        integral = false;
        digits.at += 1;
        match digits.exponent() {
            Some(written) => exponent = exponent.saturating_add(written),
            None if digits.at <= MAX_BYTES => return Err(wrong(What::Number, digits.at)),
            None => {}
        }
    }
    if digits.at > MAX_BYTES {
        return Err(wrong(What::NumberLength, MAX_BYTES));
    }
    let bytes = digits.at;
    // Nineteen digits always fit 64 bits; more may have wrapped around.
    let exact = digits.count <= 19;
    let amount = quick(exact, digits.mantissa, exponent)
        .or_else(|| decimal::nearest(digits.mantissa, exponent).filter(|_| exact));
    let value = match amount {
        Some(amount) if negative => -amount,
        Some(amount) => amount,
        None => {
            let parsed = written(text, from, bytes).parse().ok().filter(|value: &f64| value.is_finite());
            parsed.ok_or_else(|| wrong(What::NumberRange, 0))?
        }
    };
    let integer = if !integral {
        None
    } else if exact {
        Some(Integer { negative, amount: digits.mantissa })
    } else {
        let text = written(text, from, bytes);
        let amount = text.strip_prefix('-').unwrap_or(text).parse().ok();
        amount.map(|amount| Integer { negative, amount })
    };
    Ok(Scanned { bytes, value, integer })
}

/// The text of a number.
pub(super) fn written(text: &str, from: usize, bytes: usize) -> &str {
    text.get(from..from + bytes).unwrap_or_default()
}

/// Clinger's fast path: mantissa and power of ten are both exact doubles, so one operation rounds once.
#[expect(clippy::cast_precision_loss, reason = "at most 2^53, which a double holds exactly")]
fn quick(exact: bool, mantissa: u64, exponent: i32) -> Option<f64> {
    if !exact || mantissa > 1 << 53 {
        return None;
    }
    let power = POWERS.get(usize::try_from(exponent.unsigned_abs()).ok()?)?;
    let mantissa = mantissa as f64;
    Some(if exponent < 0 { mantissa / power } else { mantissa * power })
}

/// The number that eight bytes from 0 to 9 are, the first the highest digit. All eight at once: neighbours are joined to
/// pairs, pairs to fours, fours to eight.
pub(super) const fn eight_digits(digits: u64) -> u64 {
    let pairs = (digits.wrapping_mul(10).wrapping_add(digits >> 8)) & 0x00FF_00FF_00FF_00FF;
    let fours = (pairs.wrapping_mul(100).wrapping_add(pairs >> 16)) & 0x0000_FFFF_0000_FFFF;
    fours.wrapping_mul(10_000).wrapping_add(fours >> 32) & 0xFFFF_FFFF
}
