use proptest::prelude::*;

use super::*;

fn rules() -> StandingRules {
    StandingRules {
        ejection: EjectionRules::default(),
        breaker: BreakerRules::default(),
        check_failures: 3,
        check_passes: 2,
        slow_start: Duration::from_secs(60),
    }
}

const SEAT: Trial = Trial { breaker: false, seat: true };
const NONE: Trial = Trial { breaker: false, seat: false };

fn at(seconds: u64) -> Tick {
    Tick(seconds * 1_000_000_000)
}

fn out(judge: &mut Judge, endpoint: usize, now: Tick) {
    judge.told(endpoint, (Outcome::Local, NONE), Some(Reason::ConsecutiveLocal), now);
}

/// When an endpoint may come back.
fn until(judge: &Judge, endpoint: usize) -> Tick {
    let Seat::Out(until) = judge.standings()[endpoint].seat else { panic!("{:?}", judge.standings()[endpoint]) };
    until
}

fn ready() -> Checked {
    Checked::Ready(BTreeSet::new())
}

fn unready() -> Checked {
    Checked::Unready("503".to_owned())
}

#[test]
fn half_of_the_endpoints_may_be_out_and_never_the_last_one() {
    for (endpoints, most) in [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2), (10, 5)] {
        let mut judge = Judge::new(endpoints, false, rules(), 1);
        for endpoint in 0..endpoints {
            out(&mut judge, endpoint, at(0));
        }
        let outs = judge.standings().iter().filter(|standing| standing.seat != Seat::In).count();
        assert_eq!(outs, most, "of {endpoints}");
    }
    assert_eq!(most_out(10, 0), 0);
    assert_eq!(most_out(10, 100), 9);
}

#[test]
fn each_ejection_in_a_row_is_longer_up_to_the_cap_with_at_most_a_tenth_more() {
    let mut judge = Judge::new(2, false, rules(), 7);
    let mut now = at(0);
    for times in 1..14_u32 {
        if times == 1 {
            out(&mut judge, 0, now);
        } else {
            judge.due(now);
            assert!(judge.take_trial(0, now));
            judge.told(0, (Outcome::Local, SEAT), None, now);
        }
        let least = Duration::from_secs(u64::from(30 * times).min(300));
        let lasted = until(&judge, 0).since(now);
        assert!(lasted >= least && lasted <= least + least / 10, "{times}: {lasted:?}");
        now = until(&judge, 0);
    }
    assert_eq!(judge.standings()[0].ejections[Reason::Trial as usize], 12);
}

#[test]
fn an_endpoint_comes_back_by_one_request_and_then_with_a_growing_share() {
    let mut judge = Judge::new(2, false, rules(), 1);
    out(&mut judge, 1, at(0));
    judge.due(at(29));
    assert!(!judge.take_trial(1, at(29)), "it is out");
    judge.due(at(34));
    assert!(judge.take_trial(1, at(34)));
    assert!(!judge.take_trial(1, at(34)), "one request");
    judge.told(1, (Outcome::Answered, SEAT), None, at(35));
    assert_eq!((judge.standings()[1].seat, judge.standings()[1].name()), (Seat::In, "slow_start"));
    judge.due(at(96));
    assert_eq!(judge.standings()[1].name(), "ready");
}

#[test]
fn every_sweep_that_an_endpoint_is_in_takes_one_ejection_off_its_count() {
    let mut judge = Judge::new(2, false, rules(), 1);
    let quiet = [Window::default(); 2];
    for (ejections, now) in [(1, 0), (2, 1000)] {
        judge.due(at(now));
        if judge.take_trial(0, at(now)) {
            judge.told(0, (Outcome::Local, SEAT), None, at(now));
        } else {
            out(&mut judge, 0, at(now));
        }
        assert_eq!(judge.standings()[0].times, ejections);
    }
    judge.sweep(&quiet, at(1010));
    assert_eq!(judge.standings()[0].times, 2, "it is out");
    judge.due(at(2000));
    assert!(judge.take_trial(0, at(2000)));
    judge.told(0, (Outcome::Answered, SEAT), None, at(2000));
    judge.sweep(&quiet, at(2010));
    assert_eq!(judge.standings()[0].times, 1);
    judge.sweep(&quiet, at(2020));
    judge.sweep(&quiet, at(2030));
    assert_eq!(judge.standings()[0].times, 0);
}

#[test]
fn a_check_that_passes_brings_an_ejected_endpoint_back_by_one_request() {
    let mut judge = Judge::new(2, true, rules(), 1);
    judge.checked(0, ready(), at(0));
    judge.checked(1, ready(), at(0));
    out(&mut judge, 0, at(1));
    judge.checked(0, ready(), at(2));
    assert_eq!(judge.standings()[0].seat, Seat::Trial);
    assert!(judge.take_trial(0, at(2)));
    judge.told(0, (Outcome::Errored, SEAT), None, at(3));
    assert!(matches!(judge.standings()[0].seat, Seat::Out(_)), "the one request failed");
}

#[test]
fn readiness_turns_after_so_many_checks_and_the_first_one_warms_up() {
    let mut judge = Judge::new(1, true, rules(), 1);
    assert_eq!(judge.standings()[0].name(), "warming");
    judge.checked(0, unready(), at(0));
    assert_eq!(judge.standings()[0].readiness, Readiness::Unasked);
    judge.checked(0, ready(), at(10));
    assert_eq!((judge.standings()[0].readiness, judge.standings()[0].name()), (Readiness::Ready, "slow_start"));
    for now in [20, 30] {
        judge.checked(0, unready(), at(now));
        assert_eq!(judge.standings()[0].readiness, Readiness::Ready);
    }
    judge.checked(0, unready(), at(40));
    assert_eq!((judge.standings()[0].name(), judge.standings()[0].said.as_str()), ("unready", "503"));
    judge.checked(0, ready(), at(50));
    assert_eq!(judge.standings()[0].readiness, Readiness::Unready, "two must pass");
    judge.checked(0, ready(), at(60));
    assert_eq!(judge.standings()[0].readiness, Readiness::Ready);
}

#[test]
fn a_trial_that_says_load_is_tried_again_and_one_that_is_lost_too() {
    let mut judge = Judge::new(2, false, rules(), 1);
    out(&mut judge, 0, at(0));
    judge.due(at(40));
    assert!(judge.take_trial(0, at(40)));
    judge.told(0, (Outcome::Load, SEAT), None, at(40));
    assert!(judge.take_trial(0, at(41)));
    judge.trial_lost(0, SEAT, at(41));
    assert!(judge.take_trial(0, at(42)));
    judge.due(at(101));
    assert!(!judge.take_trial(0, at(101)), "it may still say something");
    judge.due(at(102));
    assert!(judge.take_trial(0, at(102)), "it will not");
}

proptest! {
    /// Whatever happens in whatever order: one endpoint of several is always in, at most half of them are out, and one on
    /// its way back gets one request at a time.
    #[test]
    fn the_last_endpoint_stays_and_trials_are_single(
        endpoints in 1_usize..7,
        steps in proptest::collection::vec((0_u8..7, 0_usize..7, 0_u64..50), 1..200),
    ) {
        let mut judge = Judge::new(endpoints, false, rules(), 3);
        let mut now = at(0);
        for (step, endpoint, seconds) in steps {
            now = now.after(Duration::from_secs(seconds));
            let endpoint = endpoint % endpoints;
            match step {
                0 | 1 => out(&mut judge, endpoint, now),
                2 => judge.due(now),
                3 => {
                    if judge.take_trial(endpoint, now) {
                        prop_assert!(!judge.take_trial(endpoint, now));
                    }
                }
                4 => judge.told(endpoint, (Outcome::Answered, SEAT), None, now),
                5 => judge.told(endpoint, (Outcome::Gateway, SEAT), None, now),
                _ => judge.checked(endpoint, ready(), now),
            }
            let outs = judge.standings().iter().filter(|standing| standing.seat != Seat::In).count();
            prop_assert!(outs <= most_out(endpoints, 50));
            prop_assert!(outs < endpoints);
        }
    }
}
