//! The edge cases of admission, one test each: what a ledger does with what its callers did not foresee. Those that are
//! about prices and answers are in the layers that make them.

use std::time::Duration;

use tollgate_limit::{
    Calendar, Charge, Every, Granted, Key, Ledger, Limit, Memory, MemoryConfig, Moment, Rate, Reservation, Taken, Tick,
    Window,
};

const SECOND: u64 = 1_000_000_000;
const TENANT: Key = Key::configured(11);
const KEY: Key = Key::configured(12);

/// 20 November 2026, noon, at the monotonic second 3600.
const NOON: Moment = Moment { now: Tick(3_600 * SECOND), unix_ms: 1_795_176_000_000 };

fn ledger() -> Memory {
    Memory::new(MemoryConfig { open_slots: 1 << 10, seed: (1, 2) })
}

fn rate(burst: u64, refill_per_sec: u64, debt: u64) -> Rate {
    Rate::new(burst, refill_per_sec, debt).expect("in range")
}

fn at(seconds: u64) -> Tick {
    Tick(NOON.now.0 + seconds * SECOND)
}

/// One limit of each kind, of `max` units.
fn limits(max: u64) -> [Limit; 3] {
    let calendar = Calendar::new(Every::Day, "UTC").expect("a time zone");
    let window = Window::new(max, Duration::from_secs(100)).expect("in range").at(NOON.now);
    [rate(max, 1, max).into(), calendar.quota(max, NOON).into(), window.into()]
}

fn reserve(ledger: &Memory, charges: &[Charge], now: Tick) -> Option<Reservation> {
    match ledger.take_all(charges, now) {
        Granted::Yes { over } => Some(Reservation::of(charges, over)),
        Granted::No { .. } => None,
    }
}

fn remaining(ledger: &Memory, limit: Limit, now: Tick) -> u64 {
    ledger.peek(TENANT, limit, now).remaining
}

#[test]
fn cost_0_takes_nothing_and_opens_no_account() {
    for limit in limits(10) {
        let ledger = ledger();
        assert_eq!(ledger.take(TENANT, limit, 0, at(0)), Taken::Yes);
        assert_eq!((remaining(&ledger, limit, at(0)), ledger.configured_keys(), ledger.accounts()), (10, 0, 0));
    }
}

#[test]
fn actual_above_reserved_is_debited_and_what_is_beyond_the_debt_is_written_off() {
    let ledger = ledger();
    let limit = rate(10, 1, 20);
    let paid = reserve(&ledger, &[Charge::new(TENANT, limit, 10)], at(0)).expect("it fits");
    ledger.settle(paid, 1_000_000, at(0));
    // Locked out for burst and debt at most, not for the eleven days that it took.
    assert!(matches!(ledger.take(TENANT, limit, 1, at(20)), Taken::No { .. }));
    assert_eq!(ledger.take(TENANT, limit, 1, at(21)), Taken::Yes);
}

#[test]
fn actual_below_reserved_is_refunded_at_completion() {
    for limit in limits(10) {
        let ledger = ledger();
        let paid = reserve(&ledger, &[Charge::new(TENANT, limit, 10)], at(0)).expect("it fits");
        assert_eq!(remaining(&ledger, limit, at(0)), 0);
        ledger.settle(paid, 4, at(0));
        assert_eq!(remaining(&ledger, limit, at(0)), 6);
    }
}

#[test]
fn refused_later_is_a_full_refund_of_compute_and_the_counted_request_stays() {
    for limit in limits(10) {
        let ledger = ledger();
        let requests = rate(5, 1, 0);
        // The request counter is charged with it, and is not part of what can be refunded.
        let charges = [Charge::new(KEY, requests, 1), Charge::new(TENANT, limit, 7)];
        let Granted::Yes { over } = ledger.take_all(&charges, at(0)) else { panic!("it fits") };
        ledger.refund(Reservation::of(&charges[1..], over), at(0));
        assert_eq!((remaining(&ledger, limit, at(0)), ledger.peek(KEY, requests, at(0)).remaining), (10, 4));
    }
}

#[test]
fn client_leaves_while_queued_gets_everything_back_however_late() {
    for limit in limits(10) {
        let ledger = ledger();
        let paid = reserve(&ledger, &[Charge::new(TENANT, limit, 8)], at(0)).expect("it fits");
        ledger.refund(paid, at(50));
        assert_eq!(remaining(&ledger, limit, at(50)), 10);
    }
}

#[test]
fn client_leaves_while_running_pays_the_elapsed_time() {
    pays_once(8, 3);
}

#[test]
fn retry_or_hedge_is_one_reservation_and_charged_once() {
    // Two attempts of three units each ran: the tenant pays for the one that answered.
    pays_once(8, 3);
}

/// One reservation, settled at what ran.
fn pays_once(reserved: u64, ran: u64) {
    for limit in limits(10) {
        let ledger = ledger();
        let paid = reserve(&ledger, &[Charge::new(TENANT, limit, reserved)], at(0)).expect("it fits");
        ledger.settle(paid, ran, at(0));
        assert_eq!(remaining(&ledger, limit, at(0)), 10 - ran);
    }
}

#[test]
fn admitted_in_any_window_stays_within_burst_refill_and_what_was_outstanding_at_its_start() {
    let (ledger, rate) = (ledger(), rate(100, 10, 100));
    let mut held = Vec::new();
    while let Some(paid) = reserve(&ledger, &[Charge::new(TENANT, rate, 20)], at(0)) {
        held.push(paid);
    }
    assert_eq!(held.len(), 5);
    // All come back at once: the next window may have them, its refill and no more.
    held.into_iter().for_each(|paid| ledger.refund(paid, at(10)));
    let admitted = (0..100).filter(|_| ledger.take(TENANT, rate, 20, at(10)) == Taken::Yes).count();
    assert_eq!(admitted, 5);
}

#[test]
fn clock_that_steps_back_refills_nothing_and_locks_nobody() {
    for limit in limits(10) {
        let ledger = ledger();
        assert_eq!(ledger.take(TENANT, limit, 10, at(10)), Taken::Yes);
        assert!(matches!(ledger.take(TENANT, limit, 1, at(0)), Taken::No { .. }));
        assert!(matches!(ledger.take(TENANT, limit, 1, at(10)), Taken::No { .. }));
    }
    let ledger = ledger();
    let limit = rate(10, 1, 5);
    assert_eq!(ledger.take(TENANT, limit, 10, at(1_000_000)), Taken::Yes);
    // The latest time seen counts, so a step back of eleven days is ten seconds of waiting for whoever goes on from there.
    let Taken::No { wait } = ledger.take(TENANT, limit, 10, at(0)) else { panic!("it is spent") };
    assert!(wait <= Duration::from_secs(15), "{wait:?}");
}

#[test]
fn reload_keeps_what_is_spent_and_a_smaller_burst_clamps() {
    let ledger = ledger();
    assert_eq!(ledger.take(TENANT, rate(1_000, 10, 0), 900, at(0)), Taken::Yes);
    let smaller = rate(100, 10, 0);
    assert_eq!(ledger.peek(TENANT, smaller, at(0)).remaining, 0);
    let Taken::No { wait } = ledger.take(TENANT, smaller, 100, at(0)) else { panic!("it is spent") };
    assert!(wait <= Duration::from_secs(10), "{wait:?}");
    // A quota keeps its count, whatever it is now.
    let calendar = Calendar::new(Every::Day, "UTC").expect("a time zone");
    assert_eq!(ledger.take(KEY, calendar.quota(1_000, NOON), 900, at(0)), Taken::Yes);
    assert_eq!(ledger.peek(KEY, calendar.quota(2_000, NOON), at(0)).remaining, 1_100);
    assert_eq!(ledger.peek(KEY, calendar.quota(500, NOON), at(0)).remaining, 0);
    // A window keeps what is in it.
    let window = |max| Window::new(max, Duration::from_secs(100)).expect("in range");
    assert_eq!(ledger.take(KEY, window(1_000), 40, at(0)), Taken::Yes);
    assert_eq!(ledger.peek(KEY, window(50), at(1)).remaining, 10);
}

#[test]
fn table_full_forgets_the_least_debt_and_counts_it() {
    let ledger = Memory::new(MemoryConfig { open_slots: 64, seed: (1, 2) });
    let rate = rate(1_000, 1, 0);
    let key = |i: u64| Key::open(tollgate_limit::hash_key((3, 4), 1_u64, i));
    assert_eq!(ledger.take(key(0), rate, 1_000, at(0)), Taken::Yes);
    for i in 1..5_000 {
        assert_eq!(ledger.take(key(i), rate, 1, at(0)), Taken::Yes);
    }
    assert!(ledger.counters().evictions >= 5_000 - 64 - 1);
    assert!(matches!(ledger.take(key(0), rate, 1, at(0)), Taken::No { .. }));
}

#[test]
fn more_levels_than_there_may_be_are_refused_whole() {
    let ledger = ledger();
    let charge = |i: u64| Charge::new(Key::configured(100 + i), rate(10, 1, 0), 1);
    let nine: Vec<_> = (0..9).map(charge).collect();
    assert!(matches!(ledger.take_all(&nine, at(0)), Granted::No { at: 8, .. }));
    assert_eq!(ledger.configured_keys(), 0);
    assert!(ledger.take_all(&nine[..8], at(0)).is_yes());
}

#[test]
fn levels_of_every_kind_are_all_or_nothing() {
    for spent in 0..5 {
        let ledger = ledger();
        let [first, second, third] = limits(10);
        let levels = [first, second, third, rate(20, 1, 0).into(), limits(30)[1]];
        let charges: Vec<_> =
            (0..).zip(levels).map(|(i, limit)| Charge::new(Key::configured(200 + i), limit, 5)).collect();
        let last = charges[spent];
        ledger.debit(last.key, last.limit, last.limit.most(), at(0));
        let before: Vec<_> = charges.iter().map(|charge| ledger.peek(charge.key, charge.limit, at(0))).collect();
        let Granted::No { at: level, .. } = ledger.take_all(&charges, at(0)) else { panic!("one of them is spent") };
        assert_eq!(level, spent);
        let after: Vec<_> = charges.iter().map(|charge| ledger.peek(charge.key, charge.limit, at(0))).collect();
        assert_eq!(before, after);
    }
}

#[test]
fn a_burst_of_500_at_once_reserves_no_more_than_there_is() {
    for limit in limits(10_000) {
        let ledger = ledger();
        let start = std::sync::Barrier::new(500);
        let reserved: u64 = std::thread::scope(|scope| {
            let one = || {
                scope.spawn(|| {
                    start.wait();
                    reserve(&ledger, &[Charge::new(TENANT, limit, 77)], at(0)).map_or(0, |_| 77)
                })
            };
            let all: Vec<_> = (0..500).map(|_| one()).collect();
            all.into_iter().map(|thread| thread.join().expect("it counts")).sum()
        });
        assert_eq!(reserved, 10_000 / 77 * 77);
    }
}
