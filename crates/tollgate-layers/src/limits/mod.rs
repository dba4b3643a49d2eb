//! Who pays for a request, from which budgets, and what is given back. Balances live in the ledger of `tollgate-limit`.

mod budget;
mod config;
pub mod headers;
mod store;
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
use tollgate_core::journal::{Event, Fact, Journal};
use tollgate_core::ruling::{Code, Fault, Origin, Refusal, Ruling};
use tollgate_core::stage::Stage;
use tollgate_core::time::Tick;
use tollgate_limit::{Charge, Granted, Key, Ledger, MAX_LEVELS, Mode, Moment, Over, hash_key};

use budget::Budget;
pub use budget::{BudgetConfig, BudgetMode, Per, Period, Unit};
pub use config::{Bank, LimitNames, LimitsConfig, Listed};
pub use store::{Consistency, LeaseMs, StoreConfig, WhenDown};

/// The most budgets that one request can be charged to.
pub const MAX_BUDGETS: usize = MAX_LEVELS;

/// The most that is added to a wait: a quota that ends in ten days is not announced for the twelfth.
const MOST_SPREAD: Duration = Duration::from_mins(1);

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
    /// The same as every node hashes it; empty where nothing is shared.
    shared_models: Vec<u64>,
    min_cost: Cost,
    seed: (u64, u64),
    ledger: Arc<S>,
}

type Places = ArrayVec<usize, MAX_BUDGETS>;
type Charges = ArrayVec<Charge, MAX_BUDGETS>;

/// Who is to pay.
#[derive(Clone, Copy, Debug)]
pub struct Payer<'a> {
    /// Who is asking.
    pub who: &'a Identity,
    /// For which model; `None` where the route names none: then no `per: model` budget is charged.
    pub model: Option<ModelId>,
    /// From which address, after trusted proxies.
    pub from: IpAddr,
    /// When, in milliseconds since the Unix epoch: says which day or month a quota is of.
    pub unix_ms: u64,
}

/// Proof that a request was paid for. Whoever holds it must settle it.
#[derive(Debug, Default)]
#[must_use = "an unsettled reservation is never given back"]
pub struct Reservation {
    /// Compute only: a request that was counted stays counted.
    held: tollgate_limit::Reservation,
    /// What an observed budget would have refused.
    watched: Option<Box<Refusal>>,
    /// How many budgets were judged without the store that should have judged them.
    apart: u32,
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
        let (charges, places) = self.charges(payer, estimate, now)?;
        let granted = self.ledger.charge_all(&charges, leaf(now)).await;
        match granted.map_err(|fault| Fault::new(Origin::Store, fault))? {
            Granted::Yes { over } => {
                let (held, watched) = (self.refundable(&charges, over, &places), self.watched(over, &places));
                Ok(Reservation { held, watched, apart: over.apart() })
            }
            Granted::No { at, wait, apart } => {
                let wait = self.spread(wait, charges.get(at), now);
                Err(self.spent(places.get(at), apart).retry_after(wait).into())
            }
        }
    }

    /// Corrects the estimate once the real cost is known: gives back the rest, or takes the debt. `Cost(0)` means that
    /// nothing ran: all compute is given back. What did run costs at least the minimum.
    pub fn settle(&self, paid: Reservation, real: Cost, now: Tick) {
        let real = if real.0 == 0 { real } else { real.max(self.min_cost) };
        self.ledger.settle(paid.held, real.0, leaf(now));
    }

    /// Gives all compute back: the request never ran.
    pub fn refund(&self, paid: Reservation, now: Tick) {
        self.settle(paid, Cost(0), now);
    }

    /// Where the payer's own budgets stand. Budgets shared with others (`model`, `global`) are not among them: their
    /// level would tell one tenant how busy the others are. Nor are those that only observe: they bind nobody.
    pub fn levels(&self, payer: Payer<'_>, now: Tick) -> ArrayVec<PublicLevel<'_>, MAX_BUDGETS> {
        let own = self.places(payer.who).iter().filter_map(|place| self.budgets.get(*place));
        let own = own.filter(|budget| matches!(budget.per, Per::Address | Per::Key | Per::Tenant));
        let own = own.filter(|budget| budget.mode == Mode::Enforce);
        own.filter_map(|budget| {
            let at = moment(payer, now);
            let level = self.ledger.peek(self.key(budget, payer)?, budget.limit(at), leaf(now));
            Some(budget.public(&level, at))
        })
        .collect()
    }

    /// What each budget of `payer` is to pay, and the places of these budgets.
    fn charges(&self, payer: Payer<'_>, estimate: Estimate, now: Tick) -> Ruling<(Charges, Places)> {
        let cost = estimate.cost.max(self.min_cost);
        let mut charges = Charges::new();
        let mut places = Places::new();
        for &place in self.places(payer.who) {
            let Some(budget) = self.budgets.get(place) else { continue };
            let Some(key) = self.key(budget, payer) else { continue };
            let most = budget.most();
            let units = match budget.unit {
                Unit::Compute if estimate.declared.0 > most && budget.mode == Mode::Enforce => {
                    return Err(budget.too_small(estimate.declared).into());
                }
                // What only watches says so of what could never fit.
                Unit::Compute if estimate.declared.0 > most => estimate.declared.0,
                // An estimate of our own never locks anybody out: what is above the burst becomes debt.
                Unit::Compute => cost.0.min(most),
                Unit::Requests => 1,
            };
            charges.push(Charge { key, limit: budget.limit(moment(payer, now)), units, mode: budget.mode });
            places.push(place);
        }
        Ok((charges, places))
    }

    fn places(&self, who: &Identity) -> &Places {
        self.tenants.get(&*who.tenant).unwrap_or(&self.shared)
    }

    /// The balance of `budget` that `payer` draws on; `None` if there is no model to charge.
    fn key(&self, budget: &Budget, payer: Payer<'_>) -> Option<Key> {
        if let Some(shared) = &budget.shared {
            return shared.key(payer, &self.shared_models);
        }
        let hash = |scope: (u64, u64)| hash_key(self.seed, budget.policy, scope);
        Some(match budget.per {
            Per::Address => Key::open(hash(network_of(payer.from))),
            Per::Global => Key::configured(hash((0, 0))),
            Per::Key => Key::configured(hash((payer.who.tenant_id, payer.who.principal_id))),
            Per::Model => Key::configured(hash((*self.models.get(payer.model?.index())?, 0))),
            Per::Tenant => Key::configured(hash((payer.who.tenant_id, 0))),
        })
    }

    fn refundable(&self, charges: &Charges, over: Over, places: &Places) -> tollgate_limit::Reservation {
        let unit = |place: &usize| self.budgets.get(*place).map(|budget| budget.unit);
        let (mut compute, mut was_over) = (Charges::new(), Over::default());
        for (i, (charge, place)) in charges.iter().zip(places).enumerate() {
            if unit(place) == Some(Unit::Compute) {
                if over.contains(i) {
                    was_over = was_over.with(compute.len());
                }
                compute.push(*charge);
            }
        }
        tollgate_limit::Reservation::of(&compute, was_over)
    }

    /// What the first of the observed budgets that are spent would have said.
    fn watched(&self, over: Over, places: &Places) -> Option<Box<Refusal>> {
        let first = (0..places.len()).find(|place| over.contains(*place))?;
        Some(Box::new(self.spent(places.get(first), false)))
    }

    fn spent(&self, place: Option<&usize>, apart: bool) -> Refusal {
        let name = place.and_then(|place| self.budgets.get(*place)).map_or("?", |budget| &budget.name);
        let how = if apart { ": this node's share, the store is away" } else { "" };
        Refusal::new(Code::RateLimited).because(format_args!("budget `{name}` is spent{how}"))
    }

    /// Adds up to a quarter to `wait`, and no more than [`MOST_SPREAD`], so that a refused crowd does not come back as one. The secret seed makes it
    /// unpredictable; the same refusal always gets the same answer.
    fn spread(&self, wait: Duration, refused: Option<&Charge>, now: Tick) -> Duration {
        let roll = hash_key(self.seed, "jitter", (refused.map(|charge| charge.key.hash), now.0));
        let parts = u32::try_from(roll % 1024).unwrap_or(0);
        wait.saturating_add((wait / 4096).min(MOST_SPREAD / 1024).saturating_mul(parts))
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
        Cost(self.held.charges().iter().map(|charge| charge.units).max().unwrap_or(0))
    }

    /// What an observed budget would have refused.
    pub const fn take_watched(&mut self) -> Option<Box<Refusal>> {
        self.watched.take()
    }

    /// Tells the journal what an observed budget would have refused, and how many were judged without their store.
    pub fn tell(&mut self, log: &mut Journal) {
        log.watched(Stage::Limits, self.take_watched());
        if self.apart > 0 {
            log.note(Stage::Limits, Event::Noted(Fact::StoreAway, self.apart));
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

const fn moment(payer: Payer<'_>, now: Tick) -> Moment {
    Moment { now: leaf(now), unix_ms: payer.unix_ms }
}
