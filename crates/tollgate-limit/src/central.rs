//! The other end of a lease: what a store does with one balance. The exact model of the script that runs in the store; of
//! use by itself in tests and simulations. Knows one balance; that several are taken together or not at all is the script's.

use std::time::Duration;

use crate::{Limit, Tick};

/// How long a store keeps the count of a period that has ended: late corrections find theirs.
const GRACE: Duration = Duration::from_hours(24);

/// What a node asks of one balance of the store. Amounts are in the store's units: microseconds of refill for a rate, units
/// for a quota.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Demand {
    /// What is to be done.
    pub act: Act,
    /// How much.
    pub want: u64,
    /// Less than that is of no use; only for a charge.
    pub least: u64,
    /// What bounds the balance.
    pub bound: Bound,
    /// The balance stood at so much at least: what the node knew before the store came back, zero if it stayed.
    pub floor: u64,
}

/// What is to be done with a balance.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Act {
    /// Take what is there, up to `want`, unless that is less than `least`.
    Charge,
    /// Take `want`, whatever is there.
    Debit,
    /// Give `want` back.
    GiveBack,
}

/// What bounds a balance, in the store's units.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Bound {
    /// A counter that is forgotten after a while.
    Quota {
        /// The most that it counts for a charge.
        max: u64,
        /// For how many milliseconds it is of any use.
        keep_ms: u64,
    },
    /// A time that a bucket is full again.
    Rate {
        /// How far a charge may push it.
        burst_us: u64,
        /// How far beyond that a debit may.
        debt_us: u64,
    },
}

/// How a balance stands: for a rate, microseconds until it is full; for a quota, what is used.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Standing(pub u64);

/// One balance in a store.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Central(u64);

impl Demand {
    /// The charge of `units`, all or nothing.
    #[must_use]
    pub fn charge(limit: &Limit, units: u64, now: Tick) -> Self {
        let want = in_store(limit, units);
        Self { act: Act::Charge, want, least: want, bound: Bound::of(limit, now), floor: 0 }
    }

    /// The return of what such a charge took.
    #[must_use]
    pub const fn returned(self) -> Self {
        Self { act: Act::GiveBack, least: 0, ..self }
    }
}

/// Units as the store counts them: microseconds of refill for a rate, rounded up; units for a quota.
pub(crate) fn in_store(limit: &Limit, units: u64) -> u64 {
    match limit {
        Limit::Rate(rate) => rate.spend_ns(units).div_ceil(1000),
        _ => units,
    }
}

impl Bound {
    /// The bound of `limit` at a moment. A window, which no store keeps, holds nothing.
    #[must_use]
    pub fn of(limit: &Limit, now: Tick) -> Self {
        match limit {
            Limit::Quota(quota) => {
                let keep = quota.ends_in(now).saturating_add(GRACE).as_millis();
                Self::Quota { max: quota.max(), keep_ms: u64::try_from(keep).unwrap_or(u64::MAX) }
            }
            Limit::Rate(rate) => {
                // Rounded up: a charge of the whole burst, which rounds up, must fit.
                let (burst_us, span_us) = (rate.burst_ns().div_ceil(1000), rate.span_ns().div_ceil(1000));
                Self::Rate { burst_us, debt_us: span_us.saturating_sub(burst_us) }
            }
            Limit::Window(_) => Self::Quota { max: 0, keep_ms: 1 },
        }
    }
}

impl Central {
    /// Does what is demanded at `now_us`: how much was granted (zero is a refusal of a charge), and how the balance stands
    /// then.
    pub fn apply(&mut self, demand: &Demand, now_us: u64) -> (u64, Standing) {
        let Demand { act, want, least, floor, .. } = *demand;
        let (stands, most, cap) = match demand.bound {
            Bound::Quota { max, .. } => (self.0.max(floor), max, u64::MAX),
            Bound::Rate { burst_us, debt_us } => {
                let span = burst_us.saturating_add(debt_us);
                (self.0.saturating_sub(now_us).min(span).max(floor.min(span)), burst_us, span)
            }
        };
        let granted = match act {
            Act::Charge => Some(want.min(most.saturating_sub(stands))).filter(|free| *free >= least).unwrap_or(0),
            Act::Debit | Act::GiveBack => want,
        };
        let next = match act {
            Act::Charge => stands + granted,
            Act::Debit => stands.saturating_add(want).min(cap).max(stands),
            Act::GiveBack => stands.saturating_sub(want),
        };
        self.0 = if matches!(demand.bound, Bound::Rate { .. }) { now_us.saturating_add(next) } else { next };
        (granted, Standing(next))
    }
}
