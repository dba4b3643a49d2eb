//! What each operation promises, one promise a test, for both kinds of key.

use std::time::Duration;

use tollgate_limit::{Charge, Granted, Key, Memory, MemoryConfig, Rate, Taken, Tick};

const SECOND: u64 = 1_000_000_000;
const KEYS: [Key; 2] = [Key::configured(11), Key::open(12)];

/// What the open table's figures may be off by at the bursts used here: 3 · √burst ticks.
const COARSE: Duration = Duration::from_millis(35);

fn ledger() -> Memory {
    Memory::new(MemoryConfig { open_slots: 1 << 10, seed: (1, 2) })
}

fn rate(burst: u64, refill_per_sec: u64, debt: u64) -> Rate {
    Rate::new(burst, refill_per_sec, debt).expect("in range")
}

fn at(seconds: u64) -> Tick {
    Tick(seconds * SECOND)
}

fn wait_of(taken: Taken) -> Duration {
    match taken {
        Taken::Yes => panic!("it was taken"),
        Taken::No { wait } => wait,
    }
}

fn close(a: Duration, b: Duration) -> bool {
    a.abs_diff(b) <= COARSE
}

#[test]
fn a_burst_is_spent_and_refills_with_time() {
    for key in KEYS {
        let (ledger, rate) = (ledger(), rate(10, 2, 0));
        assert_eq!(ledger.take(key, rate, 10, at(0)), Taken::Yes);
        assert!(close(wait_of(ledger.take(key, rate, 4, at(1))), Duration::from_secs(1)));
        assert_eq!(ledger.take(key, rate, 4, at(2)), Taken::Yes);
        assert!(close(wait_of(ledger.take(key, rate, 1, at(2))), Duration::from_millis(500)));
    }
}

#[test]
fn a_burst_of_single_units_at_one_instant_is_exactly_the_burst() {
    for key in KEYS {
        for (burst, refill) in [(5, 1), (3, 3), (7, 7), (100, 3), (20, 13)] {
            let (ledger, rate) = (ledger(), rate(burst, refill, 0));
            let taken = (0..burst * 2).filter(|_| ledger.take(key, rate, 1, at(5)) == Taken::Yes).count();
            assert_eq!(taken as u64, burst, "{key:?} {burst} {refill}");
        }
    }
}

#[test]
fn the_wait_is_true() {
    for key in KEYS {
        let (ledger, rate) = (ledger(), rate(10, 3, 0));
        assert_eq!(ledger.take(key, rate, 10, at(0)), Taken::Yes);
        let wait = u64::try_from(wait_of(ledger.take(key, rate, 7, at(0))).as_nanos()).expect("short");
        assert!(matches!(ledger.take(key, rate, 7, Tick(wait - 2)), Taken::No { .. }));
        assert_eq!(ledger.take(key, rate, 7, Tick(wait)), Taken::Yes);
    }
}

#[test]
fn more_than_the_burst_never_fits() {
    for key in KEYS {
        let (ledger, rate) = (ledger(), rate(10, 1, 10));
        assert!(matches!(ledger.take(key, rate, 12, at(0)), Taken::No { .. }));
        assert!(matches!(ledger.take(key, rate, u64::MAX, at(1_000)), Taken::No { .. }));
        assert_eq!(ledger.peek(key, rate, at(1_000)).remaining, 10);
    }
}

#[test]
fn a_refusal_takes_nothing() {
    for key in KEYS {
        let (ledger, rate) = (ledger(), rate(10, 1, 0));
        assert_eq!(ledger.take(key, rate, 6, at(0)), Taken::Yes);
        let before = ledger.peek(key, rate, at(0));
        for _ in 0..100 {
            assert!(matches!(ledger.take(key, rate, 5, at(0)), Taken::No { .. }));
        }
        assert_eq!(ledger.peek(key, rate, at(0)), before);
        assert_eq!(ledger.take(key, rate, 4, at(0)), Taken::Yes);
    }
}

#[test]
fn a_refused_stranger_takes_no_slot() {
    let (ledger, rate) = (ledger(), rate(10, 1, 0));
    assert!(matches!(ledger.take(Key::open(1), rate, 12, at(0)), Taken::No { .. }));
    assert!(matches!(ledger.take(Key::configured(1), rate, 12, at(0)), Taken::No { .. }));
    assert_eq!((ledger.open_live(at(0)), ledger.configured_keys()), (0, 0));
}

#[test]
fn what_is_given_back_can_be_taken_again() {
    for key in KEYS {
        let (ledger, rate) = (ledger(), rate(10, 1, 0));
        assert_eq!(ledger.take(key, rate, 10, at(0)), Taken::Yes);
        ledger.give_back(key, rate, 6, at(0));
        assert_eq!(ledger.take(key, rate, 6, at(0)), Taken::Yes);
        assert!(matches!(ledger.take(key, rate, 1, at(0)), Taken::No { .. }));
    }
}

#[test]
fn giving_back_never_raises_a_balance_above_its_burst() {
    for key in KEYS {
        let (ledger, rate) = (ledger(), rate(10, 1, 0));
        assert_eq!(ledger.take(key, rate, 3, at(0)), Taken::Yes);
        ledger.give_back(key, rate, 1_000, at(1));
        ledger.give_back(key, rate, u64::MAX, at(1));
        assert_eq!(ledger.peek(key, rate, at(1)).remaining, 10);
        assert_eq!(ledger.take(key, rate, 10, at(1)), Taken::Yes);
        assert!(matches!(ledger.take(key, rate, 1, at(1)), Taken::No { .. }));
    }
}

#[test]
fn giving_back_to_an_absent_key_does_nothing() {
    let (ledger, rate) = (ledger(), rate(10, 1, 0));
    for key in KEYS {
        ledger.give_back(key, rate, 5, at(0));
        assert_eq!(ledger.peek(key, rate, at(0)).remaining, 10);
    }
    assert_eq!((ledger.open_live(at(0)), ledger.configured_keys()), (0, 0));
}

#[test]
fn a_debit_goes_below_zero_down_to_the_debt_and_no_further() {
    for key in KEYS {
        let (ledger, rate) = (ledger(), rate(10, 1, 20));
        assert_eq!(ledger.take(key, rate, 10, at(0)), Taken::Yes);
        ledger.debit(key, rate, 1_000_000, at(0));
        ledger.debit(key, rate, u64::MAX, at(0));
        let level = ledger.peek(key, rate, at(0));
        assert_eq!(level.remaining, 0);
        assert!(close(level.full_in, Duration::from_secs(30)), "{level:?}");
        assert!(close(wait_of(ledger.take(key, rate, 1, at(0))), Duration::from_secs(21)));
        assert_eq!(ledger.take(key, rate, 1, at(22)), Taken::Yes);
    }
}

#[test]
fn a_debit_reaches_a_key_that_was_never_seen() {
    for key in KEYS {
        let (ledger, rate) = (ledger(), rate(10, 1, 20));
        ledger.debit(key, rate, 15, at(0));
        assert!(close(wait_of(ledger.take(key, rate, 1, at(0))), Duration::from_secs(6)));
    }
}

#[test]
fn a_peek_says_what_a_charge_would_find() {
    for key in KEYS {
        let (ledger, rate) = (ledger(), rate(100, 10, 0));
        let fresh = ledger.peek(key, rate, at(0));
        assert_eq!((fresh.burst, fresh.remaining), (100, 100));
        assert_eq!((fresh.wait, fresh.full_in), (Duration::ZERO, Duration::ZERO));
        assert_eq!(ledger.take(key, rate, 60, at(0)), Taken::Yes);
        assert_eq!(ledger.peek(key, rate, at(0)).remaining, 40);
        assert!(close(ledger.peek(key, rate, at(1)).full_in, Duration::from_secs(5)));
        assert_eq!(ledger.take(key, rate, 50, at(1)), Taken::Yes);
        let spent = ledger.peek(key, rate, Tick(SECOND + SECOND / 100));
        assert_eq!(spent.remaining, 0);
        assert!(close(spent.wait, Duration::from_millis(90)), "{spent:?}");
    }
}

#[test]
fn a_clock_that_steps_back_refills_nothing_and_locks_nobody() {
    for key in KEYS {
        let (ledger, rate) = (ledger(), rate(10, 1, 0));
        assert_eq!(ledger.take(key, rate, 10, at(1_000)), Taken::Yes);
        assert!(close(wait_of(ledger.take(key, rate, 1, at(0))), Duration::from_secs(1)));
        assert_eq!(ledger.take(key, rate, 1, at(1_001)), Taken::Yes);
    }
}

#[test]
fn a_smaller_burst_after_a_reload_clamps_and_locks_no_longer_than_itself() {
    for key in KEYS {
        let ledger = ledger();
        assert_eq!(ledger.take(key, rate(3_600, 1, 0), 3_600, at(0)), Taken::Yes);
        let smaller = rate(10, 1, 5);
        assert!(close(wait_of(ledger.take(key, smaller, 1, at(0))), Duration::from_secs(6)));
        assert!(matches!(ledger.take(key, smaller, 1, at(5)), Taken::No { .. }));
        assert_eq!(ledger.take(key, smaller, 1, at(7)), Taken::Yes);
    }
}

#[test]
fn a_larger_burst_after_a_reload_keeps_what_was_spent() {
    for key in KEYS {
        let ledger = ledger();
        assert_eq!(ledger.take(key, rate(10, 1, 0), 10, at(0)), Taken::Yes);
        assert_eq!(ledger.peek(key, rate(100, 1, 0), at(0)).remaining, 90);
    }
}

#[test]
fn a_charge_of_nothing_is_taken_unless_the_key_is_in_debt() {
    for key in KEYS {
        let (ledger, rate) = (ledger(), rate(10, 1, 10));
        assert_eq!(ledger.take(key, rate, 0, at(0)), Taken::Yes);
        assert_eq!((ledger.open_live(at(0)), ledger.configured_keys()), (0, 0));
        ledger.debit(key, rate, 15, at(0));
        assert!(matches!(ledger.take(key, rate, 0, at(0)), Taken::No { .. }));
    }
}

#[test]
fn keys_and_classes_do_not_share_a_balance() {
    let (ledger, rate) = (ledger(), rate(10, 1, 0));
    for hash in 0..50 {
        assert_eq!(ledger.take(Key::configured(hash), rate, 10, at(0)), Taken::Yes, "{hash}");
        assert_eq!(ledger.take(Key::open(hash), rate, 10, at(0)), Taken::Yes, "{hash}");
    }
}

#[test]
fn all_or_nothing_gives_back_what_earlier_levels_took() {
    let (ledger, wide, narrow) = (ledger(), rate(100, 1, 0), rate(5, 1, 0));
    let [tenant, address] = KEYS;
    let global = Key::configured(99);
    let charge = |key, rate| Charge::new(key, rate, 3);
    let group = [charge(tenant, wide), charge(address, wide), charge(global, narrow)];
    assert_eq!(ledger.take_all(&group, at(0)), Granted::YES);
    let before = group.map(|charge| ledger.peek(charge.key, charge.limit, at(0)).remaining);
    assert_eq!(before, [97, 97, 2]);
    let Granted::No { at: level, wait, .. } = ledger.take_all(&group, at(0)) else { panic!("the last level is spent") };
    assert_eq!((level, wait), (2, Duration::from_secs(1)));
    assert_eq!(group.map(|charge| ledger.peek(charge.key, charge.limit, at(0)).remaining), before);
}

#[test]
fn short_bursts_of_open_keys_are_exact() {
    // A burst of 10 ms is less than 20 of the table's ticks.
    let (ledger, rate) = (ledger(), rate(10, 1_000, 0));
    let taken = (0..100).filter(|_| ledger.take(Key::open(5), rate, 1, at(1)) == Taken::Yes).count();
    assert_eq!(taken, 10);
    assert_eq!(wait_of(ledger.take(Key::open(5), rate, 1, at(1))), Duration::from_millis(1));
    assert_eq!(ledger.open_live(at(1)), 0);
}

#[test]
fn a_spray_of_short_bursts_stays_within_its_memory() {
    let ledger = Memory::new(MemoryConfig { open_slots: 4_096, seed: (1, 2) });
    let rate = rate(10, 1_000, 1_000);
    for hash in 0..100_000 {
        let _ = ledger.take(Key::open(hash), rate, 10, at(1));
    }
    assert!(ledger.bytes() <= 4_096 * (8 + 16), "{}", ledger.bytes());
    assert!(ledger.evictions() > 0);
}

#[test]
fn rates_out_of_range_are_refused() {
    for (burst, refill, debt) in
        [(0, 1, 0), (1, 0, 0), (1, 1_000_000_001, 0), (u64::MAX, 1, 0), (1, 1, u64::MAX), (1 << 28, 1, 1 << 29)]
    {
        assert_eq!(Rate::new(burst, refill, debt).is_some(), burst == 1 << 28, "{burst} {refill} {debt}");
    }
    assert!(Rate::new(2_000_000_000, 1, 0).is_none());
    let rate = Rate::new(u64::from(u32::MAX), 1_000_000_000, 7).expect("in range");
    assert_eq!((rate.burst(), rate.debt()), (u64::from(u32::MAX), 7));
    assert_eq!(rate.refill_time(10), Duration::from_nanos(10));
}

#[test]
fn a_unit_that_takes_a_fraction_of_a_nanosecond_more_is_never_cheaper() {
    let key = Key::configured(1);
    for refill in [3, 700_000, 3_000_000, 299_999_999, 700_000_000] {
        let (ledger, rate) = (ledger(), rate(100, refill, 0));
        let mut taken = 0_u64;
        let step = 50 * SECOND / refill;
        for i in 0..1_000 {
            taken += (0..200).filter(|_| ledger.take(key, rate, 1, Tick(i * step)) == Taken::Yes).count() as u64;
            assert!(taken <= 101 + i * step * refill / SECOND, "{refill}: {taken} at {i}");
        }
    }
}

#[test]
fn removed_keys_lose_their_cells_and_kept_keys_keep_their_balance() {
    let (ledger, rate) = (ledger(), rate(10, 1, 0));
    for hash in 100..200 {
        assert_eq!(ledger.take(Key::configured(hash), rate, 10, at(1)), Taken::Yes);
    }
    ledger.retain(|key| key.hash % 2 == 0);
    assert_eq!(ledger.configured_keys(), 50);
    for hash in 100..200 {
        assert_eq!(ledger.peek(Key::configured(hash), rate, at(1)).remaining, if hash % 2 == 0 { 0 } else { 10 });
    }
}

#[test]
fn cells_of_removed_keys_are_used_again() {
    let ledger = ledger().with_configured_cells(6_144);
    let rate = rate(10, 1, 0);
    for generation in 0..50_u64 {
        let now = at(generation * 100 + 1);
        ledger.retain(|_| false);
        for i in 0..500 {
            let key = Key::configured(hash(generation * 1_000 + i));
            assert_eq!(ledger.take(key, rate, 10, now), Taken::Yes);
            assert!(matches!(ledger.take(key, rate, 1, now), Taken::No { .. }), "{generation} {i}");
        }
    }
    assert_eq!(ledger.counters().overflows, 0);
    assert!(ledger.bytes() <= 6_144 * 16 + 1_024 * 8);
}

#[test]
fn configured_keys_beyond_the_cap_are_counted_and_still_limited() {
    let ledger = Memory::new(MemoryConfig { open_slots: 1 << 16, seed: (1, 2) }).with_configured_cells(2_048);
    let rate = rate(10, 1, 0);
    for i in 0..10_000 {
        assert_eq!(ledger.take(Key::configured(hash(i)), rate, 10, at(1)), Taken::Yes);
    }
    let again = (0..10_000).filter(|&i| ledger.take(Key::configured(hash(i)), rate, 1, at(1)) == Taken::Yes).count();
    assert_eq!(again, 0);
    assert!(ledger.counters().overflows > 0);
    assert!(ledger.bytes() <= 2_048 * 16 + (1 << 16) * 8);
}

#[test]
fn a_full_table_evicts_the_least_debt_and_the_flooder_stays_locked() {
    let ledger = Memory::new(MemoryConfig { open_slots: 256, seed: (1, 2) });
    let rate = rate(1_000, 1, 1_000);
    let flooder = Key::open(hash(1));
    ledger.debit(flooder, rate, 2_000, at(1));
    for i in 0..100_000 {
        let _ = ledger.take(Key::open(hash(1_000 + i)), rate, 1, at(1));
    }
    assert!(ledger.evictions() > 90_000);
    assert!(matches!(ledger.take(flooder, rate, 1, at(1)), Taken::No { .. }));
}

#[test]
fn a_sweep_clears_what_has_expired_and_nothing_else_even_where_time_wraps() {
    let ledger = ledger();
    let long = rate(1_000_000, 1, 0);
    let short = rate(10, 1, 0);
    let day = 86_400;
    assert_eq!(ledger.take(Key::open(1), short, 10, at(0)), Taken::Yes);
    let mut spent = Tick(0);
    for passed in (0..120).step_by(7) {
        spent = at(passed * day + 60);
        assert_eq!(ledger.take(Key::open(2), long, 500_000, spent), Taken::Yes, "day {passed}");
        let cleared = ledger.sweep(spent, 1 << 7);
        assert_eq!(cleared, usize::from(passed == 0), "day {passed}");
        assert_eq!(ledger.open_live(spent), 1);
        assert_eq!(ledger.peek(Key::open(1), short, spent).remaining, 10, "day {passed}");
    }
    assert!(close(ledger.peek(Key::open(2), long, spent).full_in, Duration::from_secs(500_000)));
}

#[test]
fn a_sweep_is_bounded_and_goes_on_where_it_stopped() {
    let ledger = ledger();
    let rate = rate(10, 1, 0);
    for i in 0..200 {
        assert_eq!(ledger.take(Key::open(hash(i)), rate, 1, at(0)), Taken::Yes);
    }
    let steps: Vec<usize> = (0..4).map(|_| ledger.sweep(at(100), 32)).collect();
    assert_eq!(steps.iter().sum::<usize>(), 200);
    assert!(steps.iter().all(|&n| n > 0), "{steps:?}");
    assert_eq!(ledger.sweep(at(100), 128), 0);
}

fn hash(i: u64) -> u64 {
    tollgate_limit::hash_key((3, 4), 1_u64, i)
}
