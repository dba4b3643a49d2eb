//! The `cost` sections, of the file and of a model, and their compilation.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Deserialize;
use tollgate_core::check::Checker;
use tollgate_core::cost::Cost;

use super::{Prior, PriorConfig, Weights};

/// What calls cost where a route or a model names a class, and the least that any call costs.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CostConfig {
    /// The least cost of a call that is not free, in microseconds. Default: 1000.
    #[serde(default = "default_min_us")]
    #[schemars(range(min = 1))]
    pub min_us: u64,
    /// Named classes, in units. Default: `lightweight: 1, standard: 5, heavy: 50, very_heavy: 100`.
    #[serde(default = "default_classes")]
    pub classes: BTreeMap<String, u64>,
    /// What one unit of a class is worth, in microseconds. Default: 1000, so that a budget of 10,000 units is a burst
    /// of 10,000,000.
    #[serde(default = "default_class_unit_us")]
    #[schemars(range(min = 1))]
    pub class_unit_us: u64,
    /// What calls of a class, or of a model with weights, are charged once they were answered: `measured`, as all others, or
    /// what was `stated`. Default: `measured`.
    #[serde(default)]
    pub settle: Settle,
}

/// What calls of a stated cost are charged once they were answered.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Settle {
    /// The time that they took.
    #[default]
    Measured,
    /// What their class or weights say: it is a price, however long they took.
    Stated,
}

/// What calls of a model cost: a class, or weights. Without either, it is learned from calls that ran.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelCostConfig {
    /// A class of `cost.classes`: the same cost for every call.
    #[serde(default)]
    pub class: Option<String>,
    /// Microseconds of every call. Default: 0.
    #[serde(default)]
    pub fixed_us: Option<u64>,
    /// Nanoseconds of each element of the inputs. Default: 0.
    #[serde(default)]
    pub per_element_ns: Option<u64>,
    /// Nanoseconds of each byte of the body. Default: 0.
    #[serde(default)]
    pub per_byte_ns: Option<u64>,
    /// Microseconds of each row of the batch. Default: 0.
    #[serde(default)]
    pub per_batch_us: Option<u64>,
    /// Microseconds of each million pixels of images, all their pictures counted. Default: 0.
    #[serde(default)]
    pub per_megapixel_us: Option<u64>,
    /// Microseconds of each second of sound or film; where no header tells, as long as its size would make it. Default: 0.
    #[serde(default)]
    pub per_media_second_us: Option<u64>,
    /// What is expected of its calls as long as nothing was learned.
    #[serde(default)]
    pub prior: Option<PriorConfig>,
    /// The server works on several calls at once (continuous batching): the time that a call took is divided by the calls
    /// that were in flight, and it is charged its share. Default: false, a call is charged the time that it took.
    #[serde(default)]
    pub batched: bool,
}

/// The compiled classes, and the least cost.
#[derive(Clone, Debug, Default)]
pub struct Classes {
    by_name: BTreeMap<Box<str>, Cost>,
    min: Cost,
    settle: Settle,
}

impl Default for CostConfig {
    fn default() -> Self {
        Self {
            min_us: default_min_us(),
            classes: default_classes(),
            class_unit_us: default_class_unit_us(),
            settle: Settle::Measured,
        }
    }
}

const fn default_min_us() -> u64 {
    1_000
}

const fn default_class_unit_us() -> u64 {
    1_000
}

fn default_classes() -> BTreeMap<String, u64> {
    let classes = [("lightweight", 1), ("standard", 5), ("heavy", 50), ("very_heavy", 100)];
    classes.into_iter().map(|(name, units)| (name.to_owned(), units)).collect()
}

impl CostConfig {
    /// Reports every mistake, then builds the classes.
    pub fn compile(&self, check: &mut Checker) -> Classes {
        check.require(self.min_us > 0, "min_us", "a least cost of `0`: only a route with `free: true` costs nothing");
        check.require(self.class_unit_us > 0, "class_unit_us", "a unit of `0` makes every class cost the least");
        check.within("classes", |check| {
            for (name, units) in &self.classes {
                let message = "a class of `0` units: only a route with `free: true` costs nothing";
                check.require(*units > 0, name.as_str(), message);
            }
        });
        let cost =
            |(name, units): (&String, &u64)| (name.as_str().into(), Cost(units.saturating_mul(self.class_unit_us)));
        Classes { by_name: self.classes.iter().map(cost).collect(), min: Cost(self.min_us), settle: self.settle }
    }

    /// The names of the classes, for the check of routes.
    #[must_use]
    pub fn names(&self) -> BTreeSet<String> {
        self.classes.keys().cloned().collect()
    }
}

impl ModelCostConfig {
    /// Reports every mistake, then builds the weights.
    pub fn compile(&self, check: &mut Checker, classes: &Classes) -> Weights {
        let by_call = [self.fixed_us, self.per_element_ns, self.per_byte_ns, self.per_batch_us];
        let by_media = [self.per_megapixel_us, self.per_media_second_us];
        let weighed = by_call.iter().chain(&by_media).any(Option::is_some);
        let stated = weighed || self.class.is_some();
        check.require(!stated || self.prior.is_none(), "prior", "a model with a class or weights is priced by those");
        let Some(class) = &self.class else {
            if !weighed {
                return Weights::Learned;
            }
            return Weights::Sized {
                fixed_us: self.fixed_us.unwrap_or(0),
                per_element_ns: self.per_element_ns.unwrap_or(0),
                per_byte_ns: self.per_byte_ns.unwrap_or(0),
                per_batch_us: self.per_batch_us.unwrap_or(0),
                per_megapixel_us: self.per_megapixel_us.unwrap_or(0),
                per_media_second_us: self.per_media_second_us.unwrap_or(0),
            };
        };
        check.require(!weighed, "class", "a model has either a class or weights");
        let Some(cost) = classes.cost(class) else {
            check.problem("class", format!("`{class}` is not a class of `cost.classes`"));
            return Weights::Learned;
        };
        Weights::Fixed(cost)
    }

    /// Reports every mistake, then says what is expected of the calls of a model that `writes` text, or does not.
    pub fn expected(&self, check: &mut Checker, writes: bool) -> Prior {
        let prior = self.prior.unwrap_or_default();
        check.within("prior", |check| prior.compile(check, writes))
    }
}

impl Classes {
    /// What a call of that class costs.
    #[must_use]
    pub fn cost(&self, class: &str) -> Option<Cost> {
        self.by_name.get(class).copied()
    }

    /// Whether what is stated is charged, however long a call took.
    #[must_use]
    pub fn are_prices(&self) -> bool {
        self.settle == Settle::Stated
    }

    /// The least cost of a call that is not free.
    #[must_use]
    pub const fn min(&self) -> Cost {
        self.min
    }
}
