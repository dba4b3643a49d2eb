//! What is told of issuers: metrics, and on the admin listener why the last fetch failed.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

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

/// What the admin listener shows: each issuer, its keys, and why they could not be fetched the last time.
#[must_use]
pub fn document(issuers: &Issuers, unix_ms: u64) -> Value {
    let one = |desk: &std::sync::Arc<super::IssuerDesk>| {
        json!({
            "name": desk.name,
            "keys": desk.room.len(),
            "good": desk.room.is_good(unix_ms),
            "failed": *desk.why.lock(),
        })
    };
    json!({ "issuers": issuers.serving().iter().map(one).collect::<Vec<_>>() })
}
