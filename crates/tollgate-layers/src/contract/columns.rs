//! Rules for places in the last dimension of a tensor, and their compilation.

use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_core::backend::{Dim, Port};
use tollgate_core::check::Checker;

use super::config::{MAX_RULES, bounds};
use super::rule::{Column, Number, Permit};

/// A rule for places in the last dimension. Exactly one of `one_of` and `range`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ColumnConfig {
    /// Which: `3`, or `"1..7"` for the first to the seventh, both included. Counted from 1.
    pub at: At,
    /// The only values.
    #[serde(default)]
    #[schemars(length(min = 1, max = 256))]
    pub one_of: Option<Vec<f64>>,
    /// Least and greatest value.
    #[serde(default)]
    pub range: Option<[f64; 2]>,
}

/// A place or a run of places.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum At {
    /// One place.
    One(u64),
    /// `"1..7"`
    Run(String),
}

impl ColumnConfig {
    pub(super) fn compile<T: Number>(&self, check: &mut Checker, port: &Port) -> Option<Column<T>> {
        let place = self.place(check, port);
        let permit = match (&self.one_of, self.range) {
            (Some(values), None) => {
                let few = (1..=MAX_RULES).contains(&values.len());
                check.require(few, "one_of", format!("a list of 1 to {MAX_RULES} values"));
                let exact: Option<Vec<T>> = values.iter().map(|value| T::exactly(*value)).collect();
                check.require(exact.is_some(), "one_of", format!("a value that `{}` does not have", port.dtype));
                exact.map(Permit::OneOf)
            }
            (None, Some(range)) => bounds(check, range, port.dtype).map(|(low, high)| Permit::Range(low, high)),
            _ => {
                check.problem_here("a column rule has either `one_of` or `range`");
                None
            }
        };
        let (from, to) = place?;
        Some(Column { from, to, permit: permit? })
    }

    /// First and last place, from 0, the last not included.
    fn place(&self, check: &mut Checker, port: &Port) -> Option<(usize, usize)> {
        let (first, last) = match &self.at {
            At::One(place) => (Some(*place), Some(*place)),
            At::Run(run) => match run.split_once("..") {
                Some((first, last)) => (first.trim().parse().ok(), last.trim().parse().ok()),
                None => (run.trim().parse().ok(), run.trim().parse().ok()),
            },
        };
        let (Some(first), Some(last)) = (first, last) else {
            check.problem("at", "not a place such as `3` or a run such as `1..7`");
            return None;
        };
        let Some(Dim::Fixed(width)) = port.dims.last() else {
            check.problem("at", "columns need a last dimension of fixed size");
            return None;
        };
        let message = format!("columns are counted from 1 to {width}, the lesser first");
        if !check.require(1 <= first && first <= last && last <= *width, "at", message) {
            return None;
        }
        Some((usize::try_from(first - 1).ok()?, usize::try_from(last).ok()?))
    }
}
