//! API keys: what a check costs among a million of them, what it allocates, whether two workers are in each other's way,
//! and whether the time of a refusal tells why. CPU time of the threads that ask.
//!
//! `keys [--quick]`. The exit code is 1 if a bar is missed.
#![expect(clippy::print_stdout, reason = "its result is what it prints")]

use std::alloc::System;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Parser;
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderValue, Method, Version};
use rustix::time::{ClockId, clock_gettime};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tollgate_core::check::Checker;
use tollgate_core::identity::Peer;
use tollgate_core::secret::Secret;
use tollgate_core::time::Tick;
use tollgate_layers::auth::{
    Asking, Auth, AuthConfig, IdKey, KeyFile, KeyId, KeyNames, KeyRecord, KeyRing, KeyState, Keys, NewKey, Pepper,
    PepperValue, Presented, Timestamp, Tokens, compose,
};
use tollgate_layers::authz::TenantConfig;
use tollgate_layers::hygiene::Head;
use tollgate_layers::routes::AuthNeed;
use tollgate_limit::{Memory, MemoryConfig};

/// What a check may cost, in microseconds, and how far medians of refusals may be apart.
const BAR_US: f64 = 1.5;
const BAR_APART: f64 = 0.05;
/// What a second worker may make it dearer by.
const BAR_TWO: f64 = 1.3;
/// Keys that are asked for: more than a cache holds, each in another place of the table.
const ASKED: usize = 4_096;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[derive(Debug, Parser)]
struct Args {
    /// A tenth of the keys and of the attempts.
    #[arg(long)]
    quick: bool,
}

fn main() -> anyhow::Result<()> {
    let missed = run(Args::parse().quick)?;
    ensure!(missed.is_empty(), "missed: {}", missed.join(", "));
    Ok(())
}

const PEPPER: &[u8] = b"a pepper of a benchmark, 32 bytes";

/// Runs all of it and prints a row for each; what missed its bar.
fn run(quick: bool) -> anyhow::Result<Vec<String>> {
    let (keys, attempts) = if quick { (100_000, 10_000) } else { (1_000_000, 100_000) };
    let scene = Scene::new(keys)?;
    let mut missed = Vec::new();
    let mut row = |what: &str, figure: String, good: bool| {
        println!("{what:<64} {figure:>24}  {}", if good { "ok" } else { "MISSED" });
        if !good {
            missed.push(what.to_owned());
        }
    };
    let one = scene.cost(&scene.good);
    row(&format!("a good key among {keys}, bar {BAR_US} µs"), format!("{one:.3} µs"), one <= BAR_US);
    let region = Region::new(ALLOCATOR);
    for head in &scene.good {
        black_box(scene.ask(head, 0));
    }
    let allocations = region.change().allocations;
    row(&format!("allocations of {ASKED} checks, bar 0"), allocations.to_string(), allocations == 0);
    let two = scene.cost_of_two();
    let times = two / one;
    row(
        &format!("the same on two threads at once, bar {BAR_TWO} times"),
        format!("{times:.2} times"),
        times <= BAR_TWO,
    );
    let refusals = scene.refusals(attempts);
    let medians: Vec<f64> = refusals.iter().map(|(_, times)| median(times)).collect();
    let least = medians.iter().copied().fold(f64::INFINITY, f64::min);
    let most = medians.iter().copied().fold(0.0, f64::max);
    for ((what, times), median) in refusals.iter().zip(&medians) {
        let t = welch(times, &refusals[0].1);
        row(&format!("refused, {what}: median of {attempts}"), format!("{median:.3} µs, t {t:+.1}"), true);
    }
    let apart = most / least - 1.0;
    let told = format!("{:.1} %", apart * 100.0);
    row(&format!("medians of refusals apart, bar {} %", BAR_APART * 100.0), told, apart <= BAR_APART);
    Ok(missed)
}

struct Scene {
    auth: Auth,
    peer: Peer,
    now_ms: u64,
    good: Vec<Head>,
    wrong: Vec<Head>,
    unknown: Vec<Head>,
    revoked: Vec<Head>,
}

impl Scene {
    fn new(count: usize) -> anyhow::Result<Self> {
        let pepper = Secret::new(PEPPER.to_vec());
        let mut random = |bytes: &mut [u8]| getrandom::fill(bytes).expect("randomness");
        let now = Timestamp::parse("2027-01-01T00:00:00Z").context("a time")?;
        // Issuing looks at every record for a free id: a million of them are copies of one, each with an id of its own.
        let mut one = KeyFile::default();
        let request = NewKey { env: "bench".into(), tenant: "t".into(), ..NewKey::default() };
        one.issue(request, PepperValue { id: "v1", value: &pepper }, &mut random, now)?;
        let template = one.keys.pop().context("one key")?;
        let seals = Pepper::new(&pepper);
        let (mut file, mut texts) = (KeyFile::default(), Vec::new());
        for place in 0..count {
            let id = KeyId::draw(&mut random)?;
            let record = KeyRecord { id: id.to_string(), ..template.clone() };
            if place % (count / (2 * ASKED)).max(1) == 0 && texts.len() < 2 * ASKED {
                let text = compose("bench", id, &mut random)?;
                let key = Presented::parse(text.as_bytes())?;
                let state = if texts.len() % 2 == 0 { KeyState::Active } else { KeyState::Revoked };
                file.keys.push(KeyRecord { hash: seals.seal(&key).to_string(), state, ..record });
                texts.push((id, text));
            } else {
                file.keys.push(record);
            }
        }
        let auth = auth(&file, &pepper)?;
        let (mut good, mut wrong, mut unknown, mut revoked) = (vec![], vec![], vec![], vec![]);
        for (place, (id, text)) in texts.iter().enumerate() {
            if place % 2 == 0 {
                good.push(head(text)?);
                wrong.push(head(&compose("bench", *id, &mut random)?)?);
                unknown.push(head(&compose("bench", KeyId::draw(&mut random)?, &mut random)?)?);
            } else {
                revoked.push(head(text)?);
            }
        }
        let ip = [192, 0, 2, 7].into();
        let peer =
            Peer { ip, port: 4711, local: (ip, 443), listener: "b".into(), sni: None, tls: true, certificate: None };
        let scene = Self { auth, peer, now_ms: now.unix_ms(), good, wrong, unknown, revoked };
        let all_good = scene.good.iter().all(|head| scene.ask(head, 0));
        let refused = |heads: &[Head]| heads.iter().enumerate().all(|(at, head)| !scene.ask(head, at));
        let none_else = refused(&scene.wrong) && refused(&scene.unknown) && refused(&scene.revoked);
        ensure!(all_good && none_else, "the scene is not as it should be");
        Ok(scene)
    }

    /// Whether the key is good. `from` is another address each time: whoever fails too often is not looked at any more.
    fn ask(&self, head: &Head, from: usize) -> bool {
        let bits = u32::try_from(from).unwrap_or(0);
        let from = std::net::Ipv4Addr::from_bits(0x0a00_0000 | bits).into();
        let (at, unix_ms) = (Tick(3_600_000_000_000), self.now_ms);
        let asking = Asking { head, peer: &self.peer, from, at, unix_ms, need: AuthNeed::Required };
        // A key waits for nothing.
        self.auth.identify(&asking).now_or_never().is_some_and(|ruling| ruling.is_ok())
    }

    /// Microseconds of a check: the median of batches.
    fn cost(&self, heads: &[Head]) -> f64 {
        let mut batches = Vec::new();
        for _ in 0..50 {
            let before = spent();
            for head in heads {
                black_box(self.ask(head, 0));
            }
            batches.push((spent() - before).as_secs_f64() * 1e6 / heads.len() as f64);
        }
        median(&batches)
    }

    /// The same, dearer of two threads that run at once.
    fn cost_of_two(&self) -> f64 {
        std::thread::scope(|scope| {
            let threads = [(); 2].map(|()| scope.spawn(|| self.cost(&self.good)));
            threads.map(|thread| thread.join().unwrap_or(f64::INFINITY)).into_iter().fold(0.0, f64::max)
        })
    }

    /// Times of refusals in microseconds, by reason, taken in turns so that whatever else happens meets all alike.
    fn refusals(&self, attempts: usize) -> [(&'static str, Vec<f64>); 3] {
        let lanes = [("unknown id", &self.unknown), ("wrong secret", &self.wrong), ("revoked", &self.revoked)];
        let mut times = lanes.map(|(what, _)| (what, Vec::with_capacity(attempts)));
        for attempt in 0..attempts {
            for turn in 0..lanes.len() {
                // Who is first changes, or the caches would favour the others.
                let lane = (turn + attempt) % lanes.len();
                let (Some((_, heads)), Some((_, times))) = (lanes.get(lane), times.get_mut(lane)) else { continue };
                let Some(head) = heads.get(attempt % heads.len()) else { continue };
                let before = spent();
                black_box(self.ask(head, 100_000 + attempt * lanes.len() + lane));
                times.push((spent() - before).as_secs_f64() * 1e6);
            }
        }
        times
    }
}

fn auth(file: &KeyFile, pepper: &Secret) -> anyhow::Result<Auth> {
    let section = serde_json::json!({ "keys": { "file": "k", "pepper": { "v1": "secret://env/P" } } });
    let config: AuthConfig = serde_json::from_value(section)?;
    let mut check = Checker::default();
    let peppers = config.compile(&mut check, &BTreeMap::from([("v1".to_owned(), pepper.clone())]));
    let tenants = BTreeMap::from([("t".to_owned(), TenantConfig::default())]);
    let names = KeyNames { tenants: &tenants, models: &BTreeMap::new(), ids: IdKey::new([7; 16]) };
    let keys = Keys::compile(file, &mut check, &names, peppers);
    let ledger = Arc::new(Memory::new(MemoryConfig { open_slots: 1 << 20, seed: (3, 5) }));
    let sentry = config.sentry(&mut check, &ledger, Arc::default());
    ensure!(check.is_clean(), "{:?}", check.finish().0);
    Ok(Auth::new(Arc::new(KeyRing::new(keys)), Tokens::none()).behind(sentry))
}

fn head(key: &str) -> anyhow::Result<Head> {
    let mut headers = HeaderMap::new();
    headers.insert("x-api-key", HeaderValue::from_str(key)?);
    let uri = "/predict".parse()?;
    Ok(Head { method: Method::POST, uri, version: Version::HTTP_11, headers, host: "bench".into() })
}

fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// Welch's t of two sets of times without their dearest hundredth, which is what else ran on the machine.
fn welch(one: &[f64], other: &[f64]) -> f64 {
    let about = |times: &[f64]| {
        let mut sorted = times.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted.truncate(times.len() - times.len() / 100);
        let count = sorted.len() as f64;
        let mean = sorted.iter().sum::<f64>() / count;
        let variance = sorted.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / (count - 1.0);
        (mean, variance / count)
    };
    let ((a, va), (b, vb)) = (about(one), about(other));
    (a - b) / (va + vb).sqrt().max(f64::MIN_POSITIVE)
}

/// CPU time of this thread: whoever else uses the core does not count.
fn spent() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let part = |part: i64| u64::try_from(part).unwrap_or(0);
    Duration::from_secs(part(time.tv_sec)) + Duration::from_nanos(part(time.tv_nsec))
}
