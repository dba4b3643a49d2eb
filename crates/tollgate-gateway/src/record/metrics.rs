//! Counters and histograms, sharded by worker and summed when they are read. Labels come from closed sets and from the
//! configuration, so their number is bounded.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use parking_lot::RwLock;
use tollgate_core::journal::{Event, Fact};
use tollgate_core::ruling::Code;
use tollgate_core::stage::{STAGES, Stage};

use super::certificates::CertificateMeters;
use super::rules::RuleMeters;
use crate::exchange::{Ending, Exchange, Outcome};

/// Upper bounds of the latency histogram, in microseconds.
const BOUNDS_US: [u64; 16] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000, 30_000_000,
];
/// What a stage may have said.
const VERDICTS: [&str; 4] = ["passed", "refused", "would_refuse", "faulted"];
const OUTCOMES: [Outcome; 4] = [Outcome::Answered, Outcome::ClientLeft, Outcome::Cut, Outcome::Denied];
/// Requests whose route was never found are counted under this name.
const NO_ROUTE: &str = "none";

/// Every metric of the gateway.
pub struct Meters {
    workers: usize,
    stages: Vec<StageShard>,
    routes: RwLock<BTreeMap<Box<str>, Arc<RouteMeters>>>,
    none: Arc<RouteMeters>,
    /// What the rules found.
    pub rules: RuleMeters,
    /// Open connections.
    pub connections: AtomicI64,
    /// Exchanges that are running.
    pub running: AtomicI64,
    /// Panics that were caught.
    pub panics: AtomicU64,
    /// Connections that ended during the TLS handshake.
    pub handshakes_failed: AtomicU64,
    /// Those among them that ended for a client's certificate.
    pub refused_certificates: CertificateMeters,
    /// Connections that had to begin with a header of a trusted proxy, and did not.
    pub proxies_refused: AtomicU64,
    /// 1 while the newest configuration file is not the one that serves.
    pub config_rejected: AtomicU64,
    /// Reloads that took effect.
    pub reloads: AtomicU64,
    /// Questions of `authz` in which a policy failed.
    pub policies_failed: Arc<AtomicU64>,
    /// Calls that went another way, by model and way.
    fallbacks: RwLock<BTreeMap<[Box<str>; 2], u64>>,
}

#[derive(Default)]
#[repr(align(128))]
struct StageShard {
    verdicts: [[AtomicU64; VERDICTS.len()]; STAGES],
    seconds: [(AtomicU64, AtomicU64); STAGES],
}

/// A counter that one thread writes and others read.
trait Grow {
    /// Adds `more`. Load and store instead of an atomic addition, which is dearer than the rest of the fold together.
    // INVARIANT: a shard belongs to one worker, and exchanges end on the worker that they began on.
    fn grow(&self, more: u64);
}

impl Grow for AtomicU64 {
    fn grow(&self, more: u64) {
        self.store(self.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
    }
}

/// Counters of one route, one shard for each worker.
pub struct RouteMeters {
    shards: Vec<RouteShard>,
}

#[repr(align(128))]
struct RouteShard {
    outcomes: [AtomicU64; OUTCOMES.len()],
    classes: [AtomicU64; 5],
    codes: Vec<AtomicU64>,
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    replies_broken: AtomicU64,
    reserved_us: AtomicU64,
    spent_us: AtomicU64,
}

impl Meters {
    /// Meters for `workers` workers.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self {
            workers,
            stages: (0..workers.max(1)).map(|_| StageShard::default()).collect(),
            routes: RwLock::default(),
            none: Arc::new(RouteMeters::new(workers)),
            rules: RuleMeters::default(),
            connections: AtomicI64::new(0),
            running: AtomicI64::new(0),
            panics: AtomicU64::new(0),
            handshakes_failed: AtomicU64::new(0),
            refused_certificates: CertificateMeters::default(),
            proxies_refused: AtomicU64::new(0),
            config_rejected: AtomicU64::new(0),
            reloads: AtomicU64::new(0),
            policies_failed: Arc::default(),
            fallbacks: RwLock::default(),
        }
    }

    /// The meters of the route of that name; they survive a reload that keeps the name.
    pub fn route(&self, name: &str) -> Arc<RouteMeters> {
        let mut routes = self.routes.write();
        Arc::clone(routes.entry(name.into()).or_insert_with(|| Arc::new(RouteMeters::new(self.workers))))
    }

    /// Counts a call of `model` that went another way.
    pub fn fell_back(&self, model: &str, way: &str) {
        *self.fallbacks.write().entry([model.into(), way.into()]).or_default() += 1;
    }

    /// Counts one exchange.
    pub fn fold(&self, worker: usize, exchange: &Exchange, ending: Ending<'_>) {
        let Ending { outcome, denial, took } = ending;
        let broken = self.fold_stages(worker, exchange);
        self.rules.fold(&exchange.waf);
        let route = exchange.seen.route.as_ref();
        let meters = route.and_then(|route| exchange.policy().route_meters.get(route.index)).unwrap_or(&self.none);
        let Some(shard) = meters.shards.get(worker) else { return };
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        shard.outcomes[outcome as usize].grow(1);
        let class = usize::from(exchange.seen.status / 100).saturating_sub(1);
        if let Some(class) = shard.classes.get(class) {
            class.grow(1);
        }
        if let Some(code) = denial.and_then(|denial| shard.codes.get(denial.code as usize)) {
            code.grow(1);
        }
        let bucket = BOUNDS_US.iter().position(|bound| took_us <= *bound).unwrap_or(BOUNDS_US.len());
        shard.buckets[bucket].grow(1);
        for (counter, value) in [
            (&shard.sum_us, took_us),
            (&shard.bytes_in, exchange.seen.bytes_in),
            (&shard.bytes_out, exchange.seen.bytes_out),
            (&shard.replies_broken, u64::from(broken)),
            (&shard.reserved_us, exchange.seen.reserved.0),
            (&shard.spent_us, exchange.seen.spent.0),
        ] {
            counter.grow(value);
        }
    }

    /// Counts what each stage said; whether that is of a reply that broke its contract.
    fn fold_stages(&self, worker: usize, exchange: &Exchange) -> bool {
        let Some(shard) = self.stages.get(worker) else { return false };
        let (mut before, mut broken) = (0, false);
        for entry in exchange.log.entries() {
            let verdict = match entry.event {
                Event::Passed => 0,
                Event::Refused(_) => 1,
                Event::WouldRefuse(_) => 2,
                Event::Faulted(_) => 3,
                Event::Noted(fact, _) => {
                    broken |= fact == Fact::ReplyBroken;
                    continue;
                }
            };
            shard.verdicts[entry.stage.index()][verdict].grow(1);
            if exchange.log.is_timed() {
                let (count, sum) = &shard.seconds[entry.stage.index()];
                count.grow(1);
                sum.grow(u64::from(entry.at_us.saturating_sub(before)));
                before = entry.at_us;
            }
        }
        broken
    }

    /// Writes the Prometheus text exposition (version 0.0.4).
    pub fn render(&self, out: &mut String) {
        self.render_stages(out);
        self.rules.render(out);
        let routes = self.routes.read();
        let all = || routes.iter().map(|(name, route)| (&**name, route)).chain([(NO_ROUTE, &self.none)]);
        head(out, "tollgate_requests_total", "counter", "Exchanges by route and outcome.");
        for (name, route) in all() {
            for outcome in OUTCOMES {
                let total = route.sum(|shard| &shard.outcomes[outcome as usize]);
                row(out, "tollgate_requests_total", &[("route", name), ("outcome", outcome.name())], total);
            }
        }
        head(out, "tollgate_responses_total", "counter", "Answers by route and class of status.");
        for (name, route) in all() {
            for (class, text) in ["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().enumerate() {
                let total = route.sum(|shard| &shard.classes[class]);
                row(out, "tollgate_responses_total", &[("route", name), ("class", text)], total);
            }
        }
        head(out, "tollgate_denied_total", "counter", "Refusals and faults by route and code.");
        for (name, route) in all() {
            for code in Code::ALL {
                let total = route.sum(|shard| &shard.codes[*code as usize]);
                if total > 0 {
                    row(out, "tollgate_denied_total", &[("route", name), ("code", code.name())], total);
                }
            }
        }
        head(
            out,
            "tollgate_request_seconds",
            "histogram",
            "From the first byte of a request to the end of its answer.",
        );
        for (name, route) in all() {
            route.render_latency(out, name);
        }
        head(out, "tollgate_fallbacks_total", "counter", "Calls of a model that were answered another way.");
        for ([model, way], total) in self.fallbacks.read().iter() {
            row(out, "tollgate_fallbacks_total", &[("model", model), ("fallback", way)], total);
        }
        for (metric, help, pick) in COUNTERS {
            head(out, metric, "counter", help);
            for (name, route) in all() {
                row(out, metric, &[("route", name)], route.sum(pick));
            }
        }
    }

    fn render_stages(&self, out: &mut String) {
        head(out, "tollgate_stage_total", "counter", "What each stage said.");
        for stage in Stage::ALL {
            for (i, verdict) in VERDICTS.into_iter().enumerate() {
                let total: u64 =
                    self.stages.iter().map(|shard| shard.verdicts[stage.index()][i].load(Ordering::Relaxed)).sum();
                if total > 0 {
                    row(out, "tollgate_stage_total", &[("stage", stage.name()), ("outcome", verdict)], total);
                }
            }
        }
        head(out, "tollgate_stage_seconds", "summary", "Time of each stage, on one of 64 exchanges.");
        for stage in Stage::ALL {
            let (mut count, mut sum) = (0, 0);
            for shard in &self.stages {
                let (shard_count, shard_sum) = &shard.seconds[stage.index()];
                count += shard_count.load(Ordering::Relaxed);
                sum += shard_sum.load(Ordering::Relaxed);
            }
            if count > 0 {
                row(out, "tollgate_stage_seconds_count", &[("stage", stage.name())], count);
                row(out, "tollgate_stage_seconds_sum", &[("stage", stage.name())], seconds(sum));
            }
        }
    }
}

type Pick = fn(&RouteShard) -> &AtomicU64;

const COUNTERS: [(&str, &str, Pick); 5] = [
    ("tollgate_request_body_bytes_total", "Bytes of request bodies, as sent.", |shard| &shard.bytes_in),
    ("tollgate_response_body_bytes_total", "Bytes of answers.", |shard| &shard.bytes_out),
    ("tollgate_replies_broken_total", "Replies that broke the contract of their model.", |shard| &shard.replies_broken),
    ("tollgate_cost_reserved_microseconds_total", "Cost reserved before calls ran.", |shard| &shard.reserved_us),
    ("tollgate_cost_spent_microseconds_total", "Cost that calls really had.", |shard| &shard.spent_us),
];

impl RouteMeters {
    fn new(workers: usize) -> Self {
        let shard = || RouteShard {
            outcomes: Default::default(),
            classes: Default::default(),
            codes: Code::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            buckets: Default::default(),
            sum_us: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            replies_broken: AtomicU64::new(0),
            reserved_us: AtomicU64::new(0),
            spent_us: AtomicU64::new(0),
        };
        Self { shards: (0..workers.max(1)).map(|_| shard()).collect() }
    }

    fn sum(&self, pick: impl Fn(&RouteShard) -> &AtomicU64) -> u64 {
        self.shards.iter().map(|shard| pick(shard).load(Ordering::Relaxed)).sum()
    }

    fn render_latency(&self, out: &mut String, name: &str) {
        let mut total = 0;
        for (i, bound) in BOUNDS_US.iter().enumerate() {
            total += self.sum(|shard| &shard.buckets[i]);
            let le = seconds(*bound).to_string();
            row(out, "tollgate_request_seconds_bucket", &[("route", name), ("le", &le)], total);
        }
        total += self.sum(|shard| &shard.buckets[BOUNDS_US.len()]);
        row(out, "tollgate_request_seconds_bucket", &[("route", name), ("le", "+Inf")], total);
        row(out, "tollgate_request_seconds_sum", &[("route", name)], seconds(self.sum(|shard| &shard.sum_us)));
        row(out, "tollgate_request_seconds_count", &[("route", name)], total);
    }
}

#[expect(clippy::cast_precision_loss, reason = "a metric in seconds has no need of 64 exact bits")]
fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

/// Writes the two comment lines of a metric.
pub fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// Writes one sample.
pub fn row(out: &mut String, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
    out.push_str(name);
    for (i, (label, text)) in labels.iter().enumerate() {
        out.push(if i == 0 { '{' } else { ',' });
        out.push_str(label);
        out.push_str("=\"");
        for character in text.chars() {
            match character {
                '\\' => out.push_str("\\\\"),
                '"' => out.push_str("\\\""),
                '\n' => out.push_str("\\n"),
                other => out.push(other),
            }
        }
        out.push('"');
    }
    if !labels.is_empty() {
        out.push('}');
    }
    let _ = writeln!(out, " {value}");
}
