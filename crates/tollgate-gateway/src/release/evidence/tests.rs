//! What the test promises, by simulation with fixed seeds: it is looked at after every single outcome.

use super::*;

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct Dice(u64);

impl Dice {
    #[expect(clippy::cast_precision_loss, reason = "53 bits")]
    fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn is(&mut self, chance: f64) -> bool {
        self.roll() < chance
    }
}

/// The chance that a call fails, by its number and whether it is the candidate's.
type Rate = fn(u64, bool) -> f64;

/// One release: calls are dealt by `share`, fail by `rate(call, candidate)`, and the wealth is looked at after each.
/// The number of calls until it reaches `1/alpha`, and how many of those after `from` were the candidate's.
fn run(
    seed: u64,
    (from, calls): (u64, u64),
    share: f64,
    alpha: f64,
    rate: impl Fn(u64, bool) -> f64,
) -> Option<(u64, u64)> {
    let (mut dice, mut case, mut candidates) = (Dice(seed), Case::default(), 0);
    for call in 1..=calls {
        let candidate = dice.is(share);
        candidates += u64::from(candidate && call > from);
        if dice.is(rate(call, candidate)) {
            case.failures.see(share, candidate);
            if case.wealth() >= 1.0 / alpha {
                return Some((call, candidates));
            }
        }
    }
    None
}

#[test]
fn alike_versions_are_rolled_back_no_more_often_than_stated_however_often_one_looks() {
    const RUNS: u64 = 1_000;
    const ALPHA: f64 = 0.05;
    // Rates that stand still, that swing with the hour, and an outage of both: at several shares.
    let swings: [(&str, Rate); 4] = [
        ("steady", |_, _| 0.02),
        ("an hour of trouble", |call, _| if call % 2_000 < 300 { 0.5 } else { 0.005 }),
        ("everything fails", |_, _| 1.0),
        ("falling", |call, _| if call < 500 { 0.3 } else { 0.001 }),
    ];
    for (name, rate) in swings {
        for share in [0.01f64, 0.05, 0.5, 0.95] {
            let seed = |turn: u64| turn.wrapping_mul(0xD6E8_FEB8_6659_FD93) ^ share.to_bits();
            let wrong = (0..RUNS).filter(|turn| run(seed(*turn), (0, 2_000), share, ALPHA, rate).is_some()).count();
            let most = ALPHA * 1_000.0;
            println!("{name}, share {share}: {wrong} of {RUNS} false, {most} allowed");
            assert!(u32::try_from(wrong).is_ok_and(|wrong| f64::from(wrong) <= most), "{name} at {share}: {wrong}");
        }
    }
}

#[test]
fn a_share_that_moves_between_steps_keeps_the_promise() {
    let mut wrong = 0;
    for turn in 0..2_000 {
        let (mut dice, mut case) = (Dice(turn ^ 0x51AB), Case::default());
        let steps = [0.01, 0.05, 0.25, 0.5].into_iter().flat_map(|share| std::iter::repeat_n(share, 600));
        wrong += u32::from(steps.into_iter().any(|share| {
            let candidate = dice.is(share);
            // Bad outcomes of two kinds, which even go together.
            if dice.is(0.05) {
                case.failures.see(share, candidate);
                case.slow.see(share, candidate);
            }
            case.wealth() >= 20.0
        }));
    }
    println!("{wrong} of 2000 false, 100 allowed");
    assert!(wrong <= 100, "{wrong}");
}

#[test]
fn wealth_is_fair_to_the_last_digit() {
    // What both outcomes leave, weighed by their chances, is what was there: no run of luck is needed to see it.
    for chance in [0.01, 0.05, 0.5, 0.9] {
        let mut evidence = Evidence::default();
        let mut dice = Dice(7);
        for _ in 0..200 {
            let (mut hit, mut miss) = (evidence.clone(), evidence.clone());
            hit.see(chance, true);
            miss.see(chance, false);
            let expected = chance * hit.wealth() + (1.0 - chance) * miss.wealth();
            assert!((expected / evidence.wealth() - 1.0).abs() < 1e-12, "{expected} {}", evidence.wealth());
            evidence.see(chance, dice.is(chance));
        }
    }
}

/// The most calls of the candidate that nine of ten releases need.
fn nine_of_ten(share: f64, base: f64, bad: f64, from: u64) -> u64 {
    let run_one = |turn: u64| {
        run(
            turn ^ 0xBEEF,
            (from, 400_000),
            share,
            0.01,
            |call, candidate| {
                if candidate && call > from { bad } else { base }
            },
        )
    };
    let mut needed: Vec<u64> = (0..200)
        .map(|turn| {
            let (calls, candidates) = run_one(turn).expect("it is found");
            assert!(calls > from, "rolled back before it turned bad");
            candidates
        })
        .collect();
    needed.sort_unstable();
    needed[179]
}

#[test]
fn five_percent_more_errors_are_found_within_the_stated_number_of_calls() {
    // (share, baseline's rate, candidate's rate, the most calls of the candidate that 9 of 10 releases need), at α = 1 %.
    for (share, base, bad, stated) in [
        (0.05, 0.001, 0.051, 150),
        (0.05, 0.01, 0.06, 300),
        (0.5, 0.01, 0.06, 700),
        (0.05, 0.05, 0.10, 900),
        (0.05, 0.001, 1.0, 8),
        (0.5, 0.001, 1.0, 25),
        (0.01, 0.0, 1.0, 8),
    ] {
        let needed = nine_of_ten(share, base, bad, 0);
        println!("share {share}, {base} against {bad}: {needed} calls of the candidate, {stated} stated");
        assert!(needed <= stated, "share {share}, {base} against {bad}: {needed}");
    }
}

#[test]
fn a_candidate_that_turns_bad_after_a_long_good_time_is_found_soon() {
    // Thousands of outcomes in its favour must not stand against the newest ones.
    for (share, bad, stated) in [(0.05, 0.06, 700), (0.05, 1.0, 25), (0.25, 0.06, 900), (0.25, 1.0, 30)] {
        let needed = nine_of_ten(share, 0.01, bad, 100_000);
        println!("share {share}, turns to {bad}: {needed} calls of the candidate, {stated} stated");
        assert!(needed <= stated, "share {share}, {bad}: {needed}");
    }
}

#[test]
fn a_better_candidate_is_never_accused() {
    let worse_baseline = |_, candidate: bool| if candidate { 0.01 } else { 0.05 };
    let accused = (0..500).filter(|turn| run(*turn, (0, 5_000), 0.2, 0.01, worse_baseline).is_some()).count();
    assert_eq!(accused, 0);
}

#[test]
fn what_could_not_have_been_otherwise_says_nothing() {
    let mut evidence = Evidence::default();
    for chance in [0.0, 1.0, -1.0, 2.0, f64::NAN] {
        evidence.see(chance, true);
    }
    assert_eq!((evidence.seen(), evidence.wealth()), (0, 1.0));
}

#[test]
fn wealth_stays_a_number_whatever_comes() {
    let mut evidence = Evidence::default();
    for turn in 0..200_000 {
        evidence.see(0.01, turn % 2 == 0);
    }
    assert!(evidence.is_sound() && evidence.wealth() >= 1e29, "{}", evidence.wealth());
    for _ in 0..200_000 {
        evidence.see(0.99, false);
    }
    assert!(evidence.is_sound(), "{evidence:?}");
}
