//! Random lives of reservations: whatever happens, nothing stays held, and nothing panics.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use tollgate_core::call::ModelId;
use tollgate_core::cost::{Cost, Estimate};
use tollgate_limit::Ledger;

use super::super::{Limits, Payer, Per, PublicLevel, Reservation, Unit, headers};
use super::ledgers::{Exact, Trouble, Troubled};
use super::{AtOnce, HERE, START, compile, config, memory, now_or_never, person};

const ALL_KINDS: &str = "
min_cost_us: 3
budgets:
  - { name: house, per: tenant, burst: 400, refill_per_sec: 50 }
  - { name: one, per: key, burst: 100, refill_per_sec: 20, debt: 10 }
  - { name: pace, per: key, unit: requests, burst: 20, refill_per_sec: 5 }
  - { name: machine, per: model, burst: 300, refill_per_sec: 50 }
  - { name: place, per: address, burst: 300, refill_per_sec: 50 }
  - { name: everything, per: global, burst: 500, refill_per_sec: 100 }
";

#[derive(Clone, Debug)]
enum Act {
    Advance(u64),
    Leave { who: u64, cost: u64 },
    Reserve { who: u64, cost: u64, model: Option<u32> },
    Settle { which: prop::sample::Index, real: u64 },
}

fn act() -> impl Strategy<Value = Act> {
    let cost = prop_oneof![0_u64..120, Just(u64::MAX)];
    let model = prop::option::of(0_u32..4);
    prop_oneof![
        (0_u64..2000).prop_map(Act::Advance),
        (0_u64..4, cost.clone()).prop_map(|(who, cost)| Act::Leave { who, cost }),
        (0_u64..4, cost.clone(), model).prop_map(|(who, cost, model)| Act::Reserve { who, cost, model }),
        (any::<prop::sample::Index>(), cost).prop_map(|(which, real)| Act::Settle { which, real }),
    ]
}

fn ours(cost: u64) -> Estimate {
    Estimate { cost: Cost(cost), declared: Cost(cost.min(100)), ..Estimate::default() }
}

/// Lives through `acts`, gives back what is left, and returns how many requests were admitted. `paying` says whether
/// settlements take the real cost or nothing.
fn live<S: Ledger>(limits: &Limits<S>, acts: &[Act], paying: bool) -> i128 {
    let mut admitted = 0;
    let mut now = START;
    let mut held: Vec<Reservation> = Vec::new();
    for act in acts {
        match act {
            Act::Advance(millis) => now = now.after(Duration::from_millis(*millis)),
            Act::Leave { who, cost } => {
                let who = person(*who);
                drop(limits.reserve(Payer { who: &who, model: None, from: HERE, unix_ms: 0 }, ours(*cost), now));
            }
            Act::Reserve { who, cost, model } => {
                let who = person(*who);
                let payer = Payer { who: &who, model: model.map(ModelId), from: HERE, unix_ms: 0 };
                if let Some(Ok(paid)) = now_or_never(limits.reserve(payer, ours(*cost), now)) {
                    held.push(paid);
                    admitted += 1;
                }
            }
            Act::Settle { which, real } if !held.is_empty() => {
                let paid = held.swap_remove(which.index(held.len()));
                limits.settle(paid, Cost(if paying { *real } else { 0 }), now);
            }
            Act::Settle { .. } => {}
        }
    }
    for paid in held {
        limits.refund(paid, now);
    }
    admitted
}

proptest! {
    #[test]
    fn the_sum_of_reservations_returns_to_zero(acts in prop::collection::vec(act(), 0..80)) {
        let ledger = Arc::new(Exact::default());
        let admitted = live(&compile(&config(ALL_KINDS), Arc::clone(&ledger)), &acts, false);
        // Compute is back to the last unit; what stays is one counted request for each that was admitted.
        prop_assert_eq!(ledger.outstanding(), admitted);
    }

    #[test]
    fn the_sum_returns_to_zero_when_the_store_breaks_or_waits_for_ever(
        acts in prop::collection::vec(act(), 0..80),
        stuck in any::<bool>(),
        good in 0_usize..60,
    ) {
        let trouble = if stuck { Trouble::Stuck } else { Trouble::Fault };
        let compute = ALL_KINDS.replace("unit: requests, ", "");
        let ledger = Arc::new(Troubled::new(trouble, good));
        live(&compile(&config(&compute), Arc::clone(&ledger)), &acts, false);
        prop_assert_eq!(ledger.exact.outstanding(), 0);
    }

    #[test]
    fn what_is_settled_is_what_was_real(
        costs in prop::collection::vec((1_u64..=100, 3_u64..500), 1..20),
    ) {
        let ledger = Arc::new(Exact::default());
        let yaml = "{ min_cost_us: 3, budgets: [{ name: all, per: global, burst: 1000000, refill_per_sec: 1 }] }";
        let limits = compile(&config(yaml), Arc::clone(&ledger));
        let who = person(1);
        for (cost, real) in &costs {
            let payer = Payer { who: &who, model: None, from: HERE, unix_ms: 0 };
            let paid = limits.reserve(payer, ours(*cost), START).into_future_at_once().expect("it fits");
            limits.settle(paid, Cost(*real), START);
        }
        let real: u64 = costs.iter().map(|(_, real)| real).sum();
        prop_assert_eq!(ledger.outstanding(), i128::from(real));
    }

    #[test]
    fn arbitrary_lives_never_panic_on_the_ledger_in_memory(acts in prop::collection::vec(act(), 0..80)) {
        let limits = compile(&config(ALL_KINDS), memory());
        live(&limits, &acts, true);
        let who = person(1);
        let levels = limits.levels(Payer { who: &who, model: Some(ModelId(9)), from: HERE, unix_ms: 0 }, START);
        prop_assert!(headers::fields(&levels, None).is_some());
    }

    #[test]
    fn arbitrary_figures_make_well_formed_fields(
        name in ".{0,40}",
        compute in any::<bool>(),
        figures in any::<(u64, u64, u64, u64)>(),
        wait in prop::option::of(any::<u64>()),
    ) {
        let (quota, window_secs, remaining, reset_secs) = figures;
        let unit = if compute { Unit::Compute } else { Unit::Requests };
        let (wait_of, per) = (Duration::from_millis(reset_secs), Per::Key);
        let level =
            PublicLevel { name: &name, per, unit, quota, window_secs, remaining, reset_secs, wait: wait_of, full_in: wait_of };
        let fields = headers::fields(&[level, level], wait.map(Duration::from_millis)).expect("levels");
        for value in [fields.policy, fields.level] {
            let text = value.to_str().expect("visible ASCII");
            let quotes = text.replace("\\\\", "").replace("\\\"", "").matches('"').count();
            prop_assert!(quotes % 2 == 0 && text.starts_with('"'));
            for number in text.split('=').skip(1) {
                let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
                prop_assert!(digits.len() <= 15);
            }
        }
    }
}
