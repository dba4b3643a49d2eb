//! A fair queue by cost: who waits is served by weight, whatever its requests cost, and whoever cannot be served in time
//! hears so at once. Pure: time is an argument, nothing runs here, and what waits is the caller's.
//!
//! Start-time fair queueing on three levels: priorities share by weight, tenants within a priority, keys within a tenant;
//! a key's requests go in their order. A request is scheduled by what it is thought to cost; what it did cost corrects its
//! tenant's turn, as in the virtual token counter of *Fairness in Serving Large Language Models* (OSDI '24).

mod line;
mod share;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::Tick;
use line::{Hall, Line};
use share::Share;

pub use line::Ticket;

/// A standing queue: sojourn above this share of the time that a request has, and above [`STANDING`].
const STANDING_PART: u32 = 10;
const STANDING: Duration = Duration::from_millis(50);

/// So long must it stand before the first entry is shed; the next ones come faster, by the square root of their number.
const PATIENCE: Duration = Duration::from_millis(100);

/// Over how long the rate of what is done is averaged.
const DECAY_SECS: f64 = 10.0;

/// Which requests go first. They share by weight, so that the last is served too.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Priority {
    /// Somebody's life depends on it.
    Critical,
    /// Somebody waits in front of it.
    High,
    /// Everything else.
    #[default]
    Normal,
    /// Nobody waits for it.
    Batch,
}

/// How a [`FairQueue`] shares, and what it holds at most.
#[derive(Clone, Copy, Debug)]
pub struct FairConfig {
    /// Entries at once.
    pub max_entries: usize,
    /// Bytes that these may hold, as their callers say.
    pub max_bytes: u64,
    /// Weights of the priorities, from critical to batch.
    pub weights: [u32; 4],
    /// Whether critical requests go before all others, whatever the weights.
    pub strict_critical: bool,
    /// Microseconds of cost done in a second, until that is known.
    pub drain_per_sec: u64,
}

/// Who wants to be served.
#[derive(Clone, Copy, Debug)]
pub struct Applicant {
    /// Its tenant, a hash.
    pub tenant: u64,
    /// That tenant's weight.
    pub weight: u32,
    /// The key within the tenant, a hash.
    pub key: u64,
    /// Its priority.
    pub priority: Priority,
    /// What it is thought to cost, in microseconds of accelerator time.
    pub cost: u64,
    /// What it holds while it waits.
    pub bytes: u64,
    /// When its answer must be there.
    pub deadline: Tick,
}

/// Why a request is not served.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Overload {
    /// The queue holds as many as it may.
    Full,
    /// It would not be done in time.
    Late {
        /// How long it would have to wait.
        wait: Duration,
    },
    /// It was shed: the queue stands, and its tenant has most in it.
    Shed,
}

/// What is given back of a request that was not served.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Dropped<T> {
    /// What was waiting.
    pub what: T,
    /// Why.
    pub why: Overload,
}

/// A request whose turn it is. Its end must be told to [`FairQueue::done`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Started<T> {
    /// What was waiting.
    pub what: T,
    /// What it is thought to cost; who it is of.
    pub bill: Bill,
    /// How long it waited.
    pub waited: Duration,
}

/// Whose turn a request took.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bill {
    tenant: u64,
    key: u64,
    priority: Priority,
    cost: u64,
}

/// See the module.
#[derive(Debug)]
pub struct FairQueue<T> {
    config: FairConfig,
    classes: Share<Tenants>,
    hall: Hall<Entry<T>>,
    bytes: u64,
    /// Of all that wait.
    cost: u64,
    /// How many were started and are not done.
    running: usize,
    drain: Drain,
    standing: Standing,
}

type Tenants = Share<Tenant>;

#[derive(Debug, Default)]
struct Tenant {
    keys: Share<Line>,
    /// Of all that wait.
    cost: u64,
    /// How many wait.
    count: usize,
}

#[derive(Debug)]
struct Entry<T> {
    what: T,
    bill: Bill,
    bytes: u64,
    came: Tick,
    deadline: Tick,
}

impl<T> FairQueue<T> {
    /// An empty queue.
    #[must_use]
    pub fn new(config: FairConfig) -> Self {
        Self {
            config,
            classes: Share::default(),
            hall: Hall::new(),
            bytes: 0,
            cost: 0,
            running: 0,
            drain: Drain::default(),
            standing: Standing::default(),
        }
    }

    /// How many wait.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.hall.len()
    }

    /// Whether nobody waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.hall.len() == 0
    }

    /// Whether this request would be taken: to be asked before its body is read.
    ///
    /// # Errors
    /// Why not.
    pub fn admits(&self, who: &Applicant, now: Tick) -> Result<(), Overload> {
        let full =
            self.len() >= self.config.max_entries || who.bytes > self.config.max_bytes.saturating_sub(self.bytes);
        if full {
            return Err(Overload::Full);
        }
        let left = micros(who.deadline.0.saturating_sub(now.0));
        let wait = self.wait(who);
        if wait.saturating_add(who.cost) > left {
            return Err(Overload::Late { wait: Duration::from_micros(wait) });
        }
        let most = self.drain.per_sec(self.config.drain_per_sec) * 2.0 * left as f64 / 1e6;
        if self.cost as f64 + who.cost as f64 > most.max(who.cost as f64) {
            return Err(Overload::Late { wait: Duration::from_micros(wait) });
        }
        Ok(())
    }

    /// Takes a request into the queue.
    ///
    /// # Errors
    /// The request, and why it is not taken.
    pub fn enter(&mut self, who: &Applicant, what: T, now: Tick) -> Result<Ticket, Dropped<T>> {
        if let Err(why) = self.admits(who, now) {
            return Err(Dropped { what, why });
        }
        self.drain.advance(now, self.is_empty());
        let class = who.priority as usize;
        let weight = self.config.weights.get(class).copied().unwrap_or(1);
        let bill = Bill { tenant: who.tenant, key: who.key, priority: who.priority, cost: who.cost };
        let entry = Entry { what, bill, bytes: who.bytes, came: now, deadline: who.deadline };
        let tenants = self.classes.ready(class as u64, weight);
        let tenant = tenants.ready(who.tenant, who.weight);
        tenant.cost = tenant.cost.saturating_add(who.cost);
        tenant.count += 1;
        let line = tenant.keys.ready(who.key, 1);
        self.bytes = self.bytes.saturating_add(who.bytes);
        self.cost = self.cost.saturating_add(who.cost);
        Ok(self.hall.push(line, entry).expect("fewer entries than places have numbers"))
    }

    /// Whose turn it is. Those that can no longer be done in time, and those that are shed, go to `dropped`.
    pub fn next(&mut self, now: Tick, dropped: &mut Vec<Dropped<T>>) -> Option<Started<T>> {
        loop {
            self.drain.advance(now, self.is_empty());
            let ticket = self.head()?;
            let entry = self.hall.get(ticket)?;
            let waited = Duration::from_nanos(now.0.saturating_sub(entry.came.0));
            let has = Duration::from_nanos(entry.deadline.0.saturating_sub(entry.came.0));
            let is_late = now.0.saturating_add(entry.bill.cost.saturating_mul(1000)) > entry.deadline.0;
            if self.standing.sheds(waited, has, now) {
                self.shed(dropped);
                continue;
            }
            if is_late {
                let wait = waited;
                dropped
                    .extend(self.take(ticket).map(|entry| Dropped { what: entry.what, why: Overload::Late { wait } }));
                continue;
            }
            // Served first, then gone: a flow that leaves keeps its place in virtual time.
            let bill = entry.bill;
            self.turn(&bill, |share, id| share.served(id, bill.cost), |share, id| share.served(id, bill.cost));
            self.serve_key(&bill);
            let entry = self.take(ticket)?;
            self.running += 1;
            return Some(Started { what: entry.what, bill, waited });
        }
    }

    /// Takes a request out of the queue: its place is free at once. None if it is not there any more.
    pub fn cancel(&mut self, ticket: Ticket) -> Option<T> {
        self.take(ticket).map(|entry| entry.what)
    }

    /// A request that was started is done, and cost so much.
    pub fn done(&mut self, bill: &Bill, real: u64, now: Tick) {
        self.drain.done(real, now, self.is_empty());
        let more = i128::from(real) - i128::from(bill.cost);
        self.turn(bill, |share, id| share.shift(id, more), |share, id| share.shift(id, more));
        self.running = self.running.saturating_sub(1);
        if self.running == 0 && self.is_empty() {
            // What was done while nobody had to wait was nobody's loss.
            self.classes = Share::default();
        }
    }

    /// How long a request would wait, in microseconds: what its tenant has before it, at its tenant's part of the rate.
    fn wait(&self, who: &Applicant) -> u64 {
        let class = who.priority as usize;
        let weight = self.config.weights.get(class).copied().unwrap_or(1);
        let tenants = self.classes.get(class as u64);
        let own = tenants.and_then(|tenants| tenants.get(who.tenant)).map_or(0, |tenant| tenant.cost);
        if self.is_empty() {
            return 0;
        }
        let part = tenants.map_or(1.0, |tenants| tenants.part(who.tenant, who.weight));
        let part = part * self.classes.part(class as u64, weight);
        let rate = self.drain.per_sec(self.config.drain_per_sec) * part;
        let wait = (own.saturating_add(who.cost)) as f64 / rate * 1e6;
        // A float that is too large becomes the largest integer.
        wait as u64
    }

    fn head(&self) -> Option<Ticket> {
        let critical = Priority::Critical as u64;
        let waits = |class: &u64| self.classes.all().any(|(id, _)| id == *class);
        let strict = Some(critical).filter(|class| self.config.strict_critical && waits(class));
        let tenants = self.classes.get(strict.or_else(|| self.classes.next())?)?;
        let tenant = tenants.get(tenants.next()?)?;
        self.hall.first(*tenant.keys.get(tenant.keys.next()?)?)
    }

    /// Takes an entry out, and its key, tenant and class with it if it was their last.
    fn take(&mut self, ticket: Ticket) -> Option<Entry<T>> {
        let bill = self.hall.get(ticket)?.bill;
        let class = bill.priority as u64;
        let tenants = self.classes.get_mut(class)?;
        let tenant = tenants.get_mut(bill.tenant)?;
        let line = tenant.keys.get_mut(bill.key)?;
        let entry = self.hall.take(line, ticket)?;
        let key_is_empty = line.is_empty();
        if key_is_empty {
            tenant.keys.leave(bill.key);
        }
        tenant.cost = tenant.cost.saturating_sub(bill.cost);
        tenant.count -= 1;
        if tenant.count == 0 {
            tenants.leave(bill.tenant);
        }
        if tenants.next().is_none() {
            self.classes.leave(class);
        }
        self.bytes = self.bytes.saturating_sub(entry.bytes);
        self.cost = self.cost.saturating_sub(bill.cost);
        Some(entry)
    }

    /// Sheds the newest entry of the tenant that has most in the queue.
    fn shed(&mut self, dropped: &mut Vec<Dropped<T>>) {
        let tenants = self.classes.all().flat_map(|(_, tenants)| tenants.all().map(|(_, tenant)| tenant));
        let Some(most) = tenants.max_by_key(|tenant| tenant.cost) else { return };
        let newest = most.keys.all().filter_map(|(_, line)| self.hall.last(*line));
        let newest = newest.max_by_key(|ticket| self.hall.get(*ticket).map(|entry| entry.came));
        let Some(entry) = newest.and_then(|ticket| self.take(ticket)) else { return };
        dropped.push(Dropped { what: entry.what, why: Overload::Shed });
    }

    /// Moves the class and the tenant of a bill.
    fn turn(
        &mut self,
        bill: &Bill,
        class: impl FnOnce(&mut Share<Tenants>, u64),
        tenant: impl FnOnce(&mut Tenants, u64),
    ) {
        let id = bill.priority as u64;
        if let Some(tenants) = self.classes.get_mut(id) {
            tenant(tenants, bill.tenant);
        }
        class(&mut self.classes, id);
    }

    fn serve_key(&mut self, bill: &Bill) {
        let tenants = self.classes.get_mut(bill.priority as u64);
        if let Some(tenant) = tenants.and_then(|tenants| tenants.get_mut(bill.tenant)) {
            tenant.keys.served(bill.key, bill.cost);
        }
    }
}

/// How fast work gets done, measured while somebody waits: an idle machine says nothing of what it could do.
#[derive(Clone, Copy, Debug, Default)]
struct Drain {
    /// Cost that was done, and seconds in which it was, both decayed.
    cost: f64,
    seconds: f64,
    last: Tick,
}

impl Drain {
    fn advance(&mut self, now: Tick, idle: bool) {
        let passed = now.0.saturating_sub(self.last.0) as f64 / 1e9;
        self.last = Tick(self.last.0.max(now.0));
        if !idle {
            let kept = (-passed / DECAY_SECS).exp();
            self.cost *= kept;
            self.seconds = self.seconds * kept + passed;
        }
    }

    fn done(&mut self, real: u64, now: Tick, idle: bool) {
        self.advance(now, idle);
        if !idle {
            self.cost += real as f64;
        }
    }

    /// Microseconds of cost in a second. Counts for more the longer it was measured: at first, `prior` does.
    fn per_sec(&self, prior: u64) -> f64 {
        const PRIOR_SECS: f64 = 1.0;
        let rate = (self.cost + prior as f64 * PRIOR_SECS) / (self.seconds + PRIOR_SECS);
        rate.max(1.0)
    }
}

/// Whether the queue stands: everybody who is served has waited too long, for some time (CoDel, RFC 8289).
#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    since: Option<Tick>,
    shed: u32,
    next: Tick,
}

impl Standing {
    fn sheds(&mut self, waited: Duration, has: Duration, now: Tick) -> bool {
        if waited <= STANDING.max(has / STANDING_PART) {
            *self = Self::default();
            return false;
        }
        let since = *self.since.get_or_insert(now);
        let patience = nanos(PATIENCE);
        if now.0.saturating_sub(since.0) < patience || now < self.next {
            return false;
        }
        self.shed = self.shed.saturating_add(1);
        let pause = patience as f64 / f64::from(self.shed).sqrt();
        self.next = Tick(now.0.saturating_add(pause as u64));
        true
    }
}

const fn micros(nanos: u64) -> u64 {
    nanos / 1000
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
