//! The open loop: requests are due at fixed times, whether or not earlier ones were answered.
//!
//! Each connection is a thread that takes the next due time, sleeps until then, and exchanges one request. Timers of an
//! asynchronous runtime count milliseconds; a thread's sleep is exact to some microseconds.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Barrier, OnceLock};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Connection, Plan};
use crate::tally::{Counts, Tally};
use crate::{Args, now};

/// From the moment that all are connected to the first request.
const LEAD: Duration = Duration::from_millis(20);

pub(crate) fn run(args: &Args, plan: &Arc<Plan>, rate: f64) -> anyhow::Result<Value> {
    anyhow::ensure!(rate.is_finite() && (1.0..=1e6).contains(&rate), "a rate from 1 to 1000000");
    anyhow::ensure!(args.streams == 1, "an open loop has one stream on each connection");
    // Threads inherit it: without, the kernel may wake a sleeper 50 µs late. A kernel that refuses costs exactness only.
    let _ = std::fs::write("/proc/self/timerslack_ns", "1000");
    let schedule = Schedule {
        next: AtomicU64::new(0),
        start: OnceLock::new(),
        gap: Duration::from_secs_f64(1.0 / rate),
        warmup: args.warmup(),
        whole: args.warmup() + args.seconds(),
        connected: Barrier::new(args.connections),
        tally: Tally::default(),
    };
    let lanes = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..args.connections).map(|_| scope.spawn(|| schedule.lane(plan))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a lane does not panic")).collect::<Vec<_>>()
    });
    let mut waits = Vec::new();
    for lane in lanes {
        waits.extend(lane?);
    }
    waits.sort_unstable();
    let counted = Counts { completed: waits.len() as u64, received: schedule.tally.counts().received };
    let begun = Counts { completed: 0, received: 0 };
    let mut report = schedule.tally.report((begun, counted), args.seconds().as_secs_f64(), plan);
    report["loop"] = json!("open");
    report["connections"] = json!(args.connections);
    report["rate"] = json!(rate);
    report["latency_us"] = json!({
        "p50": percentile(&waits, 0.5),
        "p99": percentile(&waits, 0.99),
        "p999": percentile(&waits, 0.999),
        "p9999": percentile(&waits, 0.9999),
        "max": percentile(&waits, 1.0),
    });
    Ok(report)
}

struct Schedule {
    next: AtomicU64,
    start: OnceLock<Instant>,
    gap: Duration,
    warmup: Duration,
    whole: Duration,
    connected: Barrier,
    tally: Tally,
}

impl Schedule {
    /// Latencies of one connection, from when each request was due, without those of the warm-up.
    fn lane(&self, plan: &Plan) -> std::io::Result<Vec<Duration>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let mut connection = runtime.as_ref().ok().and_then(|runtime| self.connect(plan, runtime));
        // Nobody may be missing here: the others would wait for ever.
        self.connected.wait();
        let runtime = runtime?;
        let start = *self.start.get_or_init(|| now() + LEAD);
        let mut waits = Vec::new();
        loop {
            let due = self.gap.mul_f64(self.next.fetch_add(1, Relaxed) as f64);
            if due >= self.whole {
                return Ok(waits);
            }
            std::thread::sleep((start + due).saturating_duration_since(now()));
            if connection.as_ref().is_none_or(Connection::spent) {
                connection = self.connect(plan, &runtime);
            }
            let Some(open) = &mut connection else { continue };
            match runtime.block_on(open.exchange(plan)) {
                Ok(Some(answer)) => {
                    let wait = now().saturating_duration_since(start + due);
                    if self.tally.answer(answer, plan) && due >= self.warmup {
                        waits.push(wait);
                    }
                }
                Ok(None) => {
                    // The server had closed it in its idle time; the request is sent again, and the wait is lost.
                    connection = None;
                }
                Err(error) => {
                    self.tally.error(&error);
                    connection = None;
                }
            }
        }
    }

    fn connect(&self, plan: &Plan, runtime: &tokio::runtime::Runtime) -> Option<Connection> {
        runtime.block_on(plan.connect()).map_err(|error| self.tally.error(&error)).ok()
    }
}

/// Microseconds.
fn percentile(sorted: &[Duration], share: f64) -> Option<f64> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in the list")]
    let place = ((sorted.len() as f64 * share).ceil() as usize).saturating_sub(1);
    sorted.get(place).map(|wait| (wait.as_secs_f64() * 1e8).round() / 100.0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::percentile;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let waits: Vec<Duration> = (1..=1000).map(Duration::from_micros).collect();
        assert_eq!(percentile(&waits, 0.5), Some(500.0));
        assert_eq!(percentile(&waits, 0.99), Some(990.0));
        assert_eq!(percentile(&waits, 0.999), Some(999.0));
        assert_eq!(percentile(&waits, 1.0), Some(1000.0));
        assert_eq!(percentile(&waits[..1], 0.5), Some(1.0));
        assert_eq!(percentile(&[], 0.5), None);
    }
}
