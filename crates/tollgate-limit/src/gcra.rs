//! The arithmetic: time, rates, and what one operation does to a backlog. Pure; knows no table, thread or clock.
//!
//! GCRA keeps one number for a key, the *theoretical arrival time*: the moment at which its bucket is full again. Here it
//! appears as the **backlog**, that time minus now: nanoseconds of refill that have been spent and not yet come back.

use std::time::Duration;

use crate::sync::{AtomicU64, Ordering};

const NANOS_PER_SEC: u64 = 1_000_000_000;

/// The longest burst plus debt: 36 years, so that no sum below can overflow.
const MAX_SPAN_NS: u64 = 1 << 60;

/// How far a stored time may be ahead of what a rate allows before it counts as a leap: more than [`Latest`] lags.
pub(crate) const SKEW_NS: u64 = 1 << 21;

/// One step of the open table's time: 2^20 ns, about a millisecond.
pub(crate) const TICK_NS: u64 = 1 << 20;

/// The shortest burst that the open table's coarse time can hold, and the longest span before its 32 bits wrap.
const TABLE_BURST_NS: std::ops::RangeInclusive<u64> = 20 * TICK_NS..=TICK_NS << 30;

/// Monotonic nanoseconds since any fixed moment.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Tick(pub u64);

/// How fast a bucket refills, how much it holds, and how far below zero a correction may push it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Rate {
    /// Nanoseconds per unit, 32.32 fixed point, rounded up.
    per_unit: u64,
    burst_ns: u64,
    debt_ns: u64,
    /// What the open table forgives beyond `burst_ns` because its time is coarse; at most half a unit.
    grain_ns: u64,
}

impl Rate {
    /// A bucket of `burst` units that refills `refill_per_sec` and may be overdrawn by `debt` through [`debit`].
    ///
    /// `None` if the burst is zero, the refill is not within 1 to 1,000,000,000 per second, or burst plus debt would
    /// take longer than 36 years to refill.
    ///
    /// [`debit`]: crate::Ledger::debit
    #[must_use]
    pub fn new(burst: u64, refill_per_sec: u64, debt: u64) -> Option<Self> {
        if burst == 0 || refill_per_sec == 0 || refill_per_sec > NANOS_PER_SEC {
            return None;
        }
        let per_unit = (NANOS_PER_SEC << 32).div_ceil(refill_per_sec);
        let exact = spend_ns(per_unit, burst);
        let debt_ns = spend_ns(per_unit, debt);
        if exact.saturating_add(debt_ns) > MAX_SPAN_NS {
            return None;
        }
        let below_a_unit = (per_unit >> 32) - 1;
        // Each charge rounds up to a whole nanosecond: `burst` charges of one unit must still fit.
        let fractional = per_unit & u64::from(u32::MAX) != 0;
        let slack = if fractional { burst.min(below_a_unit) } else { 0 };
        // Roundings to a tick scatter by half a tick each: six deviations, and never more than half a unit.
        let roundings = burst.min(3 * burst.isqrt() + 1);
        let grain_ns = roundings.saturating_mul(TICK_NS).min(below_a_unit / 2).min(below_a_unit - slack);
        Some(Self { per_unit, burst_ns: exact + slack, debt_ns, grain_ns })
    }

    /// The most units one charge can take.
    #[must_use]
    pub fn burst(&self) -> u64 {
        self.units_in(self.burst_ns)
    }

    /// How far below zero [`debit`](crate::Ledger::debit) may push a bucket, in units.
    #[must_use]
    pub fn debt(&self) -> u64 {
        self.units_in(self.debt_ns)
    }

    /// The time in which `units` refill.
    #[must_use]
    pub fn refill_time(&self, units: u64) -> Duration {
        Duration::from_nanos(self.spend_ns(units))
    }

    /// The units that refill in `time`.
    #[must_use]
    pub fn refilled_in(&self, time: Duration) -> u64 {
        self.units_in(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
    }

    pub(crate) fn spend_ns(&self, units: u64) -> u64 {
        spend_ns(self.per_unit, units)
    }

    pub(crate) const fn burst_ns(&self) -> u64 {
        self.burst_ns
    }

    /// The largest backlog a key can have.
    pub(crate) const fn span_ns(&self) -> u64 {
        self.burst_ns + self.debt_ns
    }

    /// Whether the open table's coarse, wrapping time can express this rate.
    pub(crate) fn suits_table(&self) -> bool {
        suits_table(self.burst_ns, self.span_ns())
    }

    /// The same rate as the open table judges it.
    pub(crate) const fn coarse(&self) -> Self {
        Self { burst_ns: self.burst_ns + self.grain_ns, ..*self }
    }

    pub(crate) fn units_in(&self, nanos: u64) -> u64 {
        let units = (u128::from(nanos) << 32) / u128::from(self.per_unit);
        u64::try_from(units).unwrap_or(u64::MAX)
    }
}

fn suits_table(burst_ns: u64, span_ns: u64) -> bool {
    *TABLE_BURST_NS.start() <= burst_ns && span_ns <= *TABLE_BURST_NS.end()
}

#[inline]
fn spend_ns(per_unit: u64, units: u64) -> u64 {
    let nanos = (u128::from(per_unit) * u128::from(units)).div_ceil(1 << 32);
    u64::try_from(nanos).unwrap_or(u64::MAX)
}

/// What became of a charge.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use = "a charge that was not taken must not be served"]
pub enum Taken {
    /// It was taken.
    Yes,
    /// Nothing was taken.
    No {
        /// After this long the same charge fits, if nobody else charges. A charge above the burst never fits.
        wait: Duration,
    },
}

/// Where a key stands, for response headers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Level {
    /// The most units the bucket holds.
    pub burst: u64,
    /// Units that could be charged now.
    pub remaining: u64,
    /// How long until one unit can be charged; zero if one can be now.
    pub wait: Duration,
    /// How long until the bucket is full.
    pub full_in: Duration,
}

impl Level {
    pub(crate) fn of(rate: &Rate, backlog: u64) -> Self {
        let backlog = backlog.min(rate.span_ns());
        let missing = (backlog + rate.spend_ns(1)).saturating_sub(rate.burst_ns);
        Self {
            burst: rate.burst(),
            remaining: rate.units_in(rate.burst_ns.saturating_sub(backlog)),
            wait: Duration::from_nanos(missing),
            full_in: Duration::from_nanos(backlog),
        }
    }
}

/// What is to be done to a backlog.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Act {
    Charge,
    Debit,
    GiveBack,
}

/// One operation: an act, worth `inc` nanoseconds of refill, at `now`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Op<'a> {
    act: Act,
    burst_ns: u64,
    /// The largest backlog that the key can have.
    pub(crate) span_ns: u64,
    grain_ns: u64,
    inc: u64,
    pub(crate) now: u64,
    latest: &'a Latest,
}

/// The latest time that anybody has brought, up to [`TICK_NS`] late so that it is rarely written.
#[derive(Debug, Default)]
pub(crate) struct Latest(AtomicU64);

/// What an [`Op`] comes to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Outcome {
    /// The backlog to store, if it changes.
    pub(crate) store: Option<u64>,
    pub(crate) taken: Taken,
    /// Whether the backlog was longer than the rate allows, and was cut.
    pub(crate) leapt: bool,
}

impl<'a> Op<'a> {
    #[inline]
    pub(crate) fn new(act: Act, rate: &Rate, units: u64, now: u64, latest: &'a Latest) -> Self {
        let Rate { burst_ns, grain_ns, .. } = *rate;
        Self { act, burst_ns, span_ns: rate.span_ns(), grain_ns, inc: rate.spend_ns(units), now, latest }
    }

    /// Whether the open table's coarse, wrapping time can express the rate.
    #[inline]
    pub(crate) fn suits_table(&self) -> bool {
        suits_table(self.burst_ns, self.span_ns)
    }

    /// The same as the open table judges it.
    #[inline]
    pub(crate) fn coarse(&self) -> Self {
        Self { burst_ns: self.burst_ns + self.grain_ns, span_ns: self.span_ns + self.grain_ns, ..*self }
    }

    /// Judges a key with `backlog`.
    #[inline]
    pub(crate) fn on(&self, backlog: u64) -> Outcome {
        let Self { act, burst_ns, span_ns: span, inc, .. } = *self;
        let leapt = backlog > span.saturating_add(SKEW_NS);
        let backlog = if leapt { span } else { backlog };
        let (next, taken) = match act {
            Act::Charge => {
                let next = backlog.saturating_add(inc);
                match next.checked_sub(burst_ns) {
                    None | Some(0) => (if inc > 0 { next } else { backlog }, Taken::Yes),
                    Some(over) => (backlog, Taken::No { wait: Duration::from_nanos(over) }),
                }
            }
            Act::Debit => (backlog.saturating_add(inc).min(span).max(backlog), Taken::Yes),
            Act::GiveBack => (backlog.saturating_sub(inc), Taken::Yes),
        };
        // INVARIANT: a cut is stored even when nothing else changes, or the key would stay locked until the old time.
        Outcome { store: (next != backlog || leapt).then_some(next), taken, leapt }
    }

    /// After a leap: whether it was this thread that fell behind. Then `now` is later, and the key must be judged again.
    ///
    /// A thread that is suspended between reading the clock and judging a key may find a time that others have moved on
    /// by more than a burst; to cut that would forgive what they spent. Whoever stored the time had brought its own
    /// `now` here first, so who has seen the one sees the other.
    #[inline]
    pub(crate) fn catch_up(&mut self) -> bool {
        let latest = self.latest.0.load(Ordering::Relaxed);
        let behind = latest > self.now;
        self.now = self.now.max(latest);
        behind
    }
}

impl Latest {
    /// The later of `now` and what has been seen: a clock that steps back refills nothing.
    #[inline]
    pub(crate) fn bring(&self, now: Tick) -> u64 {
        let latest = self.0.load(Ordering::Relaxed);
        const { assert!(TICK_NS < SKEW_NS) };
        if now.0 > latest.saturating_add(TICK_NS) {
            self.0.fetch_max(now.0, Ordering::Relaxed);
        }
        now.0.max(latest)
    }
}
