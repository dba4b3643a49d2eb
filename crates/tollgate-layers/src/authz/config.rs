//! The `authz` and `tenants` sections, and their compilation.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tollgate_core::call::ModelId;
use tollgate_core::check::Checker;
use tollgate_core::guard::{Mode, OnFault, Switch};

use super::{Authz, Tenant};
use crate::routes::{AuthNeed, PriorityName, Route};

/// How permissions are enforced.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthzConfig {
    /// `enforce`, `observe` or `off`. Default: `enforce`.
    #[serde(default)]
    pub mode: Mode,
    /// What a fault means. Only `close` is possible here, and the default.
    #[serde(default)]
    pub on_fault: OnFault,
}

/// One tenant: what its callers may do, and how they are billed. What is not listed is denied.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantConfig {
    /// Models that it may use. Default: none.
    #[serde(default)]
    pub models: Vec<String>,
    /// Routes that it may use. Default: all routes that serve one of its models.
    #[serde(default)]
    pub routes: Option<Vec<String>>,
    /// What its callers may do at most. Default: `[infer, list]`; `admin` must be named.
    #[serde(default)]
    pub scopes: Vec<Scope>,
    /// Budgets of `limits.budgets` that its requests are paid from. Default: none of its own.
    #[serde(default)]
    pub budgets: Vec<String>,
    /// Its share of a full queue, 1 to 1000, relative to the other tenants. Default: 1.
    #[serde(default = "default_weight")]
    #[schemars(range(min = 1, max = 1000))]
    pub weight: u32,
    /// How urgent its requests are in a full queue: `critical`, `high`, `normal` or `batch`. Where their route says so, too,
    /// the lower counts. Default: what the route says, or `normal`.
    #[serde(default)]
    pub priority: Option<PriorityName>,
}

/// What a credential or a tenant may be given.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The admin listener. Never implied: both the tenant and the credential must name it.
    Admin,
    /// Inference, and reading what may be inferred with.
    Infer,
    /// Metadata and readiness only.
    List,
}

/// The names that tenants may use.
#[derive(Debug)]
pub struct TenantNames<'a> {
    /// Models, and their places.
    pub models: &'a BTreeMap<String, ModelId>,
    /// Routes, compiled.
    pub routes: &'a [Arc<Route>],
    /// Budgets of the `limits` section.
    pub budgets: &'a BTreeSet<String>,
}

const fn default_weight() -> u32 {
    1
}

impl Default for TenantConfig {
    fn default() -> Self {
        Self {
            models: Vec::new(),
            routes: None,
            scopes: Vec::new(),
            budgets: Vec::new(),
            weight: default_weight(),
            priority: None,
        }
    }
}

impl AuthzConfig {
    /// Reports every mistake of the section, and gives its switch. `check` stands in the section.
    pub fn switch(&self, check: &mut Checker) -> Switch {
        if self.on_fault == OnFault::Open {
            let hint = "leave it out: a permission that cannot be checked is not given";
            check.problem_hint("on_fault", "`authz` cannot fail open", hint);
        }
        match self.mode {
            Mode::Enforce => {}
            Mode::Observe => check.warn("mode", "permissions are only watched: every known caller may do everything"),
            Mode::Off => check.warn("mode", "permissions are not checked: every known caller may do everything"),
        }
        Switch { mode: self.mode, on_fault: OnFault::Close }
    }
}

/// Reports every mistake of the tenants, then builds the layer. `check` stands in the section.
pub fn compile(tenants: &BTreeMap<String, TenantConfig>, check: &mut Checker, names: &TenantNames<'_>) -> Authz {
    let mut compiled = HashMap::with_capacity(tenants.len());
    for (name, tenant) in tenants {
        if !is_name(name) {
            check.problem(name.as_str(), format!("`{name}` is not 1 to 64 of letters, digits, `_`, `-`, `.`"));
        }
        check.require(name != "anonymous", name.as_str(), "`anonymous` is who asks without a credential");
        let tenant = check.within(name.as_str(), |check| tenant.compile(check, names));
        compiled.insert(name.as_str().into(), tenant);
    }
    let size = names.models.values().map(|id| id.index() + 1).max().unwrap_or(0);
    let mut models: Vec<Box<str>> = vec!["".into(); size];
    for (name, id) in names.models {
        if let Some(place) = models.get_mut(id.index()) {
            *place = name.as_str().into();
        }
    }
    Authz { tenants: compiled, models }
}

fn is_name(name: &str) -> bool {
    let fit = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    (1..=64).contains(&name.len()) && name.bytes().all(fit)
}

impl TenantConfig {
    fn compile(&self, check: &mut Checker, names: &TenantNames<'_>) -> Tenant {
        let models = each(check, "models", &self.models, "model", |model| names.models.get(model).copied());
        let routes = self.routes(check, names, &models);
        each(check, "budgets", &self.budgets, "budget", |budget| names.budgets.get(budget).cloned());
        check.within("scopes", |check| {
            for (i, scope) in self.scopes.iter().enumerate() {
                let fresh = self.scopes.iter().take(i).all(|earlier| earlier != scope);
                check.require(fresh, i, format!("`{}` is listed twice", scope.name()));
            }
        });
        check.require((1..=1000).contains(&self.weight), "weight", "a weight is a number from 1 to 1000");
        let served = |model: &ModelId| {
            let mut mine = names.routes.iter().filter(|route| routes.binary_search(&route.index).is_ok());
            mine.any(|route| route.models.contains(model))
        };
        check.within("models", |check| {
            for (i, model) in self.models.iter().enumerate() {
                if names.models.get(model).is_some_and(|id| !served(id)) {
                    check.warn(i, format!("no route of this tenant serves `{model}`"));
                }
            }
        });
        let scopes = if self.scopes.is_empty() { vec![Scope::Infer, Scope::List] } else { self.scopes.clone() };
        Tenant { models, routes, scopes }
    }

    fn routes(&self, check: &mut Checker, names: &TenantNames<'_>, models: &[ModelId]) -> Vec<usize> {
        let Some(listed) = &self.routes else {
            let serving = names.routes.iter().filter(|route| route.models.iter().any(|model| models.contains(model)));
            return sorted(serving.map(|route| route.index).collect());
        };
        let find = |name: &str| names.routes.iter().find(|route| *route.name == *name);
        check.within("routes", |check| {
            for (i, name) in listed.iter().enumerate() {
                let Some(route) = find(name) else { continue };
                if route.auth == AuthNeed::None {
                    check.warn(i, format!("anybody may use route `{name}`: there is no need to list it"));
                } else if !route.models.is_empty() && !route.models.iter().any(|model| models.contains(model)) {
                    check.warn(i, format!("route `{name}` serves no model of this tenant"));
                }
            }
        });
        each(check, "routes", listed, "route", |name| find(name).map(|route| route.index))
    }
}

/// Looks every name of a list up; reports those that are unknown or listed twice.
fn each<T: Ord>(
    check: &mut Checker,
    list: &'static str,
    names: &[String],
    what: &str,
    find: impl Fn(&str) -> Option<T>,
) -> Vec<T> {
    let mut found = Vec::with_capacity(names.len());
    let mut seen = BTreeSet::new();
    check.within(list, |check| {
        for (i, name) in names.iter().enumerate() {
            if !seen.insert(name) {
                check.problem(i, format!("`{name}` is listed twice"));
            } else if let Some(place) = find(name) {
                found.push(place);
            } else {
                check.problem(i, format!("`{name}` is not a {what}"));
            }
        }
    });
    sorted(found)
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort_unstable();
    list
}

impl Scope {
    /// The word of the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Infer => "infer",
            Self::List => "list",
        }
    }
}
