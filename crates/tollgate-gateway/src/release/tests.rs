//! A release from its beginning to its end, without a socket or a clock.

use std::time::Duration;

use tollgate_limit::hash_key;

use super::compare::{Comparison, Tolerance};
use super::course::{Act, By, Choice, Latency, Lot, Outcome, Progress, Standing, Turn};
use super::levers::{Lever, Order, Wrong};
use super::terms::{OnRegression, Sticky, Terms, Version};

const NOW: u64 = 1_700_000_000_000;

fn terms(weights: &[(&str, u8)]) -> Terms {
    let versions = weights.iter().enumerate().map(|(upstream, (name, weight))| Version {
        name: (*name).into(),
        upstream,
        weight: *weight,
        shadow: 0,
    });
    Terms {
        of: String::new(),
        versions: versions.collect(),
        sticky: Sticky::Request,
        alpha: 0.01,
        slower: 1.5,
        drift: None,
        on_regression: OnRegression::Rollback,
        steps: Vec::new(),
        hold: Duration::from_mins(10),
        min_calls: 200,
        tolerance: Tolerance { max_abs: 0.0, max_relative: 0.0 },
        shadow_inflight: 2,
        shadow_bytes: 1024,
    }
}

/// A release under calls.
struct Run {
    terms: Terms,
    progress: Progress,
    calls: u64,
    seed: u64,
}

impl Run {
    fn new(terms: Terms, seed: u64) -> Self {
        let progress = Progress::begin(&terms, NOW);
        Self { terms, progress, calls: 0, seed }
    }

    fn random(&self, of: &str) -> u64 {
        hash_key((self.seed, 9), of, self.calls)
    }

    /// The next call, of the caller `key` if calls stay with versions.
    fn choose(&mut self, key: Option<u64>) -> Choice {
        self.calls += 1;
        let (coin, seed) = (self.random("coin"), self.seed);
        let draw = |place: usize| hash_key((seed, 1), place, key.unwrap_or(coin));
        self.progress.choose(&Lot { draw, sticky: key.is_some(), coin: coin.rotate_left(32) })
    }

    fn see(&mut self, choice: &Choice, outcome: Outcome) -> Option<Turn> {
        self.progress.see(&self.terms, choice, outcome, NOW + self.calls)
    }

    /// Calls until the release moves: how many of them went to version 1.
    fn until_turn(
        &mut self,
        most: u64,
        keys: Option<u64>,
        outcome: impl Fn(&Self, usize, u64) -> Outcome,
    ) -> Option<(u64, Turn)> {
        let mut candidate = 0;
        for _ in 0..most {
            let key = keys.map(|keys| self.random("key") % keys);
            let choice = self.choose(key);
            candidate += u64::from(choice.version == 1);
            let outcome = outcome(self, choice.version, key.unwrap_or_default());
            if let Some(turn) = self.see(&choice, outcome) {
                return Some((candidate, turn));
            }
        }
        None
    }

    fn is(&self, of: &str, chance_in_1000: u64) -> bool {
        self.random(of) % 1000 < chance_in_1000
    }

    fn weights(&self) -> Vec<u8> {
        self.progress.lanes.iter().map(|lane| lane.weight).collect()
    }

    fn order(&mut self, act: Lever, version: Option<&str>, weight: Option<u8>) -> Result<Turn, Wrong> {
        let order = Order { model: "m".to_owned(), act, version: version.map(str::to_owned), weight };
        self.progress.pull(&self.terms, &order, NOW + self.calls)
    }
}

fn failed(failed: bool) -> Outcome {
    Outcome { failed, broken: false, latency: Latency::Unknown }
}

fn took(latency: u32) -> Outcome {
    Outcome { latency: Latency::Exactly(latency), ..Outcome::default() }
}

const PAIR: [(&str, u8); 2] = [("blue", 95), ("green", 5)];

#[test]
fn the_heaviest_version_is_the_baseline_and_the_first_of_equals() {
    let begin = |weights: &[(&str, u8)]| Progress::begin(&terms(weights), NOW);
    assert_eq!(begin(&PAIR).baseline, 0);
    assert_eq!(begin(&[("blue", 10), ("green", 90)]).baseline, 1);
    assert_eq!(begin(&[("a", 50), ("b", 50)]).baseline, 0);
    let standings = begin(&[("a", 90), ("b", 10), ("c", 0)]).lanes.into_iter().map(|lane| lane.standing);
    assert_eq!(standings.collect::<Vec<_>>(), [Standing::Baseline, Standing::Trial, Standing::Idle]);
}

#[test]
fn a_candidate_whose_calls_fail_is_rolled_back_and_a_good_one_never() {
    for (rate, most) in [(1000, 20), (60, 500)] {
        let mut run = Run::new(terms(&PAIR), 3);
        let fails = |run: &Run, version: usize, _| failed(run.is("fail", if version == 1 { rate } else { 10 }));
        let (calls, turn) = run.until_turn(100_000, None, fails).expect("it is found");
        assert!(calls <= most, "{rate}: {calls}");
        assert_eq!((turn.act, turn.by, turn.version, turn.weight), (Act::Rollback, By::Gateway, 1, [5, 0]));
        assert!(turn.why.contains("fail more often"), "{}", turn.why);
        assert_eq!((run.weights(), run.progress.lanes[1].standing), (vec![100, 0], Standing::RolledBack));
        assert_eq!(run.until_turn(1000, None, |_, version, _| failed(version == 1)), None, "it gets no more calls");
    }
    let mut good = Run::new(terms(&PAIR), 4);
    assert_eq!(good.until_turn(100_000, None, |run, _, _| failed(run.is("fail", 30))), None);
    assert_eq!(good.weights(), [95, 5]);
}

#[test]
fn a_slow_candidate_is_rolled_back_and_what_is_tolerated_is_not() {
    // Latencies from 10 to 20 ms; the candidate takes so many percent of that.
    let slow = |percent: u64| {
        move |run: &Run, version: usize, _: u64| {
            let took_us = 10_000 + run.random("took") % 10_000;
            let took_us = if version == 1 { took_us * percent / 100 } else { took_us };
            took(u32::try_from(took_us).expect("small"))
        }
    };
    let mut run = Run::new(terms(&PAIR), 5);
    let (calls, turn) = run.until_turn(100_000, None, slow(300)).expect("it is found");
    assert!(calls <= 60, "{calls}");
    assert!(turn.why.contains("slower"), "{}", turn.why);
    assert_eq!(Run::new(terms(&PAIR), 5).until_turn(50_000, None, slow(145)), None);
    assert_eq!(Run::new(terms(&PAIR), 5).until_turn(50_000, None, slow(50)), None);
    // One that hangs until its clients leave is slow as well.
    let hangs = |run: &Run, version: usize, key| match version {
        1 => Outcome { latency: Latency::AtLeast(60_000), ..Outcome::default() },
        _ => slow(100)(run, version, key),
    };
    assert!(Run::new(terms(&PAIR), 6).until_turn(100_000, None, hangs).is_some_and(|(calls, _)| calls <= 60));
}

#[test]
fn replies_that_break_their_contract_and_answers_that_drift_are_found() {
    let mut run = Run::new(terms(&PAIR), 7);
    let breaks = |_: &Run, version: usize, _| Outcome { broken: version == 1, ..took(10) };
    let (calls, turn) = run.until_turn(10_000, None, breaks).expect("it is found");
    assert!(calls <= 20 && turn.why.contains("contract"), "{calls} {}", turn.why);

    let mut drifts = terms(&[("blue", 100), ("green", 0)]);
    drifts.versions[1].shadow = 10;
    drifts.drift = Some(0.02);
    let other = Comparison { numbers_differ: true, ..Comparison::default() };
    let shown = |drifts: &Terms, every: u64| {
        let mut progress = Progress::begin(drifts, NOW);
        (1..=5_000u64).find_map(|turn| {
            let found = if turn % every == 0 { other } else { Comparison::default() };
            progress.compared(drifts, 1, &found, NOW + turn).map(|_| turn)
        })
    };
    assert!(shown(&drifts, 1).is_some_and(|calls| calls <= 6), "{:?}", shown(&drifts, 1));
    assert!(shown(&drifts, 8).is_some_and(|calls| calls <= 300), "{:?}", shown(&drifts, 8));
    assert_eq!(shown(&drifts, 60), None, "one in sixty is tolerated");
    drifts.drift = None;
    assert_eq!(shown(&drifts, 1), None, "compared and not judged");
}

#[test]
fn callers_that_stay_with_a_version_cannot_condemn_it_by_their_own_doing() {
    // Six callers, one of whom only ever sends what every version fails at; it stays with the candidate in part of the runs.
    let (mut wrong, mut doubted) = (0, 0);
    for seed in 0..200 {
        let mut run = Run::new(Terms { alpha: 0.05, ..terms(&[("blue", 70), ("green", 30)]) }, seed);
        let fails = |_: &Run, _, key: u64| failed(key == 0);
        wrong += u32::from(run.until_turn(6_000, Some(6), fails).is_some());
        let bar = serde_json::to_value(&run.progress.lanes[1].doubt).expect("JSON")["bar"].as_f64();
        doubted += u32::from(bar.is_some_and(|bar| bar > 20.0));
    }
    assert!(wrong <= 10, "{wrong} of 200 rolled back at 5 %");
    assert!(doubted >= 30, "in {doubted} of 200 the suspicion was looked into, and dropped");
    // A candidate that is to blame is found, with the same six callers.
    for seed in 0..50 {
        let mut run = Run::new(terms(&[("blue", 70), ("green", 30)]), seed);
        let found = run.until_turn(20_000, Some(6), |_, version, _| failed(version == 1));
        // Of six callers perhaps none is the candidate's.
        let served = run.progress.lanes[1].tally.calls;
        match found {
            Some((calls, _)) => assert!(calls <= 80, "{calls}"),
            None => assert_eq!(served, 0),
        }
    }
}

#[test]
fn a_slow_candidate_is_found_although_its_callers_wait_for_it_and_so_call_less() {
    // Twelve callers that ask again once they are answered: whoever is with the slow version asks once for each 200 calls of
    // one of the others, so that few of all slow calls are its own.
    for seed in 0..20 {
        let mut run = Run::new(Terms { slower: 3.0, ..terms(&[("blue", 70), ("green", 30)]) }, seed);
        let mut waits_until = [0_u64; 12];
        let (mut of_candidate, mut found) = (0, None);
        for round in 0..200_000_u64 {
            let caller = usize::try_from(round % 12).expect("small");
            if waits_until[caller] > round {
                continue;
            }
            let choice = run.choose(Some(round % 12));
            let is_slow = choice.version == 1 && round > 2_000;
            if is_slow {
                of_candidate += 1;
                waits_until[caller] = round + 200 * 12;
            }
            let usual = 1_000 + u32::try_from(run.random("latency") % 100).expect("small");
            found = run.see(&choice, took(if is_slow { 250_000 } else { usual }));
            if found.is_some() {
                break;
            }
        }
        // Of twelve callers perhaps none is the candidate's.
        let served = run.progress.lanes[1].tally.calls;
        let rolled_back = found.is_some_and(|turn| turn.act == Act::Rollback);
        assert!((rolled_back || served == 0) && of_candidate <= 60, "{seed}: {of_candidate}");
    }
}

#[test]
fn several_candidates_are_measured_by_the_same_baseline_and_fall_alone() {
    let mut run = Run::new(terms(&[("blue", 80), ("green", 10), ("red", 10)]), 8);
    let (_, turn) = run.until_turn(10_000, None, |_, version, _| failed(version == 2)).expect("it is found");
    assert_eq!((turn.version, run.weights()), (2, vec![90, 10, 0]));
    assert_eq!(run.until_turn(20_000, None, |run, _, _| failed(run.is("fail", 20))), None);
    assert_eq!(run.weights(), [90, 10, 0]);
}

#[test]
fn where_it_is_only_watched_nothing_moves_and_it_is_told_once() {
    let mut run = Run::new(Terms { on_regression: OnRegression::Watch, ..terms(&PAIR) }, 9);
    let (_, turn) = run.until_turn(10_000, None, |_, version, _| failed(version == 1)).expect("it is found");
    assert_eq!((turn.act, turn.weight, run.weights()), (Act::Regress, [5, 5], vec![95, 5]));
    assert_eq!(run.until_turn(10_000, None, |_, version, _| failed(version == 1)), None);
}

#[test]
fn steps_are_taken_when_they_were_held_and_served_and_never_under_suspicion() {
    let stepped = || Terms { steps: vec![1, 5, 25, 50, 100], min_calls: 100, ..terms(&[("blue", 99), ("green", 1)]) };
    let mut run = Run::new(stepped(), 10);
    let hold = 600_000;
    assert_eq!(run.progress.advance(&run.terms, NOW + 10 * hold), None, "it has served nothing");
    let mut now = NOW;
    for (next, rest) in [(5, 95), (25, 75), (50, 50), (100, 0)] {
        assert_eq!(run.until_turn(40_000, None, |run, _, _| failed(run.is("fail", 5))), None);
        assert_eq!(run.progress.advance(&run.terms, now + hold - 1), None, "not held long enough");
        now += hold;
        let turn = run.progress.advance(&run.terms, now).expect("a step");
        assert_eq!((turn.act, turn.by, turn.weight[1]), (Act::Promote, By::Gateway, next));
        assert_eq!(run.weights(), [rest, next]);
    }
    assert_eq!((run.progress.baseline, run.progress.previous), (1, Some(0)));
    assert_eq!(run.progress.advance(&run.terms, now + hold), None, "it has arrived");
    // Back again, by hand: the new baseline gives everything to the old one.
    let turn = run.order(Lever::Rollback, None, None).expect("a way back");
    assert_eq!((turn.version, run.weights(), run.progress.baseline), (1, vec![100, 0], 0));

    let mut suspect = Run::new(stepped(), 11);
    let mut worse = false;
    while suspect.progress.lanes[1].case.wealth() < 3.0 {
        let choice = suspect.choose(None);
        worse |= suspect.see(&choice, failed(choice.version == 1)).is_some();
    }
    assert!(!worse, "suspected, not condemned");
    suspect.progress.lanes[1].step_calls = 1_000;
    assert_eq!(suspect.progress.advance(&suspect.terms, NOW + 2 * hold), None);
}

#[test]
fn operators_start_promote_switch_and_roll_back() {
    let mut run = Run::new(terms(&[("blue", 100), ("green", 0)]), 12);
    assert_eq!(run.order(Lever::Promote, None, None), Err(Wrong::Nothing));
    assert_eq!(run.order(Lever::Start, Some("red"), None), Err(Wrong::Unknown("red".to_owned())));
    assert_eq!(run.order(Lever::Start, Some("blue"), None), Err(Wrong::Baseline("blue".to_owned())));
    assert!(matches!(run.order(Lever::Start, Some("green"), Some(100)), Err(Wrong::Weight(_))));
    assert!(matches!(run.order(Lever::Start, Some("green"), Some(0)), Err(Wrong::Weight(_))));
    let turn = run.order(Lever::Start, None, None).expect("one can be meant");
    assert_eq!((turn.by, turn.weight, run.weights()), (By::Operator, [0, 5], vec![95, 5]));
    run.order(Lever::Promote, None, Some(40)).expect("more");
    assert_eq!(run.weights(), [60, 40]);
    run.order(Lever::Rollback, None, None).expect("back");
    assert_eq!((run.weights(), run.progress.lanes[1].standing), (vec![100, 0], Standing::RolledBack));
    assert_eq!(run.order(Lever::Promote, Some("green"), None), Err(Wrong::RolledBack("green".to_owned())));
    assert_eq!(run.order(Lever::Rollback, None, Some(3)), Err(Wrong::Weighed));
    run.order(Lever::Start, Some("green"), Some(10)).expect("again, with nothing known of it");
    assert_eq!((run.progress.lanes[1].standing, run.weights()), (Standing::Trial, vec![90, 10]));
    // Blue and green.
    run.order(Lever::Promote, None, None).expect("all of it");
    assert_eq!((run.weights(), run.progress.baseline), (vec![0, 100], 1));
    run.order(Lever::Promote, Some("blue"), Some(100)).expect("the other way at once");
    assert_eq!((run.weights(), run.progress.baseline), (vec![100, 0], 0));
    let acts: Vec<Act> = run.progress.past.iter().map(|turn| turn.act).collect();
    assert_eq!(acts, [Act::Start, Act::Promote, Act::Rollback, Act::Start, Act::Promote, Act::Promote]);

    let mut three = Run::new(terms(&[("a", 100), ("b", 0), ("c", 0)]), 13);
    assert_eq!(three.order(Lever::Start, None, None), Err(Wrong::Unclear));
    three.order(Lever::Start, Some("b"), Some(60)).expect("free");
    assert_eq!(three.order(Lever::Start, Some("c"), Some(60)), Err(Wrong::NotFree(40)));
    three.order(Lever::Start, Some("c"), Some(30)).expect("free");
    assert_eq!(three.weights(), [10, 60, 30]);
    assert_eq!(three.order(Lever::Promote, None, Some(50)), Err(Wrong::Unclear));
    assert_eq!(three.weights(), [10, 60, 30], "what cannot be done changes nothing");
}

#[test]
fn what_is_written_down_is_read_back_and_nothing_else_is_believed() {
    let mut run = Run::new(terms(&PAIR), 14);
    run.until_turn(50, None, |run, _, _| failed(run.is("fail", 200)));
    run.order(Lever::Rollback, None, None).expect("back");
    let text = serde_json::to_string(&run.progress).expect("JSON");
    let read: Progress = serde_json::from_str(&text).expect("what was written");
    assert!(read.is_sound(2) && !read.is_sound(3));
    assert_eq!(serde_json::to_string(&read).expect("JSON"), text);
    let broken = |from: &str, to: &str| {
        assert!(text.contains(from), "{from} in {text}");
        serde_json::from_str::<Progress>(&text.replace(from, to)).is_ok_and(|progress| progress.is_sound(2))
    };
    assert!(!broken("\"weight\":100", "\"weight\":99"));
    assert!(!broken("\"baseline\":0", "\"baseline\":7"));
    assert!(!broken("\"bets\":[", "\"bets\":[-"));
}

#[test]
fn no_order_of_events_leaves_calls_without_a_version() {
    use proptest::prelude::*;
    proptest!(|(moves in prop::collection::vec((0u8..6, 0usize..3, prop::option::of(0u8..=100)), 0..60))| {
        let mut run = Run::new(Terms { steps: vec![10, 50, 100], min_calls: 0, hold: Duration::ZERO,
            ..terms(&[("a", 60), ("b", 40), ("c", 0)]) }, 15);
        for (act, version, weight) in moves {
            let name = ["a", "b", "c"][version];
            match act {
                0 => drop(run.order(Lever::Start, Some(name), weight)),
                1 => drop(run.order(Lever::Promote, Some(name), weight)),
                2 => drop(run.order(Lever::Rollback, Some(name), None)),
                3 => drop(run.order(Lever::Rollback, None, None)),
                4 => drop(run.progress.advance(&run.terms, NOW + 1)),
                _ => drop(run.until_turn(30, None, |_, at, _| failed(at == version))),
            }
            prop_assert!(run.progress.is_sound(3), "{:?}", run.progress);
            let lane = &run.progress.lanes[run.progress.baseline];
            prop_assert_eq!(lane.standing, Standing::Baseline);
            let choice = run.choose(None);
            prop_assert!(run.progress.lanes[choice.version].weight > 0);
        }
    });
}
