//! When tokens, leases and readings are due: arithmetic over ticks, and nothing else.

use std::time::Duration;

use tollgate_core::time::Tick;

/// The longest term that is believed.
const LONGEST: u64 = 3650 * 86_400;
/// The first wait after a failure, and the longest.
const FIRST: Duration = Duration::from_secs(1);
const LAST: Duration = Duration::from_secs(60);

/// How long something granted is good.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Term {
    from: Tick,
    ttl: Duration,
    first: Duration,
    renewable: bool,
}

impl Term {
    /// Granted now for so many seconds; 0 is for ever.
    pub(super) fn new(from: Tick, seconds: u64, renewable: bool) -> Self {
        let ttl = Duration::from_secs(seconds.min(LONGEST));
        Self { from, ttl, first: ttl, renewable }
    }

    /// Renewed now. What gets less than half of what it first got is near the end of what it may have at all.
    pub(super) fn renewed(self, from: Tick, seconds: u64, renewable: bool) -> Self {
        let ttl = Duration::from_secs(seconds.min(LONGEST));
        Self { from, ttl, first: self.first, renewable: renewable && ttl * 2 >= self.first }
    }

    /// Whether something is to be done about it.
    pub(super) fn is_due(self, now: Tick) -> bool {
        !self.ttl.is_zero() && now >= self.from.after(self.ttl * 2 / 3)
    }

    /// Whether that is to renew it; else it is to be replaced.
    pub(super) const fn is_renewable(self) -> bool {
        self.renewable
    }

    /// Whether it is good for anything.
    pub(super) fn has_ended(self, now: Tick) -> bool {
        !self.ttl.is_zero() && now >= self.from.after(self.ttl)
    }
}

/// How long nothing is tried after failures.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Backoff {
    wait: Duration,
    until: Tick,
}

impl Backoff {
    /// Another failure: twice as long as after the last one, and up to a quarter longer by chance.
    pub(super) fn failed(&mut self, now: Tick, dice: u64) {
        self.wait = if self.wait.is_zero() { FIRST } else { (self.wait * 2).min(LAST) };
        self.until = now.after(self.wait + spread(self.wait / 4, dice));
    }

    /// All is well.
    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// Whether something may be tried.
    pub(super) fn is_over(&self, now: Tick) -> bool {
        now >= self.until
    }
}

/// Between nothing and `most`, by chance.
pub(super) fn spread(most: Duration, dice: u64) -> Duration {
    let most = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(if most == 0 { 0 } else { dice % most })
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Tick {
        Tick(seconds * 1_000_000_000)
    }

    #[test]
    fn a_term_is_due_after_two_thirds_and_then_ends() {
        let term = Term::new(at(100), 90, true);
        assert!(!term.is_due(at(159)) && term.is_due(at(160)));
        assert!(!term.has_ended(at(189)) && term.has_ended(at(190)));
        let renewed = term.renewed(at(160), 90, true);
        assert!(renewed.is_renewable() && !renewed.has_ended(at(249)));
        // Near its longest life it gets less.
        let last = renewed.renewed(at(220), 40, true);
        assert!(!last.is_renewable());
        let endless = Term::new(at(100), 0, false);
        assert!(!endless.is_due(at(1_000_000)) && !endless.has_ended(at(1_000_000)));
        assert!(!Term::new(at(1), u64::MAX, true).has_ended(at(1_000)), "absurd terms are cut, not wrapped");
    }

    #[test]
    fn failures_are_tried_again_ever_more_seldom_and_at_least_once_a_minute() {
        let mut backoff = Backoff::default();
        assert!(backoff.is_over(at(0)));
        let mut now = at(0);
        let mut waits = Vec::new();
        for _ in 0..9 {
            backoff.failed(now, 0);
            let mut seconds = 0;
            while !backoff.is_over(now) {
                now = now.after(FIRST);
                seconds += 1;
            }
            waits.push(seconds);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        backoff.succeeded();
        assert!(backoff.is_over(now));
    }
}
