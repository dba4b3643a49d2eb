//! Ejection and the breaker, under load, before anything else goes wrong: they come when they should, what is out or behind an
//! open breaker gets no calls but those that try it, and both are over when the server is well again.

use std::time::Duration;

use serde_json::Value;
use tokio::time::sleep;
use tollgate_testkit::House;

use crate::chaos::moods::{Mood, Moody};
use crate::{shown, wait_for};

/// How long is looked at what gets through.
const WATCH: Duration = Duration::from_secs(1);
/// Calls that were under way, and those that try: at an endpoint half a second and more apart, and
/// behind a breaker that opens for longer each time.
const THROUGH: usize = 24;

/// What got through, for the report.
pub(crate) struct Drill {
    /// Calls at an endpoint in [`WATCH`] while it was out.
    ejected: usize,
    /// Calls behind a breaker in [`WATCH`] once it had opened.
    broken: usize,
    /// Calls at the same servers in [`WATCH`] while they were well.
    well: [usize; 2],
}

impl std::fmt::Display for Drill {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { ejected, broken, well: [one, both] } = self;
        write!(
            f,
            "in a second, an ejected endpoint got {ejected} calls ({one} when well), servers behind an open breaker {broken} ({both})"
        )
    }
}

/// The first four servers are one upstream, with a check of their readiness; the others are another one, with none.
pub(crate) async fn run(house: &House, servers: &mut [Moody]) -> Drill {
    let (first, others) = servers.split_at_mut(4);
    let one = &mut first[0];
    let well = [calls(std::slice::from_mut(one), Mood::Well).await, calls(others, Mood::Well).await];
    one.turn(Mood::Errors).await;
    let at = format!("http://{}", one.at);
    wait_for("an endpoint that fails to be ejected", house, |told| state(told, &at) == "ejected").await;
    let ejections = house.sum("tollgate_upstream_ejections_total").await;
    let ejected = calls(std::slice::from_mut(one), Mood::Errors).await;
    assert!(ejected <= THROUGH && ejected * 2 < well[0], "an ejected endpoint got {ejected} calls, {} before", well[0]);
    assert!(ejections >= 1.0);
    one.turn(Mood::Well).await;
    wait_for("it to come back", house, |told| matches!(state(told, &at).as_str(), "ready" | "slow_start")).await;

    for server in &mut *others {
        server.turn(Mood::Resets).await;
    }
    wait_for("a breaker to open", house, |told| breaker(told, "chat") != "closed").await;
    let broken = calls(others, Mood::Resets).await;
    assert!(broken <= THROUGH && broken * 2 < well[1], "{broken} calls passed an open breaker, {} before", well[1]);
    assert_eq!(breaker(&shown(house).await, "m"), "closed", "the other upstream has nothing to do with it");
    for server in others {
        server.turn(Mood::Well).await;
    }
    wait_for("the breaker to close", house, |told| breaker(told, "chat") == "closed").await;
    Drill { ejected, broken, well }
}

/// Calls that reach servers in the time of a look, in a mood.
async fn calls(servers: &mut [Moody], mood: Mood) -> usize {
    for server in &mut *servers {
        server.turn(mood).await;
    }
    sleep(WATCH).await;
    servers.iter().map(Moody::calls).sum()
}

fn state(told: &Value, at: &str) -> String {
    let faces = told["backends"].as_array().into_iter().flatten();
    let endpoints = faces.flat_map(|face| face["endpoints"].as_array().into_iter().flatten());
    let mut found = endpoints.filter(|endpoint| endpoint["address"].as_str().is_some_and(|address| address == at));
    found.next().map_or_else(String::new, |endpoint| endpoint["state"].as_str().unwrap_or_default().to_owned())
}

fn breaker(told: &Value, upstream: &str) -> String {
    let faces = told["backends"].as_array().into_iter().flatten();
    let mut found = faces.filter(|face| face["upstream"] == upstream);
    found.next().map_or_else(String::new, |face| face["breaker"].as_str().unwrap_or_default().to_owned())
}
