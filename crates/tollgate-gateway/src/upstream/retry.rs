//! What may be sent again, and how much of it: retries that are a share of what runs cannot become the load that keeps a
//! server down.
//!
//! Pure but for one counter. Nothing is ever sent again once a byte of an answer has been passed on: whoever asks here has
//! not passed one on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// What may be sent again.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RetryRules {
    /// Requests that are being sent again may be so many percent of those that run.
    pub budget_percent: u32,
    /// And at least so many at once.
    pub min: u32,
    /// Nothing dearer than this, in microseconds, is worked on twice.
    pub max_cost: u64,
    /// Statuses that another endpoint is asked after.
    pub statuses: Box<[u16]>,
}

/// How far a failed attempt had come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reached {
    /// It was answered.
    Answer,
    /// Perhaps the server works on it: it was sent over a fresh connection.
    Perhaps,
    /// The server answered with this status, and none of its body was looked at.
    Status(u16),
    /// A kept connection died without a byte of an answer: the common race with a server that closes it.
    Unheard,
    /// Nothing of it left us, or the server said that it did not begin.
    Unserved,
}

/// What is known of the request.
#[derive(Clone, Copy, Debug)]
pub struct Again {
    /// How far it had come.
    pub reached: Reached,
    /// Sending it twice is the same as sending it once.
    pub repeatable: bool,
    /// What it is expected to cost.
    pub cost: u64,
    /// Attempts so far.
    pub attempts: usize,
    /// Endpoints that it was not sent to.
    pub others: usize,
}

/// Attempts at one request.
const MOST_ATTEMPTS: usize = 3;

/// Whether a request is sent again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It is: nobody has worked on it, so that it costs the servers nothing.
    Free,
    /// It is not.
    No,
    /// It is, if the budget has room.
    Spends,
}

/// Whether a request may be sent again.
#[must_use]
pub fn verdict(again: &Again, rules: &RetryRules) -> Verdict {
    // Once more to the same server where there is no other.
    let left = again.attempts < MOST_ATTEMPTS && (again.others > 0 || again.attempts < 2);
    let worth = again.repeatable && again.cost <= rules.max_cost;
    match again.reached {
        Reached::Unserved if left => Verdict::Free,
        Reached::Unheard if left && worth => Verdict::Spends,
        // The server that has just said no would say it again.
        Reached::Status(status) if left && worth && again.others > 0 && rules.statuses.contains(&status) => {
            Verdict::Spends
        }
        Reached::Answer | Reached::Perhaps | Reached::Status(_) | Reached::Unheard | Reached::Unserved => Verdict::No,
    }
}

/// Requests of one upstream that are being sent again.
#[derive(Debug, Default)]
pub struct Retries {
    running: AtomicU32,
    begun: AtomicU64,
    denied: AtomicU64,
}

/// Room in the budget; given back when dropped.
#[derive(Debug)]
pub struct Permit(Arc<Retries>);

impl Retries {
    /// Room for one more beside `running` requests in all.
    pub fn permit(self: &Arc<Self>, rules: &RetryRules, running: u64) -> Option<Permit> {
        let share = running.saturating_mul(u64::from(rules.budget_percent)) / 100;
        let most = u32::try_from(share).unwrap_or(u32::MAX).max(rules.min);
        let room = |now: u32| (now < most).then(|| now + 1);
        if self.running.fetch_update(Ordering::AcqRel, Ordering::Acquire, room).is_err() {
            self.denied.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(Permit(Arc::clone(self)))
    }

    /// One was sent again.
    pub fn count(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
    }

    /// How many were sent again, and how many were not because the budget was spent.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.begun.load(Ordering::Relaxed), self.denied.load(Ordering::Relaxed))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Default for RetryRules {
    fn default() -> Self {
        Self { budget_percent: 10, min: 3, max_cost: u64::MAX, statuses: Box::new([502, 503, 504]) }
    }
}

#[cfg(test)]
mod tests;
