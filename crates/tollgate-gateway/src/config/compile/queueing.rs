//! What the configuration says of queues and of how much runs at once.

use std::path::Path;
use std::time::Duration;

use tollgate_core::check::Checker;
use tollgate_layers::authz::TenantConfig;
use tollgate_layers::routes::Preset;
use tollgate_limit::{FairConfig, InflightConfig as Bounds};

use crate::config::backends::EndpointConfig;
use crate::config::disk;
use crate::config::document::{InflightConfig, QueueConfig, UpstreamConfig};
use crate::snapshot::Share;
use crate::upstream::probe::Place;
use crate::upstream::{QueueBounds, Signals};

/// How many run at once where nothing is said.
const USUAL: u32 = 8;
/// What a place is thought to get done in a second, until that is known: a second's worth.
const A_SECOND: u64 = 1_000_000;
/// Nobody's metrics are read more often.
const SHORTEST: Duration = Duration::from_millis(100);

/// The bounds of one upstream. `check` stands in that.
pub(super) fn bounds(queue: &QueueConfig, inflight: &InflightConfig, check: &mut Checker) -> QueueBounds {
    let inflight = check.within("inflight", |check| inflight_bounds(inflight, check));
    let weights = &queue.priorities;
    QueueBounds {
        inflight,
        fair: FairConfig {
            max_entries: queue.max_entries,
            max_bytes: queue.max_bytes.0,
            weights: [weights.critical, weights.high, weights.normal, weights.batch],
            strict_critical: queue.strict_critical,
            drain_per_sec: u64::from(inflight.initial) * A_SECOND,
            max_wait: queue.deadline.0,
        },
    }
}

fn inflight_bounds(config: &InflightConfig, check: &mut Checker) -> Bounds {
    let max = config.max.unwrap_or(USUAL);
    if config.initial.is_none() && config.min.is_none() {
        return Bounds::fixed(max);
    }
    let min = config.min.unwrap_or(1);
    let initial = config.initial.unwrap_or(max.min(USUAL).max(min));
    check.require(min <= max, "min", format!("`min` is {min}, and `max` is {max}"));
    check.require((min..=max.max(min)).contains(&initial), "initial", "`initial` is from `min` to `max`");
    Bounds { initial, min, max: max.max(min) }
}

/// Where an upstream's servers tell of their load. Asked only where that can change something.
pub(super) fn signals(
    upstream: &UpstreamConfig,
    bounds: &QueueBounds,
    base: &Path,
    check: &mut Checker,
) -> Option<Signals> {
    let fixed = bounds.inflight.is_fixed();
    if let (Some(_), true) = (&upstream.signals, fixed) {
        let hint = "give `inflight` an `initial` or a `min`, or leave `signals` out";
        check.problem_hint("signals", "signals move the limit in flight, and that is fixed", hint);
    }
    let config = upstream.signals.clone().unwrap_or_default();
    let every = config.every.0;
    if fixed || every.is_zero() {
        return None;
    }
    let pages = if config.metrics.is_empty() { usual_pages(upstream) } else { config.metrics };
    let ca = upstream.ca.as_ref().and_then(|file| disk::read_up_to(&base.join(file), 4 << 20).ok());
    check.within("signals", |check| {
        check.require(every >= SHORTEST, "every", "pages are read once in 100 ms at most");
        let told = upstream.signals.is_some();
        check.require(!told || !pages.is_empty(), "metrics", "no page is named, and the preset has none");
        check.within("metrics", |check| {
            let open = |(i, page): (usize, &String)| match Place::new(page, ca.as_deref()) {
                Ok(place) => Some(place),
                Err(why) => {
                    check.problem(i, why);
                    None
                }
            };
            let places: Vec<_> = pages.iter().enumerate().filter_map(open).collect();
            (!places.is_empty()).then_some(Signals { places, every })
        })
    })
}

/// Where servers with a preset have their metrics.
fn usual_pages(upstream: &UpstreamConfig) -> Vec<String> {
    let page = |endpoint: &EndpointConfig| {
        let endpoint = endpoint.url();
        let (scheme, authority) = endpoint.split_once("://").unwrap_or(("http", endpoint));
        let authority = authority.trim_end_matches('/');
        match upstream.preset? {
            Preset::OpenAi | Preset::Vllm => Some(format!("{scheme}://{authority}/metrics")),
            // Triton has a port of its own for them, without TLS.
            Preset::Triton => Some(format!("http://{}:8002/metrics", authority.rsplit_once(':')?.0)),
            _ => None,
        }
    };
    upstream.endpoints.iter().filter_map(page).collect()
}

/// The share of a tenant.
pub(super) fn share(tenant: &TenantConfig) -> Share {
    Share { weight: tenant.weight, priority: tenant.priority.map(Into::into) }
}
