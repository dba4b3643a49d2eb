//! The one who talks to the store, on the control thread: carries questions and answers, flushes what is due, keeps the
//! membership, and stops asking a store that does not answer. No request waits for anything here without its own deadline.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tollgate_core::time::Tick;

use super::breaker::{Breaker, SLOW};
use super::levers::keep_in_step;
use super::shared::{Place, Question, Shared};
use super::{Charged, Claim, Connect, Dial, Store, StoreFault};
use crate::state::State;
use crate::worker::Tasks;

/// How often what is due is flushed.
const FLUSH: Duration = Duration::from_millis(5);
/// How often a node says that it lives; it is forgotten after three times that.
const BEAT: Duration = Duration::from_secs(1);
/// How often a store that is away is looked for, and how much earlier or later at most.
const PROBE: Duration = Duration::from_millis(250);
const JITTER_MS: u64 = 50;
/// Calls under way at once.
const CALLS: u32 = 1024;
/// Balances that are settled in one flush.
const SETTLED: usize = 1600;
/// How long the last words of a node may take.
pub const FAREWELL: Duration = Duration::from_millis(300);

/// One connection, as long as it is of use.
struct Line<S> {
    store: S,
    shared: Arc<Shared>,
    breaker: Mutex<Breaker>,
    /// Told when the connection is of no use any more.
    broken: Notify,
    /// Told when a call is slow: the next one must not wait for a request, or a dead store is found out late.
    slow: Notify,
    calls: Arc<Semaphore>,
    tasks: Arc<Tasks>,
    node: u64,
}

/// Begins to keep the balances of `state` in touch with their store, if they have one, until `stop` says so.
pub fn begin(state: &Arc<State>, tasks: &Arc<Tasks>, stop: watch::Receiver<bool>) {
    if let Some(shared) = state.balances.shared() {
        let node = state.dice.0 ^ state.dice.1.rotate_left(32);
        let both = (Arc::clone(state), Arc::clone(shared));
        tasks.spawn_detached(keep_in_step(both, Newest(Arc::clone(state)), stop.clone()));
        tasks.spawn(drive(Arc::clone(shared), Newest(Arc::clone(state)), Arc::clone(tasks), (node, stop)));
    }
}

/// Connects as the newest configuration says: its password may have changed.
struct Newest(Arc<State>);

impl Connect for Newest {
    type Store = <Dial as Connect>::Store;

    async fn connect(&self) -> Result<Self::Store, StoreFault> {
        match self.0.dial.load_full() {
            Some(dial) => dial.connect().await,
            None => Err(StoreFault { why: "no address of the store".to_owned(), broken: true }),
        }
    }
}

/// Keeps `shared` in touch with the store until `stop` says so, under the name `node`.
pub async fn drive<C: Connect>(
    shared: Arc<Shared>,
    connect: C,
    tasks: Arc<Tasks>,
    (node, mut stop): (u64, watch::Receiver<bool>),
) {
    let Some(mut inbox) = shared.take_inbox() else { return };
    let mut dice = node;
    loop {
        let line = tokio::select! {
            line = reach(&shared, &connect, &tasks, node) => line,
            () = told(&mut stop) => return,
        };
        if let Some(line) = line {
            let stopped = Line::serve(&line, &mut inbox, stop.clone()).await;
            shared.went();
            if stopped {
                line.say_farewell().await;
                return;
            }
        }
        while let Ok(question) = inbox.try_recv() {
            give_up(&shared, question);
        }
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let jitter = Duration::from_millis((dice >> 33) % (2 * JITTER_MS));
        tokio::select! {
            () = sleep(PROBE.saturating_sub(Duration::from_millis(JITTER_MS)) + jitter) => {}
            () = told(&mut stop) => return,
        }
    }
}

/// Connects, and sees that the store answers soon enough to be asked.
async fn reach<C: Connect>(
    shared: &Arc<Shared>,
    connect: &C,
    tasks: &Arc<Tasks>,
    node: u64,
) -> Option<Arc<Line<C::Store>>> {
    let failed = || shared.meters.failures.fetch_add(1, Ordering::Relaxed);
    let Ok(store) = connect.connect().await else {
        failed();
        return None;
    };
    let Ok(Ok(nodes)) = timeout(SLOW, store.heartbeat(node)).await else {
        failed();
        return None;
    };
    shared.meters.connects.fetch_add(1, Ordering::Relaxed);
    shared.came(nodes);
    Some(Arc::new(Line {
        store,
        shared: Arc::clone(shared),
        breaker: Mutex::default(),
        broken: Notify::new(),
        slow: Notify::new(),
        calls: Arc::new(Semaphore::new(CALLS as usize)),
        tasks: Arc::clone(tasks),
        node,
    }))
}

impl<S: Store> Line<S> {
    /// Serves until the connection is of no use any more, or (true) until it is told to stop.
    async fn serve(line: &Arc<Self>, inbox: &mut mpsc::Receiver<Question>, mut stop: watch::Receiver<bool>) -> bool {
        let (mut flush, mut beat) = (interval(FLUSH), interval(BEAT));
        flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                question = inbox.recv() => match question {
                    Some(question) => Self::take(line, question).await,
                    None => return true,
                },
                _ = flush.tick() => {
                    line.shared.sweep();
                    Self::flush(line).await;
                }
                _ = beat.tick() => Self::beat_soon(line),
                () = line.slow.notified() => Self::beat_soon(line),
                () = line.broken.notified() => return false,
                () = told(&mut stop) => return true,
            }
        }
    }

    async fn take(line: &Arc<Self>, question: Question) {
        let Ok(place) = Arc::clone(&line.calls).acquire_owned().await else { return };
        let own = Arc::clone(line);
        line.tasks.spawn_detached(async move {
            own.answer(question).await;
            drop(place);
        });
    }

    async fn answer(&self, question: Question) {
        match question {
            Question::Lease(place, claim) => {
                let charged = self.call(self.store.charge(&[claim])).await;
                self.shared.leased(place, charged.as_ref());
            }
            Question::Charge { claims, answer } => {
                let bare: Vec<_> = claims.iter().map(|(_, claim)| *claim).collect();
                let charged = self.call(self.store.charge(&bare)).await;
                match &charged {
                    Some(Charged::Yes(granted)) => {
                        for (claim, (_, standing)) in claims.iter().zip(granted) {
                            self.shared.stands(claim, *standing);
                        }
                    }
                    Some(Charged::No { at, standing, .. }) => {
                        if let Some(claim) = claims.get(*at) {
                            self.shared.stands(claim, *standing);
                        }
                    }
                    None => {}
                }
                // Too late: whoever asked was judged otherwise, or left.
                if let Err(Some(Charged::Yes(granted))) = answer.send(charged) {
                    for ((place, _), (granted, _)) in claims.iter().zip(granted) {
                        self.shared.came_late(*place, granted);
                    }
                }
            }
        }
    }

    async fn flush(line: &Arc<Self>) {
        let (due, payments) = line.shared.due(SETTLED, false);
        if !due.is_empty() {
            let own = Arc::clone(line);
            line.tasks.spawn_detached(async move { own.settle(&due).await });
        }
        for (place, claim) in payments {
            Self::take(line, Question::Lease(place, claim)).await;
        }
    }

    async fn settle(&self, due: &[(Place, Claim)]) {
        let bare: Vec<_> = due.iter().map(|(_, claim)| *claim).collect();
        match self.call(self.store.settle(&bare)).await {
            Some(standings) => {
                for (claim, standing) in due.iter().zip(standings) {
                    self.shared.stands(claim, standing);
                }
            }
            None => self.shared.untold(due),
        }
    }

    fn beat_soon(line: &Arc<Self>) {
        let own = Arc::clone(line);
        line.tasks.spawn_detached(async move { own.beat().await });
    }

    async fn beat(&self) {
        if let Some(nodes) = self.call(self.store.heartbeat(self.node)).await {
            self.shared.counted(nodes);
        }
    }

    /// Gives everything back and leaves. Workers have ended: nobody charges any more.
    async fn say_farewell(&self) {
        let words = async {
            // What is still being asked for would be lost.
            drop(self.calls.acquire_many(CALLS).await);
            let (due, _) = self.shared.due(usize::MAX, true);
            self.settle(&due).await;
            drop(self.store.leave(self.node).await);
        };
        drop(timeout(FAREWELL, words).await);
    }

    /// What a call comes to; none if it failed. One that is slow has failed, but its answer still counts.
    async fn call<T>(&self, call: impl Future<Output = Result<T, StoreFault>>) -> Option<T> {
        let (clock, sent) = (self.shared.clock(), self.shared.clock().now());
        self.shared.meters.calls.fetch_add(1, Ordering::Relaxed);
        let mut call = std::pin::pin!(call);
        let answer = match timeout(SLOW, call.as_mut()).await {
            Ok(answer) => answer,
            Err(_late) => {
                self.failed(sent, false);
                self.slow.notify_one();
                call.await
            }
        };
        match answer {
            Ok(answer) => {
                if self.breaker.lock().answered(sent, clock.now()) {
                    self.broken.notify_one();
                }
                Some(answer)
            }
            Err(fault) => {
                self.failed(sent, fault.broken);
                None
            }
        }
    }

    fn failed(&self, sent: Tick, broken: bool) {
        self.shared.meters.failures.fetch_add(1, Ordering::Relaxed);
        let opens = self.breaker.lock().failed(sent, self.shared.clock().now());
        if opens || broken {
            // At once, so that the next request does not wait for what will not come.
            self.shared.went();
            self.broken.notify_one();
        }
    }
}

/// This node is told to stop, or nobody is left to tell it.
async fn told(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}

/// Nobody will answer this.
fn give_up(shared: &Shared, question: Question) {
    match question {
        Question::Charge { answer, .. } => drop(answer.send(None)),
        Question::Lease(place, _) => shared.leased(place, None),
    }
}

#[cfg(test)]
mod tests;
