//! Which routes keep answers: every mistake in saying so, and then what they keep them in.

use std::sync::Arc;

use tollgate_core::check::Checker;
use tollgate_layers::routes::{CacheConfig, Protocol, RouteConfig};

use super::document::Config;
use crate::cache::RouteCache;

/// One for each route, in their order, where it says so. `check` stands in `routes`.
pub(super) fn caches(config: &Config, secret: (u64, u64), check: &mut Checker) -> Vec<Option<Arc<RouteCache>>> {
    let routes = config.routes.iter().enumerate();
    let cache = |(index, route): (usize, &RouteConfig)| {
        let cache = route.cache.as_ref()?;
        check.within(index, |check| check_route(config, route, cache, check));
        Some(Arc::new(RouteCache::new(cache, secret)))
    };
    routes.map(cache).collect()
}

fn check_route(config: &Config, route: &RouteConfig, cache: &CacheConfig, check: &mut Checker) {
    let unread = route.protocol.is_answered_here() || matches!(route.protocol, Protocol::None | Protocol::OipGrpc);
    let name = route.protocol.name();
    check.require(!unread, "cache", format!("answers of a route with `protocol: {name}` are not kept"));
    check.within("cache", |check| {
        let bounds = [
            ("ttl_ms", (1..=86_400_000).contains(&cache.ttl_ms), "a number of milliseconds from 1 to 86400000"),
            ("max_entries", (1..=1_000_000).contains(&cache.max_entries), "a number from 1 to 1000000"),
            ("max_bytes", (1 << 10..=1 << 34).contains(&cache.max_bytes), "a number of bytes from 1024 to 17179869184"),
            (
                "max_entry_bytes",
                (1..=1 << 28).contains(&cache.max_entry_bytes),
                "a number of bytes from 1 to 268435456",
            ),
        ];
        for (member, sound, what) in bounds {
            check.require(sound, member, what);
        }
        let larger = cache.max_entry_bytes <= cache.max_bytes;
        check.require(larger, "max_entry_bytes", "more than `max_bytes`");
    });
    for name in &route.models {
        let Some(model) = config.models.get(name) else { continue };
        if !model.deterministic {
            let why = format!("model `{name}` is not said to answer the same call the same way every time");
            check.problem_hint("cache", why, "say `deterministic: true` of it, if that is so");
        }
    }
}
