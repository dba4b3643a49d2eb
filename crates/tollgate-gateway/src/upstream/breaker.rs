//! The breaker of a whole upstream: open while nothing behind it answers.
//!
//! How it relates to ejection (decision 0017): ejection compares endpoints with each other and moves load from one to the
//! rest, so it never takes the last one. The breaker looks at all of them together: it opens after so many attempts in a
//! row without an answer from *any* of them, and then nobody is sent there until one request has been answered. Both are
//! told the same outcomes. A status of 500 is an answer to the breaker: one caller who knows how to provoke it must not
//! shut everybody out.
//!
//! Pure: outcomes and times in, states out.

use std::time::Duration;

use tollgate_core::time::Tick;

use super::outlier::Outcome;

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BreakerRules {
    /// Attempts in a row without an answer; 0 never.
    pub failures: u32,
    /// The first time it is open for this long, then twice as long each time.
    pub open: Duration,
    /// The longest time.
    pub longest: Duration,
}

impl Default for BreakerRules {
    fn default() -> Self {
        Self { failures: 10, open: Duration::from_secs(1), longest: Duration::from_secs(30) }
    }
}

/// Whether anything is sent to an upstream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Breaker {
    /// Yes; so many attempts in a row had no answer.
    Closed(u32),
    /// One request is on its way to find out; until the tick, nobody else is sent.
    Half {
        /// When another one tries beside it.
        until: Tick,
        /// How often it has been open in a row.
        times: u32,
    },
    /// No, before that tick.
    Open {
        /// The end.
        until: Tick,
        /// How often in a row.
        times: u32,
    },
}

/// What a breaker says to a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Admission {
    /// It goes.
    Go,
    /// It goes, and its outcome decides.
    Trial,
    /// It does not: come back then.
    Wait(Duration),
}

/// When a trial has not said anything for this long, another request tries beside it: it may only be a long one.
const TRIAL: Duration = Duration::from_secs(5);

impl Breaker {
    /// Whether a request may go now.
    pub fn admit(&mut self, now: Tick) -> Admission {
        match *self {
            Self::Closed(_) => Admission::Go,
            // While somebody tries, it is known at the end of that patience at the latest.
            Self::Half { until, .. } | Self::Open { until, .. } if now < until => Admission::Wait(until.since(now)),
            Self::Half { times, .. } | Self::Open { times, .. } => {
                *self = Self::Half { until: now.after(TRIAL), times };
                Admission::Trial
            }
        }
    }

    /// Learns how an attempt ended. What was sent before it opened no longer matters, unless it was answered.
    pub fn told(&mut self, outcome: Outcome, trial: bool, now: Tick, rules: &BreakerRules) {
        let answered = !matches!(outcome, Outcome::Gateway | Outcome::Local);
        *self = match *self {
            _ if answered => Self::Closed(0),
            Self::Closed(failures) => {
                let failures = failures.saturating_add(1);
                if rules.failures > 0 && failures >= rules.failures {
                    Self::opened(1, now, rules)
                } else {
                    Self::Closed(failures)
                }
            }
            Self::Half { times, .. } if trial => Self::opened(times.saturating_add(1), now, rules),
            other => other,
        };
    }

    /// The trial ended without an outcome: whoever comes next tries.
    pub fn trial_lost(&mut self, now: Tick) {
        if let Self::Half { times, .. } = *self {
            *self = Self::Open { until: now, times };
        }
    }

    /// A check of our own was answered: the next request tries, without waiting for the end.
    pub fn may_try(&mut self, now: Tick) {
        if let Self::Half { until, .. } | Self::Open { until, .. } = self {
            *until = (*until).min(now);
        }
    }

    /// The word of metrics and of the admin API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed(_) => "closed",
            Self::Half { .. } => "half_open",
            Self::Open { .. } => "open",
        }
    }

    fn opened(times: u32, now: Tick, rules: &BreakerRules) -> Self {
        let doubled = rules.open.saturating_mul(1 << (times - 1).min(16));
        Self::Open { until: now.after(doubled.min(rules.longest)), times }
    }
}

#[cfg(test)]
mod tests;
