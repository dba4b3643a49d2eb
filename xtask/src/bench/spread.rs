//! The middle of some rounds, and how far they scatter.

use std::fmt;

use serde_json::{Value, json};

/// Median and interquartile range.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) iqr: f64,
}

impl Spread {
    /// Of those values; `None` without any.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_unstable_by(f64::total_cmp);
        let quantile = |share: f64| {
            let place = share * values.len().checked_sub(1)? as f64;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in the list")]
            let below = place.floor() as usize;
            let (low, high) = (values.get(below)?, values.get(below + 1).or(values.last())?);
            Some(low + (high - low) * place.fract())
        };
        Some(Self { median: quantile(0.5)?, iqr: quantile(0.75)? - quantile(0.25)? })
    }

    /// A ratio passes when its median less half its interquartile range is not above the bar.
    pub(super) fn within(self, bar: f64) -> bool {
        self.median - self.iqr / 2.0 <= bar
    }

    pub(super) fn json(self) -> Value {
        json!({ "median": self.median, "iqr": self.iqr })
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = if self.median < 10.0 { 2 } else { usize::from(self.median < 100.0) };
        write!(f, "{:.digits$} ± {:.digits$}", self.median, self.iqr / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Spread;

    #[test]
    fn quartiles_are_interpolated() {
        assert_eq!(Spread::of([7.0, 1.0, 3.0, 5.0, 2.0, 6.0, 4.0]), Some(Spread { median: 4.0, iqr: 3.0 }));
        assert_eq!(Spread::of([1.0, 2.0]), Some(Spread { median: 1.5, iqr: 0.5 }));
        assert_eq!(Spread::of([2.5]), Some(Spread { median: 2.5, iqr: 0.0 }));
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn half_the_scatter_speaks_for_a_ratio_and_no_more() {
        let ratio = Spread { median: 1.25, iqr: 0.1 };
        assert!(ratio.within(1.2));
        assert!(!ratio.within(1.19));
        assert_eq!(ratio.to_string(), "1.25 ± 0.05");
        assert_eq!(Spread { median: 364.4, iqr: 10.0 }.to_string(), "364 ± 5");
    }
}
