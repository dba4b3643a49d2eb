//! What a call will cost, in microseconds of accelerator time, before it runs: by class, by weights, or as learned from
//! calls that ran. What a run really cost is measured when it is settled, elsewhere, and comes back here to be learned from.

mod accounts;
mod config;
mod features;
mod figures;
mod kept;
mod learner;
mod normal;
mod prior;
mod published;
mod quantile;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tollgate_core::call::{Call, ModelId};
use tollgate_core::cost::{Cost, Estimate};
use tollgate_core::time::Tick;

use crate::routes::Route;
pub use config::{Classes, CostConfig, ModelCostConfig, Settle};
pub use features::{FEATURES, Features, NAMES, Shape, Wish};
pub use figures::{BOUNDS, Count, Figures};
pub use kept::{Kept, KeptLength, KeptTenant};
pub use learner::{BATCH, Learner, MOST_US, Prediction, SETTLED, Sample, Taught};
pub use prior::{Prior, PriorConfig};
pub use quantile::{Length, MOST_TENANTS, Shared, Tracker};

/// The compiled layer.
#[derive(Debug, Default)]
pub struct Costs {
    classes: Classes,
    models: Vec<Priced>,
}

/// How calls of one model are priced.
#[derive(Clone, Debug)]
pub struct Priced {
    /// By what.
    pub weights: Weights,
    /// Whether a tokenizer counts its tokens.
    pub counted: bool,
    /// Whether its server works on several calls at once, so that each is charged its share of the time.
    pub batched: bool,
    /// What is expected of them beforehand.
    pub prior: Prior,
    /// What is learned of its calls, also where something else prices them.
    pub learner: Arc<Learner>,
    /// What is learned of those that a server of another version answers, by the number of that server.
    pub elsewhere: Vec<(usize, Arc<Learner>)>,
}

/// How the cost of a model's calls is found.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Weights {
    /// The same for every call: a class.
    Fixed(Cost),
    /// Nothing is configured: as learned from calls that ran.
    #[default]
    Learned,
    /// By what the caller declares.
    Sized {
        /// Microseconds of every call.
        fixed_us: u64,
        /// Nanoseconds of each element of the inputs.
        per_element_ns: u64,
        /// Nanoseconds of each byte of the body.
        per_byte_ns: u64,
        /// Microseconds of each row of the batch.
        per_batch_us: u64,
        /// Microseconds of each million pixels.
        per_megapixel_us: u64,
        /// Microseconds of each second of sound or film.
        per_media_second_us: u64,
    },
}

/// What was known of a call when it was priced. It goes with the bill, to be learned from.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    model: ModelId,
    tenant: u64,
    shape: Shape,
    estimate: Estimate,
    /// The number of its server, where that is not the model's own.
    served: Option<usize>,
}

/// How a call went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ran {
    /// What it cost.
    pub cost: Cost,
    /// How long it took at the server, shared or not.
    pub took: Duration,
    /// Tokens read, where the server said so.
    pub read: Option<u64>,
    /// Tokens of those that the server had read before.
    pub cached: u64,
    /// Tokens written.
    pub written: u64,
    /// Nothing can be learned of it: it was tried twice, say.
    pub odd: bool,
}

/// The guess for what is no model's: 1 ms, and 10 ms for a million elements.
const GUESS_FIXED_US: u64 = 1_000;
const GUESS_ELEMENTS_PER_US: u64 = 100;

impl Case {
    /// The model that was asked.
    #[must_use]
    pub const fn model(&self) -> ModelId {
        self.model
    }

    /// The number of the server that answers it, where that is not the model's own.
    #[must_use]
    pub const fn server(&self) -> Option<usize> {
        self.served
    }

    /// Another server than the model's own answers it: what is learned is of calls at that one.
    pub const fn served_by(&mut self, server: Option<usize>) {
        self.served = server;
    }
}

impl Costs {
    /// Takes the prices of all models, in table order.
    #[must_use]
    pub const fn new(classes: Classes, models: Vec<Priced>) -> Self {
        Self { classes, models }
    }

    /// From now on, these are the prices: what was expected beforehand is what this configuration says.
    pub fn take_effect(&self) {
        for Priced { prior, learner, elsewhere, .. } in &self.models {
            learner.expect(*prior);
            elsewhere.iter().for_each(|(_, learner)| learner.expect(*prior));
        }
    }

    /// What `call` of `tenant` will cost on `route`: by the route's class, or the model's class or weights, or as learned.
    /// Never less than the least cost; nothing on a free route.
    #[must_use]
    pub fn estimate(&self, route: &Route, call: &Call, tenant: u64) -> Estimate {
        if route.free {
            return Estimate { exempt: true, ..Estimate::default() };
        }
        let class = route.cost_class.as_deref().and_then(|class| self.classes.cost(class));
        let priced = self.priced(call.model);
        match (class, priced.map(|priced| priced.weights)) {
            (Some(cost), _) | (None, Some(Weights::Fixed(cost))) => self.stated(cost, Some(cost)),
            (None, Some(weights @ Weights::Sized { .. })) => {
                let cost = weights.sized(call);
                self.stated(cost, Some(cost))
            }
            (None, Some(Weights::Learned)) => self.learned(priced, call, tenant),
            (None, None) => self.stated(guess(call), None),
        }
    }

    /// What a call with that estimate is charged once it was answered, however long it took. `None` where that is what it
    /// really cost.
    #[must_use]
    pub fn price(&self, route: &Route, model: Option<ModelId>, estimate: Estimate) -> Option<Cost> {
        let weights = self.priced(model).map_or(Weights::Learned, |priced| priced.weights);
        let stated = route.cost_class.is_some() || weights != Weights::Learned;
        (stated && self.classes.are_prices()).then_some(estimate.cost)
    }

    /// What is to be remembered of a call until it is settled. `None` where nothing of a model's own costs is learned: on
    /// a free route, or one with a class of its own.
    #[must_use]
    pub fn case(&self, route: &Route, call: &Call, (tenant, estimate): (u64, Estimate)) -> Option<Case> {
        let model = call.model.filter(|_| !estimate.exempt && route.cost_class.is_none())?;
        let shape = Shape::of(call, self.priced(call.model)?.counted);
        Some(Case { model, tenant, shape, estimate, served: None })
    }

    /// What is learned of a model.
    #[must_use]
    pub fn learner(&self, model: ModelId) -> Option<&Learner> {
        self.priced(Some(model)).map(|priced| &*priced.learner)
    }

    /// What is learned of calls like this one, at the server that answers it. None of a server that is no version's.
    #[must_use]
    pub fn learner_of(&self, case: &Case) -> Option<&Learner> {
        let priced = self.priced(Some(case.model))?;
        let Some(server) = case.served else { return Some(&priced.learner) };
        priced.elsewhere.iter().find(|(place, _)| *place == server).map(|(_, learner)| &**learner)
    }

    /// Whether calls of a model share the time of its server.
    #[must_use]
    pub fn is_batched(&self, case: &Case) -> bool {
        self.priced(Some(case.model)).is_some_and(|priced| priced.batched)
    }

    /// A call was answered, and settled at `now`: counts how well it was foreseen, and learns from it.
    pub fn settled(&self, case: &Case, ran: &Ran, now: Tick) {
        let Some(learner) = self.learner_of(case) else { return };
        let Estimate { cost: reserved, mean, .. } = case.estimate;
        learner.figures.settled(reserved, mean, ran.cost);
        if !ran.odd && ran.cost.0 > 0 {
            let Ran { cost, took, read, cached, written, .. } = *ran;
            let sample = Sample { tenant: case.tenant, shape: case.shape, cost, took, read, cached, written };
            learner.learn(&sample, now);
        }
    }

    fn priced(&self, model: Option<ModelId>) -> Option<&Priced> {
        self.models.get(model?.index())
    }

    fn stated(&self, cost: Cost, declared: Option<Cost>) -> Estimate {
        let cost = cost.max(self.classes.min());
        let declared = declared.map_or(Cost(0), |declared| declared.max(self.classes.min()));
        Estimate { cost, mean: cost, alone: None, declared, exempt: false }
    }

    fn learned(&self, priced: Option<&Priced>, call: &Call, tenant: u64) -> Estimate {
        let Some(Priced { counted, learner, .. }) = priced else { return self.stated(guess(call), None) };
        let Prediction { limit, mean, declared, alone } = learner.predict(&Shape::of(call, *counted), tenant);
        let [limit, mean] = [limit, mean].map(|cost| cost.max(self.classes.min()));
        Estimate { cost: limit, mean, alone, declared, exempt: false }
    }
}

impl Weights {
    fn sized(self, call: &Call) -> Cost {
        let Self::Sized { fixed_us, per_element_ns, per_byte_ns, per_batch_us, per_megapixel_us, per_media_second_us } =
            self
        else {
            return Cost(0);
        };
        let elements_ns = per_element_ns.saturating_mul(call.elements());
        let bytes_ns = per_byte_ns.saturating_mul(call.body_bytes);
        let batch_us = per_batch_us.saturating_mul(call.batch());
        let by_size_us = elements_ns.saturating_add(bytes_ns).div_ceil(1_000);
        let pixels_us = per_megapixel_us.saturating_mul(call.pixels()).div_ceil(1_000_000);
        let media_us = per_media_second_us.saturating_mul(call.media_ms()).div_ceil(1_000);
        let parts = [by_size_us, batch_us, pixels_us, media_us];
        Cost(parts.into_iter().fold(fixed_us, u64::saturating_add))
    }
}

fn guess(call: &Call) -> Cost {
    Cost(GUESS_FIXED_US.saturating_add(call.elements() / GUESS_ELEMENTS_PER_US))
}
