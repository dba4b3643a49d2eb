//! What calls are taken to cost before any was measured, and as long as too few were. A configuration may say better.

use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_core::check::Checker;

use super::features::FEATURES;
use super::normal::Prices;
use super::quantile::Length;

/// What is expected of a model beforehand.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prior {
    /// Prices of the features, in microseconds.
    pub prices: Prices,
    /// How long answers become.
    pub length: Length,
}

/// How long answers are taken to become where nobody has seen one.
pub(super) const LENGTH: Length = Length { limit: 1024.0, mean: 256.0 };

/// 30 ms, 80 ms for a thousand tokens read, 12 s for a thousand written; a picture as below.
const WRITES: Prices = [30_000.0, 80_000.0, 12_000_000.0, 5_000.0, 10_000.0, 0.0, 0.0];

/// 1 ms, 10 ms for a million elements, 5 ms for a million pixels.
const COMPUTES: Prices = [1_000.0, 0.0, 0.0, 5_000.0, 10_000.0, 0.0, 0.0];

/// Prices that calls of a model are expected to have, before any was measured. `tollgate cost export` prints what was
/// learned in this form, so that another gateway, or a fresh one, begins with it.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PriorConfig {
    /// Microseconds of every call. Default: 30,000 where text is written, else 1,000.
    #[serde(default)]
    pub fixed_us: Option<f64>,
    /// Microseconds of a thousand tokens read. Default: 80,000 where text is written, else 0.
    #[serde(default)]
    pub thousand_input_tokens_us: Option<f64>,
    /// Microseconds of a thousand tokens written. Default: 12,000,000 where text is written, else 0.
    #[serde(default)]
    pub thousand_output_tokens_us: Option<f64>,
    /// Microseconds of a million pixels. Default: 5,000.
    #[serde(default)]
    pub megapixels_us: Option<f64>,
    /// Microseconds of a million elements of tensors. Default: 10,000.
    #[serde(default)]
    pub million_elements_us: Option<f64>,
    /// Microseconds of each row of a batch. Default: 0.
    #[serde(default)]
    pub rows_us: Option<f64>,
    /// Microseconds of a thousand million squared input tokens: what attention over 31,623 tokens adds. Default: 0.
    #[serde(default)]
    pub thousand_million_squared_input_tokens_us: Option<f64>,
    /// Tokens of an answer on average, where nothing bounds it. Default: 256.
    #[serde(default)]
    pub output_tokens_mean: Option<f64>,
    /// Tokens that nineteen of twenty answers do not exceed, where nothing bounds them. Default: 1,024.
    #[serde(default)]
    pub output_tokens_limit: Option<f64>,
}

impl Prior {
    /// What is expected of a model that writes text, or of one that does not.
    #[must_use]
    pub const fn of(writes: bool) -> Self {
        Self { prices: if writes { WRITES } else { COMPUTES }, length: LENGTH }
    }
}

impl PriorConfig {
    /// The largest price and the longest answer that can be meant.
    const MOST: f64 = 1e12;

    /// Reports every mistake, then says what is expected.
    pub fn compile(&self, check: &mut Checker, writes: bool) -> Prior {
        let Prior { mut prices, mut length } = Prior::of(writes);
        let mut take = |name: &str, given: Option<f64>, into: &mut f64| {
            let Some(given) = given else { return };
            let fit = given.is_finite() && (0.0..=Self::MOST).contains(&given);
            if check.require(fit, name, "a price or a length is 0 to 1e12") {
                *into = given;
            }
        };
        for ((name, given), price) in self.prices().into_iter().zip(&mut prices) {
            take(name, given, price);
        }
        take("output_tokens_mean", self.output_tokens_mean, &mut length.mean);
        take("output_tokens_limit", self.output_tokens_limit, &mut length.limit);
        let ordered = length.mean <= length.limit;
        check.require(ordered, "output_tokens_limit", "less than the mean: nineteen of twenty answers are not longer");
        Prior { prices, length }
    }

    fn prices(&self) -> [(&'static str, Option<f64>); FEATURES] {
        [
            ("fixed_us", self.fixed_us),
            ("thousand_input_tokens_us", self.thousand_input_tokens_us),
            ("thousand_output_tokens_us", self.thousand_output_tokens_us),
            ("megapixels_us", self.megapixels_us),
            ("million_elements_us", self.million_elements_us),
            ("rows_us", self.rows_us),
            ("thousand_million_squared_input_tokens_us", self.thousand_million_squared_input_tokens_us),
        ]
    }
}
