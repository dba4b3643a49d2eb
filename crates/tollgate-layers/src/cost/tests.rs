//! Costs by class, by weights and as learned.

mod hostile;
mod poison;
mod stream;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Deserialize;
use tollgate_core::call::{Call, Dtype, Media, ModelId, Tensor, Values};
use tollgate_core::check::Checker;
use tollgate_core::cost::{Cost, Estimate};

use super::{Classes, CostConfig, Costs, Learner, ModelCostConfig, Priced, Weights};
use crate::routes::{self, RouteConfig, RouteNames, Routes};

/// A file of `cases/`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    what: String,
    #[serde(default)]
    cost: CostConfig,
    /// Costs of the models, by name.
    #[serde(default)]
    models: BTreeMap<String, ModelCostConfig>,
    routes: Vec<RouteConfig>,
    cases: Vec<Case>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    route: String,
    model: Option<String>,
    #[serde(default)]
    rows: u64,
    #[serde(default)]
    columns: u64,
    #[serde(default)]
    body_bytes: u64,
    cost_us: u64,
    #[serde(default)]
    declared_us: u64,
    #[serde(default)]
    exempt: bool,
}

impl File {
    fn compile(&self, check: &mut Checker) -> (Costs, Routes, BTreeMap<String, ModelId>) {
        let classes = self.cost.compile(check);
        let models = self.models.values().map(|model| priced(model, check, &classes)).collect();
        let ids: BTreeMap<_, _> = self.models.keys().cloned().zip((0..).map(ModelId)).collect();
        let names = RouteNames { models: &ids, upstreams: &BTreeMap::new(), classes: &self.cost.names() };
        let routes = routes::compile(&self.routes, check, &names);
        (Costs::new(classes, models), routes, ids)
    }
}

impl Case {
    fn call(&self, models: &BTreeMap<String, ModelId>) -> Call {
        let count = usize::try_from(self.rows * self.columns).expect("a small case");
        let values = Values::F32(vec![0.0; count]);
        let shape = vec![self.rows, self.columns];
        let tensor = Tensor { name: "x".into(), dtype: Dtype::Fp32, shape, values, at: 0..0 };
        let model = self.model.as_ref().map(|name| models[name]);
        Call { model, inputs: vec![tensor], body_bytes: self.body_bytes, ..Call::default() }
    }
}

/// A model that writes no text.
fn priced(model: &ModelCostConfig, check: &mut Checker, classes: &Classes) -> Priced {
    let (weights, prior) = (model.compile(check, classes), model.expected(check, false));
    let learner = Arc::new(Learner::new(prior, Arc::default()));
    Priced { weights, counted: false, batched: model.batched, prior, learner, elsewhere: Vec::new() }
}

fn run(yaml: &str) {
    let file: File = serde_saphyr::from_str(yaml).expect("a file of cases");
    let mut check = Checker::default();
    let (costs, routes, models) = file.compile(&mut check);
    assert_eq!(check.finish().0, [], "{}", file.what);
    for case in &file.cases {
        let route = routes.all().iter().find(|route| *route.name == *case.route).expect("a route");
        let estimate = costs.estimate(route, &case.call(&models), 0);
        let (cost, declared) = (Cost(case.cost_us), Cost(case.declared_us));
        assert_eq!(
            estimate,
            Estimate { cost, mean: cost, alone: None, declared, exempt: case.exempt },
            "{}: {case:?}",
            file.what
        );
    }
}

#[test]
fn four_classes_and_a_free_route_are_expressible() {
    run(include_str!("cases/classes.yaml"));
}

#[test]
fn weights_follow_from_what_is_declared() {
    run(include_str!("cases/weights.yaml"));
}

#[test]
fn what_nothing_is_known_of_is_guessed() {
    run(include_str!("cases/guess.yaml"));
}

#[test]
fn the_readme_shows_costs_that_load() {
    #[derive(Deserialize)]
    struct Shown {
        cost: CostConfig,
        models: BTreeMap<String, Model>,
        routes: Vec<RouteConfig>,
    }
    #[derive(Deserialize)]
    struct Model {
        cost: ModelCostConfig,
    }
    let blocks = include_str!("README.md").split("```yaml\n").skip(1);
    let blocks: Vec<_> = blocks.map(|rest| rest.split("```").next().expect("an end")).collect();
    assert!(!blocks.is_empty());
    for block in blocks {
        let shown: Shown = serde_saphyr::from_str(block).expect("it parses");
        let models = shown.models.into_iter().map(|(name, model)| (name, model.cost)).collect();
        let file = File { what: String::new(), cost: shown.cost, models, routes: shown.routes, cases: Vec::new() };
        let mut check = Checker::default();
        file.compile(&mut check);
        assert_eq!(check.finish().0, []);
    }
}

#[test]
fn huge_weights_saturate() {
    let weights = ModelCostConfig {
        fixed_us: Some(u64::MAX),
        per_element_ns: Some(u64::MAX),
        per_byte_ns: Some(u64::MAX),
        per_batch_us: Some(u64::MAX),
        per_megapixel_us: Some(u64::MAX),
        per_media_second_us: Some(u64::MAX),
        ..ModelCostConfig::default()
    };
    let mut check = Checker::default();
    let classes = CostConfig::default().compile(&mut check);
    let costs = Costs::new(classes.clone(), vec![priced(&weights, &mut check, &classes)]);
    let route: Vec<RouteConfig> =
        serde_saphyr::from_str("[{ name: r, path: /r, protocol: plain, models: [m] }]").expect("a route");
    let models = BTreeMap::from([("m".to_owned(), ModelId(0))]);
    let names = RouteNames { models: &models, upstreams: &BTreeMap::new(), classes: &BTreeSet::new() };
    let routes = routes::compile(&route, &mut check, &names);
    let values = Values::Bool(vec![true; 3]);
    let tensor = Tensor { name: "x".into(), dtype: Dtype::Bool, shape: vec![3], values, at: 0..0 };
    let call = Call { model: Some(ModelId(0)), inputs: vec![tensor], body_bytes: u64::MAX, ..Call::default() };
    assert_eq!(costs.estimate(&routes.all()[0], &call, 0).cost, Cost(u64::MAX));
}

#[test]
fn pixels_and_seconds_have_their_price() {
    let config: ModelCostConfig =
        serde_saphyr::from_str("{ fixed_us: 10, per_megapixel_us: 100, per_media_second_us: 1000 }")
            .expect("it parses");
    let mut check = Checker::default();
    let weights = config.compile(&mut check, &CostConfig::default().compile(&mut Checker::default()));
    let medium = |kind, size, duration_ms, bytes| Media { kind, size, frames: 2, duration_ms, bytes, at: 0..0 };
    let media = vec![
        medium("image/gif", [1_000, 2_000], None, 5),
        medium("audio/wav", [0, 0], Some(1_500), 5),
        medium("audio/mpeg", [0, 0], None, 750),
    ];
    // Four million pixels, a second and a half, and one that 750 bytes may be at the lowest rate.
    assert_eq!(weights.sized(&Call { media, ..Call::default() }), Cost(10 + 400 + 2_500));
}

#[test]
fn every_mistake_is_reported() {
    let mut check = Checker::default();
    let config: CostConfig =
        serde_saphyr::from_str("{ min_us: 0, class_unit_us: 0, classes: { a: 0, b: 1 } }").expect("it parses");
    let classes = config.compile(&mut check);
    let model = |yaml: &str| serde_saphyr::from_str::<ModelCostConfig>(yaml).expect("it parses");
    assert_eq!(model("{ class: none }").compile(&mut check, &classes), Weights::Learned);
    model("{ class: b, fixed_us: 1 }").compile(&mut check, &classes);
    let messages: Vec<_> = check.finish().0.into_iter().map(|problem| problem.message).collect();
    assert_eq!(
        messages,
        [
            "a least cost of `0`: only a route with `free: true` costs nothing",
            "a unit of `0` makes every class cost the least",
            "a class of `0` units: only a route with `free: true` costs nothing",
            "`none` is not a class of `cost.classes`",
            "a model has either a class or weights",
        ]
    );
}
