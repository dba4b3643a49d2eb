//! One coarse timer per worker: deadlines that cost a lock of nanoseconds and no system call.
//!
//! A tokio timer that becomes the earliest one wakes the driver through an eventfd: one `write` per request. A
//! [`Ticker`] walks its alarms every quarter of a second instead, so an alarm rings up to one walk late. It measures
//! nothing finer, and it is not the clock of limits or queues.

use std::borrow::Borrow;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use slab::Slab;
use tokio::time::MissedTickBehavior;
use tollgate_core::time::{Clock, Tick};

/// The alarms of one worker.
#[derive(Debug)]
pub struct Ticker {
    clock: Clock,
    walks: AtomicU64,
    entries: Mutex<Slab<Entry>>,
}

impl Ticker {
    /// How often a worker walks its alarms.
    pub const EVERY: Duration = Duration::from_millis(250);

    /// A ticker without alarms.
    #[must_use]
    pub fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self { clock, walks: AtomicU64::new(0), entries: Mutex::new(Slab::new()) })
    }

    /// Now, exactly.
    #[must_use]
    pub fn now(&self) -> Tick {
        self.clock.now()
    }

    /// How many walks there were: a clock of quarters of a second that costs nothing to look at.
    #[must_use]
    pub fn walks(&self) -> u64 {
        self.walks.load(Ordering::Relaxed)
    }

    /// The tick `wait` from now.
    #[must_use]
    pub fn after(&self, wait: Duration) -> Tick {
        self.now().after(wait)
    }

    /// An alarm that rings at the first walk that finds `at` passed.
    pub fn alarm(self: &Arc<Self>, at: Tick) -> Alarm {
        let key = self.entries.lock().insert(Entry { at, rung: false, waker: None });
        Alarm { ticker: Arc::clone(self), key }
    }

    /// Rings every alarm whose time has passed.
    pub fn walk(&self) {
        let now = self.now();
        self.walks.fetch_add(1, Ordering::Relaxed);
        let mut waking = Vec::new();
        for (_, entry) in &mut *self.entries.lock() {
            if !entry.rung && entry.at <= now {
                entry.rung = true;
                waking.extend(entry.waker.take());
            }
        }
        // Woken outside the lock: a waker may run code that sets an alarm.
        waking.into_iter().for_each(Waker::wake);
    }

    /// Walks `every` so often, until it is dropped.
    pub async fn run(self: Arc<Self>, every: Duration) {
        let mut interval = tokio::time::interval(every);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            self.walk();
        }
    }

    /// How many alarms exist, rung or not.
    #[must_use]
    pub fn alarms(&self) -> usize {
        self.entries.lock().len()
    }
}

#[derive(Debug)]
struct Entry {
    at: Tick,
    rung: bool,
    waker: Option<Waker>,
}

/// A place in a [`Ticker`]: a future that resolves once its time has passed, and stays resolved until it is reset.
#[derive(Debug)]
#[must_use = "an alarm that nobody polls wakes nobody"]
pub struct Alarm {
    ticker: Arc<Ticker>,
    key: usize,
}

impl Alarm {
    /// Another alarm of the same ticker, as yet without a time.
    pub fn sibling(&self) -> Self {
        self.ticker.alarm(Tick(u64::MAX))
    }

    /// Moves the alarm; one that has rung may ring again.
    pub fn reset(&self, at: Tick) {
        if let Some(entry) = self.ticker.entries.lock().get_mut(self.key) {
            entry.at = at;
            entry.rung = false;
        }
    }

    /// Moves the alarm to `wait` from now.
    pub fn reset_after(&self, wait: Duration) {
        self.reset(self.ticker.after(wait));
    }

    /// Whether it has rung, remembering whom to wake if not.
    pub fn poll_rung(&self, cx: &Context<'_>) -> Poll<()> {
        let mut entries = self.ticker.entries.lock();
        let Some(entry) = entries.get_mut(self.key) else { return Poll::Ready(()) };
        if entry.rung {
            return Poll::Ready(());
        }
        if !entry.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            entry.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Future for Alarm {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_rung(cx)
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let entry = self.ticker.entries.lock().try_remove(self.key);
        // Outside the lock: dropping the last waker of a task drops the task, and with it other alarms.
        drop(entry);
    }
}

/// The alarm rang first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Late;

/// Runs `work` until it is done or `alarm` rings; work that is done in time wins over an alarm that rang meanwhile.
///
/// # Errors
/// [`Late`] if the alarm rang first; `work` is dropped.
pub async fn within<F: Future>(alarm: impl Borrow<Alarm>, work: F) -> Result<F::Output, Late> {
    let mut work = pin!(work);
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Ok(output)),
        Poll::Pending => alarm.borrow().poll_rung(cx).map(|()| Err(Late)),
    })
    .await
}

#[cfg(test)]
mod tests;
