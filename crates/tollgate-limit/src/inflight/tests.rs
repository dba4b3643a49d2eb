//! The limit under requests that are as slow as foreseen, slower, or all it bears.

use super::*;

const STEERED: InflightConfig = InflightConfig { initial: 8, min: 1, max: 256 };
const MEAN_US: u64 = 100_000;

/// One that knows costs: a mean request takes a tenth of a second.
fn knowing(config: InflightConfig) -> Inflight {
    let mut room = Inflight::new(config);
    (0..FEW).for_each(|_| through(&mut room, 1.0));
    room.step(Tick(STEP_NS));
    assert!(room.is_by_cost());
    room.level = f64::from(config.initial);
    room
}

/// A mean request that takes `slowdown` times what was foreseen.
fn through(room: &mut Inflight, slowdown: f64) {
    room.enter(MEAN_US);
    room.leave(MEAN_US, ran(slowdown));
}

fn ran(slowdown: f64) -> Ran {
    let alone = Duration::from_micros(MEAN_US);
    Ran { took: Some(alone.mul_f64(slowdown)), alone: Some(alone) }
}

/// Fills it, lets all of that through at `slowdown`, and makes one step.
fn turn(room: &mut Inflight, slowdown: f64, step: u64) {
    let mut inside = 0;
    while room.fits(MEAN_US) {
        room.enter(MEAN_US);
        inside += 1;
    }
    (0..inside).for_each(|_| room.leave(MEAN_US, ran(slowdown)));
    room.step(Tick(step * STEP_NS));
}

#[test]
fn what_costs_nothing_neither_makes_the_limit_smaller_nor_passes_it_without_bound() {
    let mut room = knowing(STEERED);
    for _ in 0..1_000 {
        room.enter(0);
        room.leave(0, Ran::default());
    }
    let mut inside = 0;
    while room.fits(MEAN_US) {
        room.enter(MEAN_US);
        inside += 1;
    }
    assert_eq!(inside, 8, "a mean request is what it was");
    let mut free = 0;
    while room.fits(0) && free < 10_000 {
        room.enter(0);
        free += 1;
    }
    assert_eq!(inside + free, STEERED.max);
}

#[test]
fn a_fixed_limit_counts_requests_whatever_they_cost() {
    let mut room = Inflight::new(InflightConfig::fixed(3));
    for cost in [1, 1_000_000_000, 0] {
        assert!(room.fits(cost));
        room.enter(cost);
    }
    assert!(!room.fits(0));
    room.leave(1, Ran::default());
    assert!(room.fits(u64::MAX));
    assert_eq!((room.count(), room.cost()), (2, 1_000_000_000));
}

#[test]
fn requests_are_counted_until_costs_are_learned() {
    let mut room = Inflight::new(STEERED);
    for _ in 0..1_000 {
        room.enter(MEAN_US);
        room.leave(MEAN_US, Ran { alone: None, ..ran(1.0) });
    }
    assert!(!room.is_by_cost());
    (0..8).for_each(|_| room.enter(1));
    assert!(!room.fits(1), "eight at first");
    (0..8).for_each(|_| room.leave(1, Ran::default()));
    (0..FEW).for_each(|_| through(&mut room, 1.0));
    assert!(room.is_by_cost());
}

#[test]
fn small_requests_fill_what_one_large_one_would() {
    let mut room = knowing(STEERED);
    room.enter(7 * MEAN_US);
    assert!(room.fits(MEAN_US / 2) && !room.fits(3 * MEAN_US));
}

#[test]
fn one_larger_than_the_limit_runs_alone() {
    let mut room = knowing(STEERED);
    assert!(room.fits(1_000 * MEAN_US));
    room.enter(MEAN_US);
    assert!(!room.fits(1_000 * MEAN_US));
    room.leave(MEAN_US, Ran::default());
    room.enter(1_000 * MEAN_US);
    assert!(!room.fits(1));
}

#[test]
fn it_grows_by_its_root_while_requests_are_as_fast_as_foreseen() {
    let mut room = knowing(STEERED);
    turn(&mut room, 1.0, 2);
    assert!((room.level() - (8.0 + 8.0_f64.sqrt())).abs() < 1e-9, "{}", room.level());
    (3..60).for_each(|step| turn(&mut room, 1.0, step));
    assert!((room.level() - 256.0).abs() < 1e-9, "{}", room.level());
}

#[test]
fn it_shrinks_by_the_slowdown_and_at_most_by_half_and_never_below_its_least() {
    let mut room = knowing(InflightConfig { initial: 100, ..STEERED });
    turn(&mut room, 2.0, 2);
    assert!((room.level() - (75.0 + 10.0)).abs() < 1e-9, "{}", room.level());
    let before = room.level();
    turn(&mut room, 100.0, 3);
    assert!((room.level() - (before / 2.0 + before.sqrt())).abs() < 1e-9, "{}", room.level());
    let mut room = knowing(InflightConfig { min: 6, ..STEERED });
    (2..60).for_each(|step| turn(&mut room, 100.0, step));
    assert!(room.level() >= 6.0, "{}", room.level());
}

#[test]
fn it_settles_where_a_server_of_a_known_size_is_full() {
    // Twelve places: so many times slower is whoever is beyond them.
    let mut room = knowing(STEERED);
    let mut after = Vec::new();
    for step in 2..400 {
        let slowdown = (room.level() / 12.0).max(1.0);
        turn(&mut room, slowdown, step);
        after.push(room.level());
    }
    let settled = &after[200..];
    assert!(settled.iter().all(|level| (12.0..36.0).contains(level)), "{settled:?}");
}

#[test]
fn long_answers_are_no_congestion() {
    let mut room = knowing(STEERED);
    for step in 2..40 {
        // Twenty times the mean, and foreseen to be.
        room.enter(20 * MEAN_US);
        let took = Some(Duration::from_micros(20 * MEAN_US));
        room.leave(20 * MEAN_US, Ran { took, alone: took });
        room.step(Tick(step * STEP_NS));
        assert!(room.level() >= 8.0, "{}", room.level());
    }
}

#[test]
fn a_limit_that_nobody_comes_near_does_not_grow() {
    let mut room = knowing(STEERED);
    for step in 2..40 {
        through(&mut room, 1.0);
        room.step(Tick(step * STEP_NS));
    }
    assert!((room.level() - 8.0).abs() < 1e-9, "{}", room.level());
}

#[test]
fn without_anything_measured_it_stays_where_it_is() {
    let mut room = knowing(STEERED);
    (0..8).for_each(|_| room.enter(MEAN_US));
    (2..40).for_each(|step| room.step(Tick(step * STEP_NS)));
    assert!((room.level() - 8.0).abs() < 1e-9, "{}", room.level());
}

#[test]
fn each_reading_of_a_server_with_too_much_counts_once_and_stops_growth_until_it_is_old() {
    let mut room = knowing(InflightConfig { initial: 100, ..STEERED });
    room.hear(true, Tick(6 * STEP_NS));
    turn(&mut room, 1.0, 2);
    assert!((room.level() - 90.0).abs() < 1e-9, "{}", room.level());
    turn(&mut room, 1.0, 3);
    assert!((room.level() - 90.0).abs() < 1e-9, "no second time: {}", room.level());
    room.hear(true, Tick(6 * STEP_NS));
    turn(&mut room, 1.0, 4);
    assert!((room.level() - 81.0).abs() < 1e-9, "{}", room.level());
    turn(&mut room, 1.0, 6);
    assert!((room.level() - 90.0).abs() < 1e-9, "it is old: {}", room.level());
    room.hear(true, Tick(20 * STEP_NS));
    room.hear(false, Tick(20 * STEP_NS));
    let before = room.level();
    turn(&mut room, 1.0, 7);
    assert!(room.level() > before, "it took it back");
}

#[test]
fn what_is_in_flight_survives_other_bounds() {
    let mut room = Inflight::new(InflightConfig::fixed(2));
    (0..2).for_each(|_| room.enter(5));
    room.configure(InflightConfig::fixed(3));
    assert!(room.fits(1));
    room.configure(InflightConfig::fixed(1));
    room.leave(5, Ran::default());
    assert!(!room.fits(1));
    room.leave(5, Ran::default());
    assert!(room.fits(1));
    assert_eq!((room.count(), room.cost()), (0, 0));
}
