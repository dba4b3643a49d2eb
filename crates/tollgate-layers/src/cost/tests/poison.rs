//! What one tenant can do to the prices and the reservations of others: little.

use std::sync::Arc;
use std::time::Duration;

use tollgate_core::cost::Cost;
use tollgate_core::time::Tick;

use super::stream::{Dice, TRUTH};
use crate::cost::{Learner, Prior, Sample, Shape, Taught, Wish};

const FLOODER: u64 = 99 << 40;

fn shape(cap: f64) -> Shape {
    let wish = Wish { answers: 1.0, cap, declared: None };
    Shape { input_tokens: 500.0, counted: true, rows: 1.0, wish: Some(wish), ..Shape::default() }
}

fn sample(tenant: u64, written: u64, factor: f64) -> Sample {
    let real = TRUTH[2].mul_add(written as f64 / 1e3, TRUTH[0] + TRUTH[1] * 0.5) * factor;
    let cost = Cost(real as u64);
    let took = Duration::from_micros(cost.0);
    Sample { tenant, shape: shape(f64::INFINITY), cost, took, written, ..Sample::default() }
}

/// A learner that has learned from ten honest tenants, and how it goes on.
struct Room {
    learner: Learner,
    dice: Dice,
    now: Tick,
}

impl Room {
    fn fresh() -> Self {
        let mut room =
            Self { learner: Learner::new(Prior::of(true), Arc::default()), dice: Dice(5), now: Tick(1 << 40) };
        for _ in 0..2_000 {
            room.honest();
        }
        room
    }

    fn honest(&mut self) {
        let tenant = (1 + self.dice.next() % 10) << 40;
        let written = self.dice.lognormal(5.0, 0.5) as u64;
        let noise = self.dice.lognormal(0.0, 0.1);
        self.take(sample(tenant, written.max(1), noise));
    }

    fn take(&mut self, sample: Sample) {
        self.now = self.now.after(Duration::from_millis(100));
        assert_eq!(self.learner.learn(&sample, self.now), Taught::Taken);
    }

    /// What an answer of 200 tokens is worth.
    fn price(&self) -> f64 {
        shape(f64::INFINITY).features(500.0, 200.0).at(&self.learner.prices())
    }
}

#[test]
fn a_flood_of_one_tenant_moves_the_prices_of_others_no_further_than_a_fifth() {
    for factor in [0.2, 5.0] {
        let mut room = Room::fresh();
        let before = room.price();
        for n in 0..20_000_u32 {
            if n.is_multiple_of(10) {
                room.honest();
            } else {
                room.take(sample(FLOODER, 200, factor));
            }
        }
        let moved = room.price() / before;
        // A fifth of the weight at `factor`, and a little for noise.
        let bound = 0.2_f64.mul_add(factor - 1.0, 1.0);
        let (low, high) = if factor < 1.0 { (bound - 0.1, 1.1) } else { (0.9, bound + 0.2) };
        assert!((low..=high).contains(&moved), "{factor} times: {moved}");
    }
}

#[test]
fn a_tenant_alone_is_believed_and_two_have_half_each() {
    let mut room = Room { learner: Learner::new(Prior::of(true), Arc::default()), dice: Dice(5), now: Tick(1 << 40) };
    for _ in 0..2_000 {
        room.take(sample(FLOODER, 200, 3.0));
    }
    let alone = room.price();
    assert!((alone / shape(1e9).features(500.0, 200.0).at(&Prior::of(true).prices) - 3.0).abs() < 0.1, "{alone}");
    for n in 0..4_000_u32 {
        let tenant = if n.is_multiple_of(8) { 1 << 40 } else { FLOODER };
        room.take(sample(tenant, 200, if tenant == FLOODER { 3.0 } else { 1.0 }));
    }
    let both = room.price() / alone * 3.0;
    assert!((1.7..=2.3).contains(&both), "{both} of 1 and 3");
}

#[test]
fn the_answers_of_a_tenant_say_nothing_of_those_of_others_once_these_had_some() {
    let mut room = Room::fresh();
    let of = |room: &Room, tenant: u64| room.learner.predict(&shape(f64::INFINITY), tenant);
    let before = of(&room, 1 << 40);
    for _ in 0..5_000 {
        room.take(sample(FLOODER, 1, 1.0));
    }
    let after = of(&room, 1 << 40);
    assert!(after.limit.0 as f64 >= 0.8 * before.limit.0 as f64, "{before:?} {after:?}");
    // Its own reservations are small now, and no smaller than what reading the prompt costs.
    let own = of(&room, FLOODER);
    let read = shape(0.0).features(500.0, 0.0).at(&room.learner.prices());
    assert!(own.limit < after.limit && own.limit.0 as f64 >= read.floor(), "{own:?} {read}");
    // It then writes as much as it likes: twenty long answers, and it is reserved for again.
    for _ in 0..40 {
        room.take(sample(FLOODER, 2_000, 1.0));
    }
    assert!(of(&room, FLOODER).limit.0 >= 10 * own.limit.0, "{:?}", of(&room, FLOODER));
}

#[test]
fn answers_cut_off_by_a_small_cap_do_not_make_long_ones_look_short() {
    let mut room = Room::fresh();
    for _ in 0..200 {
        room.take(sample(FLOODER, 1_000, 1.0));
    }
    let before = room.learner.predict(&shape(f64::INFINITY), FLOODER);
    for _ in 0..5_000 {
        let cut = Sample { shape: shape(1.0), ..sample(FLOODER, 1, 1.0) };
        room.take(cut);
    }
    let after = room.learner.predict(&shape(f64::INFINITY), FLOODER);
    assert!(after.limit.0 as f64 >= 0.7 * before.limit.0 as f64, "{before:?} {after:?}");
}

#[test]
fn a_cold_server_teaches_nothing_and_a_slow_one_does() {
    let mut room = Room::fresh();
    let before = room.price();
    room.now = room.now.after(Duration::from_secs(600));
    let cold = sample(1 << 40, 200, 30.0);
    assert_eq!(room.learner.learn(&cold, room.now.after(cold.took)), Taught::Cold);
    assert_eq!(room.price(), before);
    // A server that is asked every ten minutes and always takes as long is not cold: it is that slow.
    let taught = (0..4).map(|_| {
        room.now = room.now.after(Duration::from_secs(600));
        room.learner.learn(&cold, room.now.after(cold.took))
    });
    assert!(taught.collect::<Vec<_>>().contains(&Taught::Taken));
}
