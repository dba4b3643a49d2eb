//! All tests at paranoia level 4, detection only, judged strictly.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use seclang::{Options, Profile, RuleSet, Scratch, Tally};
use tollgate_conformance::cases::{self, Case, Overrides, Polarity};
use tollgate_conformance::exchange::{self, Outcome};
use tollgate_conformance::folder::Folder;
use tollgate_conformance::front::Request;
use tollgate_conformance::{judge, rules, wire};

/// The least share of tests that must pass, of both polarities together and of each.
const LEAST: (f64, f64) = (0.995, 0.99);
/// Most tests whose expectation we replace.
const MOST_OVERRIDES: usize = 15;

/// The same list as over the socket. No entry is needed by one of the two alone: both fronts refuse the same requests.
const OVERRIDES: &str = include_str!("../../../../examples/crs-conformance/overrides.yaml");

#[test]
fn the_core_rule_set_passes_its_own_tests() {
    let Some(folder) = crate::folder() else { return };
    let rules = load(&folder, false);
    let mut cases = corpus(&folder);
    let overrides: Overrides = cases::yaml(OVERRIDES).expect("the overrides");
    assert!(overrides.apply(&mut cases) <= MOST_OVERRIDES);
    let results = in_threads(&cases, |case, scratch| judged(&rules, case, scratch));
    let failed: BTreeMap<&str, String> =
        cases.iter().zip(results).filter_map(|(case, result)| Some((case.name.as_str(), result.err()?))).collect();
    let rate = report(&cases, &failed);
    for (name, why) in &failed {
        println!("FAIL {name}: {why}");
    }
    let (passed, all) = (cases.len() - failed.len(), cases.len());
    let pinned = include_str!("../crs-pass-count").trim();
    assert!(rate >= LEAST.0, "{passed} of {all} pass");
    if pinned.ends_with(&format!(" of {all}")) {
        assert_eq!(format!("{passed} of {all}"), pinned, "`crs-pass-count` may only grow");
    } else {
        println!("the pinned count, {pinned}, is of another version of the tests");
    }
}

#[test]
fn without_any_optimisation_every_test_finds_the_same() {
    let Some(folder) = crate::folder() else { return };
    let (fast, plain) = (load(&folder, false), load(&folder, true));
    let cases = corpus(&folder);
    let both = in_threads(&cases, |case, scratch| {
        [&fast, &plain].map(|rules| tallies(rules, case, scratch).into_iter().map(found).collect::<Vec<_>>())
    });
    let differing: Vec<_> = cases
        .iter()
        .zip(both)
        .filter(|(_, [fast, plain])| fast != plain)
        .map(|(case, both)| (&case.name, both))
        .collect();
    assert!(differing.is_empty(), "{} tests differ, such as {:#?}", differing.len(), differing.first());
}

#[test]
fn one_rule_set_serves_every_request_alike() {
    let Some(folder) = crate::folder() else { return };
    let rules = load(&folder, false);
    let cases: Vec<Case> = corpus(&folder).into_iter().step_by(7).collect();
    let mut worn = Scratch::default();
    for case in &cases {
        let (first, again) = (tallies(&rules, case, &mut worn), tallies(&rules, case, &mut worn));
        let fresh = tallies(&rules, case, &mut Scratch::default());
        let all = [first, again, fresh].map(|tallies| tallies.into_iter().map(found).collect::<Vec<_>>());
        assert!(all[0] == all[1] && all[1] == all[2], "{} depends on what the memory saw before", case.name);
    }
}

/// Everything but the work, which optimisations are there to change.
fn found(tally: Option<Tally>) -> Option<Tally> {
    tally.map(|tally| Tally { work: 0, ..tally })
}

fn load(folder: &Folder, plain: bool) -> Arc<RuleSet> {
    let options = Options { profile: Profile::Stock, plain, work: u64::MAX, ..Options::default() };
    rules::load(folder, rules::REGRESSION, &options).unwrap_or_else(|problems| panic!("{}", rules::told(&problems)))
}

fn corpus(folder: &Folder) -> Vec<Case> {
    let cases = cases::load(&folder.tests().expect("a Core Rule Set with its tests")).expect("tests that can be read");
    let names: BTreeSet<_> = cases.iter().map(|case| &case.name).collect();
    assert!(names.len() == cases.len() && cases.len() > 3_000, "{} tests", cases.len());
    cases
}

/// Every case, on all cores; each thread has its own memory.
fn in_threads<T: Send>(cases: &[Case], run: impl Fn(&Case, &mut Scratch) -> T + Sync) -> Vec<T> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let run = &run;
    let chunks = std::thread::scope(|scope| {
        let chunks = cases.chunks(cases.len().div_ceil(threads).max(1));
        let threads: Vec<_> = chunks
            .map(|chunk| {
                scope.spawn(move || {
                    let mut scratch = Scratch::default();
                    chunk.iter().map(|case| run(case, &mut scratch)).collect::<Vec<T>>()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no case panics")).collect::<Vec<_>>()
    });
    chunks.into_iter().flatten().collect()
}

fn judged(rules: &Arc<RuleSet>, case: &Case, scratch: &mut Scratch) -> Result<(), String> {
    for (place, stage) in case.stages.iter().enumerate() {
        let outcome = outcome(rules, case, place, scratch);
        let outcome = outcome.as_ref().map(|outcome| (outcome.status, &outcome.tally));
        judge::stage(&stage.output, outcome).map_err(|why| format!("stage {place}: {why}"))?;
    }
    Ok(())
}

fn tallies(rules: &Arc<RuleSet>, case: &Case, scratch: &mut Scratch) -> Vec<Option<Tally>> {
    (0..case.stages.len()).map(|place| outcome(rules, case, place, scratch).map(|outcome| outcome.tally)).collect()
}

fn outcome(rules: &Arc<RuleSet>, case: &Case, place: usize, scratch: &mut Scratch) -> Option<Outcome> {
    let raw = wire::request(&case.stages[place].input, &format!("{}-{place}", case.name));
    let request = Request::read(&raw)?;
    Some(exchange::run(rules, exchange::facts(true), &request, scratch))
}

/// Prints positives and negatives apart; the share that passed.
fn report(cases: &[Case], failed: &BTreeMap<&str, String>) -> f64 {
    let rate = |passed: usize, all: usize| f64::from(u32::try_from(passed).expect("few")) / all.max(1) as f64;
    for polarity in [Polarity::Positive, Polarity::Negative, Polarity::StatusOnly] {
        let all: Vec<_> = cases.iter().filter(|case| case.polarity() == polarity).collect();
        let passed = all.iter().filter(|case| !failed.contains_key(case.name.as_str())).count();
        println!("crs: {polarity:?}: {passed} of {}, rate {:.4}", all.len(), rate(passed, all.len()));
        assert!(rate(passed, all.len()) >= LEAST.1, "{polarity:?}: {passed} of {} pass", all.len());
    }
    let passed = cases.len() - failed.len();
    println!("crs: all: {passed} of {}, rate {:.4}", cases.len(), rate(passed, cases.len()));
    rate(passed, cases.len())
}
