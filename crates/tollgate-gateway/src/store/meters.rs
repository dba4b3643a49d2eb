//! What the shared balances did, for `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::record::metrics::{head, row};

/// Upper bounds of the wait for the store, in microseconds.
const BOUNDS_US: [u64; 8] = [100, 250, 500, 1_000, 2_000, 3_000, 5_000, 10_000];

/// How one charge of a shared balance was judged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum How {
    /// From the lease, without waiting.
    Leased,
    /// By a refusal of the store a moment ago.
    Recalled,
    /// From the lease, after waiting for the store.
    Waited,
    /// By the store itself.
    Strict,
    /// By this node's share: the store was away.
    Away,
    /// By this node's share: the store was late.
    Late,
    /// Not at all: the store was away or late, and `when_down` says `fault`.
    Fault,
}

const HOWS: [(How, &str); 7] = [
    (How::Leased, "leased"),
    (How::Recalled, "recalled"),
    (How::Waited, "waited"),
    (How::Strict, "strict"),
    (How::Away, "away"),
    (How::Late, "late"),
    (How::Fault, "fault"),
];

/// See the module.
#[derive(Debug, Default)]
pub(super) struct StoreMeters {
    hows: [AtomicU64; HOWS.len()],
    waits: [AtomicU64; BOUNDS_US.len() + 1],
    wait_us: AtomicU64,
    pub(super) calls: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) connects: AtomicU64,
}

impl StoreMeters {
    pub(super) fn judged(&self, how: How) {
        if let Some(count) = self.hows.get(how as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn waited(&self, wait: Duration) {
        let us = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.iter().position(|bound| us <= *bound).unwrap_or(BOUNDS_US.len());
        if let Some(count) = self.waits.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.wait_us.fetch_add(us, Ordering::Relaxed);
    }

    /// Writes the Prometheus text exposition.
    pub(super) fn render(&self, out: &mut String, (up, nodes): (bool, u32)) {
        let value = |count: &AtomicU64| count.load(Ordering::Relaxed);
        head(out, "tollgate_store_up", "gauge", "Whether the store of shared balances is asked.");
        row(out, "tollgate_store_up", &[], u64::from(up));
        head(out, "tollgate_store_nodes", "gauge", "Nodes that share balances, as this one sees it.");
        row(out, "tollgate_store_nodes", &[], nodes);
        head(out, "tollgate_store_judged_total", "counter", "Charges of shared balances by how they were judged.");
        for ((_, name), count) in HOWS.iter().zip(&self.hows) {
            row(out, "tollgate_store_judged_total", &[("how", name)], value(count));
        }
        for (name, help, count) in [
            ("tollgate_store_calls_total", "Calls of the store.", &self.calls),
            ("tollgate_store_failures_total", "Calls of the store that failed or were late.", &self.failures),
            ("tollgate_store_connects_total", "Connections to the store.", &self.connects),
        ] {
            head(out, name, "counter", help);
            row(out, name, &[], value(count));
        }
        head(out, "tollgate_store_wait_seconds", "histogram", "How long requests waited for the store.");
        let mut total = 0;
        for (bound, count) in BOUNDS_US.iter().zip(&self.waits) {
            total += value(count);
            row(out, "tollgate_store_wait_seconds_bucket", &[("le", &seconds(*bound).to_string())], total);
        }
        total += self.waits.last().map_or(0, value);
        row(out, "tollgate_store_wait_seconds_bucket", &[("le", "+Inf")], total);
        row(out, "tollgate_store_wait_seconds_sum", &[], seconds(value(&self.wait_us)));
        row(out, "tollgate_store_wait_seconds_count", &[], total);
    }
}

#[expect(clippy::cast_precision_loss, reason = "a metric in seconds has no need of 64 exact bits")]
fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}
