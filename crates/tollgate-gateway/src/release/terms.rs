//! What the configuration says of the versions of a model, ready to be used.

use std::time::Duration;

use http::HeaderName;

use super::compare::Tolerance;

/// The most versions of one model.
pub const MOST: usize = 4;

/// The terms of a model's release. They may change with a reload without starting it anew.
#[derive(Clone, Debug)]
pub struct Terms {
    /// What of the configuration the release belongs to: other versions are another release.
    pub of: String,
    /// Its versions, in the order of their names.
    pub versions: Vec<Version>,
    /// What makes calls stay with a version.
    pub sticky: Sticky,
    /// The chance, over the whole life of a release, that a candidate is rolled back that is no worse than the baseline.
    pub alpha: f64,
    /// How many times slower than the baseline a candidate may be.
    pub slower: f64,
    /// The share of mirrored calls whose answer may be another one; `None` where answers are compared and not judged.
    pub drift: Option<f64>,
    /// What happens to a candidate that is found worse.
    pub on_regression: OnRegression,
    /// The weights that a candidate goes through by itself; none where somebody must say so.
    pub steps: Vec<u8>,
    /// How long it stays at each.
    pub hold: Duration,
    /// How many calls it must have served at each.
    pub min_calls: u64,
    /// When two numbers are the same.
    pub tolerance: Tolerance,
    /// Mirrored calls at once.
    pub shadow_inflight: u32,
    /// The largest body, in either direction, of a mirrored call.
    pub shadow_bytes: usize,
}

/// One version.
#[derive(Clone, Debug)]
pub struct Version {
    /// Its name.
    pub name: Box<str>,
    /// Place of its upstream.
    pub upstream: usize,
    /// Its weight at the beginning, in percent.
    pub weight: u8,
    /// How many percent of the calls of other versions are mirrored to it.
    pub shadow: u8,
}

/// What makes calls stay with a version.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Sticky {
    /// The value of this field; the caller where a call has none.
    Header(HeaderName),
    /// The caller: the key that was shown, or the address of somebody who showed none.
    Principal,
    /// Nothing: each call is dealt by itself.
    Request,
}

/// What happens to a candidate that is found worse.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OnRegression {
    /// It gets no more calls.
    Rollback,
    /// It is told.
    Watch,
}

impl Terms {
    /// The place of the version of that name.
    #[must_use]
    pub fn place(&self, name: &str) -> Option<usize> {
        self.versions.iter().position(|version| &*version.name == name)
    }

    /// The name of the version at that place.
    #[must_use]
    pub fn name(&self, place: usize) -> &str {
        self.versions.get(place).map_or("", |version| &version.name)
    }

    /// The weight that follows `weight`.
    #[must_use]
    pub fn next_step(&self, weight: u8) -> Option<u8> {
        self.steps.iter().copied().find(|step| *step > weight)
    }
}
