use proptest::prelude::*;

use super::*;

const RULES: BreakerRules =
    BreakerRules { failures: 3, open: Duration::from_secs(1), longest: Duration::from_secs(30) };

fn at(ms: u64) -> Tick {
    Tick(ms * 1_000_000)
}

fn failed(breaker: &mut Breaker, times: usize, now: Tick) {
    for _ in 0..times {
        breaker.told(Outcome::Local, false, now, &RULES);
    }
}

#[test]
fn it_opens_after_so_many_failures_in_a_row_and_says_how_long_it_will_stay_so() {
    let mut breaker = Breaker::Closed(0);
    failed(&mut breaker, 2, at(0));
    assert_eq!(breaker.admit(at(0)), Admission::Go);
    failed(&mut breaker, 1, at(0));
    assert_eq!(breaker.admit(at(400)), Admission::Wait(Duration::from_millis(600)));
}

#[test]
fn one_request_tries_and_nobody_else_until_it_was_answered() {
    let mut breaker = Breaker::Closed(0);
    failed(&mut breaker, 3, at(0));
    assert_eq!(breaker.admit(at(1000)), Admission::Trial);
    assert_eq!(breaker.admit(at(1000)), Admission::Wait(TRIAL));
    breaker.told(Outcome::Answered, true, at(1100), &RULES);
    assert_eq!(breaker.admit(at(1100)), Admission::Go);
}

#[test]
fn a_trial_that_fails_opens_it_for_twice_as_long_up_to_the_longest() {
    let mut breaker = Breaker::Closed(0);
    failed(&mut breaker, 3, at(0));
    let mut now = at(0);
    for expected in [1, 2, 4, 8, 16, 30, 30] {
        let Breaker::Open { until, .. } = breaker else { panic!("{breaker:?}") };
        assert_eq!(until.since(now), Duration::from_secs(expected));
        now = until;
        assert_eq!(breaker.admit(now), Admission::Trial);
        breaker.told(Outcome::Gateway, true, now, &RULES);
    }
}

#[test]
fn a_late_failure_of_what_was_sent_before_does_not_end_the_trial() {
    let mut breaker = Breaker::Closed(0);
    failed(&mut breaker, 3, at(0));
    assert_eq!(breaker.admit(at(1000)), Admission::Trial);
    failed(&mut breaker, 9, at(1001));
    assert!(matches!(breaker, Breaker::Half { .. }));
}

#[test]
fn an_error_of_the_application_is_an_answer() {
    let mut breaker = Breaker::Closed(0);
    for _ in 0..100 {
        breaker.told(Outcome::Errored, false, at(0), &RULES);
    }
    assert_eq!(breaker, Breaker::Closed(0));
}

#[test]
fn a_trial_whose_caller_left_is_given_to_the_next() {
    let mut breaker = Breaker::Closed(0);
    failed(&mut breaker, 3, at(0));
    assert_eq!(breaker.admit(at(1000)), Admission::Trial);
    breaker.trial_lost(at(1200));
    assert_eq!(breaker.admit(at(1200)), Admission::Trial);
    // And one that nobody ever heard of again does not close the upstream for ever.
    assert_eq!(breaker.admit(at(1300)), Admission::Wait(TRIAL.saturating_sub(Duration::from_millis(100))));
    assert_eq!(breaker.admit(at(1200).after(TRIAL)), Admission::Trial);
}

#[test]
fn a_trial_that_takes_long_keeps_nobody_out_for_as_long() {
    let mut breaker = Breaker::Closed(0);
    failed(&mut breaker, 3, at(0));
    assert_eq!(breaker.admit(at(1000)), Admission::Trial);
    breaker.may_try(at(1100));
    assert_eq!(breaker.admit(at(1100)), Admission::Trial, "our own check was answered meanwhile");
    assert_eq!(breaker.admit(at(1100).after(TRIAL)), Admission::Trial, "it may only be a long one");
    breaker.told(Outcome::Answered, true, at(9000), &RULES);
    assert_eq!(breaker, Breaker::Closed(0));
}

#[test]
fn a_check_that_is_answered_lets_one_try_at_once() {
    let mut breaker = Breaker::Closed(0);
    failed(&mut breaker, 3, at(0));
    breaker.may_try(at(100));
    assert_eq!(breaker.admit(at(100)), Admission::Trial);
}

proptest! {
    /// However outcomes and requests come: there is never more than one trial at once, and a wait is never longer than
    /// the longest one.
    #[test]
    fn at_most_one_request_tries_at_a_time(steps in proptest::collection::vec((0_u8..5, 0_u64..3_000), 1..300)) {
        let (mut breaker, mut now, mut trying) = (Breaker::Closed(0), at(0), None);
        for (step, ms) in steps {
            now = now.after(Duration::from_millis(ms));
            match step {
                0 | 1 => match breaker.admit(now) {
                    Admission::Go => prop_assert!(matches!(breaker, Breaker::Closed(_))),
                    Admission::Trial => {
                        let free = trying.is_none_or(|since: Tick| now.since(since) >= TRIAL);
                        prop_assert!(free, "two trials at once");
                        trying = Some(now);
                    }
                    Admission::Wait(wait) => prop_assert!(wait <= RULES.longest),
                },
                2 => {
                    breaker.told(Outcome::Local, trying.is_some(), now, &RULES);
                    trying = None;
                }
                3 => {
                    breaker.told(Outcome::Answered, trying.is_some(), now, &RULES);
                    trying = None;
                    prop_assert_eq!(breaker, Breaker::Closed(0));
                }
                _ => {
                    if trying.take().is_some() {
                        breaker.trial_lost(now);
                    }
                }
            }
        }
    }
}
