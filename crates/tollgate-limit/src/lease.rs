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
    /// Units that the store must be told to take, as far as the debt of the limit goes.
    owed: u64,
    /// Of a quota: units of that which the store was told and has not confirmed.
    telling: u64,
    /// Of a rate: units that were admitted without the store. They are paid in full, from what is leased next.
    ahead: u64,
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
    /// Of a rate, while the store is away: when this node's share is full again.
    share: u64,
    /// Among how many nodes it was divided then.
    parts: u32,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    /// Units that somebody lacked.
    need: u64,
    at: Tick,
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
    heard: Tick,
    epoch: u32,
}

/// Why a charge is judged without the store.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Without {
    /// It is away since then: what refills, refills the shares of the nodes.
    Away {
        /// Since then.
        since: Tick,
    },
    /// It lives and has not answered in time: what refills is its own to give.
    Late,
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
        let need = units.saturating_sub(self.balance);
        let chunk = self.chunk(limit, terms);
        let enough = self.balance > chunk / 2 && self.ahead == 0;
        if need == 0 && (enough || self.is_refused(now)) {
            return None;
        }
        // Together with what is there, never more than a chunk and what it pays first, unless one charge needs more.
        let want = chunk.max(self.waiting).saturating_sub(self.balance).max(need).saturating_add(self.ahead);
        // Of what is paid late anything is of use; else whoever waits gets what he needs, or an answer.
        let least = if self.ahead > 0 { 1 } else { need.max(1) };
        (want > 0).then(|| self.question(limit, terms, (want, least, need), now))
    }

    /// What to ask the store for now to pay for what was admitted without it, if there is any. It counts as asked.
    pub fn pay(&mut self, limit: &Limit, terms: &Terms, now: Tick) -> Option<Demand> {
        self.fold(limit, now);
        self.pay_ahead();
        let unpaid = self.ahead;
        let can = unpaid > 0 && self.asking.is_none() && !self.is_refused(now);
        can.then(|| self.question(limit, terms, (unpaid, 1, 0), now))
    }

    /// The store gave `granted` of what was asked for, in its units; zero is a refusal.
    pub fn answered(&mut self, limit: &Limit, terms: &Terms, (granted, standing): (u64, Standing), now: Tick) {
        let Some(asked) = self.asking.take() else { return };
        self.fold(limit, now);
        self.saw(limit, terms, standing, now);
        // What is less than a unit is kept for the next time: it was paid for.
        let granted_all = granted.saturating_add(self.crumbs);
        let units = in_units(limit, granted_all);
        self.crumbs = granted_all.saturating_sub(in_store(limit, units));
        self.balance = self.balance.saturating_add(units);
        self.pay_ahead();
        let lacks = asked.need.saturating_sub(self.balance);
        self.refused = None;
        if granted == 0 || lacks > 0 {
            let missing = lacks.max(1);
            let wait = self.wait(limit, missing.saturating_add(self.ahead), now);
            let wait = wait.clamp(*REFUSED.start(), *REFUSED.end());
            self.refused = Some(Refusal { until: after(now, wait), least: missing });
        }
    }

    /// What the store took for a charge that was judged without it, in its units: that much is paid, and the rest goes back.
    pub fn came_late(&mut self, limit: &Limit, granted: u64) {
        let units = in_units(limit, granted);
        let paid = units.min(self.ahead);
        self.ahead -= paid;
        self.spare = self.spare.saturating_add(units - paid);
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

    /// Whether an answer of the store is awaited for longer than `patience`: nobody else need wait for it.
    #[must_use]
    pub fn is_overdue(&self, patience: Duration, now: Tick) -> bool {
        self.asking.is_some_and(|asked| after(asked.at, patience) <= now)
    }

    /// Judges `units` by this node's share of the limit, in which what it was admitted before and has not paid counts in
    /// full. The store takes such units later.
    ///
    /// While the store lives, the share is one of what was free when it was last heard: it gives what refills to whoever
    /// asks, and two must not give the same.
    pub fn share(&mut self, limit: &Limit, terms: &Terms, units: u64, (now, without): (Tick, Without)) -> Taken {
        self.touched = now;
        self.learn(units);
        let missing = units.saturating_sub(self.balance);
        let nodes = terms.nodes.max(1);
        let taken = match limit {
            _ if missing == 0 => Taken::Yes,
            Limit::Rate(rate) => self.share_rate(rate, nodes, missing, (now, without)),
            Limit::Quota(quota) => {
                let left = quota.max().saturating_sub(self.used()) / u64::from(nodes);
                let mine = self.owed.saturating_add(self.telling).saturating_add(missing);
                let wait = if without == Without::Late { *REFUSED.end() } else { quota.ends_in(now) };
                if mine <= left { Taken::Yes } else { Taken::No { wait } }
            }
            Limit::Window(window) => Taken::No { wait: window.span() },
        };
        if taken == Taken::Yes {
            self.balance -= units - missing;
            let due = if matches!(limit, Limit::Rate(_)) { &mut self.ahead } else { &mut self.owed };
            *due = due.saturating_add(missing);
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
    /// unused lease goes back in any case. What was admitted without the store is paid by [`Lease::pay`], unless this is the
    /// end.
    pub fn due(&mut self, limit: &Limit, terms: &Terms, (now, all): (Tick, bool)) -> Option<Demand> {
        self.fold(limit, now);
        self.pay_ahead();
        if all || self.is_unused(now) {
            self.spare = self.spare.saturating_add(std::mem::take(&mut self.balance));
        }
        let paid = self.ahead.min(self.spare);
        self.ahead -= paid;
        self.spare -= paid;
        if all {
            self.owed = self.owed.saturating_add(std::mem::take(&mut self.ahead));
        }
        let both = self.owed.min(self.spare);
        let (owed, spare) = (self.owed - both, self.spare - both);
        (self.owed, self.spare) = (0, 0);
        let floor = self.floor(limit, terms, now);
        let act = match (owed, spare) {
            (0, 0) if floor == 0 => return None,
            (_, 0) => Act::Debit,
            _ => Act::GiveBack,
        };
        if matches!(limit, Limit::Quota(_)) {
            self.telling = self.telling.saturating_add(owed);
        }
        let want = if act == Act::Debit { in_store(limit, owed) } else { spare_in_store(limit, spare) };
        Some(Demand { act, want, least: 0, bound: Bound::of(limit, now), floor })
    }

    /// The store did what is demanded, of which [`Lease::due`] may have told it, and this is how the balance stands.
    pub fn told(&mut self, limit: &Limit, terms: &Terms, (demand, standing): (&Demand, Standing), now: Tick) {
        self.heard_of(limit, demand);
        self.saw(limit, terms, standing, now);
    }

    /// What [`Lease::due`] said was not told: it is due again.
    pub fn untold(&mut self, limit: &Limit, demand: &Demand) {
        let units = in_units(limit, demand.want);
        self.heard_of(limit, demand);
        match demand.act {
            Act::Debit => self.owed = self.owed.saturating_add(units),
            _ => self.spare = self.spare.saturating_add(units),
        }
    }

    /// Where the balance stands, as far as this node knows: what others did since the store was last asked is not in it.
    #[must_use]
    pub fn level(&self, limit: &Limit, now: Tick) -> Level {
        match limit {
            Limit::Rate(rate) => {
                let backlog = self.backlog(rate, now).saturating_add(rate.spend_ns(self.ahead));
                let backlog = backlog.max(self.share.saturating_sub(now.0));
                Level::of(rate, backlog.saturating_sub(rate.spend_ns(self.balance)))
            }
            Limit::Quota(quota) => {
                let mine = self.owed.saturating_add(self.telling);
                quota.level_of(self.used().saturating_add(mine).saturating_sub(self.balance), now)
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
        // A share that is full again has nothing to pay for.
        let unpaid = self.ahead > 0 && (self.share == 0 || self.share > now.0);
        let due = unpaid || self.owed > 0 || self.spare > 0 || self.telling > 0;
        let busy = due || self.balance > 0 || self.waiting > 0 || self.asking.is_some();
        !busy && !known && after(self.touched, UNUSED) <= now
    }

    /// Whether the store has yet to be told of something.
    #[must_use]
    pub const fn is_due(&self) -> bool {
        self.owed > 0 || self.spare > 0 || self.ahead > 0
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

    fn share_rate(&mut self, rate: &Rate, nodes: u32, missing: u64, (now, without): (Tick, Without)) -> Taken {
        let each = |units: u64| rate.spend_ns(units).saturating_mul(u64::from(nodes));
        let begun = self.share.saturating_sub(now.0);
        let heard = match without {
            Without::Late => self.standing_at(rate, (now, now)).max(begun),
            Without::Away { .. } if self.share > 0 => begun,
            Without::Away { since } => self.standing_at(rate, (since, now)),
        };
        let backlog = if begun > 0 { heard } else { heard.saturating_add(each(self.ahead)) };
        let next = backlog.saturating_add(each(missing));
        // What is larger than a whole share passes when the share is full, and is paid for by those that follow.
        if next > rate.burst_ns() && backlog > 0 {
            let wait = match without {
                Without::Late => self.wait(&Limit::Rate(*rate), missing, now).max(*REFUSED.start()),
                Without::Away { .. } => Duration::from_nanos((next - rate.burst_ns()).min(backlog)),
            };
            return Taken::No { wait };
        }
        if matches!(without, Without::Away { .. }) || begun > 0 {
            (self.share, self.parts) = (now.0.saturating_add(next), nodes);
        }
        Taken::Yes
    }

    /// How the bucket stands if what refilled before `since`, though not more than a second of it, went to others.
    fn standing_at(&self, rate: &Rate, (since, now): (Tick, Tick)) -> u64 {
        let Some(view) = self.view else { return 0 };
        let given = since.0.saturating_sub(view.heard.0).min(u64::try_from(UNUSED.as_nanos()).unwrap_or(u64::MAX));
        view.standing.saturating_add(given).saturating_sub(now.0).min(rate.span_ns())
    }

    fn question(&mut self, limit: &Limit, terms: &Terms, (want, least, need): (u64, u64, u64), now: Tick) -> Demand {
        self.asking = Some(Asked { need, at: now });
        let (want, least) = (in_store(limit, want), in_store(limit, least));
        let (bound, floor) = (Bound::of(limit, now), self.floor(limit, terms, now));
        Demand { act: Act::Charge, want, least, bound, floor }
    }

    const fn pay_ahead(&mut self) {
        let paid = if self.ahead < self.balance { self.ahead } else { self.balance };
        self.ahead -= paid;
        self.balance -= paid;
    }

    fn is_refused(&self, now: Tick) -> bool {
        self.refused.is_some_and(|refused| now < refused.until)
    }

    /// Owes `units` less, as far as anything is owed: how many.
    fn forgive(&mut self, limit: &Limit, units: u64) -> u64 {
        let ahead = units.min(self.ahead);
        self.ahead -= ahead;
        if let Limit::Rate(rate) = limit {
            let spent = rate.spend_ns(ahead).saturating_mul(u64::from(self.parts));
            // One that is full again stays one: zero says that there is none.
            self.share = self.share.saturating_sub(spent).max(self.share.min(1));
        }
        let owed = (units - ahead).min(self.owed);
        self.owed -= owed;
        ahead + owed
    }

    /// The store is there again: what was admitted without it, and has refilled in this node's share since, is not owed.
    fn fold(&mut self, limit: &Limit, now: Tick) {
        let share = std::mem::take(&mut self.share);
        if let (Limit::Rate(rate), 1..) = (limit, share) {
            let known = now.0.saturating_add(self.backlog(rate, now));
            let unfilled = share.saturating_sub(known) / u64::from(self.parts.max(1));
            self.ahead = self.ahead.min(rate.units_in(unfilled.saturating_add(rate.spend_ns(1))));
        }
    }

    fn heard_of(&mut self, limit: &Limit, demand: &Demand) {
        if demand.act == Act::Debit {
            self.telling = self.telling.saturating_sub(in_units(limit, demand.want));
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
        self.view = Some(View { standing, heard: now, epoch: terms.epoch });
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
