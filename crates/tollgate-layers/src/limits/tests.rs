//! Budgets are charged together or not at all, and everything that is held comes back.

mod edges;
mod ledgers;
mod lever;
mod random;
mod shared;
mod units;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use serde::Deserialize;
use tollgate_core::call::ModelId;
use tollgate_core::check::Checker;
use tollgate_core::cost::{Cost, Estimate};
use tollgate_core::guard::{Guard, Mode, OnFault, Switch};
use tollgate_core::identity::{Identity, Person};
use tollgate_core::journal::{Event, Journal};
use tollgate_core::ruling::{Code, Origin, Ruling, Short, Stop};
use tollgate_core::stage::Stage;
use tollgate_core::time::Tick;
use tollgate_limit::{Ledger, Memory, MemoryConfig};

use crate::auth::IdKey;

use super::{Bank, Levers, LimitNames, Limits, LimitsConfig, MAX_BUDGETS, Payer, Reservation, Unit, headers};
use ledgers::{Exact, Trouble, Troubled};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    what: String,
    given: LimitsConfig,
    /// Wall time of the first moment, in seconds since the Unix epoch.
    #[serde(default)]
    unix: u64,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    at_ms: u64,
    who: u64,
    cost: u64,
    declared: Option<u64>,
    #[serde(default)]
    exempt: bool,
    from: Option<IpAddr>,
    model: Option<u32>,
    settle: Option<u64>,
    refuse: Option<String>,
    /// The observed budget that would have refused.
    watched: Option<String>,
    retry_after_ms: Option<u64>,
}

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const START: Tick = Tick(3_600_000_000_000);

fn config(yaml: &str) -> LimitsConfig {
    serde_saphyr::from_str(yaml).expect("it parses")
}

/// A tenant `acme` that lists every budget that can be listed, and two models.
fn compile<S: Ledger>(config: &LimitsConfig, ledger: Arc<S>) -> Limits<S> {
    compile_for(config, ledger, &["digits", "fraud"])
}

fn compile_for<S: Ledger>(config: &LimitsConfig, ledger: Arc<S>, models: &[&str]) -> Limits<S> {
    compile_under(config, ledger, models, levers())
}

fn levers() -> Arc<Levers> {
    Arc::new(Levers::new(IdKey::new([7; 16])))
}

fn compile_under<S: Ledger>(config: &LimitsConfig, ledger: Arc<S>, models: &[&str], levers: Arc<Levers>) -> Limits<S> {
    let mut check = Checker::default();
    let listed: Vec<_> = config.budgets.iter().filter(|budget| budget.per.is_listed()).collect();
    let listed: Vec<_> = listed.into_iter().map(|budget| budget.name.clone()).collect();
    let tenants = BTreeMap::from([("acme".to_owned(), config.list(&mut check, &listed))]);
    let models = models.iter().zip(0..).map(|(name, id)| ((*name).to_owned(), ModelId(id))).collect();
    let names = LimitNames { models: &models, tenants: &tenants };
    let bank = Bank { ledger, gauges: Arc::default(), levers, seed: (1, 2) };
    let limits = config.compile(&mut check, &names, bank);
    assert_eq!(check.finish().0, []);
    limits
}

fn person(who: u64) -> Identity {
    Identity::new(Person { tenant: "acme".into(), tenant_id: 7, principal_id: who, ..Person::default() })
}

fn payer(who: &Identity) -> Payer<'_> {
    Payer { who, model: None, from: HERE, unix_ms: 0 }
}

fn estimate(cost: u64) -> Estimate {
    Estimate { cost: Cost(cost), declared: Cost(cost), exempt: false }
}

/// One poll is the whole run: these ledgers answer at once or never.
fn now_or_never<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Pending => None,
        Poll::Ready(value) => Some(value),
    }
}

fn reserve<S: Ledger>(limits: &Limits<S>, who: u64, cost: u64, at: Tick) -> Ruling<Reservation> {
    now_or_never(limits.reserve(payer(&person(who)), estimate(cost), at)).expect("it answers at once")
}

fn refusal<T: std::fmt::Debug>(ruling: Ruling<T>) -> Box<tollgate_core::ruling::Refusal> {
    match ruling {
        Err(Stop::Refuse(refusal)) => refusal,
        other => panic!("{other:?} is no refusal"),
    }
}

fn memory() -> Arc<Memory> {
    Arc::new(Memory::new(MemoryConfig { open_slots: 1 << 12, seed: (3, 4) }))
}

const CASES: [&str; 8] = [
    include_str!("cases/burst_and_debt.yaml"),
    include_str!("cases/estimates.yaml"),
    include_str!("cases/minimum.yaml"),
    include_str!("cases/observe.yaml"),
    include_str!("cases/quotas.yaml"),
    include_str!("cases/requests.yaml"),
    include_str!("cases/scopes.yaml"),
    include_str!("cases/windows.yaml"),
];

fn run<S: Ledger>(yaml: &str, ledger: Arc<S>, coarse: Duration) {
    let case: Case = serde_saphyr::from_str(yaml).expect("a case");
    let limits = compile(&case.given, ledger);
    for (i, step) in case.steps.iter().enumerate() {
        let place = format!("{}: step {i}", case.what);
        let now = START.after(Duration::from_millis(step.at_ms));
        let who = person(step.who);
        let payer = Payer {
            who: &who,
            model: step.model.map(ModelId),
            from: step.from.unwrap_or(HERE),
            unix_ms: case.unix * 1000 + step.at_ms,
        };
        let declared = Cost(step.declared.unwrap_or(step.cost));
        let estimate = Estimate { cost: Cost(step.cost), declared, exempt: step.exempt };
        let ruling = now_or_never(limits.reserve(payer, estimate, now)).expect("it answers at once");
        match (ruling, &step.refuse) {
            (Ok(mut paid), None) => {
                let watched = paid.take_watched().map(|refusal| refusal.evidence().to_owned());
                let expected = step.watched.as_ref().map(|name| format!("budget `{name}` is spent"));
                assert_eq!(watched, expected, "{place}");
                if let Some(real) = step.settle {
                    limits.settle(paid, Cost(real), now);
                }
            }
            (Err(Stop::Refuse(refusal)), Some(code)) => {
                assert_eq!(refusal.code.name(), code, "{place}");
                let wait = step.retry_after_ms.map(Duration::from_millis);
                assert_eq!(refusal.retry_after.is_some(), wait.is_some(), "{place}");
                if let (Some(found), Some(wait)) = (refusal.retry_after, wait) {
                    let range = wait.saturating_sub(coarse)..=wait * 5 / 4 + coarse;
                    assert!(range.contains(&found), "{place}: waits {found:?}, not {wait:?} and up to a quarter");
                }
            }
            (ruling, refuse) => panic!("{place}: {ruling:?} instead of {refuse:?}"),
        }
    }
}

#[test]
fn the_cases_hold_on_an_exact_ledger() {
    for case in CASES {
        run(case, Arc::new(Exact::default()), Duration::ZERO);
    }
}

#[test]
fn the_cases_hold_on_the_ledger_in_memory() {
    for case in CASES {
        run(case, memory(), Duration::from_millis(3));
    }
}

const THREE: &str = "
min_cost_us: 1
budgets:
  - { name: everything, per: global, burst: 300, refill_per_sec: 1 }
  - { name: one, per: key, burst: 100, refill_per_sec: 1 }
  - { name: house, per: tenant, burst: 200, refill_per_sec: 1 }
";

#[test]
fn budgets_are_charged_from_tenant_to_global_whatever_their_order_in_the_file() {
    let ledger = Arc::new(Exact::default());
    let limits = compile(&config(THREE), Arc::clone(&ledger));
    let paid = reserve(&limits, 1, 10, START).expect("it fits");
    let bursts: Vec<_> = ledger.log().iter().map(|(_, limit, _)| limit.most()).collect();
    assert_eq!(bursts, [200, 100, 300]);
    assert_eq!((paid.reserved(), paid.is_empty()), (Cost(10), false));
    limits.refund(paid, START);
    assert_eq!(ledger.outstanding(), 0);
}

#[test]
fn a_refusal_gives_back_what_earlier_budgets_paid() {
    let ledger = Arc::new(Exact::default());
    let limits = compile(&config(THREE), Arc::clone(&ledger));
    let first = reserve(&limits, 1, 100, START).expect("it fits");
    let refused = refusal(reserve(&limits, 1, 50, START));
    assert_eq!((refused.code, refused.evidence()), (Code::RateLimited, "budget `one` is spent"));
    let expected = Short { budget: "one".into(), unit: "compute", calendar: false, cost: 50, limit: 100 };
    assert_eq!(refused.short.as_deref(), Some(&expected));
    assert_eq!(ledger.outstanding(), 300);
    limits.refund(first, START);
    assert_eq!(ledger.outstanding(), 0);
}

#[test]
fn a_fault_gives_back_and_is_the_stores() {
    for at in 0..3 {
        let ledger = Arc::new(Troubled::new(Trouble::Fault, at));
        let limits = compile(&config(THREE), Arc::clone(&ledger));
        match reserve(&limits, 1, 50, START) {
            Err(Stop::Fault(fault)) => assert_eq!(fault.origin, Origin::Store),
            other => panic!("{other:?}"),
        }
        assert_eq!(ledger.exact.outstanding(), 0, "charge {at} failed");
    }
}

#[test]
fn a_caller_that_leaves_while_it_waits_gets_everything_back() {
    for at in 0..3 {
        let ledger = Arc::new(Troubled::new(Trouble::Stuck, at));
        let limits = compile(&config(THREE), Arc::clone(&ledger));
        let who = person(1);
        {
            let mut waiting = pin!(limits.reserve(payer(&who), estimate(50), START));
            let mut context = Context::from_waker(Waker::noop());
            assert!(waiting.as_mut().poll(&mut context).is_pending());
            assert_eq!(ledger.exact.outstanding(), 50 * i128::try_from(at).expect("small"), "before it leaves");
        }
        assert_eq!(ledger.exact.outstanding(), 0, "charge {at} waited");
    }
}

#[test]
fn a_watched_guard_lets_pass_with_nothing_held() {
    let ledger = Arc::new(Exact::default());
    let limits = compile(&config(THREE), Arc::clone(&ledger));
    let switch = Switch { mode: Mode::Observe, on_fault: OnFault::Close };
    let guard = Guard { stage: Stage::Limits, switch, layer: Some(limits) };
    let mut journal = Journal::default();
    let who = person(1);
    let asked = guard.ask_store(&mut journal, |limits| limits.reserve(payer(&who), estimate(101), START));
    let held = now_or_never(asked).expect("at once").expect("watched");
    assert!(held.is_empty());
    assert!(matches!(&journal.entries()[0].event, Event::WouldRefuse(refusal) if refusal.code == Code::TooExpensive));
    guard.layer.expect("there").settle(held, Cost(500), START);
    assert_eq!(ledger.outstanding(), 0);
}

#[test]
fn only_a_declared_cost_is_too_expensive_and_the_answer_says_what_fits() {
    let limits = compile(&config(THREE), Arc::new(Exact::default()));
    let refused = refusal(reserve(&limits, 1, 101, START));
    assert_eq!((refused.code, refused.retry_after), (Code::TooExpensive, None));
    let expected = Short { budget: "one".into(), unit: "compute", calendar: false, cost: 101, limit: 100 };
    assert_eq!((refused.short.as_deref(), refused.spot), (Some(&expected), None));
    let ours = Estimate { cost: Cost(u64::MAX), declared: Cost(100), exempt: false };
    let paid = now_or_never(limits.reserve(payer(&person(2)), ours, START)).expect("at once").expect("capped");
    assert_eq!(paid.reserved(), Cost(300));
    limits.settle(paid, Cost(u64::MAX), START);
}

#[test]
fn a_tenant_that_lists_nothing_pays_only_what_is_shared() {
    let ledger = Arc::new(Exact::default());
    let limits = compile(&config(THREE), Arc::clone(&ledger));
    let asked = limits.reserve(payer(&Identity::anonymous()), estimate(250), START).into_future_at_once();
    assert_eq!(asked.expect("it fits").reserved(), Cost(250));
    assert_eq!(ledger.log().len(), 1);
}

trait AtOnce: Future + Sized {
    fn into_future_at_once(self) -> Self::Output {
        now_or_never(self).expect("it answers at once")
    }
}

impl<F: Future> AtOnce for F {}

#[test]
fn levels_survive_a_reload_that_keeps_names_and_moves_everything() {
    let before = "
min_cost_us: 1
budgets:
  - { name: one, per: key, burst: 100, refill_per_sec: 1 }
  - { name: machine, per: model, burst: 100, refill_per_sec: 1 }
";
    let after = "
min_cost_us: 1
budgets:
  - { name: fresh, per: key, burst: 100, refill_per_sec: 1 }
  - { name: machine, per: model, burst: 100, refill_per_sec: 2 }
  - { name: one, per: key, burst: 50, refill_per_sec: 1 }
";
    let ledger = memory();
    let who = person(1);
    let digits = |id| Payer { who: &who, model: Some(ModelId(id)), from: HERE, unix_ms: 0 };
    let old = compile_for(&config(before), Arc::clone(&ledger), &["digits", "fraud"]);
    let paid = old.reserve(digits(0), estimate(90), START).into_future_at_once().expect("it fits");
    let new = compile_for(&config(after), Arc::clone(&ledger), &["another", "digits", "fraud"]);
    let refused = refusal(new.reserve(digits(1), estimate(20), START).into_future_at_once());
    assert_eq!(refused.evidence(), "budget `one` is spent");
    // What the old policy holds can be settled after the reload: by either policy.
    new.settle(paid, Cost(0), START);
    let paid = new.reserve(digits(1), estimate(50), START).into_future_at_once().expect("all is back");
    assert_eq!(paid.reserved(), Cost(50));
}

#[test]
fn a_budget_that_changes_its_scope_or_unit_starts_afresh() {
    let budget = |per: &str, unit: &str| {
        config(&format!(
            "{{ min_cost_us: 1, budgets: [{{ name: one, per: {per}, unit: {unit}, burst: 1, refill_per_sec: 1 }}] }}"
        ))
    };
    let ledger = memory();
    for (per, unit) in [("key", "requests"), ("key", "compute"), ("tenant", "compute"), ("tenant", "requests")] {
        let limits = compile(&budget(per, unit), Arc::clone(&ledger));
        let _held = reserve(&limits, 0, 1, START).expect("it is fresh");
        let _spent = refusal(reserve(&limits, 0, 1, START));
    }
}

#[test]
fn the_callers_own_levels_are_announced_and_nobody_elses() {
    let limits = compile(
        &config(
            "
budgets:
  - { name: gold, per: tenant, burst: 60000000, refill_per_sec: 4000000 }
  - { name: rpm, per: key, unit: requests, burst: 100, refill_per_sec: 10 }
  - { name: resnet, per: model, burst: 8000000, refill_per_sec: 2000000 }
  - { name: all, per: global, burst: 120000000, refill_per_sec: 8000000 }
",
        ),
        memory(),
    );
    let who = person(1);
    for _ in 0..50 {
        let _paid = limits.reserve(payer(&who), estimate(575_000), START).into_future_at_once().expect("it fits");
    }
    let levels = limits.levels(Payer { model: Some(ModelId(0)), ..payer(&who) }, START);
    let found: Vec<_> = levels.iter().map(|level| (level.name, level.unit, level.quota, level.remaining)).collect();
    assert_eq!(found, [("gold", Unit::Compute, 60_000, 31_250), ("rpm", Unit::Requests, 100, 50)]);
    let fields = headers::fields(&levels, None).expect("levels");
    assert_eq!(fields.policy, r#""gold";q=60000;w=15;tollgate-unit="compute-ms", "rpm";q=100;w=10"#);
    assert_eq!(fields.level, r#""gold";r=31250;t=8, "rpm";r=50;t=5"#);
    // The same figures stand on the users' page.
    assert!(include_str!("README.md").contains(fields.level.to_str().expect("text")));
    assert!(include_str!("README.md").contains(fields.policy.to_str().expect("text")));
    // No window is longer than the wait of a refusal, and what remains shrinks with it.
    let fields = headers::fields(&levels, Some(Duration::from_millis(1500))).expect("levels");
    assert_eq!(fields.level, r#""gold";r=8000;t=2, "rpm";r=20;t=2"#);
}

#[test]
fn an_empty_budget_announces_the_wait_and_the_wait_is_true() {
    let limits = compile(
        &config("budgets: [{ name: rpm, per: key, unit: requests, burst: 2, refill_per_sec: 1 }]"),
        Arc::new(Exact::default()),
    );
    let _one = reserve(&limits, 1, 1, START).expect("it fits");
    let _two = reserve(&limits, 1, 1, START).expect("it fits");
    let levels = limits.levels(payer(&person(1)), START);
    assert_eq!(headers::fields(&levels, None).expect("levels").level, r#""rpm";r=0;t=1"#);
    let refused = refusal(reserve(&limits, 1, 1, START));
    let wait = refused.retry_after.expect("a wait");
    let _early = refusal(reserve(&limits, 1, 1, START.after(Duration::from_millis(999))));
    let _held = reserve(&limits, 1, 1, START.after(wait)).expect("the wait was enough");
}

#[test]
fn waits_are_spread_and_never_shortened() {
    let limits = compile(
        &config("budgets: [{ name: rpm, per: key, unit: requests, burst: 1, refill_per_sec: 1 }]"),
        Arc::new(Exact::default()),
    );
    let second = Duration::from_secs(1);
    let mut waits: Vec<_> = (0..200)
        .map(|who| {
            let _held = reserve(&limits, who, 1, START).expect("it fits");
            refusal(reserve(&limits, who, 1, START)).retry_after.expect("a wait")
        })
        .collect();
    waits.sort_unstable();
    waits.dedup();
    assert!(waits.len() > 100, "{} different waits of 200", waits.len());
    assert!(waits[0] >= second && waits[0] < second * 21 / 20);
    let last = waits.last().expect("some");
    assert!(*last <= second * 5 / 4 && *last > second * 6 / 5);
}

#[test]
fn retry_after_is_whole_seconds_never_below_the_wait() {
    for (millis, text) in [(0, "1"), (1, "1"), (1000, "1"), (1001, "2"), (120_000, "120")] {
        assert_eq!(headers::retry_after(Duration::from_millis(millis)), text);
    }
    assert!(!headers::is_too_long_to_retry(Duration::from_mins(2)));
    assert!(headers::is_too_long_to_retry(Duration::from_millis(120_001)));
}

#[test]
fn every_mistake_is_reported_where_it_stands() {
    let broken = config(
        "
min_cost_us: 2000000000
budgets:
  - { name: Gold, per: tenant, burst: 0, refill_per_sec: 0 }
  - { name: rpm, per: key, unit: requests, burst: 5, refill_per_sec: 1, debt: 3 }
  - { name: rpm, per: key, unit: requests, burst: 5, refill_per_sec: 2000000000 }
  - { name: long, per: global, burst: 18446744073709551615, refill_per_sec: 1 }
",
    );
    let mut check = Checker::default();
    let listed = ["rpm", "silver", "long", "rpm"].map(str::to_owned);
    let listed = check.within("tenants", |check| check.within("acme", |check| broken.list(check, &listed)));
    let names = LimitNames { models: &BTreeMap::new(), tenants: &BTreeMap::from([("acme".to_owned(), listed)]) };
    let bank = Bank { ledger: memory(), gauges: Arc::default(), levers: levers(), seed: (1, 2) };
    check.within("limits", |check| broken.compile(check, &names, bank));
    let problems = check.finish().0.into_iter().map(|problem| {
        let path: Vec<_> = problem.path.iter().map(ToString::to_string).collect();
        format!("{}: {}", path.join("/"), problem.message)
    });
    let problems: Vec<_> = problems.collect();
    assert_eq!(
        problems,
        [
            "tenants/acme/budgets/1: `silver` is not a budget",
            "tenants/acme/budgets/2: budget `long` is for everybody (`per: global`)",
            "tenants/acme/budgets/3: `rpm` is listed twice",
            "limits/min_cost_us: at most 1000000000, which is 1000 seconds",
            "limits/budgets/0/name: `Gold` is not a name such as `gold_2`",
            "limits/budgets/0/burst: a burst of `0` refuses every request",
            "limits/budgets/0/refill_per_sec: the budget would never refill",
            "limits/budgets/1/debt: requests are never in debt: `debt` is for what is measured",
            "limits/budgets/2/name: `rpm` names two budgets",
            "limits/budgets/2/refill_per_sec: at most 1000000000 a second",
            "limits/budgets/3/burst: burst and debt would take longer than 36 years to refill",
        ]
    );
}

#[test]
fn one_request_cannot_have_more_budgets_than_a_reservation_holds() {
    let many = |per: &str, count: usize| {
        let budget = |i| format!("  - {{ name: {per}{i}, per: {per}, burst: 5000, refill_per_sec: 1 }}\n");
        (0..count).map(budget).collect::<String>()
    };
    for (keys, globals, fits) in [(4, 4, true), (5, 4, false), (0, 8, true), (0, 9, false), (8, 0, true)] {
        let config = config(&format!("budgets:\n{}{}", many("key", keys), many("global", globals)));
        let mut check = Checker::default();
        let listed: Vec<_> = (0..keys).map(|i| format!("key{i}")).collect();
        let tenants = BTreeMap::from([("acme".to_owned(), config.list(&mut check, &listed))]);
        let names = LimitNames { models: &BTreeMap::new(), tenants: &tenants };
        let limits = config.compile(
            &mut check,
            &names,
            Bank { ledger: memory(), gauges: Arc::default(), levers: levers(), seed: (1, 2) },
        );
        assert_eq!(check.is_clean(), fits, "{keys} and {globals}");
        assert!(limits.levels(payer(&person(1)), START).len() <= MAX_BUDGETS);
    }
}

#[test]
fn every_block_of_the_users_page_loads() {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Page {
        limits: LimitsConfig,
    }
    let blocks: Vec<_> = include_str!("README.md").split("```yaml\n").skip(1).collect();
    assert_eq!(blocks.len(), 4);
    for block in blocks {
        let yaml = block.split("```").next().expect("an end");
        let page: Page = serde_saphyr::from_str(yaml).expect("it loads");
        compile(&page.limits, memory());
    }
}

#[test]
fn a_reservation_is_small_enough_to_carry_and_its_future_can_move_between_threads() {
    fn sendable(value: &impl Send) -> usize {
        size_of_val(value)
    }
    let limits = compile(&config(THREE), memory());
    let who = person(1);
    let bytes = sendable(&limits.reserve(payer(&who), estimate(1), START));
    assert!(bytes <= 2048, "{bytes}");
    assert!(size_of::<Reservation>() <= 656, "{}", size_of::<Reservation>());
}
