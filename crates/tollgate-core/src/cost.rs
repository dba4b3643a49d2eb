//! The unit of every compute limit: one microsecond of accelerator time.

use std::time::Duration;

/// Microseconds of accelerator time.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Cost(pub u64);

impl Cost {
    /// The cost of a measured run.
    #[must_use]
    pub fn of(run: Duration) -> Self {
        Self(u64::try_from(run.as_micros()).unwrap_or(u64::MAX))
    }
}

/// What a call is expected to cost, and how much of that the caller declared.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Estimate {
    /// What will be reserved: enough for nineteen calls of twenty, where answers differ in length.
    pub cost: Cost,
    /// What it will cost on average: for the queue and for scheduling, where too much is as wrong as too little.
    pub mean: Cost,
    /// How long it takes on average with the server to itself, where that was learned.
    pub alone: Option<Cost>,
    /// The part that follows from what the caller declared (class, batch, elements): only this can be `too_expensive`.
    pub declared: Cost,
    /// Whether the route is free: nothing is reserved.
    pub exempt: bool,
}
