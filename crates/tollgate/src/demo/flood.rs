//! The cost flood: one tenant sends dear requests as fast as it can, another one goes on working beside it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::json;
use tokio::task::JoinSet;
use tollgate_core::ruling::Code;
use tollgate_core::stage::Stage;

use super::attacks::Verdict;
use super::client::{Answer, Client, Connection, post};
use super::records::Records;
use super::setup::Scene;

/// Connections of the flood.
const FLOODERS: usize = 16;
/// Rows of a dear request; the configuration says 50 ms of the backend's time for each.
const ROWS: usize = 8;
/// Requests of the well-behaved tenant, one after the other.
const GOOD: usize = 10;
/// A flooder that is refused tries again after this, whatever `Retry-After` says.
const RUDE: Duration = Duration::from_millis(10);
/// The flood is at its height after this many refusals.
const HEIGHT: u64 = 50;
/// How many times longer than alone the well-behaved tenant may wait. A backend that is shared costs about twice; the
/// rest is for slow machines.
const PATIENCE: u64 = 10;

/// What came of it.
#[derive(Default, Serialize)]
pub(super) struct Flood {
    /// Dear requests sent.
    pub(super) sent: u64,
    /// Those that got a place.
    pub(super) served: u64,
    /// Those that their own budget refused.
    pub(super) refused: u64,
    /// Those with any other end.
    pub(super) other: u64,
    pub(super) promised: Verdict,
    /// How the refused ended.
    pub(super) got: Verdict,
    /// Which budget refused, in the gateway's own words.
    pub(super) evidence: Option<String>,
    /// Median time of a refusal.
    pub(super) refusal_us: u64,
    /// Requests of the well-behaved tenant during the flood, and how many were served.
    pub(super) good_sent: usize,
    pub(super) good_served: usize,
    /// Their median time alone, and during the flood; and the longest.
    pub(super) alone_us: u64,
    pub(super) beside_us: u64,
    pub(super) worst_us: u64,
    /// The median that was promised.
    pub(super) promised_us: u64,
    pub(super) as_promised: bool,
}

/// What the flooders share.
#[derive(Default)]
struct Tally {
    stop: AtomicBool,
    served: AtomicU64,
    refused: AtomicU64,
    other: AtomicU64,
    refusals: Mutex<Vec<u64>>,
    /// The id and the public verdict of the first refusal.
    first: Mutex<Option<(String, u16, Option<String>)>>,
}

/// Floods, works beside the flood, and compares.
pub(super) async fn run(scene: &Scene, records: &Records) -> anyhow::Result<Flood> {
    let mut good = scene.client.connect().await?;
    let (alone, _) = work(&mut good, &scene.keys.demo).await?;
    let tally = Arc::new(Tally::default());
    let mut flooders = JoinSet::new();
    for _ in 0..FLOODERS {
        flooders.spawn(flood(scene.client.clone(), scene.keys.flood.clone(), Arc::clone(&tally)));
    }
    // Nothing is measured before the flood is at its height; a flood that never gets there ends in the check below.
    for _ in 0..1000 {
        if tally.refused.load(Ordering::Relaxed) >= HEIGHT {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (beside, served) = work(&mut good, &scene.keys.demo).await?;
    tally.stop.store(true, Ordering::Relaxed);
    while let Some(ended) = flooders.join_next().await {
        ended.context("a flooder was lost")??;
    }
    report(&tally, records, (&alone, &beside, served)).await
}

async fn report(tally: &Tally, records: &Records, good: (&[u64], &[u64], usize)) -> anyhow::Result<Flood> {
    let (alone, beside, good_served) = good;
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (served, refused, other) = (count(&tally.served), count(&tally.refused), count(&tally.other));
    let first = tally.first.lock().take();
    let (id, status, code) = first.context("no request of the flood was refused")?;
    let found = records.find(Some(&id), 0).await?;
    let promised = Verdict::refusal(Code::RateLimited, Stage::Limits);
    let got = Verdict { status, code, stage: found.stage };
    let (alone_us, beside_us) = (median(alone), median(beside));
    let promised_us = alone_us * PATIENCE;
    let named = found.evidence.as_deref().is_some_and(|why| why.contains("flood_compute"));
    let kept = good_served == GOOD && beside_us <= promised_us;
    Ok(Flood {
        sent: served + refused + other,
        served,
        refused,
        other,
        as_promised: got == promised && named && kept && refused >= HEIGHT && other == 0,
        promised,
        got,
        evidence: found.evidence,
        refusal_us: median(&tally.refusals.lock()),
        good_sent: GOOD,
        good_served,
        alone_us,
        beside_us,
        worst_us: beside.iter().copied().max().unwrap_or(0),
        promised_us,
    })
}

/// One honest client: a request at a time, each of one row. Their times, and how many were served.
async fn work(connection: &mut Connection, key: &str) -> anyhow::Result<(Vec<u64>, usize)> {
    let mut times = Vec::with_capacity(GOOD);
    let mut served = 0;
    for _ in 0..GOOD {
        let answer = connection.send(post("/v2/models/slow/infer", key, rows(1))).await?;
        served += usize::from(answer.status == 200);
        times.push(super::micros(answer.took));
    }
    Ok((times, served))
}

/// One rude client.
async fn flood(client: Client, key: String, tally: Arc<Tally>) -> anyhow::Result<()> {
    let body = rows(ROWS);
    let mut connection = client.connect().await?;
    while !tally.stop.load(Ordering::Relaxed) {
        let answer = connection.send(post("/v2/models/slow/infer", &key, body.clone())).await?;
        if tally.count(&answer) {
            tokio::time::sleep(RUDE).await;
        }
    }
    Ok(())
}

impl Tally {
    /// Whether it was refused.
    fn count(&self, answer: &Answer) -> bool {
        let counter = match answer.status {
            200 => &self.served,
            429 => &self.refused,
            _ => &self.other,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if answer.status == 429 {
            self.refusals.lock().push(super::micros(answer.took));
            let mut first = self.first.lock();
            if let (None, Some(id)) = (&*first, &answer.id) {
                *first = Some((id.clone(), answer.status, answer.code().map(str::to_owned)));
            }
        }
        answer.status == 429
    }
}

fn rows(rows: usize) -> String {
    let tensor = json!({ "name": "x", "shape": [rows, 4], "datatype": "FP32", "data": vec![0.5; rows * 4] });
    json!({ "inputs": [tensor] }).to_string()
}

fn median(times: &[u64]) -> u64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_in_the_middle_whatever_the_order() {
        assert_eq!((median(&[]), median(&[7]), median(&[9, 1, 5])), (0, 7, 5));
    }
}
