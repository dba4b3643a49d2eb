//! Limits that nineteen of twenty answers keep, and places for tenants that do not run out.

use super::*;

const START: Length = Length { limit: 1024.0, mean: 256.0 };

fn uncut(tokens: f64) -> Answer {
    Answer { tokens, cap: f64::INFINITY }
}

#[test]
fn nineteen_of_twenty_answers_are_not_longer_than_the_limit() {
    let mut tracker = Tracker::new(START);
    let (mut longer, calls) = (0, 20_000);
    // Every length from 1 to 1,000 equally often, in an order that looks like none.
    for n in 0..calls {
        let tokens = f64::from(n * 617 % 1_000 + 1);
        longer += u32::from(tokens > tracker.length().limit);
        tracker.take(uncut(tokens), 1.0);
    }
    let part = f64::from(longer) / f64::from(calls);
    assert!((0.03..=0.07).contains(&part), "{part}");
    assert!((tracker.length().mean - 500.0).abs() < 100.0, "{:?}", tracker.length());
}

#[test]
fn a_few_answers_are_enough_to_know_short_ones_from_long_ones() {
    let mut short = Tracker::new(START);
    let mut long = Tracker::new(START);
    for _ in 0..ENOUGH {
        short.take(uncut(8.0), 1.0);
        long.take(uncut(9_000.0), 1.0);
    }
    assert!(short.length().limit < 10.0 && short.length().mean < 10.0, "{:?}", short.length());
    assert!((8_990.0..9_100.0).contains(&long.length().limit) && long.length().mean > 8_000.0, "{:?}", long.length());
}

#[test]
fn nonsense_leaves_a_length() {
    let mut tracker = Tracker::new(Length { limit: f64::NAN, mean: f64::INFINITY });
    for tokens in [f64::NAN, f64::INFINITY, -5.0, 0.0, f64::MAX] {
        for cap in [0.0, f64::NAN, f64::INFINITY] {
            for share in [1.0, 0.0, f64::NAN, -1.0, 1e9] {
                tracker.take(Answer { tokens, cap }, share);
                let Length { limit, mean } = tracker.length();
                assert!((1.0..=2e7).contains(&limit) && (0.0..=2e7).contains(&mean), "{limit} {mean}");
            }
        }
    }
}

#[test]
fn a_tenant_is_held_to_its_own_answers_once_it_had_enough_of_them() {
    let lengths = Lengths::default();
    assert_eq!(lengths.sure(7), None);
    for n in 0..ENOUGH {
        assert_eq!(lengths.sure(7), None, "{n}");
        lengths.take(7, uncut(50.0), START);
    }
    assert!(lengths.sure(7).is_some_and(|length| length.mean < 100.0));
    assert_eq!((lengths.sure(8), lengths.sure(0)), (None, None));
}

#[test]
fn tenants_beyond_the_cap_take_the_places_of_those_not_heard_of_for_longest() {
    let lengths = Lengths::default();
    // Two that come again and again, among 50,000 that come once.
    let (keyless, steady) = (0, 0xDEAD_BEEF_0000_0001);
    for stranger in 0..50_000_u64 {
        lengths.take(stranger.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1, uncut(1.0), START);
        lengths.take(keyless, uncut(100.0), START);
        lengths.take(steady, uncut(100.0), START);
    }
    assert!(lengths.all().count() <= MOST_TENANTS);
    for tenant in [keyless, steady] {
        let (_, tracker) = lengths.all().find(|(known, _)| *known == tenant).expect("it is remembered");
        assert_eq!(tracker.count(), 50_000);
    }
}
