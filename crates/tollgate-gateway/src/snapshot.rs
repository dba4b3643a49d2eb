//! The policy: compiled rules, immutable, one generation of them held by an exchange for its life.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;
use parking_lot::Mutex;
use tollgate_core::backend::Signature;
use tollgate_core::call::{Call, ModelId};
use tollgate_core::cost::Estimate;
use tollgate_core::guard::{Gate, Guard};
use tollgate_core::identity::Identity;
use tollgate_core::stage::Stage;
use tollgate_core::time::{Clock, Tick};
use tollgate_layers::auth::Auth;
use tollgate_layers::authz::Authz;
use tollgate_layers::contract::{Contracts, OpenApiRef, Seen};
use tollgate_layers::cost::Costs;
use tollgate_layers::flood::Flood;
use tollgate_layers::hygiene::Hygiene;
use tollgate_layers::intake::Intake;
use tollgate_layers::limits::Limits;
use tollgate_layers::network::Network;
use tollgate_layers::output::Output;
use tollgate_layers::parse::Parse;
use tollgate_layers::routes::{Found, Routes, Verb};
use tollgate_layers::waf::Waf;

use tollgate_limit::Priority;

use crate::cache::RouteCache;
use crate::config::HttpConfig;
use crate::fallback::Fallback;
use crate::quota::Published;
use crate::record::WafLog;
use crate::record::metrics::RouteMeters;
use crate::release::Release;
use crate::store::Balances;
use crate::upstream::Upstream;

/// One generation of compiled rules.
pub struct Policy {
    /// Its number, counted from 1.
    pub generation: u64,
    /// Framing, hosts, paths, header caps.
    pub hygiene: Gate<Hygiene>,
    /// What is served.
    pub routes: Gate<Routes>,
    /// Address lists.
    pub network: Guard<Network>,
    /// Requests per address.
    pub flood: Guard<Flood>,
    /// Who is asking.
    pub auth: Gate<Auth>,
    /// Whether they may.
    pub authz: Guard<Authz>,
    /// Rules written for the web.
    pub waf: Guard<Waf>,
    /// The log of those rules.
    pub waf_log: Option<WafLog>,
    /// How bodies are read.
    pub intake: Gate<Intake>,
    /// One strict pass.
    pub parse: Gate<Parse>,
    /// Shape, type, range, count.
    pub contract: Guard<Contracts>,
    /// What a call costs.
    pub cost: Costs,
    /// Budgets.
    pub limits: Guard<Limits<Balances>>,
    /// How often servers are asked whether contracts still fit them; zero is never.
    pub drift_every: Duration,
    /// What leaves.
    pub output: Output,
    /// Every model, by [`ModelId`].
    pub models: Vec<Model>,
    /// Every upstream.
    pub upstreams: Vec<Upstream>,
    /// Caps and deadlines of connections.
    pub http: HttpConfig,
    /// How large heads may be.
    pub heads: crate::listen::head::HeadLimits,
    /// Answers that each route keeps, by its index.
    pub caches: Vec<Option<Arc<RouteCache>>>,
    /// What everybody is held to, to be read.
    pub published: Published,
    /// The answer to `GET /v2`.
    pub server_metadata: Bytes,
    /// Meters of each route, by its index.
    pub route_meters: Vec<Arc<RouteMeters>>,
    /// Share of each tenant in a full queue, by keyed id.
    pub shares: HashMap<u64, Share>,
    /// The one clock.
    pub clock: Clock,
}

/// One model.
pub struct Model {
    /// Its name.
    pub name: Box<str>,
    /// Place of its upstream.
    pub upstream: usize,
    /// Other ways for its calls.
    pub fallback: Vec<Fallback>,
    /// What runs it, as its metadata says.
    pub platform: Box<str>,
    /// What it takes and gives.
    pub signature: Signature,
    /// The answer to `GET /v2/models/NAME`.
    pub metadata: Bytes,
    /// The path and the schema that its contract took from an OpenAPI document.
    pub published: Option<(OpenApiRef, serde_json::Value)>,
    /// What its calls were like while watched.
    pub seen: Arc<Mutex<Seen>>,
    /// Its versions, where it has several.
    pub release: Option<Arc<Release>>,
}

impl Model {
    /// Whether calls of it may be sent to that upstream: its own, that of one of its versions, or one that stands in.
    #[must_use]
    pub fn is_served_by(&self, upstream: usize) -> bool {
        let versions = self.release.iter().flat_map(|release| release.terms.versions.iter());
        let ways = self.fallback.iter().filter(|way| way.model.is_none());
        self.upstream == upstream
            || versions.map(|version| version.upstream).chain(ways.map(|way| way.upstream)).any(|at| at == upstream)
    }
}

/// What a tenant gets of a full queue.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// Relative to the others of its priority.
    pub weight: u32,
    /// The highest priority that its requests may have, where it says so.
    pub priority: Option<Priority>,
}

impl Default for Share {
    fn default() -> Self {
        Self { weight: 1, priority: None }
    }
}

impl Policy {
    /// What a call is expected to cost. Verbs that no model is needed for are free.
    #[must_use]
    pub fn estimate(&self, found: &Found<'_>, call: &Call, who: &Identity) -> Estimate {
        let estimate = self.cost.estimate(found.route, call, who.tenant_id);
        let works =
            matches!(found.verb, Verb::Infer | Verb::Proxy) || (found.verb == Verb::Stream && call.model.is_some());
        Estimate { exempt: estimate.exempt || !works, ..estimate }
    }

    /// Name of a model.
    #[must_use]
    pub fn model_name(&self, model: ModelId) -> Option<&str> {
        self.models.get(model.index()).map(|model| &*model.name)
    }

    /// Says, where a credential is asked for, what kinds there are and where tokens come from (RFC 9728 § 5.1): the same to
    /// everybody, whatever was wrong with theirs.
    pub fn challenge(&self, headers: &mut HeaderMap) {
        let Some(resource) = self.auth.layer.tokens().resource() else { return };
        if headers.remove(WWW_AUTHENTICATE).is_some() {
            headers.extend(resource.challenges.iter().map(|challenge| (WWW_AUTHENTICATE, challenge.clone())));
        }
    }

    /// The upstream that serves a model.
    #[must_use]
    pub fn upstream_of(&self, model: ModelId) -> Option<&Upstream> {
        self.upstreams.get(self.models.get(model.index())?.upstream)
    }

    /// Share of a caller's tenant in a full queue.
    #[must_use]
    pub fn share_of(&self, who: &Identity) -> Share {
        self.shares.get(&who.tenant_id).copied().unwrap_or_default()
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Tick {
        self.clock.now()
    }

    /// Closes connections to model servers that were idle for too long.
    pub fn sweep(&self, worker: usize, ticker: &crate::tick::Ticker) {
        for upstream in &self.upstreams {
            if let crate::upstream::Target::Remote(remote) = &upstream.target {
                remote.sweep(worker, ticker);
            }
        }
    }

    /// Stages that are not enforced, for `check` and for the metric of modes.
    #[must_use]
    pub fn modes(&self) -> [(Stage, tollgate_core::guard::Mode); 6] {
        [
            (Stage::Network, self.network.switch.mode),
            (Stage::Flood, self.flood.switch.mode),
            (Stage::Authz, self.authz.switch.mode),
            (Stage::Waf, self.waf.switch.mode),
            (Stage::Contract, self.contract.switch.mode),
            (Stage::Limits, self.limits.switch.mode),
        ]
    }
}
