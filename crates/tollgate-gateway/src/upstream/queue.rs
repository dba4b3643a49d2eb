//! A fair, bounded place before the model: start-time fair queueing by cost, one FIFO per tenant.
//!
//! A request that finds a free place takes it; otherwise it waits in its tenant's line. Lines are served by virtual
//! start time, so that a tenant who sends dear requests waits longer, and nobody waits for somebody else's backlog.
//! Source: Goyal, Vin and Cheng, *Start-time Fair Queueing*, SIGCOMM 1996.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tollgate_core::cost::Cost;
use tollgate_core::ruling::{Code, Refusal, Ruling};
use tollgate_core::time::Tick;

use crate::tick::{Ticker, within};

/// Bounds of one upstream's queue.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct QueueBounds {
    /// How many requests run at once.
    pub inflight: u32,
    /// How many may wait.
    pub max_entries: usize,
    /// How many bytes of bodies may wait.
    pub max_bytes: u64,
    /// How long one may wait.
    pub deadline: Duration,
}

/// The queue of one upstream, shared by all workers.
pub struct Queue {
    state: Mutex<State>,
}

struct State {
    bounds: QueueBounds,
    running: u32,
    waiting: usize,
    waiting_bytes: u64,
    /// Virtual time: the start tag of the request that was let in last.
    now: u64,
    /// The tag at which each tenant's next request may start.
    tenants: HashMap<u64, Tenant, BuildHasherDefault<Keyed>>,
    /// Tenants with somebody waiting, by the start tag of their first.
    backlog: BTreeSet<(u64, u64)>,
    next_id: u64,
}

/// Tenant ids are keyed hashes already: hashing them once more buys nothing.
#[derive(Default)]
struct Keyed(u64);

impl Hasher for Keyed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = id;
    }
}

#[derive(Default)]
struct Tenant {
    finish: u64,
    line: VecDeque<Entry>,
}

struct Entry {
    id: u64,
    start: u64,
    bytes: u64,
    grant: oneshot::Sender<()>,
}

/// Who wants a place.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// Whose line.
    pub tenant: u64,
    /// Their share: a tenant of weight 4 gets four times the service of one with weight 1.
    pub weight: u32,
    /// What it is expected to cost.
    pub cost: Cost,
    /// Bytes of body that wait with it.
    pub bytes: u64,
}

/// Proof of a place. Dropping it lets the next one in.
pub struct Slot {
    queue: Arc<Queue>,
    ask: Ask,
    /// What it really cost, once known.
    pub spent: Option<Cost>,
    /// How many were ahead on entering.
    pub depth: u32,
    /// Since when there was a wait, if there was one at all.
    pub waited: Option<Tick>,
}

impl Queue {
    /// An empty queue.
    #[must_use]
    pub fn new(bounds: QueueBounds) -> Arc<Self> {
        let state = State {
            bounds,
            running: 0,
            waiting: 0,
            waiting_bytes: 0,
            now: 0,
            tenants: HashMap::default(),
            backlog: BTreeSet::new(),
            next_id: 0,
        };
        Arc::new(Self { state: Mutex::new(state) })
    }

    /// Takes new bounds from a reload; whoever waits goes on waiting.
    pub fn rebound(&self, bounds: QueueBounds) {
        let mut state = self.state.lock();
        state.bounds = bounds;
        state.let_in();
    }

    /// Running and waiting requests.
    #[must_use]
    pub fn level(&self) -> (u32, usize) {
        let state = self.state.lock();
        (state.running, state.waiting)
    }

    /// Waits for a place.
    ///
    /// # Errors
    /// `overloaded` if the queue is full or the deadline passes first.
    pub async fn enter(self: &Arc<Self>, ask: Ask, ticker: &Arc<Ticker>) -> Ruling<Slot> {
        let (id, receiver, depth, deadline) = {
            let mut state = self.state.lock();
            if state.backlog.is_empty() && state.running < state.bounds.inflight {
                state.start_at_once(ask);
                return Ok(Slot { queue: Arc::clone(self), ask, spent: None, depth: 0, waited: None });
            }
            let depth = u32::try_from(state.waiting).unwrap_or(u32::MAX);
            let (id, receiver) = state.line_up(ask)?;
            (id, receiver, depth, state.bounds.deadline)
        };
        let waiting = Waiting { queue: self, ask, id, receiver };
        let entered = ticker.now();
        within(ticker.alarm(entered.after(deadline)), waiting).await.map_err(|_late| {
            Refusal::new(Code::Overloaded).retry_after(deadline.min(Duration::from_secs(5))).because("queue deadline")
        })?;
        Ok(Slot { queue: Arc::clone(self), ask, spent: None, depth, waited: Some(entered) })
    }

    fn leave(&self, ask: Ask, spent: Option<Cost>) {
        let mut state = self.state.lock();
        state.running = state.running.saturating_sub(1);
        if let (Some(spent), Some(tenant)) = (spent, state.tenants.get_mut(&ask.tenant)) {
            // The correction of virtual token counters (Sheng et al., OSDI 2024), in cost instead of tokens.
            let (charged, real) = (tags(ask.cost, ask.weight), tags(spent, ask.weight));
            tenant.finish = tenant.finish.saturating_add(real).saturating_sub(charged);
        }
        state.let_in();
        state.forget(ask.tenant);
    }

    fn give_up(&self, tenant: u64, id: u64) {
        let mut state = self.state.lock();
        state.withdraw(tenant, id);
        state.forget(tenant);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.queue.leave(self.ask, self.spent);
    }
}

/// Virtual time that a cost takes at a weight.
fn tags(cost: Cost, weight: u32) -> u64 {
    (cost.0.max(1).saturating_mul(16) / u64::from(weight.max(1))).max(1)
}

impl State {
    fn start_at_once(&mut self, ask: Ask) {
        self.running += 1;
        let start = self.stamp(ask);
        self.now = self.now.max(start);
    }

    /// Gives the next request of a tenant its start tag.
    fn stamp(&mut self, ask: Ask) -> u64 {
        let now = self.now;
        let tenant = self.tenants.entry(ask.tenant).or_default();
        let start = tenant.finish.max(now);
        tenant.finish = start.saturating_add(tags(ask.cost, ask.weight));
        start
    }

    fn line_up(&mut self, ask: Ask) -> Ruling<(u64, oneshot::Receiver<()>)> {
        let full = self.waiting >= self.bounds.max_entries
            || self.waiting_bytes.saturating_add(ask.bytes) > self.bounds.max_bytes;
        if full {
            let why = format_args!("{} requests wait", self.waiting);
            return Err(Refusal::new(Code::Overloaded).retry_after(Duration::from_secs(1)).because(why).into());
        }
        let start = self.stamp(ask);
        let id = self.next_id;
        self.next_id += 1;
        let (grant, receiver) = oneshot::channel();
        let tenant = self.tenants.entry(ask.tenant).or_default();
        if tenant.line.is_empty() {
            self.backlog.insert((start, ask.tenant));
        }
        tenant.line.push_back(Entry { id, start, bytes: ask.bytes, grant });
        self.waiting += 1;
        self.waiting_bytes += ask.bytes;
        Ok((id, receiver))
    }

    /// Lets in whoever is next while there is room.
    fn let_in(&mut self) {
        while self.running < self.bounds.inflight {
            let Some(&(start, tenant)) = self.backlog.first() else { return };
            let Some(entry) = self.take_first(tenant) else { continue };
            // INVARIANT: a grant that nobody receives was withdrawn before, or is returned by `Waiting::drop`.
            if entry.grant.send(()).is_ok() {
                self.running += 1;
                self.now = self.now.max(start);
            }
        }
    }

    fn take_first(&mut self, tenant: u64) -> Option<Entry> {
        self.backlog.pop_first();
        let line = &mut self.tenants.get_mut(&tenant)?.line;
        let entry = line.pop_front();
        let next = line.front().map(|entry| entry.start);
        if let Some(next) = next {
            self.backlog.insert((next, tenant));
        }
        let entry = entry?;
        self.waiting -= 1;
        self.waiting_bytes -= entry.bytes;
        Some(entry)
    }

    fn withdraw(&mut self, tenant: u64, id: u64) {
        let Some(queued) = self.tenants.get_mut(&tenant) else { return };
        let Some(place) = queued.line.iter().position(|entry| entry.id == id) else { return };
        let first = queued.line.front().map(|entry| entry.start);
        let Some(entry) = queued.line.remove(place) else { return };
        self.waiting -= 1;
        self.waiting_bytes -= entry.bytes;
        if place == 0 {
            if let Some(first) = first {
                self.backlog.remove(&(first, tenant));
            }
            if let Some(next) = self.tenants.get(&tenant).and_then(|queued| queued.line.front()) {
                let next = next.start;
                self.backlog.insert((next, tenant));
            }
        }
    }

    /// Drops what is kept of a tenant who owes nothing: the map stays as small as the number of active tenants.
    fn forget(&mut self, tenant: u64) {
        if self.running == 0 && self.waiting == 0 {
            // The end of a busy period: nobody is owed anything.
            self.tenants.clear();
        } else if self.tenants.get(&tenant).is_some_and(|kept| kept.line.is_empty() && kept.finish <= self.now) {
            self.tenants.remove(&tenant);
        }
    }
}

/// A place in line. Dropped before it is granted, it leaves the line; dropped after, it passes the place on.
struct Waiting<'a> {
    queue: &'a Queue,
    ask: Ask,
    id: u64,
    receiver: oneshot::Receiver<()>,
}

impl Future for Waiting<'_> {
    type Output = ();

    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<()> {
        let granted = std::pin::Pin::new(&mut self.receiver).poll(cx);
        if granted.is_ready() {
            // From here on the place belongs to the slot.
            self.id = u64::MAX;
        }
        granted.map(|_| ())
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.id == u64::MAX {
            return;
        }
        self.receiver.close();
        if self.receiver.try_recv().is_ok() {
            // Granted, and nobody came: the next one takes the place.
            self.queue.leave(self.ask, Some(Cost(0)));
        } else {
            self.queue.give_up(self.ask.tenant, self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use tollgate_core::time::Clock;

    use super::*;

    const BOUNDS: QueueBounds =
        QueueBounds { inflight: 1, max_entries: 100, max_bytes: 1 << 20, deadline: Duration::from_secs(10) };

    fn ask(tenant: u64, cost: u64) -> Ask {
        Ask { tenant, weight: 1, cost: Cost(cost), bytes: 10 }
    }

    /// Lets every task that can run do so.
    async fn settle() {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_cheap_tenant_is_not_behind_a_flood_of_dear_requests() {
        let ticker = Ticker::new(Clock::driven());
        let queue = Queue::new(BOUNDS);
        let order = Arc::new(Mutex::new(Vec::new()));
        let first = queue.enter(ask(9, 1), &ticker).await.expect("free");
        let mut tasks = tokio::task::JoinSet::new();
        for (tenant, cost) in [(1, 1000), (1, 1000), (1, 1000), (2, 10), (2, 10)] {
            let (queue, ticker, order) = (Arc::clone(&queue), Arc::clone(&ticker), Arc::clone(&order));
            tasks.spawn(async move {
                let slot = queue.enter(ask(tenant, cost), &ticker).await.expect("a place");
                order.lock().push(tenant);
                tokio::task::yield_now().await;
                drop(slot);
            });
            settle().await;
        }
        drop(first);
        while tasks.join_next().await.is_some() {}
        assert_eq!(*order.lock(), [1, 2, 2, 1, 1]);
        assert_eq!(queue.level(), (0, 0));
    }

    #[tokio::test]
    async fn whoever_leaves_the_line_frees_their_place_in_it() {
        let ticker = Ticker::new(Clock::driven());
        let queue = Queue::new(QueueBounds { max_entries: 1, ..BOUNDS });
        let slot = queue.enter(ask(1, 1), &ticker).await.expect("free");
        {
            let waiting = std::pin::pin!(queue.enter(ask(1, 1), &ticker));
            assert!(futures_util::poll!(waiting).is_pending());
            assert_eq!(queue.level(), (1, 1));
            let refused = queue.enter(ask(2, 1), &ticker).await;
            assert!(refused.is_err(), "the line is full");
        }
        assert_eq!(queue.level(), (1, 0));
        drop(slot);
        assert_eq!(queue.level(), (0, 0));
    }

    #[tokio::test]
    async fn a_place_granted_to_somebody_who_left_goes_to_the_next() {
        let ticker = Ticker::new(Clock::driven());
        let queue = Queue::new(BOUNDS);
        let slot = queue.enter(ask(1, 1), &ticker).await.expect("free");
        let mut leaves = Box::pin(queue.enter(ask(2, 1), &ticker));
        assert!(futures_util::poll!(&mut leaves).is_pending());
        let mut stays = Box::pin(queue.enter(ask(3, 1), &ticker));
        assert!(futures_util::poll!(&mut stays).is_pending());
        drop(slot);
        drop(leaves);
        let slot = stays.await.expect("the place that was passed on");
        drop(slot);
        assert_eq!(queue.level(), (0, 0));
    }
}
