//! Calendar quotas: so much for each day, week or month. Counts exactly, whatever the clock does; which period a moment is
//! in is the calendar's business.

use std::time::Duration;

use crate::Tick;
use crate::book::Account;
use crate::calendar::{Moment, Period};
use crate::gcra::{Level, Taken};

/// So much for one period of a calendar: made for a moment by [`Calendar::quota`](crate::Calendar::quota).
///
/// Settle with the quota that was charged, not with one made later: then a request that began before midnight is
/// corrected in the day that it was charged to.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Quota {
    max: u64,
    id: u32,
    /// When the period ends, on both clocks.
    ends_unix: u64,
    ends: Tick,
}

/// What one key has used in the two periods that it was charged to last.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Used {
    /// The one charged last.
    front: Spent,
    back: Spent,
}

/// What was used in one period.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Spent {
    /// Number of the period.
    pub(crate) id: u32,
    pub(crate) units: u64,
    pub(crate) ends_unix: u64,
}

impl Quota {
    /// A quota for `period`, which `at` is in.
    #[must_use]
    pub fn new(max: u64, period: Period, at: Moment) -> Self {
        let left_ms = period.ends_unix.saturating_mul(1000).saturating_sub(at.unix_ms);
        let ends = Tick(at.now.0.saturating_add(left_ms.saturating_mul(1_000_000)));
        Self { max, id: period.id, ends_unix: period.ends_unix, ends }
    }

    /// The units of one period.
    #[must_use]
    pub const fn max(&self) -> u64 {
        self.max
    }

    /// Number of the period.
    #[must_use]
    pub const fn period(&self) -> u32 {
        self.id
    }

    /// How long the period lasts yet.
    #[must_use]
    pub const fn ends_in(&self, now: Tick) -> Duration {
        Duration::from_nanos(self.ends.0.saturating_sub(now.0))
    }

    /// A moment at which no period has ended.
    pub(crate) const BEFORE: Tick = Tick(0);

    /// A stand-in for the quota that a record of an earlier run belongs to.
    pub(crate) const fn of(spent: &Spent) -> Self {
        Self { max: 0, id: spent.id, ends_unix: spent.ends_unix, ends: Tick(u64::MAX) }
    }

    /// Wall time at `now`, in seconds.
    pub(crate) const fn unix_at(&self, now: Tick) -> u64 {
        self.ends_unix.saturating_sub(self.ends.0.saturating_sub(now.0) / 1_000_000_000)
    }

    pub(crate) fn level(&self, used: Option<&Used>, now: Tick) -> Level {
        self.level_of(used.and_then(|used| used.of(self)).unwrap_or(0), now)
    }

    pub(crate) fn level_of(&self, used: u64, now: Tick) -> Level {
        let remaining = self.max.saturating_sub(used);
        let ends = self.ends_in(now);
        Level {
            burst: self.max,
            remaining,
            wait: if remaining == 0 { ends } else { Duration::ZERO },
            full_in: if used == 0 { Duration::ZERO } else { ends },
        }
    }
}

impl Used {
    /// Takes `units` if the period has so much left.
    pub(crate) fn charge(&mut self, quota: &Quota, units: u64, now: Tick) -> Taken {
        let spent = self.turn(quota);
        match spent.units.checked_add(units) {
            Some(sum) if sum <= quota.max => {
                spent.units = sum;
                Taken::Yes
            }
            _ => Taken::No { wait: quota.ends_in(now) },
        }
    }

    /// Counts `units` whatever is left: what was used was used. A period that is forgotten stays so.
    pub(crate) fn debit(&mut self, quota: &Quota, units: u64) {
        let forgotten = self.front.units > 0 && quota.id < self.front.id;
        if let Some(spent) = self.late(quota) {
            spent.units = spent.units.saturating_add(units);
        } else if !forgotten {
            let spent = self.turn(quota);
            spent.units = spent.units.saturating_add(units);
        }
    }

    /// Counts `units` no longer, in the period that they were charged to, or nothing if that is forgotten.
    pub(crate) fn give_back(&mut self, quota: &Quota, units: u64) {
        if let Some(spent) = self.late(quota) {
            spent.units = spent.units.saturating_sub(units);
        }
    }

    /// What is kept of periods that something was used in.
    pub(crate) fn spent(&self) -> impl Iterator<Item = Spent> {
        self.counts().filter(|spent| spent.units > 0)
    }

    /// What is kept, also where everything was given back.
    pub(crate) fn counts(&self) -> impl Iterator<Item = Spent> {
        [self.back, self.front].into_iter().filter(|spent| spent.ends_unix > 0)
    }

    /// Takes a record of an earlier run: what is there of the same period is replaced.
    pub(crate) fn restore(&mut self, spent: Spent) {
        if self.back.id == spent.id {
            self.back = spent;
        } else if self.front.id == spent.id || self.front.units == 0 {
            self.front = spent;
        } else if spent.id > self.front.id {
            self.back = std::mem::replace(&mut self.front, spent);
        } else if spent.id > self.back.id || self.back.units == 0 {
            self.back = spent;
        }
    }

    /// The count of the quota's period, which becomes the current one.
    ///
    /// A clock that steps back over one boundary opens no new period. One that steps further was wrong before or is
    /// wrong now, and a wrong clock must not lock anybody for longer than it is wrong: the period it says is counted,
    /// and the other is kept for when it comes back.
    fn turn(&mut self, quota: &Quota) -> &mut Spent {
        let stays = self.front.id == quota.id || (self.front.id == quota.id.wrapping_add(1) && self.front.units > 0);
        if !stays {
            if self.back.id != quota.id {
                self.back = Spent { id: quota.id, units: 0, ends_unix: quota.ends_unix };
            }
            std::mem::swap(&mut self.front, &mut self.back);
        }
        if self.front.id == quota.id {
            self.front.ends_unix = quota.ends_unix;
        }
        &mut self.front
    }

    /// The count to which a charge of the quota went, if it is kept.
    fn late(&mut self, quota: &Quota) -> Option<&mut Spent> {
        if self.front.id == quota.id {
            return Some(&mut self.front);
        }
        if self.back.id == quota.id { Some(&mut self.back) } else { None }
    }

    /// What the next charge of the quota would add to.
    fn of(&self, quota: &Quota) -> Option<u64> {
        let mut next = *self;
        Some(next.turn(quota).units)
    }
}

impl Account for Used {
    type Limit = Quota;

    fn stake(&self, quota: &Quota, now: Tick) -> u64 {
        let unix = quota.unix_at(now);
        self.spent().filter(|spent| spent.ends_unix > unix).map(|spent| spent.units).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(max: u64, id: u32) -> Quota {
        let starts_unix = u64::from(id) * 100;
        let period = Period { id, starts_unix, ends_unix: starts_unix + 100 };
        Quota::new(max, period, Moment { now: Tick(0), unix_ms: starts_unix * 1000 })
    }

    fn units(used: &Used, id: u32) -> u64 {
        used.spent().find(|spent| spent.id == id).map_or(0, |spent| spent.units)
    }

    #[test]
    fn a_period_gives_what_it_has_and_not_a_unit_more() {
        let (mut used, quota) = (Used::default(), quota(10, 7));
        assert_eq!(used.charge(&quota, 6, Tick(0)), Taken::Yes);
        assert_eq!(used.charge(&quota, 5, Tick(0)), Taken::No { wait: Duration::from_secs(100) });
        assert_eq!(used.charge(&quota, 4, Tick(0)), Taken::Yes);
        assert_eq!(used.charge(&quota, u64::MAX, Tick(0)), Taken::No { wait: Duration::from_secs(100) });
        assert_eq!(units(&used, 7), 10);
    }

    #[test]
    fn a_new_period_starts_full_and_late_corrections_go_to_the_old_one() {
        let mut used = Used::default();
        assert_eq!(used.charge(&quota(10, 7), 10, Tick(0)), Taken::Yes);
        assert_eq!(used.charge(&quota(10, 8), 9, Tick(0)), Taken::Yes);
        used.give_back(&quota(10, 7), 4);
        used.debit(&quota(10, 7), 1);
        assert_eq!((units(&used, 7), units(&used, 8)), (7, 9));
        used.give_back(&quota(10, 6), 9);
        used.debit(&quota(10, 6), 9);
        assert_eq!((units(&used, 7), units(&used, 8)), (7, 9));
    }

    #[test]
    fn a_clock_that_steps_back_over_a_boundary_opens_no_second_quota() {
        let mut used = Used::default();
        assert_eq!(used.charge(&quota(10, 7), 10, Tick(0)), Taken::Yes);
        assert_eq!(used.charge(&quota(10, 8), 4, Tick(0)), Taken::Yes);
        assert!(matches!(used.charge(&quota(10, 7), 7, Tick(0)), Taken::No { .. }));
        assert_eq!(used.charge(&quota(10, 7), 6, Tick(0)), Taken::Yes);
        assert!(matches!(used.charge(&quota(10, 8), 1, Tick(0)), Taken::No { .. }));
    }

    #[test]
    fn a_clock_that_was_wrong_for_a_while_neither_locks_nor_forgives() {
        let mut used = Used::default();
        assert_eq!(used.charge(&quota(10, 700), 8, Tick(0)), Taken::Yes);
        // A machine that wakes up in 1970, or in 2099.
        for wrong in [0, 9_000] {
            assert_eq!(used.charge(&quota(10, wrong), 10, Tick(0)), Taken::Yes);
            assert!(matches!(used.charge(&quota(10, wrong), 1, Tick(0)), Taken::No { .. }));
            assert!(matches!(used.charge(&quota(10, 700), 3, Tick(0)), Taken::No { .. }), "{wrong}");
        }
        assert_eq!(used.charge(&quota(10, 700), 2, Tick(0)), Taken::Yes);
    }

    #[test]
    fn what_was_used_beyond_the_quota_is_counted_and_ends_with_the_period() {
        let mut used = Used::default();
        assert_eq!(used.charge(&quota(10, 7), 10, Tick(0)), Taken::Yes);
        used.debit(&quota(10, 7), 1_000);
        assert_eq!(units(&used, 7), 1_010);
        assert_eq!(quota(10, 7).level(Some(&used), Tick(0)).remaining, 0);
        assert_eq!(quota(10, 8).level(Some(&used), Tick(0)).remaining, 10);
        assert_eq!(used.charge(&quota(10, 8), 10, Tick(0)), Taken::Yes);
    }

    #[test]
    fn records_of_an_earlier_run_replace_what_is_there() {
        let spent = |id, units| Spent { id, units, ends_unix: 1 };
        for order in [[(7, 3), (8, 4)], [(8, 4), (7, 3)]] {
            let mut used = Used::default();
            for (id, units) in order {
                used.restore(spent(id, units + 50));
                used.restore(spent(id, units));
            }
            assert_eq!((units(&used, 7), units(&used, 8)), (3, 4));
            assert_eq!(used.charge(&quota(10, 8), 6, Tick(0)), Taken::Yes);
            assert!(matches!(used.charge(&quota(10, 8), 1, Tick(0)), Taken::No { .. }));
            used.restore(spent(2, 9));
            assert_eq!((units(&used, 2), units(&used, 7)), (0, 3));
        }
    }
}
