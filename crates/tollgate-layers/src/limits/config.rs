//! The `limits` section, and its compilation.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_core::call::ModelId;
use tollgate_core::check::Checker;
use tollgate_core::cost::Cost;
use tollgate_core::guard::{Mode, OnFault, Switch};
use tollgate_limit::{Gauges, Ledger, hash_key};

use super::budget::{Budget, BudgetConfig};
use super::store::{self, StoreConfig};
use super::{Levers, Limits, MAX_BUDGETS, Places};

/// Budgets: how much compute, or how many requests, each tenant, key, model, address and the whole gateway has.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitsConfig {
    /// `enforce`, `observe` or `off`. Default: `enforce`.
    #[serde(default)]
    pub mode: Mode,
    /// What a fault of the store means: `close` or `open`. Default: `close`.
    #[serde(default)]
    pub on_fault: OnFault,
    /// What every request costs at least, in microseconds of compute, unless its route is free. Default: 1000.
    #[serde(default = "default_min_cost_us")]
    #[schemars(range(max = 1_000_000_000))]
    pub min_cost_us: u64,
    /// The budgets. Those with `per: tenant` and `per: key` are for the tenants that list them in
    /// `tenants.<name>.budgets`; those with `per: model`, `address` and `global` are for everybody. A request is
    /// charged to all of its budgets or to none. Default: none.
    #[serde(default)]
    pub budgets: Vec<BudgetConfig>,
    /// Whether every tenant may see its own budgets at `GET /.tollgate/quota`, on every listener for data, where there are
    /// budgets and no route has `protocol: quota`. Default: true.
    #[serde(default = "yes")]
    pub quota_page: bool,
    /// Where several gateways share these budgets: Valkey or Redis. Only a restart changes it. Default: nowhere, each
    /// gateway counts for itself.
    #[serde(default)]
    pub store: Option<StoreConfig>,
}

/// The budgets that a tenant lists, checked: only [`LimitsConfig::list`] makes it.
#[derive(Clone, Debug, Default)]
pub struct Listed(Places);

const fn yes() -> bool {
    true
}

const fn default_min_cost_us() -> u64 {
    1000
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            on_fault: OnFault::default(),
            min_cost_us: default_min_cost_us(),
            budgets: Vec::new(),
            quota_page: true,
            store: None,
        }
    }
}

impl LimitsConfig {
    /// The guard's settings.
    #[must_use]
    pub const fn switch(&self) -> Switch {
        Switch { mode: self.mode, on_fault: self.on_fault }
    }

    /// Reports every mistake of the member `budgets` of a tenant, which `check` stands at.
    pub fn list(&self, check: &mut Checker, listed: &[String]) -> Listed {
        let mut places = Places::new();
        check.within("budgets", |check| {
            for (i, name) in listed.iter().enumerate() {
                let place = self.budgets.iter().position(|budget| budget.name == *name);
                match place.and_then(|place| Some((place, self.budgets.get(place)?))) {
                    None => check.problem_hint(i, format!("`{name}` is not a budget"), "define it in `limits.budgets`"),
                    Some((_, budget)) if !budget.per.is_listed() => {
                        let why = format!("budget `{name}` is for everybody (`per: {}`)", budget.per.name());
                        check.problem_hint(i, why, "leave it out: it applies without being listed");
                    }
                    Some((place, _)) if places.contains(&place) => {
                        check.problem(i, format!("`{name}` is listed twice"));
                    }
                    Some((place, _)) => {
                        let fits = places.len().saturating_add(self.shared().len()) < MAX_BUDGETS;
                        let fits = fits && places.try_push(place).is_ok();
                        check.require(fits, i, format!("more than {MAX_BUDGETS} budgets for one request"));
                    }
                }
            }
        });
        Listed(places)
    }

    /// Reports every mistake of the section, which `check` stands at, then builds the layer. `seed` keys all hashes; it
    /// must be the same for the life of the ledger, or no level survives a reload.
    pub fn compile<S: Ledger>(&self, check: &mut Checker, names: &LimitNames<'_>, bank: Bank<S>) -> Limits<S> {
        let Bank { ledger, gauges, levers, seed } = bank;
        check.require(self.min_cost_us <= 1_000_000_000, "min_cost_us", "at most 1000000000, which is 1000 seconds");
        let budgets: Vec<_> = check.within("budgets", |check| {
            let budgets = self.budgets.iter().enumerate();
            budgets.map(|(i, budget)| check.within(i, |check| self.compile_budget(check, (i, budget), seed))).collect()
        });
        let shared = self.shared();
        let few = shared.len() <= MAX_BUDGETS;
        check.require(few, "budgets", format!("more than {MAX_BUDGETS} budgets for one request"));
        let shared: Places = shared.into_iter().take(MAX_BUDGETS).collect();
        let mut models = vec![0; names.models.len()];
        for (name, id) in names.models {
            if let Some(hash) = models.get_mut(id.index()) {
                *hash = hash_key(seed, "model", name.as_str());
            }
        }
        let shared_models = self.store.as_ref().map_or_else(Vec::new, |_| store::models(names.models));
        if let Some(store) = &self.store {
            check.within("store", |check| store.check(check));
        }
        let tenants = names.tenants.iter().map(|(name, listed)| (name.as_str().into(), self.order(listed, &shared)));
        Limits {
            budgets,
            tenants: tenants.collect(),
            shared,
            models,
            shared_models,
            min_cost: Cost(self.min_cost_us),
            seed,
            ledger,
            gauges,
            levers,
        }
    }

    fn compile_budget(&self, check: &mut Checker, (i, budget): (usize, &BudgetConfig), seed: (u64, u64)) -> Budget {
        let fresh = self.budgets.iter().take(i).all(|earlier| earlier.name != budget.name);
        check.require(fresh, "name", format!("`{}` names two budgets", budget.name));
        let mut compiled = budget.compile(check, self.min_cost_us, seed);
        compiled.shared = budget.shared(check, self.store.as_ref());
        compiled
    }

    /// Places of the budgets that everybody shares, in the order in which they are charged.
    fn shared(&self) -> Vec<usize> {
        let shared = self.budgets.iter().enumerate().filter(|(_, budget)| !budget.per.is_listed());
        let mut places: Vec<_> = shared.map(|(place, _)| place).collect();
        places.sort_by_key(|place| self.budgets.get(*place).map(|budget| budget.per));
        places
    }

    fn order(&self, listed: &Listed, shared: &Places) -> Places {
        let mut places: Places = listed.0.iter().chain(shared).copied().take(MAX_BUDGETS).collect();
        places.sort_by_key(|place| self.budgets.get(*place).map(|budget| budget.per));
        places
    }
}

/// What other sections say that budgets depend on.
#[derive(Debug)]
pub struct LimitNames<'a> {
    /// Models, in table order.
    pub models: &'a BTreeMap<String, ModelId>,
    /// What each tenant lists.
    pub tenants: &'a BTreeMap<String, Listed>,
}

/// Where balances live: outlives every policy.
#[derive(Debug)]
pub struct Bank<S> {
    /// The balances.
    pub ledger: Arc<S>,
    /// What runs at once.
    pub gauges: Arc<Gauges>,
    /// What operators have lowered for a while.
    pub levers: Arc<Levers>,
    /// Random, secret, drawn once for the life of the ledger: keys every hash, so that nobody can aim at a balance.
    pub seed: (u64, u64),
}
