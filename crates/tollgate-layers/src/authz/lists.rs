//! The allow lists of tenants and credentials, as tables.

use tollgate_core::call::ModelId;
use tollgate_core::identity::Identity;
use tollgate_core::ruling::Ruling;

use super::action::Need;
use super::{Scope, forbidden};

/// What one tenant may do. Lists are sorted.
#[derive(Debug, Default)]
pub(super) struct Tenant {
    pub(super) models: Vec<ModelId>,
    pub(super) routes: Vec<usize>,
    pub(super) scopes: Vec<Scope>,
}

impl Tenant {
    pub(super) fn lists_route(&self, route: usize) -> bool {
        self.routes.binary_search(&route).is_ok()
    }

    pub(super) fn lists_model(&self, model: ModelId) -> bool {
        self.models.binary_search(&model).is_ok()
    }

    /// Whether the scopes of the tenant and of the credential both meet `need`.
    pub(super) fn grant(&self, who: &Identity, need: Need) -> Ruling<()> {
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

    /// The scopes that a caller has: those of the credential that its tenant does not withhold, or all of the tenant's but
    /// `admin`. Who has `infer` has `list`. Words that are no scopes of ours come as the credential has them.
    pub(super) fn scopes_of<'a>(&'a self, who: &'a Identity) -> impl Iterator<Item = &'a str> {
        let held = move |scope: Scope| who.scopes.iter().any(|held| **held == *scope.name());
        let all = who.scopes.is_empty();
        let has = move |scope: Scope| {
            let mine = self.scopes.contains(&scope);
            let infers = self.scopes.contains(&Scope::Infer);
            match scope {
                Scope::Admin => mine && held(scope),
                Scope::Infer => mine && (all || held(scope)),
                Scope::List => (mine || infers) && (all || held(scope) || held(Scope::Infer)),
            }
        };
        let ours = Scope::ALL.into_iter().filter(move |scope| has(*scope)).map(Scope::name);
        let ours = ours.map(|word| -> &'a str { word });
        let others = who.scopes.iter().map(|word| &**word);
        ours.chain(others.filter(|word| Scope::of(word).is_none()))
    }
}

/// Whether a credential is for `model`.
pub(super) fn holds(who: &Identity, model: &str) -> bool {
    who.models.is_empty() || who.models.iter().any(|held| **held == *model)
}
