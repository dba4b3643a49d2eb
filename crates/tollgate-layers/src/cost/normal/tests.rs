//! Prices come out right, never negative, and do not run away where samples say nothing.

use super::*;

const NOTHING: Expected = Expected { prices: [0.0; FEATURES], worth: 0.0 };

fn at(x: [f64; FEATURES], prices: &Prices) -> f64 {
    Features(x).at(prices)
}

#[test]
fn prices_that_made_the_samples_are_found() {
    let truth = [1_000.0, 200.0, 30_000.0, 0.0, 50.0, 700.0, 0.0];
    let mut normal = Normal::default();
    for n in 0..500_u32 {
        let n = f64::from(n);
        let x = [1.0, n % 7.0, n % 5.0, n % 3.0, n % 11.0, n % 4.0, (n % 7.0).powi(2) / 1e3];
        let cost = at(x, &truth);
        normal.add(&Features(x), (cost, cost.powi(-2)), KEEP);
    }
    let found = normal.solve(NOTHING).expect("prices");
    for (found, truth) in found.iter().zip(&truth) {
        assert!((found - truth).abs() <= 1e-3 * 30_000.0, "{found} of {truth}");
    }
}

#[test]
fn no_price_is_below_zero_where_that_would_fit_best() {
    let mut normal = Normal::default();
    for n in 0..400_u32 {
        let read = f64::from(n % 20);
        // Reading makes it cheaper: that cannot be, and the best without it is the mean.
        let cost = 1_000.0 - 20.0 * read;
        normal.add(&Features([1.0, read, 0.0, 0.0, 0.0, 0.0, 0.0]), (cost, 1e-6), KEEP);
    }
    let found = normal.solve(NOTHING).expect("prices");
    assert_eq!(found[1], 0.0);
    assert!((found[0] - 810.0).abs() < 10.0, "{found:?}");
}

#[test]
fn a_feature_that_no_sample_had_keeps_the_price_that_was_expected() {
    let mut normal = Normal::default();
    for n in 0..5_000_u32 {
        let cost = 2_000.0 + 10.0 * f64::from(n % 9);
        normal.add(&Features([1.0, f64::from(n % 9), 0.0, 0.0, 0.0, 1.0, 0.0]), (cost, cost.powi(-2)), KEEP);
    }
    let prices = [1.0, 1.0, 1.0, 5_000.0, 10_000.0, 1.0, 1.0];
    let found = normal.solve(Expected { prices, worth: 0.0 }).expect("prices");
    assert!((found[3] - 5_000.0).abs() < 1.0 && (found[4] - 10_000.0).abs() < 1.0, "{found:?}");
    let fits = at([1.0, 4.0, 0.0, 0.0, 0.0, 1.0, 0.0], &found);
    assert!((fits - 2_040.0).abs() < 5.0, "{fits}");
}

#[test]
fn nothing_at_all_gives_what_was_expected() {
    let prices = [5.0, 0.0, 7.0, 0.0, 0.0, 0.0, 0.0];
    let found = Normal::default().solve(Expected { prices, worth: 30.0 });
    assert_eq!(found, Some([0.0; FEATURES]), "nobody asks before there is a sample");
}

#[test]
fn sums_survive_being_written_down() {
    let mut normal = Normal::default();
    for n in 1..50_u32 {
        let n = f64::from(n);
        normal.add(&Features([1.0, n, n / 2.0, 0.0, 1.0, 2.0, n * n]), (n * 100.0, 1.0 / n), KEEP);
    }
    let numbers: Vec<f64> = normal.numbers().collect();
    assert_eq!(Normal::from_numbers(&numbers), Some(normal));
    assert_eq!(Normal::from_numbers(&numbers[1..]), None);
    let more: Vec<f64> = numbers.iter().copied().chain([1.0]).collect();
    assert_eq!(Normal::from_numbers(&more), None);
    for wrong in [f64::NAN, f64::INFINITY, -1.0] {
        let mut numbers = numbers.clone();
        numbers[3] = wrong;
        assert_eq!(Normal::from_numbers(&numbers), None, "{wrong}");
    }
}
