//! Whether a caller may: default deny by route, by model and by tenant. Knows nothing of credentials, bodies or prices.
//!
//! It is asked twice, because the model may stand in the body: `permit` on the head, `use_model` on the parsed call. Allow
//! lists are tables and cost nanoseconds; policies, where there are any, are asked beside them.

mod action;
mod attributes;
mod config;
mod lists;
#[cfg(not(feature = "cedar"))]
#[path = "absent.rs"]
mod policies;
#[cfg(feature = "cedar")]
mod policies;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_core::call::{Call, ModelId};
use tollgate_core::identity::Identity;
use tollgate_core::ruling::{Code, Refusal, Ruling, Stop};

use crate::routes::{AuthNeed, Found, Route, Verb};
pub use action::Action;
use action::Need;
pub use attributes::Attribute;
pub use config::{AuthzConfig, PolicyNames, Scope, TenantConfig, TenantNames, compile};
use lists::Tenant;
pub use policies::Policies;
#[cfg(feature = "cedar")]
pub use policies::{Explained, Imagined, Step};

/// The compiled layer.
#[derive(Debug, Default)]
pub struct Authz {
    tenants: HashMap<Box<str>, Tenant>,
    /// Names of models, by place.
    models: Vec<Box<str>>,
    policies: Option<Policies>,
}

/// A request that asks to be allowed.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    who: &'a Identity,
    found: &'a Found<'a>,
    path: &'a str,
    at: Occasion,
    /// What it does, where that is imagined.
    action: Option<Action>,
    /// Where it is written down what policies said.
    #[cfg(feature = "cedar")]
    told: Option<&'a std::cell::RefCell<Vec<Step>>>,
}

/// The circumstances of a request.
#[derive(Clone, Copy, Debug)]
pub struct Occasion {
    /// The client's address, behind trusted proxies.
    pub from: IpAddr,
    /// When it began, milliseconds since the Unix epoch.
    pub unix_ms: u64,
}

/// What is known once the body was parsed.
#[derive(Clone, Copy)]
pub enum Late<'a> {
    /// What it might be, and what it might cost.
    Imagined(&'a Payload, Option<u64>),
    /// What it is.
    Parsed {
        /// The call.
        call: &'a Call,
        /// What it is expected to cost, in microseconds: worked out if a policy asks.
        cost: &'a dyn Fn() -> u64,
    },
}

/// What policies are told of a parsed call.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Payload {
    /// What it is made of: `text`, `tensor`, `media`, `json` or `other`.
    pub kind: Box<str>,
    /// Bytes of its body, decoded.
    pub bytes: u64,
    /// Rows of its first tensor; how many texts.
    pub batch: u64,
    /// The most tokens that may be written.
    pub max_tokens: Option<u64>,
    /// Whether the model server is to fetch something from a URL.
    pub has_url: bool,
}

impl Authz {
    /// Lets policies decide beside the allow lists.
    #[must_use]
    pub fn with(self, policies: Option<Policies>) -> Self {
        Self { policies, ..self }
    }

    /// Whether the caller may ask that of the route. The model is another question, unless route or path name it and no
    /// policy wants to see the body.
    ///
    /// # Errors
    /// `forbidden`, unless a rule allows it.
    pub fn permit(&self, asked: &Asked<'_>) -> Ruling<()> {
        let Asked { who, found: Found { route, verb, .. }, .. } = *asked;
        let need = Need::of(*verb);
        // What the gateway says of itself is no question of policies.
        let policies = self.policies.as_ref().filter(|_| !matches!(need, Need::Nothing));
        if route.auth == AuthNeed::None {
            return policies.map_or(Ok(()), |policies| policies.permit(asked, None, true));
        }
        let tenant = self.tenant(who)?;
        // Who may ask for anything may ask what is left of it.
        let about_limits = matches!(verb, Verb::LimitsPolicy | Verb::Quota);
        let listed = about_limits || tenant.lists_route(route.index);
        if !listed && policies.is_none() {
            return Err(forbidden(format_args!("tenant `{}` may not use route `{}`", who.tenant, route.name)));
        }
        tenant.grant(who, need)?;
        policies.map_or(Ok(()), |policies| policies.permit(asked, Some(tenant), listed))
    }

    /// Whether the caller may use `model`, now that it is known: the second question of a request that [`Self::permit`] let
    /// pass.
    ///
    /// # Errors
    /// `forbidden`, unless route, tenant and credential all allow it.
    pub fn use_model(&self, asked: &Asked<'_>, model: ModelId, late: Late<'_>) -> Ruling<()> {
        let settled = self.policies.as_ref().is_some_and(|policies| policies.is_settled(asked, model, &late));
        self.judge(asked, model, Some(late), settled)
    }

    /// Whether the caller might use `model` in the same way, of which it does not speak itself.
    ///
    /// # Errors
    /// `forbidden`, unless route, tenant and credential all allow it.
    pub fn may_use(&self, asked: &Asked<'_>, model: ModelId, late: Option<Late<'_>>) -> Ruling<()> {
        self.judge(asked, model, late, false)
    }

    fn judge(&self, asked: &Asked<'_>, model: ModelId, late: Option<Late<'_>>, settled: bool) -> Ruling<()> {
        let Asked { who, found: Found { route, .. }, .. } = *asked;
        let name = self.model_name(model);
        if !route.models.contains(&model) {
            return Err(forbidden(format_args!("route `{}` does not serve model `{name}`", route.name)));
        }
        let policies = self.policies.as_ref().filter(|_| !settled);
        if route.auth == AuthNeed::None {
            return policies.map_or(Ok(()), |policies| policies.use_model((asked, None), (model, true), late));
        }
        let tenant = self.tenant(who)?;
        let listed = tenant.lists_model(model);
        if !listed && self.policies.is_none() {
            return Err(forbidden(format_args!("tenant `{}` may not use model `{name}`", who.tenant)));
        }
        if !lists::holds(who, name) {
            return Err(forbidden(format_args!("credential `{}` is not for model `{name}`", who.principal)));
        }
        let listed = listed && tenant.lists_route(route.index);
        policies.map_or(Ok(()), |policies| policies.use_model((asked, Some(tenant)), (model, listed), late))
    }

    /// Whether `who` may use the admin listener.
    ///
    /// # Errors
    /// `forbidden`, unless both tenant and credential name the scope `admin`.
    pub fn administer(&self, who: &Identity) -> Ruling<()> {
        self.tenant(who)?.grant(who, Need::Admin)
    }

    fn tenant(&self, who: &Identity) -> Ruling<&Tenant> {
        if who.is_anonymous() {
            return Err(forbidden("nobody in particular is asking"));
        }
        self.tenants.get(&who.tenant).ok_or_else(|| forbidden(format_args!("tenant `{}` is unknown", who.tenant)))
    }

    fn model_name(&self, model: ModelId) -> &str {
        self.models.get(model.index()).map_or("", |name| &**name)
    }
}

impl<'a> Asked<'a> {
    /// `who` asks something of a route, from somewhere at some time.
    #[must_use]
    pub const fn new(who: &'a Identity, found: &'a Found<'a>, path: &'a str, at: Occasion) -> Self {
        let action = None;
        #[cfg(feature = "cedar")]
        return Self { who, found, path, at, action, told: None };
        #[cfg(not(feature = "cedar"))]
        Self { who, found, path, at, action }
    }

    /// The model that it can only be about: the one that the path names, or the only one of the route.
    fn pinned(&self, find: impl Fn(&str) -> Option<ModelId>) -> Option<ModelId> {
        let Found { route, model, .. } = self.found;
        if !self.names_model() {
            return None;
        }
        match (model, route.models.as_slice()) {
            (Some(name), models) => find(name).filter(|model| models.contains(model)),
            (None, [only]) => Some(*only),
            _ => None,
        }
    }

    /// Whether a model will be asked about: the second question follows.
    fn names_model(&self) -> bool {
        let Found { route, verb, .. } = self.found;
        !route.models.is_empty() && matches!(verb, Verb::Infer | Verb::ModelMetadata | Verb::ModelReady | Verb::Stream)
    }

    fn route(&self) -> &'a Route {
        self.found.route
    }
}

impl fmt::Debug for Late<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Late").finish_non_exhaustive()
    }
}

fn forbidden(why: impl fmt::Display) -> Stop {
    Refusal::new(Code::Forbidden).because(why).into()
}
