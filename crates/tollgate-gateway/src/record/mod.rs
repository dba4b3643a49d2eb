//! Folds over the journal where an exchange ends: metrics and the access line. They run on the worker, after the
//! answer; only finished bytes cross threads.

pub mod access;
pub mod act;
pub mod certificates;
pub mod metrics;
pub mod redact;
pub mod rules;
pub mod waf_log;
pub mod writer;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use tollgate_core::cost::Cost;
use tollgate_core::ruling::Denial;
use tollgate_core::time::{Clock, Tick};

use crate::exchange::{Ending, Exchange, Outcome};
use crate::firewall;
use crate::release;
pub use metrics::Meters;
pub use redact::Redactor;
pub use waf_log::WafLog;
pub use writer::{RecordTarget, Recorder};

/// How many bytes of lines a worker gathers before it hands them over.
const FULL: usize = 32 * 1024;

/// Where one worker's records go.
pub struct Sinks {
    worker: usize,
    clock: Clock,
    meters: Arc<Meters>,
    recorder: Arc<Recorder>,
    redactor: Arc<Redactor>,
    lines: Mutex<Vec<u8>>,
}

impl Sinks {
    /// Sinks of worker number `worker`.
    #[must_use]
    pub fn new(
        worker: usize,
        clock: Clock,
        meters: Arc<Meters>,
        recorder: Arc<Recorder>,
        redactor: Arc<Redactor>,
    ) -> Self {
        Self { worker, clock, meters, recorder, redactor, lines: Mutex::default() }
    }

    /// Counts an exchange in.
    pub fn opened(&self) {
        self.meters.running.fetch_add(1, Ordering::Relaxed);
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Tick {
        self.clock.now()
    }

    /// Writes the one record of an exchange that ends `now`.
    pub fn finish(&self, exchange: &mut Exchange, now: Tick, outcome: Outcome, denial: Option<&Denial>) {
        self.meters.running.fetch_sub(1, Ordering::Relaxed);
        firewall::finish(exchange, self.worker, &self.meters);
        release::learn(exchange, now, outcome, &self.recorder);
        if let Some(log) = &exchange.policy().waf_log {
            log.write(exchange, &self.redactor);
        }
        if let Some(began) = exchange.seen.working {
            // Its bill was settled by being dropped, which tells nobody.
            exchange.seen.spent = Cost::of(now.since(began));
        }
        let took = now.since(exchange.facts.started);
        let ending = Ending { outcome, denial, took };
        self.meters.fold(self.worker, exchange, ending);
        if !self.recorder.wants_lines() {
            return;
        }
        let mut lines = self.lines.lock();
        access::write(&mut lines, exchange, ending, &self.redactor);
        if lines.len() >= FULL {
            self.hand_over(&mut lines);
        }
    }

    /// Hands gathered lines to the recorder; called by the worker's tick.
    pub fn flush(&self) {
        let mut lines = self.lines.lock();
        if !lines.is_empty() {
            self.hand_over(&mut lines);
        }
    }

    fn hand_over(&self, lines: &mut Vec<u8>) {
        let full = std::mem::replace(lines, self.recorder.spare());
        self.recorder.hand_over(full);
    }
}

impl Drop for Sinks {
    fn drop(&mut self) {
        self.flush();
    }
}
