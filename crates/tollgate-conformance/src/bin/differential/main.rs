//! Differential run against libmodsecurity: the same requests through our engine, in this process, and through nginx with
//! Debian's libmodsecurity; the sets of matched rules must be the same, or `tests/differential.md` of the crate says why.
//!
//! `differential [--mutants N] [--level 1|4] [--show N] [--only NAME]`. Exit code 1 when a difference has no explanation.
//! `differential --baseline` says instead how many of the Core Rule Set's tests libmodsecurity passes.
#![expect(clippy::print_stdout, reason = "a program for people")]

mod explained;
mod peer;

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::Arc;

use seclang::{Options, Profile, RuleSet, Scratch, Tally};
use tollgate_conformance::cases::{self, Case, Polarity};
use tollgate_conformance::folder::Folder;
use tollgate_conformance::front::Request;
use tollgate_conformance::mutants::{self, Mutant};
use tollgate_conformance::{exchange, judge, rules, wire};

use explained::{Explanations, Side};
use peer::Peer;

/// Rules that only add up what others found: looked at when nothing else differs.
const SUMS: [u64; 5] = [949_110, 949_111, 959_100, 959_101, 980_170];

#[derive(Debug)]
struct Args {
    mutants: usize,
    levels: Vec<u8>,
    show: usize,
    baseline: bool,
    only: Option<String>,
}

/// A rule that only one side matched.
type Difference = (u64, Side);

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            println!("differential: {why}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<bool, String> {
    let args = Args::read()?;
    let folder = Folder::find()?;
    let cases = cases::load(&folder.tests().ok_or("the Core Rule Set is there without its tests")?)?;
    if args.baseline {
        return baseline(&cases, &mut Peer::start(&folder, rules::REGRESSION)?);
    }
    let mut requests = mutants::of(&cases, args.mutants);
    requests.extend(originals(&cases));
    requests.retain(|mutant| args.only.as_ref().is_none_or(|name| mutant.name == *name));
    let explanations = Explanations::load()?;
    let mut all_explained = true;
    for level in &args.levels {
        let settings = if *level == 4 { rules::REGRESSION } else { "SecRuleEngine DetectionOnly\n" };
        let options = Options { profile: Profile::Stock, work: u64::MAX, ..Options::default() };
        let ours = rules::load(&folder, settings, &options).map_err(|problems| rules::told(&problems))?;
        let mut peer = Peer::start(&folder, settings)?;
        all_explained &= compare(&requests, &ours, &mut peer, (&explanations, *level, &args))?;
    }
    Ok(all_explained)
}

/// How libmodsecurity does in the tests, judged as strictly as we are and without overrides.
fn baseline(cases: &[Case], peer: &mut Peer) -> Result<bool, String> {
    let mut passed: BTreeMap<Polarity, (usize, usize)> = BTreeMap::new();
    for (number, case) in cases.iter().enumerate() {
        let mut result = Ok(());
        for (place, stage) in case.stages.iter().enumerate() {
            let id = format!("b{number}-{place}");
            let answer = peer.ask(&wire::request(&stage.input, &id), &id)?;
            let tally = answer.ids.map(Peer::tally);
            let outcome = answer.status.map(|status| (status, tally.clone().unwrap_or_default()));
            let is_logged = stage.output.log.is_none() || tally.is_some();
            result = result.and(judge::stage(&stage.output, outcome.as_ref().map(|(status, tally)| (*status, tally))));
            result = result.and(if is_logged { Ok(()) } else { Err("no line in the log".to_owned()) });
        }
        let (good, all) = passed.entry(case.polarity()).or_default();
        *good += usize::from(result.is_ok());
        *all += 1;
        if let Err(why) = result {
            println!("FAIL {} {why}", case.name);
        }
    }
    for (polarity, (good, all)) in passed {
        println!("libmodsecurity: {polarity:?}: {good} of {all}");
    }
    Ok(true)
}

/// Every request of the corpus as it stands.
fn originals(cases: &[Case]) -> impl Iterator<Item = Mutant> {
    cases.iter().flat_map(|case| {
        case.stages.iter().enumerate().map(|(place, stage)| Mutant {
            name: format!("{}-{place}", case.name),
            raw: wire::request(&stage.input, &case.name),
        })
    })
}

fn compare(
    requests: &[Mutant],
    ours: &Arc<RuleSet>,
    peer: &mut Peer,
    (explanations, level, args): (&Explanations, u8, &Args),
) -> Result<bool, String> {
    let mut scratch = Scratch::default();
    let (mut same, mut refused, mut differing) = (0, 0, 0);
    let mut explained: BTreeMap<String, usize> = BTreeMap::new();
    let mut unexplained: BTreeMap<Difference, Vec<&str>> = BTreeMap::new();
    for (number, mutant) in requests.iter().enumerate() {
        let id = format!("d{level}-{number}");
        let raw = identified(&mutant.raw, &id);
        let Some(request) = Request::read(&raw).filter(|request| request.refused.is_none()) else {
            refused += 1;
            continue;
        };
        let Some(theirs) = peer.ask(&raw, &id)?.ids else {
            refused += 1;
            continue;
        };
        let tally = exchange::run(ours, exchange::facts(true), &request, &mut scratch).tally;
        let differences = differences(&judge::ids(&tally), &theirs.keys().copied().collect());
        if args.only.is_some() {
            show(&raw, &tally, &theirs, &differences);
        }
        same += usize::from(differences.is_empty());
        differing += usize::from(!differences.is_empty());
        for difference in differences {
            match explanations.of(difference, &request) {
                Some(why) => *explained.entry(why.to_owned()).or_default() += 1,
                None => unexplained.entry(difference).or_default().push(&mutant.name),
            }
        }
    }
    println!("paranoia level {level}: {same} requests alike, {differing} not, {refused} refused by a server's parser");
    for (why, count) in explained {
        println!("  explained {count:5}  {why}");
    }
    for ((rule, side), names) in &unexplained {
        let shown: Vec<_> = names.iter().take(args.show).copied().collect();
        println!("  UNEXPLAINED {rule} {side} {}: {}", names.len(), shown.join(" "));
    }
    Ok(unexplained.is_empty())
}

/// All about one request.
fn show(raw: &[u8], tally: &Tally, theirs: &BTreeMap<u64, [String; 2]>, differences: &[Difference]) {
    println!("{}\n", String::from_utf8_lossy(raw).escape_debug());
    for (rule, side) in differences {
        let ours = tally.matched.iter().filter(|matched| matched.id == *rule);
        let ours: Vec<_> = ours.map(|matched| String::from_utf8_lossy(&matched.data).into_owned()).collect();
        println!("{rule} {side}: {ours:?} {:?}", theirs.get(rule));
    }
}

fn differences(ours: &BTreeSet<u64>, theirs: &BTreeSet<u64>) -> Vec<Difference> {
    let only = |one: &BTreeSet<u64>, other: &BTreeSet<u64>, side| {
        one.difference(other).map(|rule| (*rule, side)).collect::<Vec<_>>()
    };
    let mut all = only(ours, theirs, Side::Ours);
    all.extend(only(theirs, ours, Side::Theirs));
    let (sums, own): (Vec<_>, Vec<_>) = all.into_iter().partition(|(rule, _)| SUMS.contains(rule));
    if own.is_empty() { sums } else { own }
}

/// With an id for the log, and closing the connection.
fn identified(raw: &[u8], id: &str) -> Vec<u8> {
    let Some(end) = raw.windows(2).position(|pair| pair == b"\r\n") else { return raw.to_owned() };
    let (line, rest) = raw.split_at(end + 2);
    let (head, body) =
        rest.split_at(rest.windows(4).position(|four| four == b"\r\n\r\n").map_or(rest.len(), |at| at + 2));
    let mine = |line: &&[u8]| {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        !name.eq_ignore_ascii_case(wire::ID.as_bytes()) && !name.eq_ignore_ascii_case(b"connection")
    };
    let mut written = line.to_owned();
    written.extend_from_slice(format!("{}: {id}\r\nConnection: close\r\n", wire::ID).as_bytes());
    for line in head.split_inclusive(|byte| *byte == b'\n').filter(mine) {
        written.extend_from_slice(line);
    }
    written.extend_from_slice(body);
    written
}

impl Args {
    fn read() -> Result<Self, String> {
        let mut args = Self { mutants: 2_000, levels: vec![1, 4], show: 3, baseline: false, only: None };
        let mut given = std::env::args().skip(1);
        while let Some(word) = given.next() {
            if word == "--baseline" {
                args.baseline = true;
                continue;
            }
            if word == "--only" {
                args.only = given.next();
                continue;
            }
            let number: usize =
                given.next().and_then(|value| value.parse().ok()).ok_or(format!("`{word}` takes a number"))?;
            match word.as_str() {
                "--mutants" => args.mutants = number,
                "--level" => args.levels = vec![if number == 4 { 4 } else { 1 }],
                "--show" => args.show = number,
                _ => return Err(format!("what is `{word}`?")),
            }
        }
        Ok(args)
    }
}
