//! What a call will cost, in microseconds of accelerator time, before it runs.
//!
//! Weights are static here; what a run really cost is measured when it is settled, elsewhere.

mod config;
#[cfg(test)]
mod tests;

use tollgate_core::call::Call;
use tollgate_core::cost::{Cost, Estimate};

use crate::routes::Route;
pub use config::{Classes, CostConfig, ModelCostConfig};

/// The compiled layer.
#[derive(Debug, Default)]
pub struct Costs {
    classes: Classes,
    models: Vec<Weights>,
}

/// How the cost of a model's calls is found.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Weights {
    /// The same for every call: a class.
    Fixed(Cost),
    /// Nothing is configured: a guess of ours by size, which no caller declared.
    #[default]
    Guessed,
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

/// The guess for tensors, until a model's costs are known: 1 ms, and 10 ms for a million elements.
const GUESS_FIXED_US: u64 = 1_000;
const GUESS_ELEMENTS_PER_US: u64 = 100;

impl Costs {
    /// Takes the weights of all models, in table order.
    #[must_use]
    pub const fn new(classes: Classes, models: Vec<Weights>) -> Self {
        Self { classes, models }
    }

    /// What `call` will cost on `route`: by the route's class, or the model's weights, or a guess. Never less than the
    /// least cost; nothing on a free route.
    #[must_use]
    pub fn estimate(&self, route: &Route, call: &Call) -> Estimate {
        if route.free {
            return Estimate { exempt: true, ..Estimate::default() };
        }
        let class = route.cost_class.as_deref().and_then(|class| self.classes.cost(class));
        let weights = call.model.and_then(|model| self.models.get(model.index()).copied()).unwrap_or_default();
        let (cost, declared) = match (class, weights) {
            (Some(cost), _) | (None, Weights::Fixed(cost)) => (cost, true),
            (None, Weights::Sized { .. }) => (weights.sized(call), true),
            (None, Weights::Guessed) => (guess(call), false),
        };
        let cost = cost.max(self.classes.min());
        Estimate { cost, declared: if declared { cost } else { Cost(0) }, exempt: false }
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
