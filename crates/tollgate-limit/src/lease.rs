//! One node's part of a balance that several nodes share: a chunk taken from the store beforehand, spent without asking.
//! Pure: who talks to the store, and how, is not known here; [`Central`](crate::Central) is the arithmetic of the other end.
//!
//! What is spent was taken from the store before, so that nodes together never admit more than one would. What a node
//! holds and does not use is missing elsewhere: never more than a chunk, and that for a second.

use std::time::Duration;

use crate::Limit;
use crate::central::{Act, Bound, Demand, Standing, in_store};
use crate::gcra::{Level, Rate, Taken, Tick};

/// How long an `auto` lease lasts at least and at most.
const LASTS: std::ops::RangeInclusive<Duration> = Duration::from_millis(50)..=Duration::from_secs(1);

/// A lease is to be good for so many mean charges.
const WORTH: u64 = 20;

/// Below so many it does not pay: each charge is taken by itself.
const LEAST_WORTH: u64 = 10;

/// A lease that nobody used for so long goes back.
const UNUSED: Duration = Duration::from_secs(1);

/// For so long at least, and at most, nobody asks again after a refusal.
const REFUSED: std::ops::RangeInclusive<Duration> = Duration::from_millis(2)..=Duration::from_millis(50);

/// Of what is left of a quota, a node leases one part in so many at once, divided by the number of nodes.
const QUOTA_PARTS: u64 = 4;

/// What a node knows of the others, and how it was told to lease.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Terms {
    /// How many nodes share the balance; at least 1.
    pub nodes: u32,
    /// How long a lease is to last if the whole rate is used.
    pub lasts: LeaseTime,
    /// Counts how often the store came back: what it says may then be older than what was known.
    pub epoch: u32,
}

/// How long a lease is to last.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LeaseTime {
    /// So long that it is good for 20 mean charges, within 50 ms and 1 s. Where it would not be good for 10, each charge is
    /// taken by itself.
    #[default]
    Auto,
    /// So long.
    Fixed(Duration),
}

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lease {
    /// Units that were taken from the store and not spent.
    balance: u64,
    /// What was taken beside them, less than a unit, in the store's units.
    crumbs: u64,
    /// Units that were admitted and not yet taken from the store.
    owed: u64,
    /// Units to be returned to the store.
    spare: u64,
    /// What was asked for and not answered yet: the units wanted.
    asking: Option<Asked>,
    /// Units of those who wait for an answer: they are asked for at once.
    waiting: u64,
    refused: Option<Refusal>,
    /// When it was last spent from.
    touched: Tick,
    /// Mean charge, in 256ths of a unit.
    mean: u64,
    view: Option<View>,
    /// What was admitted while the store was away: the time at which this node's share is full again, or the units of it.
    share: u64,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    least: u64,
}

#[derive(Clone, Copy, Debug)]
struct Refusal {
    until: Tick,
    /// Fewer units were not refused.
    least: u64,
}

/// What the store said last.
#[derive(Clone, Copy, Debug)]
struct View {
    /// Of a rate: when the bucket is full again. Of a quota: the units used.
    standing: u64,
    epoch: u32,
}

/// What became of a charge.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Spent {
    /// The lease does not hold so much: the store must be asked, or its answer awaited.
    Ask,
    /// The store refused as much a moment ago.
    No {
        /// After this long it may fit.
        wait: Duration,
    },
    /// It was paid from the lease.
    Yes,
}

impl Lease {
    /// Takes `units` from the lease, if it holds so much.
    #[inline]
    pub fn spend(&mut self, limit: &Limit, units: u64, now: Tick) -> Spent {
        self.touched = now;
        self.learn(units);
        if self.balance >= units {
            self.balance -= units;
            return Spent::Yes;
        }
        let missing = units - self.balance;
        match self.refused {
            Some(refused) if now < refused.until && missing >= refused.least => {
                let cached = Duration::from_nanos(refused.until.0 - now.0);
                Spent::No { wait: cached.max(self.wait(limit, missing, now)) }
            }
            _ => Spent::Ask,
        }
    }

    /// What to ask the store for now, if anything: for `units` that were not there, or (with none) for the next chunk when
    /// half of the last is spent. It counts as asked; [`Lease::answered`] or [`Lease::failed`] must follow.
    #[inline]
    pub fn ask(&mut self, limit: &Limit, terms: &Terms, units: u64, now: Tick) -> Option<Demand> {
        if self.asking.is_some() {
            return None;
        }
        let least = units.saturating_sub(self.balance);
        let chunk = self.chunk(limit, terms);
        if least == 0 && (self.balance > chunk / 2 || self.refused.is_some_and(|refused| now < refused.until)) {
            return None;
        }
        // Together with what is there, never more than a chunk, unless one charge needs more.
        let want = chunk.max(self.waiting).saturating_sub(self.balance).max(least);
        if want == 0 {
            return None;
        }
        let least = least.max(1);
        self.asking = Some(Asked { least });
        Some(Demand {
            act: Act::Charge,
            want: in_store(limit, want),
            least: in_store(limit, least),
            bound: Bound::of(limit, now),
            floor: self.floor(limit, terms, now),
        })
    }

    /// The store gave `granted` of what was asked for, in its units; zero is a refusal.
    pub fn answered(&mut self, limit: &Limit, terms: &Terms, (granted, standing): (u64, Standing), now: Tick) {
        let Some(asked) = self.asking.take() else { return };
        self.fold(limit, terms, now);
        self.saw(limit, terms, standing, now);
        if granted == 0 {
            let wait = self.wait(limit, asked.least, now).clamp(*REFUSED.start(), *REFUSED.end());
            self.refused = Some(Refusal { until: after(now, wait), least: asked.least });
            return;
        }
        self.refused = None;
        // What is less than a unit is kept for the next time: it was paid for.
        let granted = granted.saturating_add(self.crumbs);
        let units = in_units(limit, granted);
        self.crumbs = granted.saturating_sub(in_store(limit, units));
        self.balance = self.balance.saturating_add(units);
        let paid = self.owed.min(self.balance);
        self.owed -= paid;
        self.balance -= paid;
    }

    /// What was asked for was not answered, or too late for whoever waited: nothing is known of it.
    pub const fn failed(&mut self) {
        self.asking = None;
    }

    /// Somebody begins to wait for `units`; [`Lease::waits_no_more`] must follow.
    pub const fn waits(&mut self, units: u64) {
        self.waiting = self.waiting.saturating_add(units);
    }

    /// Whoever waited for `units` waits no more, for whatever reason.
    pub const fn waits_no_more(&mut self, units: u64) {
        self.waiting = self.waiting.saturating_sub(units);
    }

    /// Whether an answer of the store is awaited.
    #[must_use]
    pub const fn is_asking(&self) -> bool {
        self.asking.is_some()
    }

    /// Judges `units` by this node's share of the limit: the store is away, or did not answer in time. Such units are taken
    /// from the store later: `owed` at once and in full, or else as far as the share has not refilled until then.
    pub fn share(&mut self, limit: &Limit, terms: &Terms, units: u64, (now, owed): (Tick, bool)) -> Taken {
        self.touched = now;
        self.learn(units);
        if self.balance >= units {
            self.balance -= units;
            return Taken::Yes;
        }
        let nodes = u64::from(terms.nodes.max(1));
        let taken = match limit {
            Limit::Rate(rate) => self.share_rate(rate, nodes, units, now),
            Limit::Quota(quota) => {
                let left = quota.max().saturating_sub(self.used()) / nodes;
                if self.share.saturating_add(units) <= left {
                    self.share = self.share.saturating_add(units);
                    Taken::Yes
                } else {
                    Taken::No { wait: quota.ends_in(now) }
                }
            }
            Limit::Window(window) => Taken::No { wait: window.span() },
        };
        if taken == Taken::Yes && (owed || matches!(limit, Limit::Quota(_))) {
            self.owed = self.owed.saturating_add(units);
        }
        taken
    }

    /// Returns `units` of an earlier charge: to the lease as far as that has room, else to the store.
    pub fn give_back(&mut self, limit: &Limit, terms: &Terms, units: u64) {
        let unpaid = self.forgive(limit, units);
        let room = self.chunk(limit, terms).saturating_sub(self.balance);
        let kept = (units - unpaid).min(room);
        self.balance += kept;
        self.spare = self.spare.saturating_add(units - unpaid - kept);
    }

    /// Returns `units` of a charge that the store judged itself: to the store.
    pub fn give_all_back(&mut self, limit: &Limit, units: u64) {
        let unpaid = self.forgive(limit, units);
        self.spare = self.spare.saturating_add(units - unpaid);
    }

    /// Takes `units` unconditionally: from the lease as far as it holds them, else from the store.
    pub fn debit(&mut self, units: u64) {
        let paid = units.min(self.balance);
        self.balance -= paid;
        let own = (units - paid).min(self.spare);
        self.spare -= own;
        self.owed = self.owed.saturating_add(units - paid - own);
    }

    /// Takes back into the lease what a charge that was just made took of it.
    pub const fn undo(&mut self, units: u64) {
        self.balance = self.balance.saturating_add(units);
    }

    /// What the store has yet to be told, which then counts as told; with `all`, the rest of the lease goes back as well. An
    /// unused lease goes back in any case.
    pub fn due(&mut self, limit: &Limit, terms: &Terms, (now, all): (Tick, bool)) -> Option<Demand> {
        if all || self.is_unused(now) {
            self.spare = self.spare.saturating_add(std::mem::take(&mut self.balance));
        }
        self.fold(limit, terms, now);
        let both = self.owed.min(self.spare);
        let (owed, spare) = (self.owed - both, self.spare - both);
        (self.owed, self.spare) = (0, 0);
        let floor = self.floor(limit, terms, now);
        let act = match (owed, spare) {
            (0, 0) if floor == 0 => return None,
            (_, 0) => Act::Debit,
            _ => Act::GiveBack,
        };
        let want = if act == Act::Debit { in_store(limit, owed) } else { spare_in_store(limit, spare) };
        Some(Demand { act, want, least: 0, bound: Bound::of(limit, now), floor })
    }

    /// What [`Lease::due`] said was told, and this is how the balance stands.
    pub fn told(&mut self, limit: &Limit, terms: &Terms, standing: Standing, now: Tick) {
        self.saw(limit, terms, standing, now);
    }

    /// What [`Lease::due`] said was not told: it is due again.
    pub fn untold(&mut self, limit: &Limit, terms: &Terms, demand: &Demand, now: Tick) {
        let units = in_units(limit, demand.want);
        if demand.act != Act::Debit {
            self.spare = self.spare.saturating_add(units);
            return;
        }
        self.owed = self.owed.saturating_add(units);
        // The share is not whole because nobody heard what was spent of it.
        self.share = match limit {
            Limit::Rate(rate) => {
                let spent = rate.spend_ns(units).saturating_mul(u64::from(terms.nodes.max(1)));
                now.0.saturating_add(self.backlog(rate, now)).saturating_add(spent)
            }
            _ => self.share.saturating_add(units),
        };
    }

    /// Where the balance stands, as far as this node knows: what others did since the store was last asked is not in it.
    #[must_use]
    pub fn level(&self, limit: &Limit, now: Tick) -> Level {
        match limit {
            Limit::Rate(rate) => {
                let backlog = self.backlog(rate, now).max(self.share.saturating_sub(now.0));
                Level::of(rate, backlog.saturating_sub(rate.spend_ns(self.balance)))
            }
            Limit::Quota(quota) => {
                let used = self.used().saturating_add(self.share).saturating_sub(self.balance);
                quota.level_of(used, now)
            }
            Limit::Window(window) => {
                let (max, none) = (window.max(), Duration::ZERO);
                Level { burst: max, remaining: max, wait: none, full_in: none }
            }
        }
    }

    /// Whether nothing would be lost with it.
    #[must_use]
    pub fn is_idle(&self, limit: &Limit, now: Tick) -> bool {
        let known = match limit {
            Limit::Rate(rate) => self.backlog(rate, now) > 0 || self.share > now.0,
            Limit::Quota(quota) => quota.ends_in(now) > Duration::ZERO,
            Limit::Window(_) => false,
        };
        let busy = self.balance > 0 || self.owed > 0 || self.spare > 0 || self.waiting > 0 || self.asking.is_some();
        !busy && !known && after(self.touched, UNUSED) <= now
    }

    /// Whether the store has yet to be told of something.
    #[must_use]
    pub const fn is_due(&self) -> bool {
        self.owed > 0 || self.spare > 0
    }

    /// Whether it holds something that nobody asked for in a second.
    #[must_use]
    pub fn is_unused(&self, now: Tick) -> bool {
        self.balance > 0 && self.asking.is_none() && after(self.touched, UNUSED) <= now
    }

    /// Units in the lease.
    #[must_use]
    pub const fn balance(&self) -> u64 {
        self.balance
    }

    /// How much is leased at once; zero where each charge is taken by itself.
    #[must_use]
    pub fn chunk(&self, limit: &Limit, terms: &Terms) -> u64 {
        let nodes = u64::from(terms.nodes.max(1));
        let mean = self.mean.div_ceil(256).max(1);
        match limit {
            Limit::Rate(rate) => {
                let lasts = match terms.lasts {
                    LeaseTime::Fixed(lasts) => lasts,
                    LeaseTime::Auto => {
                        let worth = mean.saturating_mul(WORTH).saturating_mul(nodes);
                        rate.refill_time(worth).clamp(*LASTS.start(), *LASTS.end())
                    }
                };
                let chunk = rate.refilled_in(lasts) / nodes;
                // A node that holds more than its part of the burst would starve the others.
                let chunk = chunk.min(rate.burst() / nodes);
                if chunk < mean.saturating_mul(LEAST_WORTH) { 0 } else { chunk }
            }
            Limit::Quota(quota) => {
                let part = quota.max().saturating_sub(self.used()) / (QUOTA_PARTS * nodes);
                let chunk = mean.saturating_mul(WORTH).min(part);
                if chunk < mean.saturating_mul(2) { 0 } else { chunk }
            }
            Limit::Window(_) => 0,
        }
    }

    fn share_rate(&mut self, rate: &Rate, nodes: u64, units: u64, now: Tick) -> Taken {
        let backlog = self.backlog(rate, now).max(self.share.saturating_sub(now.0));
        let next = backlog.saturating_add(rate.spend_ns(units).saturating_mul(nodes));
        // What is larger than a whole share passes when the share is full, and is paid for by those that follow.
        if next > rate.burst_ns() && backlog > 0 {
            return Taken::No { wait: Duration::from_nanos(next - rate.burst_ns()).min(Duration::from_nanos(backlog)) };
        }
        self.share = now.0.saturating_add(next);
        Taken::Yes
    }

    /// Owes `units` less, as far as anything is owed: how many.
    fn forgive(&mut self, limit: &Limit, units: u64) -> u64 {
        let unpaid = units.min(self.owed);
        self.owed -= unpaid;
        if matches!(limit, Limit::Quota(_)) {
            self.share = self.share.saturating_sub(unpaid);
        }
        unpaid
    }

    /// The store is there again: what was admitted by the share, and has not refilled, is owed.
    fn fold(&mut self, limit: &Limit, terms: &Terms, now: Tick) {
        let share = std::mem::take(&mut self.share);
        if let Limit::Rate(rate) = limit {
            let known = now.0.saturating_add(self.backlog(rate, now));
            let excess = share.saturating_sub(known) / u64::from(terms.nodes.max(1));
            self.owed = self.owed.max(rate.units_in(excess));
        }
    }

    /// What the store knew when it was last heard of, if it may have forgotten that since.
    fn floor(&self, limit: &Limit, terms: &Terms, now: Tick) -> u64 {
        match (self.view, limit) {
            (Some(view), _) if view.epoch == terms.epoch => 0,
            (Some(_), Limit::Rate(rate)) => self.backlog(rate, now) / 1000,
            (Some(view), Limit::Quota(_)) => view.standing,
            _ => 0,
        }
    }

    fn saw(&mut self, limit: &Limit, terms: &Terms, standing: Standing, now: Tick) {
        let standing = match limit {
            Limit::Rate(_) => now.0.saturating_add(standing.0.saturating_mul(1000)),
            _ => standing.0,
        };
        self.view = Some(View { standing, epoch: terms.epoch });
    }

    fn backlog(&self, rate: &Rate, now: Tick) -> u64 {
        self.view.map_or(0, |view| view.standing.saturating_sub(now.0)).min(rate.span_ns())
    }

    fn used(&self) -> u64 {
        self.view.map_or(0, |view| view.standing)
    }

    fn wait(&self, limit: &Limit, missing: u64, now: Tick) -> Duration {
        match limit {
            Limit::Rate(rate) => {
                let next = self.backlog(rate, now).saturating_add(rate.spend_ns(missing));
                Duration::from_nanos(next.saturating_sub(rate.burst_ns()))
            }
            Limit::Quota(quota) => quota.ends_in(now),
            Limit::Window(window) => window.span(),
        }
    }

    #[inline]
    const fn learn(&mut self, units: u64) {
        let scaled = units.saturating_mul(256);
        self.mean = if self.mean == 0 { scaled } else { self.mean - self.mean / 16 + scaled / 16 };
    }
}

/// Units as the store counts them, rounded down: what is given back.
fn spare_in_store(limit: &Limit, units: u64) -> u64 {
    match limit {
        Limit::Rate(rate) => rate.spend_ns(units) / 1000,
        _ => units,
    }
}

fn in_units(limit: &Limit, store: u64) -> u64 {
    match limit {
        Limit::Rate(rate) => rate.units_in(store.saturating_mul(1000)),
        _ => store,
    }
}

fn after(now: Tick, wait: Duration) -> Tick {
    Tick(now.0.saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests;
