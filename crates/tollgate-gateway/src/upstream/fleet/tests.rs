use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::upstream::outlier::Reason;

const ANSWERED: Outcome = Outcome::Answered;

fn at(seconds: u64) -> Tick {
    Tick((seconds + 3_600) * 1_000_000_000)
}

fn fleet_of(weights: &[f64], rules: FleetRules) -> Fleet {
    let address = |port: u16| Address::new("127.0.0.1".to_owned(), port, None).expect("an address");
    let endpoints = (1..).zip(weights).map(|(port, weight)| (address(port), *weight));
    Fleet::new(endpoints.collect(), rules, 42)
}

fn fleet(endpoints: usize) -> Fleet {
    fleet_of(&vec![1.0; endpoints], FleetRules::default())
}

const WANT: Want<'static> = Want { model: Some("m"), cost: 1_000, repeatable: true, hedges: false, beginnings: None };

fn choose(fleet: &Fleet, now: Tick) -> Pick {
    fleet.choose(&WANT, &Tried::new(), now).expect("an endpoint")
}

/// How often each endpoint is chosen while nothing runs.
fn shares(fleet: &Fleet, now: Tick) -> Vec<usize> {
    let mut counts = vec![0; fleet.len()];
    for _ in 0..1000 {
        counts[choose(fleet, now).endpoint] += 1;
    }
    counts
}

fn fail(fleet: &Fleet, endpoint: usize, times: usize, now: Tick) {
    for _ in 0..times {
        fleet.told(Pick { endpoint, trial: Trial::default() }, Outcome::Local, || now);
    }
}

fn states(fleet: &Fleet, now: Tick) -> Vec<&'static str> {
    fleet.show(now, |_, standing, _| standing.name()).1
}

fn ready() -> Checked {
    Checked::Ready(BTreeSet::new())
}

#[test]
fn equal_endpoints_get_equal_shares() {
    let counts = shares(&fleet(3), at(0));
    assert!(counts.iter().all(|count| (250..420).contains(count)), "{counts:?}");
}

#[test]
fn the_less_loaded_of_two_gets_the_request_and_a_weight_carries_more() {
    let two = fleet(2);
    two.enter(0, 5_000);
    assert_eq!(shares(&two, at(0)), [0, 1000]);
    two.leave(0, 5_000);
    two.enter(1, 1);
    assert_eq!(shares(&two, at(0)), [1000, 0]);
    let weighted = fleet_of(&[1.0, 10.0], FleetRules::default());
    weighted.enter(1, 5_000);
    weighted.enter(0, 600);
    assert_eq!(shares(&weighted, at(0)), [0, 1000]);
}

#[test]
fn a_slow_endpoint_gets_less_until_that_is_forgotten() {
    let two = fleet(2);
    two.took(0, Duration::from_millis(50), 1_000, at(0));
    two.took(1, Duration::from_millis(1), 1_000, at(0));
    assert_eq!(shares(&two, at(0)), [0, 1000]);
    // Work makes up for it.
    two.enter(1, 100_000);
    assert_eq!(shares(&two, at(0)), [1000, 0]);
}

#[test]
fn five_failures_in_a_row_eject_an_endpoint_and_the_other_carries_on() {
    let two = fleet(2);
    fail(&two, 0, 4, at(0));
    assert_eq!(states(&two, at(0)), ["ready", "ready"]);
    fail(&two, 0, 1, at(0));
    assert_eq!(states(&two, at(0)), ["ejected", "ready"]);
    assert_eq!(shares(&two, at(1)), [0, 1000]);
    fail(&two, 1, 4, at(1));
    two.told(Pick { endpoint: 1, trial: Trial::default() }, ANSWERED, || at(1));
    assert_eq!(states(&two, at(1)), ["ejected", "ready"], "never the last one");
}

#[test]
fn the_only_endpoint_is_never_ejected_and_the_breaker_opens_instead() {
    let one = fleet(1);
    fail(&one, 0, 9, at(0));
    assert_eq!(choose(&one, at(0)).endpoint, 0);
    fail(&one, 0, 1, at(0));
    let refused = one.choose(&WANT, &Tried::new(), at(0)).expect_err("open");
    assert_eq!((refused.code, refused.retry_after), (Code::Overloaded, Some(Duration::from_secs(1))));
    let pick = choose(&one, at(1));
    assert!(pick.trial.breaker);
    assert!(one.choose(&WANT, &Tried::new(), at(1)).is_err(), "one tries");
    one.told(pick, ANSWERED, || at(1));
    assert_eq!(choose(&one, at(1)).trial, Trial::default());
}

#[test]
fn an_ejected_endpoint_comes_back_by_one_request_that_may_go_twice() {
    let two = fleet(2);
    fail(&two, 0, 5, at(0));
    two.sweep(at(20));
    assert_eq!(shares(&two, at(20)), [0, 1000]);
    two.sweep(at(34));
    let pick = choose(&two, at(34));
    assert!(pick.endpoint == 0 && pick.trial.seat);
    assert_eq!(shares(&two, at(34)), [0, 1000], "while that one is on its way");
    two.told(pick, ANSWERED, || at(35));
    assert_eq!(states(&two, at(35)), ["slow_start", "ready"]);
    two.sweep(at(96));
    assert_eq!(states(&two, at(96)), ["ready", "ready"]);
}

#[test]
fn a_trial_that_fails_is_ejected_for_longer_and_one_that_is_lost_is_tried_anew() {
    let two = fleet(2);
    fail(&two, 0, 5, at(0));
    two.sweep(at(34));
    let pick = choose(&two, at(34));
    two.lost(pick, || at(34));
    let pick = choose(&two, at(34));
    assert!(pick.trial.seat, "the next one tries");
    two.told(pick, Outcome::Gateway, || at(34));
    two.sweep(at(34 + 59));
    assert_eq!(states(&two, at(93)), ["ejected", "ready"]);
    two.sweep(at(34 + 67));
    assert_eq!(states(&two, at(101)), ["half_open", "ready"]);
    let counted = two.show(at(101), |_, standing, _| standing.ejections[Reason::Trial as usize]).1;
    assert_eq!(counted, [1, 0]);
}

#[test]
fn an_endpoint_that_fails_its_checks_gets_nothing_even_in_a_panic() {
    let rules = FleetRules { check_every: Duration::from_secs(10), ..FleetRules::default() };
    let two = fleet_of(&[1.0, 1.0], rules);
    assert_eq!(states(&two, at(0)), ["warming", "warming"]);
    assert!(shares(&two, at(0)).iter().all(|count| *count > 100), "until a check says more, all are used");
    two.checked(0, ready(), at(0));
    assert_eq!(shares(&two, at(0)), [1000, 0], "one that is warm is better");
    for _ in 0..3 {
        two.checked(0, Checked::Unready("503".to_owned()), at(10));
        two.checked(1, Checked::Unready("503".to_owned()), at(10));
    }
    let refused = two.choose(&WANT, &Tried::new(), at(10)).expect_err("none is ready");
    assert_eq!((refused.code, refused.retry_after), (Code::Overloaded, Some(Duration::from_secs(4))));
    assert!(!two.is_able(Some("m"), at(10)));
}

#[test]
fn too_few_left_means_that_ejections_are_ignored_and_checks_are_not() {
    let rules = FleetRules { check_every: Duration::from_secs(10), ..FleetRules::default() };
    let four = fleet_of(&[1.0; 4], rules);
    for endpoint in 0..4 {
        four.checked(endpoint, ready(), at(0));
    }
    four.sweep(at(61));
    fail(&four, 0, 5, at(61));
    // Somebody answers, or the breaker would open.
    four.told(Pick { endpoint: 3, trial: Trial::default() }, ANSWERED, || at(61));
    fail(&four, 1, 5, at(61));
    assert_eq!(states(&four, at(61)), ["ejected", "ejected", "ready", "ready"]);
    let counts = shares(&four, at(61));
    assert_eq!((counts[0], counts[1]), (0, 0), "half of them are enough");
    for _ in 0..3 {
        four.checked(2, Checked::Unready("gone".to_owned()), at(62));
    }
    let counts = shares(&four, at(62));
    assert!(counts[0] > 100 && counts[1] > 100 && counts[2] == 0 && counts[3] > 100, "{counts:?}");
}

#[test]
fn a_model_that_an_endpoint_lacks_is_sent_elsewhere_and_others_are_not() {
    let rules = FleetRules { check_every: Duration::from_secs(10), ..FleetRules::default() };
    let two = fleet_of(&[1.0, 1.0], rules);
    two.checked(0, Checked::Ready(BTreeSet::from(["m".into()])), at(0));
    two.checked(1, ready(), at(0));
    two.sweep(at(61));
    assert_eq!(shares(&two, at(61)), [0, 1000]);
    let other = Want { model: Some("other"), ..WANT };
    let places: BTreeSet<usize> =
        (0..100).map(|_| two.choose(&other, &Tried::new(), at(61)).expect("both").endpoint).collect();
    assert_eq!(places.len(), 2);
    two.checked(1, Checked::Ready(BTreeSet::from(["m".into()])), at(62));
    assert!(two.choose(&WANT, &Tried::new(), at(62)).is_err());
    assert!(!two.is_able(Some("m"), at(62)) && two.is_able(Some("other"), at(62)));
}

#[test]
fn what_was_tried_is_not_tried_again_while_there_is_another() {
    let three = fleet(3);
    let mut tried = Tried::new();
    tried.push(0);
    for _ in 0..100 {
        assert_ne!(three.choose(&WANT, &tried, at(0)).expect("another").endpoint, 0);
    }
    tried.push(1);
    assert_eq!(three.choose(&WANT, &tried, at(0)).expect("another").endpoint, 2);
    tried.push(2);
    assert!(three.choose(&WANT, &tried, at(0)).is_ok());
}

#[test]
fn a_prompt_that_goes_on_goes_where_it_began_unless_there_is_too_much_to_do() {
    let rules = FleetRules { prefix_affinity: true, ..FleetRules::default() };
    let four = fleet_of(&[1.0; 4], rules);
    let prompt =
        tollgate_core::call::Prompt { role: tollgate_core::call::Role::User, text: "x".repeat(4_000).into(), at: 0..0 };
    let beginnings = Beginnings::of("m", &[prompt], 1, (1, 2));
    let want = Want { beginnings: Some(&beginnings), ..WANT };
    let first = four.choose(&want, &Tried::new(), at(0)).expect("one").endpoint;
    for endpoint in 0..4 {
        four.enter(endpoint, 100_000);
    }
    four.enter(first, 20_000);
    for _ in 0..100 {
        assert_eq!(four.choose(&want, &Tried::new(), at(0)).expect("one").endpoint, first);
    }
    four.enter(first, 20_000);
    assert_ne!(four.choose(&want, &Tried::new(), at(0)).expect("one").endpoint, first, "over 1.25 times");
}

#[test]
fn a_sweep_ejects_the_one_that_fails_half_of_what_it_gets() {
    let three = fleet(3);
    three.sweep(at(0));
    for endpoint in 0..3 {
        for number in 0..30 {
            let outcome = if endpoint == 1 && number % 2 == 0 { Outcome::Errored } else { ANSWERED };
            three.told(Pick { endpoint, trial: Trial::default() }, outcome, || at(1));
        }
    }
    three.sweep(at(9));
    assert_eq!(states(&three, at(9)), ["ready"; 3]);
    three.sweep(at(10));
    assert_eq!(states(&three, at(10)), ["ready", "ejected", "ready"]);
}

#[test]
fn a_sweep_ejects_the_one_that_is_far_slower_at_the_same_work() {
    let three = fleet(3);
    three.sweep(at(0));
    for endpoint in 0..3 {
        for _ in 0..20 {
            let took = Duration::from_millis(if endpoint == 2 { 40 } else { 10 });
            three.took(endpoint, took, 10_000, at(1));
        }
    }
    three.sweep(at(10));
    assert_eq!(states(&three, at(10)), ["ready", "ready", "ejected"]);
}

proptest! {
    /// What was entered and left, in any order, leaves nothing behind; an endpoint that our own checks found unready is
    /// never chosen; and as long as one may be used, one is.
    #[test]
    fn nothing_is_left_behind_and_the_unready_are_left_alone(
        endpoints in 1_usize..6,
        steps in proptest::collection::vec((0_u8..8, 0_usize..6, 0_u64..40), 1..200),
    ) {
        let rules = FleetRules { check_every: Duration::from_secs(10), ..FleetRules::default() };
        let fleet = fleet_of(&vec![1.0; endpoints], rules);
        let mut now = at(0);
        let mut running = Vec::new();
        for (step, endpoint, seconds) in steps {
            now = now.after(Duration::from_secs(seconds));
            let endpoint = endpoint % endpoints;
            match step {
                0..=2 => match fleet.choose(&WANT, &Tried::new(), now) {
                    Ok(pick) => {
                        prop_assert_ne!(states(&fleet, now)[pick.endpoint], "unready");
                        fleet.enter(pick.endpoint, seconds);
                        running.push((pick, seconds));
                    }
                    Err(refusal) => {
                        prop_assert_eq!(refusal.code, Code::Overloaded);
                        let all_unready = states(&fleet, now).iter().all(|state| *state == "unready");
                        let breaker = !matches!(fleet.show(now, |_, _, _| ()).0, Breaker::Closed(_));
                        prop_assert!(all_unready || breaker);
                    }
                },
                3 | 4 => {
                    if let Some((pick, cost)) = running.pop() {
                        let outcome = if step == 3 { ANSWERED } else { Outcome::Local };
                        fleet.told(pick, outcome, || now);
                        fleet.leave(pick.endpoint, cost);
                    }
                }
                5 => {
                    if let Some((pick, cost)) = running.pop() {
                        fleet.lost(pick, || now);
                        fleet.leave(pick.endpoint, cost);
                    }
                }
                6 => fleet.checked(endpoint, Checked::Unready("no".to_owned()), now),
                _ => fleet.checked(endpoint, ready(), now),
            }
            fleet.sweep(now);
        }
        for (pick, cost) in running {
            fleet.leave(pick.endpoint, cost);
        }
        prop_assert_eq!(fleet.running(), 0);
        prop_assert!(fleet.endpoints.iter().all(|endpoint| endpoint.running.load(Relaxed) == 0));
    }
}
