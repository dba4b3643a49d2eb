//! Shadow mode: what only watches never refuses, and says exactly where enforcing would have.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use tollgate_limit::{
    Calendar, Charge, Every, Granted, Key, Ledger, Limit, Memory, MemoryConfig, Moment, Rate, Reservation, Tick, Window,
};

const SECOND: u64 = 1_000_000_000;

fn ledger() -> Memory {
    Memory::new(MemoryConfig { open_slots: 1 << 8, seed: (1, 2) })
}

fn limits() -> [Limit; 3] {
    let calendar = Calendar::new(Every::Month, "UTC").expect("a time zone");
    [
        Rate::new(10, 1, 10).expect("in range").into(),
        Window::new(10, Duration::from_secs(10)).expect("in range").into(),
        calendar.quota(10, Moment::default()).into(),
    ]
}

fn over(granted: Granted) -> bool {
    match granted {
        Granted::Yes { over } => over.contains(0),
        Granted::No { .. } => panic!("what only watches refuses nobody"),
    }
}

#[test]
fn what_only_watches_refuses_nobody_and_names_those_it_would_have() {
    for (limit, remaining) in limits().into_iter().zip([4, 4, 0]) {
        let (ledger, key) = (ledger(), Key::configured(1));
        let charge = Charge::new(key, limit, 6).shadowed();
        assert!(!over(ledger.take_all(&[charge], Tick(0))));
        assert!(over(ledger.take_all(&[charge], Tick(0))));
        // A quota counts what was used; a rate and a window stay as enforcing would leave them.
        assert_eq!(ledger.peek(key, limit, Tick(0)).remaining, remaining);
    }
}

#[test]
fn settling_gives_back_only_what_was_taken() {
    for (limit, remaining) in limits().into_iter().zip([4, 4, 2]) {
        let (ledger, key) = (ledger(), Key::configured(1));
        let charges = [Charge::new(key, limit, 6).shadowed()];
        let Granted::Yes { over } = ledger.take_all(&charges, Tick(0)) else { panic!("it fits") };
        let first = Reservation::of(&charges, over);
        let Granted::Yes { over } = ledger.take_all(&charges, Tick(0)) else { panic!("it watches") };
        let second = Reservation::of(&charges, over);
        ledger.settle(second, 2, Tick(0));
        assert_eq!(ledger.peek(key, limit, Tick(0)).remaining, remaining);
        ledger.refund(first, Tick(0));
    }
}

#[test]
fn an_enforced_level_still_refuses_and_the_watched_ones_before_it_give_back() {
    for limit in limits() {
        let ledger = ledger();
        let (watched, enforced) = (Key::configured(1), Key::configured(2));
        let spent = Rate::new(1, 1, 0).expect("in range");
        let charges = [Charge::new(watched, limit, 12).shadowed(), Charge::new(enforced, spent, 2)];
        assert!(matches!(ledger.take_all(&charges, Tick(0)), Granted::No { at: 1, .. }));
        assert_eq!(ledger.peek(watched, limit, Tick(0)).remaining, 10);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_watched_rate_or_window_names_exactly_those_that_enforcing_refuses(
        arrivals in vec((prop_oneof![Just(0), 0..SECOND * 3], 1..10_u64), 1..150), which in 0..2_usize,
    ) {
        let (watched, enforced, key) = (ledger(), ledger(), Key::configured(1));
        let mut now = Tick(0);
        for (pause, units) in arrivals {
            now.0 += pause;
            let charge = Charge::new(key, limits()[which], units);
            let refused = !enforced.take_all(&[charge], now).is_yes();
            prop_assert_eq!(over(watched.take_all(&[charge.shadowed()], now)), refused);
            prop_assert_eq!(watched.peek(key, charge.limit, now), enforced.peek(key, charge.limit, now));
        }
    }
}
