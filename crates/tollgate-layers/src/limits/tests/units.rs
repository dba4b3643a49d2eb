//! Budgets in tokens, in bytes and in requests at once, beside those in compute.

use std::sync::Arc;
use std::time::Duration;

use tollgate_core::check::Checker;
use tollgate_core::cost::Cost;
use tollgate_core::ruling::Code;

use super::super::{Demand, Size, Unit, Used, headers};
use super::ledgers::Exact;
use super::{AtOnce, START, compile, config, estimate, levers, memory, payer, person, refusal};

const MIXED: &str = "
min_cost_us: 1
budgets:
  - { name: words, per: key, unit: tokens, burst: 1000, refill_per_sec: 1, debt: 500 }
  - { name: volume, per: tenant, unit: bytes, burst: 4000, refill_per_sec: 1 }
  - { name: gold, per: tenant, burst: 5000, refill_per_sec: 1 }
  - { name: hands, per: key, unit: concurrent, quota: 2 }
";

fn demand(expected: u64, declared: u64) -> Demand {
    Demand { compute: estimate(100), tokens: Size { expected, declared }, bytes: 700 }
}

#[test]
fn each_unit_is_reserved_and_settled_by_its_own_measure() {
    let ledger = Arc::new(Exact::default());
    let limits = compile(&config(MIXED), Arc::clone(&ledger));
    let who = person(1);
    let reserve = |demand| limits.reserve(payer(&who), demand, START).into_future_at_once();
    let paid = reserve(demand(300, 200)).expect("it fits");
    assert_eq!((ledger.outstanding(), paid.reserved(), paid.is_empty()), (300 + 700 + 100, Cost(100), false));
    limits.settle(paid, Used { compute: Cost(40), tokens: Some(350), bytes: Some(2_000) }, START);
    assert_eq!(ledger.outstanding(), 350 + 2_000 + 40);
    // What nobody counted stays as it was reserved.
    let paid = reserve(demand(300, 200)).expect("it fits");
    limits.settle(paid, Cost(40), START);
    assert_eq!(ledger.outstanding(), 650 + 2_700 + 80);
    // What never ran costs nothing at all.
    let paid = reserve(demand(300, 200)).expect("it fits");
    limits.refund(paid, START);
    assert_eq!(ledger.outstanding(), 650 + 2_700 + 80);
    let short = refusal(reserve(demand(351, 0))).short.expect("figures");
    assert_eq!((&*short.budget, short.unit, short.cost, short.limit), ("words", "tokens", 351, 1000));
}

#[test]
fn only_tokens_that_were_asked_for_in_numbers_are_too_expensive() {
    let limits = compile(&config(MIXED), memory());
    let who = person(1);
    let refused = refusal(limits.reserve(payer(&who), demand(1_500, 1_001), START).into_future_at_once());
    assert_eq!((refused.code, refused.retry_after), (Code::TooExpensive, None));
    assert_eq!(refused.short.map(|short| (short.unit, short.cost, short.limit)), Some(("tokens", 1_001, 1_000)));
    // Our own guess is capped, and the rest becomes debt, which is bounded.
    let paid = limits.reserve(payer(&who), demand(u64::MAX, 1_000), START).into_future_at_once().expect("capped");
    limits.settle(paid, Used { compute: Cost(1), tokens: Some(u64::MAX), bytes: None }, START);
    let wait = refusal(limits.reserve(payer(&who), demand(1, 1), START).into_future_at_once()).retry_after;
    let wait = wait.expect("a wait");
    assert!(wait >= Duration::from_secs(501) && wait <= Duration::from_secs(562), "{wait:?}");
    let long = Demand { bytes: 4_001, ..demand(0, 0) };
    let refused = refusal(limits.reserve(payer(&person(2)), long, START).into_future_at_once());
    assert_eq!(refused.short.map(|short| (short.unit, short.cost)), Some(("bytes", 4_001)));
}

#[test]
fn so_many_at_once_and_a_place_is_given_back_however_it_ends() {
    let yaml = "budgets: [{ name: hands, per: key, unit: concurrent, quota: 2 }]";
    let limits = compile(&config(yaml), memory());
    let (who, other) = (person(1), person(2));
    let enter = |who| limits.reserve(payer(who), estimate(1), START).into_future_at_once();
    let (first, second) = (enter(&who).expect("room"), enter(&who).expect("room"));
    let refused = refusal(enter(&who));
    assert_eq!((refused.code, refused.evidence()), (Code::RateLimited, "budget `hands` is spent"));
    let wait = refused.retry_after.expect("a wait");
    assert!((Duration::from_secs(1)..=Duration::from_millis(1250)).contains(&wait), "{wait:?}");
    let _third = enter(&other).expect("another key");
    let level = limits.levels(payer(&who), START)[0];
    assert_eq!((level.unit, level.quota, level.remaining), (Unit::Concurrent, 2, 0));
    let fields = headers::fields(&[level], None).expect("a level");
    assert_eq!(fields.policy, r#""hands";q=2;qu="concurrent-requests""#);
    assert_eq!(fields.level, r#""hands";r=0"#);
    limits.settle(first, Cost(1), START);
    drop(enter(&who).expect("it was settled"));
    drop(second);
    assert_eq!(limits.levels(payer(&who), START)[0].remaining, 2);
}

#[test]
fn a_place_is_given_back_where_another_budget_refuses() {
    let yaml = "
min_cost_us: 1
budgets:
  - { name: hands, per: tenant, unit: concurrent, quota: 1 }
  - { name: gold, per: key, burst: 10, refill_per_sec: 1 }
";
    let limits = compile(&config(yaml), memory());
    let who = person(1);
    let _refused = refusal(limits.reserve(payer(&who), estimate(11), START).into_future_at_once());
    let spent = limits.reserve(payer(&who), estimate(10), START).into_future_at_once().expect("the place is free");
    limits.settle(spent, Cost(10), START);
    let refused = refusal(limits.reserve(payer(&who), estimate(10), START).into_future_at_once());
    assert_eq!(refused.evidence(), "budget `gold` is spent");
    assert_eq!(limits.levels(payer(&who), START)[0].remaining, 1);
}

#[test]
fn requests_at_once_that_are_only_watched_are_counted_and_let_pass() {
    let yaml = "budgets: [{ name: hands, per: key, unit: concurrent, quota: 1, mode: observe }]";
    let limits = compile(&config(yaml), memory());
    let who = person(1);
    let enter = || limits.reserve(payer(&who), estimate(1), START).into_future_at_once().expect("it passes");
    let (mut first, mut second) = (enter(), enter());
    assert!(first.take_watched().is_none());
    assert_eq!(second.take_watched().expect("watched").evidence(), "budget `hands` is spent");
    drop(first);
    assert!(enter().take_watched().is_some(), "the second is still there");
}

#[test]
fn a_budget_of_requests_at_once_has_a_quota_and_nothing_else() {
    let problems = |members: &str| {
        let broken = config(&format!("budgets: [{{ name: hands, per: global, unit: concurrent{members} }}]"));
        let mut check = Checker::default();
        let (models, tenants) = Default::default();
        let names = super::super::LimitNames { models: &models, tenants: &tenants };
        let bank = super::super::Bank { ledger: memory(), gauges: Arc::default(), levers: levers(), seed: (1, 2) };
        broken.compile(&mut check, &names, bank);
        check.finish().0.into_iter().map(|problem| problem.message).collect::<Vec<_>>()
    };
    assert_eq!(problems(", quota: 3"), Vec::<String>::new());
    assert_eq!(problems(""), ["how many at once?"]);
    assert_eq!(problems(", quota: 0"), ["a quota of `0` refuses every request"]);
    let all = problems(", quota: 1, burst: 1, refill_per_sec: 1, debt: 1, calendar: day, window_ms: 5");
    let names = ["burst", "refill_per_sec", "debt", "calendar", "window_ms"];
    let expected = names.map(|name| format!("`{name}` is not for requests at once: such a budget has a `quota`"));
    assert_eq!(all, expected);
}

#[test]
fn the_numbers_of_units_never_change_because_levels_are_found_by_them() {
    let numbers = [Unit::Compute, Unit::Requests, Unit::Bytes, Unit::Concurrent, Unit::Tokens].map(|unit| unit as u8);
    assert_eq!(numbers, [0, 1, 2, 3, 4]);
}
