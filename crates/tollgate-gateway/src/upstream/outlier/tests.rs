use proptest::prelude::*;

use super::*;

fn run(outcomes: &[Outcome]) -> Streaks {
    outcomes.iter().fold(Streaks::default(), |streaks, outcome| streaks.after(*outcome))
}

fn window(answered: u64, failed: u64) -> Option<Window> {
    Some(Window { answered, failed, ..Window::default() })
}

fn timed(slowness: f64) -> Option<Window> {
    Some(Window { answered: 50, failed: 0, timed: 50, slowness })
}

#[test]
fn five_failures_in_a_row_are_too_many_and_four_are_not() {
    let rules = EjectionRules::default();
    for (outcome, reason) in [
        (Outcome::Errored, Reason::Consecutive5xx),
        (Outcome::Gateway, Reason::ConsecutiveGateway),
        (Outcome::Local, Reason::ConsecutiveLocal),
    ] {
        assert_eq!(run(&[outcome; 4]).verdict(&rules), None);
        assert_eq!(run(&[outcome; 5]).verdict(&rules), Some(reason));
    }
}

#[test]
fn an_answer_in_between_begins_the_count_anew() {
    let rules = EjectionRules::default();
    let mut outcomes = vec![Outcome::Gateway; 4];
    outcomes.push(Outcome::Answered);
    outcomes.extend([Outcome::Gateway; 4]);
    assert_eq!(run(&outcomes).verdict(&rules), None);
}

#[test]
fn an_error_of_the_application_ends_a_row_of_gateway_errors_and_goes_on_with_the_row_of_all() {
    let rules = EjectionRules::default();
    let outcomes = [Outcome::Gateway, Outcome::Gateway, Outcome::Gateway, Outcome::Gateway, Outcome::Errored];
    assert_eq!(run(&outcomes).verdict(&rules), Some(Reason::Consecutive5xx));
}

#[test]
fn load_is_neither_a_failure_nor_a_success() {
    let rules = EjectionRules::default();
    assert_eq!(run(&[Outcome::Load; 100]), Streaks::default());
    let mut outcomes = vec![Outcome::Gateway; 4];
    outcomes.extend([Outcome::Load; 9]);
    assert_eq!(run(&outcomes).verdict(&rules), None);
    outcomes.push(Outcome::Gateway);
    assert_eq!(run(&outcomes).verdict(&rules), Some(Reason::ConsecutiveGateway));
}

#[test]
fn a_count_of_zero_switches_a_rule_off() {
    let rules = EjectionRules { consecutive_local: 0, ..EjectionRules::default() };
    assert_eq!(run(&[Outcome::Local; 60]).verdict(&rules), None);
}

#[test]
fn a_success_rate_is_an_outlier_only_among_five_busy_endpoints() {
    let rules = EjectionRules { failure_percent: 0, ..EjectionRules::default() };
    let good = window(1000, 0);
    let poor = window(700, 300);
    assert_eq!(outliers(&[good, good, good, good, good, poor], &rules), [(5, Reason::SuccessRate)]);
    assert_eq!(outliers(&[good, good, good, poor], &rules), []);
    let quiet = window(70, 29);
    assert_eq!(outliers(&[good, good, good, good, good, quiet], &rules), [], "too few answers to compare");
}

#[test]
fn half_of_twenty_answers_failing_is_too_large_a_share_for_one_endpoint_alone() {
    let rules = EjectionRules::default();
    assert_eq!(outliers(&[window(10, 10)], &rules), [(0, Reason::FailurePercentage)]);
    assert_eq!(outliers(&[window(11, 10)], &rules), []);
    assert_eq!(outliers(&[window(9, 10)], &rules), [], "too few answers");
}

#[test]
fn three_times_the_median_is_too_slow_for_the_same_work() {
    let rules = EjectionRules::default();
    assert_eq!(outliers(&[timed(1.0), timed(1.2), timed(3.7)], &rules), [(2, Reason::Latency)]);
    assert_eq!(outliers(&[timed(1.0), timed(1.2), timed(3.5)], &rules), []);
    assert_eq!(outliers(&[timed(1.0), timed(9.0)], &rules), [], "of two nobody knows who is slow");
    let four = [timed(1.0), timed(1.1), timed(9.0), timed(9.0)];
    assert_eq!(outliers(&four, &rules), [(2, Reason::Latency), (3, Reason::Latency)]);
}

proptest! {
    #[test]
    fn streaks_survive_being_one_word(counts in any::<(u16, u16, u16)>()) {
        let streaks = Streaks { failed: counts.0, gateway: counts.1, local: counts.2 };
        prop_assert_eq!(Streaks::unpacked(streaks.packed()), streaks);
    }

    #[test]
    fn an_endpoint_like_all_others_is_never_an_outlier(count in 1_usize..40, answered in 0_u64..5_000, slow in 0.1_f64..50.0) {
        let same = Some(Window { answered, failed: answered / 3, timed: answered, slowness: slow });
        prop_assert!(outliers(&vec![same; count], &EjectionRules::default()).is_empty());
    }

    #[test]
    fn who_is_out_already_is_never_named(windows in proptest::collection::vec(proptest::option::of((0_u64..300, 0_u64..300)), 0..20)) {
        let windows: Vec<_> = windows.into_iter().map(|seen| seen.and_then(|(ok, bad)| window(ok, bad))).collect();
        for (place, _) in outliers(&windows, &EjectionRules::default()) {
            prop_assert!(windows[place].is_some());
        }
    }
}
