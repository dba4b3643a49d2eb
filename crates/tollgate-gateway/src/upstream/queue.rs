//! The place before a model: a thin shell over the fair queue and the in-flight limit of `tollgate-limit`, which decide
//! everything. Here is only what waits, and how it hears.
//!
//! One queue for each *upstream*, not for each model and priority: room is the server's, so whoever wants some of it must
//! stand in one line, or models and priorities would need a second arbiter between their lines. Priorities and tenants
//! share inside of it. Where an upstream serves one model the two are the same.
//!
//! A request that finds room while nobody waits takes it under one lock, without an allocation or a look at the clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tollgate_core::cost::Cost;
use tollgate_core::ruling::{Code, Refusal};
use tollgate_core::time::{Clock, Tick};
use tollgate_limit::{
    self as limit, Applicant, Bill, Dropped, FairConfig, FairQueue, Inflight, InflightConfig, Overload, Ran, Ticket,
};

use crate::tick::{Ticker, within};

/// Bounds of one upstream's queue.
#[derive(Clone, Copy, Debug)]
pub struct QueueBounds {
    /// How much runs at once.
    pub inflight: InflightConfig,
    /// How the rest waits.
    pub fair: FairConfig,
}

/// The queue of one upstream, shared by all workers.
pub struct Queue {
    clock: Clock,
    state: Mutex<State>,
    /// Whether anybody waits: for those who ask before they have a body.
    backlogged: AtomicBool,
    turned_away: [AtomicU64; Away::ALL.len()],
}

struct State {
    fair: FairQueue<Grant>,
    room: Inflight,
    /// Kept for its memory.
    dropped: Vec<Dropped<Grant>>,
}

type Grant = oneshot::Sender<Result<Bill, Overload>>;

/// Who wants a place.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// For the fair queue.
    pub who: Applicant,
    /// How long it would take with the server to itself, where that is known.
    pub alone: Option<Duration>,
    /// How long its caller wants to wait at most.
    pub patience: Option<Duration>,
    /// When it asks.
    pub at: Tick,
}

/// Proof of a place. Dropping it lets the next one in.
pub struct Slot {
    queue: Arc<Queue>,
    ask: Ask,
    turn: Turn,
    /// What it really cost, once known.
    pub spent: Option<Cost>,
    /// The time that it took says nothing of the server.
    pub hindered: bool,
    /// How many waited on entering.
    pub depth: u32,
    /// Which one it was in line, as far as that could be foreseen; 0 if there was none.
    pub position: u32,
    /// Since when there was a wait, if there was one at all.
    pub waited: Option<Tick>,
}

/// How somebody came to a place.
#[derive(Clone, Copy, Debug)]
enum Turn {
    /// Nobody waited.
    Past,
    /// It was their turn, since then.
    Taken(Bill, Tick),
}

/// Who gets no place.
#[derive(Debug)]
pub struct TurnedAway {
    /// What the client is told.
    pub refusal: Refusal,
    /// Which one in line it was at that moment, or would have been.
    pub position: u32,
}

/// Why somebody gets no place: names of a metric.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Away {
    /// It waited for as long as it could.
    Expired,
    /// The queue holds as many as it may.
    Full,
    /// It would not be, or was not, done in time.
    Late,
    /// It was shed.
    Shed,
}

impl Away {
    /// All of them, in their order.
    pub const ALL: [Self; 4] = [Self::Expired, Self::Full, Self::Late, Self::Shed];

    /// The word used in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Full => "full",
            Self::Late => "late",
            Self::Shed => "shed",
        }
    }
}

/// How full it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standing {
    /// What runs is thought to cost so much.
    pub inflight_us: u64,
    /// How many requests of the usual size may run.
    pub limit: f64,
    /// Microseconds of cost that are done in a second.
    pub drain_per_sec: u64,
    /// Whether the server says that it has too much.
    pub pressed: bool,
}

impl Queue {
    /// An empty queue.
    #[must_use]
    pub fn new(bounds: QueueBounds, clock: Clock) -> Arc<Self> {
        let QueueBounds { inflight, fair } = bounds;
        let state = State { fair: FairQueue::new(fair), room: Inflight::new(inflight), dropped: Vec::new() };
        Arc::new(Self {
            clock,
            state: Mutex::new(state),
            backlogged: AtomicBool::new(false),
            turned_away: Default::default(),
        })
    }

    /// Takes new bounds from a reload; whoever waits goes on waiting.
    pub fn rebound(&self, bounds: QueueBounds) {
        let mut state = self.state.lock();
        state.room.configure(bounds.inflight);
        state.fair.configure(bounds.fair);
        self.let_in(&mut state);
    }

    /// Running and waiting requests.
    #[must_use]
    pub fn level(&self) -> (u32, usize) {
        let state = self.state.lock();
        (state.room.count(), state.fair.len())
    }

    /// How full it is.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let now = there(self.clock.now());
        let State { fair, room, .. } = &*self.state.lock();
        Standing {
            inflight_us: room.cost(),
            limit: room.level(),
            drain_per_sec: fair.drain_per_sec(),
            pressed: room.is_pressed(now),
        }
    }

    /// How many got no place, and why.
    pub fn turned_away(&self) -> impl Iterator<Item = (Away, u64)> {
        Away::ALL.into_iter().zip(self.turned_away.iter().map(|count| count.load(Ordering::Relaxed)))
    }

    /// Whether anybody waits, as it was a moment ago.
    pub fn is_backlogged(&self) -> bool {
        self.backlogged.load(Ordering::Relaxed)
    }

    /// Whether a request would be taken in, as far as can be said before its body is read.
    ///
    /// # Errors
    /// Why not.
    pub fn foresee(&self, who: &Applicant, now: Tick) -> Result<(), Overload> {
        if !self.is_backlogged() {
            return Ok(());
        }
        let state = self.state.lock();
        let foreseen = if state.fair.is_empty() { Ok(()) } else { state.fair.admits(who, there(now)) };
        foreseen.inspect_err(|why| self.count(away(*why)))
    }

    /// The server says that it has too much, or that it has not; that holds until then.
    pub fn hear(&self, too_much: bool, until: Tick) {
        self.state.lock().room.hear(too_much, there(until));
    }

    /// Waits for a place.
    ///
    /// # Errors
    /// It is full, it would be too late, or it waited for too long.
    pub async fn enter(self: &Arc<Self>, ask: Ask, ticker: &Arc<Ticker>) -> Result<Slot, TurnedAway> {
        let (mut waiting, depth, position, until) = {
            let mut state = self.state.lock();
            if let Some(slot) = self.at_once(&mut state, ask)? {
                return Ok(slot);
            }
            self.line_up(&mut state, ask)?
        };
        match within(ticker.alarm(until), &mut waiting).await {
            Ok(Ok((bill, now))) => {
                let (queue, turn) = (Arc::clone(self), Turn::Taken(bill, now));
                Ok(Slot { queue, ask, turn, spent: None, hindered: false, depth, position, waited: Some(ask.at) })
            }
            Ok(Err(why)) => {
                self.count(away(why));
                Err(TurnedAway { refusal: refusal(why), position })
            }
            Err(_late) => {
                self.count(Away::Expired);
                let state = self.state.lock();
                let position = state.fair.position(waiting.ticket).map_or(position, small);
                let retry_after = state.fair.wait_of(&ask.who);
                drop(state);
                let refusal = overloaded(retry_after).because("it waited for as long as it could");
                Err(TurnedAway { refusal, position })
            }
        }
    }

    /// A place that is free while nobody waits, or none: for what is nobody's, such as a mirrored call.
    pub fn spare(self: &Arc<Self>, ask: Ask) -> Option<Slot> {
        self.at_once(&mut self.state.lock(), ask).ok().flatten()
    }

    fn at_once(self: &Arc<Self>, state: &mut State, ask: Ask) -> Result<Option<Slot>, TurnedAway> {
        if !state.fair.is_empty() || !state.room.fits(ask.who.cost) {
            return Ok(None);
        }
        state.fair.pass(&ask.who, there(ask.at)).map_err(|why| {
            self.count(away(why));
            TurnedAway { refusal: refusal(why), position: 0 }
        })?;
        state.room.enter(ask.who.cost);
        let (queue, turn) = (Arc::clone(self), Turn::Past);
        Ok(Some(Slot { queue, ask, turn, spent: None, hindered: false, depth: 0, position: 0, waited: None }))
    }

    /// A place in line: who waits there, how many did before, which one it is, and for how long it waits.
    fn line_up<'a>(
        self: &'a Arc<Self>,
        state: &mut State,
        ask: Ask,
    ) -> Result<(Waiting<'a>, u32, u32, Tick), TurnedAway> {
        let depth = small(state.fair.len());
        let (grant, receiver) = oneshot::channel();
        let State { fair, dropped, .. } = state;
        fair.make_room(&ask.who, there(ask.at), dropped);
        for Dropped { what, why } in dropped.drain(..) {
            // Whoever has left needs no answer.
            let _ = what.send(Err(why));
        }
        let ticket = state.fair.enter(&ask.who, grant, there(ask.at)).map_err(|dropped| {
            self.count(away(dropped.why));
            TurnedAway { refusal: refusal(dropped.why), position: depth.saturating_add(1) }
        })?;
        self.backlogged.store(true, Ordering::Relaxed);
        let position = state.fair.position(ticket).map_or(depth, small);
        let waits = ask.patience.unwrap_or(Duration::MAX).min(state.fair.config().max_wait);
        let until = ask.at.after(waits).min(Tick(ask.who.deadline.0));
        Ok((Waiting { queue: self, ticket, receiver, over: false }, depth, position, until))
    }

    /// Lets in whoever is next while there is room, and tells those who are too late.
    fn let_in(&self, state: &mut State) {
        if state.fair.is_empty() {
            return;
        }
        let now = there(self.clock.now());
        let State { fair, room, dropped } = state;
        room.step(now);
        while let Some(started) = fair.next_if(now, |cost| room.fits(cost), dropped) {
            // INVARIANT: a grant that nobody receives was withdrawn before, or is returned by `Waiting::drop`.
            if started.what.send(Ok(started.bill)).is_ok() {
                room.enter(started.bill.said());
            } else {
                fair.undone(&started.bill);
            }
        }
        for Dropped { what, why } in dropped.drain(..) {
            // Whoever has left needs no answer.
            let _ = what.send(Err(why));
        }
        self.backlogged.store(!fair.is_empty(), Ordering::Relaxed);
    }

    fn leave(&self, ask: &Ask, turn: Turn, (spent, hindered): (Option<Cost>, bool)) {
        let mut state = self.state.lock();
        let timed = !state.fair.is_empty() || ask.alone.is_some() || matches!(turn, Turn::Taken(..));
        // While nobody waits for a fixed number of places, nobody needs to know what time it is.
        let now = if timed { self.clock.now() } else { ask.at };
        let began = if let Turn::Taken(_, began) = turn { began } else { ask.at };
        // What came to no end, or to none of use, says nothing of how fast the server is.
        let took = spent.filter(|spent| spent.0 > 0 && !hindered).map(|_| now.since(began));
        state.room.leave(ask.who.cost, Ran { took, alone: ask.alone });
        if ask.alone.is_some() {
            state.room.step(there(now));
        }
        match turn {
            // Whoever left early has had the server's time as well.
            Turn::Past => {
                state.fair.passed(&ask.who, spent.unwrap_or_else(|| Cost::of(now.since(began))).0, there(now));
            }
            Turn::Taken(bill, _) => {
                let real = spent.unwrap_or_else(|| Cost::of(now.since(began)));
                state.fair.done(&bill, real.0, there(now));
            }
        }
        self.let_in(&mut state);
    }

    /// A place that was granted and that nobody came for.
    fn give_back(&self, bill: &Bill) {
        let mut state = self.state.lock();
        state.room.leave(bill.said(), Ran::default());
        state.fair.undone(bill);
        self.let_in(&mut state);
    }

    fn give_up(&self, ticket: Ticket) {
        let mut state = self.state.lock();
        state.fair.cancel(ticket);
        // It may have been one for whom there was no room.
        self.let_in(&mut state);
        self.backlogged.store(!state.fair.is_empty(), Ordering::Relaxed);
    }

    fn count(&self, why: Away) {
        if let Some(count) = self.turned_away.get(why as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.queue.leave(&self.ask, self.turn, (self.spent, self.hindered));
    }
}

const fn away(why: Overload) -> Away {
    match why {
        Overload::Full { .. } => Away::Full,
        Overload::Late { .. } => Away::Late,
        Overload::Shed { .. } => Away::Shed,
    }
}

/// What whoever gets no place is told.
#[must_use]
pub fn refusal(why: Overload) -> Refusal {
    let refusal = overloaded(why.retry_after());
    match why {
        Overload::Full { .. } => refusal.because("the queue is full"),
        Overload::Late { wait, .. } => refusal.because(format_args!("too late after {} ms", wait.as_millis())),
        Overload::Shed { .. } => refusal.because("the queue stands, and its tenant has most in it"),
    }
}

fn overloaded(retry_after: Duration) -> Refusal {
    Refusal::new(Code::Overloaded).retry_after(retry_after.max(Duration::from_secs(1)))
}

/// The same moment, in the words of the leaf.
const fn there(now: Tick) -> limit::Tick {
    limit::Tick(now.0)
}

fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// A place in line. Dropped before it is granted, it leaves the line; dropped after, it passes the place on.
struct Waiting<'a> {
    queue: &'a Queue,
    ticket: Ticket,
    receiver: oneshot::Receiver<Result<Bill, Overload>>,
    over: bool,
}

impl Future for Waiting<'_> {
    type Output = Result<(Bill, Tick), Overload>;

    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<Self::Output> {
        std::pin::Pin::new(&mut self.receiver).poll(cx).map(|heard| {
            // From here on the place belongs to the slot.
            self.over = true;
            // INVARIANT: the sender is in the queue until it was used.
            let bill = heard.unwrap_or(Err(Overload::Full { retry_after: Duration::ZERO }))?;
            Ok((bill, self.queue.clock.now()))
        })
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        self.receiver.close();
        match self.receiver.try_recv() {
            // Granted, and nobody came: the next one takes the place.
            Ok(Ok(bill)) => self.queue.give_back(&bill),
            Ok(Err(_)) => {}
            Err(_) => self.queue.give_up(self.ticket),
        }
    }
}

#[cfg(test)]
mod tests;
