//! Mistakes of a configuration: each is told once, and none brings another along.

use tollgate_gateway::start::{Setup, StartError, check};
use tollgate_gateway::state::NoModels;
use tollgate_testkit::House;
use tollgate_testkit::house::environment;

const GOOD: &str = "tenants: { acme: {} }
routes:
  - { name: health, path: /health, protocol: health }
";

/// What is said about a configuration whose key file holds a key of tenant `acme`.
fn problems(mistaken: &str, env: impl FnOnce(&mut std::collections::BTreeMap<String, String>)) -> Vec<String> {
    let house = House::furnish(GOOD);
    house.configure(mistaken);
    let mut environment = environment();
    env(&mut environment);
    let config = house.folder.join("tollgate.yaml");
    let setup = Setup { config, env: environment, embed: Box::new(NoModels), access: None };
    match check(setup) {
        Ok(_) => Vec::new(),
        Err(StartError::Config(report)) => report.problems.into_iter().map(|problem| problem.message).collect(),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_mistake_elsewhere_does_not_make_keys_lose_their_pepper() {
    assert!(problems(GOOD, |_| ()).is_empty());
    let mistaken = GOOD.replace("protocol: health", "protocol: health, cost_class: nobody");
    let told = problems(&mistaken, |_| ());
    assert_eq!(told, ["`nobody` is not a class of `cost.classes`"]);
}

#[test]
fn a_pepper_that_cannot_be_read_is_told_once_and_not_again_for_each_key() {
    let told = problems(GOOD, |env| drop(env.remove("PEPPER")));
    assert_eq!(told.len(), 1, "{told:?}");
}

#[test]
fn what_would_move_nothing_is_refused() {
    let upstream =
        |rest: &str| format!("upstreams: {{ m: {{ endpoints: [\"http://127.0.0.1:9\"], {rest} }} }}\n{GOOD}");
    let told = |rest: &str| problems(&upstream(rest), |_| ());
    let signals = "signals: { metrics: [\"http://127.0.0.1:9/metrics\"] }";
    assert_eq!(told(&format!("inflight: {{ min: 1 }}, {signals}")), [""; 0]);
    assert_eq!(told(signals), ["signals move the limit in flight, and that is fixed"]);
    assert_eq!(
        told("inflight: { initial: 9, min: 4, max: 2 }"),
        ["`initial` is from `min` to `max`", "`min` is 4, and `max` is 2"]
    );
    assert_eq!(told("inflight: { min: 1 }, signals: {}"), ["no page is named, and the preset has none"]);
    assert_eq!(told("inflight: { min: 1 }, signals: { metrics: [\"nowhere\"], every: 10ms }").len(), 2);
}
