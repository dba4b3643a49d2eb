//! The edge cases of admission that are about prices and answers, one test each; those of balances alone are tested with the
//! ledger.

use std::sync::Arc;
use std::time::Duration;

use tollgate_core::cost::{Cost, Estimate};
use tollgate_core::ruling::Code;
use tollgate_core::time::Tick;
use tollgate_limit::Memory;

use super::super::{Limits, Payer, headers};
use super::{AtOnce, HERE, START, compile, config, estimate, memory, payer, person, refusal, reserve};

/// 20 November 2026, noon.
const NOON_MS: u64 = 1_795_176_000_000;

/// One budget of each kind, of 100 units.
const KINDS: [&str; 3] =
    ["burst: 100, refill_per_sec: 1", "quota: 100, calendar: day", "quota: 100, window_ms: 100000"];

fn of_kind(kind: &str, more: &str) -> Limits<Memory> {
    let yaml = format!("{{ min_cost_us: 10, budgets: [{{ name: one, per: tenant, {kind}{more} }}] }}");
    compile(&config(&yaml), memory())
}

fn left(limits: &Limits<Memory>, now: Tick) -> u64 {
    // In milliseconds: too coarse for these budgets, so what fits is tried.
    (1..=100)
        .rev()
        .find(|cost| {
            let asked = limits.reserve(payer(&person(1)), estimate(*cost), now).into_future_at_once();
            asked.map(|paid| limits.refund(paid, now)).is_ok()
        })
        .unwrap_or(0)
}

#[test]
fn cost_0_is_raised_to_the_minimum_and_only_exempt_routes_are_free() {
    for kind in KINDS {
        let limits = of_kind(kind, "");
        let _held = reserve(&limits, 1, 0, START).expect("it fits");
        assert_eq!(left(&limits, START), 90);
        let free = Estimate { cost: Cost(1_000), declared: Cost(1_000), exempt: true, ..Estimate::default() };
        let paid = limits.reserve(payer(&person(1)), free, START).into_future_at_once().expect("free");
        assert!(paid.is_empty());
        assert_eq!(left(&limits, START), 90);
    }
}

#[test]
fn a_declared_cost_above_the_limit_is_too_expensive_and_states_the_largest_that_fits() {
    for kind in KINDS {
        let refused = refusal(reserve(&of_kind(kind, ""), 1, 101, START));
        assert_eq!((refused.code, refused.retry_after), (Code::TooExpensive, None));
        let short = refused.short.expect("it says what fits");
        assert_eq!((&*short.budget, short.cost, short.limit), ("one", 101, 100));
        assert_eq!(short.calendar, kind.contains("calendar"));
    }
}

#[test]
fn an_estimate_of_our_own_above_the_limit_is_capped_at_it() {
    for kind in KINDS {
        let limits = of_kind(kind, "");
        let ours = Estimate { cost: Cost(5_000), declared: Cost(0), ..Estimate::default() };
        let paid = limits.reserve(payer(&person(1)), ours, START).into_future_at_once().expect("capped");
        assert_eq!(paid.reserved(), Cost(100));
        limits.settle(paid, Cost(40), START);
        assert_eq!(left(&limits, START), 60);
    }
}

#[test]
fn what_is_refused_later_is_given_back_and_what_it_counted_stays() {
    for kind in KINDS {
        let yaml = format!(
            "{{ min_cost_us: 1, budgets: [{{ name: one, per: tenant, {kind} }},
               {{ name: calls, per: tenant, unit: requests, {kind} }}] }}"
        );
        let limits = compile(&config(&yaml), memory());
        for _ in 0..100 {
            let paid = reserve(&limits, 1, 100, START).expect("all compute came back");
            limits.refund(paid, START);
        }
        let refused = refusal(reserve(&limits, 1, 1, START));
        assert_eq!(refused.evidence(), "budget `calls` is spent");
    }
}

#[test]
fn an_ipv6_network_is_one_caller_for_windows_too() {
    let yaml = "{ budgets: [{ name: crowd, per: address, unit: requests, quota: 2, window_ms: 60000 }] }";
    let limits = compile(&config(yaml), memory());
    let who = person(1);
    let ask = |from: &str| {
        let from = from.parse().expect("an address");
        limits.reserve(Payer { from, ..payer(&who) }, estimate(1), START).into_future_at_once().is_ok()
    };
    assert!(ask("2001:db8::1") && ask("2001:db8::2"));
    assert!(!ask("2001:db8::3"));
    assert!(ask("2001:db8:0:1::1"));
}

#[test]
fn an_observed_budget_refuses_nobody_not_even_what_could_never_fit() {
    for kind in KINDS {
        let limits = of_kind(kind, ", mode: observe");
        let mut paid = reserve(&limits, 1, 5_000, START).expect("it only watches");
        let watched = paid.take_watched().expect("it would have refused");
        assert_eq!((watched.code, watched.evidence()), (Code::RateLimited, "budget `one` is spent"));
        limits.settle(paid, Cost(70), START);
        assert_eq!(limits.levels(payer(&person(1)), START).len(), 0);
    }
}

#[test]
fn a_quota_and_a_window_announce_their_length_and_what_is_left_of_it() {
    let yaml = "
budgets:
  - { name: month, per: tenant, quota: 60000000, calendar: month }
  - { name: hour, per: key, unit: requests, quota: 100, window_ms: 3600000 }
";
    let limits = compile(&config(yaml), memory());
    let who = person(1);
    let at = |seconds: u64| {
        let now = START.after(Duration::from_secs(seconds));
        (Payer { unix_ms: NOON_MS + seconds * 1000, ..payer(&who) }, now)
    };
    let (payer, now) = at(0);
    for _ in 0..30 {
        let _paid = limits.reserve(payer, estimate(1_000_000), now).into_future_at_once().expect("it fits");
    }
    let fields = headers::fields(&limits.levels(payer, now), None).expect("levels");
    assert_eq!(fields.policy, r#""month";q=60000;w=2592000;tollgate-unit="compute-ms", "hour";q=100;w=3600"#);
    // Ten days and a half of November are left.
    assert_eq!(fields.level, r#""month";r=30000;t=907200, "hour";r=70;t=3600"#);
    for _ in 0..30 {
        let _paid = limits.reserve(payer, estimate(1_000_000), now).into_future_at_once().expect("it fits");
    }
    let refused = refusal(limits.reserve(payer, estimate(1_000_000), now).into_future_at_once());
    let wait = refused.retry_after.expect("until December");
    assert!((907_200..=907_260).contains(&wait.as_secs()) && headers::is_too_long_to_retry(wait));
    let (payer, now) = at(907_200);
    let fields = headers::fields(&limits.levels(payer, now), None).expect("levels");
    assert_eq!(fields.level, r#""month";r=60000;t=2678400, "hour";r=100;t=3600"#);
}

#[test]
fn levels_of_a_quota_survive_a_reload_that_changes_its_size_or_zone() {
    let budget = |more: &str| config(&format!("{{ budgets: [{{ name: m, per: key, calendar: month, {more} }}] }}"));
    let ledger = memory();
    let who = person(1);
    let payer = Payer { who: &who, model: None, from: HERE, unix_ms: NOON_MS };
    let before = compile(&budget("quota: 10000"), Arc::clone(&ledger));
    let _paid = before.reserve(payer, estimate(9_000), START).into_future_at_once().expect("it fits");
    for after in ["quota: 10000", "quota: 9500", "quota: 10000, time_zone: Asia/Tokyo"] {
        let after = compile(&budget(after), Arc::clone(&ledger));
        let _spent = refusal(after.reserve(payer, estimate(2_000), START).into_future_at_once());
    }
    let larger = compile(&budget("quota: 20000"), ledger);
    let _paid = larger.reserve(payer, estimate(11_000), START).into_future_at_once().expect("it fits");
}
