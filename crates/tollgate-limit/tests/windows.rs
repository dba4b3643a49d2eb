//! Sliding windows against a log of everything: no window ever holds too much, and nothing comes back too late.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use tollgate_limit::{Charge, Granted, Key, Memory, MemoryConfig, Rate, Taken, Tick, Window};

const SECOND: u64 = 1_000_000_000;
const KEYS: [Key; 2] = [Key::configured(11), Key::open(12)];

fn ledger() -> Memory {
    Memory::new(MemoryConfig { open_slots: 1 << 8, seed: (1, 2) })
}

fn window(max: u64, seconds: u64) -> Window {
    Window::new(max, Duration::from_secs(seconds)).expect("in range")
}

fn at(seconds: u64) -> Tick {
    Tick(seconds * SECOND)
}

#[test]
fn the_units_of_a_window_come_back_one_by_one_as_they_leave_it() {
    for key in KEYS {
        let (ledger, window) = (ledger(), window(3, 10));
        for second in [0, 4, 5] {
            assert_eq!(ledger.take(key, window, 1, at(second)), Taken::Yes);
        }
        assert_eq!(ledger.take(key, window, 1, at(6)), Taken::No { wait: Duration::from_secs(4) });
        assert_eq!(ledger.take(key, window, 2, at(6)), Taken::No { wait: Duration::from_secs(8) });
        assert!(matches!(ledger.take(key, window, 1, Tick(10 * SECOND - 1)), Taken::No { .. }));
        assert_eq!(ledger.take(key, window, 1, at(10)), Taken::Yes);
        let level = ledger.peek(key, window, at(10));
        assert_eq!((level.burst, level.remaining), (3, 0));
        assert_eq!((level.wait, level.full_in), (Duration::from_secs(4), Duration::from_secs(10)));
        assert_eq!(ledger.peek(key, window, at(20)).remaining, 3);
    }
}

#[test]
fn more_than_the_window_never_fits_and_takes_no_account() {
    for key in KEYS {
        let (ledger, window) = (ledger(), window(3, 10));
        assert_eq!(ledger.take(key, window, 4, at(0)), Taken::No { wait: Duration::from_secs(10) });
        assert_eq!(ledger.accounts(), 0);
    }
}

#[test]
fn what_is_given_back_is_what_was_charged_then() {
    let (ledger, window, key) = (ledger(), window(10, 10), Key::configured(1));
    assert_eq!(ledger.take(key, window.at(at(0)), 4, at(0)), Taken::Yes);
    assert_eq!(ledger.take(key, window.at(at(5)), 6, at(5)), Taken::Yes);
    ledger.give_back(key, window.at(at(5)), 2, at(6));
    // At 10 the four of the beginning leave: only if they were still there.
    assert_eq!(ledger.peek(key, window, at(6)).remaining, 2);
    assert_eq!(ledger.peek(key, window, at(10)).remaining, 6);
    // Charged in a window that is over: there is nothing to give back.
    ledger.give_back(key, window.at(at(0)), 4, at(11));
    assert_eq!(ledger.peek(key, window, at(11)).remaining, 6);
    // Of a moment that is not known, the oldest goes first.
    ledger.give_back(key, window, 100, at(11));
    assert_eq!(ledger.peek(key, window, at(11)).remaining, 10);
}

#[test]
fn refusals_of_a_later_level_do_not_keep_a_window_full() {
    let (ledger, key) = (ledger(), Key::configured(1));
    let (wide, spent) = (window(10, 10), Rate::new(1, 1, 100).expect("in range"));
    assert_eq!(ledger.take(key, wide, 9, at(0)), Taken::Yes);
    ledger.debit(Key::configured(2), spent, 100, at(0));
    for second in 0..10 {
        let charges = [Charge::new(key, wide, 1), Charge::new(Key::configured(2), spent, 1)];
        assert!(matches!(ledger.take_all(&charges, at(second)), Granted::No { at: 1, .. }));
    }
    assert_eq!(ledger.peek(key, wide, at(9)).remaining, 1);
    assert_eq!(ledger.peek(key, wide, at(10)).remaining, 10);
}

#[test]
fn a_debit_fills_the_window_and_leaves_with_it() {
    for key in KEYS {
        let (ledger, window) = (ledger(), window(100, 63));
        ledger.debit(key, window, u64::MAX, at(0));
        ledger.debit(key, window, u64::MAX, at(0));
        assert!(matches!(ledger.take(key, window, 1, at(62)), Taken::No { .. }));
        assert_eq!(ledger.take(key, window, 100, at(64)), Taken::Yes);
    }
}

#[test]
fn a_spray_of_addresses_keeps_the_window_of_the_one_that_used_most() {
    let ledger = Memory::new(MemoryConfig { open_slots: 256, seed: (1, 2) });
    let window = window(5, 60);
    let hash = |i: u64| tollgate_limit::hash_key((3, 4), 1_u64, i);
    assert_eq!(ledger.take(Key::open(hash(0)), window, 5, at(0)), Taken::Yes);
    for i in 1..100_000 {
        assert_eq!(ledger.take(Key::open(hash(i)), window, 1, at(1)), Taken::Yes);
    }
    assert_eq!(ledger.accounts(), 256);
    assert!(ledger.evictions() > 90_000);
    assert!(matches!(ledger.take(Key::open(hash(0)), window, 1, at(2)), Taken::No { .. }));
}

#[test]
fn spans_out_of_range_are_refused() {
    for (max, span) in [(0, Duration::from_secs(1)), (1, Duration::ZERO), (1, Duration::from_hours(366 * 24 + 1))] {
        assert!(Window::new(max, span).is_none(), "{max} {span:?}");
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Charge(u64),
    /// Gives back part of the charge made so many charges ago.
    GiveBack(usize, u64),
}

/// Charges that still stand: when, and how much of each.
type Stands = Vec<(u64, u64)>;

fn steps() -> impl Strategy<Value = Vec<(u64, Step)>> {
    let step = prop_oneof![
        4 => (1..20_u64).prop_map(Step::Charge),
        1 => (0..8_usize, 0..20_u64).prop_map(|(ago, units)| Step::GiveBack(ago, units)),
    ];
    let pause = prop_oneof![Just(0), 0..SECOND / 10, 0..SECOND * 4];
    vec((pause, step), 1..150)
}

/// What a window that begins at any charge holds at most.
fn fullest(stands: &Stands, span: u64) -> u64 {
    let held =
        |from: u64| stands.iter().filter(|(at, _)| (from..from + span).contains(at)).map(|(_, units)| units).sum();
    stands.iter().map(|&(from, _)| held(from)).max().unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_window_holds_more_than_it_may(max in 1..200_u64, span in 1..20_u64, history in steps()) {
        let (ledger, key, window) = (ledger(), Key::configured(5), window(max, span));
        let (mut stands, mut now) = (Stands::new(), 0);
        for (pause, step) in history {
            now += pause;
            match step {
                Step::Charge(units) => {
                    if ledger.take(key, window.at(Tick(now)), units, Tick(now)) == Taken::Yes {
                        stands.push((now, units));
                    }
                }
                Step::GiveBack(ago, units) => {
                    let Some((at, left)) = stands.iter_mut().rev().nth(ago) else { continue };
                    let units = units.min(*left);
                    *left -= units;
                    ledger.give_back(key, window.at(Tick(*at)), units, Tick(now));
                }
            }
        }
        prop_assert!(fullest(&stands, span * SECOND) <= max);
    }

    #[test]
    fn up_to_64_units_the_log_is_exact(max in 1..=64_u64, span in 1..20_u64, history in steps()) {
        let (ledger, key, window) = (ledger(), Key::configured(5), window(max, span));
        let (mut stands, mut now) = (Stands::new(), 0);
        for (pause, step) in history {
            // Never twice at one instant: each charge is then given back from itself.
            now += pause + 1;
            let held: u64 = stands.iter().filter(|(at, _)| at + span * SECOND > now).map(|(_, units)| units).sum();
            prop_assert_eq!(ledger.peek(key, window, Tick(now)).remaining, max - held);
            match step {
                Step::Charge(units) => {
                    let fits = held + units <= max;
                    let taken = ledger.take(key, window.at(Tick(now)), units, Tick(now));
                    prop_assert_eq!(taken == Taken::Yes, fits);
                    if let (Taken::No { wait }, true) = (taken, units <= max) {
                        let then = now + u64::try_from(wait.as_nanos()).expect("short");
                        // On a copy: the time of this one has not come yet.
                        let later = self::ledger();
                        for &(at, units) in &stands {
                            prop_assert_eq!(later.take(key, window, units, Tick(at)), Taken::Yes);
                        }
                        prop_assert!(!matches!(later.take(key, window, units, Tick(then - 1)), Taken::Yes));
                        prop_assert_eq!(later.take(key, window, units, Tick(then)), Taken::Yes);
                    }
                    if fits {
                        stands.push((now, units));
                    }
                }
                Step::GiveBack(ago, units) => {
                    let Some((at, left)) = stands.iter_mut().rev().nth(ago) else { continue };
                    let units = units.min(*left);
                    *left -= units;
                    ledger.give_back(key, window.at(Tick(*at)), units, Tick(now));
                }
            }
        }
    }

    #[test]
    fn a_large_window_gives_back_at_most_one_step_late(
        max in 65..2_000_u64, span in 1..20_u64, history in vec((0..SECOND, 1..40_u64), 1..200),
    ) {
        let (ledger, key, window) = (ledger(), Key::configured(5), window(max, span));
        let step = (span * SECOND).div_ceil(63);
        let (mut stands, mut now) = (Stands::new(), 0);
        for (pause, units) in history {
            now += pause;
            let within = |span: u64| -> u64 {
                stands.iter().filter(|(at, _)| at + span > now).map(|(_, units)| units).sum()
            };
            let taken = ledger.take(key, window, units, Tick(now)) == Taken::Yes;
            if taken {
                prop_assert!(within(span * SECOND) + units <= max, "too much");
                stands.push((now, units));
            } else {
                prop_assert!(within(span * SECOND + step) + units > max, "too strict");
            }
        }
    }
}
