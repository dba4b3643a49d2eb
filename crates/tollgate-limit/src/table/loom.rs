//! The slot protocol in every order of its steps, for two threads: `RUSTFLAGS="--cfg loom" cargo test --release
//! -p tollgate-limit --lib loom`. Two lines of two slots are the whole table.

use std::sync::Arc;

use ::loom::thread;

use super::*;
use crate::gcra::{Act, Latest, Rate};

const SECOND: u64 = 1_000_000_000;
const NOW: u64 = 1 << 40;

/// A few ticks after it.
const LATER: u64 = NOW + 4 * TICK_NS;

/// What the threads share.
struct House {
    table: Table,
    latest: Latest,
    rate: Rate,
}

impl House {
    fn new(burst: u64) -> Arc<Self> {
        let rate = Rate::new(burst, 1, burst).expect("in range");
        Arc::new(Self { table: Table::new(0), latest: Latest::default(), rate })
    }

    fn apply(&self, act: Act, key: u64, units: u64) -> bool {
        self.apply_at(act, key, (units, NOW))
    }

    fn apply_at(&self, act: Act, key: u64, (units, now): (u64, u64)) -> bool {
        self.table.apply(key, &Op::new(act, self.rate, units, now, &self.latest)) == Taken::Yes
    }

    /// Puts a key into the first place that `key` would take, which is free again at [`LATER`] and not yet at [`NOW`]: then
    /// a thread that is late by a millisecond inserts in another place than one that is not.
    fn take_first_place_of(&self, key: u64) {
        let first = |key: u64| std::ptr::from_ref(self.table.place(spread(key)).0.first);
        let neighbour = (100..200).find(|&other| first(other) == first(key)).expect("one of a hundred");
        assert!(self.apply_at(Act::Charge, neighbour, (1, LATER - SECOND - TICK_NS)));
    }

    /// In how many slots one key stands.
    fn places(&self, key: u64) -> usize {
        let (pair, tag) = self.table.place(spread(key));
        pair.find(tag).map_or(0, |seen| 1 + usize::from(pair.twin(tag, seen.place).is_some()))
    }

    /// What the key owes, in units; each operation rounds to a tick, and there are three at most.
    fn owes(&self, key: u64) -> u64 {
        self.table.backlog(key, NOW).map_or(0, |owed| (owed + 4 * TICK_NS) / SECOND)
    }

    /// In how many slots a key stands.
    fn slots(&self) -> usize {
        self.table.live(NOW)
    }
}

/// Tries every order that makes a difference.
fn explore(model: impl Fn() + Send + Sync + 'static) {
    let orders = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&orders);
    ::loom::model(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        model();
    });
    let orders = orders.load(Ordering::Relaxed);
    println!("{orders} orders");
    assert!(orders > 1, "only {orders}: were these loom's atomics?");
}

/// Runs both at once, in a thread each.
fn both<A, B>(house: &Arc<House>, one: fn(&House) -> A, other: fn(&House) -> B) -> (A, B)
where
    A: Send + 'static,
    B: Send + 'static,
{
    let shared = Arc::clone(house);
    let other = thread::spawn(move || other(&shared));
    let one = one(house);
    (one, other.join().expect("no panic in the other thread"))
}

#[test]
fn loom_two_inserts_of_one_key_end_in_one_slot_with_the_debt_of_both() {
    explore(|| {
        let house = House::new(10);
        house.take_first_place_of(7);
        let late = |h: &House| h.apply_at(Act::Charge, 7, (3, NOW));
        let (one, other) = both(&house, late, |h| h.apply_at(Act::Charge, 7, (4, LATER)));
        assert!(one && other);
        assert_eq!((house.places(7), house.owes(7)), (1, 7));
    });
}

#[test]
fn loom_what_two_inserts_admit_beyond_the_burst_is_counted() {
    explore(|| {
        let house = House::new(5);
        house.take_first_place_of(7);
        let late = |h: &House| h.apply_at(Act::Charge, 7, (3, NOW));
        let (one, other) = both(&house, late, |h| h.apply_at(Act::Charge, 7, (4, LATER)));
        let admitted = 3 * u64::from(one) + 4 * u64::from(other);
        assert!(admitted >= 3, "one of them fits");
        assert!(admitted <= 5 || house.table.claim_races() > 0, "uncounted");
        assert_eq!((house.places(7), house.owes(7)), (1, admitted));
    });
}

#[test]
fn loom_an_insert_and_a_debit_of_one_new_key_end_in_one_slot() {
    explore(|| {
        let house = House::new(10);
        house.take_first_place_of(7);
        let late = |h: &House| h.apply_at(Act::Debit, 7, (3, NOW));
        both(&house, late, |h| h.apply_at(Act::Charge, 7, (4, LATER)));
        assert_eq!((house.places(7), house.owes(7)), (1, 7));
    });
}

#[test]
fn loom_a_charge_and_a_refund_of_one_slot_are_both_counted() {
    explore(|| {
        let house = House::new(10);
        assert!(house.apply(Act::Charge, 7, 5));
        both(&house, |h| h.apply(Act::Charge, 7, 3), |h| h.apply(Act::GiveBack, 7, 2));
        assert_eq!((house.slots(), house.owes(7)), (1, 6));
    });
}

#[test]
fn loom_two_charges_of_one_slot_never_exceed_the_burst() {
    explore(|| {
        let house = House::new(10);
        assert!(house.apply(Act::Charge, 7, 5));
        let (one, other) = both(&house, |h| h.apply(Act::Charge, 7, 3), |h| h.apply(Act::Charge, 7, 4));
        assert!(one ^ other, "one of them fits");
        assert_eq!(house.owes(7), if one { 8 } else { 9 });
        assert_eq!(house.table.claim_races(), 0);
    });
}

#[test]
fn loom_a_slot_that_is_evicted_under_a_thread_is_not_charged_for_its_new_owner() {
    explore(|| {
        let house = House::new(10);
        // All four slots are in use; key 7 owes least and gives way.
        for (key, units) in [(1, 8), (2, 8), (3, 8), (7, 1)] {
            assert!(house.apply(Act::Charge, key, units));
        }
        assert_eq!((house.slots(), house.table.evictions()), (4, 0));
        both(&house, |h| h.apply(Act::Charge, 7, 4), |h| h.apply(Act::Charge, 9, 6));
        // The new key owes its own charge or was evicted in turn, and nobody pays for it.
        assert!([0, 6].contains(&house.owes(9)), "{}", house.owes(9));
        assert!([0, 1, 4, 5].contains(&house.owes(7)), "{}", house.owes(7));
        assert!((1..=3).all(|key| [0, 8].contains(&house.owes(key))));
        assert!(house.table.evictions() > 0);
        assert_eq!(house.slots(), 4);
    });
}

#[test]
fn loom_a_sweep_takes_nothing_from_a_key_that_is_charged_meanwhile() {
    explore(|| {
        let house = House::new(10);
        // A slot whose time has passed by now.
        let early = Op::new(Act::Charge, house.rate, 1, NOW - 60 * SECOND, &house.latest);
        assert_eq!(house.table.apply(7, &early), Taken::Yes);
        let (taken, _) = both(&house, |h| h.apply(Act::Charge, 7, 5), |h| h.table.sweep(NOW, 2));
        assert!(taken);
        assert_eq!((house.slots(), house.owes(7)), (1, 5));
    });
}
