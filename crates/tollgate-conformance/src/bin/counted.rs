//! What the engine costs, without a socket.
//!
//! `counted bodies` runs four bodies once each, each in a function of its own name, for an instruction counter such as
//! callgrind. `counted linear [BYTES]` doubles every shape up to BYTES (10 MB unless told) and fails when CPU time grows
//! faster than length. `counted load` loads the rules and says how long that took and what it holds.
#![expect(clippy::print_stdout, reason = "a program for people")]

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;

use seclang::{Options, Profile, RuleSet, Scratch};
use tollgate_conformance::exchange;
use tollgate_conformance::folder::Folder;
use tollgate_conformance::front::Request;
use tollgate_conformance::pages::Page;
use tollgate_conformance::rules;
use tollgate_conformance::shapes::{SHAPES, Shape, thread_ns};

/// A doubling may cost as much more; quadratic time would be 4.
const MOST: f64 = 2.8;
/// CPU time below which a ratio says nothing.
const TELLING_NS: u64 = 10_000_000;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["bodies"] => bodies(),
        ["linear"] => linear(10_000_000),
        ["linear", most] => most.parse().map_err(|_| "BYTES is a number".to_owned()).and_then(linear),
        ["load"] => load_time(),
        _ => Err("counted bodies | linear [BYTES] | load".to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("counted: {why}");
            ExitCode::FAILURE
        }
    }
}

fn bodies() -> Result<(), String> {
    let rules = load(&Options::default())?;
    let mut scratch = Scratch::default();
    rules.warm(&mut scratch);
    // What a worker has seen before a request is text of the same kind, never the same text.
    for seed in 0..20 {
        for page in [Page::Get, Page::Chat, Page::Tensor(768), Page::Prose(10_000)] {
            black_box(exchange::run(&rules, exchange::facts(false), &page.head_and_body(seed), &mut scratch));
        }
    }
    counted_get(&rules, &mut scratch, &Page::Get.head_and_body(99));
    counted_chat(&rules, &mut scratch, &Page::Chat.head_and_body(99));
    counted_tensor_768(&rules, &mut scratch, &Page::Tensor(768).head_and_body(99));
    counted_prose_10000(&rules, &mut scratch, &Page::Prose(10_000).head_and_body(99));
    Ok(())
}

#[inline(never)]
fn counted_get(rules: &Arc<RuleSet>, scratch: &mut Scratch, request: &Request) {
    assert_eq!(black_box(exchange::run(rules, exchange::facts(false), request, scratch)).status, 200);
}

#[inline(never)]
fn counted_chat(rules: &Arc<RuleSet>, scratch: &mut Scratch, request: &Request) {
    assert_ne!(black_box(exchange::run(rules, exchange::facts(false), request, scratch)).status, 403);
}

#[inline(never)]
fn counted_tensor_768(rules: &Arc<RuleSet>, scratch: &mut Scratch, request: &Request) {
    assert!(black_box(exchange::run(rules, exchange::facts(false), request, scratch)).verdict.is_none());
}

#[inline(never)]
fn counted_prose_10000(rules: &Arc<RuleSet>, scratch: &mut Scratch, request: &Request) {
    assert!(black_box(exchange::run(rules, exchange::facts(false), request, scratch)).tally.work > 0);
}

fn linear(most: usize) -> Result<(), String> {
    let options = Options { profile: Profile::Stock, arguments: 10_000_000, work: u64::MAX, ..Options::default() };
    let rules = load(&options)?;
    let mut scratch = Scratch::default();
    rules.warm(&mut scratch);
    let mut wrong = Vec::new();
    for (name, shape) in SHAPES {
        let mut sizes = vec![most];
        while sizes.len() < 5 {
            sizes.push(sizes.last().map_or(most, |size| size / 2));
        }
        let costs: Vec<u64> = sizes.iter().rev().map(|size| cost(&rules, (shape, *size), &mut scratch)).collect();
        let told: Vec<String> = costs.iter().map(|ns| format!("{:.1}", *ns as f64 / 1e6)).collect();
        println!("{name:32} {} ms of CPU", told.join(" → "));
        // Two doublings, so that one busy moment does not decide; the kernel counts in steps of some milliseconds.
        let (middle, last) = (costs.get(2).copied().unwrap_or(1), costs.last().copied().unwrap_or(1));
        let ratio = (last as f64 / middle.max(TELLING_NS / 2) as f64).sqrt();
        if last > TELLING_NS && ratio > MOST {
            wrong.push(format!("{name}: × {ratio:.2} for each doubling"));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

/// Nanoseconds of CPU, the least of three.
fn cost(rules: &Arc<RuleSet>, (shape, size): (Shape, usize), scratch: &mut Scratch) -> u64 {
    let request = shape(size);
    let once = |_| {
        scratch.forget_values();
        let before = thread_ns().unwrap_or_default();
        black_box(exchange::run(rules, exchange::facts(true), &request, scratch));
        thread_ns().unwrap_or_default() - before
    };
    (0..3).map(once).min().unwrap_or_default()
}

fn load_time() -> Result<(), String> {
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or_default()
    };
    let (before, held) = (thread_ns().unwrap_or_default(), resident());
    let rules = load(&Options::default())?;
    let (loaded, holds) = (thread_ns().unwrap_or_default(), resident());
    let mut scratch = Scratch::default();
    rules.warm(&mut scratch);
    let (warm, warmed) = (thread_ns().unwrap_or_default(), resident());
    let ms = |from: u64, to: u64| to.saturating_sub(from) / 1_000_000;
    println!(
        "load {} ms of CPU, {} KB; warm {} ms, {} KB",
        ms(before, loaded),
        holds - held,
        ms(loaded, warm),
        warmed - holds
    );
    Ok(())
}

fn load(options: &Options) -> Result<Arc<RuleSet>, String> {
    rules::load(&Folder::find()?, "", options).map_err(|problems| rules::told(&problems))
}
