//! Whatever is said of calls, an estimate is a number within bounds.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tollgate_core::cost::Cost;
use tollgate_core::time::Tick;

use crate::cost::{Kept, Learner, MOST_US, Prior, Sample, Shape, Wish};

/// Numbers as they come, and those that break arithmetic.
fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        0.0..10_000.0,
        any::<f64>(),
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(-0.0),
        Just(f64::MAX),
        Just(f64::MIN_POSITIVE),
    ]
}

fn count() -> impl Strategy<Value = u64> {
    prop_oneof![0..10_000_u64, any::<u64>(), Just(0), Just(u64::MAX)]
}

fn wish() -> impl Strategy<Value = Option<Wish>> {
    let wish = (number(), number(), proptest::option::of(number()));
    proptest::option::of(wish.prop_map(|(answers, cap, declared)| Wish { answers, cap, declared }))
}

fn shape() -> impl Strategy<Value = Shape> {
    (number(), any::<bool>(), number(), number(), number(), wish()).prop_map(
        |(input_tokens, counted, pixels, elements, rows, wish)| Shape {
            input_tokens,
            counted,
            pixels,
            elements,
            rows,
            wish,
        },
    )
}

fn sample() -> impl Strategy<Value = Sample> {
    let tokens = (proptest::option::of(count()), count(), count());
    (0..8_u64, shape(), count(), count(), tokens).prop_map(|(tenant, shape, cost, took, (read, cached, written))| {
        Sample {
            tenant: tenant << 32,
            shape,
            cost: Cost(cost),
            took: Duration::from_micros(took),
            read,
            cached,
            written,
        }
    })
}

fn check(learner: &Learner, shape: &Shape) -> Result<(), TestCaseError> {
    let most = Cost(MOST_US as u64);
    let prices = learner.prices();
    prop_assert!(prices.iter().all(|price| price.is_finite() && *price >= 0.0), "{prices:?}");
    let prediction = learner.predict(shape, 3 << 32);
    let read = Shape { wish: None, ..*shape };
    let read = learner.predict(&read, 3 << 32);
    prop_assert!(prediction.limit <= most && prediction.mean <= prediction.limit, "{prediction:?}");
    prop_assert!(prediction.limit >= read.limit && prediction.mean >= read.mean, "{prediction:?} {read:?}");
    prop_assert!(prediction.declared <= most && prediction.alone <= Some(most), "{prediction:?}");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn hostile_samples_never_make_an_estimate_that_is_none(
        samples in proptest::collection::vec(sample(), 1..300),
        shapes in proptest::collection::vec(shape(), 8),
        writes in any::<bool>(),
    ) {
        let learner = Learner::new(Prior::of(writes), Arc::default());
        for (n, sample) in (1..).zip(&samples) {
            learner.learn(sample, Tick(n * 50_000_000));
        }
        for shape in &shapes {
            check(&learner, shape)?;
        }
        // And an ordinary call costs something: nobody has made it free.
        let honest = Sample { cost: Cost(50_000), took: Duration::from_millis(50), ..samples[0] };
        let ordinary = Shape { input_tokens: 100.0, counted: true, elements: 10.0, rows: 1.0, ..Shape::default() };
        for n in 0..3_000 {
            let tenant = (n % 12) << 40;
            let sample = Sample { shape: ordinary, read: None, cached: 0, written: 0, tenant, ..honest };
            learner.learn(&sample, Tick(1 << 50 | n << 26));
        }
        let found = learner.predict(&ordinary, 1 << 40).mean.0;
        prop_assert!((40_000..=60_000).contains(&found), "{found}");
    }

    #[test]
    fn what_is_kept_is_what_is_restored_and_damage_is_refused(
        samples in proptest::collection::vec(sample(), 1..200),
        shapes in proptest::collection::vec(shape(), 4),
        place in any::<prop::sample::Index>(),
        damage in number(),
    ) {
        let learner = Learner::new(Prior::of(true), Arc::default());
        for (n, sample) in (1..).zip(&samples) {
            learner.learn(sample, Tick(n * 50_000_000));
        }
        let kept = learner.kept();
        let text = serde_json::to_string(&kept).expect("numbers");
        let read: Kept = serde_json::from_str(&text).expect("what was written");
        let other = Learner::new(Prior::of(true), Arc::default());
        other.restore(&read).expect("what was kept");
        for shape in &shapes {
            prop_assert_eq!(learner.predict(shape, 3 << 32), other.predict(shape, 3 << 32));
        }
        let mut damaged = read;
        let place = place.index(damaged.sums.len());
        damaged.sums[place] = damage;
        let restored = Learner::new(Prior::of(true), Arc::default());
        if restored.restore(&damaged).is_ok() {
            for (n, sample) in (1..).zip(&samples) {
                restored.learn(sample, Tick(n * 50_000_000));
            }
        }
        for shape in &shapes {
            check(&restored, shape)?;
        }
    }
}
