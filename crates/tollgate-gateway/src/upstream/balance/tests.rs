use proptest::prelude::*;

use super::*;

fn at(ms: u64) -> Tick {
    Tick(ms * 1_000_000)
}

fn after(samples: &[(f32, u64)]) -> Pace {
    samples.iter().fold(Pace::unpacked(0), |pace, (slowness, ms)| pace.after(*slowness, at(*ms)))
}

fn near(one: f32, other: f32) {
    assert!((one - other).abs() < 0.01, "{one} is not about {other}");
}

#[test]
fn a_peak_counts_at_once_and_fades_in_ten_seconds() {
    let pace = after(&[(1.0, 1_000), (9.0, 2_000)]);
    near(pace.slowness(at(2_000)), 9.0);
    near(pace.slowness(at(12_000)), 1.0 + 8.0 / std::f32::consts::E);
    near(pace.slowness(at(200_000)), 1.0);
}

#[test]
fn a_faster_answer_counts_by_and_by() {
    let pace = after(&[(9.0, 1_000), (1.0, 1_100)]);
    assert!(pace.slowness(at(1_100)) > 8.0);
    let pace = after(&[(9.0, 1_000), (1.0, 31_000)]);
    assert!(pace.slowness(at(31_000)) < 1.5);
}

#[test]
fn the_first_answer_is_all_that_is_known() {
    near(after(&[(0.2, 5_000)]).slowness(at(5_000)), 0.2);
}

#[test]
fn a_score_is_the_work_before_it_for_its_weight_times_its_slowness() {
    assert!(score(100, 100, 1.0, 1.0) > score(0, 100, 1.0, 1.0));
    assert!(score(100, 100, 4.0, 1.0) < score(0, 100, 1.0, 1.0));
    assert!(score(0, 100, 1.0, 5.0) > score(100, 100, 1.0, 1.0));
}

#[test]
fn an_endpoint_that_came_back_begins_with_a_tenth_of_its_share() {
    let window = Duration::from_secs(60);
    for (risen, expected) in [(0, 0.1), (3, 0.1), (30, 0.5), (60, 1.0), (600, 1.0)] {
        let got = share(Duration::from_secs(risen), window);
        assert!((got - expected).abs() < 1e-9, "{risen}: {got}");
    }
    assert!((share(Duration::ZERO, Duration::ZERO) - 1.0).abs() < 1e-9);
}

#[test]
fn what_is_remembered_is_worth_a_quarter_more_load() {
    assert!(may_be_preferred((125, 1.0), (100, 1.0), 0));
    assert!(!may_be_preferred((126, 1.0), (100, 1.0), 0));
    assert!(may_be_preferred((0, 1.0), (0, 1.0), 50));
    assert!(!may_be_preferred((50, 1.0), (0, 1.0), 50));
    assert!(may_be_preferred((500, 4.0), (100, 1.0), 0));
}

proptest! {
    #[test]
    fn two_are_drawn_and_they_differ(random in any::<u64>(), count in 2_usize..300) {
        let (one, other) = two(random, count);
        prop_assert!(one < count && other < count && one != other);
    }

    #[test]
    fn a_pace_stays_between_the_slowest_and_the_fastest(samples in proptest::collection::vec((0.01_f32..1e4, 0_u64..40_000), 1..50)) {
        let (mut pace, mut now) = (Pace::unpacked(0), 1);
        let (mut low, mut high) = (1.0_f32, 1.0_f32);
        for (slowness, ms) in samples {
            now += ms;
            (low, high) = (low.min(slowness), high.max(slowness));
            pace = pace.after(slowness, at(now));
            let read = pace.slowness(at(now));
            prop_assert!(read >= low * 0.999 && read <= high * 1.001, "{} not in {}..{}", read, low, high);
            prop_assert_eq!(Pace::unpacked(pace.packed()), pace);
        }
    }
}
