//! A fair queue by cost: who waits is served by weight, whatever its requests cost, and whoever cannot be served in time
//! hears so at once. Pure: time is an argument, nothing runs here, and what waits is the caller's.
//!
//! Start-time fair queueing on three levels: priorities share by weight, tenants within a priority, keys within a tenant;
//! a key's requests go in their order. A request is scheduled by what it is thought to cost; what it did cost corrects its
//! tenant's turn, as in the virtual token counter of *Fairness in Serving Large Language Models* (OSDI '24).

mod line;
mod pace;
mod share;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::Tick;
use line::{Hall, Line};
use pace::{Drain, Scale, Standing};
use share::Share;

pub use line::Ticket;

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
    /// How long anybody waits at most.
    pub max_wait: Duration,
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

/// Why a request is not served, and when it might be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Overload {
    /// The queue holds as many as it may.
    Full {
        /// How long until one has gone.
        retry_after: Duration,
    },
    /// It would not be done in time.
    Late {
        /// How long it would have to wait.
        wait: Duration,
        /// How long until it would be in time.
        retry_after: Duration,
    },
    /// It was shed: the queue stands, and its tenant has most in it.
    Shed {
        /// How long until its tenant's backlog is done.
        retry_after: Duration,
    },
}

impl Overload {
    /// When it makes sense to come again: from what waits and how fast that gets done.
    #[must_use]
    pub const fn retry_after(self) -> Duration {
        match self {
            Self::Full { retry_after } | Self::Late { retry_after, .. } | Self::Shed { retry_after } => retry_after,
        }
    }
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
    /// What it is thought to cost, as requests turn out here.
    cost: u64,
    /// What its applicant said.
    said: u64,
}

impl Bill {
    /// What its applicant said that it costs.
    #[must_use]
    pub const fn said(&self) -> u64 {
        self.said
    }
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
    scale: Scale,
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
    /// Their bytes.
    bytes: u64,
}

/// What a queue has only so much of.
#[derive(Clone, Copy, Debug)]
enum Room {
    Bytes,
    Entries,
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
            scale: Scale::default(),
            standing: Standing::default(),
        }
    }

    /// Shares and holds by other numbers from now on; whoever waits goes on waiting.
    pub fn configure(&mut self, config: FairConfig) {
        self.config = config;
    }

    /// By which numbers it shares and holds.
    #[must_use]
    pub const fn config(&self) -> FairConfig {
        self.config
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

    /// Microseconds of cost that are done in a second: measured while somebody waits.
    #[must_use]
    pub fn drain_per_sec(&self) -> u64 {
        // A float that is too large becomes the largest integer.
        self.drain.per_sec(self.config.drain_per_sec) as u64
    }

    /// Whether this request would be taken: to be asked before its body is read.
    ///
    /// # Errors
    /// Why not.
    pub fn admits(&self, who: &Applicant, now: Tick) -> Result<(), Overload> {
        if self.lacks(who).is_some() && self.who_gives_way(who).is_none() {
            return Err(self.full());
        }
        let rate = self.drain.per_sec(self.config.drain_per_sec);
        let to_do = |cost: f64| Duration::from_micros((cost / rate * 1e6) as u64);
        let cost = self.scale.of(who.cost);
        let left = micros(who.deadline.0.saturating_sub(now.0));
        let wait = self.wait(who);
        let most_wait =
            u64::try_from(self.config.max_wait.as_micros()).unwrap_or(u64::MAX).min(left.saturating_sub(cost));
        if wait > most_wait || is_late(self.scale.surely(cost), who.deadline, now) {
            let retry_after = Duration::from_micros(wait.saturating_sub(most_wait));
            return Err(Overload::Late { wait: Duration::from_micros(wait), retry_after });
        }
        let most = (rate * 2.0 * left as f64 / 1e6).max(cost as f64);
        let waiting = self.cost as f64 + cost as f64;
        if waiting > most {
            return Err(Overload::Late { wait: Duration::from_micros(wait), retry_after: to_do(waiting - most) });
        }
        Ok(())
    }

    /// Makes room for an applicant where the queue is full: whoever holds more of what there is too little of than the
    /// applicant's tenant would then hold gives the newest of it up, to `dropped`. Places that are taken first would else keep
    /// everybody out, whatever their weight.
    pub fn make_room(&mut self, who: &Applicant, now: Tick, dropped: &mut Vec<Dropped<T>>) {
        if self.lacks(who).is_none() || self.admits(who, now).is_err() {
            return;
        }
        while self.lacks(who).is_some() {
            let Some(ticket) = self.who_gives_way(who).and_then(|tenant| self.newest_of(tenant)) else { return };
            self.shed_one(ticket, dropped);
        }
    }

    /// Takes a request into the queue.
    ///
    /// # Errors
    /// The request, and why it is not taken.
    pub fn enter(&mut self, who: &Applicant, what: T, now: Tick) -> Result<Ticket, Dropped<T>> {
        if let Err(why) = self.admits(who, now) {
            return Err(Dropped { what, why });
        }
        if self.lacks(who).is_some() {
            return Err(Dropped { what, why: self.full() });
        }
        self.drain.advance(now, self.is_empty());
        let class = who.priority as usize;
        let weight = self.weight_of(who.priority);
        let cost = self.scale.of(who.cost);
        let bill = Bill { tenant: who.tenant, key: who.key, priority: who.priority, cost, said: who.cost };
        let entry = Entry { what, bill, bytes: who.bytes, came: now, deadline: who.deadline };
        let tenants = self.classes.ready(class as u64, weight);
        let tenant = tenants.ready(who.tenant, who.weight);
        tenant.cost = tenant.cost.saturating_add(cost);
        tenant.count += 1;
        tenant.bytes = tenant.bytes.saturating_add(who.bytes);
        let line = tenant.keys.ready(who.key, 1);
        self.bytes = self.bytes.saturating_add(who.bytes);
        self.cost = self.cost.saturating_add(cost);
        Ok(self.hall.push(line, entry).expect("fewer entries than places have numbers"))
    }

    /// Whose turn it is. Those that can no longer be done in time, and those that are shed, go to `dropped`.
    pub fn next(&mut self, now: Tick, dropped: &mut Vec<Dropped<T>>) -> Option<Started<T>> {
        self.next_if(now, |_| true, dropped)
    }

    /// The same, if there is room for what its applicant said that it costs. Where there is not, nobody smaller goes
    /// first: the larger one would starve.
    pub fn next_if(
        &mut self,
        now: Tick,
        room: impl Fn(u64) -> bool,
        dropped: &mut Vec<Dropped<T>>,
    ) -> Option<Started<T>> {
        loop {
            self.drain.advance(now, self.is_empty());
            let ticket = self.head()?;
            let entry = self.hall.get(ticket)?;
            let bill = entry.bill;
            let waited = Duration::from_nanos(now.0.saturating_sub(entry.came.0));
            let has = Duration::from_nanos(entry.deadline.0.saturating_sub(entry.came.0)).min(self.config.max_wait);
            if is_late(self.scale.surely(bill.cost), entry.deadline, now) {
                let retry_after = self.backlog_of(&bill);
                let late =
                    |entry: Entry<T>| Dropped { what: entry.what, why: Overload::Late { wait: waited, retry_after } };
                dropped.extend(self.take(ticket).map(late));
                continue;
            }
            if !room(bill.said) {
                return None;
            }
            if self.standing.sheds(waited, has, now) {
                self.shed(dropped);
                continue;
            }
            // Served first, then gone: a flow that leaves keeps its place in virtual time.
            self.turn(&bill, |share, id| share.served(id, bill.cost), |share, id| share.served(id, bill.cost));
            self.serve_key(&bill);
            let entry = self.take(ticket)?;
            self.running += 1;
            return Some(Started { what: entry.what, bill, waited });
        }
    }

    /// A request starts while nobody waits, without a turn. Its end is told to [`FairQueue::passed`].
    ///
    /// # Errors
    /// It would not be done in time, and others would wait for it. A server that does nothing tries whatever comes: that is
    /// how costs become known.
    pub fn pass(&mut self, who: &Applicant, now: Tick) -> Result<(), Overload> {
        let surely = self.scale.surely(self.scale.of(who.cost));
        if self.running > 0 && self.scale.is_known() && is_late(surely, who.deadline, now) {
            return Err(Overload::Late { wait: Duration::ZERO, retry_after: Duration::ZERO });
        }
        self.running += 1;
        Ok(())
    }

    /// A request that took nobody's turn is done, and cost so much. If somebody waits by now, it was at their expense: its
    /// tenant pays with a later turn.
    pub fn passed(&mut self, who: &Applicant, real: u64, now: Tick) {
        self.drain.done(real, now, self.is_empty());
        self.scale.saw(who.tenant, who.cost, real);
        if !self.is_empty() {
            let class = who.priority as u64;
            let weight = self.weight_of(who.priority);
            let tenants = self.classes.charge(class, weight, real);
            tenants.charge(who.tenant, who.weight, real).keys.charge(who.key, 1, real);
        }
        self.end();
    }

    /// Takes a request out of the queue: its place is free at once. None if it is not there any more.
    pub fn cancel(&mut self, ticket: Ticket) -> Option<T> {
        self.take(ticket).map(|entry| entry.what)
    }

    /// A request that was started is done, and cost so much.
    pub fn done(&mut self, bill: &Bill, real: u64, now: Tick) {
        self.drain.done(real, now, self.is_empty());
        self.scale.saw(bill.tenant, bill.said, real);
        self.correct(bill, real);
        self.end();
    }

    /// A request that was started was given up before anything was done for it.
    pub fn undone(&mut self, bill: &Bill) {
        self.correct(bill, 0);
        self.end();
    }

    /// How many are thought to be served before this one and with it: 1 is the next. None if it is not there any more.
    ///
    /// What is before it in its own line, at its part of what is served, in requests of the usual size.
    #[must_use]
    pub fn position(&self, ticket: Ticket) -> Option<usize> {
        let bill = self.hall.get(ticket)?.bill;
        let class = bill.priority as u64;
        let tenants = self.classes.get(class)?;
        let tenant = tenants.get(bill.tenant)?;
        let (ahead, own) = self
            .hall
            .up_to(ticket)
            .fold((0, 0_u64), |(count, cost), entry| (count + 1, cost.saturating_add(entry.bill.cost)));
        let part = |part: Option<f64>| part.unwrap_or(1.0);
        let part = part(self.classes.part_of(class))
            * part(tenants.part_of(bill.tenant))
            * part(tenant.keys.part_of(bill.key));
        let usual = self.cost as f64 / self.len().max(1) as f64;
        // A float that is too large becomes the largest integer.
        let thought = (own as f64 / part / usual.max(1.0)).ceil() as usize;
        Some(thought.clamp(ahead, self.len().max(ahead)))
    }

    /// How long a request would wait.
    #[must_use]
    pub fn wait_of(&self, who: &Applicant) -> Duration {
        Duration::from_micros(self.wait(who))
    }

    /// How long a request would wait, in microseconds: what its tenant has before it, at its tenant's part of the rate.
    fn wait(&self, who: &Applicant) -> u64 {
        if self.is_empty() {
            return 0;
        }
        let class = who.priority as u64;
        let tenants = self.classes.get(class);
        let own = tenants.and_then(|tenants| tenants.get(who.tenant)).map_or(0, |tenant| tenant.cost);
        let part = tenants.map_or(1.0, |tenants| tenants.part(who.tenant, who.weight));
        let part = part * self.classes.part(class, self.weight_of(who.priority));
        let rate = self.drain.per_sec(self.config.drain_per_sec) * part;
        let wait = own.saturating_add(self.scale.of(who.cost)) as f64 / rate * 1e6;
        // A float that is too large becomes the largest integer.
        wait as u64
    }

    /// How long what a tenant has in the queue takes at its part of the rate.
    fn backlog_of(&self, bill: &Bill) -> Duration {
        let class = bill.priority as u64;
        let Some(tenants) = self.classes.get(class) else { return Duration::ZERO };
        let own = tenants.get(bill.tenant).map_or(0, |tenant| tenant.cost);
        let part = tenants.part_of(bill.tenant).unwrap_or(1.0) * self.classes.part_of(class).unwrap_or(1.0);
        let rate = self.drain.per_sec(self.config.drain_per_sec) * part;
        Duration::from_micros((own as f64 / rate * 1e6) as u64)
    }

    fn weight_of(&self, priority: Priority) -> u32 {
        self.config.weights.get(priority as usize).copied().unwrap_or(1)
    }

    fn correct(&mut self, bill: &Bill, real: u64) {
        let more = i128::from(real) - i128::from(bill.cost);
        self.turn(bill, |share, id| share.shift(id, more), |share, id| share.shift(id, more));
    }

    /// One less runs.
    fn end(&mut self) {
        self.running = self.running.saturating_sub(1);
        if self.running == 0 && self.is_empty() {
            // What was done while nobody had to wait was nobody's loss.
            self.classes.clear();
        }
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
        tenant.bytes = tenant.bytes.saturating_sub(entry.bytes);
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
        let Some(ticket) = tenants.max_by_key(|tenant| tenant.cost).and_then(|most| self.newest_of(most)) else {
            return;
        };
        self.shed_one(ticket, dropped);
    }

    fn newest_of(&self, tenant: &Tenant) -> Option<Ticket> {
        let newest = tenant.keys.all().filter_map(|(_, line)| self.hall.last(*line));
        newest.max_by_key(|ticket| self.hall.get(*ticket).map(|entry| entry.came))
    }

    fn shed_one(&mut self, ticket: Ticket, dropped: &mut Vec<Dropped<T>>) {
        let retry_after = self.hall.get(ticket).map_or(Duration::ZERO, |entry| self.backlog_of(&entry.bill));
        let entry = self.take(ticket);
        dropped.extend(entry.map(|entry| Dropped { what: entry.what, why: Overload::Shed { retry_after } }));
    }

    /// Until one of the usual size has gone.
    fn full(&self) -> Overload {
        let usual = self.cost as f64 / self.len().max(1) as f64;
        let rate = self.drain.per_sec(self.config.drain_per_sec);
        Overload::Full { retry_after: Duration::from_micros((usual / rate * 1e6) as u64) }
    }

    /// What there is too little of for an applicant.
    fn lacks(&self, who: &Applicant) -> Option<Room> {
        if who.bytes > self.config.max_bytes.saturating_sub(self.bytes) {
            Some(Room::Bytes)
        } else {
            (self.len() >= self.config.max_entries).then_some(Room::Entries)
        }
    }

    /// The tenant that has most of that, if that is more than the applicant's would have.
    fn who_gives_way(&self, who: &Applicant) -> Option<&Tenant> {
        let room = self.lacks(who)?;
        let (has, wants): (fn(&Tenant) -> u64, u64) = match room {
            Room::Bytes => (|tenant| tenant.bytes, who.bytes),
            Room::Entries => (|tenant| tenant.count as u64, 1),
        };
        if who.bytes > self.config.max_bytes {
            return None;
        }
        let all = || self.classes.all().flat_map(|(_, tenants)| tenants.all());
        let own: u64 = all().filter(|(id, _)| *id == who.tenant).map(|(_, tenant)| has(tenant)).sum();
        let most =
            all().filter(|(id, _)| *id != who.tenant).map(|(_, tenant)| tenant).max_by_key(|tenant| has(tenant))?;
        (has(most) > own.saturating_add(wants)).then_some(most)
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

/// Whether what takes `cost` is done after `deadline`.
const fn is_late(cost: u64, deadline: Tick, now: Tick) -> bool {
    now.0.saturating_add(cost.saturating_mul(1000)) > deadline.0
}

const fn micros(nanos: u64) -> u64 {
    nanos / 1000
}
