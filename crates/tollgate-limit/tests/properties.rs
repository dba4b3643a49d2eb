//! Random histories against exact models: a token bucket in 128-bit integers, and `governor` where it means the same.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::FakeRelativeClock;
use governor::{Quota, RateLimiter};
use proptest::collection::vec;
use proptest::prelude::*;
use tollgate_limit::{Charge, Granted, Key, Memory, MemoryConfig, Rate, Taken, Tick};

const SECOND: u64 = 1_000_000_000;

/// The table's unit of time.
const TICK: u64 = 1 << 20;

#[derive(Clone, Copy, Debug)]
enum Step {
    Charge(u64),
    Debit(u64),
    GiveBack(u64),
}

/// A token bucket without rounding: the balance in billionths of a unit, which come back `refill` a nanosecond.
struct Exact {
    balance: i128,
    burst: i128,
    debt: i128,
    refill: i128,
    now: u64,
}

impl Exact {
    fn new(burst: u64, refill: u64, debt: u64) -> Self {
        let scaled = |units: u64| i128::from(units) * i128::from(SECOND);
        Self { balance: scaled(burst), burst: scaled(burst), debt: scaled(debt), refill: refill.into(), now: 0 }
    }

    fn advance(&mut self, now: u64) {
        self.balance = (self.balance + i128::from(now - self.now) * self.refill).min(self.burst);
        self.now = now;
    }

    /// What would be left after a charge of `units`.
    fn left(&self, units: u64) -> i128 {
        self.balance - i128::from(units) * i128::from(SECOND)
    }

    fn apply(&mut self, step: Step) {
        self.balance = match step {
            Step::Charge(units) => self.left(units),
            Step::Debit(units) => self.left(units).max(-self.debt).min(self.balance),
            Step::GiveBack(units) => (self.balance + i128::from(units) * i128::from(SECOND)).min(self.burst),
        };
    }
}

fn ledger() -> Memory {
    Memory::new(MemoryConfig { open_slots: 1 << 8, seed: (1, 2) })
}

fn taken(taken: Taken) -> bool {
    taken == Taken::Yes
}

fn steps(max_units: u64) -> impl Strategy<Value = Vec<(u64, Step)>> {
    let step = prop_oneof![
        6 => (0..=max_units).prop_map(Step::Charge),
        1 => (0..=max_units).prop_map(Step::Debit),
        2 => (0..=max_units).prop_map(Step::GiveBack),
    ];
    let pause = prop_oneof![Just(0), 0..SECOND / 100, 0..SECOND * 3];
    vec((pause, step), 1..120)
}

/// Refills whose unit is a whole number of nanoseconds: there, nothing is rounded.
fn whole_refills() -> impl Strategy<Value = u64> {
    prop::sample::select(vec![1, 2, 4, 5, 8, 10, 100, 1_000, 15_625, 1_000_000, 4_000_000])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_configured_key_is_the_exact_token_bucket(
        burst in 1..2_000_u64, refill in whole_refills(), debt in 0..3_000_u64, history in steps(500),
    ) {
        let (ledger, key) = (ledger(), Key::configured(5));
        let rate = Rate::new(burst, refill, debt).expect("in range");
        let mut model = Exact::new(burst, refill, debt);
        let mut now = 0;
        for (pause, step) in history {
            now += pause;
            model.advance(now);
            match step {
                Step::Charge(units) => {
                    let outcome = ledger.take(key, rate, units, Tick(now));
                    prop_assert_eq!(taken(outcome), model.left(units) >= 0);
                    match outcome {
                        Taken::Yes => model.apply(step),
                        Taken::No { wait } => {
                            let missing = -model.left(units);
                            let exact = (missing + i128::from(refill) - 1) / i128::from(refill);
                            prop_assert_eq!(i128::try_from(wait.as_nanos()).expect("short"), exact);
                        }
                    }
                }
                Step::Debit(units) => { ledger.debit(key, rate, units, Tick(now)); model.apply(step); }
                Step::GiveBack(units) => { ledger.give_back(key, rate, units, Tick(now)); model.apply(step); }
            }
            let remaining = u64::try_from(model.balance.max(0) / i128::from(SECOND)).expect("small");
            prop_assert_eq!(ledger.peek(key, rate, Tick(now)).remaining, remaining);
        }
    }

    #[test]
    fn any_rate_stays_within_a_unit_of_the_exact_token_bucket(
        burst in 1..5_000_u64, refill in 1..3_000_000_u64, debt in 0..3_000_u64, history in steps(500),
    ) {
        let (ledger, key) = (ledger(), Key::configured(5));
        let rate = Rate::new(burst, refill, debt).expect("in range");
        let mut model = Exact::new(burst, refill, debt);
        let mut now = 0;
        for (operations, (pause, step)) in (2..).zip(history) {
            now += pause;
            model.advance(now);
            // Each operation rounds to a nanosecond of refill.
            let rounding = operations * i128::from(refill);
            match step {
                Step::Charge(units) => {
                    let left = model.left(units);
                    if taken(ledger.take(key, rate, units, Tick(now))) {
                        prop_assert!(left >= -i128::from(SECOND) - rounding, "generous by {}", -left);
                        model.apply(step);
                    } else {
                        prop_assert!(left < rounding, "strict by {left}");
                    }
                }
                Step::Debit(units) => { ledger.debit(key, rate, units, Tick(now)); model.apply(step); }
                Step::GiveBack(units) => { ledger.give_back(key, rate, units, Tick(now)); model.apply(step); }
            }
        }
    }

    #[test]
    fn no_window_admits_more_than_burst_and_refill_and_one_unit(
        burst in 1..200_u64, refill in 1..2_000_000_u64,
        arrivals in vec((prop_oneof![Just(0), 0..SECOND / 1_000, 0..SECOND], 1..20_u64), 1..200),
    ) {
        let (ledger, key) = (ledger(), Key::configured(5));
        let rate = Rate::new(burst, refill, 0).expect("in range");
        let mut now = 0;
        let mut admitted: Vec<(u64, u64)> = Vec::new();
        for (pause, units) in arrivals {
            now += pause;
            if taken(ledger.take(key, rate, units, Tick(now))) {
                admitted.push((now, units));
            }
        }
        for (i, &(from, _)) in admitted.iter().enumerate() {
            let mut sum = 0;
            for &(until, units) in &admitted[i..] {
                sum += u128::from(units);
                let allowed = u128::from(burst + 1) * u128::from(SECOND) + u128::from(refill) * u128::from(until - from);
                prop_assert!(sum * u128::from(SECOND) <= allowed, "{sum} within {} ns", until - from);
            }
        }
    }

    #[test]
    fn an_open_key_stays_within_the_stated_rounding(
        burst in 50..2_000_u64, refill in 1..1_000_u64, debt in 0..3_000_u64, history in steps(500),
    ) {
        let rate = Rate::new(burst, refill, debt).expect("in range");
        prop_assume!(rate.refill_time(burst) >= Duration::from_millis(22));
        let (ledger, key) = (ledger(), Key::open(5));
        let mut model = Exact::new(burst, refill, debt);
        let mut now = 0;
        for (operations, (pause, step)) in (2..).zip(history) {
            now += pause;
            model.advance(now);
            // Each operation rounds to a tick of refill; half a unit is forgiven so that a burst is a burst.
            let rounding = operations * i128::from(refill) * i128::from(TICK);
            match step {
                Step::Charge(units) => {
                    let left = model.left(units);
                    if taken(ledger.take(key, rate, units, Tick(now))) {
                        prop_assert!(left >= -i128::from(SECOND) - rounding, "generous by {}", -left);
                        model.apply(step);
                    } else {
                        prop_assert!(left < rounding, "strict by {left}");
                    }
                }
                Step::Debit(units) => { ledger.debit(key, rate, units, Tick(now)); model.apply(step); }
                Step::GiveBack(units) => { ledger.give_back(key, rate, units, Tick(now)); model.apply(step); }
            }
        }
        prop_assert_eq!(ledger.evictions() + ledger.claim_races(), 0);
    }

    #[test]
    fn governor_decides_the_same(
        burst in 1..500_u32, refill in whole_refills(),
        arrivals in vec((prop_oneof![Just(0), 0..SECOND / 100, 0..SECOND * 3], 1..100_u32), 1..150),
    ) {
        let per_second = NonZeroU32::new(u32::try_from(refill).expect("small")).expect("not zero");
        let quota = Quota::per_second(per_second).allow_burst(NonZeroU32::new(burst).expect("not zero"));
        let clock = FakeRelativeClock::default();
        let governor = RateLimiter::direct_with_clock(quota, clock.clone());
        let (ledger, key) = (ledger(), Key::configured(5));
        let rate = Rate::new(burst.into(), refill, 0).expect("in range");
        let mut now = 0;
        for (pause, units) in arrivals {
            now += pause;
            clock.advance(Duration::from_nanos(pause));
            let theirs = governor.check_n(NonZeroU32::new(units).expect("not zero"));
            let ours = ledger.take(key, rate, units.into(), Tick(now));
            prop_assert_eq!(taken(ours), matches!(theirs, Ok(Ok(()))));
        }
    }

    #[test]
    fn what_is_reserved_returns_to_zero_and_what_is_used_stays(
        requests in vec((0..4_u64, 1..30_u64, 0..60_u64, 0..3_u8), 1..200), order in any::<u64>(),
    ) {
        let (ledger, now) = (ledger(), Tick(SECOND));
        let tenant = Rate::new(2_000, 4_000, 100_000).expect("in range");
        let global = Rate::new(4_000, 1_000, 100_000).expect("in range");
        let scope = |who: u64| Key::configured(100 + who);
        let mut open = Vec::new();
        let mut used = [0_u64; 4];
        for (who, units, real, fate) in requests {
            let group = [(scope(who), tenant), (scope(9), global)].map(|(key, rate)| Charge::new(key, rate, units));
            if ledger.take_all(&group, now) == Granted::YES {
                // Fate 0: cancelled, nothing used. Else settled at what was really used, more or less than reserved.
                open.push((group, if fate == 0 { 0 } else { real }, who));
            }
        }
        while !open.is_empty() {
            let (group, real, who) = open.swap_remove(usize::try_from(order % open.len() as u64).expect("small"));
            for charge in group {
                ledger.give_back(charge.key, charge.limit, charge.units.saturating_sub(real), now);
                ledger.debit(charge.key, charge.limit, real.saturating_sub(charge.units), now);
            }
            used[usize::try_from(who).expect("small")] += real;
        }
        for who in 0..4_u64 {
            let spent = Duration::from_nanos(used[usize::try_from(who).expect("small")] * (SECOND / 4_000));
            prop_assert_eq!(ledger.peek(scope(who), tenant, now).full_in, spent);
        }
        let all = Duration::from_nanos(used.iter().sum::<u64>() * (SECOND / 1_000));
        prop_assert_eq!(ledger.peek(scope(9), global, now).full_in, all);
    }
}
