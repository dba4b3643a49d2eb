use proptest::prelude::*;

use super::*;

const FRESH: Again = Again { reached: Reached::Unheard, repeatable: true, cost: 10, attempts: 1, others: 2 };

fn asked(again: Again) -> Verdict {
    verdict(&again, &RetryRules { max_cost: 100, ..RetryRules::default() })
}

#[test]
fn what_nobody_has_worked_on_is_sent_again_whatever_it_is() {
    let unserved = Again { reached: Reached::Unserved, repeatable: false, cost: 10_000, ..FRESH };
    assert_eq!(asked(unserved), Verdict::Free);
    assert_eq!(asked(Again { attempts: 3, ..unserved }), Verdict::No);
    assert_eq!(asked(Again { others: 0, ..unserved }), Verdict::Free, "once more to the only server");
    assert_eq!(asked(Again { others: 0, attempts: 2, ..unserved }), Verdict::No);
}

#[test]
fn what_was_perhaps_worked_on_is_never_sent_again() {
    assert_eq!(asked(Again { reached: Reached::Perhaps, ..FRESH }), Verdict::No);
}

#[test]
fn a_race_with_a_closing_server_is_repeated_where_that_is_the_same_and_cheap() {
    assert_eq!(asked(FRESH), Verdict::Spends);
    assert_eq!(asked(Again { repeatable: false, ..FRESH }), Verdict::No);
    assert_eq!(asked(Again { cost: 101, ..FRESH }), Verdict::No);
}

#[test]
fn a_status_is_taken_to_another_server_and_never_to_the_same() {
    for status in [502, 503, 504] {
        let answered = Again { reached: Reached::Status(status), ..FRESH };
        assert_eq!(asked(answered), Verdict::Spends);
        assert_eq!(asked(Again { others: 0, ..answered }), Verdict::No);
        assert_eq!(asked(Again { repeatable: false, ..answered }), Verdict::No);
    }
    assert_eq!(asked(Again { reached: Reached::Status(500), ..FRESH }), Verdict::No);
}

#[test]
fn the_budget_is_a_share_of_what_runs_and_never_less_than_its_least() {
    let (retries, rules) = (Arc::new(Retries::default()), RetryRules::default());
    for (running, most) in [(0, 3), (29, 3), (100, 10)] {
        let held: Vec<_> = (0..50).filter_map(|_| retries.permit(&rules, running)).collect();
        assert_eq!(held.len(), most, "beside {running}");
    }
    assert!(retries.permit(&rules, 0).is_some(), "what was held is given back");
}

proptest! {
    #[test]
    fn nothing_dear_or_unrepeatable_is_worked_on_twice(
        kind in 0_u8..4, repeatable in any::<bool>(), cost in 0_u64..200, attempts in 1_usize..5, others in 0_usize..4,
    ) {
        let reached = match kind {
            0 => Reached::Perhaps,
            1 => Reached::Status(503),
            2 => Reached::Unheard,
            _ => Reached::Unserved,
        };
        let said = asked(Again { reached, repeatable, cost, attempts, others });
        if said == Verdict::Spends {
            prop_assert!(repeatable && cost <= 100);
        }
        prop_assert!(said == Verdict::No || attempts < MOST_ATTEMPTS);
        prop_assert!(said != Verdict::Free || reached == Reached::Unserved);
    }
}
