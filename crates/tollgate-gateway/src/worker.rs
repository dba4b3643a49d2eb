//! One worker: a thread with a runtime of its own, its listeners, its timer, its sinks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tollgate_core::identity::{ExchangeId, Facts};
use tollgate_core::journal::Journal;
use tollgate_core::time::Tick;

use crate::body::{Pace, Reader};
use crate::record::Sinks;
use crate::snapshot::Policy;
use crate::state::State;
use crate::tick::Ticker;

/// Lines of the address table that are looked at each second: all of them in under three hours.
const SWEPT_LINES: usize = 16;

/// What every task of one worker shares.
pub struct Worker {
    /// Its number, for shards and pools.
    pub index: usize,
    /// What outlives a policy.
    pub state: Arc<State>,
    /// Its coarse timer.
    pub ticker: Arc<Ticker>,
    /// Where its records go.
    pub sinks: Arc<Sinks>,
    /// Its tasks, awaited at drain.
    pub tasks: Arc<Tasks>,
    /// Turns true when the gateway drains.
    pub drain: watch::Receiver<bool>,
    random: AtomicU64,
    /// Wall time minus monotonic time in milliseconds, looked at by every housekeeping round.
    wall: AtomicU64,
}

/// Counts the tasks of a worker, so that drain can wait for the last one.
#[derive(Default)]
pub struct Tasks {
    running: AtomicUsize,
    ended: Notify,
}

impl Worker {
    /// What a worker does beside its requests: hands lines over, closes stale upstream connections.
    pub async fn housekeeping(self: Arc<Self>) {
        let mut every = tokio::time::interval(Duration::from_millis(100));
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut rounds = 0_u32;
        loop {
            every.tick().await;
            self.sinks.flush();
            self.look_at_wall_time();
            rounds = rounds.wrapping_add(1);
            if rounds.is_multiple_of(10) {
                self.state.policy().sweep(self.index, &self.ticker);
                if self.index == 0 {
                    // Every line of the address table within hours: its ticks wrap around after 52 days.
                    self.state.ledger.sweep(tollgate_limit::Tick(self.ticker.now().0), SWEPT_LINES);
                }
            }
        }
    }

    /// A worker that draws its ids from `seed`.
    #[must_use]
    pub fn new(index: usize, state: Arc<State>, sinks: Arc<Sinks>, drain: watch::Receiver<bool>) -> Self {
        let ticker = Ticker::new(state.clock.clone());
        let random = AtomicU64::new(state.dice.0 ^ (index as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let worker =
            Self { index, state, ticker, sinks, tasks: Arc::default(), drain, random, wall: AtomicU64::new(0) };
        worker.look_at_wall_time();
        worker
    }

    /// Remembers how wall time and monotonic time differ now.
    pub fn look_at_wall_time(&self) {
        let clock = &self.state.clock;
        self.wall.store(clock.unix_ms().wrapping_sub(clock.now().0 / 1_000_000), Ordering::Relaxed);
    }

    /// Milliseconds since the Unix epoch at `now`, without a second look at a clock.
    pub fn unix_ms(&self, now: Tick) -> u64 {
        self.wall.load(Ordering::Relaxed).wrapping_add(now.0 / 1_000_000)
    }

    /// A number that nobody outside can foresee while `dice` is secret; not for keys.
    pub fn random(&self) -> u64 {
        // SplitMix64 (Steele, Lea and Flood, 2014), keyed by the process seed.
        let mut z = self.random.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) ^ self.state.dice.1
    }

    /// A fresh exchange number.
    pub fn exchange_id(&self) -> ExchangeId {
        ExchangeId(u128::from(self.random()) << 64 | u128::from(self.random()))
    }

    /// Reads the clock and lets the journal know.
    pub fn tick(&self, facts: &Facts, log: &mut Journal) -> Tick {
        let now = self.state.clock.now();
        log.set_time(now.since(facts.started));
        now
    }

    /// What reads the body of a request that began at `started`, under `policy`.
    #[must_use]
    pub fn reader(&self, policy: &Policy, started: Tick) -> Reader<'_> {
        let deadlines = &policy.http.deadlines;
        let pace = Pace {
            total: Duration::from_millis(deadlines.body_ms),
            min_bytes_per_sec: deadlines.body_min_bytes_per_sec,
        };
        Reader { budget: &self.state.bodies, ticker: &self.ticker, compute: &self.state.compute, pace, started }
    }
}

impl Tasks {
    /// Runs `task` on this worker's runtime; drain waits for it.
    #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
    pub fn spawn(self: &Arc<Self>, task: impl Future<Output = ()> + Send + 'static) {
        self.running.fetch_add(1, Ordering::AcqRel);
        let ending = Ending(Arc::clone(self));
        drop(tokio::spawn(async move {
            task.await;
            drop(ending);
        }));
    }

    /// Runs `task` on this worker's runtime until that ends; drain does not wait for it.
    #[expect(clippy::disallowed_methods, reason = "beside `spawn`, the one place that spawns")]
    pub fn spawn_detached(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(tokio::spawn(task));
    }

    /// Waits until no task is left.
    pub async fn all_ended(&self) {
        loop {
            let ended = self.ended.notified();
            if self.running.load(Ordering::Acquire) == 0 {
                return;
            }
            ended.await;
        }
    }
}

/// Counts a task out, also one that panicked or was dropped.
struct Ending(Arc<Tasks>);

impl Drop for Ending {
    fn drop(&mut self) {
        if self.0.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.ended.notify_waiters();
        }
    }
}
