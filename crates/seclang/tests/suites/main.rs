//! Our own corpora in blocking mode at paranoia level 1 with stock thresholds: attacks are blocked, with the score that is
//! stated; ordinary traffic to model servers is not. And the tests of our own pack, in the format of the Core Rule Set.
#![expect(clippy::print_stdout, reason = "the tests say how many passed, and what was not run")]

use std::collections::BTreeMap;
use std::sync::Arc;

use seclang::{Library, Options, Profile, RuleSet, Scratch};
use tollgate_conformance::exchange::{self, Outcome};
use tollgate_conformance::folder::{Folder, is_ci};
use tollgate_conformance::front::Request;
use tollgate_conformance::rules::{self, Overlay};
use tollgate_conformance::suites::{self, Entry, Expected, Needs};
use tollgate_conformance::{cases, judge, wire};

/// Entries that each corpus has at least.
const LEAST: usize = 300;
/// Prompts full of code that may be blocked.
const CODE_HEAVY: usize = 1;

#[test]
fn attacks_are_blocked_with_the_score_that_is_stated() {
    let folder = folder();
    let entries = suites::load("attacks").expect("a corpus");
    assert!(entries.len() >= LEAST, "only {} attacks", entries.len());
    let mut library = Library::default();
    let mut groups: BTreeMap<&[String], Vec<&Entry>> = BTreeMap::new();
    for entry in &entries {
        groups.entry(&entry.prompt_fields).or_default().push(entry);
    }
    let (mut wrong, mut ran) = (Vec::new(), 0);
    for (fields, entries) in groups {
        let all = load(folder.as_ref(), true, fields, &mut library);
        // A pinned score is that of the Core Rule Set alone.
        let alone = folder.as_ref().map(|folder| load(Some(folder), false, fields, &mut library));
        let mut scratch = Scratch::default();
        for entry in entries {
            let outside = |needs: &Needs| *needs == Needs::Crs && folder.is_none();
            if entry.needs.iter().all(outside) {
                continue;
            }
            ran += 1;
            let outcome = run(&all, entry, &mut scratch);
            wrong.extend(attack(entry, &outcome, folder.is_some()).err());
            if let (Some(score), Some(alone)) = (entry.score, &alone) {
                let found = run(alone, entry, &mut scratch).tally.inbound;
                wrong.extend((found != Some(score)).then(|| format!("{}: score {found:?}, want {score}", entry.name)));
            }
        }
    }
    println!("suites: {ran} attacks, {} wrong", wrong.len());
    assert!(wrong.is_empty(), "{} of {ran}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn ordinary_traffic_to_model_servers_passes() {
    let folder = folder();
    let entries = suites::load("benign").expect("a corpus");
    assert!(entries.len() >= LEAST, "only {} requests", entries.len());
    let mut fields: Vec<String> = entries.iter().flat_map(|entry| entry.prompt_fields.clone()).collect();
    fields.sort_unstable();
    fields.dedup();
    let rules = load(folder.as_ref(), true, &fields, &mut Library::default());
    let mut scratch = Scratch::default();
    let blocked: Vec<(&Entry, Outcome)> = entries
        .iter()
        .map(|entry| (entry, run(&rules, entry, &mut scratch)))
        .filter(|(_, outcome)| outcome.verdict.is_some())
        .collect();
    let told = |(entry, outcome): &(&Entry, Outcome)| {
        format!("{} ({}): {} by {:?}", entry.name, entry.class, outcome.status, judge::ids(&outcome.tally))
    };
    let (code, other): (Vec<_>, Vec<_>) = blocked.iter().partition(|(entry, _)| entry.code_heavy);
    println!("suites: {} benign, {} blocked, of them {} with code", entries.len(), blocked.len(), code.len());
    let all: Vec<String> = blocked.iter().map(told).collect();
    assert!(other.is_empty() && code.len() <= CODE_HEAVY, "{} blocked:\n{}", all.len(), all.join("\n"));
}

#[test]
fn the_pack_passes_its_own_tests() {
    let (overlay, pack) = rules::with_pack(Overlay::default()).expect("the pack");
    let setup = std::fs::read(suites::rules().join("tests/setup.conf")).expect("the settings of the tests");
    let overlay = overlay.with("base.conf", rules::BASE).with("setup.conf", setup);
    let files: Vec<String> = ["base.conf", "setup.conf"].map(str::to_owned).into_iter().chain(pack).collect();
    let rules =
        built(&overlay, &files, &Options { profile: Profile::Stock, ..Options::default() }, &mut Library::default());
    let cases = cases::load(&suites::rules().join("tests")).expect("tests of the pack");
    let mut scratch = Scratch::default();
    let mut wrong = Vec::new();
    for case in &cases {
        for stage in &case.stages {
            let request = Request::read(&wire::request(&stage.input, &case.name));
            let outcome = request.map(|request| exchange::run(&rules, exchange::facts(true), &request, &mut scratch));
            let outcome = outcome.as_ref().map(|outcome| (outcome.status, &outcome.tally));
            wrong.extend(judge::stage(&stage.output, outcome).err().map(|why| format!("{}: {why}", case.name)));
        }
    }
    println!("pack: {} tests, {} wrong", cases.len(), wrong.len());
    assert!(wrong.is_empty() && cases.len() >= 100, "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// Whether an attack was refused as its entry says.
fn attack(entry: &Entry, outcome: &Outcome, with_crs: bool) -> Result<(), String> {
    assert_eq!(entry.verdict, Expected::Block, "{}", entry.name);
    let found = judge::ids(&outcome.tally);
    let status = entry.status.unwrap_or(403);
    if outcome.status != status || outcome.verdict.is_none() {
        return Err(format!(
            "{} ({}): status {}, want {status}; got {found:?}",
            entry.name, entry.class, outcome.status
        ));
    }
    // Some of the ids may be of the Core Rule Set.
    let ours = |rule: &&u64| with_crs || (190_000..200_000).contains(*rule);
    let missing: Vec<_> = entry.rules.iter().filter(ours).filter(|rule| !found.contains(rule)).collect();
    if missing.is_empty() { Ok(()) } else { Err(format!("{}: missing {missing:?}, got {found:?}", entry.name)) }
}

fn run(rules: &Arc<RuleSet>, entry: &Entry, scratch: &mut Scratch) -> Outcome {
    let request = Request::read(&entry.request()).expect("a request");
    assert_eq!(request.refused, None, "{} is for the HTTP parser, not for rules", entry.name);
    exchange::run(rules, exchange::facts(false), &request, scratch)
}

fn load(folder: Option<&Folder>, with_pack: bool, prompt_fields: &[String], library: &mut Library) -> Arc<RuleSet> {
    let ours = |name: &str| std::fs::read(suites::rules().join(name)).unwrap_or_else(|why| panic!("{name}: {why}"));
    let overlay = folder.map_or_else(Overlay::default, Overlay::over).with("base.conf", rules::BASE);
    let overlay = overlay.with("suite.conf", ours("suites/setup.conf")).with("media.conf", ours("crs-media.conf"));
    let (overlay, pack) = rules::with_pack(overlay).expect("the pack");
    // The order of `rules/suites/README.md`.
    let crs = ["crs-setup.conf.example", "rules/*.conf", "media.conf"].map(str::to_owned);
    let mut files = ["base.conf", "suite.conf"].map(str::to_owned).to_vec();
    files.extend(crs.into_iter().filter(|_| folder.is_some()));
    files.extend(pack.into_iter().filter(|_| with_pack));
    built(&overlay, &files, &Options { prompt_fields: prompt_fields.to_vec(), ..Options::default() }, library)
}

fn built(overlay: &Overlay, files: &[String], options: &Options, library: &mut Library) -> Arc<RuleSet> {
    let loaded = RuleSet::load(overlay, files, options, library);
    loaded.unwrap_or_else(|problems| panic!("{}", rules::told(&problems))).0
}

fn folder() -> Option<Folder> {
    let folder = Folder::find();
    if let Err(why) = &folder {
        assert!(!is_ci(), "{why}");
        println!("not run with the Core Rule Set: {why}");
    }
    folder.ok()
}
