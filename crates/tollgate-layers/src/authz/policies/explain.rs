//! What would be decided about a request that somebody imagines, and why: for `tollgate policy`.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use cedar_policy::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tollgate_core::identity::{Identity, Method, Person};
use tollgate_core::ruling::Stop;

use super::table::{About, Partition};
use super::{Policies, Question, failing, place_of};
use crate::authz::{Action, Asked, Authz, Late, Occasion, Payload};
use crate::routes::{AuthNeed, Found, Route, Verb};

const HOUR_MS: u64 = 3_600_000;

/// A request that somebody imagines.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Imagined {
    /// The caller's tenant. Default: nobody's, on a route that asks for no credential.
    #[serde(default)]
    pub tenant: Option<String>,
    /// Who asks. Default: somebody whom no policy names.
    #[serde(default)]
    pub principal: String,
    /// The caller is known by a certificate: a `Workload`.
    #[serde(default)]
    pub workload: bool,
    /// The caller showed a certificate.
    #[serde(default)]
    pub mtls: bool,
    /// Scopes of the credential. Default: all of the tenant's but `admin`.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Models that the credential is held to. Default: to none.
    #[serde(default)]
    pub held_to: Vec<String>,
    /// The route.
    pub route: String,
    /// The model; none for what a route answers by itself.
    #[serde(default)]
    pub model: Option<String>,
    /// What is asked. Default: `infer`.
    #[serde(default = "infer")]
    pub action: Action,
    /// The client's address. Default: 127.0.0.1.
    #[serde(default = "loopback")]
    pub ip: IpAddr,
    /// The hour of the day, in the time zone of `authz`. Default: 12.
    #[serde(default = "noon")]
    pub hour: u8,
    /// What the call is like. Default: an empty one.
    #[serde(default)]
    pub payload: Payload,
    /// What it is expected to cost, in microseconds. Default: 0.
    #[serde(default)]
    pub cost: u64,
    /// When it was, where it was: instead of `hour`, milliseconds since the Unix epoch.
    #[serde(skip)]
    pub unix_ms: Option<u64>,
}

const fn infer() -> Action {
    Action::Infer
}

const fn loopback() -> IpAddr {
    IpAddr::V4(Ipv4Addr::LOCALHOST)
}

const fn noon() -> u8 {
    12
}

/// What would be decided, and why.
#[derive(Clone, Debug, Serialize)]
pub struct Explained {
    /// Whether it would be allowed.
    pub allowed: bool,
    /// What speaks against it, as the record would say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// Whether the allow lists permit it.
    pub listed: bool,
    /// What policies were asked, in order.
    pub steps: Vec<Step>,
}

/// One question to a partition.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// What it was about: `Model::"…"` or `Route::"…"`.
    pub about: String,
    /// How many policies could apply.
    pub policies: usize,
    /// The facts of the request that they look at.
    pub reads: Vec<&'static str>,
    /// Those that forbid it; if there is none, those that permit it.
    pub by: Vec<String>,
    /// Those that failed, and how.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<String>,
}

impl Authz {
    /// What would be decided about `imagined`, and why.
    ///
    /// # Errors
    /// If it speaks of a route or a model that there is not.
    pub fn explain(&self, imagined: &Imagined, routes: &[Arc<Route>]) -> Result<Explained, String> {
        let named = |route: &&Arc<Route>| *route.name == *imagined.route;
        let route = routes.iter().find(named).ok_or_else(|| format!("`{}` is not a route", imagined.route))?;
        let (who, path, told) = (imagined.who(route), "", RefCell::default());
        let found = Found { route, verb: imagined.verb(), model: imagined.model.as_deref() };
        let at =
            Occasion { from: imagined.ip, unix_ms: imagined.unix_ms.unwrap_or_else(|| self.at_hour(imagined.hour)) };
        let asked = Asked { action: Some(imagined.action), told: Some(&told), ..Asked::new(&who, &found, path, at) };
        let model = imagined.model.as_deref().map(|name| {
            let place = self.models.iter().position(|model| !name.is_empty() && **model == *name);
            let place = place.and_then(|place| u32::try_from(place).ok());
            place.map(tollgate_core::call::ModelId).ok_or_else(|| format!("`{name}` is not a model"))
        });
        let (model, late) = (model.transpose()?, Late::Imagined(&imagined.payload, Some(imagined.cost)));
        let call = || model.map_or(Ok(()), |model| self.use_model(&asked, model, late));
        let because = self.permit(&asked).and_then(|()| call()).err().map(|stop| evidence(&stop));
        let tenant = self.tenants.get(&who.tenant);
        let open = route.auth == AuthNeed::None;
        let listed = open
            || tenant.is_some_and(|tenant| {
                tenant.lists_route(route.index) && model.is_none_or(|model| tenant.lists_model(model))
            });
        Ok(Explained { allowed: because.is_none(), because, listed, steps: told.into_inner() })
    }

    /// A moment with that hour of the day.
    fn at_hour(&self, hour: u8) -> u64 {
        let zone = |unix_ms: &u64| self.policies.as_ref().is_none_or(|of| of.world.hour(*unix_ms) == i64::from(hour));
        (0..48).map(|step| step * HOUR_MS).find(zone).unwrap_or(0)
    }

    /// How many policies there are, and how large the largest partition is.
    #[must_use]
    pub fn policy_counts(&self) -> (usize, usize) {
        let most = |of: &Policies| of.partitions.iter().map(|partition| partition.size).max();
        self.policies.as_ref().map_or((0, 0), |of| (of.rules.len(), most(of).unwrap_or(0)))
    }
}

impl Imagined {
    fn who(&self, route: &Route) -> Identity {
        if route.auth == AuthNeed::None {
            return Identity::anonymous().over(self.mtls);
        }
        let boxed = |list: &[String]| list.iter().map(|text| text.as_str().into()).collect();
        let person = Person {
            principal: self.principal.as_str().into(),
            tenant: self.tenant.as_deref().unwrap_or_default().into(),
            scopes: boxed(&self.scopes),
            models: boxed(&self.held_to),
            method: if self.workload { Method::Certificate } else { Method::ApiKey },
            ..Person::default()
        };
        Identity::new(person).over(self.mtls || self.workload)
    }

    fn verb(&self) -> Verb {
        match (self.action, &self.model) {
            (Action::Stream, Some(_)) => Verb::Stream,
            (Action::List, Some(_)) => Verb::ModelMetadata,
            (Action::List | Action::Admin, _) => Verb::ServerMetadata,
            (_, Some(_)) => Verb::Infer,
            (_, None) => Verb::Proxy,
        }
    }
}

impl Policies {
    pub(super) fn step(
        &self,
        partition: &Partition,
        question: &Question<'_>,
        about: About,
        response: &Response,
    ) -> Step {
        let about = match about {
            About::Model(model) => self.world.model(model.index()),
            About::Route(route) => self.world.route(route),
        };
        let said = response.diagnostics();
        let mut by: Vec<String> = said.reason().map(|id| self.name(place_of(id)).to_owned()).collect();
        by.sort_unstable();
        let failed = said.errors().map(|error| format!("`{}`: {error}", self.name(place_of(failing(error)))));
        let mut reads: Vec<&str> = partition.reads.names().collect();
        reads.retain(|fact| question.facts.late.is_some() || !["cost", "payload"].contains(fact));
        let about = about.map(ToString::to_string).unwrap_or_default();
        Step { about, policies: partition.size, reads, by, failed: failed.collect() }
    }
}

fn evidence(stop: &Stop) -> String {
    match stop {
        Stop::Fault(fault) => fault.evidence().to_owned(),
        Stop::Refuse(refusal) => refusal.evidence().to_owned(),
    }
}
