//! Figures of watched calls, and the bounds that are proposed from them: wider than what was seen, and round.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use serde::Deserialize;
use tollgate_layers::contract::{Seen, Span};

/// Figures of every model, as the admin listener tells them.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Watched {
    models: BTreeMap<String, Seen>,
}

impl Watched {
    /// Reads them, where there are any.
    pub(super) fn read(file: Option<&Path>) -> anyhow::Result<Self> {
        let Some(file) = file else { return Ok(Self::default()) };
        let mut text = String::new();
        if file == Path::new("-") {
            std::io::stdin().read_to_string(&mut text).context("reading stdin")?;
        } else {
            text = std::fs::read_to_string(file).with_context(|| format!("`{}`", file.display()))?;
        }
        serde_json::from_str(&text)
            .with_context(|| format!("`{}` is no answer of `GET /observed` of the admin listener", file.display()))
    }

    pub(super) fn of(&self, model: &str) -> Option<&Seen> {
        self.models.get(model)
    }
}

/// A range that holds what was seen, with ends that people can read.
pub(super) fn range(span: &Span) -> [f64; 2] {
    let low = if span.least < 0.0 { -above(-span.least) } else { 0.0 };
    let high = if span.greatest > 0.0 { above(span.greatest) } else { 0.0 };
    [low, high]
}

/// The first of 1, 2, 5, 10, 20, 50 … that is not less; itself where there is none.
pub(super) fn above(value: f64) -> f64 {
    if !value.is_finite() || value <= 0.0 {
        return value;
    }
    // Through decimal digits: a power of ten is exact as it is written.
    let start = format!("{value:e}");
    let exponent: i32 = start.split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0);
    let steps = ["1", "2", "5", "10"].into_iter();
    let mut rounded = steps.filter_map(|step| format!("{step}e{exponent}").parse::<f64>().ok());
    rounded.find(|step| *step >= value && step.is_finite()).unwrap_or(value)
}

/// What supports a bound, for the one who reviews it.
pub(super) fn support(span: &Span) -> String {
    let (least, greatest) = (number(span.least), number(span.greatest));
    let requests = if span.requests == 1 { "request" } else { "requests" };
    format!("{least} to {greatest} in {} {requests}", span.requests)
}

/// A number as configurations write it.
pub(super) fn number(value: f64) -> String {
    // Adding zero makes a zero of a negative one.
    let (plain, short) = (format!("{}", value + 0.0), format!("{value:e}"));
    if plain.len() > 20 { short } else { plain }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proposals_are_round_and_never_narrower_than_what_was_seen() {
        for (value, expected) in [(1.0, 1.0), (1.1, 2.0), (4.2, 5.0), (7.9, 10.0), (0.03, 0.05), (255.0, 500.0)] {
            assert_eq!(above(value), expected, "{value}");
        }
        for value in [f64::MAX, f64::MIN_POSITIVE, 5e-324, 1e308, 9.1e22, 3.0] {
            assert!(above(value) >= value && above(value).is_finite(), "{value}");
        }
        assert_eq!(range(&Span { requests: 2, least: -3.2, greatest: 0.9 }), [-5.0, 1.0]);
        assert_eq!(range(&Span { requests: 2, least: 2.0, greatest: 2.0 }), [0.0, 2.0]);
        assert_eq!(range(&Span { requests: 2, least: -2.0, greatest: -1.0 }), [-2.0, 0.0]);
        assert_eq!((number(1e300).as_str(), number(-0.0).as_str()), ("1e300", "0"));
    }
}
