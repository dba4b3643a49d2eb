//! What foreseeing and learning a cost allocates, counted by the allocator itself. A program without a harness: the
//! counter is of the process.

use std::alloc::System;
use std::sync::Arc;
use std::time::Duration;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tollgate_core::cost::Cost;
use tollgate_core::time::Tick;
use tollgate_layers::cost::{Learner, Prior, Sample, Shape, Wish};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() {
    foreseeing_allocates_nothing_and_learning_only_when_prices_are_solved();
}

fn foreseeing_allocates_nothing_and_learning_only_when_prices_are_solved() {
    let learner = Learner::new(Prior::of(true), Arc::default());
    let wish = Wish { answers: 1.0, cap: f64::INFINITY, declared: None };
    let shape = Shape { input_tokens: 300.0, rows: 1.0, wish: Some(wish), ..Shape::default() };
    let took = Duration::from_millis(80);
    let teach = |n: u64| {
        let tenant = (n % 20) << 40;
        let sample = Sample { tenant, shape, cost: Cost(80_000), took, read: Some(320), cached: 0, written: n % 90 };
        learner.learn(&sample, Tick(n * 100_000_000));
    };
    (0..1_000).for_each(teach);
    let region = Region::new(ALLOCATOR);
    let mut sum = 0;
    for n in 0..10_000_u64 {
        sum += learner.predict(&shape, (n % 40) << 40).limit.0;
    }
    assert_eq!(region.change().allocations, 0, "{sum}");
    let region = Region::new(ALLOCATOR);
    (1_000..2_000).for_each(teach);
    let solved = 1_000 / 32 + 1;
    assert!(region.change().allocations <= 3 * solved, "{:?}", region.change());
}
