//! Who pays for a request, from which budgets, and what is given back. Balances live in the ledger of `tollgate-limit`.

mod config;
pub mod headers;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arrayvec::ArrayVec;
use tollgate_core::call::ModelId;
use tollgate_core::cost::{Cost, Estimate};
use tollgate_core::identity::Identity;
use tollgate_core::ruling::{Code, Fault, Origin, Refusal, Ruling, Spot};
use tollgate_core::time::Tick;
use tollgate_limit::{Charge, Granted, Key, Ledger, Rate, hash_key};

pub use config::{Bank, BudgetConfig, LimitNames, LimitsConfig, Listed, Per, Unit};

/// The most budgets that one request can be charged to.
pub const MAX_BUDGETS: usize = 8;

/// The compiled layer: immutable, replaced whole on reload. Balances live in the ledger and survive.
#[derive(Debug)]
pub struct Limits<S> {
    budgets: Vec<Budget>,
    /// Places of the budgets of each tenant that lists some, in the order in which they are charged.
    tenants: HashMap<Box<str>, Places>,
    /// Places of the budgets that everybody shares, which is all that other tenants have.
    shared: Places,
    /// Hash of each model's name, so that a model keeps its level when the table is reordered.
    models: Vec<u64>,
    min_cost: Cost,
    seed: (u64, u64),
    ledger: Arc<S>,
}

type Places = ArrayVec<usize, MAX_BUDGETS>;

/// Who is to pay.
#[derive(Clone, Copy, Debug)]
pub struct Payer<'a> {
    /// Who is asking.
    pub who: &'a Identity,
    /// For which model; `None` where the route names none: then no `per: model` budget is charged.
    pub model: Option<ModelId>,
    /// From which address, after trusted proxies.
    pub from: IpAddr,
}

/// Proof that a request was paid for. Whoever holds it must settle it.
#[derive(Debug, Default)]
#[must_use = "an unsettled reservation is never given back"]
pub struct Reservation {
    /// Compute only: a request that was counted stays counted.
    held: ArrayVec<Charge, MAX_BUDGETS>,
}

/// Where one budget of a payer stands, in the figures that a client may know.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PublicLevel<'a> {
    /// Name of the budget.
    pub name: &'a str,
    /// What the figures count; compute is in whole milliseconds here.
    pub unit: Unit,
    /// The most that it holds.
    pub quota: u64,
    /// Whole seconds in which an empty budget becomes full; at least 1.
    pub window_secs: u64,
    /// What is there now.
    pub remaining: u64,
    /// Whole seconds that `remaining` lasts if it is spent as fast as it refills; if nothing remains, the wait for one.
    pub reset_secs: u64,
}

/// A compiled budget.
#[derive(Clone, Debug)]
struct Budget {
    name: Box<str>,
    per: Per,
    unit: Unit,
    rate: Rate,
    /// Hash of name, scope and unit.
    policy: u64,
}

impl<S: Ledger> Limits<S> {
    /// Charges every budget of `payer`, or none: a refusal, a fault and a cancelled wait all give back.
    ///
    /// # Errors
    /// `too_expensive` if what the caller declared is above the burst of a budget, `rate_limited` with the wait if a
    /// budget is spent, a fault of the store.
    pub async fn reserve(&self, payer: Payer<'_>, estimate: Estimate, now: Tick) -> Ruling<Reservation> {
        if estimate.exempt {
            return Ok(Reservation::default());
        }
        let (charges, places) = self.charges(payer, estimate)?;
        let granted = self.ledger.charge_all(&charges, leaf(now)).await;
        match granted.map_err(|fault| Fault::new(Origin::Store, fault))? {
            Granted::Yes => Ok(Reservation { held: self.refundable(charges, &places) }),
            Granted::No { at, wait } => {
                let name = places.get(at).and_then(|place| self.budgets.get(*place)).map_or("?", |budget| &budget.name);
                let wait = self.spread(wait, charges.get(at), now);
                let why = format_args!("budget `{name}` is spent");
                Err(Refusal::new(Code::RateLimited).retry_after(wait).because(why).into())
            }
        }
    }

    /// Corrects the estimate once the real cost is known: gives back the rest, or takes the debt. `Cost(0)` means that
    /// nothing ran: all compute is given back. What did run costs at least the minimum.
    pub fn settle(&self, paid: Reservation, real: Cost, now: Tick) {
        let real = if real.0 == 0 { real } else { real.max(self.min_cost) };
        for Charge { key, rate, units } in paid.held {
            let unused = units.saturating_sub(real.0);
            let owed = real.0.saturating_sub(units);
            if unused > 0 {
                self.ledger.give_back(key, rate, unused, leaf(now));
            }
            if owed > 0 {
                self.ledger.debit(key, rate, owed, leaf(now));
            }
        }
    }

    /// Gives all compute back: the request never ran.
    pub fn refund(&self, paid: Reservation, now: Tick) {
        self.settle(paid, Cost(0), now);
    }

    /// Where the payer's own budgets stand. Budgets shared with others (`model`, `global`) are not among them: their
    /// level would tell one tenant how busy the others are.
    pub fn levels(&self, payer: Payer<'_>, now: Tick) -> ArrayVec<PublicLevel<'_>, MAX_BUDGETS> {
        let own = self.places(payer.who).iter().filter_map(|place| self.budgets.get(*place));
        let own = own.filter(|budget| matches!(budget.per, Per::Address | Per::Key | Per::Tenant));
        own.filter_map(|budget| {
            let level = self.ledger.peek(self.key(budget, payer)?, budget.rate, leaf(now));
            Some(budget.public(level.remaining, level.wait))
        })
        .collect()
    }

    /// What each budget of `payer` is to pay, and the places of these budgets.
    fn charges(&self, payer: Payer<'_>, estimate: Estimate) -> Ruling<(ArrayVec<Charge, MAX_BUDGETS>, Places)> {
        let cost = estimate.cost.max(self.min_cost);
        let mut charges = ArrayVec::new();
        let mut places = Places::new();
        for &place in self.places(payer.who) {
            let Some(budget) = self.budgets.get(place) else { continue };
            let Some(key) = self.key(budget, payer) else { continue };
            let burst = budget.rate.burst();
            let units = match budget.unit {
                Unit::Compute if estimate.declared.0 > burst => return Err(budget.too_small(estimate.declared).into()),
                // An estimate of our own never locks anybody out: what is above the burst becomes debt.
                Unit::Compute => cost.0.min(burst),
                Unit::Requests => 1,
            };
            charges.push(Charge { key, rate: budget.rate, units });
            places.push(place);
        }
        Ok((charges, places))
    }

    fn places(&self, who: &Identity) -> &Places {
        self.tenants.get(&*who.tenant).unwrap_or(&self.shared)
    }

    /// The balance of `budget` that `payer` draws on; `None` if there is no model to charge.
    fn key(&self, budget: &Budget, payer: Payer<'_>) -> Option<Key> {
        let hash = |scope: (u64, u64)| hash_key(self.seed, budget.policy, scope);
        Some(match budget.per {
            Per::Address => Key::open(hash(network_of(payer.from))),
            Per::Global => Key::configured(hash((0, 0))),
            Per::Key => Key::configured(hash((payer.who.tenant_id, payer.who.principal_id))),
            Per::Model => Key::configured(hash((*self.models.get(payer.model?.index())?, 0))),
            Per::Tenant => Key::configured(hash((payer.who.tenant_id, 0))),
        })
    }

    fn refundable(&self, mut charges: ArrayVec<Charge, MAX_BUDGETS>, places: &Places) -> ArrayVec<Charge, MAX_BUDGETS> {
        let mut units = places.iter().filter_map(|place| self.budgets.get(*place)).map(|budget| budget.unit);
        charges.retain(|_| units.next() == Some(Unit::Compute));
        charges
    }

    /// Adds up to a quarter to `wait`, so that a refused crowd does not come back as one. The secret seed makes it
    /// unpredictable; the same refusal always gets the same answer.
    fn spread(&self, wait: Duration, refused: Option<&Charge>, now: Tick) -> Duration {
        let roll = hash_key(self.seed, "jitter", (refused.map(|charge| charge.key.hash), now.0));
        let parts = u32::try_from(roll % 1024).unwrap_or(0);
        wait.saturating_add((wait / 4096).saturating_mul(parts))
    }
}

impl Reservation {
    /// Whether nothing is held: the layer is off, only watched, or the route is free.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// The compute that the most generous budget reserved, in microseconds.
    #[must_use]
    pub fn reserved(&self) -> Cost {
        Cost(self.held.iter().map(|charge| charge.units).max().unwrap_or(0))
    }
}

impl Budget {
    fn too_small(&self, declared: Cost) -> Refusal {
        let (name, burst) = (&self.name, self.rate.burst());
        let spot = Spot {
            pointer: String::new(),
            expected: format!("a cost of at most {burst} µs"),
            found: format!("{} µs", declared.0),
            index: None,
        };
        let why = format_args!("declared cost {} exceeds the burst {burst} of budget `{name}`", declared.0);
        Refusal::new(Code::TooExpensive).at(spot).because(why)
    }

    fn public(&self, remaining: u64, wait: Duration) -> PublicLevel<'_> {
        // Compute is announced in milliseconds.
        let scale = if self.unit == Unit::Compute { 1000 } else { 1 };
        let burst = self.rate.burst();
        let lasts = if remaining < scale {
            wait.max(self.rate.refill_time(scale.saturating_sub(remaining).min(burst)))
        } else {
            self.rate.refill_time(remaining)
        };
        PublicLevel {
            name: &self.name,
            unit: self.unit,
            quota: burst / scale,
            window_secs: headers::whole_secs(self.rate.refill_time(burst)),
            remaining: remaining / scale,
            reset_secs: headers::whole_secs(lasts),
        }
    }
}

/// The network that counts as one address: a whole IPv4 address, the /64 of an IPv6 one, which one subscriber owns.
fn network_of(address: IpAddr) -> (u64, u64) {
    match address.to_canonical() {
        IpAddr::V4(v4) => (4, u64::from(v4.to_bits())),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            (6, [a, b, c, d].into_iter().fold(0, |sum, part| (sum << 16) | u64::from(part)))
        }
    }
}

/// The leaf crate has a tick of its own.
const fn leaf(now: Tick) -> tollgate_limit::Tick {
    tollgate_limit::Tick(now.0)
}
