//! Counts of what happened.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde_json::{Value, json};

use crate::client::{Answer, Plan};

/// How many messages of failures are kept.
const SHOWN: usize = 3;

/// What happened so far, in warm-up and after it.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    completed: AtomicU64,
    bad: AtomicU64,
    errors: AtomicU64,
    received: AtomicU64,
    failures: parking_lot::Mutex<BTreeMap<String, u64>>,
}

/// The counts at one time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    pub(crate) completed: u64,
    pub(crate) received: u64,
}

impl Tally {
    /// Counts an answer; whether it was as it should be.
    pub(crate) fn answer(&self, answer: Answer, plan: &Plan) -> bool {
        self.received.fetch_add(answer.bytes, Relaxed);
        if plan.accepts(answer) {
            self.completed.fetch_add(1, Relaxed);
            return true;
        }
        self.bad.fetch_add(1, Relaxed);
        self.note(format!("status {} with {} bytes", answer.status, answer.bytes));
        false
    }

    /// Counts a connection that failed, or a request that got no answer.
    pub(crate) fn error(&self, error: &std::io::Error) {
        self.errors.fetch_add(1, Relaxed);
        self.note(error.to_string());
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts { completed: self.completed.load(Relaxed), received: self.received.load(Relaxed) }
    }

    /// What both kinds of loop report. Bad answers and errors count from the first request on.
    pub(crate) fn report(&self, (from, to): (Counts, Counts), seconds: f64, plan: &Plan) -> Value {
        let completed = to.completed - from.completed;
        json!({
            "seconds": seconds,
            "completed": completed,
            "bad": self.bad.load(Relaxed),
            "errors": self.errors.load(Relaxed),
            "failures": *self.failures.lock(),
            "bytes_sent": completed * plan.request_bytes(),
            "bytes_received": to.received - from.received,
        })
    }

    fn note(&self, what: String) {
        let mut failures = self.failures.lock();
        if failures.len() < SHOWN || failures.contains_key(&what) {
            *failures.entry(what).or_default() += 1;
        }
    }
}
