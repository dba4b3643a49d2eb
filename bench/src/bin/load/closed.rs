//! The closed loop: what the gateway does while it is as busy as these connections can make it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tollgate_bench::cpu::Spent;

use crate::client::{Connection, H1, H2, Plan};
use crate::tally::Tally;
use crate::{Args, now};

/// How long requests may take to end once the time is up.
const LINGER: Duration = Duration::from_secs(2);

pub(crate) fn run(args: &Args, plan: &Arc<Plan>) -> anyhow::Result<Value> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(args, plan))
}

async fn measure(args: &Args, plan: &Arc<Plan>) -> anyhow::Result<Value> {
    let crowd = Arc::new(Crowd { tally: Tally::default(), stop: AtomicBool::new(false), streams: args.streams });
    let mut lanes = JoinSet::new();
    for _ in 0..args.connections {
        let (crowd, plan) = (Arc::clone(&crowd), Arc::clone(plan));
        lanes.spawn(async move { crowd.lane(&plan).await });
    }
    tokio::time::sleep(args.warmup()).await;
    let (start, before, spent) = (now(), crowd.tally.counts(), Spent::of(&args.watch)?);
    tokio::time::sleep(args.seconds()).await;
    let (after, spent) = (crowd.tally.counts(), Spent::of(&args.watch)?.since(spent));
    let seconds = now().duration_since(start).as_secs_f64();
    crowd.stop.store(true, Relaxed);
    // A request that is cut off would be a cancellation for the gateway: the next round should not begin with those.
    let _ = tokio::time::timeout(LINGER, async { while lanes.join_next().await.is_some() {} }).await;
    let mut report = crowd.tally.report((before, after), seconds, plan);
    report["loop"] = json!("closed");
    report["connections"] = json!(args.connections);
    report["streams"] = json!(args.streams);
    if !args.watch.is_empty() {
        report["cpu"] = spent.report(after.completed - before.completed);
    }
    Ok(report)
}

struct Crowd {
    tally: Tally,
    stop: AtomicBool,
    streams: usize,
}

impl Crowd {
    /// One connection after the other.
    async fn lane(&self, plan: &Plan) {
        while !self.stopped() {
            match plan.connect().await {
                Ok(Connection::H1(h1)) => self.h1(*h1, plan).await,
                Ok(Connection::H2(h2)) => {
                    join_all((0..self.streams).map(|_| self.h2(h2.clone(), plan))).await;
                }
                Err(error) => {
                    self.tally.error(&error);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }

    async fn h1(&self, mut h1: H1, plan: &Plan) {
        while !self.stopped() && !h1.spent {
            match h1.exchange(plan).await {
                Ok(Some(answer)) => {
                    self.tally.answer(answer, plan);
                }
                Ok(None) => return,
                Err(error) => return self.tally.error(&error),
            }
        }
    }

    async fn h2(&self, mut h2: H2, plan: &Plan) {
        while !self.stopped() {
            match h2.exchange(plan).await {
                Ok(Some(answer)) => {
                    self.tally.answer(answer, plan);
                }
                Ok(None) => return,
                Err(error) => return self.tally.error(&error),
            }
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Relaxed)
    }
}
