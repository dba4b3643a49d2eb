//! Clients that leave, at every point of an exchange's life: whatever was reserved, and every place that was taken, comes back.
//!
//! No sockets and no time: connections are pipes in memory, the model is a script, and the clock stands still. So whoever
//! leaves pays exactly nothing, and after each round every budget must be full again to the last unit.

mod leaving {
    pub(crate) mod plan;
    pub(crate) mod stage;
}

use std::collections::BTreeMap;

use leaving::plan::{Plan, Random};
use leaving::stage::Stage;

/// Lives through `rounds` of up to 6 clients at once, and says how often each point of an exchange's life was left at.
async fn live(seed: u64, rounds: u64) -> (u64, BTreeMap<&'static str, u64>) {
    let stage = Stage::build();
    let mut random = Random(seed);
    let (mut exchanges, mut points) = (0, BTreeMap::new());
    for round in 0..rounds {
        let clients = 1 + random.below(6);
        let plans: Vec<_> = (0..clients).map(|_| Plan::draw(&mut random, &stage)).collect();
        let left: Vec<_> = futures_util::future::join_all(plans.iter().map(|plan| plan.act(&stage))).await;
        for point in left {
            *points.entry(point).or_default() += 1;
            exchanges += 1;
        }
        stage.settled(&format!("round {round} of seed {seed}: {plans:?}")).await;
    }
    (exchanges, points)
}

fn check(exchanges: u64, points: &BTreeMap<&'static str, u64>, at_least: u64) {
    assert!(exchanges >= at_least, "{exchanges}");
    let often = points.values().filter(|count| **count >= at_least / 1_000).count();
    assert!(often >= 20, "{often} points: {points:?}");
}

#[tokio::test(start_paused = true)]
async fn whoever_leaves_at_whatever_point_leaves_nothing_reserved_and_nothing_running() {
    let (exchanges, points) = live(1, 1_500).await;
    check(exchanges, &points, 4_000);
}

/// `cargo test -p tollgate-gateway --test leaving -- --ignored --nocapture`
#[tokio::test(start_paused = true)]
#[ignore = "takes minutes: for acceptance"]
async fn a_hundred_thousand_exchanges_leave_nothing_behind() {
    let (exchanges, points) = live(2, 30_000).await;
    println!("{exchanges} exchanges left at {} points: {points:?}", points.len());
    check(exchanges, &points, 100_000);
}
