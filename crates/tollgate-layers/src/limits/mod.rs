//! Who pays for a request, from which budgets, and what is given back. Balances live in the ledger of `tollgate-limit`.

mod budget;
mod config;
mod demand;
pub mod headers;
mod lever;
mod page;
mod store;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arrayvec::ArrayVec;
use tollgate_core::call::ModelId;
use tollgate_core::cost::Cost;
use tollgate_core::identity::Identity;
use tollgate_core::journal::{Event, Fact, Journal};
use tollgate_core::ruling::{Code, Fault, Origin, Refusal, Ruling};
use tollgate_core::stage::Stage;
use tollgate_core::time::Tick;
use tollgate_limit::{Charge, Gauges, Granted, Key, Ledger, MAX_LEVELS, Mode, Moment, Over, Place, hash_key};

use budget::Budget;
pub use budget::{BudgetConfig, BudgetMode, Per, Period, Unit};
pub use config::{Bank, LimitNames, LimitsConfig, Listed};
pub use demand::{Demand, Size, Used};
pub use lever::{Lever, LeverError, Levers, MAX_LEVER_MS, MAX_LEVERS, Target};
use lever::{Pull, dearer_by};
pub use page::{PolicyLine, PolicyPage};
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
    gauges: Arc<Gauges>,
    levers: Arc<Levers>,
}

type Places = ArrayVec<usize, MAX_BUDGETS>;
type Charges = ArrayVec<Charge, MAX_BUDGETS>;

/// What is told to wait where a place among what runs at once is missing.
const UNKNOWN_WAIT: Duration = Duration::from_secs(1);

/// What a request asks for, budget by budget.
#[derive(Default)]
struct Asked {
    charges: Charges,
    /// The budget of each charge.
    budgets: Places,
    places: Vec<Place>,
    watched: Option<Box<Refusal>>,
    pull: Option<Pull>,
    /// Charges for which each unit counts for more.
    dear: Over,
}

impl Asked {
    fn push(&mut self, charge: Charge, budget: usize, dear: bool) {
        if dear {
            self.dear = self.dear.with(self.charges.len());
        }
        self.charges.push(charge);
        self.budgets.push(budget);
    }
}

/// The refusal of a lever: the wait is until it lets go.
fn held_back(pull: &Pull, payer: Payer<'_>) -> Refusal {
    let wait = pull.until_unix_ms.saturating_sub(payer.unix_ms);
    Refusal::new(Code::RateLimited).retry_after(Duration::from_millis(wait))
}

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
    /// What is settled: a request that was counted stays counted.
    held: tollgate_limit::Reservation,
    /// What each of these counts.
    units: ArrayVec<Unit, MAX_BUDGETS>,
    /// Those for which each unit counted for more, and what was left of them, in thousandths.
    dearer: Option<(Over, u32)>,
    /// Places among what runs at once; given back when this is dropped.
    places: Vec<Place>,
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
    /// Whose it is.
    pub per: Per,
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
    /// How long until something is there again; zero if something is.
    pub wait: Duration,
    /// How long until all of it is there again, if nothing is spent.
    pub full_in: Duration,
}

impl<S: Ledger> Limits<S> {
    /// Charges every budget of `payer`, or none: a refusal, a fault and a cancelled wait all give back.
    ///
    /// # Errors
    /// `too_expensive` if what the caller declared is above the burst of a budget, `rate_limited` with the wait if a
    /// budget is spent, a fault of the store.
    pub async fn reserve(&self, payer: Payer<'_>, demand: impl Into<Demand>, now: Tick) -> Ruling<Reservation> {
        let demand = demand.into();
        if demand.compute.exempt {
            return Ok(Reservation::default());
        }
        let asked = self.asked(payer, &demand, now)?;
        let Asked { charges, budgets, places, watched, pull, dear, .. } = asked;
        let granted = self.ledger.charge_all(&charges, leaf(now)).await;
        match granted.map_err(|fault| Fault::new(Origin::Store, fault))? {
            Granted::Yes { over } => {
                let watched = watched.or_else(|| self.watched(over, &charges, &budgets));
                let held = self.refundable(&charges, (over, dear), &budgets);
                let dearer = held.1.zip(pull.map(|pull| pull.permille));
                Ok(Reservation { places, watched, dearer, apart: over.apart(), ..held.0 })
            }
            Granted::No { at, wait, apart } => {
                let wait = self.spread(wait, charges.get(at).map(|charge| charge.key), now);
                Err(self.spent(at, &charges, &budgets, apart).retry_after(wait).into())
            }
        }
    }

    /// Corrects the estimate once it is known what was used: gives back the rest, or takes the debt. `Cost(0)` means that
    /// nothing ran: everything is given back. What did run costs at least the minimum.
    pub fn settle(&self, paid: Reservation, used: impl Into<Used>, now: Tick) {
        let used = used.into();
        let Reservation { held, units, places, dearer, .. } = paid;
        drop(places);
        if dearer.is_none() && units.iter().all(|unit| *unit == Unit::Compute) {
            let real = used.of(Unit::Compute, self.min_cost).unwrap_or(0);
            return self.ledger.settle(held, real, leaf(now));
        }
        for unit in [Unit::Bytes, Unit::Compute, Unit::Tokens] {
            let Some(real) = used.of(unit, self.min_cost) else { continue };
            for is_dear in [false, true] {
                let is_so = |at: usize| dearer.as_ref().is_some_and(|(dear, _)| dear.contains(at)) == is_dear;
                let of_unit = held.charges().iter().zip(&units).enumerate();
                let of_unit = of_unit.filter(|(at, (_, known))| **known == unit && is_so(*at));
                let charges: Charges = of_unit.map(|(_, (charge, _))| *charge).collect();
                let real = dearer.as_ref().filter(|_| is_dear).map_or(real, |(_, permille)| dearer_by(*permille, real));
                // All of it was taken, whatever was over then.
                self.ledger.settle(tollgate_limit::Reservation::of(&charges, Over::default()), real, leaf(now));
            }
        }
    }

    /// Gives all compute back: the request never ran.
    pub fn refund(&self, paid: Reservation, now: Tick) {
        self.settle(paid, Cost(0), now);
    }

    /// Where the payer's own budgets stand. Budgets shared with others (`model`, `global`) are not among them: their
    /// level would tell one tenant how busy the others are. Nor are those that only observe: they bind nobody.
    pub fn levels(&self, payer: Payer<'_>, now: Tick) -> ArrayVec<PublicLevel<'_>, MAX_BUDGETS> {
        let own = |budget: &Budget| matches!(budget.per, Per::Address | Per::Key | Per::Tenant);
        self.levels_of(payer, now, |budget| own(budget) && budget.mode == Mode::Enforce)
    }

    /// Where all budgets stand that the payer is charged to: for operators, never for the payer.
    pub fn every_level(&self, payer: Payer<'_>, now: Tick) -> ArrayVec<PublicLevel<'_>, MAX_BUDGETS> {
        self.levels_of(payer, now, |_| true)
    }

    /// Whether the configuration has such a tenant.
    #[must_use]
    pub fn knows(&self, tenant: &str) -> bool {
        self.tenants.contains_key(tenant)
    }

    /// What is left of the payer's budgets while a lever lowers them, and until when (milliseconds since the Unix epoch).
    pub fn lowered(&self, payer: Payer<'_>) -> Option<(f64, u64)> {
        self.levers.of(payer).map(|pull| (f64::from(pull.permille) / 1000.0, pull.until_unix_ms))
    }

    fn levels_of(
        &self,
        payer: Payer<'_>,
        now: Tick,
        wanted: impl Fn(&&Budget) -> bool,
    ) -> ArrayVec<PublicLevel<'_>, MAX_BUDGETS> {
        let budgets = self.places(payer.who).iter().filter_map(|place| self.budgets.get(*place));
        let at = moment(payer, now);
        let pull = self.levers.of(payer);
        budgets
            .filter(wanted)
            .filter_map(|budget| {
                let key = self.key(budget, payer)?;
                let level = match budget.limit(at) {
                    Some(limit) => budget.public(&self.ledger.peek(key, limit, leaf(now)), at),
                    None => budget.public_places(self.gauges.taken(key.hash)),
                };
                let pull = pull.filter(|pull| pull.owns(budget.per).is_some() && budget.is_lowered());
                Some(pull.map_or(level, |pull| PublicLevel {
                    quota: pull.part(level.quota),
                    remaining: pull.part(level.remaining),
                    ..level
                }))
            })
            .collect()
    }

    /// What each budget of `payer` is to pay, and a place where a budget counts what runs at once.
    fn asked(&self, payer: Payer<'_>, demand: &Demand, now: Tick) -> Ruling<Asked> {
        let mut asked = Asked { pull: self.levers.of(payer), ..Asked::default() };
        if let Some(pull) = asked.pull.filter(|pull| pull.permille == 0) {
            return Err(held_back(&pull, payer).because("a lever lets nothing pass").into());
        }
        // What a lever leaves the payer of budgets that others draw on as well.
        let mut beside = ArrayVec::<(Charge, usize), MAX_BUDGETS>::new();
        for &place in self.places(payer.who) {
            let Some(budget) = self.budgets.get(place) else { continue };
            let Some(key) = self.key(budget, payer) else { continue };
            let pulled = asked.pull.and_then(|pull| Some((pull, pull.owns(budget.per)?)));
            let Some(limit) = budget.limit(moment(payer, now)) else {
                let owns = pulled.filter(|(_, owns)| *owns);
                let most = owns.map_or(budget.most(), |(pull, _)| pull.part(budget.most()).max(1));
                self.enter((budget, key, most), &mut asked, now)?;
                continue;
            };
            let Size { expected, declared } = demand.size(budget.unit, self.min_cost);
            let most = budget.most();
            let units = match declared > most {
                true if budget.mode == Mode::Enforce => return Err(budget.too_small(declared).into()),
                // What only watches says so of what could never fit.
                true => declared,
                // An estimate of our own never locks anybody out: what is above the burst becomes debt.
                false => expected.min(most),
            };
            let charge = Charge { key, limit, units, mode: budget.mode };
            match pulled.filter(|_| budget.is_lowered()) {
                None => asked.push(charge, place, false),
                Some((pull, true)) => {
                    if budget.mode == Mode::Enforce && declared > pull.part(most) {
                        return Err(held_back(&pull, payer).because("more than a lever leaves").into());
                    }
                    asked.push(Charge { units: pull.dearer(units).min(most), ..charge }, place, true);
                }
                Some((pull, false)) => {
                    asked.push(charge, place, false);
                    let own = Key::configured(hash_key(self.seed, (budget.policy, "lever"), pull.scope));
                    let part = Charge { key: own, units: pull.dearer(units).min(most), ..charge };
                    beside.push((part, place));
                }
            }
        }
        // As many as one request can be charged to.
        let room = MAX_BUDGETS.saturating_sub(asked.charges.len());
        for (charge, place) in beside.into_iter().take(room) {
            asked.push(charge, place, true);
        }
        Ok(asked)
    }

    /// Takes a place among what runs at once.
    fn enter(&self, (budget, key, most): (&Budget, Key, u64), asked: &mut Asked, now: Tick) -> Ruling<()> {
        let watches = budget.mode == Mode::Shadow;
        let full = || budget.spent(1, false);
        match self.gauges.enter(key.hash, most) {
            Some(place) => asked.places.push(place),
            None if watches => {
                asked.places.extend(self.gauges.enter(key.hash, u64::MAX));
                asked.watched.get_or_insert_with(|| Box::new(full()));
            }
            // Nobody knows when one of them ends.
            None => return Err(full().retry_after(self.spread(UNKNOWN_WAIT, Some(key), now)).into()),
        }
        Ok(())
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

    /// What of `charges` is settled later, and which of that is dear.
    fn refundable(
        &self,
        charges: &Charges,
        (over, dear): (Over, Over),
        places: &Places,
    ) -> (Reservation, Option<Over>) {
        let (mut held, mut units, mut still_dear) = (Charges::new(), ArrayVec::new(), Over::default());
        for (i, (charge, place)) in charges.iter().zip(places).enumerate() {
            let Some(unit) = self.budgets.get(*place).map(|budget| budget.unit) else { continue };
            let is_settled = matches!(unit, Unit::Bytes | Unit::Compute | Unit::Tokens);
            if !is_settled || !charge.was_taken(over.contains(i)) {
                continue;
            }
            if dear.contains(i) {
                still_dear = still_dear.with(held.len());
            }
            held.push(*charge);
            units.push(unit);
        }
        // All of these were taken.
        let held = tollgate_limit::Reservation::of(&held, Over::default());
        (Reservation { held, units, ..Reservation::default() }, (!still_dear.is_empty()).then_some(still_dear))
    }

    /// What the first of the observed budgets that are spent would have said.
    fn watched(&self, over: Over, charges: &Charges, places: &Places) -> Option<Box<Refusal>> {
        let first = (0..places.len()).find(|place| over.contains(*place))?;
        Some(Box::new(self.spent(first, charges, places, false)))
    }

    fn spent(&self, at: usize, charges: &Charges, places: &Places, apart: bool) -> Refusal {
        let budget = places.get(at).and_then(|place| self.budgets.get(*place));
        let refusal = budget.zip(charges.get(at)).map(|(budget, charge)| budget.spent(charge.units, apart));
        refusal.unwrap_or_else(|| Refusal::new(Code::RateLimited))
    }

    /// Adds up to a quarter to `wait`, and no more than [`MOST_SPREAD`], so that a refused crowd does not come back as one.
    /// The secret seed makes it unpredictable; the same refusal always gets the same answer.
    fn spread(&self, wait: Duration, refused: Option<Key>, now: Tick) -> Duration {
        let roll = hash_key(self.seed, "jitter", (refused.map(|key| key.hash), now.0));
        let parts = u32::try_from(roll % 1024).unwrap_or(0);
        wait.saturating_add((wait / 4096).min(MOST_SPREAD / 1024).saturating_mul(parts))
    }
}

impl Reservation {
    /// Whether nothing is held: the layer is off, only watched, or the route is free.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.held.is_empty() && self.places.is_empty()
    }

    /// The compute that the most generous budget reserved, in microseconds.
    #[must_use]
    pub fn reserved(&self) -> Cost {
        let compute = self.held.charges().iter().zip(&self.units).filter(|(_, unit)| **unit == Unit::Compute);
        Cost(compute.map(|(charge, _)| charge.units).max().unwrap_or(0))
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
