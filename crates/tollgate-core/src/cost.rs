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
    /// What will be reserved.
    pub cost: Cost,
    /// The part that follows from what the caller declared (class, batch, elements): only this can be `too_expensive`.
    pub declared: Cost,
    /// Whether the route is free: nothing is reserved.
    pub exempt: bool,
}
