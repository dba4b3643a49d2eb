//! Two threads on the same balances: configured cells stay exact, the open table stays within what it counts.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};

use tollgate_limit::{Charge, Granted, Key, Memory, MemoryConfig, Rate, Taken, Tick, hash_key};

const SECOND: u64 = 1_000_000_000;

fn ledger(open_slots: usize) -> Memory {
    Memory::new(MemoryConfig { open_slots, seed: (1, 2) })
}

fn rate(burst: u64, refill_per_sec: u64, debt: u64) -> Rate {
    Rate::new(burst, refill_per_sec, debt).expect("in range")
}

fn both<T: Send>(work: impl Fn(u64) -> T + Sync) -> [T; 2] {
    std::thread::scope(|scope| {
        let other = scope.spawn(|| work(1));
        let mine = work(0);
        [mine, other.join().expect("no panic in the other thread")]
    })
}

/// A clock that both threads push forward.
struct Shared(AtomicU64);

impl Shared {
    fn step(&self, nanos: u64) -> Tick {
        Tick(self.0.fetch_add(nanos, Ordering::Relaxed))
    }
}

#[test]
fn a_configured_cell_never_admits_more_than_burst_and_refill_in_any_window() {
    // Time moves between phases only, so that every admission belongs to one instant.
    let (ledger, key) = (ledger(16), Key::configured(1));
    let (burst, refill, phases) = (50, 1_000_000, 10_000_u64);
    let rate = rate(burst, refill, 0);
    let instant = |phase: u64| phase * 3_000 + phase % 7 * 400 + phase / 1_000 * 20_000;
    let start = Barrier::new(2);
    let admitted = both(|_| {
        let phase = |phase| {
            start.wait();
            (0..8).filter(|_| ledger.take(key, rate, 1, Tick(instant(phase))) == Taken::Yes).count()
        };
        (0..phases).map(phase).collect::<Vec<_>>()
    });
    let [mine, others] = admitted;
    // With `level = admitted − refill · time`, a window is within bounds if the level rises by no more than the burst.
    let (mut total, mut lowest) = (0, 0);
    for (phase, (mine, others)) in (0..).zip(mine.iter().zip(&others)) {
        let refilled = i128::from(instant(phase)) * i128::from(refill);
        lowest = lowest.min(total * i128::from(SECOND) - refilled);
        total += (mine + others) as i128;
        let level = total * i128::from(SECOND) - refilled;
        assert!(level - lowest <= i128::from(burst + 1) * i128::from(SECOND), "phase {phase}");
    }
    assert!(total > 20_000, "{total}");
}

#[test]
fn free_running_threads_share_one_budget() {
    share_one_budget(500_000);
}

#[test]
#[ignore = "a hundred million operations: for acceptance runs, in release"]
fn free_running_threads_share_one_budget_for_a_hundred_million_operations() {
    share_one_budget(50_000_000);
}

fn share_one_budget(operations: u64) {
    let (ledger, key) = (ledger(16), Key::configured(1));
    let (burst, refill) = (50, 1_000_000);
    let rate = rate(burst, refill, 0);
    let clock = Shared(AtomicU64::new(0));
    let admitted = both(|_| {
        let taken = |_: &u64| ledger.take(key, rate, 1, clock.step(300)) == Taken::Yes;
        (0..operations).filter(taken).count() as u64
    });
    let admitted = admitted.iter().sum::<u64>();
    let refilled = clock.step(0).0 * refill / SECOND;
    assert!(admitted <= burst + refilled + 1, "{admitted} of {refilled}");
    assert!(admitted * 10 >= refilled * 9, "{admitted} of {refilled}");
}

#[test]
fn a_standing_clock_admits_exactly_the_burst() {
    for round in 0..200 {
        let (ledger, key, rate) = (ledger(16), Key::configured(round), rate(1_000, 1, 0));
        let admitted = both(|_| (0..1_000).filter(|_| ledger.take(key, rate, 1, Tick(5)) == Taken::Yes).count());
        assert_eq!(admitted.iter().sum::<usize>(), 1_000);
        assert_eq!(ledger.configured_keys(), 1);
    }
}

#[test]
fn many_new_configured_keys_are_made_once_each() {
    let (ledger, rate) = (ledger(16), rate(3, 1, 0));
    let key = |i: u64| Key::configured(hash_key((5, 6), 1_u64, i));
    let admitted = both(|_| {
        (0..20_000).map(|i| (0..3).filter(|_| ledger.take(key(i), rate, 1, Tick(5)) == Taken::Yes).count()).sum()
    });
    assert_eq!(admitted.iter().sum::<usize>(), 60_000);
    assert_eq!(ledger.configured_keys(), 20_000);
    assert_eq!(ledger.counters().overflows, 0);
}

#[test]
fn a_cell_that_changes_hands_is_never_charged_for_its_old_owner() {
    // One group of cells, many keys: cells expire and are taken over all the time, under the other thread's eyes.
    let ledger = ledger(16).with_configured_cells(8);
    let rate = rate(1_000, 1_000_000_000, 0);
    let clock = Shared(AtomicU64::new(1));
    both(|me| {
        for i in 0..200_000_u64 {
            let key = Key::configured(1_000 + me * 1_000_000 + i % 64);
            let now = clock.step(5_000);
            // The key's last charge has long expired, and nobody else charges it: whoever had the cell, it is full.
            assert_eq!(ledger.take(key, rate, 1_000, now), Taken::Yes);
        }
    });
}

#[test]
fn the_open_table_exceeds_by_no_more_than_it_counts() {
    // Far too small a table, one instant: every key may spend its burst once, more only through what is counted.
    let (burst, keys) = (20, 2_000_u64);
    let (ledger, rate) = (ledger(1_024), rate(burst, 10, 0));
    let admitted = both(|me| {
        let mut admitted = 0;
        for i in 0..400_000_u64 {
            let key = Key::open(hash_key((7, 8), me, i).wrapping_rem(keys));
            admitted += u64::from(ledger.take(key, rate, 1, Tick(SECOND)) == Taken::Yes);
        }
        admitted
    });
    let admitted: u64 = admitted.iter().sum();
    let counted = ledger.evictions() * burst + ledger.claim_races();
    // Half a unit is forgiven, and a tick is 1 % of a unit: rounding is below one unit a key.
    assert!(admitted <= keys * burst + counted + keys, "{admitted} {:?}", ledger.counters());
    assert!(ledger.evictions() > 0);
}

#[test]
fn an_open_table_with_room_is_exact_but_for_counted_races() {
    let (burst, keys) = (5, 500_u64);
    for round in 0..40 {
        let (ledger, rate) = (ledger(4_096), rate(burst, 1, 0));
        // Both threads insert the same keys in the same order: as many double inserts as can be had.
        let admitted = both(|_| {
            let mut admitted = 0;
            for _ in 0..2 * burst {
                for i in 0..keys {
                    let key = Key::open(hash_key((round, 8), 1_u64, i));
                    admitted += u64::from(ledger.take(key, rate, 1, Tick(SECOND)) == Taken::Yes);
                }
            }
            admitted
        });
        let admitted: u64 = admitted.iter().sum();
        assert_eq!(ledger.evictions(), 0);
        assert!(admitted >= keys * burst, "{admitted} {:?}", ledger.counters());
        assert!(admitted <= keys * burst + ledger.claim_races(), "{admitted} {:?}", ledger.counters());
        assert_eq!(ledger.open_live(Tick(SECOND)) as u64, keys);
    }
}

#[test]
fn a_hot_new_key_in_the_table_ends_in_one_slot() {
    for round in 0..2_000 {
        let (ledger, rate) = (ledger(16), rate(100, 1, 0));
        let key = Key::open(hash_key((round, 9), 1_u64, 1_u64));
        let admitted = both(|_| (0..100).filter(|_| ledger.take(key, rate, 1, Tick(SECOND)) == Taken::Yes).count());
        let admitted: usize = admitted.iter().sum();
        assert!((100..=100 + usize::try_from(ledger.claim_races()).expect("few")).contains(&admitted), "{admitted}");
        assert_eq!(ledger.open_live(Tick(SECOND)), 1);
    }
}

#[test]
fn reservations_return_to_zero_under_two_threads() {
    let ledger = ledger(1_024);
    let (tenant, global) = (Key::configured(1), Key::configured(2));
    let (wide, narrow) = (rate(1_000, 1, 0), rate(300, 1, 0));
    let refused = both(|me| {
        let mut refused = 0;
        for i in 0..100_000_u64 {
            let units = 1 + (i * 7 + me) % 200;
            let group = [(tenant, wide), (global, narrow)].map(|(key, rate)| Charge::new(key, rate, units));
            match ledger.take_all(&group, Tick(SECOND)) {
                Granted::Yes { .. } => {
                    group.iter().for_each(|c| ledger.give_back(c.key, c.limit, c.units, Tick(SECOND)))
                }
                Granted::No { .. } => refused += 1,
            }
        }
        refused
    });
    assert_eq!(ledger.peek(tenant, wide, Tick(SECOND)).remaining, 1_000, "{refused:?}");
    assert_eq!(ledger.peek(global, narrow, Tick(SECOND)).remaining, 300);
}
