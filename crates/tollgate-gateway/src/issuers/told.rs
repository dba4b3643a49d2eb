//! What is told of issuers: metrics. Why the last fetch failed stands on the admin listener alone.

use std::sync::atomic::Ordering;

use super::Issuers;
use crate::record::metrics::{head, row};

/// Writes the metrics of every issuer that serves.
pub fn render(issuers: &Issuers, unix_ms: u64, out: &mut String) {
    let serving = issuers.serving();
    let name = "tollgate_issuer_keys";
    head(out, name, "gauge", "Keys of each issuer of tokens that may be used now; 0 refuses all of its tokens.");
    for desk in serving.iter() {
        let keys = if desk.room.is_good(unix_ms) { desk.room.len() } else { 0 };
        row(out, name, &[("issuer", &desk.name)], keys);
    }
    let name = "tollgate_issuer_fetch_failures_total";
    head(out, name, "counter", "Fetches of the keys of each issuer of tokens that failed.");
    for desk in serving.iter() {
        row(out, name, &[("issuer", &desk.name)], desk.failures.load(Ordering::Relaxed));
    }
}
