//! Whether a caller may: default deny by route, by model and by tenant. Knows nothing of credentials, bodies or cost.
//!
//! It is asked twice, because the model may stand in the body: `permit` on the head, `use_model` on the parsed call.

mod config;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;

use tollgate_core::call::ModelId;
use tollgate_core::identity::Identity;
use tollgate_core::ruling::{Code, Refusal, Ruling, Stop};

use crate::routes::{AuthNeed, Route, Verb};
pub use config::{AuthzConfig, Scope, TenantConfig, TenantNames, compile};

/// The compiled layer.
#[derive(Debug, Default)]
pub struct Authz {
    tenants: HashMap<Box<str>, Tenant>,
    /// Names of models, by place.
    models: Vec<Box<str>>,
}

/// What one tenant may do. Lists are sorted.
#[derive(Debug)]
struct Tenant {
    models: Vec<ModelId>,
    routes: Vec<usize>,
    scopes: Vec<Scope>,
}

/// What a verb asks of the scopes.
#[derive(Clone, Copy)]
enum Need {
    Admin,
    Infer,
    Nothing,
    Read,
}

impl Authz {
    /// Whether `who` may ask `verb` of `route`. The model is another question.
    ///
    /// # Errors
    /// `forbidden`, unless a rule allows it.
    pub fn permit(&self, who: &Identity, route: &Route, verb: Verb) -> Ruling<()> {
        if route.auth == AuthNeed::None {
            return Ok(());
        }
        let tenant = self.tenant(who)?;
        // Who may ask for anything may ask what is left of it.
        let about_limits = matches!(verb, Verb::LimitsPolicy | Verb::Quota);
        if !about_limits && tenant.routes.binary_search(&route.index).is_err() {
            return Err(forbidden(format_args!("tenant `{}` may not use route `{}`", who.tenant, route.name)));
        }
        tenant.grant(who, Need::of(verb))
    }

    /// Whether `who` may use `model`, on `route`.
    ///
    /// # Errors
    /// `forbidden`, unless route, tenant and credential all allow it.
    pub fn use_model(&self, who: &Identity, route: &Route, model: ModelId) -> Ruling<()> {
        let name = self.models.get(model.index()).map_or("", |name| &**name);
        if !route.models.contains(&model) {
            return Err(forbidden(format_args!("route `{}` does not serve model `{name}`", route.name)));
        }
        if route.auth == AuthNeed::None {
            return Ok(());
        }
        let tenant = self.tenant(who)?;
        if tenant.models.binary_search(&model).is_err() {
            return Err(forbidden(format_args!("tenant `{}` may not use model `{name}`", who.tenant)));
        }
        if !who.models.is_empty() && who.models.iter().all(|held| **held != *name) {
            return Err(forbidden(format_args!("credential `{}` is not for model `{name}`", who.principal)));
        }
        Ok(())
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
}

impl Tenant {
    fn grant(&self, who: &Identity, need: Need) -> Ruling<()> {
        if !need.met_by(|scope| self.scopes.contains(&scope)) {
            return Err(forbidden(format_args!("tenant `{}` lacks scope `{}`", who.tenant, need.scope().name())));
        }
        let all = who.scopes.is_empty() && !matches!(need, Need::Admin);
        if !all && !need.met_by(|scope| who.scopes.iter().any(|held| **held == *scope.name())) {
            let scope = need.scope().name();
            return Err(forbidden(format_args!("credential `{}` lacks scope `{scope}`", who.principal)));
        }
        Ok(())
    }
}

impl Need {
    const fn of(verb: Verb) -> Self {
        match verb {
            Verb::Health | Verb::LimitsPolicy | Verb::Quota | Verb::ResourceMetadata => Self::Nothing,
            Verb::Infer | Verb::Proxy | Verb::Stream => Self::Infer,
            Verb::ModelList
            | Verb::ModelMetadata
            | Verb::ModelReady
            | Verb::ServerLive
            | Verb::ServerMetadata
            | Verb::ServerReady => Self::Read,
        }
    }

    /// What may be called may be described: `infer` also reads.
    fn met_by(self, has: impl Fn(Scope) -> bool) -> bool {
        match self {
            Self::Admin => has(Scope::Admin),
            Self::Infer => has(Scope::Infer),
            Self::Nothing => true,
            Self::Read => has(Scope::List) || has(Scope::Infer),
        }
    }

    /// The smallest scope that meets it.
    const fn scope(self) -> Scope {
        match self {
            Self::Admin => Scope::Admin,
            Self::Infer => Scope::Infer,
            Self::Nothing | Self::Read => Scope::List,
        }
    }
}

fn forbidden(why: impl fmt::Display) -> Stop {
    Refusal::new(Code::Forbidden).because(why).into()
}
