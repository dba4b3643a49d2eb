//! What the configuration says of queues and of how much runs at once.

use tollgate_core::check::Checker;
use tollgate_layers::authz::TenantConfig;
use tollgate_limit::{FairConfig, InflightConfig as Bounds};

use crate::config::document::{InflightConfig, QueueConfig};
use crate::snapshot::Share;
use crate::upstream::QueueBounds;

/// How many run at once where nothing is said.
const USUAL: u32 = 8;
/// What a place is thought to get done in a second, until that is known: a second's worth.
const A_SECOND: u64 = 1_000_000;

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

/// The share of a tenant.
pub(super) fn share(tenant: &TenantConfig) -> Share {
    Share { weight: tenant.weight, priority: tenant.priority.map(Into::into) }
}
