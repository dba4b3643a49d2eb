//! Random numbers from a seed, so that a run can be repeated. Not for secrets.

/// A sequence of numbers that looks random.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The sequence of a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5851_F42D_4C95_7F2D)
    }

    /// The next 64 bits (SplitMix64: Steele, Lea and Flood, 2014).
    pub const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Between 0 and 1, neither of them.
    pub fn unit(&mut self) -> f64 {
        ((self.bits() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// Exponentially distributed around `mean`.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * self.unit().ln()
    }

    /// Log-normally distributed around a median of 1; `sigma` is the deviation of its logarithm.
    pub fn lognormal(&mut self, sigma: f64) -> f64 {
        // Box and Muller, 1958.
        let (radius, angle) = ((-2.0 * self.unit().ln()).sqrt(), std::f64::consts::TAU * self.unit());
        (sigma * radius * angle.cos()).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::Dice;

    #[test]
    fn means_and_medians_are_as_asked() {
        let mut dice = Dice::new(1);
        let mean = (0..100_000).map(|_| dice.exponential(2.0)).sum::<f64>() / 100_000.0;
        assert!((mean - 2.0).abs() < 0.03, "{mean}");
        let above = (0..100_000).filter(|_| dice.lognormal(0.5) > 1.0).count();
        assert!((49_000..51_000).contains(&above), "{above}");
        let spread = (0..100_000).map(|_| dice.lognormal(0.5).ln().powi(2)).sum::<f64>() / 100_000.0;
        assert!((spread.sqrt() - 0.5).abs() < 0.01, "{spread}");
    }

    #[test]
    fn a_seed_repeats_itself_and_another_does_not() {
        let of = |seed| {
            std::iter::repeat_with({
                let mut dice = Dice::new(seed);
                move || dice.bits()
            })
            .take(5)
            .collect::<Vec<_>>()
        };
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
    }
}
