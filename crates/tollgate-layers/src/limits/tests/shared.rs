//! Budgets that several gateways share: which can be, and that all gateways mean the same balance.

use std::collections::BTreeMap;
use std::sync::Arc;

use tollgate_core::call::ModelId;
use tollgate_core::check::Checker;
use tollgate_limit::{KeyClass, Memory};

use super::super::{Bank, LimitNames, Limits};
use super::{config, levers, memory, payer, person};

const ALL: &str = "
store: { url: secret://file/x, consistency: lease }
budgets:
  - { name: a, per: tenant, burst: 5000, refill_per_sec: 1, consistency: strict }
  - { name: b, per: key, burst: 5000, refill_per_sec: 1 }
  - { name: c, per: model, burst: 5000, refill_per_sec: 1 }
  - { name: d, per: address, burst: 5000, refill_per_sec: 1 }
  - { name: e, per: global, quota: 5000, calendar: day }
";

fn compiled(yaml: &str, seed: (u64, u64), models: &[&str]) -> (Limits<Memory>, Vec<String>) {
    let (config, mut check) = (config(yaml), Checker::default());
    let models = models.iter().zip(0..).map(|(name, id)| ((*name).to_owned(), ModelId(id))).collect();
    let names = LimitNames { models: &models, tenants: &BTreeMap::new() };
    let limits =
        config.compile(&mut check, &names, Bank { ledger: memory(), gauges: Arc::default(), levers: levers(), seed });
    let problems = check.finish().0.into_iter().map(|problem| {
        let path: Vec<_> = problem.path.iter().map(ToString::to_string).collect();
        format!("{}: {}", path.join("/"), problem.message)
    });
    (limits, problems.collect())
}

#[test]
fn every_gateway_calls_a_balance_the_same_whatever_its_seed_and_the_order_of_its_models() {
    let (one, _) = compiled(ALL, (1, 2), &["digits", "fraud"]);
    let (other, _) = compiled(ALL, (3, 4), &["fraud", "digits"]);
    let who = person(1);
    for (at, (mine, theirs)) in one.budgets.iter().zip(&other.budgets).enumerate() {
        let mut payer = payer(&who);
        payer.model = Some(ModelId(0));
        let mine = one.key(mine, payer).expect("a balance");
        payer.model = Some(ModelId(1));
        let theirs = other.key(theirs, payer).expect("a balance");
        if mine.class == KeyClass::Open {
            assert_ne!(mine, theirs, "an address is hashed under the secret of each gateway");
            continue;
        }
        assert_eq!(mine, theirs, "{at}");
        let strict = matches!(mine.class, KeyClass::Shared { strict: true, .. });
        assert_eq!(strict, at == 0, "{at}");
    }
}

#[test]
fn balances_of_one_tenant_have_one_tag_and_no_two_have_one_name() {
    let (limits, _) = compiled(ALL, (1, 2), &["digits"]);
    let mut names = Vec::new();
    let who = person(1);
    for budget in limits.budgets.iter().take(2) {
        let key = limits.key(budget, payer(&who)).expect("a balance");
        let KeyClass::Shared { tag, .. } = key.class else { panic!("it is shared") };
        names.push((tag, key.hash));
    }
    assert_eq!(names[0].0, names[1].0);
    assert_ne!(names[0].1, names[1].1);
}

#[test]
fn what_cannot_be_shared_is_refused_where_it_stands() {
    let broken = "
store: { url: secret://file/x, lease_ms: 5, expected_nodes: 0, namespace: 'no spaces' }
budgets:
  - { name: a, per: tenant, quota: 10, window_ms: 1000 }
  - { name: b, per: global, burst: 5000, refill_per_sec: 1, consistency: strict }
  - { name: c, per: address, burst: 5000, refill_per_sec: 1, consistency: lease }
  - { name: d, per: tenant, quota: 9007199254740992, calendar: month }
";
    let (_, problems) = compiled(broken, (1, 2), &[]);
    assert_eq!(
        problems,
        [
            "budgets/0/window_ms: windows are not shared between gateways",
            "budgets/1/consistency: what everybody shares is always leased",
            "budgets/2/consistency: a budget for each address is not shared",
            "budgets/3/name: a shared budget is below 2^53: the store counts no further",
            "store/lease_ms: at least 50 and at most 1000 milliseconds, or `auto`",
            "store/expected_nodes: at least 1 and at most 1024",
            "store/namespace: `no spaces` is not a name such as `prod_2`",
        ]
    );
    let alone = "budgets: [{ name: a, per: tenant, burst: 5000, refill_per_sec: 1, consistency: strict }]";
    assert_eq!(compiled(alone, (1, 2), &[]).1, ["budgets/0/consistency: this budget is not shared"]);
}
