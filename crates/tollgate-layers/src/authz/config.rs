//! The `authz` and `tenants` sections, and their compilation.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tollgate_core::call::ModelId;
use tollgate_core::check::Checker;
use tollgate_core::guard::{Mode, OnFault, Switch};

use super::lists::Tenant;
use super::{Attribute, Authz, Policies, attributes};
use crate::routes::{AuthNeed, PriorityName, Route};
use crate::waf::Source;

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
    /// Files with policies in Cedar, relative to this file: names that end with `.cedar`; `*` and `?` match within one name of
    /// a path. Policies add to the allow lists of tenants, or take from them. Default: none.
    #[serde(default)]
    pub policies: Vec<String>,
    /// Groups of models that policies may speak of: `ModelGroup::"NAME"`. Default: none.
    #[serde(default)]
    pub model_groups: BTreeMap<String, Vec<String>>,
    /// The time zone of `context.hour`: `UTC`, a name such as `Europe/Berlin`, or an offset such as `+05:30`. Default: `UTC`.
    #[serde(default)]
    pub time_zone: Option<String>,
    /// Where this gateway stands, as `context.region` tells policies. Default: an empty text.
    #[serde(default)]
    pub region: Option<String>,
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
    /// What policies may read of it, as `principal.tenant.NAME`: whole numbers, texts, lists of texts, `true` and `false`.
    /// Default: nothing.
    #[serde(default)]
    pub attributes: BTreeMap<String, Attribute>,
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
    /// Whether there are policies, which alone read attributes.
    pub policies: bool,
}

/// What policies may speak of, and where they are found.
pub struct PolicyNames<'a> {
    /// Tenants.
    pub tenants: &'a BTreeMap<String, TenantConfig>,
    /// Models, and their places.
    pub models: &'a BTreeMap<String, ModelId>,
    /// Routes, compiled.
    pub routes: &'a [Arc<Route>],
    /// Files.
    pub source: &'a dyn Source,
    /// Counts policies that failed while they decided. It outlives them.
    pub failed: Arc<AtomicU64>,
}

impl fmt::Debug for PolicyNames<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicyNames").finish_non_exhaustive()
    }
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
            attributes: BTreeMap::new(),
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

    /// Reports every mistake of the policies, each with its file, line and column, and builds them. `None` without any.
    /// `check` stands in the section.
    pub fn policies(&self, check: &mut Checker, names: &PolicyNames<'_>) -> Option<Policies> {
        if self.policies.is_empty() {
            self.refuse_idle(check);
            return None;
        }
        Policies::compile(self, check, names)
    }

    /// What speaks to policies alone does nothing without them.
    fn refuse_idle(&self, check: &mut Checker) {
        let hint = "list their files under `policies`, or leave it out";
        let idle = [
            ("model_groups", !self.model_groups.is_empty()),
            ("region", self.region.is_some()),
            ("time_zone", self.time_zone.is_some()),
        ];
        for (member, _) in idle.into_iter().filter(|(_, said)| *said) {
            check.problem_hint(member, format!("`{member}` is for policies, and there are none"), hint);
        }
    }
}

/// Reports attributes that nobody reads. `check` stands in the tenants.
fn refuse_unread(tenants: &BTreeMap<String, TenantConfig>, check: &mut Checker) {
    for (name, _) in tenants.iter().filter(|(_, tenant)| !tenant.attributes.is_empty()) {
        check.within(name.as_str(), |check| {
            let hint = "list their files under `authz.policies`, or leave them out";
            check.problem_hint("attributes", "`attributes` are for policies, and there are none", hint);
        });
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
    attributes::kinds(tenants, check);
    if !names.policies {
        refuse_unread(tenants, check);
    }
    Authz { tenants: compiled, models, policies: None }
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
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Admin, Self::Infer, Self::List];

    /// The scope of that word.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == word)
    }

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
