//! Which version serves a call: a lot that is weighted and, where it is drawn by a key, always falls the same way.
//!
//! Each version draws a number for the key and the smallest one, measured by weights, wins (weighted rendezvous hashing;
//! Thaler and Ravishankar 1998, Schindelhauer and Schomaker 2005). A key therefore changes its version only if the weight
//! of the version that it has sinks or that of the one that it gets rises: a canary that grows takes keys and gives none
//! back. Pure: what is random or keyed comes in.

/// The place of the version that wins; `None` where no version has a weight. `draw` gives each version's 64 uniform bits.
pub fn choose(weights: impl IntoIterator<Item = u8>, draw: impl Fn(usize) -> u64) -> Option<usize> {
    let mut best: Option<(f64, usize)> = None;
    for (place, weight) in weights.into_iter().enumerate().filter(|(_, weight)| *weight > 0) {
        // Exponential waiting times: the chance to be the first is the share of the weight.
        let wait = -unit(draw(place)).ln() / f64::from(weight);
        if best.is_none_or(|(least, _)| wait < least) {
            best = Some((wait, place));
        }
    }
    best.map(|(_, place)| place)
}

/// A number above 0 and below 1 of uniform bits.
#[expect(clippy::cast_precision_loss, reason = "52 bits are kept on purpose")]
pub fn unit(bits: u64) -> f64 {
    ((bits >> 12) as f64 + 0.5) / (1u64 << 52) as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tollgate_limit::hash_key;

    use super::*;

    fn place_of(key: u64, weights: &[u8]) -> Option<usize> {
        choose(weights.iter().copied(), |place| hash_key((1, 2), place, key))
    }

    #[test]
    fn keys_are_split_by_weight() {
        for weights in [[95, 5, 0], [50, 25, 25], [1, 99, 0], [0, 0, 100]] {
            let mut counts = [0u32; 3];
            for key in 0..100_000 {
                counts[place_of(key, &weights).expect("a weight")] += 1;
            }
            for (count, weight) in counts.into_iter().zip(weights) {
                let expected = f64::from(weight) * 1000.0;
                let off = (f64::from(count) - expected).abs();
                assert!(off <= 5.0 * (expected.max(1.0)).sqrt(), "{counts:?} of {weights:?}");
            }
        }
    }

    #[test]
    fn without_a_weight_nobody_wins_and_the_ends_of_a_draw_are_numbers() {
        assert_eq!(choose([0, 0], |_| 7), None);
        assert_eq!(choose([], |_| 7), None);
        for bits in [0, u64::MAX] {
            assert!((0.0..1.0).contains(&unit(bits)) && unit(bits) > 0.0);
            assert_eq!(choose([0, 9], |_| bits), Some(1));
        }
    }

    proptest! {
        #[test]
        fn a_key_stays_unless_the_weights_call_it_away(
            key in any::<u64>(),
            before in prop::array::uniform4(0u8..=100),
            after in prop::array::uniform4(0u8..=100),
        ) {
            let (Some(had), Some(has)) = (place_of(key, &before), place_of(key, &after)) else { return Ok(()) };
            if had != has {
                // Its version has lost against the other's gain, or the other way round.
                let (lost, won) = (f64::from(after[had]) / f64::from(before[had]), f64::from(after[has]));
                prop_assert!(won / f64::from(before[has]).max(1e-9) > lost, "{before:?} {after:?} {had} {has}");
            }
        }

        #[test]
        fn a_canary_that_grows_gives_no_key_back(key in any::<u64>(), small in 0u8..100, more in 1u8..=100) {
            let large = small.saturating_add(more).min(100);
            if place_of(key, &[100 - small, small]) == Some(1) {
                prop_assert_eq!(place_of(key, &[100 - large, large]), Some(1));
            }
        }
    }
}
