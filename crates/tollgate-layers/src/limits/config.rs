//! The `limits` section, and its compilation.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_core::call::ModelId;
use tollgate_core::check::Checker;
use tollgate_core::cost::Cost;
use tollgate_core::guard::{Mode, OnFault, Switch};
use tollgate_limit::{Ledger, Rate, hash_key};

use super::{Budget, Limits, MAX_BUDGETS, Places};

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
}

/// One budget: a bucket that refills steadily.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BudgetConfig {
    /// Its name: what tenants list and what `RateLimit` fields show. It begins with a lower-case letter and goes on with
    /// lower-case letters, digits, `_` and `-`; at most 64 characters. A budget that keeps its name, `per` and `unit`
    /// keeps its levels over a reload.
    pub name: String,
    /// Whose bucket it is: there is one for each of these. A `key` is one credential; an `address` is one IPv4 address
    /// or one IPv6 /64.
    pub per: Per,
    /// What it counts: `compute` (microseconds of accelerator time) or `requests`. Default: `compute`.
    #[serde(default)]
    pub unit: Unit,
    /// The most that it holds, in microseconds or requests.
    #[schemars(range(min = 1))]
    pub burst: u64,
    /// What comes back each second, in microseconds or requests.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub refill_per_sec: u64,
    /// How far below zero a request may push it that cost more than was reserved, in microseconds; the rest is written
    /// off. Only for `unit: compute`. Default: as much as `burst`.
    #[serde(default)]
    pub debt: Option<u64>,
}

/// Whose bucket a budget is. The order is the one in which a request is charged: likeliest to refuse first, most
/// contended last.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd)]
#[serde(rename_all = "snake_case")]
pub enum Per {
    /// Each tenant that lists the budget.
    Tenant,
    /// Each credential of a tenant that lists the budget.
    Key,
    /// Each model, whoever calls it.
    Model,
    /// Each address, whoever calls from it.
    Address,
    /// One bucket for everything.
    Global,
}

/// What a budget counts.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Microseconds of accelerator time: reserved as estimated, settled as measured.
    #[default]
    Compute,
    /// Requests: one each, never given back once admitted.
    Requests,
}

/// The budgets that a tenant lists, checked: only [`LimitsConfig::list`] makes it.
#[derive(Clone, Debug, Default)]
pub struct Listed(Places);

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
        let Bank { ledger, seed } = bank;
        check.require(self.min_cost_us <= 1_000_000_000, "min_cost_us", "at most 1000000000, which is 1000 seconds");
        let rates: Vec<_> = check.within("budgets", |check| {
            let rates = (0..self.budgets.len()).map(|i| check.within(i, |check| self.check_budget(check, i)));
            rates.collect()
        });
        let shared = self.shared();
        let few = shared.len() <= MAX_BUDGETS;
        check.require(few, "budgets", format!("more than {MAX_BUDGETS} budgets for one request"));
        let shared: Places = shared.into_iter().take(MAX_BUDGETS).collect();
        let budgets = self.budgets.iter().zip(&rates).map(|(budget, rate)| Budget {
            name: budget.name.as_str().into(),
            per: budget.per,
            unit: budget.unit,
            rate: *rate,
            policy: hash_key(seed, budget.name.as_str(), (budget.per.name(), budget.unit)),
        });
        let mut models = vec![0; names.models.len()];
        for (name, id) in names.models {
            if let Some(hash) = models.get_mut(id.index()) {
                *hash = hash_key(seed, "model", name.as_str());
            }
        }
        let tenants = names.tenants.iter().map(|(name, listed)| (name.as_str().into(), self.order(listed, &shared)));
        Limits {
            budgets: budgets.collect(),
            tenants: tenants.collect(),
            shared,
            models,
            min_cost: Cost(self.min_cost_us),
            seed,
            ledger,
        }
    }

    /// Reports every mistake of one budget; the rate is a stand-in where there are some, for a policy never used.
    fn check_budget(&self, check: &mut Checker, i: usize) -> Rate {
        const STAND_IN: &str = "one unit in one second is a rate";
        let stand_in = || Rate::new(1, 1, 0).expect(STAND_IN);
        let Some(budget) = self.budgets.get(i) else { return stand_in() };
        let fresh = self.budgets.iter().take(i).all(|earlier| earlier.name != budget.name);
        check.require(fresh, "name", format!("`{}` names two budgets", budget.name));
        let why = format!("`{}` is not a name such as `gold_2`", budget.name);
        check.require(is_name(&budget.name), "name", why);
        let mut sound = check.require(budget.burst > 0, "burst", "a burst of `0` refuses every request");
        sound &= check.require(budget.refill_per_sec > 0, "refill_per_sec", "the budget would never refill");
        let slow_enough = budget.refill_per_sec <= 1_000_000_000;
        sound &= check.require(slow_enough, "refill_per_sec", "at most 1000000000 a second");
        let debt = match (budget.unit, budget.debt) {
            (Unit::Compute, debt) => debt.unwrap_or(budget.burst),
            (Unit::Requests, None) => 0,
            (Unit::Requests, Some(_)) => {
                check.problem("debt", "requests are never in debt: `debt` is for `unit: compute`");
                0
            }
        };
        if budget.unit == Unit::Compute && budget.burst < self.min_cost_us {
            check.warn("burst", format!("below `min_cost_us`: every request takes all of `{}`", budget.name));
        }
        let rate = Rate::new(budget.burst, budget.refill_per_sec, debt);
        if sound && rate.is_none() {
            check.problem("burst", "burst and debt would take longer than 36 years to refill");
        }
        rate.unwrap_or_else(stand_in)
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
    /// Random, secret, drawn once for the life of the ledger: keys every hash, so that nobody can aim at a balance.
    pub seed: (u64, u64),
}

impl Per {
    /// The word of the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Key => "key",
            Self::Model => "model",
            Self::Address => "address",
            Self::Global => "global",
        }
    }

    /// Whether only tenants that list it are charged to it.
    pub(super) const fn is_listed(self) -> bool {
        matches!(self, Self::Key | Self::Tenant)
    }
}

/// Names go into structured fields as they are: nothing in them may need escaping.
fn is_name(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-';
    text.len() <= 64 && text.starts_with(|first: char| first.is_ascii_lowercase()) && text.bytes().all(word)
}
