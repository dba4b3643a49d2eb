//! No input makes time grow faster than its length: every shape at one size and at four times that size. What is counted
//! is the engine's own work and the CPU time of the thread; `cargo xtask bench waf --callgrind` counts instructions, up
//! to 10 MB and 100,000 arguments.

use std::sync::Arc;

use seclang::{Library, Options, Profile, RuleSet, Scratch, Tally};
use tollgate_conformance::folder::Folder;
use tollgate_conformance::rules::{self, Overlay};
use tollgate_conformance::{exchange, shapes};

/// Sizes that are compared, in bytes.
const SIZES: (usize, usize) = (16 * 1024, 64 * 1024);
/// A fourfold size may cost as much more. Quadratic time would be 16.
const MOST: f64 = 7.0;
/// CPU time below which a ratio says nothing.
const TELLING_NS: u64 = 12_000_000;
/// Tries: other work on the machine only ever adds.
const TRIES: usize = 3;

#[test]
fn four_times_the_input_is_about_four_times_the_work() {
    let rules = load();
    let mut scratch = Scratch::default();
    let mut wrong = Vec::new();
    for (name, shape) in shapes::SHAPES {
        let [small, large] = [SIZES.0, SIZES.1].map(|size| cost(&rules, &shape(size), &mut scratch));
        let ratio = |small: u64, large: u64| large as f64 / small.max(1) as f64;
        let (work, time) = (ratio(small.0.work.max(10_000), large.0.work), ratio(small.1.max(TELLING_NS / 3), large.1));
        if work > MOST || large.1 > TELLING_NS && time > MOST {
            wrong.push(format!(
                "{name}: work × {work:.1}, time × {time:.1} ({} → {} µs)",
                small.1 / 1000,
                large.1 / 1000
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What the rules found, and the least CPU time of some tries.
fn cost(rules: &Arc<RuleSet>, request: &tollgate_conformance::front::Request, scratch: &mut Scratch) -> (Tally, u64) {
    let mut once = || {
        scratch.forget_values();
        let before = shapes::thread_ns().unwrap_or_default();
        let outcome = exchange::run(rules, exchange::facts(true), request, scratch);
        (outcome.tally, shapes::thread_ns().unwrap_or_default() - before)
    };
    let (mut tally, mut least) = once();
    for _ in 1..TRIES {
        let (again, ns) = once();
        (tally, least) = (again, least.min(ns));
    }
    (tally, least)
}

/// The Core Rule Set where there is one, else our own pack; nothing stops at a limit before time could grow.
fn load() -> Arc<RuleSet> {
    let options = Options { profile: Profile::Stock, arguments: 1_000_000, work: u64::MAX, ..Options::default() };
    if let Ok(folder) = Folder::find() {
        return rules::load(&folder, "SecRuleEngine DetectionOnly\n", &options).expect("rules that load");
    }
    let (overlay, pack) = rules::with_pack(Overlay::default().with("base.conf", rules::BASE)).expect("the pack");
    let files: Vec<String> = std::iter::once("base.conf".to_owned()).chain(pack).collect();
    RuleSet::load(&overlay, &files, &options, &mut Library::default()).expect("rules that load").0
}
