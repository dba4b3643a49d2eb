//! What an upstream's configuration says of its endpoints: deadlines and pool sizes, their weights, when they are asked whether they are ready, when
//! they are not used, and what is sent again.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_core::check::Checker;
use tollgate_layers::routes::Preset;

use super::document::UpstreamConfig;
use super::units::DurationText;
use crate::upstream::FleetRules;
use crate::upstream::breaker::BreakerRules;
use crate::upstream::checks::HealthPlan;
use crate::upstream::hedge::HedgeRules;
use crate::upstream::outlier::EjectionRules;
use crate::upstream::retry::RetryRules;
use crate::upstream::standing::StandingRules;

/// Deadlines and pool sizes of upstreams.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UpstreamDefaults {
    /// To connect, TLS included, in milliseconds. Default: 2000.
    #[schemars(range(min = 1))]
    pub connect_ms: u64,
    /// To the first byte of an answer, in milliseconds. Default: 60000.
    #[schemars(range(min = 1))]
    pub first_byte_ms: u64,
    /// How long a kept connection may be idle, in milliseconds; common Python servers close theirs after 5 seconds.
    /// Default: 4000.
    pub idle_ms: u64,
    /// How long an answer that is being passed on may say nothing before it is cut, in milliseconds, and up to a quarter
    /// more. Default: 120000.
    #[schemars(range(min = 1))]
    pub stream_idle_ms: u64,
    /// Idle connections that a worker keeps for an endpoint. Default: 64.
    #[schemars(range(max = 65_536))]
    pub max_idle_per_worker: usize,
    /// Connections of HTTP/2, which many calls share.
    pub h2: UpstreamH2Config,
}

/// Connections of HTTP/2 to model servers.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UpstreamH2Config {
    /// Calls at once on one connection; a server may allow fewer. Default: 100.
    #[schemars(range(min = 1, max = 10_000))]
    pub max_streams_per_connection: usize,
    /// A connection takes no new calls after this long, so that load spreads again. Default: 600000.
    #[schemars(range(min = 1000))]
    pub max_connection_age_ms: u64,
    /// How long a connection without a call is kept. Default: 60000.
    #[schemars(range(min = 1))]
    pub idle_ms: u64,
}

impl Default for UpstreamDefaults {
    fn default() -> Self {
        Self {
            connect_ms: 2000,
            first_byte_ms: 60_000,
            idle_ms: 4000,
            stream_idle_ms: 120_000,
            max_idle_per_worker: 64,
            h2: UpstreamH2Config::default(),
        }
    }
}

impl Default for UpstreamH2Config {
    fn default() -> Self {
        Self { max_streams_per_connection: 100, max_connection_age_ms: 600_000, idle_ms: 60_000 }
    }
}

/// An endpoint: its address, or its address and its weight.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum EndpointConfig {
    /// With a weight of 1.
    Plain(String),
    /// With another weight.
    Weighted(WeightedEndpoint),
}

/// An endpoint with a weight.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WeightedEndpoint {
    /// Where it is.
    pub url: String,
    /// What it carries beside an endpoint of weight 1. Default: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub weight: u32,
}

const fn one() -> u32 {
    1
}

impl EndpointConfig {
    /// Where it is.
    #[must_use]
    pub fn url(&self) -> &str {
        match self {
            Self::Plain(url) => url,
            Self::Weighted(endpoint) => &endpoint.url,
        }
    }

    /// Its weight.
    #[must_use]
    pub fn weight(&self) -> f64 {
        match self {
            Self::Plain(_) => 1.0,
            Self::Weighted(endpoint) => f64::from(endpoint.weight),
        }
    }
}

/// How `endpoints` are asked whether they are ready. One that is not gets no request; it comes back with a growing share.
/// Endpoints of `grpc` are judged by their answers alone.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HealthConfig {
    /// Whether they are asked. Default: where there is a `path`, or a preset whose servers have one: all but `fastapi`.
    pub active: Option<bool>,
    /// What is asked for; 2xx is ready, anything else is not. Default: where the preset's server says that it is ready, and
    /// beside that each model by name where it says so of models (`triton`, `kserve`, `mlserver`, `tf_serving`), or whether
    /// it lists them (`vllm`, `ollama`). Where nobody wrote the path, an answer of 401, 403, 404, 405 or 501 says nothing
    /// and counts as ready.
    pub path: Option<String>,
    /// How often. Those that are not ready are asked every two seconds, if not more often. Default: `10s`.
    pub every: DurationText,
    /// How long one answer may take. Default: `2s`.
    pub timeout: DurationText,
    /// So many checks in a row must fail before an endpoint is not ready. Default: 3.
    #[schemars(range(min = 1, max = 100))]
    pub failures: u16,
    /// So many must pass before it is ready again; the first one of all is enough to begin. Default: 2.
    #[schemars(range(min = 1, max = 100))]
    pub passes: u16,
}

impl Default for HealthConfig {
    fn default() -> Self {
        Self {
            active: None,
            path: None,
            every: DurationText::from_secs(10),
            timeout: DurationText::from_secs(2),
            failures: 3,
            passes: 2,
        }
    }
}

/// When an endpoint is not used because of its answers: it is ejected, and comes back by one request. 429, and 503 with
/// `Retry-After`, is load and never a failure. The last endpoint is never ejected: `breaker` is for all of them together.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EjectionConfig {
    /// After so many statuses of 500 and above in a row; 0 never. Default: 5.
    pub consecutive_5xx: u16,
    /// After so many of 502, 503 and 504 in a row; 0 never. Default: 5.
    pub consecutive_gateway: u16,
    /// After so many attempts in a row that were refused, cut or late; 0 never. Default: 5.
    pub consecutive_local: u16,
    /// How often endpoints are compared: by success rate (five with 100 answers each, 1.9 standard deviations below the
    /// mean), by their share of failures, and by slowness. Default: `10s`.
    pub sweep: DurationText,
    /// The first ejection lasts this long, the n-th in a row n times as long, and up to a tenth more. Default: `30s`.
    pub base: DurationText,
    /// The longest ejection. Default: `5m`.
    pub longest: DurationText,
    /// How many percent of the endpoints may be ejected at once, at least one of several; 0 ejects none. Where fewer than
    /// half are well, those that are ejected are used all the same. Default: 50.
    #[schemars(range(max = 100))]
    pub max_percent: u8,
    /// After so many percent of failures among 20 answers or more between two sweeps; 0 never. Default: 50.
    #[schemars(range(max = 100))]
    pub failure_percent: u8,
    /// When slower, for the work it got, than so many times the median of three or more endpoints with 20 answers each;
    /// 0 never. Default: 3.
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub slower_than_median: f64,
}

impl Default for EjectionConfig {
    fn default() -> Self {
        let EjectionRules {
            consecutive_5xx,
            consecutive_gateway,
            consecutive_local,
            sweep,
            base,
            longest,
            most_percent,
            failure_percent,
            slower_than_median,
        } = EjectionRules::default();
        let (sweep, base, longest) = (DurationText(sweep), DurationText(base), DurationText(longest));
        Self {
            consecutive_5xx,
            consecutive_gateway,
            consecutive_local,
            sweep,
            base,
            longest,
            max_percent: most_percent,
            failure_percent,
            slower_than_median,
        }
    }
}

/// When nothing is sent to an upstream, because nothing behind it answers: callers get 503 `overloaded` with a true
/// `Retry-After`, or a fallback. One request then finds out whether that is over.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BreakerConfig {
    /// After so many attempts in a row, at whichever endpoint, that were refused, cut, late, or answered with 502, 503 or
    /// 504; 0 never. Default: 10.
    pub failures: u32,
    /// For how long at first; twice as long each time that the one request fails. Default: `1s`.
    pub open: DurationText,
    /// The longest time. Default: `30s`.
    pub longest: DurationText,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        let BreakerRules { failures, open, longest } = BreakerRules::default();
        Self { failures, open: DurationText(open), longest: DurationText(longest) }
    }
}

/// What is sent again, before anything of an answer was passed on. The tenant pays once. What nobody can have worked on (no
/// connection, or the server said that it did not begin) is always sent again, at most twice.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RetryConfig {
    /// How many percent of the requests that run may be ones sent again. Default: 10.
    #[schemars(range(max = 100))]
    pub budget_percent: u32,
    /// And at least so many at once. Default: 3.
    #[schemars(range(max = 10_000))]
    pub min: u32,
    /// Nothing that is expected to cost more is worked on twice, in microseconds of compute. Default: no bound.
    pub max_cost_us: Option<u64>,
    /// Statuses after which another endpoint is asked, for requests that may go twice: inferences, and methods that are
    /// idempotent. Default: `[502, 503, 504]`.
    #[schemars(inner(range(min = 500, max = 599)))]
    pub statuses: Vec<u16>,
}

impl Default for RetryConfig {
    fn default() -> Self {
        let RetryRules { budget_percent, min, statuses, .. } = RetryRules::default();
        Self { budget_percent, min, max_cost_us: None, statuses: statuses.into_vec() }
    }
}

/// Sending a request to a second endpoint as well when the first answer takes longer than 19 of 20 did for what they cost; the
/// first good answer counts, and the other request is broken off. Only for inferences over HTTP whose answer is no stream and
/// that cost no more than half of the others, after 100 answers, and within `retry`'s budget. The tenant pays once.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HedgeConfig {
    /// Never sooner than after this. Default: `5ms`.
    pub min_delay: DurationText,
}

impl Default for HedgeConfig {
    fn default() -> Self {
        Self { min_delay: DurationText(Duration::from_millis(5)) }
    }
}

/// Which of several endpoints gets a request: the better one of two that are drawn, by the cost that is in flight there for
/// its weight, times how slow it has been for the work it got.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BalanceConfig {
    /// Whether an endpoint that was sent the same beginning of a prompt by the same tenant is preferred, while its load is
    /// at most 1.25 times that of the better one of two. Default: `true` behind a preset of a server of texts.
    pub prefix_affinity: Option<bool>,
    /// How long an endpoint that came back gets a growing share, from a tenth. Default: `60s`.
    pub slow_start: DurationText,
}

impl Default for BalanceConfig {
    fn default() -> Self {
        Self { prefix_affinity: None, slow_start: DurationText::from_secs(60) }
    }
}

/// Another way for calls of a model: exactly one of the two.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FallbackConfig {
    /// Name of another upstream that serves the same model.
    #[serde(default)]
    pub upstream: Option<String>,
    /// Name of another model. Its routes, its authorization and its contract hold.
    #[serde(default)]
    pub model: Option<String>,
}

/// Checks the members of an upstream that lead its endpoints: the rules of `endpoints`, those of `grpc`, and how they are
/// asked.
pub(super) fn rules(config: &UpstreamConfig, check: &mut Checker) -> (FleetRules, FleetRules, Option<HealthPlan>) {
    let health = health(config, check);
    let EjectionConfig { sweep, base, longest, .. } = config.ejection;
    check.within("ejection", |check| {
        check.require(sweep.0 >= Duration::from_millis(100), "sweep", "less than `100ms` compares nothing");
        check.require(longest >= base, "longest", format!("`{longest}` is less than `base`, which is `{base}`"));
    });
    if config.hedge.is_some() && config.endpoints.len() < 2 {
        check.problem("hedge", "there is no second one of `endpoints` to send anything to");
    }
    let BreakerConfig { open, longest, .. } = config.breaker;
    check.within("breaker", |check| {
        check.require(open.0 >= Duration::from_millis(10), "open", "less than `10ms` is no pause");
        check.require(longest >= open, "longest", format!("`{longest}` is less than `open`, which is `{open}`"));
    });
    let EjectionConfig { base, longest, .. } = config.ejection;
    let ejection = EjectionRules {
        consecutive_5xx: config.ejection.consecutive_5xx,
        consecutive_gateway: config.ejection.consecutive_gateway,
        consecutive_local: config.ejection.consecutive_local,
        sweep: sweep.0,
        base: base.0,
        longest: longest.0,
        most_percent: config.ejection.max_percent,
        failure_percent: config.ejection.failure_percent,
        slower_than_median: config.ejection.slower_than_median,
    };
    let BreakerConfig { failures, open, longest } = config.breaker;
    let RetryConfig { budget_percent, min, max_cost_us, ref statuses } = config.retry;
    let of_texts = config.preset.is_some_and(Preset::is_of_texts);
    let rpc = FleetRules {
        standing: StandingRules {
            ejection,
            breaker: BreakerRules { failures, open: open.0, longest: longest.0 },
            check_failures: config.health.failures,
            check_passes: config.health.passes,
            slow_start: config.balance.slow_start.0,
        },
        retry: RetryRules {
            budget_percent,
            min,
            max_cost: max_cost_us.unwrap_or(u64::MAX),
            statuses: statuses.as_slice().into(),
        },
        hedge: config.hedge.map(|hedge| HedgeRules { min_delay: hedge.min_delay.0 }),
        prefix_affinity: config.balance.prefix_affinity.unwrap_or(of_texts),
        check_every: Duration::ZERO,
    };
    let check_every = health.as_ref().map_or(Duration::ZERO, |_| config.health.every.0);
    (FleetRules { check_every, ..rpc.clone() }, rpc, health)
}

fn health(config: &UpstreamConfig, check: &mut Checker) -> Option<HealthPlan> {
    let HealthConfig { active, path, every, timeout, .. } = &config.health;
    check.within("health", |check| {
        let short = Duration::from_millis(100);
        check.require(every.0 >= short, "every", "less than `100ms` is a load of its own");
        check.require(timeout.0 >= short, "timeout", "less than `100ms` is less than our own clock tells apart");
        let good = |path: &String| path.starts_with('/') && path.parse::<http::Uri>().is_ok();
        let fit = path.as_ref().is_none_or(good);
        check.require(fit, "path", "a path begins with `/`");
        let preset = config.preset.filter(|preset| *preset != Preset::Fastapi);
        let asks = active.unwrap_or(path.is_some() || preset.is_some());
        if asks && active.is_some() && path.is_none() && preset.is_none() {
            check
                .problem("active", "nothing says what to ask for: there is neither a `path` nor a preset that has one");
        }
        let serves = !config.endpoints.is_empty();
        if !serves && active == &Some(true) {
            check.problem("active", "only `endpoints` are asked, and there is none");
        }
        (asks && serves && fit).then(|| HealthPlan { path: path.clone(), preset: config.preset, timeout: timeout.0 })
    })
}
