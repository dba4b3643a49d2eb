//! The double nearest to a decimal of up to 19 digits: one or two multiplications by a power of five of 128 bits, and a
//! careful rounding (Lemire, "Number parsing at a gigabyte per second", 2021). What this cannot decide, it leaves to the
//! standard library.

/// The exponents of ten that are worth a table: what tensors, embeddings and probabilities are written with.
const LEAST: i32 = -40;
const MOST: i32 = 22;
const COUNT: usize = 63;

/// The upper 128 bits of 5^q: truncated, but rounded up where a decimal of that many places may be halfway between doubles.
static FIVES: [u128; COUNT] = fives();

/// Bits of a double's fraction.
const FRACTION: u32 = 52;
/// Exponents for which a product is exact enough, whatever its lower half is.
const SURE: std::ops::RangeInclusive<i32> = -27..=55;
/// Exponents at which a decimal may stand exactly halfway between two doubles.
const HALFWAY: std::ops::RangeInclusive<i32> = -4..=23;

/// The double nearest to `mantissa` times ten to the `exponent`.
pub(super) fn nearest(mantissa: u64, exponent: i32) -> Option<f64> {
    if mantissa == 0 {
        return Some(0.0);
    }
    let five = *FIVES.get(usize::try_from(exponent.checked_sub(LEAST)?).ok()?)?;
    let zeros = mantissa.leading_zeros();
    let (upper, lower) = product(mantissa << zeros, five);
    if lower == u64::MAX && !SURE.contains(&exponent) {
        return None;
    }
    let top = upper >> 63;
    let shift = u32::from(top == 1) + 64 - FRACTION - 3;
    let mut fraction = upper >> shift;
    // The exponent of two: 217706 / 2^16 is the logarithm of ten closely enough.
    let power = ((217_706 * exponent) >> 16) + 63 + i32::from(top == 1) - i32::try_from(zeros).ok()? + 1_023;
    if power <= 0 {
        return None;
    }
    // Halfway between two doubles, the even one is nearest.
    if lower <= 1 && HALFWAY.contains(&exponent) && fraction & 3 == 1 && fraction << shift == upper {
        fraction &= !1;
    }
    fraction = (fraction + (fraction & 1)) >> 1;
    let carried = fraction >> (FRACTION + 1) == 1;
    let power = u64::try_from(power).ok()? + u64::from(carried);
    let fraction = if carried { 0 } else { fraction & !(1 << FRACTION) };
    (power < 0x7FF).then(|| f64::from_bits(fraction | power << FRACTION))
}

/// The upper 128 of the 192 bits of a product. Most doubles could do without the lower half of the power; which ones, no
/// processor foresees.
fn product(mantissa: u64, five: u128) -> (u64, u64) {
    let halves = |wide: u128| -> (u64, u64) { (low(wide >> 64), low(wide)) };
    let (five_upper, five_lower) = halves(five);
    let first = u128::from(mantissa) * u128::from(five_upper);
    halves(first + ((u128::from(mantissa) * u128::from(five_lower)) >> 64))
}

/// The lower 64 bits.
const fn low(wide: u128) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = wide.to_le_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

#[expect(clippy::indexing_slicing, reason = "runs when the program is compiled")]
const fn fives() -> [u128; COUNT] {
    let mut table = [0; COUNT];
    let (mut at, mut exponent) = (0, LEAST);
    while exponent <= MOST {
        let power = 5_u128.pow(exponent.unsigned_abs());
        table[at] =
            if exponent < 0 { reciprocal(power) + (exponent >= -27) as u128 } else { power << power.leading_zeros() };
        at += 1;
        exponent += 1;
    }
    table
}

/// The first 128 bits of 1 / `divisor`, by long division.
const fn reciprocal(divisor: u128) -> u128 {
    // One, shifted until it is at least the divisor, less it.
    let bits = 128 - divisor.leading_zeros();
    let mut rest = (1_u128 << bits) - divisor;
    let mut quotient = 1_u128;
    let mut step = 0;
    while step < 127 {
        rest <<= 1;
        quotient <<= 1;
        if rest >= divisor {
            rest -= divisor;
            quotient |= 1;
        }
        step += 1;
    }
    quotient
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{LEAST, MOST, nearest};

    fn agrees(mantissa: u64, exponent: i32) -> bool {
        let exact: f64 = format!("{mantissa}e{exponent}").parse().expect("a number");
        nearest(mantissa, exponent).is_none_or(|found| found.to_bits() == exact.to_bits())
    }

    #[test]
    fn what_stands_halfway_goes_to_the_even_neighbour() {
        for exponent in LEAST..=MOST {
            for bits in 0..64 {
                for step in 0..5_u64 {
                    let near = (1_u64 << bits).wrapping_add(step).wrapping_sub(2);
                    assert!(agrees(near, exponent), "{near}e{exponent}");
                }
            }
        }
        // 2^53 + 1 is halfway, and so are its tenths.
        for (mantissa, exponent) in
            [(9_007_199_254_740_993, 0), (90_071_992_547_409_930, -1), (9_007_199_254_740_995, 1)]
        {
            assert!(agrees(mantissa, exponent), "{mantissa}e{exponent}");
            assert!(nearest(mantissa, exponent).is_some());
        }
        assert_eq!((nearest(1, MOST + 1), nearest(1, LEAST - 1)), (None, None));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn it_is_what_the_standard_library_says(mantissa in any::<u64>(), shift in 0..64_u32, exponent in LEAST..=MOST) {
            prop_assert!(agrees(mantissa >> shift, exponent), "{}e{}", mantissa >> shift, exponent);
        }

        #[test]
        fn singles_as_python_writes_them_are_decided_here(power in 60_u32..193, fraction in 0..1_u32 << 23) {
            let value = f64::from(f32::from_bits(power << 23 | fraction));
            let text = format!("{value:e}");
            let (digits, exponent) = text.split_once('e').expect("an exponent");
            let places = digits.split_once('.').map_or(0, |(_, places)| places.len());
            let mantissa: u64 = digits.replace('.', "").parse().expect("at most 17 digits");
            let exponent = exponent.parse::<i32>().expect("a number") - i32::try_from(places).expect("few");
            prop_assert_eq!(nearest(mantissa, exponent), Some(value));
        }
    }
}
